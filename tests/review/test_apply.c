/* SPDX-License-Identifier: Apache-2.0 */
/* Changes to the person's files: what is done, what is refused, what the host's own hand in between does, and the way back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/review/undo.h"
#include "tests/review/ground.h"

static const struct look nothing = { .kind = LOOK_NONE };
static struct ground g;
static struct apply_told told;

static int setup(void **state)
{
	(void)state;
	ground_make(&g);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	ground_remove(&g);
	return 0;
}

static enum apply_result link_to(const char *path, const char *text, bool anywhere)
{
	const struct apply_change c = { .path = path, .to = LOOK_LINK, .text = text, .content = -1, .anywhere = anywhere };

	return ground_apply(&g, &c, &told);
}

static enum apply_result make_gone(const char *path, const struct look *expect)
{
	const struct apply_change c = { .path = path, .to = LOOK_NONE, .content = -1, .expect = expect };

	return ground_apply(&g, &c, &told);
}

static void files(void **state)
{
	struct look was;

	(void)state;
	assert_int_equal(ground_write(&g, "a/b/new", "hello\n", 06755, &nothing, &told), APPLY_DONE);
	assert_true(ground_has(&g, "a/b/new", "hello\n", 0755)); /* setuid and setgid never come along */
	assert_int_equal(ground_write(&g, "a/b/new", "hello\n", 0755, &nothing, &told), APPLY_SAME);
	ground_look(&g, "a/b/new", &was);
	assert_int_equal(ground_write(&g, "a/b/new", "changed\n", 0644, &was, &told), APPLY_DONE);
	assert_true(ground_has(&g, "a/b/new", "changed\n", 0644));
	/* The host wrote since. */
	assert_int_equal(ground_write(&g, "a/b/new", "again\n", 0644, &was, &told), APPLY_CONFLICT);
	assert_true(ground_has(&g, "a/b/new", "changed\n", 0644));
	assert_int_equal(ground_write(&g, "a/b/new", "mine\n", 0644, &nothing, &told), APPLY_CONFLICT);
	assert_int_equal(make_gone("a/b/new", &was), APPLY_CONFLICT);
	ground_look(&g, "a/b/new", &was);
	const struct apply_change mode = { .path = "a/b/new", .to = LOOK_FILE, .mode = 0755, .content = -1, .expect = &was };
	assert_int_equal(ground_apply(&g, &mode, &told), APPLY_DONE);
	assert_true(ground_has(&g, "a/b/new", "changed\n", 0755));
	assert_int_equal(make_gone("a/b/new", &was), APPLY_DONE);
	assert_true(ground_absent(&g, "a/b/new"));
	assert_int_equal(ground_write(&g, "a/b/new", "x\n", 0644, &was, &told), APPLY_CONFLICT); /* deleted meanwhile */
	assert_int_equal(ground_count(&g, "a/b"), 0);
}

static void kinds_change(void **state)
{
	char text[PATH_MAX];
	struct look was;

	(void)state;
	ground_put(&g, "f", "file\n", 0644);
	assert_int_equal(link_to("f", "elsewhere", false), APPLY_DONE);
	assert_int_equal(place_link_text(g.rw, "f", text), 0);
	assert_string_equal(text, "elsewhere");
	const struct apply_change dir = { .path = "f", .to = LOOK_DIR, .mode = 0755, .content = -1 };
	assert_int_equal(ground_apply(&g, &dir, &told), APPLY_DONE);
	ground_put(&g, "f/inside", "x", 0644);
	/* Not while something lies in it. */
	assert_int_equal(ground_write(&g, "f", "file again\n", 0644, NULL, &told), APPLY_CONFLICT);
	assert_true(ground_has(&g, "f/inside", "x", 0));
	assert_int_equal(make_gone("f", NULL), APPLY_CONFLICT);
	ground_look(&g, "f/inside", &was);
	assert_int_equal(make_gone("f/inside", &was), APPLY_DONE);
	assert_int_equal(ground_write(&g, "f", "file again\n", 0644, NULL, &told), APPLY_DONE);
	assert_true(ground_has(&g, "f", "file again\n", 0644));
	assert_int_equal(ground_count(&g, "."), 1);
}

