/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A connection is DIALED (REQUEST due or sent) -> OPEN (a socket is joined) -> gone; one the guest asks for begins OPEN. Known by both
 * ports. What is to be said to the guest is not queued as packets: a connection has a set of things due (`due`), stands in the
 * `ready` list while it has some, and a packet is made when the guest has given a buffer. So a guest that gives none makes us
 * hold nothing but what its connections hold anyway; one that is reset stays, without its socket, until that was said.
 * Data waits in the socket until the guest has given credit and buffers, and is read straight into these (vsockfill.c).
 * Resets for connections that do not exist are a small ring; while it is full the guest's packets are left unread.
 *
 * Credit as in 5.10.6.3: the guest may send a window of bytes beyond what the socket has taken, and they always fit the socket's queue;
 * who sends more is reset. A guest that has closed a connection and goes away (Linux waits 8 s for our last word) leaves it lingering until the socket
 * has what was sent: it is counted until then. A driver's reset may come on a vCPU's thread: it only sets `lost`; the loop then ends the connections.
 */
#include "vmm/devices/vsock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fd.h"
#include "core/base/rbuf.h"
#include "core/base/rnd.h"
#include "core/proto/vsock.h"
#include "vmm/devices/vsockimpl.h"

#define FIRST_PORT 0x40000000u

/* ---- packets --------------------------------------------------------------------------------------------------------------------- */

void vsock_head_unpack(const uint8_t p[VSOCK_HEAD], struct vsock_head *h)
{
	struct rbuf r;

	rbuf_init(&r, p, VSOCK_HEAD);
	rbuf_u64(&r, &h->src_cid);
	rbuf_u64(&r, &h->dst_cid);
	rbuf_u32(&r, &h->src_port);
	rbuf_u32(&r, &h->dst_port);
	rbuf_u32(&r, &h->len);
	rbuf_u16(&r, &h->type);
	rbuf_u16(&r, &h->op);
	rbuf_u32(&r, &h->flags);
	rbuf_u32(&r, &h->buf_alloc);
	rbuf_u32(&r, &h->fwd_cnt);
}

static void put(uint8_t **p, uint64_t v, unsigned n)
{
	memcpy(*p, &v, n);
	*p += n;
}

void vsock_head_pack(uint8_t p[VSOCK_HEAD], const struct vsock_head *h)
{
	put(&p, h->src_cid, 8);
	put(&p, h->dst_cid, 8);
	put(&p, h->src_port, 4);
	put(&p, h->dst_port, 4);
	put(&p, h->len, 4);
	put(&p, h->type, 2);
	put(&p, h->op, 2);
	put(&p, h->flags, 4);
	put(&p, h->buf_alloc, 4);
	put(&p, h->fwd_cnt, 4);
}

/* ---- from the guest -------------------------------------------------------------------------------------------------------------------- */

static void on_request(struct vsock *vs, const struct vsock_head *h)
{
	const bool is_up = h->dst_port == VSOCK_PORT_UP;
	const int fd = is_up ? -1 : vs->count < VSOCK_CONNS_MAX ? channel_offer(&vs->base, h->dst_port) : -EMFILE;
	struct vconn *c = is_up || fd >= 0 ? vconn_new(vs, h->dst_port, h->src_port) : NULL;

	if (!c) {
		if (fd >= 0)
			close(fd);
		vsock_say_reset(vs, h->dst_port, h->src_port);
		return;
	}
	c->open = true;
	c->silent = is_up;
	c->peer_alloc = h->buf_alloc;
	c->peer_fwd = h->fwd_cnt;
	c->due = DUE_RESPONSE;
	if (!is_up && vconn_join(c, fd) < 0) {
		vconn_reset(c);
		return;
	}
	vconn_make_ready(c);
	if (is_up && !vs->up) {
		vs->up = true;
		vs->ev->on_up(vs->arg);
	}
}

