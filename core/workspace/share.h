/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One directory of the host, served to a guest as raw FUSE messages: requests in, replies and invalidations out, no descriptor of its own to
 * the guest. libfuse3's low-level API does the protocol; check.h stands before it.
 *
 * What holds whatever the guest sends: only names without a slash are used, relative to descriptors of directories inside; no symbolic link,
 * magic link or mount is ever followed; only regular files and directories are opened; files with names outside the workspace are not written;
 * hidden names do not exist. Inodes and handles are numbers that are looked up, never pointers.
 *
 * Single-threaded and synchronous: every request is answered when share_take() returns.
 */
#ifndef BULKHEAD_WORKSPACE_SHARE_H
#define BULKHEAD_WORKSPACE_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/proto/fs.h"
#include "core/workspace/check.h"

#define SHARE_UID 1000u /* the guest's agent: who owns what the host's user owns */
#define SHARE_NOBODY 65534u
#define SHARE_OUT_MAX (8u * CHECK_REPLY_MAX) /* of replies that wait; more stop the requests */

struct hide;
struct share;

enum share_note {
	SHARE_HIDDEN, /* a hidden name was come upon: its path */
	SHARE_LINKED, /* a file that has names outside too was to be changed: refused */
	SHARE_MOUNT,  /* another file system is mounted there: not shown */
	SHARE_NOTES
};

struct share_opts {
	int root;                /* directory, O_PATH; taken */
	int proc;                /* /proc/self/fd, O_PATH; borrowed */
	bool readonly;
	bool ahead;              /* the guest's end understands FS_AHEAD (core/proto/fs.h) */
	bool watch;              /* inotify: without it the guest's caches are good for a second only */
	const struct hide *hide; /* borrowed; may be NULL */
	size_t max_fds;          /* inodes whose descriptor is kept open, >= 64 */
	size_t max_watches;      /* directories that are watched, 0 as many as the host lets us; what the guest knows of others is good for a second only */
	void (*note)(void *arg, enum share_note what, const char *path); /* path from the root, raw bytes; may be NULL. At most 256 of a kind */
	void *arg;
};

struct share_stats {
	uint64_t requests, refused, read, written, notices;
	uint32_t nodes, fds, watches, handles;
};

int share_create(struct share **out, const struct share_opts *o, struct err *e);
void share_destroy(struct share **s);
/* A new kernel's connection begins (INIT will come): inodes and handles of the last are forgotten. `out` is where replies go; borrowed. */
int share_begin(struct share *s, struct buf *out);
/*
 * After share_begin(), where the guest may lend some of its memory (FS_WINDOW in core/proto/fs.h): the file that this is, borrowed until share_end(), and the
 * sign it was given. Once it has, replies no more go to `out` but to that memory, by share_flush().
 */
void share_memory(struct share *s, int memory, const uint8_t sign[FS_LANE_SIGN]);
bool share_has_window(const struct share *s);
/*
 * Replies and invalidations into the guest's memory: bytes that found no room there and wait, to be tried again soon; -EBADMSG as share_take(). *wake: the
 * guest does not look there, and is to be sent a byte.
 */
ssize_t share_flush(struct share *s, bool *wake);
/* Room for replies: with less than CHECK_REPLY_MAX nothing is taken. */
size_t share_room(const struct share *s);
/* No connection: nothing is sent. */
void share_end(struct share *s);
/*
 * Handles the first request of p[0..n): bytes used; 0 when it is not whole yet; -EBADMSG when it cannot be one (the connection is of no
 * use any more); -EAGAIN when `out` has less than CHECK_REPLY_MAX room (call again when it has).
 */
ssize_t share_take(struct share *s, const uint8_t *p, size_t n);
/* The inotify descriptor to be watched for reading, -1 none; share_changes() when it is readable, or when `out` has room again. */
int share_watch_fd(const struct share *s);
void share_changes(struct share *s);
void share_stats(const struct share *s, struct share_stats *st);

#endif
