/* SPDX-License-Identifier: Apache-2.0 */
/* Published ports, and with them the relay of a TCP connection and a stream: the test is the host, and the server on loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/proto/netconn.h"
#include "guest/forward.h"
#include "guest/loop.h"
#include "guest/relay.h"

#define WAIT_MS 10000

static int host, listener, server = -1;
static uint16_t port;
static struct buf in, out, data;
static unsigned opened, eofs, resets;
static uint32_t credit, stream = 1;

static bool accept_stream(uint32_t p, struct gstream *st, const struct gstream_ops **ops, void **arg)
{
	return p == NETCONN_PORT_FORWARD && forward_accept(st, ops, arg);
}

static void turn(void)
{
	struct mux_frame f;
	size_t used;
	ssize_t n = buf_size(&out) > 0 ? write(host, buf_head(&out), buf_size(&out)) : 0;

	if (n > 0)
		buf_consume(&out, (size_t)n);
	loop_turn(2);
	for (uint8_t *p; (p = buf_reserve(&in, 65536)) && (n = read(host, p, 65536)) > 0;)
		buf_grew(&in, (size_t)n);
	while (mux_parse(buf_head(&in), buf_size(&in), &f, &used) == 0) {
		opened += f.type == MUX_OPENED;
		eofs += f.type == MUX_EOF;
		resets += f.type == MUX_RESET;
		credit += f.type == MUX_CREDIT ? f.a : 0;
		if (f.type == MUX_DATA)
			buf_put(&data, f.data, f.len);
		buf_consume(&in, used);
	}
	if (server < 0)
		server = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

#define UNTIL(condition)                                                        \
	do {                                                                    \
		const uint64_t end_ = clock_ms() + WAIT_MS;                     \
		while (!(condition)) {                                          \
			turn();                                                 \
			if (clock_ms() > end_)                                  \
				fail_msg("waited for %s", #condition);          \
		}                                                               \
	} while (0)

static void rest(void)
{
	for (int i = 0; i < 10; i++)
		turn();
}

static int setup(void **state)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int pair[2];

	(void)state;
	log_to(open("/dev/null", O_WRONLY | O_CLOEXEC));
	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (loop_init() < 0 || fd_pair(SOCK_STREAM, pair) < 0 || bind(listener, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(listener, 16) < 0 ||
	    getsockname(listener, (struct sockaddr *)&a, &len) < 0)
		return -1;
	host = pair[0];
	port = ntohs(a.sin_port);
	buf_init(&in, 1 << 20);
	buf_init(&out, 8 << 20);
	buf_init(&data, 8 << 20);
	if (gmux_start_fd(pair[1], accept_stream) < 0)
		return -1;
	mux_put_hello(&out, 1);
	rest();
	return 0;
}

static int fresh(void **state)
{
	(void)state;
	fd_close(&server);
	mux_put_hello(&out, 1); /* every stream is reset by it */
	rest();
	stream += 2;
	buf_clear(&data);
	opened = eofs = resets = credit = 0;
	assert_int_equal(gmux_count(), 0); /* whatever the case before did, nothing is left of it */
	return 0;
}

static void ask(uint16_t to)
{
	struct buf b;

	buf_init(&b, 64);
	const size_t at = frame_begin(&b, NETC_TO, 0);
	buf_u16(&b, to);
	frame_end(&b, at);
	mux_put_open(&out, stream, NETCONN_PORT_FORWARD, 1 << 20);
	mux_put_data(&out, stream, buf_head(&b), buf_size(&b));
	buf_release(&b);
}

static void go(void)
{
	struct frame f;
	size_t used;

	UNTIL(buf_size(&data) >= FRAME_HEAD);
	assert_int_equal(frame_parse(buf_head(&data), buf_size(&data), NETCONN_FRAME_MAX, &f, &used), 0);
	assert_int_equal(f.type, NETC_GO);
	assert_int_equal(f.len, 0);
	buf_consume(&data, used);
	UNTIL(server >= 0);
}

