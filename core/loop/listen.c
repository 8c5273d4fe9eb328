/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets: bounded accepts a wake-up, rest instead of spinning when descriptors run out. */
#include "core/loop/listen.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/log.h"
#include "core/base/sock.h"
#include "core/loop/after.h"

#define ACCEPT_BURST 8
#define REST_MS 200

struct listener {
	uv_poll_t poll;
	int fd;
	void (*on_accept)(void *arg, int fd);
	void *arg;
	struct after *rest;
	bool local;   /* a Unix socket */
	bool closing;
};

static void on_ready(uv_poll_t *h, int status, int events);

static void on_closed(uv_handle_t *h)
{
	free(h->data);
}

static void on_rested(void *arg)
{
	struct listener *l = arg;

	uv_poll_start(&l->poll, UV_READABLE, on_ready);
}

static void on_ready(uv_poll_t *h, int status, int events)
{
	struct listener *l = h->data;

	(void)status;
	(void)events;
	for (int i = 0; i < ACCEPT_BURST && !l->closing; i++) {
		int fd = l->local ? sock_accept(l->fd) : accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd == -1 && !l->local)
			fd = errno == ECONNABORTED || errno == EINTR ? -EAGAIN : -errno;

		if (fd == -EAGAIN)
			return;
		if (fd < 0) {
			log_warn("cannot accept a connection: %s", strerror(-fd));
			uv_poll_stop(&l->poll);
			after_set(&l->rest, l->poll.loop, REST_MS, on_rested, l);
			return;
		}
		l->on_accept(l->arg, fd);
	}
}

int listener_open_take(struct listener **out, uv_loop_t *loop, int fd, void (*on_accept)(void *arg, int fd), void *arg)
{
	struct listener *l = calloc(1, sizeof(*l));
	int domain = 0;
	socklen_t n = sizeof(domain);
	int r = l ? uv_poll_init(loop, &l->poll, fd) : -ENOMEM;

	*out = NULL;
	if (r < 0) {
		free(l);
		close(fd);
		return r;
	}
	l->poll.data = l;
	l->local = getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) == 0 && domain == AF_UNIX;
	l->fd = fd;
	l->on_accept = on_accept;
	l->arg = arg;
	uv_poll_start(&l->poll, UV_READABLE, on_ready);
	*out = l;
	return 0;
}

void listener_close(struct listener **lp)
{
	struct listener *l = *lp;

	if (!l)
		return;
	*lp = NULL;
	l->closing = true;
	after_cancel(&l->rest);
	uv_poll_stop(&l->poll);
	close(l->fd);
	uv_close((uv_handle_t *)&l->poll, on_closed);
}
