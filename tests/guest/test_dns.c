/* SPDX-License-Identifier: Apache-2.0 */
/* What the sandbox's name server answers, byte by byte, and how addresses are given, held and taken back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "guest/dns.h"
#include "guest/names.h"
#include "guest/who.h"

enum { A = 1, PTR = 12, TXT = 16, AAAA = 28, SVCB = 64, HTTPS = 65 };

static uint8_t out[DNS_ANSWER_MAX];
static size_t len;

/* A query as clients send it: the name's labels as they are. */
static size_t make(uint8_t *q, const char *name, unsigned type, unsigned class, int edns)
{
	static const uint8_t head[12] = { 0xab, 0xcd, 0x01, 0x10, 0, 1, 0, 0, 0, 0, 0, 0 };
	size_t at = sizeof(head);

	memcpy(q, head, sizeof(head));
	q[11] = edns >= 0;
	while (*name) {
		const size_t n = strcspn(name, ".");

		q[at++] = (uint8_t)n;
		memcpy(q + at, name, n);
		at += n;
		name += n + (name[n] == '.');
	}
	q[at++] = 0;
	const uint8_t tail[] = { (uint8_t)(type >> 8), (uint8_t)type, (uint8_t)(class >> 8), (uint8_t)class };
	memcpy(q + at, tail, 4);
	at += 4;
	if (edns >= 0) {
		const uint8_t opt[] = { 0, 0, 41, 16, 0, 0, (uint8_t)edns, 0, 0, 0, 4, 0, 10, 0, 0 };

		memcpy(q + at, opt, sizeof(opt));
		at += sizeof(opt);
	}
	return at;
}

/* The code of the answer; its one record's data at *data. */
static int ask(const char *name, unsigned type, const uint8_t **data)
{
	uint8_t q[400];
	const size_t n = make(q, name, type, 1, -1);

	len = dns_answer(q, n, 1000, out);
	assert_true(len >= n);
	assert_memory_equal(out, "\xab\xcd", 2);
	assert_int_equal(out[2], 0x81);
	assert_int_equal(out[3] & 0xf0, 0x90);
	assert_memory_equal(out + 12, q + 12, n - 12);
	assert_int_equal(out[7], len > n);
	if (data)
		*data = out[7] ? out + n + 12 : NULL;
	return out[3] & 15;
}

static uint32_t addr_of(const char *name)
{
	const uint8_t *d;

	assert_int_equal(ask(name, A, &d), 0);
	assert_non_null(d);
	return (uint32_t)d[0] << 24 | (uint32_t)d[1] << 16 | (uint32_t)d[2] << 8 | d[3];
}

static void names_have_addresses_of_their_own(void **state)
{
	const uint8_t *d;

	(void)state;
	const uint32_t a = addr_of("deb.example.org");
	assert_true(names_is_ours(a) && a >= NAMES_NET + NAMES_KEPT);
	assert_int_equal(addr_of("DEB.eXample.org"), a); /* 0x20 */
	assert_int_not_equal(addr_of("www.example.org"), a);
	assert_string_equal(names_of(a), "deb.example.org");
	assert_int_equal(ask("deb.example.org", A, &d), 0);
	assert_memory_equal(d - 12, "\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4", 12);
	const unsigned none[] = { AAAA, SVCB, HTTPS };
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(ask("deb.example.org", none[i], &d), 0);
		assert_null(d);
	}
	char rev[64];
	snprintf(rev, sizeof(rev), "%u.%u.%u.%u.in-addr.arpa", a & 255, a >> 8 & 255, a >> 16 & 255, a >> 24);
	assert_int_equal(ask(rev, PTR, &d), 0);
	assert_memory_equal(d, "\3deb\7example\3org\0", 17);
	assert_int_equal(ask(rev, A, NULL), 3);
}

