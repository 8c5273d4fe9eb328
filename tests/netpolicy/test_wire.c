/* SPDX-License-Identifier: Apache-2.0 */
/* Wires in TLS and in clear against OpenSSL's own ends over socketpairs; leaves and their cache. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/str.h"
#include "netpolicy/wire.h"
#include "tests/netpolicy/ca.h"

#define LIMIT_MS 10000u

struct fixture {
	uv_loop_t loop;
	struct test_ca ca;
	X509_STORE *roots;
	struct tls_env *env;
	struct net_leaf_ask asked[128];
	size_t nasked;
	struct wire *w;
	struct buf got;
	int opens, eofs, clean, rooms, closes, why;
	char text[160];
	bool hold;        /* on_read takes nothing */
	int peer;         /* its descriptor */
	SSL_CTX *ctx;
	SSL *ssl;
};

static void on_ask(void *arg, const struct net_leaf_ask *m)
{
	struct fixture *f = arg;

	assert_true(f->nasked < ARRAY_SIZE(f->asked));
	f->asked[f->nasked++] = *m;
}

static void on_open(void *arg) { ((struct fixture *)arg)->opens++; }
static void on_room(void *arg) { ((struct fixture *)arg)->rooms++; }

static void on_read(void *arg, struct buf *in)
{
	struct fixture *f = arg;

	if (f->hold)
		return;
	buf_put(&f->got, buf_head(in), buf_size(in));
	buf_consume(in, buf_size(in));
}

static void on_eof(void *arg, bool clean)
{
	struct fixture *f = arg;

	f->eofs++;
	f->clean = clean;
}

static void on_closed(void *arg, int why, const char *text)
{
	struct fixture *f = arg;

	f->closes++;
	f->why = why;
	str_copy(f->text, sizeof(f->text), text);
}

static const struct wire_ops ops = { .on_open = on_open, .on_read = on_read, .on_eof = on_eof, .on_room = on_room, .on_closed = on_closed };

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err e = ERR_INIT;

	uv_loop_init(&f->loop);
	test_ca_init(&f->ca);
	f->roots = X509_STORE_new();
	X509_STORE_add_cert(f->roots, f->ca.cert);
	assert_int_equal(tls_env_create(&f->env, f->roots, on_ask, f, &e), 0);
	buf_init(&f->got, 64u << 20);
	f->peer = -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	wire_close(&f->w);
	SSL_free(f->ssl);
	SSL_CTX_free(f->ctx);
	if (f->peer >= 0)
		close(f->peer);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	tls_env_destroy(&f->env);
	X509_STORE_free(f->roots);
	test_ca_release(&f->ca);
	buf_release(&f->got);
	free(f);
	return 0;
}

/* ---- leaves ------------------------------------------------------------------------------------------------------------- */

struct waiter {
	struct leaf_wait w;
	int calls;
	bool had;
};

static void on_leaf(void *arg, X509 *leaf)
{
	struct waiter *x = arg;

	x->calls++;
	x->had = leaf != NULL;
}

static void answer(struct fixture *f, size_t i, bool refuse)
{
	struct net_leaf a;

	test_ca_answer(&f->ca, &f->asked[i], refuse, &a);
	tls_leaf_answer(f->env, &a);
}

static void one_question_serves_all_who_wait(void **state)
{
	struct fixture *f = *state;
	struct waiter a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };

	tls_leaf_get(f->env, "a.example", &a.w, on_leaf, &a);
	tls_leaf_get(f->env, "a.example", &b.w, on_leaf, &b);
	tls_leaf_get(f->env, "a.example", &c.w, on_leaf, &c);
	assert_int_equal(f->nasked, 1);
	tls_leaf_cancel(&b.w);
	answer(f, 0, false);
	answer(f, 0, false); /* the same token once more: nobody's */
	assert_int_equal(a.calls + c.calls, 2);
	assert_true(a.had && c.had);
	assert_int_equal(b.calls, 0);
	tls_leaf_get(f->env, "a.example", &d.w, on_leaf, &d);
	assert_true(d.calls == 1 && d.had && f->nasked == 1);
}

