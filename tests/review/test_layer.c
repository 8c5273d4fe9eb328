/* SPDX-License-Identifier: Apache-2.0 */
/* From what a guest says lies in its upper layer to changes: every shape overlayfs gives it, and shapes it does not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/review/base.h"
#include "core/review/danger.h"
#include "core/review/items.h"
#include "core/workspace/hide.h"

static struct {
	char dir[64];
	int top, root, state;
	struct uppers uppers;
	struct ground ground;
	struct base *base;
	struct hide *hide;
	struct danger *danger;
} g;

static void on_drop(void *arg, struct upper *u)
{
	(void)arg;
	items_drop(u);
}

static void put_file(const char *path, const char *text)
{
	char full[256];

	snprintf(full, sizeof(full), "ws/%s", path);
	for (char *p = strchr(full + 3, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		mkdirat(g.top, full, 0755);
		*p = '/';
	}
	AUTO_FD fd = openat(g.top, full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(fd_write_full(fd, text, strlen(text)), 0);
}

static int begin(void **state)
{
	(void)state;
	snprintf(g.dir, sizeof(g.dir), "/tmp/bh-layer-XXXXXX");
	assert_non_null(mkdtemp(g.dir));
	g.top = open(g.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(g.top, "ws", 0755), 0);
	assert_int_equal(mkdirat(g.top, "state", 0700), 0);
	g.root = openat(g.top, "ws", O_PATH | O_DIRECTORY | O_CLOEXEC);
	g.state = openat(g.top, "state", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(uppers_init(&g.uppers, on_drop, NULL), 0);
	assert_int_equal(base_open(&g.base, g.state, g.root, 0, NULL), 0);
	assert_int_equal(hide_create(&g.hide, ".env*\n", NULL), 0);
	assert_int_equal(danger_create(&g.danger, "[a build file]\nMakefile\n", NULL), 0);
	g.ground = (struct ground){ .root = g.root, .uppers = &g.uppers, .base = g.base, .hide = g.hide, .danger = g.danger, .most = 1000 };
	put_file("file", "text\n");
	put_file("dir/a", "a\n");
	put_file("dir/sub/b", "b\n");
	put_file("dir/.env", "secret\n");
	put_file(".env", "secret\n");
	put_file("Makefile", "all:\n");
	return 0;
}

static int end(void **state)
{
	(void)state;
	uppers_release(&g.uppers);
	base_close(&g.base);
	hide_destroy(&g.hide);
	danger_destroy(&g.danger);
	close(g.root);
	close(g.state);
	path_remove_tree(g.top, "ws", NULL);
	path_remove_tree(g.top, "state", NULL);
	close(g.top);
	rmdir(g.dir);
	return 0;
}

static struct upper *tell(uint8_t type, const char *path, const char *redirect, bool opaque)
{
	struct changes_entry *e = calloc(1, sizeof(*e));

	assert_non_null(e);
	e->type = type;
	e->opaque = opaque;
	e->mode = type == CHANGES_DIR ? 0755 : 0644;
	e->nlink = 1;
	e->size = 5;
	snprintf(e->path, sizeof(e->path), "%s", path);
	snprintf(e->redirect, sizeof(e->redirect), "%s", redirect ? redirect : "");
	if (type == CHANGES_SYMLINK)
		snprintf(e->link, sizeof(e->link), "../../out");
	assert_int_equal(uppers_put(&g.uppers, e), 0);
	free(e);
	return uppers_find(&g.uppers, path);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static char lines[64][160];
static size_t nlines;

static bool write_down(void *arg, struct upper *u)
{
	(void)arg;
	items_make(&g.ground, u);
	for (const struct item *i = u->derived; i; i = i->next)
		if (!i->same && nlines < 64)
			snprintf(lines[nlines++], sizeof(lines[0]), "%s %s%s%s%s%s", change_kinds[i->c.kind], i->c.path, i->c.from ? " < " : "", i->c.from ? i->c.from : "",
				 i->c.conflict ? " conflict" : "", i->c.mark ? " !" : "");
	return true;
}

/* Every entry's changes, sorted, a comma between. */
static const char *all(void)
{
	static char text[4096];
	const char *sorted[64];

	nlines = 0;
	text[0] = '\0';
	uppers_each(&g.uppers, write_down, NULL);
	for (size_t i = 0; i < nlines; i++)
		sorted[i] = lines[i];
	qsort(sorted, nlines, sizeof(*sorted), by_name);
	for (size_t i = 0; i < nlines; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? ", " : "", sorted[i]);
	return text;
}

