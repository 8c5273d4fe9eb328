/* SPDX-License-Identifier: Apache-2.0 */
/* More directories than descriptors and watches are kept: what is done goes where it was asked for, and what is not watched is known for a second only; and what is sent unasked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "core/proto/fs.h"
#include "tests/workspace/raw.h"

static char top[] = "/tmp/bh-bounds-XXXXXX";
static struct raw g;

static void put(const char *name, const char *text)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", top, name);
	AUTO_FD fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(fd_write_full(fd, text, strlen(text)), 0);
}

static void make_dir(const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", top, name);
	assert_int_equal(mkdir(path, 0755), 0);
}

static void begin(size_t max_watches, bool ahead)
{
	const struct share_opts with = { .watch = true, .max_watches = max_watches, .ahead = ahead };
	char ws[64];

	snprintf(ws, sizeof(ws), "%s/ws", top);
	assert_int_equal(raw_open(&g, open(ws, O_PATH | O_DIRECTORY | O_CLOEXEC), &with), 0);
}

static int setup(void **state)
{
	(void)state;
	memcpy(top + strlen(top) - 6, "XXXXXX", 6);
	assert_non_null(mkdtemp(top));
	make_dir("ws");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	raw_close(&g);
	assert_int_equal(path_remove_tree(AT_FDCWD, top, NULL), 0);
	return 0;
}

/* For how many seconds the guest may keep what it learnt of a name. */
static uint64_t kept_for(struct raw *r, uint64_t dir, const char *name, uint64_t *id)
{
	struct fuse_entry_out e;

	assert_int_equal(raw_names(r, FUSE_LOOKUP, dir, NULL, 0, name, NULL), 0);
	memcpy(&e, r->reply, sizeof(e));
	*id = e.nodeid;
	return e.entry_valid;
}

/* A guest that walks everything leaves the person's programs watches of their own. */
static void watches_have_an_end(void **state)
{
	char name[64];
	uint64_t id, below;

	(void)state;
	for (int i = 0; i < 6; i++) {
		char at[64];

		snprintf(at, sizeof(at), "ws/w%d", i);
		make_dir(at);
		snprintf(at, sizeof(at), "ws/w%d/f", i);
		put(at, "x");
	}
	begin(3, false);
	for (int i = 0; i < 6; i++) {
		snprintf(name, sizeof(name), "w%d", i);
		assert_true(kept_for(&g, FUSE_ROOT_ID, name, &id) > 1); /* the root is watched: one */
		const uint64_t s = kept_for(&g, id, "f", &below);
		assert_true(i < 2 ? s > 1 : s == 1);
	}
	struct share_stats st;
	share_stats(g.s, &st);
	assert_int_equal(st.watches, 3);
}

#define CROWD 100 /* more directories than descriptors are kept (64 here) */

/* The host writes in every directory: what is read of that before the next change opens them all. */
static void the_host_writes_everywhere(void)
{
	char name[64];

	for (int i = 0; i < CROWD; i++) {
		snprintf(name, sizeof(name), "ws/d%d/f", i);
		put(name, "again");
	}
}

static bool stands(const char *name)
{
	char path[512];
	struct stat st;

	snprintf(path, sizeof(path), "%s/ws/%s", top, name);
	return lstat(path, &st) == 0;
}

