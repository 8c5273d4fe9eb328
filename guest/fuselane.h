/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A workspace's lane (core/proto/fs.h): the guest's end of a virtio port of its own. It is open from fuselane_open() to fuselane_close() or
 * on_gone; what comes does so by the port, or in a ring in memory; what the host sent before the sign is skipped, ours leaves before anything else. One owner, who embeds it.
 */
#ifndef BULKHEAD_GUEST_FUSELANE_H
#define BULKHEAD_GUEST_FUSELANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/proto/fs.h"
#include "guest/loop.h"

struct fuselane_ops {
	void (*on_input)(void *arg, struct buf *in); /* takes what it can from in; may close the lane */
	void (*on_room)(void *arg);                  /* after fuselane_write() took less than it was given */
	void (*on_gone)(void *arg);                  /* the host is not there any more: it is closed */
};

struct fuselane {
	int fd; /* -1: not open */
	struct watch w;
	const struct fuselane_ops *ops;
	void *arg;
	struct buf in;
	uint8_t sign[FS_LANE_SIGN];
	size_t signed_; /* bytes of ours that have left */
	bool synced;    /* the host's has come */
	struct fs_ring *ring; /* what comes is there, and the port but wakes us; NULL: it comes by the port */
	uint32_t taken;
	uint8_t wakes[64]; /* what the port brings then: of no meaning */
	struct peek peek;
};

/* in_max: most bytes that wait in `in`; a message fits. */
void fuselane_init(struct fuselane *l, size_t in_max, const struct fuselane_ops *ops, void *arg);
/* Opens the port of that name. 0 or -errno. */
int fuselane_open(struct fuselane *l, const char *port, const uint8_t sign[FS_LANE_SIGN]);
/* Of a descriptor, which is taken (tests). */
int fuselane_open_take(struct fuselane *l, int fd, const uint8_t sign[FS_LANE_SIGN]);
static inline bool fuselane_is_open(const struct fuselane *l) { return l->fd >= 0; }
/* How many of the n bytes left; fewer: on_room comes. Only while it is open. */
size_t fuselane_write(struct fuselane *l, const uint8_t *p, size_t n);
/* What comes from now on lies in the ring of `window`, FS_WINDOW_SIZE bytes that outlive the lane. 0 or -errno. */
int fuselane_ring(struct fuselane *l, uint8_t *window);
void fuselane_close(struct fuselane *l);

#endif
