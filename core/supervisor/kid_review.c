/* SPDX-License-Identifier: Apache-2.0 */
/* What bulkhead-review may say, and when. Its texts come from the guest and from the host's files: they are text for JSON, nothing else. */
#include "core/supervisor/kid.h"

#include <errno.h>

#include "core/base/str.h"
#include "core/proto/changes.h"
#include "core/supervisor/review.h"
#include "core/supervisor/sandbox.h"

static int on_counts(struct kid *k, struct rbuf *r)
{
	struct review_counts m;

	if (review_counts_unpack(r, &m) || m.index >= k->sb->spec.ws.n)
		return -EBADMSG;
	review_told_counts(k->sb, &m);
	return 0;
}

static int on_answer(struct kid *k, struct rbuf *r)
{
	struct review_piece m;

	return review_piece_unpack(r, &m) ? -EBADMSG : review_told_answer(k, &m);
}

#define TELLING (1u << KID_READY | 1u << KID_SYNCED)

static const struct kid_row rows[] = {
	{ REVIEW_READY, 1u << KID_STARTED, false, kid_on_ready },
	{ REVIEW_COUNTS, TELLING, false, on_counts },
	{ REVIEW_ANSWER, TELLING, false, on_answer },
	{ REVIEW_SYNCED, 1u << KID_READY, false, kid_on_synced },
};

const struct kid_table kid_review_table = { .name = "review", .program = "bulkhead-review", .rows = rows, .n = ARRAY_SIZE(rows) };
