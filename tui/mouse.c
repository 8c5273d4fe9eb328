/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mouse: a click selects and focuses, on a terminal it gives the keyboard to it; the wheel scrolls what is under it; borders are dragged;
 * dragging over a terminal selects and copies. Programs that ask for the mouse get it, while Shift keeps it here.
 */
#include <string.h>

#include "tui/app.h"

#define MOUSE_MODES (MODE_MOUSE_CLICK | MODE_MOUSE_DRAG | MODE_MOUSE_MOVE)

/* The terminal under the mouse. */
static int pane_under(const struct app *a, const struct key *k)
{
	for (size_t i = 0; i < a->npane_rects; i++)
		if (rect_has(a->pane_rects[i], k->row, k->col))
			return (int)i;
	return -1;
}

static void focus_pane(struct app *a, int i)
{
	const bool second = a->layout.second.rows && rect_has(a->layout.second, a->pane_rects[i].row, a->pane_rects[i].col);
	struct desk *d;

	a->focus = second ? FOCUS_SECOND : FOCUS_MAIN;
	if ((d = app_desk(a)) && desk_pane(d, a->pane_ids[i]))
		d->focus = a->pane_ids[i];
}

static void forward(struct viewer *v, struct rect r, const struct key *k)
{
	const int row = k->row - r.row, col = k->col - r.col;

	if (row < 0 || col < 0 || row >= r.rows || col >= r.cols)
		return;
	switch (k->act) {
	case MOUSE_WHEEL_UP: viewer_mouse(v, row, col, 4, k->mods, true); break;
	case MOUSE_WHEEL_DOWN: viewer_mouse(v, row, col, 5, k->mods, true); break;
	case MOUSE_PRESS: viewer_mouse(v, row, col, k->button, k->mods, true); break;
	case MOUSE_RELEASE: viewer_mouse(v, row, col, k->button, k->mods, false); break;
	case MOUSE_DRAG:
	case MOUSE_MOVE: viewer_mouse(v, row, col, 0, k->mods, true); break;
	}
}

/* On the rows of decisions. */
static bool net_under(const struct app *a, const struct key *k)
{
	const struct rect r = a->page == PAGE_NETWORK ? a->layout.main : a->layout.lower;

	return a->net.rows > 0 && rect_has(r, k->row, k->col) && k->row >= a->net.first_row;
}

static void click_net(struct app *a, const struct key *k)
{
	const int i = k->row - a->net.first_row;

	if (i < 0 || i >= a->net.rows)
		return;
	if (a->net.row == a->net.at[i])
		a->overlay = OV_DETAIL;
	a->net.row = a->net.at[i];
}

/* Of the Diff view: a row of files, or of the text. */
static bool click_diff(struct app *a, const struct key *k)
{
	struct diffview *v = &a->diff;
	struct difflist *l = diff_list(a);
	const int file = k->row - v->files_row, line = k->row - v->text_row;

	if (rect_has(a->layout.main, k->row, k->col)) {
		a->focus = FOCUS_MAIN;
		if (!l || file < 0 || file >= v->files_n)
			return true;
		const bool again = v->cursor == v->top + (size_t)file, box = k->col <= a->layout.main.col + (a->layout.boxed ? 2 : 1);
		diffview_goto(v, l, v->top + (size_t)file);
		if (box)
			diff_action(a, ACT_MARK);
		else if (again)
			diff_action(a, ACT_OPEN_FILE);
		return true;
	}
	if (rect_has(a->layout.lower, k->row, k->col)) {
		a->focus = FOCUS_LOWER;
		if (line < 0 || line >= v->text_n)
			return true;
		v->line = v->line_top + (size_t)line;
		if (v->line < v->ntext && v->text[v->line].kind == TR_HUNK && k->col < a->layout.lower.col + 7)
			diff_action(a, ACT_MARK);
		return true;
	}
	return false;
}

static void wheel_diff(struct app *a, const struct key *k, bool up)
{
	struct diffview *v = &a->diff;

	if (rect_has(a->layout.main, k->row, k->col)) {
		if (diff_list(a))
			diffview_move(v, diff_list(a), up ? -3 : 3);
	} else if (k->mods & VIEW_SHIFT) {
		v->left = up ? v->left > 8 ? v->left - 8 : 0 : v->left + 8;
	} else {
		const size_t max = v->ntext > (size_t)v->text_n ? v->ntext - (size_t)v->text_n : 0;

		v->line_top = up ? v->line_top > 3 ? v->line_top - 3 : 0 : v->line_top + 3 < max ? v->line_top + 3 : max;
		if (v->line < v->line_top)
			v->line = v->line_top;
		if (v->text_n && v->line >= v->line_top + (size_t)v->text_n)
			v->line = v->line_top + (size_t)v->text_n - 1;
	}
}