static void loopback_is_itself(void **state)
{
	const uint8_t *d;

	(void)state;
	assert_int_equal(addr_of("localhost"), 0x7f000001);
	assert_int_equal(addr_of("api.LocalHost"), 0x7f000001);
	assert_int_equal(ask("localhost", AAAA, &d), 0);
	assert_memory_equal(d, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16);
	assert_int_equal(ask("1.0.0.127.in-addr.arpa", PTR, &d), 0);
	assert_memory_equal(d, "\11localhost\0", 11);
}

static void the_rest_is_refused_at_once(void **state)
{
	static const char *const nowhere[] = { "host", "1.2.3.4", "0x7f.1", "db.local", "x.onion", "a.invalid", "9.9.9.9.in-addr.arpa", "1.18.198.in-addr.arpa",
					       "01.0.0.127.in-addr.arpa", "999.0.0.127.in-addr.arpa", "b.e.e.f.ip6.arpa", "bad name.example.org", "a\x01.example.org", "e*.example.org" };
	const unsigned refused[] = { 2, 5, 6, 15, TXT, 33, 251, 252, 255, 256, 65535 };

	(void)state;
	for (size_t i = 0; i < sizeof(nowhere) / sizeof(*nowhere); i++)
		if (ask(nowhere[i], i > 5 && i < 11 ? PTR : A, NULL) != 3)
			fail_msg("'%s' is not NXDOMAIN", nowhere[i]);
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
		assert_int_equal(ask("data.example.org", refused[i], NULL), 5);
	assert_int_equal(ask("", 2, NULL), 5);
	uint8_t q[100];
	size_t n = make(q, "version.bind", TXT, 3, -1);
	len = dns_answer(q, n, 0, out);
	assert_int_equal(out[3] & 15, 5);
}

static void edns(void **state)
{
	uint8_t q[400];
	size_t n = make(q, "deb.example.org", A, 1, 0);

	(void)state;
	len = dns_answer(q, n, 0, out);
	assert_int_equal(out[3] & 15, 0);
	assert_int_equal(out[11], 1);
	assert_memory_equal(out + len - 11, "\0\0\51\4\xd0\0\0\0\0\0\0", 11);
	n = make(q, "deb.example.org", A, 1, 1);
	len = dns_answer(q, n, 0, out);
	assert_int_equal(out[7], 0);
	assert_int_equal(out[len - 6], 1); /* BADVERS */
	assert_int_equal(out[3] & 15, 0);
}

static void what_is_no_query(void **state)
{
	uint8_t q[400];
	const size_t n = make(q, "deb.example.org", A, 1, 0);

	(void)state;
	for (size_t i = 0; i < 12; i++)
		assert_int_equal(dns_answer(q, i, 0, out), 0);
	for (size_t i = 12; i < n; i++) { /* cut anywhere: told so, nothing else */
		assert_int_equal(dns_answer(q, i, 0, out), 12);
		assert_int_equal(out[3] & 15, 1);
	}
	q[2] |= 0x80; /* an answer */
	assert_int_equal(dns_answer(q, n, 0, out), 0);
	q[2] = 0x28; /* UPDATE */
	assert_int_equal(dns_answer(q, n, 0, out), 12);
	assert_int_equal(out[3] & 15, 4);
	q[2] = 1;
	q[5] = 2; /* two questions */
	assert_int_equal(dns_answer(q, n, 0, out), 12);
	q[5] = 1;
	q[12] = 0xc0; /* a pointer where none may be */
	assert_int_equal(dns_answer(q, n, 0, out), 12);
	assert_int_equal(out[3] & 15, 1);
	/* The longest name there is, and one byte more. */
	char name[300] = "";
	for (int i = 0; i < 3; i++)
		snprintf(name + strlen(name), sizeof(name) - strlen(name), "%063d.", 0);
	snprintf(name + strlen(name), sizeof(name) - strlen(name), "a%060d", 0);
	uint8_t big[400];
	assert_int_equal(dns_answer(big, make(big, name, A, 1, -1), 0, out), 12 + 255 + 4 + 16);
	name[strlen(name) + 1] = '\0';
	name[strlen(name)] = '0';
	assert_int_equal(dns_answer(big, make(big, name, A, 1, -1), 0, out), 12);
}

