/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bounded byte streams over uv_poll.
 *
 * Each direction is its own half machine (after OpenSSH's nchan.c): in OPEN -> DONE, out OPEN -> DRAIN -> DONE. Events change these
 * and interest() derives from them what to poll for; nobody else starts or stops the handle. uv_poll rather than uv_stream:
 * a read goes straight into our bounded buffer, and reading can rest without a flag of libuv's to keep equal to ours.
 */
#include "core/loop/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/fd.h"

/* What stands in the socket while the owner reads by itself; only with NOT_HELD it is polled for. ASKED: the owner was told, nobody has looked since. */
enum held { NOT_HELD, ASKED, WAITS };
enum out_state { OUT_OPEN, OUT_DRAIN /* shutdown asked, bytes left */, OUT_DONE };

struct stream {
	uv_poll_t poll;
	uv_idle_t kick; /* active while a kick is due */
	uv_loop_t *loop;
	int fd;
	const struct stream_ops *ops;
	void *arg;
	struct buf in, out;
	bool reading;    /* the owner wants input */
	bool in_done;    /* the peer ended its direction */
	bool eof_told;
	bool want_drain;
	bool dead;       /* on_closed was called */
	bool closing;    /* stream_close() was called */
	bool in_read;    /* on_read is on the stack */
	bool is_socket;
	enum held held;
	enum out_state os;
	int late_why;    /* an error met inside the owner's own call: told from the loop */
	int handles;     /* uv handles not closed yet */
	int interest;
};

static void on_ready(uv_poll_t *h, int status, int events);

static void on_handle_closed(uv_handle_t *h)
{
	struct stream *s = h->data;

	if (--s->handles == 0) {
		buf_release(&s->in);
		buf_release(&s->out);
		free(s);
	}
}

static void interest(struct stream *s)
{
	int want = 0;

	if (s->closing)
		return;
	if (!s->dead) {
		if (s->reading && !s->in_done && s->held == NOT_HELD && buf_room(&s->in) > 0)
			want |= UV_READABLE;
		if (s->os != OUT_DONE && buf_size(&s->out) > 0)
			want |= UV_WRITABLE;
	}
	if (want == s->interest)
		return;
	s->interest = want;
	if (want)
		uv_poll_start(&s->poll, want, on_ready);
	else
		uv_poll_stop(&s->poll);
}

static void die(struct stream *s, int why)
{
	if (s->dead || s->closing)
		return;
	s->dead = true;
	s->os = OUT_DONE;
	s->in_done = true;
	uv_idle_stop(&s->kick);
	interest(s);
	s->ops->on_closed(s->arg, why);
}

static void maybe_done(struct stream *s)
{
	if (s->in_done && s->eof_told && s->os == OUT_DONE)
		die(s, 0);
}

/* 0, or the -errno that ends the stream. */
static int out_step(struct stream *s)
{
	while (!s->dead && s->os != OUT_DONE && buf_size(&s->out) > 0) {
		ssize_t n = s->is_socket ? send(s->fd, buf_head(&s->out), buf_size(&s->out), MSG_NOSIGNAL)
					 : write(s->fd, buf_head(&s->out), buf_size(&s->out));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			int why = -errno;

			/* The peer reads no more; what it sent before may still be wanted. */
			if (!s->in_done && (why == -EPIPE || why == -ECONNRESET) && s->is_socket) {
				buf_clear(&s->out);
				s->os = OUT_DONE;
				break;
			}
			return why;
		}
		buf_consume(&s->out, (size_t)n);
	}
	if (s->os == OUT_DRAIN && buf_size(&s->out) == 0) {
		s->os = OUT_DONE;
		if (s->is_socket)
			shutdown(s->fd, SHUT_WR);
	}
	return 0;
}

/* Also while what is queued before a shutdown drains, and once it has: an owner may wait for that. */
static void tell_drain(struct stream *s)
{
	if (s->want_drain && !s->dead && buf_size(&s->out) <= s->out.max / 2 && s->ops->on_drain) {
		s->want_drain = false;
		s->ops->on_drain(s->arg);
	}
}

