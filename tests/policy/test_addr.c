/* SPDX-License-Identifier: Apache-2.0 */
/* core/policy/addr.c, path.c: ranges at their edges; globs and what paths hide. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/str.h"
#include "core/policy/addr.h"
#include "core/policy/path.h"

static struct net_addr addr(const char *s)
{
	struct net_addr a;

	if (addr_parse(s, &a))
		fail_msg("'%s' is no address", s);
	return a;
}

/* First and last of every range, and the neighbours outside it. */
static const struct {
	const char *text, *why; /* NULL: may be reached */
} edges[] = {
	{ "0.0.0.0", "unspecified" }, { "0.255.255.255", "unspecified" }, { "1.0.0.0", NULL },
	{ "9.255.255.255", NULL }, { "10.0.0.0", "private" }, { "10.255.255.255", "private" }, { "11.0.0.0", NULL },
	{ "100.63.255.255", NULL }, { "100.64.0.0", "shared" }, { "100.127.255.255", "shared" }, { "100.128.0.0", NULL },
	{ "100.100.100.200", "metadata" }, { "168.63.129.15", NULL }, { "168.63.129.16", "metadata" }, { "168.63.129.17", NULL },
	{ "126.255.255.255", NULL }, { "127.0.0.0", "loopback" }, { "127.0.0.1", "loopback" }, { "127.255.255.255", "loopback" }, { "128.0.0.0", NULL },
	{ "169.253.255.255", NULL }, { "169.254.0.0", "link-local" }, { "169.254.169.254", "metadata" }, { "169.254.255.255", "link-local" },
	{ "169.255.0.0", NULL },
	{ "172.15.255.255", NULL }, { "172.16.0.0", "private" }, { "172.31.255.255", "private" }, { "172.32.0.0", NULL },
	{ "191.255.255.255", NULL }, { "192.0.0.0", "protocol" }, { "192.0.0.255", "protocol" }, { "192.0.1.0", NULL },
	{ "192.0.2.0", NULL }, { "192.0.2.255", NULL }, { "198.51.100.7", NULL }, { "203.0.113.1", NULL }, /* RFC 5737 */
	{ "192.88.98.255", NULL }, { "192.88.99.0", "6to4" }, { "192.88.99.255", "6to4" }, { "192.88.100.0", NULL },
	{ "192.167.255.255", NULL }, { "192.168.0.0", "private" }, { "192.168.255.255", "private" }, { "192.169.0.0", NULL },
	{ "192.31.196.1", "special" }, { "192.52.193.1", "special" }, { "192.175.48.1", "special" },
	{ "198.17.255.255", NULL }, { "198.18.0.0", "benchmarking" }, { "198.19.255.255", "benchmarking" }, { "198.20.0.0", NULL },
	{ "223.255.255.255", NULL }, { "224.0.0.0", "multicast" }, { "239.255.255.255", "multicast" }, { "240.0.0.0", "reserved" },
	{ "255.255.255.254", "reserved" }, { "255.255.255.255", "broadcast" }, { "8.8.8.8", NULL }, { "93.184.216.34", NULL },
	{ "::", "unspecified" }, { "::1", "loopback" }, { "::2", "compatible" }, { "::127.0.0.1", "compatible" }, { "::8.8.8.8", "compatible" },
	{ "::ffff:0:10.0.0.1", "translated" }, { "::1:0:0:0", NULL },
	{ "64:ff9b::a00:1", "NAT64" }, { "64:ff9b::808:808", "NAT64" }, { "64:ff9b::1:0:0", NULL }, { "64:ff9b:1::", "NAT64" },
	{ "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "NAT64" }, { "64:ff9b:2::1", NULL }, { "64:ff9a::1", NULL },
	{ "100::1", "discard" }, { "100:0:0:1::", "dummy" }, { "100:0:0:1:ffff::", "dummy" }, { "100:0:0:2::", NULL },
	{ "2001::1", "Teredo" }, /* 2001:0: server 0.0.0.0 */
	{ "2001:0:808:808::f5ff:fffe", "Teredo" }, /* client 10.0.0.1, inverted */
	{ "2001:0:a00:1::f7f7:f7f7", "Teredo" },   /* server 10.0.0.1 */
	{ "2001:0:808:808::f7f7:f7f7", "Teredo" },     /* both public */
	{ "2001:1::1", NULL },
	{ "2001:2::1", "benchmarking" }, { "2001:2:1::1", NULL }, { "2001:10::1", "ORCHID" }, { "2001:2f:ffff::1", "ORCHID" },
	{ "2001:db8::1", NULL }, { "2001:4860:4860::8888", NULL },
	{ "2002:a00:1::1", "6to4" }, { "2002:7f00:1::", "6to4" }, { "2002:c0a8:101::", "6to4" }, { "2002:a9fe:a9fe::", "6to4" }, { "2002:808:808::1", "6to4" }, { "2003::1", NULL },
	{ "2606:2800:220::5efe:a00:1", "ISATAP" }, { "2606:2800:220:1:200:5efe:a00:1", "ISATAP" }, { "2606:2800:220::5efe:808:808", NULL },
	{ "5f00::1", "segment" }, { "fbff::1", NULL }, { "fc00::", "unique local" }, { "fdff:ffff::1", "unique local" }, { "fe00::1", NULL },
	{ "fd00:ec2::254", "metadata" }, { "fd20:ce::254", "metadata" }, { "fd00:ec2::255", "unique local" },
	{ "fe7f::1", NULL }, { "fe80::1", "link-local" }, { "febf:ffff::1", "link-local" }, { "fec0::1", "site-local" }, { "feff::1", "site-local" },
	{ "ff00::", "multicast" }, { "ff02::1", "multicast" }, { "ffff::1", "multicast" },
};

static void ranges_at_their_edges(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(edges); i++) {
		const struct net_addr a = addr(edges[i].text);
		const char *why = NULL;
		const bool no = addr_forbidden(&a, &why);
		if (no != !!edges[i].why || (no && !strstr(why, edges[i].why)))
			fail_msg("%s: %s, not %s", edges[i].text, no ? why : "allowed", edges[i].why ? edges[i].why : "allowed");
		assert_int_equal(addr_is_metadata(&a), edges[i].why && !strcmp(edges[i].why, "metadata"));
		assert_int_equal(addr_forbidden(&a, NULL), no);
	}
}

