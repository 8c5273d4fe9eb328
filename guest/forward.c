/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ASKED (NETC_TO is awaited) -> CONNECTING to 127.0.0.1, then to ::1 when that is refused -> JOINED: the relay's; or REFUSED: told so, and
 * the stream lives until the host ends its side too, or the end would overtake the sentence. What the host sends before the connection
 * stands is held, at most a window of it.
 */
#include "guest/forward.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/base/fd.h"
#include "core/base/rbuf.h"
#include "core/proto/netconn.h"
#include "guest/relay.h"

#define CONNECT_MS 10000u

enum state { ASKED, CONNECTING, JOINED, REFUSED };

struct forward {
	struct relay r; /* first: its owner is found by it; in use when JOINED */
	enum state state;
	struct gstream *st;
	struct watch connecting;
	struct timer late;
	struct buf held;
	uint16_t port;
	bool v6, eof;
};

static unsigned count;

static void release(struct forward *f)
{
	int fd = f->connecting.fd;

	loop_del(&f->connecting);
	fd_close(&fd);
	loop_cancel(&f->late);
	buf_release(&f->held);
	free(f);
	count--;
}

static void on_relay_end(struct relay *r)
{
	release((struct forward *)r);
}

static void refuse(struct forward *f, int code)
{
	char text[128];
	struct buf b;

	snprintf(text, sizeof(text), "nothing answers on port %u in the sandbox: %s", f->port, strerror(code));
	buf_init(&b, NETCONN_FRAME_MAX);
	buf_u32(&b, (uint32_t)code);
	buf_str16(&b, text);
	const bool told = gstream_frame(f->st, NETC_FAILED, buf_head(&b), buf_size(&b));
	buf_release(&b);
	loop_cancel(&f->late);
	f->state = REFUSED;
	if (told)
		gstream_eof(f->st);
	if (!told || f->eof) {
		gstream_close(f->st);
		release(f);
	}
}

static void join(struct forward *f)
{
	int fd = f->connecting.fd;

	loop_del(&f->connecting);
	loop_cancel(&f->late);
	if (relay_init_take(&f->r, fd, on_relay_end) < 0) {
		refuse(f, ENOMEM);
		return;
	}
	f->state = JOINED;
	f->r.st = f->st;
	if (!gstream_frame(f->st, NETC_GO, NULL, 0)) {
		relay_abort(&f->r);
		return;
	}
	struct buf early = f->held;
	const bool eof = f->eof;
	buf_init(&f->held, 0);
	if ((buf_size(&early) == 0 || relay_data(&f->r, buf_head(&early), buf_size(&early))) && (!eof || relay_eof(&f->r)))
		relay_read(&f->r);
	buf_release(&early);
}

static void try_connect(struct forward *f);

static void on_connected(void *arg, uint32_t events)
{
	struct forward *f = arg;
	int fd = f->connecting.fd, code = 0;
	socklen_t len = sizeof(code);

	(void)events;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len);
	if (code == 0) {
		join(f);
		return;
	}
	loop_del(&f->connecting);
	close(fd);
	if (f->v6) {
		refuse(f, ECONNREFUSED);
		return;
	}
	f->v6 = true;
	try_connect(f);
}

static void on_late(void *arg)
{
	struct forward *f = arg;
	int fd = f->connecting.fd;

	loop_del(&f->connecting);
	fd_close(&fd);
	refuse(f, ETIMEDOUT);
}

static void try_connect(struct forward *f)
{
	const struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(f->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(f->port), .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	const struct sockaddr *to = f->v6 ? (const struct sockaddr *)&v6 : (const struct sockaddr *)&v4;
	int fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd >= 0 && (connect(fd, to, f->v6 ? sizeof(v6) : sizeof(v4)) == 0 || errno == EINPROGRESS) &&
	    loop_add(&f->connecting, fd, EPOLLOUT, on_connected, f) == 0)
		return;
	const int code = errno;
	fd_close(&fd);
	if (!f->v6 && code == ECONNREFUSED) {
		f->v6 = true;
		try_connect(f);
	} else {
		refuse(f, code);
	}
}

static void take_head(struct forward *f)
{
	struct frame fr;
	struct rbuf r;
	size_t used;
	int rc = frame_parse(buf_head(&f->held), buf_size(&f->held), NETCONN_FRAME_MAX, &fr, &used);

	if (rc == -EAGAIN)
		return;
	if (rc == 0) {
		rbuf_init(&r, fr.payload, fr.len);
		rbuf_u16(&r, &f->port);
	}
	if (rc < 0 || fr.type != NETC_TO || rbuf_done(&r) < 0 || f->port == 0) {
		gstream_close(f->st);
		release(f);
		return;
	}
	buf_consume(&f->held, used);
	gstream_taken(f->st, used);
	f->state = CONNECTING;
	loop_after(&f->late, CONNECT_MS, on_late, f);
	try_connect(f);
}

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	struct forward *f = arg;

	if (f->state == JOINED) {
		relay_data(&f->r, p, n);
	} else if (f->state != REFUSED && buf_put(&f->held, p, n) < 0) {
		gstream_close(f->st);
		release(f);
	} else if (f->state == ASKED) {
		take_head(f);
	}
}

static void on_eof(void *arg)
{
	struct forward *f = arg;

	if (f->state == JOINED) {
		relay_eof(&f->r);
		return;
	}
	f->eof = true;
	if (f->state != CONNECTING) {
		gstream_close(f->st);
		release(f);
	}
}

static void on_room(void *arg)
{
	struct forward *f = arg;

	if (f->state == JOINED)
		relay_room(&f->r);
}

static void on_gone(void *arg)
{
	struct forward *f = arg;

	if (f->state == JOINED)
		relay_gone(&f->r);
	else
		release(f);
}

static const struct gstream_ops ops = { .on_data = on_data, .on_eof = on_eof, .on_room = on_room, .on_gone = on_gone };

bool forward_accept(struct gstream *st, const struct gstream_ops **out, void **arg)
{
	struct forward *f = count < FORWARD_MAX ? calloc(1, sizeof(*f)) : NULL;

	if (!f)
		return false;
	f->st = st;
	f->connecting.fd = -1;
	buf_init(&f->held, RELAY_HOLDS);
	gstream_hold(st);
	*out = &ops;
	*arg = f;
	count++;
	return true;
}
