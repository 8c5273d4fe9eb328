/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of the Diff view: what is to be known about the file, then its hunks, one under the other or side by side, changed words bright, or both
 * sides of a conflict. Lines are foreign text, already scrubbed; tabs are drawn as blanks, wide characters whole or not at all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"
#include "tui/app.h"
#include "tui/worddiff.h"

#define TAB 4
#define SIDES_FROM 100 /* columns of the pane from which old and new stand side by side by themselves */

/* ---- a line's text --------------------------------------------------------------------------------------------------------------- */

struct paint {
	struct style st, word, match;
	const struct wordspan *spans;
	size_t nspans;
	const char *search;
	int left;
};

static bool in_spans(const struct paint *p, size_t at)
{
	for (size_t i = 0; i < p->nspans; i++)
		if (at >= p->spans[i].from && at < p->spans[i].to)
			return true;
	return false;
}

/* One character with what stands on it, at column `col` of the line. */
static void put_cell(struct app *a, struct rect r, const struct paint *p, int col, struct style st, const char *text, size_t len, int width)
{
	struct cell c;

	memset(&c, 0, sizeof(c));
	c.fg = st.fg;
	c.bg = st.bg;
	c.attrs = st.attrs;
	c.len = (uint8_t)len;
	memcpy(c.text, text, len);
	c.width = (uint8_t)width;
	if (col < p->left && col + width > p->left) { /* half of it is scrolled out */
		c.len = 0;
		c.width = 1;
		col = p->left;
	}
	if (col >= p->left)
		canvas_cell(&a->canvas, r, 0, col - p->left, &c);
}

/* Draws s into the one row of r. */
static void draw_line_text(struct app *a, struct rect r, const char *s, const struct paint *p)
{
	const char *hit = p->search[0] ? strcasestr(s, p->search) : NULL;
	const size_t n = strlen(s), hit_len = strlen(p->search);
	char text[CELL_TEXT_MAX];
	size_t i = 0;
	int col = 0;

	while (i < n && col < p->left + r.cols) {
		uint32_t cp;
		const size_t at = i;
		size_t len;

		while (hit && (size_t)(hit - s) + hit_len <= at)
			hit = strcasestr(hit + hit_len, p->search);
		const struct style st = hit && (size_t)(hit - s) <= at ? p->match : in_spans(p, at) ? p->word : p->st;
		i += utf8_decode((const uint8_t *)s + i, n - i, &cp, NULL);
		if (cp == '\t') {
			const int end = (col / TAB + 1) * TAB;

			for (; col < end; col++)
				put_cell(a, r, p, col, st, " ", 1, 1);
			continue;
		}
		int w = utf8_width(cp);
		if (w <= 0) { /* a mark with nothing to stand on */
			cp = 0xFFFD;
			w = 1;
		}
		len = utf8_put(cp, text);
		while (i < n) {
			char more[4];
			const size_t used = utf8_decode((const uint8_t *)s + i, n - i, &cp, NULL);

			if (utf8_width(cp) != 0)
				break;
			const size_t k = utf8_put(cp, more);
			if (len + k <= sizeof(text)) {
				memcpy(text + len, more, k);
				len += k;
			}
			i += used;
		}
		put_cell(a, r, p, col, st, text, len, w);
		col += w;
	}
	if ((i < n || col > p->left + r.cols) && r.cols > 1) /* it goes on at the right */
		canvas_text(&a->canvas, r, 0, r.cols - 1, -1, (struct style){ app_style(a, EL_DIM).fg, p->st.bg, p->st.attrs }, glyph(G_ELLIPSIS, a->ascii));
}

static int line_columns(const char *s)
{
	int col = 0;

	for (size_t n = strlen(s), i = 0; i < n;) {
		uint32_t cp;

		i += utf8_decode((const uint8_t *)s + i, n - i, &cp, NULL);
		const int w = utf8_width(cp);
		col = cp == '\t' ? (col / TAB + 1) * TAB : col + (w > 0 ? w : 0);
	}
	return col;
}

static int digits(uint32_t n)
{
	int d = 1;

	while (n >= 10) {
		n /= 10;
		d++;
	}
	return d;
}

