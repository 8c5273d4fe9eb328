/* SPDX-License-Identifier: Apache-2.0 */
/* Cells in memory, clipped drawing. See canvas.h. */
#include "tui/canvas.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "core/base/utf8.h"

static const char *const glyphs[][2] = {
	[G_BUSY] = { "●", "*" }, [G_BOOTS] = { "◐", "o" }, [G_PAUSED] = { "‖", "=" }, [G_STOPPED] = { "○", "." },
	[G_FAILED] = { "✗", "x" }, [G_ASK] = { "▲", "!" }, [G_CURSOR] = { "▸", ">" }, [G_DOT] = { "·", "-" }, [G_H] = { "─", "-" },
	[G_V] = { "│", "|" }, [G_TL] = { "┌", "+" }, [G_TR] = { "┐", "+" }, [G_BL] = { "└", "+" }, [G_BR] = { "┘", "+" },
	[G_ELLIPSIS] = { "…", "~" }, [G_UP] = { "↑", "^" }, [G_DOWN] = { "↓", "v" }, [G_ENTER] = { "⏎", "Enter" },
	[G_BAR_FULL] = { "█", "#" }, [G_BAR_EMPTY] = { "░", "." }, [G_SCROLL] = { "┃", "#" }, [G_ALLOW] = { "✓", "+" }, [G_ALARM] = { "!", "#" },
	[G_EXEC] = { "⚡", "$" }, [G_MINUS] = { "−", "-" }, [G_FOLDED] = { "▸", ">" }, [G_OPEN] = { "▾", "v" }, [G_PART] = { "◪", "%" }, [G_BOTH] = { "⇄", "&" },
};
_Static_assert(ARRAY_SIZE(glyphs) == G_NUM, "a glyph and its ASCII twin");

const char *glyph(enum glyph g, bool ascii)
{
	return glyphs[g][ascii];
}

static void cell_set(struct cell *p, struct style st, const char *text, size_t len, unsigned width)
{
	memset(p, 0, sizeof(*p));
	p->fg = st.fg;
	p->bg = st.bg;
	p->attrs = st.attrs;
	p->width = (uint8_t)width;
	p->len = (uint8_t)len;
	if (len)
		memcpy(p->text, text, len);
}

int canvas_resize(struct canvas *c, int rows, int cols)
{
	if (rows < 1)
		rows = 1;
	if (cols < 1)
		cols = 1;
	struct cell *cells = calloc((size_t)rows * (size_t)cols, sizeof(*cells));
	if (!cells)
		return -ENOMEM;
	free(c->cells);
	c->cells = cells;
	c->rows = rows;
	c->cols = cols;
	canvas_clear(c, (struct style){ 0 });
	return 0;
}

void canvas_release(struct canvas *c)
{
	free(c->cells);
	memset(c, 0, sizeof(*c));
}

void canvas_clear(struct canvas *c, struct style st)
{
	c->cur_row = -1;
	canvas_fill(c, (struct rect){ 0, 0, c->rows, c->cols }, st);
}

struct cell *canvas_at(struct canvas *c, int row, int col)
{
	if (row < 0 || col < 0 || row >= c->rows || col >= c->cols)
		return NULL;
	return &c->cells[(size_t)row * (size_t)c->cols + (size_t)col];
}

/* Writing over half of a wide character blanks its other half, so that no half is ever left alone. */
static void break_wide(struct canvas *c, int row, int col)
{
	struct cell *p = canvas_at(c, row, col), *other;

	if (!p)
		return;
	if (p->width == 0 && (other = canvas_at(c, row, col - 1)) && other->width == 2)
		cell_set(other, (struct style){ other->fg, other->bg, other->attrs }, "", 0, 1);
	if (p->width == 2 && (other = canvas_at(c, row, col + 1)) && other->width == 0)
		cell_set(other, (struct style){ other->fg, other->bg, other->attrs }, "", 0, 1);
}

static void put(struct canvas *c, int row, int col, struct style st, const char *text, size_t len, unsigned width)
{
	struct cell *p = canvas_at(c, row, col);

	if (!p)
		return;
	break_wide(c, row, col);
	if (width == 2) {
		struct cell *q = canvas_at(c, row, col + 1);

		if (!q) {
			cell_set(p, st, "", 0, 1);
			return;
		}
		break_wide(c, row, col + 1);
		cell_set(q, st, "", 0, 0);
	}
	cell_set(p, st, text, len, width);
}

void canvas_fill(struct canvas *c, struct rect r, struct style st)
{
	for (int row = 0; row < r.rows; row++)
		for (int col = 0; col < r.cols; col++)
			put(c, r.row + row, r.col + col, st, "", 0, 1);
}

