/* SPDX-License-Identifier: Apache-2.0 */
/* Resources (what each sandbox uses; history, processes and containers of the selected one) and the log. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/base/log.h"
#include "core/base/utf8.h"
#include "tui/app.h"
#include "tui/spark.h"

/* ---- resources ------------------------------------------------------------------------------------------------------------------------- */

static float peak(const float *v, size_t n)
{
	float max = 1024;

	for (size_t i = 0; i < n; i++)
		if (v[i] > max)
			max = v[i];
	return max;
}

static void gauge(struct app *a, struct rect r, int row, const char *label, double part, const char *text)
{
	const int label_cols = 6, text_cols = 22, room = r.cols - label_cols - text_cols - 2;

	canvas_text(&a->canvas, r, row, 1, label_cols, app_style(a, EL_DIM), label);
	if (room >= 6)
		spark_gauge(&a->canvas, r, row, label_cols + 1, room, app_style(a, EL_GAUGE), app_style(a, EL_DIM), part);
	canvas_text(&a->canvas, r, row, room >= 6 ? label_cols + 2 + room : label_cols + 1, text_cols, app_style(a, EL_NORMAL), text);
}

static int gauges(struct app *a, struct rect r, const struct model_sandbox *sb)
{
	const struct model_stats *s = &sb->stats;
	char used[16], total[16], rss[16], text[96];
	int row = 0;

	snprintf(text, sizeof(text), "%3.0f%% of %u, load %.2f", s->cpu * 100, sb->cpus, s->load1);
	gauge(a, r, row++, "cpu", s->cpu, text);
	str_human(used, sizeof(used), s->mem_used);
	str_human(total, sizeof(total), s->mem_total);
	str_human(rss, sizeof(rss), s->host_rss);
	snprintf(text, sizeof(text), "%s/%s, host %s", used, total, rss);
	gauge(a, r, row++, "mem", s->mem_total ? (double)s->mem_used / (double)s->mem_total : 0, text);
	str_human(used, sizeof(used), s->disk_used);
	str_human(total, sizeof(total), s->disk_total);
	str_human(rss, sizeof(rss), sb->disk_used);
	snprintf(text, sizeof(text), "%s/%s, host %s", used, total, rss);
	gauge(a, r, row++, "disk", s->disk_total ? (double)s->disk_used / (double)s->disk_total : 0, text);
	str_human(used, sizeof(used), s->channel_in);
	str_human(total, sizeof(total), s->channel_out);
	str_human(rss, sizeof(rss), s->given_back);
	canvas_text(&a->canvas, r, row, 1, 6, app_style(a, EL_DIM), "chan");
	canvas_textf(&a->canvas, r, row++, 7, r.cols - 8, app_style(a, EL_NORMAL), "%s%s %s%s  %u processes%s%s%s%s", used, glyph(G_UP, a->ascii), total,
		     glyph(G_DOWN, a->ascii), s->pids, sb->backend[0] ? "  " : "", sb->backend, s->given_back ? ", memory given back " : "", s->given_back ? rss : "");
	return row;
}

static void history(struct app *a, struct rect r, const char *label, const float *v, size_t n, float max, enum element el)
{
	char top[32];

	if (r.rows < 2)
		return;
	if (max > 1)
		str_human(top, sizeof(top), (uint64_t)max);
	else
		str_copy(top, sizeof(top), "100%");
	canvas_text(&a->canvas, r, 0, 0, r.cols, app_style(a, EL_DIM), label);
	if (r.cols > 16)
		canvas_text_right(&a->canvas, r, 0, 1, app_style(a, EL_DIM), top);
	spark_area(&a->canvas, (struct rect){ r.row + 1, r.col, r.rows - 1, r.cols - 1 }, app_style(a, el), v, n, max);
}

