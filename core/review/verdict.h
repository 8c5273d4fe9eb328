/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to apply (decide.c) and discard (discard.c): one question about many changes, what came of each, and the answer. verdict_begin(), then each
 * change goes through `fn`, which ends in verdict_did() or verdict_skip(); verdict_answer(); verdict_end() in any case.
 */
#ifndef BULKHEAD_REVIEW_VERDICT_H
#define BULKHEAD_REVIEW_VERDICT_H

#include "core/review/apply.h"
#include "core/review/digest.h"
#include "core/review/review.h"

struct verdict {
	struct layer *l;
	const struct review_ask *m;
	bool applying;                      /* else a discard */
	struct apply *a;
	struct buf applied, skipped, audit; /* parts of the answer */
	struct digest *sum;                 /* over all that was done: path, before, after */
	uint32_t done, left;
	bool cut;
	char **taken;                       /* discard: owned, sorted: what goes */
	size_t ntaken;
	char entry[PLACE_PATH_MAX + 1];     /* discard: the last that went */
};

/* One change, and the person's item for it (NULL: they took all). */
typedef void (*verdict_fn)(struct verdict *v, const struct change *c, const struct review_item *it);

/* 0 or -errno with a sentence; verdict_end() also after a failure. */
int verdict_begin(struct verdict *v, struct review *r, const struct review_ask *m, struct err *e);
void verdict_end(struct verdict *v);
/* Each change that was asked for, deletions first, then looks at what became of the layer. */
int verdict_go(struct verdict *v, verdict_fn fn, struct err *e);
void verdict_answer(struct verdict *v, struct buf *out, uint32_t id);
/* `told` NULL: there is nothing to write down of it. */
void verdict_did(struct verdict *v, const char *path, const struct apply_told *told);
void verdict_skip(struct verdict *v, const char *path, const char *kind, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* A path as it is spoken of; dst. */
const char *verdict_shown(const char *path, char dst[4 * PLACE_PATH_MAX + 1]);

#endif
