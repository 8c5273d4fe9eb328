/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device with a modelled guest: memory of its own, registers, doorbells. The fuzzer's bytes are a script:
 *
 *   0 off:u16 width:u8 value:u32   write a register        1 off:u16 width:u8   read one
 *   2 at:u16 n:u8 bytes            write to memory         3 q:u8               ring
 *   4 features:u32                 come up as a good driver would: reset, features, all queues at QUEUE_AT(q), DRIVER_OK
 *   5 q:u8 head:u16                make a chain available and ring
 *   6 q:u8 i:u8 at:u16 len:u16 flags:u16 next:u16    a descriptor
 *   7 what:u8 value:u8             the device's own: device_event()
 *
 * Memory is an allocation of exactly its size, so the sanitizer sees any step beyond it. After the script the device must still work.
 */
#ifndef BULKHEAD_TESTS_FUZZ_DEVICE_H
#define BULKHEAD_TESTS_FUZZ_DEVICE_H

#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/base/rbuf.h"
#include "tests/fuzz/fuzz.h"
#include "vmm/devices/virtio.h"

#define MEMORY 0x10000u
#define QUEUE_SIZE 16u
#define QUEUE_AT(q) (0x1000u * (q)) /* descriptors, +0x200 available, +0x400 used */
#define DATA_AT 0x8000u

struct guest {
	uint8_t *mem;
	struct ram ram;
	struct virtio *v;
	void (*kick)(void *arg, unsigned q);
	void (*event)(void *arg, uint8_t what, uint8_t value); /* may be NULL */
	void (*turn)(void *arg);                               /* after every step; may be NULL */
	void *arg;
};

static inline void guest_init(struct guest *g)
{
	memset(g, 0, sizeof(*g));
	log_level(LOG_ERROR);
	g->mem = calloc(1, MEMORY);
	MUST(g->mem);
	ram_over(&g->ram, g->mem, MEMORY);
}

static inline void reg(struct guest *g, uint32_t off, uint32_t v)
{
	virtio_write(g->v, off, (const uint8_t *)&v, 4);
}

static inline void guest_ring(struct guest *g, unsigned q)
{
	g->kick(g->arg, q);
	/* What asked for another turn gets some, not all it wants. */
	for (unsigned round = 0; round < 4 && g->v->again; round++) {
		const uint32_t again = g->v->again;

		g->v->again = 0;
		for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
			if (again >> i & 1)
				g->kick(g->arg, i);
	}
}

static inline void guest_up(struct guest *g, uint32_t features)
{
	reg(g, 0x70, 0);
	reg(g, 0x70, 3);
	reg(g, 0x24, 0);
	reg(g, 0x20, features);
	reg(g, 0x24, 1);
	reg(g, 0x20, 1);
	reg(g, 0x70, 11);
	for (unsigned q = 0; q < g->v->nqueues; q++) {
		memset(g->mem + QUEUE_AT(q) + 0x200, 0, 0x400);
		reg(g, 0x30, q);
		reg(g, 0x38, QUEUE_SIZE);
		reg(g, 0x80, QUEUE_AT(q));
		reg(g, 0x84, 0);
		reg(g, 0x90, QUEUE_AT(q) + 0x200);
		reg(g, 0x94, 0);
		reg(g, 0xa0, QUEUE_AT(q) + 0x400);
		reg(g, 0xa4, 0);
		reg(g, 0x44, 1);
	}
	reg(g, 0x70, 15);
}

static inline void guest_desc(struct guest *g, unsigned q, unsigned i, uint64_t at, uint32_t len, uint16_t flags, uint16_t next)
{
	uint8_t *d = g->mem + QUEUE_AT(q) + 16 * (size_t)(i % QUEUE_SIZE);

	memcpy(d, &at, 8);
	memcpy(d + 8, &len, 4);
	memcpy(d + 12, &flags, 2);
	memcpy(d + 14, &next, 2);
}

static inline void guest_give(struct guest *g, unsigned q, uint16_t head)
{
	uint16_t idx;
	uint8_t *avail = g->mem + QUEUE_AT(q) + 0x200;

	memcpy(&idx, avail + 2, 2);
	memcpy(avail + 4 + 2 * (idx % QUEUE_SIZE), &head, 2);
	idx++;
	memcpy(avail + 2, &idx, 2);
	guest_ring(g, q);
}

static inline uint16_t guest_used(const struct guest *g, unsigned q)
{
	uint16_t idx;

	memcpy(&idx, g->mem + QUEUE_AT(q) + 0x402, 2);
	return idx;
}

static inline void guest_step(struct guest *g, uint8_t op, struct rbuf *r)
{
	uint8_t a = 0, b = 0, bytes[256] = { 0 };
	uint16_t x = 0, y = 0, z = 0, w = 0;
	uint32_t v = 0;
	const unsigned nq = g->v->nqueues;
	static const unsigned widths[] = { 1, 2, 4, 8 };

	switch (op % 8) {
	case 0:
		rbuf_u16(r, &x);
		rbuf_u8(r, &a);
		rbuf_u32(r, &v);
		memcpy(bytes, &v, 4);
		virtio_write(g->v, x % 0x1000, bytes, widths[a % 4]);
		break;
	case 1:
		rbuf_u16(r, &x);
		rbuf_u8(r, &a);
		virtio_read(g->v, x % 0x1000, bytes, widths[a % 4]);
		break;
	case 2:
		rbuf_u16(r, &x);
		rbuf_u8(r, &a);
		if (rbuf_copy(r, bytes, a) == 0)
			memcpy(g->mem + x, bytes, a < MEMORY - x ? a : MEMORY - x);
		break;
	case 3:
		rbuf_u8(r, &a);
		guest_ring(g, a % nq);
		break;
	case 4:
		rbuf_u32(r, &v);
		guest_up(g, v & (uint32_t)g->v->features);
		break;
	case 5:
		rbuf_u8(r, &a);
		rbuf_u16(r, &x);
		guest_give(g, a % nq, x);
		break;
	case 6:
		rbuf_u8(r, &a);
		rbuf_u8(r, &b);
		rbuf_u16(r, &x);
		rbuf_u16(r, &y);
		rbuf_u16(r, &z);
		rbuf_u16(r, &w);
		guest_desc(g, a % nq, b, x, y, z, w);
		break;
	default:
		rbuf_u8(r, &a);
		rbuf_u8(r, &b);
		if (g->event)
			g->event(g->arg, a, b);
		break;
	}
	if (g->turn)
		g->turn(g->arg);
}

static inline void guest_play(struct guest *g, const uint8_t *p, size_t n)
{
	struct rbuf r;
	uint8_t op;

	rbuf_init(&r, p, n);
	while (!r.bad && rbuf_u8(&r, &op) == 0)
		guest_step(g, op, &r);
}

static inline void guest_release(struct guest *g)
{
	free(g->mem);
}

#endif
