/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between one /dev/fuse and the host's stream of that workspace: requests out, replies and invalidations in, as they are.
 *
 * The kernel says INIT once. When the host's end has died and another connects, that INIT is said to it again and its answer dropped; what
 * was under way is answered with EIO, and so is what comes while nobody is there. Inodes are numbered anew by the new end: the kernel finds out
 * by ESTALE and looks the names up again.
 *
 * This runs in PID 1, which therefore must never touch a path below a workspace: it would wait for itself.
 */
#ifndef BULKHEAD_GUEST_FUSERELAY_H
#define BULKHEAD_GUEST_FUSERELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "guest/mux.h"

#define FUSE_DATA_MAX (512u * 1024u)             /* of one read or write: what the host promises the kernel */
#define FUSE_REQUEST_MAX (FUSE_DATA_MAX + 4096u) /* of one message, either way; the host's CHECK_*_MAX */

struct fuserelay;

struct fuserelay_ops {
	void (*on_up)(void *arg, bool again);  /* the host's end answers; again: it is a new one, everything cached is of the old */
	void (*on_lost)(void *arg);            /* nobody is there: EIO */
};

/*
 * Takes dev, an open /dev/fuse that is being (or will be) mounted: at `share`, with an overlay of it at `overlay` (NULL none), both borrowed
 * (fuseside.h has them). NULL when out of memory.
 */
struct fuserelay *fuserelay_create_take(int dev, const char *share, const char *overlay, const struct fuserelay_ops *ops, void *arg);
/*
 * The host's stream, from here on its own; replaces the one before. *ops and *arg are what it is to be served with. With a port's name the messages go by
 * that lane (core/proto/fs.h), whose sign is given; when there is no such port, by the stream, as with NULL.
 */
void fuserelay_attach(struct fuserelay *r, struct gstream *st, const char *lane, const uint8_t *sign, const struct gstream_ops **ops, void **arg);
/* A process has ended; true if it was one of fuseside.h's. */
bool fuserelay_reaped(struct fuserelay *r, pid_t pid);
/* Nobody serves it any more: every file of it answers ENOTCONN. */
void fuserelay_abort(struct fuserelay *r);

#endif
