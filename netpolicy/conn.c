/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection of the guest.
 *
 *   OPENED -> PEEK -> (decide) -> ASKING -> (decide) -> CONNECT -> RELAY -> gone
 *                        |                     |
 *                        +-- BRAKED: until the supervisor keeps up with records again; then (decide)
 *                        +-- HANDED: TLS to be opened, HTTP in clear, and refusals in words (handed.c)
 *                        +-- RESET: the guest resets its client
 *
 * What the guest says (NETC_OPEN) is a claim: the name must be the one in the ClientHello. The bytes read while peeking stay in the stream's
 * buffer and go to the server first. While a person is asked nothing more is read than that buffer holds.
 */
#include "netpolicy/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/loop/after.h"
#include "core/loop/seq.h"
#include "netpolicy/handed.h"
#include "netpolicy/http1.h"
#include "netpolicy/sni.h"

#define GUEST_IN_MAX (SNI_PEEK_MAX + NETCONN_FRAME_MAX + FRAME_HEAD)
#define GUEST_OUT_MAX 4096u

/* ---- records ------------------------------------------------------------------------------------------------------------------------ */

bool conn_record(struct conn *c, enum net_event event, enum net_verdict verdict, const char *rule, const char *scope)
{
	struct net_record r = { .event = (uint8_t)event, .verdict = (uint8_t)verdict, .conn = c->id, .ask = c->ask, .facts = c->facts, .who = c->who,
				.to = c->to, .in = c->in, .out = c->out, .ms = clock_ms() - c->begun_ms };

	str_copy(r.rule, sizeof(r.rule), rule);
	str_copy(r.scope, sizeof(r.scope), scope);
	const bool kept = record_tell(c->net, &r);
	if (event == NET_E_DECIDED && verdict == NET_DENY)
		c->net->stats.denied++;
	net_counted(c->net);
	return kept;
}

/* ---- the end -------------------------------------------------------------------------------------------------------------------------- */

static void count(struct conn *c)
{
	if (c->relay)
		relay_counts(c->relay, &c->in, &c->out);
	if (c->handed)
		handed_count(c->handed, &c->in, &c->out);
}

void conn_end(struct conn *c)
{
	struct net *n = c->net;

	count(c);
	n->stats.in += c->in;
	n->stats.out += c->out;
	n->stats.open--;
	if (c->allowed)
		conn_record(c, NET_E_CLOSED, NET_ALLOW, c->rule, c->scope);
	net_counted(n);
	after_cancel(&c->timer);
	waiter_leave(&c->waiter);
	upstream_close(&c->upstream);
	relay_close(&c->relay);
	handed_close(&c->handed);
	stream_close(&c->guest);
	if (c->prev)
		c->prev->next = c->next;
	else
		n->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	free(c);
}

static void on_late(void *arg)
{
	conn_end(arg);
}

void conn_end_soon(struct conn *c)
{
	after_set(&c->timer, c->net->loop, 0, on_late, c);
}

/* The guest resets its client; it is given a moment to hear of it. */
static void reset(struct conn *c)
{
	struct buf b;

	c->state = CONN_RESET;
	upstream_close(&c->upstream);
	waiter_leave(&c->waiter);
	buf_init(&b, 64);
	frame_put(&b, NETC_RESET, 0, NULL, 0);
	stream_write(c->guest, buf_head(&b), buf_size(&b));
	buf_release(&b);
	buf_clear(stream_in(c->guest));
	stream_shutdown(c->guest);
	after_set(&c->timer, c->net->loop, 1000, on_late, c);
}

static void say(struct conn *c, const char *rule, const char *scope)
{
	if (rule != c->rule)
		str_copy(c->rule, sizeof(c->rule), rule);
	c->scope = scope;
}

/* Denied: in words where the client understands words. */
static void deny(struct conn *c, const char *rule, const char *scope)
{
	say(c, rule, scope);
	conn_record(c, NET_E_DECIDED, NET_DENY, c->rule, c->scope);
	if (c->facts.proto != NET_P_TLS || !*c->facts.name || handed_deny(c) < 0)
		reset(c);
}

/* ---- the way out ------------------------------------------------------------------------------------------------------------------------ */

static void on_relayed(void *arg, int why)
{
	(void)why;
	conn_end(arg);
}

