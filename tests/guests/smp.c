/* SPDX-License-Identifier: Apache-2.0 */
/* Wakes every other CPU by INIT and SIPI; each counts itself in 16-bit code and halts. */
#include "tests/guests/guest.h"

#define CODE_AT 0x2000u
#define COUNT_AT 0x3000u
#define ICR 0xfee00300u

/* xor ax, ax; mov ds, ax; lock inc word [0x3000]; cli; hlt; jmp back to hlt */
static const uint8_t code[] = { 0x31, 0xc0, 0x8e, 0xd8, 0xf0, 0xff, 0x06, 0x00, 0x30, 0xfa, 0xf4, 0xeb, 0xfd };

void test(const uint32_t *info)
{
	volatile uint16_t *count = (volatile uint16_t *)COUNT_AT;
	const uint32_t n = cpus_listed();

	(void)info;
	for (unsigned i = 0; i < sizeof(code); i++)
		((volatile uint8_t *)CODE_AT)[i] = code[i];
	*count = 0;
	wr(0xfee000f0, 0x1ff);
	wr(ICR, 0xc4500); /* INIT to all but this one */
	for (volatile unsigned i = 0; i < 20000; i++)
		;
	wr(ICR, 0xc4600 | CODE_AT >> 12);
	for (unsigned i = 0; i < 4000000 && *count != n - 1; i++)
		__asm__ volatile("pause");
	say("# processors ");
	say_hex(n);
	say("\n");
	check(*count == n - 1, "every listed CPU starts");
}
