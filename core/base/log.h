/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One log a process: lines "2026-01-02T03:04:05.678Z LEVEL program[pid]: text" to a given descriptor (stderr before
 * log_to()). Text is scrubbed. A source that a guest can trigger uses log_limited(): at most `burst` lines, refilled one a
 * second, and what was dropped is counted in the next line.
 */
#ifndef BULKHEAD_BASE_LOG_H
#define BULKHEAD_BASE_LOG_H

#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

struct log_limit {
	uint64_t last_ns;
	uint32_t tokens;  /* starts at 0 = not yet used; filled to burst on first use */
	uint32_t dropped;
};

void log_init(const char *program);       /* level from $BULKHEAD_LOG (error|warn|info|debug), default info */
void log_to(int fd);                      /* takes the descriptor */
void log_level(enum log_level max);
void log_line(enum log_level l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void log_limited(struct log_limit *lim, uint32_t burst, enum log_level l, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

#endif
