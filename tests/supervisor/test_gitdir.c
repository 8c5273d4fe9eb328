/* SPDX-License-Identifier: Apache-2.0 */
/* What mode `clone` takes for a repository of the host's, and what it refuses. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "core/supervisor/gitdir.h"

static char top[64];

static int setup(void **state)
{
	(void)state;
	snprintf(top, sizeof(top), "/tmp/bh-gitdir.XXXXXX");
	return mkdtemp(top) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return path_remove_tree(AT_FDCWD, top, NULL);
}

static void put(const char *rel, const char *text)
{
	AUTO_FREE char *path = path_join(top, rel);
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void make_dir(const char *rel)
{
	AUTO_FREE char *path = path_join(top, rel);

	assert_int_equal(path_mkdirs(path, 0755, NULL), 0);
}

static void make_repository(const char *rel, const char *config)
{
	static const char *const parts[] = { "objects/info", "refs/heads" };
	AUTO_FREE char *head = path_join(rel, "HEAD"), *conf = path_join(rel, "config");

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		AUTO_FREE char *dir = path_join(rel, parts[i]);

		make_dir(dir);
	}
	put(head, "ref: refs/heads/main\n");
	put(conf, config);
}

static int opened(const char *rel, struct workspace *w, struct err *e)
{
	AUTO_FREE char *path = path_join(top, rel);
	AUTO_FD fd = -1;
	const int r = gitdir_open(path, w, &fd, e);

	assert_true((r == 0) == (fd >= 0));
	return r;
}

static void refused(const char *rel, const char *part)
{
	struct workspace w;
	struct err e = ERR_INIT;

	assert_true(opened(rel, &w, &e) < 0);
	if (!strstr(e.msg, part))
		fail_msg("'%s' is not in: %s", part, e.msg);
}

static void test_origin(void **state)
{
	static const struct { const char *url, *want; } cases[] = {
		{ "https://example.org/a.git", "https://example.org/a.git" },
		{ "https://me:token@example.org/a.git", "https://example.org/a.git" },
		{ "https://a@b:p@example.org/x@y.git", "https://example.org/x@y.git" },
		{ "HTTPS://token@example.org/a", "HTTPS://example.org/a" },
		{ "https://example.org/a.git?token=x", "" },
		{ "ssh://git@example.org:22/a.git", "ssh://git@example.org:22/a.git" },
		{ "ssh://git:pass@example.org/a.git", "" },
		{ "git@example.org:a/b.git", "git@example.org:a/b.git" },
		{ "/home/me/repo", "" },
		{ "../repo", "" },
		{ "./a:b", "" },
		{ "file:///home/me/repo", "" },
		{ "ext::sh -c id", "" },
		{ "ext::id", "" },
		{ "--upload-pack=id", "" },
		{ "host/a:b", "" },
		{ "\"https://example.org/a;b\"", "" },
		{ "\\\"quoted", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_FREE char *text = str_fmt("[core]\n\tbare = false\n[remote \"other\"]\n\turl = https://no.example\n[remote \"origin\"]\n\turl = %s\n", cases[i].url);
		struct git_facts f;

		git_facts_parse(text, strlen(text), &f);
		assert_string_equal(f.origin, cases[i].want);
	}
}

static void test_config(void **state)
{
	static const char text[] = "; comment\n[Extensions]\n\tobjectFormat = \"sha256\" ; why\n refstorage=reftable\n\tpartialclone = origin\n[remote \"origin\"";
	struct git_facts f;

	(void)state;
	for (size_t n = 0; n <= sizeof(text) - 1; n++)
		git_facts_parse(text, n, &f);
	assert_string_equal(f.format, "sha256");
	assert_string_equal(f.refs, "reftable");
	assert_true(f.partial);
	assert_string_equal(f.origin, "");
}

static void test_plain(void **state)
{
	struct workspace w = { .mode = WORKSPACE_CLONE };
	struct err e = ERR_INIT;

	(void)state;
	make_repository("plain/.git", "[remote \"origin\"]\nurl = https://example.org/a\n");
	assert_int_equal(opened("plain", &w, &e), 0);
	assert_string_equal(w.head, "");
	assert_string_equal(w.origin, "https://example.org/a");
}

static void test_refused(void **state)
{
	AUTO_FREE char *link = path_join(top, "link/.git");

	(void)state;
	make_dir("empty");
	refused("empty", "git init");
	refused("missing", "cannot open");
	make_repository("bare", "");
	refused("bare", "bare");
	make_dir("hollow/.git");
	refused("hollow", "no git repository");
	make_dir("link");
	assert_int_equal(symlink("../plain/.git", link), 0);
	refused("link", "symbolic link");
	make_repository("sha256/.git", "[extensions]\nobjectformat = sha256\n");
	refused("sha256", "sha256");
	make_repository("reftable/.git", "[extensions]\nrefStorage = reftable\n");
	refused("reftable", "reftable");
	make_repository("partial/.git", "[extensions]\npartialClone = origin\n");
	refused("partial", "partial");
	make_repository("shared/.git", "");
	put("shared/.git/objects/info/alternates", "/elsewhere\n");
	refused("shared", "alternates");
}

static void test_linked(void **state)
{
	struct workspace w = { .mode = WORKSPACE_CLONE };
	struct err e = ERR_INIT;
	AUTO_FREE char *to = NULL, *back = str_fmt("%s/wt/.git\n", top);

	(void)state;
	make_repository("main/.git", "");
	make_dir("main/.git/worktrees/wt");
	make_dir("wt");
	to = str_fmt("gitdir: %s/main/.git/worktrees/wt\n", top);
	put("wt/.git", to);
	put("main/.git/worktrees/wt/HEAD", "ref: refs/heads/wt\n");
	refused("wt", "submodule");
	put("main/.git/worktrees/wt/commondir", "../..\n");
	refused("wt", "does not name it");
	put("main/.git/worktrees/wt/gitdir", back);
	assert_int_equal(opened("wt", &w, &e), 0);
	assert_string_equal(w.head, "worktrees/wt");

	/* What an agent could write: a pointer to a repository that knows nothing of it. */
	make_dir("evil");
	put("evil/.git", to);
	refused("evil", "does not name it");
	put("evil/.git", "gitdir: ../main/.git\n");
	refused("evil", "submodule");
	put("evil/.git", "gitdir: /etc\n");
	refused("evil", "submodule");
	put("evil/.git", "something\n");
	refused("evil", "does not name it");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_origin), cmocka_unit_test(test_config),  cmocka_unit_test(test_plain),
		cmocka_unit_test(test_refused), cmocka_unit_test(test_linked),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
