/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands between a guest and libvterm: sequences told whole or not at all, text always clean, however the input is cut; and the
 * sequences with which libvterm 0.1.4 can be killed.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vterm.h>

#include "core/base/buf.h"
#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/term/seq.h"
#include "core/term/sgr.h"
#include "core/term/vt.h"

/* ---- the scanner told as a line of text -------------------------------------------------------------------------------------------- */

static void on_text(void *arg, const uint8_t *p, size_t n)
{
	buf_put(arg, p, n);
}

static void on_escape(void *arg, uint8_t intermed, uint8_t final)
{
	if (intermed)
		buf_printf(arg, "<ESC %c %c>", intermed, final);
	else
		buf_printf(arg, "<ESC %c>", final);
}

static void on_csi(void *arg, const struct seq_csi *c)
{
	buf_printf(arg, "<CSI ");
	if (c->leader)
		buf_printf(arg, "%c", c->leader);
	for (unsigned i = 0; i < c->n; i++) {
		if (i)
			buf_printf(arg, "%c", c->sub >> i & 1 ? ':' : ';');
		if (c->arg[i] >= 0)
			buf_printf(arg, "%d", c->arg[i]);
	}
	if (c->intermed)
		buf_printf(arg, " %c", c->intermed);
	buf_printf(arg, " %c>", c->final);
}

static const struct seq_ops ops = { .on_text = on_text, .on_escape = on_escape, .on_csi = on_csi };

static const char *scan(const char *in, size_t n, size_t cut)
{
	static struct buf out;
	struct seqscan s;

	if (!out.max)
		buf_init(&out, 1 << 20);
	buf_clear(&out);
	seqscan_init(&s, &ops, &out);
	seqscan_push(&s, (const uint8_t *)in, cut);
	seqscan_push(&s, (const uint8_t *)in + cut, n - cut);
	buf_put(&out, "", 1);
	return (const char *)buf_head(&out);
}

static const struct {
	const char *in, *out;
} cases[] = {
	{ "plain", "plain" },
	{ "a\x1b[1;2Hb", "a<CSI 1;2 H>b" },
	{ "\x1b[m\x1b[;m", "<CSI  m><CSI ; m>" },
	{ "\x1b[?1000;1006h", "<CSI ?1000;1006 h>" },
	{ "\x1b[38:2::1:2:3m", "<CSI 38:2::1:2:3 m>" },
	{ "\x1b[2 q\x1b[!p\x1b[?6$p", "<CSI 2   q><CSI  ! p><CSI ?6 $ p>" },
	{ "\x1b[99999999999999999999d", "<CSI 65535 d>" },
	{ "\x1b(0\x1b#8\x1b" "7", "<ESC ( 0><ESC # 8><ESC 7>" },
	{ "\x1b[1\n;2Hx", "\n<CSI 1;2 H>x" },              /* a control inside is done at once */
	{ "\x1b[1\x1b[2Jx", "<CSI 2 J>x" },                 /* ESC begins anew */
	{ "\x1b[1\x18xy\x1b[\x1az", "xyz" },                /* CAN, SUB end it */
	{ "\x1b[1\xc3\xa9x", "\xc3\xa9x" },                 /* so does what is no ASCII */
	{ "\x1b[1;2<Hx", "x" },                             /* a mark in the wrong place: nothing */
	{ "\x1b[1 2Hx", "x" },
	{ "\x1b[ !qx\x1b( !Bx", "xx" },
	{ "\x1b\x1b[1Ax", "<CSI 1 A>x" },
	{ "a\x7f" "b\x1b[1\x7f" "A", "ab<CSI 1 A>" },
	{ "\xc2\x9b" "1mx", "1mx" },                        /* C1 are no controls in UTF-8 */
	{ "\xff" "a\xe4\xb8" "b\xed\xa0\x80", "\xef\xbf\xbd" "a\xef\xbf\xbd" "b\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
	{ "\xe4\xb8\x1b[1Ax", "\xef\xbf\xbd<CSI 1 A>x" },
	{ "e\xcc\x81\xcc\x81\xcc\x81\xcc\x81\xcc\x81\xcc\x81\xcc\x81\xcc\x81\xcc\x81\xcc\x81x", "e\xcc\x81\xcc\x81\xcc\x81\xcc\x81\xcc\x81\xcc\x81\xcc\x81\xcc\x81x" },
	{ "\xcc\x81\xcc\x81\xcc\x81\xcc\x81\xcc\x81\xcc\x81\xcc\x81\xcc\x81\x07\r\xcc\x81\x1b[0m\xcc\x81", "\xcc\x81\xcc\x81\xcc\x81\xcc\x81\xcc\x81\xcc\x81\xcc\x81\xcc\x81\x07\r<CSI 0 m>" },
};

static void sequences_are_told_whole_however_they_are_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const size_t n = strlen(cases[i].in);

		for (size_t cut = 0; cut <= n; cut++)
			if (strcmp(scan(cases[i].in, n, cut), cases[i].out) != 0)
				fail_msg("case %zu cut at %zu: got '%s', want '%s'", i, cut, scan(cases[i].in, n, cut), cases[i].out);
	}
}

