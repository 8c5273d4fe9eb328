/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/virtq.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

enum { F_NEXT = 1, F_WRITE = 2, F_INDIRECT = 4 };
enum { AVAIL_NO_INTERRUPT = 1 };
#define DESC_SIZE 16u

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};
_Static_assert(sizeof(struct desc) == DESC_SIZE, "as it lies in memory");

/* Guest memory changes at any time: one load, of this width. The guest is little endian as we are. */
static uint16_t load16(const uint8_t *p)
{
	return __atomic_load_n((const uint16_t *)(const void *)p, __ATOMIC_ACQUIRE);
}

static void store16(uint8_t *p, uint16_t v)
{
	__atomic_store_n((uint16_t *)(void *)p, v, __ATOMIC_RELEASE);
}

static int bad(struct virtq *q, const char *why)
{
	q->why = why;
	return -EBADMSG;
}

void virtq_init(struct virtq *q, const struct ram *ram, uint16_t max)
{
	memset(q, 0, sizeof(*q));
	q->ram = ram;
	q->max = max;
}

void virtq_reset(struct virtq *q)
{
	const uint64_t popped = q->popped;

	virtq_init(q, q->ram, q->max);
	q->popped = popped;
}

int virtq_enable(struct virtq *q, bool event_idx, bool indirect)
{
	const uint64_t n = q->size;

	if (n == 0 || n > q->max || (n & (n - 1)))
		return bad(q, "a queue's size is none that was offered");
	if (q->desc % 16 || q->avail % 2 || q->used % 4)
		return bad(q, "a queue is not aligned");
	q->desc_p = ram_at(q->ram, q->desc, n * DESC_SIZE);
	q->avail_p = ram_at(q->ram, q->avail, 6 + n * 2);
	q->used_p = ram_at(q->ram, q->used, 6 + n * 8);
	if (!q->desc_p || !q->avail_p || !q->used_p)
		return bad(q, "a queue does not lie in memory");
	q->event_idx = event_idx;
	q->indirect = indirect;
	q->last_avail = q->used_idx = q->signalled = 0;
	q->ready = true;
	return 0;
}

static int add_segment(struct virtq *q, struct virtq_chain *c, const struct desc *d)
{
	uint8_t *p;

	if (d->len == 0)
		return 0;
	if (c->nout + c->nin == VIRTQ_SEGS_MAX)
		return bad(q, "a request has too many parts");
	if (!(d->flags & F_WRITE) && c->nin > 0)
		return bad(q, "a request's readable part follows a writable one");
	if (!(p = ram_at(q->ram, d->addr, d->len)))
		return bad(q, "a descriptor points outside of memory");
	c->seg[c->nout + c->nin] = (struct iovec){ .iov_base = p, .iov_len = d->len };
	if (d->flags & F_WRITE) {
		c->nin++;
		c->in_len += d->len;
	} else {
		c->nout++;
		c->out_len += d->len;
	}
	return 0;
}

/* The chain that begins at `at` in a table of n descriptors. */
static int walk(struct virtq *q, struct virtq_chain *c, const uint8_t *table, uint32_t n, uint16_t at, bool top)
{
	for (uint32_t steps = 0;; steps++) {
		struct desc d;
		int r;

		if (at >= n)
			return bad(q, "a descriptor's number is beyond its table");
		if (steps == n)
			return bad(q, "a chain of descriptors is a loop");
		memcpy(&d, table + (size_t)at * DESC_SIZE, sizeof(d));
		atomic_signal_fence(memory_order_seq_cst); /* d is a copy: the compiler must not look again */
		if (d.flags & F_INDIRECT) {
			if (!top || !q->indirect || (d.flags & F_NEXT) || d.len == 0 || d.len % DESC_SIZE || d.len / DESC_SIZE > VIRTQ_SEGS_MAX)
				return bad(q, "an indirect table is none");
			const uint8_t *t = ram_at(q->ram, d.addr, d.len);
			if (!t)
				return bad(q, "an indirect table lies outside of memory");
			return walk(q, c, t, d.len / DESC_SIZE, 0, false);
		}
		if ((r = add_segment(q, c, &d)) < 0)
			return r;
		if (!(d.flags & F_NEXT))
			return 0;
		at = d.next;
	}
}

