/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a terminal: the last gate between a guest's text and a person's screen. */
#include "tests/proto/wire.h"

#include "core/base/utf8.h"
#include "core/proto/rows.h"

#define COLS 20

static void blank(struct cell *c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		c[i] = (struct cell){ .width = 1 };
}

static void put(struct cell *c, const char *text, uint8_t width)
{
	c->width = width;
	c->len = (uint8_t)strlen(text);
	memcpy(c->text, text, c->len);
}

static int parse(const uint8_t *p, size_t n, struct cell *cells, size_t cols, uint16_t *index, uint8_t *flags)
{
	uint8_t *copy = malloc(n ? n : 1);
	struct rbuf r;

	assert_non_null(copy);
	if (n > 0)
		memcpy(copy, p, n);
	rbuf_init(&r, copy, n);
	int rc = row_unpack(&r, 50, index, flags, cells, cols);
	if (rc == 0 && rbuf_done(&r) < 0)
		rc = -EBADMSG;
	free(copy);
	return rc;
}

static void same_cells(const struct cell *a, const struct cell *b, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(a[i].width, b[i].width);
		assert_int_equal(a[i].len, b[i].len);
		assert_memory_equal(a[i].text, b[i].text, a[i].len);
		if (a[i].width == 0)
			continue; /* the right half wears what its left half wears */
		assert_int_equal(a[i].fg, b[i].fg);
		assert_int_equal(a[i].bg, b[i].bg);
		assert_int_equal(a[i].attrs, b[i].attrs);
		assert_int_equal(a[i].link, b[i].link);
	}
}

static void sample(struct cell *c)
{
	blank(c, COLS);
	put(&c[0], "h", 1);
	put(&c[1], "\xc3\xa9", 1);
	put(&c[2], "e\xcc\x81", 1); /* with a combining accent */
	put(&c[3], "\xe4\xbd\xa0", 2);
	c[4].width = 0;
	put(&c[5], "x", 1);
	c[5].fg = COLOR_INDEX(255);
	c[5].attrs = CELL_BOLD | CELL_CONCEAL;
	put(&c[6], "y", 1);
	c[6].bg = COLOR_RGB(1, 2, 255);
	c[6].link = 65535;
	put(&c[9], "\xf0\x9f\x98\x80", 2);
	c[10].width = 0;
	c[12].bg = COLOR_INDEX(4); /* blank, yet not default */
}

static void head_round_trip(void **state)
{
	struct rows_head m, x, back;
	struct buf b;
	struct rbuf r;

	(void)state;
	memset(&m, 0, sizeof(m));
	m.gen = UINT64_MAX - 1;
	m.rows = ROWS_MAX;
	m.cols = 3;
	m.cursor_row = ROWS_MAX - 1;
	m.cursor_col = 2;
	m.cursor_visible = 1;
	m.cursor_shape = CURSOR_BAR;
	m.cursor_blink = 1;
	m.modes = MODE_PASTE | MODE_REVERSE;
	m.history_first = 5;
	m.history_total = UINT64_C(1) << 50;
	m.nrows = ROWS_MAX;
	buf_init(&b, 100);
	assert_int_equal(rows_head_pack(&b, &m), 0);
	memset(&back, 0, sizeof(back));
	rbuf_init(&r, buf_head(&b), buf_size(&b));
	assert_int_equal(rows_head_unpack(&r, &back), 0);
	assert_int_equal(rbuf_done(&r), 0);
	assert_memory_equal(&back, &m, sizeof(m));
	for (size_t n = 0; n < buf_size(&b); n++) {
		rbuf_init(&r, buf_head(&b), n);
		assert_int_equal(rows_head_unpack(&r, &back), -EBADMSG);
	}
#define BAD(field, value)                                                     \
	do {                                                                  \
		x = m;                                                        \
		x.field = (value);                                            \
		buf_clear(&b);                                                \
		assert_int_equal(rows_head_pack(&b, &x), 0);                  \
		rbuf_init(&r, buf_head(&b), buf_size(&b));                    \
		assert_int_equal(rows_head_unpack(&r, &back), -EBADMSG);      \
	} while (0)
	BAD(rows, 0);
	BAD(rows, ROWS_MAX + 1);
	BAD(cols, 0);
	BAD(cols, ROWS_MAX + 1);
	BAD(cursor_row, ROWS_MAX);
	BAD(cursor_col, 3);
	BAD(cursor_visible, 2);
	BAD(cursor_shape, CURSOR_BAR + 1);
	BAD(cursor_blink, 2);
	BAD(history_first, (UINT64_C(1) << 50) + 1);
	BAD(nrows, ROWS_MAX + 1);
#undef BAD
	buf_release(&b);
}

