/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much of the audit log one sandbox may fill. The log is of a bounded size and rotates: a guest that repeats itself would push what happened
 * before out of it, its own and all others'.
 *
 * A bucket of FOLD_BURST records that fills again by FOLD_A_SECOND; another one for alarms and injections, which refusals cannot empty. From an
 * empty bucket on, and for FOLD_WINDOW_MS at a time, of records that differ in nothing but connection, process, path, bytes and time the first is
 * written whole and the others become one that counts them. What is kept apart so is bounded for each of three kinds (let out; credentials;
 * refused), so that none hides another. Pure but for the memory.
 */
#ifndef BULKHEAD_SUPERVISOR_FOLD_H
#define BULKHEAD_SUPERVISOR_FOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/proto/net.h"

#define FOLD_BURST 10000u
#define FOLD_A_SECOND 10u
#define FOLD_WINDOW_MS 60000u

struct fold;

struct fold *fold_create(uint64_t now_ms); /* NULL: out of memory */
void fold_destroy(struct fold *f);
/* True: write it. False: it is counted. */
bool fold_take(struct fold *f, const struct net_record *r, uint64_t now_ms);
/*
 * Tells what was counted and forgets it, when the window is over (or `now`). *r is the first that was counted; `in`, `out` are sums, ms is the
 * longest; path, process and connection are empty; a name that is empty in a record without address stands for many. True when something was.
 */
bool fold_flush(struct fold *f, uint64_t now_ms, bool now, void (*fn)(void *arg, const struct net_record *r, uint64_t count), void *arg);
bool fold_counts(const struct fold *f);
/* Nothing is counted and the buckets are full: it may be destroyed. */
bool fold_idle(struct fold *f, uint64_t now_ms);

#endif
