/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Diff view's files: a tree or flat, a row each with its mark, kind, counts, what would run on the host, conflicts and who else changed it; and the
 * question before anything is written or thrown away.
 */
#include <stdio.h>
#include <string.h>

#include "core/base/utf8.h"
#include "tui/app.h"

int draw_counts(struct app *a, struct rect r, int row, int col, uint64_t add, uint64_t del, enum element ground)
{
	char plus[32] = "", minus[32] = "";

	if (add || !del)
		snprintf(plus, sizeof(plus), "+%llu", (unsigned long long)add);
	if (del)
		snprintf(minus, sizeof(minus), "%s%llu", glyph(G_MINUS, a->ascii), (unsigned long long)del);
	const int gap = plus[0] && minus[0], n = (int)(utf8_columns(plus) + utf8_columns(minus)) + gap;
	const bool plain = ground == EL_SELECTED; /* one colour on the bar */
	if (col < 0)
		col = r.cols - n + col + 1;
	if (col < 0 || col + n > r.cols)
		return 0;
	int at = col + canvas_text(&a->canvas, r, row, col, -1, plain ? app_style(a, ground) : app_style_on(a, EL_DIFF_PLUS, ground), plus) + gap;
	canvas_text(&a->canvas, r, row, at, -1, plain ? app_style(a, ground) : app_style_on(a, EL_DIFF_MINUS, ground), minus);
	return n;
}

/* ---- a row ------------------------------------------------------------------------------------------------------------------------- */

static const char *const letters[] = { [CK_ADDED] = "A", [CK_MODIFIED] = "M", [CK_DELETED] = "D", [CK_RENAMED] = "R", [CK_MODE] = "m", [CK_TYPE] = "T" };
static const enum element letter_style[] = { [CK_ADDED] = EL_DIFF_PLUS, [CK_MODIFIED] = EL_WARN, [CK_DELETED] = EL_DIFF_MINUS, [CK_RENAMED] = EL_ACCENT, [CK_MODE] = EL_ACCENT, [CK_TYPE] = EL_ACCENT };
_Static_assert(ARRAY_SIZE(letters) == CK_NUM && ARRAY_SIZE(letter_style) == CK_NUM, "a letter and its colour for every kind");

/* How many of a directory's entries are marked: 0 none, 1 some, 2 all. */
static int dir_marked(const struct app *a, const struct difflist *l, const struct filerow *r)
{
	const struct change_workspace *w = &l->now.ws[r->ws];
	bool all = true, any = false;

	if (!a->diff.nmarks)
		return 0;
	for (uint32_t i = r->first; i < r->end && (all || !any); i++) {
		const struct diffmark *m = diffmark_find(&a->diff, l->sandbox, w->path, w->entries[i].path);

		any = any || m;
		all = all && m && !m->hunks;
	}
	return all ? 2 : any;
}

static void draw_mark(struct app *a, struct rect r, int row, struct style st, int how)
{
	if (how)
		canvas_text(&a->canvas, r, row, 1, -1, st, how == 2 ? glyph(G_ALLOW, a->ascii) : glyph(G_PART, a->ascii));
}

static void dir_row(struct app *a, struct rect r, int row, const struct difflist *l, const struct filerow *f, enum element ground)
{
	const struct change_workspace *w = &l->now.ws[f->ws];
	const struct style st = app_style(a, ground);
	char text[1200], name[1000];
	const int indent = 3 + 2 * (f->depth < 12 ? f->depth : 12);

	draw_mark(a, r, row, ground == EL_SELECTED ? st : app_style_on(a, EL_OK, ground), dir_marked(a, l, f));
	if (f->kind == FR_WORKSPACE) {
		char shown[600];

		scrub(shown, sizeof(shown), w->path, strlen(w->path), false);
		snprintf(text, sizeof(text), "%s %s %s", glyph(f->folded ? G_FOLDED : G_OPEN, a->ascii), short_path(shown, name, sizeof(name)), w->mode);
	} else {
		diff_show_path(name, sizeof(name), w->entries[f->first].path + f->from, f->len);
		snprintf(text, sizeof(text), "%s %s/", glyph(f->folded ? G_FOLDED : G_OPEN, a->ascii), name);
	}
	int end = r.cols;
	if (f->folded) {
		char count[24];

		snprintf(count, sizeof(count), "%u", f->end - f->first);
		end = canvas_text_right(&a->canvas, r, row, 1, ground == EL_SELECTED ? st : app_style_on(a, EL_DIM, ground), count);
	}
	canvas_text(&a->canvas, r, row, indent, end - indent - 1, ground == EL_SELECTED ? st : app_style_on(a, f->kind == FR_WORKSPACE ? EL_TITLE : EL_ACCENT, ground), text);
}

