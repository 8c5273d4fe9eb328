/* SPDX-License-Identifier: Apache-2.0 */
/* core/policy/wire.c, decide.c: the blob that bulkhead-net is given, and decisions with whatever rules and facts came out of bytes. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "core/policy/rules.h"

static void decide(const struct rules *rs, const uint8_t *p, size_t n)
{
	struct net_facts f;
	struct rules_verdict v;
	struct rbuf b;
	struct rule r;

	rbuf_init(&b, p, n);
	if (net_facts_unpack(&b, &f))
		return;
	rules_decide(rs, &f, &v);
	MUST(v.verdict < NET_VERDICT_NUM && v.scope < RULE_SCOPE_NUM && strlen(v.rule) < sizeof(v.rule) && v.rule[0]);
	rules_names_address(rs, &f.addr, f.port, f.name[0] != 0);
	rules_opens(rs, f.name);
	if (v.verdict != NET_DENY) {
		rules_remember(rs, &f, NET_ALLOW, &r);
		MUST(rule_check(&r, NULL) == 0);
	}
}

/* u16 length of the blob, the blob, facts. */
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct buf b;

	if (n < 2)
		return 0;
	size_t blob = (size_t)(p[0] | p[1] << 8);
	p += 2;
	n -= 2;
	if (blob > n)
		blob = n;
	struct rules *rs = rules_unpack(p, blob, NULL);
	if (!rs)
		return 0;
	buf_init(&b, RULES_BLOB_MAX);
	MUST(rules_pack(rs, &b) == 0);
	MUST(buf_size(&b) == blob && !memcmp(buf_head(&b), p, blob));
	buf_release(&b);
	for (size_t i = 0; i < rules_count(rs); i++)
		MUST(rule_check(rules_at(rs, i), NULL) == 0);
	decide(rs, p + blob, n - blob);
	rules_destroy(rs);
	return 0;
}
