/* SPDX-License-Identifier: Apache-2.0 */
/* Streams over real socketpairs and pipes: order, bounds, half-close, back-pressure, closing from inside a callback. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "core/base/fd.h"
#include "core/loop/stream.h"

struct side {
	struct stream *s;
	struct buf got;
	size_t take_max; /* bytes on_read consumes at once; 0 none */
	int eofs, drains, closed, why;
	bool close_in_read;
};

static void on_read(void *arg, struct buf *in)
{
	struct side *x = arg;
	size_t n = buf_size(in) < x->take_max ? buf_size(in) : x->take_max;

	if (x->close_in_read) {
		stream_close(&x->s);
		return;
	}
	buf_put(&x->got, buf_head(in), n);
	buf_consume(in, n);
	if (buf_size(in) > 0 && x->take_max > 0)
		stream_kick(x->s);
}

static void on_eof(void *arg)
{
	((struct side *)arg)->eofs++;
}

static void on_drain(void *arg)
{
	((struct side *)arg)->drains++;
}

static void on_closed(void *arg, int why)
{
	struct side *x = arg;

	x->closed++;
	x->why = why;
}

static const struct stream_ops ops = { .on_read = on_read, .on_eof = on_eof, .on_drain = on_drain, .on_closed = on_closed };

struct fixture {
	uv_loop_t loop;
	struct side a, b;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fds[2];

