/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Desks (how a sandbox's terminals lie on the screen) and the pool of viewers. A pane that is on the screen is given a viewer when it is drawn;
 * one that is not keeps it, unacknowledged and therefore silent, until the pool is full and the longest unseen goes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "tui/app.h"

#define VIEWERS_KEPT 24u

struct desk *desk_of(struct app *a, const char *sandbox)
{
	for (size_t i = 0; i < a->ndesks; i++)
		if (!strcmp(a->desks[i]->sandbox, sandbox))
			return a->desks[i];
	struct desk **grown = realloc(a->desks, (a->ndesks + 1) * sizeof(struct desk *));
	if (!grown)
		return NULL;
	a->desks = grown;
	struct desk *d = calloc(1, sizeof(*d));
	if (!d || !(d->root = split_create(1))) {
		free(d);
		return NULL;
	}
	str_copy(d->sandbox, sizeof(d->sandbox), sandbox);
	d->panes[0].id = d->focus = d->last_id = 1;
	d->npanes = 1;
	a->desks[a->ndesks++] = d;
	const struct model_sandbox *sb = a->attach_only ? NULL : model_find(a->model, sandbox);
	if (sb)
		prefs_desk(a, d, sb);
	return d;
}

struct pane *desk_pane(struct desk *d, unsigned id)
{
	for (size_t i = 0; i < d->npanes; i++)
		if (d->panes[i].id == id)
			return &d->panes[i];
	return NULL;
}

struct pane *desk_focus(struct desk *d)
{
	struct pane *p = desk_pane(d, d->focus);

	if (!p) {
		p = &d->panes[0];
		d->focus = p->id;
	}
	return p;
}

struct desk *app_desk(struct app *a)
{
	const struct model_sandbox *sb = app_current(a);

	if (a->attach_only)
		return a->selected[0] ? desk_of(a, a->selected) : NULL;
	return sb ? desk_of(a, sb->name) : NULL;
}

struct pane *app_pane(struct app *a)
{
	struct desk *d = app_desk(a);

	return d ? desk_focus(d) : NULL;
}

/* ---- viewers ------------------------------------------------------------------------------------------------------------------------ */

void viewer_drop(struct app *a, struct viewer *v)
{
	if (a->copy.v == v)
		copy_leave(&a->copy);
	if (a->drag_viewer == v)
		a->drag_viewer = NULL;
	for (size_t i = 0; i < a->npane_rects; i++)
		if (a->pane_viewers[i] == v)
			a->pane_viewers[i] = NULL;
	for (size_t i = 0; i < a->ndesks; i++)
		for (size_t k = 0; k < a->desks[i]->npanes; k++)
			if (a->desks[i]->panes[k].v == v)
				a->desks[i]->panes[k].v = NULL;
	for (size_t i = 0; i < a->nviewers; i++)
		if (a->viewers[i] == v) {
			a->viewers[i] = a->viewers[--a->nviewers];
			break;
		}
	viewer_destroy(v);
}

bool viewer_shown(const struct app *a, const struct viewer *v)
{
	for (size_t i = 0; i < a->npane_rects; i++)
		if (a->pane_viewers[i] == v)
			return true;
	if (v->preview)
		for (size_t i = 0; i < a->ntiles; i++)
			if (!strcmp(a->tile_names[i], v->sandbox))
				return true;
	return false;
}

static struct viewer *viewer_open(struct app *a, const char *sandbox, uint32_t session, bool preview, int rows, int cols)
{
	if (a->nviewers == VIEWERS_MAX || !a->client)
		return NULL;
	struct viewer *v = viewer_create(sandbox, session, preview, rows, cols);
	if (!v)
		return NULL;
	v->serial = ++a->viewer_serial;
	v->used_ms = clock_ms();
	a->viewers[a->nviewers++] = v;
	request_attach(a, v);
	return v;
}

void viewers_trim(struct app *a)
{
	while (a->nviewers > VIEWERS_KEPT) {
		struct viewer *oldest = NULL;
		const uint64_t now = clock_ms();

		for (size_t i = 0; i < a->nviewers; i++)
			if (a->viewers[i]->state != VIEWER_ASKED && now - a->viewers[i]->used_ms > 1000 && a->viewers[i] != a->copy.v &&
			    (!oldest || a->viewers[i]->used_ms < oldest->used_ms))
				oldest = a->viewers[i];
		if (!oldest)
			return;
		viewer_drop(a, oldest);
	}
}

bool session_lives(const struct model_session *s)
{
	return s->state != MSS_EXITED && s->state != MSS_FAILED;
}

size_t desk_sessions(const struct model_sandbox *sb, uint32_t shown, const struct model_session **out, size_t max)
{
	size_t n = 0;
	bool any = false;

	for (size_t i = 0; i < sb->nsessions; i++)
		any = any || (sb->sessions[i].pty && session_lives(&sb->sessions[i]));
	for (size_t i = 0; i < sb->nsessions && n < max; i++)
		if (sb->sessions[i].pty && (!any || session_lives(&sb->sessions[i]) || sb->sessions[i].id == shown))
			out[n++] = &sb->sessions[i];
	return n;
}

static bool has_terminals(const struct model_sandbox *sb)
{
	if (sb->state == MS_RUNNING || sb->state == MS_PAUSED)
		return true;
	for (size_t i = 0; i < sb->nsessions; i++)
		if (sb->sessions[i].pty)
			return true;
	return false;
}

/* Which session a pane without one shows: the first live terminal; of a sandbox that does not run, the last that was. */
static uint32_t first_session(const struct model_sandbox *sb)
{
	uint32_t any = 0;

	for (size_t i = 0; i < sb->nsessions; i++) {
		if (!sb->sessions[i].pty)
			continue;
		if (session_lives(&sb->sessions[i]))
			return sb->sessions[i].id;
		any = sb->sessions[i].id;
	}
	return sb->state == MS_RUNNING ? 0 : any;
}

static bool retry_due(const struct viewer *v)
{
	return clock_ms() - v->used_ms > 700;
}

void pane_show(struct app *a, struct desk *d, struct pane *p, int rows, int cols)
{
	const struct model_sandbox *sb = model_find(a->model, d->sandbox);

	if (!sb || rows < 1 || cols < 1 || p->asked)
		return;
	/* A new life of the sandbox: its terminals are new ones. */
	if (p->v && sb->state == MS_RUNNING && p->generation != sb->generation && (p->v->exited || p->v->state == VIEWER_GONE)) {
		viewer_drop(a, p->v);
		p->session = 0;
	}
	/* The stream ended though the terminal may be there: after a while, ask again. */
	const struct model_session *s = model_session_find(sb, p->session);
	if (p->v && p->v->state == VIEWER_GONE && a->client && retry_due(p->v) && sb->state == MS_RUNNING && !p->v->exited &&
	    (!p->session || (s && session_lives(s))))
		viewer_drop(a, p->v);
	if (!p->v && has_terminals(sb) && a->client) {
		const uint32_t session = p->session ? p->session : first_session(sb);

		if (session || sb->state == MS_RUNNING) {
			p->v = viewer_open(a, d->sandbox, session, false, rows, cols);
			p->generation = sb->generation;
			for (size_t i = 0; i < p->nearly && p->v; i++)
				viewer_key(p->v, p->early[i].code, p->early[i].mods);
			p->nearly = 0;
			if (!strcmp(a->wait_start, sb->name) && sb->state == MS_RUNNING)
				a->wait_start[0] = '\0';
		}
	}
	if (!p->v)
		return;
	if (p->v->session)
		p->session = p->v->session;
	if (p->v->state != VIEWER_GONE)
		p->v->used_ms = clock_ms();
	viewer_resize(p->v, rows, cols);
}

/* A tile looks on: the pane's own viewer would turn the terminal to the tile's size. */
struct viewer *tile_show(struct app *a, const char *sandbox)
{
	const struct model_sandbox *sb = model_find(a->model, sandbox);
	struct viewer *v = NULL;

	for (size_t i = 0; i < a->nviewers; i++)
		if (a->viewers[i]->preview && !strcmp(a->viewers[i]->sandbox, sandbox))
			v = a->viewers[i];
	const uint32_t first = sb ? first_session(sb) : 0;
	if (v && sb && v->state != VIEWER_ASKED && retry_due(v) && sb->state == MS_RUNNING &&
	    (v->exited || v->state == VIEWER_GONE) && first && first != v->session) {
		viewer_drop(a, v);
		v = NULL;
	}
	/* Looking on must not open a shell: only what is there. */
	if (!v && sb && first && a->client)
		v = viewer_open(a, sandbox, first, true, 24, 80);
	if (v && v->state != VIEWER_GONE)
		v->used_ms = clock_ms();
	return v;
}

/* ---- sessions and splits -------------------------------------------------------------------------------------------------------------- */

static void pane_session(struct app *a, struct pane *p, uint32_t session)
{
	if (p->session == session && p->v)
		return;
	if (p->v)
		viewer_drop(a, p->v);
	p->session = session;
	p->own = false;
	a->dirty = true;
}

void desk_session(struct app *a, uint32_t session)
{
	struct desk *d = app_desk(a);

	if (!d)
		return;
	for (size_t i = 0; i < d->npanes; i++) /* shown by another pane: go there */
		if (d->panes[i].session == session && session) {
			d->focus = d->panes[i].id;
			a->dirty = true;
			return;
		}
	pane_session(a, desk_focus(d), session);
	if (d->npanes > 1) /* what is kept is where its sessions are; one pane needs no file */
		prefs_save(a);
}

void desk_switch(struct app *a, int by)
{
	const struct model_sandbox *sb = app_current(a);
	struct pane *p = app_pane(a);
	const struct model_session *list[64];
	int at = 0;

	if (!sb || !p)
		return;
	const int n = (int)desk_sessions(sb, p->session, list, ARRAY_SIZE(list));
	for (int i = 0; i < n; i++)
		if (list[i]->id == p->session)
			at = i;
	if (n < 2) {
		app_message(a, EL_MESSAGE, "%s has no other terminal; x opens one", sb->name);
		return;
	}
	desk_session(a, list[(at + by + n) % n]->id);
}

void desk_new_shell(struct app *a, int split)
{
	const struct model_sandbox *sb = app_current(a);
	struct desk *d = app_desk(a);
	int rows = 24, cols = 80;

	if (!sb || !d)
		return;
	if (sb->state != MS_RUNNING) {
		app_message(a, EL_ERROR, "%s is %s: no shell can be opened in it", sb->name, model_state_word(sb->state));
		return;
	}
	struct pane *p = desk_focus(d);
	if (p->v) {
		rows = p->v->rows;
		cols = p->v->cols;
	}
	if (split) {
		const unsigned id = d->last_id + 1;

		if (d->npanes == PANES_MAX || split_add(d->root, p->id, id, split == 2) < 0) {
			app_message(a, EL_ERROR, "no more than %d panes", PANES_MAX);
			return;
		}
		d->last_id = id;
		p = &d->panes[d->npanes++];
		memset(p, 0, sizeof(*p));
		p->id = d->focus = id;
		p->own = true;
	} else if (p->v) {
		viewer_drop(a, p->v);
		p->own = false;
	}
	p->asked = true;
	p->session = 0;
	p->generation = sb->generation;
	a->dirty = true;
	request_shell(a, sb->name, p->id, rows, cols);
}

void desk_close_pane(struct app *a)
{
	struct desk *d = app_desk(a);

	if (!d)
		return;
	struct pane *p = desk_focus(d);
	if (d->npanes == 1) {
		app_message(a, EL_MESSAGE, "this is the only pane");
		return;
	}
	a->drag_split = NULL; /* nodes go */
	a->drag = DRAG_NONE;
	const unsigned id = p->id, next = split_remove(&d->root, id);
	if (p->own && p->session)
		request_close(a, d->sandbox, p->session);
	if (p->v)
		viewer_drop(a, p->v);
	*p = d->panes[--d->npanes];
	d->focus = next;
	a->dirty = true;
	prefs_save(a);
}

/* Desks and viewers of sandboxes that are gone. */
void desks_prune(struct app *a)
{
	for (size_t i = 0; i < a->ndesks;) {
		struct desk *d = a->desks[i];

		if (a->attach_only || model_find(a->model, d->sandbox)) {
			i++;
			continue;
		}
		a->drag_split = NULL;
		a->drag = DRAG_NONE;
		split_destroy(d->root);
		free(d);
		a->desks[i] = a->desks[--a->ndesks];
	}
	for (size_t i = 0; i < a->nviewers;) {
		if (a->attach_only || model_find(a->model, a->viewers[i]->sandbox) || a->viewers[i]->state == VIEWER_ASKED)
			i++;
		else
			viewer_drop(a, a->viewers[i]);
	}
}
