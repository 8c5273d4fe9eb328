/* SPDX-License-Identifier: Apache-2.0 */
/* The decision; rules.h says how it falls. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/base/str.h"
#include "core/policy/addr.h"
#include "core/policy/path.h"
#include "core/policy/store.h"

/* The best found so far of the administrator's rules, or of the person's. */
struct side {
	const struct rule *deny, *pass; /* pass: allow or ask */
	uint64_t deny_weight, pass_weight;
	bool opens; /* a rule that looks at method or path has this host and port */
};

struct search {
	const struct rules *rs;
	const struct net_facts *f;
	bool plain; /* the path hides nothing */
	char path[sizeof(((struct net_facts *)0)->path)]; /* canonical */
	struct path_readings *readings; /* of it, when a rule wants them; `read` */
	bool read;
	struct side admin, person;
};

static bool port_matches(const struct rule *r, uint16_t port)
{
	for (size_t i = 0; i < r->nports; i++)
		if (port >= r->ports[i].from && port <= r->ports[i].to)
			return true;
	return r->nports == 0;
}

static bool net_matches(const struct host_pattern *h, const struct net_addr *a)
{
	return addr_is_v4(&h->net) == addr_is_v4(a) && addr_prefix_equal(&h->net, a, h->bits);
}

static bool host_matches(const struct rule *r, const struct net_facts *f)
{
	if (r->host.kind != HOST_NET)
		return host_match(&r->host, f->name);
	return f->has_addr && (!f->name[0] || r->verdict == NET_DENY) && net_matches(&r->host, &f->addr);
}

/* Methods have a case. Servers that do not know it are not to be a way around a deny. */
static bool method_matches(const struct rule *r, const char *method)
{
	for (size_t i = 0; i < r->nmethods; i++)
		if (r->verdict == NET_ALLOW ? !strcmp(r->methods[i], method) : !strcasecmp(r->methods[i], method))
			return true;
	return r->nmethods == 0;
}

/* What denies or asks is meant for all that the path may be taken for, and counts in doubt. */
static bool path_may_match(struct search *s, const struct rule *r)
{
	if (!s->read)
		path_read(s->f->path, s->readings);
	s->read = true;
	for (size_t i = 0; i < s->readings->n; i++)
		if (glob_match(r->path, s->readings->v[i]))
			return true;
	return s->readings->doubt;
}

static bool path_matches(struct search *s, const struct rule *r)
{
	if (!r->path[0] || !strcmp(r->path, "/**")) /* all of them, also npm's /@scope%2fname */
		return true;
	if (s->plain && !strpbrk(s->f->path, "%;")) /* there is nothing else to be taken for */
		return glob_match(r->path, s->path);
	return r->verdict == NET_ALLOW ? s->plain && glob_match(r->path, s->path) : path_may_match(s, r);
}

/* More specific is heavier; see rules.h. */
static uint64_t weigh(const struct rule *r, uint32_t index)
{
	static const uint8_t rank[HOST_KIND_NUM] = { [HOST_EXACT] = 4, [HOST_ONE] = 3, [HOST_DEEP] = 2, [HOST_NET] = 1, [HOST_ANY] = 0 };
	const size_t literal = strcspn(r->path, "*?");
	uint64_t ports = r->nports ? 1 : 0, w;

	if (r->nports == 1 && r->ports[0].from == r->ports[0].to)
		ports = 2;
	w = r->scope != RULE_PRESET;
	w = w << 3 | rank[r->host.kind];
	w = w << 8 | (r->host.kind == HOST_NET ? r->host.bits : strlen(r->host.name));
	w = w << 9 | literal;
	w = w << 1 | (r->nmethods ? 1 : 0);
	w = w << 2 | ports;
	w = w << 2 | (r->scope == RULE_SANDBOX ? 2 : r->scope == RULE_GLOBAL ? 1 : 0);
	return w << 32 | index;
}

static void consider(struct search *s, uint32_t i)
{
	const struct rule *r = &s->rs->v[i];
	struct side *side = r->scope == RULE_ADMIN ? &s->admin : &s->person;
	const bool looks = r->nmethods || r->path[0];

	if (!port_matches(r, s->f->port) || !host_matches(r, s->f))
		return;
	if (s->f->proto == NET_P_TCP && (looks || (!r->tcp && r->verdict != NET_DENY)))
		return;
	if (looks && s->f->proto == NET_P_TLS) {
		side->opens = true;
		return;
	}
	if (looks && (!method_matches(r, s->f->method) || !path_matches(s, r)))
		return;
	const uint64_t w = weigh(r, i);
	const struct rule **best = r->verdict == NET_DENY ? &side->deny : &side->pass;
	uint64_t *weight = r->verdict == NET_DENY ? &side->deny_weight : &side->pass_weight;
	if (!*best || w > *weight) {
		*best = r;
		*weight = w;
	}
}

