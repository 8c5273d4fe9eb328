/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A change as text that `git apply` takes: "diff --git" with what it needs of modes, renames, hunks, and binary content (whole, deflated). Names
 * with controls, quotes or bytes that are no UTF-8 are quoted as git does. Source: git's diff format (gitformat: diff-generate-patch).
 */
#ifndef BULKHEAD_REVIEW_PATCH_H
#define BULKHEAD_REVIEW_PATCH_H

#include <stdbool.h>

#include "core/review/review.h"

/* NULL: it can be said in a patch; else why not (a directory, a device, git's own). */
const char *patch_cannot(const struct change *c);
/* Appends. 0, -EIO, or b is failed. `old` and `new_` as they are to be compared; side.type WHITEOUT: there is none. */
int patch_put(struct buf *b, const char *from, const char *path, const struct content *old, const struct content *new_, unsigned context);

#endif
