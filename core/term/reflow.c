/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another size. Only the height: lines leave at the top into history or are added at the bottom. Another width: history and primary
 * screen are one sequence of logical lines (a row that is `wrapped` goes on in the next); each is cut anew. The alternate screen is cut or
 * padded: its program draws it again.
 */
#include "core/term/grid.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct flow {
	struct grid *g;        /* its clusters are used; its rows are read */
	unsigned cols;         /* new */
	struct line **line;    /* new rows, owned, in order */
	size_t n, cap;
	struct cell *logical;  /* the logical line being gathered */
	size_t len, room;
	size_t cursor_at;      /* offset of the cursor in it, SIZE_MAX: not in this one */
	size_t cursor_line;    /* new row and column of the cursor */
	unsigned cursor_col;
	bool failed;
};

static const struct cell blank = { .width = 1 };

static struct line *add_line(struct flow *f)
{
	if (f->n == f->cap) {
		const size_t cap = f->cap ? f->cap * 2 : 256;
		struct line **grown = realloc(f->line, cap * sizeof(*grown));

		if (!grown) {
			f->failed = true;
			return NULL;
		}
		f->line = grown;
		f->cap = cap;
	}
	struct line *l = line_create(f->cols);
	if (!l) {
		f->failed = true;
		return NULL;
	}
	f->line[f->n++] = l;
	return l;
}

/* Cuts the gathered logical line into rows. */
static void end_logical(struct flow *f)
{
	size_t at = 0;

	do {
		struct line *l = add_line(f);
		unsigned col = 0;

		if (!l)
			return;
		while (at < f->len && col < f->cols) {
			const struct cell *c = &f->logical[at];
			const unsigned w = c->width == 2 ? 2 : 1;

			if (w > f->cols - col && f->cols >= 2)
				break; /* a wide character does not fit any more */
			if (at == f->cursor_at || (w == 2 && at + 1 == f->cursor_at)) {
				f->cursor_line = f->n - 1;
				f->cursor_col = col;
			}
			grid_from_cell(f->g, c, &l->cells[col]);
			if (w == 2 && f->cols >= 2 && at + 1 < f->len)
				grid_from_cell(f->g, &f->logical[at + 1], &l->cells[col + 1]);
			else if (w == 2)
				grid_from_cell(f->g, &blank, &l->cells[col]);
			col += w;
			at += w;
		}
		l->wrapped = at < f->len;
		l->used = (uint16_t)f->cols;
		if (at >= f->len && f->cursor_at != SIZE_MAX && f->cursor_at >= f->len) {
			/* The cursor stands behind the text. */
			const size_t over = f->cursor_at - f->len;

			f->cursor_line = f->n - 1;
			f->cursor_col = col + over < f->cols ? col + (unsigned)over : f->cols - 1;
		}
	} while (at < f->len);
	f->len = 0;
	f->cursor_at = SIZE_MAX;
}

static void add_row(struct flow *f, const struct cell *cells, size_t n, unsigned old_cols, uint8_t flags, int cursor_col)
{
	/* A wrapped row is full: what looks blank at its end is part of the text. */
	const size_t len = flags & ROW_WRAPPED ? old_cols : n;

	if (f->len + len > f->room) {
		const size_t room = (f->len + len) * 2;
		struct cell *grown = realloc(f->logical, room * sizeof(*grown));

		if (!grown) {
			f->failed = true;
			return;
		}
		f->logical = grown;
		f->room = room;
	}
	if (cursor_col >= 0)
		f->cursor_at = f->len + (size_t)cursor_col;
	for (size_t i = 0; i < len; i++)
		f->logical[f->len + i] = i < n ? cells[i] : blank;
	f->len += len;
	/* A line without end would gather for ever: cut it where a screen of the largest size would be full. */
	if (!(flags & ROW_WRAPPED) || f->len > (size_t)ROWS_MAX * 100)
		end_logical(f);
}

static int flow_all(struct flow *f, struct line **screen, int cursor_row, int cursor_col)
{
	struct grid *g = f->g;
	struct cell *cells = calloc(ROWS_MAX, sizeof(*cells));
	struct line **shown = g->row;
	uint8_t flags;
	unsigned used = g->rows;

	if (!cells)
		return -ENOMEM;
	for (uint64_t i = grid_history_first(g); i < grid_history_total(g) && !f->failed; i++) {
		const int n = grid_history_line(g, i, cells, ROWS_MAX, &flags);

		add_row(f, cells, n > 0 ? (size_t)n : 0, g->cols, flags, -1);
	}
	g->row = screen;
	/* Blank rows below the cursor are no text. */
	for (; used > 0 && (int)used - 1 > cursor_row; used--)
		if (grid_row(g, used - 1, cells, &flags) > 0)
			break;
	for (unsigned r = 0; r < used && !f->failed; r++) {
		const size_t n = grid_row(g, r, cells, &flags);

		add_row(f, cells, n, g->cols, r + 1 < used ? flags : 0, (int)r == cursor_row ? cursor_col : -1);
	}
	g->row = shown;
	if (f->len > 0 || f->cursor_at != SIZE_MAX)
		end_logical(f);
	free(cells);
	return f->failed ? -ENOMEM : 0;
}