/* Offers the input; then, when the end has come and nothing is held back by the owner, tells it. */
static void offer(struct stream *s)
{
	if (s->in_read)
		return;
	s->in_read = true;
	if (buf_size(&s->in) > 0 && s->reading && !s->dead)
		s->ops->on_read(s->arg, &s->in);
	s->in_read = false;
	if (s->closing || s->dead)
		return;
	if (s->in_done && !s->eof_told && buf_size(&s->in) == 0) {
		s->eof_told = true;
		if (s->ops->on_eof)
			s->ops->on_eof(s->arg);
		else
			stream_shutdown(s);
	}
	if (!s->closing)
		maybe_done(s);
}

/* What a read or a look of the owner's has met: bytes, the end, or -errno. Told from the loop, as this may be below the owner. */
static void met(struct stream *s, ssize_t n, bool waits)
{
	s->held = waits ? WAITS : NOT_HELD;
	if (n < 0 && n != -EAGAIN && n != -EINTR)
		s->late_why = (int)n;
	if (n == 0)
		s->in_done = true;
	if (n == 0 || s->late_why)
		stream_kick(s);
}

static void look(struct stream *s)
{
	uint8_t byte;
	const ssize_t n = recv(s->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	met(s, n < 0 ? -errno : n, n > 0);
}

/* The owner reads by itself. */
static bool left_to_owner(struct stream *s)
{
	if (!s->ops->on_readable || !s->is_socket || !s->reading || buf_size(&s->in) > 0)
		return false;
	if (s->late_why)
		return true;
	s->held = ASKED;
	const bool is_its = s->ops->on_readable(s->arg);
	if (s->closing || s->dead)
		return true;
	if (!is_its)
		s->held = NOT_HELD;
	else if (s->held == ASKED)
		look(s);
	return is_its;
}

static void in_step(struct stream *s)
{
	if (left_to_owner(s))
		return;
	for (int i = 0; i < STREAM_BURST && !s->dead && !s->closing && s->reading && !s->in_done; i++) {
		size_t room = buf_room(&s->in);
		size_t want = room < STREAM_READ_CHUNK ? room : STREAM_READ_CHUNK;

		if (want == 0)
			break;
		uint8_t *p = buf_reserve(&s->in, want);
		if (!p) {
			die(s, -ENOMEM);
			return;
		}
		ssize_t n = read(s->fd, p, want);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			die(s, -errno);
			return;
		}
		if (n == 0)
			s->in_done = true;
		else
			buf_grew(&s->in, (size_t)n);
		offer(s);
		if (n > 0 && (size_t)n < want)
			return;
	}
}

/* A stream at rest holds no storage: there may be thousands. Never below an owner's call, who may look into a buffer. */
static void rest(struct stream *s)
{
	if (s->closing)
		return;
	if (buf_size(&s->in) == 0)
		buf_release(&s->in);
	if (buf_size(&s->out) == 0)
		buf_release(&s->out);
}

static void on_ready(uv_poll_t *h, int status, int events)
{
	struct stream *s = h->data;

	if (status < 0)
		events = s->interest;
	if (events & UV_WRITABLE) {
		const int why = out_step(s);

		if (why < 0)
			die(s, why);
		if (!s->closing)
			tell_drain(s);
		if (!s->closing)
			maybe_done(s);
	}
	if (!s->closing && !s->dead && (events & (UV_READABLE | UV_DISCONNECT)))
		in_step(s);
	interest(s);
	rest(s);
}

static void on_kick(uv_idle_t *h)
{
	struct stream *s = h->data;

	uv_idle_stop(h);
	if (s->late_why)
		die(s, s->late_why);
	if (!s->closing)
		tell_drain(s);
	if (!s->closing)
		offer(s);
	interest(s);
	rest(s);
}

int stream_open_take(struct stream **out, uv_loop_t *loop, int fd, size_t in_max, size_t out_max, const struct stream_ops *ops, void *arg)
{
	struct stream *s = calloc(1, sizeof(*s));
	int type = 0;
	socklen_t len = sizeof(type);
	int r = s ? fd_nonblock(fd) : -ENOMEM;

	*out = NULL;
	if (r == 0)
		r = uv_poll_init(loop, &s->poll, fd);
	if (r < 0) {
		free(s);
		close(fd);
		return r;
	}
	uv_idle_init(loop, &s->kick);
	s->handles = 2;
	s->poll.data = s;
	s->kick.data = s;
	s->loop = loop;
	s->fd = fd;
	s->ops = ops;
	s->arg = arg;
	s->reading = true;
	s->is_socket = getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0;
	buf_init(&s->in, in_max);
	buf_init(&s->out, out_max);
	interest(s);
	*out = s;
	return 0;
}

