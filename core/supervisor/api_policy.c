/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/api.h"

#include <errno.h>
#include <string.h>

#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/policy/addr.h"
#include "core/supervisor/policyfiles.h"
#include "core/supervisor/sandbox.h"
#include "core/supervisor/super.h"

/* number 0: it has none. */
static json_t *rule_json(const struct rule *r, size_t number)
{
	json_t *ports = json_array(), *methods = json_array();
	char host[NET_NAME_MAX + 8], text[RULE_TEXT_MAX];

	host_text(&r->host, host, sizeof(host));
	rule_text(r, true, text, sizeof(text));
	for (size_t i = 0; i < r->nports; i++)
		json_array_append_new(ports, json_pack("[i, i]", r->ports[i].from, r->ports[i].to));
	for (size_t i = 0; i < r->nmethods; i++)
		json_array_append_new(methods, json_string(r->methods[i]));
	return json_pack("{s:o, s:s, s:s, s:s, s:o, s:o, s:s*, s:s, s:b, s:s}", "id", number ? json_integer((json_int_t)number) : json_null(), "verdict",
			 rule_verdict_name[r->verdict], "host", host, "text", text, "ports", ports, "methods", methods, "path", r->path[0] ? r->path : NULL, "scope",
			 rule_scope_name[r->scope], "tcp", (int)r->tcp, "note", r->note);
}

/* Rules `from` and on, as many as a line of the protocol holds whatever they are. */
#define PAGE 400u
struct page {
	json_t *list;
	size_t from, seen;
};

static void append_rules(struct page *p, const struct policyfile *pf, bool numbered)
{
	for (size_t i = 0; i < pf->n; i++, p->seen++)
		if (p->seen >= p->from && p->seen < p->from + PAGE)
			json_array_append_new(p->list, rule_json(&pf->rules[i], numbered ? i + 1 : 0));
}

static void append_error(json_t *list, const struct policysource *s)
{
	if (s && *s->error)
		json_array_append_new(list, json_string(s->error));
}

static json_t *errors(struct super *su, struct sandbox *sb)
{
	json_t *list = json_array();

	append_error(list, policy_admin(su));
	if (sb)
		append_error(list, policy_source(su, sb));
	append_error(list, policy_source(su, NULL));
	const char *together = policy_joined_error(su, sb);
	if (*together)
		json_array_append_new(list, json_string(together));
	return list;
}

/* The sandbox of an optional `name`; false after having answered. */
static bool target(struct call *c, struct args *a, struct sandbox **sb)
{
	const char *name = arg_str(a, "name", NAME_MAX_LEN, false);

	*sb = NULL;
	if (args_bad(a, c))
		return false;
	if (name && !(*sb = arg_sandbox(a, c)))
		return false;
	if (*sb && (*sb)->removing) {
		call_error(c, RPC_STATE, "'%s' is being removed", name);
		return false;
	}
	return true;
}

static void on_list(struct call *c, struct args *a)
{
	const uint64_t from = arg_num(a, "from", 0, 4 * (uint64_t)RULES_MAX, 0);
	struct sandbox *sb;

	if (!target(c, a, &sb))
		return;
	policy_reread(c->su);
	const struct policysource *admin = policy_admin(c->su), *global = policy_source(c->su, NULL), *own = sb ? policy_source(c->su, sb) : NULL;
	const char *preset = policy_preset(c->su, sb);
	struct page page = { .list = json_array(), .from = (size_t)from };
	append_rules(&page, &admin->good, false);
	append_rules(&page, &admin->preset, false);
	if (own)
		append_rules(&page, &own->good, true);
	append_rules(&page, &global->good, true);
	append_rules(&page, own && own->good.preset[0] ? &own->preset : &global->preset, false);
	json_t *next = page.from + PAGE < page.seen ? json_integer((json_int_t)(page.from + PAGE)) : json_null();
	/* What happens to a name that nobody wrote a rule for. */
	enum rule_scope whose;
	const enum net_verdict def = rules_default_of(policy_rules_of(c->su, sb), &whose);
	call_result_take(c, json_pack("{s:o, s:o, s:s?, s:s, s:s, s:b, s:o}", "rules", page.list, "next", next, "preset", preset, "default", rule_verdict_name[def], "default_scope",
				      rule_scope_name[whose], "unattended", sb ? (int)sb->spec.unattended : 0, "errors", errors(c->su, sb)));
}

