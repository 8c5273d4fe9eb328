/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where everything is: a pure function of the screen's size and of what is to be seen. Rectangles never overlap and never leave
 * the screen; one with no rows is not there. Also the tree of splits inside the terminal area, and the tiles of the grid.
 */
#ifndef BULKHEAD_TUI_LAYOUT_H
#define BULKHEAD_TUI_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>

#include "tui/canvas.h"

enum page { PAGE_OVERVIEW, PAGE_TERMINAL, PAGE_NETWORK, PAGE_DIFF, PAGE_RESOURCES, PAGE_LOG };

/* By the size, or what the person set as far as the screen has room for it. */
enum layout_set { LAYOUT_AUTO, LAYOUT_ONE, LAYOUT_LIST, LAYOUT_TWO, LAYOUT_NUM };

struct layout_in {
	int rows, cols;
	enum page page;
	bool grid, zoom, attention;
	enum layout_set set;
	bool alone;              /* attach_only: the terminal is everything */
	bool typing;             /* keys go to a terminal: it is to be seen */
	int list_cols, lower_rows; /* the person's; 0 = by size */
	bool diff_text;          /* of the Diff page, where there is room for one pane: the text, not the files */
	int files_cols;          /* the person's, of its files; 0 = by size */
	int ports;               /* published: the Network page lists them below */
};

struct layout {
	struct rect header, attention, glyphs, list, main, second, lower, lower_right, footer;
	bool boxed; /* panes have borders: there is room */
	bool tiny;  /* too small for more than the one pane */
};

void layout_compute(const struct layout_in *in, struct layout *out);

/* Tiles for n terminals in r: as near to 80x24's shape as it goes. Returns how many fit (<= n). */
size_t layout_tiles(struct rect r, size_t n, struct rect *tiles, size_t max);

/* ---- splits ------------------------------------------------------------------------------------------------------------------ */
struct split {
	struct split *up, *a, *b; /* a == NULL: a leaf */
	bool below;               /* b lies below a, else to its right */
	int part;                 /* of a, per mille */
	unsigned id;              /* a leaf's */
};

struct split *split_create(unsigned id);
void split_destroy(struct split *s);
struct split *split_find(struct split *root, unsigned id);
/* Splits leaf `id`; the new leaf is `fresh`. -ENOENT, -ENOMEM. */
int split_add(struct split *root, unsigned id, unsigned fresh, bool below);
/* Takes leaf `id` out; the last leaf stays. Returns the id of the neighbour that gets its place, 0 if nothing was done. */
unsigned split_remove(struct split **root, unsigned id);
/* Moves the nearest border of that direction by `cells` of a region `r` given to the root. True if there is one. */
bool split_resize(struct split *root, struct rect r, unsigned id, bool below, int cells);
/* Rectangles of all leaves, in order; ids and rects have room for max. A leaf too small gets 0 rows. Returns how many. */
size_t split_layout(const struct split *root, struct rect r, unsigned *ids, struct rect *rects, size_t max);
/* The inner node whose border lies at (row, col), for dragging; NULL none. */
struct split *split_border_at(struct split *root, struct rect r, int row, int col, struct rect *area);

#endif
