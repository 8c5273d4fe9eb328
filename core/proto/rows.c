/* SPDX-License-Identifier: Apache-2.0 */
/* Rows as runs of cells with equal attributes. The unpacker trusts nothing: it is what stands between a guest's text and a person's screen. */
#include "core/proto/rows.h"

#include <errno.h>
#include <string.h>

#include "core/base/utf8.h"

#define REPLACEMENT 0xFFFDu

static int bad(struct rbuf *r)
{
	r->bad = true;
	return -EBADMSG;
}

int rows_head_pack(struct buf *b, const struct rows_head *m)
{
	buf_u64(b, m->gen);
	buf_u16(b, m->rows);
	buf_u16(b, m->cols);
	buf_u16(b, m->cursor_row);
	buf_u16(b, m->cursor_col);
	buf_u8(b, m->cursor_visible);
	buf_u8(b, m->cursor_shape);
	buf_u8(b, m->cursor_blink);
	buf_u8(b, 0);
	buf_u32(b, m->modes);
	buf_u64(b, m->history_first);
	buf_u64(b, m->history_total);
	return buf_u16(b, m->nrows);
}

int rows_head_unpack(struct rbuf *r, struct rows_head *m)
{
	rbuf_u64(r, &m->gen);
	rbuf_u16(r, &m->rows);
	rbuf_u16(r, &m->cols);
	rbuf_u16(r, &m->cursor_row);
	rbuf_u16(r, &m->cursor_col);
	rbuf_u8(r, &m->cursor_visible);
	rbuf_u8(r, &m->cursor_shape);
	rbuf_u8(r, &m->cursor_blink);
	rbuf_u8(r, &m->zero);
	rbuf_u32(r, &m->modes);
	rbuf_u64(r, &m->history_first);
	rbuf_u64(r, &m->history_total);
	rbuf_u16(r, &m->nrows);
	if (r->bad || m->rows < 1 || m->rows > ROWS_MAX || m->cols < 1 || m->cols > ROWS_MAX || m->cursor_row >= m->rows ||
	    m->cursor_col >= m->cols || m->cursor_visible > 1 || m->cursor_shape > CURSOR_BAR || m->cursor_blink > 1 || m->zero != 0 || m->nrows > m->rows ||
	    m->history_first > m->history_total)
		return bad(r);
	return 0;
}

static int same_style(const struct cell *a, const struct cell *b)
{
	return a->fg == b->fg && a->bg == b->bg && a->attrs == b->attrs && a->link == b->link;
}

static int is_blank(const struct cell *c)
{
	return c->width == 1 && c->len == 0 && c->fg == COLOR_DEFAULT && c->bg == COLOR_DEFAULT && c->attrs == 0 && c->link == 0;
}

int row_pack(struct buf *b, uint16_t index, uint8_t flags, const struct cell *cells, size_t n)
{
	while (n > 0 && is_blank(&cells[n - 1]))
		n--;
	buf_u16(b, index);
	buf_u8(b, flags);
	buf_u16(b, (uint16_t)n);
	for (size_t i = 0; i < n;) {
		size_t end = i + 1;

		/* A run is cut where the style changes; the right half of a wide character goes with its left one. */
		while (end < n && (same_style(&cells[i], &cells[end]) || cells[end].width == 0))
			end++;
		buf_u16(b, (uint16_t)(end - i));
		buf_u16(b, cells[i].attrs);
		buf_u32(b, cells[i].fg);
		buf_u32(b, cells[i].bg);
		buf_u16(b, cells[i].link);
		for (; i < end; i++) {
			const struct cell *c = &cells[i];

			buf_u8(b, (uint8_t)(c->width | c->len << 2));
			buf_put(b, c->text, c->len);
		}
	}
	return buf_ok(b) ? 0 : -ENOBUFS;
}

static int color_legal(uint32_t c)
{
	const uint32_t kind = c >> 24;

	return c == COLOR_DEFAULT || (kind == 1 && (c & 0xffffff) < 256) || kind == 2;
}

/* First in a cell: takes columns, and not more than the cell has. (Fewer is possible: the terminal's library and our table may differ.) */
static bool base_legal(uint32_t cp, unsigned width)
{
	const int w = utf8_width(cp);

	return w >= 1 && (unsigned)w <= width && !utf8_is_format(cp);
}

/* After the first: takes no column; of the format characters only the joiners, which shape a cluster and nothing beyond it. */
static bool mark_legal(uint32_t cp)
{
	return utf8_width(cp) == 0 && (!utf8_is_format(cp) || cp == 0x200C || cp == 0x200D);
}

size_t cell_text(char out[CELL_TEXT_MAX], const uint32_t *cp, size_t n, unsigned width)
{
	size_t at;

	if (n == 0)
		return 0;
	at = utf8_put(base_legal(cp[0], width) ? cp[0] : REPLACEMENT, out);
	for (size_t i = 1; i < n && at + 4 <= CELL_TEXT_MAX; i++)
		if (mark_legal(cp[i]))
			at += utf8_put(cp[i], out + at);
	return at;
}

/* What cell_text() makes, and nothing else. */
static bool text_legal(const char *text, size_t n, unsigned width)
{
	const uint8_t *p = (const uint8_t *)text;
	size_t at = 0;

	while (at < n) {
		uint32_t cp;
		char back[4];
		const size_t used = utf8_decode(p + at, n - at, &cp, NULL);

		if (utf8_put(cp, back) != used || memcmp(back, p + at, used) != 0)
			return false;
		if (at == 0 ? !base_legal(cp, width) : !mark_legal(cp))
			return false;
		at += used;
	}
	return true;
}

static int cell_unpack(struct rbuf *r, struct cell *c)
{
	uint8_t head;

	if (rbuf_u8(r, &head) < 0)
		return -EBADMSG;
	c->width = head & 3;
	c->len = head >> 2;
	if (c->width > 2 || c->len > CELL_TEXT_MAX || (c->width == 0 && c->len > 0))
		return bad(r);
	if (rbuf_copy(r, c->text, c->len) < 0 || !text_legal(c->text, c->len, c->width))
		return bad(r);
	return 0;
}

int row_unpack(struct rbuf *r, size_t rows_limit, uint16_t *index, uint8_t *flags, struct cell *cells, size_t cols)
{
	const struct cell blank = { .width = 1 };
	uint16_t used, run;
	size_t at = 0;

	rbuf_u16(r, index);
	rbuf_u8(r, flags);
	rbuf_u16(r, &used);
	if (r->bad || *index >= rows_limit || used > cols || *flags > ROW_WRAPPED)
		return bad(r);
	while (at < used) {
		struct cell c = blank;

		rbuf_u16(r, &run);
		rbuf_u16(r, &c.attrs);
		rbuf_u32(r, &c.fg);
		rbuf_u32(r, &c.bg);
		rbuf_u16(r, &c.link);
		if (r->bad || run == 0 || run > used - at || !color_legal(c.fg) || !color_legal(c.bg) || c.attrs >= CELL_CONCEAL * 2)
			return bad(r);
		for (const size_t end = at + run; at < end; at++) {
			c.len = 0;
			if (cell_unpack(r, &c) < 0)
				return -EBADMSG;
			/* A right half follows a left one and nothing else does. */
			const int left = at > 0 && cells[at - 1].width == 2;
			if ((c.width == 0) != left)
				return bad(r);
			cells[at] = c;
		}
	}
	if (used > 0 && cells[used - 1].width == 2)
		return bad(r);
	for (; at < cols; at++)
		cells[at] = blank;
	return 0;
}
