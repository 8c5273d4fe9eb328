/* SPDX-License-Identifier: Apache-2.0 */
/* A live workspace: after whatever was done to its tree, a look at what was heard finds what a look at everything finds. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/review/danger.h"
#include "core/review/live.h"
#include "core/workspace/hide.h"

#define LINES 512u

static struct {
	char dir[64];
	int top, root, state;
	struct uppers uppers;
	struct ground ground;
	struct base *base;
	struct hide *hide;
	struct danger *danger;
	struct livewatch *watch;
	struct item *chain;
	unsigned seed;
} g;

static void on_drop(void *arg, struct upper *u)
{
	(void)arg;
	items_drop(u);
}

static void put(const char *path, const char *text)
{
	AUTO_FD fd = openat(g.top, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd >= 0) /* a directory stands there, or none above */
		assert_int_equal(fd_write_full(fd, text, strlen(text)), 0);
}

static int begin(void **state)
{
	char path[64];

	(void)state;
	memset(&g, 0, sizeof(g));
	snprintf(g.dir, sizeof(g.dir), "/tmp/bh-live-XXXXXX");
	assert_non_null(mkdtemp(g.dir));
	g.top = open(g.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(g.top, "ws", 0755), 0);
	assert_int_equal(mkdirat(g.top, "state", 0700), 0);
	g.root = openat(g.top, "ws", O_PATH | O_DIRECTORY | O_CLOEXEC);
	g.state = openat(g.top, "state", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(uppers_init(&g.uppers, on_drop, NULL), 0);
	assert_int_equal(base_open(&g.base, g.state, g.root, 0, NULL), 0);
	assert_int_equal(hide_create(&g.hide, ".env*\n", NULL), 0);
	assert_int_equal(danger_create(&g.danger, "[a build file]\nMakefile\n", NULL), 0);
	g.ground = (struct ground){ .root = g.root, .uppers = &g.uppers, .base = g.base, .hide = g.hide, .danger = g.danger, .most = 10000 };
	for (unsigned d = 0; d < 4; d++) {
		snprintf(path, sizeof(path), "ws/d%u", d);
		assert_int_equal(mkdirat(g.top, path, 0755), 0);
		for (unsigned f = 0; f < 6; f++) {
			snprintf(path, sizeof(path), "ws/d%u/f%u", d, f);
			put(path, path);
		}
	}
	put("ws/.env", "secret");
	assert_true(live_begin(&g.ground, 1));
	assert_true(base_deepen(g.base, clock_ms() + 60000));
	const int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	assert_true(fd >= 0);
	g.watch = livewatch_create_take(fd, 1000);
	assert_non_null(g.watch);
	g.chain = live_scan(&g.ground, g.watch);
	assert_null(g.chain);
	assert_true(livewatch_whole(g.watch));
	return 0;
}

static int end(void **state)
{
	(void)state;
	live_release(&g.chain);
	livewatch_destroy(&g.watch);
	base_close(&g.base);
	uppers_release(&g.uppers);
	hide_destroy(&g.hide);
	danger_destroy(&g.danger);
	close(g.root);
	close(g.state);
	close(g.top);
	path_remove_tree(AT_FDCWD, g.dir, NULL);
	return 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The changes as sorted lines. A rename is what went and what came: of two names that have had the same number either may be where it came from. */
static char *told(const struct item *chain)
{
	char *line[LINES], *all = calloc(LINES, 256);
	size_t n = 0, used = 0;

	for (const struct item *i = chain; i; i = i->next) {
		const int kind = i->c.from ? CHANGE_ADDED : i->c.kind;

		assert_true(n < LINES && (!i->same || i->c.kind == CHANGE_DELETED));
		line[n] = calloc(1, 256);
		snprintf(line[n++], 256, "%d %s %o %llu\n", kind, i->c.path, (unsigned)i->c.theirs.mode, (unsigned long long)i->c.theirs.size);
	}
	qsort(line, n, sizeof(line[0]), by_text);
	for (size_t i = 0; i < n; i++) {
		used += (size_t)snprintf(all + used, 256, "%s", line[i]);
		free(line[i]);
	}
	return all;
}

/* True: a part was enough. */
static bool look(void)
{
	struct pathset dirty;
	bool part;

	livewatch_read(g.watch);
	part = livewatch_whole(g.watch);
	if (part) {
		livewatch_take(g.watch, &dirty);
		part = live_update(&g.ground, &g.chain, &dirty, g.watch);
	}
	if (!part) {
		live_release(&g.chain);
		g.chain = live_scan(&g.ground, g.watch);
	}
	struct item *whole = live_scan(&g.ground, NULL);
	char *a = told(g.chain), *b = told(whole);
	if (strcmp(a, b) != 0)
		fprintf(stderr, "# heard\n%s# there is\n%s", a, b);
	assert_string_equal(a, b);
	free(a);
	free(b);
	live_release(&whole);
	return part;
}

static const struct item *find(const char *path)
{
	for (const struct item *i = g.chain; i; i = i->next)
		if (!i->same && strcmp(i->c.path, path) == 0)
			return i;
	return NULL;
}

static void what_is_heard_of_is_looked_at(void **state)
{
	(void)state;
	assert_true(look());
	put("ws/d0/f0", "changed");
	put("ws/new", "new");
	assert_int_equal(unlinkat(g.top, "ws/d1/f1", 0), 0);
	assert_int_equal(renameat(g.top, "ws/d2/f2", g.top, "ws/d3/moved"), 0);
	put("ws/.env", "another");
	assert_true(look());
	assert_int_equal(find("d0/f0")->c.kind, CHANGE_MODIFIED);
	assert_int_equal(find("new")->c.kind, CHANGE_ADDED);
	assert_int_equal(find("d1/f1")->c.kind, CHANGE_DELETED);
	assert_int_equal(find("d3/moved")->c.kind, CHANGE_RENAMED);
	assert_string_equal(find("d3/moved")->c.from, "d2/f2");
	assert_null(find(".env"));
	/* Back again, in another turn. */
	assert_int_equal(renameat(g.top, "ws/d3/moved", g.top, "ws/d2/f2"), 0);
	assert_int_equal(unlinkat(g.top, "ws/new", 0), 0);
	assert_true(look());
	assert_null(find("d3/moved"));
	assert_null(find("d2/f2"));
	/* A rename of which the two halves were heard apart. */
	assert_int_equal(renameat(g.top, "ws/d2/f2", g.top, "elsewhere"), 0);
	assert_true(look());
	assert_int_equal(find("d2/f2")->c.kind, CHANGE_DELETED);
	assert_int_equal(renameat(g.top, "elsewhere", g.top, "ws/back"), 0);
	assert_true(look());
	assert_string_equal(find("back")->c.from, "d2/f2");
}

static void new_directories_are_heard_too(void **state)
{
	(void)state;
	assert_int_equal(mkdirat(g.top, "ws/n", 0755), 0);
	assert_int_equal(mkdirat(g.top, "ws/n/m", 0755), 0);
	put("ws/n/m/a", "a");
	assert_true(look());
	put("ws/n/m/b", "b"); /* known by the watch that was set just now */
	put("ws/n/c", "c");
	assert_true(look());
	assert_non_null(find("n/m/b"));
	assert_non_null(find("n/c"));
	/* What moves with a directory is not told of: everything is looked at. */
	assert_int_equal(renameat(g.top, "ws/d0", g.top, "ws/n/d0"), 0);
	assert_false(look());
	put("ws/n/d0/f3", "under its new name");
	assert_true(look());
	assert_non_null(find("n/d0/f3"));
}

static void more_than_can_be_heard(void **state)
{
	char path[64];

	(void)state;
	for (unsigned i = 0; i < LIVEWATCH_PATHS_MAX + 10; i++) {
		snprintf(path, sizeof(path), "ws/d1/x%u", i);
		put(path, "");
		assert_int_equal(unlinkat(g.top, path, 0), 0);
	}
	put("ws/d1/last", "");
	assert_false(look());
	assert_non_null(find("d1/last"));
	assert_true(look());
	/* Fewer watches than there are directories. */
	livewatch_destroy(&g.watch);
	g.watch = livewatch_create_take(inotify_init1(IN_NONBLOCK | IN_CLOEXEC), 3);
	live_release(&g.chain);
	g.chain = live_scan(&g.ground, g.watch);
	assert_false(livewatch_whole(g.watch));
	assert_non_null(find("d1/last"));
}

static unsigned rnd(unsigned n)
{
	g.seed = g.seed * 1103515245u + 12345u;
	return (g.seed >> 16) % n;
}

static void name(char path[64])
{
	static const char *const dirs[] = { "d0", "d1", "d2/new", "d3", "new", "new/sub" };

	snprintf(path, 64, "ws/%s/%s%u", dirs[rnd(6)], rnd(2) ? "f" : "g", rnd(6));
}

static void once(void)
{
	char a[64], b[64];

	name(a);
	name(b);
	switch (rnd(9)) {
	case 0:
	case 1:
		put(a, b);
		break;
	case 2:
		unlinkat(g.top, a, 0);
		break;
	case 3:
	case 4:
		renameat(g.top, a, g.top, b);
		break;
	case 5:
		mkdirat(g.top, rnd(2) ? "ws/new" : rnd(2) ? "ws/new/sub" : "ws/d2/new", 0755);
		break;
	case 6:
		if (fchmodat(g.top, a, 0600 | rnd(2) << 5, 0) < 0)
			assert_true(errno == ENOENT || errno == ENOTDIR);
		break;
	case 7:
		mkdirat(g.top, a, 0755);
		break;
	case 8:
		if (rnd(4) == 0)
			renameat(g.top, rnd(2) ? "ws/new" : "ws/d2", g.top, rnd(2) ? "ws/d2/new/x" : "ws/new/sub/x");
		else
			unlinkat(g.top, a, AT_REMOVEDIR);
		break;
	default:
		break;
	}
}

/* As deep as a path may be, with as many descriptors as bulkhead-review has: nothing is left out. */
static void a_deep_tree(void **state)
{
	struct rlimit as_it_is, as_in_the_program;
	char path[8 + 2 * CHANGES_DEPTH_MAX] = "ws/d0";

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &as_it_is), 0);
	as_in_the_program = as_it_is;
	as_in_the_program.rlim_cur = 1024;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &as_in_the_program), 0);
	size_t n = strlen(path);
	for (unsigned depth = 1; depth + 1 < CHANGES_DEPTH_MAX; depth++) {
		n += (size_t)snprintf(path + n, sizeof(path) - n, "/a");
		assert_int_equal(mkdirat(g.top, path, 0755), 0);
	}
	snprintf(path + n, sizeof(path) - n, "/f");
	put(path, "down here");
	g.chain = (live_release(&g.chain), live_scan(&g.ground, NULL));
	assert_false(g.ground.truncated);
	assert_non_null(find(path + 3));
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &as_it_is), 0);
	unlinkat(g.top, path, 0);
	for (; path[n - 1] == 'a'; n -= 2) {
		path[n] = '\0';
		assert_int_equal(unlinkat(g.top, path, AT_REMOVEDIR), 0);
	}
}

static void whatever_is_done(void **state)
{
	unsigned parts = 0, turns = 300;

	(void)state;
	const char *const seed = getenv("BULKHEAD_SEED");
	g.seed = seed ? (unsigned)strtoul(seed, NULL, 10) : 20261201;
	for (unsigned i = 0; i < turns; i++) {
		for (unsigned k = rnd(12); k > 0; k--)
			once();
		parts += look();
	}
	print_message("# %u of %u looks were at a part\n", parts, turns);
	assert_true(parts > turns / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_heard_of_is_looked_at, begin, end), cmocka_unit_test_setup_teardown(new_directories_are_heard_too, begin, end),
		cmocka_unit_test_setup_teardown(more_than_can_be_heard, begin, end), cmocka_unit_test_setup_teardown(a_deep_tree, begin, end),
		cmocka_unit_test_setup_teardown(whatever_is_done, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
