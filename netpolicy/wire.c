/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pump does all: handshake, deciphering into `in` while there is room, offering, enciphering from `out`, the goodbye, the end. It runs on
 * what the stream tells and on the idle handle (so that no callback runs inside its user's own call). A BIO of our own reads from stream_in() and
 * writes to stream_out(); OpenSSL's WANT_READ and WANT_WRITE are just those being empty and full.
 */
#include "netpolicy/wire.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/base/fd.h"
#include "core/base/str.h"

#define RECORD 16384u
#define RECORD_EXTRA 512u /* more than TLS adds to a record */
#define OUT_MAX (4u * WIRE_BUFFER)

struct wire {
	uv_idle_t idle;
	uv_loop_t *loop;
	struct stream *s;
	SSL *ssl;        /* NULL in clear */
	struct buf in;   /* TLS: plaintext; clear: the stream's is used */
	struct buf out;  /* plaintext; a head may go beyond WIRE_BUFFER, never beyond OUT_MAX */
	const struct wire_ops *ops;
	void *arg;
	char name[NET_NAME_MAX]; /* server: what the client must have said */
	bool wipe;
	bool open, reading, want_room;
	bool in_done, clean, eof_told;
	bool shut, shut_sent, cut, dead, closing;
	bool from_stream; /* the pump runs inside the stream's own reading, which looks after itself */
	int busy;        /* callbacks or the pump are on the stack */
};

static void pump(struct wire *w);

/* ---- BIO ---------------------------------------------------------------------------------------------------------------- */

static int bio_read(BIO *b, char *p, int n)
{
	struct wire *w = BIO_get_data(b);

	BIO_clear_retry_flags(b);
	if (!w->s || n <= 0)
		return -1;
	struct buf *in = stream_in(w->s);
	const size_t take = buf_size(in) < (size_t)n ? buf_size(in) : (size_t)n;
	if (take == 0) {
		BIO_set_retry_read(b);
		return -1;
	}
	memcpy(p, buf_head(in), take);
	buf_consume(in, take);
	return (int)take;
}

static int bio_write(BIO *b, const char *p, int n)
{
	struct wire *w = BIO_get_data(b);

	BIO_clear_retry_flags(b);
	if (!w->s || n <= 0)
		return -1;
	struct buf *out = stream_out(w->s);
	const size_t put = buf_room(out) < (size_t)n ? buf_room(out) : (size_t)n;
	if (put == 0 || buf_put(out, p, put) < 0) {
		stream_want_drain(w->s);
		BIO_set_retry_write(b);
		return -1;
	}
	return (int)put;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
	(void)b;
	(void)num;
	(void)ptr;
	return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *bio_method(void)
{
	static BIO_METHOD *m;

	if (!m) {
		m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
		if (!m)
			return NULL;
		BIO_meth_set_read(m, bio_read);
		BIO_meth_set_write(m, bio_write);
		BIO_meth_set_ctrl(m, bio_ctrl);
	}
	return m;
}

/* ---- life --------------------------------------------------------------------------------------------------------------- */

static void on_idle_closed(uv_handle_t *h)
{
	free(h->data);
}

static void maybe_free(struct wire *w)
{
	if (!w->closing || w->busy > 0)
		return;
	w->busy = 1; /* only once */
	SSL_free(w->ssl);
	if (w->wipe) {
		buf_wipe(&w->in);
		buf_wipe(&w->out);
	}
	buf_release(&w->in);
	buf_release(&w->out);
	uv_close((uv_handle_t *)&w->idle, on_idle_closed);
}

static void die(struct wire *w, int why, const char *text)
{
	if (w->dead || w->closing)
		return;
	w->dead = true;
	uv_idle_stop(&w->idle);
	if (w->s && why)
		stream_reading(w->s, false);
	w->ops->on_closed(w->arg, why, text);
}

static void on_idle(uv_idle_t *h)
{
	uv_idle_stop(h);
	pump(h->data);
}

static void on_stream_read(void *arg, struct buf *in)
{
	struct wire *w = arg;

	(void)in;
	w->from_stream = true;
	pump(w);
}

static void on_stream_eof(void *arg)
{
	struct wire *w = arg;

	w->in_done = true;
	w->clean = w->clean || !w->ssl;
	pump(w);
}

static void on_stream_drain(void *arg)
{
	pump(arg);
}

static void on_stream_closed(void *arg, int why)
{
	struct wire *w = arg;

	w->busy++;
	/* A reset is the end of what came before it, too. */
	if (!w->in_done && why == 0)
		w->in_done = true;
	if (why == 0 && !w->eof_told && !w->dead && !w->closing && w->open) {
		w->eof_told = true;
		w->ops->on_eof(w->arg, w->clean || !w->ssl);
	}
	die(w, why, why ? strerror(-why) : "");
	w->busy--;
	maybe_free(w);
}

static const struct stream_ops stream_side = {
	.on_read = on_stream_read, .on_eof = on_stream_eof, .on_drain = on_stream_drain, .on_closed = on_stream_closed
};

static int make(struct wire **out, uv_loop_t *loop, struct stream **s, SSL *ssl, bool tls, const struct wire_ops *ops, void *arg)
{
	struct wire *w = calloc(1, sizeof(*w));
	BIO *bio = ssl && bio_method() ? BIO_new(bio_method()) : NULL;

	*out = NULL;
	if (!w || (tls && !bio)) {
		free(w);
		BIO_free(bio);
		SSL_free(ssl);
		stream_close(s);
		return -ENOMEM;
	}
	w->loop = loop;
	w->s = steal_ptr(s);
	w->ssl = ssl;
	w->ops = ops;
	w->arg = arg;
	w->reading = true;
	buf_init(&w->in, WIRE_BUFFER);
	buf_init(&w->out, OUT_MAX);
	if (bio) {
		BIO_set_data(bio, w);
		BIO_set_init(bio, 1);
		SSL_set_bio(ssl, bio, bio);
	}
	uv_idle_init(loop, &w->idle);
	w->idle.data = w;
	stream_set_ops(w->s, &stream_side, w);
	stream_reading(w->s, true);
	wire_kick(w);
	*out = w;
	return 0;
}

int wire_open_clear(struct wire **out, uv_loop_t *loop, struct stream **s, const struct wire_ops *ops, void *arg)
{
	return make(out, loop, s, NULL, false, ops, arg);
}

int wire_open_server(struct wire **out, uv_loop_t *loop, struct stream **s, struct tls_env *env, X509 *leaf, const char *name, bool h2,
		     const struct wire_ops *ops, void *arg)
{
	const int r = make(out, loop, s, tls_server_new(env, leaf, name, h2), true, ops, arg);

	if (r == 0)
		str_copy((*out)->name, sizeof((*out)->name), name);
	return r;
}

int wire_open_client(struct wire **out, uv_loop_t *loop, struct stream **s, struct tls_env *env, const char *name, bool literal, bool h2,
		     const struct wire_ops *ops, void *arg)
{
	const int r = make(out, loop, s, tls_client_new(env, name, literal, h2), true, ops, arg);

	if (r == 0) {
		/* They never grow: growing leaves copies. Pages never touched cost nothing. */
		(*out)->wipe = true;
		buf_reserve(&(*out)->out, OUT_MAX);
		buf_reserve(&(*out)->in, WIRE_BUFFER);
	}
	return r;
}

void wire_close(struct wire **wp)
{
	struct wire *w = *wp;

	if (!w)
		return;
	*wp = NULL;
	w->closing = true;
	uv_idle_stop(&w->idle);
	stream_close(&w->s);
	maybe_free(w);
}

/* ---- the pump ----------------------------------------------------------------------------------------------------------- */

static bool alive(const struct wire *w)
{
	return !w->dead && !w->closing;
}

/* Why TLS failed, in words: a certificate first, then OpenSSL's newest reason. */
static void fail(struct wire *w)
{
	char text[160];
	const unsigned long code = ERR_peek_last_error();
	const long verify = SSL_get_verify_result(w->ssl);
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	if (verify != X509_V_OK && !SSL_is_server(w->ssl))
		snprintf(text, sizeof(text), "its certificate is not valid: %s", X509_verify_cert_error_string(verify));
	else
		snprintf(text, sizeof(text), "TLS failed: %s", reason ? reason : "the connection was cut");
	ERR_clear_error();
	stream_flush(w->s); /* the alert */
	die(w, -EPROTO, text);
}

/* True when the handshake is over. */
static bool handshake(struct wire *w)
{
	if (w->open)
		return true;
	if (w->ssl) {
		ERR_clear_error();
		const int r = SSL_do_handshake(w->ssl);
		const int why = r == 1 ? SSL_ERROR_NONE : SSL_get_error(w->ssl, r);
		const char *said = r == 1 && SSL_is_server(w->ssl) ? SSL_get_servername(w->ssl, TLSEXT_NAMETYPE_host_name) : NULL;

		if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
			stream_flush(w->s);
			if (w->in_done)
				fail(w);
			return false;
		}
		if (why != SSL_ERROR_NONE) {
			fail(w);
			return false;
		}
		if (SSL_is_server(w->ssl) && (!said || strcasecmp(said, w->name) != 0)) {
			die(w, -EPROTO, "the name changed within the handshake");
			return false;
		}
		stream_flush(w->s);
	}
	w->open = true;
	w->ops->on_open(w->arg);
	return alive(w);
}

static void decipher(struct wire *w)
{
	while (w->reading && !w->in_done && buf_room(&w->in) > 0) {
		const size_t room = buf_room(&w->in) < RECORD ? buf_room(&w->in) : RECORD;
		uint8_t *p = buf_reserve(&w->in, room);
		size_t n = 0;

		if (!p) {
			die(w, -ENOMEM, "out of memory");
			return;
		}
		if (SSL_read_ex(w->ssl, p, room, &n) == 1) {
			buf_grew(&w->in, n);
			continue;
		}
		const int why = SSL_get_error(w->ssl, 0); /* the error queue is empty before each call: whoever fills it clears it */
		if (why == SSL_ERROR_ZERO_RETURN) {
			w->clean = true;
			w->in_done = true;
		} else if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
			fail(w);
		} else if (stream_eof(w->s)) {
			w->in_done = true; /* told to an earlier owner of the stream */
		}
		return;
	}
}

