/* SPDX-License-Identifier: Apache-2.0 */
/*
 * asciinema v2 (doc/asciicast-v2.md of asciinema): ID.cast, and ID.cast.1 when it was rotated at half of the cap. A full disk ends the recording,
 * not the terminal. Bytes that are no UTF-8 become U+FFFD, as JSON has no other way.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/utf8.h"
#include "core/term/term.h"

#define LINE_MAX_ (1u << 20)

static void write_line(struct record *r)
{
	if (r->fd < 0)
		return;
	const int rc = buf_ok(&r->line) ? fd_write_full(r->fd, buf_head(&r->line), buf_size(&r->line)) : -ENOMEM;
	if (rc < 0) {
		log_warn("the recording of session %u ends here: %s", r->session, strerror(-rc));
		record_end(r);
		return;
	}
	r->size += buf_size(&r->line);
	buf_clear(&r->line);
}

static void open_file(struct record *r)
{
	char name[32];

	snprintf(name, sizeof(name), "%u.cast", r->session);
	r->fd = openat(r->dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (r->fd < 0) {
		log_warn("cannot record session %u: %s", r->session, strerror(errno));
		return;
	}
	r->size = 0;
	r->start_ns = clock_ns();
	buf_printf(&r->line, "{\"version\":2,\"width\":%u,\"height\":%u,\"timestamp\":%llu}\n", r->cols, r->rows,
		   (unsigned long long)(clock_wall_ns() / UINT64_C(1000000000)));
	write_line(r);
}

void record_start(struct record *r, int dirfd, uint32_t session, uint64_t cap, unsigned rows, unsigned cols)
{
	*r = (struct record){ .dirfd = dirfd, .fd = -1, .session = session, .cap = cap, .rows = rows, .cols = cols };
	buf_init(&r->line, LINE_MAX_);
	if (cap > 0 && dirfd >= 0)
		open_file(r);
}

static void event(struct record *r, char kind)
{
	const uint64_t us = (clock_ns() - r->start_ns) / 1000;

	buf_printf(&r->line, "[%llu.%06llu,\"%c\",\"", (unsigned long long)(us / 1000000), (unsigned long long)(us % 1000000), kind);
}

/* Plain ASCII in runs; the rest as JSON wants it. Returns how many bytes at the end begin a character that is not whole. */
static size_t escape(struct buf *b, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n;) {
		size_t k = i;
		uint32_t cp;
		char text[8];
		bool cut = false;

		while (k < n && p[k] >= 0x20 && p[k] < 0x7f && p[k] != '"' && p[k] != '\\')
			k++;
		buf_put(b, p + i, k - i);
		i = k;
		if (i == n)
			break;
		const size_t used = utf8_decode(p + i, n - i, &cp, &cut);
		if (cut)
			return n - i;
		i += used;
		if (cp < 0x20 || cp == 0x7f || cp == '"' || cp == '\\')
			buf_printf(b, "\\u%04x", cp);
		else
			buf_put(b, text, utf8_put(cp, text));
	}
	return 0;
}

static void rotate(struct record *r)
{
	char name[32], old[40];

	snprintf(name, sizeof(name), "%u.cast", r->session);
	snprintf(old, sizeof(old), "%u.cast.1", r->session);
	fd_close(&r->fd);
	if (renameat(r->dirfd, name, r->dirfd, old) < 0)
		log_warn("cannot rotate the recording of session %u: %s", r->session, strerror(errno));
	else
		open_file(r);
}

/* Output is cut anywhere, also inside a character: its begin waits for its end. */
static void put_text(struct record *r, const uint8_t *p, size_t n)
{
	size_t left;

	for (; n > 0 && r->ntail > 0; p++, n--) {
		r->tail[r->ntail++] = *p;
		left = escape(&r->line, r->tail, r->ntail);
		memmove(r->tail, r->tail + r->ntail - left, left);
		r->ntail = left;
	}
	if (n == 0)
		return;
	left = escape(&r->line, p, n);
	memcpy(r->tail, p + n - left, left);
	r->ntail = left;
}

void record_output(struct record *r, const uint8_t *p, size_t n)
{
	if (r->fd < 0)
		return;
	event(r, 'o');
	const size_t before = buf_size(&r->line);
	put_text(r, p, n);
	if (buf_size(&r->line) == before) { /* not one whole character yet */
		buf_clear(&r->line);
		return;
	}
	buf_put(&r->line, "\"]\n", 3);
	write_line(r);
	if (r->fd >= 0 && r->size > r->cap / 2)
		rotate(r);
}

void record_resize(struct record *r, unsigned rows, unsigned cols)
{
	r->rows = rows;
	r->cols = cols;
	if (r->fd < 0)
		return;
	event(r, 'r');
	buf_printf(&r->line, "%ux%u\"]\n", cols, rows);
	write_line(r);
}

void record_end(struct record *r)
{
	if (r->fd >= 0 && r->ntail) { /* its end never came */
		char text[8];

		event(r, 'o');
		r->ntail = 0;
		buf_put(&r->line, text, utf8_put(0xfffd, text));
		buf_put(&r->line, "\"]\n", 3);
		write_line(r);
	}
	fd_close(&r->fd);
	buf_release(&r->line);
}
