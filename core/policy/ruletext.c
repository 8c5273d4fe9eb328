/* SPDX-License-Identifier: Apache-2.0 */
/* A rule as one string, and what a rule may be. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/policy/addr.h"
#include "core/policy/rules.h"

const char *const rule_scope_name[RULE_SCOPE_NUM] = { "admin", "sandbox", "global", "preset", "person", "built-in" };
const char *const rule_verdict_name[NET_VERDICT_NUM] = { "allow", "deny", "ask" };

#define TOKENS_MAX 6u
#define TOKEN_MAX 512u

struct tokens {
	size_t n;
	char text[TOKENS_MAX][TOKEN_MAX];
};

static int split(const char *s, struct tokens *t, struct err *e)
{
	t->n = 0;
	for (;;) {
		s += strspn(s, " \t");
		const size_t k = strcspn(s, " \t");
		if (k == 0)
			return t->n ? 0 : err_set(e, EINVAL, "an empty rule: write 'allow example.org:443'");
		if (t->n == TOKENS_MAX || k >= TOKEN_MAX)
			return err_set(e, EINVAL, "a rule is at most 'allow tcp HOST:PORTS METHODS /PATH'");
		for (size_t i = 0; i < k; i++)
			if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
				return err_set(e, EINVAL, "a rule holds no control characters");
		memcpy(t->text[t->n], s, k);
		t->text[t->n++][k] = '\0';
		s += k;
	}
}

static int parse_ports(char *s, struct rule *r, struct err *e)
{
	char *save = NULL;

	r->nports = 0;
	for (char *p = strtok_r(s, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
		char *dash = strchr(p, '-');
		uint64_t from, to;
		if (dash)
			*dash = '\0';
		if (str_u64(p, 1, 65535, &from) || (dash && str_u64(dash + 1, from, 65535, &to))) {
			char shown[48];
			scrub(shown, sizeof(shown), p, strlen(p), false);
			return err_set(e, EINVAL, "'%s%s' is no port: write 443, 80,443 or 8000-8010", shown, dash ? "-…" : "");
		}
		if (r->nports == RULE_PORTS)
			return err_set(e, EINVAL, "more than %u ports in one rule", RULE_PORTS);
		r->ports[r->nports++] = (struct port_range){ (uint16_t)from, (uint16_t)(dash ? to : from) };
	}
	return r->nports ? 0 : err_set(e, EINVAL, "a port is missing after ':'");
}

/* "host", "host:ports", "[v6]:ports", bare "v6" and "v6/len". */
static int parse_target(char *s, struct rule *r, struct err *e)
{
	char *colon = NULL;

	if (*s == '[') {
		char *end = strchr(s, ']');
		if (!end || (end[1] && end[1] != ':'))
			return err_set(e, EINVAL, "an address of IPv6 with a port is written [2001:db8::1]:443");
		if (end[1])
			colon = end + 1;
	} else if (strchr(s, ':') == strrchr(s, ':') && !strstr(s, "://")) {
		colon = strchr(s, ':');
	}
	if (colon) {
		*colon = '\0';
		if (parse_ports(colon + 1, r, e))
			return -e->code;
	}
	return host_parse(s, &r->host, e);
}

