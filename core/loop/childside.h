/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A child's end of core/proto/child.h: control connection (descriptor 3) and the listening socket on which a later supervisor finds
 * it (descriptor 4). The owner does not see which connection it speaks over.
 */
#ifndef BULKHEAD_LOOP_CHILDSIDE_H
#define BULKHEAD_LOOP_CHILDSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "core/base/buf.h"
#include "core/base/rbuf.h"
#include "core/proto/child.h"

struct childside;

struct childside_ops {
	/* A message with a well-formed head; r stands at the payload. fds as in seq.h. */
	void (*on_msg)(void *arg, const struct child_head *h, struct rbuf *r, int *fds, size_t nfds);
	/* A new supervisor has connected (not called for the first connection): send *_READY, the whole state, *_SYNCED. */
	void (*on_adopted)(void *arg);
	/* The supervisor is gone; the child goes on. A child that has not been given *_START yet should exit. May be NULL. */
	void (*on_orphaned)(void *arg);
};

/* Takes descriptors CHILD_FD_CONTROL and CHILD_FD_LISTEN. 0 or -errno. */
int childside_open(struct childside **out, uv_loop_t *loop, const struct childside_ops *ops, void *arg);
/*
 * b begins with child_head_pack(). 0, or -errno and it is dropped: without a supervisor (the state is told again at adoption), or one that does
 * not read.
 */
int childside_send(struct childside *c, const struct buf *b);
/* What the supervisor says may be a credential: as seq_private(), for this connection and all that come. */
void childside_private(struct childside *c);
bool childside_connected(const struct childside *c);
/* Blocks up to timeout_ms until what was sent has left. */
void childside_drain(struct childside *c, int timeout_ms);
void childside_close(struct childside **c);

#endif
