/* SPDX-License-Identifier: Apache-2.0 */
/* One frame: header, attention line, panes where the layout has them, footer, and what lies over it. */
#include <stdio.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/utf8.h"
#include "tui/app.h"

/* ---- header ---------------------------------------------------------------------------------------------------------------------------- */

static void draw_header(struct app *a, struct rect r)
{
	const struct style st = app_style(a, EL_HEADER);
	const struct model *m = a->model;
	const struct model_sandbox *sb = app_current(a);
	const char *dot = glyph(G_DOT, a->ascii);
	const size_t waits = app_waiting(a, NULL);
	char clock[8], path[200], right[256], used[16], total[16], left[256];
	struct tm tm;
	time_t now = time(NULL);
	double cpu = 0;

	canvas_fill(&a->canvas, r, st);
	localtime_r(&now, &tm);
	strftime(clock, sizeof(clock), "%H:%M", &tm);
	for (size_t i = 0; i < m->nsandboxes; i++)
		if (m->sandboxes[i]->has_stats && m->sandboxes[i]->state == MS_RUNNING)
			cpu += m->sandboxes[i]->stats.host_cpu;
	str_human(used, sizeof(used), m->host.memory_total - m->host.memory_available);
	str_human(total, sizeof(total), m->host.memory_total);
	int n = snprintf(left, sizeof(left), " %zu sandbox%s", m->nsandboxes, m->nsandboxes == 1 ? "" : "es");
	if (m->net.nasks)
		n += snprintf(left + n, sizeof(left) - (size_t)n, " %s %zu ask%s", dot, m->net.nasks, m->net.nasks == 1 ? "s" : "");
	if (waits)
		n += snprintf(left + n, sizeof(left) - (size_t)n, " %s %zu wait%s", dot, waits, waits == 1 ? "s" : "");
	if (m->host.memory_total)
		n += snprintf(left + n, sizeof(left) - (size_t)n, " %s cpu %.0f%% %s mem %s/%s", dot,
			      100 * cpu / (m->host.cpus ? m->host.cpus : 1), dot, used, total);
	if (!a->client)
		snprintf(left + n, sizeof(left) - (size_t)n, " %s no supervisor", dot);
	snprintf(right, sizeof(right), "%s  %s ", sb && sb->path ? short_path(sb->path, path, sizeof(path)) : "", clock);
	int at = canvas_text(&a->canvas, r, 0, 1, -1, app_style(a, EL_HEADER_NAME), r.cols > 50 ? "bulkhead" : "bh");
	at += 1 + canvas_text(&a->canvas, r, 0, 1 + at, -1, st, left);
	if (at + 2 + (int)utf8_columns(right) < r.cols)
		canvas_text_right(&a->canvas, r, 0, 0, st, right);
	else if (at + 8 < r.cols)
		canvas_textf(&a->canvas, r, 0, r.cols - 6, -1, st, "%s ", clock);
}

/* ---- footer: the keys that work here, from the table --------------------------------------------------------------------------------------- */

struct footer { struct app *a; struct rect r; unsigned ctx; int col, end; };

/* One "key word" if it fits. */
static int footer_put(struct footer *f, enum action act, bool measure)
{
	struct app *a = f->a;
	const char *brief = binding_of(act)->brief;
	char key[32];

	if (!brief || !(binding_of(act)->ctx & f->ctx) || (act == ACT_BACK && !(f->ctx & CTX_TYPING)) ||
	    !keymap_show(&a->config.keys, act, f->ctx == CTX_TYPING, a->ascii, key, sizeof(key)))
		return 0;
	if (f->ctx != CTX_TYPING && a->model->net.nasks) /* some of its keys answer the question now */
		keymap_show_reaching(&a->config.keys, act, f->ctx, a->ascii, key, sizeof(key));
	if (act == ACT_OVERVIEW)
		str_copy(key, sizeof(key), "1-6");
	const int need = (int)(utf8_columns(key) + 1 + utf8_columns(brief));
	if (measure || f->col + need > f->end)
		return need + 2;
	f->col += canvas_text(&a->canvas, f->r, 0, f->col, -1, app_style(a, EL_FOOTER_KEY), key) + 1;
	f->col += canvas_text(&a->canvas, f->r, 0, f->col, -1, app_style(a, EL_FOOTER), brief) + 2;
	return need + 2;
}