static void offer(struct wire *w)
{
	struct buf *in = wire_in(w);
	const bool full = buf_room(in) == 0;
	const size_t had = buf_size(in), from = in->off;

	if (w->reading && had > 0)
		w->ops->on_read(w->arg, in);
	/* An echo of a credential does not stay for as long as the connection does. It never grows, and nothing is added meanwhile. */
	if (w->wipe && had > 0)
		explicit_bzero(in->data + from, had - buf_size(in));
	if (!alive(w))
		return;
	if (!w->ssl && (stream_eof(w->s) || stream_cut(w->s)))
		w->in_done = w->clean = true;
	/* Deciphering rested while the buffer was full; the stream rests while its own is. */
	if (full && buf_size(in) < had)
		wire_kick(w);
	if (w->in_done && !w->eof_told && w->reading) {
		w->eof_told = true;
		w->ops->on_eof(w->arg, w->clean);
	}
}

static void encipher(struct wire *w)
{
	while (buf_size(&w->out) > 0 && buf_room(stream_out(w->s)) >= RECORD + RECORD_EXTRA) {
		const size_t n = buf_size(&w->out) < RECORD ? buf_size(&w->out) : RECORD;
		size_t put = 0;

		if (SSL_write_ex(w->ssl, buf_head(&w->out), n, &put) != 1) {
			const int why = SSL_get_error(w->ssl, 0);

			if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
				fail(w);
			return;
		}
		if (w->wipe)
			explicit_bzero(w->out.data + w->out.off, put);
		buf_consume(&w->out, put);
	}
	if (buf_size(&w->out) > 0)
		stream_want_drain(w->s);
}