static void measure(struct diffview *v, const struct difftext *t)
{
	const struct diffpart *parts[] = { &t->diff, &t->side[0], &t->side[1] };
	uint32_t old_max = 0, new_max = 0;

	v->widest = 0;
	for (size_t k = 0; k < ARRAY_SIZE(parts); k++)
		for (size_t i = 0; i < parts[k]->nlines; i++) {
			const struct diffline *l = &parts[k]->lines[i];
			const int w = line_columns(diffpart_text(parts[k], l));

			old_max = l->old_no > old_max ? l->old_no : old_max;
			new_max = l->new_no > new_max ? l->new_no : new_max;
			v->widest = w > v->widest ? w : v->widest;
		}
	v->gutter_old = digits(old_max);
	v->gutter_new = digits(new_max);
}

/* ---- rows ------------------------------------------------------------------------------------------------------------------------- */

static void line_styles(const struct app *a, char k, struct style *st, struct style *word, struct style *sign)
{
	const enum element ground = k == '+' ? EL_DIFF_ADD : k == '-' ? EL_DIFF_DEL : EL_NORMAL;

	*st = k == '\\' ? app_style(a, EL_DIM) : app_style(a, ground);
	*word = k == '+' ? app_style(a, EL_DIFF_ADD_WORD) : k == '-' ? app_style(a, EL_DIFF_DEL_WORD) : *st;
	*sign = k == '+' || k == '-' ? app_style_on(a, k == '+' ? EL_DIFF_PLUS : EL_DIFF_MINUS, ground) : *st;
	/* Where a theme has no ground for changed lines, their text has the colour. */
	if ((k == '+' || k == '-') && st->bg == app_style(a, EL_NORMAL).bg)
		st->fg = sign->fg;
}

/* A line in r, whose first columns are numbers and sign; `numbers`: 0 none, 1 its own, 2 old and new. */
static void draw_textline(struct app *a, struct rect r, const struct diffpart *p, int32_t at, int numbers, bool side_old)
{
	const struct diffview *v = &a->diff;
	const struct diffline *l = &p->lines[at];
	struct style st, word, sign;
	struct worddiff wd;
	char text[32];
	int col = 0;

	line_styles(a, l->k, &st, &word, &sign);
	canvas_fill(&a->canvas, r, st);
	const struct style dim = { app_style(a, EL_DIM).fg, st.bg, (uint16_t)(st.attrs | app_style(a, EL_DIM).attrs) };
	if (numbers == 2) {
		snprintf(text, sizeof(text), "%*.0u %*.0u", v->gutter_old, l->old_no, v->gutter_new, l->new_no);
		canvas_text(&a->canvas, r, 0, 0, -1, dim, text);
		col = v->gutter_old + v->gutter_new + 2;
	} else if (numbers) {
		const int w = v->gutter_old > v->gutter_new ? v->gutter_old : v->gutter_new;

		snprintf(text, sizeof(text), "%*.0u", w, side_old ? l->old_no : l->new_no ? l->new_no : l->old_no);
		canvas_text(&a->canvas, r, 0, 0, -1, dim, text);
		col = w + 1;
	}
	canvas_text(&a->canvas, r, 0, col, -1, sign, l->k == '+' ? "+" : l->k == '-' ? "-" : " ");
	col++;
	struct paint paint = { .st = st, .word = word, .match = app_style(a, EL_MATCH), .search = v->search, .left = v->left };
	if (l->pair >= 0 && (size_t)l->pair < p->nlines) {
		const struct diffline *o = &p->lines[l->pair];
		const bool added = l->k == '+';

		if (worddiff(diffpart_text(p, added ? o : l), diffpart_text(p, added ? l : o), &wd)) {
			paint.spans = added ? wd.b : wd.a;
			paint.nspans = added ? wd.nb : wd.na;
		}
	}
	if (r.cols > col)
		draw_line_text(a, (struct rect){ r.row, r.col + col, 1, r.cols - col }, diffpart_text(p, l), &paint);
}

