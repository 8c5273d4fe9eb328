/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/ask.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/str.h"
#include "core/policy/addr.h"
#include "core/supervisor/events.h"
#include "core/supervisor/kid.h"
#include "core/supervisor/lifelog.h"
#include "core/supervisor/net.h"
#include "core/supervisor/policy.h"
#include "core/supervisor/sandbox.h"
#include "core/supervisor/super.h"

#define ENDED_MAX 128u
#define HOST_TEXT (NET_NAME_MAX + 16)

struct ask {
	struct ask *next;
	struct sandbox *sb;
	uint32_t id;
	bool answered;         /* said to net, whose NET_ASK_GONE is on its way */
	uint8_t verdict;
	char by[64];
	struct net_ask m;
};

/* What is still known of one that ended. */
struct ended {
	uint32_t id;
	uint64_t at_ms;
	uint8_t end, verdict;
	char by[64];
};

struct asks {
	struct ask *first; /* by id */
	uint32_t next_id;
	struct ended ended[ENDED_MAX];
	unsigned nended;   /* of all times; modulo is the place */
};

static struct asks *asks_of(struct super *su)
{
	if (!su->asks && (su->asks = calloc(1, sizeof(*su->asks))))
		su->asks->next_id = 1000 + (uint32_t)(clock_wall_ns() / UINT64_C(4000000000) % 9000) * 10;
	return su->asks;
}

static json_t *ask_json(const struct ask *a)
{
	char since[32], until[32];

	clock_rfc3339(since, a->m.since_ms * 1000000);
	clock_rfc3339(until, a->m.until_ms * 1000000);
	json_t *o = json_pack("{s:I, s:s, s:I, s:s, s:s}", "id", (json_int_t)a->id, "sandbox", a->sb->spec.name, "count", (json_int_t)a->m.count,
			      "since", since, "until", until);
	net_json_facts(o, &a->m.facts, &a->m.who);
	return o;
}

static struct ask *find(const struct sandbox *sb, uint32_t net_id)
{
	struct ask *a = sb->su->asks ? sb->su->asks->first : NULL;

	while (a && (a->sb != sb || a->m.id != net_id))
		a = a->next;
	return a;
}

unsigned ask_count(const struct sandbox *sb)
{
	unsigned n = 0;

	for (const struct ask *a = sb->su->asks ? sb->su->asks->first : NULL; a; a = a->next)
		n += a->sb == sb;
	return n;
}

void ask_told(struct sandbox *sb, const struct net_ask *m)
{
	struct asks *all = asks_of(sb->su);
	struct ask *a = find(sb, m->id), **end;

	if (!a && all && ask_count(sb) < ASKS_MAX && (a = calloc(1, sizeof(*a)))) {
		a->sb = sb;
		a->id = all->next_id++;
		for (end = &all->first; *end; end = &(*end)->next)
			;
		*end = a;
		sandbox_touch(sb);
	}
	if (!a)
		return; /* it times out by itself */
	a->m = *m;
	events_ask_take(sb->su, ask_json(a));
}

static void end_ask(struct super *su, struct ask *a, enum net_ask_end how)
{
	static const char *const words[] = {
		[NET_ASK_ANSWERED] = "answered", [NET_ASK_TIMED_OUT] = "timeout", [NET_ASK_WITHDRAWN] = "withdrawn", [NET_ASK_RULED] = "ruled",
	};
	_Static_assert(ARRAY_SIZE(words) == NET_ASK_END_NUM, "every end of a question has a word");
	struct asks *all = su->asks;
	struct ended *x = &all->ended[all->nended++ % ENDED_MAX];
	struct ask **p = &all->first;

	*x = (struct ended){ .id = a->id, .at_ms = clock_ms(), .end = (uint8_t)how, .verdict = a->answered ? a->verdict : NET_DENY };
	str_copy(x->by, sizeof(x->by), a->by);
	while (*p != a)
		p = &(*p)->next;
	*p = a->next;
	events_ask_gone(su, a->id, words[how], a->answered ? net_verdict_name(a->verdict) : NULL, a->by);
	sandbox_touch(a->sb);
	free(a);
}

void ask_gone(struct sandbox *sb, uint32_t net_id, enum net_ask_end how)
{
	struct ask *a = find(sb, net_id);

	if (a)
		end_ask(sb->su, a, how);
}

