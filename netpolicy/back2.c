/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 toward the server: many exchanges on one connection. Pushes are off. As in front2.c nothing is sent from inside nghttp2's callbacks. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/base/str.h"
#include "netpolicy/xchg.h"

#define BACK_WINDOW (2 * 1024 * 1024) /* of the connection: what a guest that does not read may hold here */

/* The exchange of a stream, if it still is this back's. */
static struct xchg *of(struct back *b, int32_t id)
{
	struct xchg *x = nghttp2_session_get_stream_user_data(b->h2, id);

	return x && x->back == b ? x : NULL;
}

static void detach(struct back *b, struct xchg *x)
{
	nghttp2_session_set_stream_user_data(b->h2, x->back_id, NULL);
	x->back = NULL;
	b->streams--;
}

static void reset(struct back *b, int32_t id, uint32_t code)
{
	nghttp2_submit_rst_stream(b->h2, NGHTTP2_FLAG_NONE, id, code);
	opened_sweep_soon(b->o);
}

static void lose(struct back *b, struct xchg *x, enum lost how, const char *text)
{
	detach(b, x);
	xchg_back_lost(x, how, text);
	opened_sweep_soon(b->o);
}

/* ---- from nghttp2 ------------------------------------------------------------------------------------------------------- */

static int add_field(struct xchg *x, struct headers *h, const uint8_t *name, size_t nlen, const uint8_t *value, size_t vlen)
{
	if (nlen == 7 && memcmp(name, ":status", 7) == 0) {
		uint16_t status = 0;

		for (size_t i = 0; i < vlen && i < 3; i++)
			status = (uint16_t)(status * 10 + (value[i] - '0'));
		x->status = status;
		return vlen == 3 && status >= 100 && status < 600 ? 0 : -EBADMSG;
	}
	return nlen > 0 && name[0] != ':' ? headers_add(h, (const char *)name, nlen, (const char *)value, vlen) : -EBADMSG;
}

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name, size_t nlen, const uint8_t *value, size_t vlen, uint8_t flags, void *arg)
{
	struct back *b = arg;
	struct xchg *x = of(b, f->hd.stream_id);

	(void)s;
	(void)flags;
	if (!x)
		return 0;
	const bool trailer = x->answered;
	struct headers *h = trailer ? &x->down.trailers : &x->resp;
	if (add_field(x, h, name, nlen, value, vlen) < 0)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (trailer && !http1_trailer_legal(h->v[h->n - 1].name))
		headers_remove_at(h, h->n - 1);
	return 0;
}

static void head(struct xchg *x, bool end)
{
	if (x->status < 200) {
		struct headers h = x->resp;

		headers_init(&x->resp);
		headers_strip_hop(&h);
		if (x->mask)
			mask_headers(x->mask, &h);
		if (x->status != 101)
			xchg_interim(x, x->status, &h);
		headers_release(&h);
		return;
	}
	x->no_resp_body = end || strcmp(x->method, "HEAD") == 0;
	x->resp_length_known = headers_get(&x->resp, "content-length") != NULL;
	xchg_head(x);
}

static int on_frame(nghttp2_session *s, const nghttp2_frame *f, void *arg)
{
	struct back *b = arg;
	struct xchg *x = f->hd.stream_id ? of(b, f->hd.stream_id) : NULL;
	const bool end = f->hd.flags & NGHTTP2_FLAG_END_STREAM;

	(void)s;
	if (f->hd.type == NGHTTP2_GOAWAY) {
		b->leaving = true;
		opened_sweep_soon(b->o);
	}
	if (f->hd.type == NGHTTP2_SETTINGS)
		opened_sweep_soon(b->o);
	if (!x)
		return 0;
	if (f->hd.type == NGHTTP2_HEADERS && !x->answered)
		head(x, end);
	if (x->back != b || (f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA))
		return 0;
	if (end)
		xchg_down_end(x);
	if (end || f->hd.type == NGHTTP2_DATA)
		xchg_down(x);
	return 0;
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *arg)
{
	struct xchg *x = of(arg, id);

	(void)flags;
	if (!x || !x->answered) {
		nghttp2_session_consume(s, id, n);
		return 0;
	}
	xchg_down_put(x, p, n); /* the window keeps it within DOWN_WINDOW */
	return 0;
}

static int on_stream_close(nghttp2_session *s, int32_t id, uint32_t code, void *arg)
{
	struct back *b = arg;
	struct xchg *x = of(b, id);
	char text[96];

	(void)s;
	if (!x)
		return 0;
	if (x->answered && x->down.end && code == NGHTTP2_NO_ERROR) {
		detach(b, x);
		xchg_down(x);
		opened_sweep_soon(b->o);
		return 0;
	}
	if (x->answered && x->down.end) { /* whole already; it wants no more of the request */
		detach(b, x);
		opened_sweep_soon(b->o);
		return 0;
	}
	snprintf(text, sizeof(text), "the server ended the stream: %s", nghttp2_http2_strerror(code));
	lose(b, x, code == NGHTTP2_REFUSED_STREAM ? LOST_UNTAKEN : LOST, text);
	return 0;
}

/* ---- from the exchange -------------------------------------------------------------------------------------------------- */

static ssize_t read_up(nghttp2_session *s, int32_t id, uint8_t *p, size_t n, uint32_t *flags, nghttp2_data_source *src, void *arg)
{
	struct xchg *x = of(arg, id);

	(void)src;
	if (!x)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	const ssize_t r = h2_take(s, id, &x->up, p, n, flags);
	if (r > 0 && !x->front_gone)
		x->o->front->up_room(x);
	return r;
}

