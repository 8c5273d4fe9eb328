/* SPDX-License-Identifier: Apache-2.0 */
/* Contents by the memory that a guest lends: they go where the request says, what cannot be lent is not mapped, and no account of the ring takes us out of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "tests/workspace/raw.h"

#define SIZE ((uint64_t)FS_MEMORY_LOW + 4 * FS_WINDOW_SIZE) /* a piece below the hole, and one above it */

static char top[] = "/tmp/bh-window-XXXXXX";
static const uint8_t sign[FS_LANE_SIGN] = "sixteen bytes...";
static struct raw g;
static int memory;
static uint64_t node, fh;

static int setup(void **state)
{
	const struct share_opts with = { .watch = true };
	const struct fuse_create_in in = { .flags = O_RDWR, .mode = 0644 };

	(void)state;
	memcpy(top + strlen(top) - 6, "XXXXXX", 6);
	assert_non_null(mkdtemp(top));
	memory = fd_memory("memory", SIZE, 0);
	assert_true(memory >= 0);
	assert_int_equal(raw_open(&g, open(top, O_PATH | O_DIRECTORY | O_CLOEXEC), &with), 0);
	share_memory(g.s, memory, sign);
	assert_int_equal(raw_names(&g, FUSE_CREATE, FUSE_ROOT_ID, &in, sizeof(in), "f", NULL), 0);
	memcpy(&node, g.reply, sizeof(node));
	memcpy(&fh, g.reply + sizeof(struct fuse_entry_out), sizeof(fh));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	raw_close(&g);
	if (g.window)
		munmap(g.window, FS_WINDOW_SIZE);
	close(memory);
	assert_int_equal(path_remove_tree(AT_FDCWD, top, NULL), 0);
	return 0;
}

/* The guest's memory where its address is `at`, with the sign in it. */
static uint8_t *guest(uint64_t at)
{
	uint8_t *p = mmap(NULL, FS_WINDOW_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, (off_t)(at >= FS_MEMORY_HIGH ? at - FS_MEMORY_HIGH + FS_MEMORY_LOW : at));

	assert_true(p != MAP_FAILED);
	memcpy(p, sign, sizeof(sign));
	return p;
}

static void lend(uint64_t at)
{
	g.window = guest(at);
	assert_int_equal(raw_lend(&g, &at, sizeof(at)), 1);
	assert_true(share_has_window(g.s));
}

static int rw(uint32_t op, unsigned place, uint64_t off, uint32_t size, const void *more, size_t n)
{
	static uint8_t body[CHECK_REQUEST_MAX];
	const struct fuse_read_in r = { .fh = fh, .offset = off, .size = size };
	const struct fuse_write_in w = { .fh = fh, .offset = off, .size = size };

	assert_int_equal(sizeof(r), sizeof(w));
	memcpy(body, op == FUSE_READ ? (const void *)&r : &w, sizeof(w));
	if (n > 0)
		memcpy(body + sizeof(w), more, n);
	g.place = (uint16_t)place;
	return raw_send(&g, op, node, body, sizeof(w) + n);
}

static void fill(uint8_t *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(i * 7 + i / 4096 + seed);
}

/* Written from one place and read into another, as much as fits and a byte; high in memory as low. */
static void contents_pass_by_memory(uint64_t at)
{
	static uint8_t disk[FS_PLACE_SIZE + 1];
	uint32_t got = 0;
	char path[64];

	lend(at);
	uint8_t *one = g.window + FS_PLACE_SIZE, *three = g.window + (size_t)FS_PLACES * FS_PLACE_SIZE;
	fill(one, FS_PLACE_SIZE, 1);
	assert_int_equal(rw(FUSE_WRITE, 1, 0, FS_PLACE_SIZE, NULL, 0), 0);
	assert_int_equal(rw(FUSE_WRITE, 0, FS_PLACE_SIZE, 1, "x", 1), 0); /* the old way goes on */
	snprintf(path, sizeof(path), "%s/f", top);
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(fd_read_full(fd, disk, sizeof(disk)), 0);
	assert_memory_equal(disk, one, FS_PLACE_SIZE);
	assert_int_equal(disk[FS_PLACE_SIZE], 'x');

	assert_int_equal(rw(FUSE_READ, 3, 1, FS_PLACE_SIZE, NULL, 0), 0);
	assert_int_equal(g.nreply, sizeof(got));
	memcpy(&got, g.reply, sizeof(got));
	assert_int_equal(got, FS_PLACE_SIZE);
	assert_memory_equal(three, disk + 1, FS_PLACE_SIZE);
	assert_int_equal(rw(FUSE_READ, 3, FS_PLACE_SIZE, 4096, NULL, 0), 0);
	memcpy(&got, g.reply, sizeof(got));
	assert_int_equal(got, 1);
	assert_int_equal(rw(FUSE_READ, 3, FS_PLACE_SIZE + 1, 4096, NULL, 0), 0);
	memcpy(&got, g.reply, sizeof(got));
	assert_int_equal(got, 0);
	assert_int_equal(rw(FUSE_READ, 0, 0, 4096, NULL, 0), 0);
	assert_int_equal(g.nreply, 4096);
	assert_memory_equal(g.reply, disk, 4096);
}

