/* SPDX-License-Identifier: Apache-2.0 */
/* Names, sizes, UTF-8 and the scrubber. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "core/base/utf8.h"

static void sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{ "0", 0 }, { "4096", 4096 }, { "4096B", 4096 }, { "512M", UINT64_C(512) << 20 }, { "2G", UINT64_C(2) << 30 },
		{ "2g", UINT64_C(2) << 30 }, { "10GiB", UINT64_C(10) << 30 }, { "10GB", UINT64_C(10) << 30 }, { "1.5G", UINT64_C(3) << 29 },
		{ "0.5K", 512 }, { ".5K", 512 }, { "1T", UINT64_C(1) << 40 }, { "1.9999999999K", 2047 },
	};
	static const char *const bad[] = { "", "G", "2X", "2GX", "2GiBs", "2Gi", "-1", "+1", " 1", "1 ", "0x10", "1e3", "1..5", ".", "1,5G", "\xff" };
	static const char *const large[] = { "18446744073709551616", "99999999999999999999999", "17000000T", "16777216T" };
	struct err e;
	uint64_t v;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		v = 99;
		if (str_size(good[i].text, &v, &e) != 0 || v != good[i].bytes)
			fail_msg("'%s' gives %llu", good[i].text, (unsigned long long)v);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (str_size(bad[i], &v, &e) != -EINVAL)
			fail_msg("'%s' was taken for a size", bad[i]);
		assert_non_null(strstr(e.msg, "is not a size"));
	}
	for (size_t i = 0; i < ARRAY_SIZE(large); i++) {
		assert_int_equal(str_size(large[i], &v, &e), -EINVAL);
		assert_non_null(strstr(e.msg, "too large"));
	}
}

static void whole_numbers(void **state)
{
	uint64_t v = 5;

	(void)state;
	assert_int_equal(str_u64("0", 0, 10, &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(str_u64("18446744073709551615", 0, UINT64_MAX, &v), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(str_u64("18446744073709551616", 0, UINT64_MAX, &v), -ERANGE);
	assert_int_equal(str_u64("11", 0, 10, &v), -ERANGE);
	assert_int_equal(str_u64("4", 5, 10, &v), -ERANGE);
	assert_int_equal(str_u64("", 0, 10, &v), -EINVAL);
	assert_int_equal(str_u64("-1", 0, 10, &v), -EINVAL);
	assert_int_equal(str_u64(" 1", 0, 10, &v), -EINVAL);
	assert_int_equal(str_u64("1a", 0, 10, &v), -EINVAL);
	assert_true(v == UINT64_MAX); /* untouched by a failure */
}

static void for_people(void **state)
{
	static const struct {
		uint64_t v;
		const char *text;
	} human[] = {
		{ 0, "0B" }, { 1023, "1023B" }, { 1024, "1.0K" }, { 1536, "1.5K" }, { 10239, "10K" }, { 1047552, "1023K" }, { 1048575, "1.0M" },
		{ UINT64_C(10) << 30, "10G" }, { UINT64_MAX, "16E" },
	}, age[] = { { 0, "0s" }, { 59, "59s" }, { 60, "1m" }, { 3599, "59m" }, { 3600, "1h" }, { 86399, "23h" }, { 86400, "1d" }, { 864000, "10d" } };
	char text[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(human); i++) {
		str_human(text, sizeof(text), human[i].v);
		assert_string_equal(text, human[i].text);
	}
	for (unsigned bit = 0; bit < 64; bit++) {
		str_human(text, sizeof(text), (UINT64_C(1) << bit) - 1);
		assert_true(strlen(text) <= 6);
	}
	for (size_t i = 0; i < ARRAY_SIZE(age); i++) {
		str_age(text, sizeof(text), age[i].v);
		assert_string_equal(text, age[i].text);
	}
}

