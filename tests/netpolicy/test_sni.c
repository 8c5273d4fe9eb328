/* SPDX-License-Identifier: Apache-2.0 */
/* ClientHellos of a real client (OpenSSL) and altered ones. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <openssl/ssl.h>

#include "netpolicy/sni.h"

static size_t client_hello(uint8_t *out, size_t cap, const char *name, const char *alpn, int max)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	BIO *in = BIO_new(BIO_s_mem()), *to = BIO_new(BIO_s_mem());

	SSL_set_bio(ssl, in, to);
	SSL_set_connect_state(ssl);
	if (name)
		assert_int_equal(SSL_set_tlsext_host_name(ssl, name), 1);
	if (alpn)
		assert_int_equal(SSL_set_alpn_protos(ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn)), 0);
	if (max)
		SSL_set_max_proto_version(ssl, max);
	assert_int_equal(SSL_do_handshake(ssl), -1);
	const int n = BIO_read(to, out, (int)cap);
	assert_true(n > 50);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	return (size_t)n;
}

static void reads_what_openssl_sends(void **state)
{
	(void)state;
	uint8_t p[4096];
	struct sni_hello h;
	size_t n = client_hello(p, sizeof(p), "API.example.org", "\x02h2\x08http/1.1", 0);

	assert_int_equal(sni_parse(p, n, &h), 0);
	assert_string_equal(h.name, "api.example.org");
	assert_true(h.alpn && h.alpn_h2 && h.alpn_http11 && !h.ech);
	assert_int_equal(h.version, 0x0304);
	for (size_t cut = 0; cut < n; cut++)
		assert_int_equal(sni_parse(p, cut, &h), -EAGAIN);
	n = client_hello(p, sizeof(p), NULL, NULL, TLS1_2_VERSION);
	assert_int_equal(sni_parse(p, n, &h), 0);
	assert_string_equal(h.name, "");
	assert_int_equal(h.version, 0x0303);
	assert_false(h.alpn);
}

/* One handshake message cut into records of `step` bytes. */
static size_t in_records(uint8_t *out, const uint8_t *p, size_t n, size_t step)
{
	size_t k = 0;

	for (size_t at = 5; at < n; at += step) {
		const size_t len = n - at < step ? n - at : step;

		memcpy(out + k, "\x16\x03\x01", 3);
		out[k + 3] = (uint8_t)(len >> 8);
		out[k + 4] = (uint8_t)len;
		memcpy(out + k + 5, p + at, len);
		k += 5 + len;
	}
	return k;
}

static void a_hello_in_pieces_is_one_hello(void **state)
{
	(void)state;
	uint8_t p[4096], q[8192];
	struct sni_hello h;
	const size_t n = client_hello(p, sizeof(p), "host.example", NULL, 0);

	for (size_t step = 16; step < n; step += 7) {
		const size_t k = in_records(q, p, n, step);

		assert_int_equal(sni_parse(q, k, &h), 0);
		assert_string_equal(h.name, "host.example");
		assert_int_equal(sni_parse(q, k - 1, &h), -EAGAIN);
	}
	assert_int_equal(sni_parse(q, in_records(q, p, n, 1), &h), -EBADMSG); /* more records than anybody honest makes */
}

