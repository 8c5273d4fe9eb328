/* SPDX-License-Identifier: Apache-2.0 */
/* Which names of branches come out of a sandbox. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/buf.h"
#include "core/base/str.h"
#include "tui/cli/branches.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "0123456789abcdef0123456789abcdef01234567"

static void names(void **state)
{
	static const char *const good[] = { "main", "feature/a", "bulkhead/blue", "v1.0", "a-b_c+d", "x;id", "$(id)", "\xc3\xa9t\xc3\xa9", "a@b", "HEAD2", "x/HEAD" };
	static const char *const bad[] = { "", "HEAD", "@", "../x", "a/../b", "a..b", ".a", "a/.b", "a/", "/a", "a//b", "a.", "a/b.", "x.lock", "x.lock/y", "-x", "a/-x",
					   "--upload-pack=id", "a b", "a\tb", "a\nb", "a:b", "a~1", "a^", "a?", "a*", "a[b", "a\\b", "a\"b", "a@{1}", "a\x7f", "a\x1b[31m",
					   "\xff", "a\xc3", "\xe2\x80\xaez", "\xc2\x9b" };
	char longest[BRANCH_NAME_MAX + 2];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		if (!branch_name_legal(good[i]))
			fail_msg("'%s' is refused", good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (branch_name_legal(bad[i]))
			fail_msg("'%s' is taken", bad[i]);
	memset(longest, 'a', sizeof(longest));
	longest[BRANCH_NAME_MAX + 1] = '\0';
	assert_false(branch_name_legal(longest));
	longest[BRANCH_NAME_MAX] = '\0';
	assert_true(branch_name_legal(longest));
	assert_true(branch_name_plain("feature/a-1.0"));
	assert_false(branch_name_plain("x;id"));
	assert_false(branch_name_plain("$(id)"));
}

static void lists(void **state)
{
	static const char text[] = A "\trefs/heads/main\n" B " refs/heads/feature/x\n" A "\trefs/tags/v1\n" A "\tHEAD\n" A "\trefs/heads/../x\n"
				   "zz\trefs/heads/short\n" A "\trefs/heads/main\nfatal: nothing\n" A "\trefs/heads/a\0b\n" A "\trefs/heads/last";
	struct branches *b = calloc(1, sizeof(*b));

	(void)state;
	assert_non_null(b);
	branches_parse(text, sizeof(text) - 1, "refs/heads/", b);
	assert_int_equal(b->n, 3);
	assert_int_equal(b->refused, 3); /* "../x", the second "main", the NUL */
	assert_false(b->cut);
	assert_string_equal(b->b[0].name, "main");
	assert_string_equal(b->b[1].name, "feature/x");
	assert_string_equal(b->b[1].oid, B);
	assert_string_equal(b->b[2].name, "last");
	assert_ptr_equal(branches_find(b, "feature/x"), &b->b[1]);
	assert_null(branches_find(b, "x"));
	for (size_t n = 0; n < sizeof(text); n++)
		branches_parse(text, n, "refs/heads/", b);
	free(b);
}

static void one_stands_in_another_s_way(void **state)
{
	static const char text[] = A "\trefs/heads/x\n" A "\trefs/heads/x/y\n" A "\trefs/heads/a/b/c\n" A "\trefs/heads/a/b\n" A "\trefs/heads/xy\n";
	struct branches *b = calloc(1, sizeof(*b));

	(void)state;
	assert_non_null(b);
	branches_parse(text, sizeof(text) - 1, "refs/heads/", b);
	assert_int_equal(b->n, 3);
	assert_int_equal(b->refused, 2);
	assert_string_equal(branches_clash(b, "x/z/w")->name, "x");
	assert_string_equal(branches_clash(b, "a")->name, "a/b/c");
	assert_null(branches_clash(b, "x"));
	assert_null(branches_clash(b, "x-y"));
	assert_null(branches_clash(b, "a/b/d"));
	free(b);
}

static void too_many(void **state)
{
	struct branches *b = calloc(1, sizeof(*b));
	struct buf text;

	(void)state;
	assert_non_null(b);
	buf_init(&text, 1u << 20);
	for (unsigned i = 0; i < BRANCHES_MAX + 3; i++)
		buf_printf(&text, A "\trefs/heads/b%u\n", i);
	assert_true(buf_ok(&text));
	branches_parse((const char *)buf_head(&text), buf_size(&text), "refs/heads/", b);
	assert_int_equal(b->n, BRANCHES_MAX);
	assert_true(b->cut);
	buf_release(&text);
	free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(names), cmocka_unit_test(lists), cmocka_unit_test(one_stands_in_another_s_way), cmocka_unit_test(too_many) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
