/* SPDX-License-Identifier: Apache-2.0 */
/* The viewer's side of a terminal: frames in any cut and of any kind over a real socket; cells into a canvas; copy mode over history. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "tui/cells.h"
#include "tui/copy.h"
#include "tui/viewer.h"

static struct cell line[ROWS_MAX];

static size_t text_line(const char *s)
{
	size_t n = 0;

	memset(line, 0, sizeof(line));
	for (; *s; s++, n++) {
		line[n].width = 1;
		line[n].len = *s != ' ';
		line[n].text[0] = *s == ' ' ? '\0' : *s;
	}
	return n;
}

static void put_frame(struct buf *b, uint8_t flags, uint64_t gen, uint16_t rows, uint16_t cols, uint16_t first, uint16_t n, const char *text,
		      uint64_t history)
{
	const struct rows_head h = { .gen = gen, .rows = rows, .cols = cols, .cursor_visible = 1, .history_total = history, .nrows = n };
	const size_t at = frame_begin(b, ROWS_FRAME, flags);

	rows_head_pack(b, &h);
	for (uint16_t i = 0; i < n; i++)
		row_pack(b, (uint16_t)(first + i), 0, line, text_line(text));
	frame_end(b, at);
}

static struct viewer *pair(int *other)
{
	int fds[2];
	struct viewer *v = viewer_create("blue", 1, false, 4, 20);

	assert_int_equal(fd_pair(SOCK_STREAM, fds), 0);
	*other = fds[1];
	viewer_attach(v, 1, fds[0]);
	return v;
}

static void give(struct viewer *v, int fd, const void *p, size_t n)
{
	const uint8_t *at = p;

	while (n) {
		const ssize_t w = write(fd, at, n > 4096 ? 4096 : n);

		assert_true(w > 0);
		at += w;
		n -= (size_t)w;
		viewer_read(v);
	}
}

static const char *row_text(const struct cells *c, int row)
{
	static struct buf b;

	buf_release(&b);
	buf_init(&b, 10000);
	cells_text(c, row, 0, c->cols, &b);
	buf_u8(&b, 0);
	return (const char *)buf_head(&b);
}

static void frames(void **state)
{
	struct buf b;
	int other;
	struct viewer *v = pair(&other);
	uint8_t in[256];

	(void)state;
	buf_init(&b, 1 << 20);
	/* Greeted with our size. */
	assert_true(read(other, in, sizeof(in)) == 16 && in[0] == VIEW_HELLO && in[10] == 4 && in[12] == 20);
	put_frame(&b, 0, 1, 4, 20, 0, 4, "hello world", 7);
	for (size_t i = 0; i < buf_size(&b); i++) { /* a byte at a time */
		assert_false(v->changed);
		give(v, other, buf_head(&b) + i, 1);
	}
	assert_true(v->changed && v->head.gen == 1 && v->head.history_total == 7);
	assert_string_equal(row_text(&v->shown, 3), "hello world");
	/* Not acknowledged before it is drawn. */
	assert_true(recv(other, in, sizeof(in), MSG_DONTWAIT) < 0);
	viewer_drawn(v);
	assert_true(read(other, in, sizeof(in)) == 16 && in[0] == VIEW_ACK && in[8] == 1);
	viewer_drawn(v);
	assert_true(recv(other, in, sizeof(in), MSG_DONTWAIT) < 0);
	/* Parts are shown together, and acknowledged once. */
	buf_clear(&b);
	put_frame(&b, ROWS_MORE, 2, 4, 20, 0, 2, "new", 8);
	give(v, other, buf_head(&b), buf_size(&b));
	assert_string_equal(row_text(&v->shown, 0), "hello world");
	assert_false(v->changed);
	buf_clear(&b);
	put_frame(&b, 0, 2, 4, 20, 2, 2, "new", 8);
	give(v, other, buf_head(&b), buf_size(&b));
	assert_string_equal(row_text(&v->shown, 0), "new");
	assert_string_equal(row_text(&v->shown, 3), "new");
	/* Another size. */
	buf_clear(&b);
	put_frame(&b, 0, 3, 2, 5, 0, 1, "12345", 8);
	give(v, other, buf_head(&b), buf_size(&b));
	assert_true(v->shown.rows == 2 && v->shown.cols == 5);
	viewer_key(v, 'x', VIEW_CTRL);
	viewer_flush(v);
	assert_true(read(other, in, sizeof(in)) == 13 && in[0] == VIEW_KEY && in[8] == 'x' && in[12] == VIEW_CTRL);
	close(other);
	viewer_read(v);
	assert_int_equal(v->state, VIEWER_GONE);
	assert_string_equal(row_text(&v->shown, 0), "12345"); /* the last screen stays */
	viewer_destroy(v);
	buf_release(&b);
}

