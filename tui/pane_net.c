/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Network view: what sandboxes reached, what was denied and what waits, a row for each connection or request, the newest at the bottom; counters;
 * published ports; a row's details. The cursor on the newest row follows; anywhere else it stays on its row while others come.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/base/utf8.h"
#include "core/client/port.h"
#include "tui/app.h"

/* ---- which rows --------------------------------------------------------------------------------------------------------------------- */

static bool holds(const char *s, const char *part)
{
	return s[0] && strcasestr(s, part);
}

static bool row_matches(const struct app *a, const struct model_decision *d, bool only)
{
	const struct netview *v = &a->net;
	const char *f = v->filter;

	if (only && strcmp(d->what.sandbox, a->selected) != 0)
		return false;
	if (v->verdict >= 0 && (int)d->verdict != v->verdict)
		return false;
	if (!f[0])
		return true;
	return holds(d->what.name, f) || holds(d->what.sandbox, f) || holds(d->what.address, f) || holds(d->what.method, f) || holds(d->what.path, f) ||
	       holds(d->what.comm, f) || holds(d->rule, f) || holds(d->service, f) || holds(d->to, f);
}

bool net_only(const struct app *a)
{
	return a->net.only || a->page != PAGE_NETWORK;
}

bool net_shown(const struct app *a)
{
	if (a->attach_only)
		return false;
	return a->page == PAGE_NETWORK || (a->page == PAGE_OVERVIEW && a->layout.lower.rows && (a->lower == LOWER_NET || a->layout.lower_right.rows));
}

/* The rows that are shown, the newest first; returns how many. */
static size_t rows_of(const struct app *a, const struct model_decision **out)
{
	const struct netmodel *n = &a->model->net;
	const size_t count = netmodel_count(n);
	const bool only = net_only(a);
	size_t got = 0;

	for (size_t k = 0; k < count; k++) {
		const struct model_decision *d = netmodel_newest(n, k);

		if (row_matches(a, d, only))
			out[got++] = d;
	}
	return got;
}

/* The place of the cursor among the shown: its own row, else the next older one. */
static size_t cursor_of(const struct app *a, const struct model_decision *const *list, size_t n)
{
	if (!a->net.row)
		return 0;
	for (size_t i = 0; i < n; i++)
		if (list[i]->row <= a->net.row)
			return i;
	return n ? n - 1 : 0;
}

const struct model_decision *net_row(const struct app *a)
{
	const struct model_decision *list[MODEL_DECISIONS_MAX];
	const size_t n = rows_of(a, list);

	return n ? list[cursor_of(a, list, n)] : NULL;
}

void net_move(struct app *a, int by)
{
	const struct model_decision *list[MODEL_DECISIONS_MAX];
	const size_t n = rows_of(a, list);

	if (!n)
		return;
	const long at = (long)cursor_of(a, list, n) - by;
	if (at <= 0)
		a->net.row = 0;
	else
		a->net.row = list[at < (long)n ? (size_t)at : n - 1]->row;
	a->dirty = true;
}

/* ---- a row ------------------------------------------------------------------------------------------------------------------------------- */

static const char *verdict_word(const struct model_decision *d)
{
	return d->alarm ? "ALARM" : d->verdict == MV_ALLOW ? "allow" : d->verdict == MV_DENY ? "deny" : "asks";
}

static enum glyph verdict_glyph(const struct model_decision *d)
{
	return d->alarm ? G_ALARM : d->verdict == MV_ALLOW ? G_ALLOW : d->verdict == MV_DENY ? G_FAILED : G_ASK;
}

static enum element verdict_element(const struct model_decision *d)
{
	return d->alarm || d->verdict == MV_DENY ? EL_ERROR : d->verdict == MV_ALLOW ? EL_OK : EL_WAITS;
}

static void clock_text(uint64_t at_ms, char dst[12])
{
	const time_t t = (time_t)(at_ms / 1000);
	struct tm tm;

	dst[0] = '\0';
	if (at_ms && localtime_r(&t, &tm))
		strftime(dst, 12, "%H:%M:%S", &tm);
}

static void took(uint64_t ms, char *dst, size_t cap)
{
	if (ms < 1000)
		snprintf(dst, cap, "%ums", (unsigned)ms);
	else
		str_age(dst, cap, ms / 1000);
}