int conn_guest_fd(struct conn *c)
{
	return stream_fd_dup(c->guest);
}

static void on_upstream(void *arg, enum upstream_end end, int fd, const struct net_addr *to, const char *why)
{
	struct conn *c = arg;
	char reason[200];
	struct buf go;

	if (end == UPSTREAM_FORBIDDEN) {
		snprintf(reason, sizeof(reason), "its address is %s", why);
		c->to = *to;
		deny(c, reason, rule_scope_name[RULE_BUILTIN]);
		return;
	}
	if (end == UPSTREAM_FAILED) {
		snprintf(reason, sizeof(reason), "not reached: %s", why);
		say(c, reason, c->scope);
		c->allowed = true;
		reset(c);
		return;
	}
	c->to = *to;
	if (!conn_record(c, NET_E_DECIDED, NET_ALLOW, c->rule, c->scope)) { /* what is not recorded does not happen */
		close(fd);
		reset(c);
		return;
	}
	c->allowed = true;
	const struct buf *in = stream_in(c->guest);
	const int guest = conn_guest_fd(c);
	buf_init(&go, 64);
	frame_put(&go, NETC_GO, 0, NULL, 0);
	c->state = CONN_RELAY;
	if (guest < 0)
		close(fd);
	const int r = guest < 0 ? guest : relay_open_take(&c->relay, c->net->loop, guest, fd, buf_head(in), buf_size(in), buf_head(&go), buf_size(&go),
							   on_relayed, c);
	buf_release(&go);
	stream_close(&c->guest);
	if (r < 0)
		conn_end(c);
}

static void connect_out(struct conn *c)
{
	c->state = CONN_CONNECT;
	if (upstream_open(&c->upstream, c->net, &c->facts, on_upstream, c) < 0)
		reset(c);
}

/* ---- the decision ------------------------------------------------------------------------------------------------------------------------ */

static void decide(struct conn *c);

static void on_answer(void *arg, bool allow, enum net_ask_end end, uint32_t ask)
{
	struct conn *c = arg;
	struct rules_verdict now;

	c->ask = ask;
	if (end == NET_ASK_RULED) {
		decide(c);
		return;
	}
	rules_decide(c->net->rules, &c->facts, &now);
	if (allow && now.verdict == NET_DENY && !now.needs_open) {
		deny(c, now.rule, rule_scope_name[now.scope]);
	} else if (allow) {
		say(c, "answered", rule_scope_name[RULE_PERSON]);
		c->verdict.verdict = NET_ALLOW;
		if (c->verdict.needs_open && handed_open(c) == 0)
			return;
		connect_out(c);
	} else {
		deny(c, end == NET_ASK_ANSWERED ? "answered" : "nobody answered in time", rule_scope_name[RULE_PERSON]);
	}
}

static void ask(struct conn *c)
{
	bool allow;
	uint32_t id;

	c->state = CONN_ASKING;
	conn_record(c, NET_E_DECIDED, NET_ASKED, c->rule, c->scope);
	if (question_granted(c->net, &c->facts, &c->verdict, &allow, &id))
		on_answer(c, allow, NET_ASK_ANSWERED, id);
	else if (waiter_join(c->net, &c->waiter, &c->facts, &c->who, &c->verdict) < 0)
		deny(c, "too many questions are open", rule_scope_name[RULE_BUILTIN]);
}

static void decide(struct conn *c)
{
	struct net *n = c->net;

	after_cancel(&c->timer);
	if (net_waits(n)) {
		c->state = CONN_BRAKED;
		return;
	}
	rules_decide(n->rules, &c->facts, &c->verdict);
	say(c, c->verdict.rule, rule_scope_name[c->verdict.scope]);
	const bool looks = c->verdict.needs_open;
	c->verdict.needs_open |= handed_wants(c);
	/* Rules of methods and paths decide request by request: whatever the verdict is now, it is not final. */
	if (c->facts.proto == NET_P_TLS && (looks || (c->verdict.needs_open && c->verdict.verdict != NET_DENY))) {
		if (handed_open(c) == 0)
			return;
		if (looks) {
			deny(c, "a rule looks at its requests, and it cannot be opened", rule_scope_name[RULE_BUILTIN]);
			return;
		}
	}
	switch (c->verdict.verdict) {
	case NET_ALLOW:
		connect_out(c);
		break;
	case NET_ASKED:
		ask(c);
		break;
	default:
		deny(c, c->rule, c->scope);
		break;
	}
}

