/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-console (virtio 1.2, 5.3), one port: what the guest prints gathers in a buffer that the loop empties (vconsole_take). When
 * nobody does, the rest stays in the guest's own queue: nothing here grows, and nobody waits but the guest that printed. Emergency output (a byte
 * written to the configuration) takes the same way; when there is no room it is dropped and counted. Loop thread, but for the registers.
 */
#ifndef BULKHEAD_VMM_DEVICES_CONSOLE_H
#define BULKHEAD_VMM_DEVICES_CONSOLE_H

#include "vmm/devices/virtio.h"

#define VCONSOLE_OUT_MAX 16384u
#define VCONSOLE_IN_MAX 256u
#define VCONSOLE_BURST 64u

struct vconsole {
	struct virtio v;
	struct virtq_chain chain;
	uint8_t out[VCONSOLE_OUT_MAX], in[VCONSOLE_IN_MAX];
	size_t out_n, in_n;
	uint64_t done;    /* bytes of the first waiting request that were taken already */
	bool stalled;     /* a request waits for room */
	uint64_t dropped; /* emergency bytes */
	void (*wake)(void *arg); /* there is output; under the device's lock, any thread */
	void *arg;
};

void vconsole_init(struct vconsole *c, const struct ram *ram, int irq, void (*wake)(void *arg), void *arg);
/* Moves at most n bytes of output to dst; what waited for room goes on. */
size_t vconsole_take(struct vconsole *c, uint8_t *dst, size_t n);
/* Input of the person; returns how many bytes there was room for: 0 when no driver is there. */
size_t vconsole_give(struct vconsole *c, const uint8_t *p, size_t n);
/* Beside virtio_save() and virtio_load(). What was not taken yet is not kept. */
void vconsole_save(struct vconsole *c, struct buf *out);
int vconsole_load(struct vconsole *c, struct rbuf *r); /* 0 or -EBADMSG */

#endif
