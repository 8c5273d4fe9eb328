/* SPDX-License-Identifier: Apache-2.0 */
/* Which call a child was killed for, from the end of its log: what a child that was taken over writes there says no more than a number and a name. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/jail/jail.h"
#include "core/supervisor/refused.h"

static char text[128];

static bool told(const char *log)
{
	char dir[] = "/tmp/bulkhead-refused-XXXXXX";

	assert_non_null(mkdtemp(dir));
	AUTO_FD d = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), f = openat(d, "x.log", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(d >= 0 && f >= 0);
	assert_int_equal(write(f, log, strlen(log)), (ssize_t)strlen(log));
	const bool r = refused_call(d, "x.log", text, sizeof(text));
	unlinkat(d, "x.log", 0);
	rmdir(dir);
	return r;
}

static void the_last_line_counts(void **unused)
{
	static char padded[10000];

	(void)unused;
	assert_true(told("some\nlines\n" JAIL_REFUSED "41 to vmm-vcpu\n"));
	assert_string_equal(text, "seccomp refused system call 'socket' (41) to vmm-vcpu");
	assert_true(told(JAIL_REFUSED "41 to net\nmore\n" JAIL_REFUSED "59 to term\n"));
	assert_string_equal(text, "seccomp refused system call 'execve' (59) to term");
	memset(padded, 'x', sizeof(padded) - 100);
	memcpy(padded + 9000, "\n" JAIL_REFUSED "101 to fs\n", sizeof("\n" JAIL_REFUSED "101 to fs\n"));
	assert_true(told(padded));
	assert_string_equal(text, "seccomp refused system call 'ptrace' (101) to fs");
}

static void nothing_else_of_it_is_believed(void **unused)
{
	char long_name[400] = JAIL_REFUSED "1 to ";

	(void)unused;
	assert_false(told(""));
	assert_false(told("a line\n"));
	assert_string_equal(text, "");
	assert_false(told(JAIL_REFUSED));
	assert_false(told(JAIL_REFUSED "-1 to x\n"));
	assert_false(told(JAIL_REFUSED "1234567 to x\n"));
	assert_false(told(JAIL_REFUSED "41 from x\n"));
	assert_true(told(JAIL_REFUSED "99999 to x\n"));
	assert_string_equal(text, "seccomp refused system call '?' (99999) to x");
	assert_true(told(JAIL_REFUSED "41 to \x1b[31mred\n"));
	assert_string_equal(text, "seccomp refused system call 'socket' (41) to ");
	memset(long_name + strlen(long_name), 'a', 300);
	assert_true(told(long_name));
	assert_int_equal(strlen(text), strlen("seccomp refused system call 'write' (1) to ") + 23);
	assert_false(refused_call(AT_FDCWD, "no-such-log", text, sizeof(text)));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(the_last_line_counts), cmocka_unit_test(nothing_else_of_it_is_believed) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