static void refused(void **state)
{
	static const char *const names[] = { "", "/etc/x", "../x", "a/../x", "a//x", "a/", "./x", ".git", ".git/hooks/post-checkout", "sub/.GIT/config" };
	char longest[300];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(ground_write(&g, names[i], "x", 0644, NULL, &told), APPLY_REFUSED);
	memset(longest, 'n', sizeof(longest));
	longest[256] = '\0';
	assert_int_equal(ground_write(&g, longest, "x", 0644, NULL, &told), APPLY_REFUSED);
	longest[255] = '\0';
	assert_int_equal(ground_write(&g, longest, "x", 0644, NULL, &told), APPLY_DONE);
	assert_true(ground_has(&g, longest, "x", 0644));
	assert_int_equal(ground_write(&g, "\xff\xfe\n\033[31m", "odd", 0644, NULL, &told), APPLY_DONE);
	assert_int_equal(link_to("l", "/etc/passwd", false), APPLY_REFUSED);
	assert_int_equal(link_to("d/l", "../../x", false), APPLY_REFUSED);
	assert_int_equal(link_to("d/l", "../x/../../y", false), APPLY_REFUSED);
	/* What is a name by its letters may be another link: each of the two stays, together they do not. */
	assert_int_equal(link_to("here", ".", false), APPLY_DONE);
	assert_int_equal(link_to("out", "here/../outside/secret", false), APPLY_REFUSED);
	assert_int_equal(link_to("d/out", "./x/..", false), APPLY_REFUSED);
	assert_int_equal(link_to("d/e/up", ".././/../x", false), APPLY_DONE);
	assert_int_equal(link_to("d/e/upper", "../../../x", false), APPLY_REFUSED);
	assert_int_equal(link_to("d/l", "../x/./y", false), APPLY_DONE);
	assert_int_equal(link_to("l", "/etc/passwd", true), APPLY_DONE);
	/* A FIFO of the host's is not replaced, nor opened. */
	assert_int_equal(mkfifoat(g.rw, "pipe", 0644), 0);
	assert_int_equal(ground_write(&g, "pipe", "x", 0644, NULL, &told), APPLY_REFUSED);
	for (unsigned to = LOOK_OTHER; to < LOOK_KINDS + 2; to++) {
		const struct apply_change c = { .path = "dev", .to = (uint8_t)to, .content = -1 };

		assert_int_equal(ground_apply(&g, &c, &told), APPLY_REFUSED);
	}
}

/* Whatever of the way is swapped for a link: nothing outside is read or written. */
static void links_on_the_way(void **state)
{
	struct look was;

	(void)state;
	assert_int_equal(mkdirat(g.rw, "real", 0755), 0);
	assert_int_equal(mkdirat(g.rw, "../outside", 0755), 0);
	ground_put(&g, "../outside/f", "outside\n", 0644);
	ground_put(&g, "real/f", "inside\n", 0644);
	ground_look(&g, "real/f", &was);
	assert_int_equal(renameat(g.rw, "real", g.rw, "moved"), 0);
	assert_int_equal(symlinkat("../outside", g.rw, "real"), 0);
	assert_int_equal(ground_write(&g, "real/f", "new\n", 0644, &was, &told), APPLY_CONFLICT);
	assert_int_equal(ground_write(&g, "real/g", "new\n", 0644, NULL, &told), APPLY_CONFLICT);
	assert_int_equal(make_gone("real/f", NULL), APPLY_CONFLICT);
	assert_true(ground_has(&g, "../outside/f", "outside\n", 0644));
	assert_int_equal(ground_count(&g, "../outside"), 1);
	/* The file itself. */
	assert_int_equal(unlinkat(g.rw, "real", 0), 0);
	ground_put(&g, "f", "inside\n", 0644);
	ground_look(&g, "f", &was);
	assert_int_equal(unlinkat(g.rw, "f", 0), 0);
	assert_int_equal(symlinkat("../outside/f", g.rw, "f"), 0);
	assert_int_equal(ground_write(&g, "f", "new\n", 0644, &was, &told), APPLY_CONFLICT);
	assert_int_equal(ground_write(&g, "f", "new\n", 0644, NULL, &told), APPLY_DONE); /* the link is replaced, not followed */
	assert_true(ground_has(&g, "../outside/f", "outside\n", 0644) && ground_has(&g, "f", "new\n", 0644));
	ground_put(&g, "plain", "", 0644);
	assert_int_equal(ground_write(&g, "plain/below", "x", 0644, NULL, &told), APPLY_CONFLICT);
}

