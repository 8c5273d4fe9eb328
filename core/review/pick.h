/* SPDX-License-Identifier: Apache-2.0 */
/* Some hunks of a diff and not the others. Pure. */
#ifndef BULKHEAD_REVIEW_PICK_H
#define BULKHEAD_REVIEW_PICK_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"

/*
 * Appends to `out` the old text with those hunks of the diff from old to new (with that many lines of context, as git_patch_from_buffers() cuts them)
 * that ids[0..n) names, counted from 0. -ESTALE with a sentence: there is no such hunk (any more), -EINVAL: binary, -ENOMEM.
 */
int pick_hunks(const void *old, size_t old_n, const void *new, size_t new_n, uint32_t context, const uint16_t *ids, size_t n, struct buf *out, struct err *e);

#endif
