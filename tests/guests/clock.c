/* SPDX-License-Identifier: Apache-2.0 */
/* KVM's clock (Linux Documentation/virt/kvm/x86/msr.rst): after a pause the guest finds the flag by which Linux' watchdogs know that time passed without it. */
#include "tests/guests/guest.h"

#define MSR_SYSTEM_TIME 0x4b564d01u
#define GUEST_STOPPED 2u

static struct { uint32_t version, pad; uint64_t tsc, time; uint32_t mul; int8_t shift; uint8_t flags, pad2[2]; } clock __attribute__((aligned(32)));

void test(const uint32_t *info)
{
	uint32_t a = 0x40000001, b, c, d;

	(void)info;
	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
	check(a & 1u << 3, "KVM's clock is told of");
	__asm__ volatile("wrmsr" : : "c"(MSR_SYSTEM_TIME), "a"((uint32_t)&clock | 1), "d"(0) : "memory");
	for (unsigned i = 0; i < 1000000 && *(volatile uint32_t *)&clock.version == 0; i++)
		;
	check(clock.version != 0 && !(clock.flags & GUEST_STOPPED), "it runs, and nobody was stopped");
	say("pause\n");
	bool told = false;
	for (unsigned i = 0; i < 80000000 && !told; i++)
		told = *(volatile uint8_t *)&clock.flags & GUEST_STOPPED;
	check(told, "after the pause the guest is told of it");
}
