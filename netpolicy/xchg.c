/* SPDX-License-Identifier: Apache-2.0 */
/* What happens to one request, whatever framing it came in and goes out with: checks, decision, credentials, masks, records, the end. */
#include "netpolicy/xchg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/str.h"

static void facts(const struct xchg *x, struct net_facts *f)
{
	const struct opened *o = x->o;
	size_t k = 0;
	bool value = false, query = false;

	memset(f, 0, sizeof(*f));
	f->proto = o->opts.tls ? NET_P_HTTPS : NET_P_HTTP;
	f->port = o->opts.port;
	f->has_addr = o->opts.name[0] == '\0';
	f->addr = o->opts.addr;
	str_copy(f->name, sizeof(f->name), o->opts.name);
	str_copy(f->method, sizeof(f->method), x->method);
	/* Values of a query may be secrets; its keys tell enough. */
	for (const char *p = x->target ? x->target : ""; *p && k < sizeof(f->path) - 1; p++) {
		if (*p == '?' && !query)
			query = true;
		else if (query && *p == '&')
			value = false;
		else if (value)
			continue;
		f->path[k++] = *p;
		if (query && *p == '=')
			value = true;
	}
	f->path[k] = '\0';
}

static bool record(const struct xchg *x, enum net_event event, uint8_t verdict, const char *rule, const char *scope, const char *service)
{
	struct net_record r = { .event = (uint8_t)event, .verdict = verdict, .ask = x->ask, .to = x->to, .status = x->status };

	facts(x, &r.facts);
	str_copy(r.rule, sizeof(r.rule), rule);
	str_copy(r.scope, sizeof(r.scope), scope);
	str_copy(r.service, sizeof(r.service), service);
	r.in = x->up.total;
	r.out = x->down.total;
	r.ms = clock_ms() - x->since_ms;
	return x->o->opts.ops->record(x->o->opts.arg, &r);
}

/* One record of it, whatever becomes of it; false: not kept. */
static bool tell_allowed(struct xchg *x)
{
	if (x->verdict == NET_ALLOW && !x->told)
		x->told = record(x, NET_E_DECIDED, NET_ALLOW, x->rule, x->scope, "");
	return x->told;
}

struct xchg *xchg_new(struct opened *o)
{
	struct xchg *x = o->spare ? steal_ptr(&o->spare) : calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->o = o;
	x->token = ++o->last_token;
	x->since_ms = clock_ms();
	x->verdict = NET_DENY;
	buf_init(&x->up.b, UP_WINDOW);
	buf_init(&x->down.b, DOWN_WINDOW + MASK_HOLD_MAX + DENY_PAGE_MAX);
	struct xchg **at = &o->xs;
	while (*at)
		at = &(*at)->next;
	*at = x;
	after_cancel(&o->timer);
	return x;
}

void xchg_free(struct xchg *x)
{
	struct opened *o = x->o;

	if (x->sent_target)
		explicit_bzero(x->sent_target, strlen(x->sent_target));
	free(x->sent_target);
	free(x->target);
	headers_release(&x->req);
	headers_release(&x->resp);
	headers_release(&x->up.trailers);
	headers_release(&x->down.trailers);
	buf_release(&x->up.b);
	buf_release(&x->down.b);
	mask_destroy(&x->mask);
	watch_destroy(&x->watch);
	/* One is kept for the next request: most connections have one at a time. */
	if (!o->spare && !o->ending) {
		memset(x, 0, sizeof(*x));
		o->spare = x;
	} else {
		free(x);
	}
}

static void over(struct xchg *x)
{
	x->state = X_OVER;
	x->front_gone = true;
	opened_sweep_soon(x->o);
}

/* ---- answers of our own ------------------------------------------------------------------------------------------------- */

static int page_head(struct headers *h, bool json, size_t n)
{
	char len[24];
	int r;

	headers_release(h);
	snprintf(len, sizeof(len), "%zu", n);
	r = headers_set(h, "Content-Type", json ? "application/json" : "text/plain; charset=utf-8");
	if (r == 0)
		r = headers_set(h, "Content-Length", len);
	if (r == 0)
		r = headers_set(h, "Cache-Control", "no-store");
	return r == 0 ? headers_set(h, "X-Bulkhead", "blocked") : r;
}