static void histories(struct app *a, struct rect r, const struct model_sandbox *sb)
{
	const int w = r.cols / 2;
	const struct rect left = { r.row, r.col + 1, r.rows, w - 1 }, right = { r.row, r.col + w + 1, r.rows, r.cols - w - 1 };

	if (r.rows >= 7) {
		const int h = r.rows / 2;

		history(a, (struct rect){ left.row, left.col, h, left.cols }, "cpu", sb->cpu_history, sb->nhistory, 1, EL_SPARK);
		history(a, (struct rect){ right.row, right.col, h, right.cols }, "memory", sb->mem_history, sb->nhistory, 1, EL_ACCENT);
		history(a, (struct rect){ left.row + h, left.col, r.rows - h, left.cols }, "into the guest /s", sb->in_history, sb->nhistory,
			peak(sb->in_history, sb->nhistory), EL_OK);
		history(a, (struct rect){ right.row + h, right.col, r.rows - h, right.cols }, "out of the guest /s", sb->out_history, sb->nhistory,
			peak(sb->out_history, sb->nhistory), EL_WARN);
	} else {
		history(a, left, "cpu", sb->cpu_history, sb->nhistory, 1, EL_SPARK);
		history(a, right, "memory", sb->mem_history, sb->nhistory, 1, EL_ACCENT);
	}
}

static void top(struct app *a, struct rect r, const struct model_sandbox *sb)
{
	const struct style head = app_style(a, EL_TITLE), st = app_style(a, EL_NORMAL);
	int row = 0;

	canvas_textf(&a->canvas, r, row++, 1, r.cols - 2, head, "%7s %6s %5s %7s %s", "pid", "uid", "cpu", "memory", "command");
	for (size_t i = 0; i < sb->ntop && row < r.rows; i++) {
		char rss[16];

		if (a->filter[0] && !strcasestr(sb->top[i].comm, a->filter) && !app_matches(a, sb))
			continue;
		str_human(rss, sizeof(rss), sb->top[i].rss);
		canvas_textf(&a->canvas, r, row++, 1, r.cols - 2, st, "%7u %6u %4.0f%% %7s %s%s%s", sb->top[i].pid, sb->top[i].uid,
			     sb->top[i].cpu * 100, rss, sb->top[i].comm, sb->top[i].container[0] ? " @" : "", sb->top[i].container);
	}
	if (!sb->ntop)
		canvas_text(&a->canvas, r, row, 1, r.cols - 2, app_style(a, EL_DIM), "not told yet");
}

static void containers(struct app *a, struct rect r, const struct model_sandbox *sb)
{
	static const char *const words[] = { [MD_OFF] = "is off", [MD_STARTING] = "starts", [MD_READY] = "is ready", [MD_FAILED] = "failed" };
	int row = 0;

	canvas_textf(&a->canvas, r, row++, 1, r.cols - 2, app_style(a, EL_TITLE), "docker %s%s%s", words[sb->docker],
		     sb->docker_why[0] ? ": " : "", sb->docker_why);
	for (size_t i = 0; i < sb->ncontainers && row < r.rows; i++) {
		const struct model_container *c = &sb->containers[i];
		const bool runs = !strcmp(c->state, "running");

		canvas_textf(&a->canvas, r, row++, 1, r.cols - 2, app_style(a, runs ? EL_NORMAL : EL_DIM), "%s %s  %s  %s",
			     glyph(runs ? G_BUSY : G_STOPPED, a->ascii), c->name, c->image, c->status);
	}
	if (sb->docker == MD_READY && !sb->ncontainers)
		canvas_text(&a->canvas, r, row, 1, r.cols - 2, app_style(a, EL_DIM), "no containers");
}