/* The next character of *s with its combining marks, as a cell's text. Returns its width, -1 at the end. */
static int next_cluster(const char **s, char text[CELL_TEXT_MAX], size_t *len)
{
	const uint8_t *p = (const uint8_t *)*s;
	size_t n = strlen(*s), used;
	uint32_t cp;

	if (!n)
		return -1;
	used = utf8_decode(p, n, &cp, NULL);
	int w = utf8_width(cp);
	if (w < 0 || w == 0) { /* a control, or a mark with nothing to stand on */
		cp = 0xFFFD;
		w = 1;
	}
	*len = utf8_put(cp, text);
	p += used;
	n -= used;
	while (n) {
		used = utf8_decode(p, n, &cp, NULL);
		if (utf8_width(cp) != 0)
			break;
		if (*len + 4 <= CELL_TEXT_MAX) {
			char more[4];
			const size_t k = utf8_put(cp, more);

			memcpy(text + *len, more, k);
			*len += k;
		}
		p += used;
		n -= used;
	}
	*s = (const char *)p;
	return w;
}

int canvas_text(struct canvas *c, struct rect r, int row, int col, int max, struct style st, const char *s)
{
	const int edge = r.cols - col;
	const bool ellipsis = max >= 0;
	int used = 0;

	if (!s || row < 0 || row >= r.rows || col < 0 || edge <= 0 || max == 0)
		return 0;
	if (max < 0 || max > edge)
		max = edge;
	const bool cut = ellipsis && utf8_columns(s) > (size_t)max;
	const int limit = cut ? max - 1 : max;
	for (;;) {
		char text[CELL_TEXT_MAX];
		size_t len;
		const int w = next_cluster(&s, text, &len);

		if (w < 0 || used + w > limit)
			break;
		put(c, r.row + row, r.col + col + used, st, text, len, (unsigned)w);
		used += w;
	}
	if (cut && used < max) {
		const char *e = glyph(G_ELLIPSIS, c->ascii);

		put(c, r.row + row, r.col + col + used, st, e, strlen(e), 1);
		used++;
	}
	return used;
}

int canvas_textf(struct canvas *c, struct rect r, int row, int col, int max, struct style st, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return canvas_text(c, r, row, col, max, st, text);
}

int canvas_text_right(struct canvas *c, struct rect r, int row, int inset, struct style st, const char *s)
{
	const int col = r.cols - inset - (int)utf8_columns(s);

	if (col < 0)
		return r.cols;
	canvas_text(c, r, row, col, -1, st, s);
	return col;
}

void canvas_cell(struct canvas *c, struct rect r, int row, int col, const struct cell *cell)
{
	const struct style st = { cell->fg, cell->bg, cell->attrs };

	if (row < 0 || col < 0 || row >= r.rows || col >= r.cols || cell->width == 0)
		return;
	if (cell->width == 2 && col + 1 >= r.cols) {
		put(c, r.row + row, r.col + col, st, "", 0, 1);
		return;
	}
	put(c, r.row + row, r.col + col, st, cell->text, cell->len, cell->width);
}

void canvas_restyle(struct canvas *c, struct rect r, int row, int col, int n, struct style st)
{
	if (row < 0 || row >= r.rows)
		return;
	for (int i = col < 0 ? 0 : col; i < col + n && i < r.cols; i++) {
		struct cell *p = canvas_at(c, r.row + row, r.col + i);

		if (!p)
			continue;
		p->fg = st.fg;
		p->bg = st.bg;
		p->attrs = st.attrs;
	}
}

static void put_glyph(struct canvas *c, int row, int col, struct style st, enum glyph g)
{
	const char *s = glyph(g, c->ascii);

	put(c, row, col, st, s, strlen(s), 1);
}

struct rect canvas_box(struct canvas *c, struct rect r, struct style st)
{
	if (r.rows < 2 || r.cols < 2)
		return r;
	const int bottom = r.row + r.rows - 1, right = r.col + r.cols - 1;
	for (int col = r.col + 1; col < right; col++) {
		put_glyph(c, r.row, col, st, G_H);
		put_glyph(c, bottom, col, st, G_H);
	}
	for (int row = r.row + 1; row < bottom; row++) {
		put_glyph(c, row, r.col, st, G_V);
		put_glyph(c, row, right, st, G_V);
	}
	put_glyph(c, r.row, r.col, st, G_TL);
	put_glyph(c, r.row, right, st, G_TR);
	put_glyph(c, bottom, r.col, st, G_BL);
	put_glyph(c, bottom, right, st, G_BR);
	return rect_inner(r, 1);
}

void canvas_hline(struct canvas *c, struct rect r, int row, struct style st)
{
	if (row < 0 || row >= r.rows)
		return;
	for (int col = 0; col < r.cols; col++)
		put_glyph(c, r.row + row, r.col + col, st, G_H);
}