static void walk(struct search *s, uint32_t i)
{
	for (; i != STORE_NONE; i = s->rs->next[i])
		consider(s, i);
}

/* Everything in the index that may match; a rule may be seen twice. */
static void collect(struct search *s)
{
	const struct rules *rs = s->rs;

	walk(s, rs->any);
	for (const char *p = s->f->name; *p; p++)
		if (p == s->f->name || p[-1] == '.')
			walk(s, store_name_head(rs, p));
	if (!s->f->has_addr)
		return;
	for (unsigned bits = 0; bits <= 128; bits++)
		if (rs->bits[bits / 8] >> (bits % 8) & 1)
			walk(s, store_net_head(rs, &s->f->addr, bits));
}

/* One side's verdict. */
struct half {
	uint8_t verdict, scope;
	const struct rule *by;
	const char *why; /* when by is NULL */
	bool final;      /* what is not known yet cannot change it for the better */
};

static void settle(struct half *h, const struct side *side)
{
	const struct rule *r = side->deny ? side->deny : side->pass;

	if (r) {
		h->by = r;
		h->verdict = r->verdict;
		h->scope = r->scope;
	}
	h->final = h->verdict == NET_DENY && (side->deny || !side->opens);
}

static struct half admin_half(const struct search *s)
{
	struct half h = { .verdict = NET_ALLOW, .scope = RULE_ADMIN, .why = "administrator's default" };

	if (s->rs->admin_default_set) {
		h.verdict = s->rs->admin_def;
	} else if (s->rs->admin_bound) {
		h.verdict = NET_DENY;
		h.why = "not on the administrator's list";
	}
	settle(&h, &s->admin);
	return h;
}

static struct half person_half(const struct search *s)
{
	struct half h = { .verdict = s->rs->def, .scope = s->rs->def_scope, .why = "default" };

	if (h.verdict == NET_ALLOW && s->f->proto == NET_P_TCP) {
		h.verdict = NET_ASKED;
		h.why = "default, neither TLS nor HTTP";
	}
	settle(&h, &s->person);
	return h;
}

/* deny > ask > allow */
static unsigned strictness(uint8_t verdict)
{
	return verdict == NET_DENY ? 2 : verdict == NET_ASKED ? 1 : 0;
}

static void conclude(const struct search *s, struct rules_verdict *out)
{
	const struct half a = admin_half(s), p = person_half(s);
	const bool admin = strictness(a.verdict) > strictness(p.verdict) || (a.verdict == NET_DENY && a.final);
	const struct half *h = admin ? &a : &p;

	*out = (struct rules_verdict){ .verdict = h->verdict, .scope = h->scope, .by = h->by };
	out->needs_open = (s->admin.opens || s->person.opens) && !a.final && !p.final;
	if (h->by)
		rule_text(h->by, true, out->rule, sizeof(out->rule));
	else
		str_copy(out->rule, sizeof(out->rule), h->why);
	if (out->verdict == NET_ASKED && s->rs->unattended) {
		out->verdict = NET_DENY;
		if (!h->by)
			snprintf(out->rule, sizeof(out->rule), "%s, nobody is there to ask", h->why);
	}
}

static void refuse(struct rules_verdict *out, const char *why)
{
	*out = (struct rules_verdict){ .verdict = NET_DENY, .scope = RULE_BUILTIN };
	str_copy(out->rule, sizeof(out->rule), why);
}

void rules_decide(const struct rules *rs, const struct net_facts *f, struct rules_verdict *out)
{
	struct path_readings readings;
	struct search s = { .rs = rs, .f = f, .readings = &readings };

	if (f->name[0] && !net_name_legal(f->name)) {
		refuse(out, "not the name of a host");
		return;
	}
	if (f->port == 0 || f->proto >= NET_P_NUM || (!f->name[0] && !f->has_addr)) {
		refuse(out, "neither name nor address");
		return;
	}
	/* A path that was cut may go on to anywhere. */
	s.plain = path_canonical(f->path, s.path, sizeof(s.path)) && strnlen(f->path, sizeof(f->path)) < sizeof(f->path) - 1;
	collect(&s);
	conclude(&s, out);
	/* Nobody is asked about what would be refused anyway, and a proxy of the host is not asked for it either. */
	const char *why;
	if (!f->name[0] && (out->verdict != NET_DENY || out->needs_open) && addr_forbidden(&f->addr, &why) && !rules_names_address(rs, &f->addr, f->port, false))
		refuse(out, why);
}