static void what_is_no_hello_is_refused(void **state)
{
	(void)state;
	uint8_t p[4096];
	struct sni_hello h;
	size_t n = client_hello(p, sizeof(p), "host.example", NULL, 0);

	assert_int_equal(sni_parse((const uint8_t *)"GET / HTTP/1.1\r\n", 16, &h), -EPROTO);
	assert_int_equal(sni_parse((const uint8_t *)"SSH-2.0-x\r\n", 1, &h), -EPROTO);
	uint8_t *name = memmem(p, n, "host.example", 12);
	assert_non_null(name);
	static const char wrong[] = { 0, ' ', '/', '%', '\n' };

	for (const char *bad = wrong; bad < wrong + sizeof(wrong); bad++) {
		name[2] = (uint8_t)*bad;
		assert_int_equal(sni_parse(p, n, &h), -EBADMSG);
	}
	memcpy(name, "10.0.0.1.2.3", 12); /* digits and dots only is no name */
	assert_int_equal(sni_parse(p, n, &h), -EBADMSG);
	memcpy(name, "host.example", 12);
	name[-3] = 1; /* another type of name */
	assert_int_equal(sni_parse(p, n, &h), -EBADMSG);
	name[-3] = 0;
	assert_int_equal(sni_parse(p, n, &h), 0);
	p[5] = 2; /* a ServerHello */
	assert_int_equal(sni_parse(p, n, &h), -EBADMSG);
	p[5] = 1;
	p[6] = 1; /* 64 KiB of hello */
	assert_int_equal(sni_parse(p, n, &h), -EBADMSG);
}

/* A hello by hand: extensions as given. */
static size_t by_hand(uint8_t *p, const void *ext, size_t n)
{
	const size_t body = 2 + 32 + 1 + 4 + 2 + 2 + n;

	memset(p, 0, 9 + body);
	memcpy(p, "\x16\x03\x01", 3);
	p[3] = (uint8_t)((body + 4) >> 8);
	p[4] = (uint8_t)(body + 4);
	p[5] = 1;
	p[7] = (uint8_t)(body >> 8);
	p[8] = (uint8_t)body;
	memcpy(p + 9, "\x03\x03", 2);
	memcpy(p + 9 + 35, "\x00\x02\x13\x01\x01\x00", 6);
	p[9 + 41] = (uint8_t)(n >> 8);
	p[9 + 42] = (uint8_t)n;
	memcpy(p + 9 + 43, ext, n);
	return 9 + body;
}

static void extensions_are_checked(void **state)
{
	(void)state;
	static const struct { const char *what, *ext; size_t n; int want; bool ech; } table[] = {
		{ "none", "", 0, 0, false },
		{ "a name", "\0\0\0\x08\0\x06\0\0\x03" "a.b", 12, 0, false },
		{ "two names in one", "\0\0\0\x0e\0\x0c\0\0\x03" "a.b\0\0\x03" "c.d", 18, -EBADMSG, false },
		{ "the extension twice", "\0\0\0\x08\0\x06\0\0\x03" "a.b\0\0\0\x08\0\x06\0\0\x03" "c.d", 24, -EBADMSG, false },
		{ "a name of no bytes", "\0\0\0\x05\0\x03\0\0\0", 9, -EBADMSG, false },
		{ "a length over the end", "\0\0\0\x08\0\x06\0\0\x09" "a.b", 12, -EBADMSG, false },
		{ "trailing bytes", "\0\0\0\x09\0\x06\0\0\x03" "a.b!", 13, -EBADMSG, false },
		{ "encrypted client hello", "\xfe\x0d\0\x01\0", 5, 0, true },
		{ "its early form", "\xff\xce\0\0", 4, 0, true },
		{ "protocols of no bytes", "\0\x10\0\x02\0\0", 6, -EBADMSG, false },
		{ "a protocol over the end", "\0\x10\0\x04\0\x02\x05h", 8, -EBADMSG, false },
		{ "odd versions", "\0\x2b\0\x04\x03\x03\x04\x03", 8, -EBADMSG, false },
		{ "half an extension", "\0\x0a\0", 3, -EBADMSG, false },
	};
	uint8_t p[256];
	struct sni_hello h;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const size_t n = by_hand(p, table[i].ext, table[i].n);
		const int r = sni_parse(p, n, &h);

		if (r != table[i].want || (r == 0 && h.ech != table[i].ech))
			fail_msg("%s: %d", table[i].what, r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_what_openssl_sends),
		cmocka_unit_test(a_hello_in_pieces_is_one_hello),
		cmocka_unit_test(what_is_no_hello_is_refused),
		cmocka_unit_test(extensions_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
