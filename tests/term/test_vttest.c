/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What vttest asks a person to look at, as bytes and the screens xterm shows for them: cursor movements, controls inside sequences, autowrap, scrolling
 * regions, origin mode, tab stops, character sets, double-size lines (which we take for what they say they are not: lines of ordinary size).
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "core/term/vt.h"

#define ROWS 24
#define COLS 80

static void on_answer(void *arg, const char *p, size_t n, bool typed) { (void)arg; (void)p; (void)n; (void)typed; }
static void on_text(void *arg, const char *t) { (void)arg; (void)t; }
static void on_bell(void *arg) { (void)arg; }
static void on_clipboard(void *arg, const char *t, size_t n) { (void)arg; (void)t; (void)n; }
static const struct vt_ops ops = { .on_answer = on_answer, .on_title = on_text, .on_bell = on_bell, .on_notify = on_text, .on_clipboard = on_clipboard };
static struct vt *vt;
static char want[ROWS + 1][COLS + 1]; /* [1..24], columns from 0 */

static int setup(void **state)
{
	(void)state;
	vt = vt_create(ROWS, COLS, 100, &ops, NULL);
	memset(want, 0, sizeof(want));
	return vt ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	vt_destroy(vt);
	return 0;
}

static void out(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void out(const char *fmt, ...)
{
	char text[4096];
	va_list ap;

	va_start(ap, fmt);
	const int n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	assert_true(n >= 0 && (size_t)n < sizeof(text));
	vt_feed(vt, (const uint8_t *)text, (size_t)n);
}

static void cup(int row, int col) { out("\x1b[%d;%dH", row, col); }

/* Columns a..b of a row, both from 1, shall show c. */
static void fill(int row, int a, int b, char c)
{
	for (int col = a; col <= b; col++) {
		for (int k = (int)strlen(want[row]); k < col - 1; k++)
			want[row][k] = ' ';
		want[row][col - 1] = c;
	}
}

static void say(int row, const char *text) { str_copy(want[row], sizeof(want[row]), text); }

static void check(const char *what)
{
	char row[8192];

	for (int r = 1; r <= ROWS; r++) {
		grid_row_text(vt_grid(vt), (unsigned)r - 1, row, sizeof(row));
		if (strcmp(row, want[r]))
			fail_msg("%s, row %d:\n got '%s'\nwant '%s'", what, r, row, want[r]);
	}
}

/* A frame of '*', in it one of '+', in that a block of 'E', drawn by every kind of movement and erased around. */
static void cursor_movements(void **state)
{
	(void)state;
	out("\x1b#8");
	cup(9, 10), out("\x1b[1J");
	cup(18, 60), out("\x1b[0J\x1b[1K");
	cup(9, 61), out("\x1b[0K");
	for (int row = 10; row <= 16; row++) {
		cup(row, 10), out("\x1b[1K");
		cup(row, 61), out("\x1b[0K");
	}
	cup(17, 30), out("\x1b[2K");
	for (int col = 1; col <= COLS; col++)
		out("\x1b[%d;%df*\x1b[1;%df*", ROWS, col, col);
	cup(2, 2);
	for (int row = 2; row <= ROWS - 1; row++)
		out("+\x1b[1D\x1b" "D"); /* CUB, IND */
	cup(ROWS - 1, COLS - 1);
	for (int row = ROWS - 1; row >= 2; row--)
		out("+\x1b[1D\x1bM"); /* RI */
	cup(2, 1);
	for (int row = 2; row <= ROWS - 1; row++) {
		out("*");
		cup(row, COLS);
		out("*\x1b[10D%s", row < 10 ? "\x1b" "E" : "\r\n"); /* NEL */
	}
	cup(2, 10), out("\x1b[42D\x1b[2C"); /* beyond the left edge, and back */
	for (int col = 3; col <= COLS - 2; col++)
		out("+\x1b[0C\x1b[2D\x1b[1C"); /* 0 is 1 */
	cup(ROWS - 1, 70), out("\x1b[42C\x1b[2D");
	for (int col = COLS - 2; col >= 3; col--)
		out("+\x1b[1D\x1b[1C\x1b[0D\x1b[1D");
	fill(1, 1, COLS, '*');
	fill(ROWS, 1, COLS, '*');
	for (int row = 2; row <= ROWS - 1; row++) {
		fill(row, 1, 1, '*');
		fill(row, 2, row == 2 || row == ROWS - 1 ? COLS - 1 : 2, '+');
		if (row >= 9 && row <= 16)
			fill(row, 11, 60, 'E');
		fill(row, COLS - 1, COLS - 1, '+');
		fill(row, COLS, COLS, '*');
	}
	check("cursor movements");
}

/* "Below should be four identical lines": BS, CR and VT inside sequences, and leading zeros in their numbers. */
static void controls_inside_sequences(void **state)
{
	(void)state;
	out("A B C D E F G H I\r\n");
	for (int i = 1; i < 10; i++)
		out("%c\x1b[2\010C", '@' + i); /* two forward, one back */
	out("\r\nA ");
	for (int i = 2; i < 10; i++)
		out("\x1b[\015%dC%c", 2 * i - 2, '@' + i); /* to the line's begin, then so many forward */
	out("\r\n");
	out("\x1b[20l");
	out("A ");
	for (int i = 2; i < 10; i++)
		out("\x1b[1\013A%c ", '@' + i); /* one down, one up */
	out("\r\n");
	for (int i = 1; i < 10; i++)
		out("\x1b[%010d;%010dH%c", 5, 2 * i - 1, '@' + i);
	out("\x1b[00000000004;000000001");
	out("H");
	for (int row = 1; row <= 5; row++)
		say(row, "A B C D E F G H I");
	check("controls inside sequences");
}

/* The last column holds a character and the cursor until the next one; what moves the cursor lets that go. */
static void autowrap(void **state)
{
	(void)state;
	cup(1, COLS), out("aB");              /* wraps */
	cup(3, COLS), out("c\bD");            /* BS: from the last column, one back */
	cup(4, COLS), out("e\tF");            /* a tab stays, and lets it wrap */
	cup(6, COLS), out("g\r\nH");
	cup(11, COLS), out("k\x1b[AL");       /* up: in the last column there */
	out("\x1b[?7l");
	cup(13, COLS - 1), out("mnopQ");      /* no wrap: the last one stands */
	out("\x1b[?7h");
	cup(15, COLS), out("r\x1b[C\x1b[DS"); /* forward and back */
	cup(17, COLS), out("t\x1b" "7");
	cup(1, 40), out("\x1b" "8\x1b[DU");
	fill(1, COLS, COLS, 'a');
	say(2, "B");
	fill(3, COLS - 1, COLS - 1, 'D'), fill(3, COLS, COLS, 'c');
	fill(4, COLS, COLS, 'e');
	fill(6, COLS, COLS, 'g'), say(7, "H");
	fill(11, COLS, COLS, 'k'), fill(10, COLS, COLS, 'L');
	fill(13, COLS - 1, COLS - 1, 'm'), fill(13, COLS, COLS, 'Q');
	fill(15, COLS - 1, COLS - 1, 'S'), fill(15, COLS, COLS, 'r');
	fill(17, COLS - 1, COLS - 1, 'U'), fill(17, COLS, COLS, 't');
	say(5, "F");
	check("autowrap");
}

/* Soft scroll up and down in regions; what is outside stays; an origin inside. */
static void scrolling_regions(void **state)
{
	(void)state;
	for (int row = 1; row <= ROWS; row++)
		cup(row, 1), out("row %d", row);
	out("\x1b[12;13r\x1b[12;1H");
	for (int i = 1; i <= 29; i++)
		out("up %d\r\n", i);
	for (int row = 1; row <= ROWS; row++) {
		char text[32];

		snprintf(text, sizeof(text), "row %d", row);
		say(row, text);
	}
	say(12, "up 29");
	say(13, "");
	check("two lines scrolled up");
	out("\x1b[1;24r\x1b[24;1H");
	for (int i = 1; i <= 3; i++)
		out("\x1b[1;1H\x1bM"); /* RI at the top: down */
	for (int row = ROWS; row > 3; row--)
		str_copy(want[row], sizeof(want[row]), want[row - 3]);
	say(1, ""), say(2, ""), say(3, "");
	check("the whole screen scrolled down");
	/* Origin mode: 1;1 is the region's, and there is no way out of it. */
	out("\x1b[2J\x1b[23;24r\x1b[?6h\x1b[1;1HTop\x1b[99;1HBottom\x1b[9A^");
	memset(want, 0, sizeof(want));
	say(23, "Top   ^"), say(24, "Bottom");
	check("origin mode");
	out("\x1b[?6l\x1b[1;1Hfirst\x1b[24;1H\x1b[2KLast\n");
	say(1, "first"), say(23, "Last"), say(24, "");
	check("origin mode off");
}

/* "Two lines of asterisks below should look the same": stops set every third column, some cleared. */
static void tab_stops(void **state)
{
	(void)state;
	out("\x1b[2J\x1b[3g");
	for (int col = 1; col <= COLS - 2; col += 3)
		out("\x1b[3C\x1bH");
	cup(1, 4);
	for (int col = 4; col <= COLS - 2; col += 6)
		out("\x1b[0g\x1b[6C");
	cup(1, 7), out("\x1b[1g\x1b[2g"); /* no effect */
	cup(1, 1), out("\t*\t*\t*");
	cup(2, 2);
	for (int col = 0; col < 3; col++)
		out("     *");
	/* Every sixth column from 7 on; the spaces of the second line are counted from column 2. */
	say(1, "      *     *     *");
	say(2, "      *     *     *");
	check("tab stops");
	cup(4, 1), out("\x1b[2I*\x1b[Z*"); /* two forward; back to the one before */
	say(4, "            *");
	want[4][12] = '*';
	check("tabs back");
}

static void character_sets(void **state)
{
	(void)state;
	out("\x1b(B" "abc#\r\n\x1b(A" "abc#\r\n\x1b(0" "lqqk\r\n\x1b(B\x1b)0" "x\x0e" "x\x0f" "x\r\n");
	out("\x1b(0\x1b" "7\x1b(B" "q\x1b" "8" "q"); /* DECSC keeps the set */
	say(1, "abc#");
	say(2, "abc\xc2\xa3");
	say(3, "\xe2\x94\x8c\xe2\x94\x80\xe2\x94\x80\xe2\x94\x90");
	say(4, "x\xe2\x94\x82x");
	say(5, "\xe2\x94\x80");
	check("character sets");
}

/* DECDHL and DECDWL: text stays where it is, at its size. */
static void double_size_is_ignored(void **state)
{
	(void)state;
	out("\x1b#3double top\r\n\x1b#4double bottom\r\n\x1b#6double width\r\n\x1b#5single");
	cup(3, 70), out("edge");
	say(1, "double top");
	say(2, "double bottom");
	say(3, "double width");
	for (size_t k = strlen(want[3]); k < 69; k++)
		want[3][k] = ' ';
	memcpy(want[3] + 69, "edge", 5);
	say(4, "single");
	check("double size");
}

/* ICH, DCH, IL, DL, ECH with the accordion of vttest's menu 8. */
static void insert_and_delete(void **state)
{
	(void)state;
	for (int row = 1; row <= ROWS; row++)
		for (int col = 1; col <= COLS; col++)
			if (col == 1)
				cup(row, col), out("%c", '@' + row);
			else
				out("%c", '@' + row);
	cup(4, 1);
	for (int row = 4; row <= ROWS; row++)
		out("\x1b[L\x1b[B"); /* every second line a blank one, what is pushed out is lost */
	for (int row = 1; row <= 3; row++)
		fill(row, 1, COLS, (char)('@' + row));
	for (int row = 5, c = 4; row <= ROWS; row += 2, c++)
		fill(row, 1, COLS, (char)('@' + c));
	/* Line 4 is inserted at 4, the cursor goes to 5, which holds what was 4, and so on: each further insert lies above it. */
	for (int row = 4; row <= ROWS; row++)
		say(row, "");
	check("insert line");
	out("\x1b[2J\x1b[H");
	out("ABCDEFGH\x1b[1;3H\x1b[2@xy\x1b[1;1H\x1b[1P\x1b[1;8H\x1b[3X");
	memset(want, 0, sizeof(want));
	say(1, "BxyCDEF");
	check("insert, delete, erase characters");
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = { CASE(cursor_movements), CASE(controls_inside_sequences), CASE(autowrap), CASE(scrolling_regions), CASE(tab_stops),
		CASE(character_sets), CASE(double_size_is_ignored), CASE(insert_and_delete) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
