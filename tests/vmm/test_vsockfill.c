/* SPDX-License-Identifier: Apache-2.0 */
/* What a service sends is read straight into the guest's receive buffers, however these are made up, and waits in its socket without them. */
#include "tests/vmm/vsockhost.h"

#define ROOM (RX_LEN - VSOCK_HEAD) /* of a receive buffer */

/* The service of connection n sends as much of `len` numbered bytes as its socket takes. */
static uint32_t give(struct host *h, uint32_t n, uint32_t len)
{
	static uint8_t bytes[65536];
	struct conn *c = &h->conn[n];
	uint32_t sum = 0;

	while (sum < len) {
		const uint32_t part = len - sum < sizeof(bytes) ? len - sum : (uint32_t)sizeof(bytes);

		for (uint32_t i = 0; i < part; i++)
			bytes[i] = numbered(n, c->given + i);
		const ssize_t r = send(c->end, bytes, part, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (r <= 0)
			break;
		c->given += (uint32_t)r;
		sum += (uint32_t)r;
	}
	return sum;
}

static void turns(struct host *h, unsigned n)
{
	while (n-- > 0)
		turn(h);
}

/* The guest has taken all that it got, and says so with a packet of this kind. */
static void credit_(struct host *h, uint32_t n, uint16_t op)
{
	h->conn[n].took = h->conn[n].got;
	say(h, op, n, SERVICE, op == VS_RW ? 1 : 0, 0);
	listen_(h);
}

static void give_kept(struct host *h, unsigned n)
{
	for (; n > 0 && h->nkept > 0; n--)
		guest_give(&h->g, 0, h->kept[--h->nkept]);
	listen_(h);
}

static bool polls(struct host *h, uint32_t n)
{
	return !stream_waits((*vconn_find(h->vs, SERVICE, 10000 + n))->s);
}

static uint16_t taken(const struct host *h)
{
	return h->vs->v.q[0].last_avail;
}

static void data_fills_several_buffers_and_takes_no_more(void **state)
{
	struct host *h = *state;
	const struct conn *c = &h->conn[0];

	connect_(h, 0);
	const uint16_t before = taken(h);
	give(h, 0, 3 * ROOM - 7);
	turn(h);
	assert_int_equal(c->got, 3 * ROOM - 7);
	assert_int_equal(c->packets, 3);
	assert_int_equal(taken(h), (uint16_t)(before + 3)); /* a fourth was tried, and left */
	give(h, 0, 1);
	turn(h);
	assert_int_equal(c->packets, 4);
	/* Exactly what the buffers hold, and nothing behind it. */
	give(h, 0, 4 * ROOM);
	turns(h, 2);
	assert_int_equal(c->got, c->given);
	assert_int_equal(c->packets, 8);
	assert_int_equal(taken(h), (uint16_t)(before + 8));
	assert_true(polls(h, 0));
	give(h, 0, 60000);
	turns(h, 20);
	assert_int_equal(c->got, c->given);
}

static void a_buffer_may_be_in_parts(void **state)
{
	struct host *h = *state;

	guest_up(&h->g, 0);
	turn(h);
	h->seen = 0;
	for (uint16_t i = 0; i + 2u < QUEUE_SIZE; i += 3) {
		const uint32_t at = RX_AT + i * RX_LEN;

		guest_desc(&h->g, 0, i, at, 20, 3, (uint16_t)(i + 1));
		guest_desc(&h->g, 0, i + 1, at + 20, 30, 3, (uint16_t)(i + 2));
		guest_desc(&h->g, 0, i + 2, at + 50, 1000, 2, 0);
		guest_give(&h->g, 0, i);
	}
	connect_(h, 0);
	give(h, 0, 20000);
	turns(h, 20);
	assert_int_equal(h->conn[0].got, 20000);
	assert_int_equal(h->conn[0].packets, 20);
}

static void without_credit_it_waits_in_the_socket(void **state)
{
	struct host *h = *state;
	struct conn *c = &h->conn[0];

	c->room = 1000;
	connect_(h, 0);
	const uint64_t before = held();
	give(h, 0, 5500);
	turns(h, 3);
	assert_int_equal(c->got, 1000);
	assert_int_equal(c->packets, 3);
	assert_false(polls(h, 0));
	assert_true(held() - before < 4096);
	/* Any packet may bring it. */
	credit_(h, 0, VS_CREDIT_UPDATE);
	assert_int_equal(c->got, 2000);
	credit_(h, 0, VS_RW);
	assert_int_equal(c->got, 3000);
	credit_(h, 0, VS_CREDIT_REQUEST);
	assert_int_equal(c->got, 4000);
	c->room = 4000; /* and a larger window is credit as well */
	credit_(h, 0, VS_CREDIT_UPDATE);
	assert_int_equal(c->got, 5500);
	assert_true(polls(h, 0));
	give(h, 0, 200);
	turn(h);
	assert_int_equal(c->got, 5700);
}

static void without_buffers_it_waits_in_the_socket(void **state)
{
	struct host *h = *state;
	struct conn *c = &h->conn[0];

	connect_(h, 0);
	h->keeps = true;
	give(h, 0, 30 * ROOM);
	turns(h, 20);
	assert_int_equal(h->nkept, QUEUE_SIZE);
	assert_int_equal(c->got, QUEUE_SIZE * ROOM);
	assert_false(polls(h, 0));
	turns(h, 3);
	assert_int_equal(c->got, QUEUE_SIZE * ROOM);
	give_kept(h, 1);
	assert_int_equal(c->got, (QUEUE_SIZE + 1) * ROOM);
	h->keeps = false;
	give_kept(h, QUEUE_SIZE);
	turns(h, 20);
	assert_int_equal(c->got, c->given);
	assert_true(polls(h, 0));
}

static void the_end_comes_after_the_data(void **state)
{
	struct host *h = *state;
	struct conn *c = &h->conn[0];

	connect_(h, 0);
	give(h, 0, 5000);
	shutdown(c->end, SHUT_WR);
	turns(h, 4);
	assert_int_equal(c->got, 5000);
	assert_true(c->ended);
	/* The other direction goes on. */
	say(h, VS_RW, 0, SERVICE, 100, 0);
	assert_int_equal(read_all(h, 0, false), 100);
	/* One that hangs up while what it said is held back. */
	h->conn[1].room = 1000;
	connect_(h, 1);
	give(h, 1, 1500);
	turns(h, 2);
	fd_close(&h->conn[1].end);
	turns(h, 2);
	assert_int_equal(h->conn[1].got, 1000);
	assert_false(h->conn[1].ended);
	credit_(h, 1, VS_CREDIT_UPDATE);
	turns(h, 3);
	assert_int_equal(h->conn[1].got, 1500);
	assert_true(h->conn[1].ended);
	assert_false(h->conn[1].over);
	say(h, VS_SHUTDOWN, 1, SERVICE, 0, 3);
	turns(h, 3);
	assert_true(h->conn[1].over);
	assert_int_equal(h->vs->count, 1);
}

static void an_end_needs_no_credit(void **state)
{
	struct host *h = *state;

	h->conn[0].room = ROOM;
	connect_(h, 0);
	give(h, 0, ROOM);
	turn(h);
	assert_int_equal(h->conn[0].got, ROOM);
	assert_false(h->conn[0].ended);
	shutdown(h->conn[0].end, SHUT_WR);
	turns(h, 2);
	assert_true(h->conn[0].ended);
}

static void who_takes_no_more_holds_nobody_up(void **state)
{
	struct host *h = *state;
	uint32_t sum = 0;

	h->conn[0].room = 1000;
	connect_(h, 0);
	give(h, 0, 5000);
	turns(h, 2);
	say(h, VS_SHUTDOWN, 0, SERVICE, 0, VS_SHUT_RCV);
	for (unsigned i = 0; i < 1000 && sum < 1u << 20; i++) {
		turn(h);
		sum += give(h, 0, 1u << 16);
	}
	assert_true(sum >= 1u << 20);
	assert_int_equal(h->conn[0].got, 1000);
	/* One that breaks off while something waits. */
	h->conn[1].room = 1000;
	connect_(h, 1);
	give(h, 1, 5000);
	turns(h, 2);
	say(h, VS_RST, 1, SERVICE, 0, 0);
	assert_int_equal(h->vs->count, 1);
	/* The driver's reset ends what waits. */
	h->conn[2].room = 1000;
	connect_(h, 2);
	give(h, 2, 5000);
	turns(h, 2);
	guest_up(&h->g, 0);
	guest_ring(&h->g, 0);
	assert_int_equal(h->vs->count, 0);
	assert_int_equal(send(h->conn[2].end, "", 1, MSG_NOSIGNAL), -1);
}

static void two_share_the_buffers(void **state)
{
	struct host *h = *state;
	const struct conn *a = &h->conn[0], *b = &h->conn[1];

	h->conn[0].room = h->conn[1].room = 1u << 20;
	connect_(h, 0);
	connect_(h, 1);
	h->keeps = true;
	give(h, 0, 100000);
	give(h, 1, 100000);
	turns(h, 4);
	for (unsigned i = 0; i < 40; i++) {
		give_kept(h, 4);
		turn(h);
	}
	assert_true(a->got + b->got >= 150 * ROOM);
	assert_true(a->got > b->got / 2 && b->got > a->got / 2);
}

static void a_buffer_too_small_in_the_middle_breaks_the_device(void **state)
{
	struct host *h = *state;

	h->keeps = true;
	connect_(h, 0);
	guest_desc(&h->g, 0, 3, RX_AT, VSOCK_HEAD, 2, 0);
	give(h, 0, 8 * ROOM);
	turns(h, 3);
	assert_int_equal(h->g.v->status & ST_NEEDS_RESET, ST_NEEDS_RESET);
	assert_int_equal(h->conn[0].got, 0);
	turns(h, 3);
	guest_up(&h->g, 0);
	guest_ring(&h->g, 0);
	assert_int_equal(h->vs->count, 0);
}

static uint32_t dice(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 16;
}

/* Credit, buffers and bytes come in any order: nothing is lost, doubled or left lying. */
static void no_wake_up_is_lost(void **state)
{
	struct host *h = *state;
	uint32_t seed = 1;

	for (uint32_t n = 0; n < 3; n++) {
		h->conn[n].room = 700 + 3000 * n;
		connect_(h, n);
	}
	for (unsigned i = 0; i < 20000; i++) {
		const uint32_t n = dice(&seed) % 3;

		switch (dice(&seed) % 6) {
		case 0:
			give(h, n, dice(&seed) % 4 ? dice(&seed) % 2000 : dice(&seed));
			break;
		case 1:
			credit_(h, n, VS_CREDIT_UPDATE);
			break;
		case 2:
			h->keeps = dice(&seed) % 2;
			break;
		case 3:
			give_kept(h, dice(&seed) % 4);
			break;
		default:
			turn(h);
			break;
		}
	}
	h->keeps = false;
	give_kept(h, QUEUE_SIZE);
	for (unsigned i = 0; i < 3000; i++) {
		turn(h);
		for (uint32_t n = 0; n < 3; n++)
			if (h->conn[n].got > h->conn[n].took)
				credit_(h, n, VS_CREDIT_UPDATE);
	}
	for (uint32_t n = 0; n < 3; n++) {
		assert_int_equal(h->conn[n].got, h->conn[n].given);
		assert_true(h->conn[n].got > 100000 && polls(h, n));
		fd_close(&h->conn[n].end);
	}
	turns(h, 4);
	assert_true(h->conn[0].ended && h->conn[1].ended && h->conn[2].ended);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(data_fills_several_buffers_and_takes_no_more, setup, teardown),
		cmocka_unit_test_setup_teardown(a_buffer_may_be_in_parts, setup, teardown),
		cmocka_unit_test_setup_teardown(without_credit_it_waits_in_the_socket, setup, teardown),
		cmocka_unit_test_setup_teardown(without_buffers_it_waits_in_the_socket, setup, teardown),
		cmocka_unit_test_setup_teardown(the_end_comes_after_the_data, setup, teardown),
		cmocka_unit_test_setup_teardown(an_end_needs_no_credit, setup, teardown),
		cmocka_unit_test_setup_teardown(who_takes_no_more_holds_nobody_up, setup, teardown),
		cmocka_unit_test_setup_teardown(two_share_the_buffers, setup, teardown),
		cmocka_unit_test_setup_teardown(a_buffer_too_small_in_the_middle_breaks_the_device, setup, teardown),
		cmocka_unit_test_setup_teardown(no_wake_up_is_lost, setup, teardown),
	};

	return cmocka_run_group_tests_name("vmm/vsockfill", tests, NULL, NULL);
}
