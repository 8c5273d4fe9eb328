/* SPDX-License-Identifier: Apache-2.0 */
/* core/policy: rules as text, the decision, the blob. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/policy/addr.h"
#include "core/policy/rules.h"

/* "admin: deny x; global: allow y; default allow; admin default deny; unattended" */
static struct rules *rules(const char *spec)
{
	struct rules *rs = rules_create();
	char *copy = str_dup(spec), *save = NULL;
	struct err e = ERR_INIT;

	assert_non_null(rs);
	assert_non_null(copy);
	for (char *p = strtok_r(copy, ";", &save); p; p = strtok_r(NULL, ";", &save)) {
		struct rule r = { .scope = RULE_GLOBAL };
		p += strspn(p, " ");
		for (uint8_t s = 0; s <= RULE_PRESET; s++) {
			const size_t n = strlen(rule_scope_name[s]);
			if (!strncmp(p, rule_scope_name[s], n) && p[n] == ':') {
				r.scope = s;
				p += n + 1;
				p += strspn(p, " ");
			}
		}
		bool word = false;
		for (uint8_t v = 0; v < NET_VERDICT_NUM && !word; v++) {
			char text[32];
			snprintf(text, sizeof(text), "default %s", rule_verdict_name[v]);
			if (!strcmp(p, text)) {
				if (r.scope == RULE_ADMIN)
					rules_admin_default(rs, v);
				else
					rules_default(rs, v, r.scope);
				word = true;
			}
		}
		if (!strcmp(p, "unattended")) {
			rules_unattended(rs, true);
			word = true;
		}
		if (!word && (rule_parse(p, &r, &e) || rules_add(rs, &r, &e)))
			fail_msg("'%s': %s", p, e.msg);
	}
	free(copy);
	return rs;
}

/* "tls example.org:443", "https example.org:443 GET /x", "tcp 192.0.2.1:22", "tls example.org@10.0.0.1:443" (resolved) */
static struct net_facts facts(const char *text)
{
	static const char *const protos[NET_P_NUM] = { "tcp", "tls", "http", "https" };
	struct net_facts f = { 0 };
	char proto[8], host[300], method[24] = "", path[1024] = "";
	unsigned port;

	assert_true(sscanf(text, "%7s %299[^ ] %23s %1023s", proto, host, method, path) >= 2);
	char *colon = strrchr(host, ':');
	assert_non_null(colon);
	*colon = '\0';
	port = (unsigned)strtoul(colon + 1, NULL, 10);
	for (uint8_t i = 0; i < NET_P_NUM; i++)
		if (!strcmp(protos[i], proto))
			f.proto = i;
	f.port = (uint16_t)port;
	char *at = strchr(host, '@');
	if (at) {
		*at = '\0';
		assert_int_equal(addr_parse(at + 1, &f.addr), 0);
		f.has_addr = true;
	}
	if (!at && !addr_parse(host, &f.addr))
		f.has_addr = true;
	else
		str_copy(f.name, sizeof(f.name), host);
	str_copy(f.method, sizeof(f.method), method);
	str_copy(f.path, sizeof(f.path), path);
	return f;
}

