/* SPDX-License-Identifier: Apache-2.0 */
/* core/secret/service.c: services.yaml. What is taken fits what bulkhead-net is sent and goes to named domains only. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "core/base/str.h"
#include "core/secret/service.h"

static void check(const struct service *v)
{
	char placeholder[128];
	const uint8_t key[32] = { 1 };

	MUST(*v->name && v->nrules > 0 && v->nrules <= SERVICE_RULES && v->nenvs <= SERVICE_ENVS);
	MUST(!service_placeholder(v, key, "blue", 1, placeholder));
	MUST(strlen(placeholder) == strlen(v->prefix) + PLACEHOLDER_RANDOM);
	for (unsigned i = 0; i < v->nrules; i++) {
		const struct service_rule *r = &v->rules[i];

		MUST(r->nhosts > 0 && r->nhosts <= NET_SECRET_HOSTS);
		MUST(!*r->header == !*r->format);
		MUST(!strpbrk(r->header, " \r\n:") && !strpbrk(r->format, "\r\n"));
		for (unsigned h = 0; h < r->nhosts; h++) {
			const char *host = r->hosts[h], *name = host + strspn(host, "*");
			MUST(strlen(host) < NET_NAME_MAX && !strchr(name, '*'));
			if (name != host)
				MUST(*name == '.' && strchr(name + 1, '.') && name - host <= 2);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct services s = { 0 };
	struct err e = ERR_INIT;

	if (services_parse(&s, "f", (const char *)p, n, &e) < 0) {
		MUST(!strncmp(e.msg, "f:", 2) || !strcmp(e.msg, "out of memory"));
		MUST(s.n == 0);
	}
	for (size_t i = 0; i < s.n; i++) {
		MUST(i == 0 || strcmp(s.v[i - 1]->name, s.v[i]->name) < 0);
		check(s.v[i]);
	}
	services_release(&s);
	return 0;
}
