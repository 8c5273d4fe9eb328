/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netpolicy/opened.c with its fronts and backs, HTTP/1 and 2, between a hostile guest and a hostile server. The wires are a model of this file
 * (wire.c and tls.c are not linked): what is written is kept and looked at.
 *
 * Input: flags (1 guest speaks HTTP/2, 2 server does, 4 in clear, 8 decisions come later, 16 wires take little, 64 no decision is kept), then (operation, length, bytes).
 * What must hold: nothing goes to a server before a request was allowed; a server of HTTP/1 is sent exactly requests that were allowed, read by our
 * own strict parser; the credential is never sent to the guest; nothing grows without bound.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "core/base/str.h"
#include "netpolicy/http1.h"
#include "netpolicy/opened.h"
#include "netpolicy/wire.h"

#define VALUE "sekret-9"
#define WIRES_MAX 64
#define TARGETS_MAX 512

struct wire {
	const struct wire_ops *ops;
	void *arg;
	struct buf in, out, sent;
	bool h2, server, open, shut, closed, eof, eof_told, want_room, reading;
};

static struct wire *wires[WIRES_MAX];
static size_t nwires;
static uv_loop_t loop;
static struct opened *conn;
static unsigned flags;
static uint64_t asked[TARGETS_MAX];
static size_t nasked, nallowed, nconnects;
static uint64_t connecting[WIRES_MAX];
static bool ended;

/* ---- the model of wire.h and tls.h -------------------------------------------------------------------------------------- */

static int make(struct wire **out, struct stream **s, bool server, const struct wire_ops *ops, void *arg)
{
	struct wire *w = calloc(1, sizeof(*w));

	MUST(w && nwires < WIRES_MAX);
	stream_close(s);
	w->ops = ops;
	w->arg = arg;
	w->server = server;
	w->h2 = !(flags & 4) && (flags & (server ? 2 : 1));
	w->reading = true;
	buf_init(&w->in, WIRE_BUFFER);
	buf_init(&w->out, 4 * WIRE_BUFFER);
	buf_init(&w->sent, 64u << 20);
	wires[nwires++] = w;
	*out = w;
	return 0;
}

int wire_open_clear(struct wire **out, uv_loop_t *l, struct stream **s, const struct wire_ops *ops, void *arg)
{
	(void)l;
	return make(out, s, nwires > 0, ops, arg);
}

int wire_open_server(struct wire **out, uv_loop_t *l, struct stream **s, struct tls_env *env, X509 *leaf, const char *name, bool h2, const struct wire_ops *ops, void *arg)
{
	(void)l, (void)env, (void)leaf, (void)name, (void)h2;
	return make(out, s, false, ops, arg);
}

int wire_open_client(struct wire **out, uv_loop_t *l, struct stream **s, struct tls_env *env, const char *name, bool literal, bool h2, const struct wire_ops *ops, void *arg)
{
	(void)l, (void)env, (void)name, (void)literal;
	const int r = make(out, s, true, ops, arg);

	(*out)->h2 &= h2;
	return r;
}

bool wire_is_h2(const struct wire *w) { return w->h2; }
struct buf *wire_in(struct wire *w) { return &w->in; }
struct buf *wire_out(struct wire *w) { return &w->out; }
size_t wire_pending(const struct wire *w) { return buf_size(&w->out); }
void wire_flush(struct wire *w) { MUST(!w->closed && buf_ok(&w->out)); }
void wire_want_room(struct wire *w) { w->want_room = true; }
void wire_reading(struct wire *w, bool on) { w->reading = on; }
void wire_kick(struct wire *w) { MUST(!w->closed); }
void wire_rest(struct wire *w) { MUST(!w->closed); }
void wire_shutdown(struct wire *w) { w->shut = true; }
void wire_cut(struct wire *w) { w->shut = true; }

size_t wire_room(const struct wire *w)
{
	const size_t most = flags & 16 ? 700 : WIRE_BUFFER;

	return !w->open || w->shut || w->closed || buf_size(&w->out) >= most ? 0 : most - buf_size(&w->out);
}

void wire_close(struct wire **wp)
{
	if (*wp)
		(*wp)->closed = true;
	*wp = NULL;
}

void tls_leaf_get(struct tls_env *env, const char *name, struct leaf_wait *w, void (*fn)(void *arg, X509 *leaf), void *arg)
{
	static int leaf;

	(void)env, (void)name, (void)w;
	fn(arg, (X509 *)(void *)&leaf);
}