static const struct {
	const char *rules, *facts, *verdict /* a + is needs_open */, *rule;
} cases[] = {
	/* nothing said */
	{ "", "tls example.org:443", "ask", "default" },
	{ "unattended", "tls example.org:443", "deny", "default, nobody is there to ask" },
	{ "ask example.org; unattended", "tls example.org:443", "deny", "ask example.org" },
	{ "default allow", "tls example.org:443", "allow", "default" },
	{ "default deny", "tls example.org:443", "deny", "default" },
	/* exact */
	{ "allow example.org", "tls example.org:443", "allow", "allow example.org" },
	{ "allow example.org", "http example.org:80 GET /", "allow", "allow example.org" },
	{ "allow example.org", "tls www.example.org:443", "ask", "default" },
	{ "allow example.org", "tls badexample.org:443", "ask", "default" },
	{ "allow example.org", "tls example.org.evil.test:443", "ask", "default" },
	{ "allow EXAMPLE.org.", "tls example.org:443", "allow", "allow example.org" },
	/* one label */
	{ "allow *.example.org", "tls www.example.org:443", "allow", "allow *.example.org" },
	{ "allow *.example.org", "tls example.org:443", "ask", "default" },
	{ "allow *.example.org", "tls a.b.example.org:443", "ask", "default" },
	{ "allow *.example.org", "tls wwwexample.org:443", "ask", "default" },
	{ "allow *.example.org", "tls .example.org:443", "deny", "not the name of a host" },
	/* any depth */
	{ "allow **.example.org", "tls a.b.c.example.org:443", "allow", "allow **.example.org" },
	{ "allow **.example.org", "tls www.example.org:443", "allow", "allow **.example.org" },
	{ "allow **.example.org", "tls example.org:443", "allow", "allow **.example.org" },
	{ "allow **.example.org", "tls xexample.org:443", "ask", "default" },
	{ "allow **.example.org", "tls example.org.test:443", "ask", "default" },
	/* anything */
	{ "allow *", "tls anything.test:443", "allow", "allow *" },
	{ "allow *", "tls 192.0.2.7:443", "allow", "allow *" },
	{ "allow *:443", "tls anything.test:8443", "ask", "default" },
	/* ports */
	{ "allow example.org:443", "tls example.org:443", "allow", "allow example.org:443" },
	{ "allow example.org:443", "tls example.org:444", "ask", "default" },
	{ "allow example.org:80,443,8000-8010", "tls example.org:8005", "allow", "allow example.org:80,443,8000-8010" },
	{ "allow example.org:80,443,8000-8010", "tls example.org:8011", "ask", "default" },
	{ "allow example.org", "tls example.org:0", "deny", "neither name nor address" },
	/* addresses and ranges */
	{ "allow 192.0.2.7", "tls 192.0.2.7:443", "allow", "allow 192.0.2.7" },
	{ "allow 192.0.2.7", "tls 192.0.2.8:443", "ask", "default" },
	{ "allow 192.0.2.0/24:443", "tls 192.0.2.255:443", "allow", "allow 192.0.2.0/24:443" },
	{ "allow 192.0.2.0/24", "tls 192.0.3.0:443", "ask", "default" },
	{ "allow 0.0.0.0/0", "tls 192.0.3.0:443", "allow", "allow 0.0.0.0/0" },
	{ "allow 0.0.0.0/0", "tls 2001:db8::1:443", "ask", "default" },
	{ "allow ::/0", "tls 192.0.3.0:443", "ask", "default" },
	{ "allow 2001:db8::/32", "tls 2001:db8:1::1:443", "allow", "allow 2001:db8::/32" },
	{ "allow [2001:db8::1]:443", "tls 2001:db8::1:443", "allow", "allow [2001:db8::1]:443" },
	{ "allow 192.0.2.0/24", "tls example.org@192.0.2.1:443", "ask", "default" }, /* a name is allowed by name */
	{ "allow example.org; deny 192.0.2.0/24", "tls example.org@192.0.2.1:443", "deny", "deny 192.0.2.0/24" },
	{ "allow example.org; deny 192.0.2.0/24", "tls example.org:443", "allow", "allow example.org" }, /* not resolved yet */
	/* numbers are no names, and no name covers them */
	{ "allow *; allow **.example.org", "tls 2130706433:443", "deny", "not the name of a host" },
	{ "allow *", "tls 0x7f000001:443", "deny", "not the name of a host" },
	{ "allow *", "tls 0177.0.0.1:443", "deny", "not the name of a host" },
	{ "allow *", "tls 127.1:443", "deny", "not the name of a host" },
	{ "allow *", "tls EXAMPLE.org:443", "deny", "not the name of a host" },
	{ "allow *", "tls example..org:443", "deny", "not the name of a host" },
	/* raw addresses that are not on the internet need a rule that names them */
	{ "allow *", "tls 10.0.0.1:443", "deny", "private address" },
	{ "default allow", "tls 169.254.169.254:80", "deny", "metadata address" },
	{ "", "tcp 127.0.0.1:22", "deny", "loopback address" },
	{ "allow * GET", "tls 10.0.0.1:443", "deny", "private address" },
	{ "allow 0.0.0.0/0", "tls 10.0.0.1:443", "deny", "private address" },
	{ "allow 10.0.0.1", "tls 10.0.0.1:443", "allow", "allow 10.0.0.1" },
	{ "ask 10.0.0.0/8", "tls 10.0.0.1:443", "ask", "ask 10.0.0.0/8" },
	{ "deny *", "tls 10.0.0.1:443", "deny", "deny *" },
	/* deny wins, whoever says it and however specific */
	{ "allow example.org; deny example.org", "tls example.org:443", "deny", "deny example.org" },
	{ "deny example.org; allow example.org", "tls example.org:443", "deny", "deny example.org" },
	{ "allow a.example.org:443; deny **.example.org", "tls a.example.org:443", "deny", "deny **.example.org" },
	{ "sandbox: allow example.org; preset: deny *", "tls example.org:443", "deny", "deny *" },
	{ "ask example.org; deny *.org", "tls example.org:443", "deny", "deny *.org" },
	{ "deny example.org:80; allow example.org", "tls example.org:443", "allow", "allow example.org" },
	/* the more specific of ask and allow */
	{ "allow **.example.org; ask api.example.org", "tls api.example.org:443", "ask", "ask api.example.org" },
	{ "ask **.example.org; allow api.example.org:443", "tls api.example.org:443", "allow", "allow api.example.org:443" },
	{ "ask *.example.org; allow **.example.org", "tls a.example.org:443", "ask", "ask *.example.org" },
	{ "ask **.b.example.org; allow **.example.org", "tls a.b.example.org:443", "ask", "ask **.b.example.org" },
	{ "ask *; allow **.org", "tls a.org:443", "allow", "allow **.org" },
	{ "ask example.org:443; allow example.org", "tls example.org:443", "ask", "ask example.org:443" },
	{ "sandbox: ask example.org; global: allow example.org", "tls example.org:443", "ask", "ask example.org" },
	{ "global: ask example.org; sandbox: allow example.org", "tls example.org:443", "allow", "allow example.org" },
	{ "preset: allow example.org; global: ask example.org", "tls example.org:443", "ask", "ask example.org" },
	{ "preset: allow example.org:443; global: ask **.example.org", "tls example.org:443", "ask", "ask **.example.org" },
	{ "preset: allow example.org:443; sandbox: ask *", "tls example.org:443", "ask", "ask *" },
	{ "preset: ask example.org:443; global: allow *", "tls example.org:443", "allow", "allow *" },
	{ "ask example.org; allow example.org", "tls example.org:443", "allow", "allow example.org" }, /* the later */
	{ "sandbox: ask *; global: allow example.org", "tls example.org:443", "allow", "allow example.org" },
	{ "ask 192.0.2.0/24; allow 192.0.2.1", "tls 192.0.2.1:443", "allow", "allow 192.0.2.1" },
	{ "allow 192.0.2.0/24; ask *", "tls 192.0.2.1:443", "allow", "allow 192.0.2.0/24" },
	/* raw TCP */
	{ "allow example.org:22", "tcp example.org:22", "ask", "default" },
	{ "allow tcp example.org:22", "tcp example.org:22", "allow", "allow tcp example.org:22" },
	{ "allow tcp example.org:443", "tls example.org:443", "allow", "allow tcp example.org:443" },
	{ "allow tcp example.org:22", "tcp example.org:23", "ask", "default" },
	{ "allow tcp 192.0.2.1:5432", "tcp 192.0.2.1:5432", "allow", "allow tcp 192.0.2.1:5432" },
	{ "allow *", "tcp example.org:22", "ask", "default" },
	{ "default allow", "tcp example.org:22", "ask", "default, neither TLS nor HTTP" },
	{ "default allow; unattended", "tcp example.org:22", "deny", "default, neither TLS nor HTTP, nobody is there to ask" },
	{ "deny example.org; allow tcp example.org:22", "tcp example.org:22", "deny", "deny example.org" },
	/* methods and paths */
	{ "allow api.test GET /v1/*", "tls api.test:443", "ask+", "default" },
	{ "default deny; allow api.test GET /v1/*", "tls api.test:443", "deny+", "default" },
	{ "allow api.test GET /v1/*", "tls other.test:443", "ask", "default" },
	{ "allow api.test:443 GET /v1/*", "tls api.test:8443", "ask", "default" },
	{ "allow api.test GET /v1/*", "https api.test:443 GET /v1/x", "allow", "allow api.test GET /v1/*" },
	{ "allow api.test GET /v1/*", "https api.test:443 GET /v1/x?q=1", "allow", "allow api.test GET /v1/*" },
	{ "allow api.test GET /v1/*", "https api.test:443 GET /v1/x/y", "ask", "default" },
	{ "allow api.test GET /v1/**", "https api.test:443 GET /v1/x/y", "allow", "allow api.test GET /v1/**" },
	{ "allow api.test GET /v1/*", "https api.test:443 POST /v1/x", "ask", "default" },
	{ "allow api.test GET,POST", "https api.test:443 POST /any", "allow", "allow api.test GET,POST" },
	{ "allow api.test get", "http api.test:80 GET /", "allow", "allow api.test GET" },
	{ "allow api.test /v1/*", "https api.test:443 DELETE /v1/x", "allow", "allow api.test /v1/*" },
	{ "allow api.test; deny api.test DELETE", "tls api.test:443", "allow+", "allow api.test" },
	{ "allow api.test; deny api.test DELETE", "https api.test:443 DELETE /x", "deny", "deny api.test DELETE" },
	{ "allow api.test; deny api.test DELETE", "https api.test:443 GET /x", "allow", "allow api.test" },
	{ "deny api.test; allow api.test GET", "tls api.test:443", "deny", "deny api.test" }, /* nothing to open for */
	{ "allow api.test; deny api.test DELETE", "tcp api.test:443", "ask", "default" },
	{ "allow api.test; ask api.test POST", "https api.test:443 POST /x", "ask", "ask api.test POST" },
	{ "allow api.test /v1/**; ask api.test /v1/keys/**", "https api.test:443 GET /v1/keys/a", "ask", "ask api.test /v1/keys/**" },
	/* a path that hides something is allowed by no path, and denied by every one it might mean */
	{ "allow api.test /v1/**", "https api.test:443 GET /v1/../admin", "ask", "default" },
	{ "allow api.test /v1/**", "https api.test:443 GET /v1/%2e%2e/admin", "ask", "default" },
	{ "allow api.test /v1/**", "https api.test:443 GET /v1/..%2fadmin", "ask", "default" },
	{ "allow api.test /v1/**", "https api.test:443 GET //v1/x", "ask", "default" },
	{ "allow api.test GET /**", "https api.test:443 GET /@scope%2fname", "allow", "allow api.test GET /**" },
	{ "allow api.test GET /@scope/**", "https api.test:443 GET /@scope%2fname", "ask", "default" },
	{ "allow api.test /v1/**", "https api.test:443 GET /v1/%61", "allow", "allow api.test /v1/**" },
	{ "allow api.test; deny api.test /admin/**", "https api.test:443 GET /v1/../admin/x", "deny", "deny api.test /admin/**" },
	{ "allow api.test; deny api.test /admin/**", "https api.test:443 GET /%61dmin/x", "deny", "deny api.test /admin/**" },
	{ "allow api.test; deny api.test /admin/**", "https api.test:443 GET //admin//x", "deny", "deny api.test /admin/**" },
	{ "allow api.test; deny api.test /admin/**", "https api.test:443 GET /Admin/x", "allow", "allow api.test" },
	{ "allow api.test; deny api.test /admin/**", "https api.test:443 GET /v1/..;/admin/x", "deny", "deny api.test /admin/**" },
	{ "allow api.test; deny api.test /admin/**", "https api.test:443 GET /admin;x/y", "deny", "deny api.test /admin/**" },
	{ "allow api.test; deny api.test /admin/**", "https api.test:443 GET /admin%3bx/y", "deny", "deny api.test /admin/**" },
	{ "allow api.test; deny api.test /admin/**", "https api.test:443 GET /admin%252fx", "deny", "deny api.test /admin/**" },
	{ "allow api.test; deny api.test /admin/**", "https api.test:443 GET /v1%25252f..%2fadmin/x", "deny", "deny api.test /admin/**" },
	{ "allow api.test; deny api.test /admin/**", "https api.test:443 GET /%2561dmin/x", "deny", "deny api.test /admin/**" },
	{ "allow api.test; deny api.test /admin/**", "https api.test:443 GET /x%3f/../admin/x", "deny", "deny api.test /admin/**" },
	{ "allow api.test; deny api.test /admin/**", "https api.test:443 GET /v1/%zz", "deny", "deny api.test /admin/**" },
	{ "allow api.test; deny api.test /admin/**", "https api.test:443 GET /v1/%c0%af", "deny", "deny api.test /admin/**" },
	{ "allow api.test; deny api.test /admin/**", "https api.test:443 GET /v1/%00", "deny", "deny api.test /admin/**" },
	{ "allow api.test; deny api.test /admin/**", "https api.test:443 GET /v1/%2525252525252525", "deny", "deny api.test /admin/**" },
	{ "allow api.test; deny api.test /admin/**", "https api.test:443 GET /v1;a=b/x%20y%2fz;c", "allow", "allow api.test" },
	{ "allow api.test; deny api.test /admin/**", "https api.test:443 GET /v1/100%25", "allow", "allow api.test" },
	{ "allow api.test; deny api.test /a?c", "https api.test:443 GET /a%2fc", "allow", "allow api.test" },
	{ "allow api.test; ask api.test /keys/**", "https api.test:443 GET /v1/..;/keys/a", "ask", "ask api.test /keys/**" },
	{ "allow api.test /v1/**; ask api.test /v1/keys/**", "https api.test:443 GET /v1;x/keys/a", "ask", "ask api.test /v1/keys/**" },
	{ "allow api.test; deny api.test DELETE", "https api.test:443 delete /x", "deny", "deny api.test DELETE" },
	{ "allow api.test; deny api.test DELETE", "https api.test:443 DeLeTe /x", "deny", "deny api.test DELETE" },
	{ "allow api.test; ask api.test POST", "https api.test:443 post /x", "ask", "ask api.test POST" },
	{ "allow api.test GET", "https api.test:443 get /x", "ask", "default" },
	/* the administrator: a bound that is narrowed, never loosened */
	{ "admin: deny example.org; allow example.org", "tls example.org:443", "deny", "deny example.org" },
	{ "admin: deny **.example.org; sandbox: allow a.example.org:443; default allow", "tls a.example.org:443", "deny", "deny **.example.org" },
	{ "admin: allow **.corp.test; allow example.org", "tls example.org:443", "deny", "not on the administrator's list" },
	{ "admin: allow **.corp.test; default allow", "tls example.org:443", "deny", "not on the administrator's list" },
	{ "admin: allow **.corp.test", "tls a.corp.test:443", "ask", "default" },
	{ "admin: allow **.corp.test; default allow", "tls a.corp.test:443", "allow", "default" },
	{ "admin: allow **.corp.test; allow a.corp.test", "tls a.corp.test:443", "allow", "allow a.corp.test" },
	{ "admin: allow **.corp.test; deny a.corp.test", "tls a.corp.test:443", "deny", "deny a.corp.test" },
	{ "admin: allow **.corp.test; allow a.corp.test", "tls a.corp.test:8443", "allow", "allow a.corp.test" },
	{ "admin: allow **.corp.test:443; allow a.corp.test", "tls a.corp.test:8443", "deny", "not on the administrator's list" },
	{ "admin: allow **.corp.test; allow tcp a.corp.test:22", "tcp a.corp.test:22", "deny", "not on the administrator's list" },
	{ "admin: ask example.org; allow example.org", "tls example.org:443", "ask", "ask example.org" },
	{ "admin: ask example.org; deny example.org", "tls example.org:443", "deny", "deny example.org" },
	{ "admin: default ask; default allow", "tls example.org:443", "ask", "administrator's default" },
	{ "admin: default deny; default allow; allow *", "tls example.org:443", "deny", "administrator's default" },
	{ "admin: default allow; admin: ask a.test; default allow", "tls b.test:443", "allow", "default" },
	{ "admin: deny a.test; default allow", "tls b.test:443", "allow", "default" },
	{ "admin: allow a.test GET; allow a.test", "tls a.test:443", "deny+", "not on the administrator's list" },
	{ "admin: allow a.test GET; allow a.test", "https a.test:443 GET /", "allow", "allow a.test" },
	{ "admin: allow a.test GET; allow a.test", "https a.test:443 POST /", "deny", "not on the administrator's list" },
	{ "admin: deny a.test; allow a.test GET", "tls a.test:443", "deny", "deny a.test" },
	{ "admin: allow b.test; allow a.test GET", "tls a.test:443", "deny", "not on the administrator's list" },
	{ "admin: deny 10.0.0.0/8; allow 10.0.0.1", "tls 10.0.0.1:443", "deny", "deny 10.0.0.0/8" },
};

