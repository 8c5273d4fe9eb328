/* SPDX-License-Identifier: Apache-2.0 */
/* Supervisor and bulkhead-fs, and what host and guest say about workspaces. */
#include "tests/proto/wire.h"

#include <stdio.h>

#include "core/base/str.h"
#include "core/proto/fs.h"

WIRE_KIND(workspace_told);
WIRE_KIND(fs_start);
WIRE_KIND(fs_note);
WIRE_KIND(fs_stats);

static void paths(void **state)
{
	static const char *const legal[] = { "/a", "/home/user/src", "/a.b/..c/...", "/ /x", "/a/.git" };
	static const char *const illegal[] = { "", "/", "a", "a/b", "/a/", "//a", "/a//b", "/.", "/..", "/a/./b", "/a/../b", "/a/.." };
	char longer[WORKSPACE_PATH_MAX + 2];

	(void)state;
	for (size_t i = 0; i < sizeof(legal) / sizeof(*legal); i++)
		assert_true(workspace_path_legal(legal[i]));
	for (size_t i = 0; i < sizeof(illegal) / sizeof(*illegal); i++)
		assert_false(workspace_path_legal(illegal[i]));
	memset(longer, 'a', sizeof(longer));
	longer[0] = '/';
	longer[WORKSPACE_PATH_MAX] = '\0';
	assert_true(workspace_path_legal(longer));
	longer[WORKSPACE_PATH_MAX] = 'a';
	longer[WORKSPACE_PATH_MAX + 1] = '\0';
	assert_false(workspace_path_legal(longer));
	assert_int_equal(workspace_mode_parse("live"), WORKSPACE_LIVE);
	assert_int_equal(workspace_mode_parse("rw"), -1);
}

static void start(void **state)
{
	struct fs_start *m = calloc(1, sizeof(*m));

	(void)state;
	assert_non_null(m);
	WIRE_FULL(m->name);
	m->ws.n = 2;
	m->ws.w[0].mode = WORKSPACE_LIVE;
	snprintf(m->ws.w[0].path, sizeof(m->ws.w[0].path), "/home/user/src");
	snprintf(m->ws.w[1].path, sizeof(m->ws.w[1].path), "/home/user/lib");
	snprintf(m->hide, sizeof(m->hide), ".env\n*.key\n");
	wire_check(&fs_start_kind, m);
	snprintf(m->ws.w[1].path, sizeof(m->ws.w[1].path), "/home/../etc");
	wire_refuses(&fs_start_kind, m);
	snprintf(m->ws.w[1].path, sizeof(m->ws.w[1].path), "/home/user/lib");
	m->ws.w[1].mode = WORKSPACE_CLONE;
	wire_check(&fs_start_kind, m);
	snprintf(m->ws.w[1].head, sizeof(m->ws.w[1].head), "worktrees/x");
	snprintf(m->ws.w[1].origin, sizeof(m->ws.w[1].origin), "https://example.org/x.git");
	wire_check(&fs_start_kind, m);
	static const char *const heads[] = { "..", "worktrees/..", "worktrees/x/y", "worktrees/", "/etc" };
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		snprintf(m->ws.w[1].head, sizeof(m->ws.w[1].head), "%s", heads[i]);
		wire_refuses(&fs_start_kind, m);
	}
	m->ws.w[1].head[0] = '\0';
	snprintf(m->ws.w[1].origin, sizeof(m->ws.w[1].origin), "--upload-pack=x");
	wire_refuses(&fs_start_kind, m);
	m->ws.w[1].origin[0] = '\0';
	m->ws.w[1].mode = WORKSPACE_MODES;
	wire_refuses(&fs_start_kind, m);
	free(m);
}

static void told(void **state)
{
	struct workspace_told t;
	struct fs_note n;
	struct fs_stats st;

	(void)state;
	memset(&t, 0, sizeof(t));
	memset(&n, 0, sizeof(n));
	memset(&st, 0, sizeof(st));
	t.index = 7;
	t.state = WORKSPACE_FAILED;
	wire_text(t.why, sizeof(t.why), 60);
	wire_check(&workspace_told_kind, &t);
	t.index = WORKSPACES_MAX;
	wire_refuses(&workspace_told_kind, &t);
	n.kind = FS_NOTE_MOUNT;
	wire_text(n.path, sizeof(n.path), 60);
	wire_check(&fs_note_kind, &n);
	n.kind = FS_NOTE_KINDS;
	wire_refuses(&fs_note_kind, &n);
	st.requests = UINT64_MAX;
	st.nodes = 7;
	wire_check(&fs_stats_kind, &st);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(paths), cmocka_unit_test(start), cmocka_unit_test(told) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
