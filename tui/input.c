/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys find their way: to what lies over the panes, else after the prefix to an action, else while typing to the terminal, else by the table
 * of the focused pane.
 */
#include <string.h>

#include "tui/app.h"

unsigned app_context(const struct app *a)
{
	if (a->copy.v)
		return CTX_COPY;
	if (a->typing || a->attach_only)
		return CTX_TYPING;
	if (a->page == PAGE_RESOURCES)
		return a->focus == FOCUS_LIST ? CTX_LIST : CTX_RESOURCES;
	if (a->page == PAGE_LOG)
		return a->focus == FOCUS_LIST ? CTX_LIST : CTX_LOG;
	if (a->page == PAGE_NETWORK)
		return a->focus == FOCUS_LIST ? CTX_LIST : a->focus == FOCUS_LOWER ? CTX_PORTS : CTX_NET;
	if (a->page == PAGE_DIFF)
		return a->focus == FOCUS_LIST ? CTX_LIST : a->focus == FOCUS_LOWER ? CTX_DIFF : CTX_FILES;
	if (a->page == PAGE_OVERVIEW && a->grid && !a->zoom)
		return CTX_GRID;
	if (a->focus == FOCUS_LOWER)
		return a->lower == LOWER_LOG ? CTX_LOG : a->lower == LOWER_NET ? CTX_NET : a->lower == LOWER_DIFF ? CTX_FILES : CTX_RESOURCES;
	return a->focus == FOCUS_LIST ? CTX_LIST : CTX_TERM;
}

char *app_filter(struct app *a)
{
	_Static_assert(sizeof(a->filter) == sizeof(a->net.filter) && sizeof(a->filter) == sizeof(a->diff.filter) && sizeof(a->filter) == sizeof(a->diff.search),
		       "one size for every view's");
	switch (app_context(a)) {
	case CTX_NET: return a->net.filter;
	case CTX_FILES: return a->diff.filter;
	case CTX_DIFF: return a->diff.search;
	default: return a->filter;
	}
}

static bool is(const struct key *k, uint32_t code)
{
	return k->kind == KEY_PRESS && k->code == code && !(k->mods & ~VIEW_SHIFT);
}

static bool gives_up(const struct key *k)
{
	return is(k, VIEW_K_ESCAPE) || (k->kind == KEY_PRESS && k->code == 'c' && k->mods == VIEW_CTRL);
}

static void line_key(struct app *a, const struct key *k)
{
	if (gives_up(k)) {
		if (a->overlay == OV_FILTER)
			app_filter(a)[0] = '\0';
		a->overlay = OV_NONE;
	} else if (is(k, VIEW_K_ENTER)) {
		const enum overlay was = a->overlay;

		a->overlay = OV_NONE;
		if (was == OV_PUBLISH && a->line.text[0])
			request_publish(a, a->selected, a->line.text);
		if (was == OV_FILTER && app_context(a) == CTX_DIFF)
			diff_search(a, true);
		if (was == OV_SEARCH && a->copy.v)
			copy_search(&a->copy, a->line.text, a->copy.backward);
	} else if (a->overlay == OV_FILTER && (is(k, VIEW_K_UP) || is(k, VIEW_K_DOWN))) {
		if (app_context(a) == CTX_NET)
			net_move(a, is(k, VIEW_K_UP) ? -1 : 1);
		else if (app_context(a) & (CTX_FILES | CTX_DIFF))
			diff_move(a, is(k, VIEW_K_UP) ? ACT_UP : ACT_DOWN);
		else
			app_move(a, is(k, VIEW_K_UP) ? -1 : 1);
	} else {
		lineedit_key(&a->line, k);
	}
	if (a->overlay == OV_FILTER) {
		str_copy(app_filter(a), sizeof(a->filter), a->line.text);
		app_settle(a);
	}
}

static void scroll_key(struct app *a, const struct key *k, int *top)
{
	const int page = a->canvas.rows > 8 ? a->canvas.rows - 6 : 4;

	if (is(k, VIEW_K_DOWN) || is(k, 'j'))
		(*top)++;
	else if (is(k, VIEW_K_UP) || is(k, 'k'))
		(*top)--;
	else if (is(k, VIEW_K_PAGEDOWN) || is(k, ' '))
		*top += page;
	else if (is(k, VIEW_K_PAGEUP))
		*top -= page;
	else if (is(k, VIEW_K_END) || is(k, 'G'))
		*top = 1000000;
	else if (is(k, VIEW_K_HOME))
		*top = 0;
	else if (a->overlay == OV_HELP)
		a->overlay = OV_NONE;
	else if (gives_up(k) || is(k, 'q') || is(k, VIEW_K_ENTER))
		output_close(a);
}