/* A rule as a string; the verdict must stand in it when `verdict` is set, else *any tells that there was none. */
static int parse_rule(const char *text, bool verdict, struct rule *r, bool *any, struct err *e)
{
	struct rule other = { .verdict = NET_DENY, .scope = RULE_GLOBAL };

	*r = (struct rule){ .verdict = NET_ALLOW, .scope = RULE_GLOBAL };
	/* Without a verdict each takes its own. Both that deny and that allow must be right before one is chosen. */
	if (rule_parse(text, r, e)) {
		if (verdict || rule_parse(text, &other, e))
			return -e->code;
		*r = other;
		*any = true;
		return 0;
	}
	*any = !rule_parse(text, &other, NULL) && other.verdict != r->verdict;
	if (*any && verdict)
		return err_set(e, EINVAL, "say what the rule does: 'allow %.200s', 'deny …' or 'ask …'", text);
	return 0;
}

static void answer_change(struct call *c, int rc, const struct err *e)
{
	if (!rc)
		call_result_take(c, json_object());
	else
		call_error(c, rc == -EEXIST ? RPC_EXISTS : rc == -ENOENT ? RPC_NOT_FOUND : RPC_FAILED, "%s", e->msg);
}

static void on_add(struct call *c, struct args *a)
{
	const char *text = arg_str(a, "rule", RULE_TEXT_MAX, true);
	struct sandbox *sb;
	struct rule r = { 0 };
	bool any;

	if (!target(c, a, &sb))
		return;
	if (parse_rule(text, true, &r, &any, &a->e)) {
		call_error(c, RPC_PARAMS, "%s", a->e.msg);
		return;
	}
	r.scope = sb ? RULE_SANDBOX : RULE_GLOBAL;
	const int rc = policy_add(c->su, sb, &r, &a->e);
	if (rc) {
		answer_change(c, rc, &a->e);
		return;
	}
	const size_t at = policysource_find(policy_source(c->su, sb), &r, false);
	call_result_take(c, rule_json(&r, at == SIZE_MAX ? 0 : at + 1));
}

static void on_remove(struct call *c, struct args *a)
{
	const uint64_t id = arg_num(a, "id", 1, POLICYFILE_RULES_MAX, 0);
	const char *text = arg_str(a, "rule", RULE_TEXT_MAX, false);
	struct sandbox *sb;
	struct rule r;
	bool any;

	if (!a->e.code && !id == !text)
		err_set(&a->e, EINVAL, "either parameter 'id' or 'rule'");
	if (!target(c, a, &sb))
		return;
	policy_reread(c->su);
	const struct policysource *s = policy_source(c->su, sb);
	size_t index = (size_t)id - 1;
	if (text) {
		if (parse_rule(text, false, &r, &any, &a->e)) {
			call_error(c, RPC_PARAMS, "%s", a->e.msg);
			return;
		}
		index = s ? policysource_find(s, &r, any) : SIZE_MAX;
	}
	if (!s || index >= s->good.n) {
		call_error(c, RPC_NOT_FOUND, "%s has no such rule%s", sb ? sb->spec.name : "the global policy",
			   !text ? ": 'policy ls' shows the numbers" : sb ? "; a global one is removed without a sandbox" : "");
		return;
	}
	answer_change(c, policy_remove(c->su, sb, index, &a->e), &a->e);
}

