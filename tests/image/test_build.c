/* SPDX-License-Identifier: Apache-2.0 */
/* Building: whole or nothing, one at a time, and what a build that was cut off leaves behind. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/str.h"
#include "tests/image/fixture.h"

#define DEADLINE_MS 20000

/* A FIFO of the place that recipes write to (`echo x >FIFO`): the test waits for its bytes, never for time. */
static int fifo(struct place *p, const char *name, char path[128])
{
	snprintf(path, 128, "%s/%s", p->dir, name);
	assert_int_equal(mkfifo(path, 0600), 0);
	const int fd = open(path, O_RDWR | O_CLOEXEC); /* both ways: neither end ever waits for another */
	assert_true(fd >= 0);
	return fd;
}

static void await_byte(int fd)
{
	struct pollfd pf = { .fd = fd, .events = POLLIN };
	char c;

	assert_int_equal(poll(&pf, 1, DEADLINE_MS), 1);
	assert_int_equal(read(fd, &c, 1), 1);
}

/* image_build() in a process of its own: exit status 0 built, 1 failed; 2 = built and had to wait. */
static pid_t build_elsewhere(struct place *p)
{
	const pid_t pid = fork();
	struct err e;

	assert_true(pid >= 0);
	if (pid == 0) {
		const int r = place_build(p, false, &e);
		_exit(r < 0 ? 1 : strstr(p->said, "waiting for another build") ? 2 : 0);
	}
	return pid;
}