static void row_round_trip(void **state)
{
	struct cell cells[COLS], back[COLS + 5];
	struct buf b;
	uint16_t index;
	uint8_t flags;

	(void)state;
	sample(cells);
	buf_init(&b, 4096);
	assert_int_equal(row_pack(&b, 49, ROW_WRAPPED, cells, COLS), 0);
	assert_int_equal(parse(buf_head(&b), buf_size(&b), back, COLS, &index, &flags), 0);
	assert_int_equal(index, 49);
	assert_int_equal(flags, ROW_WRAPPED);
	same_cells(cells, back, COLS);
	/* Into a wider screen: the rest is blank. Into a narrower one: refused. */
	memset(back, 0xff, sizeof(back));
	assert_int_equal(parse(buf_head(&b), buf_size(&b), back, COLS + 5, &index, &flags), 0);
	for (size_t i = COLS; i < COLS + 5; i++)
		assert_true(back[i].width == 1 && back[i].len == 0 && back[i].fg == COLOR_DEFAULT);
	assert_int_equal(parse(buf_head(&b), buf_size(&b), back, 13, &index, &flags), 0);
	assert_int_equal(parse(buf_head(&b), buf_size(&b), back, 12, &index, &flags), -EBADMSG);
	for (size_t n = 0; n < buf_size(&b); n++)
		assert_int_equal(parse(buf_head(&b), n, back, COLS, &index, &flags), -EBADMSG);
	/* A row of blanks is its head alone. */
	blank(cells, COLS);
	buf_clear(&b);
	assert_int_equal(row_pack(&b, 0, 0, cells, COLS), 0);
	assert_int_equal(buf_size(&b), 5);
	buf_release(&b);
}

