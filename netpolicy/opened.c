/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Life of an opened connection: leaf and handshake, the front, the pool of connections to the server, the end.
 *
 * The sweep (an idle handle) does what must not happen inside a call: it lets HTTP/2 sessions speak, frees what is over, tells the end.
 */
#include "netpolicy/opened.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "netpolicy/xchg.h"

#define HANDSHAKE_MS 30000u
#define IDLE_MS 300000u      /* a guest's connection without a request */
#define BACK_IDLE_MS 60000u  /* a server's */

static void on_sweep(uv_idle_t *h);

void opened_sweep_soon(struct opened *o)
{
	if (!o->closing)
		uv_idle_start(&o->sweep, on_sweep);
}

void opened_finish(struct opened *o, int why, const char *text)
{
	if (o->ending)
		return;
	o->ending = true;
	o->why = why;
	str_copy(o->text, sizeof(o->text), text);
	opened_sweep_soon(o);
}

/* ---- toward the guest --------------------------------------------------------------------------------------------------- */

static void on_idle_timer(void *arg)
{
	struct opened *o = arg;

	if (o->front && !o->xs)
		wire_shutdown(o->w);
	opened_finish(o, o->front ? 0 : -ETIMEDOUT, o->front ? "" : "no handshake");
}

void opened_idle(struct opened *o)
{
	if (!o->ending && after_set(&o->timer, o->opts.loop, IDLE_MS, on_idle_timer, o) < 0)
		opened_finish(o, -ENOMEM, "out of memory");
}

static void guest_open(void *arg)
{
	struct opened *o = arg;

	o->front = wire_is_h2(o->w) ? &front2_ops : &front1_ops;
	opened_idle(o);
	if (o->front->open(o) < 0)
		opened_finish(o, -ENOMEM, "out of memory");
}

static void guest_read(void *arg, struct buf *in)
{
	struct opened *o = arg;

	if (o->ending)
		buf_consume(in, buf_size(in));
	else
		o->front->read(o, in);
}

static void guest_eof(void *arg, bool clean)
{
	struct opened *o = arg;

	(void)clean;
	if (!o->ending && o->front)
		o->front->eof(o);
}

static void guest_room(void *arg)
{
	struct opened *o = arg;

	if (!o->ending)
		o->front->room(o);
}

static void guest_closed(void *arg, int why, const char *text)
{
	struct opened *o = arg;

	opened_finish(o, why, text);
}

static const struct wire_ops guest_ops = {
	.on_open = guest_open, .on_read = guest_read, .on_eof = guest_eof, .on_room = guest_room, .on_closed = guest_closed
};

static void on_leaf(void *arg, X509 *leaf)
{
	struct opened *o = arg;

	if (!leaf) {
		opened_finish(o, -EKEYREJECTED, "no certificate for this name");
		return;
	}
	if (wire_open_server(&o->w, o->opts.loop, &o->stream, o->opts.env, leaf, o->name, true, &guest_ops, o) < 0)
		opened_finish(o, -ENOMEM, "out of memory");
}

/* While the leaf is being made: the guest may go away. */
static void early_read(void *arg, struct buf *in)
{
	(void)arg;
	(void)in;
}

static void early_eof(void *arg)
{
	opened_finish(arg, 0, "");
}

static void early_closed(void *arg, int why)
{
	opened_finish(arg, why, "");
}

static const struct stream_ops early_ops = { .on_read = early_read, .on_eof = early_eof, .on_closed = early_closed };

static void name_of(struct opened *o)
{
	static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
	const uint8_t *a = o->opts.addr.b;
	struct in6_addr six;

	if (o->opts.name[0]) {
		str_copy(o->name, sizeof(o->name), o->opts.name);
		o->literal = inet_pton(AF_INET6, o->name, &six) == 1;
		return;
	}
	o->literal = true;
	if (memcmp(a, mapped, sizeof(mapped)) == 0)
		inet_ntop(AF_INET, a + 12, o->name, sizeof(o->name));
	else
		inet_ntop(AF_INET6, a, o->name, sizeof(o->name));
}

static void on_sweep_closed(uv_handle_t *h)
{
	free(h->data);
}

