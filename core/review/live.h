/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A live workspace: what is there now against what was there when the machine was started. Names, sizes, times and modes of everything are taken
 * at once, digests and copies of small files after that, as far as there is room (base.h): a file that changed before is shown without its old lines.
 */
#ifndef BULKHEAD_REVIEW_LIVE_H
#define BULKHEAD_REVIEW_LIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/review/base.h"
#include "core/review/items.h"
#include "core/review/livewatch.h"

/* The snapshot of this generation, unless it was taken already. False: there is more than can be remembered. */
bool live_begin(struct ground *g, uint32_t gen);
/*
 * All that is different now: items in a chain (`next`), owned by the caller: live_release(). NULL when nothing changed. Files and links
 * only: directories come and go with them. `watch` (NULL none) is told of every directory.
 */
struct item *live_scan(struct ground *g, struct livewatch *watch);
/* The same, when nothing but these paths may have changed since; emptied. False: everything is to be looked at. */
bool live_update(struct ground *g, struct item **chain, struct pathset *dirty, struct livewatch *watch);
void live_release(struct item **chain);

#endif
