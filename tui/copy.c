/* SPDX-License-Identifier: Apache-2.0 */
/* See copy.h. */
#include "tui/copy.h"

#include <errno.h>
#include <string.h>

#include "core/base/str.h"
#include "core/base/utf8.h"

#define WINDOW 200u /* lines asked of the terminal at once */

static uint64_t last_line(const struct copy *c)
{
	return c->base + (uint64_t)c->frozen.rows - 1;
}

int copy_enter(struct copy *c, struct viewer *v, int rows, int cols)
{
	if (!v->shown.cell || !v->head.rows || rows < 1 || cols < 1)
		return -EAGAIN;
	copy_leave(c);
	if (cells_copy(&c->frozen, &v->shown) < 0)
		return -ENOMEM;
	c->v = v;
	c->rows = rows;
	c->cols = cols;
	c->kept = v->head.history_first;
	c->base = v->head.history_total;
	c->line = c->base + v->head.cursor_row;
	c->col = v->head.cursor_col;
	const uint64_t bottom = last_line(c) + 1;
	c->top = bottom - c->kept > (uint64_t)rows ? bottom - (uint64_t)rows : c->kept;
	buf_init(&c->yank, COPY_MAX);
	return 0;
}

void copy_leave(struct copy *c)
{
	char pattern[sizeof(c->pattern)];

	str_copy(pattern, sizeof(pattern), c->pattern);
	cells_release(&c->frozen);
	buf_release(&c->yank);
	memset(c, 0, sizeof(*c));
	str_copy(c->pattern, sizeof(c->pattern), pattern);
}

/* Where a line lies; NULL while it is not here (it is then asked for). */
static const struct cells *line_at(const struct copy *c, uint64_t line, int *row)
{
	const struct viewer *v = c->v;

	if (line >= c->base) {
		*row = (int)(line - c->base);
		return *row < c->frozen.rows ? &c->frozen : NULL;
	}
	if (v->history.cell && line >= v->history_first && line < v->history_first + (uint64_t)v->history_n) {
		*row = (int)(line - v->history_first);
		return &v->history;
	}
	return NULL;
}

static void ask(struct copy *c, uint64_t first)
{
	if (c->asked)
		return;
	c->asked = true;
	viewer_history(c->v, first < c->kept ? c->kept : first, WINDOW);
}

static void ask_around(struct copy *c, uint64_t line)
{
	int row = 0;

	if (line < c->base && !line_at(c, line, &row))
		ask(c, line > WINDOW / 2 ? line - WINDOW / 2 : 0);
}

/* Keeps the cursor in what there is and the view around the cursor. */
static void settle(struct copy *c)
{
	if (c->line < c->kept)
		c->line = c->kept;
	if (c->line > last_line(c))
		c->line = last_line(c);
	if (c->col < 0)
		c->col = 0;
	if (c->col >= c->frozen.cols)
		c->col = c->frozen.cols - 1;
	if (c->line < c->top)
		c->top = c->line;
	if (c->line >= c->top + (uint64_t)c->rows)
		c->top = c->line - (uint64_t)c->rows + 1;
	if (c->top < c->kept)
		c->top = c->kept;
	ask_around(c, c->top);
	ask_around(c, c->top + (uint64_t)c->rows - 1);
}

static void move_lines(struct copy *c, int by)
{
	if (by < 0 && c->line < (uint64_t)-by + c->kept)
		c->line = c->kept;
	else
		c->line += (uint64_t)(int64_t)by;
	settle(c);
}

void copy_scroll(struct copy *c, int by)
{
	const uint64_t bottom = last_line(c) + 1;
	const uint64_t max = bottom - c->kept > (uint64_t)c->rows ? bottom - (uint64_t)c->rows : c->kept;

	if (by < 0)
		c->top = c->top < (uint64_t)-by + c->kept ? c->kept : c->top - (uint64_t)-by;
	else
		c->top = c->top + (uint64_t)by > max ? max : c->top + (uint64_t)by;
	if (c->line < c->top)
		c->line = c->top;
	if (c->line >= c->top + (uint64_t)c->rows)
		c->line = c->top + (uint64_t)c->rows - 1;
	settle(c);
}