/* In the table's order as far as there is room; how to get help and how to leave are always there. */
static void draw_footer(struct app *a, struct rect r)
{
	struct footer f = { a, r, app_context(a), 1, r.cols - 1 };
	bool shown[ACT_NUM] = { [ACT_HELP] = true, [ACT_DETACH] = true };

	canvas_fill(&a->canvas, r, app_style(a, EL_FOOTER));
	if (copy_link(&a->copy)) {
		canvas_text(&a->canvas, r, 0, 1, r.cols - 2, app_style_on(a, EL_LINK, EL_FOOTER), copy_link(&a->copy));
		return;
	}
	if (a->prefixed)
		f.col += 1 + canvas_text(&a->canvas, r, 0, f.col, -1, app_style(a, EL_ATTENTION), " prefix ");
	f.end -= footer_put(&f, ACT_HELP, true) + footer_put(&f, ACT_DETACH, true);
	for (int n = 1; n < ACT_NUM; n++) {
		int best = 0;

		for (int i = 1; i < ACT_NUM; i++)
			if (!shown[i] && (!best || binding_of((enum action)i)->order < binding_of((enum action)best)->order))
				best = i;
		shown[best] = true;
		footer_put(&f, (enum action)best, false);
	}
	f.end = r.cols;
	footer_put(&f, ACT_HELP, false);
	footer_put(&f, ACT_DETACH, false);
}

/* ---- boxes --------------------------------------------------------------------------------------------------------------------------------- */

/* A pane's frame: a border where there is room, else one line with its title. The inner rectangle comes back. */
struct rect draw_box(struct app *a, struct rect r, const char *title, bool focused, bool boxed)
{
	const enum element border = focused ? (a->typing ? EL_BORDER_TYPING : EL_BORDER_FOCUS) : EL_BORDER;
	const struct style st = app_style(a, border);

	if (r.rows < 1 || r.cols < 1)
		return r;
	if (!boxed || r.rows < 3 || r.cols < 6) {
		if (r.rows < 4)
			return r;
		canvas_fill(&a->canvas, (struct rect){ r.row, r.col, 1, r.cols }, st);
		canvas_hline(&a->canvas, (struct rect){ r.row, r.col, 1, r.cols }, 0, st);
		if (r.cols > 4)
			canvas_text(&a->canvas, r, 0, 2, r.cols - 3, focused ? app_style(a, EL_TITLE) : st, title);
		return (struct rect){ r.row + 1, r.col, r.rows - 1, r.cols };
	}
	const struct rect in = canvas_box(&a->canvas, r, st);
	canvas_text(&a->canvas, r, 0, 2, r.cols - 4, focused ? app_style(a, EL_TITLE) : st, title);
	return in;
}

struct rect draw_popup(struct app *a, struct rect r, int rows, int cols, const char *title)
{
	if (rows > r.rows)
		rows = r.rows;
	if (cols > r.cols)
		cols = r.cols;
	const struct rect p = { r.row + (r.rows - rows) / 2, r.col + (r.cols - cols) / 2, rows, cols };

	canvas_fill(&a->canvas, p, app_style(a, EL_POPUP));
	a->canvas.cur_row = -1;
	if (rows < 4 || cols < 6)
		return p;
	const struct rect in = canvas_box(&a->canvas, p, app_style(a, EL_POPUP_BORDER));
	canvas_textf(&a->canvas, p, 0, 2, cols - 4, app_style_on(a, EL_TITLE, EL_POPUP), " %s ", title);
	return in;
}

