/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1 toward the guest: one request at a time; what is pipelined behind it waits in the wire's buffer, unread.
 *
 * After an answer that came before the request's body was over, or that says close, the connection lingers: our direction is ended, what
 * still comes is dropped up to a bound, so that the guest reads the answer and not a reset.
 */
#include "netpolicy/xchg.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "core/base/str.h"

#define LINGER_MAX (16u * 1024u * 1024u)
#define LINGER_MS 5000u

static void step(struct opened *o, struct buf *in);

static int open1(struct opened *o)
{
	(void)o;
	return 0;
}

static void on_linger(void *arg)
{
	struct opened *o = arg;

	/* Somebody slow may still read; somebody who reads nothing at all is given up. */
	const size_t left = wire_pending(o->w);
	const bool moves = left < o->left;
	o->left = left;
	if (left == 0 || !moves || after_set(&o->timer, o->opts.loop, LINGER_MS, on_linger, o) < 0)
		opened_finish(o, 0, "");
}

static void linger(struct opened *o)
{
	if (o->lingering)
		return;
	o->lingering = true;
	o->left = UINT64_MAX;
	wire_shutdown(o->w);
	wire_kick(o->w);
	if (after_set(&o->timer, o->opts.loop, LINGER_MS, on_linger, o) < 0)
		opened_finish(o, 0, "");
}

/* ---- in ----------------------------------------------------------------------------------------------------------------- */

static bool take_head(struct opened *o, struct buf *in)
{
	struct http1_head m;
	size_t used = 0;
	const char *why;
	const int r = http1_parse_request(buf_head(in), buf_size(in), &m, &used, &why);

	if (r == -EAGAIN) {
		if (o->eof)
			linger(o);
		return false;
	}
	struct xchg *x = r == 0 ? xchg_new(o) : NULL;
	if (!x) {
		buf_consume(in, buf_size(in));
		http1_release(&m);
		xchg_bad_request(o, r == 0 ? "out of memory" : why);
		linger(o);
		return false;
	}
	buf_consume(in, used);
	memcpy(x->method, m.method, sizeof(x->method));
	x->target = m.target;
	x->req = m.h;
	x->host = m.host;
	x->websocket = m.websocket && m.framing == HTTP1_NONE;
	x->old = m.minor == 0;
	x->absolute_https = m.absolute_https;
	x->te_trailers = headers_token(&m.h, "te", "trailers");
	x->has_body = m.framing == HTTP1_CHUNKED || (m.framing == HTTP1_LENGTH && m.length > 0);
	x->length_known = m.framing == HTTP1_LENGTH;
	o->framing = x->has_body ? m.framing : HTTP1_NONE;
	o->left = m.length;
	o->keep = m.keep_alive && !o->draining;
	o->dropped = 0;
	http1_chunks_init(&o->chunks);
	headers_strip_hop(&x->req);
	headers_remove(&x->req, "trailer");
	if (!x->has_body)
		x->up.end = true;
	o->cur = x;
	xchg_request(x);
	return true;
}

static void bad_body(struct opened *o, struct xchg *x)
{
	o->cur = NULL;
	xchg_close(x, true);
	opened_finish(o, -EPROTO, "a request's body is not well-formed");
}

/* Moves what there is room for. True if something moved. */
static bool take_body(struct opened *o, struct xchg *x, struct buf *in)
{
	size_t room = xchg_up_room(x), n = buf_size(in) < room ? buf_size(in) : room, used = n, ndata = n;
	const uint8_t *data = buf_head(in);

	if (n == 0)
		return false;
	if (o->framing == HTTP1_LENGTH && !x->tunnel) {
		used = ndata = n < o->left ? n : (size_t)o->left;
		o->left -= ndata;
	} else if (o->framing == HTTP1_CHUNKED) {
		/* Payload is bounded by n; lines are looked at in all that is there. */
		const bool payload = o->chunks.left > 0;
		const int r = http1_chunks_step(&o->chunks, buf_head(in), payload ? n : buf_size(in), &used, &data, &ndata, &x->up.trailers);

		if (r == -EBADMSG) {
			bad_body(o, x);
			return false;
		}
		if (r == -EAGAIN)
			return false;
		if (r == 1)
			o->framing = HTTP1_NONE;
	}
	if (ndata > 0)
		xchg_up_put(x, data, ndata);
	buf_consume(in, used);
	if (x->state == X_LOCAL)
		o->dropped += used;
	if (!x->tunnel && (o->framing == HTTP1_NONE || (o->framing == HTTP1_LENGTH && o->left == 0))) {
		o->framing = HTTP1_NONE;
		xchg_up_end(x);
	}
	return true;
}

static void step(struct opened *o, struct buf *in)
{
	bool moved = false;

	while (!o->ending && !o->lingering) {
		struct xchg *x = o->cur;

		if (!x) {
			if (o->draining || buf_size(in) == 0 || !take_head(o, in))
				break;
			continue;
		}
		if ((x->up.end && !x->tunnel) || !take_body(o, x, in))
			break;
		moved = true;
		if (o->dropped > LINGER_MAX) {
			opened_finish(o, 0, "");
			return;
		}
	}
	if (o->ending)
		return;
	if (o->lingering) {
		o->dropped += buf_size(in);
		buf_consume(in, buf_size(in));
		if (o->dropped > LINGER_MAX)
			opened_finish(o, 0, "");
		return;
	}
	if (moved && o->cur)
		xchg_up(o->cur);
	/* The end, once all before it was taken. */
	if (o->eof && o->cur && o->cur->tunnel && buf_size(in) == 0 && !o->cur->up.end) {
		xchg_up_end(o->cur);
		xchg_up(o->cur);
	}
}