/* All sandboxes, a line each: the Resources page's upper part. */
static int table(struct app *a, struct rect r, int rows)
{
	const struct model_sandbox *list[1000];
	const size_t n = app_visible(a, list, ARRAY_SIZE(list));
	size_t at = 0, first;
	int row = 0;

	const bool channel = r.cols >= 84;
	char line[200];

	snprintf(line, sizeof(line), "%-16s %-9s %5s %15s %15s %8s %8s", "sandbox", "state", "cpu", "memory", "disk", "in", "out");
	line[channel ? sizeof(line) - 1 : 64] = '\0';
	canvas_text(&a->canvas, r, row++, 1, r.cols - 2, app_style(a, EL_TITLE), line);
	for (size_t i = 0; i < n; i++)
		if (!strcmp(list[i]->name, a->selected))
			at = i;
	first = (int)at >= rows - 1 ? at - (size_t)(rows - 2) : 0;
	for (size_t i = first; i < n && row < rows; i++) {
		const struct model_sandbox *sb = list[i];
		char mu[16], mt[16], du[16], dt[16], in[16], out[16], mem[40], disk[40], name[80], word[40];
		const bool sel = i == at;

		str_human(mu, sizeof(mu), sb->stats.mem_used);
		str_human(mt, sizeof(mt), sb->memory);
		str_human(du, sizeof(du), sb->disk_used);
		str_human(dt, sizeof(dt), sb->disk);
		str_human(in, sizeof(in), sb->stats.channel_in);
		str_human(out, sizeof(out), sb->stats.channel_out);
		const bool lives = sb->has_stats && (sb->state == MS_RUNNING || sb->state == MS_PAUSED);
		snprintf(mem, sizeof(mem), "%s/%s", lives ? mu : "0", mt);
		snprintf(disk, sizeof(disk), "%s/%s", du, dt);
		utf8_fit(name, sizeof(name), sb->name, 16, a->ascii);
		utf8_fit(word, sizeof(word), state_word(sb), 9, a->ascii);
		struct style st = app_style(a, sel ? (a->focus == FOCUS_LIST ? EL_SELECTED_IDLE : EL_SELECTED) : EL_NORMAL);
		canvas_fill(&a->canvas, (struct rect){ r.row + row, r.col, 1, r.cols }, st);
		int col = 1;
		canvas_text(&a->canvas, r, row, col, 16, st, name);
		canvas_text(&a->canvas, r, row, col += 17, 9, st, word);
		if (lives)
			canvas_textf(&a->canvas, r, row, col + 10, 5, st, "%4.0f%%", sb->stats.cpu * 100);
		canvas_textf(&a->canvas, r, row, col += 16, 31, st, "%15s %15s", mem, disk);
		if (channel && lives)
			canvas_textf(&a->canvas, r, row, col + 32, 17, st, "%8s %8s", in, out);
		row++;
	}
	return row;
}

void draw_resources(struct app *a, struct rect r, bool boxed, bool focused, bool brief)
{
	const struct model_sandbox *sb = app_current(a);
	char title[128];
	int row = 0;

	snprintf(title, sizeof(title), " Resources%s%s%s%s ", sb ? " " : "", sb ? glyph(G_DOT, a->ascii) : "", sb ? " " : "", sb ? sb->name : "");
	struct rect in = draw_box(a, r, title, focused, boxed);
	if (!brief && in.rows >= 8) {
		const int rows = (int)a->model->nsandboxes + 1 > in.rows / 3 ? in.rows / 3 : (int)a->model->nsandboxes + 1;

		row = table(a, in, rows) + 1;
	}
	if (!sb)
		return;
	if (!sb->has_stats || (sb->state != MS_RUNNING && sb->state != MS_PAUSED)) {
		canvas_textf(&a->canvas, in, row, 1, in.cols - 2, app_style(a, EL_DIM), "%s %s: nothing is measured", sb->name, state_word(sb));
		return;
	}
	in.row += row;
	in.rows -= row;
	const bool beside = in.cols >= 90;
	struct rect left = in, right = in;
	if (beside) {
		left.cols = in.cols / 2;
		right.col += left.cols;
		right.cols -= left.cols;
	}
	row = gauges(a, left, sb);
	left.row += row;
	left.rows -= row;
	if (brief || in.rows < 14) {
		if (beside) {
			const int half = right.rows / 2;

			histories(a, left, sb);
			top(a, (struct rect){ right.row, right.col, right.rows - half, right.cols }, sb);
			containers(a, (struct rect){ right.row + right.rows - half, right.col, half, right.cols }, sb);
		} else {
			histories(a, left, sb);
		}
		return;
	}
	if (!beside) {
		const int h = left.rows / 3 > 8 ? 8 : left.rows / 3;

		histories(a, (struct rect){ left.row, left.col, h, left.cols }, sb);
		left.row += h;
		left.rows -= h;
		const int c = left.rows / 3;
		top(a, (struct rect){ left.row, left.col, left.rows - c, left.cols }, sb);
		containers(a, (struct rect){ left.row + left.rows - c, left.col, c, left.cols }, sb);
		return;
	}
	histories(a, left, sb);
	top(a, (struct rect){ right.row, right.col, right.rows - right.rows / 3, right.cols }, sb);
	containers(a, (struct rect){ right.row + right.rows - right.rows / 3, right.col, right.rows / 3, right.cols }, sb);
}

