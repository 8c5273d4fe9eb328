/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/kvm/state.h"

#include <errno.h>
#include <string.h>

#define HEAD 12u
#define TAIL 8u

static uint64_t fnv1a(const uint8_t *p, size_t n)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	while (n-- > 0)
		h = (h ^ *p++) * UINT64_C(0x100000001b3);
	return h;
}

void state_begin(struct buf *b)
{
	buf_u32(b, STATE_MAGIC);
	buf_u32(b, STATE_VERSION);
	buf_u32(b, 0);
}

void state_put(struct buf *b, enum state_kind kind, uint32_t number, const void *p, size_t n)
{
	uint32_t count;

	if (buf_u32(b, (uint32_t)kind) < 0 || buf_u32(b, number) < 0 || buf_u32(b, (uint32_t)n) < 0 || buf_put(b, p, n) < 0)
		return;
	memcpy(&count, buf_head(b) + 8, sizeof(count));
	buf_patch_u32(b, 8, count + 1);
}

void state_end(struct buf *b)
{
	if (buf_ok(b))
		buf_u64(b, fnv1a(buf_head(b), buf_size(b)));
}

/* The next section of r; false at the end or when it is damaged (r->bad). */
static bool next(struct rbuf *r, uint32_t *kind, uint32_t *number, struct rbuf *out)
{
	const uint8_t *p;
	uint32_t n;

	if (rbuf_u32(r, kind) < 0 || rbuf_u32(r, number) < 0 || rbuf_u32(r, &n) < 0 || rbuf_bytes(r, n, &p) < 0)
		return false;
	rbuf_init(out, p, n);
	return true;
}

int state_open(struct state *s, const uint8_t *p, size_t n, struct err *e)
{
	uint32_t magic = 0, version = 0, count = 0, kind, number;
	struct rbuf r, section;
	uint64_t sum;

	*s = (struct state){ 0 };
	rbuf_init(&r, p, n);
	rbuf_u32(&r, &magic);
	rbuf_u32(&r, &version);
	rbuf_u32(&r, &count);
	if (r.bad || magic != STATE_MAGIC)
		return err_set(e, EBADMSG, "the snapshot is none");
	if (version != STATE_VERSION)
		return err_set(e, EBADMSG, "the snapshot is of version %u, this program reads version %u", version, STATE_VERSION);
	if (n < HEAD + TAIL)
		return err_set(e, EBADMSG, "the snapshot is cut off");
	memcpy(&sum, p + n - TAIL, TAIL);
	if (sum != fnv1a(p, n - TAIL))
		return err_set(e, EBADMSG, "the snapshot is damaged: its checksum is wrong");
	rbuf_init(&r, p + HEAD, n - HEAD - TAIL);
	for (; count > 0; count--)
		if (!next(&r, &kind, &number, &section))
			return err_set(e, EBADMSG, "the snapshot is cut off");
	if (rbuf_done(&r) < 0)
		return err_set(e, EBADMSG, "the snapshot holds more than it says");
	s->p = p + HEAD;
	s->n = n - HEAD - TAIL;
	return 0;
}

int state_find(const struct state *s, enum state_kind kind, uint32_t number, struct rbuf *out)
{
	uint32_t k, i;
	struct rbuf r;

	rbuf_init(&r, s->p, s->n);
	while (next(&r, &k, &i, out))
		if (k == (uint32_t)kind && i == number)
			return 0;
	return -ENOENT;
}

int state_get(const struct state *s, enum state_kind kind, uint32_t number, void *dst, size_t n, struct err *e)
{
	struct rbuf r;

	if (state_find(s, kind, number, &r) < 0 || r.n != n || rbuf_copy(&r, dst, n) < 0)
		return err_set(e, EBADMSG, "the snapshot lacks a part (%u of %u) or has it in another size", (unsigned)kind, number);
	return 0;
}
