/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every CPU at once at the same two devices (entropy, served by the loop; the writable disk, served by its threads): one half makes requests available
 * and rings, of whatever stands in the table at that moment; of the other half some reset the device and bring it up again in the middle of it, some take a
 * queue away (QUEUE_READY 0), some rewrite descriptors into what they may not be. Nobody waits for anybody. Then the first CPU alone must find both
 * devices whole after a reset. The harness pauses and resumes the machine meanwhile.
 */
#include "tests/guests/guest.h"

#define CODE_AT 0x2000u
#define ICR 0xfee00300u
#define CPUS 16u
#define ROUNDS 300u

extern const uint8_t ap_begin[], ap_end[];

/* 16-bit code, copied to CODE_AT: flat protected mode, a stack by a ticket, and work(). */
__asm__(".section .text\n"
	".code16\n"
	"ap_begin:\n"
	"	cli\n"
	"	xor %ax, %ax\n"
	"	mov %ax, %ds\n"
	"	lgdtl (ap_gdtr - ap_begin + 0x2000)\n"
	"	mov %cr0, %eax\n"
	"	or $1, %al\n"
	"	mov %eax, %cr0\n"
	"	ljmpl $8, $(ap_flat - ap_begin + 0x2000)\n"
	".code32\n"
	"ap_flat:\n"
	"	mov $16, %ax\n"
	"	mov %ax, %ds\n"
	"	mov %ax, %es\n"
	"	mov %ax, %ss\n"
	"	mov $1, %eax\n"
	"	lock xadd %eax, ticket\n"
	"	mov %eax, %ecx\n"
	"	shl $12, %ecx\n"
	"	lea stacks(%ecx), %esp\n"
	"	push %eax\n"
	"	mov $work, %ecx\n"
	"	call *%ecx\n"
	"1:	hlt\n"
	"	jmp 1b\n"
	".align 8\n"
	"ap_gdt:	.quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff\n"
	"ap_gdtr:	.word 23\n"
	"	.long ap_gdt - ap_begin + 0x2000\n"
	"ap_end:\n");

volatile uint32_t ticket = 1;
uint8_t stacks[(CPUS + 1) * 4096] __attribute__((aligned(16)));
static volatile uint32_t done;
static struct queue q[2];
static uint32_t dev[2], ndev;
static uint8_t bytes[2][4096];
static struct { uint32_t type, reserved; uint64_t sector; } head;

static uint32_t next(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 16;
}

static void good_desc(unsigned d)
{
	if (d == 0) {
		for (unsigned i = 0; i < QSIZE; i++)
			set_desc(&q[0], i, bytes[0], 64, F_WRITE, 0);
		return;
	}
	set_desc(&q[1], 0, &head, 16, F_NEXT, 1);
	set_desc(&q[1], 1, bytes[1], 512, F_NEXT | F_WRITE, 2);
	set_desc(&q[1], 2, bytes[1] + 512, 1, F_WRITE, 0);
}

static void up(unsigned d, uint32_t features)
{
	dev_begin(dev[d], features);
	queue_begin(&q[d], dev[d], 0);
	good_desc(d);
	dev_go(dev[d]);
}

static void ring(unsigned d, uint32_t r)
{
	q[d].avail.ring[q[d].avail.idx % QSIZE] = d == 0 ? r % QSIZE : r % 8 == 0 ? r % QSIZE : 0;
	*(volatile uint16_t *)&q[d].avail.idx = (uint16_t)(q[d].avail.idx + 1);
	wr(dev[d] + 0x50, 0);
}

static void disturb(unsigned d, uint32_t r)
{
	switch (r % 8) {
	case 0:
		up(d, 1u << 28 | (r & 64 ? 1u << 29 : 0));
		break;
	case 1:
		wr(dev[d] + 0x70, 0);
		break;
	case 2:
		wr(dev[d] + 0x30, 0);
		wr(dev[d] + 0x44, 0);
		break;
	case 3:
		wr(dev[d] + 0x44, 1);
		break;
	case 4:
		/* In memory that nobody uses, or outside; never long enough for a buffer's neighbours, whichever halves of two writes are seen together. */
		set_desc(&q[d], r >> 3 & 3, (void *)(0x2000000u + (r << 14)), r & 0xfff, (uint16_t)(r >> 5 & 7), (uint16_t)(r >> 8 & 31));
		break;
	case 5:
		q[d].avail.idx = (uint16_t)r;
		break;
	default:
		good_desc(d);
		break;
	}
}

void work(uint32_t cpu)
{
	uint32_t seed = cpu * 2654435761u;

	for (unsigned i = 0; i < ROUNDS; i++) {
		const uint32_t r = next(&seed);
		const unsigned d = ndev > 1 ? r >> 2 & 1 : 0;

		if (cpu % 2 == 0)
			ring(d, r >> 3);
		else
			disturb(d, r >> 3);
		if (i % 16 == 0)
			(void)rd(dev[d] + 0x60);
	}
	__asm__ volatile("lock; incl %0" : "+m"(done));
}

/* As whoever comes after a broken driver. */
static bool serves(unsigned d)
{
	uint32_t id, len;

	up(d, 1u << 28);
	queue_give(&q[d], 0);
	return queue_wait_long(&q[d], &id, &len) && id == 0 && len == (d == 0 ? 64 : 513) && dev_status(dev[d]) == 15;
}

void test(const uint32_t *info)
{
	const uint32_t n = cpus_listed() - 1;

	(void)info;
	dev[ndev++] = find_device(4, 0);
	if ((dev[1] = find_device(2, 0)))
		ndev++;
	check(n > 0 && dev[0] && serves(0) && (ndev == 1 || serves(1)), "the devices are there, and other CPUs");
	for (unsigned i = 0; i < (unsigned)(ap_end - ap_begin); i++)
		((volatile uint8_t *)CODE_AT)[i] = ap_begin[i];
	wr(0xfee000f0, 0x1ff);
	wr(ICR, 0xc4500); /* INIT to all but this one */
	for (volatile unsigned i = 0; i < 20000; i++)
		;
	wr(ICR, 0xc4600 | CODE_AT >> 12);
	say("storm\n");
	work(0);
	for (unsigned i = 0; i < 80000000 && done != n + 1; i++)
		__asm__ volatile("pause");
	check(done == n + 1, "every CPU came through");
	check(serves(0), "entropy is whole after a reset");
	check(ndev == 1 || serves(1), "the disk is whole after a reset");
	check(ndev == 1 || bytes[1][0] == 'B', "and holds what it held");
}