static int status_of(pid_t pid)
{
	int status = 0;
	const uint64_t end = clock_ms() + DEADLINE_MS;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (clock_ms() > end) {
			kill(pid, SIGKILL);
			fail_msg("the build did not end");
		}
		poll(NULL, 0, 5);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void builds_once(void **state)
{
	struct place *p = *state;
	struct err e;
	char text[64];
	AUTO_FREE char *body = str_fmt("echo run >>'%s/runs'\n%s", p->dir, whole_image);
	AUTO_FREE char *runs = str_fmt("%s/runs", p->dir);

	place_recipe(p, body);
	assert_int_equal(place_build(p, false, &e), 0);
	assert_string_equal(p->said, "packing\n");
	assert_int_equal(place_build(p, false, &e), 0);
	assert_string_equal(p->said, "");
	get_file(runs, text, sizeof(text));
	assert_string_equal(text, "run\n");
	assert_int_equal(place_build(p, true, &e), 0);
	get_file(runs, text, sizeof(text));
	assert_string_equal(text, "run\nrun\n");
	assert_int_equal(place_images(p), 1);
	assert_int_equal(place_leftovers(p), 0);
}

static void repairs_what_is_damaged(void **state)
{
	struct place *p = *state;
	struct err e;
	char text[64];

	good_recipe(p);
	assert_int_equal(place_build(p, false, &e), 0);
	put_file(place_image(p, "base.img"), "something else entirely\n");
	assert_int_equal(place_build(p, false, &e), 0);
	assert_non_null(strstr(p->said, "base.img"));
	get_file(place_image(p, "base.img"), text, sizeof(text));
	assert_string_equal(text, BASE);
}

static void says_why_it_failed(void **state)
{
	struct place *p = *state;
	struct err e;

	place_recipe(p, "echo starting\necho 'E: noise' >&2\necho 'error: no network: \x1b[31mbad\x1b[0m' >&2\necho tail >&2\nexit 3\n");
	assert_int_equal(place_build(p, false, &e), -EIO);
	assert_string_equal(p->said, "starting\n");
	assert_non_null(strstr(e.msg, "cannot build the guest image: no network: "));
	assert_null(strchr(e.msg, '\x1b'));
	assert_int_equal(place_images(p), 0);
	assert_int_equal(place_leftovers(p), 0);

	place_recipe(p, "exit 1\n");
	assert_true(place_build(p, false, &e) < 0);
	assert_non_null(strstr(e.msg, "the recipe ended early"));
	place_recipe(p, "kill -9 $$\n");
	assert_true(place_build(p, false, &e) < 0);
	assert_int_equal(place_images(p), 0);
}

static void refuses_what_is_not_whole(void **state)
{
	struct place *p = *state;
	struct err e;
	static const char *const then[] = { "rm \"$1/base.img\"\n", "rm \"$1/manifest.json\"\n", "echo x >>\"$1/vmlinuz\"\n",
					    "mv \"$1/vmlinuz\" \"$1/k\"; ln -s k \"$1/vmlinuz\"\n", "echo '{' >\"$1/manifest.json\"\n",
					    ": >\"$1/modules.cpio\"\n" };

	for (size_t i = 0; i < ARRAY_SIZE(then); i++) {
		AUTO_FREE char *body = str_fmt("%s%s", whole_image, then[i]);

		place_recipe(p, body);
		assert_true(place_build(p, false, &e) < 0);
		assert_true(e.msg[0] != '\0');
		assert_int_equal(place_images(p), 0);
		assert_int_equal(place_leftovers(p), 0);
	}
}

static void a_failed_force_keeps_the_old(void **state)
{
	struct place *p = *state;
	struct err e;
	char text[64];
	AUTO_FREE char *body = str_fmt("[ ! -e '%s/broken' ] || exit 1\n%s", p->dir, whole_image);
	AUTO_FREE char *broken = str_fmt("%s/broken", p->dir);

	place_recipe(p, body);
	assert_int_equal(place_build(p, false, &e), 0);
	put_file(broken, "");
	assert_true(place_build(p, true, &e) < 0);
	get_file(place_image(p, "vmlinuz"), text, sizeof(text));
	assert_string_equal(text, KERNEL);
	assert_int_equal(place_build(p, false, &e), 0);
}

static void two_at_once_build_once(void **state)
{
	struct place *p = *state;
	struct err e;
	char started[128], go[128], waits[128], text[64];
	AUTO_FD w = fifo(p, "waits", waits);
	AUTO_FD s = fifo(p, "started", started);
	AUTO_FD g = fifo(p, "go", go);
	AUTO_FREE char *body = str_fmt("echo run >>'%s/runs'\nprintf x >'%s'\nhead -c 1 <'%s' >/dev/null\n%s", p->dir, started, go, whole_image);
	AUTO_FREE char *runs = str_fmt("%s/runs", p->dir);

	place_recipe(p, body);
	const pid_t first = build_elsewhere(p);
	await_byte(s);
	/* The first is inside its recipe now, so the second can only wait; it says so before. */
	p->tell = w;
	const pid_t second = build_elsewhere(p);
	await_byte(w);
	assert_int_equal(place_images(p), 0);
	assert_int_equal(write(g, "x", 1), 1);
	assert_int_equal(status_of(first), 0);
	assert_int_equal(status_of(second), 2);
	get_file(runs, text, sizeof(text));
	assert_string_equal(text, "run\n");
	p->tell = 0;
	assert_int_equal(place_build(p, false, &e), 0);
}

static void killed_leaves_nothing_whole(void **state)
{
	struct place *p = *state;
	struct err e;
	char started[128];
	AUTO_FD s = fifo(p, "started", started);
	AUTO_FREE char *body = str_fmt("%s[ -e '%s/second' ] || { printf x >'%s'; exec sleep 60; }\n", whole_image, p->dir, started);
	AUTO_FREE char *second = str_fmt("%s/second", p->dir);
	struct image im;

	place_recipe(p, body);
	const pid_t pid = build_elsewhere(p);
	await_byte(s);
	kill(pid, SIGKILL); /* all files are there and only the renaming is missing */
	assert_int_equal(status_of(pid), -1);
	assert_int_equal(place_images(p), 0);
	e = ERR_INIT;
	assert_int_equal(image_open(&im, &e), -ENOENT);
	put_file(second, "");
	assert_true(place_build(p, false, &e) == 0);
	assert_int_equal(place_images(p), 1);
	assert_int_equal(place_leftovers(p), 0);
}

static void waits_for_an_orphaned_recipe(void **state)
{
	struct place *p = *state;
	struct err e;
	char started[128], text[64];
	AUTO_FD s = fifo(p, "started", started);
	/* The first run outlives its program and is told so by SIGTERM: what it still does must be over when the second starts. */
	AUTO_FREE char *body = str_fmt("log='%s/log'\nif [ ! -e \"$log\" ]; then\n"
				       "trap 'sleep 0.3; echo ended >>\"$log\"; exit 1' TERM\necho first >>\"$log\"\nprintf x >'%s'\n"
				       "while :; do sleep 0.05; done\nfi\necho second >>\"$log\"\n%s",
				       p->dir, started, whole_image);
	AUTO_FREE char *log = str_fmt("%s/log", p->dir);

	place_recipe(p, body);
	const pid_t pid = build_elsewhere(p);
	await_byte(s);
	kill(pid, SIGKILL);
	assert_int_equal(status_of(pid), -1);
	assert_int_equal(place_build(p, false, &e), 0);
	get_file(log, text, sizeof(text));
	assert_string_equal(text, "first\nended\nsecond\n");
	assert_int_equal(place_leftovers(p), 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, place_setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(builds_once),           CASE(repairs_what_is_damaged), CASE(says_why_it_failed),
		CASE(refuses_what_is_not_whole), CASE(a_failed_force_keeps_the_old), CASE(two_at_once_build_once),
		CASE(killed_leaves_nothing_whole), CASE(waits_for_an_orphaned_recipe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
