/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/str.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"

char *str_dup(const char *s)
{
	return strdup(s);
}

char *str_fmt(const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;

	va_start(ap, fmt);
	const int n = vasprintf(&s, fmt, ap);
	va_end(ap);
	return n < 0 ? NULL : s;
}

bool str_copy(char *dst, size_t cap, const char *src)
{
	const size_t n = strnlen(src, cap);

	if (cap == 0)
		return false;
	const size_t keep = n < cap ? n : cap - 1;
	memcpy(dst, src, keep);
	dst[keep] = '\0';
	return n < cap;
}

bool str_starts(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix)
{
	const size_t n = strlen(s), k = strlen(suffix);

	return n >= k && strcmp(s + n - k, suffix) == 0;
}

/* Binary unit after the number: "", K, M, G, T, each also with "B" or "iB". -1 when it is none of them. */
static int unit_shift(const char *s)
{
	static const char letters[] = "KMGT";
	const char *at = *s ? strchr(letters, toupper((unsigned char)*s)) : NULL;
	int shift = 0;

	if (at) {
		shift = 10 * (int)(at - letters + 1);
		s++;
		if (*s == 'i' || *s == 'I')
			return (s[1] == 'B' || s[1] == 'b') && s[2] == '\0' ? shift : -1;
	}
	if (*s == 'B' || *s == 'b')
		s++;
	return *s == '\0' ? shift : -1;
}

int str_size(const char *s, uint64_t *bytes, struct err *e)
{
	uint64_t whole = 0, part = 0, scale = 1;
	const char *p = s;
	bool digits = false, overflow = false;

	for (; isdigit((unsigned char)*p); p++) {
		overflow |= whole > (UINT64_MAX - 9) / 10;
		whole = whole * 10 + (uint64_t)(*p - '0');
		digits = true;
	}
	if (*p == '.') {
		for (p++; isdigit((unsigned char)*p); p++) {
			if (scale < 1000000) {
				part = part * 10 + (uint64_t)(*p - '0');
				scale *= 10;
			}
			digits = true;
		}
	}
	const int shift = unit_shift(p);
	if (!digits || shift < 0)
		return err_set(e, EINVAL, "'%.64s' is not a size; write a number and K, M, G or T, as in 2G or 512M", s);
	if (overflow || whole > UINT64_MAX >> shift || (whole << shift) > UINT64_MAX - (UINT64_C(1) << shift))
		return err_set(e, EINVAL, "size '%.64s' is too large", s);
	*bytes = (whole << shift) + (part << shift) / scale;
	return 0;
}

int str_u64(const char *s, uint64_t min, uint64_t max, uint64_t *v)
{
	uint64_t x = 0;

	if (!*s)
		return -EINVAL;
	for (; *s; s++) {
		if (!isdigit((unsigned char)*s))
			return -EINVAL;
		const uint64_t d = (uint64_t)(*s - '0');
		if (x > (UINT64_MAX - d) / 10)
			return -ERANGE;
		x = x * 10 + d;
	}
	if (x < min || x > max)
		return -ERANGE;
	*v = x;
	return 0;
}

void str_human(char *dst, size_t cap, uint64_t bytes)
{
	static const char units[] = "BKMGTPE";
	size_t u = 0;
	double v = (double)bytes;

	while (v >= 1023.5 && u + 2 < sizeof(units)) {
		v /= 1024;
		u++;
	}
	if (u == 0)
		snprintf(dst, cap, "%uB", (unsigned)bytes);
	else if (v < 9.95)
		snprintf(dst, cap, "%.1f%c", v, units[u]);
	else
		snprintf(dst, cap, "%.0f%c", v, units[u]);
}

void str_age(char *dst, size_t cap, uint64_t seconds)
{
	if (seconds < 60)
		snprintf(dst, cap, "%us", (unsigned)seconds);
	else if (seconds < 3600)
		snprintf(dst, cap, "%um", (unsigned)(seconds / 60));
	else if (seconds < 86400)
		snprintf(dst, cap, "%uh", (unsigned)(seconds / 3600));
	else
		snprintf(dst, cap, "%llud", (unsigned long long)(seconds / 86400));
}

static bool name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

int name_check(const char *name, struct err *e)
{
	const size_t n = strnlen(name, NAME_MAX_LEN + 1);

	if (n == 0)
		return err_set(e, EINVAL, "a sandbox's name cannot be empty");
	if (n > NAME_MAX_LEN)
		return err_set(e, EINVAL, "a sandbox's name has at most %d characters", NAME_MAX_LEN);
	for (size_t i = 0; i < n; i++) {
		if (name_char(name[i]))
			continue;
		char shown[4 * NAME_MAX_LEN];
		scrub(shown, sizeof(shown), name, n, false);
		return err_set(e, EINVAL, "'%s' is no name for a sandbox: use a-z, 0-9, '.', '_' and '-'", shown);
	}
	if (!(name[0] >= 'a' && name[0] <= 'z') && !(name[0] >= '0' && name[0] <= '9'))
		return err_set(e, EINVAL, "'%s' is no name for a sandbox: it must begin with a letter or a digit", name);
	if (strstr(name, ".."))
		return err_set(e, EINVAL, "'%s' is no name for a sandbox: it must not hold '..'", name);
	return 0;
}

#define DISTANCE_MAX 64u

static unsigned min2(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

unsigned str_distance(const char *a, const char *b)
{
	const size_t n = strnlen(a, DISTANCE_MAX + 1), m = strnlen(b, DISTANCE_MAX + 1);
	unsigned row[3][DISTANCE_MAX + 1];

	if (n > DISTANCE_MAX || m > DISTANCE_MAX)
		return DISTANCE_MAX;
	for (size_t j = 0; j <= m; j++)
		row[0][j] = (unsigned)j;
	for (size_t i = 1; i <= n; i++) {
		unsigned *now = row[i % 3], *up = row[(i - 1) % 3], *up2 = row[(i + 1) % 3];

		now[0] = (unsigned)i;
		for (size_t j = 1; j <= m; j++) {
			const unsigned cost = a[i - 1] != b[j - 1];

			now[j] = min2(min2(up[j] + 1, now[j - 1] + 1), up[j - 1] + cost);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				now[j] = min2(now[j], up2[j - 2] + 1);
		}
	}
	return row[n % 3][m];
}

uint64_t str_hash(const char *s, uint64_t seed)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325) ^ seed;

	/* FNV-1a over all 64 bits, then murmur3's last step: of a state that is not known no bit says anything. */
	for (; *s; s++)
		h = (h ^ (uint8_t)*s) * UINT64_C(0x100000001b3);
	h = (h ^ seed ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd);
	h = (h ^ h >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
	return h ^ h >> 33;
}
