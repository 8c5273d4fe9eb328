/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest can make the host do for it: how much a doorbell costs, what a log takes, what registers do that all CPUs use at once. Devices over a
 * modelled guest (tests/fuzz/device.h), without KVM; test_connections.c is the channel's.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/str.h"
#include "tests/fuzz/device.h"
#include "vmm/devices/balloon.h"
#include "vmm/devices/blk.h"
#include "vmm/devices/rng.h"

static void kick_virtio(void *arg, unsigned q)
{
	virtio_kick(arg, q);
}

/* ---- the log -------------------------------------------------------------------------------------------------------------------- */

static void a_guest_does_not_fill_the_log(void **unused)
{
	struct guest g;
	struct rng rng;
	struct stat st;
	const int fd = memfd_create("log", MFD_CLOEXEC);
	static char text[65536];

	(void)unused;
	guest_init(&g);
	rng_init(&rng, &g.ram, -1);
	g.v = &rng.v;
	g.kick = kick_virtio;
	g.arg = &rng.v;
	log_level(LOG_INFO);
	log_to(fcntl(fd, F_DUPFD_CLOEXEC, 3));
	for (unsigned i = 0; i < 10000; i++) {
		guest_up(&g, 0);
		guest_give(&g, 0, 999);
		assert_true(rng.v.status & ST_NEEDS_RESET);
		rng.v.complaints.tokens = 8; /* as after a while */
	}
	log_to(2);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_size > 1000 && st.st_size < (off_t)sizeof(text));
	assert_true(pread(fd, text, sizeof(text) - 1, 0) > 0);
	assert_non_null(strstr(text, "no more of it is told"));
	assert_non_null(strstr(text, "beyond its table"));
	close(fd);
	virtio_release(&rng.v);
	guest_release(&g);
}

/* ---- the balloon ---------------------------------------------------------------------------------------------------------------- */

#define BIG (UINT64_C(1) << 30)

struct squeezed {
	struct ram ram;
	struct guest g;
	struct balloon b;
};

static void squeezed_init(struct squeezed *s)
{
	struct err e = ERR_INIT;

	memset(s, 0, sizeof(*s));
	assert_int_equal(ram_create(&s->ram, BIG, VMM_PAGES_SMALL, &e), 0);
	s->g.ram = s->ram;
	s->g.mem = s->ram.base;
	balloon_init(&s->b, &s->ram, -1);
	s->g.v = &s->b.v;
	s->g.kick = kick_virtio;
	s->g.arg = &s->b.v;
	guest_up(&s->g, 1u << 5 | 1u << 28); /* reporting: queue 2; indirect tables */
}

static void squeezed_release(struct squeezed *s)
{
	virtio_release(&s->b.v);
	ram_destroy(&s->ram);
}

/* An indirect table of n descriptors at `at`, each all of memory from DATA_AT + 1 MiB on. */
static void table(struct squeezed *s, uint64_t at, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		const uint64_t addr = 2u << 20;
		const uint32_t len = (uint32_t)(BIG - addr);
		const uint16_t flags = (uint16_t)(2 | (i + 1 < n)), next = (uint16_t)(i + 1);
		uint8_t *d = s->ram.base + at + 16 * (size_t)i;

		memcpy(d, &addr, 8);
		memcpy(d + 8, &len, 4);
		memcpy(d + 12, &flags, 2);
		memcpy(d + 14, &next, 2);
	}
}

static void a_doorbell_gives_up_so_much_and_no_more(void **unused)
{
	static struct squeezed s;
	const uint16_t n = 16;
	unsigned turns = 1;
	uint8_t *avail;

	(void)unused;
	squeezed_init(&s);
	table(&s, DATA_AT, 4);
	avail = s.g.mem + QUEUE_AT(2) + 0x200;
	for (uint16_t i = 0; i < n; i++) {
		guest_desc(&s.g, 2, i, DATA_AT, 4 * 16, 4, 0);
		memcpy(avail + 4 + 2 * i, &i, 2);
	}
	memcpy(avail + 2, &n, 2);
	s.ram.base[BIG - 1] = 7;
	virtio_kick(&s.b.v, 2);
	assert_true(s.b.reported > 0 && s.b.reported <= BALLOON_TURN + 4096);
	assert_true(s.b.v.again & 1u << 2);
	assert_int_equal(s.ram.base[BIG - 1], 7);
	for (uint64_t before = s.b.reported; s.b.v.again; turns++) {
		s.b.v.again = 0;
		virtio_kick(&s.b.v, 2);
		assert_true(s.b.reported - before <= BALLOON_TURN + 4096);
		before = s.b.reported;
		assert_true(turns < 2000);
	}
	assert_int_equal(s.b.v.status, 15);
	assert_int_equal(guest_used(&s.g, 2), n);
	assert_int_equal(s.b.reported, n * 4 * (BIG - (2u << 20)));
	assert_int_equal(s.ram.base[BIG - 1], 0);
	squeezed_release(&s);
}

