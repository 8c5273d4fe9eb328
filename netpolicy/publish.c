/* SPDX-License-Identifier: Apache-2.0 */
/* Published ports: a connection accepted on the host becomes a stream to guest port NETCONN_PORT_FORWARD, NETC_TO first, then raw. */
#include "netpolicy/net.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/loop/after.h"
#include "core/loop/listen.h"
#include "core/loop/stream.h"
#include "netpolicy/relay.h"

#define INBOUND_MAX 512u  /* connections of all ports */
#define ANSWER_MS 10000u  /* of the guest's agent */

struct inbound {
	struct inbound *next, *prev;
	struct net *net;
	struct published *port;  /* NULL once it was unpublished */
	uint32_t token;          /* of the dial; 0 when it came */
	int client;              /* until the relay has it */
	struct stream *guest;    /* until it has answered */
	struct relay *relay;
	struct after *timer;
};

struct published {
	struct published *next;
	struct net *net;
	uint32_t id;
	uint16_t guest_port;
	struct listener *listener;
	struct inbound *conns;
	unsigned nconns;
};

static void end(struct inbound *c)
{
	after_cancel(&c->timer);
	relay_close(&c->relay);
	stream_close(&c->guest);
	fd_close(&c->client);
	if (c->prev)
		c->prev->next = c->next;
	else
		c->port->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	c->port->nconns--;
	free(c);
}

static void on_late(void *arg)
{
	end(arg);
}

static void on_relayed(void *arg, int why)
{
	(void)why;
	end(arg);
}

/* The guest's agent answers NETC_GO: what follows is the program's. */
static void on_read(void *arg, struct buf *in)
{
	struct inbound *c = arg;
	struct frame f;
	size_t used;
	const int r = frame_parse(buf_head(in), buf_size(in), NETCONN_FRAME_MAX, &f, &used);

	if (r == -EAGAIN && !stream_cut(c->guest))
		return;
	if (r < 0 || f.type != NETC_GO || f.len > 0) {
		end(c); /* NETC_FAILED: nobody listens there */
		return;
	}
	buf_consume(in, used);
	after_cancel(&c->timer);
	const int guest = stream_fd_dup(c->guest);
	const int rc = guest < 0 ? guest : relay_open_take(&c->relay, c->net->loop, guest, steal_fd(&c->client), buf_head(in), buf_size(in), NULL, 0,
							    on_relayed, c);
	stream_close(&c->guest);
	if (rc < 0)
		end(c);
}

static void on_closed(void *arg, int why)
{
	(void)why;
	end(arg);
}

static void on_eof(void *arg)
{
	end(arg);
}

static const struct stream_ops ops = { .on_read = on_read, .on_eof = on_eof, .on_closed = on_closed };

static void on_accept(void *arg, int fd)
{
	struct published *p = arg;
	struct inbound *c = p->nconns < INBOUND_MAX ? calloc(1, sizeof(*c)) : NULL;
	const int on = 1;

	if (!c) {
		close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->net = p->net;
	c->port = p;
	c->client = fd;
	c->next = p->conns;
	if (c->next)
		c->next->prev = c;
	p->conns = c;
	p->nconns++;
	if ((c->token = net_dial(p->net, NETCONN_PORT_FORWARD)) == 0)
		end(c);
	else
		after_set(&c->timer, p->net->loop, ANSWER_MS, on_late, c);
}

static struct inbound *find(struct net *n, uint32_t token)
{
	for (struct published *p = n->published; p; p = p->next)
		for (struct inbound *c = p->conns; c; c = c->next)
			if (c->token == token)
				return c;
	return NULL;
}

bool publish_dialed_take(struct net *n, uint32_t token, int fd)
{
	struct inbound *c = token ? find(n, token) : NULL;
	struct buf b;

	if (!c || fd < 0) {
		if (fd >= 0)
			close(fd);
		if (c)
			end(c);
		return c;
	}
	c->token = 0;
	if (stream_open_take(&c->guest, n->loop, fd, RELAY_BUF, 4096, &ops, c) < 0) {
		end(c);
		return true;
	}
	buf_init(&b, 64);
	const size_t at = frame_begin(&b, NETC_TO, 0);
	buf_u16(&b, c->port->guest_port);
	frame_end(&b, at);
	stream_write(c->guest, buf_head(&b), buf_size(&b));
	buf_release(&b);
	return true;
}

void publish_take(struct net *n, uint32_t id, uint16_t guest_port, int listener)
{
	struct published *p;

	unpublish(n, id);
	if (!(p = calloc(1, sizeof(*p)))) {
		close(listener);
		return;
	}
	*p = (struct published){ .net = n, .id = id, .guest_port = guest_port };
	const int r = listener_open_take(&p->listener, n->loop, listener, on_accept, p);
	if (r < 0) {
		log_error("port %u of the guest cannot be published: %s", guest_port, strerror(-r));
		free(p);
		return;
	}
	p->next = n->published;
	n->published = p;
}

static void remove_port(struct published **at)
{
	struct published *p = *at;

	*at = p->next;
	listener_close(&p->listener);
	while (p->conns)
		end(p->conns);
	free(p);
}

void unpublish(struct net *n, uint32_t id)
{
	for (struct published **p = &n->published; *p; p = &(*p)->next)
		if ((*p)->id == id) {
			remove_port(p);
			return;
		}
}

void publish_end(struct net *n)
{
	while (n->published)
		remove_port(&n->published);
}
