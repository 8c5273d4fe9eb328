/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three sizes (TUI.md): below 100x20 one pane at a time with a line of glyphs for the list; from 100x20 the list at the left and the panes
 * beside it; from 180 columns two terminals, and resources and log side by side. The Diff page has its files where others have the main pane, and a file's text
 * where they have the lower one.
 */
#include "tui/layout.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WIDE_COLS 100
#define WIDE_ROWS 20
#define TWO_COLS 180
#define SET_WIDE_COLS 64  /* what a layout that was set by hand needs at least */
#define SET_WIDE_ROWS 10
#define SET_TWO_COLS 110
#define LOWER_ROWS_FROM 30
#define TILE_MIN_ROWS 6
#define TILE_MIN_COLS 24

static int clamp(int v, int min, int max)
{
	return v < min ? min : v > max ? max : v;
}

/* Takes n rows off the top (n > 0) or the bottom (n < 0) of *r. */
static struct rect take(struct rect *r, int n)
{
	const bool top = n > 0;

	n = top ? n : -n;
	if (n > r->rows)
		n = r->rows;
	const struct rect cut = { top ? r->row : r->row + r->rows - n, r->col, n, r->cols };
	if (top)
		r->row += n;
	r->rows -= n;
	return cut;
}

static struct rect take_cols(struct rect *r, int n)
{
	n = clamp(n, 0, r->cols);
	const struct rect cut = { r->row, r->col, r->rows, n };
	r->col += n;
	r->cols -= n;
	return cut;
}

static struct rect take_right(struct rect *r, int n)
{
	n = clamp(n, 0, r->cols);
	r->cols -= n;
	return (struct rect){ r->row, r->col + r->cols, r->rows, n };
}

static void single(const struct layout_in *in, struct rect body, struct layout *out)
{
	if (in->page == PAGE_OVERVIEW && !in->grid && !in->zoom && !in->typing) {
		out->list = body;
		return;
	}
	if (body.rows >= 8 && !in->zoom)
		out->glyphs = take(&body, 1);
	if (in->page == PAGE_DIFF && in->diff_text) {
		out->lower = body;
		return;
	}
	if (in->page == PAGE_NETWORK && in->ports && !in->zoom && body.rows >= 12)
		out->lower = take(&body, -(1 + clamp(in->ports, 1, 3)));
	out->main = body;
}

static int list_cols(const struct layout_in *in, struct rect body)
{
	return clamp(in->list_cols ? in->list_cols : clamp(body.cols * 27 / 100, 28, 40), 20, body.cols - 40);
}

static bool has_list(const struct layout_in *in)
{
	if (in->set == LAYOUT_ONE)
		return false;
	if (in->set == LAYOUT_AUTO)
		return in->cols >= WIDE_COLS && in->rows >= WIDE_ROWS;
	return in->cols >= SET_WIDE_COLS && in->rows >= SET_WIDE_ROWS;
}

static bool has_two(const struct layout_in *in)
{
	return in->cols >= (in->set == LAYOUT_TWO ? SET_TWO_COLS : TWO_COLS) && in->set != LAYOUT_LIST;
}

/* Files at the left, the text beside them; the sandboxes are a line unless there is room for all three. */
static void diff(const struct layout_in *in, struct rect body, struct layout *out)
{
	if (has_two(in) && in->cols >= TWO_COLS)
		out->list = take_cols(&body, list_cols(in, body));
	else
		out->glyphs = take(&body, 1);
	out->main = take_cols(&body, clamp(in->files_cols ? in->files_cols : clamp(body.cols * 30 / 100, 34, 52), 20, body.cols - 40));
	out->lower = body;
}

static void wide(const struct layout_in *in, struct rect body, struct layout *out)
{
	out->boxed = true;
	if (in->zoom) {
		out->boxed = false;
		out->main = body;
		return;
	}
	if (in->page == PAGE_DIFF) {
		diff(in, body, out);
		return;
	}
	out->list = take_cols(&body, list_cols(in, body));
	if (in->page == PAGE_OVERVIEW && !in->grid) {
		if (body.rows >= LOWER_ROWS_FROM - 3) {
			const int lower = in->lower_rows ? in->lower_rows : clamp(body.rows * 27 / 100, 6, 16);

			out->lower = take(&body, -clamp(lower, 4, body.rows - 8));
		}
		if (has_two(in)) {
			out->second = take_right(&body, body.cols / 2);
			if (out->lower.rows)
				out->lower_right = take_right(&out->lower, out->lower.cols / 2);
		}
	}
	if (in->page == PAGE_NETWORK && body.rows >= 16)
		out->lower = take(&body, -(2 + clamp(in->ports, 1, 6)));
	out->main = body;
}

void layout_compute(const struct layout_in *in, struct layout *out)
{
	struct rect body = { 0, 0, in->rows > 0 ? in->rows : 0, in->cols > 0 ? in->cols : 0 };

	memset(out, 0, sizeof(*out));
	if (in->alone) {
		out->main = body;
		return;
	}
	out->tiny = in->rows < 4 || in->cols < 16;
	if (in->rows >= 3)
		out->header = take(&body, 1);
	if (in->rows >= 5)
		out->footer = take(&body, -1);
	if (in->attention && in->rows >= 6)
		out->attention = take(&body, 1);
	if (has_list(in))
		wide(in, body, out);
	else
		single(in, body, out);
}

