/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sandbox's bulkhead-review (core/proto/changes.h) and the questions put to it: what the sandbox changed, and applying it. The supervisor
 * never reads a file's content or a guest's byte: an answer is a tree of bounded texts and numbers, made into JSON here.
 */
#ifndef BULKHEAD_SUPERVISOR_REVIEW_H
#define BULKHEAD_SUPERVISOR_REVIEW_H

#include <jansson.h>
#include <stdbool.h>

#include "core/base/err.h"
#include "core/base/rbuf.h"
#include "core/proto/changes.h"

struct call;
struct kid;
struct sandbox;

/* A bulkhead-review for the machine that was just started, or in place of one that died. Nothing when no workspace wants one. */
int machine_start_review(struct sandbox *sb, struct err *e);
void review_gone(struct sandbox *sb, const char *how);
/* One without a machine, for what concerns the host alone: a machine's own is not started before it has left, which it does by itself. */
bool review_is_alone(const struct sandbox *sb);
/* Of another machine: its counts are forgotten. */
void review_forget(struct sandbox *sb);
void review_fail_all(struct sandbox *sb, const char *why);

/* Called with the whole answer before the client gets it: it may look and add (an audit record); borrowed. */
typedef void (*review_answered_fn)(struct sandbox *sb, json_t *answer);
/*
 * Asks; the call is answered later in any case (also with its failure, at once). Borrows the ask. `fd` (taken, -1 none) is what REVIEW_PATCH writes
 * to; it goes to the client with the answer.
 */
void review_ask_take(struct sandbox *sb, const struct review_ask *m, struct call *c, int fd, review_answered_fn answered);
/* kid_review.c's: the first -EBADMSG ends the child. */
int review_told_answer(struct kid *k, const struct review_piece *p);
void review_told_counts(struct sandbox *sb, const struct review_counts *c);

/* {"files", "add", "del", "conflicts", "marked", "ready", "truncated"} of all workspaces together. */
json_t *review_counts_json(const struct sandbox *sb);

#endif
