/* SPDX-License-Identifier: Apache-2.0 */
/* The channel's host end against a guest that is the test: what it must do, and what a hostile one may not achieve. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/rbuf.h"
#include "core/base/str.h"
#include "core/proto/child.h"
#include "core/proto/fs.h"
#include "vmm/dial.h"
#include "vmm/muxhost.h"
#include "vmm/qmp.h"

static uv_loop_t loop;
static struct channel *mux;
static int guest;            /* the guest's end of the port */
static struct buf got;       /* what the host sent */
static char broken[200];
static int ups, opened_result;
static uint32_t opened_number;
static int host_fd;          /* our end of the joined stream */

static void on_up(void *arg) { (void)arg; ups++; }
static void on_broken(void *arg, const char *why) { (void)arg; str_copy(broken, sizeof(broken), why); }
static bool stands(void *arg);
static const struct channel_events ops = { .on_up = on_up, .on_broken = on_broken, .stands = stands };

static void on_opened(void *arg, int result, uint32_t number)
{
	int pair[2];

	(void)arg;
	opened_result = result;
	opened_number = number;
	if (result < 0)
		return;
	assert_int_equal(fd_pair(SOCK_STREAM, pair), 0);
	host_fd = pair[0];
	channel_join_take(mux, number, pair[1]);
}

static void turn(void)
{
	for (int i = 0; i < 20; i++) {
		uint8_t *p;
		ssize_t n;

		uv_run(&loop, UV_RUN_NOWAIT);
		while ((p = buf_reserve(&got, 65536)) && (n = read(guest, p, 65536)) > 0)
			buf_grew(&got, (size_t)n);
	}
}

static void say(struct buf *b)
{
	while (buf_size(b) > 0) {
		const ssize_t n = write(guest, buf_head(b), buf_size(b));

		if (n > 0)
			buf_consume(b, (size_t)n);
		turn();
		if (broken[0])
			break;
	}
	turn();
	buf_release(b);
}

static struct mux_frame next(void)
{
	struct mux_frame f = { 0 };
	size_t used;

	assert_int_equal(mux_parse(buf_head(&got), buf_size(&got), &f, &used), 0);
	buf_consume(&got, used);
	return f;
}

static struct buf b;
static bool standing;
static time_t ahead;         /* how far the loop's clock is before the real one */

static bool stands(void *arg) { (void)arg; return standing; }

/* Instead of the C library's, for libuv too. */
int clock_gettime(clockid_t id, struct timespec *t)
{
	const int r = (int)syscall(SYS_clock_gettime, id, t);

	t->tv_sec += ahead;
	return r;
}

static int setup(void **state)
{
	int pair[2];

	(void)state;
	broken[0] = '\0';
	standing = false;
	ups = 0;
	host_fd = -1;
	opened_result = 1;
	uv_loop_init(&loop);
	buf_init(&got, 8u << 20);
	buf_init(&b, 8u << 20);
	assert_int_equal(fd_pair(SOCK_STREAM, pair), 0);
	guest = pair[0];
	assert_int_equal(muxhost_open_take(&mux, &loop, pair[1], 7, &ops, NULL), 0);
	turn();
	const struct mux_frame f = next();
	assert_int_equal(f.type, MUX_HELLO);
	assert_int_equal(f.b, 7);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	channel_close(&mux);
	fd_close(&guest);
	fd_close(&host_fd);
	uv_run(&loop, UV_RUN_DEFAULT);
	buf_release(&got);
	buf_release(&b);
	return uv_loop_close(&loop);
}

static void greet(void)
{
	mux_put_hello(&b, 0);
	say(&b);
	assert_int_equal(ups, 1);
}

static uint32_t open_stream(uint32_t credit)
{
	assert_int_equal(channel_dial(mux, 2, on_opened, NULL), 0);
	turn();
	const struct mux_frame f = next();
	assert_int_equal(f.type, MUX_OPEN);
	assert_int_equal(f.a, 2);
	assert_int_equal(f.stream % 2, 1);
	mux_put_opened(&b, f.stream, credit);
	say(&b);
	assert_int_equal(opened_result, 0);
	return f.stream;
}

