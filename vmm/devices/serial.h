/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 16550 (National Semiconductor PC16550D data sheet), of which a kernel's console driver sees all registers: transmit, receive,
 * interrupts, loop-back, scratch. Lines are infinitely fast. What the guest sends gathers in a buffer that somebody else empties
 * (serial_take); when nobody does, the newest bytes are dropped and counted. Any thread; it locks itself.
 */
#ifndef BULKHEAD_VMM_DEVICES_SERIAL_H
#define BULKHEAD_VMM_DEVICES_SERIAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/rbuf.h"

#define SERIAL_OUT_MAX 65536u
#define SERIAL_IN_MAX 256u

struct serial {
	pthread_mutex_t lock;
	uint8_t ier, lcr, mcr, scr, dll, dlm;
	bool thre_due;      /* the transmitter-empty interrupt has not been read yet */
	uint8_t in[SERIAL_IN_MAX];
	size_t in_at, in_n;
	uint8_t out[SERIAL_OUT_MAX];
	size_t out_n;
	uint64_t dropped;
	int irq;                   /* eventfd of its line, borrowed; -1 none */
	void (*wake)(void *arg);   /* the output buffer is no longer empty; called without the lock */
	void *arg;
};

void serial_init(struct serial *s, int irq, void (*wake)(void *arg), void *arg);
void serial_release(struct serial *s);
void serial_write(struct serial *s, unsigned reg, uint8_t v); /* reg 0..7 */
uint8_t serial_read(struct serial *s, unsigned reg);
/* What a snapshot keeps: the registers. What was not taken yet is not. */
void serial_save(struct serial *s, struct buf *b);
int serial_load(struct serial *s, struct rbuf *r); /* 0 or -EBADMSG */
/* Moves at most n bytes of output to dst. */
size_t serial_take(struct serial *s, uint8_t *dst, size_t n);
/* Input of the person; returns how many bytes there was room for. */
size_t serial_give(struct serial *s, const uint8_t *p, size_t n);

#endif
