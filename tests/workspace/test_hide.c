/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns of hidden names, and the list that is used unless told otherwise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fd.h"
#include "core/workspace/hide.h"

static bool match(const struct hide *h, const char *path, bool above)
{
	char text[256];
	const char *comp[16];
	size_t n = 0;

	assert_true(strlen(path) < sizeof(text));
	memcpy(text, path, strlen(path) + 1);
	for (char *at = text; at; n++) {
		char *slash = strchr(at, '/');

		comp[n] = at;
		if (slash)
			*slash = '\0';
		at = slash ? slash + 1 : NULL;
	}
	return above ? hide_above(h, comp, n) : hide_match(h, comp, n);
}

static void names_and_paths(void **state)
{
	struct hide *h;

	(void)state;
	assert_int_equal(hide_create(&h, ".env*\n!.env.example\n\n# a comment\ndeploy/*/key\n/top\ndir/\n", NULL), 0);
	assert_int_equal(hide_count(h), 5);
	assert_true(hide_needs_path(h));
	assert_true(match(h, ".env", false) && match(h, "a/b/.env.local", false) && match(h, "dir", false) && match(h, "x/dir", false));
	assert_false(match(h, ".env.example", false) || match(h, "env", false) || match(h, "a/.envoy/../x", false));
	assert_true(match(h, "deploy/prod/key", false) && match(h, "top", false));
	assert_false(match(h, "deploy/key", false) || match(h, "x/deploy/prod/key", false) || match(h, "a/top", false) || match(h, "deploy/a/b/key", false));
	assert_true(match(h, ".ENV", false) && match(h, "a/.Env.Local", false) && match(h, "Deploy/PROD/kEY", false) && match(h, "DEPLOY", true));
	assert_false(match(h, ".Env.Example", false));
	/* A star is one component's. */
	assert_true(match(h, "deploy", true) && match(h, "deploy/prod", true));
	assert_false(match(h, "deploy/prod/key", true) || match(h, "other", true) || match(h, "x/deploy", true));
	hide_destroy(&h);
	assert_null(h);
}

static void what_is_no_pattern(void **state)
{
	static const char *const bad[] = { "!", "/", "a//b", "../x", "a/..", "./a", "a/./b" };
	char many[4 * HIDE_PATTERNS_MAX], longer[400];
	struct hide *h;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(hide_create(&h, bad[i], &e), -EINVAL);
		assert_null(h);
	}
	memset(longer, 'x', sizeof(longer));
	longer[HIDE_PATTERN_MAX + 1] = '\0';
	assert_int_equal(hide_create(&h, longer, &e), -EINVAL);
	many[0] = '\0';
	for (size_t i = 0; i <= HIDE_PATTERNS_MAX; i++)
		memcpy(many + 2 * i, "a\n", 3);
	assert_int_equal(hide_create(&h, many, &e), -EINVAL);
	assert_int_equal(hide_create(&h, "", &e), 0);
	assert_false(match(h, ".env", false) || hide_needs_path(h));
	hide_destroy(&h);
}

static void the_list_we_ship(void **state)
{
	static const char *const hidden[] = { ".env", "app/.env.production", "id_rsa", "certs/server.key", "a.pem", ".aws", "home/.ssh", "terraform.tfstate" };
	static const char *const shown[] = { ".env.example", ".env.sample", "environment", "id_rsa.pub", "keys.c", "monkey", "Makefile", ".git", ".npmrc", ".github" };
	struct err e = ERR_INIT;
	char text[8192];
	struct hide *h;

	(void)state;
	AUTO_FD fd = open(SOURCEDIR "/core/workspace/hidden", O_RDONLY);
	const ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	assert_true(n > 0);
	text[n] = '\0';
	assert_int_equal(hide_create(&h, text, &e), 0);
	assert_false(hide_needs_path(h)); /* names alone: the quick way */
	for (size_t i = 0; i < sizeof(hidden) / sizeof(*hidden); i++)
		assert_true(match(h, hidden[i], false));
	for (size_t i = 0; i < sizeof(shown) / sizeof(*shown); i++)
		assert_false(match(h, shown[i], false));
	hide_destroy(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_and_paths),
		cmocka_unit_test(what_is_no_pattern),
		cmocka_unit_test(the_list_we_ship),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
