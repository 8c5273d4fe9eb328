/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/fold.h"

#include <stdlib.h>
#include <string.h>

enum kind { LET_OUT, CREDENTIALS, REFUSED, KINDS };
static const unsigned most[KINDS] = { [LET_OUT] = 128, [CREDENTIALS] = 64, [REFUSED] = 32 };

struct entry {
	struct entry *next;
	uint64_t count; /* beside the one that was written */
	struct net_record r;
};

struct bucket {
	uint64_t at_ms;
	unsigned tokens;
};

struct fold {
	struct bucket all, credentials;
	struct entry *first[KINDS];
	unsigned n[KINDS];
	uint64_t since_ms;  /* of the window */
	bool counting;
};

struct fold *fold_create(uint64_t now_ms)
{
	struct fold *f = calloc(1, sizeof(*f));

	if (f)
		f->all = f->credentials = (struct bucket){ .at_ms = now_ms, .tokens = FOLD_BURST };
	return f;
}

static void forget(struct fold *f)
{
	for (unsigned k = 0; k < KINDS; k++) {
		while (f->first[k]) {
			struct entry *x = f->first[k];

			f->first[k] = x->next;
			free(x);
		}
		f->n[k] = 0;
	}
	f->counting = false;
}

void fold_destroy(struct fold *f)
{
	if (f)
		forget(f);
	free(f);
}

static void fill(struct bucket *b, uint64_t now_ms)
{
	const uint64_t step = 1000 / FOLD_A_SECOND, gained = now_ms > b->at_ms ? (now_ms - b->at_ms) / step : 0;

	b->at_ms += gained * step;
	b->tokens = gained > FOLD_BURST - b->tokens ? FOLD_BURST : b->tokens + (unsigned)gained;
}

static enum kind kind_of(const struct net_record *r)
{
	if (r->event == NET_E_ALARM || r->event == NET_E_INJECTED)
		return CREDENTIALS;
	return r->verdict == NET_ALLOW ? LET_OUT : REFUSED;
}

static bool alike(const struct net_record *a, const struct net_record *b)
{
	return a->event == b->event && a->verdict == b->verdict && a->facts.proto == b->facts.proto && a->facts.port == b->facts.port &&
	       !strcmp(a->facts.name, b->facts.name) && a->facts.has_addr == b->facts.has_addr &&
	       (!a->facts.has_addr || !memcmp(&a->facts.addr, &b->facts.addr, sizeof(a->facts.addr))) && !strcmp(a->facts.method, b->facts.method) &&
	       !strcmp(a->rule, b->rule) && !strcmp(a->scope, b->scope) && !strcmp(a->service, b->service);
}

static void count(struct entry *x, const struct net_record *r)
{
	x->count++;
	x->r.in += r->in;
	x->r.out += r->out;
	x->r.ms = r->ms > x->r.ms ? r->ms : x->r.ms;
}

/* An entry for what is like *r, counting from nothing. */
static struct entry *enter(struct fold *f, enum kind k, const struct net_record *r)
{
	struct entry *x = calloc(1, sizeof(*x)), **at = &f->first[k];

	if (!x)
		return NULL;
	x->r = *r;
	x->r.in = x->r.out = x->r.ms = x->r.conn = x->r.number = x->r.ask = 0;
	memset(&x->r.who, 0, sizeof(x->r.who));
	memset(x->r.facts.path, 0, sizeof(x->r.facts.path));
	while (*at) /* in the order they came */
		at = &(*at)->next;
	*at = x;
	f->n[k]++;
	return x;
}

/* All that found no entry of its own: what happened is told, not to whom. */
static void other(struct fold *f, enum kind k, const struct net_record *r)
{
	struct net_record any = { .event = r->event, .verdict = r->verdict, .rule = "more than are told apart" };
	struct entry *x = f->first[k];

	while (x && !alike(&x->r, &any))
		x = x->next;
	if (x || (x = enter(f, k, &any)))
		count(x, r);
}

bool fold_take(struct fold *f, const struct net_record *r, uint64_t now_ms)
{
	const enum kind k = kind_of(r);
	struct bucket *b = k == CREDENTIALS ? &f->credentials : &f->all;
	struct entry *x = f->first[k];

	fill(b, now_ms);
	if (b->tokens > 0) {
		b->tokens--;
		return true;
	}
	if (!f->counting)
		f->since_ms = now_ms;
	f->counting = true;
	while (x && !alike(&x->r, r))
		x = x->next;
	if (x) {
		count(x, r);
		return false;
	}
	if (f->n[k] < most[k] && enter(f, k, r))
		return true;
	other(f, k, r);
	return false;
}

bool fold_flush(struct fold *f, uint64_t now_ms, bool now, void (*fn)(void *arg, const struct net_record *r, uint64_t count), void *arg)
{
	bool any = false;

	if (!f->counting || (!now && now_ms - f->since_ms < FOLD_WINDOW_MS))
		return false;
	for (unsigned k = 0; k < KINDS; k++)
		for (const struct entry *x = f->first[k]; x; x = x->next)
			if (x->count > 0) {
				any = true;
				fn(arg, &x->r, x->count);
			}
	forget(f);
	return any;
}

bool fold_counts(const struct fold *f)
{
	return f->counting;
}

bool fold_idle(struct fold *f, uint64_t now_ms)
{
	fill(&f->all, now_ms);
	fill(&f->credentials, now_ms);
	return !f->counting && f->all.tokens == FOLD_BURST && f->credentials.tokens == FOLD_BURST;
}
