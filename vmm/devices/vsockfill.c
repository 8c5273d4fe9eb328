/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data to the guest: read from a connection's socket straight into receive buffers, several of them with one call. Their heads are left free and
 * written once it is known how much came; what was not filled goes back into the queue, as if it had not been taken.
 */
#include <string.h>

#include "core/base/str.h"
#include "vmm/devices/vsockimpl.h"

static uint32_t least(uint64_t a, uint64_t b)
{
	return (uint32_t)(a < b ? a : b);
}

/* Whether another buffer fits, in however many parts it is. */
static bool fits(const struct vsock_batch *b)
{
	return b->nheads + VSOCK_HEAD <= ARRAY_SIZE(b->head) && b->nparts + VIRTQ_SEGS_MAX <= ARRAY_SIZE(b->part);
}

/* The buffer in vs->chain, for at most `want` bytes; how many. */
static uint32_t add(struct vsock_batch *b, const struct virtq_chain *c, uint32_t want)
{
	const uint32_t room = least(least(c->in_len - VSOCK_HEAD, VSOCK_PACKET_MAX), want);
	const unsigned nheads = chain_slice(c, true, 0, VSOCK_HEAD, b->head + b->nheads);

	b->of[b->n].id = c->head;
	b->of[b->n].nheads = (uint16_t)nheads;
	b->of[b->n++].room = room;
	b->nheads += nheads;
	b->nparts += chain_slice(c, true, VSOCK_HEAD, room, b->part + b->nparts);
	return room;
}

/* Buffers for at most `want` bytes, at most `most` of them; how many bytes. 0: none is there, or the guest broke the device. */
static uint32_t gather(struct vsock *vs, unsigned most, uint32_t want)
{
	struct vsock_batch *b = &vs->batch;
	uint32_t sum = 0;

	b->n = b->nheads = b->nparts = 0;
	while (b->n < most && sum < want && fits(b) && virtio_pop(&vs->v, Q_RX, &vs->chain)) {
		if (vs->chain.in_len <= VSOCK_HEAD) {
			virtio_broken(&vs->v, VSOCK_TOO_SMALL);
			break;
		}
		sum += add(b, &vs->chain, want - sum);
	}
	return virtio_runs(&vs->v) ? sum : 0;
}

static void write_head(const struct iovec *part, unsigned n, const struct vsock_head *h)
{
	uint8_t head[VSOCK_HEAD];
	const uint8_t *p = head;

	vsock_head_pack(head, h);
	for (unsigned i = 0; i < n; p += part[i++].iov_len)
		memcpy(part[i].iov_base, p, part[i].iov_len);
}

/* Gives back the buffers that the first `got` bytes are in; how many. The others have not been taken. */
static unsigned hand_over(struct vconn *c, size_t got)
{
	const struct vsock_batch *b = &c->vs->batch;
	struct virtq *q = &c->vs->v.q[Q_RX];
	struct vsock_head h = vconn_head(c);
	const struct iovec *head = b->head;
	unsigned n = 0;

	h.op = VS_RW;
	for (; n < b->n && got > 0; n++) {
		h.len = least(got, b->of[n].room);
		got -= h.len;
		write_head(head, b->of[n].nheads, &h);
		head += b->of[n].nheads;
		virtq_push(q, b->of[n].id, VSOCK_HEAD + h.len);
	}
	for (unsigned i = n; i < b->n; i++)
		virtq_unpop(q);
	return n;
}

unsigned vconn_fill(struct vconn *c, unsigned most)
{
	struct vsock *vs = c->vs;
	const unsigned batch = c->batch > VSOCK_FILL_FIRST ? c->batch : VSOCK_FILL_FIRST;
	const uint32_t room = gather(vs, batch < most ? batch : most, vconn_fillable(c));

	if (room == 0)
		return 0;
	const size_t got = stream_readv(c->s, vs->batch.part, vs->batch.nparts, room);
	const unsigned n = hand_over(c, got);
	if (n == 0)
		return 1;
	c->batch = 2 * n + 2; /* it goes on as it was, or there is more */
	c->sent += (uint32_t)got;
	vs->out += got;
	c->due &= ~(unsigned)DUE_CREDIT; /* every packet tells it */
	c->told = vconn_taken(c);
	return n;
}
