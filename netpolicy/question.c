/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections and requests that wait for a person, joined: one question a {protocol, name or address, port, method, rule that asks, and the
 * path where that rule looks at one}. An answer never lets more through than it showed.
 *
 * Clients give up after some seconds (a TLS handshake of many: 10) and come again; people take longer. So a question whose last waiter has
 * left stays, with a count of 0, until its time is over: who comes again joins it. An answer that finds nobody holds for the next that asks
 * the same within GRANT_MS.
 */
#include "netpolicy/net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/str.h"
#include "core/loop/after.h"

#define QUESTIONS_MAX 200u /* the supervisor takes 256 */
#define GRANTS_MAX 64u
#define GRANT_MS 60000u
#define TELL_MS 250u

struct key {
	struct net_facts facts;
	char rule[160];
	bool by_path;
};

struct question {
	struct question *next;
	struct net *net;
	struct key key;
	struct net_ask m;
	struct waiter *first;
	struct after *timeout, *tell;
	bool told_count;
	bool ending; /* in nobody's list any more: its waiters are being told */
};

/* An answer without a waiter. */
struct grant {
	struct grant *next;
	struct key key;
	uint64_t until_ms;
	uint32_t ask;
	bool allow;
};

/* ---- what is the same ---------------------------------------------------------------------------------------------------------------- */

static void key_of(struct key *k, const struct net_facts *f, const struct rules_verdict *v)
{
	k->facts = *f;
	str_copy(k->rule, sizeof(k->rule), v->rule);
	k->by_path = v->by && v->by->path[0];
}

static bool same(const struct key *k, const struct net_facts *b, const struct rules_verdict *v)
{
	const struct net_facts *a = &k->facts;

	return a->proto == b->proto && a->port == b->port && strcmp(a->name, b->name) == 0 && a->has_addr == b->has_addr &&
	       (!a->has_addr || memcmp(&a->addr, &b->addr, sizeof(a->addr)) == 0) && strcmp(a->method, b->method) == 0 && strcmp(k->rule, v->rule) == 0 &&
	       (!k->by_path || strcmp(a->path, b->path) == 0);
}

/* ---- to the supervisor ------------------------------------------------------------------------------------------------------------------ */

static int pack_ask(struct buf *b, const void *m) { return net_ask_pack(b, m); }

static int pack_gone(struct buf *b, const void *m)
{
	const struct { uint32_t id; uint8_t end; } *g = m;

	buf_u32(b, g->id);
	return buf_u8(b, g->end);
}

static void tell(void *arg)
{
	struct question *q = arg;

	if (!q->told_count)
		net_tell(q->net, NET_ASK, pack_ask, &q->m);
	if (!q->told_count)
		after_set(&q->tell, q->net->loop, TELL_MS, tell, q);
	q->told_count = true;
}

static void count_changed(struct question *q)
{
	q->told_count = false;
	if (!q->tell)
		tell(q);
}

/* ---- ends -------------------------------------------------------------------------------------------------------------------------------- */

static void put_waiter(struct question *q, struct waiter *x)
{
	x->q = q;
	x->next = q->first;
	x->prev = &q->first;
	if (x->next)
		x->next->prev = &x->next;
	q->first = x;
}

static void take_waiter(struct waiter *x)
{
	*x->prev = x->next;
	if (x->next)
		x->next->prev = x->prev;
	x->q = NULL;
}

/* They hear; meanwhile any of them may leave, or join another question. q is in no list. */
static void tell_waiters(struct question *q, bool allow, enum net_ask_end how)
{
	struct net *n = q->net;

	q->ending = true;
	while (q->first) {
		struct waiter *w = q->first;

		take_waiter(w);
		n->stats.held--;
		w->fn(w->arg, allow, how, q->m.id);
	}
	net_counted(n);
}

static void end(struct question *q, bool allow, enum net_ask_end how)
{
	struct net *n = q->net;
	const struct { uint32_t id; uint8_t end; } gone = { q->m.id, (uint8_t)how };
	struct question **p = &n->questions;

	while (*p != q)
		p = &(*p)->next;
	*p = q->next;
	after_cancel(&q->timeout);
	after_cancel(&q->tell);
	net_tell(n, NET_ASK_GONE, pack_gone, &gone);
	tell_waiters(q, allow, how);
	free(q);
}

static void on_timeout(void *arg)
{
	end(arg, false, NET_ASK_TIMED_OUT);
}

/* ---- grants ------------------------------------------------------------------------------------------------------------------------------ */

static void grant(struct net *n, const struct question *q, bool allow)
{
	struct grant *g = calloc(1, sizeof(*g)), **p = &n->grants;
	unsigned count = 0;

	if (!g)
		return;
	*g = (struct grant){ .next = n->grants, .key = q->key, .until_ms = clock_ms() + GRANT_MS, .ask = q->m.id, .allow = allow };
	n->grants = g;
	while (*p && count < GRANTS_MAX) {
		p = &(*p)->next;
		count++;
	}
	if ((g = *p)) { /* the oldest */
		*p = NULL;
		free(g);
	}
}

