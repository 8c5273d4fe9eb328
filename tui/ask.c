/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attention line: the oldest question of a sandbox that wants to reach something, with the keys that answer it; else who waits for the person. In
 * every view, while typing too. What a key answers is what the last frame showed, never what came after it (ASK_ARM_MS in net.h).
 */
#include <stdio.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/utf8.h"
#include "tui/app.h"

/* In a terminal alone on the screen only its own sandbox's questions come over it. */
static bool concerns(const struct app *a, const struct model_ask *q)
{
	return !a->attach_only || strcmp(q->what.sandbox, a->selected) == 0;
}

/* The shown one if it is still there, else the oldest; its place among `n` of them. */
static const struct model_ask *pick(const struct app *a, size_t *at, size_t *count)
{
	const struct netmodel *n = &a->model->net;
	const struct model_ask *first = NULL, *shown = NULL;

	*at = *count = 0;
	for (size_t i = 0; i < n->nasks; i++) {
		if (!concerns(a, n->asks[i]))
			continue;
		(*count)++;
		if (!first)
			first = n->asks[i];
		if (n->asks[i]->id == a->asking.shown) {
			shown = n->asks[i];
			*at = *count;
		}
	}
	if (!shown && first)
		*at = 1;
	return shown ? shown : first;
}

const struct model_ask *app_ask(const struct app *a)
{
	size_t at, count;

	return pick(a, &at, &count);
}

/* The one after the shown. */
static const struct model_ask *next(const struct app *a)
{
	const struct netmodel *n = &a->model->net;
	bool past = false;

	for (size_t i = 0; i < 2 * n->nasks; i++) {
		const struct model_ask *q = n->asks[i % n->nasks];

		if (past && concerns(a, q))
			return q;
		past = past || q->id == a->asking.shown;
	}
	return NULL;
}

static bool armed(const struct app *a, uint64_t now)
{
	return a->asking.drawn == a->asking.shown && now - a->asking.shown_ms >= ASK_ARM_MS;
}

/* ---- events ------------------------------------------------------------------------------------------------------------------------------ */

/* "dashboard (bulkhead 0.1.0)" as a person says it. */
static const char *who_was(const char *by)
{
	if (str_starts(by, "dashboard"))
		return "another dashboard";
	if (str_starts(by, "cli"))
		return "the command line";
	return by[0] ? by : "somebody";
}

static void tell_gone(struct app *a)
{
	const struct model_ask_gone *g = &a->model->net.gone;
	char what[120];

	a->asking.gone_seen = g->n;
	if (!concerns(a, &g->ask))
		return;
	if (a->asking.sent == g->ask.id) { /* by us: the answer to the request says it */
		a->asking.sent = 0;
		return;
	}
	reach_text(&g->ask.what, what, sizeof(what), 60, a->ascii);
	switch (g->end) {
	case MAE_ANSWERED:
		app_message(a, EL_MESSAGE, "%s %s: %s by %s", g->ask.what.sandbox, what, g->verdict == MV_ALLOW ? "allowed" : "denied", who_was(g->by));
		break;
	case MAE_TIMEOUT: app_message(a, EL_WARN, "%s %s: denied, nobody answered in time", g->ask.what.sandbox, what); break;
	case MAE_RULED: app_message(a, EL_MESSAGE, "%s %s: a rule %s it now", g->ask.what.sandbox, what, g->verdict == MV_ALLOW ? "allows" : "denies"); break;
	default: app_message(a, EL_MESSAGE, "%s gave up on %s", g->ask.what.sandbox, what); break;
	}
}

static void ring(struct app *a, const struct model_ask *q)
{
	a->asking.newest = q->id;
	a->ring = true;
	if (a->config.notify)
		snprintf(a->notify, sizeof(a->notify), "%s asks: %.200s", q->what.sandbox, reach_host(&q->what));
}

