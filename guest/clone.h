/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mode `clone`: a git work tree of the sandbox's own under the path the host's has. Its objects are those of the host's repository, read through the
 * share (git's alternates): nothing is copied but the files that are checked out, and only what was committed is there.
 *
 * It lies on the sandbox's disk, <layer>/tree; what is being made is <layer>/new until it is whole and on the disk, so that half of one never counts.
 * Made by git as the sandbox's user, on branch bulkhead/<name> at the work tree's HEAD. Remotes: `host`, the share, and `origin`, if the host's has one.
 */
#ifndef BULKHEAD_GUEST_CLONE_H
#define BULKHEAD_GUEST_CLONE_H

#include <stddef.h>

#include "core/proto/fs.h"

#define CLONE_SETTLE_MS 120000u /* sessions do not begin before it is there, but for this long */
#define CLONE_LIMIT_S 900u      /* then git is ended */

/*
 * In a process of its own that may wait: makes it if there is none, and binds it to w->path, which exists. `share`: where the repository is mounted;
 * `layer`: on the sandbox's disk, only root's. 0 or -errno; then clone_why() may know more.
 */
int clone_place(const struct workspace *w, size_t index, const char *name, const char *share, const char *layer);
/* What git complained of when workspace `index` failed, one line; "" nothing. For the process that started the other. */
void clone_why(size_t index, char *dst, size_t cap);

#endif