/* The examples of RFC 6052, 2.4, and what is none. */
static void nat64_hides_an_ipv4_address(void **state)
{
	static const struct {
		const char *text;
		unsigned bits;
	} forms[] = {
		{ "2001:db8:c000:221::", 32 }, { "2001:db8:1c0:2:21::", 40 }, { "2001:db8:122:c000:2:2100::", 48 }, { "2001:db8:122:3c0:0:221::", 56 },
		{ "2001:db8:122:344:c0:2:2100::", 64 }, { "2001:db8:122:344::192.0.2.33", 96 }, { "64:ff9b::192.0.2.33", 96 },
	};
	const struct net_addr want = addr("192.0.2.33");
	struct net_addr a, v4;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		a = addr(forms[i].text);
		assert_true(addr_nat64_inner(&a, forms[i].bits, &v4));
		assert_memory_equal(&v4, &want, sizeof(want));
		a.b[8] = 1; /* RFC 6052, 2.2: "u" */
		assert_false(addr_nat64_inner(&a, forms[i].bits, &v4));
	}
	a = addr("2001:db8:122:344::192.0.2.33");
	for (unsigned bits = 0; bits <= 256; bits++) {
		bool legal = false;
		for (size_t i = 0; i < ARRAY_SIZE(addr_nat64_bits); i++)
			legal = legal || addr_nat64_bits[i] == bits;
		assert_int_equal(addr_nat64_inner(&a, bits, &v4), legal);
	}
	assert_false(addr_nat64_inner(&want, 96, &v4)); /* of IPv4 itself */
}

