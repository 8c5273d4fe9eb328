/* SPDX-License-Identifier: Apache-2.0 */
/* What each action of the keymap does. What destroys asks first, in place, says what is lost, and takes no for an answer by default. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fd.h"
#include "core/base/path.h"
#include "tui/app.h"

/* ---- asking ----------------------------------------------------------------------------------------------------------------------------- */

/* Adds "2 running containers"; nothing when there are none. */
static void lose(char *dst, size_t cap, uint64_t n, const char *one, const char *many)
{
	const size_t at = strlen(dst);

	if (n)
		snprintf(dst + at, cap - at, "%s%llu %s", at ? ", " : "", (unsigned long long)n, n == 1 ? one : many);
}

/* What nobody can bring back first: the line may be cut. */
static void what_is_lost(const struct model_sandbox *sb, bool disk, char *dst, size_t cap)
{
	const bool runs = sb->state == MS_RUNNING || sb->state == MS_PAUSED;
	size_t live = 0, running = 0;
	char used[16];

	for (size_t i = 0; i < sb->nsessions; i++)
		live += session_lives(&sb->sessions[i]);
	for (size_t i = 0; i < sb->ncontainers; i++)
		running += !strcmp(sb->containers[i].state, "running");
	dst[0] = '\0';
	if (disk)
		lose(dst, cap, sb->changes.files, "changed file not applied", "changed files not applied");
	if (runs) {
		lose(dst, cap, running, "running container", "running containers");
		lose(dst, cap, live, "running session", "running sessions");
	}
	if (disk) {
		const size_t at = strlen(dst);

		str_human(used, sizeof(used), sb->disk_used);
		snprintf(dst + at, cap - at, "%sits disk (%s)", at ? ", " : "", used);
	}
}

void confirm_ask(struct app *a, enum confirm what, const struct model_sandbox *sb)
{
	char lost[256];

	/* One made with --rm goes with its machine. */
	what_is_lost(sb, what == CONFIRM_RESET || what == CONFIRM_REMOVE || sb->remove_on_stop, lost, sizeof(lost));
	static const char *const verbs[] = { [CONFIRM_RESET] = "reset", [CONFIRM_KILL] = "kill", [CONFIRM_REMOVE] = "remove", [CONFIRM_STOP] = "stop" };
	if (lost[0])
		snprintf(a->confirm_text, sizeof(a->confirm_text), "%s %s? lost: %s", verbs[what], sb->name, lost);
	else
		snprintf(a->confirm_text, sizeof(a->confirm_text), "%s %s? nothing is lost", verbs[what], sb->name);
	a->confirm = what;
	str_copy(a->confirm_name, sizeof(a->confirm_name), sb->name);
	a->overlay = OV_CONFIRM;
	a->dirty = true;
}

void confirm_answer(struct app *a, bool yes)
{
	a->overlay = OV_NONE;
	a->dirty = true;
	if (!yes)
		return;
	switch (a->confirm) {
	case CONFIRM_RESET: request_simple(a, "sandbox.reset", a->confirm_name); break;
	case CONFIRM_KILL: request_simple(a, "sandbox.kill", a->confirm_name); break;
	case CONFIRM_STOP: request_simple(a, "sandbox.stop", a->confirm_name); break;
	case CONFIRM_REMOVE: request_remove(a, a->confirm_name); break;
	}
}

/* ---- sandboxes --------------------------------------------------------------------------------------------------------------------------- */

