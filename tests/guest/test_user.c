/* SPDX-License-Identifier: Apache-2.0 */
/* /etc/passwd and /etc/group as a person may have mangled them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "guest/user.h"

static const char passwd[] = "root:x:0:0:root:/root:/bin/bash\n"
			     "broken\n"
			     "short:x:7\n"
			     "\n"
			     "badid:x:12a:12:::\n"
			     "negative:x:-1:0:::/bin/sh\n"
			     "huge:x:4294967295:0:::/bin/sh\n"
			     "nohome:x:33:34:::\n"
			     "agent:x:1000:1001:Coding agent,,,:/home/agent:/bin/bash\n"
			     "agent:x:2000:2000:second:/tmp:/bin/sh\n"
			     "last:x:5:6:no newline:/l:/bin/false";

static void finds_by_name_and_number(void **state)
{
	struct user u;

	(void)state;
	assert_int_equal(user_parse_passwd(passwd, "agent", &u), 0);
	assert_int_equal(u.uid, 1000);
	assert_int_equal(u.gid, 1001);
	assert_string_equal(u.home, "/home/agent");
	assert_string_equal(u.shell, "/bin/bash");
	assert_int_equal(user_parse_passwd(passwd, "33", &u), 0);
	assert_string_equal(u.name, "nohome");
	assert_int_equal(user_parse_passwd(passwd, "last", &u), 0);
	assert_string_equal(u.shell, "/bin/false");
}

static void what_is_empty_gets_a_default(void **state)
{
	struct user u;

	(void)state;
	assert_int_equal(user_parse_passwd(passwd, "nohome", &u), 0);
	assert_string_equal(u.home, "/");
	assert_string_equal(u.shell, "/bin/sh");
}

static void broken_lines_are_no_users(void **state)
{
	static const char *const names[] = { "broken", "short", "badid", "negative", "huge", "", "x", "agen", "agent:x" };
	struct user u;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		assert_int_equal(user_parse_passwd(passwd, names[i], &u), -ENOENT);
	assert_int_equal(user_parse_passwd("", "root", &u), -ENOENT);
}

static void fields_that_are_too_long_are_skipped(void **state)
{
	char text[2000];
	struct user u;

	(void)state;
	memset(text, 'a', sizeof(text));
	snprintf(text + 1000, sizeof(text) - 1000, ":x:1:1:::/bin/sh\nnext:x:2:2::/h:/s\n");
	assert_int_equal(user_parse_passwd(text, "next", &u), 0);
	assert_int_equal(u.uid, 2);
	assert_int_equal(user_parse_passwd(text, "1", &u), -ENOENT);
}

static void groups_by_membership(void **state)
{
	struct user u;

	(void)state;
	assert_int_equal(user_parse_passwd(passwd, "agent", &u), 0);
	user_parse_group("root:x:0:\n"
			 "docker:x:102:someone,agent\n"
			 "almost:x:103:agents,xagent\n"
			 "sudo:x:27:agent\n"
			 "bad:x:zz:agent\n"
			 "cut:x\n"
			 "first:x:7:agent,other",
			 &u);
	assert_int_equal(u.ngroups, 3);
	assert_int_equal(u.groups[0], 102);
	assert_int_equal(u.groups[1], 27);
	assert_int_equal(u.groups[2], 7);
}

static void groups_are_bounded(void **state)
{
	char text[8192] = "";
	size_t n = 0;
	struct user u;

	(void)state;
	assert_int_equal(user_parse_passwd(passwd, "agent", &u), 0);
	for (int i = 0; i < 200; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "g%d:x:%d:agent\n", i, 100 + i);
	user_parse_group(text, &u);
	assert_int_equal(u.ngroups, USER_GROUPS_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_by_name_and_number),
		cmocka_unit_test(what_is_empty_gets_a_default),
		cmocka_unit_test(broken_lines_are_no_users),
		cmocka_unit_test(fields_that_are_too_long_are_skipped),
		cmocka_unit_test(groups_by_membership),
		cmocka_unit_test(groups_are_bounded),
	};

	return cmocka_run_group_tests_name("guest/user", tests, NULL, NULL);
}