static void more_arguments_than_there_is_room_for_are_no_sequence(void **state)
{
	char in[200] = "\x1b[";

	(void)state;
	memset(in + 2, ';', SEQ_ARGS_MAX - 1);
	memcpy(in + 2 + SEQ_ARGS_MAX - 1, "mx", 3);
	assert_non_null(strstr(scan(in, strlen(in), 0), "m>x"));
	memset(in + 2, ';', SEQ_ARGS_MAX);
	memcpy(in + 2 + SEQ_ARGS_MAX, "mx", 3);
	assert_string_equal(scan(in, strlen(in), 0), "x");
}

/* Any bytes: what comes out as text is clean, every event is in bounds, and a cut changes nothing. */
static void rubbish_comes_out_clean(void **state)
{
	uint32_t seed = 4711;
	char in[300];

	(void)state;
	for (int round = 0; round < 3000; round++) {
		const size_t n = 1 + seed % sizeof(in);

		for (size_t i = 0; i < n; i++) {
			seed = seed * 1664525 + 1013904223;
			in[i] = (char)(seed >> 24);
			if (seed % 5 == 0)
				in[i] = "\x1b[;:?$m1\xcc\x81"[seed / 7 % 10];
		}
		char whole[4096];
		str_copy(whole, sizeof(whole), scan(in, n, 0));
		const size_t cut = seed / 3 % (n + 1);
		const char *again = scan(in, n, cut);
		for (size_t i = 0, len = strlen(again); i < len;) {
			uint32_t cp;
			const size_t used = utf8_decode((const uint8_t *)again + i, len - i, &cp, NULL);

			assert_false(cp == 0x1b || (cp >= 0x7f && cp < 0xa0));
			i += used;
		}
		if (!memchr(in, 0, n))
			assert_string_equal(again, whole);
	}
}

/* ---- libvterm -------------------------------------------------------------------------------------------------------------------------- */

static unsigned put;
static unsigned put_chars;
static int on_putglyph(VTermGlyphInfo *info, VTermPos pos, void *user)
{
	(void)pos;
	(void)user;
	put++;
	for (put_chars = 0; info->chars[put_chars];)
		put_chars++;
	return 1;
}

/* Every character that libvterm adds to the one before is one that we count, or it would gather them without end. */
static void every_mark_of_the_library_is_counted(void **state)
{
	static const VTermStateCallbacks cb = { .putglyph = on_putglyph };
	VTerm *vt = vterm_new(3, 20);

	(void)state;
	vterm_set_utf8(vt, 1);
	vterm_state_set_callbacks(vterm_obtain_state(vt), &cb, NULL);
	vterm_state_reset(vterm_obtain_state(vt), 1);
	for (uint32_t cp = 0xa0; cp <= 0x10ffff; cp++) {
		char text[8] = "\ra";

		if (cp >= 0xd800 && cp <= 0xdfff)
			continue;
		const size_t n = 2 + utf8_put(cp, text + 2);
		put = 0;
		vterm_input_write(vt, text, n);
		if (put == 1 && put_chars == 2 && !seq_is_mark(cp))
			fail_msg("U+%04X is a mark for libvterm and not for us", cp);
	}
	vterm_free(vt);
}

static void nothing(void *arg) { (void)arg; }
static void nothing_text(void *arg, const char *t) { (void)arg; (void)t; }
static void nothing_answer(void *arg, const char *p, size_t n, bool typed) { (void)arg; (void)p; (void)n; (void)typed; }
static void nothing_clip(void *arg, const char *p, size_t n) { (void)arg; (void)p; (void)n; }
static const struct vt_ops vt_ops = { .on_answer = nothing_answer, .on_title = nothing_text, .on_bell = nothing, .on_notify = nothing_text, .on_clipboard = nothing_clip };

static void feed(struct vt *v, const char *text)
{
	vt_feed(v, (const uint8_t *)text, strlen(text));
}