	uv_loop_init(&f->loop);
	assert_int_equal(fd_pair(SOCK_STREAM, fds), 0);
	f->a.take_max = f->b.take_max = SIZE_MAX;
	buf_init(&f->a.got, 64 << 20);
	buf_init(&f->b.got, 64 << 20);
	assert_int_equal(stream_open_take(&f->a.s, &f->loop, fds[0], 65536, 65536, &ops, &f->a), 0);
	assert_int_equal(stream_open_take(&f->b.s, &f->loop, fds[1], 65536, 65536, &ops, &f->b), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	stream_close(&f->a.s);
	stream_close(&f->b.s);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	buf_release(&f->a.got);
	buf_release(&f->b.got);
	free(f);
	return 0;
}

/* Turns of the loop until `*what` is reached; a thousand without it is a failure. */
static void run_until(struct fixture *f, const int *what, int value)
{
	for (int i = 0; *what < value; i++) {
		assert_true(i < 1000);
		uv_run(&f->loop, UV_RUN_ONCE);
	}
}

static void bytes_arrive_and_halves_close(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(stream_write(f->a.s, "question", 8), 0);
	stream_shutdown(f->a.s);
	assert_int_equal(stream_write(f->a.s, "x", 1), -EPIPE);
	run_until(f, &f->b.eofs, 1);
	assert_memory_equal(buf_head(&f->b.got), "question", 8);
	assert_int_equal(f->b.closed, 0);
	/* The other direction is still open. */
	assert_int_equal(stream_write(f->b.s, "answer", 6), 0);
	stream_shutdown(f->b.s);
	run_until(f, &f->a.closed, 1);
	assert_memory_equal(buf_head(&f->a.got), "answer", 6);
	assert_int_equal(f->a.why, 0);
	run_until(f, &f->b.closed, 1);
	assert_int_equal(f->b.why, 0);
	assert_int_equal(f->b.eofs, 1);
}

static void megabytes_pass_intact(void **state)
{
	struct fixture *f = *state;
	const size_t total = 16 << 20;
	uint8_t chunk[5000];
	size_t sent = 0;

	while (buf_size(&f->b.got) < total) {
		while (sent < total) {
			size_t n = total - sent < sizeof(chunk) ? total - sent : sizeof(chunk);

			for (size_t i = 0; i < n; i++)
				chunk[i] = (uint8_t)((sent + i) * 2654435761u >> 13);
			if (stream_write(f->a.s, chunk, n) < 0)
				break;
			sent += n;
		}
		assert_true(stream_pending(f->a.s) <= 65536);
		uv_run(&f->loop, UV_RUN_ONCE);
	}
	for (size_t i = 0; i < total; i++)
		if (buf_head(&f->b.got)[i] != (uint8_t)(i * 2654435761u >> 13))
			fail_msg("byte %zu differs", i);
}

static void a_reader_that_rests_stops_the_writer(void **state)
{
	struct fixture *f = *state;
	static const uint8_t chunk[4096];
	size_t sent = 0;

	stream_reading(f->b.s, false);
	for (int i = 0; i < 4000; i++) {
		while (stream_write(f->a.s, chunk, sizeof(chunk)) == 0)
			sent += sizeof(chunk);
		uv_run(&f->loop, UV_RUN_NOWAIT);
	}
	assert_true(sent < 2 << 20);
	assert_int_equal(f->a.drains, 0);
	stream_reading(f->b.s, true);
	run_until(f, &f->a.drains, 1);
	while (buf_size(&f->b.got) < sent)
		uv_run(&f->loop, UV_RUN_ONCE);
}

/* Who ends its direction and waits for the rest to be sent hears of it, while it goes and when it is gone. */
static void the_rest_after_a_shutdown_is_told(void **state)
{
	struct fixture *f = *state;
	static const uint8_t chunk[4096];
	size_t sent = 0;

	stream_reading(f->b.s, false);
	for (int i = 0; i < 4000; i++) {
		while (stream_write(f->a.s, chunk, sizeof(chunk)) == 0)
			sent += sizeof(chunk);
		uv_run(&f->loop, UV_RUN_NOWAIT);
	}
	stream_shutdown(f->a.s);
	stream_want_drain(f->a.s);
	assert_true(stream_pending(f->a.s) > 0);
	assert_int_equal(f->a.drains, 0);
	stream_reading(f->b.s, true);
	run_until(f, &f->a.drains, 1);
	run_until(f, &f->b.eofs, 1);
	assert_int_equal(buf_size(&f->b.got), sent);
	assert_int_equal(stream_pending(f->a.s), 0);
	f->a.drains = 0;
	stream_want_drain(f->a.s);
	run_until(f, &f->a.drains, 1);
}

static void a_stream_at_rest_holds_no_storage(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(stream_write(f->a.s, "x", 1), 0);
	while (buf_size(&f->b.got) < 1)
		uv_run(&f->loop, UV_RUN_ONCE);
	assert_null(stream_in(f->b.s)->data);
	assert_null(stream_out(f->a.s)->data);
}

static void what_is_not_consumed_is_kept_and_bounded(void **state)
{
	struct fixture *f = *state;
	static const uint8_t chunk[4096];

	f->b.take_max = 0;
	for (int i = 0; i < 200; i++) {
		stream_write(f->a.s, chunk, sizeof(chunk));
		uv_run(&f->loop, UV_RUN_NOWAIT);
	}
	assert_int_equal(buf_size(stream_in(f->b.s)), 65536);
	f->b.take_max = 100;
	stream_kick(f->b.s);
	stream_shutdown(f->a.s);
	run_until(f, &f->b.eofs, 0);
	while (f->b.eofs == 0)
		uv_run(&f->loop, UV_RUN_ONCE);
	assert_true(stream_eof(f->b.s));
}

static void closing_inside_a_callback_is_safe(void **state)
{
	struct fixture *f = *state;

	f->b.close_in_read = true;
	stream_write(f->a.s, "x", 1);
	stream_shutdown(f->a.s);
	run_until(f, &f->a.eofs, 1);
	assert_null(f->b.s);
}

static void a_peer_that_vanishes_is_told_once(void **state)
{
	struct fixture *f = *state;
	static const uint8_t chunk[65536];

	stream_close(&f->b.s);
	for (int i = 0; i < 10; i++) {
		stream_write(f->a.s, chunk, sizeof(chunk));
		uv_run(&f->loop, UV_RUN_NOWAIT);
	}
	run_until(f, &f->a.closed, 1);
	for (int i = 0; i < 10; i++)
		uv_run(&f->loop, UV_RUN_NOWAIT);
	assert_int_equal(f->a.closed, 1);
	assert_int_equal(stream_write(f->a.s, "x", 1), -EPIPE);
}

/* An owner that reads by itself: `take` bytes when it is told, -1: into the buffer. */
struct own { struct side side; int told, take; size_t got; };

static size_t own_read(struct own *o, size_t n)
{
	static uint8_t bytes[65536];
	const struct iovec part[2] = { { .iov_base = bytes, .iov_len = 1 }, { .iov_base = bytes + 1, .iov_len = n - 1 } };
	const size_t r = stream_readv(o->side.s, part, 2, n);

	o->got += r;
	return r;
}

static bool own_readable(void *arg)
{
	struct own *o = arg;

	o->told++;
	if (o->take > 0)
		own_read(o, (size_t)o->take);
	return o->take >= 0;
}

static const struct stream_ops own_ops = { .on_readable = own_readable, .on_read = on_read, .on_eof = on_eof, .on_drain = on_drain, .on_closed = on_closed };

static void some(struct fixture *f, unsigned turns)
{
	while (turns-- > 0)
		uv_run(&f->loop, UV_RUN_NOWAIT);
}

static void an_owner_may_read_by_itself(void **state)
{
	struct fixture *f = *state;
	struct own o = { .side = f->b, .take = 100 };

	stream_set_ops(f->b.s, &own_ops, &o);
	stream_write(f->a.s, "0123456789", 10);
	some(f, 5);
	assert_int_equal(o.got, 10);
	assert_int_equal(o.told, 1); /* a read that came up short has emptied the socket */
	assert_false(stream_waits(f->b.s));
	o.take = 4;
	stream_write(f->a.s, "0123456789", 10);
	some(f, 1);
	assert_int_equal(o.got, 14);
	assert_true(stream_waits(f->b.s));
	some(f, 5);
	assert_int_equal(o.told, 2); /* what it leaves is its own to read */
	assert_int_equal(own_read(&o, 6), 6);
	assert_false(stream_waits(f->b.s)); /* exactly all of it */
	o.take = 0;
	stream_write(f->a.s, "0123456789", 10);
	some(f, 5);
	assert_int_equal(o.told, 3);
	assert_true(stream_waits(f->b.s));
	assert_int_equal(buf_size(stream_in(f->b.s)), 0);
	o.take = -1;
	o.side.take_max = SIZE_MAX;
	stream_kick(f->b.s);
	some(f, 5);
	assert_int_equal(o.told, 4);
	assert_int_equal(buf_size(&o.side.got), 10);
	buf_release(&o.side.got);
}

static void an_end_is_told_to_who_reads_nothing(void **state)
{
	struct fixture *f = *state;
	struct own o = { .side = f->b };

	stream_set_ops(f->b.s, &own_ops, &o);
	stream_write(f->a.s, "x", 1);
	some(f, 3);
	stream_shutdown(f->a.s);
	some(f, 5);
	assert_true(stream_waits(f->b.s));
	assert_int_equal(o.side.eofs, 0); /* a byte stands before it */
	own_read(&o, 100);
	some(f, 3); /* the loop tells again, and looks */
	assert_int_equal(o.got, 1);
	assert_int_equal(o.side.eofs, 1);
	assert_int_equal(o.side.closed, 0);
	stream_shutdown(f->b.s);
	some(f, 3);
	assert_int_equal(o.side.closed, 1);
	assert_int_equal(o.side.why, 0);
}

static void an_error_is_told_to_who_reads_nothing(void **state)
{
	struct fixture *f = *state;
	struct own o = { .side = f->b };

	stream_set_ops(f->b.s, &own_ops, &o);
	stream_reading(f->a.s, false);
	stream_write(f->b.s, "unread", 6); /* a socket closed over what it has not read resets its peer */
	some(f, 3);
	stream_close(&f->a.s);
	some(f, 10);
	assert_int_equal(o.side.closed, 1);
	assert_int_equal(o.side.why, -ECONNRESET);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bytes_arrive_and_halves_close, setup, teardown),
		cmocka_unit_test_setup_teardown(megabytes_pass_intact, setup, teardown),
		cmocka_unit_test_setup_teardown(a_reader_that_rests_stops_the_writer, setup, teardown),
		cmocka_unit_test_setup_teardown(the_rest_after_a_shutdown_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(a_stream_at_rest_holds_no_storage, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_not_consumed_is_kept_and_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(closing_inside_a_callback_is_safe, setup, teardown),
		cmocka_unit_test_setup_teardown(a_peer_that_vanishes_is_told_once, setup, teardown),
		cmocka_unit_test_setup_teardown(an_owner_may_read_by_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(an_end_is_told_to_who_reads_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(an_error_is_told_to_who_reads_nothing, setup, teardown),
	};

	return cmocka_run_group_tests_name("loop/stream", tests, NULL, NULL);
}
