/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of a workspace that the host has sent ahead of their being asked for (core/proto/fs.h: FS_AHEAD): a LOOKUP, a listing or a look at the directory that they answer
 * does not go through the channel. They are good until it changes: the host says that something has (any invalidation), or the answer to a request of the guest's comes that
 * changed it (ahead_change_ends()).
 *
 * Each name holds one of the host's references to a node: given on to the kernel with an answer, or given back as a FORGET. Bounded: AHEAD_NAMES; the
 * oldest directory goes first. Not thread-safe. The host is trusted with what it says, not with our memory: what is no such message is dropped.
 */
#ifndef BULKHEAD_GUEST_AHEAD_H
#define BULKHEAD_GUEST_AHEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define AHEAD_NAMES 65536u /* held at once, over all directories */

struct ahead;
struct fuse_entry_out;
struct fuse_attr_out;

struct ahead *ahead_create(void); /* NULL when out of memory */
void ahead_destroy(struct ahead **a);

/* A message FS_AHEAD without FUSE's head; copied. */
void ahead_put(struct ahead *a, const uint8_t *p, size_t n);
/* 1: answer with *out (nodeid 0: there is no such name); 0: ask the host. name[0..len) without its NUL. */
int ahead_lookup(struct ahead *a, uint64_t dir, const char *name, size_t len, struct fuse_entry_out *out);
/*
 * A listing of this directory from this offset, as READDIRPLUS answers: bytes in dst, no more than cap (0: its end), or -1: ask the host. Names already given
 * come without a node. Not when most have been: then the kernel has let go of them, or somebody wants to know better.
 */
ssize_t ahead_list(struct ahead *a, uint64_t dir, uint64_t off, uint8_t *dst, size_t cap);
/* The directory's own attributes: 1 and *out; 0: ask the host. */
int ahead_attr(struct ahead *a, uint64_t dir, struct fuse_attr_out *out);
/*
 * A name of this directory was just found by ahead_lookup() at this time: is the directory to be listed, so that the kernel has all its names at
 * once? Not when it has few, nor soon again: a kernel that asks after that has let go of what it had.
 */
bool ahead_is_to_list(struct ahead *a, uint64_t dir, uint64_t now_ms);
/* A message FS_END without FUSE's head. */
void ahead_put_end(struct ahead *a, const uint8_t *p, size_t n);
/* The listing of this directory ends at this offset: said once. */
bool ahead_is_end(struct ahead *a, uint64_t dir, uint64_t off);
/* Something changed: nothing is known any more. */
void ahead_changed(struct ahead *a);
/* The connection is gone, and with it the host's references. */
void ahead_lost(struct ahead *a);

/* What a request changes: nothing; what nodes are; a name in a directory, that directory, and perhaps another node; anything. */
struct ahead_change {
	enum { AHEAD_NOTHING, AHEAD_NODE, AHEAD_NAME, AHEAD_ALL } what;
	uint32_t hash;        /* of the name */
	uint64_t node, other; /* 0: no other */
};
/* body[0..n): what is behind FUSE's head. Pure. */
struct ahead_change ahead_change_of(uint32_t opcode, uint64_t node, const uint8_t *body, size_t n);
/* It goes out: what it changes is not answered here until its answer has come. */
void ahead_change_begins(struct ahead *a, const struct ahead_change *c);
/* Its answer has come, and the kernel does not have it yet. */
void ahead_change_ends(struct ahead *a, const struct ahead_change *c);

/* Nodes to be given back: takes up to max of them. */
size_t ahead_forgets(struct ahead *a, uint64_t *node, size_t max);

#endif
