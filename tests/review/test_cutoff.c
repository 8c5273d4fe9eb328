/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGKILL at every point of an apply: a child applies under ptrace and is killed at its k-th system call, for every k. What then stands under each
 * name is the old or the new, whole; after apply_recover() nothing of ours lies beside, and what is recorded as done can be undone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/review/undo.h"
#include "tests/review/ground.h"

#define POINTS_MAX 4000

static struct ground g;

static void prepare(void)
{
	ground_make(&g);
	ground_put(&g, "changed", "old\n", 0644);
	ground_put(&g, "gone", "was here\n", 0644);
	ground_put(&g, "mode", "mode\n", 0644);
	ground_put(&g, "turns", "a file\n", 0644);
}

static void apply_all(void)
{
	AUTO_FD new = ground_content("new contents\n");
	const struct apply_change c[] = {
		{ .path = "changed", .to = LOOK_FILE, .mode = 0644, .content = new }, { .path = "d/added", .to = LOOK_FILE, .mode = 0644, .content = new },
		{ .path = "gone", .to = LOOK_NONE, .content = -1 }, { .path = "mode", .to = LOOK_FILE, .mode = 0755, .content = -1 },
		{ .path = "turns", .to = LOOK_LINK, .text = "changed", .content = -1 },
	};
	struct apply *a = ground_begin(&g, false);
	struct apply_told told;

	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		if (apply_change(a, &c[i], &told) != APPLY_DONE)
			_exit(3);
	apply_end(&a);
}

/* True: it was killed at its k-th stop; false: it came to its end before. */
static bool killed_at(int k)
{
	int status;
	const pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		apply_all();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSTOPPED(status));
	for (int i = 0; i < k; i++) {
		assert_int_equal(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (WIFEXITED(status)) {
			assert_int_equal(WEXITSTATUS(status), 0);
			return false;
		}
		assert_true(WIFSTOPPED(status));
	}
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	return true;
}

static bool is_link(const char *path)
{
	char text[PATH_MAX];

	return place_link_text(g.rw, path, text) == 0 && strcmp(text, "changed") == 0;
}

static void old_or_new(int k, bool settled)
{
	const bool ok = (ground_has(&g, "changed", "old\n", 0644) || ground_has(&g, "changed", "new contents\n", 0644)) &&
			(ground_absent(&g, "gone") || ground_has(&g, "gone", "was here\n", 0644)) &&
			(ground_has(&g, "mode", "mode\n", 0644) || ground_has(&g, "mode", "mode\n", 0755)) &&
			(ground_has(&g, "turns", "a file\n", 0644) || is_link("turns")) &&
			(ground_absent(&g, "d/added") || ground_has(&g, "d/added", "new contents\n", 0644));
	size_t names = 3u + !ground_absent(&g, "gone") + !ground_absent(&g, "d");

	if (!ok)
		fail_msg("killed at %d: a file is neither the old nor the new", k);
	if (settled && (ground_count(&g, ".") != names || (!ground_absent(&g, "d") && ground_count(&g, "d") != !ground_absent(&g, "d/added"))))
		fail_msg("killed at %d: something of ours was left", k);
}

static void none(void *arg, const char *path, enum apply_result r, const struct apply_told *t)
{
	(void)arg;
	if (r > APPLY_SAME)
		fail_msg("'%s': %s", path, t->why);
}

static void everywhere(void **state)
{
	bool more = true;
	int k = 0;
	size_t undone = 0;

	(void)state;
	for (; more; k++) {
		uint32_t by;

		assert_in_range(k, 0, POINTS_MAX);
		prepare();
		more = killed_at(k);
		old_or_new(k, false);
		apply_recover(g.root, g.store, "/ws");
		old_or_new(k, true);
		const uint32_t id = ground_newest(&g);
		if (id) {
			struct err e = ERR_INIT;

			if (undo_apply(g.root, g.store, "/ws", id, 2, none, NULL, &by, &e) < 0)
				fail_msg("killed at %d: %s", k, e.msg);
			undone++;
		}
		/* All of it is as it was: nothing that was done went unrecorded. */
		if (!ground_has(&g, "changed", "old\n", 0644) || !ground_has(&g, "gone", "was here\n", 0644) || !ground_has(&g, "mode", "mode\n", 0644) ||
		    !ground_has(&g, "turns", "a file\n", 0644) || !ground_absent(&g, "d"))
			fail_msg("killed at %d: a change was not recorded", k);
		ground_remove(&g);
	}
	assert_in_range(k, 100, POINTS_MAX);
	assert_in_range(undone, 50, POINTS_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(everywhere) };

	log_to(open("/dev/null", O_WRONLY | O_CLOEXEC));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