static void eof1(struct opened *o)
{
	struct xchg *x = o->cur;

	o->eof = true;
	if (!x || o->lingering) {
		if (buf_size(wire_in(o->w)) > 0 && !o->lingering) {
			step(o, wire_in(o->w));
		} else if (o->lingering && wire_pending(o->w) == 0) {
			opened_finish(o, 0, "");
		} else {
			linger(o);
		}
		return;
	}
	if (x->tunnel) {
		step(o, wire_in(o->w));
		return;
	}
	/* In clear a client may end its direction and read on; in TLS, and while a person is asked, nobody does: it went away. */
	if (!x->up.end || o->opts.tls || x->state == X_DECIDING) {
		o->cur = NULL;
		xchg_close(x, true);
		opened_finish(o, 0, "");
	}
}

/* ---- out ---------------------------------------------------------------------------------------------------------------- */

static void interim1(struct xchg *x, uint16_t status, const struct headers *h)
{
	http1_put_response(wire_out(x->o->w), status, http1_reason(status), h);
	wire_flush(x->o->w);
}

static void head1(struct xchg *x)
{
	struct opened *o = x->o;
	struct headers *h = &x->resp;
	int r = 0;

	o->chunked_down = !x->no_resp_body && !x->resp_length_known && !x->old && !x->tunnel;
	if (x->tunnel) {
		r = headers_set(h, "Connection", "Upgrade");
		if (r == 0)
			r = headers_set(h, "Upgrade", "websocket");
	} else {
		if ((!x->no_resp_body && !x->resp_length_known && x->old) || !x->up.end || o->draining)
			o->keep = false;
		if (o->chunked_down)
			r = headers_set(h, "Transfer-Encoding", "chunked");
		if (r == 0 && (!o->keep || x->old))
			r = headers_set(h, "Connection", o->keep ? "keep-alive" : "close");
	}
	if (r == 0)
		r = http1_put_response(wire_out(o->w), x->status, http1_reason(x->status), h);
	if (r < 0)
		opened_finish(o, -ENOMEM, "out of memory");
	wire_flush(o->w);
	if (x->tunnel && o->eof)
		xchg_up_end(x);
}

static void answered(struct opened *o, struct xchg *x)
{
	const bool whole = x->up.end;

	o->cur = NULL;
	xchg_close(x, false);
	if (!whole || !o->keep || o->draining || (o->eof && buf_size(wire_in(o->w)) == 0))
		linger(o);
	else
		wire_kick(o->w); /* the next request may be there */
}

static void down1(struct xchg *x)
{
	struct opened *o = x->o;
	struct buf *out = wire_out(o->w);
	size_t moved = 0;

	while (buf_size(&x->down.b) > 0 && wire_room(o->w) > HTTP1_CHUNK_EXTRA) {
		const size_t room = wire_room(o->w) - HTTP1_CHUNK_EXTRA;
		const size_t n = buf_size(&x->down.b) < room ? buf_size(&x->down.b) : room;

		if (o->chunked_down)
			http1_put_chunk(out, buf_head(&x->down.b), n);
		else
			buf_put(out, buf_head(&x->down.b), n);
		buf_consume(&x->down.b, n);
		moved += n;
	}
	if (moved)
		wire_flush(o->w);
	if (buf_size(&x->down.b) > 0) {
		wire_want_room(o->w);
	} else if (x->down.end && x->tunnel) {
		wire_shutdown(o->w);
		if (x->up.end) {
			o->cur = NULL;
			xchg_close(x, false);
			linger(o);
			return;
		}
	} else if (x->down.end) {
		if (o->chunked_down)
			http1_put_last_chunk(out, &x->down.trailers);
		wire_flush(o->w);
		answered(o, x);
		return;
	}
	if (moved && x->back)
		x->back->ops->down_room(x);
}

static void room1(struct opened *o)
{
	if (o->cur && o->cur->answered)
		down1(o->cur);
}

static void up_room1(struct xchg *x)
{
	wire_kick(x->o->w);
}

/* What came before the failure, as far as it goes. */
static void down1_rest(struct xchg *x)
{
	struct buf *rest = &x->down.b;
	const size_t n = buf_size(rest) < wire_room(x->o->w) ? buf_size(rest) : wire_room(x->o->w);

	if (!x->answered || n == 0)
		return;
	if (x->o->chunked_down)
		http1_put_chunk(wire_out(x->o->w), buf_head(rest), n);
	else
		buf_put(wire_out(x->o->w), buf_head(rest), n);
}

static void fail1(struct xchg *x)
{
	struct opened *o = x->o;

	if (o->cur == x)
		o->cur = NULL;
	down1_rest(x);
	if (o->opts.tls || o->chunked_down || x->resp_length_known) {
		wire_cut(o->w);
		linger(o);
	} else {
		opened_finish(o, -ECONNRESET, "the answer could not be finished");
	}
}

static void drain1(struct opened *o)
{
	if (!o->cur)
		linger(o);
}

static void release1(struct opened *o)
{
	(void)o;
}

const struct front_ops front1_ops = {
	.open = open1, .read = step, .eof = eof1, .room = room1, .interim = interim1, .head = head1, .down = down1,
	.up_room = up_room1, .fail = fail1, .drain = drain1, .flush = NULL, .release = release1,
};