/* The first bytes of what would be 24 KiB of data for stream 0x636261. */
static const char stray[] = "abc\0\0\x60\5";

static void later(time_t s)
{
	ahead += s;
	turn();
}

static void a_frame_that_does_not_end_ends_the_channel(void **state)
{
	(void)state;
	greet();
	const uint32_t st = open_stream(5);
	buf_put(&b, stray, sizeof(stray)); /* the whole head */
	say(&b);
	/* The agent goes on as if nothing had been: what it says is taken for the rest of that. */
	for (int i = 0; i < 4; i++) {
		mux_put_credit(&b, st, 0x05050505);
		say(&b);
		later(2);
		assert_string_equal(broken, "");
	}
	later(3);
	assert_non_null(strstr(broken, "did not end it"));
}

static void a_frame_may_take_its_time(void **state)
{
	(void)state;
	greet();
	const uint32_t st = open_stream(5);
	mux_put_credit(&b, st, 1);
	const uint8_t *p = buf_head(&b);
	for (size_t i = 0; i < buf_size(&b); i++) { /* twelve bytes, each half a second later */
		assert_int_equal(write(guest, p + i, 1), 1);
		turn();
		if (i % 2)
			later(1);
	}
	later(20); /* nothing is begun */
	assert_string_equal(broken, "");
	/* A machine that is paused in the middle of one. */
	assert_int_equal(write(guest, p, 6), 6);
	turn();
	standing = true;
	later(60);
	standing = false;
	later(1);
	assert_string_equal(broken, "");
	assert_int_equal(write(guest, p + 6, buf_size(&b) - 6), (ssize_t)buf_size(&b) - 6);
	later(20); /* this loop stood still itself */
	later(20);
	assert_string_equal(broken, "");
	buf_release(&b);
}

static void bytes_pass_within_credit(void **state)
{
	char text[64];
	(void)state;

	greet();
	const uint32_t st = open_stream(5);
	assert_int_equal(write(host_fd, "0123456789", 10), 10);
	turn();
	struct mux_frame f = next();
	assert_int_equal(f.type, MUX_DATA);
	assert_int_equal(f.len, 5); /* no more than the guest takes */
	assert_int_equal(buf_size(&got), 0);
	mux_put_credit(&b, st, 100);
	say(&b);
	f = next();
	assert_memory_equal(f.data, "56789", 5);
	mux_put_data(&b, st, "answer", 6);
	mux_put_eof(&b, st);
	say(&b);
	assert_int_equal(read(host_fd, text, sizeof(text)), 6);
	assert_int_equal(read(host_fd, text, sizeof(text)), 0);
	fd_close(&host_fd);
	turn();
	assert_int_equal(next().type, MUX_EOF);
	uint64_t in, out;
	uint32_t streams;
	channel_counts(mux, &in, &out, &streams);
	assert_int_equal(in, 6);
	assert_int_equal(out, 10);
	assert_int_equal(streams, 0);
}

static void a_refusal_is_told(void **state)
{
	(void)state;
	assert_int_equal(channel_dial(mux, 2, on_opened, NULL), -EAGAIN); /* not up yet */
	greet();
	assert_int_equal(channel_dial(mux, 2, on_opened, NULL), 0);
	turn();
	const struct mux_frame f = next();
	mux_put_reset(&b, f.stream, MUX_R_REFUSED);
	say(&b);
	assert_int_equal(opened_result, -ECONNREFUSED);
	mux_put_open(&b, 2, 9, 100); /* the guest has nothing to call here */
	say(&b);
	assert_int_equal(next().type, MUX_RESET);
	assert_string_equal(broken, "");
}

