/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/rng.h"

#include <sys/random.h>

static void on_notify(void *self, unsigned q)
{
	struct rng *r = self;
	uint8_t bytes[RNG_MAX];

	unsigned i = 0;

	for (; i < RNG_BURST && virtio_pop(&r->v, q, &r->chain); i++) {
		const size_t want = r->chain.in_len < RNG_MAX ? (size_t)r->chain.in_len : RNG_MAX;
		const ssize_t got = getrandom(bytes, want, GRND_NONBLOCK);

		virtq_push(&r->v.q[q], r->chain.head, (uint32_t)chain_write(&r->chain, 0, bytes, got > 0 ? (size_t)got : 0));
	}
	virtio_turn_end(&r->v, q, i == RNG_BURST);
}

static const struct virtio_ops ops = { .name = "rng", .id = 4, .nqueues = 1, .queue_max = 64, .notify = on_notify };

void rng_init(struct rng *r, const struct ram *ram, int irq)
{
	virtio_init(&r->v, &ops, r, ram, 0, irq);
}
