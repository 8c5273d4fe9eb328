/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/devices/console.c: output is taken in pieces of any size, input comes at any time; afterwards both still work. */
#include "vmm/devices/console.h"

#include "tests/fuzz/device.h"

static void kick(void *arg, unsigned q)
{
	virtio_kick(&((struct vconsole *)arg)->v, q);
}

static void wake(void *arg)
{
	++*(unsigned *)arg;
}

static void event(void *arg, uint8_t what, uint8_t value)
{
	uint8_t bytes[256];

	memset(bytes, 'i', sizeof(bytes));
	if (what & 1)
		MUST(vconsole_take(arg, bytes, value) <= value);
	else
		MUST(vconsole_give(arg, bytes, value) <= value);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	uint8_t out[64];
	unsigned woken = 0;
	struct guest g;
	struct vconsole c;

	guest_init(&g);
	vconsole_init(&c, &g.ram, -1, wake, &woken);
	g.v = &c.v;
	g.kick = kick;
	g.event = event;
	g.arg = &c;
	guest_play(&g, p, n);
	MUST(c.out_n <= VCONSOLE_OUT_MAX && c.in_n <= VCONSOLE_IN_MAX && (woken > 0 || c.out_n == 0));
	guest_up(&g, 0);
	while (vconsole_take(&c, out, sizeof(out)) > 0)
		;
	woken = 0;
	memcpy(g.mem + DATA_AT, "out", 3);
	guest_desc(&g, 1, 0, DATA_AT, 3, 0, 0);
	guest_give(&g, 1, 0);
	MUST(c.v.status == 15 && guest_used(&g, 1) == 1 && woken == 1);
	MUST(vconsole_take(&c, out, sizeof(out)) == 3 && memcmp(out, "out", 3) == 0);
	guest_desc(&g, 0, 0, DATA_AT, 8, 2, 0);
	guest_give(&g, 0, 0);
	MUST(guest_used(&g, 0) == 0 && vconsole_give(&c, (const uint8_t *)"in", 2) == 2);
	MUST(guest_used(&g, 0) == 1 && memcmp(g.mem + DATA_AT, "int", 3) == 0);
	virtio_release(&c.v);
	guest_release(&g);
	return 0;
}