static void check_all(bool through_blob)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rules *rs = rules(cases[i].rules);
		const struct net_facts f = facts(cases[i].facts);
		struct rules_verdict v;
		char got[8];

		if (through_blob) {
			struct buf b;
			struct err e = ERR_INIT;
			buf_init(&b, RULES_BLOB_MAX);
			assert_int_equal(rules_pack(rs, &b), 0);
			rules_destroy(rs);
			rs = rules_unpack(buf_head(&b), buf_size(&b), &e);
			assert_non_null(rs);
			buf_release(&b);
		}
		rules_decide(rs, &f, &v);
		snprintf(got, sizeof(got), "%s%s", rule_verdict_name[v.verdict], v.needs_open ? "+" : "");
		if (strcmp(got, cases[i].verdict) || strcmp(v.rule, cases[i].rule))
			fail_msg("{%s} %s: %s by '%s', not %s by '%s'", cases[i].rules, cases[i].facts, got, v.rule, cases[i].verdict, cases[i].rule);
		rules_destroy(rs);
	}
}

static void decisions(void **state)
{
	(void)state;
	check_all(false);
}

static void decisions_after_the_blob(void **state)
{
	(void)state;
	check_all(true);
}

static const struct {
	const char *text, *canonical; /* NULL: refused */
} texts[] = {
	{ "allow example.org", "allow example.org" }, { "  deny\t*.Example.ORG.  ", "deny *.example.org" }, { "example.org", "ask example.org" },
	{ "ask **.example.org:443 GET /v1/*", "ask **.example.org:443 GET /v1/*" }, { "allow a.test:1-65535", "allow a.test:1-65535" },
	{ "allow a.test post,get /x", "allow a.test POST,GET /x" }, { "allow tcp db.test:5432", "allow tcp db.test:5432" },
	{ "deny tcp db.test", "deny tcp db.test" }, { "allow 2001:DB8:0::1", "allow 2001:db8::1" }, { "allow [2001:db8::]:443", "allow [2001:db8::]:443" },
	{ "allow [2001:db8::/32]:443", "allow [2001:db8::/32]:443" }, { "allow 10.0.0.0/8", "allow 10.0.0.0/8" }, { "allow 10.0.0.1/32", "allow 10.0.0.1" },
	{ "allow *", "allow *" }, { "allow **", "allow *" }, { "allow localhost:3000", "allow localhost:3000" }, { "allow a_b.test", "allow a_b.test" },
	{ "allow xn--bcher-kva.test", "allow xn--bcher-kva.test" }, { "allow allow", NULL }, { "allow tcp", NULL }, { "tcp GET", NULL }, { "tcp a.test:1", "ask tcp a.test:1" },
	{ "", NULL }, { "   ", NULL }, { "allow https://example.org/", NULL }, { "allow example.org:", NULL }, { "allow example.org:0", NULL },
	{ "allow example.org:65536", NULL }, { "allow example.org:9-1", NULL }, { "allow example.org:http", NULL }, { "allow a*.test", NULL },
	{ "allow *a.test", NULL }, { "allow a.*.test", NULL }, { "allow *.", NULL }, { "allow **.", NULL }, { "allow *.*.test", NULL }, { "allow -", "allow -" },
	{ "allow a..test", NULL }, { "allow .test", NULL }, { "allow b\xc3\xbc" "cher.test", NULL }, { "allow 10.0.0.1/8", NULL }, { "allow 10.0.0.0/33", NULL },
	{ "allow 2001:db8::/129", NULL }, { "allow 1.2.3", NULL }, { "allow 0x7f000001", NULL }, { "allow 017700000001", NULL }, { "allow 2130706433", NULL },
	{ "allow 127.1", NULL }, { "allow ::ffff:10.0.0.1", NULL }, { "allow *.1.2.3.4", NULL }, { "allow tcp db.test", NULL }, { "allow tcp db.test:1 GET", NULL },
	{ "allow a.test G3T", NULL }, { "allow a.test GET v1", NULL }, { "allow a.test /a /b", NULL }, { "allow a.test /a/../b", NULL }, { "allow a.test /a//b", NULL },
	{ "allow a.test /%41", NULL }, { "allow a.test GET,", "allow a.test GET" }, { "allow a\x01.test", NULL }, { "allow a b c d e f g", NULL },
	{ "permit a.test", NULL }, { "allow a.test GET POST", NULL }, { "allow [2001:db8::1", NULL }, { "allow [example.org]:443", NULL },
	{ "allow a.test A,B,C,D,E,F,G,H,I", NULL }, { "allow a.test:1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", NULL },
};

