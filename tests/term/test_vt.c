/* SPDX-License-Identifier: Apache-2.0 */
/* The emulator: bytes in, screen out. Each case is a small screen; expected rows are written as text, trailing blanks cut. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/str.h"
#include "core/term/oscscan.h"
#include "core/term/vt.h"

struct seen {
	struct buf answer;
	char title[300], notify[300], clip[300];
	int bells, titles;
};

static void on_answer(void *arg, const char *p, size_t n, bool typed) { (void)typed; buf_put(&((struct seen *)arg)->answer, p, n); }
static void on_title(void *arg, const char *t)
{
	struct seen *s = arg;

	str_copy(s->title, sizeof(s->title), t);
	s->titles++;
}
static void on_bell(void *arg) { ((struct seen *)arg)->bells++; }
static void on_notify(void *arg, const char *t) { str_copy(((struct seen *)arg)->notify, 300, t); }
static void on_clipboard(void *arg, const char *t, size_t n)
{
	struct seen *s = arg;

	snprintf(s->clip, sizeof(s->clip), "%.*s", (int)n, t);
}

static const struct vt_ops ops = { .on_answer = on_answer, .on_title = on_title, .on_bell = on_bell, .on_notify = on_notify, .on_clipboard = on_clipboard };
static struct seen seen;
static struct vt *vt;

static int setup(void **state)
{
	(void)state;
	memset(&seen, 0, sizeof(seen));
	buf_init(&seen.answer, 65536);
	vt = vt_create(5, 10, 100, &ops, &seen);
	return vt ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	vt_destroy(vt);
	buf_release(&seen.answer);
	return 0;
}

static void feed(const char *s)
{
	vt_feed(vt, (const uint8_t *)s, strlen(s));
}

/* Rows joined by '|'. */
static const char *screen(void)
{
	static char text[65536];
	char row[8192];
	size_t n = 0;

	for (unsigned r = 0; r < vt_grid(vt)->rows; r++) {
		grid_row_text(vt_grid(vt), r, row, sizeof(row));
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", r ? "|" : "", row);
	}
	return text;
}

static void cursor_is(unsigned row, unsigned col)
{
	struct rows_head h;

	vt_head(vt, &h);
	assert_int_equal(h.cursor_row, row);
	assert_int_equal(h.cursor_col, col);
}

static void bytes_become_screens(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "hello", "hello||||" },
		{ "a\r\nb\r\nc", "a|b|c||" },
		{ "0123456789X", "0123456789|X|||" },             /* wrap */
		{ "0123456789\rX", "X123456789||||" },             /* the pending wrap is undone by a move */
		{ "a\tb", "a       b||||" },
		{ "abc\x1b[2Dx", "axc||||" },
		{ "abc\x1b[1K", "||||" },
		{ "abcdef\x1b[3G\x1b[K", "ab||||" },
		{ "abc\x1b[2G\x1b[@X", "aXbc||||" },               /* insert a blank, then write on it */
		{ "abcdef\x1b[2G\x1b[2P", "adef||||" },            /* delete */
		{ "a\r\nb\r\nc\x1b[2;1H\x1b[L", "a||b|c|" },       /* insert a line */
		{ "a\r\nb\r\nc\x1b[1;1H\x1b[M", "b|c|||" },        /* delete a line */
		{ "1\r\n2\r\n3\r\n4\r\n5\r\n6", "2|3|4|5|6" },     /* scroll */
		{ "\x1b[2;3r\x1b[2;1Ha\r\nb\r\nc", "|b|c||" },     /* region */
		{ "x\x1b[?1049hfull\x1b[?1049l", "x||||" },        /* alternate screen comes and goes */
		{ "\x1b[?1049hfull", "full||||" },
		{ "\x1b(0qx\x1b(Bq", "\xe2\x94\x80\xe2\x94\x82q||||" }, /* line drawing */
		{ "\xe4\xb8\xad\xe6\x96\x87", "\xe4\xb8\xad\xe6\x96\x87||||" }, /* wide */
		{ "e\xcc\x81!", "e\xcc\x81!||||" },                /* combining */
		{ "012345678\xe4\xb8\xad", "012345678|\xe4\xb8\xad|||" }, /* a wide one does not fit: it wraps */
		{ "\xe4\xb8\xad\x1b[2Gx", " x||||" },              /* half of a wide one is overwritten: the other half goes */
		{ "abc\x1b[1;1H\x1b[4hX", "Xabc||||" },            /* insert mode */
		{ "a\x08" "b", "b||||" },
		{ "\x1b[5;10HX", "||||         X" },
		{ "\x1b]0;title\x07text", "text||||" },
		{ "\x1bPignored\x1b\\text", "text||||" },
		{ "\x1b_ignored\x1b\\text", "text||||" },
		{ "a\x1b[3bZ", "aaaaZ||||" },                      /* repeat */
		{ "\x1b[bx", "x||||" },                            /* nothing to repeat: libvterm would do it for ever */
		{ "\xcc\x81\x1b[9bx", "x||||" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		teardown(state);
		setup(state);
		feed(cases[i].in);
		if (strcmp(screen(), cases[i].out) != 0)
			fail_msg("case %zu: got '%s', want '%s'", i, screen(), cases[i].out);
	}
}