/* One flipped bit: refused, or cells that can be packed and come back the same, drawable all. */
static void row_bit_flips(void **state)
{
	struct cell cells[COLS], back[COLS], again[COLS];
	struct buf b, b2;
	uint16_t index;
	uint8_t flags;

	(void)state;
	sample(cells);
	buf_init(&b, 4096);
	buf_init(&b2, 4096);
	assert_int_equal(row_pack(&b, 7, 0, cells, COLS), 0);
	for (size_t bit = 0; bit < 8 * buf_size(&b); bit++) {
		b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (parse(buf_head(&b), buf_size(&b), back, COLS, &index, &flags) == 0) {
			buf_clear(&b2);
			assert_int_equal(row_pack(&b2, index, flags, back, COLS), 0);
			assert_int_equal(parse(buf_head(&b2), buf_size(&b2), again, COLS, &index, &flags), 0);
			same_cells(back, again, COLS);
		}
		b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	buf_release(&b);
	buf_release(&b2);
}

/* A row of one cell, in bytes. */
static int one(uint16_t index, uint8_t flags, uint16_t used, uint16_t run, uint16_t attrs, uint32_t fg, uint32_t bg, uint8_t width, const char *text, size_t n)
{
	struct cell cells[COLS];
	struct buf b;
	uint16_t i;
	uint8_t f;

	buf_init(&b, 200);
	buf_u16(&b, index);
	buf_u8(&b, flags);
	buf_u16(&b, used);
	buf_u16(&b, run);
	buf_u16(&b, attrs);
	buf_u32(&b, fg);
	buf_u32(&b, bg);
	buf_u16(&b, 0);
	buf_u8(&b, (uint8_t)(width | n << 2));
	buf_put(&b, text, n);
	const int rc = parse(buf_head(&b), buf_size(&b), cells, COLS, &i, &f);
	buf_release(&b);
	return rc;
}

static void row_refusals(void **state)
{
	(void)state;
	assert_int_equal(one(0, 0, 1, 1, 0, 0, 0, 1, "a", 1), 0);
	assert_int_equal(one(50, 0, 1, 1, 0, 0, 0, 1, "a", 1), -EBADMSG);  /* index */
	assert_int_equal(one(0, 2, 1, 1, 0, 0, 0, 1, "a", 1), -EBADMSG);   /* flags */
	assert_int_equal(one(0, 0, 1, 0, 0, 0, 0, 1, "a", 1), -EBADMSG);   /* a run of none would never end */
	assert_int_equal(one(0, 0, 1, 2, 0, 0, 0, 1, "a", 1), -EBADMSG);   /* a run past the columns used */
	assert_int_equal(one(0, 0, 21, 1, 0, 0, 0, 1, "a", 1), -EBADMSG);
	assert_int_equal(one(0, 0, 1, 1, 1024, 0, 0, 1, "a", 1), -EBADMSG); /* an attribute that is none */
	assert_int_equal(one(0, 0, 1, 1, 0, 5, 0, 1, "a", 1), -EBADMSG);    /* colours */
	assert_int_equal(one(0, 0, 1, 1, 0, 0, COLOR_INDEX(256), 1, "a", 1), -EBADMSG);
	assert_int_equal(one(0, 0, 1, 1, 0, 0x03000000, 0, 1, "a", 1), -EBADMSG);
	assert_int_equal(one(0, 0, 1, 1, 0, COLOR_RGB(255, 255, 255), COLOR_INDEX(0), 1, "a", 1), 0);
	assert_int_equal(one(0, 0, 1, 1, 0, 0, 0, 3, "a", 1), -EBADMSG);    /* widths */
	assert_int_equal(one(0, 0, 1, 1, 0, 0, 0, 0, "", 0), -EBADMSG);     /* half of nothing */
	assert_int_equal(one(0, 0, 1, 1, 0, 0, 0, 2, "\xe4\xbd\xa0", 3), -EBADMSG); /* without its other half */
	assert_int_equal(one(0, 0, 1, 1, 0, 0, 0, 1, "aaaaaaaaaaaaaaaaaaaaaaaaa", 25), -EBADMSG);
}

static void text_that_may_not_stand_in_a_cell(void **state)
{
	static const char *const bad[] = {
		"\x1b", "\n", "\x7f", "\xc2\x9b" /* C1: CSI */, "\xff", "\xc3" /* cut */, "\xed\xa0\x80" /* a surrogate */, "\xc0\x80",
		"\xe2\x80\xae" /* right-to-left override */, "a\xe2\x80\xae", "\xe2\x80\x8b", "a\xe2\x80\x8b" /* zero-width space */, "\xef\xbb\xbf",
		"\xe2\x81\xa6", "\xe2\x80\xa8", "\xc2\xad", "a\x1b", "ab" /* two bases */, "\xcc\x81" /* a mark alone */,
		"\xe4\xbd\xa0" /* wide in one column */, "\xef\xbf\xbe", "\xf3\xa0\x80\x81", "a\xf3\xa0\x81\xa1" /* tags */,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (one(0, 0, 1, 1, 0, 0, 0, 1, bad[i], strlen(bad[i])) == 0)
			fail_msg("text %zu was let through", i);
	assert_int_equal(one(0, 0, 1, 1, 0, 0, 0, 1, "\0", 1), -EBADMSG);
	assert_int_equal(one(0, 0, 1, 1, 0, 0, 0, 1, "e\xcc\x81\xcc\xa3", 5), 0);
	assert_int_equal(one(0, 0, 1, 1, 0, 0, 0, 1, "\xef\xbf\xbd", 3), 0);
	assert_int_equal(one(0, 0, 1, 1, 0, 0, 0, 1, "\xe2\x9d\xa4\xef\xb8\x8f", 6), 0); /* heart, emoji style */
}

/* Every code point there is, alone and as a mark, in both widths: cell_text() makes of it what row_unpack() takes. */
static void what_cell_text_makes_is_taken(void **state)
{
	struct cell cells[COLS], back[COLS];
	struct buf b;
	uint16_t index;
	uint8_t flags;

	(void)state;
	buf_init(&b, 4096);
	for (uint32_t cp = 0; cp < 0x110010; cp += cp == 0x30000 ? 0x0b0000 : 1) {
		const uint32_t alone[] = { cp }, mark[] = { 'a', cp, cp, cp, cp, cp, cp, cp };

		blank(cells, 8);
		cells[0].len = (uint8_t)cell_text(cells[0].text, alone, 1, 1);
		cells[1].width = 2;
		cells[1].len = (uint8_t)cell_text(cells[1].text, alone, 1, 2);
		cells[2].width = 0;
		cells[3].len = (uint8_t)cell_text(cells[3].text, mark, 8, 1);
		buf_clear(&b);
		assert_int_equal(row_pack(&b, 0, 0, cells, 8), 0);
		if (parse(buf_head(&b), buf_size(&b), back, COLS, &index, &flags) != 0)
			fail_msg("U+%04X", (unsigned)cp);
		assert_true(back[0].len >= 1 && back[3].text[0] == 'a' && back[3].len <= CELL_TEXT_MAX);
	}
	assert_int_equal(cell_text(cells[0].text, NULL, 0, 1), 0);
	buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(head_round_trip),
		cmocka_unit_test(row_round_trip),
		cmocka_unit_test(row_bit_flips),
		cmocka_unit_test(row_refusals),
		cmocka_unit_test(text_that_may_not_stand_in_a_cell),
		cmocka_unit_test(what_cell_text_makes_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
