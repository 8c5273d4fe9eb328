/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm/kvm/state.c and the devices' own parts of it: whole files, and (for the checksum stops nearly all) sections read straight into fresh devices
 * of each kind, which must be refused or then serve a driver.
 */
#include "vmm/kvm/state.h"

#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/device.h"
#include "vmm/devices/balloon.h"
#include "vmm/devices/blk.h"
#include "vmm/devices/console.h"
#include "vmm/devices/rng.h"
#include "vmm/devices/serial.h"
#include "vmm/devices/vsock.h"

#define DISK 65536u

static uv_loop_t loop; /* of all executions */

static void kick(void *arg, unsigned q)
{
	virtio_kick(arg, q);
}

static void on_up(void *arg)
{
	(void)arg;
}

static const struct channel_events events = { .on_up = on_up };

/* Loads it, saves it again, rings every queue; then it must serve a driver that begins anew. */
static void load(struct guest *g, struct virtio *v, const uint8_t *p, size_t n)
{
	struct rbuf r;
	struct buf again;

	g->v = v;
	g->kick = kick;
	g->arg = v;
	rbuf_init(&r, p, n);
	if (virtio_load(v, &r) == 0) {
		buf_init(&again, VIRTIO_STATE_MAX);
		virtio_save(v, &again);
		MUST(buf_ok(&again));
		buf_release(&again);
		for (unsigned q = 0; q < v->nqueues; q++)
			guest_ring(g, q);
	}
	memset(g->mem, 0, MEMORY);
	guest_up(g, 0);
	MUST(v->status == 15);
}

static void load_rng(const uint8_t *p, size_t n)
{
	struct guest g;
	struct rng rng;

	guest_init(&g);
	rng_init(&rng, &g.ram, -1);
	load(&g, &rng.v, p, n);
	guest_desc(&g, 0, 0, DATA_AT, 64, 2, 0);
	guest_give(&g, 0, 0);
	MUST(rng.v.status == 15 && guest_used(&g, 0) == 1);
	virtio_release(&rng.v);
	guest_release(&g);
}

/* Both disks: the base is read-only. */
static void load_blk(const uint8_t *p, size_t n, bool readonly)
{
	static int fd = -1;
	struct err e = ERR_INIT;
	struct guest g;
	struct blk b;
	struct rbuf r;

	if (fd < 0)
		fd = memfd_create("disk", MFD_CLOEXEC);
	MUST(fd >= 0 && ftruncate(fd, DISK) == 0);
	guest_init(&g);
	MUST(blk_init(&b, &g.ram, fd, readonly, "fuzz", 2, -1, &e) == 0);
	rbuf_init(&r, p, n);
	MUST(blk_fits(&b, r, &e) == 0 || e.msg[0]);
	load(&g, &b.v, p, n);
	guest_desc(&g, 0, 0, DATA_AT, 16, 1, 1);
	guest_desc(&g, 0, 1, DATA_AT + 512, 513, 2, 0);
	g.mem[DATA_AT + 1024] = 77;
	guest_give(&g, 0, 0);
	MUST(guest_used(&g, 0) == 1 && g.mem[DATA_AT + 1024] == 0);
	blk_release(&b);
	guest_release(&g);
}

static void load_vsock(const uint8_t *p, size_t n)
{
	static bool begun;
	struct guest g;
	struct vsock *vs;

	if (!begun)
		MUST(uv_loop_init(&loop) == 0);
	begun = true;
	guest_init(&g);
	MUST(vsock_create(&vs, &loop, &g.ram, -1, &events, NULL) == 0);
	vsock_restored(vs);
	load(&g, vsock_virtio(vs), p, n);
	struct channel *c = vsock_channel(vs);
	channel_close(&c);
	vsock_release(&vs);
	uv_run(&loop, UV_RUN_DEFAULT);
	guest_release(&g);
}

static void load_balloon(const uint8_t *p, size_t n)
{
	struct guest g;
	struct balloon b;

	guest_init(&g);
	balloon_init(&b, &g.ram, -1);
	load(&g, &b.v, p, n);
	balloon_ask(&b);
	balloon_hint(&b);
	virtio_release(&b.v);
	guest_release(&g);
}

static void wake(void *arg)
{
	(void)arg;
}

static void load_console(const uint8_t *p, size_t n)
{
	static struct vconsole c;
	struct guest g;

	guest_init(&g);
	vconsole_init(&c, &g.ram, -1, wake, NULL);
	load(&g, &c.v, p, n);
	MUST(vconsole_give(&c, p, n < 64 ? n : 64) <= 64);
	virtio_release(&c.v);
	guest_release(&g);
}

static void others(const uint8_t *p, size_t n)
{
	static struct serial s;
	static struct vconsole c;
	struct balloon b;
	struct ram ram;
	struct rbuf r;
	uint8_t page[4096] = { 0 };

	serial_init(&s, -1, NULL, NULL);
	rbuf_init(&r, p, n);
	if (serial_load(&s, &r) == 0)
		MUST(n == 7);
	serial_release(&s);
	ram_over(&ram, page, sizeof(page));
	balloon_init(&b, &ram, -1);
	rbuf_init(&r, p, n);
	if (balloon_load(&b, &r) == 0)
		balloon_ask(&b);
	virtio_release(&b.v);
	vconsole_init(&c, &ram, -1, NULL, NULL);
	rbuf_init(&r, p, n);
	if (vconsole_load(&c, &r) == 0)
		MUST(n == 8 && vconsole_take(&c, page, sizeof(page)) == 0);
	virtio_release(&c.v);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct err e = ERR_INIT;
	struct state s;
	struct rbuf r;
	struct buf b;
	uint8_t seven[7];

	if (state_open(&s, p, n, &e) == 0)
		for (uint32_t kind = 0; kind < 64; kind++)
			if (state_find(&s, (enum state_kind)kind, 0, &r) == 0)
				MUST(r.n <= n);
	/* What is written is read. */
	buf_init(&b, 1 << 20);
	state_begin(&b);
	state_put(&b, STATE_SERIAL, 3, p, n < 7 ? n : 7);
	state_put(&b, STATE_REGS, 0, p, n < 4096 ? n : 4096);
	state_end(&b);
	MUST(buf_ok(&b) && state_open(&s, buf_head(&b), buf_size(&b), &e) == 0);
	MUST((state_get(&s, STATE_SERIAL, 3, seven, 7, &e) == 0) == (n >= 7));
	MUST(state_find(&s, STATE_SERIAL, 0, &r) < 0);
	buf_release(&b);
	load_rng(p, n);
	load_blk(p, n, false);
	load_blk(p, n, true);
	load_vsock(p, n);
	load_balloon(p, n);
	load_console(p, n);
	others(p, n);
	return 0;
}
