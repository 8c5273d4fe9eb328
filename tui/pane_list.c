/* SPDX-License-Identifier: Apache-2.0 */
/* The sandboxes: two lines each (state, name, kit, what it does; its load and its waiting), or one line of glyphs. */
#include <stdio.h>
#include <string.h>

#include "core/base/utf8.h"
#include "tui/app.h"
#include "tui/spark.h"

#define ENTRY_ROWS 2

/* What it changed: lines, or files where no lines are counted; conflicts and what would run on the host by their marks. */
static void changed(struct app *a, struct rect r, int row, int col, const struct model_sandbox *sb, enum element ground)
{
	const struct model_changes *m = &sb->changes;
	const bool plain = ground == EL_SELECTED;
	char text[48];

	if (m->add || m->del) {
		col += draw_counts(a, r, row, col, m->add, m->del, ground) + 1;
	} else {
		snprintf(text, sizeof(text), "%llu file%s", (unsigned long long)m->files, m->files == 1 ? "" : "s");
		col += canvas_text(&a->canvas, r, row, col, r.cols - col, app_style_on(a, plain ? EL_SELECTED : EL_DIM, ground), text) + 1;
	}
	if (m->conflicts && col + 1 < r.cols)
		col += canvas_text(&a->canvas, r, row, col, -1, plain ? app_style(a, ground) : app_style_on(a, EL_ERROR, ground), glyph(G_FAILED, a->ascii)) + 1;
	if (m->marked && col + 2 < r.cols)
		canvas_text(&a->canvas, r, row, col, -1, plain ? app_style(a, ground) : app_style_on(a, EL_DIFF_MARK, ground), glyph(G_EXEC, a->ascii));
}

static void entry_second(struct app *a, struct rect r, int row, const struct model_sandbox *sb, enum element ground)
{
	struct canvas *c = &a->canvas;
	const struct style st = app_style(a, ground);
	const bool plain = ground == EL_SELECTED; /* one colour on the bar: whatever the theme, it can be read */
	const struct style dim = plain ? st : app_style_on(a, EL_DIM, ground), spark = plain ? st : app_style_on(a, EL_SPARK, ground);
	char text[600], used[16], asks[48];
	const size_t nasks = netmodel_asks_of(&a->model->net, sb->name);

	if (nasks) { /* what it waits for: its last columns */
		snprintf(asks, sizeof(asks), r.cols < 36 ? "%s%zu" : "%s%zu ask%s", glyph(G_ASK, a->ascii), nasks, nasks == 1 ? "s" : "");
		canvas_text_right(c, r, row, 1, plain ? st : app_style_on(a, EL_WAITS, ground), asks);
		r.cols -= (int)utf8_columns(asks) + 2;
	}
	if (sb->state == MS_FAILED || (sb->state == MS_PAUSED && sb->reason[0])) {
		canvas_text(c, r, row, 3, r.cols - 4, dim, sb->reason[0] ? sb->reason : "failed");
		return;
	}
	if (sb->state != MS_RUNNING && sb->state != MS_PAUSED) {
		str_human(used, sizeof(used), sb->disk_used);
		char path[500] = "on disk";

		if (sb->path)
			short_path(sb->path, path, sizeof(path));
		snprintf(text, sizeof(text), "%-5s %s", used, path);
		canvas_text(c, r, row, 3, r.cols - 4, dim, text);
		return;
	}
	const int width = r.cols >= 36 ? 12 : 7;
	size_t terminals = 0;

	spark_row(c, r, row, 3, width, spark, sb->cpu_history, sb->nhistory, 1);
	for (size_t i = 0; i < sb->nsessions; i++)
		terminals += sb->sessions[i].pty && session_lives(&sb->sessions[i]);
	str_human(used, sizeof(used), sb->stats.mem_used);
	int n = snprintf(text, sizeof(text), "%-5s", sb->has_stats ? used : "");
	if (sb->changes.files && sb->docker != MD_FAILED) {
		n = 4 + width + canvas_text(c, r, row, 4 + width, r.cols - 4 - width, dim, text) + 1;
		changed(a, r, row, n, sb, ground);
		return;
	}
	if (sb->docker == MD_STARTING || sb->docker == MD_FAILED)
		snprintf(text + n, sizeof(text) - (size_t)n, " docker %s", sb->docker == MD_FAILED ? "failed" : "starts");
	else
		snprintf(text + n, sizeof(text) - (size_t)n, " %zu terminal%s", terminals, terminals == 1 ? "" : "s");
	canvas_text(c, r, row, 4 + width, r.cols - 4 - width, dim, text);
}

/* Columns after the name: kit, state, load. The kit goes when it would cost a name its end. */
#define KIT_COLS 7
#define WORD_COLS 8
#define CPU_COLS 5

