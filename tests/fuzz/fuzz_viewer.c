/* SPDX-License-Identifier: Apache-2.0 */
/* tui/viewer.c, cells.c, copy.c: a terminal's stream into the dashboard, then drawn. Input: frames, fed in two cuts. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "tui/copy.h"
#include "tui/viewer.h"

static void drawn(const struct viewer *v, struct copy *copy)
{
	static struct canvas c;
	struct theme t;
	const struct rect r = { 1, 2, 9, 30 };

	theme_parse(&t, "", 0, NULL);
	theme_resolve(&t, DEPTH_8);
	MUST(canvas_resize(&c, 11, 33) == 0);
	if (copy->v)
		copy_draw(copy, &c, r, &t);
	else
		cells_draw(&v->shown, 1, 3, &c, r, t.style[EL_TERMINAL], t.style[EL_DIM], DEPTH_8, true);
	for (int i = 0; i < c.rows * c.cols; i++) {
		const struct cell *p = &c.cells[i];
		const int row = i / c.cols, col = i % c.cols;

		MUST(p->width <= 2 && p->len <= CELL_TEXT_MAX && p->fg >> 24 != 2 && p->bg >> 24 != 2);
		MUST(p->width != 2 || (col + 1 < c.cols && p[1].width == 0));
		MUST(p->width != 0 || (col > 0 && p[-1].width == 2));
		MUST(rect_has(r, row, col) || p->len == 0);
	}
	canvas_release(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct viewer *v = viewer_create("blue", 1, false, 24, 80);
	struct copy copy = { 0 };

	MUST(v);
	v->state = VIEWER_LIVE;
	viewer_feed(v, p, n / 2);
	if (v->shown.cell && copy_enter(&copy, v, 9, 30) == 0) {
		copy_action(&copy, ACT_C_TOP);
		copy_action(&copy, ACT_C_SELECT);
	}
	viewer_feed(v, p + n / 2, n - n / 2);
	MUST(v->state != VIEWER_GONE || v->why[0]);
	MUST(!v->shown.cell || (v->shown.rows >= 1 && v->shown.rows <= (int)ROWS_MAX && v->shown.cols >= 1 && v->shown.cols <= (int)ROWS_MAX));
	if (copy.v) {
		copy_pump(&copy);
		copy_action(&copy, ACT_C_WORD);
		copy_action(&copy, ACT_C_BACK_WORD);
		copy_action(&copy, ACT_C_BOTTOM);
		copy_action(&copy, ACT_C_YANK);
		copy_pump(&copy);
		drawn(v, &copy);
		copy_leave(&copy);
	}
	if (v->shown.cell)
		drawn(v, &copy);
	viewer_destroy(v);
	return 0;
}