static void wheel(struct app *a, const struct key *k)
{
	const bool up = k->act == MOUSE_WHEEL_UP;
	const int i = pane_under(a, k);

	if (a->overlay == OV_HELP || a->overlay == OV_OUTPUT) {
		*(a->overlay == OV_HELP ? &a->help_top : &a->output.top) += up ? -3 : 3;
		return;
	}
	if (a->overlay == OV_CHANGES) {
		a->diffask.top += up ? -3 : 3;
		return;
	}
	if (a->page == PAGE_DIFF && (rect_has(a->layout.main, k->row, k->col) || rect_has(a->layout.lower, k->row, k->col))) {
		wheel_diff(a, k, up);
		return;
	}
	if (i >= 0) {
		struct viewer *v = a->pane_viewers[i];

		if (!v)
			return;
		if (a->copy.v == v) {
			copy_scroll(&a->copy, up ? -3 : 3);
			/* Back at the bottom without a selection: the live screen again. */
			if (!up && !a->copy.select && a->copy.top + (uint64_t)a->copy.rows >= a->copy.base + (uint64_t)a->copy.frozen.rows)
				copy_leave(&a->copy);
		} else if (v->head.modes & MOUSE_MODES && !(k->mods & VIEW_SHIFT)) {
			forward(v, a->pane_rects[i], k);
		} else if (v->head.modes & MODE_ALTSCREEN) {
			for (int n = 0; n < 3; n++)
				viewer_key(v, up ? VIEW_K_UP : VIEW_K_DOWN, 0);
		} else if (up && copy_enter(&a->copy, v, a->pane_rects[i].rows, a->pane_rects[i].cols) == 0) {
			focus_pane(a, i);
			copy_scroll(&a->copy, -3);
		}
	} else if (rect_has(a->layout.list, k->row, k->col) || rect_has(a->layout.glyphs, k->row, k->col)) {
		app_move(a, up ? -1 : 1);
	} else if (net_under(a, k)) {
		net_move(a, up ? -3 : 3);
	} else if (rect_has(a->layout.lower, k->row, k->col) || rect_has(a->layout.lower_right, k->row, k->col)) {
		a->lower_top += up ? 3 : -3;
	} else if (rect_has(a->layout.main, k->row, k->col)) {
		if (a->page == PAGE_LOG)
			a->page_top += up ? 3 : -3;
		else
			app_move(a, up ? -1 : 1);
	}
}

static bool begin_drag(struct app *a, const struct key *k)
{
	const struct layout *l = &a->layout;
	struct desk *d = a->attach_only ? NULL : app_desk(a);

	if (l->boxed && l->list.rows && (k->col == l->list.col + l->list.cols - 1 || k->col == l->list.col + l->list.cols) &&
	    k->row > l->list.row && k->row < l->list.row + l->list.rows - 1) {
		a->drag = DRAG_LIST;
		return true;
	}
	if (a->page == PAGE_DIFF) {
		if (l->boxed && (k->col == l->main.col + l->main.cols - 1 || k->col == l->lower.col) && rect_has(l->main, k->row, l->main.col)) {
			a->drag = DRAG_FILES;
			return true;
		}
		return false;
	}
	if (l->lower.rows && k->row == l->lower.row && k->col > l->lower.col + 20) {
		a->drag = DRAG_LOWER;
		return true;
	}
	if (d && d->npanes > 1) {
		const struct rect area = a->focus == FOCUS_SECOND && !a->zoom ? l->second : l->main;

		a->drag_split = split_border_at(d->root, area, k->row, k->col, &a->drag_area);
		if (a->drag_split) {
			a->drag = DRAG_SPLIT;
			return true;
		}
	}
	return false;
}

static void drag(struct app *a, const struct key *k)
{
	const struct layout *l = &a->layout;
	int v;

	switch (a->drag) {
	case DRAG_LIST:
		a->list_cols = k->col - l->list.col + 1 < 20 ? 20 : k->col - l->list.col + 1;
		break;
	case DRAG_FILES:
		a->diff.files_cols = k->col - l->main.col + 1 < 20 ? 20 : k->col - l->main.col + 1;
		break;
	case DRAG_LOWER:
		v = l->lower.row + l->lower.rows - k->row;
		a->lower_rows = v < 4 ? 4 : v;
		break;
	case DRAG_SPLIT:
		v = a->drag_split->below ? (k->row - a->drag_area.row) * 1000 / (a->drag_area.rows ? a->drag_area.rows : 1)
					 : (k->col - a->drag_area.col) * 1000 / (a->drag_area.cols ? a->drag_area.cols : 1);
		a->drag_split->part = v < 50 ? 50 : v > 950 ? 950 : v;
		break;
	case DRAG_SELECT:
		if (!a->drag_viewer)
			break;
		if (a->copy.v != a->drag_viewer) {
			if (copy_enter(&a->copy, a->drag_viewer, a->drag_area.rows, a->drag_area.cols) < 0)
				break;
			copy_cursor(&a->copy, a->drag_row - a->drag_area.row, a->drag_col - a->drag_area.col);
			copy_action(&a->copy, ACT_C_SELECT);
			a->copy.by_mouse = true;
		} else if (!a->copy.select) {
			copy_cursor(&a->copy, a->drag_row - a->drag_area.row, a->drag_col - a->drag_area.col);
			copy_action(&a->copy, ACT_C_SELECT);
			a->copy.by_mouse = true;
		}
		copy_cursor(&a->copy, k->row - a->drag_area.row, k->col - a->drag_area.col);
		break;
	case DRAG_FORWARD:
		if (a->drag_viewer)
			forward(a->drag_viewer, a->drag_area, k);
		break;
	case DRAG_NONE: break;
	}
}