void xchg_deny(struct xchg *x, enum deny_why why, const char *rule)
{
	struct opened *o = x->o;
	const struct deny d = { .why = why, .method = x->method, .scheme = o->opts.tls ? "https" : "http", .path = x->target ? x->target : "",
				.host = why == DENY_MISDIRECTED ? x->host.name : o->name, .port = o->opts.port, .rule = rule, .scope = x->scope,
				.sandbox = o->opts.sandbox };
	const bool json = deny_wants_json(&x->req);
	struct buf page;

	if (x->state == X_OVER || x->answered)
		return;
	buf_init(&page, DENY_PAGE_MAX);
	deny_page(&page, json, &d);
	x->state = X_LOCAL;
	x->status = deny_status(why);
	x->resp_length_known = true;
	x->no_resp_body = strcmp(x->method, "HEAD") == 0;
	buf_clear(&x->down.b);
	mask_destroy(&x->mask);
	if (page_head(&x->resp, json, buf_size(&page)) < 0) {
		buf_release(&page);
		o->front->fail(x);
		over(x);
		return;
	}
	if (!x->no_resp_body)
		xchg_down_put(x, buf_head(&page), buf_size(&page));
	buf_release(&page);
	x->down.end = true;
	x->answered = true;
	buf_clear(&x->up.b);
	o->front->head(x);
	if (!x->front_gone)
		o->front->down(x);
	if (!x->front_gone)
		o->front->up_room(x);
}

/* A refusal nobody but we decided. */
static void refuse(struct xchg *x, enum deny_why why, enum net_event event, const char *rule, const char *service)
{
	x->status = deny_status(why);
	x->verdict = NET_DENY;
	str_copy(x->rule, sizeof(x->rule), rule);
	str_copy(x->scope, sizeof(x->scope), "built-in");
	record(x, event, NET_DENY, rule, x->scope, service);
	xchg_deny(x, why, event == NET_E_ALARM ? service : rule);
}

void xchg_bad_request(struct opened *o, const char *why)
{
	struct xchg none = { .o = o, .since_ms = clock_ms(), .status = 400 };
	const struct deny d = { .why = DENY_BAD, .method = "", .scheme = o->opts.tls ? "https" : "http", .host = o->name, .path = "",
				.port = o->opts.port, .rule = why, .scope = "", .sandbox = o->opts.sandbox };
	struct headers h;
	struct buf page;
	char text[160];

	snprintf(text, sizeof(text), "bad request: %s", why);
	record(&none, NET_E_DECIDED, NET_DENY, text, "built-in", "");
	headers_init(&h);
	buf_init(&page, DENY_PAGE_MAX);
	deny_page(&page, false, &d);
	if (page_head(&h, false, buf_size(&page)) == 0 && headers_set(&h, "Connection", "close") == 0) {
		http1_put_response(wire_out(o->w), 400, http1_reason(400), &h);
		buf_put(wire_out(o->w), buf_head(&page), buf_size(&page));
		wire_flush(o->w);
	}
	headers_release(&h);
	buf_release(&page);
}

/* ---- from the guest ----------------------------------------------------------------------------------------------------- */

void xchg_request(struct xchg *x)
{
	struct opened *o = x->o;
	struct inject_report rep;
	struct net_facts f;

	if (strcmp(x->method, "CONNECT") == 0) {
		refuse(x, DENY_METHOD, NET_E_DECIDED, "CONNECT to a server that is no proxy", "");
	} else if (!authority_is(&x->host, o->name, o->opts.port)) {
		refuse(x, DENY_MISDIRECTED, NET_E_DECIDED, "Host is not the connection's", "");
	} else if (strcspn(x->target, "?") >= sizeof(f.path) - 1) {
		refuse(x, DENY_BAD, NET_E_DECIDED, "a path too long to be judged", "");
	} else if (x->absolute_https && !o->opts.tls) {
		refuse(x, DENY_BAD, NET_E_DECIDED, "an https target in clear", "");
	} else if (o->opts.inject && inject_alarm(o->opts.inject, o->name, o->opts.port, o->opts.tls, &x->req, x->target, &rep)) {
		char rule[160];

		snprintf(rule, sizeof(rule), "a placeholder of %.60s in %.40s toward a host not its own", rep.service, rep.where);
		refuse(x, DENY_ALARM, NET_E_ALARM, rule, rep.service);
	} else if (o->opts.inject && x->has_body && watch_create(&x->watch, o->opts.inject, o->name, o->opts.port, o->opts.tls) < 0) {
		refuse(x, DENY_BAD, NET_E_DECIDED, "out of memory", "");
	} else {
		x->state = X_DECIDING;
		facts(x, &f);
		o->opts.ops->decide(o->opts.arg, x->token, &f);
		opened_sweep_soon(o);
	}
}

