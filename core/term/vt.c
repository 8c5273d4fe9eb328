/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libvterm 0.1.4's state layer (vterm_obtain_state, VTermStateCallbacks) between two things of ours: seq.c in front of it, the grid behind.
 *
 * The library trusts its input: it writes past its sixteen arguments, scrolls with a negative height when a margin is left over from a larger
 * screen, restores a saved cursor that lies outside, takes `CSI s` for margins and of `CSI ? a ; b h` only a. So it sees text, C0 controls and
 * exactly those sequences that vtseq.c lists, whole, with at most two small arguments. Colours and attributes (sgr.c), saved cursors, the
 * alternate screen's cursor, REP, both resets and the history are ours.
 *
 * Wrapped rows: the library does not say when it wraps. A glyph that fills the last column arms `edge`; if the next glyph stands in column 0
 * and the cursor was not moved in between, the row above it goes on here. Moves are told after each run of text, so the one
 * that only says where the wrap left the cursor must not disarm it.
 */
#include "core/term/vt.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "core/term/vtimpl.h"

static unsigned clamp(unsigned v)
{
	return v < 1 ? 1 : v > ROWS_MAX ? ROWS_MAX : v;
}

VTermPos vt_where(const struct vt *v)
{
	VTermPos pos;

	vterm_state_get_cursorpos(v->state, &pos);
	return pos;
}

/* ---- libvterm's callbacks ------------------------------------------------------------------------------------------------------- */

static int on_putglyph(VTermGlyphInfo *info, VTermPos pos, void *user)
{
	struct vt *v = user;

	if (v->edge && pos.col == 0 && pos.row > 0)
		grid_set_wrapped(&v->grid, (unsigned)pos.row - 1, true);
	if (!grid_put_ascii(&v->grid, (unsigned)pos.row, (unsigned)pos.col, info->chars, (unsigned)info->width, &v->pen))
		grid_put(&v->grid, (unsigned)pos.row, (unsigned)pos.col, info->chars, (unsigned)info->width, &v->pen);
	v->last_cp = info->chars[0];
	v->edge = pos.col + info->width >= v->grid.cols;
	v->edge_pos = pos;
	return 1;
}

static int on_movecursor(VTermPos pos, VTermPos old, int visible, void *user)
{
	struct vt *v = user;

	(void)visible;
	(void)old;
	if (v->edge && (pos.row != v->edge_pos.row || pos.col < v->edge_pos.col))
		v->edge = false;
	return 1;
}
static int on_scrollrect(VTermRect r, int downward, int rightward, void *user)
{
	struct vt *v = user;

	if (r.start_row < 0 || r.start_col < 0 || r.end_row <= r.start_row || r.end_col <= r.start_col)
		return 1;
	grid_scroll(&v->grid, (unsigned)r.start_row, (unsigned)r.end_row, (unsigned)r.start_col, (unsigned)r.end_col, downward, rightward, &v->pen);
	if (v->edge)
		v->edge_pos.row -= downward;
	return 1;
}

static int on_erase(VTermRect r, int selective, void *user)
{
	struct vt *v = user;

	(void)selective;
	if (r.start_row < 0 || r.start_col < 0 || r.end_row <= r.start_row || r.end_col <= r.start_col)
		return 1;
	grid_erase(&v->grid, (unsigned)r.start_row, (unsigned)r.end_row, (unsigned)r.start_col, (unsigned)r.end_col, &v->pen);
	return 1;
}

static int on_settermprop(VTermProp prop, VTermValue *val, void *user)
{
	struct vt *v = user;

	switch (prop) {
	case VTERM_PROP_CURSORVISIBLE:
		v->visible = val->boolean;
		break;
	case VTERM_PROP_CURSORBLINK:
		v->blink = val->boolean;
		break;
	case VTERM_PROP_CURSORSHAPE:
		v->shape = (uint8_t)(val->number == VTERM_PROP_CURSORSHAPE_UNDERLINE ? CURSOR_UNDERLINE :
				     val->number == VTERM_PROP_CURSORSHAPE_BAR_LEFT ? CURSOR_BAR : CURSOR_BLOCK);
		break;
	case VTERM_PROP_ALTSCREEN:
		grid_set_alt(&v->grid, val->boolean);
		v->edge = false;
		break;
	case VTERM_PROP_REVERSE:
		v->reverse = val->boolean;
		grid_touch_all(&v->grid);
		break;
	case VTERM_PROP_MOUSE:
		v->mouse = val->number == VTERM_PROP_MOUSE_CLICK ? MODE_MOUSE_CLICK : val->number == VTERM_PROP_MOUSE_DRAG ? MODE_MOUSE_DRAG :
			   val->number == VTERM_PROP_MOUSE_MOVE ? MODE_MOUSE_MOVE : 0;
		break;
	default:
		break;
	}
	return 1;
}

static int on_bell(void *user)
{
	struct vt *v = user;

	v->ops->on_bell(v->arg);
	return 1;
}

/*
 * The library then moves its cursor by *delta; when a wrap was pending and there is room now, by one more column before that. The cursor of
 * a wrap that is pending stands behind its text.
 */
static int on_resize(int rows, int cols, VTermPos *delta, void *user)
{
	struct vt *v = user;
	const VTermPos now = vt_where(v);
	VTermPos *primary = &v->saved[0].pos;
	const bool alt = v->grid.alt, pending = v->edge && now.row == v->edge_pos.row;
	int row = alt ? primary->row : now.row, col = alt ? primary->col : now.col + pending;

	if (grid_resize(&v->grid, (uint16_t)rows, (uint16_t)cols, &row, &col) == 0) {
		if (alt) {
			*primary = (VTermPos){ .row = row, .col = col };
		} else {
			delta->row = row - now.row;
			delta->col = col - now.col - (pending && now.col < cols - 1);
		}
	}
	v->edge = false;
	return 1;
}