static int parse_methods(char *s, struct rule *r, struct err *e)
{
	char *save = NULL;

	for (char *p = strtok_r(s, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
		const size_t n = strlen(p);
		bool fine = n > 0 && n < sizeof(r->methods[0]);
		for (size_t i = 0; i < n && fine; i++) {
			if (p[i] >= 'a' && p[i] <= 'z')
				p[i] = (char)(p[i] - 'a' + 'A');
			fine = (p[i] >= 'A' && p[i] <= 'Z') || p[i] == '-';
		}
		if (!fine) {
			char shown[48];
			scrub(shown, sizeof(shown), p, n, false);
			return err_set(e, EINVAL, "'%s' is neither a method (GET,POST) nor a path (/v1/**)", shown);
		}
		if (r->nmethods == RULE_METHODS)
			return err_set(e, EINVAL, "more than %u methods in one rule", RULE_METHODS);
		str_copy(r->methods[r->nmethods++], sizeof(r->methods[0]), p);
	}
	return r->nmethods ? 0 : err_set(e, EINVAL, "a method is missing");
}

static int parse(const char *s, struct rule *r, struct err *e)
{
	const uint8_t scope = r->scope;
	struct tokens t;
	size_t i = 0;
	uint8_t verdict = r->verdict;

	if (split(s, &t, e))
		return -e->code;
	for (uint8_t v = 0; v < NET_VERDICT_NUM && t.n > 1; v++)
		if (!strcmp(t.text[0], rule_verdict_name[v])) {
			verdict = v;
			i = 1;
			break;
		}
	memset(r, 0, sizeof(*r));
	r->verdict = verdict;
	r->scope = scope;
	if (!strcmp(t.text[i], "tcp") && i + 1 < t.n) {
		r->tcp = true;
		i++;
	}
	if (parse_target(t.text[i++], r, e))
		return -e->code;
	if (i < t.n && t.text[i][0] != '/' && parse_methods(t.text[i++], r, e))
		return -e->code;
	if (i < t.n && t.text[i][0] == '/') {
		if (!str_copy(r->path, sizeof(r->path), t.text[i++]))
			return err_set(e, EINVAL, "the path of a rule is at most %u characters", RULE_PATH_MAX - 1);
	}
	if (i < t.n) {
		char shown[48];
		scrub(shown, sizeof(shown), t.text[i], strlen(t.text[i]), false);
		return err_set(e, EINVAL, "'%s' does not belong here: a rule is '[tcp] HOST[:PORTS] [METHODS] [/PATH]'", shown);
	}
	return rule_check(r, e);
}

int rule_parse(const char *s, struct rule *r, struct err *e)
{
	struct err local = ERR_INIT;

	return parse(s, r, e ? e : &local);
}

static int check_host(const struct host_pattern *h, struct err *e)
{
	struct net_addr first;

	switch (h->kind) {
	case HOST_ANY:
		return 0;
	case HOST_EXACT:
		/* "allow GET" would be a verdict and a host to who reads it next. */
		if (!strcmp(h->name, "tcp") || !strcmp(h->name, "allow") || !strcmp(h->name, "deny") || !strcmp(h->name, "ask"))
			return err_set(e, EINVAL, "'%s' is a word of rules: which host?", h->name);
		/* fall through */
	case HOST_ONE:
	case HOST_DEEP:
		return net_name_legal(h->name) ? 0 : err_set(e, EINVAL, "a rule needs the name of a host");
	case HOST_NET:
		first = addr_first(&h->net, h->bits <= 128 ? h->bits : 128);
		if (h->bits > 128 || (addr_is_v4(&h->net) && h->bits < 96) || memcmp(&first, &h->net, sizeof(first)))
			return err_set(e, EINVAL, "an address with bits beyond its prefix");
		return 0;
	default:
		return err_set(e, EINVAL, "no kind of host");
	}
}

static int check_path(const char *p, struct err *e)
{
	if (*p && *p != '/')
		return err_set(e, EINVAL, "the path of a rule begins with a slash");
	for (const char *c = p; *c; c++)
		if (*c <= ' ' || *c >= 0x7f || *c == '#' || *c == '%' || *c == '\\' || *c == ';')
			return err_set(e, EINVAL, "the path of a rule is plain ASCII without '%%', '#', ';' and '\\' ('?' stands for any one character)");
	if (strstr(p, "//") || strstr(p, "/./") || strstr(p, "/../") || str_ends(p, "/.") || str_ends(p, "/.."))
		return err_set(e, EINVAL, "a path with '//', '/.' or '/..' is matched by no request");
	return 0;
}

int rule_check(const struct rule *r, struct err *e)
{
	struct err local = ERR_INIT;

	if (!e)
		e = &local;
	if (r->verdict >= NET_VERDICT_NUM || r->scope > RULE_PRESET || r->nports > RULE_PORTS || r->nmethods > RULE_METHODS)
		return err_set(e, EINVAL, "not a rule");
	if (check_host(&r->host, e) || check_path(r->path, e))
		return -e->code;
	for (size_t i = 0; i < r->nports; i++)
		if (r->ports[i].from == 0 || r->ports[i].from > r->ports[i].to)
			return err_set(e, EINVAL, "a port is 1 to 65535");
	for (size_t i = 0; i < r->nmethods; i++)
		if (!r->methods[i][0] || strspn(r->methods[i], "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") != strlen(r->methods[i]))
			return err_set(e, EINVAL, "a method is a word like GET");
	if (r->tcp && (r->nmethods || r->path[0]))
		return err_set(e, EINVAL, "'tcp' is for what is neither TLS nor HTTP: it takes no method and no path");
	if (r->tcp && r->verdict != NET_DENY && !r->nports)
		return err_set(e, EINVAL, "'tcp' needs a port: 'tcp db.example.org:5432'");
	return 0;
}

void rule_text(const struct rule *r, bool with_verdict, char *dst, size_t cap)
{
	char host[NET_NAME_MAX + 8], line[RULE_TEXT_MAX];
	struct buf b;
	const bool brackets = r->host.kind == HOST_NET && r->nports && !addr_is_v4(&r->host.net);

	host_text(&r->host, host, sizeof(host));
	buf_init(&b, RULE_TEXT_MAX - 1);
	buf_printf(&b, "%s%s%s%s%s%s", with_verdict ? rule_verdict_name[r->verdict % NET_VERDICT_NUM] : "", with_verdict ? " " : "",
		   r->tcp ? "tcp " : "", brackets ? "[" : "", host, brackets ? "]" : "");
	for (size_t i = 0; i < r->nports; i++) {
		buf_printf(&b, "%c%u", i ? ',' : ':', r->ports[i].from);
		if (r->ports[i].to != r->ports[i].from)
			buf_printf(&b, "-%u", r->ports[i].to);
	}
	for (size_t i = 0; i < r->nmethods; i++)
		buf_printf(&b, "%c%s", i ? ',' : ' ', r->methods[i]);
	if (r->path[0])
		buf_printf(&b, " %s", r->path);
	const size_t n = buf_size(&b);
	if (n)
		memcpy(line, buf_head(&b), n);
	line[n] = '\0';
	buf_release(&b);
	if (n >= cap && cap >= 8) {
		memcpy(dst, line, cap - 4);
		memcpy(dst + cap - 4, "...", 4);
	} else {
		str_copy(dst, cap, line);
	}
}

bool rule_equal(const struct rule *a, const struct rule *b)
{
	char x[RULE_TEXT_MAX], y[RULE_TEXT_MAX];

	rule_text(a, true, x, sizeof(x));
	rule_text(b, true, y, sizeof(y));
	return !strcmp(x, y);
}
