/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a bare-metal guest has: 32-bit protected mode, paging off, one CPU, no libc. It drives our devices as a driver would, or as none
 * should, and tells the outcome on the serial port in TAP-like lines; then it powers off.
 */
#ifndef BULKHEAD_TESTS_GUESTS_GUEST_H
#define BULKHEAD_TESTS_GUESTS_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline void outb(uint16_t port, uint8_t v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port)); }
static inline uint8_t inb(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}
static inline void barrier(void) { __asm__ volatile("lock; addl $0, 0(%%esp)" : : : "memory"); }
static inline uint32_t rd(uint32_t at) { return *(volatile uint32_t *)at; }
static inline void wr(uint32_t at, uint32_t v) { *(volatile uint32_t *)at = v; }

void say(const char *s);
void say_hex(uint32_t v);
/* "ok - what" or "not ok - what" */
void check(bool good, const char *what);
_Noreturn void power_off(void);
void fill(void *p, uint8_t v, size_t n);
bool same(const void *a, const void *b, size_t n);

/* The guest's own test; `info` is the PVH start information. */
void test(const uint32_t *info);

/* ---- virtio-mmio ------------------------------------------------------------------------------------------------------------------ */

#define SLOT(n) (0xd0000000u + (n) * 0x1000u)
#define QSIZE 16u
enum { F_NEXT = 1, F_WRITE = 2, F_INDIRECT = 4 };

struct desc { uint64_t addr; uint32_t len; uint16_t flags, next; };
struct queue {
	struct desc desc[QSIZE] __attribute__((aligned(16)));
	struct { uint16_t flags, idx, ring[QSIZE], event; } avail __attribute__((aligned(4)));
	struct { uint16_t flags, idx; struct { uint32_t id, len; } ring[QSIZE]; uint16_t event; } used __attribute__((aligned(4)));
	uint32_t dev, number;
	uint16_t seen;
};

/* Finds the slot of a device id; 0 none. `nth` from 0. */
uint32_t find_device(uint32_t id, unsigned nth);
/* Reset to FEATURES_OK with these features (VERSION_1 is added); false: refused. */
bool dev_begin(uint32_t dev, uint32_t features_low);
void queue_begin(struct queue *q, uint32_t dev, uint32_t number);
void dev_go(uint32_t dev);
/* Makes descriptor `head` available and rings. */
void queue_give(struct queue *q, uint16_t head);
/* Waits, boundedly, for a used element; false: none came. */
bool queue_wait(struct queue *q, uint32_t *id, uint32_t *len);
void set_desc(struct queue *q, unsigned i, const void *p, uint32_t len, uint16_t flags, uint16_t next);
/* The same, for what a person or another program does: minutes of an emulated CPU's patience. */
bool queue_wait_long(struct queue *q, uint32_t *id, uint32_t *len);
uint32_t dev_status(uint32_t dev);
/* The device calls itself broken within a while. */
bool dev_broken(uint32_t dev);

/* The processors the MADT lists. */
uint32_t cpus_listed(void);

/* ---- interrupts, looked at but never taken ---------------------------------------------------------------------------------------------- */

static inline uint32_t dev_gsi(uint32_t dev) { return 8 + ((dev >> 12) & 7); }
/* From now on the local APIC notes this line. */
void irq_watch(uint32_t gsi);
/* It was raised since: now / within a while. */
bool irq_seen(uint32_t gsi);
bool irq_wait(uint32_t gsi);

#endif
