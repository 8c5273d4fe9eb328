/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core/term (vt, grid, reflow, history, oscscan) with libvterm behind it: a guest's output. Whatever it writes, every row and history line
 * is one a viewer takes. Input is output of the guest; byte 0xFF, which no text holds, begins three bytes of something else:
 * what, and two numbers: a resize, a key, the mouse, a paste.
 */
#include "tests/fuzz/fuzz.h"

#include <stdbool.h>
#include <string.h>

#include "core/base/utf8.h"
#include "core/term/oscscan.h"
#include "core/term/vt.h"

#define HISTORY 200u

static struct cell cells[ROWS_MAX], back[ROWS_MAX];

static void on_answer(void *arg, const char *p, size_t n, bool typed)
{
	(void)arg;
	(void)typed;
	MUST(p && n > 0 && n < 65536);
}

static void on_text(void *arg, const char *text)
{
	(void)arg;
	MUST(utf8_clean(text) && strlen(text) <= OSC_TEXT_MAX);
}

static void on_bell(void *arg)
{
	(void)arg;
}

static void on_clipboard(void *arg, const char *text, size_t n)
{
	(void)arg;
	MUST(text && n <= OSC_CLIP_MAX);
}

static const struct vt_ops ops = { on_answer, on_text, on_bell, on_text, on_clipboard };

/* Takes b as a viewer does. */
static void taken(const struct buf *b, size_t rows, size_t cols)
{
	struct rbuf r;
	uint16_t index;
	uint8_t flags;

	rbuf_init(&r, buf_head(b), buf_size(b));
	MUST(row_unpack(&r, rows, &index, &flags, back, cols) == 0 && rbuf_done(&r) == 0);
}

static void shown(struct vt *v, struct buf *b)
{
	struct grid *g = vt_grid(v);
	struct rows_head h = { 0 }, h2;
	struct rbuf r;
	uint8_t flags;

	vt_head(v, &h);
	h.gen = grid_tick(g);
	buf_clear(b);
	MUST(rows_head_pack(b, &h) == 0);
	rbuf_init(&r, buf_head(b), buf_size(b));
	MUST(rows_head_unpack(&r, &h2) == 0 && h.rows == g->rows && h.cols == g->cols);
	for (unsigned row = 0; row < g->rows; row++) {
		const size_t used = grid_row(g, row, cells, &flags);

		MUST(used <= g->cols && used <= g->row[row]->used);
		for (unsigned col = g->row[row]->used; col < g->cols; col++) {
			static const struct gcell blank = { .attrs = 1u << GCELL_WIDTH_SHIFT };

			MUST(memcmp(&g->row[row]->cells[col], &blank, sizeof(blank)) == 0);
		}
		buf_clear(b);
		MUST(row_pack(b, (uint16_t)row, flags, cells, used) == 0);
		taken(b, g->rows, g->cols);
	}
	MUST(grid_history_total(g) - grid_history_first(g) <= HISTORY);
	for (uint64_t n = grid_history_first(g); n < grid_history_total(g); n++) {
		const int used = grid_history_line(g, n, cells, ROWS_MAX, &flags);

		MUST(used >= 0 && used <= (int)ROWS_MAX);
		buf_clear(b);
		MUST(row_pack(b, 0, flags, cells, (size_t)used) == 0);
		taken(b, 1, ROWS_MAX);
	}
	for (uint16_t i = 1; i <= vt_links(v); i++)
		MUST(vt_link(v, i) && utf8_clean(vt_link(v, i)));
}

static void act(struct vt *v, const uint8_t *p)
{
	switch (p[0] % 5) {
	case 0:
		vt_resize(v, p[1] % 40u, p[2] % 90u); /* 0 too: clamped */
		break;
	case 1:
		vt_key(v, p[1] & 128 ? VIEW_K_BASE + (p[1] & 127u) : p[1], p[2] & 7);
		break;
	case 2:
		vt_mouse(v, p[1], p[2], p[0] / 5 % 6, p[1] & 7, p[2] & 1);
		break;
	case 3:
		vt_focus(v, p[1] & 1);
		break;
	default:
		vt_paste(v, p + 1, 2, p[1] & 1, p[2] & 1);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct vt *v = vt_create(10, 30, HISTORY, &ops, NULL);
	struct buf b;

	MUST(v);
	buf_init(&b, 1 << 20);
	while (n > 0) {
		const uint8_t *mark = memchr(p, 0xff, n);
		const size_t text = mark ? (size_t)(mark - p) : n;

		vt_feed(v, p, text);
		p += text;
		n -= text;
		if (n == 0)
			break;
		if (n < 4)
			break;
		act(v, p + 1);
		shown(v, &b);
		p += 4;
		n -= 4;
	}
	shown(v, &b);
	buf_release(&b);
	vt_destroy(v);
	return 0;
}
