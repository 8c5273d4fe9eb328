/* SPDX-License-Identifier: Apache-2.0 */
#include "core/proto/frame.h"

#include <errno.h>
#include <string.h>

static uint32_t le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

int frame_put(struct buf *b, uint8_t type, uint8_t flags, const void *payload, size_t n)
{
	const uint8_t head[FRAME_HEAD] = { type, flags, 0, 0, (uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16), (uint8_t)(n >> 24) };

	if (n > FRAME_PAYLOAD_MAX || buf_room(b) < FRAME_HEAD + n) {
		b->failed = true;
		return -ENOBUFS;
	}
	buf_put(b, head, sizeof(head));
	return buf_put(b, payload, n);
}

size_t frame_begin(struct buf *b, uint8_t type, uint8_t flags)
{
	const size_t at = buf_size(b);

	buf_u8(b, type);
	buf_u8(b, flags);
	buf_u16(b, 0);
	buf_u32(b, 0);
	return at;
}

void frame_end(struct buf *b, size_t at)
{
	if (b->failed)
		return;
	const size_t n = buf_size(b) - at - FRAME_HEAD;

	if (n > FRAME_PAYLOAD_MAX)
		b->failed = true;
	else
		buf_patch_u32(b, at + 4, (uint32_t)n);
}

int frame_parse(const uint8_t *p, size_t n, uint32_t max, struct frame *out, size_t *used)
{
	if (n < FRAME_HEAD)
		return -EAGAIN;
	const uint32_t len = le32(p + 4);

	if (p[2] != 0 || p[3] != 0 || len > max)
		return -EBADMSG;
	if (n - FRAME_HEAD < len)
		return -EAGAIN;
	*out = (struct frame){ .type = p[0], .flags = p[1], .len = len, .payload = p + FRAME_HEAD };
	*used = FRAME_HEAD + len;
	return 0;
}
