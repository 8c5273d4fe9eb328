/* SPDX-License-Identifier: Apache-2.0 */
/* A line is put together on the stack and written by one write(): lines of several processes in one file do not mix. */
#include "core/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/str.h"
#include "core/base/utf8.h"

#define NS UINT64_C(1000000000)

static const char *const words[] = { "ERROR", "WARN", "INFO", "DEBUG" };

/* A process has one log: the only file-scope state in base. */
static struct {
	char program[32];
	int fd;
	enum log_level max;
} sink = { "bulkhead", 2, LOG_INFO };

void log_init(const char *program)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };
	const char *want = getenv("BULKHEAD_LOG");

	str_copy(sink.program, sizeof(sink.program), program);
	for (size_t i = 0; want && i < ARRAY_SIZE(names); i++)
		if (strcmp(want, names[i]) == 0)
			sink.max = (enum log_level)i;
}

void log_to(int fd)
{
	if (sink.fd > 2)
		close(sink.fd);
	sink.fd = fd;
}

void log_level(enum log_level max)
{
	sink.max = max;
}

__attribute__((format(printf, 2, 0))) static void write_line(enum log_level l, const char *fmt, va_list ap)
{
	char raw[1024], text[1400], line[1536], at[32];

	const int len = vsnprintf(raw, sizeof(raw), fmt, ap);
	if (len < 0)
		return;
	scrub(text, sizeof(text), raw, strlen(raw), false);
	clock_rfc3339(at, clock_wall_ns());
	const int n = snprintf(line, sizeof(line), "%s %s %s[%ld]: %s\n", at, words[l], sink.program, (long)getpid(), text);
	if (n <= 0)
		return;
	const size_t size = (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1;
	line[size - 1] = '\n';
	ssize_t w;
	do
		w = write(sink.fd, line, size);
	while (w < 0 && errno == EINTR);
}

void log_line(enum log_level l, const char *fmt, ...)
{
	const int kept = errno;
	va_list ap;

	if (l > sink.max)
		return;
	va_start(ap, fmt);
	write_line(l, fmt, ap);
	va_end(ap);
	errno = kept;
}

void log_limited(struct log_limit *lim, uint32_t burst, enum log_level l, const char *fmt, ...)
{
	const uint64_t now = clock_ns();
	va_list ap;

	if (l > sink.max)
		return;
	if (lim->last_ns == 0) {
		lim->tokens = burst;
		lim->last_ns = now;
	}
	const uint64_t gained = (now - lim->last_ns) / NS;
	if (gained > 0) {
		lim->tokens = gained > burst - lim->tokens ? burst : lim->tokens + (uint32_t)gained;
		lim->last_ns += gained * NS;
	}
	if (lim->tokens == 0) {
		lim->dropped++;
		return;
	}
	lim->tokens--;
	if (lim->dropped > 0) {
		log_line(l, "%u lines like the next one were dropped", lim->dropped);
		lim->dropped = 0;
	}
	va_start(ap, fmt);
	write_line(l, fmt, ap);
	va_end(ap);
}