/* What decided, or the credential that was put in: the column that says why. */
static void why_text(const struct model_decision *d, char *dst, size_t cap)
{
	if (d->injected || d->alarm)
		snprintf(dst, cap, "key:%s", d->service);
	else
		str_copy(dst, cap, d->rule);
}

/* Columns of a row at a width; 0 = not shown. */
struct columns { int time, word, sandbox, target, who, why, bytes, took; };

static struct columns columns_of(const struct app *a, int width)
{
	struct columns c = { .time = width >= 44 ? 9 : 0, .word = width >= 64 ? 6 : 0, .bytes = width >= 60 ? 13 : 0, .who = width >= 84 ? 12 : 0,
			     .took = width >= 100 ? 7 : 0 };

	if (!net_only(a) && a->model->nsandboxes > 1) {
		for (size_t i = 0; i < a->model->nsandboxes; i++)
			if ((int)strlen(a->model->sandboxes[i]->name) + 1 > c.sandbox)
				c.sandbox = (int)strlen(a->model->sandboxes[i]->name) + 1;
		if (c.sandbox > (width >= 100 ? 14 : 9))
			c.sandbox = width >= 100 ? 14 : 9;
		if (width < 50)
			c.sandbox = 0;
	}
	c.why = width >= 150 ? 34 : width >= 118 ? 22 : 0;
	c.target = width - 3 - c.time - c.word - c.sandbox - c.who - c.why - c.bytes - c.took;
	return c;
}

static void draw_row(struct app *a, struct rect r, int row, const struct columns *c, const struct model_decision *d, bool selected, bool focused)
{
	struct canvas *v = &a->canvas;
	const enum element ground = !selected ? EL_NORMAL : focused ? EL_SELECTED : EL_SELECTED_IDLE;
	const struct style st = app_style(a, ground), dim = ground == EL_SELECTED ? st : app_style_on(a, EL_DIM, ground);
	const struct style mark = ground == EL_SELECTED ? st : app_style_on(a, verdict_element(d), ground);
	char text[700], sent[16], got[16];
	int col = 1;

	if (selected) {
		canvas_fill(v, (struct rect){ r.row + row, r.col, 1, r.cols }, st);
		canvas_text(v, r, row, 0, -1, st, glyph(G_CURSOR, a->ascii));
	}
	if (c->time) {
		clock_text(d->at_ms, text);
		canvas_text(v, r, row, col, 8, dim, text);
		col += c->time;
	}
	canvas_text(v, r, row, col, 1, mark, glyph(verdict_glyph(d), a->ascii));
	col += 2;
	if (c->word) {
		canvas_text(v, r, row, col, c->word - 1, mark, verdict_word(d));
		col += c->word;
	}
	if (c->sandbox) {
		canvas_text(v, r, row, col, c->sandbox - 1, st, d->what.sandbox);
		col += c->sandbox;
	}
	reach_text(&d->what, text, sizeof(text), c->target - 1, a->ascii);
	canvas_text(v, r, row, col, c->target - 1, d->verdict == MV_ASK || d->alarm ? mark : st, text);
	col += c->target;
	if (c->who) {
		canvas_text(v, r, row, col, c->who - 1, dim, d->what.comm);
		col += c->who;
	}
	if (c->why) {
		why_text(d, text, sizeof(text));
		canvas_text(v, r, row, col, c->why - 1, d->injected && !selected ? app_style(a, EL_ACCENT) : dim, text);
		col += c->why;
	}
	if (c->bytes && (d->in || d->out)) {
		str_human(sent, sizeof(sent), d->in);
		str_human(got, sizeof(got), d->out);
		canvas_textf(v, r, row, col, c->bytes - 1, dim, "%5s%s%5s%s", sent, glyph(G_UP, a->ascii), got, glyph(G_DOWN, a->ascii));
	} else if (c->bytes && d->verdict == MV_ALLOW && !d->closed && !d->alarm) {
		canvas_textf(v, r, row, col, c->bytes - 1, dim, "%12s", "open");
	}
	col += c->bytes;
	if (c->took && d->closed) {
		took(d->ms, text, sizeof(text));
		canvas_textf(v, r, row, col, c->took, dim, "%6s", text);
	}
}

/* ---- the list ---------------------------------------------------------------------------------------------------------------------------- */

