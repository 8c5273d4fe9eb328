/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1 toward the server: one exchange at a time, the connection kept for the next when both messages were whole and nobody said close. */
#include "netpolicy/xchg.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "core/base/str.h"

enum { P_IDLE, P_HEAD, P_BODY, P_TUNNEL };

static int open1(struct back *b)
{
	b->phase = P_IDLE;
	return 0;
}

static bool can_take1(const struct back *b)
{
	return b->phase == P_IDLE && !b->x;
}

static void field(struct buf *b, const char *name, const char *value)
{
	buf_put(b, name, strlen(name));
	buf_put(b, ": ", 2);
	buf_put(b, value, strlen(value));
	buf_put(b, "\r\n", 2);
}

static bool has_body_by_nature(const char *method)
{
	return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0;
}

/* Host, the framing of the body and what belongs to this hop, around the fields of the request. 0 or -ENOBUFS. */
static int put_head(struct back *b, struct xchg *x)
{
	const struct opened *o = b->o;
	const uint16_t usual = o->opts.tls ? 443 : 80;
	const bool v6 = strchr(o->name, ':') != NULL;
	struct buf *out = wire_out(b->w);
	char host[NET_NAME_MAX + 16];

	if (o->opts.port == usual)
		snprintf(host, sizeof(host), "%s%s%s", v6 ? "[" : "", o->name, v6 ? "]" : "");
	else
		snprintf(host, sizeof(host), "%s%s%s:%u", v6 ? "[" : "", o->name, v6 ? "]" : "", o->opts.port);
	http1_put_request_line(out, x->method, x->sent_target);
	field(out, "Host", host);
	if (x->has_body && !x->length_known)
		field(out, "Transfer-Encoding", "chunked");
	if (!x->has_body && !x->length_known && has_body_by_nature(x->method))
		field(out, "Content-Length", "0");
	if (x->websocket) {
		field(out, "Connection", "Upgrade");
		field(out, "Upgrade", "websocket");
	} else if (x->te_trailers) {
		field(out, "TE", "trailers");
		field(out, "Connection", "TE");
	}
	for (size_t i = 0; i < x->req.n; i++) {
		const struct header *f = &x->req.v[i];

		if (!header_is(f, "host") && !(header_is(f, "content-length") && !x->length_known))
			field(out, f->name, f->value);
	}
	return buf_put(out, "\r\n", 2);
}

static void idle_or_gone(struct back *b)
{
	if (b->up_done && b->keep && !b->o->draining) {
		b->phase = P_IDLE;
		opened_sweep_soon(b->o);
	} else {
		back_retire(b);
	}
}

/* Moves the request's body; at its end the last chunk. */
static void up1(struct xchg *x)
{
	struct back *b = x->back;
	struct buf *out = wire_out(b->w);
	const bool chunked = !x->length_known && !x->tunnel;
	size_t moved = 0;

	if (b->up_done)
		return;
	while (buf_size(&x->up.b) > 0 && wire_room(b->w) > HTTP1_CHUNK_EXTRA) {
		const size_t room = wire_room(b->w) - HTTP1_CHUNK_EXTRA;
		const size_t n = buf_size(&x->up.b) < room ? buf_size(&x->up.b) : room;

		if (chunked)
			http1_put_chunk(out, buf_head(&x->up.b), n);
		else
			buf_put(out, buf_head(&x->up.b), n);
		buf_consume(&x->up.b, n);
		moved += n;
	}
	if (buf_size(&x->up.b) > 0) {
		wire_want_room(b->w);
	} else if (x->up.end) {
		if (chunked && x->has_body)
			http1_put_last_chunk(out, &x->up.trailers);
		b->up_done = true;
		if (x->tunnel)
			wire_shutdown(b->w);
	}
	wire_flush(b->w);
	if (moved && !x->front_gone)
		x->o->front->up_room(x);
}

static void start1(struct back *b, struct xchg *x)
{
	b->x = x;
	b->phase = P_HEAD;
	b->up_done = b->heard = false;
	b->keep = false;
	http1_chunks_init(&b->chunks);
	if (put_head(b, x) < 0) {
		b->x = NULL;
		x->back = NULL;
		back_retire(b);
		xchg_back_lost(x, LOST, "the request's head is too long");
		return;
	}
	up1(x);
}

static void lose(struct back *b, enum lost how, const char *text)
{
	struct xchg *x = b->x;

	b->x = NULL;
	if (x)
		x->back = NULL; /* before: the retired one tells those it still has */
	back_retire(b);
	if (x)
		xchg_back_lost(x, how, text);
}

/* The answer is whole. */
static void whole(struct back *b)
{
	struct xchg *x = b->x;

	b->x = NULL;
	x->back = NULL;
	if (x->tunnel) {
		back_retire(b);
	} else {
		b->phase = P_IDLE;
		idle_or_gone(b);
	}
	xchg_down(x);
}