static void low(void **state) { (void)state; contents_pass_by_memory(3 * (uint64_t)FS_WINDOW_SIZE); }
static void high(void **state) { (void)state; contents_pass_by_memory(FS_MEMORY_HIGH + 3 * (uint64_t)FS_WINDOW_SIZE); }

static void no_other_place_is_used(void **state)
{
	const struct fuse_getattr_in in = { .getattr_flags = 0 };
	struct stat st;
	char path[64];

	(void)state;
	assert_int_equal(rw(FUSE_READ, 1, 0, 4096, NULL, 0), -EINVAL); /* before anything is lent */
	assert_int_equal(rw(FUSE_WRITE, 1, 0, 4096, NULL, 0), -EINVAL);
	lend(0);
	assert_int_equal(rw(FUSE_READ, FS_PLACES + 1, 0, 4096, NULL, 0), -EINVAL);
	assert_int_equal(rw(FUSE_READ, UINT16_MAX, 0, 4096, NULL, 0), -EINVAL);
	assert_int_equal(rw(FUSE_WRITE, FS_PLACES + 1, 0, 4096, NULL, 0), -EINVAL);
	assert_int_equal(rw(FUSE_WRITE, 1, 0, FS_PLACE_SIZE + 1, NULL, 0), -EINVAL);
	assert_int_equal(rw(FUSE_READ, 1, 0, FS_PLACE_SIZE + 1, NULL, 0), -EINVAL);
	assert_int_equal(rw(FUSE_WRITE, 1, 0, 4, "both", 4), -EINVAL);
	assert_int_equal(rw(FUSE_WRITE, 0, 0, 4, NULL, 0), -EINVAL); /* neither */
	g.place = 1;
	assert_int_equal(raw_send(&g, FUSE_GETATTR, node, &in, sizeof(in)), -EINVAL);
	assert_int_equal(raw_send(&g, FUSE_GETATTR, node, &in, sizeof(in)), 0);
	snprintf(path, sizeof(path), "%s/f", top);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 0);
}

static void what_cannot_be_lent_is_not(void **state)
{
	static const uint64_t wrong[] = {
		4096, FS_WINDOW_SIZE + 4096, FS_MEMORY_LOW, FS_MEMORY_HIGH - FS_WINDOW_SIZE, FS_MEMORY_HIGH + 4 * (uint64_t)FS_WINDOW_SIZE, UINT64_C(1) << 40,
		UINT64_MAX, UINT64_MAX - FS_WINDOW_SIZE + 1,
		2 * (uint64_t)FS_WINDOW_SIZE /* without the sign */
	};
	const uint64_t right = FS_WINDOW_SIZE;

	(void)state;
	munmap(guest(right), FS_WINDOW_SIZE);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		raw_lend(&g, &wrong[i], sizeof(wrong[i]));
		assert_false(share_has_window(g.s));
		assert_int_equal(buf_size(&g.out), 0);
	}
	raw_lend(&g, &right, sizeof(right) - 1);
	raw_lend(&g, wrong, sizeof(right) + 1);
	raw_lend(&g, NULL, 0);
	assert_false(share_has_window(g.s));
	assert_int_equal(rw(FUSE_WRITE, 0, 0, 1, "x", 1), 0);
	lend(right);
	/* Lent is lent: another is none. */
	munmap(guest(0), FS_WINDOW_SIZE);
	assert_int_equal(raw_lend(&g, wrong, sizeof(*wrong)), -ENOSYS);
	assert_true(share_has_window(g.s));
	assert_int_equal(rw(FUSE_WRITE, 2, 0, 1, NULL, 0), 0);
	/* A new connection has none. */
	assert_int_equal(share_begin(g.s, &g.out), 0);
	assert_false(share_has_window(g.s));
	raw_lend(&g, &right, sizeof(right)); /* nor the memory, before it is told of it */
	assert_false(share_has_window(g.s));
}