static void draw_rows(struct app *a, struct rect r, bool focused)
{
	const struct model_decision *list[MODEL_DECISIONS_MAX];
	const size_t n = rows_of(a, list), at = cursor_of(a, list, n);
	const struct columns c = columns_of(a, r.cols);
	struct netview *v = &a->net;

	v->first_row = r.row;
	v->rows = 0;
	if (!n) {
		const char *why = !netmodel_count(&a->model->net) ? "nothing was reached yet" : v->filter[0] || v->verdict >= 0 ? "nothing matches the filter" :
				  "nothing was reached by this sandbox yet";

		canvas_text(&a->canvas, r, 0, 1, r.cols - 2, app_style(a, EL_DIM), why);
		return;
	}
	/* first: the place of the uppermost row. Followed: as many as fit above the newest. Else the top stays while the cursor is in sight. */
	size_t first = n > (size_t)r.rows ? (size_t)r.rows - 1 : n - 1;
	if (v->row) {
		size_t top = n - 1;

		while (top > 0 && list[top]->row < v->top)
			top--;
		if (top < first)
			top = first; /* no empty rows below the newest */
		if (at > top)
			top = at;
		if (top >= (size_t)r.rows && at < top - (size_t)r.rows + 1)
			top = at + (size_t)r.rows - 1;
		first = top;
	}
	v->top = list[first]->row;
	for (int row = 0; row < r.rows && (size_t)row <= first; row++) {
		const size_t i = first - (size_t)row;

		draw_row(a, r, row, &c, list[i], i == at && (focused || v->row), focused);
		if (v->rows < (int)ARRAY_SIZE(v->at))
			v->at[v->rows++] = list[i]->row;
	}
	v->newer = first >= (size_t)r.rows ? first - (size_t)r.rows + 1 : 0;
}

static void counters(struct app *a, struct rect r, int row)
{
	const struct model *m = a->model;
	struct model_net t = { 0 };
	char text[300], in[16], out[16];
	size_t asks = 0;

	for (size_t i = 0; i < m->nsandboxes; i++) {
		const struct model_net *s = &m->sandboxes[i]->net;

		if (net_only(a) && strcmp(m->sandboxes[i]->name, a->selected) != 0)
			continue;
		t.open += s->open;
		t.held += s->held;
		t.conns += s->conns;
		t.denied += s->denied;
		t.in += s->in;
		t.out += s->out;
		asks += netmodel_asks_of(&m->net, m->sandboxes[i]->name);
	}
	str_human(in, sizeof(in), t.out); /* into the guest */
	str_human(out, sizeof(out), t.in);
	const char *dot = glyph(G_DOT, a->ascii);
	snprintf(text, sizeof(text), "%llu open %s %llu held%s %s %llu connections %s %llu denied %s %s%s %s%s", (unsigned long long)t.open, dot,
		 (unsigned long long)t.held, asks ? "" : "", dot, (unsigned long long)t.conns, dot, (unsigned long long)t.denied, dot, out, glyph(G_UP, a->ascii), in,
		 glyph(G_DOWN, a->ascii));
	canvas_text(&a->canvas, r, row, 1, r.cols - 2, app_style(a, EL_DIM), text);
}

static void title_of(const struct app *a, char *dst, size_t cap)
{
	static const char *const verdicts[] = { [MV_ALLOW] = "allowed", [MV_DENY] = "denied", [MV_ASK] = "asked" };
	const char *dot = glyph(G_DOT, a->ascii);
	int n = snprintf(dst, cap, " Network");

	if (net_only(a) && a->selected[0])
		n += snprintf(dst + n, cap - (size_t)n, " %s %s", dot, a->selected);
	if (a->net.verdict >= 0)
		n += snprintf(dst + n, cap - (size_t)n, " %s %s", dot, verdicts[a->net.verdict]);
	if (a->net.filter[0])
		n += snprintf(dst + n, cap - (size_t)n, " / %s", a->net.filter);
	snprintf(dst + n, cap - (size_t)n, " ");
}