static void bad_answers_are_none(void **state)
{
	struct fixture *f = *state;
	struct waiter w[4] = { 0 };
	struct net_leaf a;
	EVP_PKEY *other = EVP_EC_gen("P-256");
	unsigned char *p = a.cert;

	tls_leaf_get(f->env, "a.example", &w[0].w, on_leaf, &w[0]);
	answer(f, 0, true);
	assert_true(w[0].calls == 1 && !w[0].had);
	tls_leaf_get(f->env, "a.example", &w[1].w, on_leaf, &w[1]); /* a refusal is not kept */
	assert_int_equal(f->nasked, 2);
	X509 *c = test_ca_sign(&f->ca, other, "a.example"); /* for another's key */
	memset(&a, 0, sizeof(a));
	a.token = f->asked[1].token;
	a.ncert = (uint16_t)i2d_X509(c, &p);
	X509_free(c);
	EVP_PKEY_free(other);
	tls_leaf_answer(f->env, &a);
	assert_true(w[1].calls == 1 && !w[1].had);
	tls_leaf_get(f->env, "a.example", &w[2].w, on_leaf, &w[2]);
	str_copy(f->asked[2].name, sizeof(f->asked[2].name), "b.example"); /* for another name */
	answer(f, 2, false);
	assert_true(w[2].calls == 1 && !w[2].had);
	tls_leaf_get(f->env, "not a name", &w[3].w, on_leaf, &w[3]);
	assert_true(w[3].calls == 1 && !w[3].had && f->nasked == 3);
}

static void questions_are_bounded(void **state)
{
	struct fixture *f = *state;
	static struct waiter w[TLS_LEAF_ASKS_MAX + 1];
	char name[32];

	memset(w, 0, sizeof(w));
	for (size_t i = 0; i <= TLS_LEAF_ASKS_MAX; i++) {
		snprintf(name, sizeof(name), "n%zu.example", i);
		tls_leaf_get(f->env, name, &w[i].w, on_leaf, &w[i]);
	}
	assert_int_equal(f->nasked, TLS_LEAF_ASKS_MAX);
	assert_true(w[TLS_LEAF_ASKS_MAX].calls == 1 && !w[TLS_LEAF_ASKS_MAX].had);
	for (size_t i = 0; i < TLS_LEAF_ASKS_MAX; i++)
		tls_leaf_cancel(&w[i].w);
}

/* ---- a peer of OpenSSL's own --------------------------------------------------------------------------------------------- */

static struct stream *pair(struct fixture *f)
{
	static const struct stream_ops none = { .on_read = NULL };
	struct stream *s = NULL;
	int fds[2];

	assert_int_equal(fd_pair(SOCK_STREAM, fds), 0);
	f->peer = fds[1];
	assert_int_equal(stream_open_take(&s, &f->loop, fds[0], WIRE_BUFFER, WIRE_BUFFER, &none, NULL), 0);
	stream_reading(s, false);
	return s;
}

static void client_peer(struct fixture *f, const char *sni, const char *verify, bool h2)
{
	f->ctx = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set1_cert_store(f->ctx, f->roots);
	SSL_CTX_set_verify(f->ctx, SSL_VERIFY_PEER, NULL);
	f->ssl = SSL_new(f->ctx);
	SSL_set_fd(f->ssl, f->peer);
	SSL_set_tlsext_host_name(f->ssl, sni);
	SSL_set1_host(f->ssl, verify);
	if (h2)
		SSL_set_alpn_protos(f->ssl, (const unsigned char *)"\x02h2", 3);
	SSL_set_connect_state(f->ssl);
}

static void server_peer(struct fixture *f, const char *name, int max)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *c = test_ca_sign(&f->ca, key, name);

	f->ctx = SSL_CTX_new(TLS_server_method());
	if (max) {
		SSL_CTX_set_min_proto_version(f->ctx, 0);
		SSL_CTX_set_max_proto_version(f->ctx, max);
		SSL_CTX_set_security_level(f->ctx, 0);
	}
	SSL_CTX_use_certificate(f->ctx, c);
	SSL_CTX_use_PrivateKey(f->ctx, key);
	X509_free(c);
	EVP_PKEY_free(key);
	f->ssl = SSL_new(f->ctx);
	SSL_set_fd(f->ssl, f->peer);
	SSL_set_accept_state(f->ssl);
}