static void names(void **state)
{
	static const char *const good[] = { "a", "0", "web-1", "a.b_c-d", "abcdefghijklmnopqrstuvwxyz0123456789-_.x" };
	static const char *const bad[] = {
		"", ".", "..", "-a", "_a", ".a", "a..b", "a/b", "../x", "A", "a b", "a\nb", "\x1b[31m", "a\x7f", "\xc3\xa9", "\xff",
		"abcdefghijklmnopqrstuvwxyz0123456789-_.xy",
	};
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(name_check(good[i], &e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (name_check(bad[i], &e) != -EINVAL)
			fail_msg("'%s' was taken for a name", bad[i]);
		assert_true(utf8_clean(e.msg)); /* the sentence can be shown */
	}
}

static void copies(void **state)
{
	char dst[4] = "xxx";
	char *s = str_fmt("%d-%s", 7, "x");

	(void)state;
	assert_string_equal(s, "7-x");
	free(s);
	assert_true(str_copy(dst, sizeof(dst), "abc"));
	assert_string_equal(dst, "abc");
	assert_false(str_copy(dst, sizeof(dst), "abcd"));
	assert_string_equal(dst, "abc");
	assert_false(str_copy(dst, 0, ""));
	assert_true(str_copy(dst, 1, ""));
	assert_true(str_starts("abc", "ab") && str_starts("abc", "") && !str_starts("ab", "abc"));
	assert_true(str_ends("abc", "bc") && str_ends("abc", "") && !str_ends("bc", "abc"));
}

static void distances(void **state)
{
	char longer[66];

	(void)state;
	memset(longer, 'a', 65);
	longer[65] = '\0';
	assert_int_equal(str_distance("", ""), 0);
	assert_int_equal(str_distance("", "abc"), 3);
	assert_int_equal(str_distance("attach", "attach"), 0);
	assert_int_equal(str_distance("attahc", "attach"), 1); /* two swapped */
	assert_int_equal(str_distance("sart", "start"), 1);
	assert_int_equal(str_distance("kitten", "sitting"), 3);
	assert_int_equal(str_distance("ca", "abc"), 3); /* optimal string alignment, not Damerau's */
	assert_int_equal(str_distance(longer, "a"), 64);
	assert_int_equal(str_distance(longer + 1, ""), 64);
}

static uint32_t one(const char *p, size_t n, size_t *used, bool *need)
{
	uint8_t *copy = malloc(n ? n : 1);
	uint32_t cp;

	assert_non_null(copy);
	memcpy(copy, p, n);
	*used = utf8_decode(copy, n, &cp, need);
	free(copy);
	return cp;
}

static void every_code_point_round_trips(void **state)
{
	(void)state;
	for (uint32_t cp = 0; cp <= 0x110000; cp++) {
		const bool legal = cp <= 0x10ffff && (cp < 0xd800 || cp > 0xdfff);
		char out[4];
		const size_t n = utf8_put(cp, out);
		uint32_t back;
		bool need;

		assert_int_equal(n, !legal ? 3 : cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4);
		assert_int_equal(utf8_decode((uint8_t *)out, n, &back, &need), n);
		assert_int_equal(back, legal ? cp : 0xfffd);
		assert_false(need);
		for (size_t cut = 1; cut < n; cut++) {
			assert_int_equal(utf8_decode((uint8_t *)out, cut, &back, &need), cut);
			assert_true(need);
		}
	}
}

/* Maximal subparts, as the Unicode standard's chapter 3.9 shows them. */
static void ill_formed_bytes(void **state)
{
	static const struct {
		const char *bytes;
		size_t parts[8];
	} cases[] = {
		{ "\x80", { 1 } }, { "\xbf\xbf", { 1, 1 } }, { "\xc0\xaf", { 1, 1 } }, { "\xc1\xbf", { 1, 1 } }, { "\xf5\x80", { 1, 1 } }, { "\xff", { 1 } },
		{ "\xe0\x80\xbf", { 1, 1, 1 } }, { "\xed\xa0\x80", { 1, 1, 1 } }, { "\xf0\x80\x80\x80", { 1, 1, 1, 1 } },
		{ "\xf4\x90\x80\x80", { 1, 1, 1, 1 } }, { "\xe1\x80\xe2", { 2, 1 } }, { "\xf0\x91\x92\x41", { 3, 1 } },
		{ "\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", { 2, 1, 3, 2, 1 } }, { "\xc2\x41", { 1, 1 } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *p = cases[i].bytes;
		size_t n = strlen(p), used;

		for (size_t k = 0; n > 0; k++) {
			const uint32_t cp = one(p, n, &used, NULL);

			assert_int_equal(used, cases[i].parts[k]);
			assert_int_equal(cp, (uint8_t)*p < 0x80 ? (uint32_t)*p : 0xfffd);
			p += used;
			n -= used;
		}
	}
	uint32_t cp;
	assert_int_equal(utf8_decode(NULL, 0, &cp, NULL), 0);
}

static void widths(void **state)
{
	static const struct {
		uint32_t cp;
		int width;
	} cases[] = {
		{ 0, -1 }, { 0x1b, -1 }, { ' ', 1 }, { '~', 1 }, { 0x7f, -1 }, { 0x9f, -1 }, { 0xa0, 1 }, { 0xe9, 1 }, { 0x300, 0 }, { 0x36f, 0 },
		{ 0x200b, 0 }, { 0x200d, 0 }, { 0xfe0f, 0 }, { 0x1100, 2 }, { 0x1160, 0 }, { 0x2500, 1 }, { 0x2603, 1 }, { 0x26a1, 2 }, { 0x3000, 2 },
		{ 0x4e00, 2 }, { 0xac00, 2 }, { 0xff01, 2 }, { 0xff61, 1 }, { 0xfffd, 1 }, { 0x1f600, 2 }, { 0x20000, 2 }, { 0xe0100, 0 }, { 0xe000, 1 },
		{ 0x110000, 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (utf8_width(cases[i].cp) != cases[i].width)
			fail_msg("U+%04X: %d", (unsigned)cases[i].cp, utf8_width(cases[i].cp));
	assert_int_equal(utf8_columns("a\xe4\xbd\xa0" "e\xcc\x81\x1b"), 4);
	assert_int_equal(utf8_columns(""), 0);
}

static void fitting(void **state)
{
	static const struct {
		const char *s;
		size_t columns;
		bool ascii;
		const char *want;
		size_t took;
	} cases[] = {
		{ "hello", 5, false, "hello", 5 }, { "hello", 4, false, "hel\xe2\x80\xa6", 4 }, { "hello", 4, true, "hel.", 4 },
		{ "hello", 1, true, ".", 1 }, { "hello", 0, false, "", 0 }, { "", 5, false, "", 0 },
		{ "\xe4\xbd\xa0\xe4\xbd\xa0", 4, false, "\xe4\xbd\xa0\xe4\xbd\xa0", 4 },
		{ "\xe4\xbd\xa0\xe4\xbd\xa0", 3, true, "\xe4\xbd\xa0.", 3 }, { "\xe4\xbd\xa0\xe4\xbd\xa0", 2, true, ".", 1 },
		{ "e\xcc\x81x", 2, true, "e\xcc\x81x", 2 },
	};
	char dst[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(utf8_fit(dst, sizeof(dst), cases[i].s, cases[i].columns, cases[i].ascii), cases[i].took);
		assert_string_equal(dst, cases[i].want);
	}
	/* A small destination: terminated, no half character. */
	for (size_t cap = 0; cap < 12; cap++) {
		char *small = malloc(cap ? cap : 1);

		assert_non_null(small);
		utf8_fit(small, cap, "\xe4\xbd\xa0\xe4\xbd\xa0\xe4\xbd\xa0", 6, false);
		if (cap > 0)
			assert_true(utf8_clean(small));
		free(small);
	}
}

static void scrubbed(void **state)
{
	static const struct {
		const char *from, *want, *many;
	} cases[] = {
		{ "plain", "plain", NULL }, { "\x1b[31mred\x07", "^[[31mred^G", NULL }, { "a\nb\tc\r", "a^Jb^Ic^M", "a\nb\tc^M" }, { "\x7f", "^?", NULL },
		{ "\xc2\x9b" "2J", "<U+009B>2J", NULL }, { "x\xe2\x80\xaey", "x<U+202E>y", NULL }, { "\xe2\x80\x8b", "<U+200B>", NULL },
		{ "\xff", "\xef\xbf\xbd", NULL }, { "\xc3", "\xef\xbf\xbd", NULL }, { "\xc3\xa9\xe4\xbd\xa0", "\xc3\xa9\xe4\xbd\xa0", NULL },
		{ "\xef\xbb\xbf", "<U+FEFF>", NULL }, { "\xf3\xa0\x80\xa1", "<U+E0021>", NULL },
	};
	char dst[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(scrub(dst, sizeof(dst), cases[i].from, strlen(cases[i].from), false), strlen(cases[i].want));
		assert_string_equal(dst, cases[i].want);
		scrub(dst, sizeof(dst), cases[i].from, strlen(cases[i].from), true);
		assert_string_equal(dst, cases[i].many ? cases[i].many : cases[i].want);
	}
	scrub(dst, sizeof(dst), "a\0b", 3, false);
	assert_string_equal(dst, "a^@b");
}

/* Any bytes into any size: terminated, clean, and clean text passes unchanged. */
static void scrub_always_gives_clean_text(void **state)
{
	unsigned seed = 42;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		uint8_t src[24];
		char dst[sizeof(src) * 12], again[sizeof(dst)];
		size_t cap;

		for (size_t i = 0; i < sizeof(src); i++) {
			seed = seed * 1664525 + 1013904223;
			src[i] = (uint8_t)(seed >> 24);
			if (seed & 0x100) /* mostly things that begin something */
				src[i] = (uint8_t)"\xe2\x80\xae\x1b\xc2\x9b\xf3\xa0"[seed >> 29];
		}
		cap = 1 + (seed >> 10) % sizeof(dst);
		const size_t n = scrub(dst, cap, src, sizeof(src), false);
		assert_true(n < cap && strlen(dst) == n);
		assert_true(utf8_clean(dst));
		assert_int_equal(scrub(again, sizeof(again), dst, n, false), n);
		assert_string_equal(again, dst);
	}
}

static void clean(void **state)
{
	(void)state;
	assert_true(utf8_clean("") && utf8_clean("caf\xc3\xa9 \xf0\x9f\x98\x80") && utf8_clean("\xef\xbf\xbd"));
	assert_false(utf8_clean("a\n"));
	assert_false(utf8_clean("\xc3"));
	assert_false(utf8_clean("\xe2\x80\xae"));
	assert_false(utf8_clean("\xc2\x85"));
	assert_false(utf8_clean("\xef\xbf\xbe"));
	assert_true(utf8_is_format(0xad) && utf8_is_format(0x2028) && utf8_is_format(0xfdd0) && utf8_is_format(0x10ffff));
	assert_false(utf8_is_format('a') || utf8_is_format(0xfffd) || utf8_is_format(0x301));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes),
		cmocka_unit_test(whole_numbers),
		cmocka_unit_test(for_people),
		cmocka_unit_test(names),
		cmocka_unit_test(copies),
		cmocka_unit_test(distances),
		cmocka_unit_test(every_code_point_round_trips),
		cmocka_unit_test(ill_formed_bytes),
		cmocka_unit_test(widths),
		cmocka_unit_test(fitting),
		cmocka_unit_test(scrubbed),
		cmocka_unit_test(scrub_always_gives_clean_text),
		cmocka_unit_test(clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