static void rules_as_text(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct rule r = { .verdict = NET_ASKED, .scope = RULE_SANDBOX }, again = { .scope = RULE_SANDBOX };
		struct err e = ERR_INIT;
		char text[RULE_TEXT_MAX];
		const int rc = rule_parse(texts[i].text, &r, &e);

		if (!texts[i].canonical) {
			if (!rc)
				fail_msg("'%s' was taken", texts[i].text);
			assert_true(e.msg[0] && utf8_clean(e.msg));
			continue;
		}
		if (rc)
			fail_msg("'%s': %s", texts[i].text, e.msg);
		rule_text(&r, true, text, sizeof(text));
		assert_string_equal(text, texts[i].canonical);
		assert_int_equal(r.scope, RULE_SANDBOX);
		assert_int_equal(rule_parse(text, &again, &e), 0);
		assert_true(rule_equal(&r, &again));
		rule_text(&r, false, text, sizeof(text));
		assert_non_null(strstr(texts[i].canonical, text));
	}
}

static void a_rule_that_is_cut_says_so(void **state)
{
	struct rule r = { 0 };
	char small[16];

	(void)state;
	assert_int_equal(rule_parse("allow a-long-name.example.org:443", &r, NULL), 0);
	rule_text(&r, true, small, sizeof(small));
	assert_string_equal(small, "allow a-long...");
}