static void server_wire(struct fixture *f, const char *name, bool h2)
{
	struct stream *s = pair(f);
	struct waiter x = { 0 };
	struct net_leaf a;
	const unsigned char *p = a.cert;

	tls_leaf_get(f->env, name, &x.w, on_leaf, &x);
	test_ca_answer(&f->ca, &f->asked[0], false, &a);
	tls_leaf_answer(f->env, &a);
	X509 *leaf = d2i_X509(NULL, &p, a.ncert);
	assert_int_equal(wire_open_server(&f->w, &f->loop, &s, f->env, leaf, name, h2, &ops, f), 0);
	X509_free(leaf);
}

static void client_wire(struct fixture *f, const char *name)
{
	struct stream *s = pair(f);

	assert_int_equal(wire_open_client(&f->w, &f->loop, &s, f->env, name, false, true, &ops, f), 0);
}

/* Turns of the loop and of the peer until `done` or the limit. */
static void run_until(struct fixture *f, bool (*done)(struct fixture *f))
{
	const uint64_t end = clock_ms() + LIMIT_MS;

	while (!done(f)) {
		assert_true(clock_ms() < end);
		if (f->ssl && !SSL_is_init_finished(f->ssl))
			SSL_do_handshake(f->ssl);
		ERR_clear_error();
		uv_run(&f->loop, UV_RUN_NOWAIT);
	}
}

static bool established(struct fixture *f) { return f->opens && SSL_is_init_finished(f->ssl); }
static bool closed(struct fixture *f) { return f->closes > 0; }
static bool ended(struct fixture *f) { return f->eofs > 0; }

