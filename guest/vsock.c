/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A stream is a socket on the loop and a queue of what was written to it. What is written gathers until the end of the loop's turn and
 * then leaves in one call; what the socket does not take waits for it. The kernel's vsock has the credit: a socket that takes nothing is
 * a host that does not read. A stream whose owner closed it lives on, unseen, until its queue has left; one that is over is freed at the
 * end of the turn, because its own callback may be on the stack.
 *
 * The connection to VSOCK_PORT_UP tells the host that we listen. When it ends the host began anew (or is gone): it is made again.
 */
#include "guest/vsock.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <linux/vm_sockets.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/proto/vsock.h"
#include "guest/loop.h"

#define OUT_MAX (512u * 1024u)
#define READ_ONE MUX_DATA_MAX /* what an owner is made to take at once */
#define READS 8 /* a turn and stream */
#define RETRY_MS 50u
#define BACKLOG 128
#define HOST_CID 2u

struct vstream {
	struct gstream_kind kind;
	struct vstream *next;     /* all of them */
	const struct gstream_ops *ops;
	void *arg;
	struct watch w;
	struct buf out;
	size_t window, holds;     /* held: bytes the owner has and may have */
	bool held;
	bool asked;               /* ours, and not connected yet */
	bool eof_sent, eof_got, shut;
	bool wants_room;
	bool closed;              /* the owner is done with it */
	bool over;                /* to be freed at the end of the turn */
};

static struct {
	bool used;
	gmux_accept accept;
	struct vstream *all;
	uint32_t count;
	struct watch listener[VSOCK_PORTS];
	struct watch up;
	struct timer retry;
	uint8_t buf[READ_ONE];
} vs;

static struct vstream *of(struct gstream *st)
{
	return (struct vstream *)(void *)st;
}

bool gvsock_used(void)
{
	return vs.used;
}

uint32_t gvsock_count(void)
{
	return vs.count;
}

static void interest(struct vstream *v)
{
	uint32_t events = 0;

	if (v->over)
		return;
	if (v->asked || buf_size(&v->out) > 0)
		events |= EPOLLOUT;
	if (!v->asked && !v->closed && !v->eof_got && !(v->held && v->holds >= v->window))
		events |= EPOLLIN;
	loop_want(&v->w, events);
}

/* No event and no callback comes after this. */
static void end(struct vstream *v)
{
	if (v->over)
		return;
	v->over = true;
	const int fd = v->w.fd;
	loop_del(&v->w);
	close(fd);
}

static void gone(struct vstream *v)
{
	const bool tell = !v->closed && !v->over;

	end(v);
	if (tell) {
		v->closed = true;
		v->ops->on_gone(v->arg);
	}
}

/* False: the connection is over. */
static bool flush(struct vstream *v)
{
	while (!v->asked && buf_size(&v->out) > 0) {
		const ssize_t n = send(v->w.fd, buf_head(&v->out), buf_size(&v->out), MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			return false;
		buf_consume(&v->out, (size_t)n);
	}
	if (!v->asked && buf_size(&v->out) == 0 && v->eof_sent && !v->shut) {
		v->shut = true;
		shutdown(v->w.fd, SHUT_WR);
	}
	return true;
}

static void give_room(struct vstream *v)
{
	if (!v->wants_room || v->asked || v->closed || v->over || buf_room(&v->out) < OUT_MAX / 2)
		return;
	v->wants_room = false;
	v->ops->on_room(v->arg);
}

static void each_turn(void)
{
	for (struct vstream *v = vs.all; v; v = v->next) {
		if (!v->over && !flush(v))
			gone(v);
		if (!v->over)
			give_room(v);
		if (!v->over && !flush(v))
			gone(v);
		if (!v->over && v->closed && buf_size(&v->out) == 0)
			end(v);
		interest(v);
	}
	for (struct vstream **p = &vs.all; *p;) {
		struct vstream *v = *p;

		if (!v->over) {
			p = &v->next;
			continue;
		}
		*p = v->next;
		vs.count--;
		buf_release(&v->out);
		free(v);
	}
}

static void connected(struct vstream *v)
{
	int why = 0;
	socklen_t n = sizeof(why);

	if (getsockopt(v->w.fd, SOL_SOCKET, SO_ERROR, &why, &n) < 0 || why != 0) {
		gone(v);
		return;
	}
	v->asked = false;
	give_room(v);
}

static void read_some(struct vstream *v)
{
	for (int i = 0; i < READS && !v->over && !v->closed && !v->eof_got && !(v->held && v->holds >= v->window); i++) {
		const ssize_t n = read(v->w.fd, vs.buf, sizeof(vs.buf));

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) {
			gone(v);
			return;
		}
		if (n == 0) {
			v->eof_got = true;
			v->ops->on_eof(v->arg);
			return;
		}
		v->holds += v->held ? (size_t)n : 0;
		v->ops->on_data(v->arg, vs.buf, (size_t)n);
	}
}

