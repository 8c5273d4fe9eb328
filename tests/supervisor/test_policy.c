/* SPDX-License-Identifier: Apache-2.0 */
/* Answers that are remembered: in which file, and that the same question is not asked again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>

#include "core/base/atomicfile.h"
#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "core/supervisor/lifelog.h"
#include "core/supervisor/policyfiles.h"
#include "core/supervisor/sandbox.h"
#include "core/supervisor/super.h"

static char dir[64], sandboxes[80];
static uv_loop_t loop;
static struct super su;
static struct sandbox *blue, *red;

static struct sandbox *make(const char *name)
{
	struct spec s;

	spec_init(&s);
	str_copy(s.name, sizeof(s.name), name);
	AUTO_FREE char *path = path_join(sandboxes, name);
	assert_int_equal(path_mkdirs(path, 0700, NULL), 0);
	return sandbox_create_take(&su, &s, -1);
}

static int setup(void **unused)
{
	struct err e = ERR_INIT;

	(void)unused;
	str_copy(dir, sizeof(dir), "/tmp/bulkhead-policy-XXXXXX");
	if (!mkdtemp(dir) || uv_loop_init(&loop))
		return -1;
	snprintf(sandboxes, sizeof(sandboxes), "%s/sandboxes", dir);
	setenv("XDG_CONFIG_HOME", dir, 1);
	setenv("BULKHEAD_DATADIR", SOURCEDIR, 1);
	setenv("BULKHEAD_ADMIN_POLICY_DIR", "/nonexistent", 1);
	su = (struct super){ .state = dir, .loop = &loop, .sb_dirfd = -1, .store = { .path = sandboxes, .dirfd = -1 } };
	if (lifelog_init(&su, &e) || policy_open(&su, &e))
		return -1;
	blue = make("blue");
	red = make("red");
	return blue && red ? 0 : -1;
}

static int teardown(void **unused)
{
	(void)unused;
	while (su.sandboxes)
		sandbox_destroy(su.sandboxes);
	policy_close(&su);
	uv_run(&loop, UV_RUN_DEFAULT);
	lifelog_release(&su);
	return uv_loop_close(&loop) || path_remove_tree(AT_FDCWD, dir, NULL) ? -1 : 0;
}

static void put(const char *path, const char *text)
{
	const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	policy_reread(&su);
}

static void contains(const char *path, const char *part)
{
	struct buf b;

	buf_init(&b, 1 << 20);
	assert_int_equal(atomicfile_read(AT_FDCWD, path, &b, NULL), 0);
	buf_u8(&b, 0);
	if (!strstr((const char *)buf_head(&b), part))
		fail_msg("%s does not hold '%s' but:\n%s", path, part, (const char *)buf_head(&b));
	buf_release(&b);
}

static uint8_t verdict(struct sandbox *sb, const struct net_facts *f)
{
	struct rules_verdict v;

	rules_decide(policy_rules(sb), f, &v);
	return v.verdict;
}

static struct net_facts facts(const char *name, uint16_t port)
{
	struct net_facts f = { .proto = NET_P_TLS, .port = port };

	str_copy(f.name, sizeof(f.name), name);
	return f;
}

static void for_one_sandbox_and_for_all(void **unused)
{
	const struct net_facts one = facts("one.test", 443), all = facts("all.test", 8443);
	struct err e = ERR_INIT;

	(void)unused;
	assert_int_equal(verdict(blue, &one), NET_ASKED);
	assert_int_equal(policy_remember(&su, blue, blue, &one, NET_ALLOW, &e), 0);
	assert_int_equal(verdict(blue, &one), NET_ALLOW);
	assert_int_equal(verdict(red, &one), NET_ASKED);
	AUTO_FREE char *own = str_fmt("%s/blue/policy.yaml", sandboxes), *global = str_fmt("%s/bulkhead/policy.yaml", dir);
	contains(own, "allow:\n  - \"one.test:443\"\n");
	assert_int_equal(policy_remember(&su, NULL, blue, &all, NET_DENY, &e), 0);
	assert_int_equal(verdict(blue, &all), NET_DENY);
	assert_int_equal(verdict(red, &all), NET_DENY);
	contains(global, "deny:\n  - \"all.test:8443\"\n");
	/* Twice is once. */
	assert_int_equal(policy_remember(&su, NULL, red, &all, NET_DENY, &e), 0);
}

/* The sandbox asks about just this: the global answer alone would be asked about for ever. */
static void an_answer_for_all_beats_the_rule_of_the_one_that_asked(void **unused)
{
	const struct net_facts f = facts("asked.test", 443);
	struct err e = ERR_INIT;

	(void)unused;
	AUTO_FREE char *own = str_fmt("%s/blue/policy.yaml", sandboxes);
	put(own, "ask: [\"asked.test:443\"]\n");
	assert_int_equal(policy_remember(&su, NULL, blue, &f, NET_ALLOW, &e), 0);
	assert_int_equal(verdict(blue, &f), NET_ALLOW);
	assert_int_equal(verdict(red, &f), NET_ALLOW);
	contains(own, "allow:\n  - \"asked.test:443\"\n");
}

static void a_file_that_is_broken_remembers_nothing(void **unused)
{
	const struct net_facts f = facts("late.test", 443);
	struct err e = ERR_INIT;

	(void)unused;
	AUTO_FREE char *own = str_fmt("%s/red/policy.yaml", sandboxes);
	put(own, "allow: [\n");
	assert_int_not_equal(policy_remember(&su, red, red, &f, NET_ALLOW, &e), 0);
	assert_non_null(strstr(e.msg, "red/policy.yaml:2:1"));
	contains(own, "allow: [\n");
	put(own, "");
	assert_int_equal(policy_remember(&su, red, red, &f, NET_ALLOW, &e), 0);
	assert_int_equal(verdict(red, &f), NET_ALLOW);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(for_one_sandbox_and_for_all, setup, teardown),
		cmocka_unit_test_setup_teardown(an_answer_for_all_beats_the_rule_of_the_one_that_asked, setup, teardown),
		cmocka_unit_test_setup_teardown(a_file_that_is_broken_remembers_nothing, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
