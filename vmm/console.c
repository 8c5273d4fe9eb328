/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/console.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/utf8.h"
#include "core/loop/stream.h"

struct console {
	struct stream *s;
	int line_fd; /* of s, for the last reads */
	int log;
	uint64_t size;
	char line[CONSOLE_LINE_MAX]; /* the line being received */
	size_t n;
	bool panicked;
	void (*on_panic)(void *arg); /* NULL: nobody asks, or told */
	void *panic_arg;
	char panic[CONSOLE_LINE_MAX], last[CONSOLE_LINE_MAX];
};

static void end_line(struct console *c)
{
	static const char mark[] = "Kernel panic - not syncing";
	char clean[CONSOLE_LINE_MAX];

	if (c->n == 0)
		return;
	scrub(clean, sizeof(clean), c->line, c->n, false);
	c->n = 0;
	memcpy(c->last, clean, sizeof(clean));
	const char *at = strstr(clean, mark);
	if (at && !c->panicked) {
		c->panicked = true;
		memmove(c->panic, at, strlen(at) + 1);
	}
}

static void take(struct console *c, const uint8_t *p, size_t n)
{
	static const char over[] = "\n[bulkhead: the console log was full and starts over]\n";

	if (c->size + n > CONSOLE_CAP) {
		if (ftruncate(c->log, 0) == 0)
			c->size = 0;
		if (write(c->log, over, sizeof(over) - 1) > 0)
			c->size += sizeof(over) - 1;
	}
	/* A full disk must not stop the machine: what cannot be logged is dropped. */
	const ssize_t w = write(c->log, p, n);
	if (w > 0)
		c->size += (uint64_t)w;
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '\n' || p[i] == '\r')
			end_line(c);
		else if (c->n < sizeof(c->line))
			c->line[c->n++] = (char)p[i];
	}
}

static void on_read(void *arg, struct buf *in)
{
	struct console *c = arg;

	take(c, buf_head(in), buf_size(in));
	buf_consume(in, buf_size(in));
	if (c->panicked && c->on_panic) {
		void (*fn)(void *) = c->on_panic;

		c->on_panic = NULL;
		fn(c->panic_arg);
	}
}

static void on_closed(void *arg, int why)
{
	(void)arg;
	(void)why;
}

static const struct stream_ops ops = { .on_read = on_read, .on_closed = on_closed };

int console_open_take(struct console **out, uv_loop_t *loop, int line_fd, int log_fd)
{
	struct console *c = calloc(1, sizeof(*c));

	*out = NULL;
	if (!c) {
		close(line_fd);
		close(log_fd);
		return -ENOMEM;
	}
	const off_t at = lseek(log_fd, 0, SEEK_END);
	c->size = at > 0 ? (uint64_t)at : 0;
	c->log = log_fd;
	c->line_fd = line_fd;
	const int r = stream_open_take(&c->s, loop, line_fd, 65536, 4096, &ops, c);
	if (r < 0) {
		close(log_fd);
		free(c);
		return r;
	}
	*out = c;
	return 0;
}

void console_finish(struct console *c)
{
	uint8_t buf[4096];
	ssize_t n;

	for (int i = 0; i < 256 && (n = read(c->line_fd, buf, sizeof(buf))) > 0; i++)
		take(c, buf, (size_t)n);
	end_line(c);
	fsync(c->log);
}

void console_on_panic(struct console *c, void (*fn)(void *arg), void *arg)
{
	c->on_panic = fn;
	c->panic_arg = arg;
}

const char *console_panic(const struct console *c)
{
	return c->panicked ? c->panic : NULL;
}

const char *console_last(const struct console *c)
{
	return c->last;
}

void console_close(struct console **cp)
{
	struct console *c = *cp;

	if (!c)
		return;
	*cp = NULL;
	stream_close(&c->s);
	close(c->log);
	free(c);
}