static void lifecycle(struct app *a, enum action act, const struct model_sandbox *sb)
{
	const bool runs = sb->state == MS_RUNNING || sb->state == MS_PAUSED, rests = sb->state == MS_STOPPED || sb->state == MS_FAILED;

	switch (act) {
	case ACT_START:
		if (sb->state == MS_PAUSED)
			request_simple(a, "sandbox.resume", sb->name);
		else if (rests)
			request_simple(a, "sandbox.start", sb->name);
		else
			app_message(a, EL_MESSAGE, "%s is %s already", sb->name, model_state_word(sb->state));
		break;
	case ACT_PAUSE:
		if (runs)
			request_simple(a, sb->state == MS_PAUSED ? "sandbox.resume" : "sandbox.pause", sb->name);
		else
			app_message(a, EL_MESSAGE, "%s is %s: there is nothing to pause", sb->name, model_state_word(sb->state));
		break;
	case ACT_STOP:
		if (rests)
			app_message(a, EL_MESSAGE, "%s does not run", sb->name);
		else
			confirm_ask(a, CONFIRM_STOP, sb);
		break;
	case ACT_RESET: confirm_ask(a, CONFIRM_RESET, sb); break;
	case ACT_KILL:
		if (rests)
			app_message(a, EL_MESSAGE, "%s does not run", sb->name);
		else
			confirm_ask(a, CONFIRM_KILL, sb);
		break;
	default: confirm_ask(a, CONFIRM_REMOVE, sb); break;
	}
}

/* Enter: the keyboard to the terminal; a sandbox that rests is started and gets it once it runs. */
static void to_terminal(struct app *a)
{
	struct model_sandbox *sb = app_current(a);
	struct pane *p = app_pane(a);

	if (!sb || !p) {
		app_message(a, EL_MESSAGE, "there is no sandbox: n makes one");
		return;
	}
	if (a->page == PAGE_NETWORK || a->page == PAGE_DIFF || a->page == PAGE_RESOURCES || a->page == PAGE_LOG || (a->page == PAGE_OVERVIEW && (a->grid || !a->layout.main.rows)))
		a->page = PAGE_TERMINAL;
	if (a->focus != FOCUS_SECOND)
		a->focus = FOCUS_MAIN;
	switch (sb->state) {
	case MS_STOPPED:
	case MS_FAILED:
		request_simple(a, "sandbox.start", sb->name);
		str_copy(a->wait_start, sizeof(a->wait_start), sb->name);
		a->typing = true;
		return;
	case MS_PAUSED:
		app_message(a, EL_MESSAGE, "%s is paused: what you type waits until p lets it go on", sb->name);
		break;
	default: break;
	}
	if (p->v && (p->v->exited || p->v->state == VIEWER_GONE) && sb->state == MS_RUNNING) { /* that shell is over: the first live one, or a new one */
		viewer_drop(a, p->v);
		p->session = 0;
	}
	a->typing = true;
	if (p->v)
		viewer_focus(p->v, true);
}

static void to_waiting(struct app *a)
{
	const struct model *m = a->model;
	size_t at = 0;

	for (size_t i = 0; i < m->nsandboxes; i++)
		if (!strcmp(m->sandboxes[i]->name, a->selected))
			at = i;
	for (size_t i = 1; i <= m->nsandboxes; i++) {
		const struct model_sandbox *sb = m->sandboxes[(at + i) % m->nsandboxes];

		if (!sb->waits || sb->state != MS_RUNNING)
			continue;
		a->filter[0] = '\0';
		a->focus = FOCUS_MAIN;
		app_select(a, sb->name);
		for (size_t k = 0; k < sb->nsessions; k++)
			if (sb->sessions[k].pty && sb->sessions[k].state == MSS_WAITS) {
				desk_session(a, sb->sessions[k].id);
				break;
			}
		to_terminal(a);
		return;
	}
	app_message(a, EL_MESSAGE, "nobody waits for you");
}

/* ---- moving ---------------------------------------------------------------------------------------------------------------------------------- */