static void on_response(struct vsock *vs, struct vconn *c)
{
	const uint32_t host_port = c->host_port, guest_port = c->guest_port;
	channel_opened fn = c->fn;
	void *arg = c->arg;

	if (c->open || !fn) {
		vconn_reset(c);
		return;
	}
	c->open = true;
	c->fn = NULL;
	vs->joining = c;
	fn(arg, 0, host_port);
	vs->joining = NULL;
	c = *vconn_find(vs, host_port, guest_port); /* the callback may have closed the channel */
	if (c && !c->s && !c->dead) /* nobody joined it */
		vconn_reset(c);
}

static void on_rst(struct vconn *c)
{
	if (c->eof_got && c->s && stream_pending(c->s) > 0)
		vconn_part(c);
	else
		vconn_fail(c, -ECONNREFUSED);
}

static void on_rw(struct vsock *vs, struct vconn *c, uint32_t len)
{
	struct iovec part[VIRTQ_SEGS_MAX];

	if (!c->open || !c->s || c->eof_got || len > c->window - (c->received - vconn_taken(c))) {
		vconn_reset(c); /* beyond its credit, or its end */
		return;
	}
	const unsigned n = chain_slice(&vs->chain, false, VSOCK_HEAD, len, part);
	c->received += len;
	vs->in += len;
	for (unsigned i = 0; i < n; i++)
		if (stream_write(c->s, part[i].iov_base, part[i].iov_len) < 0) { /* the socket's other end reads no more */
			vconn_reset(c);
			return;
		}
	vconn_renew(c);
}

static void on_shutdown(struct vconn *c, uint32_t flags)
{
	if (!c->open || c->silent) {
		on_rst(c);
		return;
	}
	if ((flags & VS_SHUT_SEND) && !c->eof_got) {
		c->eof_got = true;
		stream_shutdown(c->s);
	}
	if ((flags & VS_SHUT_RCV) && !c->deaf) {
		c->deaf = true;
		c->eof_sent = true;
		c->due &= ~(unsigned)DUE_SHUTDOWN;
		stream_kick(c->s); /* what waits there is read and dropped */
	}
	c->ending = c->deaf && c->eof_got;
	vconn_finish(c);
}

static void on_packet(struct vsock *vs, const struct vsock_head *h)
{
	struct vconn *c = *vconn_find(vs, h->dst_port, h->src_port);

	if (h->type != VSOCK_STREAM || h->src_cid != VSOCK_CID_GUEST || h->dst_cid != VSOCK_CID_HOST) {
		if (h->op != VS_RST)
			vsock_say_reset(vs, h->dst_port, h->src_port);
		return;
	}
	if (!c) {
		if (h->op == VS_REQUEST)
			on_request(vs, h);
		else if (h->op != VS_RST)
			vsock_say_reset(vs, h->dst_port, h->src_port);
		return;
	}
	if (c->dead)
		return; /* on its way when we ended it */
	c->peer_alloc = h->buf_alloc;
	c->peer_fwd = h->fwd_cnt;
	if (vconn_fillable(c) > 0) /* a packet of any kind may bring credit */
		vconn_make_ready(c);
	switch (h->op) {
	case VS_RESPONSE:
		on_response(vs, c);
		break;
	case VS_RST:
		on_rst(c);
		break;
	case VS_SHUTDOWN:
		on_shutdown(c, h->flags);
		break;
	case VS_RW:
		on_rw(vs, c, h->len);
		break;
	case VS_CREDIT_REQUEST:
		c->due |= DUE_CREDIT;
		vconn_make_ready(c);
		break;
	case VS_CREDIT_UPDATE:
		break;
	default: /* REQUEST for what exists, or no operation at all */
		vconn_reset(c);
		break;
	}
}

static void read_packets(struct vsock *vs)
{
	uint8_t head[VSOCK_HEAD];
	struct vsock_head h;
	unsigned n = 0;

	for (; n < VSOCK_BURST; n++) {
		if (vs->nresets >= VSOCK_RESETS_MAX - 2) {
			vs->tx_stalled = true;
			break;
		}
		if (!virtio_pop(&vs->v, Q_TX, &vs->chain))
			break;
		if (chain_read(&vs->chain, 0, head, sizeof(head)) != sizeof(head)) {
			virtio_broken(&vs->v, "a packet has no head");
			break;
		}
		vsock_head_unpack(head, &h);
		if (h.len > vs->chain.out_len - VSOCK_HEAD) {
			virtio_broken(&vs->v, "a packet's length is not that of its buffer");
			break;
		}
		const uint16_t chain = vs->chain.head;
		on_packet(vs, &h);
		virtq_push(&vs->v.q[Q_TX], chain, 0);
	}
	virtio_signal(&vs->v, Q_TX);
	if (virtio_runs(&vs->v) && !vs->tx_stalled && (virtq_rearm(&vs->v.q[Q_TX]) || n == VSOCK_BURST))
		virtio_again(&vs->v, Q_TX);
}