static void draw_hunk_head(struct app *a, struct rect r, const struct difftext *t, const struct textrow *row)
{
	const struct diffpart *p = textrow_part(row, t, 0);
	const struct diffhunk *h = &p->hunks[row->hunk];
	const struct diffmark *m = row->part ? NULL : diffmark_find(&a->diff, t->sandbox, t->workspace, t->path);
	const bool marked = diffmark_has_hunk(m, h);
	const struct style st = app_style(a, EL_DIFF_HUNK);
	char text[300];
	uint32_t add = 0, del = 0;

	canvas_fill(&a->canvas, r, st);
	for (uint32_t i = 0; i < h->nlines; i++) {
		add += p->lines[h->first + i].k == '+';
		del += p->lines[h->first + i].k == '-';
	}
	int col = row->part ? 0 : canvas_text(&a->canvas, r, 0, 0, -1, marked ? app_style_on(a, EL_OK, EL_DIFF_HUNK) : st, marked ? a->ascii ? "[x] " : "[✓] " : "[ ] ");
	snprintf(text, sizeof(text), "@@ %u,%u %s %u,%u @@ %s", h->old_start, h->old_lines, a->ascii ? "->" : "→", h->new_start, h->new_lines, h->section);
	const int room = r.cols - col - 14;
	if (room > 8) {
		canvas_text(&a->canvas, r, 0, col, room, st, text);
		draw_counts(a, r, 0, -1, add, del, EL_DIFF_HUNK);
	} else {
		canvas_text(&a->canvas, r, 0, col, r.cols - col, st, text);
	}
}

static int numbers_for(int cols)
{
	return cols >= 70 ? 2 : cols >= 34 ? 1 : 0;
}

static void draw_row(struct app *a, struct rect r, const struct difftext *t, const struct textrow *row)
{
	static const char *const heads[] = { "", "what the host did since the change was seen", "what the sandbox did" };
	const int half = (r.cols - 1) / 2;
	const struct rect left = { r.row, r.col, 1, half }, right = { r.row, r.col + half + 1, 1, r.cols - half - 1 };
	const bool columns = a->diff.text_mode == TM_SIDES || a->diff.text_mode == TM_CONFLICT;

	if (row->kind == TR_HUNK) {
		draw_hunk_head(a, r, t, row);
		return;
	}
	if (row->kind == TR_HEAD) {
		canvas_fill(&a->canvas, r, app_style(a, EL_DIFF_HUNK));
		if (a->diff.text_mode == TM_CONFLICT) {
			canvas_text(&a->canvas, left, 0, 1, left.cols - 1, app_style(a, EL_DIFF_HUNK), heads[1]);
			canvas_text(&a->canvas, right, 0, 1, right.cols - 1, app_style(a, EL_DIFF_HUNK), heads[2]);
		} else {
			canvas_text(&a->canvas, r, 0, 1, r.cols - 1, app_style(a, EL_DIFF_HUNK), heads[row->part]);
		}
		return;
	}
	if (!columns) {
		draw_textline(a, r, textrow_part(row, t, 0), row->left, numbers_for(r.cols), false);
		return;
	}
	if (row->left >= 0)
		draw_textline(a, left, textrow_part(row, t, 0), row->left, numbers_for(left.cols * 2) ? 1 : 0, a->diff.text_mode == TM_SIDES);
	if (row->right >= 0)
		draw_textline(a, right, textrow_part(row, t, 1), row->right, numbers_for(right.cols * 2) ? 1 : 0, false);
	canvas_text(&a->canvas, (struct rect){ r.row, r.col + half, 1, 1 }, 0, 0, -1, app_style(a, EL_BORDER), glyph(G_V, a->ascii));
}

/* ---- what is to be known ------------------------------------------------------------------------------------------------------------ */

static bool fact(struct app *a, struct rect *r, enum element el, enum glyph g, const char *text)
{
	if (r->rows < 3)
		return false;
	const int at = 1 + canvas_text(&a->canvas, *r, 0, 0, -1, app_style(a, el), glyph(g, a->ascii));
	canvas_text(&a->canvas, *r, 0, at, r->cols - at, app_style(a, el), text);
	r->row++;
	r->rows--;
	return true;
}

/* What is to be done before all of it was on the screen. */
static void what_is_unread(const struct app *a, char *dst, size_t cap)
{
	const struct diffview *v = &a->diff;
	size_t passed = 0, wide = 0;

	for (size_t i = 0; i < v->ntext; i++) {
		passed += !v->text[i].shown;
		wide += v->text[i].shown && !v->text[i].read;
	}
	if (a->model->diff.text.truncated)
		str_copy(dst, cap, "read on outside: not all of it can be shown here");
	else if (passed && v->line_top + (size_t)v->page >= v->ntext)
		snprintf(dst, cap, "read on: %zu lines were passed over", passed);
	else if (passed)
		str_copy(dst, cap, "read on, down to its end");
	else
		snprintf(dst, cap, "read on, to the right, where %s end%s", wide == 1 ? "a line" : "its lines", wide == 1 ? "s" : "");
}

