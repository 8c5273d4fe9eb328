/* SPDX-License-Identifier: Apache-2.0 */
/* What connections hold of the host and how they end: vmm/devices/vsock.c over a modelled guest (tests/fuzz/device.h), without KVM. */
#include <sys/resource.h>

#include "tests/vmm/vsockhost.h"

static void connections_hold_no_more_than_they_may(void **state)
{
	struct host *h = *state;
	const struct rlimit files = { .rlim_cur = 2 * VSOCK_CONNS_MAX + 100, .rlim_max = 20000 };
	struct rlimit was;
	uint64_t in, out, received = 0;
	uint32_t streams;

	getrlimit(RLIMIT_NOFILE, &was);
	if (was.rlim_max < files.rlim_cur)
		skip();
	setrlimit(RLIMIT_NOFILE, &(struct rlimit){ .rlim_cur = files.rlim_cur, .rlim_max = was.rlim_max });
	const uint64_t before = held();
	for (uint32_t n = 0; n < VSOCK_CONNS_MAX; n++)
		connect_(h, n);
	assert_int_equal(h->conn[0].alloc, VSOCK_WINDOW);
	assert_int_equal(h->conn[VSOCK_FEW].alloc, VSOCK_WINDOW_SOME);
	assert_int_equal(h->conn[VSOCK_CONNS_MAX - 1].alloc, VSOCK_WINDOW_MANY);
	const uint64_t idle = held() - before;
	for (uint32_t n = 0; n < VSOCK_CONNS_MAX; n++)
		send_all(h, n);
	vsock_channel(h->vs)->ops->counts(vsock_channel(h->vs), &in, &out, &streams);
	printf("# %u connections hold %llu KiB at rest, %llu MiB with %llu MiB sent\n", streams, (unsigned long long)idle >> 10,
	       (unsigned long long)(held() - before) >> 20, (unsigned long long)in >> 20);
	assert_int_equal(streams, VSOCK_CONNS_MAX);
	assert_true(idle < 16u << 20);
	assert_true(held() - before < 2 * (uint64_t)VSOCK_HOLD_MAX);
	assert_true(in < 512u << 20);
	/* Nothing of it is lost, and what was held is given back. */
	for (uint32_t n = 0; n < VSOCK_CONNS_MAX; n++)
		while (received < in && h->conn[n].sent > 0) {
			const uint64_t got = read_all(h, n, false);

			received += got;
			if (got == 0)
				break;
		}
	assert_int_equal(received, in);
	assert_true(held() - before < 16u << 20);
	setrlimit(RLIMIT_NOFILE, &was);
}

static void a_closed_connection_gives_all_it_had(void **state)
{
	struct host *h = *state;

	connect_(h, 0);
	send_all(h, 0);
	say(h, VS_SHUTDOWN, 0, SERVICE, 0, 3);
	turn(h);
	assert_false(h->conn[0].over); /* the last word waits for the bytes */
	assert_int_equal(read_all(h, 0, true), h->conn[0].sent);
	for (unsigned i = 0; i < 100 && !h->conn[0].over; i++)
		turn(h);
	assert_true(h->conn[0].over);
	assert_int_equal(h->vs->count, 0);
}

static void a_guest_that_does_not_wait_for_the_last_word_loses_nothing(void **state)
{
	struct host *h = *state;

	connect_(h, 0);
	send_all(h, 0);
	const uint32_t sent = h->conn[0].sent;
	say(h, VS_SHUTDOWN, 0, SERVICE, 0, 3);
	say(h, VS_RST, 0, SERVICE, 0, 0);
	assert_int_equal(h->vs->count, 1);
	/* The same ports are free for another one. */
	h->conn[0].answered = false;
	const int first = h->conn[0].end;
	say(h, VS_REQUEST, 0, SERVICE, 0, 0);
	turn(h);
	assert_true(h->conn[0].answered);
	assert_int_equal(h->vs->count, 2);
	assert_int_equal(h->conn[0].end, first);
	assert_int_equal(read_all(h, 0, true), sent);
	for (unsigned i = 0; i < 100 && h->vs->count > 1; i++)
		turn(h);
	assert_int_equal(h->vs->count, 1);
	/* Who breaks off without an end has said that it is none. */
	h->conn[1].alloc = VSOCK_WINDOW;
	say(h, VS_RST, 0, SERVICE, 0, 0);
	assert_int_equal(h->vs->count, 0);
}

