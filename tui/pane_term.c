/* SPDX-License-Identifier: Apache-2.0 */
/* Terminals: a sandbox's desk of panes, the grid of tiles, and what is shown where there is no terminal. */
#include <stdio.h>
#include <string.h>

#include "core/base/utf8.h"
#include "tui/app.h"

/* Centred lines for a sandbox without a terminal: what state, why, and what to do. */
static void draw_card(struct app *a, struct rect r, const struct model_sandbox *sb)
{
	const struct style dim = app_style(a, EL_DIM), st = app_style(a, sb ? state_element(sb) : EL_DIM);
	char key[32], text[700];
	int row = r.rows > 8 ? r.rows / 3 : 0;

	if (!sb) {
		canvas_text(&a->canvas, r, row, 2, r.cols - 3, dim, a->client ? "no sandbox is selected" : "the supervisor is away");
		return;
	}
	canvas_textf(&a->canvas, r, row++, 2, r.cols - 3, st, "%s %s: %s", glyph(state_glyph(sb), a->ascii), sb->name, state_word(sb));
	const char *why = sb->reason;
	for (int i = 0; i < 4 && *why && r.cols > 8; i++) { /* a long reason over some lines */
		char part[600];
		const size_t fit = (size_t)(r.cols - 4);
		size_t n = strlen(why);

		if (n > fit)
			for (n = fit; n > 1 && why[n] != ' '; n--)
				;
		if (n <= 1)
			n = strlen(why);
		snprintf(part, sizeof(part), "%.*s", (int)n, why);
		canvas_text(&a->canvas, r, row++, 2, r.cols - 3, app_style(a, EL_ERROR), part);
		why += n;
		why += *why == ' ';
	}
	if (sb->state == MS_STOPPED || sb->state == MS_FAILED || sb->state == MS_RUNNING) {
		if (keymap_show(&a->config.keys, ACT_TERMINAL, false, a->ascii, key, sizeof(key))) {
			snprintf(text, sizeof(text), "%s %s", key, sb->state == MS_RUNNING ? "opens a terminal" : "starts it");
			canvas_text(&a->canvas, r, row++, 2, r.cols - 3, dim, text);
		}
	}
	for (size_t i = 0; i < sb->ntail && row + 1 < r.rows; i++)
		canvas_text(&a->canvas, r, ++row, 2, r.cols - 3, dim, sb->tail[i]);
}

static void pane_title(struct app *a, const struct model_sandbox *sb, const char *sandbox, const struct pane *p, char *dst, size_t cap)
{
	const struct model_session *s = sb ? model_session_find(sb, p->session) : NULL;
	const char *title = p->v && p->v->title[0] ? p->v->title : s ? s->label : "terminal";
	int n = snprintf(dst, cap, " %s %s %s ", sandbox, glyph(G_DOT, a->ascii), title);

	if (n < 0 || (size_t)n >= cap)
		return;
	if (a->copy.v && a->copy.v == p->v)
		snprintf(dst + n, cap - (size_t)n, "%s copy %llu/%llu ", glyph(G_DOT, a->ascii), (unsigned long long)(a->copy.line - a->copy.kept + 1),
			 (unsigned long long)(a->copy.base - a->copy.kept + (uint64_t)a->copy.frozen.rows));
}

/* "1:shell 2:logs" at the right of the title, the shown one marked. */
static void draw_tabs(struct app *a, struct rect r, const struct model_sandbox *sb, const struct pane *p, int from)
{
	const struct model_session *list[32];
	int total = 0, col;

	if (!sb)
		return;
	const size_t n = desk_sessions(sb, p->session, list, ARRAY_SIZE(list));
	for (size_t i = 0; i < n; i++) {
		char text[112];

		snprintf(text, sizeof(text), " %zu:%s ", i + 1, list[i]->label[0] ? list[i]->label : "term");
		total += (int)utf8_columns(text);
	}
	col = r.cols - 2 - total;
	if (n < 2 || col < from)
		return;
	for (size_t i = 0; i < n; i++) {
		char text[112];

		snprintf(text, sizeof(text), " %zu:%s ", i + 1, list[i]->label[0] ? list[i]->label : "term");
		const enum element el = list[i]->id == p->session ? EL_TAB_ACTIVE : list[i]->state == MSS_WAITS ? EL_WAITS : EL_TAB;
		col += canvas_text(&a->canvas, r, 0, col, -1, app_style(a, el), text);
	}
}

/* Which part of the terminal a smaller rectangle shows: the one around its cursor. */
static void part_of(const struct viewer *v, struct rect r, int *top, int *left)
{
	*top = *left = 0;
	if (v->shown.rows > r.rows) {
		*top = v->head.cursor_row - r.rows + 1;
		if (*top < 0)
			*top = 0;
	}
	if (v->shown.cols > r.cols && v->head.cursor_col >= r.cols)
		*left = v->head.cursor_col - r.cols + 1;
}