void draw_net(struct app *a, struct rect r, bool boxed, bool focused, bool brief)
{
	char title[200], more[48];

	title_of(a, title, sizeof(title));
	struct rect in = draw_box(a, r, title, focused, boxed);
	a->net.rows = 0;
	a->net.newer = 0;
	if (!brief && in.rows >= 6) {
		counters(a, in, 0);
		in.row++;
		in.rows--;
	}
	if (!brief && in.rows >= 12 && in.cols >= 64) {
		const struct columns c = columns_of(a, in.cols);
		const struct style st = app_style(a, EL_TITLE);
		int col = 1;

		canvas_text(&a->canvas, in, 0, col, -1, st, "time");
		col += c.time + 2;
		canvas_text(&a->canvas, in, 0, col, c.word, st, "what");
		col += c.word;
		canvas_text(&a->canvas, in, 0, col, c.sandbox, st, c.sandbox > 7 ? "sandbox" : c.sandbox ? "in" : "");
		col += c.sandbox;
		canvas_text(&a->canvas, in, 0, col, c.target, st, "host, port, path");
		col += c.target;
		canvas_text(&a->canvas, in, 0, col, c.who, st, c.who ? "process" : "");
		col += c.who;
		canvas_text(&a->canvas, in, 0, col, c.why, st, c.why ? "rule" : "");
		col += c.why;
		canvas_textf(&a->canvas, in, 0, col, c.bytes, st, "%12s", "bytes");
		col += c.bytes;
		if (c.took)
			canvas_textf(&a->canvas, in, 0, col, c.took, st, "%6s", "took");
		in.row++;
		in.rows--;
	}
	if (in.rows < 1)
		return;
	draw_rows(a, in, focused);
	if (boxed && a->net.newer) {
		snprintf(more, sizeof(more), " %zu newer %s End ", a->net.newer, glyph(G_DOWN, a->ascii));
		canvas_text_right(&a->canvas, r, r.rows - 1, 2, app_style(a, EL_BORDER), more);
	}
}

/* ---- published ports ------------------------------------------------------------------------------------------------------------------------ */

const struct model_port *net_port(const struct app *a)
{
	const struct netmodel *n = &a->model->net;

	return a->net.port < n->nports ? &n->ports[a->net.port] : NULL;
}

void draw_ports(struct app *a, struct rect r, bool boxed, bool focused)
{
	const struct netmodel *n = &a->model->net;
	struct rect in = draw_box(a, r, " Published ports ", focused, boxed);
	int first = 0;

	if (!boxed && r.rows >= 2 && r.rows < 4) { /* draw_box() gives so few rows no title */
		const struct style st = app_style(a, focused ? EL_BORDER_FOCUS : EL_BORDER);

		canvas_hline(&a->canvas, (struct rect){ r.row, r.col, 1, r.cols }, 0, st);
		canvas_text(&a->canvas, r, 0, 2, r.cols - 3, focused ? app_style(a, EL_TITLE) : st, " Published ports ");
		in = (struct rect){ r.row + 1, r.col, r.rows - 1, r.cols };
	}

	if (a->net.port >= n->nports)
		a->net.port = n->nports ? n->nports - 1 : 0;
	if (!n->nports) {
		char key[32] = "P";

		keymap_show(&a->config.keys, ACT_PUBLISH, false, a->ascii, key, sizeof(key));
		canvas_textf(&a->canvas, in, 0, 1, in.cols - 2, app_style(a, EL_DIM), "none; %s makes a port of the selected sandbox reachable here", key);
		return;
	}
	if ((int)a->net.port >= in.rows)
		first = (int)a->net.port - in.rows + 1;
	for (int row = 0; row < in.rows && first + row < (int)n->nports; row++) {
		const struct model_port *p = &n->ports[first + row];
		const bool sel = first + row == (int)a->net.port && focused, v6 = strchr(p->host_address, ':') != NULL;
		const struct style st = app_style(a, sel ? EL_SELECTED : EL_NORMAL);

		canvas_fill(&a->canvas, (struct rect){ in.row + row, in.col, 1, in.cols }, st);
		if (sel)
			canvas_text(&a->canvas, in, row, 0, -1, st, glyph(G_CURSOR, a->ascii));
		canvas_textf(&a->canvas, in, row, 1, in.cols - 2, st, "%s%s%s:%u  %s  %s:%u%s", v6 ? "[" : "", p->host_address, v6 ? "]" : "", p->host_port,
			     a->ascii ? "->" : "→", p->sandbox, p->guest_port, port_is_loopback(p->host_address) ? "" : "   open to the network");
	}
}
