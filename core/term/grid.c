/* SPDX-License-Identifier: Apache-2.0 */
#include "core/term/grid.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"

static const struct gcell blank_cell = { .attrs = 1u << GCELL_WIDTH_SHIFT };

static inline unsigned cell_width(const struct gcell *c)
{
	return c->attrs >> GCELL_WIDTH_SHIFT;
}

/* ---- clusters ----------------------------------------------------------------------------------------------------------------- */

static uint32_t hash_text(const char *p, size_t n)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (uint8_t)p[i]) * 16777619u;
	return h;
}

/* Number of the cluster, made when new; -1 when the table is full. */
static int64_t intern(struct grid *g, const char *text, size_t n)
{
	const uint32_t slots = 2 * GRID_CLUSTERS_MAX;

	if (!g->clusters) {
		g->clusters = calloc(GRID_CLUSTERS_MAX, sizeof(*g->clusters));
		g->cluster_index = calloc(slots, sizeof(*g->cluster_index));
		if (!g->clusters || !g->cluster_index)
			return -1;
	}
	for (uint32_t i = hash_text(text, n) % slots;; i = (i + 1) % slots) {
		const uint16_t at = g->cluster_index[i];

		if (at == 0) {
			if (g->nclusters == GRID_CLUSTERS_MAX)
				return -1;
			struct cluster *c = &g->clusters[g->nclusters++];
			c->len = (uint8_t)n;
			memcpy(c->text, text, n);
			g->cluster_index[i] = (uint16_t)g->nclusters;
			return g->nclusters - 1;
		}
		const struct cluster *c = &g->clusters[at - 1];
		if (c->len == n && memcmp(c->text, text, n) == 0)
			return at - 1;
	}
}

void grid_to_cell(const struct grid *g, const struct gcell *c, struct cell *out)
{
	out->fg = c->fg;
	out->bg = c->bg;
	out->attrs = c->attrs & GCELL_ATTRS;
	out->link = c->link;
	out->width = (uint8_t)cell_width(c);
	if (c->cp & GRID_CLUSTER) {
		const struct cluster *k = &g->clusters[c->cp & ~GRID_CLUSTER];

		out->len = k->len;
		memcpy(out->text, k->text, k->len);
	} else {
		out->len = c->cp ? (uint8_t)utf8_put(c->cp, out->text) : 0;
	}
}

void grid_from_cell(struct grid *g, const struct cell *c, struct gcell *out)
{
	uint32_t cp = 0;

	*out = (struct gcell){ .fg = c->fg, .bg = c->bg, .link = c->link, .attrs = (uint16_t)(c->attrs | c->width << GCELL_WIDTH_SHIFT) };
	if (c->len == 0)
		return;
	if (utf8_decode((const uint8_t *)c->text, c->len, &cp, NULL) < c->len) {
		const int64_t k = intern(g, c->text, c->len);

		if (k >= 0)
			cp = GRID_CLUSTER | (uint32_t)k;
	}
	out->cp = cp;
}

/* ---- lines -------------------------------------------------------------------------------------------------------------------- */

struct line *line_create(unsigned cols)
{
	struct line *l = malloc(sizeof(*l) + cols * sizeof(l->cells[0]));

	if (!l)
		return NULL;
	l->wrapped = false;
	l->used = 0;
	for (unsigned i = 0; i < cols; i++)
		l->cells[i] = blank_cell;
	return l;
}

static struct gcell erased(const struct pen *pen)
{
	struct gcell c = blank_cell;

	if (pen)
		c.bg = pen->bg;
	return c;
}

static void fill(struct gcell *at, size_t n, struct gcell with)
{
	for (size_t i = 0; i < n; i++)
		at[i] = with;
}

/* Cells [c0, c1) of a line; what is blank already is left alone. */
static void fill_line(struct line *l, unsigned c0, unsigned c1, struct gcell with)
{
	if (memcmp(&with, &blank_cell, sizeof(with)) != 0) {
		fill(l->cells + c0, c1 - c0, with);
		l->used = (uint16_t)(l->used < c1 ? c1 : l->used);
		return;
	}
	if (c0 >= l->used)
		return;
	const unsigned end = c1 < l->used ? c1 : l->used;
	fill(l->cells + c0, end - c0, with);
	if (end == l->used)
		l->used = (uint16_t)c0;
}

static void free_rows(struct line **rows, unsigned n)
{
	for (unsigned i = 0; rows && i < n; i++)
		free(rows[i]);
	free(rows);
}

static struct line **make_rows(unsigned n, unsigned cols)
{
	struct line **rows = calloc(n, sizeof(*rows));

	for (unsigned i = 0; rows && i < n; i++) {
		rows[i] = line_create(cols);
		if (!rows[i]) {
			free_rows(rows, n);
			return NULL;
		}
	}
	return rows;
}

