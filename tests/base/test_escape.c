/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "core/base/escape.h"
#include "core/base/utf8.h"

static const struct { const char *raw; size_t n; const char *text; } rows[] = {
	{ "plain/name.c", 12, "plain/name.c" },
	{ "", 0, "" },
	{ "tab\tnl\n", 7, "tab\\011nl\\012" },
	{ "back\\slash", 10, "back\\134slash" },
	{ "\x1b[31m", 5, "\\033[31m" },
	{ "\x7f", 1, "\\177" },
	{ "caf\xc3\xa9", 5, "caf\xc3\xa9" },
	{ "\xff\xfe", 2, "\\377\\376" },
	{ "\xc3", 1, "\\303" },
	{ "\xc2\x9b", 2, "\\302\\233" },                     /* C1 */
	{ "a\xe2\x80\xae" "b", 5, "a\\342\\200\\256b" },      /* right-to-left override */
	{ "\xed\xa0\x80", 3, "\\355\\240\\200" },             /* a surrogate */
	{ "\xef\xbf\xbd", 3, "\xef\xbf\xbd" },                /* U+FFFD itself */
};

static void both_ways(void **state)
{
	char text[256], raw[256];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_true(escape_text(text, sizeof(text), rows[i].raw, rows[i].n));
		assert_string_equal(text, rows[i].text);
		assert_true(utf8_clean(text));
		assert_int_equal(escape_undo(raw, sizeof(raw), text), rows[i].n);
		assert_memory_equal(raw, rows[i].raw, rows[i].n);
	}
}

static void every_pair_of_bytes(void **state)
{
	char text[64], raw[64];

	(void)state;
	for (unsigned a = 1; a < 256; a++)
		for (unsigned b = 1; b < 256; b++) {
			const char in[2] = { (char)a, (char)b };

			assert_true(escape_text(text, sizeof(text), in, 2));
			assert_true(utf8_clean(text));
			assert_int_equal(escape_undo(raw, sizeof(raw), text), 2);
			assert_memory_equal(raw, in, 2);
		}
}

static void what_is_no_escape(void **state)
{
	static const char *const bad[] = { "\\", "a\\", "\\1", "\\12", "\\400", "\\08x", "\\n", "\\\\" };
	char raw[16];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(escape_undo(raw, sizeof(raw), bad[i]), -EINVAL);
	assert_int_equal(escape_undo(raw, 4, "abcd"), -ENAMETOOLONG);
	assert_int_equal(escape_undo(raw, 5, "abcd"), 4);
	assert_false(escape_text(raw, 4, "abcd", 4));
	assert_string_equal(raw, "abc");
}

static void lines_keep_tabs_and_backslashes(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 256);
	assert_false(escape_line(&b, "\tif (x == '\\n')", 15));
	assert_int_equal(buf_size(&b), 15);
	buf_clear(&b);
	assert_true(escape_line(&b, "\tc:\\ \x1b", 6));
	assert_memory_equal(buf_head(&b), "\tc:\\134 \\033", 12);
	buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ways), cmocka_unit_test(every_pair_of_bytes), cmocka_unit_test(what_is_no_escape), cmocka_unit_test(lines_keep_tabs_and_backslashes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