int opened_start(struct opened **out, const struct opened_opts *opts)
{
	struct opened *o = calloc(1, sizeof(*o));
	struct stream *guest = opts->guest;
	int r = 0;

	*out = NULL;
	if (!o || (opts->tls && (!opts->name[0] || !opts->env))) {
		stream_close(&guest);
		r = o ? -EINVAL : -ENOMEM;
		free(o);
		return r;
	}
	o->opts = *opts;
	name_of(o);
	o->opts.name = opts->name[0] ? o->name : "";
	o->stream = guest;
	o->opts.guest = NULL;
	uv_idle_init(opts->loop, &o->sweep);
	o->sweep.data = o;
	if (!opts->tls)
		r = wire_open_clear(&o->w, opts->loop, &o->stream, &guest_ops, o);
	else
		stream_set_ops(o->stream, &early_ops, o);
	if (r == 0)
		r = after_set(&o->timer, opts->loop, HANDSHAKE_MS, on_idle_timer, o);
	if (r < 0) {
		opened_close(&o);
		return r;
	}
	if (opts->tls)
		tls_leaf_get(opts->env, o->name, &o->leaf, on_leaf, o);
	*out = o;
	return 0;
}

/* ---- toward the server -------------------------------------------------------------------------------------------------- */

void back_retire(struct back *b)
{
	if (b->state == B_GONE)
		return;
	if (b->state == B_CONNECTING)
		b->o->opts.ops->unconnect(b->o->opts.arg, b->token);
	b->state = B_GONE;
	after_cancel(&b->timer);
	wire_close(&b->w);
	opened_sweep_soon(b->o);
	for (struct xchg *x = b->o->xs; x; x = x->next)
		if (x->back == b) {
			x->back = NULL;
			xchg_back_lost(x, LOST, "the server ended the connection");
		}
	b->x = NULL;
	b->streams = 0;
}

/* Nobody else will serve them: the exchanges that would have gone over b. */
static void fail_waiting(struct back *b, bool forbidden, const char *text)
{
	struct opened *o = b->o;

	for (struct xchg *x = o->xs, *next; x; x = next) {
		next = x->next;
		if (x->state != X_WAITING)
			continue;
		xchg_stranded(x, forbidden, &b->to, text);
		if (b->h1_only)
			break; /* one connection, one request; the others have theirs */
	}
}

static void back_failed(struct back *b, bool forbidden, const char *text)
{
	const bool was_ready = b->state == B_READY;

	if (b->state == B_GONE)
		return;
	if (was_ready) {
		const struct back_ops *ops = b->ops;

		b->state = B_GONE;
		ops->gone(b, text);
		b->state = B_READY;
	}
	b->token = 0;
	if (b->state == B_CONNECTING)
		b->state = B_TLS; /* the question was answered */
	back_retire(b);
	if (!was_ready)
		fail_waiting(b, forbidden, text);
	else
		opened_assign(b->o);
}

static void on_back_timer(void *arg)
{
	struct back *b = arg;

	if (b->state != B_READY)
		back_failed(b, false, "no TLS handshake in time");
	else if (!b->x && !b->streams)
		back_retire(b);
}

static void back_open(void *arg)
{
	struct back *b = arg;
	struct opened *o = b->o;

	b->ops = wire_is_h2(b->w) ? &back2_ops : &back1_ops;
	b->state = B_READY;
	if (!b->h1_only && b->ops == &back1_ops)
		o->server_h1 = true;
	after_cancel(&b->timer);
	if (b->ops->open(b) < 0)
		back_failed(b, false, "out of memory");
	else
		opened_assign(o);
}

static void back_read(void *arg, struct buf *in)
{
	struct back *b = arg;

	if (b->state == B_READY)
		b->ops->read(b, in);
}

static void back_eof(void *arg, bool clean)
{
	struct back *b = arg;

	if (b->state == B_READY)
		b->ops->eof(b, clean);
	else
		back_failed(b, false, "the server closed the connection");
}

static void back_room(void *arg)
{
	struct back *b = arg;

	if (b->state == B_READY)
		b->ops->room(b);
}

static void back_closed(void *arg, int why, const char *text)
{
	back_failed(arg, false, why ? text : "the server closed the connection");
}