static void addresses_are_not_given_twice_while_in_use(void **state)
{
	char name[64];
	uint32_t a, first = 0, held;

	(void)state;
	uint64_t now = 2000;
	assert_int_equal(names_addr("held.example.org", now, &held), 0);
	names_hold(held);
	names_hold(held);
	int r = 0;
	unsigned made = 0;
	for (unsigned i = 0; r == 0; i++) {
		snprintf(name, sizeof(name), "n%u.flood.example.org", i);
		r = names_addr(name, now, &a);
		if (r == 0)
			made++;
		if (i == 0)
			first = a;
	}
	assert_int_equal(r, -ENOSPC); /* everything is fresh */
	assert_true(made <= NAMES_MAX && made > NAMES_MAX - 100);
	const uint8_t *d;
	assert_int_equal(ask("one.more.example.org", A, &d), 2);
	now += NAMES_KEEP_MS - 1;
	assert_int_equal(names_addr("n0.flood.example.org", now, &a), 0); /* asked for again: the same, and young */
	assert_int_equal(a, first);
	now += 1;
	for (unsigned i = 0; i < NAMES_MAX - 200; i++) {
		snprintf(name, sizeof(name), "n%u.second.example.org", i);
		assert_int_equal(names_addr(name, now, &a), 0);
		assert_int_not_equal(a, held);
		assert_int_not_equal(a, first);
	}
	assert_string_equal(names_of(held), "held.example.org");
	names_drop(held, now);
	now += 2 * NAMES_KEEP_MS;
	assert_int_equal(names_addr("again.example.org", now, &a), 0);
	assert_string_equal(names_of(held), "held.example.org"); /* one connection is left */
	names_drop(held, now);
	names_drop(held, now); /* once too often changes nothing */
	names_hold(NAMES_SELF);
	names_hold(0x01020304);
	assert_null(names_of(NAMES_SELF));
	/* An address that was given back is not the next one given. */
	now += 2 * NAMES_KEEP_MS;
	for (unsigned i = 0; i < NAMES_MAX; i++) {
		snprintf(name, sizeof(name), "n%u.third.example.org", i);
		assert_int_equal(names_addr(name, now, &a), 0);
		assert_int_not_equal(a, held);
	}
	assert_null(names_of(held));
}

static void who_is_read(void **state)
{
	char id[65], line[8];
	static const char hex[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

	(void)state;
	who_container_id("0::/docker/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", id);
	assert_string_equal(id, hex);
	who_container_id("/system.slice/docker-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope/init", id);
	assert_string_equal(id, hex);
	who_container_id("/docker/0123456789abcdef", id);
	assert_string_equal(id, "");
	who_cmdline("a\0b\0", 4, line, sizeof(line));
	assert_string_equal(line, "a b");
	who_cmdline("\x1b[2Jx\0\0", 7, line, sizeof(line));
	assert_string_equal(line, " [2Jx");
	who_cmdline("12345\xc3\xa9" "9", 8, line, sizeof(line)); /* the last character does not fit whole */
	assert_string_equal(line, "12345\xc3\xa9");
	who_cmdline("123456\xc3\xa9", 8, line, sizeof(line));
	assert_string_equal(line, "123456");
	who_cmdline("", 0, line, sizeof(line));
	assert_string_equal(line, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_have_addresses_of_their_own),
		cmocka_unit_test(loopback_is_itself),
		cmocka_unit_test(the_rest_is_refused_at_once),
		cmocka_unit_test(edns),
		cmocka_unit_test(what_is_no_query),
		cmocka_unit_test(addresses_are_not_given_twice_while_in_use),
		cmocka_unit_test(who_is_read),
	};

	return cmocka_run_group_tests_name("guest/dns", tests, NULL, NULL);
}
