/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a frame looks like before it becomes terminal output: a grid of cells in memory. Every pane is a function that
 * draws into a rectangle of a canvas; nothing here knows ncurses, so tests compare canvases. All drawing is clipped to its rectangle and to
 * the canvas. Unused bytes of a cell are zero: cells compare with memcmp().
 */
#ifndef BULKHEAD_TUI_CANVAS_H
#define BULKHEAD_TUI_CANVAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/proto/rows.h"

struct rect { int row, col, rows, cols; };

/* Colours as in rows.h (COLOR_DEFAULT, COLOR_INDEX, COLOR_RGB), attributes enum cell_attr. */
struct style { uint32_t fg, bg; uint16_t attrs; };

struct canvas {
	int rows, cols;
	struct cell *cells; /* rows * cols, owned */
	int cur_row, cur_col; /* the terminal's cursor; row -1 = hidden */
	uint8_t cur_shape;    /* enum cursor_shape */
	bool ascii;           /* draw with ASCII only */
};

/* Sizes are at least 1. 0 or -ENOMEM (the old grid then stays). Contents are blank afterwards. */
int canvas_resize(struct canvas *c, int rows, int cols);
void canvas_release(struct canvas *c);
void canvas_clear(struct canvas *c, struct style st);
struct cell *canvas_at(struct canvas *c, int row, int col); /* NULL outside */

void canvas_fill(struct canvas *c, struct rect r, struct style st);
/* Text (UTF-8; ill-formed and control bytes become U+FFFD) at (row, col) relative to r, cut at `max` columns and at the
 * rectangle's edge, with an ellipsis when `max` >= 0 cut it; max < 0 = up to the edge. Returns the columns used. */
int canvas_text(struct canvas *c, struct rect r, int row, int col, int max, struct style st, const char *s);
int canvas_textf(struct canvas *c, struct rect r, int row, int col, int max, struct style st, const char *fmt, ...)
	__attribute__((format(printf, 7, 8)));
/* Ends at the rectangle's last column but `inset`; returns the first column used (relative), or r.cols when it did not fit. */
int canvas_text_right(struct canvas *c, struct rect r, int row, int inset, struct style st, const char *s);
/* A foreign cell; wide ones that do not fit are blanked. */
void canvas_cell(struct canvas *c, struct rect r, int row, int col, const struct cell *cell);
/* Changes colours and attributes of what is there (selection, search hits). fg or bg 0 keep what is there if attrs says so. */
void canvas_restyle(struct canvas *c, struct rect r, int row, int col, int n, struct style st);
/* A border along the rectangle's edge; the inner rectangle comes back. Smaller than 2x2: r itself and no border. */
struct rect canvas_box(struct canvas *c, struct rect r, struct style st);
void canvas_hline(struct canvas *c, struct rect r, int row, struct style st);

static inline struct rect rect_inner(struct rect r, int by)
{
	return (struct rect){ r.row + by, r.col + by, r.rows > 2 * by ? r.rows - 2 * by : 0, r.cols > 2 * by ? r.cols - 2 * by : 0 };
}
static inline bool rect_has(struct rect r, int row, int col)
{
	return row >= r.row && row < r.row + r.rows && col >= r.col && col < r.col + r.cols;
}

/* Glyphs that have an ASCII twin. */
enum glyph {
	G_BUSY, G_BOOTS, G_PAUSED, G_STOPPED, G_FAILED, G_ASK, G_CURSOR, G_DOT, G_H, G_V, G_TL, G_TR, G_BL, G_BR, G_ELLIPSIS, G_UP, G_DOWN,
	G_ENTER, G_BAR_FULL, G_BAR_EMPTY, G_SCROLL, G_ALLOW, G_ALARM, G_EXEC, G_MINUS, G_FOLDED, G_OPEN, G_PART, G_BOTH, G_NUM
};
const char *glyph(enum glyph g, bool ascii);

#endif
