/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of drawing share: keys by their names, frames as text, golden screens (BULKHEAD_UPDATE_GOLDEN=1 writes them). */
#ifndef BULKHEAD_TESTS_TUI_FRAMES_H
#define BULKHEAD_TESTS_TUI_FRAMES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/app.h"

/* The three sizes of the golden screens, and one that is too small for anything. */
static const int sizes[][2] = { { 24, 80 }, { 40, 120 }, { 60, 200 }, { 5, 20 } };

static inline struct app *bare(void)
{
	struct app *a = calloc(1, sizeof(*a));
	struct err e = ERR_INIT;

	assert_non_null(a);
	assert_int_equal(app_init(a, &e), 0);
	return a;
}

static inline void done(struct app *a)
{
	app_release(a);
	free(a);
}

/* An event, as the supervisor tells it. */
static inline void feed(struct app *a, json_t *ev)
{
	assert_non_null(ev);
	on_event(a, ev);
	json_decref(ev);
}

static inline void click(struct app *a, enum mouse_act act, int row, int col)
{
	const struct key k = { .kind = KEY_MOUSE, .act = act, .button = act == MOUSE_PRESS ? 1 : 0, .row = row, .col = col };

	input_key(a, &k);
}

/* No half of a wide character, no byte a terminal would obey, the cursor inside. */
static inline void sound(const struct app *a, const char *what)
{
	const int rows = a->canvas.rows, cols = a->canvas.cols;

	if (a->canvas.cur_row >= 0 && (a->canvas.cur_row >= rows || a->canvas.cur_col < 0 || a->canvas.cur_col >= cols))
		fail_msg("%s at %dx%d: the cursor is at %d,%d", what, cols, rows, a->canvas.cur_row, a->canvas.cur_col);
	for (int k = 0; k < rows * cols; k++) {
		const struct cell *p = &a->canvas.cells[k];

		if (p->width != 1 && p->width != 2 && !(k % cols > 0 && p[-1].width == 2))
			fail_msg("%s at %dx%d: half of a character at %d,%d", what, cols, rows, k / cols, k % cols);
		for (int i = 0; i < p->len; i++)
			assert_true((unsigned char)p->text[i] >= 0x20 && (unsigned char)p->text[i] != 0x7f);
	}
}

/* Frames at many sizes. */
static inline void all_sizes(struct app *a, const char *what)
{
	for (int rows = 1; rows <= 64; rows += rows < 8 ? 1 : 7)
		for (int cols = 1; cols <= 210; cols += cols < 24 ? 3 : 23) {
			draw_frame(a, rows, cols);
			assert_true(a->canvas.rows == rows && a->canvas.cols == cols);
			sound(a, what);
		}
}

static inline void press(struct app *a, const char *name)
{
	struct key k;

	assert_int_equal(key_parse(name, &k), 0);
	input_key(a, &k);
}

/* The canvas as text; the clock in the header as it is in the golden screens. */
static inline void as_text(const struct app *a, struct buf *b)
{
	for (int row = 0; row < a->canvas.rows; row++) {
		size_t end = buf_size(b);

		for (int col = 0; col < a->canvas.cols; col++) {
			const struct cell *p = &a->canvas.cells[row * a->canvas.cols + col];
			const bool clock = row == 0 && a->layout.header.rows && col >= a->canvas.cols - 6 && col < a->canvas.cols - 1 && a->canvas.cols > 60;

			if (p->width == 0)
				continue;
			if (clock)
				buf_u8(b, (uint8_t)"HH:MM"[col - a->canvas.cols + 6]);
			else if (p->len)
				buf_put(b, p->text, p->len);
			else
				buf_u8(b, ' ');
			if (p->len && p->text[0] != ' ')
				end = buf_size(b);
		}
		b->len = b->off + (end > buf_size(b) ? buf_size(b) : end);
		buf_u8(b, '\n');
	}
}

static inline void put_color(struct buf *b, uint32_t c)
{
	if (c == COLOR_DEFAULT)
		buf_printf(b, " default");
	else if (c >> 24 == 1)
		buf_printf(b, " %u", (unsigned)(c & 0xff));
	else
		buf_printf(b, " #%06x", (unsigned)(c & 0xffffff));
}

/* The canvas's styles: a line a run of cells that look the same, "row columns foreground background attributes |its text". */
static inline void as_styles(const struct app *a, struct buf *b)
{
	const int cols = a->canvas.cols;

	for (int row = 0; row < a->canvas.rows; row++)
		for (int col = 0, end; col < cols; col = end) {
			const struct cell *p = &a->canvas.cells[row * cols];

			for (end = col + 1; end < cols && p[end].fg == p[col].fg && p[end].bg == p[col].bg && p[end].attrs == p[col].attrs; end++)
				;
			buf_printf(b, "%d %d-%d", row, col, end - 1);
			put_color(b, p[col].fg);
			put_color(b, p[col].bg);
			buf_printf(b, " %x |", (unsigned)p[col].attrs);
			const bool clock = row == 0 && end > cols - 7;
			for (int i = col; i < (clock ? cols - 7 : end); i++)
				buf_put(b, p[i].len ? p[i].text : " ", p[i].len ? p[i].len : p[i].width > 0);
			buf_printf(b, "|\n");
		}
}

/* What was drawn last, as text or as styles, against tests/tui/golden/NAME-COLSxROWS.txt. */
static inline void compare(struct app *a, const char *name, void (*as)(const struct app *, struct buf *))
{
	struct buf b, want;
	char path[600];
	uint8_t *p;

	buf_init(&b, 1 << 20);
	buf_init(&want, 1 << 20);
	as(a, &b);
	snprintf(path, sizeof(path), "%s/tests/tui/golden/%s-%dx%d.txt", SOURCEDIR, name, a->canvas.cols, a->canvas.rows);
	if (getenv("BULKHEAD_UPDATE_GOLDEN")) {
		FILE *f = fopen(path, "w");

		assert_non_null(f);
		fwrite(buf_head(&b), 1, buf_size(&b), f);
		fclose(f);
	}
	FILE *f = fopen(path, "r");
	assert_non_null(f);
	assert_non_null(p = buf_reserve(&want, 512 * 1024));
	buf_grew(&want, fread(p, 1, 512 * 1024, f));
	fclose(f);
	if (buf_size(&b) != buf_size(&want) || memcmp(buf_head(&b), buf_head(&want), buf_size(&b)))
		fail_msg("%s differs; it is now:\n%.*s", path, (int)buf_size(&b), (const char *)buf_head(&b));
	buf_release(&b);
	buf_release(&want);
}

static inline void golden(struct app *a, const char *name, int rows, int cols)
{
	draw_frame(a, rows, cols);
	compare(a, name, as_text);
}

#endif
