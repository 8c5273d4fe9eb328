/* SPDX-License-Identifier: Apache-2.0 */
/* Connections: their table, their sockets, and the packets that are made of what is due (vsock.c's theory of operation). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/base/buf.h"
#include "core/base/str.h"
#include "core/proto/vsock.h"
#include "vmm/devices/vsockimpl.h"

static bool socket_readable(void *arg);
static void socket_read(void *arg, struct buf *in);
static void socket_eof(void *arg);
static void socket_drain(void *arg);
static void socket_closed(void *arg, int why);
static const struct stream_ops socket_ops = {
	.on_readable = socket_readable, .on_read = socket_read, .on_eof = socket_eof, .on_drain = socket_drain, .on_closed = socket_closed,
};

/* ---- table and ready list ---------------------------------------------------------------------------------------------------------- */

struct vconn **vconn_find(struct vsock *vs, uint32_t host_port, uint32_t guest_port)
{
	struct vconn **p = &vs->slot[(host_port * 31 + guest_port) % VSOCK_TABLE];

	while (*p && ((*p)->host_port != host_port || (*p)->guest_port != guest_port))
		p = &(*p)->next;
	return p;
}

void vconn_make_ready(struct vconn *c)
{
	struct vsock *vs = c->vs;

	if (c->rprev)
		return;
	c->rnext = NULL;
	c->rprev = vs->ready_tail;
	*vs->ready_tail = c;
	vs->ready_tail = &c->rnext;
}

static void unready(struct vconn *c)
{
	if (!c->rprev)
		return;
	*c->rprev = c->rnext;
	if (c->rnext)
		c->rnext->rprev = c->rprev;
	else
		c->vs->ready_tail = c->rprev;
	c->rprev = NULL;
}

struct vconn *vconn_new(struct vsock *vs, uint32_t host_port, uint32_t guest_port)
{
	struct vconn *c = vs->count < VSOCK_CONNS_MAX ? calloc(1, sizeof(*c)) : NULL;

	if (!c)
		return NULL;
	c->vs = vs;
	c->host_port = host_port;
	c->guest_port = guest_port;
	c->window = vs->count < VSOCK_FEW ? VSOCK_WINDOW : vs->count < VSOCK_SOME ? VSOCK_WINDOW_SOME : VSOCK_WINDOW_MANY;
	*vconn_find(vs, host_port, guest_port) = c;
	vs->count++;
	return c;
}

/* Out of its slot, or of those that linger. */
static void unlink_conn(struct vconn *c)
{
	struct vconn **p = c->lingers ? &c->vs->lingering : vconn_find(c->vs, c->host_port, c->guest_port);

	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
	unready(c);
	if (c->silent && !c->dead)
		c->vs->up = false; /* the agent says so again when it is there again */
}

static void drop(struct vconn *c)
{
	unlink_conn(c);
	c->vs->count--;
	stream_close(&c->s);
	free(c);
}

void vconn_part(struct vconn *c)
{
	struct vsock *vs = c->vs;

	unlink_conn(c);
	c->lingers = c->deaf = true;
	c->due = 0;
	c->next = vs->lingering;
	vs->lingering = c;
	stream_kick(c->s);
	stream_want_drain(c->s);
}

void vsock_say_reset(struct vsock *vs, uint32_t host_port, uint32_t guest_port)
{
	if (vs->nresets == VSOCK_RESETS_MAX)
		return; /* cannot be: the guest's packets rest while it is full */
	vs->reset[vs->nresets].host_port = host_port;
	vs->reset[vs->nresets++].guest_port = guest_port;
}

void vconn_fail(struct vconn *c, int why)
{
	channel_opened fn = c->open ? NULL : c->fn;
	void *arg = c->arg;

	drop(c);
	if (fn)
		fn(arg, why, 0);
}

void vconn_reset(struct vconn *c)
{
	channel_opened fn = c->open ? NULL : c->fn;

	if (c->silent && !c->dead)
		c->vs->up = false;
	stream_close(&c->s);
	c->dead = c->open = true;
	c->due = DUE_RESET;
	vconn_make_ready(c);
	if (fn)
		fn(c->arg, -ECONNREFUSED, 0);
}

/* ---- to the guest ------------------------------------------------------------------------------------------------------------------ */