/* A mapped address is the IPv4 address it holds. */
static void mapped_is_judged_as_ipv4(void **state)
{
	struct net_addr a = { { [10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1 } };
	const char *why;
	char text[ADDR_TEXT_MAX];

	(void)state;
	assert_true(addr_is_v4(&a));
	assert_true(addr_forbidden(&a, &why));
	assert_string_equal(why, "loopback address");
	addr_text(&a, text);
	assert_string_equal(text, "127.0.0.1");
}

static void text_that_is_no_address(void **state)
{
	static const char *const bad[] = { "", "1", "1.2.3", "1.2.3.4.5", "01.2.3.4", "0x7f.0.0.1", "127.1", "2130706433", "0x7f000001", "017700000001", "1.2.3.256",
					   "1.2.3.4 ", " 1.2.3.4", "1.2.3.4/8", "::ffff:1.2.3.4", "::ffff:7f00:1", "fe80::1%eth0", "1::2::3", "12345::", "localhost" };
	struct net_addr a;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (!addr_parse(bad[i], &a))
			fail_msg("'%s' was taken for an address", bad[i]);
}

static void prefixes(void **state)
{
	const struct net_addr a = addr("192.0.2.129"), b = addr("192.0.2.1"), first = addr("192.0.2.128"), last = addr("192.0.2.255");
	struct net_addr c;

	(void)state;
	assert_true(addr_prefix_equal(&a, &b, 96 + 24));
	assert_false(addr_prefix_equal(&a, &b, 96 + 25));
	assert_true(addr_prefix_equal(&a, &a, 128));
	assert_false(addr_prefix_equal(&a, &a, 129));
	assert_true(addr_prefix_equal(&a, &b, 0));
	c = addr_first(&a, 96 + 25);
	assert_memory_equal(&c, &first, sizeof(c));
	c = addr_last(&a, 96 + 25);
	assert_memory_equal(&c, &last, sizeof(c));
	c = addr_last(&a, 128);
	assert_memory_equal(&c, &a, sizeof(c));
}

static const struct {
	const char *pattern, *path;
	bool match;
} globs[] = {
	{ "/", "/", true }, { "/", "/a", false }, { "/a", "/a", true }, { "/a", "/A", false }, { "/a", "/ab", false },
	{ "/v1/*", "/v1/x", true }, { "/v1/*", "/v1/", true }, { "/v1/*", "/v1", false }, { "/v1/*", "/v1/x/y", false },
	{ "/v1/**", "/v1/x/y", true }, { "/v1/**", "/v1/", true }, { "/v1/**", "/v1", false }, { "/v1/**", "/v2/x", false },
	{ "/**", "/", true }, { "/**", "/a/b/c", true }, { "/**/c", "/a/b/c", true }, { "/**/c", "/a/b/cc", false }, { "/**/c", "/c", false },
	{ "/*/c", "/b/c", true }, { "/*/c", "/a/b/c", false }, { "/a*b", "/ab", true }, { "/a*b", "/axxb", true }, { "/a*b", "/ax/b", false },
	{ "/a?c", "/abc", true }, { "/a?c", "/ac", false }, { "/a?c", "/a/c", false }, { "/*.tar.*", "/x.tar.gz", true }, { "/*.tar.*", "/x.tar", false },
	{ "/***", "/a/b", true }, { "/repos/*/*/contents/**", "/repos/o/r/contents/a/b", true }, { "/repos/*/*/contents/**", "/repos/o/contents/a", false },
};

static void globs_of_paths(void **state)
{
	char pattern[257], path[1024];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(globs); i++)
		if (glob_match(globs[i].pattern, globs[i].path) != globs[i].match)
			fail_msg("'%s' and '%s'", globs[i].pattern, globs[i].path);
	/* What takes others for ever. */
	memset(pattern, 0, sizeof(pattern));
	for (size_t i = 0; i < 256; i++)
		pattern[i] = i % 2 ? 'a' : '*';
	memset(path, 'a', sizeof(path));
	path[1022] = 'b';
	path[1023] = '\0';
	assert_false(glob_match(pattern, path));
}

static const struct {
	const char *path, *canonical;
	bool plain;
} paths[] = {
	{ "/", "/", true }, { "/v1/x", "/v1/x", true }, { "/v1/x?a=../..", "/v1/x", true }, { "/%61", "/a", true }, { "/a%20b", "/a b", true },
	{ "/v1/../admin", "/admin", false }, { "/v1/%2e%2e/admin", "/admin", false }, { "/v1/%2E./admin", "/admin", false }, { "/..", "/", false },
	{ "/../../x", "/x", false }, { "/v1/./x", "/v1/x", false }, { "/v1//x", "/v1/x", false }, { "//x", "/x", false }, { "/v1/..%2fadmin", "/admin", false },
	{ "/v1/..\\admin", "/admin", false }, { "/v1/%5c..", "/", false }, { "/v1;x/..", "/", false }, { "/a%2fb", "/a/b", false }, { "/a%00b", "/a\xff" "b", false },
	{ "/a%", "/a%", false }, { "/a%zz", "/a%zz", false }, { "/a%252e", "/a%2e", false }, { "/a#b", "/a", false }, { "*", "*", false }, { "", "", false },
	{ "/a/", "/a/", true }, { "/a/..", "/", false }, { "/a/.", "/a/", false }, { "/..a/b..", "/..a/b..", true },
};

static void paths_as_an_origin_reads_them(void **state)
{
	char out[1024], small[8];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		const bool plain = path_canonical(paths[i].path, out, sizeof(out));
		if (plain != paths[i].plain || strcmp(out, paths[i].canonical))
			fail_msg("'%s' gave '%s', %s", paths[i].path, out, plain ? "plain" : "not plain");
	}
	assert_false(path_canonical("/abcdefghijkl", small, sizeof(small)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_at_their_edges), cmocka_unit_test(nat64_hides_an_ipv4_address), cmocka_unit_test(mapped_is_judged_as_ipv4), cmocka_unit_test(text_that_is_no_address),
		cmocka_unit_test(prefixes),              cmocka_unit_test(globs_of_paths),           cmocka_unit_test(paths_as_an_origin_reads_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