void draw_input_line(struct app *a, struct rect r, int row, const char *label, const struct lineedit *l)
{
	const enum element under = a->overlay == OV_FORM || a->overlay == OV_PALETTE ? EL_POPUP : EL_FOOTER;
	const int at = canvas_text(&a->canvas, r, row, 0, r.cols / 2, app_style_on(a, EL_ACCENT, under), label);
	const int room = r.cols - at;
	char head[LINEEDIT_MAX];
	const char *text = l->text;

	memcpy(head, l->text, l->cur);
	head[l->cur] = '\0';
	int cur = (int)utf8_columns(head);
	/* Scroll so that the cursor is in sight. */
	while (cur >= room && *text) {
		uint32_t cp;
		const size_t used = utf8_decode((const uint8_t *)text, strlen(text), &cp, NULL);
		const int w = utf8_width(cp);

		text += used;
		cur -= w > 0 ? w : 0;
	}
	const struct rect field = { r.row + row, r.col + at, 1, room };
	if (room < 1 || row >= r.rows)
		return;
	canvas_fill(&a->canvas, field, app_style(a, EL_INPUT));
	canvas_text(&a->canvas, field, 0, 0, -1, app_style(a, EL_INPUT), text);
	a->canvas.cur_row = field.row;
	a->canvas.cur_col = field.col + cur;
	a->canvas.cur_shape = CURSOR_BAR;
}

/* ---- what lies over --------------------------------------------------------------------------------------------------------------------------- */

static void draw_confirm(struct app *a, struct rect line)
{
	const struct style st = app_style(a, EL_ATTENTION);

	canvas_fill(&a->canvas, line, st);
	const int room = line.cols > 14 ? line.cols - 8 : line.cols;
	const int n = canvas_text(&a->canvas, line, 0, 1, room - 1, st, a->confirm_text);
	canvas_text(&a->canvas, line, 0, n + 2, -1, st, "[y/N]");
	a->canvas.cur_row = -1;
}

static struct rect bottom_line(const struct app *a)
{
	if (a->layout.footer.rows)
		return a->layout.footer;
	return (struct rect){ a->canvas.rows - 1, 0, 1, a->canvas.cols };
}

static const char *publish_label(const struct app *a, char *dst, size_t cap)
{
	snprintf(dst, cap, " publish of %s, [ADDR:]HOST:GUEST or GUEST: ", a->selected);
	return dst;
}

static void draw_overlay(struct app *a)
{
	const struct rect whole = { 0, 0, a->canvas.rows, a->canvas.cols };
	const struct rect line = bottom_line(a);
	const int top = a->layout.header.rows + a->layout.attention.rows; /* a question stays in sight */
	const struct rect below = { top, 0, a->canvas.rows - top - a->layout.footer.rows, a->canvas.cols };
	char label[96];

	switch (a->overlay) {
	case OV_HELP: draw_help(a, whole); break;
	case OV_PALETTE: draw_palette(a, whole); break;
	case OV_FORM: draw_form(a, whole); break;
	case OV_OUTPUT: draw_output(a, whole); break;
	case OV_DETAIL: draw_detail(a, below); break;
	case OV_RULE: draw_rule(a, below); break;
	case OV_CHANGES: draw_changes(a, below); break;
	case OV_CONFIRM: draw_confirm(a, line); break;
	case OV_FILTER:
	case OV_SEARCH:
	case OV_PUBLISH:
		canvas_fill(&a->canvas, line, app_style(a, EL_FOOTER));
		draw_input_line(a, line, 0, a->overlay == OV_PUBLISH ? publish_label(a, label, sizeof(label)) : a->overlay == OV_FILTER ? app_context(a) == CTX_DIFF ? " search: " : " filter: " : a->copy.backward ? " search up: " : " search: ", &a->line);
		break;
	case OV_NONE: draw_clip(a, line); break;
	}
	if (a->message[0] && clock_ms() < a->message_until && !(a->clip.serial && a->overlay == OV_NONE) && a->overlay != OV_CONFIRM && a->overlay != OV_FILTER && a->overlay != OV_SEARCH &&
	    a->overlay != OV_PUBLISH) {
		canvas_fill(&a->canvas, line, app_style(a, a->message_style));
		canvas_text(&a->canvas, line, 0, line.cols > 2 ? 1 : 0, line.cols - 2, app_style(a, a->message_style), a->message);
	}
}

/* ---- the frame --------------------------------------------------------------------------------------------------------------------------------- */

