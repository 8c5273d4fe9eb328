/* SPDX-License-Identifier: Apache-2.0 */
/* Heads and framing: what is taken, how it is understood, and the table of what must be refused (smuggling above all). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>

#include "netpolicy/http1.h"

static int parse(const char *text, struct http1_head *m)
{
	size_t used = 0;
	const char *why = "";
	const int r = http1_parse_request((const uint8_t *)text, strlen(text), m, &used, &why);

	if (r == -EBADMSG)
		assert_true(why[0]);
	return r;
}

static void a_request_and_its_parts(void **state)
{
	(void)state;
	static const char text[] = "POST /v1/messages?beta=true HTTP/1.1\r\nHost: API.Example.org.:8443\r\nX-A:  b c\t\r\nEmpty:\r\n"
				   "Content-Length: 12\r\nExpect: 100-Continue\r\nConnection: keep-alive\r\n\r\nhello";
	struct http1_head m;
	size_t used = 0;
	const char *why;

	assert_int_equal(http1_parse_request((const uint8_t *)text, sizeof(text) - 1, &m, &used, &why), 0);
	assert_int_equal(used, sizeof(text) - 1 - 5);
	assert_string_equal(m.method, "POST");
	assert_string_equal(m.target, "/v1/messages?beta=true");
	assert_string_equal(m.host.name, "api.example.org");
	assert_int_equal(m.host.port, 8443);
	assert_string_equal(headers_get(&m.h, "x-a")->value, "b c");
	assert_string_equal(headers_get(&m.h, "empty")->value, "");
	assert_int_equal(m.framing, HTTP1_LENGTH);
	assert_int_equal(m.length, 12);
	assert_true(m.expect_continue && m.keep_alive && !m.websocket);
	http1_release(&m);
	for (size_t n = 0; n < used; n++)
		assert_int_equal(http1_parse_request((const uint8_t *)text, n, &m, &used, &why), -EAGAIN);
}

static void targets(void **state)
{
	(void)state;
	static const struct { const char *line, *want; } table[] = {
		{ "GET / HTTP/1.1", "/" },
		{ "GET http://a.example/x?y HTTP/1.1", "/x?y" },
		{ "GET http://A.example?y HTTP/1.1", "/?y" },
		{ "GET HTTPS://a.example HTTP/1.1", "/" },
		{ "OPTIONS * HTTP/1.1", "*" },
		{ "GET * HTTP/1.1", NULL },
		{ "GET http://b.example/ HTTP/1.1", NULL },
		{ "GET http://a.example:81/ HTTP/1.1", NULL },
		{ "GET http://u@a.example/ HTTP/1.1", NULL },
		{ "GET ftp://a.example/ HTTP/1.1", NULL },
		{ "GET a.example HTTP/1.1", NULL },
		{ "GET //a HTTP/1.1", "//a" },
		{ "GET /a#b HTTP/1.1", NULL },
		{ "GET /a\x80 HTTP/1.1", NULL },
		{ "GET /a b HTTP/1.1", NULL },
		{ "GET  / HTTP/1.1", NULL },
		{ "GET /  HTTP/1.1", NULL },
		{ "GET / HTTP/1.2", NULL },
		{ "GET / HTTP/2.0", NULL },
		{ "GET / http/1.1", NULL },
		{ "GET /", NULL },
		{ "GET\t/ HTTP/1.1", NULL },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char text[256];
		struct http1_head m;

		snprintf(text, sizeof(text), "%s\r\nHost: a.example\r\n\r\n", table[i].line);
		const int r = parse(text, &m);
		if ((r == 0) != (table[i].want != NULL) || (r == 0 && strcmp(m.target, table[i].want) != 0))
			fail_msg("%s: %d %s", table[i].line, r, r == 0 ? m.target : "");
		if (r == 0)
			http1_release(&m);
	}
}

/* Every one of these has been read in two ways by some pair of servers. */
static void smuggling_is_refused(void **state)
{
	(void)state;
	static const char *const table[] = {
		"Content-Length: 5\r\nTransfer-Encoding: chunked",
		"Transfer-Encoding: chunked\r\nContent-Length: 5",
		"Content-Length: 5\r\nContent-Length: 6",
		"Content-Length: 5\r\nContent-Length: 5",
		"Content-Length: 5, 5",
		"Content-Length: +5",
		"Content-Length: -5",
		"Content-Length: 0x5",
		"Content-Length: 5 5",
		"Content-Length:",
		"Content-Length: 99999999999999999999",
		"Content-Length: 9223372036854775808",
		"Content-Length : 5",
		" Content-Length: 5",
		"X: y\r\n Content-Length: 5",
		"X: y\r\n\tfolded",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
		"Transfer-Encoding: chunked, identity",
		"Transfer-Encoding: gzip, chunked",
		"Transfer-Encoding: identity",
		"Transfer-Encoding: xchunked",
		"Transfer-Encoding: \"chunked\"",
		"Transfer-Encoding:\vchunked",
		"Transfer-Encoding : chunked",
		"Transfer-Encoding\t: chunked",
		"Transfer_Encoding\x80: chunked",
		"X: y\nTransfer-Encoding: chunked",
		"X: y\rTransfer-Encoding: chunked",
		"X: y\r\r\nZ: a",
		"X: a\x01",
		"X: a\x7f",
		"No colon here",
		": no name",
		"Na me: x",
		"Host: b.example",
		"Host: a.example",
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char text[512];
		struct http1_head m;

		snprintf(text, sizeof(text), "POST / HTTP/1.1\r\nHost: a.example\r\n%s\r\n\r\n", table[i]);
		if (parse(text, &m) != -EBADMSG)
			fail_msg("taken: %s", table[i]);
	}
	struct http1_head m;
	assert_int_equal(parse("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", &m), -EBADMSG);
	assert_int_equal(parse("GET / HTTP/1.1\r\n\r\n", &m), -EBADMSG);
	assert_int_equal(parse("GET / HTTP/1.1\nHost: a\n\n", &m), -EBADMSG);
	assert_int_equal(parse("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", &m), -EPROTO);
	uint8_t nul[] = "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n";
	size_t used;
	const char *why;
	assert_int_equal(http1_parse_request(nul, sizeof(nul) - 1, &m, &used, &why), -EBADMSG);
}