static void too_much_data_ends_that_stream_only(void **state)
{
	static uint8_t chunk[MUX_DATA_MAX];
	(void)state;

	greet();
	const uint32_t st = open_stream(100);
	/* Nobody reads host_fd: credit runs out, and a guest that goes on is cut off. */
	for (unsigned i = 0; i < 4 * MUX_WINDOW / MUX_DATA_MAX; i++)
		mux_put_data(&b, st, chunk, sizeof(chunk));
	say(&b);
	bool reset = false;
	while (buf_size(&got) > 0) {
		const struct mux_frame f = next();

		reset |= f.type == MUX_RESET && f.a == MUX_R_CREDIT;
	}
	assert_true(reset);
	assert_string_equal(broken, "");
	fd_close(&host_fd);
	open_stream(100);
}

static void a_reader_that_stops_stops_nobody_else(void **state)
{
	static uint8_t chunk[MUX_DATA_MAX];
	uint8_t back[16];
	(void)state;

	greet();
	const uint32_t stuck = open_stream(100);
	const int stuck_fd = host_fd;
	for (unsigned i = 0; i < MUX_WINDOW / MUX_DATA_MAX; i++)
		mux_put_data(&b, stuck, chunk, sizeof(chunk));
	say(&b);
	buf_clear(&got);
	const uint32_t other = open_stream(100);
	mux_put_data(&b, other, "hello", 5);
	say(&b);
	assert_int_equal(read(host_fd, back, sizeof(back)), 5);
	close(stuck_fd);
}

