/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/devices/rng.c, virtio.c, virtq.c: the entropy device and all of the transport and the queue. */
#include "vmm/devices/rng.h"

#include "tests/fuzz/device.h"

static void kick(void *arg, unsigned q)
{
	virtio_kick(arg, q);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const uint8_t zeroes[64];
	struct guest g;
	struct rng r;

	guest_init(&g);
	rng_init(&r, &g.ram, -1);
	g.v = &r.v;
	g.kick = kick;
	g.arg = &r.v;
	guest_play(&g, p, n);
	guest_up(&g, 0);
	memset(g.mem + DATA_AT, 0, 128);
	guest_desc(&g, 0, 0, DATA_AT, 64, 2, 0);
	guest_give(&g, 0, 0);
	MUST(r.v.status == 15 && guest_used(&g, 0) == 1);
	MUST(memcmp(g.mem + DATA_AT, zeroes, 64) != 0 && memcmp(g.mem + DATA_AT + 64, zeroes, 64) == 0);
	virtio_release(&r.v);
	guest_release(&g);
	return 0;
}
