/* SPDX-License-Identifier: Apache-2.0 */
#include "core/policy/path.h"

#include <stdint.h>
#include <string.h>

#define PATTERN_MAX 512u
#define DECODE_MAX 4u /* nobody decodes that often */

/* Follows stars from every state that is on: a star may stand for nothing. */
static void spread(const char *pattern, size_t m, uint8_t *on)
{
	for (size_t i = 0; i < m; i++)
		if (on[i] && pattern[i] == '*')
			on[i + 1] = 1;
}

/* One state a position of the pattern, all moved together: no backtracking. A '*' that stands beside another crosses slashes. */
bool glob_match(const char *pattern, const char *path)
{
	const size_t m = strlen(pattern);
	uint8_t on[PATTERN_MAX + 1] = { 1 }, next[PATTERN_MAX + 1];

	if (m > PATTERN_MAX)
		return false;
	spread(pattern, m, on);
	for (; *path; path++) {
		bool any = false;
		memset(next, 0, m + 1);
		for (size_t i = 0; i < m; i++) {
			if (!on[i])
				continue;
			if (pattern[i] == '*') {
				if (*path != '/' || pattern[i + 1] == '*' || (i && pattern[i - 1] == '*'))
					next[i] = 1, any = true;
			} else if (pattern[i] == *path || (pattern[i] == '?' && *path != '/')) {
				next[i + 1] = 1, any = true;
			}
		}
		if (!any)
			return false;
		memcpy(on, next, m + 1);
		spread(pattern, m, on);
	}
	return on[m];
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool unreserved(int c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("-._~", c));
}

/* One pass of decoding; false when a byte was hidden that a rule may look at, or the encoding is broken. */
static bool decode(const char *p, char *dst, size_t cap, size_t *len)
{
	bool plain = true;
	size_t n = 0;

	for (; *p && *p != '?' && *p != '#' && n + 1 < cap; p++) {
		int c = (unsigned char)*p;
		if (c == '%') {
			const int hi = hex(p[1]), lo = hi < 0 ? -1 : hex(p[2]);
			if (lo < 0) {
				plain = false;
			} else {
				c = hi * 16 + lo;
				p += 2;
				plain &= c >= 0x80 || (unreserved(c) && c != '.') || c == ' ' || c == ':' || c == '@' || c == '+' || c == ',';
				if (c == 0)
					c = 0xff; /* ends no string */
			}
		} else if (c <= ' ' || c == 0x7f || c == ';') {
			plain = false;
		}
		if (c == '\\') {
			plain = false;
			c = '/';
		}
		dst[n++] = (char)c;
	}
	dst[n] = '\0';
	*len = n;
	return plain && (!*p || *p == '?');
}

bool path_canonical(const char *path, char *dst, size_t cap)
{
	size_t n, out = 0, i = 0;
	bool plain = decode(path, dst, cap, &n);

	if (dst[0] != '/')
		return false;
	while (i < n) {
		/* dst[i] is a slash; the segment is (i, end) */
		size_t end = i + 1;
		while (end < n && dst[end] != '/')
			end++;
		const size_t k = end - i - 1;
		const bool last = end == n;
		if ((k == 0 && !last) || (k == 1 && dst[i + 1] == '.')) {
			plain = false;
			if (last)
				dst[out++] = '/';
		} else if (k == 2 && dst[i + 1] == '.' && dst[i + 2] == '.') {
			plain = false;
			while (out && dst[--out] != '/')
				;
			if (last)
				dst[out++] = '/';
		} else {
			memmove(dst + out, dst + i, k + 1);
			out += k + 1;
		}
		i = end;
	}
	dst[out] = '\0';
	return plain;
}

/* One pass; false when nothing was encoded (dst is a copy). What would end the string stays written as it is. */
static bool decode_all(const char *p, char *dst, size_t cap, bool *doubt)
{
	bool any = false;
	size_t n = 0;

	for (; *p && n + 1 < cap; p++) {
		const int hi = *p == '%' ? hex(p[1]) : -1, lo = hi < 0 ? -1 : hex(p[2]);

		if (lo < 0 || hi * 16 + lo == 0) {
			*doubt |= lo >= 0;
			dst[n++] = *p;
			continue;
		}
		const int c = hi * 16 + lo;
		*doubt |= c == 0xc0 || c == 0xc1; /* an overlong form: of a slash, say */
		dst[n++] = (char)c;
		p += 2;
		any = true;
	}
	dst[n] = '\0';
	return any;
}

static bool broken(const char *p)
{
	while ((p = strchr(p, '%')) && hex(p[1]) >= 0 && hex(p[2]) >= 0)
		p += 3;
	return p != NULL;
}

static void cut_params(const char *p, char *dst)
{
	bool cut = false;

	for (; *p; p++) {
		cut = *p != '/' && (cut || *p == ';');
		if (!cut)
			*dst++ = *p;
	}
	*dst = '\0';
}

static void add(struct path_readings *out, const char *path)
{
	char *to = out->v[out->n];

	path_canonical(path, to, PATH_READ_MAX);
	for (size_t i = 0; i < out->n; i++)
		if (!strcmp(out->v[i], to))
			return;
	out->n++;
}

void path_read(const char *path, struct path_readings *out)
{
	char raw[PATH_READ_MAX], plain[PATH_READ_MAX], cut[PATH_READ_MAX], next[PATH_READ_MAX];
	size_t n = strcspn(path, "?#");
	unsigned deep = 0;

	n = n < sizeof(raw) ? n : sizeof(raw) - 1;
	memcpy(raw, path, n);
	raw[n] = '\0';
	out->n = 1;
	out->doubt = broken(raw) || n == sizeof(raw) - 1; /* one that was cut may go on to anywhere */
	memcpy(out->v[0], raw, n + 1);
	add(out, raw);
	cut_params(raw, cut);
	add(out, cut);
	memcpy(plain, raw, n + 1);
	while (decode_all(plain, next, sizeof(next), &out->doubt) && deep++ < DECODE_MAX)
		memcpy(plain, next, sizeof(plain));
	out->doubt |= deep > DECODE_MAX;
	/* A mark that was hidden ends what is looked at only for whoever decoded it. */
	for (char *p = plain; *p; p++)
		if (*p == '?' || *p == '#')
			*p = '_';
	add(out, plain);
	cut_params(plain, cut);
	add(out, cut);
}