static void facts(struct app *a, struct rect *r, const struct difflist *l, const struct change *c, const char *workspace, size_t ws)
{
	const char *seen = diff_seen(&a->diff, l->sandbox, workspace, c->path), *digest = a->model->diff.text.digest;
	char text[600], old[16], size[16], mode[48], key[32], who[200], from[300] = "";
	const char *dot = glyph(G_DOT, a->ascii);

	if (r->rows < 3)
		return;
	str_human(size, sizeof(size), c->size);
	str_human(old, sizeof(old), a->model->diff.text.old_size);
	diff_mode_text(c, mode, sizeof(mode));
	if (c->from) {
		char shown[256];

		diff_show_path(shown, sizeof(shown), c->from, strlen(c->from));
		snprintf(from, sizeof(from), " from %s", shown);
	}
	snprintf(text, sizeof(text), "%s%s%s%s %s %s%s%s%s%s%s%s", c->kind == CK_MODE ? "only its mode changed" : c->kind == CK_TYPE ? "another type" : change_kind_word(c->kind), from,
		 c->type == CT_FILE ? "" : ", a ", c->type == CT_FILE ? "" : change_type_word(c->type), dot, c->kind == CK_DELETED ? old : size, mode[0] ? " " : "", mode[0] ? dot : "",
		 mode[0] ? " mode " : "", mode, c->binary ? " " : "", c->binary ? "binary" : "");
	int col = canvas_text(&a->canvas, *r, 0, 0, r->cols - 14, app_style(a, EL_DIM), text) + 2;
	if (c->counted)
		draw_counts(a, *r, 0, col, c->add, c->del, EL_NORMAL);
	r->row++;
	r->rows--;
	if (c->mark[0] && diff_is_git(c->path)) {
		snprintf(text, sizeof(text), "%s: never applied as files; bulkhead fetch brings what was committed", c->mark);
		fact(a, r, EL_DIFF_MARK, G_EXEC, text);
	} else if (c->mark[0]) {
		const bool done = seen && strcmp(seen, digest) == 0;
		const bool open = a->focus == FOCUS_LOWER;

		keymap_show(&a->config.keys, ACT_OPEN_FILE, false, a->ascii, key, sizeof(key));
		snprintf(text, sizeof(text), "would run on the host: %s", c->mark);
		fact(a, r, done ? EL_WARN : EL_DIFF_MARK, G_EXEC, text);
		if (done)
			str_copy(text, sizeof(text), "you have read all of it");
		else if (!open)
			snprintf(text, sizeof(text), "%s opens it: it is applied once it was read to its end", key);
		else
			what_is_unread(a, text, sizeof(text));
		fact(a, r, EL_DIM, G_DOT, text);
	}
	if (strcmp(c->flags, "hardlink") == 0) {
		fact(a, r, EL_DIM, G_DOT, "hardlink: it has more names in the sandbox, here it gets one");
	} else if (c->flags[0]) {
		snprintf(text, sizeof(text), "%s: left out here, bulkhead apply --patch shows and applies it", c->flags);
		fact(a, r, EL_DIFF_MARK, G_ALARM, text);
	}
	if (c->conflict) {
		keymap_show(&a->config.keys, ACT_THREE_WAYS, false, a->ascii, key, sizeof(key));
		snprintf(text, sizeof(text), "conflict: the host changed it too, and is not overwritten; %s %s", key,
			 a->diff.conflict ? "shows the difference again" : "shows what both did");
		fact(a, r, EL_ERROR, G_FAILED, text);
	}
	if (diff_collisions(a->model, l, ws, c->path, who, sizeof(who))) {
		snprintf(text, sizeof(text), "%s changed it too: who is applied second is in conflict", who);
		fact(a, r, EL_WARN, G_BOTH, text);
	}
}

static const char *nothing_to_show(const struct difftext *t, const struct change *c, char *dst, size_t cap)
{
	char old[16], now[16];

	str_human(old, sizeof(old), t->old_size);
	str_human(now, sizeof(now), t->new_size);
	if (t->error[0])
		str_copy(dst, cap, t->error);
	else if (t->binary)
		snprintf(dst, cap, "binary: %s before, %s now", old, now);
	else if (c->type == CT_DIR)
		str_copy(dst, cap, c->kind == CK_DELETED ? "a directory that is gone" : "a directory");
	else if (c->kind == CK_MODE)
		str_copy(dst, cap, "its content is the same");
	else if (!t->new_size && !t->old_size)
		str_copy(dst, cap, "an empty file");
	else
		str_copy(dst, cap, "no line of it differs");
	return dst;
}

