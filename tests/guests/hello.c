/* SPDX-License-Identifier: Apache-2.0 */
/* The machine itself: what PVH tells, memory, ACPI's root, the serial port's registers, which devices there are. */
#include "tests/guests/guest.h"

static bool sums_to_zero(const uint8_t *p, unsigned n)
{
	uint8_t s = 0;

	while (n-- > 0)
		s = (uint8_t)(s + *p++);
	return s == 0;
}

static void test_memory(const uint32_t *info)
{
	const uint64_t map = *(const uint64_t *)(info + 10);
	const struct { uint64_t addr, size; uint32_t type, zero; } *e = (const void *)(uint32_t)map;
	uint64_t usable = 0, before = 0;
	bool ordered = true;

	for (unsigned i = 0; i < info[12]; i++) {
		ordered &= e[i].addr == before || e[i].addr == 0x100000000ull;
		before = e[i].addr + e[i].size;
		usable += e[i].type == 1 ? e[i].size : 0;
	}
	check(info[12] >= 3 && ordered, "the memory map has no gap and no overlap");
	check(usable > 63u << 20 && usable < 64u << 20, "the memory map holds what the machine was given");
	volatile uint32_t *top = (volatile uint32_t *)((64u << 20) - 4);
	*top = 0x12345678;
	check(*top == 0x12345678, "the last word of memory is memory");
	check(rd(0x10000000) == 0xffffffff, "beyond memory there is nothing");
}

static void test_acpi(const uint32_t *info)
{
	const uint8_t *rsdp = (const uint8_t *)info[8];

	check(same(rsdp, "RSD PTR ", 8) && sums_to_zero(rsdp, 20) && sums_to_zero(rsdp, 36), "the RSDP is one");
	const uint8_t *xsdt = (const uint8_t *)*(const uint32_t *)(rsdp + 24);
	check(same(xsdt, "XSDT", 4) && sums_to_zero(xsdt, *(const uint32_t *)(xsdt + 4)), "the XSDT is one");
	const unsigned n = (*(const uint32_t *)(xsdt + 4) - 36) / 8;
	bool good = n == 2;
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *t = (const uint8_t *)*(const uint32_t *)(xsdt + 36 + 8 * i);
		good &= sums_to_zero(t, *(const uint32_t *)(t + 4));
	}
	check(good, "every table sums to zero");
}

static void test_serial(void)
{
	outb(0x3ff, 0x5a);
	check(inb(0x3ff) == 0x5a, "the serial port's scratch register");
	outb(0x3fc, 0x10); /* looped back */
	outb(0x3f8, 'x');
	const bool looped = (inb(0x3fd) & 1) && inb(0x3f8) == 'x' && !(inb(0x3fd) & 1);
	outb(0x3fc, 0);
	check(looped, "the serial port loops back");
	check(inb(0x80) == 0xff, "a port without a device reads as ones");
}

void test(const uint32_t *info)
{
	say("hello\n");
	check(info[0] == 0x336ec578, "PVH start information");
	check(same((const char *)info[6], "console=ttyS0", 13), "the command line");
	test_memory(info);
	test_acpi(info);
	test_serial();
	check(find_device(4, 0) != 0 && find_device(19, 0) != 0, "entropy and channel are there");
	check(rd(SLOT(7)) == 0xffffffff, "a slot without a device reads as ones");
}
