/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SEQPACKET connections over uv_poll (libuv's own streams know no datagram borders on Unix sockets).
 *
 * `dead` is set by the first error or end; the poll handle is then stopped and on_end called once. The struct is freed only by
 * libuv's close callback, and every loop over ready things looks at `closing` after each callback, so a callback may close us.
 */
#include "core/loop/seq.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/base/clock.h"
#include "core/base/memlock.h"

struct queued {
	struct queued *next;
	size_t n, nfds;
	int fds[FD_PASS_MAX]; /* owned */
	uint8_t data[];
};

struct seq {
	uv_poll_t poll;
	int fd;
	const struct seq_ops *ops;
	void *arg;
	struct queued *head, **tail;
	size_t pending;
	bool dead, closing, resting;
	int interest;
	uint8_t buf[SEQ_MSG_MAX + 1];
};

static void on_ready(uv_poll_t *h, int status, int events);

static void on_closed(uv_handle_t *h)
{
	free(h->data);
}

static void interest(struct seq *s)
{
	int want = s->dead ? 0 : (s->resting ? 0 : UV_READABLE) | (s->head ? UV_WRITABLE : 0);

	if (s->closing || want == s->interest)
		return;
	s->interest = want;
	if (want)
		uv_poll_start(&s->poll, want, on_ready);
	else
		uv_poll_stop(&s->poll);
}

/* It may have held a credential. */
static void forget(struct queued *q)
{
	explicit_bzero(q->data, q->n);
	free(q);
}

static void drop_queue(struct seq *s)
{
	while (s->head) {
		struct queued *q = s->head;

		s->head = q->next;
		for (size_t i = 0; i < q->nfds; i++)
			close(q->fds[i]);
		forget(q);
	}
	s->tail = &s->head;
	s->pending = 0;
}

static void end(struct seq *s, int why)
{
	if (s->dead)
		return;
	s->dead = true;
	drop_queue(s);
	interest(s);
	s->ops->on_end(s->arg, why);
}

/* 0 when the queue is empty, -EAGAIN, or another -errno. */
static int flush(struct seq *s)
{
	while (s->head) {
		struct queued *q = s->head;
		ssize_t r = fd_send(s->fd, q->data, q->n, q->fds, q->nfds);

		if (r < 0)
			return (int)r;
		s->head = q->next;
		if (!s->head)
			s->tail = &s->head;
		s->pending -= q->n;
		for (size_t i = 0; i < q->nfds; i++)
			close(q->fds[i]);
		forget(q);
	}
	return 0;
}

static void read_burst(struct seq *s)
{
	for (int i = 0; i < SEQ_BURST && !s->dead && !s->closing && !s->resting; i++) {
		int fds[FD_PASS_MAX];
		size_t nfds = 0;
		ssize_t n = fd_recv(s->fd, s->buf, sizeof(s->buf), fds, &nfds);

		if (n == -EAGAIN || n == -EINTR)
			return;
		if (n == -ECONNRESET)
			continue; /* told once, before what the peer sent and before its end: both are still to be read */
		if (n > (ssize_t)SEQ_MSG_MAX) {
			for (size_t k = 0; k < nfds; k++)
				close(fds[k]);
			n = -EMSGSIZE;
		}
		if (n <= 0) {
			end(s, (int)n);
			return;
		}
		s->ops->on_msg(s->arg, s->buf, (size_t)n, fds, nfds);
		explicit_bzero(s->buf, (size_t)n); /* s lives until the loop has closed its handle, also when the callback closed it */
		for (size_t k = 0; k < nfds; k++)
			fd_close(&fds[k]);
	}
}

static void on_ready(uv_poll_t *h, int status, int events)
{
	struct seq *s = h->data;

	if (status < 0)
		events = UV_READABLE; /* let recvmsg() say what it is */
	if (events & UV_WRITABLE) {
		int r = flush(s);

		if (r < 0 && r != -EAGAIN) {
			/* What the peer sent before it went is still to be read. */
			drop_queue(s);
			events |= UV_READABLE;
		}
	}
	if (events & (UV_READABLE | UV_DISCONNECT))
		read_burst(s);
	interest(s);
}

int seq_open_take(struct seq **out, uv_loop_t *loop, int fd, const struct seq_ops *ops, void *arg)
{
	struct seq *s = calloc(1, sizeof(*s));
	int r = s ? fd_nonblock(fd) : -ENOMEM;

	*out = NULL;
	if (r == 0)
		r = uv_poll_init(loop, &s->poll, fd);
	if (r < 0) {
		free(s);
		close(fd);
		return r;
	}
	s->poll.data = s;
	s->fd = fd;
	s->ops = ops;
	s->arg = arg;
	s->tail = &s->head;
	interest(s);
	*out = s;
	return 0;
}

static int enqueue(struct seq *s, const void *p, size_t n, const int *fds, size_t nfds)
{
	if (s->pending + n > SEQ_QUEUE_MAX)
		return -ENOBUFS;
	struct queued *q = calloc(1, sizeof(*q) + n);
	if (!q)
		return -ENOMEM;
	for (; q->nfds < nfds; q->nfds++) {
		q->fds[q->nfds] = fcntl(fds[q->nfds], F_DUPFD_CLOEXEC, 3);
		if (q->fds[q->nfds] < 0) {
			int r = -errno;

			while (q->nfds > 0)
				close(q->fds[--q->nfds]);
			free(q);
			return r;
		}
	}
	q->n = n;
	memcpy(q->data, p, n);
	*s->tail = q;
	s->tail = &q->next;
	s->pending += n;
	return 0;
}

int seq_send(struct seq *s, const void *p, size_t n, const int *fds, size_t nfds)
{
	if (s->dead)
		return -EPIPE;
	if (n == 0 || n > SEQ_MSG_MAX || nfds > FD_PASS_MAX)
		return -EINVAL;
	if (!s->head) {
		ssize_t r = fd_send(s->fd, p, n, fds, nfds);

		if (r >= 0)
			return 0;
		if (r != -EAGAIN)
			return (int)r;
	}
	int r = enqueue(s, p, n, fds, nfds);
	interest(s);
	return r;
}

bool seq_private(struct seq *s)
{
	return memlock(s->buf, sizeof(s->buf));
}

void seq_reading(struct seq *s, bool on)
{
	s->resting = !on;
	interest(s);
}

size_t seq_pending(const struct seq *s)
{
	return s->pending;
}

void seq_drain(struct seq *s, int timeout_ms)
{
	uint64_t until = clock_ms() + (uint64_t)timeout_ms;

	while (!s->dead && s->head) {
		struct pollfd p = { .fd = s->fd, .events = POLLOUT };
		uint64_t now = clock_ms();
		int r = flush(s);

		if (r == 0 || r != -EAGAIN || now >= until)
			return;
		if (poll(&p, 1, (int)(until - now)) < 0 && errno != EINTR)
			return;
	}
}

void seq_close(struct seq **sp)
{
	struct seq *s = *sp;

	if (!s)
		return;
	*sp = NULL;
	s->dead = true;
	s->closing = true;
	drop_queue(s);
	uv_poll_stop(&s->poll);
	close(s->fd);
	uv_close((uv_handle_t *)&s->poll, on_closed);
}
