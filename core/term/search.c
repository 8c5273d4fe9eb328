/* SPDX-License-Identifier: Apache-2.0 */
/* Text in history and screen, line by line; ASCII letters match without regard to case unless the text has a capital ("smart case"). */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "core/term/term.h"

#define TEXT_MAX (4u * ROWS_MAX)

struct row_text {
	char text[TEXT_MAX + 1];
	uint16_t col[TEXT_MAX + 1]; /* column of each byte */
	size_t n;
};

static void to_text(const struct cell *cells, size_t n, struct row_text *t)
{
	t->n = 0;
	for (size_t i = 0; i < n; i++) {
		const struct cell *c = &cells[i];
		const char *p = c->len ? c->text : " ";
		const size_t len = c->len ? c->len : 1;

		if (c->width == 0)
			continue;
		if (t->n + len > TEXT_MAX)
			break;
		for (size_t k = 0; k < len; k++) {
			t->text[t->n] = p[k];
			t->col[t->n++] = (uint16_t)i;
		}
	}
	t->text[t->n] = '\0';
	t->col[t->n] = (uint16_t)n;
}

static bool matches(const char *p, const char *want, size_t n, bool fold)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != want[i] && !(fold && tolower((unsigned char)p[i]) == tolower((unsigned char)want[i])))
			return false;
	return true;
}

/* First match after (or last before) column `col`; any when col is negative. */
static bool in_row(const struct row_text *t, const char *want, size_t n, bool fold, bool backward, long col, struct found *f)
{
	bool found = false;

	for (size_t i = 0; i + n <= t->n; i++) {
		if (!matches(t->text + i, want, n, fold))
			continue;
		if (col >= 0 && (backward ? t->col[i] >= col : t->col[i] <= col))
			continue;
		f->col = t->col[i];
		f->cols = (uint16_t)(t->col[i + n] - t->col[i]);
		found = true;
		if (!backward)
			break;
	}
	return found;
}

struct found search(struct vt *v, uint64_t line, unsigned col, bool backward, const char *text)
{
	const struct grid *g = vt_grid(v);
	const uint64_t first = grid_history_first(g), total = grid_history_total(g), end = total + g->rows;
	const size_t n = strlen(text);
	struct cell *cells = calloc(ROWS_MAX, sizeof(*cells));
	struct row_text *t = malloc(sizeof(*t));
	struct found f = { .found = false };
	bool fold = true;
	uint8_t flags;

	for (size_t i = 0; i < n; i++)
		fold &= !isupper((unsigned char)text[i]);
	if (line < first)
		line = first;
	if (line >= end)
		line = end - 1;
	for (long at = (long)col; cells && t && n > 0; at = -1) {
		const int used = line < total ? grid_history_line(g, line, cells, ROWS_MAX, &flags) :
						(int)grid_row(g, (unsigned)(line - total), cells, &flags);

		to_text(cells, used > 0 ? (size_t)used : 0, t);
		if (in_row(t, text, n, fold, backward, at, &f)) {
			f.found = true;
			f.line = line;
			break;
		}
		if (backward ? line == first : line + 1 == end)
			break;
		line = backward ? line - 1 : line + 1;
	}
	free(cells);
	free(t);
	return f;
}