int virtq_pop(struct virtq *q, struct virtq_chain *c)
{
	if (!q->ready)
		return 0;
	const uint16_t waiting = (uint16_t)(load16(q->avail_p + 2) - q->last_avail);
	if (waiting == 0)
		return 0;
	if (waiting > q->size)
		return bad(q, "the available index is beyond the queue");
	const uint16_t head = load16(q->avail_p + 4 + 2 * (q->last_avail & (q->size - 1u)));
	c->head = head;
	c->nout = c->nin = 0;
	c->out_len = c->in_len = 0;
	const int r = walk(q, c, q->desc_p, q->size, head, true);
	if (r < 0)
		return r;
	q->last_avail++;
	q->popped++;
	return 1;
}

void virtq_unpop(struct virtq *q)
{
	q->last_avail--;
	q->popped--;
}

void virtq_push(struct virtq *q, uint16_t head, uint32_t written)
{
	const uint32_t elem[2] = { head, written };

	if (!q->ready)
		return;
	memcpy(q->used_p + 4 + 8 * (size_t)(q->used_idx & (q->size - 1u)), elem, sizeof(elem));
	store16(q->used_p + 2, ++q->used_idx);
}

bool virtq_should_interrupt(struct virtq *q)
{
	if (!q->ready || q->used_idx == q->signalled)
		return false;
	atomic_thread_fence(memory_order_seq_cst); /* the used index before the driver's wish (2.7.10) */
	const uint16_t before = q->signalled;
	q->signalled = q->used_idx;
	if (!q->event_idx)
		return !(load16(q->avail_p) & AVAIL_NO_INTERRUPT);
	const uint16_t event = load16(q->avail_p + 4 + 2 * (size_t)q->size);
	return (uint16_t)(q->used_idx - event - 1) < (uint16_t)(q->used_idx - before);
}

bool virtq_rearm(struct virtq *q)
{
	if (!q->ready)
		return false;
	if (q->event_idx)
		store16(q->used_p + 4 + 8 * (size_t)q->size, q->last_avail);
	atomic_thread_fence(memory_order_seq_cst);
	return load16(q->avail_p + 2) != q->last_avail;
}

uint16_t virtq_arm_new(struct virtq *q)
{
	if (!q->ready)
		return 0;
	const uint16_t at = load16(q->avail_p + 2);

	if (q->event_idx)
		store16(q->used_p + 4 + 8 * (size_t)q->size, at);
	atomic_thread_fence(memory_order_seq_cst);
	return at;
}

bool virtq_grew(const struct virtq *q, uint16_t at)
{
	return q->ready && load16(q->avail_p + 2) != at;
}

static size_t copy(const struct iovec *seg, unsigned n, size_t off, void *buf, size_t len, bool to_guest)
{
	size_t done = 0;

	for (unsigned i = 0; i < n && done < len; i++) {
		if (off >= seg[i].iov_len) {
			off -= seg[i].iov_len;
			continue;
		}
		size_t k = seg[i].iov_len - off;
		k = k < len - done ? k : len - done;
		uint8_t *g = (uint8_t *)seg[i].iov_base + off;
		if (to_guest)
			memcpy(g, (uint8_t *)buf + done, k);
		else
			memcpy((uint8_t *)buf + done, g, k);
		done += k;
		off = 0;
	}
	return done;
}

size_t chain_read(const struct virtq_chain *c, size_t off, void *dst, size_t n)
{
	return copy(c->seg, c->nout, off, dst, n, false);
}

size_t chain_write(const struct virtq_chain *c, size_t off, const void *src, size_t n)
{
	return copy(c->seg + c->nout, c->nin, off, (void *)(uintptr_t)src, n, true);
}

unsigned chain_slice(const struct virtq_chain *c, bool in, uint64_t off, uint64_t n, struct iovec *out)
{
	const struct iovec *seg = in ? c->seg + c->nout : c->seg;
	const unsigned nseg = in ? c->nin : c->nout;
	unsigned k = 0;

	for (unsigned i = 0; i < nseg && n > 0; i++) {
		if (off >= seg[i].iov_len) {
			off -= seg[i].iov_len;
			continue;
		}
		uint64_t len = seg[i].iov_len - off;
		len = len < n ? len : n;
		out[k++] = (struct iovec){ .iov_base = (uint8_t *)seg[i].iov_base + off, .iov_len = len };
		n -= len;
		off = 0;
	}
	return n == 0 ? k : 0;
}
