/* SPDX-License-Identifier: Apache-2.0 */
/* What a bzImage finds at its 64-bit entry: long mode, the boot parameters with memory map, command line, initial ramdisk and RSDP; other CPUs are not there. */
#include <stdbool.h>
#include <stdint.h>

static void put(char c)
{
	__asm__ volatile("outb %0, %1" : : "a"(c), "Nd"((uint16_t)0x3f8));
}

static void check(bool good, const char *what)
{
	for (const char *p = good ? "ok - " : "not ok - "; *p; p++)
		put(*p);
	for (; *what; what++)
		put(*what);
	put('\n');
}

static uint64_t at(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	while (n-- > 0)
		v = v << 8 | p[n];
	return v;
}

static bool begins(const char *s, const char *with)
{
	while (*with)
		if (*s++ != *with++)
			return false;
	return true;
}

void test64(const uint8_t *bp)
{
	uint64_t cr0, cr4, total = 0, last = 0;
	bool ordered = true;

	__asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
	check((cr0 & 0x80000001) == 0x80000001 && (cr4 & 0x20), "long mode with paging");
	check(at(bp + 0x202, 4) == 0x53726448 && bp[0x210] == 0xff, "the setup header, and a loader without a number");
	check(begins((const char *)at(bp + 0x228, 4), "console="), "the command line");
	check(begins((const char *)at(bp + 0x70, 8), "RSD PTR "), "the RSDP");
	const uint8_t *ramdisk = (const uint8_t *)at(bp + 0x218, 4);
	check(at(bp + 0x21c, 4) == 5000 && begins((const char *)ramdisk, "ramdisk!") && (uint64_t)ramdisk % 4096 == 0, "the initial ramdisk, on a page of its own");
	check((uint64_t)ramdisk >= 0x1200000, "behind what the kernel needs to unpack itself");
	for (unsigned i = 0; i < bp[0x1e8]; i++) {
		const uint8_t *e = bp + 0x2d0 + 20 * i;

		ordered &= at(e, 8) >= last;
		last = at(e, 8) + at(e + 8, 8);
		total += at(e + 16, 4) == 1 ? at(e + 8, 8) : 0;
	}
	check(bp[0x1e8] >= 3 && ordered && last == 64u << 20 && total > 63u << 20, "the memory map");
	for (const char *p = "done\n"; *p; p++)
		put(*p);
}
