/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's end of a lane, with a socket for the port: what others left in it is skipped, nothing is lost when it is full, and its end is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "guest/fuselane.h"
#include "core/workspace/window.h"
#include "guest/loop.h"

static const uint8_t sign[FS_LANE_SIGN] = "0123456789abcdef";
static struct fuselane lane;
static int host;
static struct buf got; /* what came behind the sign */
static int rooms, ends;

static void on_input(void *arg, struct buf *in)
{
	(void)arg;
	buf_put(&got, buf_head(in), buf_size(in));
	buf_consume(in, buf_size(in));
}

static void on_room(void *arg) { (void)arg; rooms++; }
static void on_gone(void *arg) { (void)arg; ends++; }
static const struct fuselane_ops ops = { .on_input = on_input, .on_room = on_room, .on_gone = on_gone };

static int setup(void **state)
{
	int pair[2];

	(void)state;
	rooms = ends = 0;
	buf_init(&got, 8u << 20);
	assert_int_equal(fd_pair(SOCK_STREAM, pair), 0);
	host = pair[0];
	fuselane_init(&lane, 1u << 20, &ops, NULL);
	assert_false(fuselane_is_open(&lane));
	assert_int_equal(fuselane_open_take(&lane, pair[1], sign), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fuselane_close(&lane);
	fd_close(&host);
	buf_release(&got);
	return 0;
}

static void say(const void *p, size_t n)
{
	assert_int_equal(write(host, p, n), n);
	loop_turn(0);
}

static void what_others_left_is_skipped(void **state)
{
	(void)state;
	say("half a message of the last one", 30);
	say(sign, 7);
	say("no, that was not it", 19);
	assert_int_equal(buf_size(&got), 0);
	say(sign, 5);
	say(sign + 5, 10);
	assert_int_equal(buf_size(&got), 0);
	say("f", 1);
	say("first", 5);
	say(sign, sizeof(sign)); /* from now on it is what any bytes are */
	assert_int_equal(buf_size(&got), 5 + sizeof(sign));
	assert_memory_equal(buf_head(&got), "first", 5);
	assert_int_equal(ends, 0);
}

static void much_that_others_left_is_skipped_too(void **state)
{
	static uint8_t junk[3000];

	(void)state;
	memset(junk, '0', sizeof(junk));
	for (int i = 0; i < 1000; i++)
		say(junk, sizeof(junk));
	say(sign, sizeof(sign));
	say("x", 1);
	assert_int_equal(buf_size(&got), 1);
}

static void ours_goes_first(void **state)
{
	char text[64];

	(void)state;
	assert_int_equal(fuselane_write(&lane, (const uint8_t *)"hello", 5), 5);
	assert_int_equal(fuselane_write(&lane, (const uint8_t *)" again", 6), 6);
	assert_int_equal(read(host, text, sizeof(text)), sizeof(sign) + 11);
	assert_memory_equal(text, sign, sizeof(sign));
	assert_memory_equal(text + sizeof(sign), "hello again", 11);
	assert_int_equal(rooms, 0);
}

static void what_does_not_fit_is_asked_for_again(void **state)
{
	static uint8_t out[4u << 20], in[4u << 20];
	size_t sent = 0, came = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7 + i / 4096);
	while (came < sizeof(sign) + sizeof(out)) {
		const int before = rooms;

		if (sent < sizeof(out)) {
			const size_t n = fuselane_write(&lane, out + sent, sizeof(out) - sent);

			sent += n;
			if (sent < sizeof(out)) {
				assert_int_equal(fuselane_write(&lane, out + sent, 1), 0);
				loop_turn(0);
				assert_int_equal(rooms, before); /* nobody has read yet */
			}
		}
		for (ssize_t n; came < sizeof(in) && (n = read(host, in + came, sizeof(in) - came)) > 0;)
			came += (size_t)n;
		loop_turn(0);
		if (sent < sizeof(out))
			assert_int_equal(rooms, before + 1);
		if (came == sizeof(in))
			break;
	}
	assert_memory_equal(in, sign, sizeof(sign));
	assert_memory_equal(in + sizeof(sign), out, sizeof(in) - sizeof(sign));
}

