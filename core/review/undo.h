/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking an apply back, and what was applied before. An undo is an apply of its own (record.h), so it can itself be undone. It happens whole or
 * not at all: while any of the files is no longer what the apply made of it, nothing is changed. Blocking; one thread.
 */
#ifndef BULKHEAD_REVIEW_UNDO_H
#define BULKHEAD_REVIEW_UNDO_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/review/apply.h"

/* Each file of it: what came of it, or (CONFLICT) why the undo cannot be. */
typedef void (*undo_each)(void *arg, const char *path, enum apply_result r, const struct apply_told *told);

/* The newest apply in this workspace that was not undone; 0 none. */
uint32_t undo_newest(int store, const char *workspace);
/*
 * Undoes apply `id`. *by: the undo's own id. -ENOENT there is none, -EALREADY it was undone, -ESTALE a file was changed since (each told,
 * nothing done), -EIO some could not be written (each told), -errno; all with a sentence.
 */
int undo_apply(int root, int store, const char *workspace, uint32_t id, uint64_t now_ms, undo_each each, void *arg, uint32_t *by, struct err *e);

struct undo_summary {
	struct record_head head;
	uint32_t undone_by;
	uint32_t files; /* done */
};
/* The newest first, at most max; how many. */
size_t undo_history(int store, struct undo_summary *out, size_t max);

#endif
