/* SPDX-License-Identifier: Apache-2.0 */
/* Theme files: what is right, what is wrong and on which line, fallbacks; every theme that is delivered; direct colour's terminfo entry. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "tui/direct.h"
#include "tui/theme.h"

static int parse(struct theme *t, const char *text, struct err *e)
{
	return theme_parse(t, text, strlen(text), e);
}

static void fallbacks(void **state)
{
	struct theme t;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(parse(&t, "# c\nname  Two words\nnormal #102030 default\nwaits #ff8700/208/yellow - bold mono=reverse,bold\nborder red bright-blue dim\n", &e), 0);
	assert_string_equal(t.name, "Two words");
	theme_resolve(&t, DEPTH_TRUE);
	assert_int_equal(t.style[EL_WAITS].fg, COLOR_RGB(0xff, 0x87, 0));
	assert_int_equal(t.style[EL_DIM].fg, COLOR_RGB(0x10, 0x20, 0x30)); /* not named: normal's */
	theme_resolve(&t, DEPTH_256);
	assert_int_equal(t.style[EL_WAITS].fg, COLOR_INDEX(208));
	theme_resolve(&t, DEPTH_16);
	assert_int_equal(t.style[EL_WAITS].fg, COLOR_INDEX(3));
	assert_int_equal(t.style[EL_BORDER].bg, COLOR_INDEX(12));
	theme_resolve(&t, DEPTH_8);
	assert_int_equal(t.style[EL_BORDER].bg, COLOR_INDEX(4));
	theme_resolve(&t, DEPTH_MONO);
	assert_int_equal(t.style[EL_WAITS].fg, COLOR_DEFAULT);
	assert_int_equal(t.style[EL_WAITS].attrs, CELL_REVERSE | CELL_BOLD);
	assert_int_equal(color_at_depth(COLOR_RGB(255, 0, 0), DEPTH_256), COLOR_INDEX(196));
	assert_int_equal(color_at_depth(COLOR_RGB(128, 128, 128), DEPTH_256), COLOR_INDEX(244));
	assert_int_equal(color_at_depth(COLOR_INDEX(196), DEPTH_8), COLOR_INDEX(1));
}

static void what_is_wrong(void **state)
{
	static const struct { const char *text, *want; } bad[] = {
		{ "\nfoo red red\n", "line 2: there is no element 'foo'" }, { "normal red\n", "line 1: 'normal' needs" }, { "normal\n", "line 1" },
		{ "normal #12 red\n", "is no colour" }, { "normal #1234567 red\n", "is no colour" }, { "normal #123456/300 red\n", "0 to 255" },
		{ "normal #123456/1/foo red\n", "none of the 16" }, { "normal red red shiny\n", "'shiny' is no attribute" },
		{ "normal red red mono=x\n", "'x' is no attribute" }, { "name a\x1b[2Jb\n", "control" },
	};
	char line[700];
	struct theme t;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err e = ERR_INIT;

		assert_true(parse(&t, bad[i].text, &e) < 0);
		if (!strstr(e.msg, bad[i].want))
			print_message("got: %s\n", e.msg);
		assert_non_null(strstr(e.msg, bad[i].want));
	}
	struct err e = ERR_INIT;
	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	assert_true(parse(&t, line, &e) < 0);
	assert_true(theme_parse(&t, "normal red red\0x", 16, &e) < 0);
	assert_true(theme_load(&t, "../etc/passwd", &e) < 0);
	assert_true(theme_load(&t, "no-such-theme", &e) < 0);
}

static double channel(uint32_t c)
{
	const double v = (c & 0xff) / 255.0;

	return v <= 0.03928 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4);
}

/* WCAG 2: the ratio of two colours' relative luminances, 1 to 21. A default colour counts as that of a dark terminal. */
static double contrast(uint32_t fg, uint32_t bg)
{
	const uint32_t c[2] = { fg == COLOR_DEFAULT ? 0xd0d0d0 : fg & 0xffffff, bg == COLOR_DEFAULT ? 0x1e1e1e : bg & 0xffffff };
	double l[2];

	for (int i = 0; i < 2; i++)
		l[i] = 0.2126 * channel(c[i] >> 16) + 0.7152 * channel(c[i] >> 8) + 0.0722 * channel(c[i]);
	return (l[0] > l[1] ? l[0] + 0.05 : l[1] + 0.05) / (l[0] > l[1] ? l[1] + 0.05 : l[0] + 0.05);
}