static const struct {
	const char *rules, *address;
	uint16_t port;
	bool named;
} lifted[] = {
	{ "", "10.0.0.1", 80, false }, { "allow *", "10.0.0.1", 80, false }, { "allow 10.0.0.1", "10.0.0.1", 80, true }, { "ask 10.0.0.1", "10.0.0.1", 80, true },
	{ "allow 10.0.0.1:443", "10.0.0.1", 80, false }, { "allow 10.0.0.1", "10.0.0.2", 80, false }, { "allow 10.0.0.0/8", "10.9.9.9", 80, true },
	{ "allow 192.168.0.0/16", "192.168.7.7", 80, true }, { "allow 0.0.0.0/0", "10.0.0.1", 80, false }, { "allow 0.0.0.0/1", "10.0.0.1", 80, false },
	{ "allow 8.0.0.0/5", "10.0.0.1", 80, false }, { "allow 169.254.0.0/16", "169.254.169.254", 80, false },
	{ "allow 169.254.169.254", "169.254.169.254", 80, true }, { "allow 127.0.0.0/8", "127.0.0.1", 80, true },
	{ "allow ::1", "::1", 80, true }, { "allow ::/0", "::1", 80, false }, { "allow fc00::/7", "fd00::1", 80, true }, { "allow fc00::/7", "fd00:ec2::254", 80, false },
	{ "allow 10.0.0.1; deny 10.0.0.0/8", "10.0.0.1", 80, false }, { "allow 10.0.0.1; deny 10.0.0.1 DELETE", "10.0.0.1", 80, true },
	{ "admin: allow **.corp.test; allow 10.0.0.1", "10.0.0.1", 80, false }, { "admin: allow 10.0.0.0/8; allow 10.0.0.1", "10.0.0.1", 80, true },
	{ "admin: default deny; allow 10.0.0.1", "10.0.0.1", 80, false }, { "admin: deny 192.168.0.0/16; allow 10.0.0.1", "10.0.0.1", 80, true },
	{ "admin: allow 10.0.0.1", "10.0.0.1", 80, true },
};