/* ---- log --------------------------------------------------------------------------------------------------------------------------------- */

/* A line of the log: of a life, or of the audit. */
struct line { uint64_t at_ms; int level; unsigned count; const char *name, *text; };

static bool line_matches(const struct app *a, const struct line *l)
{
	return !a->filter[0] || strcasestr(l->name, a->filter) || strcasestr(l->text, a->filter);
}

/* Both in the order of their times; each is in order by itself. */
static size_t log_lines(const struct app *a, struct line out[MODEL_LOG_MAX + MODEL_AUDIT_MAX])
{
	const struct model *m = a->model;
	size_t n = 0, i = 0, k = 0;

	while (i < m->nlog || k < m->audit.n) {
		const struct model_log *l = i < m->nlog ? &m->log[(m->log_first + i) % MODEL_LOG_MAX] : NULL;
		const struct model_audit *d = auditmodel_at(&m->audit, k);
		struct line one;

		if (l && (!d || l->at_ms <= d->at_ms)) {
			one = (struct line){ l->at_ms, l->level, 1, l->name, l->text ? l->text : "" };
			i++;
		} else {
			one = (struct line){ d->at_ms, d->level, d->count, d->name, d->text };
			k++;
		}
		if (line_matches(a, &one))
			out[n++] = one;
	}
	return n;
}

static void draw_log_line(struct app *a, struct rect in, int row, const struct line *l)
{
	const enum element el = l->level == LOG_ERROR ? EL_ERROR : l->level == LOG_WARN ? EL_WARN : EL_NORMAL;
	const time_t t = (time_t)(l->at_ms / 1000);
	char at[12] = "", times[24] = "";
	struct tm tm;

	if (l->at_ms && localtime_r(&t, &tm))
		strftime(at, sizeof(at), "%H:%M:%S", &tm);
	int col = 1 + canvas_text(&a->canvas, in, row, 1, 8, app_style(a, EL_DIM), at);
	if (in.cols > 50)
		canvas_text(&a->canvas, in, row, col + 1, 14, app_style(a, EL_ACCENT), l->name);
	col += in.cols > 50 ? 16 : 1;
	if (l->count > 1)
		snprintf(times, sizeof(times), "  (%u times)", l->count);
	const int room = in.cols - col - 1 - (int)strlen(times);
	col += canvas_text(&a->canvas, in, row, col, room > 0 ? room : 0, app_style(a, el), l->text);
	canvas_text(&a->canvas, in, row, col, in.cols - col - 1, app_style(a, EL_DIM), times);
}

