/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two processes beside a workspace's relay, for what may wait on the relay itself, which runs in PID 1:
 *
 * bulkhead-notify hands the host's invalidations to the kernel, which makes the writer wait for locks that a request under way may hold.
 *
 * bulkhead-list lists directories of whose names some have been asked for one by one: the kernel then has all of them, and asks no more. It opens
 * them by the node's number (the kernel's export handle of FUSE, fs/fuse/inode.c: FILEID_INO64_GEN), as nobody here knows their paths. What is
 * listed while the host changes it is not kept wrongly: the kernel holds the directory's lock from the question until the names are in, and an
 * invalidation that comes behind the answer waits for that lock.
 *
 * Either is started when first needed, and again when it has ended. Not thread-safe.
 */
#ifndef BULKHEAD_GUEST_FUSESIDE_H
#define BULKHEAD_GUEST_FUSESIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct fuseside;

/*
 * dev: the open /dev/fuse, borrowed until fuseside_abort(). `share`: where it is mounted; `overlay` (NULL none): where an overlay of it is, which has to
 * forget names that have changed; both borrowed. NULL when out of memory.
 */
struct fuseside *fuseside_create(int dev, const char *share, const char *overlay);
/* A message FUSE_NOTIFY_*, with its head. Dropped when the process cannot be started, or has a megabyte to go through. */
void fuseside_notify(struct fuseside *s, const uint8_t *p, size_t n);
/* The directory of that node is to be listed, if there is time for it. */
void fuseside_list(struct fuseside *s, uint64_t node);
/* A process has ended; true if it was one of these. */
bool fuseside_reaped(struct fuseside *s, pid_t pid);
/* Ends both; nothing is done any more. */
void fuseside_abort(struct fuseside *s);

#endif
