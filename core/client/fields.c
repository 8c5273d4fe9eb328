/* SPDX-License-Identifier: Apache-2.0 */
/* See fields.h. */
#include "core/client/fields.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/utf8.h"

void field_text(const json_t *o, const char *key, char *dst, size_t cap)
{
	const json_t *v = json_object_get(o, key);

	dst[0] = '\0';
	if (json_is_string(v))
		scrub(dst, cap, json_string_value(v), json_string_length(v), false);
}

char *field_dup(const json_t *v, size_t max)
{
	if (!json_is_string(v))
		return NULL;
	size_t n = json_string_length(v);
	char *s = malloc(max);

	if (s)
		scrub(s, max, json_string_value(v), n, false);
	return s;
}

uint64_t field_u64(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);
	const json_int_t i = json_is_integer(v) ? json_integer_value(v) : 0;

	return i > 0 ? (uint64_t)i : 0;
}

uint32_t field_u32(const json_t *o, const char *key)
{
	const uint64_t v = field_u64(o, key);

	return v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

uint16_t field_u16(const json_t *o, const char *key)
{
	const uint64_t v = field_u64(o, key);

	return v > UINT16_MAX ? UINT16_MAX : (uint16_t)v;
}

double field_number(const json_t *o, const char *key)
{
	const double v = json_number_value(json_object_get(o, key));

	return v >= 0 && v < 1e18 ? v : 0;
}

int field_word(const json_t *o, const char *key, const char *const *words, size_t n, int fallback)
{
	const char *s = json_string_value(json_object_get(o, key));

	for (size_t i = 0; s && i < n; i++)
		if (strcmp(s, words[i]) == 0)
			return (int)i;
	return fallback;
}

/* Days since the epoch of a civil date (proleptic Gregorian). */
static int64_t days_of(int64_t y, int64_t m, int64_t d)
{
	y -= m <= 2;
	const int64_t era = (y >= 0 ? y : y - 399) / 400, yoe = y - era * 400;
	const int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;

	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

uint64_t field_time_ms(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	int y, mo, d, h, mi, sec, used = 0;
	uint64_t ms = 0, part = 100;

	if (!s || sscanf(s, "%4d-%2d-%2dT%2d:%2d:%2d%n", &y, &mo, &d, &h, &mi, &sec, &used) != 6 || !used || y < 1970 || mo < 1 || mo > 12 || d < 1 || d > 31 ||
	    h < 0 || h > 23 || mi < 0 || mi > 59 || sec < 0 || sec > 60)
		return 0;
	s += used;
	if (*s == '.')
		for (s++; *s >= '0' && *s <= '9'; s++, part /= 10)
			ms += (uint64_t)(*s - '0') * part;
	if (*s != 'Z')
		return 0;
	return (uint64_t)(((days_of(y, mo, d) * 24 + h) * 60 + mi) * 60 + sec) * 1000 + ms;
}