static void next_pane(struct app *a, int by)
{
	enum focus order[4];
	int n = 0, at = 0;
	struct desk *d = app_desk(a);

	/* Inside the desk first: its panes are panes too. */
	if ((a->focus == FOCUS_MAIN || a->focus == FOCUS_SECOND) && d && d->npanes > 1) {
		for (size_t i = 0; i < d->npanes; i++)
			if (d->panes[i].id == d->focus) {
				const int next = (int)i + by;

				if (next >= 0 && next < (int)d->npanes) {
					d->focus = d->panes[next].id;
					return;
				}
				if (a->typing) {
					d->focus = d->panes[next < 0 ? (int)d->npanes - 1 : 0].id;
					return;
				}
			}
	}
	if (a->layout.list.rows)
		order[n++] = FOCUS_LIST;
	if (a->layout.main.rows)
		order[n++] = FOCUS_MAIN;
	if (a->layout.second.rows && a->second[0])
		order[n++] = FOCUS_SECOND;
	if (a->page == PAGE_DIFF && !a->layout.boxed) { /* files and text take turns */
		a->focus = a->focus == FOCUS_LOWER ? FOCUS_MAIN : FOCUS_LOWER;
		return;
	}
	if (a->layout.lower.rows && !a->typing)
		order[n++] = FOCUS_LOWER;
	for (int i = 0; i < n; i++)
		if (order[i] == a->focus)
			at = i;
	if (!n)
		return;
	at = (at + by + n) % n;
	if (a->typing && order[at] == FOCUS_LIST)
		at = (at + by + n) % n;
	if (a->page == PAGE_OVERVIEW && a->layout.lower.rows && a->focus == FOCUS_LOWER && by > 0) { /* its other tabs first */
		const bool two = a->layout.lower_right.rows > 0;

		if (two ? a->lower == LOWER_NET : a->lower + 1 < LOWER_NUM) {
			lower_show(a, two ? a->lower_side : (enum lower)(a->lower + 1));
			return;
		}
	}
	if (a->page == PAGE_OVERVIEW && order[at] == FOCUS_LOWER && a->focus != FOCUS_LOWER)
		a->lower = LOWER_NET;
	if (n == 1 && a->page == PAGE_OVERVIEW && !a->layout.main.rows) { /* one pane at a time: the terminal is the next */
		a->page = PAGE_TERMINAL;
		a->focus = FOCUS_MAIN;
		return;
	}
	if (n == 1 && a->page == PAGE_TERMINAL && !a->layout.list.rows) {
		a->page = PAGE_OVERVIEW;
		a->focus = FOCUS_LIST;
		return;
	}
	a->focus = order[at];
}

static void move(struct app *a, enum action act)
{
	const int page = a->layout.list.rows > 6 ? a->layout.list.rows / 2 - 1 : 5;
	const bool net = app_context(a) == CTX_NET;
	if (app_context(a) & (CTX_FILES | CTX_DIFF)) {
		diff_move(a, act);
		return;
	}
	if (net && a->net.rows > 2 && (act == ACT_PAGE_UP || act == ACT_PAGE_DOWN)) {
		net_move(a, act == ACT_PAGE_UP ? 1 - a->net.rows : a->net.rows - 1);
		return;
	}
	int by = act == ACT_UP ? -1 : act == ACT_DOWN ? 1 : act == ACT_PAGE_UP ? -page : act == ACT_PAGE_DOWN ? page : act == ACT_FIRST ? -100000 : 100000;

	if (net) {
		net_move(a, by);
	} else if (a->page == PAGE_NETWORK && a->focus == FOCUS_LOWER) {
		const long at = (long)a->net.port + by, max = (long)a->model->net.nports - 1;

		a->net.port = at < 0 || max < 0 ? 0 : at > max ? (size_t)max : (size_t)at;
	} else if (a->page == PAGE_LOG && a->focus == FOCUS_MAIN) {
		a->page_top -= by;
	} else if (a->focus == FOCUS_LOWER) {
		if (a->lower == LOWER_LOG)
			a->lower_top -= by;
		else
			app_move(a, by);
	} else if (a->grid && a->page == PAGE_OVERVIEW) {
		if (a->ntiles && (act == ACT_UP || act == ACT_DOWN)) {
			int per_row = 0;

			for (size_t i = 0; i < a->ntiles && a->tile_rects[i].row == a->tile_rects[0].row; i++)
				per_row++;
			by *= per_row;
		}
		app_move(a, by);
	} else if (a->focus == FOCUS_MAIN && a->page != PAGE_RESOURCES && (act == ACT_PAGE_UP || act == ACT_UP || act == ACT_FIRST)) {
		struct pane *p = app_pane(a);

		/* Going up in a terminal is looking back in it. */
		if (p && p->v && a->npane_rects)
			action_do(a, ACT_COPY);
		if (a->copy.v)
			copy_action(&a->copy, act == ACT_PAGE_UP ? ACT_C_PAGE_UP : act == ACT_UP ? ACT_C_HALF_UP : ACT_C_TOP);
	} else if (a->focus == FOCUS_LIST || a->page == PAGE_RESOURCES) {
		app_move(a, by);
	}
}

