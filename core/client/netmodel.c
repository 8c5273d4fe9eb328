/* SPDX-License-Identifier: Apache-2.0 */
/* See netmodel.h. */
#include "core/client/netmodel.h"

#include <stdlib.h>
#include <string.h>

#include "core/client/fields.h"

static const char *const verdict_words[] = { "allow", "deny", "ask" };
_Static_assert(ARRAY_SIZE(verdict_words) == MV_NUM, "a word for every verdict");
static const char *const proto_words[] = { "tcp", "tls", "http", "https" };
_Static_assert(ARRAY_SIZE(proto_words) == MP_NUM, "a word for every protocol");
static const char *const end_words[] = { "answered", "timeout", "withdrawn", "ruled" };
_Static_assert(ARRAY_SIZE(end_words) == MAE_NUM, "a word for every end");

const char *model_verdict_word(enum model_verdict v)
{
	return (unsigned)v < MV_NUM ? verdict_words[v] : "?";
}

const char *model_proto_word(enum model_proto p)
{
	return (unsigned)p < MP_NUM ? proto_words[p] : "?";
}

const char *model_ask_end_word(enum model_ask_end e)
{
	return (unsigned)e < MAE_NUM ? end_words[e] : "?";
}

static void take_reach(struct model_reach *r, const json_t *o)
{
	field_text(o, "sandbox", r->sandbox, sizeof(r->sandbox));
	r->proto = (enum model_proto)field_word(o, "proto", proto_words, MP_NUM, MP_TCP);
	r->port = field_u16(o, "port");
	r->pid = field_u32(o, "pid");
	field_text(o, "name", r->name, sizeof(r->name));
	field_text(o, "address", r->address, sizeof(r->address));
	field_text(o, "method", r->method, sizeof(r->method));
	field_text(o, "path", r->path, sizeof(r->path));
	field_text(o, "comm", r->comm, sizeof(r->comm));
	field_text(o, "cmdline", r->cmdline, sizeof(r->cmdline));
	field_text(o, "container", r->container, sizeof(r->container));
}

/* ---- questions ---------------------------------------------------------------------------------------------------------------- */

static void asks_clear(struct netmodel *n)
{
	while (n->nasks > 0)
		free(n->asks[--n->nasks]);
}

void netmodel_release(struct netmodel *n)
{
	asks_clear(n);
	free(n->asks);
	free(n->decisions);
	memset(n, 0, sizeof(*n));
}

static size_t ask_index(const struct netmodel *n, uint64_t id)
{
	size_t i = 0;

	while (i < n->nasks && n->asks[i]->id != id)
		i++;
	return i;
}

const struct model_ask *netmodel_ask_find(const struct netmodel *n, uint64_t id)
{
	const size_t i = ask_index(n, id);

	return id && i < n->nasks ? n->asks[i] : NULL;
}

size_t netmodel_asks_of(const struct netmodel *n, const char *sandbox)
{
	size_t count = 0;

	for (size_t i = 0; i < n->nasks; i++)
		count += strcmp(n->asks[i]->what.sandbox, sandbox) == 0;
	return count;
}

void netmodel_ask(struct netmodel *n, const json_t *o)
{
	const uint64_t id = field_u64(o, "id");
	size_t at = ask_index(n, id);
	struct model_ask *q = at < n->nasks ? n->asks[at] : NULL;

	if (!id || (!q && n->nasks >= MODEL_ASKS_MAX))
		return;
	if (!q) {
		struct model_ask **grown = realloc(n->asks, (n->nasks + 1) * sizeof(struct model_ask *));

		if (!grown)
			return;
		n->asks = grown;
		q = calloc(1, sizeof(*q));
		if (!q)
			return;
		q->id = id;
		q->since_ms = field_time_ms(o, "since");
		/* By age: a new question goes behind those that are older, so that the one being read stays where it is. */
		for (at = n->nasks; at > 0 && n->asks[at - 1]->since_ms > q->since_ms; at--)
			;
		memmove(n->asks + at + 1, n->asks + at, (n->nasks - at) * sizeof(*n->asks));
		n->asks[at] = q;
		n->nasks++;
	}
	q->count = field_u32(o, "count");
	q->until_ms = field_time_ms(o, "until");
	take_reach(&q->what, o);
}