static void simple_ones(void **state)
{
	(void)state;
	assert_string_equal(all(), "");
	tell(CHANGES_FILE, "file", NULL, false);
	tell(CHANGES_FILE, "new", NULL, false);
	tell(CHANGES_FILE, "Makefile", NULL, false);
	tell(CHANGES_WHITEOUT, "nothing-there", NULL, false);
	tell(CHANGES_DIR, "dir", NULL, false);
	tell(CHANGES_WHITEOUT, "dir/a", NULL, false);
	tell(CHANGES_DIR, "empty", NULL, false);
	tell(CHANGES_DIR, "full", NULL, false);
	tell(CHANGES_FILE, "full/x", NULL, false);
	assert_string_equal(all(), "added empty, added full/x, added new, deleted dir/a, modified Makefile !, modified file");
	uppers_gone(&g.uppers, "full");
	uppers_gone(&g.uppers, "file");
	assert_string_equal(all(), "added empty, added new, deleted dir/a, modified Makefile !");
}

static void a_directory_that_is_gone_does_not_speak_of_hidden_names(void **state)
{
	(void)state;
	tell(CHANGES_WHITEOUT, "dir", NULL, false);
	assert_string_equal(all(), "deleted dir/a, deleted dir/sub/b");
}

static void an_opaque_directory_hides_what_lay_there(void **state)
{
	(void)state;
	tell(CHANGES_DIR, "dir", NULL, true);
	tell(CHANGES_FILE, "dir/a", NULL, false);
	tell(CHANGES_FILE, "dir/new", NULL, false);
	assert_string_equal(all(), "added dir/new, deleted dir/sub/b, modified dir/a");
}

static void a_renamed_directory(void **state)
{
	char lower[CHANGES_PATH_MAX + 1];
	bool renamed;

	(void)state;
	tell(CHANGES_WHITEOUT, "dir", NULL, false);
	tell(CHANGES_DIR, "to", "dir", false);
	tell(CHANGES_FILE, "to/a", NULL, false);
	tell(CHANGES_WHITEOUT, "to/gone", NULL, false);
	assert_true(uppers_lower(&g.uppers, "to/sub/b", true, lower, &renamed));
	assert_string_equal(lower, "dir/sub/b");
	assert_true(renamed);
	/* The deletions are paired later, in the list. */
	assert_string_equal(all(), "deleted dir/a, deleted dir/sub/b, renamed to/a < dir/a, renamed to/sub/b < dir/sub/b");
}

static void a_directory_moved_over_what_lay_there(void **state)
{
	(void)state;
	put_file("to/a", "other\n");
	put_file("to/old", "old\n");
	put_file("to/sub/c", "c\n");
	put_file("to/again/d", "d\n");
	tell(CHANGES_WHITEOUT, "dir", NULL, false);
	tell(CHANGES_DIR, "to", "dir", false);
	assert_string_equal(all(), "deleted dir/a, deleted dir/sub/b, deleted to/again/d, deleted to/old, deleted to/sub/c, renamed to/a < dir/a, renamed to/sub/b < dir/sub/b");
	tell(CHANGES_WHITEOUT, "to/a", NULL, false); /* both, the moved one and the host's */
	tell(CHANGES_FILE, "to/old", NULL, false);
	tell(CHANGES_DIR, "to/again", "to/again", false); /* moved away before, and back */
	assert_string_equal(all(), "deleted dir/a, deleted dir/sub/b, deleted to/a, deleted to/sub/c, modified to/old, renamed to/sub/b < dir/sub/b");
	tell(CHANGES_DIR, "file", "dir/sub", false);
	assert_non_null(strstr(all(), "renamed file/b < dir/sub/b"));
	assert_non_null(strstr(all(), "type file"));
}

