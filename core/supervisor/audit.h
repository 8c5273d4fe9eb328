/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit log: every decision, injection and (issue 4) apply as one JSON line in STATE/audit/, each with the SHA-256 of the line before
 * it (chain.h says what stands on disk). A record is handed to the kernel before audit_add() returns, so that no SIGKILL loses it, and is
 * on the disk within AUDIT_SYNC_MS (a worker syncs). What cannot be written is kept, at most CHAIN_PENDING_MAX, and tried again; what is
 * lost beyond that is itself a record. A sandbox that makes more records than its share (fold.h) gets those alike counted. Everything here runs on the loop's thread; the work on files that may last is a worker's.
 */
#ifndef BULKHEAD_SUPERVISOR_AUDIT_H
#define BULKHEAD_SUPERVISOR_AUDIT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/proto/net.h"

struct audit;
struct call;
struct super;

#define AUDIT_SYNC_MS 100u
#define AUDIT_EVENTS_A_SECOND 200u /* told as events; all are written */
#define AUDIT_READ_MAX 5000u       /* records a read may return */

/* Opens su->audit; a cut or torn end found there is told in the lifecycle log and becomes a record. 0 or -errno with a sentence. */
int audit_open(struct super *su, struct err *e);
/* Writes and syncs what is left (blocking), closes; without one, nothing. */
void audit_close(struct super *su);
/* One record of bulkhead-net of that sandbox; scrubbed here. Also the `decision` event. */
void audit_add(struct super *su, const char *sandbox, const struct net_record *r);
/* So many records of that sandbox found no room on their way here. */
void audit_lost(struct super *su, const char *sandbox, uint64_t count);
/* Any other record: an object without seq, at, prev; takes it. "event" says its kind. Also the `audit` event, without the list of every file. */
void audit_add_json_take(struct super *su, json_t *o);

/* Both are answered from a worker. Decisions of `sandbox` and `verdict` (NULL: all), newest last, as many as fit an answer: {"decisions": [...]} */
void audit_read_call(struct call *c, const char *sandbox, const char *verdict, size_t lines);
/* What is no decision of a connection: files and credentials of the person, and alarms. {"records": [...]} */
void audit_doings_call(struct call *c, const char *sandbox, size_t lines);
/* {"records", "ok", "problem", "head"} */
void audit_verify_call(struct call *c);

#endif