static void sideways(struct app *a, int by)
{
	if (a->grid && a->page == PAGE_OVERVIEW)
		app_move(a, by);
	else if (a->page == PAGE_DIFF && app_context(a) & (CTX_FILES | CTX_DIFF))
		diff_sideways(a, by);
	else if (a->focus == FOCUS_LOWER && a->page == PAGE_OVERVIEW)
		lower_show(a, (enum lower)((int)a->lower + by < 0 ? 0 : (int)a->lower + by >= LOWER_NUM ? LOWER_NUM - 1 : (int)a->lower + by));
	else if (a->page == PAGE_TERMINAL || a->zoom || (!a->layout.list.rows && a->layout.glyphs.rows))
		app_move(a, by);
	else
		next_pane(a, by);
}

static void resize(struct app *a, bool below, int by)
{
	struct desk *d = app_desk(a);
	const struct rect area = a->focus == FOCUS_SECOND ? a->layout.second : a->layout.main;

	if (d && (a->focus == FOCUS_MAIN || a->focus == FOCUS_SECOND) && split_resize(d->root, area, d->focus, below, by)) {
		prefs_save(a);
		return;
	}
	if (a->page == PAGE_DIFF && !below && a->layout.boxed) {
		const int cols = a->layout.main.cols + by;

		a->diff.files_cols = cols < 20 ? 20 : cols > a->canvas.cols ? a->canvas.cols : cols;
		prefs_save(a);
		return;
	}
	if (below && a->layout.lower.rows && a->page != PAGE_DIFF) {
		a->lower_rows = (a->lower_rows ? a->lower_rows : a->layout.lower.rows) - by;
		if (a->lower_rows > a->canvas.rows)
			a->lower_rows = a->canvas.rows;
		if (a->lower_rows < 4)
			a->lower_rows = 4;
	} else if (!below && a->layout.list.rows && a->layout.boxed) {
		a->list_cols = (a->list_cols ? a->list_cols : a->layout.list.cols) + by;
		if (a->list_cols > a->canvas.cols)
			a->list_cols = a->canvas.cols;
		if (a->list_cols < 20)
			a->list_cols = 20;
	}
	prefs_save(a);
}

static void next_layout(struct app *a)
{
	static const char *const words[] = { "by the size of the screen", "one pane at a time", "list and panes", "list and two terminals" };
	char key[32] = "";

	_Static_assert(ARRAY_SIZE(words) == LAYOUT_NUM, "words for every layout");
	a->layout_set = (enum layout_set)((a->layout_set + 1) % LAYOUT_NUM);
	a->zoom = false;
	keymap_show(&a->config.keys, ACT_LAYOUT, false, a->ascii, key, sizeof(key));
	app_message(a, EL_OK, "layout: %s   %s for the next", words[a->layout_set], key);
	prefs_save(a);
}

static void enter_copy(struct app *a)
{
	struct pane *p = app_pane(a);
	struct desk *d = app_desk(a);

	if (!p || !p->v || !d)
		return;
	if (a->page != PAGE_OVERVIEW && a->page != PAGE_TERMINAL)
		return;
	for (size_t i = 0; i < a->npane_rects; i++)
		if (a->pane_viewers[i] == p->v)
			if (copy_enter(&a->copy, p->v, a->pane_rects[i].rows, a->pane_rects[i].cols) < 0)
				app_message(a, EL_MESSAGE, "there is nothing on this screen yet");
}