static bool take_head(struct back *b, struct buf *in)
{
	struct xchg *x = b->x;
	struct http1_head m;
	size_t used = 0;
	const char *why;
	const int r = http1_parse_response(buf_head(in), buf_size(in), strcmp(x->method, "HEAD") == 0, &m, &used, &why);
	char text[128];

	if (r == -EAGAIN)
		return false;
	if (r < 0) {
		snprintf(text, sizeof(text), "its answer is not well-formed: %s", why);
		lose(b, LOST, text);
		return false;
	}
	buf_consume(in, used);
	if (m.status < 200 && !(m.status == 101 && x->websocket)) {
		const bool bad = m.status == 101 || x->interims >= INTERIMS_MAX;

		headers_strip_hop(&m.h);
		if (x->mask)
			mask_headers(x->mask, &m.h);
		if (bad)
			lose(b, LOST, "its answer is not well-formed: a surprising interim status");
		else
			xchg_interim(x, m.status, &m.h);
		http1_release(&m);
		return !bad;
	}
	headers_release(&x->resp);
	x->resp = m.h;
	x->status = m.status;
	x->tunnel = m.status == 101;
	x->no_resp_body = m.framing == HTTP1_NONE && !x->tunnel;
	x->resp_length_known = m.framing == HTTP1_LENGTH;
	b->framing = m.framing;
	b->left = m.length;
	b->keep = m.keep_alive;
	b->phase = x->tunnel ? P_TUNNEL : P_BODY;
	if (x->tunnel) {
		x->up.end = false;
		b->up_done = false;
	}
	if (x->no_resp_body || (m.framing == HTTP1_LENGTH && m.length == 0)) {
		xchg_head(x);
		if (b->x == x) {
			xchg_down_end(x);
			whole(b);
		}
		return false;
	}
	xchg_head(x);
	return b->x == x;
}

/* True if something was taken and there may be more. */
static bool take_body(struct back *b, struct buf *in)
{
	struct xchg *x = b->x;
	const size_t room = xchg_down_room(x, OPENED_BUFFER);
	size_t n = buf_size(in) < room ? buf_size(in) : room, used, ndata;
	const uint8_t *data = buf_head(in);
	int r = 0;

	if (n == 0)
		return false;
	used = ndata = n;
	if (b->framing == HTTP1_LENGTH && !x->tunnel) {
		used = ndata = n < b->left ? n : (size_t)b->left;
		b->left -= ndata;
		r = b->left == 0;
	} else if (b->framing == HTTP1_CHUNKED) {
		r = http1_chunks_step(&b->chunks, buf_head(in), b->chunks.left > 0 ? n : buf_size(in), &used, &data, &ndata, &x->down.trailers);
		if (r == -EAGAIN)
			return false;
		if (r < 0) {
			lose(b, LOST, "its answer is not well-formed: an illegal chunk");
			return false;
		}
	}
	if (ndata > 0)
		xchg_down_put(x, data, ndata);
	buf_consume(in, used);
	if (r == 1) {
		xchg_down_end(x);
		whole(b);
		return false;
	}
	return true;
}

/* The server has ended and all it sent was taken, or never will be a whole. */
static void conclude(struct back *b)
{
	struct xchg *x = b->x;

	if (b->state != B_READY || !x || (buf_size(wire_in(b->w)) > 0 && xchg_down_room(x, OPENED_BUFFER) == 0))
		return;
	if (b->phase == P_TUNNEL) {
		xchg_down_end(x);
		xchg_down(x);
	} else if (b->phase == P_BODY && b->framing == HTTP1_CLOSE && b->clean) {
		b->keep = false;
		xchg_down_end(x);
		whole(b);
	} else if (b->phase == P_HEAD) {
		lose(b, b->served > 1 && !b->heard ? LOST_UNHEARD : LOST, "the server closed the connection without an answer");
	} else {
		lose(b, LOST, "the server cut its answer");
	}
}

static void read1(struct back *b, struct buf *in)
{
	bool moved = false;

	while (b->state == B_READY && buf_size(in) > 0) {
		if (!b->x) { /* bytes nobody asked for */
			back_retire(b);
			return;
		}
		b->heard = true;
		if (b->phase == P_HEAD) {
			if (!take_head(b, in))
				break;
		} else if (!take_body(b, in)) {
			break;
		} else {
			moved = true;
		}
	}
	if (moved && b->x)
		xchg_down(b->x);
	if (b->eof)
		conclude(b);
}

static void eof1(struct back *b, bool clean)
{
	b->eof = true;
	b->clean = clean;
	if (!b->x)
		back_retire(b);
	else
		read1(b, wire_in(b->w));
}

static void down_room1(struct xchg *x)
{
	struct back *b = x->back;

	wire_kick(b->w);
}

static void room1(struct back *b)
{
	if (b->x)
		up1(b->x);
}

static void cancel1(struct xchg *x)
{
	struct back *b = x->back;

	x->back = NULL;
	b->x = NULL;
	back_retire(b);
}

static void gone1(struct back *b, const char *text)
{
	struct xchg *x = b->x;

	if (!x)
		return;
	b->x = NULL;
	x->back = NULL;
	if (b->phase == P_TUNNEL) {
		xchg_down_end(x);
		x->up.end = true;
		xchg_down(x);
		return;
	}
	xchg_back_lost(x, b->phase == P_HEAD && b->served > 1 && !b->heard ? LOST_UNHEARD : LOST, text);
}

static void release1(struct back *b)
{
	(void)b;
}

const struct back_ops back1_ops = {
	.open = open1, .can_take = can_take1, .start = start1, .up = up1, .down_room = down_room1, .cancel = cancel1, .read = read1,
	.eof = eof1, .room = room1, .gone = gone1, .flush = NULL, .release = release1,
};
