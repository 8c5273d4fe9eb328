/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's end of the channel over a socketpair: the test is the host. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/proto/mux.h"
#include "guest/loop.h"
#include "guest/mux.h"

#define PORT 7u
#define WAIT_MS 5000

struct end { /* what a stream's owner in the guest saw */
	struct gstream *st;
	struct buf got;
	int eofs, rooms, gones;
	bool close_on_data;
	size_t to_send; /* bytes on_room still has to write */
};

static struct {
	int host;
	struct buf in, out;
	struct end end[4];
	size_t ends;
	uint32_t hellos, resets, opened, credit, opens, number, port, window;
	enum mux_reason reason;
	struct buf data;
	int eofs;
} t;

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	struct end *e = arg;

	buf_put(&e->got, p, n);
	if (e->close_on_data) {
		gstream_close(e->st);
		e->st = NULL;
	}
}

static void on_eof(void *arg)
{
	((struct end *)arg)->eofs++;
}

static void on_room(void *arg)
{
	static const uint8_t block[MUX_DATA_MAX];
	struct end *e = arg;

	e->rooms++;
	while (e->to_send > 0) {
		size_t n = gstream_room(e->st);

		n = n < e->to_send ? n : e->to_send;
		n = n < sizeof(block) ? n : sizeof(block);
		if (n == 0 || !gstream_write(e->st, block, n))
			return;
		e->to_send -= n;
	}
}

static void on_gone(void *arg)
{
	struct end *e = arg;

	e->gones++;
	e->st = NULL;
}

static const struct gstream_ops ops = { .on_data = on_data, .on_eof = on_eof, .on_room = on_room, .on_gone = on_gone };

static bool accept_stream(uint32_t port, struct gstream *st, const struct gstream_ops **o, void **arg)
{
	if (port != PORT || t.ends == 4)
		return false;
	t.end[t.ends].st = st;
	buf_init(&t.end[t.ends].got, 1 << 20);
	*o = &ops;
	*arg = &t.end[t.ends++];
	return true;
}

/* ---- the host ------------------------------------------------------------------------------------------------------------------ */

static void hear(void)
{
	struct mux_frame f;
	size_t used;
	ssize_t n;

	for (uint8_t *p; (p = buf_reserve(&t.in, 65536)) && (n = read(t.host, p, 65536)) > 0;)
		buf_grew(&t.in, (size_t)n);
	for (;;) {
		const int r = mux_parse(buf_head(&t.in), buf_size(&t.in), &f, &used);

		assert_true(r == 0 || r == -EAGAIN);
		if (r < 0)
			return;
		switch (f.type) {
		case MUX_HELLO: t.hellos++; break;
		case MUX_OPENED: t.opened++; break;
		case MUX_OPEN: t.opens++; t.number = f.stream; t.port = f.a; t.window = f.b; break;
		case MUX_RESET: t.resets++; t.reason = f.a; break;
		case MUX_CREDIT: t.credit += f.a; break;
		case MUX_EOF: t.eofs++; break;
		case MUX_DATA: assert_int_equal(buf_put(&t.data, f.data, f.len), 0); break;
		default: fail();
		}
		buf_consume(&t.in, used);
	}
}

/* Sends what was put and lets both run until they rest. */
static void run(void)
{
	const uint64_t end = clock_ms() + WAIT_MS;

	for (int quiet = 0; quiet < 3 && clock_ms() < end;) {
		const size_t before = buf_size(&t.data) + t.hellos + t.resets + t.opened + t.credit;

		if (buf_size(&t.out) > 0) {
			const ssize_t n = write(t.host, buf_head(&t.out), buf_size(&t.out));

			if (n > 0)
				buf_consume(&t.out, (size_t)n);
		}
		loop_turn(2);
		hear();
		const size_t after = buf_size(&t.data) + t.hellos + t.resets + t.opened + t.credit;
		quiet = buf_size(&t.out) == 0 && before == after ? quiet + 1 : 0;
	}
	assert_int_equal(buf_size(&t.out), 0);
}

