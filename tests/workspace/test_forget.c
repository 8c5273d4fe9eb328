/* SPDX-License-Identifier: Apache-2.0 */
/* A guest that forgets what bulkhead-fs is still at: nothing is used that is gone (the sanitizers see it). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "tests/workspace/raw.h"

static char top[64];
static int root;
static struct raw g;

static void make_dir(const char *name)
{
	assert_int_equal(mkdirat(root, name, 0755), 0);
}

static void put(const char *name, const char *text)
{
	AUTO_FD fd = openat(root, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(fd_write_full(fd, text, strlen(text)), 0);
}

static int setup(void **state)
{
	const struct share_opts o = { .watch = true, .ahead = true };

	(void)state;
	snprintf(top, sizeof(top), "/tmp/bh-forget-XXXXXX");
	assert_non_null(mkdtemp(top));
	root = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	put("file", "inside");
	assert_int_equal(raw_open(&g, open(top, O_PATH | O_DIRECTORY | O_CLOEXEC), &o), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	raw_close(&g);
	close(root);
	assert_int_equal(path_remove_tree(AT_FDCWD, top, NULL), 0);
	return 0;
}

static void forget(uint64_t node, uint64_t lookups)
{
	const struct fuse_forget_in f = { .nlookup = lookups };

	raw_send(&g, FUSE_FORGET, node, &f, sizeof(f));
}

/* Names are sent ahead of a walk that has begun; then its directory is forgotten, and named once more by its number. */
static void a_walk_whose_directory_is_forgotten(void **state)
{
	static const uint32_t ops[] = { FUSE_SETATTR, FUSE_SETXATTR, FUSE_OPEN, FUSE_CREATE, FUSE_LINK };
	const struct fuse_setattr_in set = { .valid = FATTR_MTIME | FATTR_MTIME_NOW };
	const struct fuse_open_in trunc = { .flags = O_WRONLY | O_TRUNC };
	const struct fuse_create_in create = { .flags = O_WRONLY, .mode = 0644 };
	char path[64];
	int error;

	(void)state;
	make_dir("p");
	for (int d = 0; d < 32; d++) {
		snprintf(path, sizeof(path), "p/%c%d", d < 2 ? 'a' : 'e', d);
		make_dir(path);
		for (int f = 0; d < 2 && f < 3; f++) {
			snprintf(path, sizeof(path), "p/a%d/f%d", d, f);
			put(path, "text");
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		const uint64_t p = raw_lookup(&g, FUSE_ROOT_ID, "p", &error), file = raw_lookup(&g, FUSE_ROOT_ID, "file", &error);
		struct fuse_setxattr_in x = { .size = 1 };
		const struct fuse_link_in l = { .oldnodeid = p };
		uint64_t dir[2], below[2][3];
		uint8_t body[64] = { 0 };

		usleep(600 * 1000); /* names that came back at once do not come again so soon */
		for (int d = 0; d < 2; d++) {
			snprintf(path, sizeof(path), "a%d", d);
			dir[d] = raw_lookup(&g, p, path, &error);
			for (int f = 0; f < 3; f++) {
				snprintf(path, sizeof(path), "f%d", f);
				below[d][f] = raw_lookup(&g, dir[d], path, &error);
				assert_int_equal(error, 0);
			}
		}
		struct { struct fuse_batch_forget_in in; struct fuse_forget_one one[9]; } all = { .in.count = 9, .one = { { p, 100 } } };
		for (int k = 0; k < 8; k++) /* with one request: each that is answered lets the walk go on */
			all.one[k + 1] = (struct fuse_forget_one){ .nodeid = k < 6 ? below[k / 3][k % 3] : dir[k - 6], .nlookup = 100 };
		raw_send(&g, FUSE_BATCH_FORGET, 0, &all, sizeof(all));
		switch (ops[i]) {
		case FUSE_SETATTR:
			error = raw_send(&g, ops[i], p, &set, sizeof(set));
			break;
		case FUSE_SETXATTR:
			memcpy(body, &x, FUSE_COMPAT_SETXATTR_IN_SIZE);
			memcpy(body + FUSE_COMPAT_SETXATTR_IN_SIZE, "user.a\0v", 8);
			error = raw_send(&g, ops[i], p, body, FUSE_COMPAT_SETXATTR_IN_SIZE + 8);
			break;
		case FUSE_OPEN:
			error = raw_send(&g, ops[i], p, &trunc, sizeof(trunc));
			break;
		case FUSE_CREATE:
			error = raw_names(&g, ops[i], p, &create, sizeof(create), "new", NULL);
			break;
		default:
			error = raw_names(&g, ops[i], file, &l, sizeof(l), "again", NULL);
			break;
		}
		assert_true(error <= 0); /* whether it was known still is another matter: it was not used when it was gone */
	}
}

/* A directory that is known only by what is in it, when that is moved away. */
static void a_directory_that_goes_with_what_it_holds(void **state)
{
	static const uint32_t flags[] = { 0, RENAME_EXCHANGE };
	int error;

	(void)state;
	make_dir("from");
	make_dir("to");
	put("to/y", "y");
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		put("from/x", "x");
		const uint64_t from = raw_lookup(&g, FUSE_ROOT_ID, "from", &error), to = raw_lookup(&g, FUSE_ROOT_ID, "to", &error);
		const struct fuse_rename2_in in = { .newdir = to, .flags = flags[i] };

		assert_true(raw_lookup(&g, from, "x", &error) > 0 && raw_lookup(&g, to, "y", &error) > 0);
		forget(from, 100);
		assert_int_equal(raw_names(&g, FUSE_RENAME2, from, &in, sizeof(in), "x", "y"), 0);
		assert_true(raw_lookup(&g, to, "y", &error) > 0);
		forget(to, 100);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_walk_whose_directory_is_forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(a_directory_that_goes_with_what_it_holds, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