void stream_set_ops(struct stream *s, const struct stream_ops *ops, void *arg)
{
	s->ops = ops;
	s->arg = arg;
	s->want_drain = false;
	stream_kick(s);
}

int stream_write(struct stream *s, const void *p, size_t n)
{
	if (s->dead || s->os != OUT_OPEN)
		return -EPIPE;
	if (buf_room(&s->out) < n) {
		s->want_drain = true;
		return -EAGAIN;
	}
	/* What nothing waits before goes out without a copy; an error is met again, and told, by stream_flush(). */
	if (n > 0 && buf_size(&s->out) == 0 && s->is_socket) {
		const ssize_t sent = send(s->fd, p, n, MSG_NOSIGNAL);

		if (sent > 0) {
			p = (const uint8_t *)p + sent;
			n -= (size_t)sent;
		}
	}
	int r = buf_put(&s->out, p, n);
	if (r < 0)
		return r;
	stream_flush(s);
	return 0;
}

struct buf *stream_out(struct stream *s)
{
	return &s->out;
}

void stream_flush(struct stream *s)
{
	if (s->dead)
		return;
	const int why = out_step(s);

	/* on_drain and the end are told from the loop, never from inside the owner's own call. */
	if (why < 0) {
		s->late_why = why;
		s->os = OUT_DONE;
	}
	if (why < 0 || (s->os == OUT_DONE && s->in_done) || (s->want_drain && buf_size(&s->out) <= s->out.max / 2))
		uv_idle_start(&s->kick, on_kick);
	interest(s);
}

void stream_want_drain(struct stream *s)
{
	s->want_drain = true;
	if (buf_size(&s->out) == 0)
		stream_kick(s);
}

size_t stream_pending(const struct stream *s)
{
	return buf_size(&s->out);
}

void stream_reading(struct stream *s, bool on)
{
	if (s->reading == on)
		return;
	s->reading = on;
	if (on)
		stream_kick(s);
	interest(s);
}

void stream_kick(struct stream *s)
{
	s->held = NOT_HELD;
	if (!s->dead && !s->closing)
		uv_idle_start(&s->kick, on_kick);
}

size_t stream_readv(struct stream *s, const struct iovec *part, unsigned n, size_t total)
{
	ssize_t r = -1;

	if (s->dead || s->in_done || s->late_why)
		return 0;
	do
		r = readv(s->fd, part, (int)n);
	while (r < 0 && errno == EINTR);
	if (r > 0 && (size_t)r == total)
		look(s);
	else
		met(s, r < 0 ? -errno : r, false);
	interest(s);
	return r > 0 ? (size_t)r : 0;
}

bool stream_waits(const struct stream *s)
{
	return s->held != NOT_HELD && !s->dead;
}

struct buf *stream_in(struct stream *s)
{
	return &s->in;
}

bool stream_eof(const struct stream *s)
{
	return s->in_done && buf_size(&s->in) == 0;
}

bool stream_cut(const struct stream *s)
{
	return s->in_done && buf_size(&s->in) > 0;
}

bool stream_deaf(const struct stream *s)
{
	/* No byte, but the check for a peer that is gone. */
	return s->dead || (s->is_socket && send(s->fd, "", 0, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN && errno != EINTR);
}

void stream_shutdown(struct stream *s)
{
	if (s->dead || s->os != OUT_OPEN)
		return;
	s->os = OUT_DRAIN;
	stream_flush(s);
}

int stream_fd_dup(const struct stream *s)
{
	const int fd = fcntl(s->fd, F_DUPFD_CLOEXEC, 3);

	return fd < 0 ? -errno : fd;
}

void stream_close(struct stream **sp)
{
	struct stream *s = *sp;

	if (!s)
		return;
	*sp = NULL;
	s->dead = true;
	s->closing = true;
	uv_poll_stop(&s->poll);
	uv_idle_stop(&s->kick);
	close(s->fd);
	uv_close((uv_handle_t *)&s->poll, on_handle_closed);
	uv_close((uv_handle_t *)&s->kick, on_handle_closed);
}