/* ---- peeking ------------------------------------------------------------------------------------------------------------------------------ */

static void is_tcp(struct conn *c)
{
	c->facts.proto = NET_P_TCP;
	decide(c);
}

static void is_tls(struct conn *c, const struct sni_hello *h)
{
	c->facts.proto = NET_P_TLS;
	if (h->ech)
		deny(c, "its ClientHello is encrypted (ECH)", rule_scope_name[RULE_BUILTIN]);
	else if (*c->facts.name && !*h->name)
		deny(c, "its ClientHello names no host", rule_scope_name[RULE_BUILTIN]);
	else if (*c->facts.name && strcmp(h->name, c->facts.name) != 0)
		deny(c, "its ClientHello names another host", rule_scope_name[RULE_BUILTIN]);
	else
		decide(c);
}

static void is_http(struct conn *c)
{
	c->facts.proto = NET_P_HTTP;
	if (handed_open(c) < 0)
		reset(c);
}

static enum net_verdict verdict_as(const struct conn *c, enum net_proto proto)
{
	struct net_facts f = c->facts;
	struct rules_verdict v;

	if (!c->net->rules)
		return NET_DENY;
	f.proto = (uint8_t)proto;
	rules_decide(c->net->rules, &f, &v);
	return v.verdict;
}

/* Whom a rule or a person may let through as what it is not taken for yet is given time: a busy machine's clients are slow to begin. */
static uint64_t patience_ms(const struct conn *c)
{
	const enum net_verdict v = verdict_as(c, NET_P_TLS);

	return v == NET_ALLOW ? SLOW_MS : v == NET_ASKED ? SLOWER_MS : PEEK_MS;
}

static void on_silent(void *arg)
{
	struct conn *c = arg;
	const size_t n = buf_size(stream_in(c->guest));

	if (n == 0 && !c->patient && verdict_as(c, NET_P_TCP) != NET_ALLOW) {
		c->patient = true;
		after_set(&c->timer, c->net->loop, patience_ms(c), on_silent, c);
		return;
	}
	if (n == 0)
		is_tcp(c);
	else if (buf_head(stream_in(c->guest))[0] == 0x16)
		deny(c, "its ClientHello did not come in time", rule_scope_name[RULE_BUILTIN]);
	else
		is_tcp(c);
}

static void peek(struct conn *c)
{
	const struct buf *in = stream_in(c->guest);
	const uint8_t *p = buf_head(in);
	const size_t n = buf_size(in);
	struct sni_hello hello;

	if (n == 0) {
		after_set(&c->timer, c->net->loop, SILENT_MS, on_silent, c);
		return;
	}
	const int r = sni_parse(p, n, &hello);
	const int http = r == -EPROTO ? http1_looks(p, n) : 0;
	if (r == -EAGAIN || (http == 1 && n < 16 && !memchr(p, ' ', n))) {
		if (c->state != CONN_PEEK_MORE)
			after_set(&c->timer, c->net->loop, PEEK_MS, on_silent, c);
		c->state = CONN_PEEK_MORE;
		return;
	}
	after_cancel(&c->timer);
	if (r == 0)
		is_tls(c, &hello);
	else if (r == -EBADMSG)
		deny(c, "its ClientHello is not one", rule_scope_name[RULE_BUILTIN]);
	else if (http == 1)
		is_http(c);
	else if (http == 2)
		deny(c, "HTTP/2 without TLS", rule_scope_name[RULE_BUILTIN]);
	else
		is_tcp(c);
}

static void describe(struct conn *c, const struct netconn_open *m)
{
	c->facts.port = m->port;
	str_copy(c->facts.name, sizeof(c->facts.name), m->name);
	c->facts.has_addr = !*m->name;
	c->facts.addr = m->dst;
	c->who.pid = m->pid;
	c->who.uid = m->uid;
	scrub(c->who.comm, sizeof(c->who.comm), m->comm, strlen(m->comm), false);
	scrub(c->who.cmdline, sizeof(c->who.cmdline), m->cmdline, strlen(m->cmdline), false);
	scrub(c->who.container, sizeof(c->who.container), m->container, strlen(m->container), false);
}