static void bytes_pass_both_ways_and_end_in_order(void **state)
{
	struct fixture *f = *state;
	static uint8_t block[30000];
	size_t sent = 0, back = 0, written = 0;
	const size_t total = 3000000;
	uint8_t got[20000];

	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (uint8_t)(i * 7);
	server_wire(f, "a.example", true);
	client_peer(f, "A.example", "a.example", true);
	run_until(f, established);
	assert_true(wire_is_h2(f->w));
	const uint64_t end = clock_ms() + LIMIT_MS;
	while (back < total || buf_size(&f->got) < total) {
		assert_true(clock_ms() < end);
		if (sent < total) {
			const int n = SSL_write(f->ssl, block + sent % sizeof(block), (int)(sizeof(block) - sent % sizeof(block)));
			sent += n > 0 ? (size_t)n : 0;
		}
		const size_t room = wire_room(f->w), at = written % sizeof(block);
		const size_t n = room < sizeof(block) - at ? room : sizeof(block) - at;
		if (written < total && n > 0) {
			buf_put(wire_out(f->w), block + at, n);
			written += n;
			wire_flush(f->w);
		}
		const int k = SSL_read(f->ssl, got, sizeof(got));
		for (int i = 0; i < k; i++)
			assert_int_equal(got[i], block[(back + (size_t)i) % sizeof(block)]);
		back += k > 0 ? (size_t)k : 0;
		uv_run(&f->loop, UV_RUN_NOWAIT);
		assert_int_equal(f->closes, 0);
	}
	for (size_t i = 0; i < total; i += 997)
		assert_int_equal(buf_head(&f->got)[i], block[i % sizeof(block)]);
	SSL_shutdown(f->ssl);
	run_until(f, ended);
	assert_true(f->clean);
	wire_shutdown(f->w);
	while (SSL_read(f->ssl, got, sizeof(got)) < 0 && clock_ms() < end)
		uv_run(&f->loop, UV_RUN_NOWAIT);
	assert_int_equal(SSL_get_shutdown(f->ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
	shutdown(f->peer, SHUT_WR);
	run_until(f, closed);
	assert_int_equal(f->why, 0);
}

static void a_cut_is_not_an_end(void **state)
{
	struct fixture *f = *state;

	server_wire(f, "a.example", false);
	client_peer(f, "a.example", "a.example", false);
	run_until(f, established);
	shutdown(f->peer, SHUT_WR); /* no goodbye */
	run_until(f, ended);
	assert_false(f->clean);
	buf_put(wire_out(f->w), "x", 1);
	wire_cut(f->w);
	run_until(f, closed);
	char c[8];
	assert_int_equal(SSL_read(f->ssl, c, sizeof(c)), 1);
	assert_true(SSL_read(f->ssl, c, sizeof(c)) <= 0);
	assert_int_equal(SSL_get_shutdown(f->ssl) & SSL_RECEIVED_SHUTDOWN, 0);
}

static void who_takes_nothing_is_sent_no_more(void **state)
{
	struct fixture *f = *state;
	static uint8_t block[16384];
	size_t sent = 0, idle = 0;

	server_wire(f, "a.example", false);
	client_peer(f, "a.example", "a.example", false);
	run_until(f, established);
	SSL_set_mode(f->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE);
	f->hold = true;
	while (idle < 200) {
		const int n = SSL_write(f->ssl, block, sizeof(block));

		idle = n > 0 ? 0 : idle + 1;
		sent += n > 0 ? (size_t)n : 0;
		assert_true(sent < 8u << 20);
		uv_run(&f->loop, UV_RUN_NOWAIT);
	}
	assert_true(buf_size(wire_in(f->w)) <= WIRE_BUFFER);
	f->hold = false;
	wire_kick(f->w);
	const uint64_t end = clock_ms() + LIMIT_MS;
	while (buf_size(&f->got) < sent - sizeof(block) && clock_ms() < end) {
		SSL_write(f->ssl, block, sizeof(block)); /* the record it is in the middle of */
		uv_run(&f->loop, UV_RUN_NOWAIT);
	}
	assert_true(buf_size(&f->got) >= sent - sizeof(block));
}

static void another_name_in_the_handshake(void **state)
{
	struct fixture *f = *state;

	server_wire(f, "a.example", false);
	client_peer(f, "b.example", "a.example", false);
	run_until(f, closed);
	assert_int_equal(f->opens, 0);
	assert_int_equal(f->why, -EPROTO);
}

static void servers_are_verified(void **state)
{
	struct fixture *f = *state;

	client_wire(f, "a.example");
	server_peer(f, "b.example", 0);
	run_until(f, closed);
	assert_int_equal(f->opens, 0);
	assert_non_null(strstr(f->text, "certificate is not valid: hostname mismatch"));
}

static void a_good_server(void **state)
{
	struct fixture *f = *state;

	client_wire(f, "a.example");
	server_peer(f, "a.example", 0);
	run_until(f, established);
	assert_false(wire_is_h2(f->w)); /* it offers nothing */
	assert_string_equal(SSL_get_servername(f->ssl, TLSEXT_NAMETYPE_host_name), "a.example");
}

static void old_servers_are_refused(void **state)
{
	struct fixture *f = *state;

	client_wire(f, "a.example");
	server_peer(f, "a.example", TLS1_1_VERSION);
	run_until(f, closed);
	assert_int_equal(f->opens, 0);
	assert_non_null(strstr(f->text, "TLS failed"));
}

static void garbage_is_no_handshake(void **state)
{
	struct fixture *f = *state;

	server_wire(f, "a.example", false);
	assert_int_equal(write(f->peer, "GET / HTTP/1.1\r\n\r\n", 18), 18);
	run_until(f, closed);
	assert_int_equal(f->why, -EPROTO);
}

static void in_clear(void **state)
{
	struct fixture *f = *state;
	struct stream *s = pair(f);
	char c[8];

	assert_int_equal(wire_open_clear(&f->w, &f->loop, &s, &ops, f), 0);
	assert_int_equal(write(f->peer, "hello", 5), 5);
	shutdown(f->peer, SHUT_WR);
	run_until(f, ended);
	assert_true(f->clean && f->opens == 1 && buf_size(&f->got) == 5);
	buf_put(wire_out(f->w), "bye", 3);
	wire_shutdown(f->w);
	run_until(f, closed);
	assert_int_equal(f->why, 0);
	assert_int_equal(read(f->peer, c, sizeof(c)), 3);
	assert_int_equal(read(f->peer, c, sizeof(c)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_question_serves_all_who_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_answers_are_none, setup, teardown),
		cmocka_unit_test_setup_teardown(questions_are_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(bytes_pass_both_ways_and_end_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(a_cut_is_not_an_end, setup, teardown),
		cmocka_unit_test_setup_teardown(who_takes_nothing_is_sent_no_more, setup, teardown),
		cmocka_unit_test_setup_teardown(another_name_in_the_handshake, setup, teardown),
		cmocka_unit_test_setup_teardown(servers_are_verified, setup, teardown),
		cmocka_unit_test_setup_teardown(a_good_server, setup, teardown),
		cmocka_unit_test_setup_teardown(old_servers_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(garbage_is_no_handshake, setup, teardown),
		cmocka_unit_test_setup_teardown(in_clear, setup, teardown),
	};

	signal(SIGPIPE, SIG_IGN); /* the peer is a plain socket of OpenSSL's */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