static void strings_are_told_and_bounded(void **state)
{
	char long_[5000];

	(void)state;
	feed("\x1b]2;good \xe2\x80\xae" "bad\x07");
	assert_null(strstr(seen.title, "\xe2\x80\xae")); /* an override of writing direction is not passed on */
	feed("\x1b]9;look here\x1b\\");
	assert_string_equal(seen.notify, "look here");
	feed("\x1b]777;notify;Title;body\x07");
	assert_string_equal(seen.notify, "Title;body");
	feed("\x1b]52;c;aGVsbG8=\x07");
	assert_string_equal(seen.clip, "hello");
	seen.clip[0] = '\0';
	feed("\x1b]52;c;?\x07");
	assert_string_equal(seen.clip, "");
	assert_int_equal(buf_size(&seen.answer), 0);
	feed("\x07");
	assert_int_equal(seen.bells, 1);
	memset(long_, 'x', sizeof(long_) - 1);
	long_[sizeof(long_) - 1] = '\0';
	feed("\x1b]2;");
	feed(long_);
	feed("\x07");
	assert_true(strlen(seen.title) < OSC_TEXT_MAX);
	feed("\x1b]8;;https://example.org/\x1b\\link\x1b]8;;\x1b\\no");
	assert_string_equal(vt_link(vt, 1), "https://example.org/");
	struct cell cells[10];
	uint8_t flags;
	grid_row(vt_grid(vt), 0, cells, &flags);
	assert_int_equal(cells[0].link, 1);
	assert_int_equal(cells[5].link, 0);
}

static void attributes_are_kept(void **state)
{
	struct cell c[10];
	uint8_t flags;

	(void)state;
	feed("\x1b[1;3;4;7;9;31;48;2;1;2;3mA\x1b[0m\x1b[38;5;200mB\x1b[4:3mC");
	grid_row(vt_grid(vt), 0, c, &flags);
	assert_int_equal(c[0].attrs, CELL_BOLD | CELL_ITALIC | CELL_UNDERLINE | CELL_REVERSE | CELL_STRIKE);
	assert_int_equal(c[0].fg, COLOR_INDEX(1));
	assert_int_equal(c[0].bg, COLOR_RGB(1, 2, 3));
	assert_int_equal(c[1].attrs, 0);
	assert_int_equal(c[1].fg, COLOR_INDEX(200));
	assert_int_equal(c[2].attrs & CELL_CURLY, CELL_CURLY);
}

static void keys_follow_the_modes(void **state)
{
	(void)state;
	vt_key(vt, VIEW_K_UP, 0);
	feed("\x1b[?1h");
	vt_key(vt, VIEW_K_UP, 0);
	vt_key(vt, 'c', VIEW_CTRL);
	vt_key(vt, 'x', VIEW_ALT);
	vt_key(vt, VIEW_K_F1 + 4, 0);
	assert_int_equal(buf_put(&seen.answer, "", 1), 0);
	assert_string_equal((const char *)buf_head(&seen.answer), "\x1b[A\x1bOA\x03\x1bx\x1b[15~");
	buf_clear(&seen.answer);
	vt_paste(vt, (const uint8_t *)"a\nb\x1b[201~c", 11, true, true);
	feed("\x1b[?2004h");
	vt_paste(vt, (const uint8_t *)"p", 1, true, true);
	buf_put(&seen.answer, "", 1);
	assert_string_equal((const char *)buf_head(&seen.answer), "a\rb[201~c\x1b[200~p\x1b[201~");
}

static void history_keeps_what_scrolled_out(void **state)
{
	struct cell c[64];
	uint8_t flags;
	char line[32];

	(void)state;
	for (int i = 0; i < 200; i++) {
		snprintf(line, sizeof(line), "line %d\r\n", i);
		feed(line);
	}
	const struct grid *g = vt_grid(vt);
	assert_int_equal(grid_history_total(g), 196);
	assert_int_equal(grid_history_first(g), 96);
	assert_int_equal(grid_history_line(g, 96, c, 64, &flags), 7);
	assert_memory_equal(c[5].text, "9", 1);
	assert_true(grid_history_line(g, 95, c, 64, &flags) < 0);
	feed("\x1b[3J");
	assert_int_equal(grid_history_first(g), grid_history_total(g));
}

