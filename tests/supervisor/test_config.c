/* SPDX-License-Identifier: Apache-2.0 */
/* config.yaml's errors with line and column; the limits' sentences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "core/base/confkeys.h"
#include "core/base/str.h"
#include "core/supervisor/config.h"
#include "core/supervisor/limits.h"

#define GIB (UINT64_C(1) << 30)

static int parse(struct config *c, const char *text, struct err *e)
{
	*e = ERR_INIT;
	return config_parse(c, text, strlen(text), e);
}

static void values(void **unused)
{
	struct config c, d;
	struct err e;

	(void)unused;
	config_defaults(&d);
	assert_int_equal(parse(&c, "", &e), 0);
	assert_memory_equal(&c, &d, sizeof(c));
	assert_int_equal(parse(&c, "# nothing\n", &e), 0);
	assert_memory_equal(&c, &d, sizeof(c));
	assert_int_equal(parse(&c, "memory: 512M\ncpus: 4\nscrollback: 0\nrecord_cap: 0\ntheme: nord\nkeys: {a: b}\n", &e), 0);
	assert_int_equal(c.memory, 512u << 20);
	assert_int_equal(c.cpus, 4);
	assert_int_equal(c.scrollback, 0);
	assert_int_equal(c.record_cap, 0);
	assert_int_equal(c.disk, d.disk);
}

/* Every key is known to both readers of the file; one that is misspelt is told, and what else stands there is used. */
static void a_key_that_is_none(void **unused)
{
	static const char *const keys[] = { "scrollback", "record_cap", "cpus", "memory", "disk", "max_sandboxes", "max_running", "max_memory", "hugepages",
		"disk_reserve", "stop_ms", "boot_ms", "ask_ms", "dns", "ca_file", "theme", "prefix", "keys", "ascii", "notify", "mouse", "clipboard" };
	struct config c;
	struct err e;

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		assert_int_equal(confkey_check(keys[i], NULL), 0);
	assert_int_equal(parse(&c, "cpus: 4\nmax_runing: 5\nmemroy: 1G\n", &e), 1);
	assert_string_equal(e.msg, "line 2, column 1: there is no key 'max_runing'; did you mean 'max_running'?");
	assert_int_equal(c.cpus, 4);
	assert_int_equal(parse(&c, "memroy: 1G\ncpus: 0\n", &e), -EINVAL);
	assert_non_null(strstr(e.msg, "'cpus' must be"));
	assert_int_equal(parse(&c, "? \"x\\e[2J\"\n: 1\n", &e), 1);
	assert_string_equal(e.msg, "line 1, column 3: there is no key 'x^[[2J' (bulkhead(5) lists them)");
}

static void errors_name_their_place(void **unused)
{
	static const struct {
		const char *text, *part;
	} bad[] = {
		{ "cpus: 0\n", "line 1, column 7: 'cpus' must be between 1 and 16, not '0'" },
		{ "cpus: 2\nmemory: lots\n", "line 2, column 9: 'memory' must be between 256M" },
		{ "cpus: [1]\n", "line 1, column 7" },
		{ "- cpus\n", "line 1, column 1" },
		{ "cpus: 2\n  memory: 1G\n", "line 2" },
		{ "\tcpus: 2\n", "line 1" },
		{ "cpus: 2\n? [a]\n: b\n", "line 2, column 3: a key must be one word" },
		{ "cpus: \xff\n", "line" },
		{ "scrollback: 10000000\n", "'scrollback'" },
		{ "memory: 1G\nmemory: -1\n", "line 2, column 9" },
	};
	struct config c, d;
	struct err e;

	(void)unused;
	config_defaults(&d);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(parse(&c, bad[i].text, &e), -EINVAL);
		if (!strstr(e.msg, bad[i].part))
			fail_msg("'%s' is not in '%s'", bad[i].part, e.msg);
		/* Refused as a whole. */
		assert_memory_equal(&c, &d, sizeof(c));
	}
}