void copy_cursor(struct copy *c, int row, int col)
{
	if (row < 0) {
		copy_scroll(c, -1);
		row = 0;
	} else if (row >= c->rows) {
		copy_scroll(c, 1);
		row = c->rows - 1;
	}
	c->line = c->top + (uint64_t)row;
	c->col = col;
	settle(c);
}

static bool is_word(const struct copy *c, uint64_t line, int col)
{
	int row = 0;
	const struct cells *s = line_at(c, line, &row);

	return s && col >= 0 && col < s->cols && cells_row(s, row)[col].len && cells_row(s, row)[col].text[0] != ' ';
}

static int line_end(const struct copy *c, uint64_t line)
{
	int row = 0;
	const struct cells *s = line_at(c, line, &row);
	int n = s ? s->cols : 0;

	while (n > 0 && cells_row(s, row)[n - 1].len == 0 && cells_row(s, row)[n - 1].width == 1)
		n--;
	return n;
}

static void word_on(struct copy *c)
{
	bool left = !is_word(c, c->line, c->col);

	for (;;) {
		if (++c->col >= line_end(c, c->line)) {
			if (c->line >= last_line(c))
				break;
			c->line++;
			c->col = 0;
			left = true;
			if (line_end(c, c->line) == 0)
				break;
		}
		if (!is_word(c, c->line, c->col))
			left = true;
		else if (left)
			break;
	}
	settle(c);
}

static void word_back(struct copy *c)
{
	for (;;) {
		if (--c->col < 0) {
			if (c->line <= c->kept) {
				c->col = 0;
				break;
			}
			c->line--;
			c->col = line_end(c, c->line);
			if (c->col == 0)
				break;
			continue;
		}
		if (is_word(c, c->line, c->col) && !is_word(c, c->line, c->col - 1))
			break;
	}
	settle(c);
}

/* ---- search and yank ----------------------------------------------------------------------------------------------------------- */

void copy_search(struct copy *c, const char *text, bool backward)
{
	if (text[0])
		str_copy(c->pattern, sizeof(c->pattern), text);
	if (!c->pattern[0])
		return;
	c->backward = backward;
	c->searching = true;
	c->failed = false;
	viewer_search(c->v, c->line, backward ? c->col : c->col + 1, backward, c->pattern);
}

static void range(const struct copy *c, uint64_t *from, int *from_col, uint64_t *to, int *to_col)
{
	const bool forward = c->from_line < c->line || (c->from_line == c->line && c->from_col <= c->col);

	*from = forward ? c->from_line : c->line;
	*from_col = c->lines ? 0 : forward ? c->from_col : c->col;
	*to = forward ? c->line : c->from_line;
	*to_col = c->lines ? (int)ROWS_MAX : (forward ? c->col : c->from_col) + 1;
}

static void yank_begin(struct copy *c)
{
	if (!c->select) {
		c->from_line = c->line;
		c->lines = true;
	}
	range(c, &c->yank_line, &c->yank_from, &c->yank_end, &c->yank_to);
	buf_clear(&c->yank);
	c->yanking = true;
}

/* Takes the lines that are here; asks for the next window. */
static void yank_on(struct copy *c)
{
	while (c->yanking) {
		int row = 0;
		const struct cells *s = line_at(c, c->yank_line, &row);
		const bool last = c->yank_line == c->yank_end;

		if (!s) {
			ask(c, c->yank_line);
			return;
		}
		cells_text(s, row, c->yank_from, last ? c->yank_to : (int)ROWS_MAX, &c->yank);
		if ((!last && !(s->flags[row] & ROW_WRAPPED)) || (last && c->lines))
			buf_u8(&c->yank, '\n');
		c->yank_from = 0;
		if (last || c->yank.failed) {
			c->yank_cut = c->yank.failed;
			c->yanking = false;
			c->yank_ready = true;
		}
		c->yank_line++;
	}
}