static void ask_drop(struct netmodel *n, size_t at)
{
	free(n->asks[at]);
	n->nasks--;
	memmove(n->asks + at, n->asks + at + 1, (n->nasks - at) * sizeof(*n->asks));
}

void netmodel_ask_gone(struct netmodel *n, const json_t *ev)
{
	const size_t at = ask_index(n, field_u64(ev, "id"));
	struct model_ask_gone *g = &n->gone;

	if (at == n->nasks)
		return;
	g->n++;
	g->ask = *n->asks[at];
	g->end = (enum model_ask_end)field_word(ev, "end", end_words, MAE_NUM, MAE_WITHDRAWN);
	g->verdict = (enum model_verdict)field_word(ev, "verdict", verdict_words, MV_NUM, MV_DENY);
	field_text(ev, "by", g->by, sizeof(g->by));
	ask_drop(n, at);
}

/* ---- ports ---------------------------------------------------------------------------------------------------------------------- */

void netmodel_ports(struct netmodel *n, const json_t *list)
{
	n->nports = 0;
	for (size_t i = 0; i < json_array_size(list) && n->nports < MODEL_PORTS_MAX; i++) {
		const json_t *o = json_array_get(list, i);
		struct model_port *p = &n->ports[n->nports];

		p->id = field_u64(o, "id");
		field_text(o, "sandbox", p->sandbox, sizeof(p->sandbox));
		field_text(o, "host_address", p->host_address, sizeof(p->host_address));
		p->host_port = field_u16(o, "host_port");
		p->guest_port = field_u16(o, "guest_port");
		n->nports += p->id != 0;
	}
}

/* ---- decisions -------------------------------------------------------------------------------------------------------------------- */

size_t netmodel_count(const struct netmodel *n)
{
	return n->rows < MODEL_DECISIONS_MAX ? (size_t)n->rows : MODEL_DECISIONS_MAX;
}

const struct model_decision *netmodel_row(const struct netmodel *n, uint64_t row)
{
	if (row == 0 || row > n->rows || n->rows - row >= MODEL_DECISIONS_MAX)
		return NULL;
	return &n->decisions[row % MODEL_DECISIONS_MAX];
}

const struct model_decision *netmodel_newest(const struct netmodel *n, size_t k)
{
	return k < netmodel_count(n) ? netmodel_row(n, n->rows - k) : NULL;
}

enum event { E_DECIDED, E_CLOSED, E_INJECTED, E_ALARM, E_NUM };
static const char *const event_words[] = { "decided", "closed", "injected", "alarm" };
_Static_assert(ARRAY_SIZE(event_words) == E_NUM, "a word for every event");

/* The row that an event goes on with: the newest of its connection that is open, and of its request when it is told. NULL: it begins one. */
static struct model_decision *row_of(struct netmodel *n, enum event ev, uint64_t conn, const struct model_reach *w)
{
	const size_t count = netmodel_count(n);

	if (!conn || ev == E_ALARM)
		return NULL;
	for (size_t k = 0; k < count; k++) {
		struct model_decision *d = &n->decisions[(n->rows - k) % MODEL_DECISIONS_MAX];

		if (d->conn != conn || d->closed || d->alarm || strcmp(d->what.sandbox, w->sandbox) != 0 || d->what.port != w->port ||
		    strcmp(d->what.name, w->name) != 0)
			continue;
		if (w->method[0] && d->what.method[0] && (strcmp(d->what.method, w->method) != 0 || strcmp(d->what.path, w->path) != 0))
			continue;
		if (ev == E_DECIDED && d->verdict != MV_ASK)
			return NULL; /* another request of the same connection */
		return d;
	}
	return NULL;
}

static bool had_rows(const struct netmodel *n, uint64_t conn, const char *sandbox)
{
	const size_t count = netmodel_count(n);

	for (size_t k = 0; conn && k < count; k++) {
		const struct model_decision *d = netmodel_newest(n, k);

		if (d->conn == conn && strcmp(d->what.sandbox, sandbox) == 0)
			return true;
	}
	return false;
}

