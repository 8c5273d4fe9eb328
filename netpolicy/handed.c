/* SPDX-License-Identifier: Apache-2.0 */
#include "netpolicy/handed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/loop/after.h"
#include "netpolicy/conn.h"
#include "netpolicy/inject.h"
#include "netpolicy/opened.h"
#include "netpolicy/tls.h"
#include "netpolicy/wire.h"

#define ONCE_MAX 8u

/* Something of an opened connection that is not answered yet: a decision or a way to the server. */
struct pending {
	struct pending *next;
	struct handed *h;
	uint64_t token;
	struct net_facts facts;
	bool braked;               /* to be decided when records are taken again */
	struct waiter waiter;
	struct upstream *upstream;
};

/* All that the question was about: the same rule asks about the same method, and about the same path where it looks at one. */
struct once {
	char method[sizeof(((struct net_facts *)0)->method)], rule[160];
	char *path; /* owned; NULL any */
};

struct handed {
	struct conn *c;
	struct opened *o;
	bool deny;                 /* every request gets the refusal that c says */
	struct pending *pending;
	struct once once[ONCE_MAX]; /* what a person allowed once, on this connection */
	unsigned nonce;
	struct after *later;
};

/* ---- what all share ----------------------------------------------------------------------------------------------------------------- */

static int pack_leaf_ask(struct buf *b, const void *m) { return net_leaf_ask_pack(b, m); }

static void ask_leaf(void *arg, const struct net_leaf_ask *m)
{
	net_tell(arg, NET_LEAF_ASK, pack_leaf_ask, m);
}

int handed_init(struct net *n, struct err *e)
{
	X509_STORE *roots = NULL;
	int r = tls_roots_load(&roots, n->config.ca_file, e);

	if (r == -ENOENT) { /* then no server is trusted where TLS is opened; all else works */
		log_warn("%s", e->msg);
		r = (roots = X509_STORE_new()) ? 0 : err_set(e, ENOMEM, "out of memory");
	}
	if (r == 0)
		r = tls_env_create(&n->env, roots, ask_leaf, n, e);
	X509_STORE_free(roots);
	if (r == 0 && (r = inject_create(&n->inject)) < 0)
		err_set(e, -r, "out of memory");
	return r;
}

void handed_release(struct net *n)
{
	inject_destroy(&n->inject);
	tls_env_destroy(&n->env);
}

void handed_secret(struct net *n, const struct net_secret *s)
{
	const int r = inject_set(n->inject, s);

	if (r < 0)
		log_error("the credential of '%s' cannot be used: %s", s->service, strerror(-r));
	else if (!inject_locked(n->inject))
		log_warn("credentials are not locked in memory: RLIMIT_MEMLOCK is too low");
}

void handed_secret_gone(struct net *n, uint32_t id)
{
	inject_drop(n->inject, id);
}

void handed_leaf(struct net *n, const struct net_leaf *l)
{
	tls_leaf_answer(n->env, l);
}

bool handed_wants(const struct conn *c)
{
	return c->facts.proto == NET_P_TLS && *c->facts.name && inject_wants(c->net->inject, c->facts.name, c->facts.port);
}

/* ---- pending --------------------------------------------------------------------------------------------------------------------------- */

static struct pending *add(struct handed *h, uint64_t token)
{
	struct pending *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->h = h;
	p->token = token;
	p->next = h->pending;
	h->pending = p;
	return p;
}

static void drop(struct handed *h, struct pending *p)
{
	struct pending **at = &h->pending;

	while (*at && *at != p)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = p->next;
	waiter_leave(&p->waiter);
	upstream_close(&p->upstream);
	free(p);
}

static void drop_token(void *arg, uint64_t token)
{
	struct handed *h = arg;
	struct pending *p = h->pending;

	while (p && p->token != token)
		p = p->next;
	if (p)
		drop(h, p);
}

/* ---- decisions -------------------------------------------------------------------------------------------------------------------------- */

static void record_decision(struct handed *h, const struct net_facts *f, enum net_verdict v, const char *rule, const char *scope, uint32_t ask)
{
	struct conn *c = h->c;
	const struct net_facts was = c->facts;
	const uint32_t was_ask = c->ask;

	c->facts = *f;
	c->ask = ask;
	conn_record(c, NET_E_DECIDED, v, rule, scope);
	c->facts = was;
	c->ask = was_ask;
}

/* That it is allowed is recorded when it goes (on_record): not before the server's address is known and was found to be one that may be. */
static void settle(struct handed *h, uint64_t token, const struct net_facts *f, enum net_verdict v, const char *rule, const char *scope, uint32_t ask)
{
	if (v != NET_ALLOW)
		record_decision(h, f, v, rule, scope, ask);
	opened_decided(h->o, token, (uint8_t)v, rule, scope, ask);
}

