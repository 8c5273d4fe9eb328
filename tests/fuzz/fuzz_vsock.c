/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/devices/vsock.c: packets of a hostile guest against a host that dials, writes, reads and hangs up. Every request to dial is answered
 * exactly once, no connection outlives the channel, and after a reset the guest's agent can come up again.
 */
#include "vmm/devices/vsock.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/proto/vsock.h"
#include "tests/fuzz/device.h"

#define ENDS 8u

static uv_loop_t loop; /* of all executions: making one is slow */

struct host {
	struct vsock *vs;
	int end[ENDS]; /* our ends of joined sockets */
	unsigned next, dialled, answered, ups;
};

static void keep(struct host *h, int fd)
{
	fd_close(&h->end[h->next % ENDS]);
	h->end[h->next++ % ENDS] = fd;
}

static void on_up(void *arg)
{
	((struct host *)arg)->ups++;
}

static void on_broken(void *arg, const char *why)
{
	(void)arg;
	MUST(why);
}

static const struct channel_events events = { .on_up = on_up, .on_broken = on_broken };

static void on_opened(void *arg, int result, uint32_t number)
{
	struct host *h = arg;
	int pair[2];

	h->answered++;
	if (result < 0 || h->answered % 5 == 4) /* sometimes nobody joins */
		return;
	MUST(fd_pair(SOCK_STREAM, pair) == 0);
	keep(h, pair[1]);
	channel_join_take(vsock_channel(h->vs), number, pair[0]);
}

static int on_accept(void *arg, uint32_t port)
{
	int pair[2];

	if (port % 4 == 3)
		return -ECONNREFUSED;
	MUST(fd_pair(SOCK_STREAM, pair) == 0);
	keep(arg, pair[1]);
	return pair[0];
}

static void kick(void *arg, unsigned q)
{
	vsock_kick(((struct host *)arg)->vs, q);
}

static void turn(void *arg)
{
	(void)arg;
	uv_run(&loop, UV_RUN_NOWAIT);
}

static void event(void *arg, uint8_t what, uint8_t value)
{
	struct host *h = arg;
	int *fd = &h->end[value % ENDS];
	static uint8_t bytes[4096];

	switch (what % 5) {
	case 0:
		h->dialled += channel_dial(vsock_channel(h->vs), value % 4 + 1, on_opened, h) == 0;
		break;
	case 1:
		fd_close(fd);
		break;
	case 2:
		if (*fd >= 0 && send(*fd, bytes, (size_t)value * 16, MSG_NOSIGNAL) < 0)
			fd_close(fd);
		break;
	case 3:
		if (*fd >= 0 && read(*fd, bytes, sizeof(bytes)) == 0)
			fd_close(fd);
		break;
	default:
		if (*fd >= 0)
			shutdown(*fd, value & 64 ? SHUT_RD : SHUT_WR);
		break;
	}
}

/* As a good driver: a packet on the transmit queue. */
static void say(struct guest *g, uint16_t op, uint32_t src_port, uint32_t dst_port)
{
	const struct vsock_head h = { .src_cid = VSOCK_CID_GUEST, .dst_cid = 2, .src_port = src_port, .dst_port = dst_port, .type = 1, .op = op,
				      .buf_alloc = 65536 };

	vsock_head_pack(g->mem + DATA_AT, &h);
	guest_desc(g, 1, 0, DATA_AT, VSOCK_HEAD, 0, 0);
	guest_give(g, 1, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct host h = { 0 };
	struct guest g;
	uint64_t in, out;
	uint32_t streams;
	static bool begun;

	for (unsigned i = 0; i < ENDS; i++)
		h.end[i] = -1;
	if (!begun)
		MUST(uv_loop_init(&loop) == 0);
	begun = true;
	guest_init(&g);
	MUST(vsock_create(&h.vs, &loop, &g.ram, -1, &events, &h) == 0);
	struct channel *c = vsock_channel(h.vs);
	MUST(channel_listen(c, 1, 64, on_accept, &h) == 0);
	g.v = vsock_virtio(h.vs);
	g.kick = kick;
	g.turn = turn;
	g.event = event;
	g.arg = &h;
	guest_play(&g, p, n);
	guest_up(&g, 0);
	const unsigned ups = h.ups;
	say(&g, VS_REQUEST, 5000, VSOCK_PORT_UP);
	MUST(g.v->status == 15 && h.ups == ups + 1 && channel_is_up(c));
	channel_close(&c);
	MUST(h.answered == h.dialled);
	vsock_channel(h.vs)->ops->counts(vsock_channel(h.vs), &in, &out, &streams);
	MUST(streams == 0);
	vsock_release(&h.vs);
	for (unsigned i = 0; i < ENDS; i++)
		fd_close(&h.end[i]);
	uv_run(&loop, UV_RUN_DEFAULT);
	MUST(!uv_loop_alive(&loop));
	guest_release(&g);
	return 0;
}