static void draw_main(struct app *a, const struct layout *l)
{
	const bool focused = a->focus == FOCUS_MAIN;

	if (!l->main.rows)
		return;
	if (a->attach_only || a->page == PAGE_TERMINAL || a->zoom)
		draw_desk(a, l->main, a->focus == FOCUS_SECOND && a->second[0] ? a->second : a->selected, true, l->boxed);
	else if (a->page == PAGE_NETWORK)
		draw_net(a, l->main, l->boxed, focused, false);
	else if (a->page == PAGE_DIFF)
		draw_files(a, l->main, l->boxed, focused, false);
	else if (a->page == PAGE_RESOURCES)
		draw_resources(a, l->main, l->boxed, focused, false);
	else if (a->page == PAGE_LOG)
		draw_log(a, l->main, l->boxed, focused);
	else if (a->grid)
		draw_grid(a, l->main);
	else
		draw_desk(a, l->main, a->selected, focused, l->boxed);
}

void draw_frame(struct app *a, int rows, int cols)
{
	struct layout *l = &a->layout;
	const struct layout_in in = { .rows = rows, .cols = cols, .page = a->page, .grid = a->grid, .zoom = a->zoom, .set = a->layout_set,
		.attention = app_waiting(a, NULL) > 0 || app_ask(a) || a->alarm[0], .ports = (int)a->model->net.nports, .alone = a->attach_only, .typing = a->typing, .list_cols = a->list_cols, .lower_rows = a->lower_rows,
		.diff_text = a->focus == FOCUS_LOWER, .files_cols = a->diff.files_cols };

	if ((rows != a->canvas.rows || cols != a->canvas.cols) && canvas_resize(&a->canvas, rows, cols) < 0)
		return;
	a->canvas.ascii = a->ascii;
	canvas_clear(&a->canvas, app_style(a, EL_NORMAL));
	layout_compute(&in, l);
	a->npane_rects = a->ntiles = 0;
	/* What has the focus must be on the screen. */
	if (a->focus == FOCUS_LIST && !l->list.rows && !a->attach_only)
		a->focus = FOCUS_MAIN;
	if (a->focus == FOCUS_MAIN && !l->main.rows)
		a->focus = FOCUS_LIST;
	if (a->focus == FOCUS_SECOND && a->page == PAGE_DIFF)
		a->focus = FOCUS_MAIN;
	if (a->focus == FOCUS_SECOND && !l->second.rows && a->typing && l->main.rows && a->second[0]) { /* the window became too narrow for two */
		char first[sizeof(a->second)];

		str_copy(first, sizeof(first), a->selected);
		str_copy(a->selected, sizeof(a->selected), a->second);
		str_copy(a->second, sizeof(a->second), first);
		a->focus = FOCUS_MAIN;
	}
	if (a->focus == FOCUS_SECOND && !l->second.rows && l->list.rows && !l->main.rows)
		a->focus = FOCUS_LIST;
	if (a->focus == FOCUS_LOWER && !l->lower.rows)
		a->focus = FOCUS_LIST;
	if (l->header.rows)
		draw_header(a, l->header);
	if (l->attention.rows)
		draw_attention(a, l->attention);
	if (l->list.rows)
		draw_list(a, l->list, l->boxed);
	if (l->glyphs.rows)
		draw_glyphs(a, l->glyphs);
	draw_main(a, l);
	if (l->second.rows && app_second(a))
		draw_desk(a, l->second, a->second, a->focus == FOCUS_SECOND, l->boxed);
	else if (l->second.rows)
		draw_box(a, l->second, " no second sandbox ", false, l->boxed);
	if (l->lower.rows && a->page == PAGE_DIFF) {
		if (!l->main.rows) { /* the rows and what is to be asked for, though the files are not shown */
			diff_settle(a);
			diffview_rows(&a->diff, diff_list(a), false);
		}
		draw_difftext(a, l->lower, l->boxed, a->focus == FOCUS_LOWER);
	} else if (l->lower.rows && a->page == PAGE_NETWORK) {
		draw_ports(a, l->lower, l->boxed, a->focus == FOCUS_LOWER);
	} else if (l->lower_right.rows) {
		draw_net(a, l->lower, true, a->focus == FOCUS_LOWER && a->lower == LOWER_NET, true);
		draw_lower(a, l->lower_right);
	} else if (l->lower.rows) {
		draw_lower(a, l->lower);
	}
	if (l->footer.rows)
		draw_footer(a, l->footer);
	if (a->attach_only && app_ask(a)) /* over the terminal, which keeps its size */
		draw_attention(a, (struct rect){ 0, 0, 1, cols });
	draw_overlay(a);
	viewers_trim(a);
}