static void draw_terminal(struct app *a, struct rect r, struct viewer *v, bool cursor)
{
	int top, left;

	if (!v->shown.cell) {
		char key[32];

		if (v->state != VIEWER_GONE)
			return;
		canvas_text(&a->canvas, r, 0, 0, r.cols, app_style(a, EL_WARN), v->why);
		if (keymap_show(&a->config.keys, ACT_TERMINAL, false, a->ascii, key, sizeof(key)))
			canvas_textf(&a->canvas, r, 1, 0, r.cols, app_style(a, EL_DIM), "%s opens a terminal", key);
		return;
	}
	part_of(v, r, &top, &left);
	cells_draw(&v->shown, top, left, &a->canvas, r, app_style(a, EL_TERMINAL), app_style(a, EL_DIM), a->depth, v->head.modes & MODE_REVERSE);
	const int row = v->head.cursor_row - top, col = v->head.cursor_col - left;
	if (cursor && v->head.cursor_visible && v->state == VIEWER_LIVE && !v->exited && row >= 0 && row < r.rows && col >= 0 && col < r.cols) {
		a->canvas.cur_row = r.row + row;
		a->canvas.cur_col = r.col + col;
		a->canvas.cur_shape = v->head.cursor_shape;
	}
	if (v->exited || (v->state == VIEWER_GONE && v->why[0])) {
		const struct rect last = { r.row + r.rows - 1, r.col, 1, r.cols };
		char text[300];

		if (v->exited && v->signo)
			snprintf(text, sizeof(text), " ended by signal %u ", v->signo);
		else if (v->exited)
			snprintf(text, sizeof(text), " exited with %u ", v->code);
		else
			snprintf(text, sizeof(text), " %s ", v->why);
		canvas_text_right(&a->canvas, last, 0, 0, app_style(a, v->exited && !v->code && !v->signo ? EL_MESSAGE : EL_WARN), text);
	}
}

static void draw_pane(struct app *a, struct rect r, struct desk *d, struct pane *p, bool focused, bool boxed)
{
	const struct model_sandbox *sb = model_find(a->model, d->sandbox);
	char title[400];
	struct rect in = r;

	if (!a->attach_only) {
		pane_title(a, sb, d->sandbox, p, title, sizeof(title));
		in = draw_box(a, r, title, focused, boxed);
		if (in.row > r.row)
			draw_tabs(a, r, sb, p, 4 + (int)utf8_columns(title));
	}
	if (in.rows < 1 || in.cols < 1)
		return;
	pane_show(a, d, p, in.rows, in.cols);
	if (a->npane_rects < ARRAY_SIZE(a->pane_rects)) {
		a->pane_rects[a->npane_rects] = in;
		a->pane_viewers[a->npane_rects] = p->v;
		a->pane_ids[a->npane_rects++] = p->id;
	}
	if (p->v && a->copy.v == p->v)
		copy_draw(&a->copy, &a->canvas, in, &a->theme);
	else if (sb && sb->state == MS_FAILED)
		draw_card(a, in, sb); /* why, and the console's last lines; the last screen is in copy mode */
	else if (p->v && (p->v->shown.cell || (p->v->state == VIEWER_GONE && sb && sb->state == MS_RUNNING)))
		draw_terminal(a, in, p->v, focused && (a->typing || a->attach_only) && a->overlay == OV_NONE);
	else if (!sb || sb->state != MS_RUNNING)
		draw_card(a, in, sb);
}

void draw_desk(struct app *a, struct rect r, const char *sandbox, bool focused, bool boxed)
{
	struct desk *d = sandbox[0] ? desk_of(a, sandbox) : NULL;
	unsigned ids[PANES_MAX];
	struct rect rects[PANES_MAX];

	if (!d) {
		const struct rect in = draw_box(a, r, " terminal ", focused, boxed);

		draw_card(a, in, NULL);
		return;
	}
	const size_t n = split_layout(d->root, r, ids, rects, PANES_MAX);
	for (size_t i = 0; i < n; i++) {
		struct pane *p = desk_pane(d, ids[i]);

		if (p)
			draw_pane(a, rects[i], d, p, focused && d->focus == ids[i], boxed || n > 1);
	}
}

void draw_grid(struct app *a, struct rect r)
{
	const struct model_sandbox *list[1000];
	const size_t n = app_visible(a, list, ARRAY_SIZE(list));
	struct rect tiles[TILES_MAX];
	size_t first = 0;
	const size_t fit = layout_tiles(r, n, tiles, TILES_MAX);

	/* The page of tiles that the selected one is on. */
	for (size_t i = 0; i < n && fit; i++)
		if (!strcmp(list[i]->name, a->selected))
			first = i / fit * fit;
	for (size_t i = 0; i < fit && first + i < n; i++) {
		const struct model_sandbox *sb = list[first + i];
		const bool selected = !strcmp(sb->name, a->selected);
		char title[128];

		snprintf(title, sizeof(title), " %s %s %s %s ", glyph(state_glyph(sb), a->ascii), sb->name, glyph(G_DOT, a->ascii), state_word(sb));
		const struct rect in = draw_box(a, tiles[i], title, selected, true);
		struct viewer *v = tile_show(a, sb->name);
		a->tile_rects[a->ntiles] = tiles[i];
		str_copy(a->tile_names[a->ntiles++], sizeof(a->tile_names[0]), sb->name);
		if (in.rows < 1 || in.cols < 1)
			continue;
		if (v && v->shown.cell)
			draw_terminal(a, in, v, false);
		else
			draw_card(a, in, sb);
	}
	if (!n)
		draw_card(a, draw_box(a, r, " grid ", true, true), NULL);
}
