/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copy mode: a terminal's text under a cursor. Entering freezes the screen; lines are numbered as the terminal numbers its history (rows.h),
 * so the frozen rows are [base, base + rows) and what is above comes from the terminal in windows, when it is looked at. One terminal at a time.
 */
#ifndef BULKHEAD_TUI_COPY_H
#define BULKHEAD_TUI_COPY_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "tui/cells.h"
#include "tui/keymap.h"
#include "tui/theme.h"
#include "tui/viewer.h"

#define COPY_MAX (1024u * 1024u)

struct copy {
	struct viewer *v;     /* NULL: not in copy mode */
	struct cells frozen;
	uint64_t kept, base;  /* first line that is kept; the frozen screen's first */
	uint64_t top, line;   /* of the view; the cursor's */
	int col, rows, cols;  /* cursor's column; the view's size */
	bool select, lines, by_mouse;
	uint64_t from_line;
	int from_col;
	char pattern[257];
	bool backward, searching, failed;
	struct { bool set; uint64_t line; int col, cols; } hit;
	struct buf yank;      /* gathers what is copied */
	uint64_t yank_line, yank_end;
	int yank_from, yank_to;
	bool yanking, yank_ready, yank_cut;
	bool asked;           /* a window of history is on its way: one at a time */
};

int copy_enter(struct copy *c, struct viewer *v, int rows, int cols);
void copy_leave(struct copy *c);
/* Moves, selects; true if it was an action of copy mode. Searches and yanks go on in copy_pump(). */
bool copy_action(struct copy *c, enum action act);
void copy_scroll(struct copy *c, int by);             /* the view by lines, the cursor with it */
void copy_cursor(struct copy *c, int row, int col);   /* by the mouse, within the view */
void copy_search(struct copy *c, const char *text, bool backward);
/* Takes answers of the terminal. True when something changed. */
bool copy_pump(struct copy *c);
/* Where the link under the cursor leads; NULL when there is none. */
const char *copy_link(const struct copy *c);
/* Draws the view; sets the canvas's cursor. */
void copy_draw(struct copy *c, struct canvas *to, struct rect r, const struct theme *t);

#endif