static bool overlay_key(struct app *a, const struct key *k)
{
	switch (a->overlay) {
	case OV_NONE: return false;
	case OV_HELP: scroll_key(a, k, &a->help_top); break;
	case OV_OUTPUT: scroll_key(a, k, &a->output.top); break;
	case OV_CONFIRM:
		if (k->kind == KEY_PRESS)
			confirm_answer(a, is(k, 'y') || is(k, 'Y'));
		break;
	case OV_PALETTE: palette_key(a, k); break;
	case OV_FORM: form_key(a, k); break;
	case OV_DETAIL: detail_key(a, k); break;
	case OV_RULE: rule_key(a, k); break;
	case OV_CHANGES: changes_key(a, k); break;
	case OV_PUBLISH:
	case OV_FILTER:
	case OV_SEARCH: line_key(a, k); break;
	}
	return true;
}

/* After the prefix. Digits choose a terminal. */
static void prefix_key(struct app *a, const struct key *k)
{
	struct pane *p = app_pane(a);

	a->prefixed = false;
	a->dirty = true;
	if (clip_key(a, k, true))
		return;
	if (key_same(k, &a->config.keys.prefix)) {
		if (a->typing && p && p->v)
			viewer_key(p->v, k->code, k->mods);
		return;
	}
	if (k->kind == KEY_PRESS && !k->mods && k->code >= '1' && k->code <= '9' && !a->attach_only) {
		const struct model_sandbox *sb = app_current(a);
		const struct model_session *list[9];
		const size_t n = sb && p ? desk_sessions(sb, p->session, list, ARRAY_SIZE(list)) : 0;

		if (k->code - '0' <= n)
			desk_session(a, list[k->code - '1']->id);
		return;
	}
	const enum action act = keymap_find(&a->config.keys, CTX_TYPING, true, k);
	if (act == ACT_NONE)
		app_message(a, EL_MESSAGE, "that key does nothing after the prefix");
	else if (!a->attach_only || act <= ACT_ASK_NEXT || act == ACT_DETACH || act == ACT_COPY || act == ACT_REDRAW || act == ACT_HELP)
		a->after_prefix = true, action_do(a, act);
	a->after_prefix = false;
}

static void terminal_key(struct app *a, const struct key *k)
{
	struct pane *p = app_pane(a);

	const bool dead = p && p->v && (p->v->exited || p->v->state == VIEWER_GONE);
	const struct model_sandbox *sb = app_current(a);
	const bool starts = sb && !strcmp(a->wait_start, sb->name), here = a->attach_only || (sb && sb->state == MS_RUNNING);
	const bool coming = p && (p->asked || starts || (!p->v && here));

	if (coming && (!p->v || dead)) { /* its terminal is on its way: what is typed waits for it */
		if (k->kind == KEY_PRESS && p->nearly < EARLY_MAX)
			p->early[p->nearly++] = *k;
		return;
	}
	if (dead && !a->attach_only && is(k, VIEW_K_ENTER)) { /* a new shell in the place of the one that ended */
		action_do(a, ACT_TERMINAL);
		return;
	}
	if (!p || !p->v || p->v->state == VIEWER_GONE) {
		if (a->attach_only && gives_up(k))
			a->quit = true;
		return;
	}
	if (k->kind == KEY_PASTE)
		viewer_paste(p->v, k->data, k->len, k->first, k->last);
	else
		viewer_key(p->v, k->code, k->mods);
}

void input_key(struct app *a, const struct key *k)
{
	struct pane *p;

	switch (k->kind) {
	case KEY_FOCUS:
		a->away = !k->focus_in;
		p = a->typing ? app_pane(a) : NULL;
		if (p && p->v)
			viewer_focus(p->v, k->focus_in);
		return;
	case KEY_MOUSE: input_mouse(a, k); return;
	default: break;
	}
	if (a->message[0] && a->overlay != OV_CONFIRM && !a->typing) {
		a->message[0] = '\0';
		a->dirty = true;
	}
	if (overlay_key(a, k)) {
		a->dirty = true;
		return;
	}
	if (a->prefixed) {
		prefix_key(a, k);
		return;
	}
	if (k->kind == KEY_PRESS && key_same(k, &a->config.keys.prefix)) {
		a->prefixed = a->dirty = true;
		return;
	}
	const unsigned ctx = app_context(a);
	if (ctx == CTX_TYPING) {
		terminal_key(a, k);
		return;
	}
	if (k->kind == KEY_PASTE || (ctx != CTX_COPY && clip_key(a, k, false)))
		return;
	const enum action act = keymap_find(&a->config.keys, ctx, false, k);
	if (act != ACT_NONE)
		action_do(a, act);
}
