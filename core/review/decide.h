/* SPDX-License-Identifier: Apache-2.0 */
/* The undo store of a bulkhead-review, and what is settled in it at the start (apply.h). */
#ifndef BULKHEAD_REVIEW_DECIDE_H
#define BULKHEAD_REVIEW_DECIDE_H

#include "core/base/err.h"

struct review;

/* The undo directory, opened; made when it is missing. -errno with a sentence. */
int decide_store(struct review *r, struct err *e);
/* Applies that were cut off are settled. Once, when the layers stand. */
void decide_recover(struct review *r);

#endif