static struct fs_ring *ring(void)
{
	return (struct fs_ring *)(void *)(g.window + FS_RING_AT);
}

static void no_account_of_the_ring_is_believed(void **state)
{
	bool wake;

	(void)state;
	lend(0);
	assert_int_equal(rw(FUSE_WRITE, 0, 0, 4, "long", 4), 0);
	const uint32_t put = ring()->put, bad[] = { put + 1, put - FS_RING_SIZE - 1, put + 0x80000000u };
	assert_int_equal(ring()->taken, put);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		ring()->taken = bad[i];
		assert_int_equal(rw(FUSE_READ, 1, 0, 4096, NULL, 0), -EPROTO);
		assert_int_equal(share_flush(g.s, &wake), -EBADMSG);
		assert_int_equal(ring()->put, put);
	}
	ring()->put = 12345; /* ours is our own affair */
	ring()->taken = put;
	assert_int_equal(share_flush(g.s, &wake), 0);
	assert_int_equal(ring()->put, put + ARRAY_SIZE(bad) * (sizeof(struct fuse_out_header) + sizeof(uint32_t)));
}

/* So many bytes of the ring to g.out. */
static void take(uint32_t n)
{
	for (; n > 0; n--, ring()->taken++)
		buf_u8(&g.out, g.window[FS_RING_AT + FS_RING_HEAD + ring()->taken % FS_RING_SIZE]);
}

/* A ring that nobody empties stops the requests, and what waits comes when it is emptied, whole and in order; who does not look is woken. */
static void a_full_ring_waits(void **state)
{
	static uint8_t msg[sizeof(struct fuse_in_header) + sizeof(struct fuse_read_in)], text[60000];
	const struct fuse_read_in in = { .fh = fh, .size = sizeof(text) };
	struct fuse_in_header h = { .len = sizeof(msg), .opcode = FUSE_READ, .nodeid = node, .pid = 1, .unique = 1000 };
	struct fuse_out_header o;
	bool wake, woke = false;

	(void)state;
	fill(text, sizeof(text), 9);
	assert_int_equal(rw(FUSE_WRITE, 0, 0, sizeof(text), text, sizeof(text)), 0);
	lend(0);
	for (ssize_t r = 1; r != -EAGAIN; h.unique++) {
		memcpy(msg, &h, sizeof(h));
		memcpy(msg + sizeof(h), &in, sizeof(in));
		r = share_take(g.s, msg, sizeof(msg));
		assert_true(r == (ssize_t)sizeof(msg) || r == -EAGAIN);
		assert_true(share_flush(g.s, &wake) >= 0);
		woke = woke || wake;
	}
	assert_true(woke);
	assert_false(wake); /* nothing new */
	assert_int_equal(ring()->put - ring()->taken, FS_RING_SIZE);
	take(1000);
	ring()->looks = 1;
	assert_true(share_flush(g.s, &wake) > 0);
	assert_false(wake);
	take(1000);
	ring()->looks = 0;
	assert_true(share_flush(g.s, &wake) > 0);
	assert_true(wake);
	assert_int_equal(raw_take_ring(&g), 0);
	assert_true(h.unique > 1060); /* megabytes had waited */
	for (uint64_t unique = 1000; unique < h.unique - 1; unique++) {
		assert_true(buf_size(&g.out) >= sizeof(o) + sizeof(text));
		memcpy(&o, buf_head(&g.out), sizeof(o));
		assert_int_equal(o.unique, unique);
		assert_int_equal(o.len, sizeof(o) + sizeof(text));
		assert_memory_equal(buf_head(&g.out) + sizeof(o), text, sizeof(text));
		buf_consume(&g.out, o.len);
	}
	assert_int_equal(buf_size(&g.out), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(low, setup, teardown),
		cmocka_unit_test_setup_teardown(high, setup, teardown),
		cmocka_unit_test_setup_teardown(no_other_place_is_used, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_lent_is_not, setup, teardown),
		cmocka_unit_test_setup_teardown(no_account_of_the_ring_is_believed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_full_ring_waits, setup, teardown),
	};

	return cmocka_run_group_tests_name("workspace/window", tests, NULL, NULL);
}
