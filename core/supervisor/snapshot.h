/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The snapshot of a sandbox: its machine's state, its memory and its disk of one moment, in `snapshot/` of its directory. One a sandbox;
 * a new one takes the place of the old.
 *
 * Making one: the machine is paused, bulkhead-vmm writes state and memory into `.snapshot-N/`, a worker copies the disk there (shared blocks
 * where the file system has them, else without its holes), the machine goes on, a worker brings all of it to the disk and renames. So what
 * has the legal name is whole. Whatever else happens to the sandbox meanwhile ends it; the machine's end comes first, always.
 *
 * Going back to one: the disk is copied to `.disk-N` by the worker that prepares a start, is called `.disk-restored` when a machine is
 * started with it and becomes the sandbox's disk when that machine runs. A snapshot that is refused costs nothing: the disk of now is kept.
 * A supervisor that comes later tells by the name: with a machine it is that machine's disk, without one it is nothing.
 */
#ifndef BULKHEAD_SUPERVISOR_SNAPSHOT_H
#define BULKHEAD_SUPERVISOR_SNAPSHOT_H

#include <jansson.h>

#include "core/base/err.h"
#include "core/supervisor/sandbox.h"

/* ---- what a person can ask; as life_*() in sandbox.h ---- */

/* `call` is held and answered when the snapshot is there, or is not; on failure it is the caller's still. */
int snapshot_make(struct sandbox *sb, struct call *call, struct err *e);
/* Its machine ends, and one that goes on from the snapshot begins: progress as of a start. */
int snapshot_restore(struct sandbox *sb, struct err *e);

/* ---- events ---- */

/* One is being made: the sandbox is not to be paused or resumed. */
bool snapshot_busy(const struct sandbox *sb);
/* The machine's state has changed. */
void snapshot_progress(struct sandbox *sb);
void snapshot_told(struct sandbox *sb, const struct vmm_snapped *m);
/* None is made any more. `why` is the answer to who asked. */
void snapshot_abort(struct sandbox *sb, const char *why);
/* The machine that was to go on from it runs: its disk is the sandbox's. Nothing else otherwise. */
void snapshot_commit(struct sandbox *sb);
/* The sandbox leaves memory; what a worker still does it cleans up itself. */
void snapshot_forget(struct sandbox *sb);
/* A machine that was to go on from it did not: the disk of now stays. False: none was to. */
bool snapshot_give_up(struct sandbox *sb);
/* The machine is about to be started with the disk that was copied for it. */
int snapshot_accept(struct sandbox *sb, struct err *e);

/* ---- files ---- */

/* At the beginning of a sandbox in memory: what there is, and away with what was begun and not ended. */
void snapshot_look(struct sandbox *sb);
/* After its children were looked for: what becomes of a restore that a supervisor before us began. */
void snapshot_adopted(struct sandbox *sb);
void snapshot_remove(struct sandbox *sb);
/* {"created", "bytes"} or null. */
json_t *snapshot_json(const struct sandbox *sb);
/* On a worker: the snapshot's two files and a copy of its disk, `.disk-TICKET`, into p; `image` is of now. 0 or -errno with a sentence. */
int snapshot_prepare(int dirfd, uint32_t ticket, const char *image, uint64_t disk, uint64_t reserve, struct prepared *p, struct err *e);
/* Nobody wants it any more. */
void snapshot_unprepare(int dirfd, uint32_t ticket);

#endif