static void a_change_goes_where_it_was_asked_for(void **state)
{
	const struct fuse_mkdir_in mk = { .mode = 0777 };
	const struct fuse_mknod_in nod = { .mode = S_IFREG | 0666 };
	uint64_t ids[CROWD], f = 0;
	char name[64];
	int error;

	(void)state;
	begin(0, false);
	for (int i = 0; i < CROWD; i++) {
		snprintf(name, sizeof(name), "ws/d%d", i);
		make_dir(name);
		snprintf(name, sizeof(name), "ws/d%d/f", i);
		put(name, "once");
		snprintf(name, sizeof(name), "d%d", i);
		ids[i] = raw_lookup(&g, FUSE_ROOT_ID, name, &error);
		assert_int_equal(error, 0);
		const uint64_t n = raw_lookup(&g, ids[i], "f", &error);
		assert_int_equal(error, 0);
		f = i == 0 ? n : f;
	}
	the_host_writes_everywhere();
	assert_int_equal(raw_names(&g, FUSE_MKDIR, ids[0], &mk, sizeof(mk), "made", NULL), 0);
	assert_true(stands("d0/made"));
	the_host_writes_everywhere();
	assert_int_equal(raw_names(&g, FUSE_MKNOD, ids[1], &nod, sizeof(nod), "node", NULL), 0);
	assert_true(stands("d1/node"));
	the_host_writes_everywhere();
	assert_int_equal(raw_names(&g, FUSE_SYMLINK, ids[2], NULL, 0, "link", "f"), 0);
	assert_true(stands("d2/link"));
	const struct fuse_link_in ln = { .oldnodeid = f };
	the_host_writes_everywhere();
	assert_int_equal(raw_names(&g, FUSE_LINK, ids[3], &ln, sizeof(ln), "hard", NULL), 0);
	assert_true(stands("d3/hard"));
	const struct fuse_rename_in ren = { .newdir = ids[5] };
	the_host_writes_everywhere();
	assert_int_equal(raw_names(&g, FUSE_RENAME, ids[4], &ren, sizeof(ren), "f", "moved"), 0);
	assert_true(stands("d5/moved") && !stands("d4/f"));
	put("ws/d4/f", "for the next");
	the_host_writes_everywhere();
	assert_int_equal(raw_names(&g, FUSE_UNLINK, ids[6], NULL, 0, "f", NULL), 0);
	for (int i = 0; i < CROWD; i++) {
		snprintf(name, sizeof(name), "d%d/f", i);
		assert_int_equal(stands(name), i != 6);
	}
}

/* The directories whose names were sent ahead with the last answer; *names: how many of the last one. */
static size_t sent_ahead(uint64_t *dir, size_t max, uint32_t *names)
{
	struct fuse_out_header h;
	size_t n = 0;

	for (size_t at = 0; buf_size(&g.out) - at >= sizeof(h); at += h.len) {
		memcpy(&h, buf_head(&g.out) + at, sizeof(h));
		if (h.unique != 0 || h.error != FS_AHEAD || n == max)
			continue;
		memcpy(&dir[n++], buf_head(&g.out) + at + sizeof(h), 8);
		memcpy(names, buf_head(&g.out) + at + sizeof(h) + 12, 4);
	}
	return n;
}

static void ask_three(uint64_t dir)
{
	int error;

	for (const char *name = "abc"; *name; name++)
		raw_lookup(&g, dir, (const char[]){ *name, '\0' }, &error);
	assert_int_equal(error, 0);
}

/* Who asks for the names of two directories side by side gets those of the others, once. */
static void directories_beside_are_sent_ahead(void **state)
{
	static const char *const dirs[] = { "d1", "d2", "d3", "d4", "d5" };
	const struct fuse_getattr_in ga = { 0 };
	uint64_t seen[8];
	uint32_t names = 0;
	char path[64];
	int error;

	(void)state;
	make_dir("ws/w");
	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, sizeof(path), "ws/w/%s", dirs[i]);
		make_dir(path);
		for (const char *name = "abc"; *name; name++) {
			snprintf(path, sizeof(path), "ws/w/%s/%c", dirs[i], *name);
			put(path, "x");
		}
	}
	begin(0, true);
	const uint64_t w = raw_lookup(&g, FUSE_ROOT_ID, "w", &error), d1 = raw_lookup(&g, w, "d1", &error);
	ask_three(d1);
	assert_int_equal(sent_ahead(seen, ARRAY_SIZE(seen), &names), 1);
	assert_int_equal(seen[0], d1);
	assert_int_equal(names, 5); /* "." and ".." too */
	raw_send(&g, FUSE_GETATTR, w, &ga, sizeof(ga));
	assert_int_equal(sent_ahead(seen, ARRAY_SIZE(seen), &names), 0); /* one is no walk */
	ask_three(raw_lookup(&g, w, "d2", &error));
	size_t n = sent_ahead(seen, ARRAY_SIZE(seen), &names);
	for (int i = 0; i < 4; i++) {
		raw_send(&g, FUSE_GETATTR, w, &ga, sizeof(ga));
		n += sent_ahead(seen + n, ARRAY_SIZE(seen) - n, &names);
	}
	assert_int_equal(n, ARRAY_SIZE(dirs) - 1);
	for (size_t i = 1; i < ARRAY_SIZE(dirs); i++) {
		const uint64_t id = raw_lookup(&g, w, dirs[i], &error);
		size_t at = 0;

		while (at < n && seen[at] != id)
			at++;
		assert_true(at < n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(watches_have_an_end, setup, teardown),
		cmocka_unit_test_setup_teardown(a_change_goes_where_it_was_asked_for, setup, teardown),
		cmocka_unit_test_setup_teardown(directories_beside_are_sent_ahead, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