static ssize_t hear(char *text, size_t cap)
{
	ssize_t n = -1;

	for (const uint64_t end = clock_ms() + WAIT_MS; n < 0 && clock_ms() < end;) {
		turn();
		n = recv(server, text, cap, 0);
		if (n < 0 && errno != EAGAIN)
			return -errno;
	}
	return n;
}

static void bytes_both_ways_and_an_orderly_end(void **state)
{
	char text[64];

	(void)state;
	ask(port);
	mux_put_data(&out, stream, "early", 5); /* before the connection stands */
	go();
	assert_int_equal(hear(text, sizeof(text)), 5);
	assert_memory_equal(text, "early", 5);
	assert_int_equal(send(server, "answer", 6, 0), 6);
	UNTIL(buf_size(&data) == 6);
	mux_put_data(&out, stream, "more", 4);
	mux_put_eof(&out, stream);
	assert_int_equal(hear(text, sizeof(text)), 4);
	assert_int_equal(hear(text, sizeof(text)), 0);
	assert_int_equal(send(server, " to the end", 11, 0), 11);
	fd_close(&server);
	UNTIL(eofs == 1);
	assert_memory_equal(buf_head(&data), "answer to the end", 17);
	rest();
	assert_int_equal(resets, 0);
	assert_int_equal(gmux_count(), 0);
}

static void everything_may_come_and_end_at_once(void **state)
{
	char text[64];

	(void)state;
	ask(port);
	mux_put_data(&out, stream, "all of it", 9);
	mux_put_eof(&out, stream);
	go();
	assert_int_equal(hear(text, sizeof(text)), 9);
	assert_int_equal(hear(text, sizeof(text)), 0);
	fd_close(&server);
	UNTIL(eofs == 1);
	rest();
	assert_int_equal(gmux_count(), 0);
}

static void a_reset_on_one_side_is_one_on_the_other(void **state)
{
	char text[64];

	(void)state;
	ask(port);
	go();
	mux_put_reset(&out, stream, MUX_R_GONE);
	assert_int_equal(hear(text, sizeof(text)), -ECONNRESET);
	fresh(NULL);
	ask(port);
	go();
	relay_reset_take(steal_fd(&server));
	UNTIL(resets == 1);
	fresh(NULL);
	/* While the guest's direction is over and the host's is not. */
	ask(port);
	go();
	shutdown(server, SHUT_WR);
	UNTIL(eofs == 1);
	relay_reset_take(steal_fd(&server));
	mux_put_data(&out, stream, "x", 1);
	UNTIL(resets == 1);
	assert_int_equal(gmux_count(), 0);
}