static void what_breaks_the_protocol_ends_the_channel(void **state)
{
	static const struct {
		const char *what;
		uint8_t bytes[16];
		size_t n;
	} cases[] = {
		{ "a second hello", { 0, 0, 0, 0, 12, 0, 1, 0, 'B', 'K', 'M', 'X' }, 12 },
		{ "an unknown type", { 1, 0, 0, 0, 0, 0, 99, 0 }, 8 },
		{ "a stream never opened", { 0xff, 0xff, 0, 0, 0, 0, 7, 0 }, 8 },
		{ "our own number", { 1, 0, 0, 0, 8, 0, 2, 0, 1, 0, 0, 0, 1, 0, 0, 0 }, 16 },
		{ "a length that cannot be", { 1, 0, 0, 0, 0xff, 0xff, 5, 0 }, 8 },
		{ "rubbish", { 0xde, 0xad, 0xbe, 0xef, 1, 2, 3, 4 }, 8 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (i > 0)
			setup(state);
		greet();
		buf_put(&b, cases[i].bytes, cases[i].n);
		if (i == 0) {
			buf_clear(&b);
			mux_put_hello(&b, 0);
		}
		say(&b);
		if (!broken[0])
			fail_msg("%s was let through", cases[i].what);
		assert_int_equal(channel_dial(mux, 2, on_opened, NULL), -EAGAIN);
		if (i + 1 < ARRAY_SIZE(cases))
			teardown(state);
	}
}

static void a_thousand_streams_come_and_go(void **state)
{
	(void)state;
	greet();
	for (int i = 0; i < 1000; i++) {
		const uint32_t st = open_stream(1000);

		mux_put_data(&b, st, &i, sizeof(i));
		mux_put_eof(&b, st);
		say(&b);
		int back = -1;
		assert_int_equal(read(host_fd, &back, sizeof(back)), sizeof(back));
		assert_int_equal(back, i);
		fd_close(&host_fd);
		turn();
		buf_clear(&got);
	}
	uint64_t in, out;
	uint32_t streams;
	channel_counts(mux, &in, &out, &streams);
	assert_int_equal(streams, 0);
}

/* ---- what the guest opens ---------------------------------------------------------------------------------------------------- */

static struct dial *net;
static int service; /* bulkhead-net's end of its dial socket */

static void listen_16(void)
{
	int pair[2];

	assert_int_equal(fd_pair(SOCK_SEQPACKET, pair), 0);
	service = pair[0];
	assert_int_equal(dial_open_take(&net, &loop, pair[1], mux, 7, 3, 3), 0);
	assert_int_equal(dial_listen(net, 16, 16), 0);
}

/* The connection the service was told of. */
static int told(void)
{
	uint8_t raw[64];
	int fds[FD_PASS_MAX];
	size_t nfds = 0;
	struct dial_msg m;

	assert_int_equal(fd_recv(service, raw, sizeof(raw), fds, &nfds), DIAL_MSG_SIZE);
	assert_int_equal(dial_unpack(raw, DIAL_MSG_SIZE, &m), 0);
	assert_int_equal(m.type, DIAL_IN);
	assert_int_equal(m.port, 16);
	assert_int_equal(m.gen, 7);
	assert_int_equal(nfds, 1);
	return fds[0];
}

static void unlisten(void)
{
	dial_close(&net);
	fd_close(&service);
}

static void the_guest_opens_what_somebody_listens_to(void **state)
{
	char text[16];
	(void)state;

	greet();
	listen_16();
	for (uint32_t port = 0; port < 40; port++) {
		if (port == 16)
			continue;
		mux_put_open(&b, 2, port, 100);
		say(&b);
		assert_int_equal(next().type, MUX_RESET);
	}
	mux_put_open(&b, 2, 16, 100);
	mux_put_data(&b, 2, "early", 5);
	say(&b);
	struct mux_frame f = next();
	assert_int_equal(f.type, MUX_OPENED);
	assert_int_equal(f.stream, 2);
	assert_int_equal(f.a, MUX_WINDOW);
	const int fd = told();
	assert_int_equal(read(fd, text, sizeof(text)), 5);
	assert_int_equal(write(fd, "answer", 6), 6);
	turn();
	f = next();
	assert_int_equal(f.type, MUX_DATA);
	assert_memory_equal(f.data, "answer", 6);
	/* Each direction ends by itself, in order. */
	mux_put_eof(&b, 2);
	say(&b);
	assert_int_equal(read(fd, text, sizeof(text)), 0);
	close(fd);
	turn();
	assert_int_equal(next().type, MUX_EOF);
	mux_put_open(&b, 2, 16, 100); /* free again */
	say(&b);
	assert_int_equal(next().type, MUX_OPENED);
	close(told());
	assert_string_equal(broken, "");
	unlisten();
}

static void a_service_that_dies_is_no_orderly_end(void **state)
{
	(void)state;
	greet();
	listen_16();
	mux_put_open(&b, 2, 16, 100);
	mux_put_open(&b, 4, 16, 100);
	say(&b);
	next();
	next();
	const int dies = told(), ends = told();
	assert_int_equal(write(dies, "half an ans", 11), 11);
	close(dies);
	assert_int_equal(shutdown(ends, SHUT_WR), 0);
	turn();
	bool reset = false, eof = false;
	while (buf_size(&got) > 0) {
		const struct mux_frame f = next();

		assert_false(f.type == MUX_EOF && f.stream == 2);
		reset |= f.type == MUX_RESET && f.stream == 2;
		eof |= f.type == MUX_EOF && f.stream == 4;
	}
	assert_true(reset);
	assert_true(eof);
	mux_put_data(&b, 4, "still heard", 11);
	mux_put_eof(&b, 2); /* was on its way */
	say(&b);
	char text[16];
	assert_int_equal(read(ends, text, sizeof(text)), 11);
	close(ends);
	/* With nobody there everything is refused. */
	fd_close(&service);
	turn();
	buf_clear(&got);
	mux_put_open(&b, 6, 16, 100);
	say(&b);
	assert_int_equal(next().type, MUX_RESET);
	assert_string_equal(broken, "");
	dial_close(&net);
}

/* Who dials for a workspace gets that workspace's lane and the machine's memory as well, of which the machine keeps its own; nobody else does. */
static void a_workspace_has_its_lane(void **state)
{
	static const struct { uint32_t port, token; size_t nfds; } want[] = { { AGENT_PORT_FS, 0, 3 }, { AGENT_PORT_FS, 1, 1 }, { AGENT_PORT_FS + 1, 0, 1 }, { AGENT_PORT_FS, 0, 3 } };
	struct dial *fs;
	uint8_t raw[64];
	char text[8];
	int pair[2], lane[2];

	(void)state;
	greet();
	assert_int_equal(fd_pair(SOCK_STREAM, lane), 0);
	mux->lane[mux->lanes++] = lane[0];
	mux->memory = fd_memory("memory", 4096, 0);
	assert_true(mux->memory >= 0);
	assert_int_equal(fd_pair(SOCK_SEQPACKET, pair), 0);
	assert_int_equal(dial_open_take(&fs, &loop, pair[1], mux, 7, AGENT_PORT_FS, AGENT_PORT_FS + 1), 0);
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		struct dial_msg m = { .type = DIAL_OPEN, .gen = 7, .port = want[i].port, .token = want[i].token };
		int fds[FD_PASS_MAX];
		size_t nfds = 0;

		dial_pack(raw, &m);
		assert_int_equal(fd_send(pair[0], raw, DIAL_MSG_SIZE, NULL, 0), DIAL_MSG_SIZE);
		turn();
		const struct mux_frame f = next();
		assert_int_equal(f.type, MUX_OPEN);
		mux_put_opened(&b, f.stream, 1000);
		say(&b);
		assert_int_equal(fd_recv(pair[0], raw, sizeof(raw), fds, &nfds), DIAL_MSG_SIZE);
		assert_int_equal(dial_unpack(raw, DIAL_MSG_SIZE, &m), 0);
		assert_int_equal(m.type, DIAL_OK);
		assert_int_equal(nfds, want[i].nfds);
		if (nfds == 3) {
			struct stat st;

			assert_int_equal(fstat(fds[2], &st), 0);
			assert_int_equal(st.st_size, 4096);
			assert_int_equal(write(fds[1], "lane", 4), 4);
			assert_int_equal(read(lane[1], text, sizeof(text)), 4);
		}
		while (nfds > 0)
			close(fds[--nfds]);
		turn();
		buf_clear(&got);
	}
	dial_close(&fs);
	close(pair[0]);
	channel_close(&mux);
	assert_int_equal(read(lane[1], text, sizeof(text)), 0); /* it ends with the channel */
	close(lane[1]);
}