static void rules_that_name_an_address(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lifted); i++) {
		struct rules *rs = rules(lifted[i].rules);
		struct net_addr a;
		assert_int_equal(addr_parse(lifted[i].address, &a), 0);
		if (rules_names_address(rs, &a, lifted[i].port, false) != lifted[i].named)
			fail_msg("{%s} %s", lifted[i].rules, lifted[i].address);
		/* What a name resolved to is not asked about: a rule that asks about the number says nothing for it. */
		if (rules_names_address(rs, &a, lifted[i].port, true) != (lifted[i].named && !str_starts(lifted[i].rules, "ask")))
			fail_msg("{%s} %s, resolved", lifted[i].rules, lifted[i].address);
		if (rules_denied_address(rs, &a, lifted[i].port))
			assert_non_null(strstr(lifted[i].rules, "deny 10.0.0.0/8"));
		else
			assert_null(strstr(lifted[i].rules, "deny 10.0.0.0/8"));
		rules_destroy(rs);
	}
}

static void names_that_are_local(void **state)
{
	static const char *const local[] = { "intranet", "localhost", "x.localhost", "printer.local", "vault.internal", "metadata.google.internal", "metadata.goog",
					     "1.0.0.127.in-addr.arpa", "host.localdomain" },
				 *const others[] = { "example.org", "local.example.org", "internal.example", "locals.test", "arpa.test" };
	static const struct { const char *rules; bool named; } table[] = {
		{ "", false }, { "allow *", false }, { "allow **.internal", false }, { "allow *.internal", false }, { "allow vault.internal", true },
		{ "ask vault.internal:443", true }, { "allow vault.internal:80", false }, { "deny vault.internal", false },
		{ "admin: allow **.corp.test; allow vault.internal", false }, { "admin: allow vault.internal:443", true },
	};
	const char *why;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(local); i++)
		if (!host_is_local(local[i], &why))
			fail_msg("%s", local[i]);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (host_is_local(others[i], &why))
			fail_msg("%s", others[i]);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct rules *rs = rules(table[i].rules);
		if (rules_names_host(rs, "vault.internal", 443) != table[i].named)
			fail_msg("{%s}", table[i].rules);
		rules_destroy(rs);
	}
}

