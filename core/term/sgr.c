/* SPDX-License-Identifier: Apache-2.0 */
#include "core/term/sgr.h"

static const struct {
	uint8_t code;
	uint16_t set, clear;
} attrs[] = {
	{ 1, CELL_BOLD, 0 },
	{ 2, CELL_DIM, 0 },
	{ 3, CELL_ITALIC, 0 },
	{ 5, CELL_BLINK, 0 },
	{ 6, CELL_BLINK, 0 },
	{ 7, CELL_REVERSE, 0 },
	{ 8, CELL_CONCEAL, 0 },
	{ 9, CELL_STRIKE, 0 },
	{ 21, CELL_UNDERLINE2, CELL_UNDERLINE | CELL_CURLY },
	{ 22, 0, CELL_BOLD | CELL_DIM },
	{ 23, 0, CELL_ITALIC },
	{ 24, 0, CELL_UNDERLINE | CELL_UNDERLINE2 | CELL_CURLY },
	{ 25, 0, CELL_BLINK },
	{ 27, 0, CELL_REVERSE },
	{ 28, 0, CELL_CONCEAL },
	{ 29, 0, CELL_STRIKE },
};

static int32_t at(const struct seq_csi *c, unsigned i)
{
	return i < c->n && c->arg[i] > 0 ? c->arg[i] : 0;
}

static bool is_sub(const struct seq_csi *c, unsigned i)
{
	return i < c->n && (c->sub >> i & 1);
}

/* "4" or "4:style". */
static void underline(struct pen *pen, const struct seq_csi *c, unsigned i)
{
	static const uint16_t styles[] = { 0, CELL_UNDERLINE, CELL_UNDERLINE2, CELL_CURLY, CELL_UNDERLINE, CELL_UNDERLINE };
	const int32_t style = is_sub(c, i + 1) ? at(c, i + 1) : 1;

	pen->attrs = (uint16_t)(pen->attrs & ~(CELL_UNDERLINE | CELL_UNDERLINE2 | CELL_CURLY));
	pen->attrs |= style < 6 ? styles[style] : CELL_UNDERLINE;
}

/* "38;5;i", "38;2;r;g;b", "38:5:i", "38:2:r:g:b", "38:2:space:r:g:b": index of the last argument used. *to is set when the colour is one. */
static unsigned color(const struct seq_csi *c, unsigned i, uint32_t *to)
{
	const bool colons = is_sub(c, i + 1);
	unsigned last = i + 1, rgb = i + 2;

	if (colons)
		while (is_sub(c, last + 1))
			last++;
	else
		last = at(c, i + 1) == 5 ? i + 2 : at(c, i + 1) == 2 ? i + 4 : i + 1;
	if (last >= c->n)
		return last; /* cut short */
	if (at(c, i + 1) == 5 && last >= i + 2 && at(c, i + 2) < 256) {
		*to = COLOR_INDEX(at(c, i + 2));
	} else if (at(c, i + 1) == 2 && last >= i + 4) {
		if (colons && last >= i + 5)
			rgb++; /* the colour space stands first */
		if (at(c, rgb) < 256 && at(c, rgb + 1) < 256 && at(c, rgb + 2) < 256)
			*to = COLOR_RGB(at(c, rgb), at(c, rgb + 1), at(c, rgb + 2));
	}
	return last;
}

static bool attribute(struct pen *pen, int32_t code)
{
	for (unsigned i = 0; i < sizeof(attrs) / sizeof(attrs[0]); i++)
		if (attrs[i].code == code) {
			pen->attrs = (uint16_t)((pen->attrs & ~attrs[i].clear) | attrs[i].set);
			return true;
		}
	return false;
}

static void simple_color(struct pen *pen, int32_t code)
{
	if (code >= 30 && code <= 37)
		pen->fg = COLOR_INDEX(code - 30);
	else if (code == 39)
		pen->fg = COLOR_DEFAULT;
	else if (code >= 40 && code <= 47)
		pen->bg = COLOR_INDEX(code - 40);
	else if (code == 49)
		pen->bg = COLOR_DEFAULT;
	else if (code >= 90 && code <= 97)
		pen->fg = COLOR_INDEX(code - 90 + 8);
	else if (code >= 100 && code <= 107)
		pen->bg = COLOR_INDEX(code - 100 + 8);
}

void sgr_apply(struct pen *pen, const struct seq_csi *c)
{
	uint32_t ignored;

	for (unsigned i = 0; i < c->n; i++) {
		const int32_t code = at(c, i);

		if (code == 0)
			*pen = (struct pen){ .fg = COLOR_DEFAULT, .bg = COLOR_DEFAULT, .link = pen->link };
		else if (code == 4)
			underline(pen, c, i);
		else if (code == 38)
			i = color(c, i, &pen->fg);
		else if (code == 48)
			i = color(c, i, &pen->bg);
		else if (code == 58)
			i = color(c, i, &ignored); /* of the underline: drawn in the text's */
		else if (code >= 30)
			simple_color(pen, code);
		else
			attribute(pen, code);
		while (is_sub(c, i + 1))
			i++;
	}
}
