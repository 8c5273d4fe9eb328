/* SPDX-License-Identifier: Apache-2.0 */
/* changes.discard: the layer lets go of what was asked for. What goes with something else goes only when all of it was asked for. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/review/verdict.h"

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Every path that is to be discarded, and what was moved from where. */
static int know_all(struct verdict *v, struct err *e)
{
	size_t n = 0;

	if (v->m->flags & REVIEW_ALL)
		return 0;
	if (!(v->taken = calloc(2 * v->m->nitems + 1, sizeof(*v->taken))))
		return err_set(e, ENOMEM, "out of memory");
	for (size_t i = 0; i < v->m->nitems; i++) {
		const struct change *c = layer_find(v->l, v->m->item[i].path);

		if (c && !(v->taken[n++] = str_dup(c->path)))
			return err_set(e, ENOMEM, "out of memory");
		if (c && c->from && !(v->taken[n++] = str_dup(c->from)))
			return err_set(e, ENOMEM, "out of memory");
		v->ntaken = n;
	}
	if (n > 0)
		qsort(v->taken, n, sizeof(*v->taken), by_text);
	return 0;
}

static bool is_taken(void *arg, const char *path)
{
	const struct verdict *v = arg;

	return v->m->flags & REVIEW_ALL || (v->ntaken > 0 && bsearch(&path, v->taken, v->ntaken, sizeof(*v->taken), by_text));
}

/* The entry that makes what stands at `path` goes, once. -EBUSY: others would go with it that nobody wants to go. */
static int discard_entry(struct verdict *v, const char *path, char entry[PLACE_PATH_MAX + 1], struct err *e)
{
	bool may;
	const char *found = layer_entry(v->l, path, is_taken, v, &may);

	str_copy(entry, PLACE_PATH_MAX + 1, found ? found : path);
	if (!may)
		return -EBUSY;
	if (!found || strcmp(entry, v->entry) == 0)
		return 0;
	if (v->m->flags & REVIEW_DRY_RUN)
		return 0;
	const int r = layer_discard_entry(v->l, entry, path, e);
	if (r == 0)
		str_copy(v->entry, sizeof(v->entry), entry);
	return r == -ENOENT ? 0 : r;
}

static void discard_found(struct verdict *v, const struct change *c, const struct review_item *it)
{
	struct content theirs = { 0 };
	struct err e = ERR_INIT;
	AUTO_FREE char *path = str_dup(c->path);
	AUTO_FREE char *from = c->from ? str_dup(c->from) : NULL;
	char entry[PLACE_PATH_MAX + 1], text[4 * PLACE_PATH_MAX + 1];

	if (!path || (c->from && !from))
		return;
	if (it && it->nhunks) {
		verdict_skip(v, path, "error", "a file is discarded whole");
		return;
	}
	int r = it && it->has_digest ? layer_theirs(v->l, path, &theirs, &e) : 0;
	const bool other = it && it->has_digest && r == 0 && memcmp(it->digest, theirs.digest, DIGEST) != 0;
	content_release(&theirs);
	if (other) {
		verdict_skip(v, path, "changed", "the sandbox has changed it since it was looked at");
		return;
	}
	if (r == 0 && (r = discard_entry(v, path, entry, &e)) == 0 && !(v->m->flags & REVIEW_DRY_RUN))
		layer_prune(v->l, entry);
	if (r == 0 && from)
		r = discard_entry(v, from, entry, &e);
	if (r == -EBUSY && strcmp(entry, path) == 0)
		verdict_skip(v, path, "error", "what was changed in it would go too: discard the directory with all that is in it");
	else if (r == -EBUSY)
		verdict_skip(v, path, "error", "it went with its directory '%.150s': discard that with all that is in it", verdict_shown(entry, text));
	else if (r < 0)
		verdict_skip(v, path, "error", "%s", e.msg);
	else
		verdict_did(v, path, NULL);
}

/* Directories that were moved and hold no file make no change; with everything they go too. */
static void discard_moved(struct verdict *v)
{
	size_t n;
	char **path = layer_moved(v->l, &n);
	struct err e = ERR_INIT;

	for (size_t i = 0; i < n; i++) {
		if (!(v->m->flags & REVIEW_DRY_RUN))
			layer_discard_entry(v->l, path[i], path[i], &e);
		free(path[i]);
	}
	free(path);
}

int answer_discard(struct review *r, const struct review_ask *m, struct buf *out, struct err *e)
{
	struct verdict v;
	int rc = verdict_begin(&v, r, m, e);

	if (rc == 0)
		rc = know_all(&v, e);
	if (rc == 0) {
		rc = verdict_go(&v, discard_found, e);
		if (m->flags & REVIEW_ALL)
			discard_moved(&v);
		verdict_answer(&v, out, 0);
	}
	verdict_end(&v);
	return rc;
}