/* What lies below a directory, or in a workspace. */
static void directory(struct app *a, struct rect r, const struct difflist *l, const struct filerow *row)
{
	const struct change_workspace *w = &l->now.ws[row->ws];
	uint64_t add = 0, del = 0, marks = 0, conflicts = 0;
	char path[600], text[700], key[32] = "";

	for (uint32_t i = row->first; i < row->end && i < w->nentries; i++) {
		add += w->entries[i].add;
		del += w->entries[i].del;
		marks += w->entries[i].mark[0] != '\0';
		conflicts += w->entries[i].conflict;
	}
	diff_show_path(path, sizeof(path), row->kind == FR_DIR ? w->entries[row->first].path : w->path, row->kind == FR_DIR ? row->from + row->len : strlen(w->path));
	snprintf(text, sizeof(text), "%s/  %u changed", path, row->end - row->first);
	const int col = canvas_text(&a->canvas, r, 0, 1, r.cols - 16, app_style(a, EL_NORMAL), text);
	if (add || del)
		draw_counts(a, r, 0, col + 3, add, del, EL_NORMAL);
	keymap_show(&a->config.keys, ACT_MARK, false, a->ascii, key, sizeof(key));
	canvas_textf(&a->canvas, r, 1, 1, r.cols - 2, app_style(a, EL_DIM), "%s marks all of it", key);
	if (marks)
		canvas_textf(&a->canvas, r, 2, 1, r.cols - 2, app_style(a, EL_DIFF_MARK), "%s %llu would run on the host", glyph(G_EXEC, a->ascii), (unsigned long long)marks);
	if (conflicts)
		canvas_textf(&a->canvas, r, marks ? 3 : 2, 1, r.cols - 2, app_style(a, EL_ERROR), "%s %llu in conflict", glyph(G_FAILED, a->ascii), (unsigned long long)conflicts);
}

/* ---- the pane --------------------------------------------------------------------------------------------------------------------------- */

enum text_mode diff_mode(const struct app *a, int cols)
{
	const struct difftext *t = &a->model->diff.text;

	if (a->diff.conflict && t->has_sides)
		return cols >= 90 ? TM_CONFLICT : TM_CONFLICT_STACKED;
	if (a->diff.unified || (!a->diff.sides && cols < SIDES_FROM))
		return TM_UNIFIED;
	/* Of a file that is only new or only old there is one side. */
	return t->kind == CK_ADDED || t->kind == CK_DELETED ? TM_UNIFIED : TM_SIDES;
}

/* It is on the screen with `room` columns: read, once they have gone without a gap from its begin to its end. */
static void read_row(struct diffview *v, const struct difftext *t, struct textrow *row, int room)
{
	if (row->read)
		return;
	if (row->kind == TR_LINE && row->cols < 0) {
		const int32_t at[2] = { row->left, row->right };

		for (int side = 0; side < 2; side++)
			if (at[side] >= 0) {
				const struct diffpart *p = textrow_part(row, t, side);
				const int w = line_columns(diffpart_text(p, &p->lines[at[side]]));

				row->cols = w > row->cols ? w : row->cols;
			}
	}
	if (v->left <= row->shown && v->left + room > row->shown)
		row->shown = v->left + room;
	row->read = row->kind != TR_LINE || row->shown >= row->cols;
	v->nread += row->read;
}