/* overlayfs leaves a redirect on it, to where it lies: what was taken for a rename onto itself was removed as its own old name. */
static void what_was_moved_away_and_back_is_where_it_was(void **state)
{
	(void)state;
	tell(CHANGES_DIR, "dir", "dir", false);
	assert_string_equal(all(), "");
	tell(CHANGES_FILE, "dir/a", NULL, false);
	tell(CHANGES_DIR, "dir/sub", "dir/sub", false);
	tell(CHANGES_WHITEOUT, "dir/sub/b", NULL, false);
	tell(CHANGES_FILE, "dir/sub/new", NULL, false);
	assert_string_equal(all(), "added dir/sub/new, deleted dir/sub/b, modified dir/a");
}

static void nothing_hidden_comes_by_a_rename(void **state)
{
	(void)state;
	tell(CHANGES_DIR, "mine", ".env", false);
	tell(CHANGES_FILE, "mine/x", NULL, false);
	tell(CHANGES_DIR, "yours", "dir/.env", false);
	assert_string_equal(all(), "added mine/x");
	tell(CHANGES_FILE, ".env", NULL, false);
	assert_string_equal(all(), "added mine/x, modified .env conflict");
}

static void what_the_host_changed_is_a_conflict_after_a_restart_too(void **state)
{
	(void)state;
	tell(CHANGES_FILE, "file", NULL, false);
	tell(CHANGES_FILE, "new", NULL, false);
	assert_string_equal(all(), "added new, modified file");
	put_file("file", "hosts\n");
	put_file("new", "too\n");
	assert_string_equal(all(), "modified file conflict, modified new conflict");
	assert_int_equal(base_save(g.base), 0);
	base_close(&g.base);
	assert_int_equal(base_open(&g.base, g.state, g.root, 0, NULL), 0);
	g.ground.base = g.base;
	assert_string_equal(all(), "modified file conflict, modified new conflict");
	struct content c;
	assert_int_equal(base_content(g.base, "file", &c), 0);
	assert_memory_equal(c.data, "text\n", 5);
	content_release(&c);
	assert_int_equal(base_content(g.base, "new", &c), -ENOENT);
	/* The same content again, as by a checkout: no conflict. */
	put_file("file", "text\n");
	assert_string_equal(all(), "modified file, modified new conflict");
	/* Another layer: all begins anew. */
	assert_false(base_layer(g.base, (const uint8_t *)"0123456789abcdef"));
	assert_string_equal(all(), "modified file, modified new");
	assert_int_equal(base_content(g.base, "file", &c), 0);
	content_release(&c);
}

static void entries_that_no_overlay_makes(void **state)
{
	(void)state;
	tell(CHANGES_FILE, "file/below", NULL, false);       /* under a file */
	tell(CHANGES_FILE, "no/parent/told", NULL, false);
	tell(CHANGES_DIR, "loop", "loop", false);            /* renamed from itself */
	tell(CHANGES_DIR, "loop/in", "loop/in/in", false);
	tell(CHANGES_WHITEOUT, "file", NULL, false);
	tell(CHANGES_FIFO, "Makefile", NULL, false);
	tell(CHANGES_SYMLINK, "dir", NULL, false);
	const char *text = all();
	assert_non_null(strstr(text, "deleted file"));
	assert_non_null(strstr(text, "type Makefile !"));
	assert_non_null(strstr(text, "type dir"));
	assert_true(((const struct item *)uppers_find(&g.uppers, "dir")->derived)->c.flags & FLAG_LINK_ESCAPES);
	assert_true(((const struct item *)uppers_find(&g.uppers, "Makefile")->derived)->c.flags & FLAG_DEVICE);
}

static void what_is_not_told_again_is_gone(void **state)
{
	(void)state;
	tell(CHANGES_FILE, "file", NULL, false);
	tell(CHANGES_FILE, "new", NULL, false);
	uppers_begin(&g.uppers);
	tell(CHANGES_FILE, "new", NULL, false);
	uppers_synced(&g.uppers);
	assert_string_equal(all(), "added new");
	assert_int_equal(g.uppers.count, 1);
}

static void git_s_own_is_quiet(void **state)
{
	(void)state;
	tell(CHANGES_DIR, ".git", NULL, false);
	tell(CHANGES_FILE, ".git/index", NULL, false);
	tell(CHANGES_FILE, ".git/objects/ab/cd", NULL, false);
	tell(CHANGES_FILE, "deep/.git/HEAD", NULL, false);
	tell(CHANGES_FILE, ".git/hooks/pre-commit", NULL, false);
	tell(CHANGES_FILE, ".git/config", NULL, false);
	tell(CHANGES_FILE, ".github/x", NULL, false);
	assert_string_equal(all(), "added .git/config, added .git/hooks/pre-commit, added .github/x");
}