/* Whatever comes: the viewer ends with a sentence or goes on; sizes and counts are never believed. */
static void hostile(void **state)
{
	uint32_t x = 99;
	struct buf b;

	(void)state;
	buf_init(&b, 1 << 20);
	for (int round = 0; round < 400; round++) {
		int other;
		struct viewer *v = pair(&other);

		buf_clear(&b);
		put_frame(&b, (uint8_t)(round % 3 ? 0 : ROWS_MORE), 1, 4, 20, 0, 4, "some text is here", 3);
		put_frame(&b, 0, 2, 10, 30, 5, 4, "more", 3);
		for (int flips = 0; flips < 1 + round % 6; flips++) {
			x = x * 1664525u + 1013904223u;
			uint8_t *p = &b.data[b.off + (x >> 8) % buf_size(&b)];
			*p = (uint8_t)(*p ^ 1u << (x >> 29));
		}
		give(v, other, buf_head(&b), buf_size(&b));
		if (v->state == VIEWER_GONE)
			assert_true(v->why[0]);
		if (v->shown.cell)
			assert_true(v->shown.rows >= 1 && v->shown.rows <= (int)ROWS_MAX && v->shown.cols <= (int)ROWS_MAX);
		close(other);
		viewer_destroy(v);
	}
	/* Frames of the wrong direction, too long, of no kind. */
	static const uint8_t bad[][8] = { { VIEW_KEY, 0, 0, 0, 0, 0, 0, 0 }, { 200, 0, 0, 0, 0, 0, 0, 0 }, { ROWS_TITLE, 0, 0, 0, 255, 255, 255, 255 },
		{ ROWS_TITLE, 0, 1, 0, 0, 0, 0, 0 }, { ROWS_EXIT, 0, 0, 0, 0, 0, 0, 0 }, { ROWS_FOUND, 0, 0, 0, 0, 0, 0, 0 } };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int other;
		struct viewer *v = pair(&other);

		give(v, other, bad[i], sizeof(bad[i]));
		assert_int_equal(v->state, VIEWER_GONE);
		assert_true(v->why[0]);
		close(other);
		viewer_destroy(v);
	}
	buf_release(&b);
}

static void drawing(void **state)
{
	struct cells c = { 0 };
	struct canvas to = { 0 };
	const struct style base = { COLOR_INDEX(1), COLOR_INDEX(2), 0 };

	(void)state;
	assert_int_equal(canvas_resize(&to, 6, 10), 0);
	assert_int_equal(cells_resize(&c, 3, 6), 0);
	struct cell *p = &c.cell[0];
	p[4] = (struct cell){ .width = 2, .len = 3, .text = "漢", .fg = COLOR_RGB(255, 0, 0) };
	p[5] = (struct cell){ .width = 0 };
	/* Anywhere, also where it does not fit: no half of a wide character is left, nothing outside the rectangle changes. */
	for (int row = -3; row < 8; row++)
		for (int col = -3; col < 12; col++)
			for (int w = 0; w < 9; w++)
				for (int left = 0; left < 6; left++) {
					const struct rect r = { row, col, 3, w };

					canvas_clear(&to, (struct style){ 0 });
					cells_draw(&c, 0, left, &to, r, base, base, DEPTH_8, false);
					for (int y = 0; y < to.rows; y++)
						for (int q = 0; q < to.cols; q++) {
							const struct cell *k = canvas_at(&to, y, q);

							assert_true(k->width != 2 || (q + 1 < to.cols && canvas_at(&to, y, q + 1)->width == 0));
							assert_true(k->width != 0 || (q > 0 && canvas_at(&to, y, q - 1)->width == 2));
							assert_true(rect_has(r, y, q) || (k->bg == 0 && k->len == 0));
							assert_true(k->fg >> 24 != 2); /* no direct colour at depth 8 */
						}
				}
	cells_release(&c);
	canvas_release(&to);
}