static void damage_never_crashes(void **unused)
{
	char text[] = "memory: 512M\ncpus: 4\n# a comment\nscrollback: 100\nkeys: {a: [b, c]}\n";
	struct config c;

	(void)unused;
	for (size_t i = 0; i < sizeof(text) - 1; i++)
		for (unsigned v = 0; v < 256; v += 5) {
			char was = text[i];
			text[i] = (char)v;
			config_parse(&c, text, sizeof(text) - 1, NULL);
			assert_in_range(c.cpus, 1, 16);
			text[i] = was;
		}
	for (size_t n = 0; n < sizeof(text) - 1; n++)
		config_parse(&c, text, n, NULL);
}

static const struct host_facts host = { .cpus = 2, .memory_total = 16 * GIB, .memory_available = 12 * GIB };

static void refused(int r, const struct err *e, const char *part)
{
	assert_int_equal(r, -EDQUOT);
	if (!strstr(e->msg, part))
		fail_msg("'%s' is not in '%s'", part, e->msg);
}

static void limits_of_creation(void **unused)
{
	struct host_facts h = host;
	struct config c;
	struct err e = ERR_INIT;

	(void)unused;
	config_defaults(&c);
	assert_int_equal(limits_create(&c, &h, 16, 16 * GIB, GIB, &e), 0);
	refused(limits_create(&c, &h, 17, GIB, GIB, &e), &e, "1 to 16 CPUs, not 17");
	refused(limits_create(&c, &h, 0, GIB, GIB, &e), &e, "CPUs");
	refused(limits_create(&c, &h, 1, 16 * GIB + 1, GIB, &e), &e, "more than this machine has (16G)");
	refused(limits_create(&c, &h, 1, UINT64_MAX, GIB, &e), &e, "more than this machine has");
	refused(limits_create(&c, &h, 1, 1, GIB, &e), &e, "256M");
	refused(limits_create(&c, &h, 1, GIB, GIB - 1, &e), &e, "too small");
	refused(limits_create(&c, &h, 1, GIB, UINT64_MAX, &e), &e, "too large");
	h.sandboxes = (uint32_t)c.max_sandboxes;
	refused(limits_create(&c, &h, 1, GIB, GIB, &e), &e, "max_sandboxes");
}

static void limits_of_starting(void **unused)
{
	struct host_facts h = host;
	struct config c;
	struct err e = ERR_INIT;

	(void)unused;
	config_defaults(&c);
	assert_int_equal(limits_start(&c, &h, 12 * GIB, &e), 0);
	refused(limits_start(&c, &h, 12 * GIB + 1, &e), &e, "available now");
	h.memory_promised = 14 * GIB;
	refused(limits_start(&c, &h, GIB, &e), &e, "promised 14G");
	h.memory_promised = UINT64_MAX;
	refused(limits_start(&c, &h, GIB, &e), &e, "promised");
	h.memory_promised = 0;
	c.max_memory = 2 * GIB;
	assert_int_equal(limits_start(&c, &h, 2 * GIB, &e), 0);
	refused(limits_start(&c, &h, 3 * GIB, &e), &e, "max_memory");
	h.running = (uint32_t)c.max_running;
	refused(limits_start(&c, &h, GIB, &e), &e, "max_running");
}

static void this_host(void **unused)
{
	struct host_facts h = { 0 };

	(void)unused;
	limits_host(&h);
	assert_true(h.cpus >= 1);
	assert_true(h.memory_total > 64u << 20);
	assert_true(h.memory_available <= h.memory_total);
	assert_int_equal(h.sandboxes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values),	       cmocka_unit_test(a_key_that_is_none), cmocka_unit_test(errors_name_their_place), cmocka_unit_test(damage_never_crashes),
		cmocka_unit_test(limits_of_creation),  cmocka_unit_test(limits_of_starting),	  cmocka_unit_test(this_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