int grid_init(struct grid *g, uint16_t rows, uint16_t cols, size_t history_max)
{
	*g = (struct grid){ .rows = rows, .cols = cols, .gen = 1, .history.max = history_max };
	g->row = make_rows(rows, cols);
	g->other = make_rows(rows, cols);
	g->row_gen = calloc(rows, sizeof(*g->row_gen));
	g->history.line = history_max ? calloc(history_max, sizeof(*g->history.line)) : NULL;
	if (!g->row || !g->other || !g->row_gen || (history_max && !g->history.line)) {
		grid_release(g);
		return -ENOMEM;
	}
	grid_touch_all(g);
	return 0;
}

void grid_release(struct grid *g)
{
	free_rows(g->row, g->rows);
	free_rows(g->other, g->rows);
	free(g->row_gen);
	history_release(&g->history);
	free(g->clusters);
	free(g->cluster_index);
	*g = (struct grid){ .rows = 0 };
}

void grid_touch_all(struct grid *g)
{
	for (unsigned i = 0; i < g->rows; i++)
		grid_touch(g, i);
}

/* A wide character that loses a half loses the other too. */
static void break_wide(struct grid *g, struct line *l, unsigned col)
{
	if (col < g->cols && cell_width(&l->cells[col]) == 0 && col > 0)
		l->cells[col - 1] = erased(NULL), l->cells[col] = erased(NULL);
	else if (col + 1 < g->cols && cell_width(&l->cells[col]) == 2)
		l->cells[col + 1] = erased(NULL);
}

/* What a viewer will take (cell_text() in core/proto/rows.h): one code point, or a cluster. ASCII does not come here. */
static uint32_t glyph(struct grid *g, const uint32_t *chars, unsigned width)
{
	char text[CELL_TEXT_MAX];
	uint32_t cp = 0;
	size_t k = 1;

	while (k < GRID_CHARS_MAX && chars[k])
		k++;
	const size_t n = cell_text(text, chars, k, width);
	if (utf8_decode((const uint8_t *)text, n, &cp, NULL) == n)
		return cp;
	const int64_t index = intern(g, text, n);
	return index >= 0 ? GRID_CLUSTER | (uint32_t)index : cp;
}

void grid_put(struct grid *g, unsigned row, unsigned col, const uint32_t *chars, unsigned width, const struct pen *pen)
{
	if (row >= g->rows || col >= g->cols)
		return;
	struct line *l = g->row[row];
	struct gcell *c = &l->cells[col];
	if (width != 2 || g->cols - col < 2)
		width = 1;
	if (cell_width(c) != 1)
		break_wide(g, l, col);
	if (width == 2 && cell_width(&l->cells[col + 1]) != 1)
		break_wide(g, l, col + 1);
	uint32_t cp = chars[0];
	if (cp >= 0x7f || (cp && chars[1]))
		cp = glyph(g, chars, width);
	*c = (struct gcell){ .cp = cp, .fg = pen->fg, .bg = pen->bg, .link = pen->link, .attrs = (uint16_t)(pen->attrs | width << GCELL_WIDTH_SHIFT) };
	if (width == 2)
		c[1] = (struct gcell){ .fg = pen->fg, .bg = pen->bg, .link = pen->link, .attrs = pen->attrs };
	if (l->used < col + width)
		l->used = (uint16_t)(col + width);
	grid_touch(g, row);
}

void grid_erase(struct grid *g, unsigned r0, unsigned r1, unsigned c0, unsigned c1, const struct pen *pen)
{
	const struct gcell with = erased(pen);

	if (r1 > g->rows)
		r1 = g->rows;
	if (c1 > g->cols)
		c1 = g->cols;
	for (unsigned r = r0; r < r1 && c0 < c1; r++) {
		struct line *l = g->row[r];

		break_wide(g, l, c0);
		break_wide(g, l, c1 - 1);
		fill_line(l, c0, c1, with);
		if (c1 == g->cols)
			l->wrapped = false;
		grid_touch(g, r);
	}
}

/* Full-width scroll: pointers move, and what leaves the top of the primary screen becomes history. */
static void scroll_lines(struct grid *g, unsigned r0, unsigned r1, int down, const struct pen *pen)
{
	const unsigned n = r1 - r0, k = (unsigned)abs(down) < n ? (unsigned)abs(down) : n;
	struct line *moved[ROWS_MAX];
	const struct gcell with = erased(pen);

	if (down > 0 && r0 == 0 && !g->alt && g->history.max > 0)
		for (unsigned i = 0; i < k; i++)
			history_push_take(&g->history, history_encode(g, g->row[i], g->cols));
	if (down > 0) {
		memcpy(moved, g->row + r0, k * sizeof(*moved));
		memmove(g->row + r0, g->row + r0 + k, (n - k) * sizeof(*moved));
		memcpy(g->row + r1 - k, moved, k * sizeof(*moved));
	} else {
		memcpy(moved, g->row + r1 - k, k * sizeof(*moved));
		memmove(g->row + r0 + k, g->row + r0, (n - k) * sizeof(*moved));
		memcpy(g->row + r0, moved, k * sizeof(*moved));
	}
	for (unsigned i = 0; i < k; i++) {
		fill_line(moved[i], 0, g->cols, with);
		moved[i]->wrapped = false;
	}
	for (unsigned r = r0; r < r1; r++)
		grid_touch(g, r);
}