void tls_leaf_cancel(struct leaf_wait *w) { (void)w; }

/* ---- the connection's owner --------------------------------------------------------------------------------------------- */

static void decide(void *arg, uint64_t token, const struct net_facts *f)
{
	(void)arg;
	MUST(strcmp(f->name, "own.example") == 0 && f->method[0]);
	MUST(nasked < TARGETS_MAX);
	asked[nasked++] = token;
	if (!(flags & 8)) {
		const bool allow = !str_starts(f->path, "/deny");

		nallowed += allow;
		opened_decided(conn, token, allow ? NET_ALLOW : NET_DENY, "r", "global", 0);
	}
}

static void undecide(void *arg, uint64_t token)
{
	(void)arg;
	for (size_t i = 0; i < nasked; i++)
		if (asked[i] == token)
			asked[i] = 0;
}

static void want(void *arg, uint64_t token)
{
	(void)arg;
	MUST(nallowed > 0);
	if (nconnects < WIRES_MAX - 2)
		connecting[nconnects++] = token;
}

static void unwant(void *arg, uint64_t token)
{
	(void)arg;
	for (size_t i = 0; i < nconnects; i++)
		if (connecting[i] == token)
			connecting[i] = 0;
}

static bool record(void *arg, struct net_record *r)
{
	(void)arg;
	MUST(r->event < NET_E_NUM && r->verdict < NET_VERDICT_NUM);
	MUST(!strstr(r->facts.path, VALUE));
	return !(flags & 64) || r->event != NET_E_DECIDED;
}

static void on_end(void *arg, int why, const char *text)
{
	(void)arg, (void)why;
	MUST(text && !ended);
	ended = true;
}

static const struct opened_ops ops = { .decide = decide, .undecide = undecide, .connect = want, .unconnect = unwant, .record = record, .on_end = on_end };

/* ---- turns -------------------------------------------------------------------------------------------------------------- */

static void turn(struct wire *w)
{
	if (!w->closed && !w->open) {
		w->open = true;
		w->ops->on_open(w->arg);
	}
	if (!w->closed && w->reading && buf_size(&w->in) > 0)
		w->ops->on_read(w->arg, &w->in);
	if (!w->closed && w->eof && !w->eof_told) {
		w->eof_told = true;
		w->ops->on_eof(w->arg, true);
	}
	MUST(buf_size(&w->out) <= 3 * WIRE_BUFFER);
	buf_put(&w->sent, buf_head(&w->out), buf_size(&w->out));
	buf_clear(&w->out);
	if (!w->closed && w->want_room && wire_room(w) > 0) {
		w->want_room = false;
		w->ops->on_room(w->arg);
	}
}

static void turns(void)
{
	for (int i = 0; i < 6 && !ended; i++) {
		for (size_t k = 0; k < nwires; k++)
			if (!wires[k]->closed)
				turn(wires[k]);
		uv_run(&loop, UV_RUN_NOWAIT);
	}
}

static struct wire *last_server(unsigned which)
{
	struct wire *found = NULL;

	for (size_t k = 0; k < nwires; k++)
		if (wires[k]->server && !wires[k]->closed && (!found || which-- > 0))
			found = wires[k];
	return found;
}

static void feed(struct wire *w, const uint8_t *p, size_t n)
{
	if (w && !w->closed && !w->eof && buf_room(&w->in) >= n)
		buf_put(&w->in, p, n);
}

static void operate(uint8_t op, const uint8_t *p, size_t n)
{
	struct wire *guest = nwires > 0 ? wires[0] : NULL;
	uint64_t *slot;
	int fds[2];

	switch (op % 8) {
	case 0:
	case 1:
		feed(guest, p, n);
		break;
	case 2:
		feed(last_server(op / 8), p, n);
		break;
	case 3:
		if (guest)
			guest->eof = true;
		break;
	case 4:
		if (last_server(op / 8))
			last_server(op / 8)->eof = true;
		break;
	case 5: /* an answer to the n-th question */
		slot = &asked[n % TARGETS_MAX];
		if (*slot && (flags & 8)) {
			nallowed++;
			opened_decided(conn, *slot, NET_ALLOW, "person", "person", 1);
			*slot = 0;
		}
		break;
	case 6:
		slot = &connecting[n % WIRES_MAX];
		if (*slot && uv_socketpair(SOCK_STREAM, 0, fds, 0, 0) == 0) {
			const uint64_t token = *slot;

			*slot = 0;
			close(fds[1]);
			opened_connected(conn, token, op & 128 ? (close(fds[0]), -1) : fds[0], &(struct net_addr){ 0 }, op & 64, "refused");
		}
		break;
	default:
		opened_drain(conn, op & 128);
		break;
	}
	turns();
}

