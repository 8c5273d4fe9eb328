/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's end of a vsock channel over socketpairs: the test is the host, each pair a connection it made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/fd.h"
#include "guest/loop.h"
#include "guest/vsock.h"

#define WAIT_MS 5000

static struct end {
	struct gstream *st;
	struct buf got;
	size_t most;       /* largest single on_data */
	int eofs, rooms, gones;
	bool close_on_data;
} e;

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	struct end *x = arg;

	buf_put(&x->got, p, n);
	x->most = n > x->most ? n : x->most;
	if (x->close_on_data) {
		gstream_close(x->st);
		x->st = NULL;
	}
}
static void on_eof(void *arg) { ((struct end *)arg)->eofs++; }
static void on_room(void *arg) { ((struct end *)arg)->rooms++; }
static void on_gone(void *arg)
{
	struct end *x = arg;

	x->gones++;
	x->st = NULL;
}
static const struct gstream_ops ops = { .on_data = on_data, .on_eof = on_eof, .on_room = on_room, .on_gone = on_gone };

static bool accept_(uint32_t port, struct gstream *st, const struct gstream_ops **out, void **arg)
{
	if (port != 2)
		return false;
	e.st = st;
	*out = &ops;
	*arg = &e;
	return true;
}

/* Turns until the condition holds. */
#define UNTIL(condition)                                                          \
	do {                                                                      \
		for (const uint64_t end_ = clock_ms() + WAIT_MS; !(condition);) { \
			assert_true(clock_ms() < end_);                           \
			loop_turn(10);                                            \
		}                                                                 \
	} while (0)

static int host; /* our end of the last connection */

static void dial(uint32_t port)
{
	int pair[2];

	buf_release(&e.got);
	e = (struct end){ 0 };
	buf_init(&e.got, 4u << 20);
	assert_int_equal(fd_pair(SOCK_STREAM, pair), 0);
	host = pair[0];
	gvsock_take(pair[1], port);
}

static size_t host_read(uint8_t *p, size_t n)
{
	const ssize_t r = recv(host, p, n, MSG_DONTWAIT);

	return r > 0 ? (size_t)r : 0;
}

static bool host_eof(void)
{
	uint8_t c;
	const ssize_t r = recv(host, &c, 1, MSG_DONTWAIT);

	return r == 0 || (r < 0 && errno == ECONNRESET);
}

static void hang_up(void)
{
	close(host);
	UNTIL(gvsock_count() == 0);
}

static void a_stream_carries_both_ways(void **unused)
{
	uint8_t in[64];
	size_t n = 0;

	(void)unused;
	dial(2);
	assert_int_equal(gvsock_count(), 1);
	assert_int_equal(send(host, "hello", 5, 0), 5);
	UNTIL(buf_size(&e.got) == 5);
	assert_true(gstream_frame(e.st, 9, "abc", 3));
	UNTIL((n += host_read(in + n, sizeof(in) - n)) == 11);
	assert_memory_equal(in, "\x09\0\0\0\x03\0\0\0abc", 11);
	shutdown(host, SHUT_WR);
	UNTIL(e.eofs == 1);
	gstream_eof(e.st);
	UNTIL(host_eof());
	gstream_close(e.st);
	UNTIL(gvsock_count() == 0);
	assert_int_equal(e.gones, 0);
	close(host);
}

static void no_more_than_a_frame_at_once(void **unused)
{
	static uint8_t bulk[1u << 20];
	size_t sent = 0;

	(void)unused;
	dial(2);
	while (buf_size(&e.got) < sizeof(bulk)) {
		const ssize_t n = sent < sizeof(bulk) ? send(host, bulk + sent, sizeof(bulk) - sent, MSG_DONTWAIT) : 0;

		sent += n > 0 ? (size_t)n : 0;
		loop_turn(10);
	}
	assert_in_range(e.most, 1, MUX_DATA_MAX);
	hang_up();
}