static void git_s_directory_itself_is_not(void **state)
{
	(void)state;
	put_file(".git/config", "x");
	put_file(".git/index", "x");
	put_file("deep/.git", "gitdir: there");
	tell(CHANGES_WHITEOUT, ".git", NULL, false);
	tell(CHANGES_DIR, "deep", NULL, false);
	tell(CHANGES_SYMLINK, "deep/.git", NULL, false);
	assert_string_equal(all(), "deleted .git/config, type deep/.git");
}

static void what_takes_a_directory_s_place(void **state)
{
	(void)state;
	tell(CHANGES_FILE, "dir", NULL, false);
	/* What is hidden is not spoken of: it keeps the directory where it is. */
	assert_string_equal(all(), "deleted dir/a, deleted dir/sub/b, type dir");
}

static void that_all_may_write_is_no_change(void **state)
{
	(void)state;
	tell(CHANGES_DIR, "dir", NULL, false)->mode = 0757;
	assert_string_equal(all(), "");
	tell(CHANGES_DIR, "dir", NULL, false)->mode = 0777;
	assert_string_equal(all(), "mode dir");
}

static void a_repository_by_any_name(void **state)
{
	(void)state;
	put_file("dir/config", "x");
	tell(CHANGES_FILE, "dir/config", NULL, false);
	tell(CHANGES_FILE, "other/config", NULL, false);
	tell(CHANGES_FILE, "other/config.h", NULL, false);
	assert_string_equal(all(), "added other/config, added other/config.h, modified dir/config");
	put_file("dir/HEAD", "ref: refs/heads/x");
	tell(CHANGES_FILE, "other/HEAD", NULL, false);
	assert_string_equal(all(), "added other/HEAD, added other/config !, added other/config.h, modified dir/config !");
}

/* What the host had is not known of more than there is room for: then nobody may write over it. */
static void without_a_record_it_is_a_conflict(void **state)
{
	char path[32];

	(void)state;
	for (unsigned i = 0; i < 2 * CHANGES_ENTRIES_MAX; i++) {
		snprintf(path, sizeof(path), "no/%u", i);
		base_first(g.base, path, true);
	}
	assert_null(base_first(g.base, "file", true));
	tell(CHANGES_FILE, "file", NULL, false);
	tell(CHANGES_FILE, "new", NULL, false);
	assert_string_equal(all(), "added new conflict, modified file conflict");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(simple_ones, begin, end),
		cmocka_unit_test_setup_teardown(a_directory_that_is_gone_does_not_speak_of_hidden_names, begin, end),
		cmocka_unit_test_setup_teardown(an_opaque_directory_hides_what_lay_there, begin, end),
		cmocka_unit_test_setup_teardown(a_renamed_directory, begin, end),
		cmocka_unit_test_setup_teardown(a_directory_moved_over_what_lay_there, begin, end),
		cmocka_unit_test_setup_teardown(what_was_moved_away_and_back_is_where_it_was, begin, end),
		cmocka_unit_test_setup_teardown(nothing_hidden_comes_by_a_rename, begin, end),
		cmocka_unit_test_setup_teardown(what_the_host_changed_is_a_conflict_after_a_restart_too, begin, end),
		cmocka_unit_test_setup_teardown(entries_that_no_overlay_makes, begin, end),
		cmocka_unit_test_setup_teardown(what_is_not_told_again_is_gone, begin, end),
		cmocka_unit_test_setup_teardown(git_s_own_is_quiet, begin, end),
		cmocka_unit_test_setup_teardown(git_s_directory_itself_is_not, begin, end),
		cmocka_unit_test_setup_teardown(a_repository_by_any_name, begin, end),
		cmocka_unit_test_setup_teardown(what_takes_a_directory_s_place, begin, end),
		cmocka_unit_test_setup_teardown(that_all_may_write_is_no_change, begin, end),
		cmocka_unit_test_setup_teardown(without_a_record_it_is_a_conflict, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
