/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A terminal's screen and history.
 *
 * The screen is an array of line pointers: scrolling moves pointers, not cells. A cell is 16 bytes; a cluster of several code points is
 * interned in a bounded table and the cell holds its number. Lines that scroll out of the top of the primary screen go into a ring of
 * at most `history_max` encoded lines, numbered from the first that ever scrolled out. Every row remembers the generation in which it
 * last changed; generations are counted by the owner (grid_tick()), so that a viewer's frame is "rows newer than".
 *
 * Sizes are 1..ROWS_MAX and checked by the caller. Out of memory keeps the old state and loses the change.
 */
#ifndef BULKHEAD_TERM_GRID_H
#define BULKHEAD_TERM_GRID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/proto/rows.h"

struct pen {
	uint32_t fg, bg;      /* COLOR_* of rows.h */
	uint16_t attrs, link;
};

struct gcell {
	uint32_t cp;          /* 0 blank; GRID_CLUSTER | number */
	uint32_t fg, bg;
	uint16_t attrs;       /* enum cell_attr, and the width in the two top bits */
	uint16_t link;
};
_Static_assert(sizeof(struct gcell) == 16, "sixteen bytes a cell");
#define GRID_CLUSTER 0x80000000u
#define GCELL_WIDTH_SHIFT 14
#define GCELL_ATTRS 0x3fffu

struct line {
	bool wrapped;         /* goes on in the next row */
	uint16_t used;        /* cells from here on are blank and of no colour: a bound, the last one before it may be too */
	struct gcell cells[];
};

#define GRID_CLUSTERS_MAX 4096u
#define GRID_CHARS_MAX 6u /* code points of one glyph, as libvterm hands them over */
struct cluster {
	uint8_t len;
	char text[CELL_TEXT_MAX];
};

struct history {
	uint8_t **line;       /* ring of `max` owned encoded lines */
	size_t max, first, n; /* first: index of the oldest in the ring */
	uint64_t dropped;     /* lines that fell out: number of the oldest */
};

struct grid {
	uint16_t rows, cols;
	struct line **row, **other; /* the screen shown, and the one not shown (primary or alternate) */
	bool alt;
	uint64_t gen;               /* current generation, >= 1 */
	uint64_t *row_gen;
	struct history history;
	struct cluster *clusters;
	uint32_t nclusters;
	uint16_t *cluster_index;    /* open-addressed, 2 * GRID_CLUSTERS_MAX */
};

int grid_init(struct grid *g, uint16_t rows, uint16_t cols, size_t history_max);
void grid_release(struct grid *g);

void grid_put(struct grid *g, unsigned row, unsigned col, const uint32_t *chars, unsigned width, const struct pen *pen);
/* grid_put() of one printable ASCII character over no half of a wide one; false when it is not that (nothing done). */
static inline bool grid_put_ascii(struct grid *g, unsigned row, unsigned col, const uint32_t *chars, unsigned width, const struct pen *pen);
/* Rows [r0, r1), columns [c0, c1). Blank cells keep the pen's background. */
void grid_erase(struct grid *g, unsigned r0, unsigned r1, unsigned c0, unsigned c1, const struct pen *pen);
/* Content of the rectangle moves up by `down` (if positive) and left by `right`; what is uncovered is erased. */
void grid_scroll(struct grid *g, unsigned r0, unsigned r1, unsigned c0, unsigned c1, int down, int right, const struct pen *pen);
void grid_set_alt(struct grid *g, bool on);
void grid_set_wrapped(struct grid *g, unsigned row, bool on);
/* Everything is to be sent again. */
void grid_touch_all(struct grid *g);
static inline void grid_touch(struct grid *g, unsigned row) { g->row_gen[row] = g->gen; }
static inline bool grid_put_ascii(struct grid *g, unsigned row, unsigned col, const uint32_t *chars, unsigned width, const struct pen *pen)
{
	if (chars[0] - 0x20 >= 0x5f || chars[1] || width != 1 || row >= g->rows || col >= g->cols)
		return false;
	struct line *l = g->row[row];
	struct gcell *c = &l->cells[col];
	if (c->attrs >> GCELL_WIDTH_SHIFT != 1)
		return false;
	*c = (struct gcell){ .cp = chars[0], .fg = pen->fg, .bg = pen->bg, .link = pen->link, .attrs = (uint16_t)(pen->attrs | 1u << GCELL_WIDTH_SHIFT) };
	if (l->used <= col)
		l->used = (uint16_t)(col + 1);
	grid_touch(g, row);
	return true;
}
/* What changes from now on is newer than what was seen up to now; returns the generation that ends. */
static inline uint64_t grid_tick(struct grid *g) { return g->gen++; }

/* The row as cells to pack; returns columns used. `out` holds g->cols cells. */
size_t grid_row(const struct grid *g, unsigned row, struct cell *out, uint8_t *flags);
/* Text of a row, UTF-8, trailing blanks cut, terminated; for patterns and search. */
void grid_row_text(const struct grid *g, unsigned row, char *dst, size_t cap);

uint64_t grid_history_first(const struct grid *g);
uint64_t grid_history_total(const struct grid *g);
/* Line `n` of the history into out[cap]: columns used, -ENOENT. */
int grid_history_line(const struct grid *g, uint64_t n, struct cell *out, size_t cap, uint8_t *flags);
void grid_history_clear(struct grid *g);

/*
 * To another size. A change of width flows the primary screen and its history anew; the cursor (row, col) is moved with its text.
 * 0 or -ENOMEM (nothing changed).
 */
int grid_resize(struct grid *g, uint16_t rows, uint16_t cols, int *cursor_row, int *cursor_col);

/* ---- between grid.c, history.c and reflow.c ---- */
uint8_t *history_encode(const struct grid *g, const struct line *l, unsigned cols);
void history_push_take(struct history *h, uint8_t *encoded);
int history_decode(const uint8_t *encoded, struct cell *out, size_t cap, uint8_t *flags);
void history_release(struct history *h);
struct line *line_create(unsigned cols);
void grid_to_cell(const struct grid *g, const struct gcell *c, struct cell *out);
void grid_from_cell(struct grid *g, const struct cell *c, struct gcell *out);

#endif