static void who_holds_bounds_what_comes(void **unused)
{
	static uint8_t bulk[2 * MUX_WINDOW];

	(void)unused;
	dial(2);
	gstream_hold(e.st);
	for (size_t sent = 0, i = 0; sent < sizeof(bulk) && i < 400; i++) {
		const ssize_t n = send(host, bulk + sent, sizeof(bulk) - sent, MSG_DONTWAIT);

		sent += n > 0 ? (size_t)n : 0;
		loop_turn(1);
	}
	assert_in_range(buf_size(&e.got), MUX_WINDOW / 2, MUX_WINDOW + MUX_DATA_MAX);
	const size_t held = buf_size(&e.got);
	gstream_taken(e.st, held);
	UNTIL(buf_size(&e.got) > held);
	hang_up();
}

static void a_full_stream_says_when_there_is_room(void **unused)
{
	static uint8_t bulk[MUX_DATA_MAX], in[65536];
	size_t written = 0, got = 0;

	(void)unused;
	dial(2);
	for (unsigned i = 0; i < 400 && gstream_write(e.st, bulk, sizeof(bulk)); i++) {
		written += sizeof(bulk);
		loop_turn(0);
	}
	assert_in_range(written, 256u * 1024, 8u << 20); /* the host reads nothing: it ends */
	assert_int_equal(e.rooms, 0);
	while (e.rooms == 0) {
		got += host_read(in, sizeof(in));
		loop_turn(0);
	}
	assert_true(gstream_room(e.st) >= MUX_DATA_MAX);
	UNTIL((got += host_read(in, sizeof(in))) == written);
	hang_up();
}

static void what_was_written_leaves_although_it_was_closed(void **unused)
{
	static uint8_t bulk[MUX_DATA_MAX], in[65536];
	size_t written = 0, got = 0;

	(void)unused;
	dial(2);
	while (written < 10 * sizeof(bulk) && gstream_write(e.st, bulk, sizeof(bulk)))
		written += sizeof(bulk);
	gstream_eof(e.st);
	gstream_close(e.st);
	UNTIL((got += host_read(in, sizeof(in))) == written);
	UNTIL(host_eof());
	UNTIL(gvsock_count() == 0);
	assert_int_equal(e.gones, 0);
	close(host);
}

static void a_stream_may_close_itself_while_it_reads(void **unused)
{
	(void)unused;
	dial(2);
	e.close_on_data = true;
	assert_int_equal(send(host, "hello", 5, 0), 5);
	UNTIL(gvsock_count() == 0);
	assert_int_equal(buf_size(&e.got), 5);
	assert_int_equal(e.eofs + e.gones, 0);
	close(host);
}

static void a_host_that_is_gone_is_told_once(void **unused)
{
	(void)unused;
	dial(2);
	gstream_write(e.st, "x", 1);
	loop_turn(0);
	close(host); /* with a byte unread: a reset */
	UNTIL(gvsock_count() == 0 || e.eofs == 1);
	if (e.st) {
		gstream_write(e.st, "y", 1);
		UNTIL(e.gones == 1 || gvsock_count() == 0);
	}
	assert_int_equal(e.gones, 1);
	UNTIL(gvsock_count() == 0);
}

static void other_ports_are_closed_at_once(void **unused)
{
	(void)unused;
	dial(7);
	assert_null(e.st);
	UNTIL(host_eof());
	UNTIL(gvsock_count() == 0);
	close(host);
}

static int start(void **unused)
{
	(void)unused;
	if (loop_init() < 0)
		return -1;
	gvsock_start_bare(accept_);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stream_carries_both_ways),
		cmocka_unit_test(no_more_than_a_frame_at_once),
		cmocka_unit_test(who_holds_bounds_what_comes),
		cmocka_unit_test(a_full_stream_says_when_there_is_room),
		cmocka_unit_test(what_was_written_leaves_although_it_was_closed),
		cmocka_unit_test(a_stream_may_close_itself_while_it_reads),
		cmocka_unit_test(a_host_that_is_gone_is_told_once),
		cmocka_unit_test(other_ports_are_closed_at_once),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