static void move_out(struct wire *w)
{
	const size_t room = buf_room(stream_out(w->s)), n = buf_size(&w->out) < room ? buf_size(&w->out) : room;

	if (n > 0 && buf_put(stream_out(w->s), buf_head(&w->out), n) < 0) {
		die(w, -ENOMEM, "out of memory");
		return;
	}
	buf_consume(&w->out, n);
	if (buf_size(&w->out) > 0)
		stream_want_drain(w->s);
}

static void send_out(struct wire *w)
{
	if (w->ssl)
		encipher(w);
	else
		move_out(w);
	if (!alive(w))
		return;
	stream_flush(w->s);
	if (w->shut && !w->shut_sent && buf_size(&w->out) == 0 && (!w->ssl || buf_room(stream_out(w->s)) >= RECORD_EXTRA)) {
		w->shut_sent = true;
		if (w->ssl && !w->cut)
			SSL_shutdown(w->ssl);
		ERR_clear_error();
		stream_shutdown(w->s);
	}
	if (w->want_room && !w->shut && wire_room(w) >= WIRE_BUFFER / 2) {
		w->want_room = false;
		w->ops->on_room(w->arg);
	}
}

static void pump(struct wire *w)
{
	if (w->busy > 0) { /* from inside a callback of ours: once more from the loop */
		w->from_stream = false;
		wire_kick(w);
		return;
	}
	const bool held = alive(w) && !w->from_stream && buf_size(stream_in(w->s)) > 0;

	w->from_stream = false;
	w->busy++;
	if (alive(w) && handshake(w)) {
		if (w->ssl && alive(w))
			decipher(w);
		if (alive(w))
			offer(w);
		if (alive(w))
			send_out(w);
	}
	if (alive(w) && held)
		stream_kick(w->s); /* its buffer was emptied behind its back */
	w->busy--;
	maybe_free(w);
}

