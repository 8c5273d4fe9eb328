/* SPDX-License-Identifier: Apache-2.0 */
/* The roots a guest is to trust: kept as the supervisor's memfd, read piece by piece as the control stream takes them. */
#include <unistd.h>

#include "core/base/fd.h"
#include "core/term/term.h"

#define KEPT (16u * 1024u) /* of the control stream's queue, for what else there is to say */

bool trust_take(struct term *t, int fd)
{
	const off_t size = lseek(fd, 0, SEEK_END);

	if (size < 1 || size > (off_t)AGENT_TRUST_MAX) {
		close(fd);
		return false;
	}
	fd_close(&t->trust);
	t->trust = fd;
	t->trust_size = (uint32_t)size;
	t->trust_at = 0;
	return true;
}

bool trust_push(struct term *t)
{
	uint8_t piece[AGENT_TRUST_PIECE];

	while (t->control && t->trust >= 0 && t->trust_at < t->trust_size) {
		struct buf *out = stream_out(t->control);

		if (buf_room(out) < FRAME_HEAD + 8 + sizeof(piece) + KEPT) {
			stream_want_drain(t->control);
			return false;
		}
		const ssize_t n = pread(t->trust, piece, sizeof(piece), t->trust_at);
		if (n <= 0) {
			log_error("the roots for the guest cannot be read");
			fd_close(&t->trust);
			break;
		}
		const struct agent_trust m = { .total = t->trust_size, .offset = t->trust_at, .n = (uint32_t)n, .p = piece };
		const size_t at = frame_begin(out, AGENT_TRUST, 0);
		agent_trust_pack(out, &m);
		frame_end(out, at);
		t->trust_at += (uint32_t)n;
		stream_flush(t->control);
	}
	return true;
}