static void dry(void **state)
{
	AUTO_FD fd = ground_content("x");
	const struct apply_change c = { .path = "a/b/c", .to = LOOK_FILE, .mode = 0644, .content = fd, .expect = &nothing };
	struct apply *a = ground_begin(&g, true);

	(void)state;
	assert_int_equal(apply_change(a, &c, &told), APPLY_DONE);
	assert_int_equal(apply_end(&a), 0);
	assert_int_equal(ground_count(&g, "."), 0);
	assert_int_equal(ground_count(&g, "../undo"), 0);
}

/* ---- undo ----------------------------------------------------------------------------------------------------------------------------------- */

static size_t told_conflicts, told_done;
static void each(void *arg, const char *path, enum apply_result r, const struct apply_told *t)
{
	(void)arg;
	(void)path;
	(void)t;
	told_conflicts += r == APPLY_CONFLICT;
	told_done += r == APPLY_DONE;
}

static int undo(uint32_t id, uint32_t *by)
{
	told_conflicts = told_done = 0;
	return undo_apply(g.root, g.store, "/ws", id, 2, each, NULL, by, NULL);
}

static void all_of_it(void)
{
	AUTO_FD one = ground_content("one, new\n");
	AUTO_FD two = ground_content("two\n");
	const struct apply_change c[] = {
		{ .path = "one", .to = LOOK_FILE, .mode = 0755, .content = one }, { .path = "d/e/two", .to = LOOK_FILE, .mode = 0644, .content = two },
		{ .path = "gone", .to = LOOK_NONE, .content = -1 }, { .path = "link", .to = LOOK_LINK, .text = "b", .content = -1 },
	};
	struct apply *a = ground_begin(&g, false);

	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		assert_int_equal(apply_change(a, &c[i], &told), APPLY_DONE);
	assert_int_not_equal(apply_end(&a), 0);
}

static void there_and_back(void **state)
{
	char text[PATH_MAX];
	struct undo_summary h[8];
	uint32_t by, again;

	(void)state;
	ground_put(&g, "one", "one, old\n", 0600);
	ground_put(&g, "gone", "was here\n", 0640);
	assert_int_equal(symlinkat("a", g.rw, "link"), 0);
	all_of_it();
	const uint32_t id = ground_newest(&g);
	assert_int_equal(undo(id, &by), 0);
	assert_int_equal(told_done, 6); /* the two directories too */
	assert_true(ground_has(&g, "one", "one, old\n", 0600) && ground_has(&g, "gone", "was here\n", 0640) && ground_absent(&g, "d"));
	assert_int_equal(place_link_text(g.rw, "link", text), 0);
	assert_string_equal(text, "a");
	assert_int_equal(undo(id, &by), -EALREADY);
	assert_int_equal(ground_newest(&g), 0);
	/* An undo is undone like anything. */
	assert_int_equal(undo_history(g.store, h, 8), 2);
	assert_int_equal(h[0].head.kind, RECORD_UNDO);
	assert_int_equal(h[1].undone_by, h[0].head.id);
	assert_int_equal(undo(h[0].head.id, &again), 0);
	assert_true(ground_has(&g, "one", "one, new\n", 0755) && ground_absent(&g, "gone") && ground_has(&g, "d/e/two", "two\n", 0644));
	assert_int_equal(ground_newest(&g), again);
	assert_int_equal(undo(777, &by), -ENOENT);
}

static void not_over_an_edit(void **state)
{
	uint32_t by;

	(void)state;
	ground_put(&g, "one", "one, old\n", 0600);
	ground_put(&g, "gone", "was here\n", 0640);
	all_of_it();
	ground_put(&g, "d/e/two", "edited\n", 0644);
	assert_int_equal(undo(ground_newest(&g), &by), -ESTALE);
	assert_int_equal(told_conflicts, 1);
	assert_int_equal(told_done, 0);
	assert_true(ground_has(&g, "one", "one, new\n", 0755) && ground_has(&g, "d/e/two", "edited\n", 0644) && ground_absent(&g, "gone"));
	/* Put right, it goes; a neighbour in a directory the apply made stays, with the directory. */
	ground_put(&g, "d/e/two", "two\n", 0644);
	ground_put(&g, "d/mine", "mine\n", 0644);
	assert_int_equal(undo(ground_newest(&g), &by), 0);
	assert_true(ground_has(&g, "d/mine", "mine\n", 0644) && ground_absent(&g, "d/e"));
}