static const struct wire_ops back_wire_ops = {
	.on_open = back_open, .on_read = back_read, .on_eof = back_eof, .on_room = back_room, .on_closed = back_closed
};

static const struct stream_ops no_ops = { .on_read = early_read };

static struct back *back_of(struct opened *o, uint64_t token)
{
	struct back *b = o->backs;

	while (b && !(b->token == token && b->state == B_CONNECTING))
		b = b->next;
	return b;
}

void opened_connected(struct opened *o, uint64_t token, int fd, const struct net_addr *to, bool deny, const char *text)
{
	struct back *b = back_of(o, token);
	struct stream *s = NULL;

	if (!b || o->ending) {
		if (fd >= 0)
			close(fd);
		return;
	}
	b->to = *to;
	if (fd < 0) {
		back_failed(b, deny, text);
		return;
	}
	b->state = B_TLS;
	int r = stream_open_take(&s, o->opts.loop, fd, 2 * WIRE_BUFFER, 2 * WIRE_BUFFER, &no_ops, b);
	if (r == 0 && o->opts.tls)
		r = wire_open_client(&b->w, o->opts.loop, &s, o->opts.env, o->name, o->literal, !b->h1_only, &back_wire_ops, b);
	else if (r == 0)
		r = wire_open_clear(&b->w, o->opts.loop, &s, &back_wire_ops, b);
	if (r == 0)
		r = after_set(&b->timer, o->opts.loop, HANDSHAKE_MS, on_back_timer, b);
	if (r < 0)
		back_failed(b, false, "out of memory");
}

void opened_recheck(struct opened *o, bool (*fn)(void *arg, const struct net_addr *to))
{
	for (struct back *b = o->ending ? NULL : o->backs; b; b = b->next)
		if ((b->state == B_TLS || b->state == B_READY) && !fn(o->opts.arg, &b->to))
			back_failed(b, true, "a change of the rules ended it");
}

static bool wants_h1(const struct xchg *x)
{
	return x->o->front == &front1_ops || x->websocket || !x->o->opts.tls || x->o->server_h1;
}

static struct back *taker(struct opened *o, const struct xchg *x)
{
	for (struct back *b = o->backs; b; b = b->next)
		if (b->state == B_READY && (b->ops == &back1_ops || !wants_h1(x)) && b->ops->can_take(b))
			return b;
	return NULL;
}

static void connect_one(struct opened *o, bool h1_only)
{
	struct back *b = calloc(1, sizeof(*b));

	if (!b)
		return;
	b->o = o;
	b->h1_only = h1_only;
	b->token = ++o->last_token;
	b->next = o->backs;
	o->backs = b;
	o->opts.ops->connect(o->opts.arg, b->token);
}

void opened_assign(struct opened *o)
{
	size_t nbacks = 0, coming1 = 0, coming2 = 0;

	if (o->ending)
		return;
	for (struct back *b = o->backs; b; b = b->next) {
		nbacks += b->state != B_GONE;
		coming1 += b->state < B_READY && b->h1_only;
		coming2 += b->state < B_READY && !b->h1_only;
	}
	/* The list may grow at its end and states change meanwhile; nothing is freed before the sweep. */
	for (struct xchg *x = o->xs; x; x = x->next) {
		if (x->state != X_WAITING)
			continue;
		struct back *b = taker(o, x);
		if (b && !xchg_go(x, &b->to)) {
			opened_sweep_soon(o); /* its answer may have begun the next request: the list is gone through again */
			return;
		}
		if (b) {
			after_cancel(&b->timer);
			x->back = b;
			b->served++;
			b->ops->start(b, x);
			continue;
		}
		const bool h1 = wants_h1(x);
		if (!h1 && coming2 > 0)
			continue; /* it will tell which protocol the server speaks */
		if (h1 && coming1 > 0) {
			coming1--;
			continue;
		}
		if (nbacks >= OPENED_UPSTREAMS_MAX)
			continue;
		nbacks++;
		coming2 += !h1;
		connect_one(o, h1);
	}
}

static void back_rests(struct back *b)
{
	if (b->state == B_READY && !b->x && !b->streams && !b->timer && after_set(&b->timer, b->o->opts.loop, BACK_IDLE_MS, on_back_timer, b) < 0)
		back_retire(b);
}