static uint32_t credit(const struct vconn *c)
{
	const uint32_t flying = c->sent - c->peer_fwd;

	return flying < c->peer_alloc ? c->peer_alloc - flying : 0;
}

uint32_t vconn_taken(const struct vconn *c)
{
	return c->received - (c->s ? (uint32_t)stream_pending(c->s) : 0);
}

uint32_t vconn_fillable(const struct vconn *c)
{
	if (!c->s || c->deaf || (c->due & (DUE_REQUEST | DUE_RESPONSE)) || !stream_waits(c->s))
		return 0;
	return credit(c) < VSOCK_WINDOW ? credit(c) : VSOCK_WINDOW;
}

bool vconn_has_more(const struct vconn *c)
{
	return c->due != 0 || vconn_fillable(c) > 0;
}

struct vsock_head vconn_head(const struct vconn *c)
{
	return (struct vsock_head){
		.src_cid = VSOCK_CID_HOST, .dst_cid = VSOCK_CID_GUEST, .src_port = c->host_port, .dst_port = c->guest_port, .type = VSOCK_STREAM,
		.buf_alloc = c->window, .fwd_cnt = vconn_taken(c),
	};
}

void vconn_finish(struct vconn *c)
{
	if (c->s && stream_pending(c->s) > 0) {
		stream_want_drain(c->s);
		return;
	}
	if (c->lingers)
		drop(c);
	else if (c->ending)
		vconn_reset(c);
	else if (c->eof_sent && c->eof_got && !(c->due & DUE_SHUTDOWN))
		drop(c);
}

/* The next thing this connection has to say besides data. False: nothing. */
static bool next_packet(struct vconn *c, struct vsock_head *h)
{
	*h = vconn_head(c);
	if (c->dead) {
		c->due = 0;
		h->op = VS_RST;
	} else if (c->due & DUE_REQUEST) {
		c->due &= ~(unsigned)DUE_REQUEST;
		h->op = VS_REQUEST;
	} else if (c->due & DUE_RESPONSE) {
		c->due &= ~(unsigned)DUE_RESPONSE;
		h->op = VS_RESPONSE;
	} else if (c->due & DUE_CREDIT) {
		h->op = VS_CREDIT_UPDATE;
	} else if (c->due & DUE_SHUTDOWN) {
		c->due &= ~(unsigned)DUE_SHUTDOWN;
		h->op = VS_SHUTDOWN;
		h->flags = VS_SHUT_SEND;
	} else {
		return false;
	}
	c->due &= ~(unsigned)DUE_CREDIT; /* every packet tells it */
	c->told = h->fwd_cnt;
	return true;
}

/* A packet without data into the buffer in vs->chain. */
static void emit(struct vsock *vs, const struct vsock_head *h)
{
	uint8_t head[VSOCK_HEAD];

	vsock_head_pack(head, h);
	chain_write(&vs->chain, 0, head, sizeof(head));
	virtq_push(&vs->v.q[Q_RX], vs->chain.head, VSOCK_HEAD);
}

static void emit_reset(struct vsock *vs)
{
	const struct vsock_head h = {
		.src_cid = VSOCK_CID_HOST, .dst_cid = VSOCK_CID_GUEST, .src_port = vs->reset[0].host_port, .dst_port = vs->reset[0].guest_port,
		.type = VSOCK_STREAM, .op = VS_RST,
	};

	emit(vs, &h);
	memmove(vs->reset, vs->reset + 1, --vs->nresets * sizeof(vs->reset[0]));
}

/* It has had its turn: to the end of the list, or out of it. */
static void took_turn(struct vconn *c)
{
	unready(c);
	if (c->dead)
		drop(c);
	else if (vconn_has_more(c))
		vconn_make_ready(c);
	else
		vconn_finish(c);
}

/* One packet: a reset of no connection, or of the one at the head of the list. False: no buffer for it. */
static bool say_packet(struct vsock *vs)
{
	struct vsock_head h;

	if (!virtio_pop(&vs->v, Q_RX, &vs->chain))
		return false;
	if (vs->chain.in_len <= VSOCK_HEAD) {
		virtio_broken(&vs->v, VSOCK_TOO_SMALL);
		return false;
	}
	if (vs->nresets > 0) {
		emit_reset(vs);
		return true;
	}
	if (next_packet(vs->ready, &h))
		emit(vs, &h);
	else
		virtq_unpop(&vs->v.q[Q_RX]);
	took_turn(vs->ready);
	return true;
}