static void click_list(struct app *a, const struct key *k)
{
	const struct model_sandbox *list[1000];
	const size_t n = app_visible(a, list, ARRAY_SIZE(list));
	const struct layout *l = &a->layout;
	const int at = a->list_top + (k->row - l->list.row - 1) / 2;

	a->focus = FOCUS_LIST;
	if (k->row > l->list.row && at >= 0 && at < (int)n)
		app_select(a, list[at]->name);
}

static void press(struct app *a, const struct key *k)
{
	int i;

	a->drag = DRAG_NONE;
	if (a->overlay == OV_HELP)
		a->overlay = OV_NONE;
	if (a->overlay != OV_NONE)
		return;
	if (begin_drag(a, k))
		return;
	for (size_t t = 0; t < a->ntiles; t++)
		if (rect_has(a->tile_rects[t], k->row, k->col)) {
			if (!strcmp(a->selected, a->tile_names[t]))
				action_do(a, ACT_TERMINAL);
			app_select(a, a->tile_names[t]);
			return;
		}
	if ((i = pane_under(a, k)) >= 0) {
		struct viewer *v = a->pane_viewers[i];

		focus_pane(a, i);
		if (v && v->head.modes & MOUSE_MODES && !(k->mods & VIEW_SHIFT) && (a->typing || a->attach_only) && a->copy.v != v) {
			a->drag = DRAG_FORWARD;
			forward(v, a->pane_rects[i], k);
		} else {
			if (a->copy.v && a->copy.v == v)
				a->copy.select = false;
			a->drag = DRAG_SELECT;
			if (!a->attach_only && !a->copy.v)
				a->typing = v != NULL && v->state == VIEWER_LIVE && !v->exited;
		}
		a->drag_viewer = v;
		a->drag_area = a->pane_rects[i];
		a->drag_row = k->row;
		a->drag_col = k->col;
		return;
	}
	if (a->attach_only)
		return;
	a->typing = false;
	if (a->page == PAGE_DIFF && click_diff(a, k))
		return;
	if (rect_has(a->layout.list, k->row, k->col))
		click_list(a, k);
	else if (rect_has(a->layout.lower, k->row, k->col)) {
		a->focus = FOCUS_LOWER;
		if (a->page == PAGE_NETWORK) {
			const int port = k->row - a->layout.lower.row - 1;

			a->net.port = port > 0 ? (size_t)port : 0;
			return;
		}
		if (net_under(a, k))
			click_net(a, k);
		else if (k->row == a->layout.lower.row && !a->layout.lower_right.rows)
			lower_click(a, a->layout.lower, k);
		else if (a->layout.lower_right.rows)
			a->lower = LOWER_NET;
	} else if (rect_has(a->layout.lower_right, k->row, k->col)) {
		a->focus = FOCUS_LOWER;
		a->lower = a->lower_side;
		if (k->row == a->layout.lower_right.row)
			lower_click(a, a->layout.lower_right, k);
	} else if (rect_has(a->layout.attention, k->row, k->col) && app_ask(a)) {
		app_select(a, app_ask(a)->what.sandbox); /* where it comes from; a click answers nothing */
	} else if (rect_has(a->layout.attention, k->row, k->col)) {
		action_do(a, ACT_WAITING);
	} else if (rect_has(a->layout.second, k->row, k->col)) {
		a->focus = FOCUS_SECOND;
	} else if (rect_has(a->layout.main, k->row, k->col)) {
		a->focus = FOCUS_MAIN;
		if (a->page == PAGE_NETWORK)
			click_net(a, k);
	}
}

static void release(struct app *a, const struct key *k)
{
	const enum drag was = a->drag;

	if (was == DRAG_FORWARD && a->drag_viewer)
		forward(a->drag_viewer, a->drag_area, k);
	if (was == DRAG_SELECT && a->copy.v && a->copy.select && a->copy.by_mouse)
		copy_action(&a->copy, ACT_C_YANK);
	if (was == DRAG_LIST || was == DRAG_FILES || was == DRAG_LOWER || was == DRAG_SPLIT)
		prefs_save(a);
	a->drag = DRAG_NONE;
	a->drag_viewer = NULL;
	a->drag_split = NULL;
}

void input_mouse(struct app *a, const struct key *k)
{
	a->dirty = true;
	switch (k->act) {
	case MOUSE_WHEEL_UP:
	case MOUSE_WHEEL_DOWN: wheel(a, k); break;
	case MOUSE_PRESS: press(a, k); break;
	case MOUSE_RELEASE: release(a, k); break;
	case MOUSE_DRAG: drag(a, k); break;
	case MOUSE_MOVE: break;
	}
}