static void widths_flow(void **state)
{
	(void)state;
	feed("abcdefghijklmno\r\nxyz");
	assert_string_equal(screen(), "abcdefghij|klmno|xyz||");
	vt_resize(vt, 5, 20);
	assert_string_equal(screen(), "abcdefghijklmno|xyz|||");
	cursor_is(1, 3);
	vt_resize(vt, 5, 4);
	assert_string_equal(screen(), "abcd|efgh|ijkl|mno|xyz");
	cursor_is(4, 3);
	vt_resize(vt, 2, 4);
	assert_string_equal(screen(), "mno|xyz");
	assert_int_equal(grid_history_total(vt_grid(vt)), 3);
	vt_resize(vt, 2, 20);
	assert_string_equal(screen(), "abcdefghijklmno|xyz");
	vt_resize(vt, 1, 1);
	vt_resize(vt, 1000, 1000);
	vt_resize(vt, 5000, 0);
	feed("still alive");
}

/* However the bytes are cut, the result is the same. */
static void cuts_change_nothing(void **state)
{
	static const char text[] = "a\x1b]0;t1\x07" "b\x1b[31mc\xe4\xb8\xad\x1b]8;;http://x\x1b\\L\x1b]8;;\x1b\\\x1bPq#1\x1b\\\x1b]52;c;aGk=\x1b\\d\r\n\x1b[2;5He\x1b]9;n\x1b\\\x1b\x1b[1mf"
				   "\x1b]2;cut by \x1b[1mg\x1b]junk\x18h";
	const size_t n = sizeof(text) - 1;
	char whole[2048], title[300];

	vt_feed(vt, (const uint8_t *)text, n);
	snprintf(whole, sizeof(whole), "%s", screen());
	snprintf(title, sizeof(title), "%s", seen.title);
	for (size_t cut = 1; cut < n; cut++) {
		teardown(state);
		setup(state);
		vt_feed(vt, (const uint8_t *)text, cut);
		vt_feed(vt, (const uint8_t *)text + cut, n - cut);
		assert_string_equal(screen(), whole);
		assert_string_equal(seen.title, title);
		assert_string_equal(seen.clip, "hi");
	}
}

static void the_scanners_table_is_total(void **state)
{
	(void)state;
	for (int s = 0; s < OSC_NUM; s++)
		for (int b = 0; b < 256; b++) {
			enum osc_state to;
			enum osc_action action;

			oscscan_edge((enum osc_state)s, (uint8_t)b, &to, &action);
			assert_true(to < OSC_NUM && action < OSC_ACTION_NUM);
		}
}

/* What a guest can print: all rows still pack and unpack. */
static void rubbish_leaves_a_clean_screen(void **state)
{
	static uint8_t junk[65536];
	static struct cell cells[ROWS_MAX], back[ROWS_MAX];
	uint32_t seed = 12345;

	(void)state;
	for (int round = 0; round < 40; round++) {
		for (size_t i = 0; i < sizeof(junk); i++) {
			seed = seed * 1664525 + 1013904223;
			junk[i] = (uint8_t)(seed >> 24);
			if (seed % 7 == 0)
				junk[i] = 0x1b;
		}
		vt_feed(vt, junk, sizeof(junk));
		vt_resize(vt, 1 + seed % 50, 1 + (seed >> 8) % 100);
		const struct grid *g = vt_grid(vt);
		struct rows_head h;
		struct buf b;
		struct rbuf r;

		buf_init(&b, 1 << 20);
		vt_head(vt, &h);
		rows_head_pack(&b, &h);
		for (unsigned row = 0; row < g->rows; row++) {
			uint8_t flags;
			const size_t n = grid_row(g, row, cells, &flags);

			row_pack(&b, (uint16_t)row, flags, cells, n);
		}
		rbuf_init(&r, buf_head(&b), buf_size(&b));
		assert_int_equal(rows_head_unpack(&r, &h), 0);
		for (unsigned row = 0; row < g->rows; row++) {
			uint16_t index;
			uint8_t flags;

			assert_int_equal(row_unpack(&r, g->rows, &index, &flags, back, g->cols), 0);
		}
		assert_int_equal(rbuf_done(&r), 0);
		buf_release(&b);
		buf_clear(&seen.answer);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bytes_become_screens, setup, teardown),
		cmocka_unit_test_setup_teardown(strings_are_told_and_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(attributes_are_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(keys_follow_the_modes, setup, teardown),
		cmocka_unit_test_setup_teardown(history_keeps_what_scrolled_out, setup, teardown),
		cmocka_unit_test_setup_teardown(widths_flow, setup, teardown),
		cmocka_unit_test_setup_teardown(cuts_change_nothing, setup, teardown),
		cmocka_unit_test(the_scanners_table_is_total),
		cmocka_unit_test_setup_teardown(rubbish_leaves_a_clean_screen, setup, teardown),
	};

	return cmocka_run_group_tests_name("term/vt", tests, NULL, NULL);
}