static void copy_act(struct app *a, enum action act)
{
	switch (act) {
	case ACT_C_QUIT:
		copy_leave(&a->copy);
		break;
	case ACT_C_HELP:
		a->overlay = OV_HELP;
		a->help_top = 0;
		break;
	case ACT_C_SEARCH:
	case ACT_C_SEARCH_BACK:
		a->copy.backward = act == ACT_C_SEARCH_BACK;
		lineedit_set(&a->line, "");
		a->overlay = OV_SEARCH;
		break;
	default: copy_action(&a->copy, act); break;
	}
}

static void page(struct app *a, enum page to)
{
	a->page = to;
	a->zoom = false;
	a->page_top = 0;
	if (a->focus == FOCUS_LOWER || a->focus == FOCUS_SECOND)
		a->focus = FOCUS_MAIN;
	if (to == PAGE_TERMINAL || (to != PAGE_OVERVIEW && a->focus != FOCUS_LIST))
		a->focus = FOCUS_MAIN;
	if (to == PAGE_OVERVIEW)
		a->focus = FOCUS_LIST;
}

/* The keys of the question; while nothing is asked some mean something else, so that one key has one meaning at a time. */
static void answer(struct app *a, enum action act)
{
	if (ask_key(a, act))
		return;
	if (!a->typing && app_context(a) == CTX_NET && (act == ACT_ASK_ALLOW || act == ACT_ASK_DENY))
		rule_open(a, act == ACT_ASK_ALLOW ? MV_ALLOW : MV_DENY);
	else if (!a->typing && app_context(a) & (CTX_FILES | CTX_DIFF) && act <= ACT_ASK_DENY && act != ACT_ASK_SANDBOX)
		changes_ask(a, act == ACT_ASK_DENY);
	else if (act == ACT_ASK_DENY && a->after_prefix) /* the prefix and d leaves, as in every multiplexer */
		a->quit = true;
	else
		app_message(a, EL_MESSAGE, "nobody asks for anything");
}