static int setup(void **state)
{
	static bool started;
	static int guest = -1;
	int pair[2];

	(void)state;
	if (!started) {
		started = true;
		log_level(LOG_ERROR);
		log_to(open("/dev/null", O_WRONLY | O_CLOEXEC));
		if (loop_init() < 0 || fd_pair(SOCK_STREAM, pair) < 0)
			return -1;
		t.host = pair[0];
		guest = pair[1];
		buf_init(&t.in, 1 << 20);
		buf_init(&t.out, 8 << 20);
		buf_init(&t.data, 8 << 20);
		if (gmux_start_fd(guest, accept_stream) < 0)
			return -1;
	}
	/* One channel for all cases, as in a guest: every case begins with its HELLO. */
	mux_put_hello(&t.out, 1);
	run();
	for (size_t i = 0; i < 4; i++)
		buf_release(&t.end[i].got);
	memset(t.end, 0, sizeof(t.end));
	buf_clear(&t.data);
	t.ends = 0;
	t.hellos = t.resets = t.opened = t.credit = t.opens = 0;
	t.eofs = 0;
	return 0;
}

static void open_stream(uint32_t number, uint32_t window)
{
	const uint32_t before = t.opened;

	mux_put_open(&t.out, number, PORT, window);
	run();
	assert_int_equal(t.opened, before + 1);
}

/* ---- cases --------------------------------------------------------------------------------------------------------------------- */

static void bytes_both_ways_and_an_orderly_end(void **state)
{
	(void)state;
	open_stream(1, 100);
	mux_put_data(&t.out, 1, "hello", 5);
	run();
	assert_int_equal(buf_size(&t.end[0].got), 5);
	assert_true(gstream_write(t.end[0].st, "answer", 6));
	run();
	assert_int_equal(buf_size(&t.data), 6);
	mux_put_eof(&t.out, 1);
	mux_put_eof(&t.out, 1);
	run();
	assert_int_equal(t.end[0].eofs, 1);
	gstream_eof(t.end[0].st);
	assert_int_equal(gstream_room(t.end[0].st), 0);
	gstream_close(t.end[0].st);
	run();
	assert_int_equal(t.eofs, 1);
	assert_int_equal(t.resets, 0);
	assert_int_equal(gmux_count(), 0);
}

static void writing_stops_at_the_credit(void **state)
{
	(void)state;
	open_stream(1, 10);
	assert_int_equal(gstream_room(t.end[0].st), 10);
	assert_false(gstream_write(t.end[0].st, "eleven bytes", 11));
	t.end[0].to_send = 3 << 20;
	on_room(&t.end[0]);
	run();
	assert_int_equal(buf_size(&t.data), 10);
	mux_put_credit(&t.out, 1, 5);
	run();
	assert_int_equal(buf_size(&t.data), 15);
	mux_put_credit(&t.out, 1, UINT32_MAX);
	mux_put_credit(&t.out, 1, UINT32_MAX); /* no overflow */
	for (int i = 0; i < 100 && t.end[0].to_send > 0; i++)
		run();
	assert_int_equal(buf_size(&t.data), 3 << 20);
}

static void frames_are_whole_and_reserved_room_is_as_told(void **state)
{
	static uint8_t big[60000];
	struct frame f;
	size_t n, used;

	(void)state;
	open_stream(1, FRAME_HEAD + 20);
	assert_false(gstream_frame(t.end[0].st, 41, big, 21));
	uint8_t *p = gstream_reserve(t.end[0].st, &n);
	assert_non_null(p);
	assert_int_equal(n, 20);
	gstream_commit(t.end[0].st, 40, 0);
	p = gstream_reserve(t.end[0].st, &n);
	memcpy(p, "0123456789", 10);
	gstream_commit(t.end[0].st, 40, 10);
	run();
	assert_int_equal(frame_parse(buf_head(&t.data), buf_size(&t.data), 100, &f, &used), 0);
	assert_int_equal(f.type, 40);
	assert_memory_equal(f.payload, "0123456789", 10);
	assert_int_equal(used, buf_size(&t.data));
	buf_clear(&t.data);
	assert_int_equal(gstream_room(t.end[0].st), 10);
	mux_put_credit(&t.out, 1, 1 << 20);
	run();
	memset(big, 'x', sizeof(big));
	assert_true(gstream_frame(t.end[0].st, 41, big, sizeof(big)));
	assert_true(gstream_frame(t.end[0].st, 42, NULL, 0));
	run();
	assert_int_equal(frame_parse(buf_head(&t.data), buf_size(&t.data), 65536, &f, &used), 0);
	assert_int_equal(f.len, sizeof(big));
	buf_consume(&t.data, used);
	assert_int_equal(frame_parse(buf_head(&t.data), buf_size(&t.data), 65536, &f, &used), 0);
	assert_int_equal(f.type, 42);
}

