/* SPDX-License-Identifier: Apache-2.0 */
/* What would execute on the host: patterns, and the list that is used. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/review/danger.h"

static void patterns(void **state)
{
	struct danger *d;

	(void)state;
	assert_int_equal(danger_create(&d, "# list\n[name]\nMakefile*\n\n[below]\nhooks/\na/b/\n[root]\n/top\n/one/two/\n[pair]\n.x/y.toml\n", NULL), 0);
	assert_int_equal(danger_count(d), 6);
	assert_string_equal(danger_mark(d, "Makefile.am"), "name");
	assert_string_equal(danger_mark(d, "deep/er/MAKEFILE"), "name");
	assert_null(danger_mark(d, "Makefile/inside"));
	assert_string_equal(danger_mark(d, "x/hooks/y/z"), "below");
	assert_null(danger_mark(d, "x/hooks"));
	assert_string_equal(danger_mark(d, "q/A/b/c"), "below");
	assert_null(danger_mark(d, "a/x/b/c"));
	assert_string_equal(danger_mark(d, "top"), "root");
	assert_null(danger_mark(d, "x/top"));
	assert_string_equal(danger_mark(d, "one/two/three"), "root");
	assert_null(danger_mark(d, "z/one/two/three"));
	assert_string_equal(danger_mark(d, "k/.x/y.toml"), "pair");
	assert_null(danger_mark(d, ".x/z/y.toml"));
	danger_destroy(&d);
	assert_null(d);
	assert_int_equal(danger_create(&d, "nothing above\n", NULL), -EINVAL);
	assert_int_equal(danger_create(&d, "[r]\na//b\n", NULL), -EINVAL);
	assert_int_equal(danger_create(&d, "[]\n", NULL), -EINVAL);
}

static void gits_own(void **state)
{
	(void)state;
	assert_true(danger_is_git(".git") && danger_is_git("a/.GIT/config") && danger_is_git(".git/hooks/x") && danger_is_git("a/b/.Git"));
	assert_false(danger_is_git(".gitignore") || danger_is_git("a.git/x") || danger_is_git("git/.gi/t") || danger_is_git("a/.githooks/x"));
}

/* What the issue names is marked; what people write all day is not. */
static void the_list(void **state)
{
	static const char *const marked[] = { ".git/hooks/pre-commit", "sub/.git/config", "x/.git", ".envrc", ".vscode/tasks.json", ".idea/workspace.xml",
					      ".claude/settings.json", ".cursor/rules", ".codex/config.toml", ".mcp.json", "AGENTS.md", ".github/workflows/ci.yml",
					      ".gitlab-ci.yml", "package.json", "web/package.json", "setup.py", "pyproject.toml", "Makefile", "src/Makefile.am",
					      "CMakeLists.txt", ".bashrc", ".husky/pre-commit", ".gitattributes", "a/conftest.py", "node_modules/x/index.js",
					      "docs/HEAD", ".hg/hgrc", ".jj/repo/config.toml", ".mocharc.cjs", "biome.json", ".swcrc", "metro.config.js", "tsup.config.ts",
					      "rspack.config.js", "vue.config.js", "craco.config.js", "gatsby-node.js", "wdio.conf.js", "manage.py", "docs/conf.py", "mkdocs.yml",
					      ".rspec", "Brewfile", "Dangerfile", "Guardfile", "conanfile.py", "xmake.lua", "premake5.lua", ".pylintrc", "mypy.ini", ".rubocop.yml",
					      ".luarc.json", "a/x.vcxproj", "App.xcodeproj/project.pbxproj", "buildSrc/src/main/kotlin/x.kt", ".envrc.local", ".trunk/trunk.yaml",
					      "angular.json", "bin/setup" };
	static const char *const plain[] = { "src/main.c", "README.md", "docs/x.md", "a/b/c.py", ".gitignore", "index.html", "image.png", "src/hook.c",
					     "Makefile.d/x", "github/workflows/x", "lib/git/config", "src/conf.py", "config", "headers/x.h", "bin/tool.c", "src/setup.c", "app.config" };
	char text[DANGER_TEXT_MAX];
	AUTO_FD fd = open(SOURCEDIR "/core/review/executes", O_RDONLY);
	struct danger *d;

	(void)state;
	assert_true(fd >= 0);
	const ssize_t n = read(fd, text, sizeof(text) - 1);
	assert_in_range(n, 1, (ssize_t)sizeof(text) - 2);
	text[n] = '\0';
	assert_int_equal(danger_create(&d, text, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(marked); i++)
		if (!danger_mark(d, marked[i]))
			fail_msg("'%s' is not marked", marked[i]);
	for (size_t i = 0; i < ARRAY_SIZE(plain); i++)
		if (danger_mark(d, plain[i]))
			fail_msg("'%s' is marked: %s", plain[i], danger_mark(d, plain[i]));
	danger_destroy(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(patterns), cmocka_unit_test(gits_own), cmocka_unit_test(the_list) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