static bool can_take2(const struct back *b)
{
	const uint32_t most = nghttp2_session_get_remote_settings(b->h2, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);

	return !b->leaving && b->streams < most && b->streams < OPENED_STREAMS_MAX && nghttp2_session_check_request_allowed(b->h2);
}

static void start2(struct back *b, struct xchg *x)
{
	const struct opened *o = b->o;
	const nghttp2_data_provider body = { .read_callback = read_up };
	char authority[NET_NAME_MAX + 16];
	struct h2_fields f;
	int32_t id = -1;

	snprintf(authority, sizeof(authority), o->opts.port == 443 ? "%s" : "%s:%u", o->name, o->opts.port);
	if (h2_fields_init(&f, &x->req) == 0) {
		h2_fields_pseudo(&f, ":method", x->method);
		h2_fields_pseudo(&f, ":scheme", "https");
		h2_fields_pseudo(&f, ":authority", authority);
		h2_fields_pseudo(&f, ":path", x->sent_target);
		h2_fields_add(&f, &x->req);
		if (x->te_trailers)
			h2_fields_pseudo(&f, "te", "trailers");
		id = nghttp2_submit_request(b->h2, NULL, f.nv, f.n, x->has_body ? &body : NULL, x);
		h2_fields_release(&f);
	}
	if (id < 0) {
		x->back = NULL;
		b->leaving = true; /* out of stream numbers or of memory */
		xchg_back_lost(x, LOST_UNTAKEN, "HTTP/2 takes no more requests");
		return;
	}
	x->back_id = id;
	b->streams++;
	opened_sweep_soon(b->o);
}

static void up2(struct xchg *x)
{
	nghttp2_session_resume_data(x->back->h2, x->back_id);
	opened_sweep_soon(x->o);
}

static void down_room2(struct xchg *x)
{
	const uint64_t held = buf_size(&x->down.b) + mask_held(x->mask), taken = x->down.total - held;

	if (taken > x->down_acked) {
		nghttp2_session_consume(x->back->h2, x->back_id, (size_t)(taken - x->down_acked));
		x->down_acked = taken;
		opened_sweep_soon(x->o);
	}
}

static void cancel2(struct xchg *x)
{
	struct back *b = x->back;
	const uint64_t left = x->down.total - x->down_acked;

	if (left > 0)
		nghttp2_session_consume_connection(b->h2, (size_t)left);
	reset(b, x->back_id, NGHTTP2_CANCEL);
	detach(b, x);
}

/* ---- the connection ----------------------------------------------------------------------------------------------------- */

static void flush2(struct back *b)
{
	if (!b->w)
		return;
	if (h2_send(b->h2, b->w) < 0 || (b->leaving && b->streams == 0) ||
	    (!nghttp2_session_want_read(b->h2) && !nghttp2_session_want_write(b->h2)))
		back_retire(b);
}

static void gone2(struct back *b, const char *text)
{
	for (struct xchg *x = b->o->xs; x; x = x->next)
		if (x->back == b)
			lose(b, x, LOST, text);
}

static int session(struct back *b)
{
	nghttp2_session_callbacks *cb = NULL;
	nghttp2_option *opt = NULL;
	int r = -ENOMEM;

	if (nghttp2_session_callbacks_new(&cb) == 0 && nghttp2_option_new(&opt) == 0) {
		nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
		nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
		nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
		nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
		nghttp2_option_set_no_auto_window_update(opt, 1);
		nghttp2_option_set_peer_max_concurrent_streams(opt, OPENED_STREAMS_MAX);
		r = nghttp2_session_client_new3(&b->h2, cb, b, opt, h2_memory()) == 0 ? 0 : -ENOMEM;
	}
	nghttp2_session_callbacks_del(cb);
	nghttp2_option_del(opt);
	return r;
}

static int open2(struct back *b)
{
	const nghttp2_settings_entry iv[] = {
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, DOWN_WINDOW },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADERS_BYTES },
	};

	if (session(b) < 0 || nghttp2_submit_settings(b->h2, NGHTTP2_FLAG_NONE, iv, ARRAY_SIZE(iv)) != 0 ||
	    nghttp2_session_set_local_window_size(b->h2, NGHTTP2_FLAG_NONE, 0, BACK_WINDOW) != 0)
		return -ENOMEM;
	opened_sweep_soon(b->o);
	return 0;
}

static void read2(struct back *b, struct buf *in)
{
	const ssize_t n = nghttp2_session_mem_recv(b->h2, buf_head(in), buf_size(in));

	if (b->state != B_READY)
		return;
	if (n < 0) {
		gone2(b, "its HTTP/2 is not well-formed");
		back_retire(b);
		return;
	}
	buf_consume(in, (size_t)n);
	opened_sweep_soon(b->o);
}

static void eof2(struct back *b, bool clean)
{
	(void)clean;
	gone2(b, "the server closed the connection");
	back_retire(b);
}

static void release2(struct back *b)
{
	nghttp2_session_del(b->h2);
	b->h2 = NULL;
}

const struct back_ops back2_ops = {
	.open = open2, .can_take = can_take2, .start = start2, .up = up2, .down_room = down_room2, .cancel = cancel2, .read = read2,
	.eof = eof2, .room = flush2, .gone = gone2, .flush = flush2, .release = release2,
};