static void draw_rows(struct app *a, struct rect r, const struct difftext *t, bool focused)
{
	struct diffview *v = &a->diff;
	const size_t rows = (size_t)r.rows;

	if (v->line < v->line_top)
		v->line_top = v->line;
	if (v->line >= v->line_top + rows)
		v->line_top = v->line - rows + 1;
	if (v->line_top + rows > v->ntext)
		v->line_top = v->ntext > rows ? v->ntext - rows : 0;
	v->page = r.rows;
	v->text_row = r.row;
	v->text_n = 0;
	const int inner = r.cols - 1, gutter = v->gutter_old > v->gutter_new ? v->gutter_old : v->gutter_new;
	const int text = v->text_mode == TM_UNIFIED || v->text_mode == TM_CONFLICT_STACKED ? inner - v->gutter_old - v->gutter_new - 3 : (inner - 1) / 2 - gutter - 2;
	if (v->left > v->widest - text / 2)
		v->left = v->widest > text ? v->widest - text / 2 : 0;
	for (size_t i = 0; i < rows && v->line_top + i < v->ntext; i++) {
		const struct rect line = { r.row + (int)i, r.col + 1, 1, inner };
		const bool at = v->line_top + i == v->line && focused;

		draw_row(a, line, t, &v->text[v->line_top + i]);
		if (at)
			canvas_text(&a->canvas, (struct rect){ line.row, r.col, 1, 1 }, 0, 0, -1, app_style(a, EL_TITLE), glyph(G_CURSOR, a->ascii));
		v->text_n++;
	}
	if (!focused)
		return;
	const size_t was = v->nread;
	for (size_t i = 0; i < (size_t)v->text_n; i++)
		read_row(v, t, &v->text[v->line_top + i], text > 1 ? text : 1);
	/* What is said above the text depends on it: one more frame. */
	if ((v->nread == v->ntext && diff_saw(v, t)) || was != v->nread)
		a->dirty = true;
}

static void more_below(struct app *a, struct rect r, const struct difftext *t)
{
	const struct diffview *v = &a->diff;
	size_t hunk = 0;
	char text[120];
	int n;

	for (size_t i = 0; i <= v->line && i < v->ntext; i++)
		hunk += v->text[i].kind == TR_HUNK;
	const size_t below = v->ntext > v->line_top + (size_t)v->text_n ? v->ntext - v->line_top - (size_t)v->text_n : 0;
	n = snprintf(text, sizeof(text), " hunk %zu of %zu ", hunk, t->diff.nhunks);
	if (below)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%s %zu more ", glyph(G_DOWN, a->ascii), below);
	if (t->truncated)
		snprintf(text + n, sizeof(text) - (size_t)n, "%s cut: bulkhead diff shows all ", glyph(G_DOT, a->ascii));
	if (v->text_mode != TM_UNIFIED && v->text_mode != TM_SIDES)
		str_copy(text, sizeof(text), " both sides of the conflict ");
	if (t->diff.nhunks && r.rows > 3)
		canvas_text_right(&a->canvas, r, r.rows - 1, 2, app_style(a, EL_BORDER), text);
}

void draw_difftext(struct app *a, struct rect r, bool boxed, bool focused)
{
	struct diffview *v = &a->diff;
	struct difftext *t = &a->model->diff.text;
	const struct difflist *l = diff_list(a);
	const struct filerow *row = diffview_row(v);
	const char *workspace;
	const struct change *c = diff_change(a, &workspace);
	char title[1100], path[1000], text[300];

	v->text_n = 0;
	if (c) {
		diff_show_path(path, sizeof(path), c->path, strlen(c->path));
		snprintf(title, sizeof(title), v->search[0] ? " %s / %s " : " %s ", path, v->search);
	} else {
		str_copy(title, sizeof(title), row && l && row->kind == FR_DIR ? " Directory " : " Text ");
	}
	struct rect in = draw_box(a, r, title, focused, boxed);
	if (!c && row && l && strcmp(v->rows_sandbox, l->sandbox) == 0 && v->rows_serial == l->serial)
		directory(a, in, l, row);
	if (!c || !row || !l)
		return;
	in.col++;
	in.cols -= 2;
	const bool here = difftext_is(t, l->sandbox, workspace, c->path);
	facts(a, &in, l, c, workspace, row->ws);
	if (!here || (!t->loaded && !t->error[0])) {
		canvas_text(&a->canvas, in, 0, 1, in.cols - 1, app_style(a, EL_DIM), "reading it");
		return;
	}
	const enum text_mode mode = diff_mode(a, in.cols);
	if (!v->text_valid || v->text_serial != t->serial)
		measure(v, t);
	diffview_text(v, t, mode);
	if (!v->ntext) {
		canvas_text(&a->canvas, in, in.rows > 2 ? 1 : 0, 1, in.cols - 1, app_style(a, t->error[0] ? EL_ERROR : EL_DIM), nothing_to_show(t, c, text, sizeof(text)));
		if (focused && !t->error[0] && diff_saw(v, t))
			a->dirty = true;
		return;
	}
	draw_rows(a, (struct rect){ in.row, in.col - 1, in.rows, in.cols + 1 }, t, focused);
	if (boxed)
		more_below(a, r, t);
}
