/* SPDX-License-Identifier: Apache-2.0 */
/* The layout at every size from 1x1 up: nothing overlaps, nothing leaves the screen, the same input gives the same answer; tiles and splits too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "core/base/str.h"
#include "tui/layout.h"

static bool overlap(struct rect a, struct rect b)
{
	return a.rows > 0 && b.rows > 0 && a.cols > 0 && b.cols > 0 && a.row < b.row + b.rows && b.row < a.row + a.rows &&
	       a.col < b.col + b.cols && b.col < a.col + a.cols;
}

static void check_rects(const struct rect *r, size_t n, int rows, int cols)
{
	for (size_t i = 0; i < n; i++) {
		if (r[i].rows == 0)
			continue;
		assert_true(r[i].row >= 0 && r[i].col >= 0 && r[i].rows > 0 && r[i].cols >= 0);
		assert_true(r[i].row + r[i].rows <= rows && r[i].col + r[i].cols <= cols);
		for (size_t k = 0; k < i; k++)
			assert_false(overlap(r[i], r[k]));
	}
}

static void check_at(const struct layout_in *in)
{
	struct layout l, again;

	layout_compute(in, &l);
	layout_compute(in, &again);
	assert_memory_equal(&l, &again, sizeof(l));
	const struct rect all[] = { l.header, l.attention, l.glyphs, l.list, l.main, l.second, l.lower, l.lower_right, l.footer };
	check_rects(all, ARRAY_SIZE(all), in->rows, in->cols);
	/* Something can always be seen. */
	assert_true(l.main.rows > 0 || l.list.rows > 0);
}

static void every_size(void **state)
{
	(void)state;
	for (int rows = 1; rows <= 70; rows++)
		for (int cols = 1; cols <= 220; cols++)
			for (int page = PAGE_OVERVIEW; page <= PAGE_LOG; page++)
				for (int bits = 0; bits < 32; bits++) {
					const struct layout_in in = { .rows = rows, .cols = cols, .page = (enum page)page, .grid = bits & 1, .set = (enum layout_set)(cols % LAYOUT_NUM),
						.zoom = bits & 2, .attention = bits & 4, .alone = bits & 8, .typing = bits & 16 };

					check_at(&in);
					if (in.typing && page == PAGE_OVERVIEW) {
						struct layout l;

						layout_compute(&in, &l);
						assert_true(l.main.rows > 0); /* where the keys go is seen */
					}
				}
}

static void sizes_set_by_hand(void **state)
{
	(void)state;
	for (int list = 1; list < 300; list += 7)
		for (int lower = 1; lower < 100; lower += 3)
			for (int cols = 90; cols < 210; cols += 30) {
				const struct layout_in in = { .rows = 40, .cols = cols, .list_cols = list, .lower_rows = lower };

				check_at(&in);
			}
}

static void the_three_sizes(void **state)
{
	struct layout l;

	(void)state;
	layout_compute(&(struct layout_in){ .rows = 24, .cols = 80 }, &l);
	assert_true(l.list.rows > 0 && l.main.rows == 0 && !l.boxed);
	layout_compute(&(struct layout_in){ .rows = 24, .cols = 80, .page = PAGE_TERMINAL }, &l);
	assert_int_equal(l.glyphs.rows, 1);
	assert_int_equal(l.main.rows, 21);
	assert_int_equal(l.main.cols, 80);
	layout_compute(&(struct layout_in){ .rows = 40, .cols = 120 }, &l);
	assert_true(l.list.cols == 32 && l.main.cols == 88 && l.lower.rows > 5 && l.second.rows == 0 && l.boxed);
	layout_compute(&(struct layout_in){ .rows = 60, .cols = 200 }, &l);
	assert_true(l.second.cols >= 79 && l.main.cols >= 79 && l.lower.rows > 0 && l.lower_right.rows == l.lower.rows);
}

static void tiles(void **state)
{
	struct rect t[16];

	(void)state;
	for (int rows = 1; rows < 60; rows += 3)
		for (int cols = 1; cols < 200; cols += 9)
			for (size_t n = 0; n <= 20; n++) {
				const size_t got = layout_tiles((struct rect){ 2, 3, rows, cols }, n, t, 16);

				assert_true(got <= n && got <= 16);
				assert_true(n == 0 || got > 0);
				for (size_t i = 0; i < got; i++)
					assert_true(t[i].row >= 2 && t[i].col >= 3);
				check_rects(t, got, rows + 2, cols + 3);
			}
	assert_int_equal(layout_tiles((struct rect){ 0, 0, 57, 160 }, 9, t, 16), 9);
}

static void splits(void **state)
{
	struct split *root = split_create(1);
	unsigned ids[16], last = 1;
	struct rect rects[16], area;

	(void)state;
	for (unsigned i = 2; i <= 12; i++) {
		assert_int_equal(split_add(root, i / 2, i, i % 2), 0);
		last = i;
	}
	assert_int_equal(split_add(root, 99, 100, false), -2);
	for (int rows = 1; rows < 60; rows += 7)
		for (int cols = 1; cols < 200; cols += 13) {
			const size_t n = split_layout(root, (struct rect){ 1, 1, rows, cols }, ids, rects, 16);
			int cells = 0;

			assert_int_equal(n, last);
			for (size_t i = 0; i < n; i++)
				cells += rects[i].rows * rects[i].cols;
			check_rects(rects, n, rows + 1, cols + 1);
			assert_int_equal(cells, rows * cols); /* nothing is left over */
		}
	assert_true(split_resize(root, (struct rect){ 0, 0, 40, 120 }, 1, false, 500));
	assert_true(split_resize(root, (struct rect){ 0, 0, 40, 120 }, 1, false, -5000));
	assert_non_null(split_border_at(root, (struct rect){ 0, 0, 40, 120 }, 0, 6, &area));
	for (unsigned i = last; i > 1; i--)
		assert_int_not_equal(split_remove(&root, i), 0);
	assert_int_equal(split_remove(&root, 1), 0);
	assert_int_equal(split_layout(root, (struct rect){ 0, 0, 10, 10 }, ids, rects, 16), 1);
	assert_int_equal(ids[0], 1);
	split_destroy(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_size), cmocka_unit_test(sizes_set_by_hand), cmocka_unit_test(the_three_sizes),
		cmocka_unit_test(tiles), cmocka_unit_test(splits) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