static void on_open(struct conn *c, struct buf *in)
{
	struct netconn_open m;
	struct frame f;
	struct rbuf r;
	size_t used;
	const int rc = frame_parse(buf_head(in), buf_size(in), NETCONN_FRAME_MAX, &f, &used);

	if (rc == -EAGAIN && !stream_cut(c->guest))
		return;
	if (rc == 0)
		rbuf_init(&r, f.payload, f.len);
	if (rc < 0 || f.type != NETC_OPEN || netconn_open_unpack(&r, &m) < 0) {
		log_limited(&c->net->guest_log, 20, LOG_WARN, "the guest opened a connection that is none");
		conn_end(c);
		return;
	}
	describe(c, &m);
	buf_consume(in, used);
	c->state = CONN_PEEK;
	peek(c);
}

static void on_read(void *arg, struct buf *in)
{
	struct conn *c = arg;

	if (c->state == CONN_OPENED)
		on_open(c, in);
	else if (c->state == CONN_PEEK || c->state == CONN_PEEK_MORE)
		peek(c);
	else if (c->state == CONN_RESET)
		buf_clear(in);
	else if (stream_cut(c->guest) && c->facts.proto != NET_P_TCP)
		conn_end(c); /* a TLS client that is gone while it waits */
}

static void on_eof(void *arg)
{
	struct conn *c = arg;

	/* A client of a protocol of its own may have said all it has to say; others are gone. */
	if (c->state == CONN_PEEK)
		is_tcp(c);
	else if (c->state != CONN_ASKING && c->state != CONN_CONNECT && c->state != CONN_BRAKED)
		conn_end(c);
}

static void on_closed(void *arg, int why)
{
	(void)why;
	conn_end(arg);
}

static const struct stream_ops guest_ops = { .on_read = on_read, .on_eof = on_eof, .on_closed = on_closed };

void conn_accept_take(struct net *n, int fd)
{
	struct conn *c;

	if (n->stats.open >= CONNS_MAX || !(c = calloc(1, sizeof(*c)))) {
		close(fd);
		return;
	}
	c->net = n;
	c->id = ++n->next_conn;
	c->begun_ms = clock_ms();
	c->waiter.fn = on_answer;
	c->waiter.arg = c;
	c->scope = rule_scope_name[RULE_BUILTIN];
	if (stream_open_take(&c->guest, n->loop, fd, GUEST_IN_MAX, GUEST_OUT_MAX, &guest_ops, c) < 0) {
		free(c);
		return;
	}
	c->next = n->conns;
	if (c->next)
		c->next->prev = c;
	n->conns = c;
	n->stats.open++;
	n->stats.conns++;
	net_counted(n);
	after_set(&c->timer, n->loop, PEEK_MS, on_late, c);
}

void conns_ruled(struct net *n)
{
	struct conn *next;

	questions_ruled(n);
	for (struct conn *c = n->conns; c; c = next) {
		struct rules_verdict v;
		char why[160], rule[200];

		next = c->next;
		if (c->state != CONN_RELAY && c->state != CONN_HANDED)
			continue;
		rules_decide(n->rules, &c->facts, &v);
		if (v.verdict == NET_DENY && !v.needs_open) {
			conn_record(c, NET_E_DECIDED, NET_DENY, v.rule, rule_scope_name[v.scope]);
			conn_end(c);
		} else if (c->state == CONN_HANDED) {
			handed_ruled(c->handed);
		} else if (upstream_refuses_now(n, &c->facts, &c->to, why)) {
			snprintf(rule, sizeof(rule), "its address is %s", why);
			conn_record(c, NET_E_DECIDED, NET_DENY, rule, rule_scope_name[RULE_BUILTIN]);
			conn_end(c);
		}
	}
}

static void on_unbraked(void *arg)
{
	decide(arg);
}

void conns_braked(struct net *n)
{
	if (n->dial)
		seq_reading(n->dial, !n->braked);
	for (struct conn *c = net_waits(n) ? NULL : n->conns; c; c = c->next) {
		/* Each on a turn of its own: a decision makes records, and may end it. */
		if (c->state == CONN_BRAKED)
			after_set(&c->timer, n->loop, 0, on_unbraked, c);
		else if (c->state == CONN_HANDED)
			handed_unbraked(c->handed);
	}
}

void conns_end(struct net *n)
{
	while (n->conns)
		conn_end(n->conns);
	questions_end(n);
}
