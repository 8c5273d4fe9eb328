/* SPDX-License-Identifier: Apache-2.0 */
/* What clients are told of a machine's counters: all of them by name for our own machine, null for QEMU's. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <jansson.h>

#include "core/supervisor/sandbox.h"

static json_int_t at(const json_t *o, const char *a, const char *b, const char *c)
{
	const json_t *v = json_object_get(o, a);

	for (size_t i = 0; i < 2; i++) {
		const char *key = i == 0 ? b : c;
		v = key ? json_object_get(v, key) : v;
	}
	assert_true(json_is_integer(v));
	return json_integer_value(v);
}

static void a_machine_of_our_own_tells_all(void **unused)
{
	static struct sandbox sb;
	struct vmm_stats *s = &sb.vmm_stats;

	(void)unused;
	sb.stats_at_ns = 1;
	s->detail = 1;
	s->exits[VMM_EXIT_MMIO] = 11;
	s->requests[VMM_DEVICE_CONSOLE] = 12;
	s->interrupts[VMM_DEVICE_BASE] = 13;
	s->disk_failed = 14;
	s->balloon_target = 15;
	s->given = 16;
	s->reported = 100;
	s->guest_available = 17;
	json_t *o = sandbox_stats_json(&sb), *m = json_object_get(o, "machine");
	assert_int_equal(at(m, "exits", "mmio", NULL), 11);
	assert_int_equal(at(m, "exits", "other", NULL), 0);
	assert_int_equal(at(m, "devices", "console", "requests"), 12);
	assert_int_equal(at(m, "devices", "base", "interrupts"), 13);
	assert_int_equal(at(m, "disk", "failed", NULL), 14);
	assert_int_equal(at(m, "memory", "target", NULL), 15);
	assert_int_equal(at(m, "memory", "given", NULL), 16);
	assert_int_equal(at(m, "memory", "guest_available", NULL), 17);
	assert_int_equal(at(o, "given_back", NULL, NULL), 116);
	json_decref(o);
	s->detail = 0;
	o = sandbox_stats_json(&sb);
	assert_true(json_is_null(json_object_get(o, "machine")) && json_is_string(json_object_get(o, "at")));
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(a_machine_of_our_own_tells_all) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