bool question_granted(struct net *n, const struct net_facts *f, const struct rules_verdict *v, bool *allow, uint32_t *ask)
{
	const uint64_t now = clock_ms();
	struct grant **p = &n->grants;

	while (*p) {
		struct grant *g = *p;
		const bool this = g->until_ms > now && same(&g->key, f, v);

		if (!this && g->until_ms > now) {
			p = &g->next;
			continue;
		}
		*allow = g->allow;
		*ask = g->ask;
		*p = g->next;
		free(g);
		if (this)
			return true;
	}
	return false;
}

static void grants_forget(struct net *n)
{
	while (n->grants) {
		struct grant *g = n->grants;

		n->grants = g->next;
		free(g);
	}
}

/* ---- waiting ----------------------------------------------------------------------------------------------------------------------------- */

/* Room for one more: of those that nobody waits for the oldest goes. */
static bool make_room(struct net *n)
{
	struct question *left = NULL;
	unsigned count = 0;

	for (struct question *q = n->questions; q; q = q->next) {
		count++;
		if (!left && !q->first)
			left = q;
	}
	if (count >= QUESTIONS_MAX && left)
		end(left, false, NET_ASK_WITHDRAWN);
	return count < QUESTIONS_MAX || left;
}

static void lasts(struct question *q)
{
	q->m.until_ms = clock_wall_ns() / 1000000 + q->net->config.ask_ms;
	after_set(&q->timeout, q->net->loop, q->net->config.ask_ms, on_timeout, q);
}

static struct question *create(struct net *n, const struct net_facts *f, const struct net_who *w, const struct rules_verdict *v)
{
	struct question *q, **last = &n->questions;

	if (!make_room(n) || !(q = calloc(1, sizeof(*q))))
		return NULL;
	q->net = n;
	key_of(&q->key, f, v);
	q->m = (struct net_ask){ .id = ++n->next_question, .facts = *f, .who = *w, .since_ms = clock_wall_ns() / 1000000 };
	while (*last)
		last = &(*last)->next;
	*last = q;
	return q;
}

int waiter_join(struct net *n, struct waiter *x, const struct net_facts *f, const struct net_who *w, const struct rules_verdict *v)
{
	struct question *q = n->questions;

	while (q && !same(&q->key, f, v))
		q = q->next;
	if (!q && !(q = create(n, f, w, v)))
		return -EDQUOT;
	if (!q->first)
		lasts(q); /* whoever comes again is held as long as the first was */
	x->facts = f;
	put_waiter(q, x);
	q->m.count++;
	n->stats.held++;
	net_counted(n);
	count_changed(q);
	return 0;
}

void waiter_leave(struct waiter *w)
{
	struct question *q = w->q;

	if (!q)
		return;
	take_waiter(w);
	q->net->stats.held--;
	net_counted(q->net);
	if (q->ending)
		return;
	q->m.count--;
	count_changed(q);
}

void question_answer(struct net *n, const struct net_answer *a)
{
	struct question *q = n->questions;

	while (q && q->m.id != a->id)
		q = q->next;
	if (!q)
		return;
	if (!q->first)
		grant(n, q, a->verdict == NET_ALLOW);
	end(q, a->verdict == NET_ALLOW, NET_ASK_ANSWERED);
}

/* Still asked about by the same rule. */
static bool still_asked(const struct net *n, const struct question *q, const struct net_facts *f)
{
	struct rules_verdict v;

	rules_decide(n->rules, f, &v);
	return v.verdict == NET_ASKED && same(&q->key, f, &v);
}

/* Each waiter by its own facts: those that are decided now (or asked about by another rule) go out of it, and decide again. */
static void ruled(struct net *n, struct question *q)
{
	struct question out = { .net = n, .m.id = q->m.id };
	struct waiter *next;

	for (struct waiter *w = q->first; w; w = next) {
		next = w->next;
		if (still_asked(n, q, w->facts))
			continue;
		take_waiter(w);
		put_waiter(&out, w);
		q->m.count--;
	}
	if (!q->first && !still_asked(n, q, &q->key.facts))
		end(q, false, NET_ASK_RULED);
	else if (out.first)
		count_changed(q);
	tell_waiters(&out, false, NET_ASK_RULED);
}

void questions_ruled(struct net *n)
{
	const uint32_t last = n->next_question; /* new ones are decided by these very rules */
	struct question *q;

	grants_forget(n); /* an answer that is a rule now is one no longer when that is taken back */
	for (uint32_t id = 0; id < last;) {
		for (q = n->questions; q && q->m.id <= id; q = q->next)
			;
		if (!q || q->m.id > last)
			return;
		id = q->m.id;
		ruled(n, q);
	}
}

void questions_tell(struct net *n)
{
	for (struct question *q = n->questions; q; q = q->next)
		net_tell(n, NET_ASK, pack_ask, &q->m);
}

void questions_end(struct net *n)
{
	while (n->questions)
		end(n->questions, false, NET_ASK_WITHDRAWN);
	grants_forget(n);
}
