/* SPDX-License-Identifier: Apache-2.0 */
/* core/proto/rows.c: a terminal's rows as a viewer gets them. Input: a rows head, then its rows. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "core/base/utf8.h"
#include "core/proto/rows.h"

static struct cell cells[ROWS_MAX], again[ROWS_MAX];

/* All that is left can be drawn: a base and marks, halves in pairs. */
static void drawable(const struct cell *c, size_t cols)
{
	for (size_t i = 0; i < cols; i++) {
		char text[CELL_TEXT_MAX + 1];
		uint32_t cp;

		MUST(c[i].width <= 2 && c[i].len <= CELL_TEXT_MAX);
		MUST((c[i].width == 0) == (i > 0 && c[i - 1].width == 2));
		MUST(c[i].width != 2 || i + 1 < cols);
		if (c[i].len == 0)
			continue;
		memcpy(text, c[i].text, c[i].len);
		text[c[i].len] = '\0';
		MUST(strlen(text) == c[i].len && utf8_columns(text) <= c[i].width);
		utf8_decode((uint8_t *)text, c[i].len, &cp, NULL);
		MUST(utf8_width(cp) >= 1 && !utf8_is_format(cp));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct rows_head h;
	struct rbuf r, r2;
	struct buf b;

	rbuf_init(&r, p, n);
	if (rows_head_unpack(&r, &h) < 0)
		return 0;
	buf_init(&b, 1 << 20);
	MUST(rows_head_pack(&b, &h) == 0 && buf_size(&b) == n - r.n && memcmp(buf_head(&b), p, buf_size(&b)) == 0);
	for (unsigned k = 0; k < h.nrows; k++) {
		uint16_t index, index2;
		uint8_t flags, flags2;

		if (row_unpack(&r, h.rows, &index, &flags, cells, h.cols) < 0)
			break;
		MUST(index < h.rows);
		drawable(cells, h.cols);
		buf_clear(&b);
		MUST(row_pack(&b, index, flags, cells, h.cols) == 0);
		rbuf_init(&r2, buf_head(&b), buf_size(&b));
		MUST(row_unpack(&r2, h.rows, &index2, &flags2, again, h.cols) == 0 && rbuf_done(&r2) == 0);
		MUST(index2 == index && flags2 == flags);
		for (size_t i = 0; i < h.cols; i++)
			MUST(again[i].width == cells[i].width && again[i].len == cells[i].len &&
			     memcmp(again[i].text, cells[i].text, cells[i].len) == 0);
	}
	buf_release(&b);
	return 0;
}