static void heads_are_bounded(void **state)
{
	(void)state;
	char *text = malloc(200000);
	struct http1_head m;
	size_t used, n = (size_t)snprintf(text, 200, "GET / HTTP/1.1\r\nHost: a\r\n");
	const char *why;

	memset(text + n, 'a', 150000);
	assert_int_equal(http1_parse_request((uint8_t *)text, n + 1000, &m, &used, &why), -EAGAIN);
	assert_int_equal(http1_parse_request((uint8_t *)text, n + 50000, &m, &used, &why), -EBADMSG);
	for (size_t i = 0; i < HEADERS_MAX; i++)
		n += (size_t)snprintf(text + n, 20, "a: b\r\n");
	snprintf(text + n, 20, "\r\n");
	assert_int_equal(parse(text, &m), -EBADMSG);
	for (size_t i = 0; i < 20000; i++)
		memcpy(text + 25 + 6 * i, "a: b\r\n", 6);
	assert_int_equal(http1_parse_request((uint8_t *)text, HTTP1_HEAD_MAX, &m, &used, &why), -EBADMSG);
	free(text);
}

static void hosts(void **state)
{
	(void)state;
	static const struct { const char *text, *name; uint16_t port; bool literal; } table[] = {
		{ "a.example", "a.example", 0, false }, { "A.Example.:443", "a.example", 443, false }, { "127.0.0.1:80", "127.0.0.1", 80, true },
		{ "[::1]:8080", "::1", 8080, true }, { "[0:0::1]", "::1", 0, true }, { "0x7f000001", NULL, 0, false },
		{ "2130706433", NULL, 0, false }, { "0177.0.0.1", NULL, 0, false }, { "127.1", NULL, 0, false }, { "", NULL, 0, false },
		{ "a:0", NULL, 0, false }, { "a:65536", NULL, 0, false }, { "a:", NULL, 0, false }, { "a:1:2", NULL, 0, false },
		{ "u@a", NULL, 0, false }, { "[::1", NULL, 0, false }, { "[::1]x", NULL, 0, false }, { "[]", NULL, 0, false }, { "a b", NULL, 0, false },
		{ "[fe80::1%eth0]", NULL, 0, false }, { "a..b", NULL, 0, false }, { ".", NULL, 0, false }, { "a/b", NULL, 0, false },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct authority a;
		const int r = authority_parse(table[i].text, strlen(table[i].text), &a);

		if ((r == 0) != (table[i].name != NULL))
			fail_msg("%s: %d", table[i].text, r);
		if (r == 0) {
			assert_string_equal(a.name, table[i].name);
			assert_int_equal(a.port, table[i].port);
			assert_int_equal(a.literal, table[i].literal);
		}
	}
}

static void responses(void **state)
{
	(void)state;
	static const struct { const char *text; bool head; int want; enum http1_framing framing; } table[] = {
		{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false, 0, HTTP1_LENGTH },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, 0, HTTP1_NONE },
		{ "HTTP/1.1 200\r\nTransfer-Encoding: Chunked\r\n\r\n", false, 0, HTTP1_CHUNKED },
		{ "HTTP/1.1 200 \r\n\r\n", false, 0, HTTP1_CLOSE },
		{ "HTTP/1.1 204 No Content\r\n\r\n", false, 0, HTTP1_NONE },
		{ "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", false, 0, HTTP1_NONE },
		{ "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", false, 0, HTTP1_NONE },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", false, -EBADMSG, 0 },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\n", false, -EBADMSG, 0 },
		{ "HTTP/1.1 600 No\r\n\r\n", false, -EBADMSG, 0 },
		{ "HTTP/1.1 099 No\r\n\r\n", false, -EBADMSG, 0 },
		{ "HTTP/1.1 20 No\r\n\r\n", false, -EBADMSG, 0 },
		{ "HTTP/1.1 2000 No\r\n\r\n", false, -EBADMSG, 0 },
		{ "HTTP/2 200\r\n\r\n", false, -EPROTO, 0 },
		{ "HTTP/1.1 200 OK\r\nA: b\n\r\n", false, -EBADMSG, 0 },
		{ "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", false, -EBADMSG, 0 },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct http1_head m;
		size_t used;
		const char *why;
		const int r = http1_parse_response((const uint8_t *)table[i].text, strlen(table[i].text), table[i].head, &m, &used, &why);

		if (r != table[i].want || (r == 0 && m.framing != table[i].framing))
			fail_msg("%s: %d", table[i].text, r);
		if (r == 0)
			http1_release(&m);
	}
}