static struct model_decision *row_add(struct netmodel *n)
{
	if (!n->decisions)
		n->decisions = calloc(MODEL_DECISIONS_MAX, sizeof(*n->decisions));
	if (!n->decisions)
		return NULL;
	const uint64_t row = ++n->rows;
	struct model_decision *d = &n->decisions[row % MODEL_DECISIONS_MAX];
	memset(d, 0, sizeof(*d));
	d->row = row;
	return d;
}

void netmodel_decision(struct netmodel *n, const json_t *o)
{
	const uint64_t conn = field_u64(o, "conn"), seq = field_u64(o, "seq");
	const enum event ev = (enum event)field_word(o, "event", event_words, E_NUM, E_NUM);
	struct model_reach what;

	if (ev == E_NUM || (seq && seq <= n->last_seq))
		return;
	if (seq)
		n->last_seq = seq;
	if (field_u64(o, "repeats")) /* of rows that are there */
		return;
	memset(&what, 0, sizeof(what));
	take_reach(&what, o);
	struct model_decision *d = row_of(n, ev, conn, &what);
	const bool fresh = !d;
	/* The end of a connection whose requests have their own rows says nothing new. */
	if (fresh && ev == E_CLOSED && had_rows(n, conn, what.sandbox))
		return;
	if (fresh && !(d = row_add(n)))
		return;
	if (fresh) {
		d->at_ms = field_time_ms(o, "at");
		d->conn = conn;
		d->what = what;
	} else if (what.method[0] && !d->what.method[0]) { /* known since TLS was opened */
		d->what.proto = what.proto;
		memcpy(d->what.method, what.method, sizeof(what.method));
		memcpy(d->what.path, what.path, sizeof(what.path));
	}
	if (ev == E_DECIDED || fresh) {
		d->verdict = (enum model_verdict)field_word(o, "verdict", verdict_words, MV_NUM, MV_DENY);
		d->asked = d->asked || d->verdict == MV_ASK;
		field_text(o, "rule", d->rule, sizeof(d->rule));
		field_text(o, "scope", d->scope, sizeof(d->scope));
	}
	if (field_u64(o, "status"))
		d->status = field_u32(o, "status");
	if (json_string_length(json_object_get(o, "to")))
		field_text(o, "to", d->to, sizeof(d->to));
	if (ev == E_INJECTED || ev == E_ALARM)
		field_text(o, "service", d->service, sizeof(d->service));
	d->injected = d->injected || ev == E_INJECTED;
	d->alarm = ev == E_ALARM;
	if (ev == E_CLOSED || fresh) {
		d->in = field_u64(o, "in");
		d->out = field_u64(o, "out");
		d->ms = field_u64(o, "ms");
	}
	d->closed = d->closed || ev == E_CLOSED;
}

void netmodel_log(struct netmodel *n, const json_t *result)
{
	const json_t *list = json_object_get(result, "decisions");

	n->rows = n->last_seq = 0;
	for (size_t i = 0; i < json_array_size(list); i++)
		netmodel_decision(n, json_array_get(list, i));
}

/* ---- all of it ------------------------------------------------------------------------------------------------------------------------ */

void netmodel_state(struct netmodel *n, const json_t *result)
{
	const json_t *asks = json_object_get(result, "asks"), *ports = json_object_get(result, "ports");

	if (json_is_array(asks)) {
		asks_clear(n);
		for (size_t i = 0; i < json_array_size(asks); i++)
			netmodel_ask(n, json_array_get(asks, i));
	}
	if (json_is_array(ports))
		netmodel_ports(n, ports);
}

void netmodel_forget(struct netmodel *n, const char *sandbox)
{
	size_t kept = 0;

	for (size_t i = n->nasks; i-- > 0;)
		if (strcmp(n->asks[i]->what.sandbox, sandbox) == 0)
			ask_drop(n, i);
	for (size_t i = 0; i < n->nports; i++)
		if (strcmp(n->ports[i].sandbox, sandbox) != 0)
			n->ports[kept++] = n->ports[i];
	n->nports = kept;
}