static void where_nothing_answers_the_host_hears_why(void **state)
{
	struct frame f;
	size_t used;
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	AUTO_FD closed = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* bound, not listening: nobody else takes the port */

	(void)state;
	assert_int_equal(bind(closed, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(getsockname(closed, (struct sockaddr *)&a, &len), 0);
	for (int i = 0; i < 2; i++) { /* the host may have ended its side before */
		ask(ntohs(a.sin_port));
		mux_put_data(&out, stream, "for nobody", 10);
		if (i == 1)
			mux_put_eof(&out, stream);
		UNTIL(eofs == 1);
		assert_int_equal(frame_parse(buf_head(&data), buf_size(&data), NETCONN_FRAME_MAX, &f, &used), 0);
		assert_int_equal(f.type, NETC_FAILED);
		assert_int_equal(f.payload[0], ECONNREFUSED);
		if (i == 0) {
			mux_put_data(&out, stream, "still talking", 13);
			mux_put_eof(&out, stream);
		}
		rest();
		assert_int_equal(resets, 0);
		fresh(NULL);
	}
}

static void a_server_that_does_not_read_stops_the_host(void **state)
{
	static uint8_t block[MUX_DATA_MAX];
	static char sink[1 << 20];
	size_t sent = 0, got = 0;
	const size_t all = 24u << 20; /* more than loopback sockets hold */

	(void)state;
	ask(port);
	go();
	uint32_t spent = 10; /* the frame */
	for (uint64_t last = clock_ms(); clock_ms() - last < 500 && sent < all;) {
		turn();
		while (spent + sizeof(block) <= MUX_WINDOW + credit && buf_room(&out) > 2 * sizeof(block) && sent < all) {
			mux_put_data(&out, stream, block, sizeof(block));
			spent += (uint32_t)sizeof(block);
			sent += sizeof(block);
			last = clock_ms();
		}
	}
	assert_true(sent < all);
	while (got < sent) {
		turn();
		const ssize_t n = recv(server, sink, sizeof(sink), 0);
		assert_true(n > 0 || errno == EAGAIN);
		got += n > 0 ? (size_t)n : 0;
	}
	rest();
	assert_int_equal(got, sent);
	assert_true(credit + MUX_WINDOW / 4 + 10 >= sent); /* all given back but what makes no message yet */
	assert_int_equal(resets, 0);
}

static void a_host_that_does_not_read_stops_the_server(void **state)
{
	static uint8_t block[65536];
	size_t sent = 0;
	const size_t all = 24u << 20;

	(void)state;
	ask(port);
	go();
	for (uint64_t last = clock_ms(); clock_ms() - last < 500 && sent < all;) {
		const ssize_t n = send(server, block, sizeof(block), MSG_NOSIGNAL);

		if (n > 0) {
			sent += (size_t)n;
			last = clock_ms();
		}
		turn();
	}
	assert_true(sent < all);
	assert_true(buf_size(&data) + 8 <= 1u << 20); /* what the host had allowed */
	for (const uint64_t end = clock_ms() + WAIT_MS; buf_size(&data) < sent - (4u << 20) && clock_ms() < end;) {
		mux_put_credit(&out, stream, 65536);
		turn();
		buf_consume(&data, buf_size(&data) > (4u << 20) ? 1u << 20 : 0);
		sent -= buf_size(&data) > (4u << 20) ? 1u << 20 : 0;
	}
	assert_int_equal(resets, 0);
}

static void what_is_no_question(void **state)
{
	static const struct { const char *p; size_t n; } bad[] = {
		{ "GET / HTTP/1.0\r\n\r\n", 18 }, { "\203\0\0\0\2\0\0\0\0\0", 10 } /* port 0 */, { "\203\0\0\0\3\0\0\0\1\0\0", 11 }, { "\200\0\0\0\2\0\0\0\1\0", 10 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		mux_put_open(&out, stream, NETCONN_PORT_FORWARD, 1000);
		mux_put_data(&out, stream, bad[i].p, bad[i].n);
		UNTIL(resets == 1);
		fresh(NULL);
	}
	mux_put_open(&out, stream, NETCONN_PORT_FORWARD, 1000);
	mux_put_data(&out, stream, "\203\0\0\0", 4); /* half a frame, and the end */
	mux_put_eof(&out, stream);
	UNTIL(resets == 1);
	assert_int_equal(server, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(bytes_both_ways_and_an_orderly_end, fresh),
		cmocka_unit_test_setup(everything_may_come_and_end_at_once, fresh),
		cmocka_unit_test_setup(a_reset_on_one_side_is_one_on_the_other, fresh),
		cmocka_unit_test_setup(where_nothing_answers_the_host_hears_why, fresh),
		cmocka_unit_test_setup(a_server_that_does_not_read_stops_the_host, fresh),
		cmocka_unit_test_setup(a_host_that_does_not_read_stops_the_server, fresh),
		cmocka_unit_test_setup(what_is_no_question, fresh),
	};

	return cmocka_run_group_tests_name("guest/forward", tests, setup, NULL);
}
