/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keys do in the Diff view, and the question before an apply or a discard: it names what would be written. What would run on the host goes only when
 * the bytes that would be written were read to their end; what was not is left out and counted.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"
#include "tui/app.h"

#define ITEMS_MAX 4000  /* of one request: a line to the supervisor is bounded */
#define ITEM_BYTES_MAX (512u * 1024u)
#define LISTED 12       /* plain files that are listed in the question */

bool diff_shown(const struct app *a)
{
	if (a->attach_only)
		return false;
	return a->page == PAGE_DIFF || (a->page == PAGE_OVERVIEW && a->layout.lower.rows && (a->layout.lower_right.rows ? a->lower_side : a->lower) == LOWER_DIFF);
}

struct difflist *diff_list(const struct app *a)
{
	return a->selected[0] ? diffmodel_find(&a->model->diff, a->selected) : NULL;
}

/* The list with its rows as they are now: keys may come between a new list and its frame. */
static struct difflist *fresh(struct app *a)
{
	struct difflist *l = diff_list(a);

	diffview_rows(&a->diff, l, false);
	return l;
}

const struct change *diff_change(const struct app *a, const char **workspace)
{
	const struct difflist *l = diff_list(a);
	const struct filerow *r = diffview_row(&a->diff);

	if (!l || !r || r->kind != FR_FILE || strcmp(a->diff.rows_sandbox, l->sandbox) != 0 || a->diff.rows_serial != l->serial)
		return NULL;
	*workspace = l->now.ws[r->ws].path;
	return filerow_change(r, l);
}

/* ---- the question --------------------------------------------------------------------------------------------------------------------- */

void diffask_clear(struct diffask *q)
{
	for (size_t i = 0; i < q->nparts; i++) {
		free(q->part[i].workspace);
		json_decref(q->part[i].items);
	}
	for (size_t i = 0; i < q->nlines; i++)
		free(q->lines[i]);
	memset(q, 0, sizeof(*q));
}

