/* SPDX-License-Identifier: Apache-2.0 */
#include "core/proto/mux.h"

#include <errno.h>

#include "core/base/rbuf.h"

/* Payload sizes of the types that have a fixed one; DATA has 1..MUX_DATA_MAX. */
static int fixed_length(uint8_t type)
{
	switch (type) {
	case MUX_HELLO:
		return 12;
	case MUX_OPEN:
		return 8;
	case MUX_OPENED:
	case MUX_RESET:
	case MUX_CREDIT:
		return 4;
	case MUX_EOF:
		return 0;
	default:
		return -1;
	}
}

static int parse_payload(struct rbuf *r, struct mux_frame *f)
{
	uint32_t magic;
	uint16_t version, zero;

	switch (f->type) {
	case MUX_HELLO:
		rbuf_u32(r, &magic);
		rbuf_u16(r, &version);
		rbuf_u16(r, &zero);
		rbuf_u32(r, &f->b);
		f->a = version;
		if (magic != MUX_MAGIC || version != MUX_VERSION || zero != 0)
			return -EBADMSG;
		break;
	case MUX_OPEN:
		rbuf_u32(r, &f->a);
		rbuf_u32(r, &f->b);
		break;
	case MUX_OPENED:
	case MUX_RESET:
	case MUX_CREDIT:
		rbuf_u32(r, &f->a);
		break;
	case MUX_DATA:
		rbuf_bytes(r, f->len, &f->data);
		break;
	default:
		break;
	}
	return rbuf_done(r);
}

int mux_parse(const uint8_t *p, size_t n, struct mux_frame *out, size_t *used)
{
	struct mux_frame f = { 0 };
	struct rbuf r;
	uint8_t zero;

	if (n < MUX_HEAD)
		return -EAGAIN;
	rbuf_init(&r, p, MUX_HEAD);
	rbuf_u32(&r, &f.stream);
	rbuf_u16(&r, &f.len);
	rbuf_u8(&r, &f.type);
	rbuf_u8(&r, &zero);
	if (zero != 0 || (f.stream == 0) != (f.type == MUX_HELLO))
		return -EBADMSG;
	if (f.type == MUX_DATA ? f.len == 0 || f.len > MUX_DATA_MAX : fixed_length(f.type) != f.len)
		return -EBADMSG;
	if (n - MUX_HEAD < f.len)
		return -EAGAIN;
	rbuf_init(&r, p + MUX_HEAD, f.len);
	if (parse_payload(&r, &f) < 0)
		return -EBADMSG;
	*out = f;
	*used = MUX_HEAD + (size_t)f.len;
	return 0;
}

static void head(struct buf *b, uint32_t stream, uint16_t len, uint8_t type)
{
	buf_u32(b, stream);
	buf_u16(b, len);
	buf_u8(b, type);
	buf_u8(b, 0);
}

int mux_put_hello(struct buf *b, uint32_t gen)
{
	head(b, 0, 12, MUX_HELLO);
	buf_u32(b, MUX_MAGIC);
	buf_u16(b, MUX_VERSION);
	buf_u16(b, 0);
	return buf_u32(b, gen);
}

int mux_put_open(struct buf *b, uint32_t stream, uint32_t port, uint32_t window)
{
	head(b, stream, 8, MUX_OPEN);
	buf_u32(b, port);
	return buf_u32(b, window);
}

static int put_one(struct buf *b, uint32_t stream, uint8_t type, uint32_t v)
{
	head(b, stream, 4, type);
	return buf_u32(b, v);
}

int mux_put_opened(struct buf *b, uint32_t stream, uint32_t window)
{
	return put_one(b, stream, MUX_OPENED, window);
}

int mux_put_reset(struct buf *b, uint32_t stream, enum mux_reason why)
{
	return put_one(b, stream, MUX_RESET, (uint32_t)why);
}

int mux_put_credit(struct buf *b, uint32_t stream, uint32_t bytes)
{
	return put_one(b, stream, MUX_CREDIT, bytes);
}

int mux_put_data(struct buf *b, uint32_t stream, const void *p, size_t n)
{
	if (n == 0 || n > MUX_DATA_MAX) {
		b->failed = true;
		return -EINVAL;
	}
	head(b, stream, (uint16_t)n, MUX_DATA);
	return buf_put(b, p, n);
}

int mux_put_eof(struct buf *b, uint32_t stream)
{
	head(b, stream, 0, MUX_EOF);
	return b->failed ? -ENOBUFS : 0;
}