/* What stands at a file's end, from the right; returns where it begins. */
static int file_tail(struct app *a, struct rect r, int row, const struct difflist *l, const struct filerow *f, const struct change *c, enum element ground)
{
	const bool plain = ground == EL_SELECTED;
	char who[100];
	int end = r.cols - 1;
	struct rect part = r;

	part.cols = end;
	if (c->counted && (c->add || c->del)) {
		end -= draw_counts(a, part, row, -1, c->add, c->del, ground) + 1;
	} else {
		const char *word = c->binary ? "bin" : c->type != CT_FILE ? change_type_word(c->type) : "";

		if (word[0])
			end = canvas_text_right(&a->canvas, part, row, 0, plain ? app_style(a, ground) : app_style_on(a, EL_DIM, ground), word) - 1;
	}
	part.cols = end;
	if (c->conflict) {
		const char *word = r.cols >= 60 ? "conflict" : glyph(G_FAILED, a->ascii);

		end = canvas_text_right(&a->canvas, part, row, 0, plain ? app_style(a, ground) : app_style_on(a, EL_ERROR, ground), word) - 1;
		part.cols = end;
	}
	if (diff_collisions(a->model, l, f->ws, c->path, who, sizeof(who))) {
		char text[120];

		snprintf(text, sizeof(text), r.cols >= 60 ? "%s %s" : "%s", glyph(G_BOTH, a->ascii), who);
		end = canvas_text_right(&a->canvas, part, row, 0, plain ? app_style(a, ground) : app_style_on(a, EL_WARN, ground), text) - 1;
		part.cols = end;
	}
	if (c->mark[0] || c->flags[0])
		end = canvas_text_right(&a->canvas, part, row, 0, plain ? app_style(a, ground) : app_style_on(a, EL_DIFF_MARK, ground),
					c->mark[0] ? glyph(G_EXEC, a->ascii) : glyph(G_ALARM, a->ascii)) - 1;
	return end;
}

static void file_row(struct app *a, struct rect r, int row, const struct difflist *l, const struct filerow *f, enum element ground)
{
	const struct change_workspace *w = &l->now.ws[f->ws];
	const struct change *c = &w->entries[f->first];
	const struct diffmark *m = diffmark_find(&a->diff, l->sandbox, w->path, c->path);
	const struct style st = app_style(a, ground);
	const bool plain = ground == EL_SELECTED;
	const int indent = 3 + 2 * (f->depth < 12 ? f->depth : 12), name_at = indent + 2;
	char name[1000], cut[1100];

	draw_mark(a, r, row, plain ? st : app_style_on(a, EL_OK, ground), m ? m->hunks ? 1 : 2 : 0);
	canvas_text(&a->canvas, r, row, indent, -1, plain ? st : app_style_on(a, letter_style[c->kind], ground), letters[c->kind]);
	const int end = file_tail(a, r, row, l, f, c, ground);
	diff_show_path(name, sizeof(name), c->path + f->from, f->len);
	if (end > name_at + 3)
		fit_end(cut, sizeof(cut), name, (size_t)(end - name_at), a->ascii);
	else
		cut[0] = '\0';
	canvas_text(&a->canvas, r, row, name_at, end - name_at, st, cut);
}

/* ---- the pane ------------------------------------------------------------------------------------------------------------------------ */

static void title_of(const struct app *a, const struct difflist *l, char *dst, size_t cap)
{
	struct model_changes sum;
	int n = snprintf(dst, cap, " Changes%s%s", a->selected[0] ? " of " : "", a->selected);

	if (l && l->loaded) {
		const size_t marked = diffmark_count(&a->diff, l->sandbox);

		difflist_totals(l, &sum);
		n += snprintf(dst + n, cap - (size_t)n, " %s %llu", glyph(G_DOT, a->ascii), (unsigned long long)sum.files);
		if (marked)
			n += snprintf(dst + n, cap - (size_t)n, " %s%zu", glyph(G_ALLOW, a->ascii), marked);
	}
	if (a->diff.filter[0])
		n += snprintf(dst + n, cap - (size_t)n, " / %s", a->diff.filter);
	snprintf(dst + n, cap - (size_t)n, " ");
}

static const char *why_empty(const struct app *a, const struct difflist *l)
{
	const struct model_sandbox *sb = app_selected(a);

	if (!sb)
		return "no sandbox is selected";
	if (l && l->error[0])
		return l->error;
	if (!l || !l->loaded)
		return sb->state == MS_RUNNING ? "asking what changed" : "it does not run: what it changed is told once it does";
	if (a->diff.filter[0] && l->now.entries)
		return "nothing matches the filter";
	for (size_t i = 0; i < l->now.nws; i++)
		if (!l->now.ws[i].ready)
			return "the guest is telling what changed";
	return l->now.nws ? "nothing changed" : "it has no workspace whose changes can be told";
}