static bool chain_opens(const struct rules *rs, uint32_t i, const char *name)
{
	for (; i != STORE_NONE; i = rs->next[i])
		if ((rs->v[i].nmethods || rs->v[i].path[0]) && host_match(&rs->v[i].host, name))
			return true;
	return false;
}

bool rules_opens(const struct rules *rs, const char *name)
{
	if (chain_opens(rs, rs->any, name))
		return true;
	for (const char *p = name; *p; p++)
		if ((p == name || p[-1] == '.') && chain_opens(rs, store_name_head(rs, p), name))
			return true;
	return false;
}

/* Exactly, or a range within what is refused: wider ones do not mean it. */
static bool names(const struct host_pattern *h)
{
	const struct net_addr last = addr_last(&h->net, h->bits);

	if (h->bits == 128)
		return true;
	return h->bits >= (addr_is_v4(&h->net) ? 96 + 8 : 7) && addr_forbidden(&h->net, NULL) && addr_forbidden(&last, NULL);
}

bool rules_names_address(const struct rules *rs, const struct net_addr *a, uint16_t port, bool resolved)
{
	const bool exact_only = addr_is_metadata(a), bound = rs->admin_bound || (rs->admin_default_set && rs->admin_def != NET_ALLOW);
	bool admin = false, person = false;

	for (unsigned bits = 0; bits <= 128; bits++) {
		if (!(rs->bits[bits / 8] >> (bits % 8) & 1))
			continue;
		for (uint32_t i = store_net_head(rs, a, bits); i != STORE_NONE; i = rs->next[i]) {
			const struct rule *r = &rs->v[i];
			if (r->host.kind != HOST_NET || !net_matches(&r->host, a) || !port_matches(r, port))
				continue;
			if (r->verdict == NET_DENY && !r->nmethods && !r->path[0])
				return false;
			if ((r->verdict == NET_ALLOW || (r->verdict == NET_ASKED && !resolved)) && names(&r->host) && (!exact_only || r->host.bits == 128)) {
				admin |= r->scope == RULE_ADMIN;
				person |= r->scope != RULE_ADMIN;
			}
		}
	}
	return bound ? admin : admin || person;
}

bool rules_names_host(const struct rules *rs, const char *name, uint16_t port)
{
	const bool bound = rs->admin_bound || (rs->admin_default_set && rs->admin_def != NET_ALLOW);
	bool admin = false, person = false;

	for (uint32_t i = store_name_head(rs, name); i != STORE_NONE; i = rs->next[i]) {
		const struct rule *r = &rs->v[i];

		if (r->host.kind != HOST_EXACT || strcmp(r->host.name, name) != 0 || !port_matches(r, port) || r->verdict == NET_DENY)
			continue;
		admin |= r->scope == RULE_ADMIN;
		person |= r->scope != RULE_ADMIN;
	}
	return bound ? admin : admin || person;
}

const struct rule *rules_denied_address(const struct rules *rs, const struct net_addr *a, uint16_t port)
{
	for (unsigned bits = 0; bits <= 128; bits++) {
		if (!(rs->bits[bits / 8] >> (bits % 8) & 1))
			continue;
		for (uint32_t i = store_net_head(rs, a, bits); i != STORE_NONE; i = rs->next[i]) {
			const struct rule *r = &rs->v[i];
			if (r->verdict == NET_DENY && r->host.kind == HOST_NET && !r->nmethods && !r->path[0] && net_matches(&r->host, a) && port_matches(r, port))
				return r;
		}
	}
	return NULL;
}

void rules_remember(const struct rules *rs, const struct net_facts *f, enum net_verdict v, struct rule *out)
{
	struct rules_verdict now;

	memset(out, 0, sizeof(*out));
	rules_decide(rs, f, &now);
	out->verdict = (uint8_t)v;
	out->scope = RULE_GLOBAL;
	out->tcp = f->proto == NET_P_TCP;
	out->nports = 1;
	out->ports[0] = (struct port_range){ f->port, f->port };
	if (f->name[0]) {
		out->host.kind = HOST_EXACT;
		str_copy(out->host.name, sizeof(out->host.name), f->name);
	} else {
		out->host.kind = HOST_NET;
		out->host.bits = 128;
		out->host.net = f->addr;
	}
	if (now.by && now.by->verdict == NET_ASKED && !out->tcp) {
		out->nmethods = now.by->nmethods;
		memcpy(out->methods, now.by->methods, sizeof(out->methods));
		str_copy(out->path, sizeof(out->path), now.by->path);
	}
}