static void credit_goes_back_as_it_is_used(void **state)
{
	static const uint8_t block[MUX_DATA_MAX];

	(void)state;
	open_stream(1, 100);
	for (int i = 0; i < 16; i++) {
		mux_put_data(&t.out, 1, block, sizeof(block));
		buf_clear(&t.end[0].got);
		run();
	}
	assert_true(t.credit >= 16 * sizeof(block) - MUX_WINDOW / 4 && t.credit <= 16 * sizeof(block));
	assert_int_equal(t.resets, 0);
}

static void one_slow_stream_does_not_starve_another(void **state)
{
	(void)state;
	open_stream(1, 1 << 30);
	open_stream(3, 1 << 30);
	t.end[0].to_send = 4 << 20;
	t.end[1].to_send = 1000;
	on_room(&t.end[0]); /* fills the queue */
	assert_true(t.end[0].to_send > 0);
	on_room(&t.end[1]);
	while (t.end[1].to_send > 0 && t.end[0].to_send > 0) {
		loop_turn(2);
		hear();
	}
	assert_int_equal(t.end[1].to_send, 0);
	run();
	buf_clear(&t.data);
	for (int i = 0; i < 100 && t.end[0].to_send > 0; i++) {
		run();
		buf_clear(&t.data);
	}
	assert_int_equal(t.end[0].to_send, 0);
}

static void closing_inside_a_callback_is_safe(void **state)
{
	(void)state;
	open_stream(1, 100);
	t.end[0].close_on_data = true;
	mux_put_data(&t.out, 1, "a", 1);
	mux_put_data(&t.out, 1, "b", 1); /* in flight: ignored */
	mux_put_credit(&t.out, 1, 1);
	mux_put_eof(&t.out, 1);
	run();
	assert_int_equal(buf_size(&t.end[0].got), 1);
	assert_int_equal(t.resets, 1);
	assert_int_equal(t.hellos, 0);
	open_stream(1, 100); /* the number is free again */
}

static void refusals(void **state)
{
	(void)state;
	mux_put_open(&t.out, 1, PORT + 1, 100);
	run();
	assert_int_equal(t.resets, 1);
	assert_int_equal(t.reason, MUX_R_REFUSED);
	assert_int_equal(gmux_count(), 0);
}

static void data_after_eof_resets_that_stream(void **state)
{
	(void)state;
	open_stream(1, 100);
	open_stream(3, 100);
	mux_put_eof(&t.out, 1);
	mux_put_data(&t.out, 1, "x", 1);
	mux_put_data(&t.out, 3, "y", 1);
	run();
	assert_int_equal(t.reason, MUX_R_CREDIT);
	assert_int_equal(t.end[0].gones, 1);
	assert_int_equal(buf_size(&t.end[1].got), 1);
}

static void a_second_hello_resets_every_stream(void **state)
{
	(void)state;
	open_stream(1, 100);
	open_stream(3, 100);
	mux_put_hello(&t.out, 2);
	run();
	assert_int_equal(t.end[0].gones + t.end[1].gones, 2);
	assert_int_equal(gmux_count(), 0);
	open_stream(1, 100);
}

