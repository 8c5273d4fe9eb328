/* SPDX-License-Identifier: Apache-2.0 */
/* A connection: the stream is asked for (NETC_OPEN, then the client's bytes) -> the host's verdict (NETC_GO, NETC_RESET) -> bytes both ways. */
#include "guest/redirect.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/proto/netconn.h"
#include "guest/names.h"
#include "guest/net.h"
#include "guest/relay.h"
#include "guest/who.h"

#define BURST 32             /* accepted a wake-up */
#define LOOK_FIRST_MS 100u   /* is a client that ended its direction still there? */
#define LOOK_MS 1000u
#define MANY 256u            /* connections; with more, each gets the small window */
#define WINDOW_SMALL (64u * 1024u)
/* SO_ORIGINAL_DST of linux/netfilter_ipv4.h and its sibling, whose headers do not go together with netinet/in.h; both are 80. */
#define ORIGINAL_DST 80

struct conn {
	struct relay r; /* first: its owner is found by it */
	struct netconn_open open;
	uint32_t held;  /* address of the stub's that is held, 0 none */
	struct sockaddr_storage from, to;
	struct timer look;
	bool open_sent, ruled; /* NETC_OPEN has left; the verdict has come */
	uint8_t head[FRAME_HEAD];
	size_t head_n;
};

static struct watch listeners[2];
static unsigned count;

static void on_end(struct relay *r)
{
	struct conn *c = (struct conn *)r;

	loop_cancel(&c->look);
	if (c->held)
		names_drop(c->held, clock_ms());
	free(c);
	count--;
}

/*
 * A client that gave up while a person was being asked has closed its socket, which looks here as if it had only ended its direction: whoever
 * is asked about it should know. After the verdict the first byte sent tells.
 */
static void on_look(void *arg)
{
	struct conn *c = arg;

	if (who_closed(&c->from, &c->to))
		relay_abort(&c->r);
	else
		loop_after(&c->look, LOOK_MS, on_look, c);
}

static void on_client_eof(struct relay *r)
{
	struct conn *c = (struct conn *)r;

	if (!c->ruled)
		loop_after(&c->look, LOOK_FIRST_MS, on_look, c);
}

/* ---- the stream ----------------------------------------------------------------------------------------------------------------- */

static void on_room(void *arg)
{
	struct conn *c = arg;
	struct buf b;

	if (c->open_sent) {
		relay_room(&c->r);
		return;
	}
	buf_init(&b, NETCONN_FRAME_MAX);
	netconn_open_pack(&b, &c->open);
	c->open_sent = buf_ok(&b) && gstream_frame(c->r.st, NETC_OPEN, buf_head(&b), buf_size(&b));
	buf_release(&b);
	if (c->open_sent)
		relay_read(&c->r);
}

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	struct conn *c = arg;
	struct frame f;
	size_t used;

	if (!c->ruled) {
		const size_t k = n < FRAME_HEAD - c->head_n ? n : FRAME_HEAD - c->head_n;

		memcpy(c->head + c->head_n, p, k);
		c->head_n += k;
		p += k;
		n -= k;
		gstream_taken(c->r.st, k);
		if (c->head_n < FRAME_HEAD)
			return;
		if (frame_parse(c->head, sizeof(c->head), 0, &f, &used) < 0 || f.type != NETC_GO) {
			relay_abort(&c->r);
			return;
		}
		c->ruled = true;
		loop_cancel(&c->look);
	}
	if (n > 0)
		relay_data(&c->r, p, n);
}

static void on_eof(void *arg)
{
	struct conn *c = arg;

	if (c->ruled)
		relay_eof(&c->r);
	else
		relay_abort(&c->r);
}

static void on_gone(void *arg)
{
	struct conn *c = arg;

	relay_gone(&c->r);
}

static const struct gstream_ops ops = { .on_data = on_data, .on_eof = on_eof, .on_room = on_room, .on_gone = on_gone };

/* ---- the client ------------------------------------------------------------------------------------------------------------------- */

static void set_dst(struct netconn_open *m, const struct sockaddr_storage *to, uint32_t *v4)
{
	struct sockaddr_in a;
	struct sockaddr_in6 a6;

	*v4 = 0;
	if (to->ss_family == AF_INET) {
		memcpy(&a, to, sizeof(a));
		m->dst.b[10] = m->dst.b[11] = 0xff;
		memcpy(m->dst.b + 12, &a.sin_addr, 4);
		m->port = ntohs(a.sin_port);
		*v4 = ntohl(a.sin_addr.s_addr);
	} else {
		memcpy(&a6, to, sizeof(a6));
		memcpy(m->dst.b, &a6.sin6_addr, 16);
		m->port = ntohs(a6.sin6_port);
	}
}

/* Where the client wanted to go; false: to us, which leads nowhere. */
static bool original(int fd, sa_family_t family, struct sockaddr_storage *to)
{
	struct sockaddr_storage us;
	socklen_t len = sizeof(*to), us_len = sizeof(us);

	memset(to, 0, sizeof(*to));
	memset(&us, 0, sizeof(us));
	const int r = family == AF_INET ? getsockopt(fd, SOL_IP, ORIGINAL_DST, to, &len) : getsockopt(fd, SOL_IPV6, ORIGINAL_DST, to, &len);
	if (r < 0 || getsockname(fd, (struct sockaddr *)&us, &us_len) < 0 || to->ss_family != family)
		return false;
	return memcmp(to, &us, family == AF_INET ? 8 : 24) != 0; /* family, port, (flow,) address */
}

static void take(int fd, const struct sockaddr_storage *from)
{
	struct sockaddr_storage to;
	uint32_t v4;
	struct conn *c = count < REDIRECT_MAX && original(fd, from->ss_family, &to) ? calloc(1, sizeof(*c)) : NULL;

	if (!c) {
		relay_reset_take(fd);
		return;
	}
	count++;
	if (relay_init_take(&c->r, fd, on_end) < 0) {
		on_end(&c->r);
		return;
	}
	c->r.client_eof = on_client_eof;
	c->from = *from;
	c->to = to;
	c->open.version = NETCONN_VERSION;
	set_dst(&c->open, &to, &v4);
	const char *name = v4 ? names_of(v4) : NULL;
	if (name) {
		str_copy(c->open.name, sizeof(c->open.name), name);
		names_hold(v4);
		c->held = v4;
	}
	c->r.st = gmux_open(NETCONN_PORT, count > MANY ? WINDOW_SMALL : MUX_WINDOW, &ops, c);
	if (!c->r.st) {
		relay_abort(&c->r);
		return;
	}
	gstream_hold(c->r.st);
	who_fill(from, &to, &c->open);
	gstream_room(c->r.st); /* none yet: on_room will come */
}

static void on_accept(void *arg, uint32_t events)
{
	const struct watch *w = arg;

	(void)events;
	for (int i = 0; i < BURST; i++) {
		struct sockaddr_storage from = { 0 };
		socklen_t len = sizeof(from);
		const int fd = accept4(w->fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			return;
		take(fd, &from);
	}
}

int redirect_start(void)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(listeners); i++) {
		const int fd = net_socket(i == 0, SOCK_STREAM, NET_REDIRECT_PORT);

		if (fd >= 0 && loop_add(&listeners[i], fd, EPOLLIN, on_accept, &listeners[i]) == 0)
			continue;
		log_warn("no connections over %s: error %d", i == 0 ? "IPv4" : "IPv6", fd);
		if (i == 0)
			r = fd < 0 ? fd : -ENOMEM;
	}
	return r;
}