static void its_end_is_told_once(void **state)
{
	(void)state;
	say(sign, sizeof(sign));
	say("last", 4);
	fd_close(&host);
	loop_turn(0);
	loop_turn(0);
	assert_int_equal(ends, 1);
	assert_false(fuselane_is_open(&lane));
	assert_int_equal(buf_size(&got), 4);
}

static void a_port_that_is_not_there_is_no_lane(void **state)
{
	(void)state;
	assert_true(fuselane_open(&lane, FS_LANE_PORT "nowhere", sign) < 0);
	assert_false(fuselane_is_open(&lane));
	loop_turn(0);
	assert_int_equal(ends, 0);
}

/* Who waits eagerly gets what comes meanwhile and sleeps as long as asked when nothing does; in vain it does so less and less often. */
static void an_eager_turn_sleeps_all_the_same(void **state)
{
	struct eager e = { 0 };

	(void)state;
	say(sign, sizeof(sign));
	for (int i = 0; i < 40; i++) {
		const uint64_t begin = clock_ms();

		loop_eager(&e);
		loop_turn(3);
		assert_true(clock_ms() - begin >= 2);
	}
	assert_true(e.misses > 0 && e.misses < 4);
	while (e.rest > 0) {
		loop_eager(&e);
		loop_turn(1);
	}
	assert_int_equal(write(host, "x", 1), 1);
	loop_eager(&e);
	loop_turn(1000);
	assert_int_equal(buf_size(&got), 1);
	assert_int_equal(e.misses, 0);
}

static _Alignas(64) uint8_t memory[FS_WINDOW_SIZE];

/* The lane's bytes come by memory from here on. */
static struct window ring(void)
{
	memset(memory + FS_RING_AT, 0, sizeof(struct fs_ring));
	say(sign, sizeof(sign));
	assert_int_equal(fuselane_ring(&lane, memory), 0);
	return (struct window){ .base = memory };
}

static void put(struct window *w, const void *p, size_t n)
{
	assert_int_equal(window_put(w, p, n), n);
}

/* While it looks nobody need wake it; asleep it is woken by a byte, which is none of the message. */
static void what_lies_in_memory_is_seen(void **state)
{
	struct window w = ring();
	struct eager e = { 0 };

	(void)state;
	assert_false(window_is_asleep(&w));
	put(&w, "looks", 5);
	assert_false(window_is_asleep(&w));
	loop_eager(&e);
	loop_turn(1000);
	assert_int_equal(buf_size(&got), 5);
	put(&w, " not", 4); /* before it sleeps it looks once more */
	loop_turn(1000);
	assert_int_equal(buf_size(&got), 9);
	say("wake up", 7);
	assert_int_equal(buf_size(&got), 9);
	put(&w, " up", 3);
	say("!", 1);
	assert_int_equal(buf_size(&got), 12);
	assert_memory_equal(buf_head(&got), "looks not up", 12);
	fd_close(&host);
	loop_turn(0);
	assert_int_equal(ends, 1);
	put(&w, "for nobody", 10);
	loop_turn(0);
	assert_int_equal(buf_size(&got), 12);
}

static void *wake_it_up(void *arg)
{
	struct window *w = arg;

	while (!window_is_asleep(w))
		;
	window_put(w, (const uint8_t *)"late", 4);
	return window_is_asleep(w) ? (void *)(intptr_t)write(host, "", 1) : NULL;
}

