/* SPDX-License-Identifier: Apache-2.0 */
/* The lifecycle's edges as properties, not as a second copy of the table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <regex.h>
#include <string.h>

#include "core/base/str.h"
#include "core/kit/kit.h"
#include "core/proto/child.h"
#include "core/supervisor/state.h"

static void names_parse_back(void **unused)
{
	(void)unused;
	for (int s = 0; s < SB_NUM; s++)
		assert_int_equal(sandbox_state_parse(sandbox_state_name((enum sandbox_state)s)), s);
	assert_int_equal(sandbox_state_parse("Running"), -1);
	assert_int_equal(sandbox_state_parse(""), -1);
	assert_string_equal(sandbox_state_name((enum sandbox_state)99), "?");
}

static bool reach(unsigned from, unsigned to, unsigned *seen)
{
	if (from == to)
		return true;
	*seen |= 1u << from;
	for (unsigned s = 0; s < SB_NUM; s++)
		if (!(*seen & (1u << s)) && sandbox_edge_legal((enum sandbox_state)from, (enum sandbox_state)s) && reach(s, to, seen))
			return true;
	return false;
}

static void every_state_leads_to_running_and_to_stopped(void **unused)
{
	(void)unused;
	for (unsigned s = 0; s < SB_NUM; s++) {
		unsigned seen = 0;
		assert_true(reach(s, SB_RUNNING, &seen));
		seen = 0;
		assert_true(reach(s, SB_STOPPED, &seen));
	}
}

static void nothing_begins_twice(void **unused)
{
	(void)unused;
	for (unsigned s = 0; s < SB_NUM; s++) {
		assert_false(sandbox_edge_legal((enum sandbox_state)s, SB_NEW));
		assert_false(sandbox_edge_legal((enum sandbox_state)s, (enum sandbox_state)s));
		/* A machine starts from PREPARING or is adopted from NEW. */
		assert_int_equal(sandbox_edge_legal((enum sandbox_state)s, SB_STARTING), s == SB_PREPARING || s == SB_NEW);
		/* Only what started runs; what went down does not come back. */
		if (sandbox_edge_legal((enum sandbox_state)s, SB_RUNNING))
			assert_true(s == SB_STARTING || s == SB_PAUSED);
	}
	assert_false(sandbox_edge_legal(SB_STOPPING, SB_RESETTING));
	assert_false(sandbox_edge_legal(SB_FAILED, SB_STOPPED));
	assert_false(sandbox_edge_legal((enum sandbox_state)-1, SB_STOPPED));
	assert_false(sandbox_edge_legal(SB_STOPPED, SB_NUM));
}

static void every_machine_may_fail(void **unused)
{
	(void)unused;
	for (unsigned s = 0; s < SB_NUM; s++)
		if (sandbox_state_has_machine((enum sandbox_state)s))
			assert_true(sandbox_edge_legal((enum sandbox_state)s, SB_FAILED));
	assert_false(sandbox_state_has_machine(SB_STOPPED));
	assert_false(sandbox_state_has_machine(SB_FAILED));
}

static void kit_table(void **unused)
{
	(void)unused;
	assert_string_equal(kits[0].name, "shell");
	assert_ptr_equal(kit_find("shell"), &kits[0]);
	assert_null(kit_find("Shell"));
	assert_string_equal(kit_suggest("shel"), "shell");
	assert_null(kit_suggest("kubernetes"));
	for (size_t i = 0; i < kits_num; i++)
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(kits[i].name, kits[k].name);
}

/* A line on which the cursor stands still and which wants a person, and lines that do not. */
static void kits_know_a_question(void **unused)
{
	static const char *const asks[] = { "Proceed? [y/N]", "Proceed? [Y/n] ", "Do you want to continue [yes/no]: ", "Overwrite 'a b'? ", "really (y/n)?",
		"Are you sure you want to continue connecting (yes/no/[fingerprint])? ", "[sudo] password for agent: ", "Password:", "me@host's password: ",
		"Enter passphrase for key '/home/agent/.ssh/id': ", "Press any key to continue...", "Press Enter to continue", "Ok to proceed? (y) " };
	static const char *const works[] = { "", "agent@blue:~/src$ ", "agent@blue:~/src$ echo what? now", "# ", "> ", ">>> ", "Compiling x v1.0", "50% [=====>    ]",
		"is it? no", "https://example.org/?a=1", "password: hunter2 was wrong", "-- INSERT --", "[y/N] y" };

	(void)unused;
	for (size_t i = 0; i < kits_num; i++) {
		regex_t re;

		assert_true(strlen(kits[i].waits_pattern) < sizeof(((struct term_start *)0)->waits_pattern));
		assert_int_equal(regcomp(&re, kits[i].waits_pattern, REG_EXTENDED | REG_NOSUB), 0);
		for (size_t k = 0; k < ARRAY_SIZE(asks); k++)
			if (regexec(&re, asks[k], 0, NULL, 0))
				fail_msg("'%s' is no question to kit %s", asks[k], kits[i].name);
		for (size_t k = 0; k < ARRAY_SIZE(works); k++)
			if (!regexec(&re, works[k], 0, NULL, 0))
				fail_msg("'%s' is a question to kit %s", works[k], kits[i].name);
		regfree(&re);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_parse_back),	  cmocka_unit_test(every_state_leads_to_running_and_to_stopped),
		cmocka_unit_test(nothing_begins_twice),	  cmocka_unit_test(every_machine_may_fail),
		cmocka_unit_test(kit_table),
		cmocka_unit_test(kits_know_a_question),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