static void a_flood_of_connections_leaves_room_for_terminals(void **state)
{
	const struct rlimit many = { .rlim_cur = 3 * MUX_GUEST_STREAMS_MAX, .rlim_max = 3 * MUX_GUEST_STREAMS_MAX };
	static int fds[MUX_GUEST_STREAMS_MAX];
	uint32_t limited = 0;

	(void)state;
	if (setrlimit(RLIMIT_NOFILE, &many) < 0)
		skip();
	greet();
	listen_16();
	for (uint32_t i = 0; i < MUX_GUEST_STREAMS_MAX; i++) {
		mux_put_open(&b, 2 * i + 2, 16, 100);
		if (i % 64 == 63)
			say(&b);
		while (i % 64 == 63 && buf_size(&got) > 0)
			assert_int_equal(next().type, MUX_OPENED);
		for (uint32_t k = 0; i % 64 == 63 && k < 64; k++)
			fds[i - 63 + k] = told();
	}
	for (uint32_t i = 0; i < 10; i++)
		mux_put_open(&b, 2 * (MUX_GUEST_STREAMS_MAX + i) + 2, 16, 100);
	say(&b);
	while (buf_size(&got) > 0) {
		const struct mux_frame f = next();

		limited += f.type == MUX_RESET && f.a == MUX_R_LIMIT;
	}
	assert_int_equal(limited, 10);
	open_stream(100); /* a terminal */
	for (uint32_t i = 0; i < MUX_GUEST_STREAMS_MAX; i++)
		close(fds[i]);
	for (int i = 0; i < 200 && !broken[0]; i++)
		turn();
	uint64_t in, out;
	uint32_t streams;
	channel_counts(mux, &in, &out, &streams);
	assert_int_equal(streams, 1);
	assert_string_equal(broken, "");
	unlisten();
}

