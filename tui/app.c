/* SPDX-License-Identifier: Apache-2.0 */
/* State, selection, what waits. See app.h. */
#include "tui/app.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/utf8.h"

int app_init(struct app *a, struct err *e)
{
	memset(a, 0, sizeof(*a));
	a->output.fd = -1;
	a->complete_at = -1;
	a->net.verdict = -1;
	a->lower_side = LOWER_DIFF;
	buf_init(&a->clip_out, COPY_MAX);
	buf_init(&a->clip.data, VIEWER_CLIP_MAX);
	config_init(&a->config);
	a->model = model_create();
	if (!a->model || canvas_resize(&a->canvas, 24, 80) < 0)
		return err_set(e, ENOMEM, "out of memory");
	theme_parse(&a->theme, "", 0, NULL);
	a->dirty = true;
	return 0;
}

void app_release(struct app *a)
{
	copy_leave(&a->copy);
	output_close(a);
	while (a->nviewers)
		viewer_drop(a, a->viewers[0]);
	client_close(&a->client);
	connecting_end(&a->connecting);
	for (size_t i = 0; i < a->ndesks; i++) {
		split_destroy(a->desks[i]->root);
		free(a->desks[i]);
	}
	free(a->desks);
	json_decref(a->desks_kept);
	diffask_clear(&a->diffask);
	diffview_release(&a->diff);
	buf_release(&a->clip_out);
	buf_release(&a->clip.data);
	model_destroy(a->model);
	canvas_release(&a->canvas);
}

const char *short_path(const char *path, char *dst, size_t cap)
{
	const char *home = getenv("HOME");
	const size_t n = home ? strlen(home) : 0;

	if (n > 1 && str_starts(path, home) && (path[n] == '/' || !path[n]))
		snprintf(dst, cap, "~%s", path + n);
	else
		str_copy(dst, cap, path);
	return dst;
}

void app_message(struct app *a, enum element style, const char *fmt, ...)
{
	char text[sizeof(a->message)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	scrub(a->message, sizeof(a->message), text, strlen(text), false);
	a->message_style = style;
	a->message_until = clock_ms() + MESSAGE_MS;
	a->dirty = true;
}

struct style app_style(const struct app *a, enum element e)
{
	return a->theme.style[e];
}

struct style app_style_on(const struct app *a, enum element e, enum element under)
{
	struct style st = a->theme.style[e];

	st.bg = a->theme.style[under].bg;
	if (a->theme.style[under].attrs & CELL_REVERSE)
		st.attrs |= CELL_REVERSE;
	return st;
}

/* ---- what a sandbox's state looks like --------------------------------------------------------------------------------------------- */

static bool any_busy(const struct model_sandbox *sb)
{
	for (size_t i = 0; i < sb->nsessions; i++)
		if (sb->sessions[i].state == MSS_BUSY)
			return true;
	return false;
}

enum element state_element(const struct model_sandbox *sb)
{
	switch (sb->state) {
	case MS_RUNNING: return sb->waits ? EL_WAITS : any_busy(sb) ? EL_BUSY : EL_IDLE;
	case MS_PAUSED: return EL_PAUSED;
	case MS_STOPPED: return EL_STOPPED;
	case MS_FAILED: return EL_FAILED;
	default: return EL_BOOTS;
	}
}

enum glyph state_glyph(const struct model_sandbox *sb)
{
	switch (sb->state) {
	case MS_RUNNING: return G_BUSY;
	case MS_PAUSED: return G_PAUSED;
	case MS_STOPPED: return G_STOPPED;
	case MS_FAILED: return G_FAILED;
	default: return G_BOOTS;
	}
}

const char *state_word(const struct model_sandbox *sb)
{
	switch (sb->state) {
	case MS_RUNNING: return sb->waits ? "waits" : any_busy(sb) ? "busy" : "idle";
	case MS_NEW:
	case MS_PREPARING: return "readies";
	case MS_STARTING: return "boots";
	case MS_RESETTING: return "resets";
	case MS_STOPPING: return "stops";
	default: return model_state_word(sb->state);
	}
}

size_t app_waiting(const struct app *a, const struct model_sandbox **first)
{
	size_t n = 0;

	for (size_t i = 0; i < a->model->nsandboxes; i++)
		if (a->model->sandboxes[i]->waits && a->model->sandboxes[i]->state == MS_RUNNING) {
			if (n == 0 && first)
				*first = a->model->sandboxes[i];
			n++;
		}
	return n;
}

/* ---- selection --------------------------------------------------------------------------------------------------------------------- */

bool app_matches(const struct app *a, const struct model_sandbox *sb)
{
	if (!a->filter[0])
		return true;
	return strcasestr(sb->name, a->filter) || strcasestr(sb->kit, a->filter) || strcasestr(state_word(sb), a->filter) ||
	       (sb->path && strcasestr(sb->path, a->filter));
}

size_t app_visible(const struct app *a, const struct model_sandbox **out, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < a->model->nsandboxes && n < max; i++)
		if (app_matches(a, a->model->sandboxes[i]))
			out[n++] = a->model->sandboxes[i];
	return n;
}

struct model_sandbox *app_selected(const struct app *a)
{
	return a->selected[0] ? model_find(a->model, a->selected) : NULL;
}

struct model_sandbox *app_current(const struct app *a)
{
	if (a->focus == FOCUS_SECOND && a->second[0])
		return model_find(a->model, a->second);
	return app_selected(a);
}