void ask_settle(struct app *a)
{
	const struct netmodel *n = &a->model->net;
	const struct model_ask *q = app_ask(a);
	const uint64_t id = q ? q->id : 0;

	if (a->asking.gone_seen != n->gone.n)
		tell_gone(a);
	if (id != a->asking.shown) {
		if (a->asking.shown)
			a->asking.gone_ms = clock_ms();
		a->asking.shown = id;
		a->dirty = true;
	}
	for (size_t i = 0; i < n->nasks; i++)
		if (n->asks[i]->id > a->asking.newest && concerns(a, n->asks[i]))
			ring(a, n->asks[i]);
}

int ask_wait_ms(const struct app *a)
{
	const uint64_t now = clock_ms();

	if (!a->asking.shown)
		return -1;
	if (!armed(a, now))
		return a->asking.drawn == a->asking.shown ? (int)(ASK_ARM_MS - (now - a->asking.shown_ms)) : ASK_ARM_MS;
	return 1000; /* the time that is left is counted down */
}

bool ask_due(const struct app *a, uint64_t frame_ms, uint64_t now)
{
	if (!a->asking.shown)
		return false;
	return now - frame_ms >= 1000 || (armed(a, now) && frame_ms < a->asking.shown_ms + ASK_ARM_MS);
}

/* ---- keys -------------------------------------------------------------------------------------------------------------------------------- */

bool ask_key(struct app *a, enum action act)
{
	static const struct { enum action act; const char *verdict, *scope; } answers[] = {
		{ ACT_ASK_ALLOW, "allow", "once" }, { ACT_ASK_SANDBOX, "allow", "sandbox" }, { ACT_ASK_ALWAYS, "allow", "always" },
		{ ACT_ASK_DENY, "deny", "once" }, { ACT_ASK_NEVER, "deny", "always" },
	};
	const struct model_ask *q = netmodel_ask_find(&a->model->net, a->asking.shown);
	const uint64_t now = clock_ms();

	if (!q && a->asking.gone_ms && now - a->asking.gone_ms < ASK_GONE_MS) {
		app_message(a, EL_MESSAGE, "that question is gone");
		return true;
	}
	if (!q)
		return false;
	if (act == ACT_ASK_NEXT) {
		const struct model_ask *other = next(a);

		if (other)
			a->asking.shown = other->id;
		return true;
	}
	if (!armed(a, now)) {
		app_message(a, EL_WARN, "that question has just come: read it, then press again");
		return true;
	}
	if (a->asking.sent == q->id)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
		if (answers[i].act == act) {
			a->asking.sent = q->id;
			request_answer(a, q, answers[i].verdict, answers[i].scope);
		}
	return true;
}

/* ---- drawing ------------------------------------------------------------------------------------------------------------------------------- */

/* The words after the keys, the longest that leave the question room. */
static const char *const words[][5] = {
	{ "once", "this sandbox", "always", "deny", "deny always" },
	{ "once", "sandbox", "always", "deny", "never" },
	{ "once", "here", "all", "deny", "never" },
	{ "", "", "", "", "" },
};
static const enum action keys[] = { ACT_ASK_ALLOW, ACT_ASK_SANDBOX, ACT_ASK_ALWAYS, ACT_ASK_DENY, ACT_ASK_NEVER };

/* The keys with their words, and where the keys stand in it. */
struct hint { char text[200]; int at[ARRAY_SIZE(keys)], len[ARRAY_SIZE(keys)]; };