static void a_page_named_often_is_given_up_once(void **unused)
{
	static struct squeezed s;

	(void)unused;
	squeezed_init(&s);
	for (unsigned i = 0; i < BALLOON_PFNS_MAX; i++) {
		const uint32_t pfn = i % 2 ? 5000 : 6000;

		memcpy(s.ram.base + 0x10000 + 4 * (size_t)i, &pfn, 4);
	}
	guest_desc(&s.g, 0, 0, 0x10000, BALLOON_PFNS_MAX * 4, 0, 0);
	guest_give(&s.g, 0, 0);
	assert_int_equal(guest_used(&s.g, 0), 1);
	assert_int_equal(s.b.given, 2 * 4096);
	squeezed_release(&s);
}

/* ---- disks ---------------------------------------------------------------------------------------------------------------------- */

#define REQUEST (32u << 20)

/* The end of a machine waits for the request in work, not for all that the guest has queued. */
static void a_disk_ends_after_the_request_in_work(void **unused)
{
	const int fd = memfd_create("disk", MFD_CLOEXEC), bell = eventfd(0, EFD_CLOEXEC);
	const uint64_t one = 1;
	const uint16_t n = QUEUE_SIZE;
	struct err e = ERR_INIT;
	static struct blk b;
	struct guest g = { 0 };
	struct ram ram;

	(void)unused;
	assert_int_equal(ftruncate(fd, REQUEST), 0);
	assert_int_equal(ram_create(&ram, 64u << 20, VMM_PAGES_SMALL, &e), 0);
	g.ram = ram;
	g.mem = ram.base;
	assert_int_equal(blk_init(&b, &ram, fd, true, "test", 1, -1, &e), 0);
	g.v = &b.v;
	b.v.kick[0] = bell;
	guest_up(&g, 0);
	guest_desc(&g, 0, 0, DATA_AT, 16, 1, 1);
	guest_desc(&g, 0, 1, 2u << 20, REQUEST, 3, 2);
	guest_desc(&g, 0, 2, DATA_AT + 100, 1, 2, 0);
	memcpy(g.mem + QUEUE_AT(0) + 0x202, &n, 2); /* head 0, sixteen times */
	assert_int_equal(blk_start(&b, NULL, NULL, &e), 0);
	assert_int_equal(write(bell, &one, sizeof(one)), sizeof(one));
	while (__atomic_load_n((uint16_t *)(void *)(g.mem + QUEUE_AT(0) + 0x402), __ATOMIC_ACQUIRE) == 0)
		sched_yield();
	blk_release(&b);
	assert_in_range(guest_used(&g, 0), 1, n - 1);
	ram_destroy(&ram);
	close(fd);
	close(bell);
}

static void on_refused(void *arg, int error)
{
	*(int *)arg = error;
}

