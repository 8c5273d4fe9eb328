/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encoded lines: almost all are ASCII in one style, so those are a style and their bytes; the others are what goes over the wire
 * (rows.h). A line of 80 columns takes about 100 bytes, so 10,000 lines take a megabyte.
 *
 *   kind u8 | flags u8 | u16 n | PLAIN: struct pen, n bytes; ROW: n bytes of row_pack()
 */
#include "core/term/grid.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define HEAD 4u
enum kind { KIND_PLAIN, KIND_ROW };

static const struct gcell blank_cell = { .attrs = 1u << GCELL_WIDTH_SHIFT };

static uint8_t *start(enum kind kind, bool wrapped, size_t n, size_t bytes)
{
	uint8_t *p = malloc(HEAD + bytes);

	if (p) {
		p[0] = (uint8_t)kind;
		p[1] = wrapped ? ROW_WRAPPED : 0;
		p[2] = (uint8_t)n;
		p[3] = (uint8_t)(n >> 8);
	}
	return p;
}

static uint8_t *encode_row(const struct grid *g, const struct line *l, size_t n)
{
	struct cell *cells = calloc(n ? n : 1, sizeof(*cells));
	struct buf b;
	uint8_t *p = NULL;

	buf_init(&b, 65535);
	for (size_t i = 0; cells && i < n; i++)
		grid_to_cell(g, &l->cells[i], &cells[i]);
	if (cells && row_pack(&b, 0, 0, cells, n) == 0)
		p = start(KIND_ROW, l->wrapped, buf_size(&b), buf_size(&b));
	if (p)
		memcpy(p + HEAD, buf_head(&b), buf_size(&b));
	buf_release(&b);
	free(cells);
	return p;
}

uint8_t *history_encode(const struct grid *g, const struct line *l, unsigned cols)
{
	size_t n = l->used < cols ? l->used : cols, i;

	while (n > 0 && memcmp(&l->cells[n - 1], &blank_cell, sizeof(blank_cell)) == 0)
		n--;
	const struct gcell style = n > 0 ? l->cells[0] : blank_cell;
	for (i = 0; i < n; i++) {
		const struct gcell *c = &l->cells[i];

		if (c->cp >= 0x80 || memcmp(&c->fg, &style.fg, sizeof(*c) - offsetof(struct gcell, fg)) != 0)
			break;
	}
	if (i < n || style.attrs >> GCELL_WIDTH_SHIFT != 1)
		return encode_row(g, l, n);
	const struct pen pen = { .fg = style.fg, .bg = style.bg, .attrs = style.attrs & GCELL_ATTRS, .link = style.link };
	uint8_t *p = start(KIND_PLAIN, l->wrapped, n, sizeof(pen) + n);
	if (!p)
		return NULL;
	memcpy(p + HEAD, &pen, sizeof(pen));
	for (i = 0; i < n; i++)
		p[HEAD + sizeof(pen) + i] = (uint8_t)l->cells[i].cp;
	return p;
}

int history_decode(const uint8_t *p, struct cell *out, size_t cap, uint8_t *flags)
{
	size_t n = (size_t)p[2] | (size_t)p[3] << 8;

	*flags = p[1];
	if (p[0] == KIND_ROW) {
		struct rbuf r;
		uint16_t index;
		uint8_t zero;

		rbuf_init(&r, p + HEAD, n);
		if (row_unpack(&r, 1, &index, &zero, out, cap) < 0)
			return 0;
		/* Columns used stand behind index and flags. */
		return p[HEAD + 3] | p[HEAD + 4] << 8;
	}
	struct pen pen;
	memcpy(&pen, p + HEAD, sizeof(pen));
	if (n > cap)
		n = cap;
	for (size_t i = 0; i < n; i++) {
		const uint8_t c = p[HEAD + sizeof(pen) + i];

		out[i] = (struct cell){ .fg = pen.fg, .bg = pen.bg, .attrs = pen.attrs, .link = pen.link, .width = 1, .len = c ? 1 : 0, .text = { (char)c } };
	}
	return (int)n;
}

void history_push_take(struct history *h, uint8_t *encoded)
{
	if (!encoded)
		return;
	if (h->n == h->max) {
		free(h->line[h->first]);
		h->line[h->first] = encoded;
		h->first = (h->first + 1) % h->max;
		h->dropped++;
		return;
	}
	h->line[(h->first + h->n++) % h->max] = encoded;
}

void history_release(struct history *h)
{
	for (size_t i = 0; h->line && i < h->n; i++)
		free(h->line[(h->first + i) % h->max]);
	free(h->line);
	h->line = NULL;
	h->n = 0;
}