/* ---- life ------------------------------------------------------------------------------------------------------------------------------- */

/* Every connection ends; who waits for one is told `why`. */
static void end_all(struct vsock *vs, int why)
{
	vs->up = false;
	vs->nresets = 0;
	vs->tx_stalled = false;
	for (size_t i = 0; i < VSOCK_TABLE; i++)
		while (vs->slot[i])
			vconn_fail(vs->slot[i], why);
	while (vs->lingering)
		vconn_fail(vs->lingering, why);
	after_cancel(&vs->patience);
}

/*
 * A copy of a machine: its driver hears that all connections are gone, and ends them. A connection that it opens before it has done so would be
 * ended with them, so its packets rest until it has: then it gives the event's buffer back. It must not hear of it in another way
 * either, as from a reset that answers a packet of before.
 */
static void tell_restored(struct vsock *vs)
{
	static const uint8_t transport_reset[4] = { 0 };

	if (!vs->v.q[Q_EVENT].ready) { /* a driver that cannot be told */
		vs->restored = false;
		return;
	}
	if (!virtio_pop(&vs->v, Q_EVENT, &vs->chain))
		return;
	vs->restored = false;
	vs->telling = true;
	vs->event_at = virtq_arm_new(&vs->v.q[Q_EVENT]);
	virtq_push(&vs->v.q[Q_EVENT], vs->chain.head, (uint32_t)chain_write(&vs->chain, 0, transport_reset, sizeof(transport_reset)));
	virtio_signal(&vs->v, Q_EVENT);
}

/* The guest has sockets of before until their owners close them, and would take a dial from one of their ports for theirs: it begins elsewhere. */
void vsock_restored(struct vsock *vs)
{
	vs->restored = true;
	vs->next_port = FIRST_PORT + rnd_u32() % (UINT32_MAX - 1 - FIRST_PORT);
}

void vsock_kick(struct vsock *vs, unsigned q)
{
	vsock_lock(vs);
	if (vs->lost) {
		vs->lost = false;
		end_all(vs, -ECONNRESET);
	}
	if (vs->restored)
		tell_restored(vs);
	if (vs->telling && virtq_grew(&vs->v.q[Q_EVENT], vs->event_at)) {
		vs->telling = false;
		q = Q_TX;
	}
	if (virtio_runs(&vs->v)) {
		if (q == Q_TX && !vs->restored && !vs->telling)
			read_packets(vs);
		vsock_pump(vs);
	}
	vsock_unlock(vs);
}

/* On a vCPU's thread: the loop does the rest. */
static void on_reset(void *self)
{
	struct vsock *vs = self;

	vs->lost = true;
	vs->restored = vs->telling = false;
	virtio_again(&vs->v, Q_RX);
}

static void on_notify(void *self, unsigned q)
{
	vsock_kick(self, q);
}

/* A dial that has waited too long; in *waits, whether others wait too. */
static struct vconn *overdue(struct vsock *vs, bool *waits)
{
	const uint64_t now = uv_now(vs->loop);

	*waits = false;
	for (size_t i = 0; i < VSOCK_TABLE; i++)
		for (struct vconn *c = vs->slot[i]; c; c = c->next) {
			if (c->open || !c->fn)
				continue;
			if (now - c->asked_ms >= vs->answer_ms)
				return c;
			*waits = true;
		}
	return NULL;
}

