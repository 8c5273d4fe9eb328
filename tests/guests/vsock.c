/* SPDX-License-Identifier: Apache-2.0 */
/* The channel's device: the guest says it is there, is refused where nobody listens, and lies about lengths, credit and addresses. */
#include "tests/guests/guest.h"

enum { RX, TX };
enum { REQUEST = 1, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST };

struct packet {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
	uint8_t data[64];
} __attribute__((packed));
#define HEAD 44u

static struct queue rx, tx;
static struct packet in[QSIZE], out;
static uint32_t dev;

static void fresh(void)
{
	dev_begin(dev, 1u << 28);
	queue_begin(&rx, dev, RX);
	queue_begin(&tx, dev, TX);
	dev_go(dev);
	for (unsigned i = 0; i < QSIZE; i++) {
		set_desc(&rx, i, &in[i], sizeof(in[i]), F_WRITE, 0);
		queue_give(&rx, (uint16_t)i);
	}
}

static void say_packet(uint16_t op, uint32_t src, uint32_t dst, uint32_t len, uint32_t really)
{
	uint32_t id, n;

	out = (struct packet){ .src_cid = 3, .dst_cid = 2, .src_port = src, .dst_port = dst, .len = len, .type = 1, .op = op, .buf_alloc = 4096 };
	set_desc(&tx, 0, &out, HEAD + really, 0, 0);
	queue_give(&tx, 0);
	queue_wait(&tx, &id, &n);
}

/* The next packet of the host; NULL when none comes. Its buffer is given back. */
static const struct packet *next(void)
{
	static struct packet got;
	uint32_t id, n;

	if (!queue_wait(&rx, &id, &n) || id >= QSIZE || n < HEAD)
		return NULL;
	got = in[id];
	queue_give(&rx, (uint16_t)id);
	return &got;
}

static bool answered(uint16_t op, uint32_t from)
{
	const struct packet *p = next();

	return p && p->op == op && p->src_port == from && p->src_cid == 2 && p->dst_cid == 3;
}

static void breaks(const char *what)
{
	bool broken = false;

	for (unsigned i = 0; i < 200000 && !broken; i++)
		broken = dev_status(dev) & 64;
	check(broken, what);
	fresh();
}

void test(const uint32_t *info)
{
	(void)info;
	dev = find_device(19, 0);
	check(dev != 0 && rd(dev + 0x100) == 3 && rd(dev + 0x104) == 0, "the channel's device is there, our address is 3");
	fresh();
	say_packet(REQUEST, 5000, 1024, 0, 0);
	check(answered(RESPONSE, 1024), "the host hears that we are there");
	say_packet(REQUEST, 5001, 77, 0, 0);
	check(answered(RST, 77), "a port nobody listens on is refused");
	say_packet(RW, 5002, 78, 4, 4);
	check(answered(RST, 78), "data of no connection is refused");
	say_packet(99, 5003, 79, 0, 0);
	check(answered(RST, 79), "an operation that is none is refused");
	say_packet(RW, 5000, 1024, 64, 64);
	check(answered(RST, 1024), "data on the silent connection ends it");
	say_packet(REQUEST, 5000, 1024, 0, 0);
	check(answered(RESPONSE, 1024), "and it may come again");
	out.dst_cid = 9;
	set_desc(&tx, 0, &out, HEAD, 0, 0);
	queue_give(&tx, 0);
	check(next() != NULL, "a packet to another machine is refused");
	for (unsigned i = 0; i < 400; i++) {
		uint32_t id, n;

		if (i % 8 == 0)
			while (rx.seen != *(volatile uint16_t *)&rx.used.idx && queue_wait(&rx, &id, &n))
				queue_give(&rx, (uint16_t)id);
		say_packet(RW, 6000 + i, 80, 0, 0);
	}
	check(dev_status(dev) == 15, "a storm of stray packets");
	say_packet(RW, 5002, 78, 0xffffffff, 4);
	breaks("a length of four gigabytes");
	set_desc(&tx, 0, &out, 20, 0, 0);
	queue_give(&tx, 0);
	breaks("half a head");
	set_desc(&rx, 0, &in[0], 10, F_WRITE, 0);
	wr(dev + 0x70, 0);
	dev_begin(dev, 0);
	queue_begin(&rx, dev, RX);
	queue_begin(&tx, dev, TX);
	dev_go(dev);
	set_desc(&rx, 0, &in[0], 10, F_WRITE, 0);
	queue_give(&rx, 0);
	say_packet(REQUEST, 5001, 77, 0, 0);
	breaks("a receive buffer smaller than a head");
	say_packet(REQUEST, 5000, 1024, 0, 0);
	check(answered(RESPONSE, 1024), "after all this it works");
}