static void a_service_that_hangs_up_frees_what_lingers(void **state)
{
	struct host *h = *state;

	connect_(h, 0);
	send_all(h, 0);
	say(h, VS_SHUTDOWN, 0, SERVICE, 0, 3);
	say(h, VS_RST, 0, SERVICE, 0, 0);
	assert_int_equal(h->vs->count, 1);
	fd_close(&h->conn[0].end);
	for (unsigned i = 0; i < 100 && h->vs->count > 0; i++)
		turn(h);
	assert_int_equal(h->vs->count, 0);
}

static void a_dial_without_an_answer_ends(void **state)
{
	struct host *h = *state;
	struct channel *c = vsock_channel(h->vs);
	struct vsock_head p;

	assert_int_equal(channel_dial(c, 7, on_opened, h), -EAGAIN);
	say(h, VS_REQUEST, 0, VSOCK_PORT_UP, 0, 0);
	assert_int_equal(h->ups, 1);
	assert_true(channel_is_up(c));
	assert_true(hear(h, &p) && p.op == VS_RESPONSE);
	h->vs->answer_ms = 20;
	assert_int_equal(channel_dial(c, 7, on_opened, h), 0);
	assert_true(hear(h, &p) && p.op == VS_REQUEST);
	while (h->dial_result == 0)
		uv_run(&h->loop, UV_RUN_ONCE);
	assert_int_equal(h->dial_result, ECONNREFUSED);
	assert_true(hear(h, &p) && p.op == VS_RST);
	assert_true(channel_is_up(c));
	/* Data on the connection that only says "here I am" ends it: the agent is not there until it says so again. */
	say(h, VS_RW, 0, VSOCK_PORT_UP, 4, 0);
	assert_false(channel_is_up(c));
	assert_int_equal(channel_dial(c, 7, on_opened, h), -EAGAIN);
	say(h, VS_REQUEST, 0, VSOCK_PORT_UP, 0, 0);
	assert_true(channel_is_up(c));
	assert_int_equal(h->ups, 2);
}

/* A copy of a machine: what its driver sends is not looked at before it has taken the event that ends its connections. */
static void a_copy_is_heard_when_it_knows(void **state)
{
	struct host *h = *state;
	struct channel *c = vsock_channel(h->vs);
	struct vsock_head p;

	for (uint16_t i = 0; i < 2; i++) {
		guest_desc(&h->g, 2, i, RX_AT + (QUEUE_SIZE + i) * RX_LEN, 4, 2, 0);
		guest_give(&h->g, 2, i);
	}
	vsock_restored(h->vs);
	say(h, VS_REQUEST, 0, VSOCK_PORT_UP, 0, 0);
	assert_int_equal(guest_used(&h->g, 2), 1);
	assert_int_equal(guest_used(&h->g, 1), 0);
	assert_false(channel_is_up(c));
	guest_give(&h->g, 2, 0);
	assert_int_equal(guest_used(&h->g, 2), 1); /* told once */
	assert_int_equal(guest_used(&h->g, 1), 1);
	assert_true(channel_is_up(c));
	assert_int_equal(h->ups, 1);
	assert_true(hear(h, &p) && p.op == VS_RESPONSE && !hear(h, &p));
	/* Its sockets of before are still there: no dial comes from one of their ports. */
	assert_int_equal(channel_dial(c, 7, on_opened, h), 0);
	assert_true(hear(h, &p) && p.op == VS_REQUEST && p.src_port > 0x40000000u + VSOCK_CONNS_MAX);
	connect_(h, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(connections_hold_no_more_than_they_may, setup, teardown),
		cmocka_unit_test_setup_teardown(a_closed_connection_gives_all_it_had, setup, teardown),
		cmocka_unit_test_setup_teardown(a_guest_that_does_not_wait_for_the_last_word_loses_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(a_service_that_hangs_up_frees_what_lingers, setup, teardown),
		cmocka_unit_test_setup_teardown(a_dial_without_an_answer_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(a_copy_is_heard_when_it_knows, setup, teardown),
	};

	return cmocka_run_group_tests_name("vmm/vsock", tests, NULL, NULL);
}
