/* SPDX-License-Identifier: Apache-2.0 */
/* A terminal's cells on the viewer's side: filled from packed rows, drawn into a canvas with the theme's colours. */
#ifndef BULKHEAD_TUI_CELLS_H
#define BULKHEAD_TUI_CELLS_H

#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/rbuf.h"
#include "core/proto/rows.h"
#include "tui/canvas.h"
#include "tui/theme.h"

struct cells {
	int rows, cols;
	struct cell *cell; /* rows * cols, owned */
	uint8_t *flags;    /* rows: ROW_WRAPPED */
};

/* Blank cells of that size; what was there is kept where both sizes reach. 0 or -ENOMEM. */
int cells_resize(struct cells *c, int rows, int cols);
int cells_copy(struct cells *dst, const struct cells *src);
void cells_release(struct cells *c);
static inline const struct cell *cells_row(const struct cells *c, int row) { return &c->cell[(size_t)row * (size_t)c->cols]; }
/* The n packed rows of a frame; cells of rows that are ill-formed stay. 0 or -EBADMSG. */
int cells_apply(struct cells *c, struct rbuf *r, unsigned n);
/* Draws rows from `top`, columns from `left` into r; cells beyond the terminal are `pad`. Default colours become those of `base`,
 * others what the terminal can show; `reverse` exchanges them (the mode of the whole screen). */
void cells_draw(const struct cells *c, int top, int left, struct canvas *to, struct rect r, struct style base, struct style pad,
		enum depth d, bool reverse);
/* The text of columns [from, to) of a row, without trailing blanks, appended to out. */
void cells_text(const struct cells *c, int row, int from, int to, struct buf *out);

#endif
