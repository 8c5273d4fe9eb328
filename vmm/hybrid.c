/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hybrid-vsock convention (Firecracker's docs/vsock.md): "CONNECT <port>\n", then "OK <n>\n" and the bytes of the stream.
 *
 * The request's line is looked at with MSG_PEEK and then taken exactly, so that what the client sent behind it stays in the
 * socket, which becomes the stream's own end.
 */
#include "vmm/dial.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/loop/listen.h"

struct conn {
	uv_poll_t poll;
	struct conn *next;
	struct hybrid *h; /* NULL: it is closing */
	int fd;
};

struct hybrid {
	uv_loop_t *loop;
	struct listener *listener;
	struct channel *m;
	struct conn *conns;
	unsigned n;
};

int hybrid_parse(const char *p, size_t n, uint32_t *port, size_t *used)
{
	static const char verb[] = "CONNECT ";
	const char *nl = memchr(p, '\n', n < HYBRID_LINE_MAX ? n : HYBRID_LINE_MAX);
	char digits[HYBRID_LINE_MAX];
	uint64_t v;

	if (memcmp(p, verb, n < sizeof(verb) - 1 ? n : sizeof(verb) - 1) != 0)
		return -EBADMSG;
	if (!nl)
		return n >= HYBRID_LINE_MAX ? -EBADMSG : -EAGAIN;
	const size_t len = (size_t)(nl - p);
	if (len < sizeof(verb))
		return -EBADMSG;
	memcpy(digits, p + sizeof(verb) - 1, len - (sizeof(verb) - 1));
	digits[len - (sizeof(verb) - 1)] = '\0';
	if (str_u64(digits, 1, UINT32_MAX - 1, &v) < 0)
		return -EBADMSG;
	*port = (uint32_t)v;
	*used = len + 1;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

/* Ends the waiting; fd is the caller's afterwards (or closed when it keeps none). */
static int conn_end(struct conn *c)
{
	for (struct conn **p = c->h ? &c->h->conns : NULL; p && *p; p = &(*p)->next)
		if (*p == c) {
			*p = c->next;
			c->h->n--;
			break;
		}
	c->h = NULL;
	uv_poll_stop(&c->poll);
	uv_close((uv_handle_t *)&c->poll, on_closed);
	return steal_fd(&c->fd);
}

static void conn_refuse(struct conn *c)
{
	const int fd = conn_end(c);

	close(fd);
}

struct wish {
	struct channel *m; /* outlives it: closing the multiplexer answers every request */
	int fd;
};

static void on_opened(void *arg, int result, uint32_t number)
{
	struct wish *w = arg;
	char text[32];

	if (result == 0) {
		const int n = snprintf(text, sizeof(text), "OK %u\n", number);

		if (send(w->fd, text, (size_t)n, MSG_NOSIGNAL) == n)
			channel_join_take(w->m, number, steal_fd(&w->fd));
	}
	fd_close(&w->fd);
	free(w);
}

static void on_ready(uv_poll_t *handle, int status, int events)
{
	struct conn *c = handle->data;
	char line[HYBRID_LINE_MAX];
	uint32_t port;
	size_t used;

	(void)events;
	const ssize_t n = status < 0 ? -1 : recv(c->fd, line, sizeof(line), MSG_PEEK | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR) && status >= 0)
		return;
	const int r = n > 0 ? hybrid_parse(line, (size_t)n, &port, &used) : -EBADMSG;
	if (r == -EAGAIN) {
		/* Half a line: readable until it is taken, so it is; the rest must come in the same breath or the client is cut off. */
		conn_refuse(c);
		return;
	}
	struct wish *w = r == 0 ? malloc(sizeof(*w)) : NULL;
	if (!w || recv(c->fd, line, used, 0) != (ssize_t)used) {
		free(w);
		conn_refuse(c);
		return;
	}
	struct hybrid *h = c->h;
	*w = (struct wish){ .m = h->m, .fd = conn_end(c) };
	if (channel_dial(h->m, port, on_opened, w) < 0) {
		close(w->fd);
		free(w);
	}
}

static void on_accept(void *arg, int fd)
{
	struct hybrid *h = arg;
	struct conn *c = h->n < HYBRID_CONNS_MAX ? calloc(1, sizeof(*c)) : NULL;

	if (!c || uv_poll_init(h->loop, &c->poll, fd) < 0) {
		free(c);
		close(fd);
		return;
	}
	c->poll.data = c;
	c->h = h;
	c->fd = fd;
	c->next = h->conns;
	h->conns = c;
	h->n++;
	uv_poll_start(&c->poll, UV_READABLE, on_ready);
}

int hybrid_open_take(struct hybrid **out, uv_loop_t *loop, int listener, struct channel *m)
{
	struct hybrid *h = calloc(1, sizeof(*h));

	*out = NULL;
	if (!h) {
		close(listener);
		return -ENOMEM;
	}
	h->loop = loop;
	h->m = m;
	const int r = listener_open_take(&h->listener, loop, listener, on_accept, h);
	if (r < 0) {
		free(h);
		return r;
	}
	*out = h;
	return 0;
}

void hybrid_close(struct hybrid **hp)
{
	struct hybrid *h = *hp;

	if (!h)
		return;
	*hp = NULL;
	while (h->conns)
		conn_refuse(h->conns);
	listener_close(&h->listener);
	free(h);
}
