/* SPDX-License-Identifier: Apache-2.0 */
/* core/policy/ruletext.c, host.c, addr.c, path.c: a rule as a string; what is taken means the same when it is written and read again. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"
#include "core/policy/addr.h"
#include "core/policy/path.h"
#include "core/policy/rules.h"

static void same_again(const struct rule *r)
{
	struct rule again = { .scope = r->scope };
	char text[RULE_TEXT_MAX], twice[RULE_TEXT_MAX], small[24];

	MUST(rule_check(r, NULL) == 0);
	rule_text(r, true, text, sizeof(text));
	MUST(utf8_clean(text));
	MUST(rule_parse(text, &again, NULL) == 0);
	rule_text(&again, true, twice, sizeof(twice));
	MUST(!strcmp(text, twice));
	MUST(rule_equal(r, &again));
	rule_text(r, true, small, sizeof(small));
	MUST(strlen(small) < sizeof(small));
}

/* A rule decides about the host that it names, unless it looks at more than that. */
static void decides(const struct rule *r)
{
	struct rules *rs = rules_create();
	struct net_facts f = { .proto = NET_P_TLS, .port = r->nports ? r->ports[0].from : 443 };
	struct rules_verdict v;

	MUST(rs && rules_add(rs, r, NULL) == 0);
	rules_default(rs, r->verdict == NET_DENY ? NET_ALLOW : NET_DENY, RULE_GLOBAL);
	if (r->host.kind == HOST_NET) {
		f.has_addr = true;
		f.addr = r->host.net;
	} else {
		memcpy(f.name, r->host.kind == HOST_ANY ? "any.test" : r->host.name, r->host.kind == HOST_ANY ? 9 : sizeof(f.name));
	}
	rules_decide(rs, &f, &v);
	if (f.has_addr && addr_forbidden(&f.addr, NULL) && !rules_names_address(rs, &f.addr, f.port, false))
		MUST(v.verdict == NET_DENY && !v.needs_open);
	else if (r->host.kind != HOST_ONE)
		MUST(r->nmethods || r->path[0] ? v.needs_open && rules_opens(rs, r->host.kind == HOST_NET ? "" : f.name) == (r->host.kind != HOST_NET) : v.verdict == r->verdict);
	rules_destroy(rs);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct rule r = { .verdict = NET_ASKED, .scope = RULE_SANDBOX };
	struct net_addr a;
	struct err e = ERR_INIT;
	char *s = malloc(n + 1), out[1024], text[ADDR_TEXT_MAX];

	MUST(s);
	memcpy(s, p, n);
	s[n] = '\0';
	if (rule_parse(s, &r, &e) == 0) {
		same_again(&r);
		decides(&r);
		MUST(r.scope == RULE_SANDBOX);
	} else {
		MUST(e.code && e.msg[0] && utf8_clean(e.msg));
	}
	if (addr_parse(s, &a) == 0) {
		struct net_addr b;
		addr_text(&a, text);
		MUST(addr_parse(text, &b) == 0 && !memcmp(&a, &b, sizeof(a)));
		addr_forbidden(&a, NULL);
	}
	/* What is canonical stays so; a plain path holds nothing that a server would resolve. */
	const bool plain = path_canonical(s, out, sizeof(out));
	MUST(strlen(out) < sizeof(out));
	if (plain)
		MUST(out[0] == '/' && !strstr(out, "/../") && !strstr(out, "//") && !strstr(out, "\\"));
	/* Among the readings are the path itself and its canonical form. */
	static struct path_readings all;
	path_read(s, &all);
	MUST(all.n >= 1 && all.n <= PATH_READINGS);
	for (size_t i = 0; i < all.n; i++)
		MUST(strnlen(all.v[i], PATH_READ_MAX) < PATH_READ_MAX);
	if (strlen(s) < PATH_READ_MAX - 1) {
		bool have = false;
		path_canonical(s, out, sizeof(out));
		for (size_t i = 0; i < all.n; i++)
			have |= !strcmp(all.v[i], out);
		MUST(have || strpbrk(s, "?#"));
	}
	char *star = strchr(s, ' ');
	if (star) {
		*star = '\0';
		const bool yes = glob_match(s, star + 1);
		if (!strpbrk(s, "*?"))
			MUST(yes == (strlen(s) <= 512 && !strcmp(s, star + 1)));
	}
	free(s);
	return 0;
}