void app_select(struct app *a, const char *name)
{
	if (!strcmp(a->selected, name))
		return;
	if (!strcmp(a->second, name))
		str_copy(a->second, sizeof(a->second), a->selected);
	str_copy(a->selected, sizeof(a->selected), name);
	a->dirty = true;
}

void app_move(struct app *a, int by)
{
	const struct model_sandbox *list[1000];
	const size_t n = app_visible(a, list, ARRAY_SIZE(list));
	int at = 0;

	if (!n)
		return;
	for (size_t i = 0; i < n; i++)
		if (!strcmp(list[i]->name, a->selected))
			at = (int)i;
	at += by;
	at = at < 0 ? 0 : at >= (int)n ? (int)n - 1 : at;
	app_select(a, list[at]->name);
	a->selected_at = (size_t)at;
}

/* The second terminal shows what was chosen for it, else the next sandbox with terminals after the selected one. */
const char *app_second(struct app *a)
{
	const struct model *m = a->model;
	size_t at = 0;

	if (a->second[0] && strcmp(a->second, a->selected) && model_find(m, a->second))
		return a->second;
	a->second[0] = '\0';
	for (size_t i = 0; i < m->nsandboxes; i++)
		if (!strcmp(m->sandboxes[i]->name, a->selected))
			at = i;
	for (int want_running = 1; want_running >= 0; want_running--)
		for (size_t i = 1; i < m->nsandboxes; i++) {
			const struct model_sandbox *sb = m->sandboxes[(at + i) % m->nsandboxes];

			if (!want_running || sb->state == MS_RUNNING || sb->state == MS_PAUSED) {
				str_copy(a->second, sizeof(a->second), sb->name);
				return a->second;
			}
		}
	return NULL;
}

/* A placeholder was on its way to where it does not belong. */
static void raise_alarm(struct app *a, const struct model_attention *t)
{
	snprintf(a->alarm, sizeof(a->alarm), "%s: %s", t->name, t->text);
	app_message(a, EL_ERROR, "ALARM  %s", a->alarm);
	a->ring = true;
	if (a->config.notify)
		snprintf(a->notify, sizeof(a->notify), "ALARM: %.280s", a->alarm);
}

/* What it said when it began to wait; a plain bell or a prompt says nothing. */
static void note_words(struct app *a)
{
	const struct model_attention *t = &a->model->attention;
	struct model_sandbox *sb = t->n != a->attention_seen ? model_find(a->model, t->name) : NULL;
	const bool alarm = strcmp(t->what, "alarm") == 0;

	a->attention_seen = t->n;
	if (sb && alarm)
		raise_alarm(a, t);
	else if (sb)
		str_copy(sb->asks_text, sizeof(sb->asks_text), strcmp(t->what, "notify") == 0 ? t->text : "");
}

/* Its terminal that waits is the one the person types in, in a window that has the focus: who is there need not be called. */
static bool is_here(struct app *a, const struct model_sandbox *sb)
{
	const struct pane *p = app_pane(a);
	const struct model_sandbox *now = a->attach_only ? app_selected(a) : app_current(a);
	const struct model_session *s = p ? model_session_find(sb, p->session) : NULL;

	return now == sb && (a->typing || a->attach_only) && !a->away && s && s->state == MSS_WAITS;
}

/*
 * A sandbox that begins to wait rings, and tells the desktop, once: not at every bell or notification, which a program may repeat for ever, and not
 * for one that waited before we came.
 */
static void notice_waiting(struct app *a)
{
	for (size_t i = 0; i < a->model->nsandboxes; i++) {
		struct model_sandbox *sb = a->model->sandboxes[i];
		const bool waits = sb->waits && sb->state == MS_RUNNING, began = waits && sb->noticed == NOTICED_CALM;

		if (!waits && sb->noticed == NOTICED_WAITS)
			sb->asks_text[0] = '\0';
		sb->noticed = waits ? NOTICED_WAITS : NOTICED_CALM;
		if (!began || (a->attach_only && strcmp(sb->name, a->selected)) || is_here(a, sb))
			continue;
		a->ring = true;
		if (a->config.notify)
			snprintf(a->notify, sizeof(a->notify), "%s%s%.200s", sb->name, sb->asks_text[0] ? ": " : " waits for you", sb->asks_text);
	}
}

void app_settle(struct app *a)
{
	const struct model_sandbox *sb, *list[1000];

	if (a->select_soon[0] && model_find(a->model, a->select_soon)) {
		app_select(a, a->select_soon);
		a->select_soon[0] = a->filter[0] = '\0';
	}
	sb = app_selected(a);
	const size_t n = app_visible(a, list, ARRAY_SIZE(list));
	/* One that went leaves the selection to who took its place. */
	if (!a->attach_only && (!sb || !app_matches(a, sb))) {
		if (n)
			app_select(a, list[a->selected_at < n ? a->selected_at : n - 1]->name);
		else if (!sb)
			a->selected[0] = '\0';
	}
	for (size_t i = 0; i < n; i++)
		if (!strcmp(list[i]->name, a->selected))
			a->selected_at = i;
	if (a->typing && !app_current(a) && !a->attach_only)
		a->typing = false;
	if (a->wait_start[0]) {
		sb = model_find(a->model, a->wait_start);
		if (!sb || sb->state == MS_FAILED)
			a->wait_start[0] = '\0';
	}
	desks_prune(a);
	note_words(a);
	notice_waiting(a);
	ask_settle(a);
}
