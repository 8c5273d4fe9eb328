/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device behind the modern virtio-mmio transport (virtio 1.2, 4.2; the device's life 2.1 and 3.1). The transport knows the registers,
 * what may be written when, and the queues; a device is its struct virtio_ops.
 *
 * Threads: vCPUs call virtio_read/virtio_write, the device's own thread (the loop, or one of its own) virtio_kick. All of it is under `lock`, except
 * the interrupt status, which is atomic: a driver acknowledges interrupts while a long request is being served.
 * A driver that does what may not be breaks its device (NEEDS_RESET) until it resets it, and is told of in the log, in moderation: so many
 * lines a second, and VIRTIO_TOLD_MAX in all.
 */
#ifndef BULKHEAD_VMM_DEVICES_VIRTIO_H
#define BULKHEAD_VMM_DEVICES_VIRTIO_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/log.h"
#include "core/base/rbuf.h"
#include "vmm/devices/virtq.h"

#define VIRTIO_QUEUES_MAX 5u
#define VIRTIO_CONFIG_MAX 96u
#define VIRTIO_TOLD_MAX 100u

#define VIRTIO_F_INDIRECT_DESC_BIT (UINT64_C(1) << 28)
#define VIRTIO_F_EVENT_IDX_BIT (UINT64_C(1) << 29)
#define VIRTIO_F_VERSION_1_BIT (UINT64_C(1) << 32)

enum virtio_status { ST_ACKNOWLEDGE = 1, ST_DRIVER = 2, ST_DRIVER_OK = 4, ST_FEATURES_OK = 8, ST_NEEDS_RESET = 64, ST_FAILED = 128 };

struct virtio;

struct virtio_ops {
	const char *name;
	uint32_t id;         /* virtio 1.2, 5 */
	unsigned nqueues;    /* at most; a device may have fewer (virtio.nqueues) */
	uint16_t queue_max;
	/* Under the lock. reset: forget every request. ready: the driver is there. notify: queue q has something. config: the driver wrote to
	 * the writable part. Any may be NULL but notify. */
	void (*reset)(void *self);
	void (*ready)(void *self);
	void (*notify)(void *self, unsigned q);
	void (*config)(void *self);
};

struct virtio {
	const struct virtio_ops *ops;
	void *self;
	unsigned nqueues;           /* of this one: ops->nqueues unless the device lowers it before anything else */
	pthread_mutex_t lock;
	uint64_t features;          /* offered */
	uint64_t driver_features;   /* taken */
	uint32_t features_sel, driver_features_sel, queue_sel, status, generation;
	struct virtq q[VIRTIO_QUEUES_MAX];
	uint8_t config[VIRTIO_CONFIG_MAX];
	unsigned config_len;
	unsigned config_w_at, config_w_len; /* what the driver may write of it */
	atomic_uint isr;
	int irq;                    /* eventfd, borrowed; -1 none (tests) */
	int kick[VIRTIO_QUEUES_MAX]; /* doorbells' eventfds, borrowed; -1 none */
	uint32_t again;             /* without a doorbell: queues that asked for another turn */
	uint64_t interrupts;
	struct log_limit complaints;
	unsigned told;              /* of them, in the life of the machine: a log is not the guest's to fill */
};

/* `features` beyond the three of the transport, which are always offered. */
void virtio_init(struct virtio *v, const struct virtio_ops *ops, void *self, const struct ram *ram, uint64_t features, int irq);
void virtio_release(struct virtio *v);

/* The registers, offset below 0x1000. What is not there reads as zero and is not written. */
void virtio_read(struct virtio *v, uint32_t off, uint8_t *data, unsigned len);
void virtio_write(struct virtio *v, uint32_t off, const uint8_t *data, unsigned len);
/* A doorbell was rung: takes the lock and serves the queue. */
void virtio_kick(struct virtio *v, unsigned q);

/* So far: requests taken from all queues, interrupts raised. Takes the lock. */
void virtio_counts(struct virtio *v, uint64_t *requests, uint64_t *interrupts);

/* What a snapshot keeps of a device. Takes the lock: what was being served is done. */
#define VIRTIO_STATE_MAX 512u
#define VIRTIO_SAVED_CONFIG 36u /* where the configuration begins in it */
void virtio_save(struct virtio *v, struct buf *b);
/* Into a fresh device, before any thread serves it: 0 or -EBADMSG. Every queue is then to be looked at, and the driver interrupted. */
int virtio_load(struct virtio *v, struct rbuf *r);

/* The rest is for devices, under the lock. */
static inline bool virtio_has(const struct virtio *v, unsigned bit) { return v->driver_features >> bit & 1; }
/* The driver is there and the device is whole. */
static inline bool virtio_runs(const struct virtio *v) { return (v->status & (ST_DRIVER_OK | ST_NEEDS_RESET | ST_FAILED)) == ST_DRIVER_OK; }
/* The driver did what may not be. */
void virtio_broken(struct virtio *v, const char *why);
/* virtq_pop of queue q; what is bad breaks the device and is 0. */
int virtio_pop(struct virtio *v, unsigned q, struct virtq_chain *c);
/* Interrupts the driver if it wants to hear of what was pushed to queue q. */
void virtio_signal(struct virtio *v, unsigned q);
/* The end of a turn: signals, and asks for another turn when `more` or when a request came meanwhile. A device serves a bounded number of
 * requests a turn, so that no guest holds a thread. */
void virtio_turn_end(struct virtio *v, unsigned q, bool more);
/* Another turn for queue q. */
void virtio_again(struct virtio *v, unsigned q);
/* The configuration changed. */
void virtio_config_changed(struct virtio *v);

#endif
