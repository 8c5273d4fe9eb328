/* SPDX-License-Identifier: Apache-2.0 */
/* The Diff view's list of files: rows of a tree or flat, folding, filter, the cursor that stays on its file. See diff.h. */
#include "tui/diff.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fd.h"
#include "core/base/utf8.h"

void diff_show_path(char *dst, size_t cap, const char *path, size_t n)
{
	scrub(dst, cap, path, n, false);
}

bool diff_is_git(const char *path)
{
	for (const char *p = path; p; p = strchr(p, '/')) {
		p += *p == '/';
		if (strncasecmp(p, ".git", 4) == 0 && (p[4] == '/' || !p[4]))
			return true;
	}
	return false;
}

void diff_mode_text(const struct change *c, char *dst, size_t cap)
{
	dst[0] = '\0';
	if (c->mode && c->old_mode && ((c->mode ^ c->old_mode) & 07777))
		snprintf(dst, cap, "%o to %o", c->old_mode & 07777, c->mode & 07777);
	else if (c->kind == CK_ADDED && c->mode & 0111 && c->type == CT_FILE)
		snprintf(dst, cap, "executable");
}

const struct change *filerow_change(const struct filerow *r, const struct difflist *l)
{
	if (!r || r->kind != FR_FILE || r->ws >= l->now.nws || r->first >= l->now.ws[r->ws].nentries)
		return NULL;
	return &l->now.ws[r->ws].entries[r->first];
}

/* What a row is, to find it again: workspace, kind, path. Allocated. */
static char *row_name(const struct filerow *r, const struct difflist *l)
{
	const struct change_workspace *w = &l->now.ws[r->ws];

	if (r->kind == FR_WORKSPACE)
		return str_fmt("%s//", w->path);
	return str_fmt("%s//%s%.*s", w->path, r->kind == FR_DIR ? "d" : "f", r->kind == FR_DIR ? (int)(r->from + r->len) : (int)DIFF_PATH_MAX, w->entries[r->first].path);
}

/* ---- folding ------------------------------------------------------------------------------------------------------------------ */

static size_t fold_find(const struct diffview *v, const char *name)
{
	size_t i = 0;

	while (i < v->nfolds && strcmp(v->folds[i], name) != 0)
		i++;
	return i;
}

void diffview_fold(struct diffview *v, const struct difflist *l, int how)
{
	diffview_rows(v, l, false);
	const struct filerow *r = diffview_row(v);
	if (!r || r->kind == FR_FILE)
		return;
	AUTO_FREE char *name = row_name(r, l);
	const size_t at = name ? fold_find(v, name) : 0;
	const bool folded = at < v->nfolds;
	if (!name || (how < 0 && folded) || (how > 0 && !folded))
		return;
	if (folded) {
		free(v->folds[at]);
		v->folds[at] = v->folds[--v->nfolds];
	} else if (v->nfolds < DIFF_FOLDS_MAX) {
		v->folds[v->nfolds++] = name;
		name = NULL;
	}
	diffview_rows(v, l, true);
}

/* ---- rows --------------------------------------------------------------------------------------------------------------------- */

static struct filerow *row_add(struct diffview *v)
{
	if (v->nrows == v->room) {
		const size_t room = v->room ? v->room * 2 : 128;
		struct filerow *grown = realloc(v->rows, room * sizeof(*grown));

		if (!grown)
			return NULL;
		v->rows = grown;
		v->room = room;
	}
	struct filerow *r = &v->rows[v->nrows++];
	memset(r, 0, sizeof(*r));
	return r;
}

static bool matches(const struct diffview *v, const struct change *c)
{
	return !v->filter[0] || strcasestr(c->path, v->filter) || (c->from && strcasestr(c->from, v->filter)) || strcasestr(c->mark, v->filter) ||
	       strcasestr(c->flags, v->filter) || strcasestr(change_kind_word(c->kind), v->filter) || (c->conflict && strcasestr("conflict", v->filter));
}

static size_t dir_len(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash - path) : 0;
}

struct nest { size_t len[DIFF_DEPTH_MAX]; size_t n; }; /* lengths of the directories that have rows, as prefixes of the path */

/* A row for the directory of entry i unless the rows above are in it. False: it lies in one that is folded. */
static bool enter_dir(struct diffview *v, const struct difflist *l, size_t ws, uint32_t i, struct nest *nest, const char *before)
{
	const struct change_workspace *w = &l->now.ws[ws];
	const char *path = w->entries[i].path;
	const size_t want = dir_len(path);

	/* Leave what this entry is not in. */
	while (nest->n && (nest->len[nest->n - 1] > want || strncmp(path, before, nest->len[nest->n - 1]) != 0 || path[nest->len[nest->n - 1]] != '/'))
		nest->n--;
	const size_t have = nest->n ? nest->len[nest->n - 1] : 0;
	if (want == have || nest->n == DIFF_DEPTH_MAX)
		return true;
	struct filerow *r = row_add(v);
	if (!r)
		return false;
	*r = (struct filerow){ .kind = FR_DIR, .ws = (uint8_t)ws, .depth = (uint8_t)nest->n, .first = i, .end = i, .from = (uint32_t)(have ? have + 1 : 0) };
	r->len = (uint32_t)want - r->from;
	while (r->end < w->nentries && strncmp(w->entries[r->end].path, path, want) == 0 && w->entries[r->end].path[want] == '/')
		r->end++;
	nest->len[nest->n++] = want;
	AUTO_FREE char *name = row_name(r, l);
	r->folded = name && fold_find(v, name) < v->nfolds;
	return !r->folded;
}

