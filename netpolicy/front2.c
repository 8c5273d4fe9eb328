/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 toward the guest. An exchange is a stream's user data from its first field on; it joins the connection's list when its head is whole.
 * nghttp2 may not be asked to send from inside its own callbacks: they only change state, the sweep and what follows a read send.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "core/base/str.h"
#include "netpolicy/xchg.h"

#define FRONT_WINDOW (1024 * 1024) /* of the connection */
#define DROP_MAX (4u * 1024u * 1024u) /* of a body nobody wants any more, before the stream is reset */


/* The stream is ended from our side; the exchange is no longer its. */
static void reset(struct opened *o, int32_t id, uint32_t code)
{
	nghttp2_session_set_stream_user_data(o->h2, id, NULL);
	nghttp2_submit_rst_stream(o->h2, NGHTTP2_FLAG_NONE, id, code);
	opened_sweep_soon(o);
}

/* What was taken of x->up opens the window again. */
static void acknowledge(struct xchg *x)
{
	const uint64_t taken = x->up.total - buf_size(&x->up.b);

	if (taken > x->up_acked) {
		nghttp2_session_consume(x->o->h2, x->front_id, (size_t)(taken - x->up_acked));
		x->up_acked = taken;
		opened_sweep_soon(x->o);
	}
}

/* ---- from nghttp2 ------------------------------------------------------------------------------------------------------- */

static int on_begin(nghttp2_session *s, const nghttp2_frame *f, void *arg)
{
	struct opened *o = arg;

	if (f->hd.type != NGHTTP2_HEADERS || f->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	struct xchg *x = o->draining ? NULL : xchg_new(o);
	if (!x)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	x->front_id = f->hd.stream_id;
	x->state = X_LOCAL; /* nothing may happen to it before its head is whole */
	nghttp2_session_set_stream_user_data(s, f->hd.stream_id, x);
	return 0;
}

static int pseudo(struct xchg *x, const char *name, size_t nlen, const char *v, size_t vlen)
{
	if (nlen == 7 && memcmp(name, ":method", 7) == 0) {
		if (vlen >= sizeof(x->method) || !header_token_legal(v, vlen))
			return -EBADMSG;
		memcpy(x->method, v, vlen);
		return 0;
	}
	if (nlen == 5 && memcmp(name, ":path", 5) == 0) {
		for (size_t i = 0; i < vlen; i++)
			if ((uint8_t)v[i] <= 0x20 || (uint8_t)v[i] >= 0x7f || v[i] == '#')
				return -EBADMSG;
		if (vlen > HTTP1_TARGET_MAX || (v[0] != '/' && !(vlen == 1 && v[0] == '*')))
			return -EBADMSG;
		x->target = strndup(v, vlen);
		return x->target ? 0 : -ENOMEM;
	}
	if (nlen == 10 && memcmp(name, ":authority", 10) == 0)
		return authority_parse(v, vlen, &x->host);
	if (nlen == 7 && memcmp(name, ":scheme", 7) == 0)
		return vlen == 5 && strncasecmp(v, "https", 5) == 0 ? 0 : -EBADMSG;
	return -EBADMSG;
}

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name, size_t nlen, const uint8_t *value, size_t vlen, uint8_t flags, void *arg)
{
	struct xchg *x = nghttp2_session_get_stream_user_data(s, f->hd.stream_id);
	const char *n = (const char *)name, *v = (const char *)value;
	int r = 0;

	(void)flags;
	(void)arg;
	if (!x)
		return 0;
	if (f->headers.cat != NGHTTP2_HCAT_REQUEST) {
		r = nlen > 0 && n[0] != ':' ? headers_add(&x->up.trailers, n, nlen, v, vlen) : -EBADMSG;
		if (r == 0 && !http1_trailer_legal(x->up.trailers.v[x->up.trailers.n - 1].name))
			headers_remove_at(&x->up.trailers, x->up.trailers.n - 1);
	} else if (nlen > 0 && n[0] == ':') {
		r = pseudo(x, n, nlen, v, vlen);
	} else if (nlen == 4 && memcmp(n, "host", 4) == 0) {
		struct authority a;

		/* RFC 9113 8.3.1: it must not differ from :authority; without that it takes its place. */
		r = authority_parse(v, vlen, &a);
		if (r == 0 && !x->host.name[0])
			x->host = a;
		else if (r == 0 && (strcmp(a.name, x->host.name) != 0 || a.port != x->host.port))
			r = -EBADMSG;
	} else {
		r = headers_add(&x->req, n, nlen, v, vlen);
	}
	return r < 0 ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : 0;
}

