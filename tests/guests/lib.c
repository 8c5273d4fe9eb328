/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/guests/guest.h"

#define SERIAL 0x3f8u

void say(const char *s)
{
	while (*s)
		outb(SERIAL, (uint8_t)*s++);
}

void say_hex(uint32_t v)
{
	for (int i = 28; i >= 0; i -= 4)
		outb(SERIAL, (uint8_t)"0123456789abcdef"[v >> i & 15]);
}

void check(bool good, const char *what)
{
	say(good ? "ok - " : "not ok - ");
	say(what);
	say("\n");
}

void power_off(void)
{
	say("done\n");
	outb(0x600, 0x20 | 5 << 2);
	for (;;)
		__asm__ volatile("hlt");
}

void fill(void *p, uint8_t v, size_t n)
{
	for (volatile uint8_t *at = p; n > 0; n--)
		*at++ = v;
}

bool same(const void *a, const void *b, size_t n)
{
	for (const uint8_t *x = a, *y = b; n > 0; n--)
		if (*x++ != *y++)
			return false;
	return true;
}

uint32_t find_device(uint32_t id, unsigned nth)
{
	for (unsigned i = 0; i < 8; i++)
		if (rd(SLOT(i)) == 0x74726976 && rd(SLOT(i) + 8) == id && nth-- == 0)
			return SLOT(i);
	return 0;
}

uint32_t dev_status(uint32_t dev)
{
	return rd(dev + 0x70);
}

bool dev_broken(uint32_t dev)
{
	for (unsigned i = 0; i < 200000; i++)
		if (dev_status(dev) & 64)
			return true;
	return false;
}

bool dev_begin(uint32_t dev, uint32_t features_low)
{
	wr(dev + 0x70, 0);
	wr(dev + 0x70, 1);
	wr(dev + 0x70, 3);
	wr(dev + 0x24, 0);
	wr(dev + 0x20, features_low);
	wr(dev + 0x24, 1);
	wr(dev + 0x20, 1);
	wr(dev + 0x70, 11);
	return dev_status(dev) == 11;
}

void queue_begin(struct queue *q, uint32_t dev, uint32_t number)
{
	fill(q, 0, sizeof(*q));
	q->dev = dev;
	q->number = number;
	wr(dev + 0x30, number);
	wr(dev + 0x38, QSIZE);
	wr(dev + 0x80, (uint32_t)q->desc);
	wr(dev + 0x84, 0);
	wr(dev + 0x90, (uint32_t)&q->avail);
	wr(dev + 0x94, 0);
	wr(dev + 0xa0, (uint32_t)&q->used);
	wr(dev + 0xa4, 0);
	wr(dev + 0x44, 1);
}

void dev_go(uint32_t dev)
{
	wr(dev + 0x70, 15);
}

void set_desc(struct queue *q, unsigned i, const void *p, uint32_t len, uint16_t flags, uint16_t next)
{
	q->desc[i].addr = (uint32_t)p;
	q->desc[i].len = len;
	q->desc[i].flags = flags;
	q->desc[i].next = next;
}

void queue_give(struct queue *q, uint16_t head)
{
	q->avail.ring[q->avail.idx % QSIZE] = head;
	barrier();
	*(volatile uint16_t *)&q->avail.idx = (uint16_t)(q->avail.idx + 1);
	barrier();
	wr(q->dev + 0x50, q->number);
}

static bool wait_used(struct queue *q, uint32_t *id, uint32_t *len, unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		if (*(volatile uint16_t *)&q->used.idx != q->seen) {
			*id = q->used.ring[q->seen % QSIZE].id;
			*len = q->used.ring[q->seen % QSIZE].len;
			q->seen++;
			return true;
		}
		__asm__ volatile("pause");
	}
	return false;
}

bool queue_wait(struct queue *q, uint32_t *id, uint32_t *len)
{
	return wait_used(q, id, len, 200000);
}

bool queue_wait_long(struct queue *q, uint32_t *id, uint32_t *len)
{
	return wait_used(q, id, len, 8000000);
}

#define IOAPIC 0xfec00000u
#define LAPIC 0xfee00000u
#define VECTOR(gsi) (0x40u + (gsi))

void irq_watch(uint32_t gsi)
{
	wr(LAPIC + 0xf0, 0x1ff); /* on */
	wr(IOAPIC, 0x11 + 2 * gsi);
	wr(IOAPIC + 0x10, 0); /* to CPU 0 */
	wr(IOAPIC, 0x10 + 2 * gsi);
	wr(IOAPIC + 0x10, VECTOR(gsi)); /* fixed, edge, not masked */
}

bool irq_seen(uint32_t gsi)
{
	return rd(LAPIC + 0x200 + VECTOR(gsi) / 32 * 16) >> VECTOR(gsi) % 32 & 1;
}

bool irq_wait(uint32_t gsi)
{
	for (unsigned i = 0; i < 4000000; i++)
		if (irq_seen(gsi))
			return true;
	return false;
}

uint32_t cpus_listed(void)
{
	const uint8_t *rsdp = (const uint8_t *)0xe0000;
	const uint32_t *xsdt = *(const uint32_t *const *)(rsdp + 24);
	uint32_t n = 0;

	for (uint32_t at = 36; at < xsdt[1]; at += 8) {
		const uint8_t *t = *(const uint8_t *const *)((const uint8_t *)xsdt + at);

		if (!same(t, "APIC", 4))
			continue;
		for (uint32_t e = 44; e < *(const uint32_t *)(t + 4); e += t[e + 1])
			n += t[e] == 0;
	}
	return n;
}