static void answer_history(struct viewer *v, int other, uint64_t first, uint64_t total, const char *fmt)
{
	struct buf b;
	const uint64_t n = total - first > 200 ? 200 : total - first;
	char text[64];

	buf_init(&b, 1 << 20);
	const size_t at = frame_begin(&b, ROWS_HISTORY, 0);
	buf_u32(&b, v->history_request);
	buf_u64(&b, first);
	buf_u64(&b, 0);
	buf_u64(&b, total);
	buf_u16(&b, (uint16_t)n);
	for (uint64_t i = 0; i < n; i++) {
		snprintf(text, sizeof(text), "%s %llu", fmt, (unsigned long long)(first + i));
		row_pack(&b, (uint16_t)i, 0, line, text_line(text));
	}
	frame_end(&b, at);
	give(v, other, buf_head(&b), buf_size(&b));
	buf_release(&b);
}

/* Reads what the viewer asked; true and *first if it was for history. */
static bool asked(int other, uint64_t *first)
{
	uint8_t in[4096];
	const ssize_t n = recv(other, in, sizeof(in), MSG_DONTWAIT);
	bool yes = false;

	for (ssize_t at = 0; at + 8 <= n; at += 8 + in[at + 4])
		if (in[at] == VIEW_HISTORY) {
			memcpy(first, in + at + 12, 8);
			yes = true;
		}
	return yes;
}

static void copying(void **state)
{
	struct buf b;
	struct copy c = { 0 };
	struct theme t;
	struct canvas to = { 0 };
	int other;
	struct viewer *v = pair(&other);
	uint64_t first;

	(void)state;
	theme_parse(&t, "", 0, NULL);
	canvas_resize(&to, 4, 20);
	assert_true(copy_enter(&c, v, 4, 20) < 0); /* nothing there yet */
	buf_init(&b, 1 << 20);
	put_frame(&b, 0, 1, 4, 20, 0, 4, "screen", 1000);
	give(v, other, buf_head(&b), buf_size(&b));
	assert_int_equal(copy_enter(&c, v, 4, 20), 0);
	assert_true(c.base == 1000 && c.top == 1000 && c.line == 1000);
	asked(other, &first);
	/* Up into the history: it is asked for once, shown when it comes. */
	copy_action(&c, ACT_C_UP);
	copy_action(&c, ACT_C_UP);
	assert_true(asked(other, &first));
	assert_true(first <= 999 && first + 200 > 999);
	answer_history(v, other, first, 1000, "line");
	assert_true(copy_pump(&c));
	copy_draw(&c, &to, (struct rect){ 0, 0, 4, 20 }, &t);
	assert_memory_equal(canvas_at(&to, 0, 0)->text, "l", 1);
	assert_true(c.line == 998 && to.cur_row == 0);
	/* To the first line, and 500 lines copied over several windows. */
	copy_action(&c, ACT_C_TOP);
	assert_true(asked(other, &first));
	answer_history(v, other, first, 1000, "line");
	copy_pump(&c);
	copy_action(&c, ACT_C_SELECT_LINES);
	c.line = 499;
	copy_action(&c, ACT_C_YANK);
	for (int i = 0; i < 20 && !c.yank_ready; i++) {
		if (asked(other, &first))
			answer_history(v, other, first, 1000, "line");
		copy_pump(&c);
	}
	assert_true(c.yank_ready);
	buf_u8(&c.yank, 0);
	const char *text = (const char *)buf_head(&c.yank);
	assert_true(strncmp(text, "line 0\nline 1\n", 14) == 0);
	assert_string_equal(text + strlen(text) - 9, "line 499\n");
	copy_leave(&c);
	assert_null(c.v);
	/* The ends of the world. */
	assert_int_equal(copy_enter(&c, v, 4, 20), 0);
	for (int i = 0; i < 3; i++)
		for (enum action act = ACT_C_LEFT; act <= ACT_C_PAGE_DOWN; act++)
			for (int k = 0; k < 30; k++)
				copy_action(&c, act);
	assert_true(c.line >= c.kept && c.line <= 1003 && c.col >= 0 && c.col < 20);
	copy_leave(&c);
	close(other);
	viewer_destroy(v);
	canvas_release(&to);
	buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(frames), cmocka_unit_test(hostile), cmocka_unit_test(drawing), cmocka_unit_test(copying) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