static const struct {
	const char *rules, *facts, *remembered;
} answers[] = {
	{ "", "tls example.org:443", "allow example.org:443" },
	{ "", "tls 192.0.2.1:443", "allow 192.0.2.1:443" },
	{ "", "tls 2001:db8::1:443", "allow [2001:db8::1]:443" },
	{ "", "tcp db.test:5432", "allow tcp db.test:5432" },
	{ "ask **.example.org", "tls a.example.org:443", "allow a.example.org:443" },
	{ "ask example.org:443", "tls example.org:443", "allow example.org:443" },
	{ "allow a.test; ask a.test POST /v1/**", "https a.test:443 POST /v1/x", "allow a.test:443 POST /v1/**" },
};

/* What is remembered decides the next time, when it is added to the scope that asked. */
static void answers_are_remembered(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		struct rules *rs = rules(answers[i].rules);
		const struct net_facts f = facts(answers[i].facts);
		struct rules_verdict v;
		struct rule r;
		char text[RULE_TEXT_MAX];

		rules_remember(rs, &f, NET_ALLOW, &r);
		rule_text(&r, true, text, sizeof(text));
		assert_string_equal(text, answers[i].remembered);
		assert_int_equal(rules_add(rs, &r, NULL), 0);
		rules_decide(rs, &f, &v);
		assert_int_equal(v.verdict, NET_ALLOW);
		assert_int_equal(v.by->scope, RULE_GLOBAL);
		rules_destroy(rs);
	}
}

