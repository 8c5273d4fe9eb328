/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/dnsstub.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "guest/dns.h"
#include "guest/loop.h"
#include "guest/net.h"

#define PORT 53u
#define BURST 64 /* datagrams a wake-up */
#define OUT_MAX 16384u

struct conn {
	struct watch w;
	struct timer idle;
	struct buf in, out;
	bool eof;
};

static struct watch sockets[4];
static unsigned conns;

static void on_datagram(void *arg, uint32_t events)
{
	const struct watch *w = arg;
	uint8_t query[DNSSTUB_QUERY_MAX], answer[DNS_ANSWER_MAX];

	(void)events;
	for (int i = 0; i < BURST; i++) {
		struct sockaddr_storage from;
		socklen_t len = sizeof(from);
		const ssize_t n = recvfrom(w->fd, query, sizeof(query), MSG_DONTWAIT, (struct sockaddr *)&from, &len);

		if (n < 0)
			return;
		const size_t k = dns_answer(query, (size_t)n, clock_ms(), answer);
		/* An answer that is lost is asked for again. */
		if (k > 0 && sendto(w->fd, answer, k, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&from, len) < 0)
			log_debug("an answer of the name server was lost: error %d", errno);
	}
}

/* ---- TCP ---------------------------------------------------------------------------------------------------------------------- */

static void conn_end(struct conn *c)
{
	int fd = c->w.fd;

	loop_cancel(&c->idle);
	loop_del(&c->w);
	fd_close(&fd);
	buf_release(&c->in);
	buf_release(&c->out);
	free(c);
	conns--;
}

static void on_idle(void *arg)
{
	conn_end(arg);
}

/* Answers what is whole; false: it is no query, or too long. */
static bool serve(struct conn *c)
{
	uint8_t answer[2 + DNS_ANSWER_MAX];

	while (buf_size(&c->in) >= 2 && buf_room(&c->out) >= sizeof(answer)) {
		const uint8_t *p = buf_head(&c->in);
		const size_t n = (size_t)(p[0] << 8 | p[1]);

		if (n > DNSSTUB_QUERY_MAX)
			return false;
		if (buf_size(&c->in) < 2 + n)
			break;
		const size_t k = dns_answer(p + 2, n, clock_ms(), answer + 2);
		if (k == 0)
			return false;
		answer[0] = (uint8_t)(k >> 8);
		answer[1] = (uint8_t)k;
		buf_put(&c->out, answer, 2 + k);
		buf_consume(&c->in, 2 + n);
	}
	return true;
}

static bool send_out(struct conn *c)
{
	while (buf_size(&c->out) > 0) {
		const ssize_t n = send(c->w.fd, buf_head(&c->out), buf_size(&c->out), MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		buf_consume(&c->out, (size_t)n);
	}
	return true;
}

static void on_conn(void *arg, uint32_t events)
{
	struct conn *c = arg;
	bool good = true;

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		uint8_t *p = buf_room(&c->in) > 0 ? buf_reserve(&c->in, buf_room(&c->in)) : NULL;
		const ssize_t n = p ? recv(c->w.fd, p, buf_room(&c->in), MSG_DONTWAIT) : 0;

		if (n > 0)
			buf_grew(&c->in, (size_t)n);
		else if (n == 0)
			c->eof = true;
		else
			good = errno == EAGAIN || errno == EINTR;
	}
	for (size_t before = SIZE_MAX; good && buf_size(&c->in) < before;) { /* as long as queries are answered and room is made for more */
		before = buf_size(&c->in);
		good = serve(c) && send_out(c);
	}
	if (!good || (c->eof && buf_size(&c->out) == 0)) {
		conn_end(c);
		return;
	}
	loop_want(&c->w, (c->eof || buf_room(&c->in) == 0 ? 0u : EPOLLIN) | (buf_size(&c->out) > 0 ? EPOLLOUT : 0u));
	loop_after(&c->idle, DNSSTUB_IDLE_MS, on_idle, c);
}

static void on_accept(void *arg, uint32_t events)
{
	const struct watch *w = arg;

	(void)events;
	for (int i = 0; i < BURST; i++) {
		int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct conn *c = fd >= 0 && conns < DNSSTUB_CONNS_MAX ? calloc(1, sizeof(*c)) : NULL;

		if (fd < 0)
			return;
		if (!c || loop_add(&c->w, fd, EPOLLIN, on_conn, c) < 0) {
			free(c);
			fd_close(&fd);
			continue;
		}
		buf_init(&c->in, 2 + DNSSTUB_QUERY_MAX);
		buf_init(&c->out, OUT_MAX);
		loop_after(&c->idle, DNSSTUB_IDLE_MS, on_idle, c);
		conns++;
	}
}

int dnsstub_start(void)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(sockets); i++) {
		const bool v4 = i < 2, udp = i % 2 == 0;
		const int fd = net_socket(v4, udp ? SOCK_DGRAM : SOCK_STREAM, PORT);

		if (fd >= 0 && loop_add(&sockets[i], fd, EPOLLIN, udp ? on_datagram : on_accept, &sockets[i]) == 0)
			continue;
		log_warn("no %s name server on %s: error %d", v4 ? "IPv4" : "IPv6", udp ? "UDP" : "TCP", fd);
		if (v4)
			r = fd < 0 ? fd : -ENOMEM;
	}
	return r;
}