/* A write that the host has no room for is not answered, and is written when there is. */
static void a_refused_write_waits(void **unused)
{
	const int fd = memfd_create("disk", MFD_CLOEXEC);
	struct rlimit was;
	struct err e = ERR_INIT;
	static struct blk b;
	struct guest g = { 0 };
	struct ram ram;
	int error = 0;
	char got[6];
	const struct { uint32_t type, reserved; uint64_t sector; } head = { 1, 0, 64 };

	(void)unused;
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_int_equal(ram_create(&ram, 4u << 20, VMM_PAGES_SMALL, &e), 0);
	g.ram = ram;
	g.mem = ram.base;
	assert_int_equal(blk_init(&b, &ram, fd, false, "test", 1, -1, &e), 0);
	g.v = &b.v;
	b.refused = on_refused;
	b.wake_arg = &error;
	guest_up(&g, 0);
	memcpy(g.mem + DATA_AT, &head, sizeof(head));
	memcpy(g.mem + DATA_AT + 512, "sector", 6);
	memset(g.mem + DATA_AT + 100, 0xee, 1);
	guest_desc(&g, 0, 0, DATA_AT, 16, 1, 1);
	guest_desc(&g, 0, 1, DATA_AT + 512, 512, 1, 2);
	guest_desc(&g, 0, 2, DATA_AT + 100, 1, 2, 0);
	memcpy(g.mem + QUEUE_AT(0) + 0x202, &(uint16_t){ 1 }, 2); /* head 0, once */
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &was);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){ .rlim_cur = 4096, .rlim_max = was.rlim_max }), 0);
	virtio_kick(&b.v, 0);
	assert_int_equal(error, EFBIG);
	assert_int_equal(guest_used(&g, 0), 0);
	assert_int_equal(g.mem[DATA_AT + 100], 0xee);
	assert_true(blk_idle(&b));
	/* The machine pauses and goes on; there is still no room. */
	error = 0;
	blk_hold(&b);
	virtio_kick(&b.v, 0);
	assert_int_equal(error, 0);
	blk_go(&b);
	virtio_kick(&b.v, 0);
	assert_int_equal(error, EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	virtio_kick(&b.v, 0);
	assert_int_equal(guest_used(&g, 0), 1);
	assert_int_equal(g.mem[DATA_AT + 100], 0);
	assert_int_equal(pread(fd, got, sizeof(got), 64 * 512), sizeof(got));
	assert_memory_equal(got, "sector", 6);
	/* Without somebody to pause it, the driver is told. */
	b.refused = NULL;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){ .rlim_cur = 4096, .rlim_max = was.rlim_max }), 0);
	memcpy(g.mem + QUEUE_AT(0) + 0x202, &(uint16_t){ 2 }, 2);
	virtio_kick(&b.v, 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	assert_int_equal(guest_used(&g, 0), 2);
	assert_int_equal(g.mem[DATA_AT + 100], 1);
	blk_release(&b);
	ram_destroy(&ram);
	close(fd);
}

/* ---- threads -------------------------------------------------------------------------------------------------------------------- */

#define VCPUS 6
#define STORM_ROUNDS 3000

struct storm {
	struct ram ram;
	struct blk blk;
	struct rng rng;
	int bell[2];
	atomic_bool over;
};

static void put_reg(struct virtio *v, uint32_t off, uint32_t value)
{
	virtio_write(v, off, (const uint8_t *)&value, 4);
}

/* Queues that lie in memory already, each with sixteen requests. */
static void storm_up(struct virtio *v, uint64_t at)
{
	put_reg(v, 0x70, 0);
	put_reg(v, 0x70, 3);
	put_reg(v, 0x24, 1);
	put_reg(v, 0x20, 1);
	put_reg(v, 0x70, 11);
	for (unsigned q = 0; q < v->nqueues; q++) {
		put_reg(v, 0x30, q);
		put_reg(v, 0x38, QUEUE_SIZE);
		put_reg(v, 0x80, (uint32_t)at + QUEUE_AT(q));
		put_reg(v, 0x90, (uint32_t)at + QUEUE_AT(q) + 0x200);
		put_reg(v, 0xa0, (uint32_t)at + QUEUE_AT(q) + 0x400);
		put_reg(v, 0x44, 1);
	}
	put_reg(v, 0x70, 15);
}

/* As a guest's CPU: registers of both devices, in an order that no driver would. */
static void *storm_vcpu(void *arg)
{
	struct storm *s = arg;
	uint32_t seed = (uint32_t)(uintptr_t)&seed;
	const uint64_t one = 1;
	uint8_t bytes[8];

	for (unsigned i = 0; i < STORM_ROUNDS; i++) {
		seed = seed * 1664525u + 1013904223u;
		const uint32_t r = seed >> 16;
		struct virtio *v = r & 1 ? &s->blk.v : &s->rng.v;

		switch (r >> 1 & 7) {
		case 0:
		case 1:
			storm_up(v, r & 1 ? 0x10000 : 0);
			break;
		case 2:
			put_reg(v, 0x70, r & 16 ? 0 : 128);
			break;
		case 3:
			put_reg(v, 0x30, r >> 4 & 1);
			put_reg(v, 0x44, r >> 5 & 1);
			break;
		case 4:
			virtio_read(v, r & 16 ? 0x60 : r & 32 ? 0x100 : 0x70, bytes, 4);
			put_reg(v, 0x64, 3);
			break;
		default:
			/* The doorbell; those of the disk have threads of their own. */
			if (write(r & 1 ? s->blk.v.kick[r >> 4 & 1] : s->rng.v.kick[0], &one, sizeof(one)) < 0)
				return NULL;
			break;
		}
	}
	return NULL;
}

