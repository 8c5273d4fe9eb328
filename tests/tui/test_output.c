/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The window of a command's output never waits for the command: one that takes no SIGTERM, one that ends after its output did, one with children.
 * The commands are this program itself, as in the dashboard.
 */
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "tests/tui/live.h"

/* What `bulkhead WORD` is here. */
static int command(const char *word)
{
	signal(SIGTERM, SIG_IGN);
	if (!strcmp(word, "events")) { /* never ends by itself, and neither does its child */
		const pid_t child = fork();

		if (child > 0) {
			printf("child %d\n", (int)child);
			fflush(stdout);
		}
		for (;;)
			pause();
	}
	if (!strcmp(word, "ls")) { /* its output ends before it does */
		printf("a\nb\n");
		fflush(stdout);
		close(1);
		close(2);
		for (;;)
			pause();
	}
	printf("one line\n");
	return 3;
}

static bool alive(int pid)
{
	return kill(pid, 0) == 0;
}

/* Turns of the loop until something holds. */
static void until(struct app *a, bool (*holds)(const struct app *), const char *what)
{
	const uint64_t end = clock_ms() + 20000;

	while (!holds(a)) {
		struct pollfd p = { a->output.fd, POLLIN, 0 };

		if (clock_ms() > end)
			fail_msg("%s does not come", what);
		poll(&p, 1, 10);
		if (p.revents && a->output.fd >= 0)
			output_read(a);
		output_reap(a);
	}
}

static bool said_a_line(const struct app *a) { return a->output.len && memchr(a->output.text, '\n', a->output.len); }
static bool said_all(const struct app *a) { return a->output.fd < 0; }
static bool is_over(const struct app *a) { return a->output.pid == 0; }

static bool none_left(const struct app *a)
{
	for (size_t i = 0; i < OUTPUT_ENDED_MAX; i++)
		if (a->output.ended[i])
			return false;
	return true;
}

/* A child of a child is reaped by whoever adopts it. */
static bool ended(int pid)
{
	char path[64], text[256];

	if (!alive(pid))
		return true;
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	FILE *f = fopen(path, "r");
	const bool zombie = !f || (fgets(text, sizeof(text), f) && strstr(text, ") Z "));
	if (f)
		fclose(f);
	return zombie;
}

static void leaving_does_not_wait(void **state)
{
	struct app *a = bare();
	const uint64_t limit = clock_ms() + 20000;

	(void)state;
	command_run(a, "events");
	until(a, said_a_line, "its child's pid");
	const int pid = a->output.pid, child = (int)strtol(a->output.text + strlen("child "), NULL, 10);
	assert_true(pid > 0 && alive(pid) && child > 0 && alive(child));
	const uint64_t before = clock_ms();
	press(a, "Esc");
	assert_true(clock_ms() - before < 1000);
	assert_int_equal(a->overlay, OV_NONE);
	until(a, none_left, "the end of the command");
	assert_false(alive(pid));
	while (!ended(child) && clock_ms() < limit)
		poll(NULL, 0, 5);
	assert_true(ended(child));
	done(a);
}

static void output_may_end_first(void **state)
{
	struct app *a = bare();

	(void)state;
	command_run(a, "ls");
	until(a, said_all, "the end of its output");
	const uint64_t before = clock_ms();
	output_reap(a);
	assert_true(clock_ms() - before < 1000);
	assert_true(a->output.pid > 0); /* it is still there, and said to be */
	assert_int_equal(a->overlay, OV_OUTPUT);
	const int pid = a->output.pid;
	app_release(a); /* as at quit */
	for (const uint64_t limit = clock_ms() + 20000; waitpid(pid, NULL, WNOHANG) == 0 && clock_ms() < limit;)
		poll(NULL, 0, 5);
	assert_false(alive(pid));
	free(a);
}

static void a_line_is_a_message(void **state)
{
	struct app *a = bare();

	(void)state;
	command_run(a, "version");
	until(a, is_over, "its end");
	assert_int_equal(a->overlay, OV_NONE);
	assert_string_equal(a->message, "version: one line (exit 3)");
	done(a);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(leaving_does_not_wait), cmocka_unit_test(output_may_end_first),
		cmocka_unit_test(a_line_is_a_message) };

	if (argc > 1)
		return command(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