static void flow_release(struct flow *f)
{
	for (size_t i = 0; i < f->n; i++)
		free(f->line[i]);
	free(f->line);
	free(f->logical);
}

/* The last rows of the flow become the screen, those before it history. */
static int settle(struct flow *f, struct line **out, unsigned rows, int *cursor_row, int *cursor_col)
{
	struct grid *g = f->g;
	size_t top = f->n > rows ? f->n - rows : 0;
	const size_t max = g->history.max;

	/* The cursor must be on the screen. */
	if (f->cursor_line < top)
		top = f->cursor_line;
	for (unsigned r = 0; r < rows; r++) {
		const bool has = top + r < f->n;

		out[r] = has ? f->line[top + r] : line_create(f->cols);
		if (has)
			f->line[top + r] = NULL;
		if (!out[r])
			return -ENOMEM;
	}
	grid_history_clear(g);
	g->history.dropped = 0;
	for (size_t i = top > max ? top - max : 0; i < top; i++)
		history_push_take(&g->history, history_encode(g, f->line[i], f->cols));
	*cursor_row = (int)(f->cursor_line - top);
	*cursor_col = (int)f->cursor_col;
	return 0;
}

/* Same width: rows are taken from the bottom when they are blank, else from the top; new ones are added at the bottom. */
static void set_height(struct grid *g, struct line **old, struct line **out, unsigned rows, bool primary, int *cursor_row)
{
	unsigned drop = g->rows > rows ? g->rows - rows : 0, top = 0;
	struct cell cell[ROWS_MAX];
	uint8_t flags;
	struct line **shown = g->row;

	g->row = old;
	for (unsigned r = g->rows; drop > 0 && r > 0 && (!primary || (int)r - 1 > *cursor_row); r--, drop--)
		if (primary && grid_row(g, r - 1, cell, &flags) > 0)
			break;
	g->row = shown;
	if (primary)
		for (; drop > 0; drop--, top++)
			history_push_take(&g->history, history_encode(g, old[top], g->cols));
	for (unsigned r = 0; r < rows; r++) {
		const bool has = top + r < g->rows;

		out[r] = has ? old[top + r] : line_create(g->cols);
		if (has)
			old[top + r] = NULL;
	}
	*cursor_row -= (int)top;
}

static void cut_columns(struct grid *g, struct line **old, struct line **out, unsigned rows, unsigned cols)
{
	for (unsigned r = 0; r < rows; r++) {
		out[r] = line_create(cols);
		if (!out[r] || r >= g->rows)
			continue;
		const unsigned n = cols < g->cols ? cols : g->cols;
		out[r]->used = (uint16_t)cols;
		memcpy(out[r]->cells, old[r]->cells, n * sizeof(old[r]->cells[0]));
		if (n > 0 && out[r]->cells[n - 1].attrs >> GCELL_WIDTH_SHIFT == 2)
			out[r]->cells[n - 1] = (struct gcell){ .attrs = 1u << GCELL_WIDTH_SHIFT };
	}
}

static void free_rows(struct line **rows, unsigned n)
{
	for (unsigned i = 0; rows && i < n; i++)
		free(rows[i]);
	free(rows);
}

static bool whole(struct line **rows, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (!rows[i])
			return false;
	return true;
}

int grid_resize(struct grid *g, uint16_t rows, uint16_t cols, int *cursor_row, int *cursor_col)
{
	struct line **primary = g->alt ? g->other : g->row, **alternate = g->alt ? g->row : g->other;
	struct line **p = calloc(rows, sizeof(*p)), **a = calloc(rows, sizeof(*a));
	uint64_t *gens = calloc(rows, sizeof(*gens));
	int row = g->alt ? 0 : *cursor_row, col = g->alt ? 0 : *cursor_col, dummy = *cursor_row;
	int r = p && a && gens ? 0 : -ENOMEM;

	if (r == 0 && cols == g->cols) {
		set_height(g, primary, p, rows, true, &row);
		set_height(g, alternate, a, rows, false, &dummy);
	} else if (r == 0) {
		struct flow f = { .g = g, .cols = cols, .cursor_at = SIZE_MAX };

		r = flow_all(&f, primary, row, col);
		if (r == 0)
			r = settle(&f, p, rows, &row, &col);
		flow_release(&f);
		if (r == 0)
			cut_columns(g, alternate, a, rows, cols);
	}
	if (r < 0 || !whole(p, rows) || !whole(a, rows)) {
		free_rows(p, p ? rows : 0);
		free_rows(a, a ? rows : 0);
		free(gens);
		return -ENOMEM;
	}
	free_rows(primary, g->rows);
	free_rows(alternate, g->rows);
	free(g->row_gen);
	g->row = g->alt ? a : p;
	g->other = g->alt ? p : a;
	g->row_gen = gens;
	g->rows = rows;
	g->cols = cols;
	if (!g->alt) {
		*cursor_row = row < 0 ? 0 : row >= rows ? rows - 1 : row;
		*cursor_col = col < 0 ? 0 : col >= cols ? cols - 1 : col;
	}
	grid_touch_all(g);
	return 0;
}