/* ---- for the user ------------------------------------------------------------------------------------------------------- */

bool wire_is_h2(const struct wire *w)
{
	const unsigned char *p = NULL;
	unsigned n = 0;

	if (w->ssl)
		SSL_get0_alpn_selected(w->ssl, &p, &n);
	return n == 2 && memcmp(p, "h2", 2) == 0;
}

struct buf *wire_in(struct wire *w)
{
	return w->ssl ? &w->in : stream_in(w->s);
}

struct buf *wire_out(struct wire *w)
{
	return &w->out;
}

size_t wire_room(const struct wire *w)
{
	if (!w->open || !w->s || w->shut || w->dead || buf_size(&w->out) >= WIRE_BUFFER)
		return 0;
	return WIRE_BUFFER - buf_size(&w->out);
}

size_t wire_pending(const struct wire *w)
{
	return w->s ? buf_size(&w->out) + stream_pending(w->s) : 0;
}

void wire_flush(struct wire *w)
{
	/* From the loop: what one turn writes goes out in as few records as it can. */
	wire_kick(w);
}

void wire_want_room(struct wire *w)
{
	w->want_room = true;
	wire_kick(w);
}

void wire_reading(struct wire *w, bool on)
{
	if (w->reading == on)
		return;
	w->reading = on;
	if (w->s && !w->ssl)
		stream_reading(w->s, on);
	if (on)
		wire_kick(w);
}

void wire_kick(struct wire *w)
{
	if (alive(w))
		uv_idle_start(&w->idle, on_idle);
}

void wire_shutdown(struct wire *w)
{
	if (!w->shut && alive(w)) {
		w->shut = true;
		wire_kick(w);
	}
}

void wire_cut(struct wire *w)
{
	w->cut = true;
	wire_shutdown(w);
}

static void give_back(struct buf *b)
{
	if (buf_size(b) == 0 && b->cap > 0)
		buf_wipe(b);
}

void wire_rest(struct wire *w)
{
	if (w->busy > 0 || !w->s)
		return;
	if (w->ssl)
		SSL_free_buffers(w->ssl);
	give_back(&w->in);
	give_back(&w->out);
	give_back(stream_in(w->s));
	give_back(stream_out(w->s));
}
