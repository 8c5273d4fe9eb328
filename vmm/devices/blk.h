/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-blk (virtio 1.2, 5.2) on a raw file: read, write, flush, discard, write zeroes, id; several queues. Each queue has a thread of its own, which
 * makes ordinary file calls into and out of guest memory without the device's lock: a slow disk holds up nothing but its own requests.
 * Discarded and zeroed ranges become holes.
 *
 * A write that the host refuses (its file system is full) is not the guest's to know, whose own file system would break over it: with refused()
 * the request goes back into its queue and is served again after the next blk_go(); without it the driver is told S_IOERR.
 *
 * `busy` requests are out of the queues and not back in them. A driver's reset waits for them (its own vCPU, nobody else); so does a
 * pause: blk_hold(), and then `wake` once blk_idle().
 */
#ifndef BULKHEAD_VMM_DEVICES_BLK_H
#define BULKHEAD_VMM_DEVICES_BLK_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/base/err.h"
#include "vmm/devices/virtio.h"

#define BLK_ID_LEN 20u
#define BLK_REQUEST_MAX (64u << 20) /* bytes of data in one request */
#define BLK_RANGES_MAX 16u          /* of a discard or write-zeroes */
#define BLK_BURST 64u

#define BLK_QUEUES_MAX 4u

struct blk_counts { atomic_uint_fast64_t reads, writes, flushes, read_bytes, write_bytes, failed; };

struct blk_queue {
	struct blk *b;
	unsigned n;
	pthread_t thread;
	bool started;
	struct virtq_chain chain; /* the request in work: its thread's alone */
	struct iovec iov[VIRTQ_SEGS_MAX];
	int error;                /* errno of a write that the host refused */
};

struct blk {
	struct virtio v;
	int fd;            /* its own */
	bool readonly;
	uint64_t sectors;
	char id[BLK_ID_LEN + 1];
	struct blk_queue queue[BLK_QUEUES_MAX];
	struct blk_counts counts;
	/* under the device's lock */
	unsigned busy, held;
	pthread_cond_t idle;
	void (*wake)(void *arg); /* held and idle; under the lock, any thread; may be NULL */
	void (*refused)(void *arg, int error); /* of a write; under the lock, any thread; may be NULL. The machine is to pause, then blk_go() */
	void *wake_arg;    /* of both */
	/* the threads */
	int stop;          /* eventfd */
	int (*seal)(void *arg, struct err *e);
	void *seal_arg;
	struct err fault;
	int sealed;        /* eventfd: a thread tells that it is sealed, or not (fault) */
};

/* fd is duplicated; 1 to BLK_QUEUES_MAX queues. 0 or -errno; then blk_release() is still to be called. */
int blk_init(struct blk *b, const struct ram *ram, int fd, bool readonly, const char *id, unsigned queues, int irq, struct err *e);
/* A snapshot's device (what virtio_save() wrote) had a disk of this size. 0 or -errno with a sentence. */
int blk_fits(const struct blk *b, struct rbuf saved, struct err *e);
/* Starts the threads, each of which seals itself first (seal may be NULL) and then serves its queue's doorbell. */
int blk_start(struct blk *b, int (*seal)(void *arg, struct err *e), void *arg, struct err *e);
/* No new request is begun / they are again. Calls nest. */
void blk_hold(struct blk *b);
void blk_go(struct blk *b);
bool blk_idle(struct blk *b);
/* Ends the threads; the request in work of each is finished first. */
void blk_release(struct blk *b);

#endif
