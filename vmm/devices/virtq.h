/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A split virtqueue, device side (virtio 1.2, 2.7), with indirect descriptors and event indices.
 *
 * Everything here is written by a hostile driver while we read it. So: a descriptor is copied, then looked at, once; an address becomes a
 * pointer only by ram_at() with its length; a chain has at most as many descriptors as the queue and VIRTQ_SEGS_MAX segments;
 * indices are taken modulo the size. What cannot be is -EBADMSG with a phrase: the device is broken until the driver resets it, nothing
 * else happens. Under the device's lock.
 */
#ifndef BULKHEAD_VMM_DEVICES_VIRTQ_H
#define BULKHEAD_VMM_DEVICES_VIRTQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vmm/kvm/ram.h"

#define VIRTQ_SIZE_MAX 256u
#define VIRTQ_SEGS_MAX 256u

struct virtq {
	const struct ram *ram;
	uint16_t max;               /* most the device takes */
	uint16_t size;              /* a power of two <= max, once ready */
	bool ready;
	uint64_t desc, avail, used; /* guest-physical, as the driver gave them */
	bool event_idx, indirect;   /* negotiated */
	const uint8_t *desc_p;
	uint8_t *avail_p, *used_p;
	uint16_t last_avail;        /* next slot of the available ring to be looked at */
	uint16_t used_idx;          /* next slot of the used ring to be filled */
	uint16_t signalled;         /* used_idx when the driver was last interrupted */
	uint64_t popped;            /* chains, for statistics */
	const char *why;            /* phrase of the last -EBADMSG */
};

/* A request: first the segments the device reads, then those it writes. Pointers are into guest memory. */
struct virtq_chain {
	uint16_t head;
	unsigned nout, nin;
	uint64_t out_len, in_len;
	struct iovec seg[VIRTQ_SEGS_MAX];
};

void virtq_init(struct virtq *q, const struct ram *ram, uint16_t max);
void virtq_reset(struct virtq *q);
/* The driver says that size and addresses stand. 0 or -EBADMSG. */
int virtq_enable(struct virtq *q, bool event_idx, bool indirect);
/* The next request: 1 and the chain; 0 none; -EBADMSG. */
int virtq_pop(struct virtq *q, struct virtq_chain *c);
/* As if the last virtq_pop() had not been. */
void virtq_unpop(struct virtq *q);
/* Gives a request back, `written` bytes of its writable part filled. */
void virtq_push(struct virtq *q, uint16_t head, uint32_t written);
/* The driver wants to hear of what was pushed since it was last asked. */
bool virtq_should_interrupt(struct virtq *q);
/* Asks for a doorbell at the next request. True: there is one already, look again. */
bool virtq_rearm(struct virtq *q);
/* Asks for a doorbell at the first request after those that are there (not looked at yet or not); virtq_grew() of what this returned: it has come. */
uint16_t virtq_arm_new(struct virtq *q);
bool virtq_grew(const struct virtq *q, uint16_t at);

/* Copies from the readable part at `off`; returns how many bytes (short at the end). */
size_t chain_read(const struct virtq_chain *c, size_t off, void *dst, size_t n);
/* Copies to the writable part at `off`. */
size_t chain_write(const struct virtq_chain *c, size_t off, const void *src, size_t n);
/* The part [off, off + n) of the readable (in = false) or writable segments as an iovec; returns its entries, 0 when the part is not
 * wholly there. out has room for VIRTQ_SEGS_MAX. */
unsigned chain_slice(const struct virtq_chain *c, bool in, uint64_t off, uint64_t n, struct iovec *out);

#endif