void ask_withdraw(struct sandbox *sb)
{
	struct ask *a = sb->su->asks ? sb->su->asks->first : NULL;

	while (a) {
		struct ask *next = a->next;
		if (a->sb == sb)
			end_ask(sb->su, a, NET_ASK_WITHDRAWN);
		a = next;
	}
}

json_t *ask_list(struct super *su, uint32_t from, uint32_t *next)
{
	json_t *list = json_array();
	size_t n = 0;

	*next = 0;
	for (const struct ask *a = su->asks ? su->asks->first : NULL; a; a = a->next) {
		if (a->answered || a->id < from)
			continue;
		json_t *o = ask_json(a);

		n += json_dumpb(o, NULL, 0, JSON_COMPACT) + 1;
		if (n > EVENTS_ASKS_MAX && json_array_size(list)) {
			*next = a->id;
			json_decref(o);
			break;
		}
		json_array_append_new(list, o);
	}
	return list;
}

/* ---- answers ------------------------------------------------------------------------------------------------------------------------ */

static int too_late(const struct asks *all, uint32_t id, struct err *e)
{
	for (unsigned i = 0; all && i < ENDED_MAX && i < all->nended; i++) {
		const struct ended *x = &all->ended[i];
		char age[16];

		if (x->id != id)
			continue;
		str_age(age, sizeof(age), (clock_ms() - x->at_ms) / 1000);
		if (x->end == NET_ASK_ANSWERED)
			return err_set(e, EALREADY, "question %u was answered with '%s' %s ago by %s", id, net_verdict_name(x->verdict), age, x->by);
		return err_set(e, EALREADY, "question %u ended %s ago: %s", id, age,
			       x->end == NET_ASK_TIMED_OUT ? "nobody answered in time and it was denied" :
			       x->end == NET_ASK_RULED ? "a rule decided it" : "the sandbox gave it up");
	}
	return err_set(e, ENOENT, "there is no question %u", id);
}

/* "host:port" as a rule writes it. */
static void facts_text(char dst[HOST_TEXT], const struct net_facts *f)
{
	char addr[48];

	addr_text(&f->addr, addr);
	if (*f->name)
		snprintf(dst, HOST_TEXT, "%s:%u", f->name, f->port);
	else
		snprintf(dst, HOST_TEXT, strchr(addr, ':') ? "[%s]:%u" : "%s:%u", addr, f->port);
}

static int pack_answer(struct buf *b, const void *m) { return net_answer_pack(b, m); }

int ask_answer(struct super *su, uint32_t id, enum net_verdict v, enum ask_scope scope, const char *by, char rule[ASK_RULE_TEXT], struct err *e)
{
	struct ask *a = su->asks ? su->asks->first : NULL;
	char host[HOST_TEXT];
	struct rule r;

	*rule = '\0';

	while (a && a->id != id)
		a = a->next;
	if (!a)
		return too_late(su->asks, id, e);
	if (a->answered)
		return err_set(e, EALREADY, "question %u has just been answered with '%s' by %s", id, net_verdict_name(a->verdict), a->by);
	if (scope != ASK_ONCE)
		rules_remember(policy_rules(a->sb), &a->m.facts, v, &r);
	if (scope != ASK_ONCE && policy_remember(su, scope == ASK_SANDBOX ? a->sb : NULL, a->sb, &a->m.facts, v, e))
		return err_wrap(e, "the rule cannot be written, so the connection still waits");
	a->answered = true;
	a->verdict = (uint8_t)v;
	str_copy(a->by, sizeof(a->by), by);
	const struct net_answer m = { .id = a->m.id, .verdict = (uint8_t)v };
	kid_send(a->sb->net, NET_ANSWER, pack_answer, &m, NULL, 0);
	facts_text(host, &a->m.facts);
	lifelog_add(su, LOG_INFO, a->sb->spec.name, "%s: %s (%s), by %s", host, v == NET_ALLOW ? "allowed" : "denied",
		    scope == ASK_ONCE ? "once" : scope == ASK_SANDBOX ? "for this sandbox" : "always", by);
	if (scope != ASK_ONCE)
		rule_text(&r, true, rule, ASK_RULE_TEXT);
	if (scope != ASK_ONCE)
		net_rules_changed(su, scope == ASK_SANDBOX ? a->sb : NULL);
	return 0;
}

void ask_release(struct super *su)
{
	struct ask *a = su->asks ? su->asks->first : NULL;

	while (a) {
		struct ask *next = a->next;
		free(a);
		a = next;
	}
	free(su->asks);
	su->asks = NULL;
}