static void entry(struct app *a, struct rect r, int row, const struct model_sandbox *sb, bool selected, bool focused, bool kit)
{
	struct canvas *c = &a->canvas;
	const enum element ground = !selected ? EL_NORMAL : focused ? EL_SELECTED : EL_SELECTED_IDLE;
	const struct style row_st = app_style(a, ground);
	const struct style mark = ground == EL_SELECTED ? row_st : app_style_on(a, state_element(sb), ground);
	char cpu[8] = "";

	if (selected) {
		canvas_fill(c, (struct rect){ r.row + row, r.col, r.rows - row < ENTRY_ROWS ? r.rows - row : ENTRY_ROWS, r.cols }, row_st);
		canvas_text(c, r, row, 0, -1, row_st, glyph(G_CURSOR, a->ascii));
	}
	canvas_text(c, r, row, 1, -1, mark, glyph(state_glyph(sb), a->ascii));
	if (sb->state == MS_RUNNING && sb->has_stats)
		snprintf(cpu, sizeof(cpu), "%3.0f%%", sb->stats.cpu * 100);
	const int cpu_at = r.cols - CPU_COLS, word_at = r.cols >= 24 ? cpu_at - WORD_COLS : r.cols - WORD_COLS;
	const int name_end = kit ? word_at - KIT_COLS : word_at;
	struct style name_st = row_st;

	name_st.attrs |= CELL_BOLD;
	canvas_text(c, r, row, 3, name_end - 4 > 3 ? name_end - 4 : 3, name_st, sb->name);
	if (kit)
		canvas_text(c, r, row, word_at - KIT_COLS, KIT_COLS - 1, row_st, sb->kit);
	canvas_text(c, r, row, word_at, WORD_COLS - 1, mark, state_word(sb));
	if (r.cols >= 24 && cpu[0])
		canvas_text(c, r, row, cpu_at, -1, row_st, cpu);
	entry_second(a, r, row + 1, sb, ground);
}

void draw_list(struct app *a, struct rect r, bool boxed)
{
	const struct model_sandbox *list[1000];
	const size_t n = app_visible(a, list, ARRAY_SIZE(list));
	char title[128];
	size_t at = 0;

	if (a->filter[0])
		snprintf(title, sizeof(title), " Sandboxes / %s (%zu of %zu) ", a->filter, n, a->model->nsandboxes);
	else
		snprintf(title, sizeof(title), " Sandboxes ");
	const bool focused = a->focus == FOCUS_LIST;
	const struct rect in = draw_box(a, r, title, focused, boxed);
	const int fit = in.rows / ENTRY_ROWS > 0 ? in.rows / ENTRY_ROWS : 1;
	size_t longest = 0;
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(list[i]->name, a->selected))
			at = i;
		if (strlen(list[i]->name) > longest)
			longest = strlen(list[i]->name);
	}
	const bool kit = 3 + (int)longest + 1 + KIT_COLS + WORD_COLS + CPU_COLS <= in.cols;
	if ((int)at < a->list_top)
		a->list_top = (int)at;
	if ((int)at >= a->list_top + fit)
		a->list_top = (int)at - fit + 1;
	if (a->list_top > 0 && a->list_top + fit > (int)n)
		a->list_top = (int)n > fit ? (int)n - fit : 0;
	for (int i = 0; i < fit && a->list_top + i < (int)n; i++)
		entry(a, in, i * ENTRY_ROWS, list[a->list_top + i], (size_t)(a->list_top + i) == at, focused, kit);
	if (n == 0) {
		const char *why = a->model->nsandboxes ? "nothing matches the filter" : !a->client ? "no supervisor" : *a->model->trouble ? a->model->trouble : "no sandboxes yet";

		canvas_text(&a->canvas, in, in.rows > 4 ? 1 : 0, 2, in.cols - 3, app_style(a, EL_DIM), why);
		if (!a->model->nsandboxes && a->client && !*a->model->trouble)
			canvas_text(&a->canvas, in, 2, 2, in.cols - 3, app_style(a, EL_ACCENT), "n makes the first one");
	} else if ((int)n > fit && boxed && r.rows > 3) {
		char more[32];

		snprintf(more, sizeof(more), " %d-%d of %zu ", a->list_top + 1, a->list_top + fit > (int)n ? (int)n : a->list_top + fit, n);
		canvas_text_right(&a->canvas, r, r.rows - 1, 2, app_style(a, EL_BORDER), more);
	}
}

/* Glyph, name, the mark of who waits or how many questions, a blank. */
static int glyph_cols(const struct app *a, const struct model_sandbox *sb)
{
	const size_t asks = netmodel_asks_of(&a->model->net, sb->name);

	return 2 + (int)utf8_columns(sb->name) + (asks ? 2 + (asks > 9) + (asks > 99) : sb->waits ? 1 : 0);
}

void draw_glyphs(struct app *a, struct rect r)
{
	const struct model_sandbox *list[1000];
	const size_t n = app_visible(a, list, ARRAY_SIZE(list));
	struct canvas *c = &a->canvas;
	int total = 0, at = 0, col = 0;
	size_t first = 0;

	for (size_t i = 0; i < n; i++) {
		const int w = glyph_cols(a, list[i]);

		if (!strcmp(list[i]->name, a->selected))
			at = total + w;
		total += w;
	}
	/* Scroll by whole names until the selected one is in sight. */
	for (; first < n && at > r.cols - 2; first++)
		at -= glyph_cols(a, list[first]);
	for (size_t i = first; i < n && col < r.cols; i++) {
		const struct style st = app_style(a, state_element(list[i]));
		const bool sel = !strcmp(list[i]->name, a->selected);

		col += canvas_text(c, r, 0, col, -1, st, glyph(state_glyph(list[i]), a->ascii));
		col += canvas_text(c, r, 0, col, -1, sel ? app_style(a, EL_SELECTED) : app_style(a, EL_NORMAL), list[i]->name);
		const size_t asks = netmodel_asks_of(&a->model->net, list[i]->name);
		if (asks)
			col += canvas_textf(c, r, 0, col, -1, app_style(a, EL_WAITS), "%s%zu", glyph(G_ASK, a->ascii), asks);
		else if (list[i]->waits)
			col += canvas_text(c, r, 0, col, -1, app_style(a, EL_WAITS), glyph(G_ASK, a->ascii));
		col++;
	}
}