void xchg_allowed(struct xchg *x)
{
	x->state = X_WAITING;
	opened_assign(x->o);
}

/* The credentials as they are now. False: it was refused. */
static bool put_in(struct xchg *x)
{
	struct opened *o = x->o;
	struct inject_report rep = { 0 };
	int r = 0;

	x->sent_target = str_dup(x->target);
	if (!x->sent_target) {
		r = -ENOMEM;
	} else if (o->opts.inject) {
		r = inject_request(o->opts.inject, o->name, o->opts.port, o->opts.tls, &x->req, &x->sent_target, &rep);
		if (r == 0 && rep.alarm) { /* the secrets changed while it was held */
			refuse(x, DENY_ALARM, NET_E_ALARM, "a placeholder toward a host not its own", rep.service);
			return false;
		}
		if (r == 0 && o->opts.tls)
			r = mask_create(&x->mask, o->opts.inject, o->name, o->opts.port);
	}
	if (r < 0) {
		refuse(x, DENY_BAD, NET_E_DECIDED, "a credential does not fit into the request", "");
		return false;
	}
	if (!tell_allowed(x)) {
		refuse(x, DENY_RULE, NET_E_DECIDED, "it cannot be recorded", "");
		return false;
	}
	for (unsigned i = 0; i < rep.ndone; i++)
		record(x, NET_E_INJECTED, NET_ALLOW, x->rule, x->scope, rep.done[i]);
	return true;
}

bool xchg_go(struct xchg *x, const struct net_addr *to)
{
	x->to = *to;
	if (!x->sent_target && !put_in(x)) /* else it is sent once more */
		return false;
	x->state = X_SENT;
	return true;
}

void xchg_stranded(struct xchg *x, bool forbidden, const struct net_addr *to, const char *text)
{
	x->to = *to;
	if (forbidden) {
		refuse(x, DENY_RULE, NET_E_DECIDED, text, "");
		return;
	}
	tell_allowed(x);
	xchg_deny(x, DENY_UPSTREAM, text);
}

size_t xchg_up_room(const struct xchg *x)
{
	const size_t have = buf_size(&x->up.b);

	if (x->state == X_LOCAL)
		return SIZE_MAX;
	return have < OPENED_BUFFER ? OPENED_BUFFER - have : 0;
}

void xchg_up_put(struct xchg *x, const uint8_t *p, size_t n)
{
	const char *whose = NULL;

	x->up.total += n;
	x->o->in += n;
	if (x->state == X_LOCAL || x->state == X_OVER || x->carries[0])
		return;
	if (x->watch && (whose = watch_feed(x->watch, p, n)))
		str_copy(x->carries, sizeof(x->carries), whose); /* its end at least goes nowhere; xchg_up() says so */
	else
		buf_put(&x->up.b, p, n);
}

/* Found when the head was through already. */
static void alarm_late(struct xchg *x, const char *rule, const char *service)
{
	struct opened *o = x->o;

	if (!x->told)
		x->verdict = NET_DENY;
	record(x, NET_E_ALARM, NET_DENY, rule, "built-in", service);
	if (x->back)
		x->back->ops->cancel(x);
	if (x->state == X_DECIDING)
		o->opts.ops->undecide(o->opts.arg, x->token);
	if (x->answered) {
		o->front->fail(x);
		over(x);
	} else {
		xchg_deny(x, DENY_ALARM, service);
	}
}

void xchg_up_end(struct xchg *x)
{
	struct inject_report rep;
	struct opened *o = x->o;

	x->up.end = true;
	if (x->up.trailers.n > 0 && o->opts.inject &&
	    inject_alarm(o->opts.inject, o->name, o->opts.port, o->opts.tls, &x->up.trailers, NULL, &rep)) {
		headers_release(&x->up.trailers);
		alarm_late(x, "a placeholder in trailers", rep.service);
	}
}