static void thousands_of_rules_are_one_probe_each_label(void **state)
{
	struct rules *rs = rules_create();
	struct net_facts hit = facts("tls a.host9000.example.org:443"), miss = facts("tls a.b.c.d.e.other.test:443");
	struct rules_verdict v;
	struct timespec t0, t1;

	(void)state;
	assert_non_null(rs);
	for (unsigned i = 0; i < RULES_MAX; i++) {
		struct rule r = { .scope = RULE_GLOBAL };
		char text[64];
		snprintf(text, sizeof(text), "allow **.host%u.example.org:443", i);
		assert_int_equal(rule_parse(text, &r, NULL), 0);
		assert_int_equal(rules_add(rs, &r, NULL), 0);
	}
	struct rule more = { .scope = RULE_GLOBAL };
	assert_int_equal(rule_parse("allow more.test", &more, NULL), 0);
	assert_int_equal(rules_add(rs, &more, NULL), -ENOSPC);
	clock_gettime(CLOCK_MONOTONIC, &t0);
	for (unsigned i = 0; i < 20000; i++) {
		rules_decide(rs, &hit, &v);
		assert_int_equal(v.verdict, NET_ALLOW);
		rules_decide(rs, &miss, &v);
		assert_int_equal(v.verdict, NET_ASKED);
	}
	clock_gettime(CLOCK_MONOTONIC, &t1);
	const double us = ((double)(t1.tv_sec - t0.tv_sec) * 1e6 + (double)(t1.tv_nsec - t0.tv_nsec) / 1e3) / 40000;
	print_message("%u rules: %.2f us a decision\n", RULES_MAX, us);
	assert_true(us < 200); /* a walk over all of them takes longer, even on a slow machine */
	struct buf b;
	buf_init(&b, RULES_BLOB_MAX);
	assert_int_equal(rules_pack(rs, &b), 0);
	buf_release(&b);
	rules_destroy(rs);
}

/* Any byte of the blob changed, and any cut: refused, or rules that are rules. */
static void blobs_that_are_damaged(void **state)
{
	struct rules *rs = rules("allow example.org:443 GET /v1/*; deny 10.0.0.0/8; admin: allow *; sandbox: ask tcp **.a.test:22-23; default deny; unattended");
	struct buf b;

	(void)state;
	buf_init(&b, RULES_BLOB_MAX);
	assert_int_equal(rules_pack(rs, &b), 0);
	rules_destroy(rs);
	const size_t n = buf_size(&b);
	uint8_t *copy = malloc(n);
	assert_non_null(copy);
	for (size_t i = 0; i < n; i++) {
		struct err e = ERR_INIT;
		assert_null(rules_unpack(buf_head(&b), i, &e));
		assert_string_equal(e.msg, "the rules are damaged");
		for (unsigned x = 1; x < 256; x <<= 1) {
			memcpy(copy, buf_head(&b), n);
			copy[i] ^= (uint8_t)x;
			rs = rules_unpack(copy, n, &e);
			for (size_t k = 0; rs && k < rules_count(rs); k++)
				assert_int_equal(rule_check(rules_at(rs, k), NULL), 0);
			rules_destroy(rs);
		}
	}
	buf_u8(&b, 0);
	assert_null(rules_unpack(buf_head(&b), n + 1, NULL));
	free(copy);
	buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decisions),
		cmocka_unit_test(decisions_after_the_blob),
		cmocka_unit_test(rules_as_text),
		cmocka_unit_test(a_rule_that_is_cut_says_so),
		cmocka_unit_test(rules_that_name_an_address), cmocka_unit_test(names_that_are_local),
		cmocka_unit_test(answers_are_remembered),
		cmocka_unit_test(thousands_of_rules_are_one_probe_each_label),
		cmocka_unit_test(blobs_that_are_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