static void bounded(void **state)
{
	struct undo_summary h[2 * RECORDS_KEPT];
	char text[32];

	(void)state;
	for (unsigned i = 0; i < RECORDS_KEPT + 10; i++) {
		snprintf(text, sizeof(text), "%u\n", i);
		assert_int_equal(ground_write(&g, "f", text, 0644, NULL, &told), APPLY_DONE);
	}
	assert_in_range(undo_history(g.store, h, ARRAY_SIZE(h)), RECORDS_KEPT, RECORDS_KEPT + 1);
	assert_int_equal(h[0].head.id, RECORDS_KEPT + 10);
}

/* ---- the host's own hand in between ------------------------------------------------------------------------------------------------------ */

static _Atomic bool stop;

static void put_at_once(const char *text)
{
	AUTO_FD fd = openat(g.rw, "mine.tmp", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd >= 0 && fd_write_full(fd, text, strlen(text)) == 0)
		(void)renameat(g.rw, "mine.tmp", g.rw, "f");
}

/* An editor that saves all the time: each of its saves has a number. */
static void *edit(void *arg)
{
	unsigned *last = arg;
	char text[32];

	while (!stop) {
		snprintf(text, sizeof(text), "edit %u\n", ++*last);
		put_at_once(text);
	}
	return NULL;
}

static void an_edit_is_never_lost(void **state)
{
	pthread_t t;
	unsigned last = 0, done = 0;
	struct look was;
	char text[32];

	(void)state;
	ground_put(&g, "f", "first\n", 0600);
	stop = false;
	assert_int_equal(pthread_create(&t, NULL, edit, &last), 0);
	for (int i = 0; i < 200; i++) {
		struct place p;

		assert_int_equal(place_open(g.root, "f", &p), 0);
		const int r = place_look(&p, &was, NULL);
		place_close(&p);
		if (r == 0)
			done += ground_write(&g, "f", "ours\n", 0600, &was, &told) == APPLY_DONE;
	}
	stop = true;
	pthread_join(t, NULL);
	/* Its last save stands, unless ours came after it, against it. */
	snprintf(text, sizeof(text), "edit %u\n", last);
	assert_true(ground_has(&g, "f", text, 0) || (done > 0 && ground_has(&g, "f", "ours\n", 0)));
	assert_int_equal(ground_count(&g, "."), 1);
}

/* ---- a host that says no ------------------------------------------------------------------------------------------------------------------- */

