/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's end of a lane, with a socket for the port: what others left in it is skipped, nothing is lost when it is full, and its end is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "guest/fuselane.h"
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
	assert_true(e.misses > 0 && e.misses < 8);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_others_left_is_skipped, setup, teardown),
		cmocka_unit_test_setup_teardown(much_that_others_left_is_skipped_too, setup, teardown),
		cmocka_unit_test_setup_teardown(ours_goes_first, setup, teardown),
		cmocka_unit_test_setup_teardown(what_does_not_fit_is_asked_for_again, setup, teardown),
		cmocka_unit_test_setup_teardown(its_end_is_told_once, setup, teardown),
		cmocka_unit_test_setup_teardown(a_port_that_is_not_there_is_no_lane, setup, teardown),
		cmocka_unit_test_setup_teardown(an_eager_turn_sleeps_all_the_same, setup, teardown),
	};

	return loop_init() < 0 ? EXIT_FAILURE : cmocka_run_group_tests_name("guest/fuselane", tests, NULL, NULL);
}
