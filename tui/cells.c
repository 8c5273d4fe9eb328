/* SPDX-License-Identifier: Apache-2.0 */
/* See cells.h. Rows are foreign: row_unpack() checks them, sizes come from a checked head. */
#include "tui/cells.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct cell blank = { .width = 1 };

int cells_resize(struct cells *c, int rows, int cols)
{
	if (c->cell && rows == c->rows && cols == c->cols)
		return 0;
	struct cell *cell = calloc((size_t)rows * (size_t)cols, sizeof(*cell));
	uint8_t *flags = calloc((size_t)rows, 1);
	if (!cell || !flags) {
		free(cell);
		free(flags);
		return -ENOMEM;
	}
	for (int row = 0; row < rows; row++)
		for (int col = 0; col < cols; col++) {
			struct cell *p = &cell[(size_t)row * (size_t)cols + (size_t)col];

			*p = row < c->rows && col < c->cols ? c->cell[(size_t)row * (size_t)c->cols + (size_t)col] : blank;
			if (col == cols - 1 && p->width == 2)
				*p = blank;
		}
	free(c->cell);
	free(c->flags);
	*c = (struct cells){ rows, cols, cell, flags };
	return 0;
}

int cells_copy(struct cells *dst, const struct cells *src)
{
	const int r = src->cell ? cells_resize(dst, src->rows, src->cols) : -EINVAL;

	if (r < 0)
		return r;
	memcpy(dst->cell, src->cell, (size_t)src->rows * (size_t)src->cols * sizeof(*src->cell));
	memcpy(dst->flags, src->flags, (size_t)src->rows);
	return 0;
}

void cells_release(struct cells *c)
{
	free(c->cell);
	free(c->flags);
	memset(c, 0, sizeof(*c));
}

int cells_apply(struct cells *c, struct rbuf *r, unsigned n)
{
	static struct cell line[ROWS_MAX];

	while (n--) {
		uint16_t index;
		uint8_t flags;

		if (row_unpack(r, (size_t)c->rows, &index, &flags, line, (size_t)c->cols) < 0)
			return -EBADMSG;
		memcpy(&c->cell[(size_t)index * (size_t)c->cols], line, (size_t)c->cols * sizeof(*line));
		c->flags[index] = flags;
	}
	return 0;
}

static struct cell shown(const struct cell *from, struct style base, enum depth d, bool reverse)
{
	struct cell p = *from;

	p.fg = p.fg == COLOR_DEFAULT ? base.fg : color_at_depth(p.fg, d);
	p.bg = p.bg == COLOR_DEFAULT ? base.bg : color_at_depth(p.bg, d);
	if (p.link) /* OSC 8: underlined here; copy mode tells where it leads */
		p.attrs |= CELL_UNDERLINE;
	p.link = 0;
	if (reverse)
		p.attrs ^= CELL_REVERSE;
	return p;
}

void cells_draw(const struct cells *c, int top, int left, struct canvas *to, struct rect r, struct style base, struct style pad,
		enum depth d, bool reverse)
{
	canvas_fill(to, r, base);
	for (int row = 0; row < r.rows; row++) {
		const int from = row + top;

		for (int col = 0; col < r.cols; col++) {
			if (from < 0 || from >= c->rows || col + left >= c->cols) {
				struct cell *p = canvas_at(to, r.row + row, r.col + col);

				if (p)
					*p = (struct cell){ .fg = pad.fg, .bg = pad.bg, .attrs = pad.attrs, .width = 1 };
				continue;
			}
			const struct cell *src = cells_row(c, from) + col + left;
			if (src->width == 0) /* the left half brings it; cut off at the left edge it is a blank */
				continue;
			const struct cell p = shown(src, base, d, reverse);
			canvas_cell(to, r, row, col, &p);
		}
	}
}

void cells_text(const struct cells *c, int row, int from, int to, struct buf *out)
{
	const struct cell *line = cells_row(c, row);

	if (to > c->cols)
		to = c->cols;
	while (to > from && line[to - 1].len == 0 && line[to - 1].width == 1)
		to--;
	for (int col = from < 0 ? 0 : from; col < to; col++) {
		if (line[col].width == 0)
			continue;
		if (line[col].len)
			buf_put(out, line[col].text, line[col].len);
		else
			buf_u8(out, ' ');
	}
}
