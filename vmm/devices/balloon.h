/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-balloon (virtio 1.2, 5.5): pages the guest gives up (inflate), statistics, free page reporting (memory the guest does not use goes
 * back to the host by itself) and free page hints. Deflating on the guest's own want of memory is offered: it then simply takes pages back, and
 * they are there. What is given up or reported is punched out of the machine's memory file; a guest can only ever give up its own.
 *
 * A hinted page may be used again by the guest at any moment without a word (5.5.6.6), so nothing of it may be lost: it is only marked as the
 * first that the host takes back when it is short of memory (MADV_COLD). Loop thread.
 */
#ifndef BULKHEAD_VMM_DEVICES_BALLOON_H
#define BULKHEAD_VMM_DEVICES_BALLOON_H

#include "vmm/devices/virtio.h"

#define BALLOON_PFNS_MAX 4096u /* in one request; Linux sends 256 */
#define BALLOON_BURST 16u
#define BALLOON_TURN (64u << 20) /* bytes given up or marked a turn; the loop has others to serve */
#define BALLOON_CALL (64u << 10) /* what a call to the kernel counts for, beside its bytes */

enum balloon_stat { BALLOON_SWAP_IN, BALLOON_SWAP_OUT, BALLOON_MAJOR_FAULTS, BALLOON_MINOR_FAULTS, BALLOON_FREE, BALLOON_TOTAL, BALLOON_AVAILABLE,
		    BALLOON_CACHES, BALLOON_STAT_NUM };

struct balloon {
	struct virtio v;
	const struct ram *ram;
	struct virtq_chain chain;
	uint32_t pfn[BALLOON_PFNS_MAX];
	int64_t budget;      /* of this turn, in bytes */
	unsigned q;          /* whose turn it is */
	uint64_t done[VIRTIO_QUEUES_MAX]; /* of each queue's first request's writable part, when a turn was not enough for it */
	bool stats_held;     /* the driver's statistics buffer is here */
	uint16_t stats_head;
	uint64_t stat[BALLOON_STAT_NUM]; /* as the guest says; claimed */
	uint64_t given, reported, hinted; /* bytes given up by inflating, by reporting; marked by hints */
	uint32_t hint_id;                /* of the round asked for; below HINT_FIRST none yet */
	bool hinting;                    /* the driver has begun the round */
};

void balloon_init(struct balloon *b, const struct ram *ram, int irq);
/* How much the guest is to give up; it follows as it can. Takes the lock. */
void balloon_target(struct balloon *b, uint64_t bytes);
/* Asks for a round of free page hints; they come later. Takes the lock. */
void balloon_hint(struct balloon *b);
struct balloon_counts { uint64_t target, actual, given, reported, hinted, guest_free, guest_available; };
/* In bytes; actual and guest_* are the guest's word. Takes the lock. */
void balloon_counts(struct balloon *b, struct balloon_counts *c);
/* Beside virtio_save() and virtio_load(). */
void balloon_save(struct balloon *b, struct buf *out);
int balloon_load(struct balloon *b, struct rbuf *r);
/* Asks the driver for new statistics; they come later. Takes the lock. */
void balloon_ask(struct balloon *b);

#endif
