/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After a process or a machine was lost in the middle of an apply. The record says for each change that was under way what stood there and what
 * was to stand there; what stands there now, and under the temporary name, says how far it came:
 *
 *   name      temporary           so                                   then
 *   after     none                it was done                          -
 *   after     before              it was exchanged                     the temporary goes
 *   after     something else      an edit came between, exchanged out  exchanged back, ours goes
 *   before    any                 it was not exchanged yet             the temporary goes
 *   nothing   before              it was taken away                    the temporary goes
 *   nothing   something else      an edit came between, taken away     put back
 *   other     before              it was exchanged, then edited        the temporary goes
 *   other     any                 it was not exchanged                 the temporary goes
 */
#include "core/review/apply.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/base/str.h"

static void remove_at(const struct place *tmp, const struct look *l)
{
	if (l->kind != LOOK_NONE && unlinkat(tmp->dir, tmp->name, l->kind == LOOK_DIR ? AT_REMOVEDIR : 0) < 0)
		log_warn("a temporary of an apply stays: %s", strerror(errno));
}

static enum item_state settle(const struct place *at, const struct place *tmp, const struct record_item *it)
{
	struct look now, beside;

	if (place_look(at, &now, NULL) < 0 || place_look(tmp, &beside, NULL) < 0)
		return ITEM_INTENDED;
	const bool out = look_equal(&beside, &it->before, false);
	if (it->after.kind != LOOK_NONE && look_equal(&now, &it->after, true)) {
		if (beside.kind == LOOK_NONE || it->before.kind == LOOK_NONE || out) {
			remove_at(tmp, &beside);
			return ITEM_DONE;
		}
		if (renameat2(at->dir, tmp->name, at->dir, at->name, RENAME_EXCHANGE) == 0)
			remove_at(tmp, &now);
		return ITEM_DROPPED;
	}
	if (now.kind == LOOK_NONE && it->after.kind == LOOK_NONE && beside.kind != LOOK_NONE && !out) {
		if (renameat2(at->dir, tmp->name, at->dir, at->name, RENAME_NOREPLACE) < 0)
			log_warn("an edit of the host could not be put back: %s", strerror(errno));
		return ITEM_DROPPED;
	}
	const bool done = now.kind == LOOK_NONE ? it->after.kind == LOOK_NONE : out && it->before.kind != LOOK_NONE && !look_equal(&now, &it->before, false);
	remove_at(tmp, &beside);
	return done ? ITEM_DONE : ITEM_DROPPED;
}

static enum item_state settle_item(int root, const struct record_item *it)
{
	enum item_state s = ITEM_DROPPED;
	struct place at, tmp;

	if (place_open(root, it->path, &at) == 0) {
		tmp = at; /* the same directory */
		record_tmp_name(tmp.name, it->tmp);
		s = settle(&at, &tmp, it);
		place_sync(&at);
	}
	place_close(&at);
	return s;
}

static void recover_one(int root, int store, struct record *r)
{
	size_t done = 0;

	if (record_resume(r) < 0)
		return;
	for (size_t i = 0; i < r->n; i++) {
		if (r->item[i].state == ITEM_INTENDED)
			record_settle(r, i, settle_item(root, &r->item[i]));
		done += r->item[i].state == ITEM_DONE;
	}
	log_info("apply %u was cut off: %zu of its changes were done", r->head.id, done);
	record_end(r);
	if (done == 0)
		record_forget(store, r->head.id);
}

void apply_recover(int root, int store, const char *workspace)
{
	uint32_t ids[2 * RECORDS_KEPT];
	const long n = record_list(store, ids, ARRAY_SIZE(ids));

	for (long i = 0; i < n; i++) {
		struct record *r;

		const int rc = record_read(&r, store, ids[i], NULL);

		if (rc == -EBADMSG || rc == -ENOENT)
			record_forget(store, ids[i]); /* cut off before its head stood: nothing was changed by it */
		if (rc < 0)
			continue;
		if (!r->ended && strcmp(r->head.workspace, workspace) == 0)
			recover_one(root, store, r);
		record_close(&r);
	}
}
