/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two contents line by line (libgit2's own diff), and which contents have no lines: those with a NUL in their first 8000 bytes, as git has it.
 * git_libgit2_init() was called. Blocking, bounded by HUNKS_MAX bytes a side.
 */
#ifndef BULKHEAD_REVIEW_HUNKS_H
#define BULKHEAD_REVIEW_HUNKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/review/review.h"

#define HUNKS_MAX (16u << 20)       /* a larger file is shown as binary */
#define HUNKS_CONTEXT 3u            /* hunks are numbered with this context unless another is asked for */

struct hunk { unsigned id, old_start, old_lines, new_start, new_lines; const char *section; size_t nsection; /* borrowed: the line that names the part */ };
struct hunk_line { char k; /* ' ' '+' '-' '\\' */ const char *text; size_t n; /* borrowed, without its newline */ bool newline; /* it had one */ };

/* Each returns false to end it. */
struct hunk_ops {
	bool (*on_hunk)(void *arg, const struct hunk *h);
	bool (*on_line)(void *arg, const struct hunk_line *l);
};

bool content_binary(const struct content *c);
/* 0, 1 ended by a callback, -EFBIG, -EIO. What is no FILE or SYMLINK is taken as empty. */
int hunks_each(const struct content *old, const struct content *new_, unsigned context, const struct hunk_ops *ops, void *arg);
/* Lines added and removed. */
int hunks_count(const struct content *old, const struct content *new_, uint32_t *add, uint32_t *del);

#endif