static int hints(const struct app *a, size_t level, struct hint *h)
{
	const bool typing = a->typing || a->attach_only;
	const size_t cap = sizeof(h->text);
	char key[32], prefix[KEY_NAME_MAX];
	size_t n = 0;

	memset(h, 0, sizeof(*h));
	if (typing && !a->prefixed) {
		key_spell(&a->config.keys.prefix, prefix);
		n = (size_t)snprintf(h->text, cap, "%s then  ", prefix);
	}
	for (size_t i = 0; i < ARRAY_SIZE(keys) && n < cap; i++) {
		if (!keymap_show(&a->config.keys, keys[i], typing, a->ascii, key, sizeof(key)))
			continue;
		const char *last = typing && strrchr(key, ' ') ? strrchr(key, ' ') + 1 : key; /* the prefix was said already */
		const char *word = words[level][i];

		if (i)
			n += (size_t)snprintf(h->text + n, cap - n, level ? "%s" : " %s ", level ? " " : glyph(G_DOT, a->ascii));
		if (n >= cap)
			break;
		h->at[i] = (int)utf8_columns(h->text);
		h->len[i] = (int)utf8_columns(last);
		n += (size_t)snprintf(h->text + n, cap - n, "%s%s%s", last, word[0] ? " " : "", word);
	}
	return (int)utf8_columns(h->text);
}

static void draw_hints(struct app *a, struct rect r, int inset, const struct hint *h)
{
	const struct style st = app_style(a, EL_ATTENTION);
	const int col = canvas_text_right(&a->canvas, r, 0, inset, st, h->text);
	struct style key = st;

	key.attrs ^= CELL_REVERSE;
	for (size_t i = 0; i < ARRAY_SIZE(keys) && col < r.cols; i++)
		if (h->len[i])
			canvas_restyle(&a->canvas, r, 0, col + h->at[i], h->len[i], key);
}

static void time_left(const struct model_ask *q, char *dst, size_t cap)
{
	const uint64_t now = clock_wall_ns() / 1000000;
	const uint64_t s = q->until_ms > now ? (q->until_ms - now) / 1000 : 0;

	dst[0] = '\0';
	if (q->until_ms)
		snprintf(dst, cap, "%u:%02u", (unsigned)(s / 60 > 999 ? 999 : s / 60), (unsigned)(s % 60));
}

/* Who and how many: "(curl, 3 connections)". */
static void askers(const struct model_ask *q, bool brief, char *dst, size_t cap)
{
	char many[32] = "";

	if (q->count == 0) /* it gave up waiting, and the answer holds for its next attempt */
		snprintf(many, sizeof(many), "%sleft", q->what.comm[0] ? ", " : "");
	else if (q->count > 1)
		snprintf(many, sizeof(many), brief ? "%s%u" : "%s%u connections", q->what.comm[0] ? ", " : "", q->count);
	dst[0] = '\0';
	if (q->what.comm[0] || many[0])
		snprintf(dst, cap, " (%s%s)", q->what.comm, many);
}

static void draw_ask(struct app *a, struct rect r, const struct model_ask *q)
{
	const struct style st = app_style(a, EL_ATTENTION);
	char head[80], who[120], tail[80], left[16], what[700];
	struct hint hint;
	size_t at, count, level;

	if (a->asking.drawn != q->id) { /* from now on it can be read */
		a->asking.drawn = q->id;
		a->asking.shown_ms = clock_ms();
	}
	pick(a, &at, &count);
	time_left(q, left, sizeof(left));
	if (count > 1)
		snprintf(tail, sizeof(tail), " %zu of %zu%s%s ", at, count, left[0] ? "  " : "", left);
	else
		snprintf(tail, sizeof(tail), "%s%s ", left[0] ? " " : "", left);
	snprintf(head, sizeof(head), "%s %s asks: ", glyph(G_ASK, a->ascii), q->what.sandbox);
	askers(q, r.cols < 120, who, sizeof(who));
	reach_text(&q->what, what, sizeof(what), 600, a->ascii);
	/* The keys in full when everything has room; else the longest words that leave the host whole; else the shortest. */
	const int bare = (int)(utf8_columns(head) + utf8_columns(what)), fixed = 2 + (int)utf8_columns(tail); /* a margin, a blank before the keys */
	int wide = 0;
	for (level = 0; level < ARRAY_SIZE(words) - 1; level++) {
		wide = hints(a, level, &hint);
		if (r.cols - fixed - wide >= bare + (level == 0 ? (int)utf8_columns(who) : 0))
			break;
	}
	if (level == ARRAY_SIZE(words) - 1) { /* a host too long for any: words, as long as its end can be read */
		wide = hints(a, 2, &hint);
		if (r.cols - fixed - wide - (int)utf8_columns(head) < 18)
			wide = hints(a, 3, &hint);
	}
	if (r.cols < 60 || a->asking.sent == q->id) {
		memset(&hint, 0, sizeof(hint));
		str_copy(hint.text, sizeof(hint.text), a->asking.sent == q->id ? "answering" : "");
		wide = (int)strlen(hint.text);
	}
	const bool shown = armed(a, clock_ms()) || a->asking.sent == q->id;
	int room = r.cols - fixed - wide - (int)utf8_columns(head);
	if (room < 12) {
		room = r.cols - 1 - (int)utf8_columns(head);
		tail[0] = '\0';
	}
	if ((int)(utf8_columns(what) + utf8_columns(who)) <= room)
		room -= (int)utf8_columns(who);
	else
		who[0] = '\0';
	reach_text(&q->what, what, sizeof(what), room, a->ascii);
	int col = 1 + canvas_text(&a->canvas, r, 0, 1, -1, st, head);
	col += canvas_text(&a->canvas, r, 0, col, room > 0 ? room : 0, st, what);
	canvas_text(&a->canvas, r, 0, col, -1, st, who);
	if (!tail[0])
		return;
	canvas_text_right(&a->canvas, r, 0, 0, st, tail);
	if (shown)
		draw_hints(a, r, (int)utf8_columns(tail), &hint);
}

