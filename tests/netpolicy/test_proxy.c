/* SPDX-License-Identifier: Apache-2.0 */
/* netpolicy/proxy.c: what people write into HTTPS_PROXY and NO_PROXY. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "core/policy/addr.h"
#include "netpolicy/proxy.h"

static void urls(void **state)
{
	static const struct { const char *text, *host; uint16_t port; const char *user; } good[] = {
		{ "http://proxy.example:3128", "proxy.example", 3128, "" },
		{ "http://proxy.example:3128/", "proxy.example", 3128, "" },
		{ "HTTP://proxy.example", "proxy.example", 80, "" },
		{ "proxy.example:8080", "proxy.example", 8080, "" },
		{ "http://192.0.2.7:3128", "192.0.2.7", 3128, "" },
		{ "http://[2001:db8::7]:3128", "2001:db8::7", 3128, "" },
		{ "http://[2001:db8::7]", "2001:db8::7", 80, "" },
		{ "http://me:pass@proxy.example:3128", "proxy.example", 3128, "me:pass" },
		{ "http://me:p%40ss%3a%2F@proxy.example", "proxy.example", 80, "me:p@ss:/" },
		{ "http://me:p@ss@proxy.example:1", "proxy.example", 1, "me:p@ss" },
	};
	static const char *const bad[] = { "", "http://", "https://proxy.example:3128", "socks5://proxy.example:1080", "http://:3128", "http://proxy.example:",
					   "http://proxy.example:0", "http://proxy.example:65536", "http://proxy.example:3128x", "http://proxy.example:000000003128",
					   "http://me:%4@proxy.example", "http://me:%zz@proxy.example", "http://me:%00@proxy.example", "http://[2001:db8::7", "http://[::1]x:1" };
	struct proxy_url p;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_true(proxy_url_parse(&p, good[i].text));
		assert_string_equal(p.host, good[i].host);
		assert_int_equal(p.port, good[i].port);
		assert_string_equal(p.user, good[i].user);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (proxy_url_parse(&p, bad[i]))
			fail_msg("'%s' was taken", bad[i]);
	char *longer = calloc(1, 1024);
	assert_non_null(longer);
	memset(longer, 'a', 1000);
	assert_false(proxy_url_parse(&p, longer));
	longer[300] = '@';
	assert_false(proxy_url_parse(&p, longer));
	free(longer);
}

static void exceptions(void **state)
{
	static const struct { const char *list, *name; bool match; } names[] = {
		{ "", "a.example", false },           { "a.example", "a.example", true },     { "a.example", "b.a.example", true },
		{ ".a.example", "b.a.example", true }, { "*.a.example", "b.a.example", true }, { "a.example", "ba.example", false },
		{ "x.test, A.Example", "a.example", true }, { "a.example:443", "a.example", true }, { "*", "a.example", true },
		{ "example", "a.example", true },     { "192.0.2.0/24", "a.example", false },
	};
	static const struct { const char *list, *addr; bool match; } addrs[] = {
		{ "192.0.2.7", "192.0.2.7", true },        { "192.0.2.0/24", "192.0.2.7", true },     { "192.0.2.0/24", "192.0.3.7", false },
		{ "2001:db8::/32", "2001:db8::7", true },  { "2001:db8::/32", "192.0.2.7", false },   { "0.0.0.0/0", "192.0.2.7", true },
		{ "192.0.2.0/33", "192.0.2.7", false },    { "a.example", "192.0.2.7", false },
	};
	struct net_addr a;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (no_proxy_match(names[i].list, names[i].name, NULL) != names[i].match)
			fail_msg("'%s' and %s", names[i].list, names[i].name);
	for (size_t i = 0; i < sizeof(addrs) / sizeof(*addrs); i++) {
		assert_int_equal(addr_parse(addrs[i].addr, &a), 0);
		if (no_proxy_match(addrs[i].list, "", &a) != addrs[i].match)
			fail_msg("'%s' and %s", addrs[i].list, addrs[i].addr);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(urls), cmocka_unit_test(exceptions) };

	return cmocka_run_group_tests_name("proxy settings", tests, NULL, NULL);
}