bool copy_pump(struct copy *c)
{
	struct viewer *v = c->v;
	bool changed = false;

	if (!v)
		return false;
	if (v->found_due) {
		v->found_due = false;
		c->searching = false;
		c->failed = !v->found.hit;
		if (v->found.hit && v->found.line > last_line(c)) /* in what was written since */
			c->failed = true;
		else if (v->found.hit) {
			c->line = v->found.line;
			c->col = v->found.col;
			c->hit.set = true;
			c->hit.line = v->found.line;
			c->hit.col = v->found.col;
			c->hit.cols = v->found.cols;
			settle(c);
		}
		changed = true;
	}
	if (v->history_due) {
		v->history_due = false;
		c->asked = false;
		if (v->history_kept > c->kept)
			c->kept = v->history_kept;
		/* Lines that were dropped meanwhile cannot be had: go on where lines are. */
		if (c->yanking && c->yank_line < c->kept)
			c->yank_line = c->kept;
		if (c->yanking && v->history_n == 0) {
			c->yanking = false;
			c->yank_ready = true;
		}
		settle(c);
		changed = true;
	}
	if (c->yanking && !c->yank_ready)
		yank_on(c);
	return changed || c->yank_ready;
}

bool copy_action(struct copy *c, enum action act)
{
	switch (act) {
	case ACT_C_LEFT: c->col--; settle(c); return true;
	case ACT_C_RIGHT: c->col++; settle(c); return true;
	case ACT_C_UP: move_lines(c, -1); return true;
	case ACT_C_DOWN: move_lines(c, 1); return true;
	case ACT_C_WORD: word_on(c); return true;
	case ACT_C_BACK_WORD: word_back(c); return true;
	case ACT_C_BOL: c->col = 0; return true;
	case ACT_C_EOL: c->col = line_end(c, c->line) - 1; settle(c); return true;
	case ACT_C_TOP: c->line = c->kept; c->col = 0; settle(c); return true;
	case ACT_C_BOTTOM: c->line = last_line(c); settle(c); return true;
	case ACT_C_HALF_UP: copy_scroll(c, -(c->rows + 1) / 2); return true;
	case ACT_C_HALF_DOWN: copy_scroll(c, (c->rows + 1) / 2); return true;
	case ACT_C_PAGE_UP: copy_scroll(c, -c->rows); return true;
	case ACT_C_PAGE_DOWN: copy_scroll(c, c->rows); return true;
	case ACT_C_SELECT:
	case ACT_C_SELECT_LINES:
		c->select = !c->select || c->lines != (act == ACT_C_SELECT_LINES);
		c->lines = act == ACT_C_SELECT_LINES;
		c->from_line = c->line;
		c->from_col = c->col;
		return true;
	case ACT_C_YANK: yank_begin(c); yank_on(c); return true;
	case ACT_C_AGAIN: copy_search(c, "", c->backward); return true;
	case ACT_C_AGAIN_BACK: {
		const bool was = c->backward;

		copy_search(c, "", !was);
		c->backward = was;
		return true;
	}
	default: return false;
	}
}

const char *copy_link(const struct copy *c)
{
	int row = 0;
	const struct cells *s = c->v ? line_at(c, c->line, &row) : NULL;

	return s && c->col < s->cols ? viewer_link(c->v, cells_row(s, row)[c->col].link) : NULL;
}

/* ---- drawing ------------------------------------------------------------------------------------------------------------------- */

void copy_draw(struct copy *c, struct canvas *to, struct rect r, const struct theme *t)
{
	const struct style base = t->style[EL_TERMINAL], pad = t->style[EL_DIM];
	uint64_t from, end;
	int from_col, to_col;

	if (c->rows != r.rows || c->cols != r.cols) {
		c->rows = r.rows;
		c->cols = r.cols;
		settle(c);
	}
	range(c, &from, &from_col, &end, &to_col);
	canvas_fill(to, r, base);
	for (int i = 0; i < r.rows; i++) {
		const uint64_t line = c->top + (uint64_t)i;
		struct rect one = { r.row + i, r.col, 1, r.cols };
		int row = 0;
		const struct cells *s = line_at(c, line, &row);

		if (!s)
			continue;
		cells_draw(s, row, 0, to, one, base, pad, t->depth, false);
		if (c->hit.set && line == c->hit.line)
			canvas_restyle(to, r, i, c->hit.col, c->hit.cols, t->style[EL_MATCH]);
		if (c->select && line >= from && line <= end) {
			const int a = line == from ? from_col : 0, b = line == end ? to_col : r.cols;

			canvas_restyle(to, r, i, a, b - a, t->style[EL_COPY]);
		}
	}
	if (c->col < r.cols && c->line >= c->top && c->line < c->top + (uint64_t)r.rows) {
		to->cur_row = r.row + (int)(c->line - c->top);
		to->cur_col = r.col + c->col;
		to->cur_shape = CURSOR_BLOCK;
	}
}