/* HTTP/2 may cut Cookie into crumbs; to HTTP/1 it goes as one (RFC 9113 8.2.3). */
static int join_cookies(struct headers *h)
{
	struct buf b;
	int r = 0;

	if (headers_count(h, "cookie") < 2)
		return 0;
	buf_init(&b, HEADERS_BYTES);
	for (size_t i = 0; i < h->n; i++)
		if (header_is(&h->v[i], "cookie")) {
			buf_put(&b, "; ", buf_size(&b) ? 2 : 0);
			buf_put(&b, h->v[i].value, h->v[i].vlen);
		}
	headers_remove(h, "cookie");
	r = buf_ok(&b) ? headers_add(h, "cookie", 6, (const char *)buf_head(&b), buf_size(&b)) : -E2BIG;
	buf_wipe(&b);
	return r;
}

static void request(struct opened *o, struct xchg *x, bool end)
{
	x->te_trailers = headers_token(&x->req, "te", "trailers");
	headers_strip_hop(&x->req);
	headers_remove(&x->req, "trailer");
	x->has_body = !end;
	x->length_known = headers_get(&x->req, "content-length") != NULL;
	x->up.end = end;
	if (!x->target && strcmp(x->method, "CONNECT") == 0)
		x->target = strdup("");
	if (!x->target || join_cookies(&x->req) < 0) {
		reset(o, x->front_id, NGHTTP2_PROTOCOL_ERROR);
		xchg_close(x, true);
		return;
	}
	xchg_request(x);
}

static int on_frame(nghttp2_session *s, const nghttp2_frame *f, void *arg)
{
	struct opened *o = arg;
	struct xchg *x = f->hd.stream_id ? nghttp2_session_get_stream_user_data(s, f->hd.stream_id) : NULL;
	const bool end = f->hd.flags & NGHTTP2_FLAG_END_STREAM;

	if (!x)
		return 0;
	if (f->hd.type == NGHTTP2_HEADERS && f->headers.cat == NGHTTP2_HCAT_REQUEST) {
		request(o, x, end);
	} else if ((f->hd.type == NGHTTP2_DATA || f->hd.type == NGHTTP2_HEADERS) && end) {
		xchg_up_end(x);
		xchg_up(x);
	} else if (f->hd.type == NGHTTP2_DATA) {
		xchg_up(x);
	}
	return 0;
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *arg)
{
	struct xchg *x = nghttp2_session_get_stream_user_data(s, id);

	(void)flags;
	(void)arg;
	if (!x) {
		nghttp2_session_consume(s, id, n);
		return 0;
	}
	xchg_up_put(x, p, n); /* the window keeps it within UP_WINDOW */
	if (x->state == X_LOCAL) {
		x->dropped += n;
		acknowledge(x);
		if (x->dropped > DROP_MAX)
			nghttp2_submit_rst_stream(s, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
	}
	return 0;
}

/*
 * An answer that is out before the request's body is in: the rest of that is dropped for a while. A reset at once (RFC 9113 8.1 allows it) is
 * taken for a failure by curl.
 */
static int on_sent(nghttp2_session *s, const nghttp2_frame *f, void *arg)
{
	struct xchg *x = f->hd.stream_id ? nghttp2_session_get_stream_user_data(s, f->hd.stream_id) : NULL;

	(void)arg;
	if (x && (f->hd.type == NGHTTP2_DATA || f->hd.type == NGHTTP2_HEADERS) && (f->hd.flags & NGHTTP2_FLAG_END_STREAM) && !x->up.end) {
		if (x->back)
			x->back->ops->cancel(x);
		x->state = X_LOCAL;
		buf_clear(&x->up.b);
		acknowledge(x);
	}
	return 0;
}

static int on_stream_close(nghttp2_session *s, int32_t id, uint32_t code, void *arg)
{
	struct opened *o = arg;
	struct xchg *x = nghttp2_session_get_stream_user_data(s, id);

	if (!x)
		return 0;
	nghttp2_session_set_stream_user_data(s, id, NULL);
	xchg_close(x, code != NGHTTP2_NO_ERROR || !x->answered);
	opened_sweep_soon(o);
	return 0;
}

/* ---- sending ------------------------------------------------------------------------------------------------------------ */

static void flush2(struct opened *o)
{
	if (o->ending || o->in_recv || !o->h2)
		return;
	if (h2_send(o->h2, o->w) < 0) {
		opened_finish(o, -EPROTO, "HTTP/2 failed");
		return;
	}
	if (!nghttp2_session_want_read(o->h2) && !nghttp2_session_want_write(o->h2) && wire_pending(o->w) == 0)
		opened_finish(o, 0, "");
}

static ssize_t read_down(nghttp2_session *s, int32_t id, uint8_t *p, size_t n, uint32_t *flags, nghttp2_data_source *src, void *arg)
{
	struct xchg *x = nghttp2_session_get_stream_user_data(s, id);

	(void)src;
	(void)arg;
	if (!x)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	const ssize_t r = h2_take(s, id, &x->down, p, n, flags);
	if (r > 0 && x->back)
		x->back->ops->down_room(x);
	return r;
}

static void respond(struct xchg *x, uint16_t status, const struct headers *h, bool interim)
{
	struct opened *o = x->o;
	struct h2_fields f;
	char text[8];
	const nghttp2_data_provider body = { .read_callback = read_down };
	int r;

	if (h2_fields_init(&f, h) < 0) {
		opened_finish(o, -ENOMEM, "out of memory");
		return;
	}
	snprintf(text, sizeof(text), "%u", status);
	h2_fields_pseudo(&f, ":status", text);
	h2_fields_add(&f, h);
	if (interim)
		r = nghttp2_submit_headers(o->h2, NGHTTP2_FLAG_NONE, x->front_id, NULL, f.nv, f.n, NULL);
	else
		r = nghttp2_submit_response(o->h2, x->front_id, f.nv, f.n, x->no_resp_body ? NULL : &body);
	h2_fields_release(&f);
	if (r < 0) {
		reset(o, x->front_id, NGHTTP2_INTERNAL_ERROR);
		xchg_close(x, true);
	}
	opened_sweep_soon(o);
}

static void interim2(struct xchg *x, uint16_t status, const struct headers *h)
{
	respond(x, status, h, true);
}

static void head2(struct xchg *x)
{
	respond(x, x->status, &x->resp, false);
}

static void down2(struct xchg *x)
{
	nghttp2_session_resume_data(x->o->h2, x->front_id);
	opened_sweep_soon(x->o);
}

static void up_room2(struct xchg *x)
{
	acknowledge(x);
}

static void fail2(struct xchg *x)
{
	reset(x->o, x->front_id, NGHTTP2_INTERNAL_ERROR);
}

/* ---- the connection ----------------------------------------------------------------------------------------------------- */

static int session(struct opened *o)
{
	nghttp2_session_callbacks *cb = NULL;
	nghttp2_option *opt = NULL;
	int r = -ENOMEM;

	if (nghttp2_session_callbacks_new(&cb) == 0 && nghttp2_option_new(&opt) == 0) {
		nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin);
		nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
		nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
		nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
		nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_sent);
		nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
		nghttp2_option_set_no_auto_window_update(opt, 1);
		nghttp2_option_set_no_closed_streams(opt, 1);
		r = nghttp2_session_server_new3(&o->h2, cb, o, opt, h2_memory()) == 0 ? 0 : -ENOMEM;
	}
	nghttp2_session_callbacks_del(cb);
	nghttp2_option_del(opt);
	return r;
}