void action_do(struct app *a, enum action act)
{
	const struct model_sandbox *sb = app_current(a);
	struct pane *p = app_pane(a);

	a->dirty = true;
	if (act >= ACT_C_LEFT) {
		copy_act(a, act);
		return;
	}
	if (diff_action(a, act))
		return;
	switch (act) {
	case ACT_ASK_ALLOW: case ACT_ASK_SANDBOX: case ACT_ASK_ALWAYS: case ACT_ASK_DENY: case ACT_ASK_NEVER: case ACT_ASK_NEXT:
		answer(a, act);
		break;
	case ACT_DETAIL:
		if (net_row(a))
			a->overlay = OV_DETAIL;
		break;
	case ACT_RULE: rule_open(a, -1); break;
	case ACT_VERDICTS: a->net.verdict = a->net.verdict + 1 < MV_NUM ? a->net.verdict + 1 : -1; break;
	case ACT_ONLY:
		if (a->page == PAGE_NETWORK)
			a->net.only = !a->net.only;
		break;
	case ACT_PUBLISH:
		if (sb) {
			lineedit_set(&a->line, "");
			a->overlay = OV_PUBLISH;
		}
		break;
	case ACT_UNDO:
		if (sb && app_context(a) & (CTX_FILES | CTX_DIFF))
			request_unapply(a, sb->name);
		else if (a->undo.rule[0])
			request_undo(a);
		else
			app_message(a, EL_MESSAGE, "there is nothing to take back");
		break;
	case ACT_UNPUBLISH:
		if (net_port(a))
			request_unpublish(a, net_port(a));
		break;
	case ACT_TERMINAL: to_terminal(a); break;
	case ACT_NEW: form_open(a); break;
	case ACT_SHELL:
		desk_new_shell(a, 0);
		break;
	case ACT_START: case ACT_PAUSE: case ACT_STOP: case ACT_RESET: case ACT_KILL: case ACT_REMOVE:
		if (sb)
			lifecycle(a, act, sb);
		else
			app_message(a, EL_MESSAGE, "no sandbox is selected");
		break;
	case ACT_WAITING: to_waiting(a); break;
	case ACT_ZOOM:
		a->zoom = !a->zoom;
		if (a->zoom && a->page != PAGE_TERMINAL && a->page != PAGE_OVERVIEW)
			a->page = PAGE_OVERVIEW;
		if (a->zoom && a->focus != FOCUS_SECOND)
			a->focus = FOCUS_MAIN;
		break;
	case ACT_GRID:
		a->grid = a->page == PAGE_OVERVIEW ? !a->grid : true;
		page(a, PAGE_OVERVIEW);
		if (a->grid)
			a->focus = FOCUS_MAIN;
		break;
	case ACT_LAYOUT: next_layout(a); break;
	case ACT_OVERVIEW: a->grid = false; page(a, PAGE_OVERVIEW); break;
	case ACT_TERM_VIEW: page(a, PAGE_TERMINAL); break;
	case ACT_NETWORK: page(a, PAGE_NETWORK); a->focus = FOCUS_MAIN; a->alarm[0] = '\0'; break;
	case ACT_DIFF: page(a, PAGE_DIFF); a->focus = FOCUS_MAIN; diff_look_again(a); break;
	case ACT_RESOURCES: page(a, PAGE_RESOURCES); break;
	case ACT_LOG: page(a, PAGE_LOG); a->focus = FOCUS_MAIN; break;
	case ACT_NEXT_PANE: next_pane(a, 1); break;
	case ACT_PREV_PANE: next_pane(a, -1); break;
	case ACT_FILTER:
		lineedit_set(&a->line, app_filter(a));
		a->overlay = OV_FILTER;
		break;
	case ACT_PALETTE: palette_open(a, ""); break;
	case ACT_HELP: a->overlay = OV_HELP; a->help_top = 0; break;
	case ACT_DETACH: a->quit = true; break;
	case ACT_BACK:
		if (a->typing) {
			a->typing = false;
			a->wait_start[0] = '\0';
			if (p && p->v)
				viewer_focus(p->v, false);
		} else if (app_filter(a)[0]) {
			app_filter(a)[0] = '\0';
		} else if (app_context(a) == CTX_DIFF) {
			a->focus = FOCUS_MAIN;
		} else if (a->zoom) {
			a->zoom = false;
		} else if (a->page != PAGE_OVERVIEW || a->grid) {
			a->grid = false;
			page(a, PAGE_OVERVIEW);
		} else {
			a->focus = FOCUS_LIST;
		}
		a->message[0] = '\0';
		break;
	case ACT_REDRAW:
		if (a->screen)
			a->screen->all = true;
		break;
	case ACT_UP: case ACT_DOWN: case ACT_PAGE_UP: case ACT_PAGE_DOWN: case ACT_FIRST: case ACT_LAST: move(a, act); break;
	case ACT_LEFT: sideways(a, -1); break;
	case ACT_RIGHT: sideways(a, 1); break;
	case ACT_COPY: enter_copy(a); break;
	case ACT_SPLIT_RIGHT: desk_new_shell(a, 1); break;
	case ACT_SPLIT_BELOW: desk_new_shell(a, 2); break;
	case ACT_CLOSE: desk_close_pane(a); break;
	case ACT_NEXT_TERM: desk_switch(a, 1); break;
	case ACT_PREV_TERM: desk_switch(a, -1); break;
	case ACT_WIDER: resize(a, false, 4); break;
	case ACT_NARROWER: resize(a, false, -4); break;
	case ACT_TALLER: resize(a, true, 2); break;
	case ACT_SHORTER: resize(a, true, -2); break;
	default: break;
	}
}