/* What may not be ends the connection, which the host is told by a HELLO that it has not asked for; only its own is heard then, wherever it begins. */
static void garbage_ends_it_and_hello_begins_it(void **state)
{
	static const uint8_t unopened[] = { 9, 0, 0, 0, 0, 0, MUX_EOF, 0 }, even[] = { 2, 0, 0, 0, 0, 0, MUX_EOF, 0 },
			     half[] = { 1, 0, 0, 0, 0, 128, MUX_DATA, 0, 'h' }, old[] = { 0, 0, 0, 0, 12, 0, MUX_HELLO, 0, 'B', 'K', 'M', 'X', 9, 9, 0, 0, 0, 0, 0, 0 };
	static const struct { const uint8_t *p; size_t n; } junk[] = {
		{ (const uint8_t *)"\xff\xff\xff\xff\xff\xff\xff\xff\xff", 9 }, { unopened, sizeof(unopened) }, { even, sizeof(even) }, { old, sizeof(old) },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(junk) / sizeof(*junk); i++) {
		t.ends = 0;
		buf_release(&t.end[0].got);
		memset(t.end, 0, sizeof(t.end));
		open_stream(1, 100);
		const uint32_t before = t.hellos;
		buf_put(&t.out, junk[i].p, junk[i].n);
		mux_put_data(&t.out, 1, "lost", 4);
		run();
		assert_int_equal(t.end[0].gones, 1);
		assert_int_equal(buf_size(&t.end[0].got), 0);
		assert_int_equal(t.hellos, before + 1);
		buf_put(&t.out, half, sizeof(half));
		mux_put_hello(&t.out, 1);
		run();
		assert_int_equal(t.hellos, before + 2);
	}
}

static void opening_a_stream_twice_ends_the_channel(void **state)
{
	(void)state;
	open_stream(1, 100);
	mux_put_open(&t.out, 1, PORT, 100);
	run();
	assert_int_equal(t.end[0].gones, 1);
}

static void every_byte_of_noise(void **state)
{
	static uint8_t noise[4096];
	uint32_t x = 12345;

	(void)state;
	for (int round = 0; round < 200; round++) {
		for (size_t i = 0; i < sizeof(noise); i++)
			noise[i] = (uint8_t)((x = x * 1664525u + 1013904223u) >> 24);
		/* Often a true header in front, so that it gets past the first test. */
		if (round % 2)
			memcpy(noise, (uint8_t[]){ 1, 0, 0, 0, 4, 0, (uint8_t)(1 + round % 7), 0 }, 8);
		buf_put(&t.out, noise, sizeof(noise));
		mux_put_hello(&t.out, 1);
		run();
	}
	/* The last HELLO may have been swallowed as somebody's data. */
	buf_put(&t.out, (uint8_t[MUX_DATA_MAX + MUX_HEAD]){ 0 }, MUX_DATA_MAX + MUX_HEAD);
	mux_put_hello(&t.out, 1);
	run();
	t.ends = 0;
	open_stream(1, 100);
}

static void start_ours(size_t i, uint32_t window)
{
	buf_init(&t.end[i].got, 1 << 20);
	t.end[i].st = gmux_open(16, window, &ops, &t.end[i]);
	assert_non_null(t.end[i].st);
	run();
}

static void we_open_too(void **state)
{
	(void)state;
	start_ours(0, 1000);
	assert_int_equal(t.opens, 1);
	assert_int_equal(t.number, 2);
	assert_int_equal(t.port, 16);
	assert_int_equal(t.window, 1000);
	t.end[0].to_send = 3;
	on_room(&t.end[0]); /* nothing may leave yet */
	assert_int_equal(t.end[0].to_send, 3);
	mux_put_opened(&t.out, 2, 100);
	run();
	assert_int_equal(t.end[0].to_send, 0);
	assert_int_equal(buf_size(&t.data), 3);
	t.ends = 1;
	open_stream(1, 100); /* the host's number of the same slot */
	mux_put_data(&t.out, 2, "answer", 6);
	mux_put_eof(&t.out, 2);
	run();
	assert_int_equal(buf_size(&t.end[0].got), 6);
	assert_int_equal(t.end[0].eofs, 1);
	gstream_eof(t.end[0].st);
	gstream_close(t.end[0].st);
	start_ours(2, 1000);
	assert_int_equal(t.number, 4);
	mux_put_data(&t.out, 2, "late", 4); /* for one that is no more */
	mux_put_reset(&t.out, 4, MUX_R_REFUSED);
	run();
	assert_int_equal(t.end[2].gones, 1);
	assert_int_equal(t.resets, 0);
	assert_int_equal(gmux_count(), 1);
}