/* What must be read at a glance, and what may be quiet. */
static void check_contrast(const char *name, const struct theme *t)
{
	static const enum element loud[] = { EL_NORMAL, EL_HEADER, EL_HEADER_NAME, EL_FOOTER, EL_FOOTER_KEY, EL_TITLE, EL_SELECTED, EL_WAITS, EL_FAILED, EL_ATTENTION,
		EL_MESSAGE, EL_ERROR, EL_WARN, EL_INPUT, EL_MATCH, EL_COPY, EL_TAB_ACTIVE, EL_POPUP };
	static const enum element quiet[] = { EL_DIM, EL_ACCENT, EL_BUSY, EL_IDLE, EL_BOOTS, EL_PAUSED, EL_STOPPED, EL_OK, EL_TAB, EL_LINK, EL_POPUP_BORDER };

	for (size_t i = 0; i < ARRAY_SIZE(loud); i++)
		if (contrast(t->style[loud[i]].fg, t->style[loud[i]].bg) < 4.0)
			fail_msg("%s: element %d is hard to read: %.1f to 1", name, loud[i], contrast(t->style[loud[i]].fg, t->style[loud[i]].bg));
	for (size_t i = 0; i < ARRAY_SIZE(quiet); i++)
		if (contrast(t->style[quiet[i]].fg, t->style[quiet[i]].bg) < 3.0)
			fail_msg("%s: quiet element %d cannot be read: %.1f to 1", name, quiet[i], contrast(t->style[quiet[i]].fg, t->style[quiet[i]].bg));
}

/* Each delivered theme parses, can be told apart where it matters, and names every element it should. */
static void delivered(void **state)
{
	static const char *const wanted[] = { "default-dark", "light", "high-contrast", "mono", "solarized-dark", "gruvbox-dark", "nord", "catppuccin-mocha" };
	static char text[65536];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		char path[512];
		struct theme t;
		struct err e = ERR_INIT;

		snprintf(path, sizeof(path), "%s/themes/%s.theme", SOURCEDIR, wanted[i]);
		FILE *f = fopen(path, "r");
		assert_non_null(f);
		const size_t n = fread(text, 1, sizeof(text), f);
		fclose(f);
		if (theme_parse(&t, text, n, &e) < 0)
			fail_msg("%s: %s", wanted[i], e.msg);
		assert_true(t.name[0] && t.el[EL_NORMAL].given);
		theme_resolve(&t, DEPTH_TRUE);
		if (strcmp(wanted[i], "mono"))
			check_contrast(wanted[i], &t);
		for (int d = DEPTH_MONO; d <= DEPTH_TRUE; d++) {
			theme_resolve(&t, (enum depth)d);
			for (int el = 0; el < EL_NUM; el++) /* readable: never the ground's own colour */
				if (t.style[el].fg != COLOR_DEFAULT && t.style[el].fg == t.style[el].bg)
					fail_msg("%s: %s cannot be read at depth %d", wanted[i], element_name((enum element)el), d);
			assert_memory_not_equal(&t.style[EL_SELECTED], &t.style[EL_NORMAL], sizeof(struct style));
			assert_memory_not_equal(&t.style[EL_ATTENTION], &t.style[EL_NORMAL], sizeof(struct style));
			assert_memory_not_equal(&t.style[EL_COPY], &t.style[EL_TERMINAL], sizeof(struct style));
		}
	}
}

static void direct_colour(void **state)
{
	char *hex = direct_terminfo("xterm-256color");
	uint8_t entry[64] = { 0x1a, 0x01 };

	(void)state;
	assert_null(direct_terminfo("../x"));
	assert_null(direct_terminfo("no-such-terminal"));
	assert_null(direct_entry(entry, sizeof(entry)));
	if (hex)
		assert_memory_equal(hex, "hex:1e02", 8);
	free(hex);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(fallbacks), cmocka_unit_test(what_is_wrong), cmocka_unit_test(delivered),
		cmocka_unit_test(direct_colour) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