static void on_ready(void *arg, uint32_t events)
{
	struct vstream *v = arg;

	if (v->asked && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
		connected(v);
	if (!v->over && !v->asked && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		read_some(v);
	/* Nothing is read any more and the host is gone: the rest of the queue goes nowhere. */
	if (!v->over && (events & (EPOLLHUP | EPOLLERR)) && (v->eof_got || v->closed))
		gone(v);
}

static struct vstream *stream_new(int fd)
{
	struct vstream *v = vs.count < MUX_STREAMS_MAX ? calloc(1, sizeof(*v)) : NULL;

	if (!v || fd_nonblock(fd) < 0) {
		free(v);
		close(fd);
		return NULL;
	}
	v->kind.vsock = true;
	v->w.fd = -1;
	buf_init(&v->out, OUT_MAX);
	if (loop_add(&v->w, fd, EPOLLIN, on_ready, v) < 0) {
		free(v);
		close(fd);
		return NULL;
	}
	v->next = vs.all;
	vs.all = v;
	vs.count++;
	return v;
}

/* ---- what mux.h promises ------------------------------------------------------------------------------------------------------------ */

size_t gvsock_room(struct gstream *st)
{
	struct vstream *v = of(st);
	const size_t n = v->eof_sent || v->asked || v->over ? 0 : buf_room(&v->out);

	if (n < MUX_DATA_MAX && !v->eof_sent)
		v->wants_room = true;
	return n;
}

bool gvsock_write(struct gstream *st, const void *p, size_t n)
{
	return n <= gvsock_room(st) && buf_put(&of(st)->out, p, n) == 0;
}

uint8_t *gvsock_reserve(struct gstream *st, size_t head, size_t *n)
{
	const size_t room = gvsock_room(st);

	if (room < head + 1)
		return NULL;
	*n = room - head < MUX_DATA_MAX - head ? room - head : MUX_DATA_MAX - head;
	uint8_t *p = buf_reserve(&of(st)->out, head + *n);
	return p ? p + head : NULL;
}

void gvsock_commit(struct gstream *st, const void *head, size_t head_n, size_t n)
{
	struct buf *b = &of(st)->out;

	if (n == 0)
		return;
	if (head_n > 0)
		memcpy(b->data + b->len, head, head_n);
	buf_grew(b, head_n + n);
}

void gvsock_eof(struct gstream *st)
{
	of(st)->eof_sent = true;
}

void gvsock_close(struct gstream *st)
{
	struct vstream *v = of(st);

	v->closed = true;
	if (v->asked)
		end(v);
	interest(v);
}

void gvsock_hold(struct gstream *st)
{
	of(st)->held = true;
}

void gvsock_taken(struct gstream *st, size_t n)
{
	struct vstream *v = of(st);

	v->holds -= n < v->holds ? n : v->holds;
	interest(v);
}

void gvsock_serve(struct gstream *st, const struct gstream_ops *ops, void *arg)
{
	struct vstream *v = of(st);

	v->ops = ops;
	v->arg = arg;
}

void gvsock_drain(unsigned ms)
{
	for (const uint64_t until = clock_ms() + ms; clock_ms() < until;) {
		bool left = false;

		for (struct vstream *v = vs.all; v; v = v->next)
			left |= !v->over && flush(v) && buf_size(&v->out) > 0;
		if (!left)
			return;
		poll(NULL, 0, 5);
	}
}

static int vsock_socket(void)
{
	const int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? -errno : fd;
}

static int connect_host(int fd, uint32_t port)
{
	const struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_cid = HOST_CID, .svm_port = port };

	return connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0 ? -errno : 0;
}

struct gstream *gvsock_open(uint32_t port, uint32_t window, const struct gstream_ops *ops, void *arg)
{
	const int fd = vs.up.fd >= 0 ? vsock_socket() : -ENOTCONN;
	const int r = fd < 0 ? fd : connect_host(fd, port);

	if (r < 0 && r != -EINPROGRESS) {
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	struct vstream *v = stream_new(fd);
	if (!v)
		return NULL;
	v->ops = ops;
	v->arg = arg;
	v->window = window;
	v->asked = true; /* also when it is connected already: told from the loop */
	v->wants_room = true;
	interest(v);
	return (struct gstream *)(void *)v;
}

/* ---- the host comes ------------------------------------------------------------------------------------------------------------------- */

void gvsock_take(int fd, uint32_t port)
{
	struct vstream *v = stream_new(fd);

	if (!v)
		return;
	v->window = MUX_WINDOW;
	if (!vs.accept(port, (struct gstream *)(void *)v, &v->ops, &v->arg)) {
		v->closed = true;
		end(v);
	}
	interest(v);
}

static void on_listener(void *arg, uint32_t events)
{
	struct watch *w = arg;
	struct sockaddr_vm a = { 0 };
	socklen_t n = sizeof(a);
	const int fd = accept4(w->fd, (struct sockaddr *)&a, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0)
		return;
	/* Other programs of the guest may connect to us by the loopback transport: they are not the host. */
	if (n < sizeof(a) || a.svm_cid != HOST_CID) {
		close(fd);
		return;
	}
	gvsock_take(fd, (uint32_t)(w - vs.listener) + 1);
}

static void say_up(void *arg);

static void on_up(void *arg, uint32_t events)
{
	uint8_t c;

	(void)arg;
	const ssize_t n = recv(vs.up.fd, &c, 1, MSG_DONTWAIT);
	if (!(events & (EPOLLHUP | EPOLLERR)) && (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR))))
		return;
	const int fd = vs.up.fd;
	loop_del(&vs.up);
	close(fd);
	log_info("the host has closed the channel");
	loop_after(&vs.retry, RETRY_MS, say_up, NULL);
}

static void say_up(void *arg)
{
	const int fd = vsock_socket();
	const int r = fd < 0 ? fd : connect_host(fd, VSOCK_PORT_UP);

	(void)arg;
	if ((r == 0 || r == -EINPROGRESS) && loop_add(&vs.up, fd, EPOLLIN, on_up, NULL) == 0)
		return;
	if (fd >= 0)
		close(fd);
	loop_after(&vs.retry, RETRY_MS, say_up, NULL);
}

void gvsock_start_bare(gmux_accept accept)
{
	vs.used = true;
	vs.accept = accept;
	vs.up.fd = -1;
	loop_each_turn(each_turn);
}

int gvsock_start(gmux_accept accept)
{
	for (uint32_t port = 1; port <= VSOCK_PORTS; port++) {
		const struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port };
		const int fd = vsock_socket();

		if (fd < 0)
			return fd;
		if (bind(fd, (const struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, BACKLOG) < 0)
			return -errno;
		const int r = loop_add(&vs.listener[port - 1], fd, EPOLLIN, on_listener, &vs.listener[port - 1]);
		if (r < 0)
			return r;
	}
	gvsock_start_bare(accept);
	say_up(NULL);
	return 0;
}
