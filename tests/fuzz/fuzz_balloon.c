/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/devices/balloon.c over memory that is a machine's own, so that giving up really happens; what was never named keeps its bytes. */
#include "vmm/devices/balloon.h"

#include "tests/fuzz/device.h"

static void kick(void *arg, unsigned q)
{
	virtio_kick(&((struct balloon *)arg)->v, q);
}

static void event(void *arg, uint8_t what, uint8_t value)
{
	struct balloon *b = arg;

	if (what & 1)
		balloon_ask(b);
	else if (what & 2)
		balloon_hint(b);
	else
		balloon_target(b, (uint64_t)value * 4096);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static struct ram own;
	struct err e = ERR_INIT;
	struct guest g;
	struct balloon b;
	uint8_t target[4];

	if (!own.owned)
		MUST(ram_create(&own, MEMORY, VMM_PAGES_SMALL, &e) == 0);
	memset(own.base, 0, MEMORY);
	memset(&g, 0, sizeof(g));
	log_level(LOG_ERROR);
	g.mem = own.base;
	g.ram = own;
	balloon_init(&b, &g.ram, -1);
	g.v = &b.v;
	g.kick = kick;
	g.event = event;
	g.arg = &b;
	guest_play(&g, p, n);
	MUST(b.given % 4096 == 0 && b.reported % 4096 == 0 && b.hinted % 4096 == 0);
	guest_up(&g, 0x22);
	/* Page 9 is given up and reads as zeroes; its neighbours stay. */
	memset(g.mem + DATA_AT, 0x77, 0x3000);
	const uint32_t pfn = 9;
	memcpy(g.mem + DATA_AT, &pfn, 4);
	guest_desc(&g, 0, 0, DATA_AT, 4, 0, 0);
	guest_give(&g, 0, 0);
	MUST(b.v.status == 15 && guest_used(&g, 0) == 1);
	MUST(g.mem[0x8fff] == 0x77 && g.mem[0x9000] == 0 && g.mem[0x9fff] == 0 && g.mem[0xa000] == 0x77);
	balloon_target(&b, 8192);
	virtio_read(&b.v, 0x100, target, 4);
	MUST(target[0] == 2);
	virtio_release(&b.v);
	return 0;
}
