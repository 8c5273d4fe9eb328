/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/clock.h"

#include <stdio.h>
#include <time.h>

static uint64_t now(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

uint64_t clock_ns(void)
{
	return now(CLOCK_MONOTONIC);
}

uint64_t clock_ms(void)
{
	return clock_ns() / 1000000;
}

uint64_t clock_wall_ns(void)
{
	return now(CLOCK_REALTIME);
}

void clock_rfc3339(char dst[32], uint64_t wall_ns)
{
	const time_t s = (time_t)(wall_ns / UINT64_C(1000000000));
	struct tm t;

	if (!gmtime_r(&s, &t) || t.tm_year > 9999 - 1900) {
		snprintf(dst, 32, "9999-12-31T23:59:59.999Z");
		return;
	}
	snprintf(dst, 32, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", ((unsigned)t.tm_year + 1900) % 10000, ((unsigned)t.tm_mon + 1) % 100,
		 (unsigned)t.tm_mday % 100, (unsigned)t.tm_hour % 100, (unsigned)t.tm_min % 100, (unsigned)t.tm_sec % 100,
		 (unsigned)(wall_ns / 1000000 % 1000));
}