static void the_outside_line_is_parsed(void **state)
{
	uint32_t port = 0;
	size_t used = 0;

	(void)state;
	assert_int_equal(hybrid_parse("CONNECT 52\nrest", 15, &port, &used), 0);
	assert_int_equal(port, 52);
	assert_int_equal(used, 11);
	assert_int_equal(hybrid_parse("CONN", 4, &port, &used), -EAGAIN);
	assert_int_equal(hybrid_parse("CONNECT 4294967296\n", 19, &port, &used), -EBADMSG);
	assert_int_equal(hybrid_parse("CONNECT -1\n", 11, &port, &used), -EBADMSG);
	assert_int_equal(hybrid_parse("CONNECT \n", 9, &port, &used), -EBADMSG);
	assert_int_equal(hybrid_parse("GET / HTTP/1.1\r\n", 16, &port, &used), -EBADMSG);
	assert_int_equal(hybrid_parse("CONNECT 1111111111111111111111111111111", 39, &port, &used), -EBADMSG);
}

static void the_monitors_lines_are_parsed(void **state)
{
	struct qmp_line l;
	static const char event[] = "{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": \"guest-\\u001bshutdown\"}}";

	static const char full[] = "{\"event\": \"BLOCK_IO_ERROR\", \"data\": {\"device\": \"disk\", \"action\": \"stop\", \"nospace\": true, "
				   "\"reason\": \"No space left on device\"}}";

	(void)state;
	assert_int_equal(qmp_parse(event, sizeof(event) - 1, &l), 0);
	assert_int_equal(l.kind, QMP_EVENT);
	assert_string_equal(l.name, "SHUTDOWN");
	assert_null(strchr(l.text, 0x1b));
	assert_int_equal(qmp_parse(full, sizeof(full) - 1, &l), 0);
	assert_string_equal(l.name, "BLOCK_IO_ERROR");
	assert_string_equal(l.text, "No space left on device");
	assert_int_equal(qmp_parse("{\"QMP\": {}}", 11, &l), 0);
	assert_int_equal(l.kind, QMP_GREETING);
	assert_int_equal(qmp_parse("[]", 2, &l), -EBADMSG);
	assert_int_equal(qmp_parse("{", 1, &l), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bytes_pass_within_credit, setup, teardown),
		cmocka_unit_test_setup_teardown(a_refusal_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(too_much_data_ends_that_stream_only, setup, teardown),
		cmocka_unit_test_setup_teardown(a_reader_that_stops_stops_nobody_else, setup, teardown),
		cmocka_unit_test_setup_teardown(what_breaks_the_protocol_ends_the_channel, setup, teardown),
		cmocka_unit_test_setup_teardown(a_frame_that_does_not_end_ends_the_channel, setup, teardown),
		cmocka_unit_test_setup_teardown(a_frame_may_take_its_time, setup, teardown),
		cmocka_unit_test_setup_teardown(a_thousand_streams_come_and_go, setup, teardown),
		cmocka_unit_test_setup_teardown(the_guest_opens_what_somebody_listens_to, setup, teardown),
		cmocka_unit_test_setup_teardown(a_service_that_dies_is_no_orderly_end, setup, teardown),
		cmocka_unit_test_setup_teardown(a_workspace_has_its_lane, setup, teardown),
		cmocka_unit_test_setup_teardown(a_flood_of_connections_leaves_room_for_terminals, setup, teardown),
		cmocka_unit_test(the_outside_line_is_parsed),
		cmocka_unit_test(the_monitors_lines_are_parsed),
	};

	return cmocka_run_group_tests_name("vmm/muxhost", tests, NULL, NULL);
}