static void held_credit_goes_back_as_bytes_are_taken(void **state)
{
	static const uint8_t block[4000];

	(void)state;
	start_ours(0, 4000);
	gstream_hold(t.end[0].st);
	mux_put_opened(&t.out, 2, 100);
	mux_put_data(&t.out, 2, block, sizeof(block));
	run();
	assert_int_equal(buf_size(&t.end[0].got), 4000);
	assert_int_equal(t.credit, 0);
	gstream_taken(t.end[0].st, 900);
	gstream_taken(t.end[0].st, 200);
	run();
	assert_int_equal(t.credit, 1100);
	mux_put_data(&t.out, 2, block, 1101);
	run();
	assert_int_equal(t.resets, 1);
	assert_int_equal(t.end[0].gones, 1);
}

static void bytes_without_a_frame(void **state)
{
	size_t n;

	(void)state;
	open_stream(1, 40);
	uint8_t *p = gstream_reserve_raw(t.end[0].st, &n);
	assert_non_null(p);
	assert_int_equal(n, 40);
	memcpy(p, "raw", 3);
	gstream_commit_raw(t.end[0].st, 3);
	run();
	assert_int_equal(buf_size(&t.data), 3);
	assert_int_equal(gstream_room(t.end[0].st), 37);
}

/* An answer nobody waits for, or bytes before it, end the channel. */
static void what_the_host_may_not_say_of_ours(void **state)
{
	(void)state;
	start_ours(0, 1000);
	mux_put_data(&t.out, 2, "early", 5);
	run();
	assert_int_equal(t.end[0].gones, 1);
	assert_null(gmux_open(16, 1000, &ops, &t.end[1]));
	mux_put_hello(&t.out, 1);
	run();
	start_ours(1, 1000);
	mux_put_opened(&t.out, 2, 100);
	mux_put_opened(&t.out, 2, 100);
	run();
	assert_int_equal(t.end[1].gones, 1);
	mux_put_hello(&t.out, 1);
	run();
	start_ours(2, 1000);
	mux_put_eof(&t.out, 4); /* not opened yet */
	run();
	assert_int_equal(t.end[2].gones, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(bytes_both_ways_and_an_orderly_end, setup),
		cmocka_unit_test_setup(writing_stops_at_the_credit, setup),
		cmocka_unit_test_setup(frames_are_whole_and_reserved_room_is_as_told, setup),
		cmocka_unit_test_setup(credit_goes_back_as_it_is_used, setup),
		cmocka_unit_test_setup(one_slow_stream_does_not_starve_another, setup),
		cmocka_unit_test_setup(closing_inside_a_callback_is_safe, setup),
		cmocka_unit_test_setup(refusals, setup),
		cmocka_unit_test_setup(data_after_eof_resets_that_stream, setup),
		cmocka_unit_test_setup(a_second_hello_resets_every_stream, setup),
		cmocka_unit_test_setup(garbage_ends_it_and_hello_begins_it, setup),
		cmocka_unit_test_setup(opening_a_stream_twice_ends_the_channel, setup),
		cmocka_unit_test_setup(we_open_too, setup),
		cmocka_unit_test_setup(held_credit_goes_back_as_bytes_are_taken, setup),
		cmocka_unit_test_setup(bytes_without_a_frame, setup),
		cmocka_unit_test_setup(what_the_host_may_not_say_of_ours, setup),
		cmocka_unit_test_setup(every_byte_of_noise, setup),
	};

	return cmocka_run_group_tests_name("guest/mux", tests, NULL, NULL);
}
