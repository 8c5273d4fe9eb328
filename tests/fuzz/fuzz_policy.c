/* SPDX-License-Identifier: Apache-2.0 */
/* core/policytext: policy.yaml; every edit of a file that is right gives one that says just that more or less. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"
#include "core/policytext/policyfile.h"

static size_t count(const struct buf *b)
{
	struct policyfile pf;

	MUST(policyfile_parse((const char *)buf_head(b), buf_size(b), "f.yaml", RULE_GLOBAL, &pf, NULL) == 0);
	const size_t n = pf.n;
	policyfile_release(&pf);
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	const char *text = (const char *)p;
	struct policyfile pf;
	struct err e = ERR_INIT;
	struct rule r = { .scope = RULE_GLOBAL };
	struct buf out;

	if (policyfile_parse(text, n, "f.yaml", RULE_GLOBAL, &pf, &e)) {
		MUST(e.code && utf8_clean(e.msg) && !strncmp(e.msg, "f.yaml:", 7) && !pf.rules);
		return 0;
	}
	for (size_t i = 0; i < pf.n; i++)
		MUST(rule_check(&pf.rules[i], NULL) == 0 && utf8_clean(pf.rules[i].note));
	buf_init(&out, POLICYFILE_MAX);
	MUST(rule_parse("ask *.fuzz.test:1 GET /x", &r, NULL) == 0);
	if (policyfile_add(text, n, "f.yaml", &r, &out, &e) == 0)
		MUST(count(&out) == pf.n + 1);
	else
		MUST(utf8_clean(e.msg));
	for (size_t i = 0; i < pf.n && i < 4; i++) {
		buf_clear(&out);
		if (policyfile_remove(text, n, "f.yaml", pf.n - 1 - i, &out, &e) == 0)
			MUST(count(&out) == pf.n - 1);
	}
	buf_clear(&out);
	if (policyfile_set(text, n, "f.yaml", "preset", "open", &out, &e) == 0)
		MUST(count(&out) == pf.n);
	buf_release(&out);
	policyfile_release(&pf);
	return 0;
}