static void say(struct diffask *q, enum element st, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void say(struct diffask *q, enum element st, const char *fmt, ...)
{
	char text[700];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (q->nlines == DIFF_NAMED_MAX)
		return;
	q->style[q->nlines] = st;
	q->lines[q->nlines] = str_dup(text);
	q->nlines += q->lines[q->nlines] != NULL;
}

static json_t *items_of(struct diffask *q, const char *workspace)
{
	for (size_t i = 0; i < q->nparts; i++)
		if (!strcmp(q->part[i].workspace, workspace))
			return q->part[i].items;
	if (q->nparts == DIFF_WORKSPACES_MAX)
		return NULL;
	q->part[q->nparts].workspace = str_dup(workspace);
	q->part[q->nparts].items = json_array();
	return q->part[q->nparts++].items;
}

struct gather { struct app *a; struct diffask *q; const struct difflist *l; size_t bytes, unread, conflicts, flagged, listed, unlisted, too_many, gits; };

/* One entry into the question. m NULL: the whole file. */
static void gather_one(struct gather *g, size_t ws, const struct change *c, const struct diffmark *m)
{
	struct diffask *q = g->q;
	const char *workspace = g->l->now.ws[ws].path, *seen = diff_seen(&g->a->diff, g->l->sandbox, workspace, c->path);
	const struct difftext *t = &g->a->model->diff.text;
	const bool now = difftext_is(t, g->l->sandbox, workspace, c->path) && t->loaded;
	const char *digest = m && m->digest[0] ? m->digest : now ? t->digest : seen ? seen : "";
	const bool read = seen && digest[0] && !strcmp(seen, digest), unread = c->mark[0] && !q->discard && !read;
	json_t *items, *item;
	char path[400];

	if (diff_is_git(c->path) && !q->discard) {
		g->gits++;
		return;
	}
	if (c->conflict && !q->discard) {
		g->conflicts++;
		return;
	}
	if (c->flags[0] && strcmp(c->flags, "hardlink") != 0 && !q->discard) {
		g->flagged++;
		return;
	}
	diff_show_path(path, sizeof(path), c->path, strlen(c->path));
	if (unread) {
		if (g->unread++ < LISTED)
			say(q, EL_DIFF_MARK, "%s %s: %s, NOT read to its end: left out", glyph(G_EXEC, g->a->ascii), path, c->mark);
		return;
	}
	if (q->files == ITEMS_MAX || g->bytes + strlen(c->path) > ITEM_BYTES_MAX || !(items = items_of(q, workspace))) {
		g->too_many++;
		return;
	}
	item = json_pack("{s:s}", "path", c->path);
	if (digest[0])
		json_object_set_new(item, "digest", json_string(digest));
	if (m && m->hunks)
		json_object_set(item, "hunks", m->hunks);
	if (m && m->hunks && m->old_digest[0])
		json_object_set_new(item, "old_digest", json_string(m->old_digest));
	if (c->mark[0] && !q->discard) /* it was opened, and the question says this very one */
		json_object_set_new(item, "named", json_true());
	json_array_append_new(items, item);
	g->bytes += strlen(c->path) + 160;
	q->files++;
	q->hunks += m && m->hunks ? json_array_size(m->hunks) : 0;
	if (c->mark[0] && !q->discard)
		say(q, EL_WARN, "%s %s: %s, read to its end", glyph(G_EXEC, g->a->ascii), path, c->mark);
	else if (g->listed++ < LISTED)
		say(q, EL_NORMAL, "%s %s%s", q->discard ? "  lost:" : c->kind == CK_DELETED ? "  delete" : "  write", path, m && m->hunks ? ", some hunks" : "");
	else
		g->unlisted++;
}

/* Entries of a row: a file, or all of a directory. */
static void gather_row(struct gather *g, const struct filerow *r)
{
	const struct change_workspace *w = &g->l->now.ws[r->ws];

	for (uint32_t i = r->first; i < r->end; i++)
		gather_one(g, r->ws, &w->entries[i], NULL);
}

static void gather_marked(struct gather *g)
{
	for (size_t ws = 0; ws < g->l->now.nws; ws++)
		for (size_t i = 0; i < g->l->now.ws[ws].nentries; i++) {
			const struct change *c = &g->l->now.ws[ws].entries[i];
			const struct diffmark *m = diffmark_find(&g->a->diff, g->l->sandbox, g->l->now.ws[ws].path, c->path);

			if (m)
				gather_one(g, ws, c, m);
		}
}

static void say_rest(struct gather *g)
{
	struct diffask *q = g->q;

	if (g->unlisted)
		say(q, EL_NORMAL, "  and %zu more", g->unlisted);
	if (g->conflicts)
		say(q, EL_ERROR, "%s %zu in conflict: left out, the host changed %s since", glyph(G_FAILED, g->a->ascii), g->conflicts, g->conflicts == 1 ? "it" : "them");
	if (g->gits)
		say(q, EL_WARN, "%s %zu in git's own directory: left out, commits come by bulkhead fetch", glyph(G_EXEC, g->a->ascii), g->gits);
	if (g->flagged)
		say(q, EL_WARN, "%s %zu device, setuid or escaping link: left out, bulkhead apply --patch shows and applies it", glyph(G_ALARM, g->a->ascii), g->flagged);
	if (g->unread)
		say(q, EL_DIFF_MARK, "%s %zu would run on the host, not read to the end: left out", glyph(G_EXEC, g->a->ascii), g->unread);
	if (g->too_many)
		say(q, EL_WARN, "%zu more than one go takes: left out, apply again for them", g->too_many);
}

void changes_ask(struct app *a, bool discard)
{
	const struct difflist *l = fresh(a);
	const struct filerow *r = diffview_row(&a->diff);
	struct diffask *q = &a->diffask;
	struct gather g = { .a = a, .q = q, .l = l };
	char hunks[60] = "";

	diffask_clear(q);
	if (!l || !r || !l->now.entries) {
		app_message(a, EL_MESSAGE, "nothing changed that could be %s", discard ? "discarded" : "applied");
		return;
	}
	q->discard = discard;
	q->context = a->diff.context;
	str_copy(q->sandbox, sizeof(q->sandbox), l->sandbox);
	const bool marked = diffmark_count(&a->diff, l->sandbox) > 0;
	if (marked)
		gather_marked(&g);
	else
		gather_row(&g, r);
	say_rest(&g);
	if (!q->files) {
		app_message(a, EL_WARN, "%s", q->nlines ? q->lines[0] : "nothing is marked");
		diffask_clear(q);
		return;
	}
	if (q->hunks)
		snprintf(hunks, sizeof(hunks), ", %zu hunk%s", q->hunks, q->hunks == 1 ? "" : "s");
	snprintf(q->title, sizeof(q->title), "%s %zu%s file%s%s of %s", discard ? "discard" : "apply", q->files, marked ? " marked" : "", q->files == 1 ? "" : "s", hunks, l->sandbox);
	a->overlay = OV_CHANGES;
	a->dirty = true;
}

void changes_key(struct app *a, const struct key *k)
{
	struct diffask *q = &a->diffask;

	if (k->kind != KEY_PRESS)
		return;
	if (!k->mods && (k->code == VIEW_K_DOWN || k->code == 'j' || k->code == VIEW_K_PAGEDOWN)) {
		q->top += k->code == VIEW_K_PAGEDOWN ? 10 : 1;
		return;
	}
	if (!k->mods && (k->code == VIEW_K_UP || k->code == 'k' || k->code == VIEW_K_PAGEUP)) {
		q->top -= k->code == VIEW_K_PAGEUP ? 10 : 1;
		return;
	}
	a->overlay = OV_NONE;
	if ((k->code == 'y' || k->code == 'Y') && !(k->mods & ~VIEW_SHIFT)) {
		request_changes(a, q);
		for (size_t i = a->diff.nmarks; i-- > 0;)
			if (!strcmp(a->diff.marks[i].sandbox, q->sandbox))
				diffmark_clear(&a->diff, &a->diff.marks[i]);
	}
	diffask_clear(q);
}

/* ---- marking ---------------------------------------------------------------------------------------------------------------------------- */

/* All entries of the row, or none when all are. */
static void mark_entries(struct app *a, const struct difflist *l, size_t ws, uint32_t first, uint32_t end)
{
	const struct change_workspace *w = &l->now.ws[ws];
	const struct difftext *t = &a->model->diff.text;
	bool all = true;

	for (uint32_t i = first; i < end && all; i++) {
		const struct diffmark *m = diffmark_find(&a->diff, l->sandbox, w->path, w->entries[i].path);

		all = m && !m->hunks;
	}
	for (uint32_t i = first; i < end; i++) {
		const char *path = w->entries[i].path, *seen = diff_seen(&a->diff, l->sandbox, w->path, path);
		struct diffmark *m = diffmark_find(&a->diff, l->sandbox, w->path, path);

		if (all && m)
			diffmark_clear(&a->diff, m);
		else if (!all && !diffmark_set(&a->diff, l->sandbox, w->path, path, difftext_is(t, l->sandbox, w->path, path) && t->loaded ? t->digest : seen)) {
			app_message(a, EL_WARN, "no more than %d files can be marked", DIFF_MARKS_MAX);
			return;
		}
	}
}

static void mark(struct app *a, const struct difflist *l, bool text)
{
	struct diffview *v = &a->diff;
	const struct filerow *r = diffview_row(v);
	const struct difftext *t = &a->model->diff.text;
	const char *workspace;
	const struct change *c = diff_change(a, &workspace);

	if (!r || !l)
		return;
	if (!text || !c) {
		mark_entries(a, l, r->ws, r->first, r->end);
		diffview_move(v, l, 1);
		return;
	}
	if (!difftext_is(t, l->sandbox, workspace, c->path) || !t->loaded || v->text_serial != t->serial)
		return;
	if (v->line < v->ntext && v->text[v->line].hunk >= 0 && !v->text[v->line].part && t->diff.nhunks > 1) {
		if (v->text_context != v->context) /* its hunks are counted anew */
			return;
		diffmark_hunk(v, t, (size_t)v->text[v->line].hunk);
		const size_t next = diffview_hunk_row(v, 1);

		v->line = next;
	} else {
		mark_entries(a, l, r->ws, r->first, r->end);
	}
}

static void mark_all(struct app *a, const struct difflist *l)
{
	struct diffview *v = &a->diff;
	size_t marked = 0, files = 0;

	if (!l)
		return;
	for (size_t i = 0; i < v->nrows; i++)
		if (v->rows[i].kind == FR_FILE) {
			const char *workspace = l->now.ws[v->rows[i].ws].path;
			const struct diffmark *m = diffmark_find(v, l->sandbox, workspace, filerow_change(&v->rows[i], l)->path);

			files++;
			marked += m && !m->hunks;
		}
	for (size_t i = 0; i < v->nrows; i++) {
		const struct filerow *r = &v->rows[i];
		const struct diffmark *m = r->kind == FR_FILE ? diffmark_find(v, l->sandbox, l->now.ws[r->ws].path, filerow_change(r, l)->path) : NULL;

		if (r->kind == FR_FILE && (marked == files || !m || m->hunks))
			mark_entries(a, l, r->ws, r->first, r->end);
	}
}

/* ---- moving ----------------------------------------------------------------------------------------------------------------------------- */

static void scroll(struct diffview *v, long by)
{
	const long at = (long)v->line + by, max = v->ntext ? (long)v->ntext - 1 : 0;

	/* The text moves with the cursor, so that half a page is half a page. */
	const long top = (long)v->line_top + by;
	v->line = at < 0 ? 0 : at > max ? (size_t)max : (size_t)at;
	v->line_top = top < 0 ? 0 : top > max ? (size_t)max : (size_t)top;
}

void diff_search(struct app *a, bool here)
{
	const size_t at = diffview_hit(&a->diff, &a->model->diff.text, 1, here);

	if (at != SIZE_MAX)
		a->diff.line = at;
	else if (a->diff.search[0])
		app_message(a, EL_MESSAGE, "'%s' is not in this text", a->diff.search);
}

static void hunk(struct app *a, int by)
{
	struct diffview *v = &a->diff;

	if (v->search[0]) {
		const size_t at = diffview_hit(v, &a->model->diff.text, by, false);

		if (at != SIZE_MAX)
			v->line = at;
		else
			app_message(a, EL_MESSAGE, "'%s' is not in this text", v->search);
		return;
	}
	v->line = diffview_hunk_row(v, by);
	if (v->line < v->ntext && v->text[v->line].kind != TR_LINE)
		v->line_top = v->line; /* as much of it as there is room for */
}

void diff_move(struct app *a, enum action act)
{
	struct diffview *v = &a->diff;
	const struct difflist *l = fresh(a);
	const bool text = app_context(a) == CTX_DIFF;
	const int rows = text ? v->page : v->files_n, page = rows > 2 ? rows - 1 : 1;
	long by = act == ACT_UP ? -1 : act == ACT_DOWN ? 1 : act == ACT_PAGE_UP ? -page : act == ACT_PAGE_DOWN ? page : act == ACT_FIRST ? -100000000 : 100000000;

	if (!text && l)
		diffview_move(v, l, by);
	else if (text && (act == ACT_PAGE_UP || act == ACT_PAGE_DOWN))
		scroll(v, by);
	else if (text)
		v->line = (long)v->line + by < 0 ? 0 : (long)v->line + by >= (long)v->ntext ? v->ntext ? v->ntext - 1 : 0 : (size_t)((long)v->line + by);
}

void diff_sideways(struct app *a, int by)
{
	struct diffview *v = &a->diff;
	const struct difflist *l = fresh(a);
	const struct filerow *r = diffview_row(v);

	if (app_context(a) == CTX_DIFF) {
		if (by < 0 && v->left == 0)
			a->focus = FOCUS_MAIN;
		v->left = by < 0 ? v->left > 8 ? v->left - 8 : 0 : v->left + 8;
		return;
	}
	if (!l || !r)
		return;
	if (r->kind == FR_FILE && by > 0) {
		action_do(a, ACT_OPEN_FILE);
	} else if (r->kind == FR_FILE && r->depth && !v->flat) { /* to its directory */
		size_t i = v->cursor;

		while (i > 0 && (v->rows[i].kind == FR_FILE || v->rows[i].depth >= r->depth))
			i--;
		diffview_goto(v, l, i);
	} else if (r->kind != FR_FILE) {
		diffview_fold(v, l, by < 0 ? -1 : 1);
	}
}

static void box(struct app *a, int by)
{
	if (a->focus == FOCUS_LOWER && a->page == PAGE_DIFF)
		a->focus = FOCUS_MAIN;
	app_move(a, by);
	diff_look_again(a);
}

static void open_file(struct app *a)
{
	const char *workspace;

	if (a->page != PAGE_DIFF) {
		action_do(a, ACT_DIFF);
		return;
	}
	if (diff_change(a, &workspace))
		a->focus = FOCUS_LOWER;
	else if (diff_list(a))
		diffview_fold(&a->diff, diff_list(a), 0);
}

bool diff_action(struct app *a, enum action act)
{
	static const int contexts[] = { 0, 10, 50 };
	struct diffview *v = &a->diff;
	struct difflist *l = act >= ACT_OPEN_FILE && act <= ACT_PREV_BOX ? fresh(a) : NULL;

	switch (act) {
	case ACT_OPEN_FILE: open_file(a); break;
	case ACT_MARK: mark(a, l, app_context(a) == CTX_DIFF); break;
	case ACT_MARK_ALL: mark_all(a, l); break;
	case ACT_APPLY: changes_ask(a, false); break;
	case ACT_DISCARD: changes_ask(a, true); break;
	case ACT_NEXT_HUNK: hunk(a, 1); break;
	case ACT_PREV_HUNK: hunk(a, -1); break;
	case ACT_NEXT_FILE: case ACT_PREV_FILE:
		if (l && diffview_next_file(v, l, act == ACT_NEXT_FILE ? 1 : -1))
			v->line = v->line_top = 0, v->left = 0;
		break;
	case ACT_THREE_WAYS: v->conflict = !v->conflict; break;
	case ACT_SIDES:
		v->unified = v->text_mode == TM_SIDES;
		v->sides = !v->unified;
		prefs_save(a);
		break;
	case ACT_TREE:
		v->flat = !v->flat;
		prefs_save(a);
		break;
	case ACT_CONTEXT:
		v->context = v->context == contexts[0] ? contexts[1] : v->context == contexts[1] ? contexts[2] : contexts[0];
		if (diffmark_drop_hunks(v))
			app_message(a, EL_WARN, "other lines around what changed: the marked hunks are no longer marked");
		else
			app_message(a, EL_MESSAGE, v->context ? "%d lines around what changed" : "the usual lines around what changed", v->context);
		break;
	case ACT_SCROLL_DOWN: scroll(v, v->page > 1 ? v->page / 2 : 5); break;
	case ACT_SCROLL_UP: scroll(v, v->page > 1 ? -v->page / 2 : -5); break;
	case ACT_NEXT_BOX: box(a, 1); break;
	case ACT_PREV_BOX: box(a, -1); break;
	default: return false;
	}
	return true;
}
