/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding after Unicode 15, 3.9 (table 3-7; maximal subparts become one U+FFFD each), widths by a table of our own. */
#include "core/base/utf8.h"

#include <stdio.h>
#include <string.h>

#include "core/base/str.h"
#include "core/base/utf8_table.h"

#define REPLACEMENT 0xFFFDu

static bool in_table(const struct range *t, size_t n, uint32_t cp)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;

		if (cp > t[mid].last)
			lo = mid + 1;
		else if (cp < t[mid].first)
			hi = mid;
		else
			return true;
	}
	return false;
}

size_t utf8_decode(const uint8_t *p, size_t n, uint32_t *cp, bool *need)
{
	uint8_t lo = 0x80, hi = 0xBF; /* of the second byte */
	size_t more;
	uint32_t v;

	if (need)
		*need = false;
	*cp = REPLACEMENT;
	if (n == 0)
		return 0;
	const uint8_t c = p[0];
	if (c < 0x80) {
		*cp = c;
		return 1;
	}
	if (c >= 0xC2 && c <= 0xDF) {
		more = 1;
		v = c & 0x1F;
	} else if (c >= 0xE0 && c <= 0xEF) {
		more = 2;
		v = c & 0x0F;
		lo = c == 0xE0 ? 0xA0 : 0x80;
		hi = c == 0xED ? 0x9F : 0xBF;
	} else if (c >= 0xF0 && c <= 0xF4) {
		more = 3;
		v = c & 0x07;
		lo = c == 0xF0 ? 0x90 : 0x80;
		hi = c == 0xF4 ? 0x8F : 0xBF;
	} else {
		return 1;
	}
	for (size_t i = 1; i <= more; i++) {
		if (i >= n) {
			if (need)
				*need = true;
			return i;
		}
		if (p[i] < lo || p[i] > hi)
			return i;
		v = v << 6 | (p[i] & 0x3F);
		lo = 0x80;
		hi = 0xBF;
	}
	*cp = v;
	return more + 1;
}

size_t utf8_put(uint32_t cp, char out[4])
{
	if (cp > 0x10FFFF || (cp >= 0xD800 && cp <= 0xDFFF))
		cp = REPLACEMENT;
	if (cp < 0x80) {
		out[0] = (char)cp;
		return 1;
	}
	if (cp < 0x800) {
		out[0] = (char)(0xC0 | cp >> 6);
		out[1] = (char)(0x80 | (cp & 0x3F));
		return 2;
	}
	if (cp < 0x10000) {
		out[0] = (char)(0xE0 | cp >> 12);
		out[1] = (char)(0x80 | (cp >> 6 & 0x3F));
		out[2] = (char)(0x80 | (cp & 0x3F));
		return 3;
	}
	out[0] = (char)(0xF0 | cp >> 18);
	out[1] = (char)(0x80 | (cp >> 12 & 0x3F));
	out[2] = (char)(0x80 | (cp >> 6 & 0x3F));
	out[3] = (char)(0x80 | (cp & 0x3F));
	return 4;
}

int utf8_width(uint32_t cp)
{
	if (cp < 0x20 || (cp >= 0x7F && cp < 0xA0))
		return -1;
	if (cp < 0x300)
		return 1;
	if (in_table(zero_width, ARRAY_SIZE(zero_width), cp))
		return 0;
	return in_table(wide, ARRAY_SIZE(wide), cp) ? 2 : 1;
}

size_t utf8_columns(const char *s)
{
	size_t n = strlen(s), columns = 0;
	uint32_t cp;

	while (n > 0) {
		const size_t used = utf8_decode((const uint8_t *)s, n, &cp, NULL);
		const int w = utf8_width(cp);

		columns += w > 0 ? (size_t)w : 0;
		s += used;
		n -= used;
	}
	return columns;
}

size_t utf8_fit(char *dst, size_t cap, const char *s, size_t columns, bool ascii)
{
	const char *dots = ascii ? "." : "\xE2\x80\xA6";
	const bool cut = utf8_columns(s) > columns;
	const size_t budget = cut && columns > 0 ? columns - 1 : columns;
	size_t n = strlen(s), used = 0, at = 0;
	uint32_t cp;

	if (cap == 0)
		return 0;
	while (n > 0) {
		const size_t len = utf8_decode((const uint8_t *)s, n, &cp, NULL);
		const int w = utf8_width(cp) > 0 ? utf8_width(cp) : 0;

		if (used + (size_t)w > budget || at + len + 4 > cap)
			break;
		memcpy(dst + at, s, len);
		at += len;
		used += (size_t)w;
		s += len;
		n -= len;
	}
	if (cut && columns > 0 && at + strlen(dots) < cap) {
		memcpy(dst + at, dots, strlen(dots));
		at += strlen(dots);
		used++;
	}
	dst[at] = '\0';
	return used;
}

bool utf8_is_format(uint32_t cp)
{
	return in_table(format_chars, ARRAY_SIZE(format_chars), cp) || (cp >= 0xFFF0 && cp <= 0xFFFC) || (cp & 0xFFFE) == 0xFFFE ||
	       (cp >= 0xFDD0 && cp <= 0xFDEF);
}

/* How one code point is shown; at most 12 bytes. */
static size_t show(char out[16], uint32_t cp, bool multiline)
{
	if (multiline && (cp == '\n' || cp == '\t')) {
		out[0] = (char)cp;
		return 1;
	}
	if (cp < 0x20 || cp == 0x7F) {
		out[0] = '^';
		out[1] = (char)(cp ^ 0x40);
		return 2;
	}
	if ((cp >= 0x80 && cp < 0xA0) || utf8_is_format(cp)) {
		const int n = snprintf(out, 16, "<U+%04X>", cp);

		return n > 0 ? (size_t)n : 0;
	}
	return utf8_put(cp, out);
}

size_t scrub(char *dst, size_t cap, const void *src, size_t n, bool multiline)
{
	const uint8_t *p = src;
	size_t at = 0;

	if (cap == 0)
		return 0;
	while (n > 0) {
		char out[16];
		uint32_t cp;
		const size_t used = utf8_decode(p, n, &cp, NULL);
		const size_t len = show(out, cp, multiline);

		if (at + len >= cap)
			break;
		memcpy(dst + at, out, len);
		at += len;
		p += used;
		n -= used;
	}
	dst[at] = '\0';
	return at;
}

static bool well_formed(const char *s, bool clean)
{
	const uint8_t *p = (const uint8_t *)s;
	size_t n = strlen(s);

	while (n > 0) {
		uint32_t cp;
		char back[4];
		const size_t used = utf8_decode(p, n, &cp, NULL);

		if (clean && (cp < 0x20 || (cp >= 0x7F && cp < 0xA0) || utf8_is_format(cp)))
			return false;
		/* U+FFFD that was not written as itself stands for something ill-formed. */
		if (cp == REPLACEMENT && (utf8_put(cp, back) != used || memcmp(back, p, used) != 0))
			return false;
		p += used;
		n -= used;
	}
	return true;
}

bool utf8_valid(const char *s)
{
	return well_formed(s, false);
}

bool utf8_clean(const char *s)
{
	return well_formed(s, true);
}
