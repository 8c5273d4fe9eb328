/* SPDX-License-Identifier: Apache-2.0 */
/* See spark.h. Values outside 0..max are clamped; NaN counts as 0. */
#include "tui/spark.h"

#include "core/base/utf8.h"

/* Level 0..steps of a value; anything above nothing shows at least one step. */
static int level(float v, float max, int steps)
{
	if (!(v > 0) || !(max > 0))
		return 0;
	if (v >= max)
		return steps;
	const int l = (int)(v / max * (float)steps + 0.5f);
	return l < 1 ? 1 : l;
}

void spark_row(struct canvas *c, struct rect r, int row, int col, int cols, struct style st, const float *v, size_t n, float max)
{
	static const char *const bars[] = { " ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
	static const char *const plain[] = { " ", ".", ".", ":", ":", "|", "|", "#", "#" };

	for (int i = 0; i < cols; i++) {
		const size_t back = (size_t)(cols - i);

		if (back > n)
			continue;
		int l = level(v[n - back], max, 8);
		if (l == 0)
			l = 1; /* a floor: there was a sample */
		canvas_text(c, r, row, col + i, -1, st, c->ascii ? plain[l] : bars[l]);
	}
}

static float at(const float *v, size_t n, size_t back)
{
	return back >= 1 && back <= n ? v[n - back] : 0;
}

void spark_area(struct canvas *c, struct rect r, struct style st, const float *v, size_t n, float max)
{
	static const uint8_t left[] = { 0, 0x40, 0x44, 0x46, 0x47 }, right[] = { 0, 0x80, 0xa0, 0xb0, 0xb8 };

	for (int col = 0; col < r.cols; col++) {
		const size_t back = (size_t)(r.cols - col);
		const int a = level(c->ascii ? at(v, n, back) : at(v, n, 2 * back), max, 4 * r.rows);
		const int b = level(c->ascii ? at(v, n, back) : at(v, n, 2 * back - 1), max, 4 * r.rows);

		for (int row = 0; row < r.rows; row++) {
			const int base = 4 * (r.rows - 1 - row);
			const int la = a - base < 0 ? 0 : a - base > 4 ? 4 : a - base, lb = b - base < 0 ? 0 : b - base > 4 ? 4 : b - base;
			char text[5] = { 0 };

			if (!la && !lb)
				continue;
			if (c->ascii)
				text[0] = la > 2 ? '#' : la > 1 ? ':' : '.';
			else
				text[utf8_put(0x2800u | left[la] | right[lb], text)] = '\0';
			canvas_text(c, r, row, col, -1, st, text);
		}
	}
}

void spark_gauge(struct canvas *c, struct rect r, int row, int col, int cols, struct style full, struct style empty, double part)
{
	const int n = !(part > 0) ? 0 : part >= 1 ? cols : (int)(part * cols + 0.5);

	for (int i = 0; i < cols; i++)
		canvas_text(c, r, row, col + i, -1, i < n ? full : empty, glyph(i < n ? G_BAR_FULL : G_BAR_EMPTY, c->ascii));
}