static bool allowed_once(const struct handed *h, const struct net_facts *f, const struct rules_verdict *v)
{
	for (unsigned i = 0; i < h->nonce; i++) {
		const struct once *x = &h->once[i];

		if (strcmp(x->method, f->method) == 0 && strcmp(x->rule, v->rule) == 0 && (!x->path || strcmp(x->path, f->path) == 0))
			return true;
	}
	return false;
}

static void allow_once(struct handed *h, const struct net_facts *f, const struct rules_verdict *v)
{
	const bool by_path = v->by && v->by->path[0];
	struct once *x = &h->once[h->nonce];

	if (h->nonce == ONCE_MAX || allowed_once(h, f, v))
		return;
	if (by_path && !(x->path = str_dup(f->path)))
		return;
	str_copy(x->method, sizeof(x->method), f->method);
	str_copy(x->rule, sizeof(x->rule), v->rule);
	h->nonce++;
}

static void decide(void *arg, uint64_t token, const struct net_facts *f);

static void answered(struct handed *h, uint64_t token, const struct net_facts *f, bool allow, enum net_ask_end end, uint32_t ask)
{
	struct rules_verdict v;

	rules_decide(h->c->net->rules, f, &v);
	if (allow && v.verdict == NET_DENY) {
		settle(h, token, f, NET_DENY, v.rule, rule_scope_name[v.scope], 0);
		return;
	}
	if (allow && v.verdict == NET_ASKED)
		allow_once(h, f, &v);
	settle(h, token, f, allow ? NET_ALLOW : NET_DENY, end == NET_ASK_ANSWERED ? "answered" : "nobody answered in time", rule_scope_name[RULE_PERSON], ask);
}

static void on_answer(void *arg, bool allow, enum net_ask_end end, uint32_t ask)
{
	struct pending *p = arg;
	struct handed *h = p->h;
	const struct net_facts f = p->facts;
	const uint64_t token = p->token;

	drop(h, p);
	if (end == NET_ASK_RULED)
		decide(h, token, &f);
	else
		answered(h, token, &f, allow, end, ask);
}

static void decide(void *arg, uint64_t token, const struct net_facts *f)
{
	struct handed *h = arg;
	struct conn *c = h->c;
	struct rules_verdict v;
	struct pending *p;
	uint32_t ask;
	bool allow;

	if (h->deny) { /* recorded when the connection was */
		opened_decided(h->o, token, NET_DENY, c->rule, c->scope, c->ask);
		return;
	}
	if (net_waits(c->net)) {
		if (!(p = add(h, token))) {
			opened_decided(h->o, token, NET_DENY, "out of memory", rule_scope_name[RULE_BUILTIN], 0);
		} else {
			p->facts = *f;
			p->braked = true;
		}
		return;
	}
	rules_decide(c->net->rules, f, &v);
	const char *scope = rule_scope_name[v.scope];
	if (v.verdict == NET_ASKED && allowed_once(h, f, &v)) {
		settle(h, token, f, NET_ALLOW, "answered", rule_scope_name[RULE_PERSON], c->ask);
		return;
	}
	if (v.verdict != NET_ASKED) {
		settle(h, token, f, v.verdict, v.rule, scope, 0);
		return;
	}
	record_decision(h, f, NET_ASKED, v.rule, scope, 0);
	if (question_granted(c->net, f, &v, &allow, &ask)) {
		answered(h, token, f, allow, NET_ASK_ANSWERED, ask);
	} else if (!(p = add(h, token))) {
		settle(h, token, f, NET_DENY, "out of memory", rule_scope_name[RULE_BUILTIN], 0);
	} else {
		p->facts = *f;
		p->waiter.fn = on_answer;
		p->waiter.arg = p;
		if (waiter_join(c->net, &p->waiter, &p->facts, &c->who, &v) < 0) {
			drop(h, p);
			settle(h, token, f, NET_DENY, "too many questions are open", rule_scope_name[RULE_BUILTIN], 0);
		}
	}
}

static void on_unbraked(void *arg)
{
	struct handed *h = arg;
	struct pending *p;

	for (;;) {
		for (p = h->pending; p && !p->braked; p = p->next)
			;
		if (!p || net_waits(h->c->net))
			return;
		const struct net_facts f = p->facts;
		const uint64_t token = p->token;

		drop(h, p);
		decide(h, token, &f);
	}
}

void handed_unbraked(struct handed *h)
{
	if (!h->later)
		after_set(&h->later, h->c->net->loop, 0, on_unbraked, h);
}

/* ---- the way to the server ----------------------------------------------------------------------------------------------------------------- */