void draw_files(struct app *a, struct rect r, bool boxed, bool focused, bool brief)
{
	struct diffview *v = &a->diff;
	const struct difflist *l = diff_list(a);
	char title[300], more[64];
	struct model_changes sum;

	diff_settle(a);
	l = diff_list(a);
	diffview_rows(v, l, false);
	title_of(a, l, title, sizeof(title));
	const struct rect in = draw_box(a, r, title, focused, boxed);
	const int beside = (int)utf8_columns(title) + 4; /* the counts, where the title leaves room */
	if (l && l->loaded && r.rows > 3 && r.cols > beside + 2 && !brief) {
		difflist_totals(l, &sum);
		if (sum.add || sum.del)
			draw_counts(a, (struct rect){ r.row, r.col + beside, 1, r.cols - beside - 2 }, 0, -1, sum.add, sum.del, EL_NORMAL);
	}
	v->files_n = 0;
	v->files_row = in.row;
	if (!l || !v->nrows) {
		canvas_text(&a->canvas, in, in.rows > 3 && !brief ? 1 : 0, 1, in.cols - 2, app_style(a, l && l->error[0] ? EL_ERROR : EL_DIM), why_empty(a, l));
		return;
	}
	const size_t rows = in.rows > 0 ? (size_t)in.rows : 0;
	if (v->cursor < v->top)
		v->top = v->cursor;
	if (v->cursor >= v->top + rows)
		v->top = v->cursor - rows + 1;
	if (v->top + rows > v->nrows)
		v->top = v->nrows > rows ? v->nrows - rows : 0;
	for (size_t i = 0; i < rows && v->top + i < v->nrows; i++) {
		const struct filerow *f = &v->rows[v->top + i];
		const bool at = v->top + i == v->cursor && !(brief && !focused);
		const enum element ground = !at ? EL_NORMAL : focused ? EL_SELECTED : EL_SELECTED_IDLE;

		if (at) {
			canvas_fill(&a->canvas, (struct rect){ in.row + (int)i, in.col, 1, in.cols }, app_style(a, ground));
			canvas_text(&a->canvas, in, (int)i, 0, -1, app_style(a, ground), glyph(G_CURSOR, a->ascii));
		}
		if (f->kind == FR_FILE)
			file_row(a, in, (int)i, l, f, ground);
		else
			dir_row(a, in, (int)i, l, f, ground);
		v->files_n++;
	}
	if (boxed && v->nrows > rows) {
		snprintf(more, sizeof(more), " %zu-%zu of %zu ", v->top + 1, v->top + rows, v->nrows);
		canvas_text_right(&a->canvas, r, r.rows - 1, 2, app_style(a, EL_BORDER), more);
	}
}

/* ---- the question --------------------------------------------------------------------------------------------------------------------- */

void draw_changes(struct app *a, struct rect r)
{
	struct diffask *q = &a->diffask;
	int wide = (int)utf8_columns(q->title) + 6;

	for (size_t i = 0; i < q->nlines; i++) {
		const int w = (int)utf8_columns(q->lines[i]) + 6;

		wide = w > wide ? w : wide;
	}
	if (wide < 56)
		wide = 56;
	const int most = r.rows > 8 ? r.rows - 2 : r.rows, want = (int)q->nlines + 4;
	const struct rect in = draw_popup(a, r, want < most ? want : most, wide < r.cols - 2 ? wide : r.cols, q->title);
	const int room = in.rows - 2;
	if (q->top > (int)q->nlines - room)
		q->top = (int)q->nlines - room;
	if (q->top < 0)
		q->top = 0;
	for (int i = 0; i < room && q->top + i < (int)q->nlines; i++)
		canvas_text(&a->canvas, in, i, 1, in.cols - 2, app_style_on(a, q->style[q->top + i], EL_POPUP), q->lines[q->top + i]);
	if (in.rows < 1)
		return;
	const struct rect line = { in.row + in.rows - 1, in.col, 1, in.cols };
	canvas_fill(&a->canvas, line, app_style(a, EL_ATTENTION));
	canvas_textf(&a->canvas, line, 0, 1, in.cols - 2, app_style(a, EL_ATTENTION), "%s? [y/N]%s", q->discard ? "throw it away in the sandbox" : "write it to the host",
		     (int)q->nlines > room && room > 0 ? "   Up and Down scroll" : "");
}
