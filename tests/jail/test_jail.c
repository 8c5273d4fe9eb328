/* SPDX-License-Identifier: Apache-2.0 */
/* The jail, from inside: what a sealed process may still do, and that the rest kills it or is refused. Each case is a child process. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/jail/jail.h"

static const struct jail_rule test_rules[] = { JAIL_ALLOW(getppid, "the test's own call") };
static const struct jail_profile test_profile = { .name = "test", .rules = test_rules, .nrules = ARRAY_SIZE(test_rules) };

/* Runs fn after all three stages in a child; returns waitpid's status. */
static int sealed(int (*fn)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct jail j;
		struct err e;
		const struct jail_early early = { .max_fds = 256 };

		if (jail_early(&j, &early, &e) < 0 || jail_fs(&j, -1, &e) < 0 || jail_seal(&j, &test_profile, &e) < 0) {
			fprintf(stderr, "%s\n", e.msg);
			_exit(99);
		}
		_exit(fn());
	}
	waitpid(pid, &status, 0);
	return status;
}

static int by_size(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static int do_allowed(void)
{
	static int many[4096];
	char *p = malloc(1 << 20);
	int fds[2];

	for (int i = 0; i < (int)ARRAY_SIZE(many); i++)
		many[i] = i * 7919 % 4096;
	qsort(many, ARRAY_SIZE(many), sizeof(many[0]), by_size); /* what libc does for it in silence */
	if (many[0] != 0 || many[4095] != 4095)
		return 5;

	if (!p || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 || write(fds[0], "x", 1) != 1)
		return 1;
	free(p);
	return getppid() > 0 ? 0 : 2;
}

static int do_open(void) { return open("/etc/passwd", O_RDONLY) < 0 ? 3 : 4; }
static int do_socket(void) { return socket(AF_INET, SOCK_STREAM, 0) < 0 ? 3 : 4; }
static int do_fork(void) { return fork() < 0 ? 3 : 4; }
static int do_exec(void)
{
	char *const argv[] = { (char *)"true", NULL };

	execve("/bin/true", argv, argv + 1);
	return 3;
}
static int do_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? 3 : 4;
}
static int do_inet_pair(void)
{
	int fds[2];

	return socketpair(AF_INET, SOCK_STREAM, 0, fds) < 0 ? 3 : 4;
}
static int do_kill(void) { return kill(1, 0) < 0 ? 3 : 4; }
static int do_own(void) { return fcntl(0, F_SETOWN, 1) < 0 ? 3 : 4; }

static void what_a_sealed_process_needs_works(void **state)
{
	int status = sealed(do_allowed);

	(void)state;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void everything_else_kills_it(void **state)
{
	static int (*const forbidden[])(void) = { do_open, do_socket, do_fork, do_exec, do_code, do_inet_pair, do_kill, do_own };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++) {
		int status = sealed(forbidden[i]);

		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
			fail_msg("forbidden call %zu: status %#x, not killed by SIGSYS", i, (unsigned)status);
	}
}

static int child(int (*fn)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(fn());
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int closes_what_is_not_kept(void)
{
	struct jail j;
	struct err e;
	int a = dup(0), b = dup(0), c = fcntl(0, F_DUPFD, 40);
	const int keep[] = { c, a };
	const struct jail_early o = { .keep = keep, .nkeep = 2, .max_fds = 64 };

	if (jail_early(&j, &o, &e) < 0)
		return 1;
	if (fcntl(a, F_GETFD) < 0 || fcntl(c, F_GETFD) < 0)
		return 2;
	if (fcntl(b, F_GETFD) >= 0)
		return 3;
	return strstr(j.text, "no_new_privs") ? 0 : 4;
}

static int has_no_network_or_says_so(void)
{
	struct jail j;
	struct err e;
	const struct jail_early o = { .max_fds = 64 };
	FILE *f;
	char line[256];
	int interfaces = 0;

	f = fopen("/proc/thread-self/net/dev", "r");
	if (!f || jail_early(&j, &(struct jail_early){ .keep = (int[]){ fileno(f) }, .nkeep = 1, .max_fds = o.max_fds }, &e) < 0)
		return 1;
	fclose(f);
	/* Only the namespaces are looked at here: with Landlock the file could not be opened again. */
	if (jail_fs(&j, -1, &e) < 0)
		return 2;
	if (strstr(j.text, "-namespaces"))
		return 0;
	f = fopen("/proc/thread-self/net/dev", "r");
	if (!f)
		return strstr(j.text, "-landlock") ? 3 : 0;
	while (fgets(line, sizeof(line), f))
		interfaces += strchr(line, ':') && !strstr(line, "lo:");
	return interfaces == 0 ? 0 : 4;
}

static int refuses_an_empty_profile(void)
{
	struct jail j = { .text = "" };
	struct err e;
	const struct jail_profile empty = { .name = "empty" };

	return jail_seal(&j, &empty, &e) < 0 && strstr(e.msg, "empty") ? 0 : 1;
}

/* Nothing of the host's tree has a name any more; what was open stays open. */
static int has_an_empty_root_or_says_so(void)
{
	struct jail j;
	struct err e;
	const struct jail_early early = { .max_fds = 256 };
	struct stat st;
	AUTO_FD passwd = -1;
	char byte;

	if (jail_early(&j, &early, &e) < 0 || (passwd = open("/etc/passwd", O_RDONLY | O_CLOEXEC)) < 0 || jail_fs(&j, -1, &e) < 0)
		return 1;
	if (strstr(j.text, "-namespaces") || strstr(j.text, "-root("))
		return 0; /* told */
	if (!strstr(j.text, " root"))
		return 2;
	if (stat("/etc", &st) == 0 || errno != ENOENT || stat("/proc/self", &st) == 0 || stat("../..", &st) < 0 || !S_ISDIR(st.st_mode))
		return 3;
	return read(passwd, &byte, 1) == 1 ? 0 : 4;
}

static int the_same_as_nobody(void)
{
	return getuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0) ? 9 : has_an_empty_root_or_says_so();
}

static void stages_do_what_they_say(void **state)
{
	(void)state;
	assert_int_equal(child(closes_what_is_not_kept), 0);
	assert_int_equal(child(has_no_network_or_says_so), 0);
	assert_int_equal(child(refuses_an_empty_profile), 0);
	assert_int_equal(child(has_an_empty_root_or_says_so), 0);
	assert_int_equal(child(the_same_as_nobody), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_sealed_process_needs_works),
		cmocka_unit_test(everything_else_kills_it),
		cmocka_unit_test(stages_do_what_they_say),
	};

	return cmocka_run_group_tests_name("jail", tests, NULL, NULL);
}