/* Whoever puts at that moment is seen by the last look or wakes it, and it never sleeps over it. */
static void who_sleeps_says_so(void **state)
{
	struct window w = ring();
	int woken = 0;

	(void)state;
	for (int round = 0; round < 500; round++) {
		const uint64_t begin = clock_ms();
		pthread_t t;
		void *wrote;

		buf_clear(&got);
		assert_int_equal(pthread_create(&t, NULL, wake_it_up, &w), 0);
		while (buf_size(&got) < 4)
			loop_turn(20000);
		assert_true(clock_ms() - begin < 15000);
		assert_int_equal(pthread_join(t, &wrote), 0);
		assert_int_equal(buf_size(&got), 4);
		woken += wrote != NULL;
	}
	assert_true(woken > 0);
}

static bool nothing(void *arg) { (void)arg; return false; }

static void put_as_it_lies_down(void *arg, bool yes)
{
	if (yes)
		put(arg, "late", 4);
}

/* The host put after it was last seen to look, and so woke nobody: the look before it sleeps is behind its word. */
static void what_comes_as_it_lies_down_is_seen(void **state)
{
	struct window w = ring();
	struct peek p = { .look = nothing, .sleeps = put_as_it_lies_down, .arg = &w };

	(void)state;
	assert_int_equal(loop_peek_add(&p), 0);
	loop_turn(100);
	loop_peek_del(&p);
	assert_int_equal(buf_size(&got), 4);
}

static void a_ring_goes_round(void **state)
{
	static uint8_t text[FS_RING_SIZE];
	struct window w = ring();
	size_t all = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)(i * 11 + i / 1000);
	for (size_t n = 1; n < sizeof(text); n = n * 3 + 1) {
		put(&w, text, n);
		loop_turn(0);
		assert_int_equal(buf_size(&got), n);
		assert_memory_equal(buf_head(&got), text, n);
		buf_clear(&got);
		all += n;
	}
	assert_true(all > FS_RING_SIZE / 2);
	put(&w, text, FS_RING_SIZE);
	assert_int_equal(window_put(&w, text, 1), 0); /* full */
	loop_turn(0);
	assert_int_equal(buf_size(&got), FS_RING_SIZE);
	assert_memory_equal(buf_head(&got), text, FS_RING_SIZE);
}

static void a_ring_that_cannot_be_ends_the_lane(void **state)
{
	struct window w = ring();

	(void)state;
	w.put = FS_RING_SIZE - 3; /* says to have put more than fits */
	put(&w, "1", 1);
	((struct fs_ring *)(void *)(memory + FS_RING_AT))->put = FS_RING_SIZE + 1;
	loop_turn(0);
	assert_int_equal(ends, 1);
	assert_false(fuselane_is_open(&lane));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_others_left_is_skipped, setup, teardown),
		cmocka_unit_test_setup_teardown(much_that_others_left_is_skipped_too, setup, teardown),
		cmocka_unit_test_setup_teardown(ours_goes_first, setup, teardown),
		cmocka_unit_test_setup_teardown(what_does_not_fit_is_asked_for_again, setup, teardown),
		cmocka_unit_test_setup_teardown(its_end_is_told_once, setup, teardown),
		cmocka_unit_test_setup_teardown(a_port_that_is_not_there_is_no_lane, setup, teardown),
		cmocka_unit_test_setup_teardown(what_lies_in_memory_is_seen, setup, teardown),
		cmocka_unit_test_setup_teardown(who_sleeps_says_so, setup, teardown),
		cmocka_unit_test_setup_teardown(what_comes_as_it_lies_down_is_seen, setup, teardown),
		cmocka_unit_test_setup_teardown(a_ring_goes_round, setup, teardown),
		cmocka_unit_test_setup_teardown(a_ring_that_cannot_be_ends_the_lane, setup, teardown),
		cmocka_unit_test_setup_teardown(an_eager_turn_sleeps_all_the_same, setup, teardown),
	};

	return loop_init() < 0 ? EXIT_FAILURE : cmocka_run_group_tests_name("guest/fuselane", tests, NULL, NULL);
}
