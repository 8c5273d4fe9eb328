/* SPDX-License-Identifier: Apache-2.0 */
/* See worddiff.h. */
#include "tui/worddiff.h"

#include <string.h>

#include "core/base/utf8.h"

struct tokens { struct wordspan at[WORDDIFF_TOKENS]; size_t n; };

enum class { C_WORD, C_BLANK, C_SIGN };

static enum class class_of(unsigned char c)
{
	if (c == ' ' || c == '\t')
		return C_BLANK;
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c >= 0x80)
		return C_WORD;
	return C_SIGN;
}

/* A mark that stands on the character before must stay with it. */
static size_t marks_at(const char *s, size_t n)
{
	size_t used = 0;

	while (used < n && (unsigned char)s[used] >= 0x80) {
		uint32_t cp;
		const size_t k = utf8_decode((const uint8_t *)s + used, n - used, &cp, NULL);

		if (utf8_width(cp) != 0)
			break;
		used += k;
	}
	return used;
}

static bool cut(const char *s, struct tokens *t)
{
	const size_t n = strlen(s);

	t->n = 0;
	for (size_t i = 0; i < n;) {
		const enum class c = class_of((unsigned char)s[i]);
		size_t end = i + 1;

		if (t->n == WORDDIFF_TOKENS)
			return false;
		if (c == C_SIGN)
			end += marks_at(s + end, n - end);
		else
			while (end < n && class_of((unsigned char)s[end]) == c)
				end++;
		t->at[t->n++] = (struct wordspan){ (uint32_t)i, (uint32_t)end };
		i = end;
	}
	return true;
}

static bool same(const char *a, struct wordspan x, const char *b, struct wordspan y)
{
	return x.to - x.from == y.to - y.from && memcmp(a + x.from, b + y.from, x.to - x.from) == 0;
}

/* Changed tokens become spans; those that touch, or have only a blank between them, become one. */
static size_t spans(const char *s, const struct tokens *t, const bool *changed, struct wordspan *out)
{
	size_t n = 0, last = 0;

	for (size_t i = 0; i < t->n; i++) {
		if (!changed[i])
			continue;
		const bool joins = n && (i == last + 1 || (i == last + 2 && class_of((unsigned char)s[t->at[last + 1].from]) == C_BLANK));

		if (joins || n == WORDDIFF_SPANS)
			out[n - 1].to = t->at[i].to;
		else
			out[n++] = t->at[i];
		last = i;
	}
	return n;
}

/* The longest common sequence of the middles: what is not in it is changed. */
static void compare(const char *a, const struct wordspan *x, size_t nx, const char *b, const struct wordspan *y, size_t ny, bool *ca, bool *cb)
{
	static _Thread_local uint8_t len[WORDDIFF_MIDDLE + 1][WORDDIFF_MIDDLE + 1];
	size_t i, k;

	for (i = 0; i < nx; i++)
		ca[i] = true;
	for (k = 0; k < ny; k++)
		cb[k] = true;
	if (nx > WORDDIFF_MIDDLE || ny > WORDDIFF_MIDDLE)
		return;
	for (i = nx + 1; i-- > 0;)
		for (k = ny + 1; k-- > 0;)
			len[i][k] = i == nx || k == ny ? 0 : same(a, x[i], b, y[k]) ? (uint8_t)(len[i + 1][k + 1] + 1)
				  : len[i + 1][k] > len[i][k + 1] ? len[i + 1][k] : len[i][k + 1];
	for (i = k = 0; i < nx && k < ny;) {
		if (same(a, x[i], b, y[k])) {
			ca[i++] = false;
			cb[k++] = false;
		} else if (len[i + 1][k] >= len[i][k + 1]) {
			i++;
		} else {
			k++;
		}
	}
}

/* Bytes of words and signs that stayed, and all of them. */
static void weigh(const char *s, const struct tokens *t, const bool *changed, size_t *kept, size_t *all)
{
	for (size_t i = 0; i < t->n; i++) {
		const size_t n = t->at[i].to - t->at[i].from;

		if (class_of((unsigned char)s[t->at[i].from]) == C_BLANK)
			continue;
		*all += n;
		*kept += changed[i] ? 0 : n;
	}
}

bool worddiff(const char *a, const char *b, struct worddiff *out)
{
	struct tokens x, y;
	bool ca[WORDDIFF_TOKENS] = { false }, cb[WORDDIFF_TOKENS] = { false };
	size_t head = 0, tail = 0, kept = 0, all = 0;

	out->na = out->nb = 0;
	if (!cut(a, &x) || !cut(b, &y))
		return false;
	while (head < x.n && head < y.n && same(a, x.at[head], b, y.at[head]))
		head++;
	while (tail < x.n - head && tail < y.n - head && same(a, x.at[x.n - 1 - tail], b, y.at[y.n - 1 - tail]))
		tail++;
	compare(a, x.at + head, x.n - head - tail, b, y.at + head, y.n - head - tail, ca + head, cb + head);
	weigh(a, &x, ca, &kept, &all);
	weigh(b, &y, cb, &kept, &all);
	if (kept * 3 < all) /* a third must be common, else everything would be bright */
		return false;
	out->na = spans(a, &x, ca, out->a);
	out->nb = spans(b, &y, cb, out->b);
	return true;
}