void draw_log(struct app *a, struct rect r, bool boxed, bool focused)
{
	static struct line shown[MODEL_LOG_MAX + MODEL_AUDIT_MAX];
	const struct rect in = draw_box(a, r, " Log ", focused, boxed);
	const size_t n = log_lines(a, shown);
	const int max = (int)n > in.rows ? (int)n - in.rows : 0;
	int *back = a->page == PAGE_LOG ? &a->page_top : &a->lower_top; /* lines up from the newest */

	if (*back > max)
		*back = max;
	if (*back < 0)
		*back = 0;
	for (int row = 0; row < in.rows && max - *back + row < (int)n; row++)
		draw_log_line(a, in, row, &shown[max - *back + row]);
	if (!n)
		canvas_text(&a->canvas, in, 0, 1, in.cols - 2, app_style(a, EL_DIM), a->filter[0] ? "nothing matches the filter" : "nothing has happened yet");
}

/* ---- the lower panel ------------------------------------------------------------------------------------------------------------------ */

static const char *const tabs[LOWER_NUM] = { [LOWER_NET] = " Network ", [LOWER_DIFF] = " Diff ", [LOWER_RESOURCES] = " Resources ", [LOWER_LOG] = " Log " };

/* Where there is room for two, the network has its own and the others share the right one. */
static int first_tab(const struct app *a)
{
	return a->layout.lower_right.rows ? LOWER_DIFF : LOWER_NET;
}

/* Its name, with counts of what the selected sandbox changed; columns used. */
static int tab(struct app *a, struct rect r, int col, int t, struct style st, bool draw)
{
	const struct model_sandbox *sb = app_selected(a);
	const struct model_changes *c = sb && t == LOWER_DIFF && sb->changes.known && sb->changes.files ? &sb->changes : NULL;
	char text[80];

	str_copy(text, sizeof(text), tabs[t]);
	if (c && (c->add || c->del))
		snprintf(text, sizeof(text), "%s+%llu %s%llu ", tabs[t], (unsigned long long)c->add, glyph(G_MINUS, a->ascii), (unsigned long long)c->del);
	else if (c)
		snprintf(text, sizeof(text), "%s%llu ", tabs[t], (unsigned long long)c->files);
	if (draw)
		return canvas_text(&a->canvas, r, 0, col, -1, st, text);
	return (int)utf8_columns(text);
}

/* One of them, all named in its border. */
void draw_lower(struct app *a, struct rect r)
{
	const bool two = a->layout.lower_right.rows > 0, focused = a->focus == FOCUS_LOWER && (!two || a->lower != LOWER_NET);
	const enum lower shown = two ? a->lower_side : a->lower;
	int col = 2;

	if (shown == LOWER_NET)
		draw_net(a, r, true, focused, true);
	else if (shown == LOWER_DIFF)
		draw_files(a, r, true, focused, true);
	else if (shown == LOWER_LOG)
		draw_log(a, r, true, focused);
	else
		draw_resources(a, r, true, focused, true);
	canvas_hline(&a->canvas, (struct rect){ r.row, r.col + 1, 1, r.cols - 2 }, 0, app_style(a, focused ? EL_BORDER_FOCUS : EL_BORDER));
	for (int t = first_tab(a); t < LOWER_NUM; t++)
		col += tab(a, r, col, t, app_style(a, t == (int)shown ? EL_TAB_ACTIVE : EL_TAB), true) + 1;
}

void lower_click(struct app *a, struct rect r, const struct key *k)
{
	int col = r.col + 2;

	if (k->row != r.row)
		return;
	for (int t = first_tab(a); t < LOWER_NUM; t++) {
		const int end = col + tab(a, r, 0, t, app_style(a, EL_TAB), false);

		if (k->col >= col && k->col < end)
			lower_show(a, (enum lower)t);
		col = end + 1;
	}
}

void lower_show(struct app *a, enum lower which)
{
	a->lower = which;
	if (which != LOWER_NET)
		a->lower_side = which;
	a->dirty = true;
}
