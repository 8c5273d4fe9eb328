/* SPDX-License-Identifier: Apache-2.0 */
#include "core/review/undo.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/str.h"

uint32_t undo_newest(int store, const char *workspace)
{
	uint32_t ids[2 * RECORDS_KEPT], found = 0;
	const long n = record_list(store, ids, ARRAY_SIZE(ids));

	for (long i = n - 1; i >= 0 && !found; i--) {
		struct record *r;

		if (record_read(&r, store, ids[i], NULL) < 0)
			continue;
		if (r->head.kind == RECORD_APPLY && !r->undone_by && strcmp(r->head.workspace, workspace) == 0)
			found = ids[i];
		record_close(&r);
	}
	return found;
}

size_t undo_history(int store, struct undo_summary *out, size_t max)
{
	uint32_t ids[2 * RECORDS_KEPT];
	const long n = record_list(store, ids, ARRAY_SIZE(ids));
	size_t k = 0;

	for (long i = n - 1; i >= 0 && k < max; i--) {
		struct record *r;

		if (record_read(&r, store, ids[i], NULL) < 0)
			continue;
		out[k] = (struct undo_summary){ .head = r->head, .undone_by = r->undone_by };
		for (size_t j = 0; j < r->n; j++)
			out[k].files += r->item[j].state == ITEM_DONE;
		k++;
		record_close(&r);
	}
	return k;
}

/* A directory that the apply made and that others use now is left to them. */
static bool is_made_dir(const struct record_item *it)
{
	return it->before.kind == LOOK_NONE && it->after.kind == LOOK_DIR;
}

/* It lay in a directory that the same apply then put something else in the place of: that is looked at by itself. */
static bool went_with_its_directory(const struct record *rec, const struct record_item *it)
{
	for (const struct record_item *above = it + 1; it->after.kind == LOOK_NONE && above < rec->item + rec->n; above++) {
		const size_t n = strlen(above->path);

		if (above->state == ITEM_DONE && above->before.kind == LOOK_DIR && strncmp(it->path, above->path, n) == 0 && it->path[n] == '/')
			return true;
	}
	return false;
}

/* Still what the apply made of it, or (an undo that was cut off) what it was before? */
static bool is_ours(int root, const struct record *rec, const struct record_item *it, struct apply_told *told)
{
	struct place p;
	int r = place_open(root, it->path, &p);

	*told = (struct apply_told){ .before = it->after, .after = it->before };
	if ((r == -ENOTDIR || r == -ELOOP) && went_with_its_directory(rec, it))
		r = 0;
	else if (r == -ENOENT)
		r = it->after.kind == LOOK_NONE || it->before.kind == LOOK_NONE ? 0 : -ENOENT;
	else if (r == 0) {
		r = place_look(&p, &told->before, NULL);
		if (r == 0 && !look_equal(&told->before, &it->after, true) && !look_equal(&told->before, &it->before, true) && !is_made_dir(it))
			r = -ESTALE;
	}
	place_close(&p);
	if (r < 0)
		snprintf(told->why, sizeof(told->why), "%s", r == -ESTALE || r == -ENOENT ? "it was changed on the host since" : strerror(-r));
	else if (!it->kept)
		snprintf(told->why, sizeof(told->why), "its old contents were too large to be kept");
	return r == 0 && it->kept;
}

static size_t check(int root, const struct record *r, undo_each each, void *arg)
{
	size_t bad = 0;
	struct apply_told told;

	for (size_t i = 0; i < r->n; i++)
		if (r->item[i].state == ITEM_DONE && !is_ours(root, r, &r->item[i], &told)) {
			bad++;
			each(arg, r->item[i].path, APPLY_CONFLICT, &told);
		}
	return bad;
}

static enum apply_result back(struct apply *a, const struct record *r, size_t i, struct apply_told *told)
{
	const struct record_item *it = &r->item[i];
	AUTO_FD old = it->before.kind == LOOK_FILE ? record_old(r, i) : -1;

	if (it->before.kind == LOOK_FILE && old < 0) {
		*told = (struct apply_told){ 0 };
		snprintf(told->why, sizeof(told->why), "its old contents are gone: %s", strerror(-old));
		old = -1;
		return APPLY_ERROR;
	}
	const struct apply_change c = { .path = it->path, .to = it->before.kind, .mode = it->before.mode, .content = old, .text = it->text,
					.expect = &it->after, .exact = true, .anywhere = true };
	const enum apply_result res = apply_change(a, &c, told);
	return res != APPLY_DONE && is_made_dir(it) ? APPLY_SAME : res;
}

static size_t go_back(struct apply *a, const struct record *r, undo_each each, void *arg)
{
	struct apply_told told;
	size_t bad = 0;

	for (size_t i = r->n; i-- > 0;)
		if (r->item[i].state == ITEM_DONE) {
			const enum apply_result res = back(a, r, i, &told);

			bad += res > APPLY_SAME;
			each(arg, r->item[i].path, res, &told);
		}
	return bad;
}

int undo_apply(int root, int store, const char *workspace, uint32_t id, uint64_t now_ms, undo_each each, void *arg, uint32_t *by, struct err *e)
{
	struct record *r;
	struct apply *a;
	int rc = record_read(&r, store, id, e);

	*by = 0;
	if (rc < 0)
		return rc;
	/* What undoes an undo does again what was applied: an apply. */
	struct record_head h = { .kind = r->head.kind == RECORD_UNDO ? RECORD_APPLY : RECORD_UNDO, .of = id, .at_ms = now_ms };
	str_copy(h.workspace, sizeof(h.workspace), workspace);
	if (strcmp(r->head.workspace, workspace) != 0)
		rc = err_set(e, ENOENT, "apply %u was in another workspace, '%s'", id, r->head.workspace);
	else if (r->undone_by)
		rc = err_set(e, EALREADY, "apply %u was undone already, by %u", id, r->undone_by);
	else if (check(root, r, each, arg) > 0)
		rc = err_set(e, ESTALE, "apply %u cannot be undone: what it made was changed since, so nothing was done", id);
	else if ((rc = apply_begin(&a, root, store, &h, false, e)) == 0) {
		const size_t bad = go_back(a, r, each, arg);

		*by = apply_end(&a);
		if (bad > 0)
			rc = err_set(e, EIO, "%zu of the files of apply %u could not be put back", bad, id);
		else
			record_undone(store, id, *by ? *by : id);
	}
	record_close(&r);
	return rc;
}