/* How many of the guest's buffers that took, at most `most`; 0: there is none. */
static unsigned say_next(struct vsock *vs, unsigned most)
{
	struct vconn *c = vs->ready;

	if (vs->nresets > 0 || vconn_fillable(c) == 0)
		return say_packet(vs);
	const unsigned n = vconn_fill(c, most);
	if (n > 0)
		took_turn(c);
	return n;
}

void vsock_pump(struct vsock *vs)
{
	unsigned n = 0;

	if (vs->lost)
		return;
	while (n < VSOCK_BURST && (vs->nresets > 0 || vs->ready)) {
		unsigned used = 1;

		if (vs->nresets == 0 && !vconn_has_more(vs->ready))
			unready(vs->ready);
		else
			used = say_next(vs, VSOCK_BURST - n);
		if (used == 0)
			break;
		n += used;
	}
	virtio_signal(&vs->v, Q_RX);
	const bool more = vs->nresets > 0 || vs->ready;
	if (virtio_runs(&vs->v) && more && (virtq_rearm(&vs->v.q[Q_RX]) || n == VSOCK_BURST))
		virtio_again(&vs->v, Q_RX);
	if (vs->tx_stalled && vs->nresets < VSOCK_RESETS_MAX / 2) {
		vs->tx_stalled = false;
		virtio_again(&vs->v, Q_TX);
	}
}

/* ---- sockets ------------------------------------------------------------------------------------------------------------------------- */

void vsock_lock(struct vsock *vs)
{
	pthread_mutex_lock(&vs->v.lock);
}

void vsock_unlock(struct vsock *vs)
{
	pthread_mutex_unlock(&vs->v.lock);
}

static bool socket_readable(void *arg)
{
	struct vconn *c = arg;
	struct vsock *vs = c->vs;

	vsock_lock(vs);
	const bool hears = !c->deaf;
	if (vconn_fillable(c) > 0)
		vconn_make_ready(c);
	vsock_pump(vs);
	vsock_unlock(vs);
	return hears;
}

/* Of a connection whose guest takes no more. */
static void socket_read(void *arg, struct buf *in)
{
	(void)arg;
	buf_consume(in, buf_size(in));
}

static void socket_eof(void *arg)
{
	struct vconn *c = arg;
	struct vsock *vs = c->vs;

	vsock_lock(vs);
	if (!c->eof_sent && !c->lingers) {
		c->eof_sent = true;
		c->due |= DUE_SHUTDOWN;
		vconn_make_ready(c);
	}
	vsock_pump(vs);
	vsock_unlock(vs);
}

static void socket_closed(void *arg, int why)
{
	struct vconn *c = arg;
	struct vsock *vs = c->vs;

	(void)why;
	vsock_lock(vs);
	if (c->lingers)
		drop(c);
	else
		vconn_reset(c);
	vsock_pump(vs);
	vsock_unlock(vs);
}

void vconn_renew(struct vconn *c)
{
	if (c->s && stream_pending(c->s) > 0)
		stream_want_drain(c->s);
	if (vconn_taken(c) - c->told >= c->window / 4) {
		c->due |= DUE_CREDIT;
		vconn_make_ready(c);
	}
}

static void socket_drain(void *arg)
{
	struct vconn *c = arg;
	struct vsock *vs = c->vs;

	vsock_lock(vs);
	if (!c->lingers)
		vconn_renew(c);
	vconn_finish(c);
	vsock_pump(vs);
	vsock_unlock(vs);
}

int vconn_join(struct vconn *c, int fd)
{
	const int kept = (int)c->window;

	/* What the kernel holds for the socket beside us is of the same order. */
	if (c->window < VSOCK_WINDOW)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kept, sizeof(kept));
	/* Twice the window: "half empty", when on_drain comes, is then always reached. */
	return stream_open_take(&c->s, c->vs->loop, fd, VSOCK_WINDOW_MANY, 2 * (size_t)c->window, &socket_ops, c);
}