/* A dial that the guest leaves without an answer is over; so is one whose REQUEST it gives no buffer for. */
static void on_patience(void *arg)
{
	struct vsock *vs = arg;
	bool waits;

	vsock_lock(vs);
	for (struct vconn *c; (c = overdue(vs, &waits));)
		vconn_reset(c); /* its callback may dial again, or close the channel */
	if (waits && !vs->patience)
		after_set(&vs->patience, vs->loop, vs->answer_ms / 8 + 1, on_patience, vs);
	vsock_pump(vs);
	vsock_unlock(vs);
}

static int vs_dial(struct channel *ch, uint32_t port, channel_opened fn, void *arg)
{
	struct vsock *vs = (struct vsock *)ch;
	int r = 0;

	vsock_lock(vs);
	if (!vs->up || vs->lost || vs->closed)
		r = -EAGAIN;
	while (r == 0 && *vconn_find(vs, vs->next_port, port))
		vs->next_port = vs->next_port == UINT32_MAX - 1 ? FIRST_PORT : vs->next_port + 1;
	struct vconn *c = r == 0 ? vconn_new(vs, vs->next_port, port) : NULL;
	if (c) {
		vs->next_port = vs->next_port == UINT32_MAX - 1 ? FIRST_PORT : vs->next_port + 1;
		c->fn = fn;
		c->arg = arg;
		c->due = DUE_REQUEST;
		c->asked_ms = uv_now(vs->loop);
		if (!vs->patience)
			after_set(&vs->patience, vs->loop, vs->answer_ms, on_patience, vs);
		vconn_make_ready(c);
		vsock_pump(vs);
	} else if (r == 0) {
		r = -EMFILE;
	}
	vsock_unlock(vs);
	return r;
}

static void vs_join_take(struct channel *ch, uint32_t number, int fd)
{
	struct vsock *vs = (struct vsock *)ch;

	vsock_lock(vs);
	if (vs->joining && vs->joining->host_port == number && !vs->joining->s)
		vconn_join(vs->joining, fd);
	else
		close(fd);
	vsock_unlock(vs);
}

static bool vs_is_up(const struct channel *ch)
{
	const struct vsock *vs = (const struct vsock *)ch;

	return vs->up && !vs->closed;
}

static void vs_counts(const struct channel *ch, uint64_t *in, uint64_t *out, uint32_t *streams)
{
	const struct vsock *vs = (const struct vsock *)ch;

	*in = vs->in;
	*out = vs->out;
	*streams = vs->count;
}

static void vs_close(struct channel *ch)
{
	struct vsock *vs = (struct vsock *)ch;

	vsock_lock(vs);
	vs->closed = true;
	end_all(vs, -ECONNRESET);
	vsock_unlock(vs);
}

static const struct channel_ops channel_ops = { .dial = vs_dial, .join_take = vs_join_take, .is_up = vs_is_up, .counts = vs_counts, .close = vs_close };
static const struct virtio_ops ops = { .name = "vsock", .id = 19, .nqueues = Q_NUM, .queue_max = 256, .reset = on_reset, .notify = on_notify };

int vsock_create(struct vsock **out, uv_loop_t *loop, const struct ram *ram, int irq, const struct channel_events *ev, void *arg)
{
	struct vsock *vs = calloc(1, sizeof(*vs));
	const uint64_t cid = VSOCK_CID_GUEST;

	*out = NULL;
	if (!vs)
		return -ENOMEM;
	virtio_init(&vs->v, &ops, vs, ram, 0, irq);
	memcpy(vs->v.config, &cid, sizeof(cid));
	vs->v.config_len = sizeof(cid);
	vs->base.ops = &channel_ops;
	vs->loop = loop;
	vs->ev = ev;
	vs->arg = arg;
	vs->next_port = FIRST_PORT;
	vs->answer_ms = VSOCK_ANSWER_MS;
	vs->ready_tail = &vs->ready;
	*out = vs;
	return 0;
}

void vsock_release(struct vsock **vp)
{
	struct vsock *vs = *vp;

	if (!vs)
		return;
	*vp = NULL;
	end_all(vs, -ECONNRESET);
	virtio_release(&vs->v);
	free(vs);
}

struct virtio *vsock_virtio(struct vsock *vs)
{
	return &vs->v;
}

struct channel *vsock_channel(struct vsock *vs)
{
	return &vs->base;
}