static const VTermStateCallbacks callbacks = {
	.putglyph = on_putglyph, .movecursor = on_movecursor, .scrollrect = on_scrollrect, .erase = on_erase,
	.settermprop = on_settermprop, .bell = on_bell, .resize = on_resize,
};

void vt_output(const char *p, size_t n, void *user)
{
	struct vt *v = user;

	v->ops->on_answer(v->arg, p, n, v->typed);
}

/* ---- string sequences ------------------------------------------------------------------------------------------------------------ */

static void osc_bytes(void *arg, const uint8_t *p, size_t n)
{
	struct vt *v = arg;

	seqscan_push(&v->seq, p, n);
}

static void osc_title(void *arg, const char *text)
{
	struct vt *v = arg;

	v->ops->on_title(v->arg, text);
}

static void osc_notify(void *arg, const char *text)
{
	struct vt *v = arg;

	v->ops->on_notify(v->arg, text);
}

static void osc_clipboard(void *arg, const char *text, size_t n)
{
	struct vt *v = arg;

	v->ops->on_clipboard(v->arg, text, n);
}

static void osc_link(void *arg, const char *uri)
{
	struct vt *v = arg;

	uint32_t hash = 2166136261u;

	v->pen.link = 0;
	if (!uri[0])
		return;
	for (const char *p = uri; *p; p++)
		hash = (hash ^ (uint8_t)*p) * 16777619u;
	for (uint16_t i = 0; i < v->nlinks; i++)
		if (v->link_hash[i] == hash && strcmp(v->link[i], uri) == 0) {
			v->pen.link = (uint16_t)(i + 1);
			return;
		}
	if (v->nlinks == VT_LINKS_MAX || !(v->link[v->nlinks] = str_dup(uri)))
		return;
	v->link_hash[v->nlinks] = hash;
	v->pen.link = ++v->nlinks;
}

static const struct osc_ops osc_ops = {
	.on_bytes = osc_bytes, .on_title = osc_title, .on_notify = osc_notify, .on_link = osc_link, .on_clipboard = osc_clipboard,
};

/* ---- public ------------------------------------------------------------------------------------------------------------------------ */

struct vt *vt_create(unsigned rows, unsigned cols, size_t history_max, const struct vt_ops *ops, void *arg)
{
	struct vt *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	rows = clamp(rows);
	cols = clamp(cols);
	v->ops = ops;
	v->arg = arg;
	v->visible = true;
	v->bottom = v->right = -1;
	memset(v->charset, 'B', sizeof(v->charset));
	vtseq_no_saved(&v->saved[0]);
	vtseq_no_saved(&v->saved[1]);
	oscscan_init(&v->osc, &osc_ops, v);
	seqscan_init(&v->seq, &vtseq_ops, v);
	if (grid_init(&v->grid, (uint16_t)rows, (uint16_t)cols, history_max) < 0 || !(v->vt = vterm_new((int)rows, (int)cols))) {
		vt_destroy(v);
		return NULL;
	}
	vterm_set_utf8(v->vt, 1);
	vterm_output_set_callback(v->vt, vt_output, v);
	v->state = vterm_obtain_state(v->vt);
	vterm_state_set_callbacks(v->state, &callbacks, v);
	vterm_state_reset(v->state, 1);
	return v;
}

void vt_destroy(struct vt *v)
{
	if (!v)
		return;
	if (v->vt)
		vterm_free(v->vt);
	grid_release(&v->grid);
	oscscan_release(&v->osc);
	for (uint16_t i = 0; i < v->nlinks; i++)
		free(v->link[i]);
	free(v);
}

void vt_feed(struct vt *v, const uint8_t *p, size_t n)
{
	oscscan_push(&v->osc, p, n);
}

void vt_resize(struct vt *v, unsigned rows, unsigned cols)
{
	rows = clamp(rows);
	cols = clamp(cols);
	if (rows == v->grid.rows && cols == v->grid.cols)
		return;
	vtseq_resizing(v);
	vterm_set_size(v->vt, (int)rows, (int)cols);
}

struct grid *vt_grid(struct vt *v)
{
	return &v->grid;
}

void vt_head(const struct vt *v, struct rows_head *h)
{
	const struct grid *g = &v->grid;
	const VTermPos at = vt_where(v);

	*h = (struct rows_head){ .rows = g->rows, .cols = g->cols, .cursor_visible = v->visible, .cursor_shape = v->shape, .cursor_blink = v->blink,
				 .history_first = grid_history_first(g), .history_total = grid_history_total(g) };
	h->cursor_row = at.row < 0 ? 0 : at.row >= g->rows ? (uint16_t)(g->rows - 1) : (uint16_t)at.row;
	h->cursor_col = at.col < 0 ? 0 : at.col >= g->cols ? (uint16_t)(g->cols - 1) : (uint16_t)at.col;
	h->modes = v->mouse | (g->alt ? MODE_ALTSCREEN : 0u) | (v->reverse ? MODE_REVERSE : 0u) | (v->paste ? MODE_PASTE : 0u) |
		   (v->focus ? MODE_FOCUS : 0u);
}

const char *vt_link(const struct vt *v, uint16_t id)
{
	return id >= 1 && id <= v->nlinks ? v->link[id - 1] : NULL;
}

uint16_t vt_links(const struct vt *v)
{
	return v->nlinks;
}
