/* SPDX-License-Identifier: Apache-2.0 */
/* A vsock device, its host and a modelled guest, for test_connections.c (connections) and test_vsockfill.c (data to the guest). */
#ifndef BULKHEAD_TESTS_VMM_VSOCKHOST_H
#define BULKHEAD_TESTS_VMM_VSOCKHOST_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/proto/vsock.h"
#include "tests/fuzz/device.h"
#include "vmm/devices/vsockimpl.h"

#define RX_AT 0x4000u
#define RX_LEN 0x200u
#define SERVICE 80u

struct conn {
	int end;
	uint32_t sent, fwd, alloc;
	bool answered, over;
	uint32_t given;         /* by its service: numbered bytes */
	uint32_t got, took;     /* by the guest: each was checked; those of which the host was told, as credit */
	uint32_t room;          /* for data at the guest; 0: 65536 */
	unsigned packets;       /* with data */
	bool ended;             /* the host said so */
};

struct host {
	uv_loop_t loop;
	struct vsock *vs;
	struct guest g;
	uint16_t seen;
	unsigned accepted, ups, dial_result;
	struct conn conn[VSOCK_CONNS_MAX];
	bool keeps;                      /* receive buffers do not go back */
	uint16_t kept[QUEUE_SIZE];
	unsigned nkept;
};

static inline int on_accept(void *arg, uint32_t port)
{
	struct host *h = arg;
	int pair[2];

	(void)port;
	assert_int_equal(fd_pair(SOCK_STREAM, pair), 0);
	h->conn[h->accepted++].end = pair[1];
	return pair[0];
}

static inline void on_up(void *arg)
{
	((struct host *)arg)->ups++;
}

static inline void on_broken(void *arg, const char *why)
{
	(void)arg;
	fail_msg("%s", why);
}

static inline void on_opened(void *arg, int result, uint32_t number)
{
	(void)number;
	((struct host *)arg)->dial_result = (unsigned)-result;
}

static inline void kick_vsock(void *arg, unsigned q)
{
	vsock_kick(((struct host *)arg)->vs, q);
}

static const struct channel_events events = { .on_up = on_up, .on_broken = on_broken };

static inline int setup(void **state)
{
	struct host *h = calloc(1, sizeof(*h));

	assert_int_equal(uv_loop_init(&h->loop), 0);
	guest_init(&h->g);
	assert_int_equal(vsock_create(&h->vs, &h->loop, &h->g.ram, -1, &events, h), 0);
	assert_int_equal(channel_listen(vsock_channel(h->vs), SERVICE, SERVICE, on_accept, h), 0);
	h->g.v = vsock_virtio(h->vs);
	h->g.kick = kick_vsock;
	h->g.arg = h;
	guest_up(&h->g, 0);
	for (uint16_t i = 0; i < QUEUE_SIZE; i++) {
		guest_desc(&h->g, 0, i, RX_AT + i * RX_LEN, RX_LEN, 2, 0);
		guest_give(&h->g, 0, i);
	}
	*state = h;
	return 0;
}

static inline int teardown(void **state)
{
	struct host *h = *state;
	struct channel *c = vsock_channel(h->vs);

	channel_close(&c);
	vsock_release(&h->vs);
	for (unsigned i = 0; i < h->accepted; i++)
		fd_close(&h->conn[i].end);
	uv_run(&h->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&h->loop), 0);
	guest_release(&h->g);
	free(h);
	return 0;
}

/* A packet of the guest's connection n (its port 10000 + n), with `len` bytes of data. */
static inline void say(struct host *h, uint16_t op, uint32_t n, uint32_t dst_port, uint32_t len, uint32_t flags)
{
	const struct conn *c = &h->conn[n];
	const struct vsock_head head = { .src_cid = VSOCK_CID_GUEST, .dst_cid = 2, .src_port = 10000 + n, .dst_port = dst_port, .type = 1, .op = op,
					 .buf_alloc = c->room ? c->room : 65536, .fwd_cnt = c->took, .len = len, .flags = flags };

	vsock_head_pack(h->g.mem + DATA_AT, &head);
	guest_desc(&h->g, 1, 0, DATA_AT, VSOCK_HEAD + len, 0, 0);
	guest_give(&h->g, 1, 0);
}

static inline uint8_t numbered(uint32_t n, uint32_t at)
{
	return (uint8_t)(at * 31 + (at >> 8) + n * 101);
}

/* The next packet of the host; its buffer goes back. False: none. */
static inline bool hear(struct host *h, struct vsock_head *head)
{
	const uint8_t *used = h->g.mem + QUEUE_AT(0) + 0x400;
	uint32_t id, n;

	if (guest_used(&h->g, 0) == h->seen)
		return false;
	memcpy(&id, used + 4 + 8 * (h->seen % QUEUE_SIZE), 4);
	memcpy(&n, used + 8 + 8 * (h->seen++ % QUEUE_SIZE), 4);
	const uint8_t *p = h->g.mem + RX_AT + id * RX_LEN;
	vsock_head_unpack(p, head);
	assert_int_equal(n, VSOCK_HEAD + head->len);
	struct conn *c = &h->conn[head->dst_port % 10000 % VSOCK_CONNS_MAX];
	for (uint32_t i = 0; i < head->len; i++)
		assert_int_equal(p[VSOCK_HEAD + i], numbered(head->dst_port - 10000, c->got++));
	assert_true(c->got - c->took <= (c->room ? c->room : 65536));
	if (h->keeps)
		h->kept[h->nkept++] = (uint16_t)id;
	else
		guest_give(&h->g, 0, (uint16_t)id);
	return true;
}

/* All that the host says now, noted at the connections it is of. */
static inline void listen_(struct host *h)
{
	struct vsock_head p;

	while (hear(h, &p)) {
		struct conn *c = &h->conn[p.dst_port - 10000];

		c->answered |= p.op == VS_RESPONSE;
		c->over |= p.op == VS_RST;
		c->ended |= p.op == VS_SHUTDOWN;
		c->packets += p.op == VS_RW;
		c->alloc = p.buf_alloc;
		c->fwd = p.fwd_cnt;
	}
}

static inline void turn(struct host *h)
{
	uv_run(&h->loop, UV_RUN_NOWAIT);
	listen_(h);
}

static inline void connect_(struct host *h, uint32_t n)
{
	say(h, VS_REQUEST, n, SERVICE, 0, 0);
	listen_(h);
	assert_true(h->conn[n].answered && !h->conn[n].over);
}

/* As much as the guest may. */
static inline void send_all(struct host *h, uint32_t n)
{
	struct conn *c = &h->conn[n];

	for (uint32_t room; (room = c->alloc - (c->sent - c->fwd)) > 0;) {
		const uint32_t len = room < 16384 ? room : 16384;

		c->sent += len;
		say(h, VS_RW, n, SERVICE, len, 0);
		turn(h);
		assert_false(c->over);
	}
}

/* Everything there is to read for the service; in bytes. Until its end when `end`. */
static inline uint64_t read_all(struct host *h, uint32_t n, bool end)
{
	static uint8_t bytes[65536];
	uint64_t sum = 0;

	for (;;) {
		const ssize_t r = recv(h->conn[n].end, bytes, sizeof(bytes), MSG_DONTWAIT);

		if (r > 0)
			sum += (uint64_t)r;
		else if (r == 0 || !end)
			return sum;
		else
			assert_int_equal(errno, EAGAIN);
		turn(h);
	}
}

static inline uint64_t held(void)
{
	const struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

#endif