/* ---- the sweep and the end ---------------------------------------------------------------------------------------------- */

static void free_back(struct back *b)
{
	after_cancel(&b->timer);
	if (b->ops)
		b->ops->release(b);
	wire_close(&b->w);
	free(b);
}

static void end_all(struct opened *o)
{
	tls_leaf_cancel(&o->leaf);
	after_cancel(&o->timer);
	for (struct xchg *x = o->xs; x; x = x->next)
		xchg_close(x, true);
	for (struct back *b = o->backs; b; b = b->next)
		back_retire(b);
	wire_close(&o->w);
	stream_close(&o->stream);
}

static void free_over(struct opened *o)
{
	for (struct xchg **at = &o->xs; *at;) {
		struct xchg *x = *at;

		if (x->state != X_OVER) {
			at = &x->next;
			continue;
		}
		*at = x->next;
		xchg_free(x);
	}
	for (struct back **at = &o->backs; *at;) {
		struct back *b = *at;

		if (b->state != B_GONE) {
			back_rests(b);
			at = &b->next;
			continue;
		}
		*at = b->next;
		free_back(b);
	}
}

/* All there is waits for an answer, maybe for minutes; there may be thousands of these. */
static bool held(const struct opened *o)
{
	const struct xchg *x = o->xs;

	while (x && x->state == X_DECIDING)
		x = x->next;
	return o->xs && !x && o->w;
}

static void on_sweep(uv_idle_t *h)
{
	struct opened *o = h->data;

	uv_idle_stop(h);
	if (o->ending) {
		end_all(o);
		free_over(o);
		uv_idle_stop(h);
		if (!o->told && !o->closing) {
			o->told = true;
			o->opts.ops->on_end(o->opts.arg, o->why, o->text);
		}
		return;
	}
	if (o->front && o->front->flush)
		o->front->flush(o);
	for (struct back *b = o->backs; b; b = b->next)
		if (b->state == B_READY && b->ops->flush)
			b->ops->flush(b);
	free_over(o);
	if (!o->xs && o->front && !o->timer && !o->ending)
		opened_idle(o);
	if (held(o))
		wire_rest(o->w);
	/* What came free may serve those that wait for one of a full pool. */
	opened_assign(o);
}

static struct xchg *decided(struct opened *o, uint64_t token)
{
	struct xchg *x = o->xs;

	while (x && !(x->token == token && x->state == X_DECIDING))
		x = x->next;
	return x;
}

void opened_decided(struct opened *o, uint64_t token, uint8_t verdict, const char *rule, const char *scope, uint32_t ask)
{
	struct xchg *x = decided(o, token);

	if (!x || o->ending)
		return;
	x->verdict = verdict == NET_ALLOW ? NET_ALLOW : NET_DENY;
	str_copy(x->rule, sizeof(x->rule), rule);
	str_copy(x->scope, sizeof(x->scope), scope);
	x->ask = ask;
	if (x->verdict == NET_ALLOW)
		xchg_allowed(x);
	else
		xchg_deny(x, DENY_RULE, x->rule);
}

void opened_drain(struct opened *o, bool now)
{
	o->draining = true;
	if (now || !o->front)
		opened_finish(o, 0, "");
	else
		o->front->drain(o);
}

static void no_decide(void *arg, uint64_t token)
{
	(void)arg;
	(void)token;
}

static bool no_record(void *arg, struct net_record *r)
{
	(void)arg;
	(void)r;
	return true;
}

void opened_close(struct opened **op)
{
	static const struct opened_ops silent = { .undecide = no_decide, .unconnect = no_decide, .record = no_record };
	struct opened *o = *op;

	if (!o)
		return;
	*op = NULL;
	o->closing = o->ending = true;
	o->opts.ops = &silent;
	end_all(o);
	free_over(o);
	free(o->spare);
	if (o->front)
		o->front->release(o);
	uv_idle_stop(&o->sweep);
	uv_close((uv_handle_t *)&o->sweep, on_sweep_closed);
}

void opened_bytes(const struct opened *o, uint64_t *in, uint64_t *out)
{
	*in = o->in;
	*out = o->out;
}