static void workspace_rows(struct diffview *v, const struct difflist *l, size_t ws)
{
	const struct change_workspace *w = &l->now.ws[ws];
	struct nest nest = { .n = 0 };
	const char *before = "";

	if (l->now.nws > 1) {
		struct filerow *r = row_add(v);

		if (!r)
			return;
		*r = (struct filerow){ .kind = FR_WORKSPACE, .ws = (uint8_t)ws, .end = (uint32_t)w->nentries };
		AUTO_FREE char *name = str_fmt("%s//", w->path);
		r->folded = name && fold_find(v, name) < v->nfolds;
		if (r->folded)
			return;
	}
	for (uint32_t i = 0; i < w->nentries; i++) {
		const struct change *c = &w->entries[i];

		if (!matches(v, c))
			continue;
		if (!v->flat && !enter_dir(v, l, ws, i, &nest, before)) {
			if (!v->nrows || v->rows[v->nrows - 1].kind != FR_DIR)
				return;
			before = c->path;
			i = v->rows[v->nrows - 1].end - 1; /* folded: past all of it */
			continue;
		}
		struct filerow *r = row_add(v);
		if (!r)
			return;
		*r = (struct filerow){ .kind = FR_FILE, .ws = (uint8_t)ws, .depth = (uint8_t)nest.n, .first = i, .end = i + 1 };
		r->from = v->flat || !nest.n ? 0 : (uint32_t)nest.len[nest.n - 1] + 1;
		r->len = (uint32_t)strlen(c->path) - r->from;
		before = c->path;
	}
}

static void remember(struct diffview *v, const struct difflist *l)
{
	free(v->at);
	v->at = v->cursor < v->nrows ? row_name(&v->rows[v->cursor], l) : NULL;
}

void diffview_rows(struct diffview *v, const struct difflist *l, bool force)
{
	if (!l) {
		v->nrows = v->cursor = v->top = 0;
		v->rows_valid = false;
		return;
	}
	const bool other = strcmp(v->rows_sandbox, l->sandbox) != 0;
	if (v->rows_valid && !force && !other && v->rows_serial == l->serial && v->rows_flat == v->flat && strcmp(v->rows_filter, v->filter) == 0)
		return;
	v->nrows = 0;
	for (size_t i = 0; i < l->now.nws; i++)
		workspace_rows(v, l, i);
	v->rows_valid = true;
	v->rows_serial = l->serial;
	v->rows_flat = v->flat;
	str_copy(v->rows_filter, sizeof(v->rows_filter), v->filter);
	str_copy(v->rows_sandbox, sizeof(v->rows_sandbox), l->sandbox);
	bool found = false;
	for (size_t i = 0; i < v->nrows && v->at && !found; i++) {
		AUTO_FREE char *name = row_name(&v->rows[i], l);

		found = name && strcmp(name, v->at) == 0;
		if (found)
			v->cursor = i;
	}
	if (!v->at) { /* the first file is where one begins */
		for (v->cursor = 0; v->cursor + 1 < v->nrows && v->rows[v->cursor].kind != FR_FILE; v->cursor++)
			;
		v->top = 0;
	}
	if (v->cursor >= v->nrows)
		v->cursor = v->nrows ? v->nrows - 1 : 0;
	if (v->nrows) /* while nothing is told the place is kept */
		remember(v, l);
}

const struct filerow *diffview_row(const struct diffview *v)
{
	return v->cursor < v->nrows ? &v->rows[v->cursor] : NULL;
}

void diffview_goto(struct diffview *v, const struct difflist *l, size_t row)
{
	diffview_rows(v, l, false); /* keys may come between a new list and its frame */
	if (!v->nrows)
		return;
	v->cursor = row < v->nrows ? row : v->nrows - 1;
	remember(v, l);
}

void diffview_move(struct diffview *v, const struct difflist *l, long by)
{
	diffview_rows(v, l, false);
	const long at = (long)v->cursor + by;
	diffview_goto(v, l, at < 0 ? 0 : (size_t)at);
}

bool diffview_next_file(struct diffview *v, const struct difflist *l, int by)
{
	diffview_rows(v, l, false);
	for (long i = (long)v->cursor + by; i >= 0 && i < (long)v->nrows; i += by)
		if (v->rows[i].kind == FR_FILE) {
			diffview_goto(v, l, (size_t)i);
			return true;
		}
	return false;
}

size_t diff_collisions(const struct model *m, const struct difflist *l, size_t ws, const char *path, char *dst, size_t cap)
{
	size_t n = 0, used = 0;

	dst[0] = '\0';
	for (size_t i = 0; i < m->diff.nlists; i++) {
		const struct difflist *p = m->diff.lists[i];

		if (p == l || strcmp(p->sandbox, l->sandbox) == 0)
			continue;
		for (size_t k = 0; k < p->now.nws; k++) {
			if (strcmp(p->now.ws[k].path, l->now.ws[ws].path) != 0 || !difflist_find(p, k, path))
				continue;
			n++;
			if (used + strlen(p->sandbox) + 3 < cap)
				used += (size_t)snprintf(dst + used, cap - used, "%s%s", used ? ", " : "", p->sandbox);
			break;
		}
	}
	return n;
}

/* ---- life ------------------------------------------------------------------------------------------------------------------------ */

void diffview_release(struct diffview *v)
{
	for (size_t i = 0; i < v->nfolds; i++)
		free(v->folds[i]);
	while (v->nmarks)
		diffmark_clear(v, &v->marks[v->nmarks - 1]);
	for (size_t i = 0; i < DIFF_SEEN_MAX; i++) {
		free(v->seen[i].workspace);
		free(v->seen[i].path);
	}
	free(v->marks);
	free(v->rows);
	free(v->text);
	free(v->at);
	memset(v, 0, sizeof(*v));
}