/* As the loop: entropy's doorbell, statistics, pauses. */
static void *storm_loop(void *arg)
{
	struct storm *s = arg;
	uint64_t n, requests, interrupts;

	while (!atomic_load(&s->over)) {
		if (read(s->rng.v.kick[0], &n, sizeof(n)) > 0)
			virtio_kick(&s->rng.v, 0);
		virtio_counts(&s->blk.v, &requests, &interrupts);
		blk_hold(&s->blk);
		while (!blk_idle(&s->blk))
			sched_yield();
		blk_go(&s->blk);
	}
	return NULL;
}

static void registers_and_queues_are_used_by_all_at_once(void **unused)
{
	const int fd = memfd_create("disk", MFD_CLOEXEC);
	static struct storm s;
	struct err e = ERR_INIT;
	struct guest g = { 0 };
	pthread_t vcpu[VCPUS], loop;
	const uint16_t n = QUEUE_SIZE;

	(void)unused;
	assert_int_equal(ftruncate(fd, 65536), 0);
	assert_int_equal(pwrite(fd, "sector", 6, 0), 6);
	assert_int_equal(ram_create(&s.ram, 1u << 20, VMM_PAGES_SMALL, &e), 0);
	assert_int_equal(blk_init(&s.blk, &s.ram, fd, true, "test", 2, -1, &e), 0);
	rng_init(&s.rng, &s.ram, -1);
	for (unsigned q = 0; q < 2; q++)
		s.blk.v.kick[q] = s.bell[q] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s.rng.v.kick[0] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	for (unsigned q = 0; q < 3; q++) { /* entropy's at 0, the disk's two at 64 KiB */
		const uint32_t data = 0x40000 + q * 0x10000;

		g.mem = s.ram.base + (q < 2 ? 0x10000 : 0);
		if (q < 2) {
			guest_desc(&g, q, 0, data, 16, 1, 1);
			guest_desc(&g, q, 1, data + 512, 4096, 3, 2);
			guest_desc(&g, q, 2, data + 100, 1, 2, 0);
		} else {
			guest_desc(&g, 0, 0, data, 64, 2, 0);
		}
		memcpy(g.mem + QUEUE_AT(q % 2) + 0x202, &n, 2);
	}
	assert_int_equal(blk_start(&s.blk, NULL, NULL, &e), 0);
	atomic_store(&s.over, false);
	assert_int_equal(pthread_create(&loop, NULL, storm_loop, &s), 0);
	for (unsigned i = 0; i < VCPUS; i++)
		assert_int_equal(pthread_create(&vcpu[i], NULL, storm_vcpu, &s), 0);
	for (unsigned i = 0; i < VCPUS; i++)
		pthread_join(vcpu[i], NULL);
	atomic_store(&s.over, true);
	pthread_join(loop, NULL);
	/* Whoever comes after them finds both whole. */
	storm_up(&s.rng.v, 0);
	virtio_kick(&s.rng.v, 0);
	g.mem = s.ram.base;
	assert_true(s.rng.v.status == 15);
	assert_int_equal(guest_used(&g, 0), n);
	g.mem = s.ram.base + 0x10000;
	memset(s.ram.base + 0x40000 + 512, 0, 6);
	memset(g.mem + 0x402, 0, 2);
	storm_up(&s.blk.v, 0x10000);
	virtio_kick(&s.blk.v, 0);
	assert_int_equal(guest_used(&g, 0), n);
	assert_memory_equal(s.ram.base + 0x40000 + 512, "sector", 6);
	blk_release(&s.blk);
	virtio_release(&s.rng.v);
	ram_destroy(&s.ram);
	close(s.rng.v.kick[0]);
	close(s.bell[0]);
	close(s.bell[1]);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guest_does_not_fill_the_log),
		cmocka_unit_test(a_doorbell_gives_up_so_much_and_no_more),
		cmocka_unit_test(a_page_named_often_is_given_up_once),
		cmocka_unit_test(a_disk_ends_after_the_request_in_work),
		cmocka_unit_test(a_refused_write_waits),
		cmocka_unit_test(registers_and_queues_are_used_by_all_at_once),
	};

	return cmocka_run_group_tests_name("vmm/devices", tests, NULL, NULL);
}