static void in_small_file_system(void (*fn)(void))
{
	char at[96];
	int status;
	const pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		snprintf(at, sizeof(at), "%s/ws", g.dir);
		if ((geteuid() != 0 && unshare(CLONE_NEWUSER) < 0) || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		    mount("none", at, "tmpfs", 0, "size=256k") < 0)
			_exit(77);
		g.root = open(at, O_PATH | O_DIRECTORY | O_CLOEXEC);
		g.rw = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

#define MUST(x) do { if (!(x)) { fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); _exit(1); } } while (0)

static void full(void)
{
	static char much[512 * 1024];
	AUTO_FD small = ground_content("fits\n");

	memset(much, 'x', sizeof(much) - 1);
	AUTO_FD large = ground_content(much);
	const struct apply_change c[] = { { .path = "a", .to = LOOK_FILE, .mode = 0644, .content = large },
					  { .path = "new", .to = LOOK_FILE, .mode = 0644, .content = large },
					  { .path = "b", .to = LOOK_FILE, .mode = 0644, .content = small } };
	struct apply *a = ground_begin(&g, false);

	ground_put(&g, "a", "old a\n", 0644);
	ground_put(&g, "b", "old b\n", 0644);
	MUST(apply_change(a, &c[0], &told) == APPLY_ERROR && strstr(told.why, "No space left"));
	MUST(apply_change(a, &c[1], &told) == APPLY_ERROR);
	MUST(apply_change(a, &c[2], &told) == APPLY_DONE);
	const uint32_t id = apply_end(&a);
	uint32_t by;
	MUST(ground_has(&g, "a", "old a\n", 0644) && ground_has(&g, "b", "fits\n", 0644) && ground_absent(&g, "new") && ground_count(&g, ".") == 2);
	MUST(id && undo(id, &by) == 0 && ground_has(&g, "b", "old b\n", 0644) && ground_has(&g, "a", "old a\n", 0644));
}

static void read_only(void)
{
	struct look was;

	ground_put(&g, "a", "old a\n", 0644);
	ground_look(&g, "a", &was);
	MUST(mount(NULL, "/proc/self/fd", NULL, 0, NULL) < 0);
	char at[96];
	snprintf(at, sizeof(at), "%s/ws", g.dir);
	close(g.root);
	close(g.rw);
	MUST(mount(NULL, at, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
	g.root = open(at, O_PATH | O_DIRECTORY | O_CLOEXEC);
	g.rw = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	MUST(ground_write(&g, "a", "new\n", 0644, &was, &told) == APPLY_ERROR && strstr(told.why, "Read-only"));
	MUST(ground_write(&g, "d/new", "new\n", 0644, NULL, &told) == APPLY_ERROR);
	MUST(make_gone("a", &was) == APPLY_ERROR);
	MUST(ground_has(&g, "a", "old a\n", 0644) && ground_count(&g, ".") == 1);
}

/* Another file system below the workspace is not entered. */
static void mounted_below(void)
{
	char at[96];

	MUST(mkdirat(g.rw, "m", 0755) == 0);
	snprintf(at, sizeof(at), "%s/ws/m", g.dir);
	MUST(mount("none", at, "tmpfs", 0, "size=64k") == 0);
	MUST(ground_write(&g, "m/f", "x", 0644, NULL, &told) == APPLY_REFUSED);
	MUST(make_gone("m", NULL) == APPLY_REFUSED);
	MUST(ground_count(&g, "m") == 0);
}

static void disk_full(void **state) { (void)state; in_small_file_system(full); }
static void disk_read_only(void **state) { (void)state; in_small_file_system(read_only); }
static void other_file_system(void **state) { (void)state; in_small_file_system(mounted_below); }

static void no_permission(void **state)
{
	const pid_t pid = fork();
	int status;

	(void)state;
	assert_true(pid >= 0);
	if (pid == 0) {
		ground_put(&g, "old", "old\n", 0644);
		MUST(mkdirat(g.rw, "d", 0755) == 0);
		ground_put(&g, "d/f", "old\n", 0644);
		if (geteuid() == 0) /* root asks nobody: be somebody */
			MUST(fchownat(g.store, ".", 65534, 65534, 0) == 0 && fchownat(g.rw, "d", 65534, 65534, 0) == 0 && fchownat(g.rw, "d/f", 65534, 65534, 0) == 0 &&
			     chmod(g.dir, 0755) == 0 && setgid(65534) == 0 && setuid(65534) == 0);
		MUST(fchmodat(g.rw, "d", 0555, 0) == 0);
		MUST(ground_write(&g, "d/f", "new\n", 0644, NULL, &told) == APPLY_ERROR && strstr(told.why, "Permission denied"));
		MUST(ground_write(&g, "d/n", "new\n", 0644, NULL, &told) == APPLY_ERROR);
		MUST(make_gone("d/f", NULL) == APPLY_ERROR);
		MUST(fchmodat(g.rw, "d", 0755, 0) == 0 && ground_has(&g, "d/f", "old\n", 0644) && ground_count(&g, "d") == 1);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void workspace_gone(void **state)
{
	const struct record_head h = { .workspace = "/ws" };
	struct err e = ERR_INIT;
	struct apply *a;
	char at[96];

	(void)state;
	snprintf(at, sizeof(at), "%s/ws", g.dir);
	assert_int_equal(rmdir(at), 0);
	assert_int_equal(apply_begin(&a, g.root, g.store, &h, false, &e), -ENOENT);
	assert_non_null(strstr(e.msg, "has been deleted"));
	assert_null(a);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(files), CASE(kinds_change), CASE(refused), CASE(links_on_the_way), CASE(dry), CASE(there_and_back), CASE(not_over_an_edit),
		CASE(bounded), CASE(an_edit_is_never_lost), CASE(disk_full), CASE(disk_read_only), CASE(other_file_system), CASE(no_permission),
		CASE(workspace_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
