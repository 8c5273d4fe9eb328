/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BULKHEAD_BASE_CLOCK_H
#define BULKHEAD_BASE_CLOCK_H
#include <stddef.h>
#include <stdint.h>
uint64_t clock_ns(void);      /* CLOCK_MONOTONIC */
uint64_t clock_ms(void);
uint64_t clock_wall_ns(void); /* CLOCK_REALTIME since the epoch */
/* RFC 3339, UTC, milliseconds: "2026-01-02T03:04:05.678Z" (25 bytes with NUL). */
void clock_rfc3339(char dst[32], uint64_t wall_ns);
#endif