/* Each of these killed the library, or made it write where it must not. */
static void what_kills_the_library_does_not_reach_it(void **state)
{
	char many[5000];
	struct vt *v = vt_create(24, 80, 100, &vt_ops, NULL);

	(void)state;
	memset(many, ';', sizeof(many));
	feed(v, "\x1b[");
	vt_feed(v, (const uint8_t *)many, sizeof(many));
	feed(v, "Hx\r\n");
	/* Margins of a larger screen, then a scroll. */
	feed(v, "\x1b[20;24r\x1b[?69h\x1b[60;80s\x1b[24;1H");
	vt_resize(v, 10, 10);
	feed(v, "\x1b[10;1H\n\n\x1b[3S\x1b[3T\x1b[2L");
	/* A cursor saved on a larger screen, then a tab stop there. */
	vt_resize(v, 900, 900);
	feed(v, "\x1b[900;900H\x1b" "7\x1b[?1049h\x1b[900;900H\x1b" "7");
	vt_resize(v, 2, 2);
	feed(v, "\x1b" "8\x1bHx\x1b[?1049l\x1bHxx\x1b" "8\x1bH\tx");
	/* Marks without end, a colour cut short, a count that overflows. */
	for (int i = 0; i < 100000; i++)
		feed(v, "\xcc\x81");
	feed(v, "\x1b[38;5m\x1b[38;2;1m\x1b[48m\x1b[2147483647C\x1b[4294967295@\x1b[999999999999X");
	const struct grid *g = vt_grid(v);
	assert_int_equal(g->rows, 2);
	assert_int_equal(g->cols, 2);
	vt_destroy(v);
}

/* ---- attributes -------------------------------------------------------------------------------------------------------------------------- */

static struct pen pen;

static void pen_csi(void *arg, const struct seq_csi *c)
{
	(void)arg;
	sgr_apply(&pen, c);
}

static void attributes_and_colours(void **state)
{
	static const struct seq_ops pen_ops = { .on_text = on_text, .on_escape = on_escape, .on_csi = pen_csi };
	static const struct {
		const char *in;
		uint32_t fg, bg;
		unsigned attrs;
	} rows[] = {
		{ "1;2;3", 0, 0, CELL_BOLD | CELL_DIM | CELL_ITALIC },
		{ "1;2;22", 0, 0, 0 },
		{ "4", 0, 0, CELL_UNDERLINE },
		{ "4:3", 0, 0, CELL_CURLY },
		{ "4:2", 0, 0, CELL_UNDERLINE2 },
		{ "4;4:0", 0, 0, 0 },
		{ "4:5;24", 0, 0, 0 },
		{ "21", 0, 0, CELL_UNDERLINE2 },
		{ "5;7;8;9", 0, 0, CELL_BLINK | CELL_REVERSE | CELL_CONCEAL | CELL_STRIKE },
		{ "5;7;8;9;25;27;28;29", 0, 0, 0 },
		{ "31;42", COLOR_INDEX(1), COLOR_INDEX(2), 0 },
		{ "91;102", COLOR_INDEX(9), COLOR_INDEX(10), 0 },
		{ "31;42;39;49", 0, 0, 0 },
		{ "38;5;2;1", COLOR_INDEX(2), 0, CELL_BOLD },
		{ "38:5:2;1", COLOR_INDEX(2), 0, CELL_BOLD },
		{ "48;2;1;2;3;4", 0, COLOR_RGB(1, 2, 3), CELL_UNDERLINE },
		{ "38:2:1:2:3", COLOR_RGB(1, 2, 3), 0, 0 },
		{ "38:2::1:2:3;3", COLOR_RGB(1, 2, 3), 0, CELL_ITALIC },
		{ "58;5;9;1", 0, 0, CELL_BOLD },
		{ "58:2::9:9:9;1", 0, 0, CELL_BOLD },
		{ "38;5;256", 0, 0, 0 },
		{ "38;2;300;1;1", 0, 0, 0 },
		{ "38;5", 0, 0, 0 },
		{ "38;2;1;2", 0, 0, 0 },
		{ "31;38", COLOR_INDEX(1), 0, 0 },
		{ "1;31;0", 0, 0, 0 },
		{ "1;31;", 0, 0, 0 },
		{ "73;255;65535", 0, 0, 0 },
		{ "1:2:3;3", 0, 0, CELL_BOLD | CELL_ITALIC },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct seqscan s;
		char in[64];

		pen = (struct pen){ .link = 7 };
		seqscan_init(&s, &pen_ops, NULL);
		snprintf(in, sizeof(in), "\x1b[%sm", rows[i].in);
		seqscan_push(&s, (const uint8_t *)in, strlen(in));
		if (pen.fg != rows[i].fg || pen.bg != rows[i].bg || pen.attrs != rows[i].attrs || pen.link != 7)
			fail_msg("'%s': fg %x bg %x attrs %x", rows[i].in, pen.fg, pen.bg, pen.attrs);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sequences_are_told_whole_however_they_are_cut),
		cmocka_unit_test(more_arguments_than_there_is_room_for_are_no_sequence),
		cmocka_unit_test(rubbish_comes_out_clean),
		cmocka_unit_test(every_mark_of_the_library_is_counted),
		cmocka_unit_test(what_kills_the_library_does_not_reach_it),
		cmocka_unit_test(attributes_and_colours),
	};

	return cmocka_run_group_tests_name("term/seq", tests, NULL, NULL);
}