static const char *waiting_text(const struct model_sandbox *sb)
{
	if (sb->asks_text[0])
		return sb->asks_text;
	for (size_t i = 0; i < sb->nsessions; i++)
		if (sb->sessions[i].state == MSS_WAITS)
			return sb->sessions[i].title[0] ? sb->sessions[i].title : sb->sessions[i].label;
	return "";
}

static void draw_alarm(struct app *a, struct rect r)
{
	const struct style st = app_style(a, EL_ATTENTION); /* red on its ground could not be read; the word says what it is */
	char key[32], right[64];

	if (!keymap_show(&a->config.keys, ACT_NETWORK, a->typing, a->ascii, key, sizeof(key)))
		key[0] = '\0';
	snprintf(right, sizeof(right), "%s look ", key);
	const bool room = r.cols > 48;
	canvas_textf(&a->canvas, r, 0, 1, r.cols - 1 - (room ? (int)utf8_columns(right) : 0), st, "%s ALARM  %s", glyph(G_ALARM, a->ascii), a->alarm);
	if (room)
		canvas_text_right(&a->canvas, r, 0, 0, app_style(a, EL_ATTENTION), right);
}

void draw_attention(struct app *a, struct rect r)
{
	const struct model_sandbox *sb = NULL;
	const struct model_ask *q = app_ask(a);
	const struct style st = app_style(a, EL_ATTENTION);
	const size_t n = app_waiting(a, &sb);
	char key[32], right[64];

	canvas_fill(&a->canvas, r, st);
	if (q) {
		draw_ask(a, r, q);
		return;
	}
	if (a->alarm[0]) {
		draw_alarm(a, r);
		return;
	}
	if (!sb)
		return;
	if (!keymap_show(&a->config.keys, ACT_WAITING, a->typing, a->ascii, key, sizeof(key)))
		key[0] = '\0';
	if (n > 1)
		snprintf(right, sizeof(right), "%s go there  1 of %zu ", key, n);
	else
		snprintf(right, sizeof(right), "%s go there ", key);
	const bool room = r.cols > 48;
	canvas_textf(&a->canvas, r, 0, 1, r.cols - 1 - (room ? (int)utf8_columns(right) : 0), st, "%s WAITS  %s  %s",
		     glyph(G_ASK, a->ascii), sb->name, waiting_text(sb));
	if (room)
		canvas_text_right(&a->canvas, r, 0, 0, st, right);
}
