/* SPDX-License-Identifier: Apache-2.0 */
/* Some hunks and not the others: every choice of hunks of random edits is what a line-by-line reckoning says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <git2.h>
#include <stdio.h>
#include <string.h>

#include "core/base/str.h"
#include "core/review/pick.h"

static void expect(const char *old, const char *new, unsigned context, const uint16_t *ids, size_t n, const char *want)
{
	struct buf out;

	buf_init(&out, 65536);
	assert_int_equal(pick_hunks(old, strlen(old), new, strlen(new), context, ids, n, &out, NULL), 0);
	assert_int_equal(buf_size(&out), strlen(want));
	assert_memory_equal(buf_head(&out), want, strlen(want));
	buf_release(&out);
}

static void one_by_one(void **state)
{
	const char *old = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n", *new = "A\nb\nc\nd\ne2\nf\ng\nh\ni\nj\nk\n";
	const uint16_t first[] = { 0 }, second[] = { 1 }, third[] = { 2 }, ends[] = { 2, 0 }, all[] = { 0, 1, 2 };

	(void)state;
	expect(old, new, 0, first, 1, "A\nb\nc\nd\ne\nf\ng\nh\ni\nj\n");
	expect(old, new, 0, second, 1, "a\nb\nc\nd\ne2\nf\ng\nh\ni\nj\n");
	expect(old, new, 0, third, 1, "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\n");
	expect(old, new, 0, ends, 2, "A\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\n");
	expect(old, new, 0, all, 3, new);
	expect(old, new, 3, first, 1, new); /* with context they are one */
}

static void ends(void **state)
{
	const uint16_t first[] = { 0 };

	(void)state;
	expect("a", "a\n", 3, first, 1, "a\n");
	expect("a\n", "a", 3, first, 1, "a");
	expect("", "new\nfile", 3, first, 1, "new\nfile");
	expect("old\nfile", "", 3, first, 1, "");
	expect("a\nb\n", "b\n", 0, first, 1, "b\n");
	expect("b\n", "a\nb\n", 0, first, 1, "a\nb\n");
}

static void refused(void **state)
{
	const uint16_t third[] = { 2 };
	const char binary[] = "a\0b\n", other[] = "a\0c\n";
	struct err e = ERR_INIT;
	struct buf out;

	(void)state;
	buf_init(&out, 4096);
	assert_int_equal(pick_hunks("a\n", 2, "b\n", 2, 3, third, 1, &out, &e), -ESTALE);
	assert_non_null(strstr(e.msg, "1 hunks now"));
	assert_int_equal(pick_hunks(binary, 4, other, 4, 3, third, 1, &out, &e), -EINVAL);
	assert_int_equal(buf_size(&out), 0);
	buf_release(&out);
}

/* Lines that are changed every tenth: hunk i is edit i, so any choice is known beforehand. */
static void every_choice(void **state)
{
	char old[4096] = "", new[4096] = "", want[4096];
	uint16_t ids[8];

	(void)state;
	for (unsigned i = 0; i < 80; i++) {
		snprintf(old + strlen(old), sizeof(old) - strlen(old), "line %u\n", i);
		/* changed, deleted, doubled in turn */
		if (i % 10 != 5 || i / 10 % 3 == 0)
			snprintf(new + strlen(new), sizeof(new) - strlen(new), i % 10 == 5 ? "LINE %u\n" : "line %u\n", i);
		else if (i / 10 % 3 == 2)
			snprintf(new + strlen(new), sizeof(new) - strlen(new), "line %u\nline %u again\n", i, i);
	}
	for (unsigned choice = 1; choice < 256; choice++) {
		size_t n = 0;

		want[0] = '\0';
		for (unsigned i = 0; i < 80; i++) {
			const bool edit = i % 10 == 5 && (choice >> i / 10 & 1);

			if (i % 10 == 5 && edit)
				ids[n++] = (uint16_t)(i / 10);
			if (!edit)
				snprintf(want + strlen(want), sizeof(want) - strlen(want), "line %u\n", i);
			else if (i / 10 % 3 == 0)
				snprintf(want + strlen(want), sizeof(want) - strlen(want), "LINE %u\n", i);
			else if (i / 10 % 3 == 2)
				snprintf(want + strlen(want), sizeof(want) - strlen(want), "line %u\nline %u again\n", i, i);
		}
		expect(old, new, 3, ids, n, want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(one_by_one), cmocka_unit_test(ends), cmocka_unit_test(refused), cmocka_unit_test(every_choice) };

	git_libgit2_init();
	const int r = cmocka_run_group_tests(tests, NULL, NULL);
	git_libgit2_shutdown();
	return r;
}