void xchg_up(struct xchg *x)
{
	if (x->carries[0] && x->state != X_LOCAL && x->state != X_OVER) {
		char rule[160];

		snprintf(rule, sizeof(rule), "a placeholder of %s in the body toward a host not its own", x->carries);
		alarm_late(x, rule, x->carries);
	} else if (x->state == X_SENT && x->back) {
		x->back->ops->up(x);
	}
}

void xchg_close(struct xchg *x, bool cut)
{
	struct opened *o = x->o;
	const enum xstate was = x->state;

	if (was == X_OVER)
		return;
	x->front_gone = true;
	if (x->back)
		x->back->ops->cancel(x);
	if (was == X_DECIDING) {
		o->opts.ops->undecide(o->opts.arg, x->token);
	} else if (x->method[0]) {
		tell_allowed(x);
		record(x, NET_E_CLOSED, x->verdict, cut && !x->answered ? "the guest gave up" : x->rule, x->scope, "");
	}
	over(x);
}

/* ---- from the server ---------------------------------------------------------------------------------------------------- */

void xchg_interim(struct xchg *x, uint16_t status, const struct headers *h)
{
	if (++x->interims > INTERIMS_MAX || x->old || x->front_gone)
		return;
	x->o->front->interim(x, status, h);
}

/* Before fields are taken out: what points at one does not outlive that. */
static bool is_coded(const struct headers *h)
{
	for (size_t i = 0; i < h->n; i++)
		if (header_is(&h->v[i], "content-encoding") && strcasecmp(h->v[i].value, "identity") != 0)
			return true;
	return false;
}

void xchg_head(struct xchg *x)
{
	const bool coded = is_coded(&x->resp);

	headers_strip_hop(&x->resp);
	headers_remove(&x->resp, "trailer");
	headers_remove(&x->resp, "alt-svc"); /* another way to the server would be another connection, and over UDP there is none */
	if (x->mask)
		mask_headers(x->mask, &x->resp);
	if (x->mask && coded)
		mask_coded(x->mask);
	x->answered = true;
	if (!x->front_gone)
		x->o->front->head(x);
}

size_t xchg_down_room(const struct xchg *x, size_t most)
{
	const size_t have = buf_size(&x->down.b) + mask_held(x->mask);

	return have < most ? most - have : 0;
}

void xchg_down_put(struct xchg *x, const uint8_t *p, size_t n)
{
	x->down.total += n;
	x->o->out += n;
	if (x->mask)
		mask_feed(x->mask, p, n, &x->down.b);
	else
		buf_put(&x->down.b, p, n);
}

void xchg_down_end(struct xchg *x)
{
	if (x->mask) {
		mask_end(x->mask, &x->down.b);
		mask_headers(x->mask, &x->down.trailers);
	}
	x->down.end = true;
}

void xchg_down(struct xchg *x)
{
	if (x->front_gone)
		return;
	/* A buffer that lost bytes must not be taken for the whole. */
	if (!buf_ok(&x->down.b)) {
		if (x->back)
			x->back->ops->cancel(x);
		xchg_back_lost(x, LOST, "out of memory");
		return;
	}
	x->o->front->down(x);
}

/* Where a server may have seen the request nevertheless, it is not made twice if twice is not as good as once. */
static bool may_again(const struct xchg *x, enum lost how)
{
	static const char *const safe[] = { "GET", "HEAD", "OPTIONS" };

	if (how == LOST || x->retried || x->has_body)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(safe); i++)
		if (how == LOST_UNTAKEN || strcmp(x->method, safe[i]) == 0)
			return true;
	return false;
}

void xchg_back_lost(struct xchg *x, enum lost how, const char *text)
{
	if (x->state == X_OVER)
		return;
	if (x->answered) {
		if (!x->front_gone)
			x->o->front->fail(x);
		record(x, NET_E_CLOSED, x->verdict, text, "built-in", "");
		over(x);
	} else if (may_again(x, how)) {
		x->retried = true;
		headers_release(&x->resp);
		x->state = X_WAITING;
		opened_assign(x->o);
	} else {
		xchg_deny(x, DENY_UPSTREAM, text);
	}
}