static int open2(struct opened *o)
{
	const nghttp2_settings_entry iv[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, OPENED_STREAMS_MAX },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, UP_WINDOW },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADERS_BYTES },
	};

	if (session(o) < 0 || nghttp2_submit_settings(o->h2, NGHTTP2_FLAG_NONE, iv, ARRAY_SIZE(iv)) != 0 ||
	    nghttp2_session_set_local_window_size(o->h2, NGHTTP2_FLAG_NONE, 0, FRONT_WINDOW) != 0)
		return -ENOMEM;
	opened_sweep_soon(o);
	return 0;
}

static void read2(struct opened *o, struct buf *in)
{
	o->in_recv = true;
	const ssize_t n = nghttp2_session_mem_recv(o->h2, buf_head(in), buf_size(in));
	o->in_recv = false;
	if (n < 0) {
		h2_send(o->h2, o->w);
		opened_finish(o, -EPROTO, "HTTP/2 is not well-formed");
		return;
	}
	buf_consume(in, (size_t)n);
	opened_sweep_soon(o);
}

static void eof2(struct opened *o)
{
	opened_finish(o, 0, "");
}

static void drain2(struct opened *o)
{
	nghttp2_submit_goaway(o->h2, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(o->h2), NGHTTP2_NO_ERROR, NULL, 0);
	opened_sweep_soon(o);
	if (!o->xs)
		opened_finish(o, 0, "");
}

static void release2(struct opened *o)
{
	nghttp2_session_del(o->h2);
	o->h2 = NULL;
}

const struct front_ops front2_ops = {
	.open = open2, .read = read2, .eof = eof2, .room = flush2, .interim = interim2, .head = head2, .down = down2,
	.up_room = up_room2, .fail = fail2, .drain = drain2, .flush = flush2, .release = release2,
};