void grid_scroll(struct grid *g, unsigned r0, unsigned r1, unsigned c0, unsigned c1, int down, int right, const struct pen *pen)
{
	if (r1 > g->rows)
		r1 = g->rows;
	if (c1 > g->cols)
		c1 = g->cols;
	if (r0 >= r1 || c0 >= c1 || (down == 0 && right == 0))
		return;
	if (c0 == 0 && c1 == g->cols && right == 0) {
		scroll_lines(g, r0, r1, down, pen);
		return;
	}
	const int h = (int)(r1 - r0), w = (int)(c1 - c0);
	/* Row by row in the order in which no source is overwritten before it is read. */
	for (int i = 0; i < h; i++) {
		const int r = down >= 0 ? i : h - 1 - i, from = r + down;
		struct gcell *dst = g->row[r0 + (unsigned)r]->cells + c0;
		const int n = w - abs(right);

		grid_touch(g, r0 + (unsigned)r);
		g->row[r0 + (unsigned)r]->used = g->cols;
		if (from < 0 || from >= h || n <= 0) {
			fill(dst, (size_t)w, erased(pen));
			continue;
		}
		const struct gcell *src = g->row[r0 + (unsigned)from]->cells + c0;
		if (right >= 0) {
			memmove(dst, src + right, (size_t)n * sizeof(*dst));
			fill(dst + n, (size_t)right, erased(pen));
		} else {
			memmove(dst - right, src, (size_t)n * sizeof(*dst));
			fill(dst, (size_t)-right, erased(pen));
		}
	}
	/* Halves of wide characters at the rectangle's edges. */
	for (unsigned r = r0; r < r1; r++) {
		struct gcell *cells = g->row[r]->cells;

		for (unsigned c = c0; c < c1; c++) {
			const bool left = cell_width(&cells[c]) == 2 && (c + 1 >= g->cols || cell_width(&cells[c + 1]) != 0);
			const bool half = cell_width(&cells[c]) == 0 && (c == 0 || cell_width(&cells[c - 1]) != 2);

			if (left || half)
				cells[c] = erased(NULL);
		}
		if (c1 < g->cols && cell_width(&cells[c1]) == 0 && cell_width(&cells[c1 - 1]) != 2)
			cells[c1] = erased(NULL);
		if (c0 > 0 && cell_width(&cells[c0 - 1]) == 2 && cell_width(&cells[c0]) != 0)
			cells[c0 - 1] = erased(NULL);
	}
}

void grid_set_alt(struct grid *g, bool on)
{
	struct line **swap = g->row;

	if (g->alt == on)
		return;
	g->row = g->other;
	g->other = swap;
	g->alt = on;
	grid_touch_all(g);
}

void grid_set_wrapped(struct grid *g, unsigned row, bool on)
{
	if (row < g->rows)
		g->row[row]->wrapped = on;
}

/* ---- reading ------------------------------------------------------------------------------------------------------------------- */

size_t grid_row(const struct grid *g, unsigned row, struct cell *out, uint8_t *flags)
{
	const struct line *l = g->row[row];
	size_t n = l->used < g->cols ? l->used : g->cols;

	while (n > 0 && memcmp(&l->cells[n - 1], &blank_cell, sizeof(blank_cell)) == 0)
		n--;
	for (size_t i = 0; i < n; i++)
		grid_to_cell(g, &l->cells[i], &out[i]);
	*flags = l->wrapped ? ROW_WRAPPED : 0;
	return n;
}

void grid_row_text(const struct grid *g, unsigned row, char *dst, size_t cap)
{
	const struct line *l = g->row[row];
	size_t at = 0, end = 0;

	for (unsigned i = 0; i < g->cols; i++) {
		struct cell c;

		grid_to_cell(g, &l->cells[i], &c);
		if (c.width == 0)
			continue;
		if (c.len == 0)
			c.text[c.len++] = ' ';
		if (at + c.len + 1 > cap)
			break;
		memcpy(dst + at, c.text, c.len);
		at += c.len;
		if (c.len != 1 || c.text[0] != ' ')
			end = at;
	}
	dst[end] = '\0';
}

uint64_t grid_history_first(const struct grid *g)
{
	return g->history.dropped;
}

uint64_t grid_history_total(const struct grid *g)
{
	return g->history.dropped + g->history.n;
}

int grid_history_line(const struct grid *g, uint64_t n, struct cell *out, size_t cap, uint8_t *flags)
{
	const struct history *h = &g->history;

	if (n < h->dropped || n - h->dropped >= h->n)
		return -ENOENT;
	return history_decode(h->line[(h->first + (size_t)(n - h->dropped)) % h->max], out, cap, flags);
}

void grid_history_clear(struct grid *g)
{
	struct history *h = &g->history;

	for (size_t i = 0; i < h->n; i++) {
		free(h->line[(h->first + i) % h->max]);
		h->line[(h->first + i) % h->max] = NULL;
	}
	h->dropped += h->n;
	h->n = h->first = 0;
}