static void on_upstream(void *arg, enum upstream_end end, int fd, const struct net_addr *to, const char *why)
{
	struct pending *p = arg;
	struct handed *h = p->h;
	const uint64_t token = p->token;
	char text[200];

	drop(h, p);
	snprintf(text, sizeof(text), end == UPSTREAM_FORBIDDEN ? "its address is %s" : "%s", why);
	opened_connected(h->o, token, end == UPSTREAM_OK ? fd : -ECONNREFUSED, to, end == UPSTREAM_FORBIDDEN, end == UPSTREAM_OK ? "" : text);
}

static void want_upstream(void *arg, uint64_t token)
{
	struct handed *h = arg;
	struct pending *p = add(h, token);

	if (p && upstream_open(&p->upstream, h->c->net, &h->c->facts, on_upstream, p) == 0)
		return;
	if (p)
		drop(h, p);
	opened_connected(h->o, token, -ENOMEM, &(struct net_addr){ 0 }, false, "out of memory");
}

static bool may_stay(void *arg, const struct net_addr *to)
{
	const struct handed *h = arg;
	char why[160];

	return !upstream_refuses_now(h->c->net, &h->c->facts, to, why);
}

void handed_ruled(struct handed *h)
{
	if (h->o)
		opened_recheck(h->o, may_stay);
}

/* ---- the connection ---------------------------------------------------------------------------------------------------------------------- */

static bool on_record(void *arg, struct net_record *r)
{
	struct handed *h = arg;
	struct conn *c = h->c;

	r->conn = c->id;
	r->who = c->who;
	if (r->event != NET_E_CLOSED && r->verdict == NET_DENY)
		c->net->stats.denied++;
	return record_tell(c->net, r);
}

static void on_end(void *arg, int why, const char *text)
{
	struct handed *h = arg;

	if (why < 0)
		log_limited(&h->c->net->guest_log, 20, LOG_INFO, "%s:%u: %s", h->c->facts.name, h->c->facts.port, text);
	conn_end(h->c);
}

static const struct opened_ops ops = {
	.decide = decide, .undecide = drop_token, .connect = want_upstream, .unconnect = drop_token, .record = on_record, .on_end = on_end,
};

/* The wire's stream has larger buffers than the one that peeked: a new one on the same socket, what was read first. */
static int larger_stream(struct conn *c, struct stream **out)
{
	static const struct stream_ops none = { .on_read = NULL };
	const struct buf *in = stream_in(c->guest);
	const int fd = stream_fd_dup(c->guest);
	struct buf go;
	int r;

	if (fd < 0)
		return fd;
	if ((r = stream_open_take(out, c->net->loop, fd, WIRE_BUFFER, WIRE_BUFFER, &none, NULL)) < 0)
		return r;
	stream_reading(*out, false); /* until the wire has it: nothing is read before */
	buf_init(&go, 64);
	frame_put(&go, NETC_GO, 0, NULL, 0);
	r = stream_write(*out, buf_head(&go), buf_size(&go));
	buf_release(&go);
	if (r == 0 && buf_size(in) > 0)
		r = buf_put(stream_in(*out), buf_head(in), buf_size(in));
	if (r < 0)
		stream_close(out);
	return r;
}

static int hand(struct conn *c, bool deny)
{
	struct handed *h = calloc(1, sizeof(*h));
	struct opened_opts o = { .loop = c->net->loop, .tls = c->facts.proto == NET_P_TLS, .name = c->facts.name, .addr = c->facts.addr, .port = c->facts.port,
				 .sandbox = c->net->config.name, .env = c->net->env, .inject = c->net->inject, .ops = &ops, .arg = h };
	int r = h ? larger_stream(c, &o.guest) : -ENOMEM;

	if (r < 0) {
		free(h);
		return r;
	}
	h->c = c;
	h->deny = deny;
	stream_close(&c->guest);
	c->handed = h;
	c->state = CONN_HANDED;
	if ((r = opened_start(&h->o, &o)) < 0) {
		log_error("a connection cannot be opened: %s", strerror(-r));
		conn_end_soon(c);
	}
	return 0;
}

int handed_open(struct conn *c)
{
	return hand(c, false);
}

int handed_deny(struct conn *c)
{
	return hand(c, true);
}

void handed_count(const struct handed *h, uint64_t *in, uint64_t *out)
{
	if (h->o)
		opened_bytes(h->o, in, out);
}

void handed_close(struct handed **hp)
{
	struct handed *h = *hp;

	if (!h)
		return;
	*hp = NULL;
	after_cancel(&h->later);
	while (h->pending)
		drop(h, h->pending);
	opened_close(&h->o);
	for (unsigned i = 0; i < h->nonce; i++)
		free(h->once[i].path);
	free(h);
}