static int facts_of(const char *host, uint64_t port, const char *method, const char *path, struct net_facts *f, struct err *e)
{
	struct host_pattern h;

	memset(f, 0, sizeof(*f));
	if (host_parse(host, &h, e))
		return -e->code;
	if (h.kind == HOST_NET && h.bits == 128) {
		f->has_addr = true;
		f->addr = h.net;
	} else if (h.kind == HOST_EXACT) {
		str_copy(f->name, sizeof(f->name), h.name);
	} else {
		return err_set(e, EINVAL, "a host to check is one name or one address, not a pattern");
	}
	f->port = (uint16_t)port;
	f->proto = NET_P_TLS;
	if (!method && !path)
		return 0;
	f->proto = NET_P_HTTPS;
	scrub(f->method, sizeof(f->method), method ? method : "GET", strlen(method ? method : "GET"), false);
	for (char *m = f->method; *m; m++)
		if (*m >= 'a' && *m <= 'z')
			*m = (char)(*m - 'a' + 'A');
	str_copy(f->path, sizeof(f->path), path ? path : "/");
	return 0;
}

static void on_check(struct call *c, struct args *a)
{
	const char *host = arg_str(a, "host", 300, true), *method = arg_str(a, "method", 23, false), *path = arg_str(a, "path", 1000, false);
	const uint64_t port = arg_num(a, "port", 1, 65535, 443);
	const bool tcp = arg_bool(a, "tcp");
	struct sandbox *sb;
	struct net_facts f;
	struct rules_verdict v;
	char text[400];

	if (!a->e.code && tcp && (method || path))
		err_set(&a->e, EINVAL, "raw TCP has neither 'method' nor 'path'");
	if (!target(c, a, &sb))
		return;
	if (facts_of(host, port, method, path, &f, &a->e)) {
		call_error(c, RPC_PARAMS, "%s", a->e.msg);
		return;
	}
	if (tcp)
		f.proto = NET_P_TCP;
	policy_reread(c->su);
	const struct rules *rs = policy_rules_of(c->su, sb);
	rules_decide(rs, &f, &v);
	if (!v.by && f.has_addr && addr_forbidden(&f.addr, NULL) && v.scope == RULE_BUILTIN) {
		snprintf(text, sizeof(text), "%s: only a rule that names it reaches it", v.rule);
	} else if (v.by) {
		snprintf(text, sizeof(text), "%s rule '%s'%s", rule_scope_name[v.scope], v.rule, v.needs_open ? "; other rules look at each request" : "");
	} else {
		snprintf(text, sizeof(text), "%s (%s)%s", v.rule, rule_scope_name[v.scope], v.needs_open ? "; rules for this host look at each request" : "");
	}
	call_result_take(c, json_pack("{s:s, s:o, s:s, s:b}", "verdict", rule_verdict_name[v.verdict], "rule", v.by ? rule_json(v.by, 0) : json_null(), "why", text,
				      "opens", (int)v.needs_open));
}

static void on_preset(struct call *c, struct args *a)
{
	const char *preset = arg_str(a, "preset", POLICY_PRESET_MAX - 1, true);
	struct sandbox *sb;

	size_t known = 0;
	while (preset && policypreset_names[known] && strcmp(preset, policypreset_names[known]))
		known++;
	if (preset && !policypreset_names[known])
		err_set(&a->e, EINVAL, "parameter 'preset' must be 'open', 'balanced', 'locked' or 'none'");
	if (!target(c, a, &sb))
		return;
	answer_change(c, policy_set_preset(c->su, sb, preset, &a->e), &a->e);
}

json_t *policy_errors(struct super *su)
{
	json_t *list = errors(su, NULL);

	for (struct sandbox *sb = su->sandboxes; sb; sb = sb->next)
		append_error(list, policy_source(su, sb));
	return list;
}

static void on_reload(struct call *c, struct args *a)
{
	(void)a;
	policy_reread(c->su);
	call_result_take(c, json_pack("{s:o}", "errors", policy_errors(c->su)));
}

static const struct method rows[] = {
	{ "policy.list", " name from ", on_list },
	{ "policy.add", " rule name ", on_add },
	{ "policy.remove", " id rule name ", on_remove },
	{ "policy.check", " host port method path tcp name ", on_check },
	{ "policy.preset", " preset name ", on_preset },
	{ "policy.reload", "", on_reload },
};

const struct method_table api_policy = { rows, ARRAY_SIZE(rows) };
