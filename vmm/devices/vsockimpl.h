/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to vsock.c (the guest's packets, the device's life), vsockconn.c (connections, and what is said to the guest) and vsockfill.c (its data).
 * Under the device's lock.
 */
#ifndef BULKHEAD_VMM_DEVICES_VSOCKIMPL_H
#define BULKHEAD_VMM_DEVICES_VSOCKIMPL_H

#include "core/loop/after.h"
#include "core/loop/stream.h"
#include "vmm/devices/vsock.h"

enum vsock_queue { Q_RX, Q_TX, Q_EVENT, Q_NUM };
#define VSOCK_CID_HOST 2u
#define VSOCK_STREAM 1u
#define VSOCK_TABLE 4096u
#define VSOCK_RESETS_MAX 128u
#define VSOCK_BURST 64u
#define VSOCK_FILL_FIRST 4u
#define VSOCK_TOO_SMALL "a receive buffer is too small for a packet"

/* What is to be said of a connection. */
enum vconn_due { DUE_REQUEST = 1, DUE_RESPONSE = 2, DUE_CREDIT = 4, DUE_SHUTDOWN = 8, DUE_RESET = 16 };

struct vconn {
	struct vsock *vs;
	struct vconn *next;            /* in its slot */
	struct vconn *rnext, **rprev;  /* in the ready list; rprev NULL: not in it */
	uint32_t host_port, guest_port;
	bool open, silent;             /* silent: VSOCK_PORT_UP */
	channel_opened fn;
	void *arg;
	struct stream *s;
	unsigned due;
	uint32_t sent, peer_alloc, peer_fwd;   /* to the guest */
	uint32_t received, told;               /* from the guest; `told`: the fwd_cnt it last heard */
	bool eof_sent, eof_got;
	bool deaf;                             /* the guest takes no more */
	bool dead;                             /* only its reset is still to be said */
	bool ending;                           /* both directions ended by the guest: reset once the socket has all */
	bool lingers;                          /* over for the guest; its socket still takes what it had sent. In vs->lingering, not in a slot */
	uint32_t window;                       /* see VSOCK_WINDOW */
	unsigned batch;                        /* receive buffers to be tried at the next read; 0: VSOCK_FILL_FIRST */
	uint64_t asked_ms;                     /* when it was dialled */
};

/* Receive buffers that one read fills, in order; what lies where in them is a copy, checked. */
struct vsock_batch {
	unsigned n, nheads, nparts;
	struct { uint16_t id, nheads; uint32_t room; } of[VSOCK_BURST];
	struct iovec head[VSOCK_BURST + VSOCK_HEAD], part[VSOCK_BURST + VIRTQ_SEGS_MAX]; /* their heads, and what is behind these */
};

struct vsock {
	struct channel base;
	struct virtio v;
	uv_loop_t *loop;
	const struct channel_events *ev;
	void *arg;
	bool up, lost, closed;
	bool restored;         /* the driver has not been told yet that all connections are gone (5.10.6.7) */
	bool telling;          /* it was told, and has not given the event's buffer back: its packets may be of before */
	uint16_t event_at;     /* virtq_arm_new() of the event queue, while telling */
	uint32_t next_port, count;
	struct vconn *slot[VSOCK_TABLE], *lingering;
	struct after *patience; /* while a dial waits for its answer */
	uint64_t answer_ms;     /* VSOCK_ANSWER_MS, but in tests */
	struct vconn *ready, **ready_tail;
	struct { uint32_t host_port, guest_port; } reset[VSOCK_RESETS_MAX];
	unsigned nresets;
	bool tx_stalled;
	uint64_t in, out;
	struct virtq_chain chain;
	struct vsock_batch batch;
	struct vconn *joining; /* its callback is on the stack: it may be joined now */
};

void vsock_lock(struct vsock *vs);
void vsock_unlock(struct vsock *vs);

/* Where the connection hangs, or would. */
struct vconn **vconn_find(struct vsock *vs, uint32_t host_port, uint32_t guest_port);
/* NULL: too many, or no memory. */
struct vconn *vconn_new(struct vsock *vs, uint32_t host_port, uint32_t guest_port);
/* Gives it a socket (taken); 0 or -errno. */
int vconn_join(struct vconn *c, int fd);
/* It has something to say. */
void vconn_make_ready(struct vconn *c);
bool vconn_has_more(const struct vconn *c);
/* What every packet of it says. */
struct vsock_head vconn_head(const struct vconn *c);
/* Bytes that may go from its socket to the guest now; 0: none wait there, or the guest takes none. */
uint32_t vconn_fillable(const struct vconn *c);
/* Reads them straight into at most `most` of the guest's receive buffers. How many of these that took (at least 1); 0: there is none. */
unsigned vconn_fill(struct vconn *c, unsigned most);
/* Bytes of the guest that its socket has taken: the credit it gets back. */
uint32_t vconn_taken(const struct vconn *c);
/* Tells the guest of room once a quarter of the window has gone through. */
void vconn_renew(struct vconn *c);
/* Ends it when both directions are done. */
void vconn_finish(struct vconn *c);
/* Ends it without a word to the guest; who waits for it to open is told `why`. */
void vconn_fail(struct vconn *c, int why);
/* The guest has forgotten it; what it sent before still goes to the socket. */
void vconn_part(struct vconn *c);
/* Ends it; the guest is told once it gives a buffer, until then it holds its ports and nothing else. */
void vconn_reset(struct vconn *c);
/* For a connection that does not exist. */
void vsock_say_reset(struct vsock *vs, uint32_t host_port, uint32_t guest_port);
/* Says what is due, as far as the guest gave buffers. */
void vsock_pump(struct vsock *vs);

#endif