/* What a server of HTTP/1 was sent, read anew: whole allowed requests and nothing else. */
static void check_server(const struct wire *w)
{
	const uint8_t *p = buf_head(&w->sent);
	size_t n = buf_size(&w->sent), requests = 0;

	while (n > 0) {
		struct http1_head m;
		size_t used = 0;
		const char *why;
		const int r = http1_parse_request(p, n, &m, &used, &why);

		MUST(r == 0);
		MUST(++requests <= nallowed && strcmp(m.host.name, "own.example") == 0 && !str_starts(m.target, "/deny"));
		p += used;
		n -= used;
		if (m.framing == HTTP1_LENGTH) {
			const size_t body = m.length < n ? (size_t)m.length : n;

			p += body;
			n -= body;
		} else if (m.framing == HTTP1_CHUNKED) {
			struct http1_chunks c;
			int s = 0;

			http1_chunks_init(&c);
			while (s == 0) {
				const uint8_t *data;
				size_t ndata;

				s = http1_chunks_step(&c, p, n, &used, &data, &ndata, &m.h);
				p += used;
				n -= used;
			}
			MUST(s == 1 || s == -EAGAIN);
			if (s == -EAGAIN)
				n = 0;
		}
		if (m.websocket)
			n = 0;
		http1_release(&m);
	}
}

static void finish(void)
{
	opened_close(&conn);
	uv_run(&loop, UV_RUN_DEFAULT);
	for (size_t k = 0; k < nwires; k++) {
		struct wire *w = wires[k];

		MUST(w->closed);
		if (!w->server)
			MUST(w->h2 || !buf_size(&w->sent) || !memmem(buf_head(&w->sent), buf_size(&w->sent), VALUE, strlen(VALUE)));
		else if (!w->h2)
			check_server(w);
		MUST(!w->server || nallowed > 0);
		buf_release(&w->in);
		buf_release(&w->out);
		buf_release(&w->sent);
		free(w);
	}
	nwires = nasked = nallowed = nconnects = 0;
	memset(asked, 0, sizeof(asked));
	memset(connecting, 0, sizeof(connecting));
	ended = false;
}

static void nothing(void *arg, struct buf *in)
{
	(void)arg, (void)in;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const struct stream_ops none = { .on_read = nothing };
	static struct inject *in;
	struct opened_opts o = { .loop = &loop, .name = "own.example", .sandbox = "blue", .ops = &ops };
	struct net_secret m = { .id = 1, .nhosts = 1, .service = "s", .header = "Authorization", .format = "Bearer %s", .placeholder = "PLACE-1", .value = VALUE };
	int fds[2];

	/* The credential itself, guessed, is the guest's own text. */
	if (n == 0 || memmem(p, n, "sekret", 6))
		return 0;
	if (!in) {
		uv_loop_init(&loop);
		str_copy(m.hosts[0], sizeof(m.hosts[0]), "own.example");
		MUST(inject_create(&in) == 0 && inject_set(in, &m) == 0);
	}
	flags = p[0];
	o.inject = in;
	o.tls = !(flags & 4);
	o.port = o.tls ? 443 : 80;
	o.env = (struct tls_env *)(void *)&o;
	MUST(uv_socketpair(SOCK_STREAM, 0, fds, 0, 0) == 0);
	close(fds[1]);
	MUST(stream_open_take(&o.guest, &loop, fds[0], 2 * WIRE_BUFFER, 2 * WIRE_BUFFER, &none, NULL) == 0);
	stream_reading(o.guest, false);
	MUST(opened_start(&conn, &o) == 0);
	turns();
	for (p++, n--; n >= 3 && !ended;) {
		const size_t len = (size_t)p[1] | (size_t)p[2] << 8, take = len < n - 3 ? len : n - 3;
		const bool bytes = p[0] % 8 < 3;

		operate(p[0], p + 3, bytes ? take : len);
		p += 3 + (bytes ? take : 0);
		n -= 3 + (bytes ? take : 0);
		/* Servers are mostly there. */
		if (flags & 32)
			for (uint16_t i = 0; i < nconnects; i++)
				if (connecting[i])
					operate(6, p, i);
	}
	finish();
	return 0;
}