/* The body as it comes out, fed `step` bytes at a time; the result of the last step. */
static int dechunk(const char *text, size_t step, char *out, struct headers *trailers)
{
	struct http1_chunks c;
	size_t have = 0, n = strlen(text), at = 0, o = 0;
	int r = -EAGAIN;

	http1_chunks_init(&c);
	while (r == -EAGAIN && have < n) {
		have = have + step < n ? have + step : n;
		do {
			const uint8_t *data;
			size_t used, ndata;

			r = http1_chunks_step(&c, (const uint8_t *)text + at, have - at, &used, &data, &ndata, trailers);
			if (ndata)
				memcpy(out + o, data, ndata);
			o += ndata;
			at += used;
		} while (r == 0);
	}
	out[o] = '\0';
	return r;
}

static void chunked_bodies(void **state)
{
	(void)state;
	static const struct { const char *text, *want; int r; } table[] = {
		{ "5\r\nhello\r\n0\r\n\r\n", "hello", 1 },
		{ "1\r\nh\r\n0004;x=\"y\"\r\nello\r\n0\r\nX-Sum: 1\r\nAuthorization: stolen\r\n\r\n", "hello", 1 },
		{ "5\nhello\r\n0\r\n\r\n", "", -EBADMSG },
		{ "5\r\nhelloX0\r\n\r\n", "hello", -EBADMSG },
		{ "5\r\nhello\n0\r\n\r\n", "hello", -EBADMSG },
		{ " 5\r\nhello", "", -EBADMSG },
		{ "5 \r\nhello", "", -EBADMSG },
		{ "0x5\r\nhello", "", -EBADMSG },
		{ "-5\r\nhello", "", -EBADMSG },
		{ "\r\n", "", -EBADMSG },
		{ "fffffffffffffffff\r\nhello", "", -EBADMSG },
		{ "5\r\nhello\r\n0\r\nbad trailer\r\n\r\n", "hello", -EBADMSG },
		{ "5\r\nhello\r\n0\r\nX: a\n\r\n", "hello", -EBADMSG },
		{ "5\r\nhel", "hel", -EAGAIN },
		{ "5;\r\nhello\r\n0\r\n", "hello", -EAGAIN },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		for (size_t step = 1; step < 9; step++) {
			char out[64];
			struct headers t;

			headers_init(&t);
			const int r = dechunk(table[i].text, step, out, &t);
			if (r != table[i].r || strcmp(out, table[i].want) != 0)
				fail_msg("%s by %zu: %d '%s'", table[i].text, step, r, out);
			if (i == 1) {
				assert_int_equal(t.n, 1);
				assert_string_equal(t.v[0].value, "1");
			}
			headers_release(&t);
		}
}

static void hop_fields_go(void **state)
{
	(void)state;
	struct http1_head m;

	assert_int_equal(parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Hop, host\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
			       "Proxy-Authorization: x\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nX-Kept: 1\r\n\r\n", &m), 0);
	assert_false(m.keep_alive);
	headers_strip_hop(&m.h);
	assert_int_equal(m.h.n, 2);
	assert_non_null(headers_get(&m.h, "host"));
	assert_non_null(headers_get(&m.h, "x-kept"));
	http1_release(&m);
}

static void looks(void **state)
{
	(void)state;
	assert_int_equal(http1_looks((const uint8_t *)"GET /", 5), 1);
	assert_int_equal(http1_looks((const uint8_t *)"GE", 2), 1);
	assert_int_equal(http1_looks((const uint8_t *)"\x16\x03", 2), 0);
	assert_int_equal(http1_looks((const uint8_t *)" GET", 4), 0);
	assert_int_equal(http1_looks((const uint8_t *)"SSH-2.0-OpenSSH_9.2p1 Debian", 28), 1); /* a version line is no request: the parser says so */
	assert_int_equal(http1_looks((const uint8_t *)"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_and_its_parts), cmocka_unit_test(targets), cmocka_unit_test(smuggling_is_refused),
		cmocka_unit_test(heads_are_bounded),	   cmocka_unit_test(hosts),   cmocka_unit_test(responses),
		cmocka_unit_test(chunked_bodies),	   cmocka_unit_test(hop_fields_go), cmocka_unit_test(looks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