size_t layout_tiles(struct rect r, size_t n, struct rect *tiles, size_t max)
{
	int best_cols = 1;
	double best = -1;

	if (n > max)
		n = max;
	if (!n || r.rows < 1 || r.cols < 1)
		return 0;
	for (int cols = 1; cols <= (int)n; cols++) {
		const int rows = ((int)n + cols - 1) / cols, h = r.rows / rows, w = r.cols / cols;

		if (cols > 1 && w < TILE_MIN_COLS)
			break;
		/* How much of an 80x24 a tile shows; rows too low to read count nothing. */
		const double score = h < 3 ? 0 : (w > 80 ? 80 : w) * (double)(h > 24 ? 24 : h);
		if (score > best) {
			best = score;
			best_cols = cols;
		}
	}
	int rows = ((int)n + best_cols - 1) / best_cols;
	const int fit = r.rows / (r.rows >= TILE_MIN_ROWS ? TILE_MIN_ROWS : r.rows);
	if (rows > fit)
		rows = fit;
	size_t done = 0;
	for (int y = 0; y < rows && done < n; y++)
		for (int x = 0; x < best_cols && done < n; x++) {
			const int top = r.rows * y / rows, bottom = r.rows * (y + 1) / rows;
			const int left = r.cols * x / best_cols, right = r.cols * (x + 1) / best_cols;

			tiles[done++] = (struct rect){ r.row + top, r.col + left, bottom - top, right - left };
		}
	return done;
}

/* ---- splits ------------------------------------------------------------------------------------------------------------------ */

struct split *split_create(unsigned id)
{
	struct split *s = calloc(1, sizeof(*s));

	if (s)
		s->id = id;
	return s;
}

void split_destroy(struct split *s)
{
	if (!s)
		return;
	split_destroy(s->a);
	split_destroy(s->b);
	free(s);
}

struct split *split_find(struct split *s, unsigned id)
{
	if (!s)
		return NULL;
	if (!s->a)
		return s->id == id ? s : NULL;
	struct split *f = split_find(s->a, id);
	return f ? f : split_find(s->b, id);
}

int split_add(struct split *root, unsigned id, unsigned fresh, bool below)
{
	struct split *leaf = split_find(root, id);

	if (!leaf)
		return -ENOENT;
	struct split *a = split_create(leaf->id), *b = split_create(fresh);
	if (!a || !b) {
		free(a);
		free(b);
		return -ENOMEM;
	}
	a->up = b->up = leaf;
	leaf->a = a;
	leaf->b = b;
	leaf->below = below;
	leaf->part = 500;
	leaf->id = 0;
	return 0;
}

static const struct split *first_leaf(const struct split *s)
{
	while (s->a)
		s = s->a;
	return s;
}

unsigned split_remove(struct split **root, unsigned id)
{
	struct split *leaf = split_find(*root, id);

	if (!leaf || !leaf->up)
		return 0;
	struct split *up = leaf->up, *stay = up->a == leaf ? up->b : up->a;
	stay->up = up->up;
	if (!up->up)
		*root = stay;
	else if (up->up->a == up)
		up->up->a = stay;
	else
		up->up->b = stay;
	free(leaf);
	free(up);
	return first_leaf(stay)->id;
}

static void halves(const struct split *s, struct rect r, struct rect *a, struct rect *b)
{
	*a = *b = r;
	if (s->below) {
		a->rows = clamp((r.rows * s->part + 500) / 1000, r.rows > 1 ? 1 : 0, r.rows > 1 ? r.rows - 1 : r.rows);
		b->row += a->rows;
		b->rows = r.rows - a->rows;
	} else {
		a->cols = clamp((r.cols * s->part + 500) / 1000, r.cols > 1 ? 1 : 0, r.cols > 1 ? r.cols - 1 : r.cols);
		b->col += a->cols;
		b->cols = r.cols - a->cols;
	}
}

/* The region of node `want` when its root has r. */
static bool region(const struct split *s, struct rect r, const struct split *want, struct rect *out)
{
	struct rect a, b;

	if (s == want) {
		*out = r;
		return true;
	}
	if (!s->a)
		return false;
	halves(s, r, &a, &b);
	return region(s->a, a, want, out) || region(s->b, b, want, out);
}

bool split_resize(struct split *root, struct rect r, unsigned id, bool below, int cells)
{
	struct split *s = split_find(root, id);
	struct rect area;

	for (s = s ? s->up : NULL; s && s->below != below; s = s->up)
		;
	if (!s || !region(root, r, s, &area))
		return false;
	const int size = below ? area.rows : area.cols;
	if (size < 2)
		return false;
	s->part = clamp(s->part + cells * 1000 / size, 50, 950);
	return true;
}

size_t split_layout(const struct split *s, struct rect r, unsigned *ids, struct rect *rects, size_t max)
{
	struct rect a, b;

	if (!s || !max)
		return 0;
	if (!s->a) {
		ids[0] = s->id;
		rects[0] = r;
		return 1;
	}
	halves(s, r, &a, &b);
	const size_t n = split_layout(s->a, a, ids, rects, max);
	return n + split_layout(s->b, b, ids + n, rects + n, max - n);
}

struct split *split_border_at(struct split *s, struct rect r, int row, int col, struct rect *area)
{
	struct rect a, b;

	if (!s || !s->a || !rect_has(r, row, col))
		return NULL;
	halves(s, r, &a, &b);
	const bool here = s->below ? row == b.row : col == b.col || col == b.col - 1;
	if (here) {
		*area = r;
		return s;
	}
	struct split *f = split_border_at(s->a, a, row, col, area);
	return f ? f : split_border_at(s->b, b, row, col, area);
}
