/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest tells of its upper layers, what the supervisor asks, and the tree that answers. */
#include "tests/proto/wire.h"

#include <stdio.h>

#include "core/proto/changes.h"
#include "core/proto/tree.h"

WIRE_KIND(changes_entry);
WIRE_KIND(changes_read);
WIRE_KIND(review_start);
WIRE_KIND(review_counts);
WIRE_KIND_OWNING(review_ask);

static struct changes_entry *entry(uint8_t type, const char *path)
{
	struct changes_entry *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	m->type = type;
	m->mode = 0644;
	m->nlink = 1;
	m->size = 12;
	m->mtime_ns = 5;
	m->ctime_ns = 6;
	snprintf(m->path, sizeof(m->path), "%s", path);
	return m;
}

static bool refused(const struct changes_entry *m)
{
	struct changes_entry *out = calloc(1, sizeof(*out));
	struct buf b;

	assert_non_null(out);
	buf_init(&b, 65536);
	assert_int_equal(changes_entry_pack(&b, m), 0);
	const int r = wire_parse(&changes_entry_kind, buf_head(&b), buf_size(&b), out);
	buf_release(&b);
	free(out);
	return r == -EBADMSG;
}

static void paths(void **state)
{
	static const char *const legal[] = { "a", "a/b", ".git/config", "...", "a b", "..a/b..", "-", "\xff" };
	static const char *const illegal[] = { "", "/", "/a", "a/", "a//b", ".", "..", "./a", "a/.", "a/../b", "../a", "a/.." };
	char text[CHANGES_PATH_MAX + 2];

	(void)state;
	for (size_t i = 0; i < sizeof(legal) / sizeof(*legal); i++)
		assert_true(changes_path_legal(legal[i]));
	for (size_t i = 0; i < sizeof(illegal) / sizeof(*illegal); i++)
		assert_false(changes_path_legal(illegal[i]));
	memset(text, 'a', sizeof(text));
	text[255] = '\0';
	assert_true(changes_path_legal(text));
	text[255] = 'a';
	text[256] = '\0';
	assert_false(changes_path_legal(text));
	/* Components of one letter: too deep, then as deep as can be. */
	for (size_t i = 0; i <= CHANGES_DEPTH_MAX; i++)
		memcpy(text + 2 * i, "d/", 2);
	text[2 * CHANGES_DEPTH_MAX + 1] = '\0';
	assert_false(changes_path_legal(text));
	text[2 * CHANGES_DEPTH_MAX - 1] = '\0';
	assert_true(changes_path_legal(text));
}

static void entries(void **state)
{
	struct changes_entry *m = entry(CHANGES_FILE, "dir/file");

	(void)state;
	wire_check(&changes_entry_kind, m);
	m->type = CHANGES_TYPES;
	assert_true(refused(m));
	m->type = CHANGES_FILE;
	m->mode = 010000;
	assert_true(refused(m));
	m->mode = 0;
	snprintf(m->link, sizeof(m->link), "text"); /* of no link */
	assert_true(refused(m));
	m->type = CHANGES_SYMLINK;
	wire_check(&changes_entry_kind, m);
	memset(m->link, 0, sizeof(m->link)); /* a link without a text */
	assert_true(refused(m));
	m->type = CHANGES_DIR;
	m->opaque = 1;
	snprintf(m->redirect, sizeof(m->redirect), "was/here");
	wire_check(&changes_entry_kind, m);
	memset(m->redirect, 0, sizeof(m->redirect));
	snprintf(m->redirect, sizeof(m->redirect), "../outside");
	assert_true(refused(m));
	snprintf(m->redirect, sizeof(m->redirect), "/etc");
	assert_true(refused(m));
	memset(m->redirect, 0, sizeof(m->redirect));
	m->type = CHANGES_FILE; /* only directories hide */
	assert_true(refused(m));
	free(m);
}

static void content(void **state)
{
	struct changes_data d = { .id = 7, .type = CHANGES_FILE, .last = 1, .mode = 0644, .size = 3, .n = 3, .p = (const uint8_t *)"abc" }, out;
	struct buf b;
	struct rbuf r;

	(void)state;
	buf_init(&b, CHANGES_FRAME_MAX);
	assert_int_equal(changes_data_pack(&b, &d), 0);
	rbuf_init(&r, buf_head(&b), buf_size(&b));
	assert_int_equal(changes_data_unpack(&r, &out), 0);
	assert_int_equal(out.n, 3);
	assert_memory_equal(out.p, "abc", 3);
	for (size_t cut = 0; cut < buf_size(&b); cut++) {
		rbuf_init(&r, buf_head(&b), cut);
		assert_int_equal(changes_data_unpack(&r, &out), -EBADMSG);
	}
	buf_clear(&b);
	d.type = CHANGES_FIFO; /* has none */
	assert_int_equal(changes_data_pack(&b, &d), 0);
	rbuf_init(&r, buf_head(&b), buf_size(&b));
	assert_int_equal(changes_data_unpack(&r, &out), -EBADMSG);
	buf_clear(&b);
	d = (struct changes_data){ .type = CHANGES_FILE, .n = CHANGES_PIECE + 1, .p = calloc(1, CHANGES_PIECE + 1) };
	assert_int_not_equal(changes_data_pack(&b, &d), 0);
	free((void *)(uintptr_t)d.p);
	buf_release(&b);
}

static void questions(void **state)
{
	struct changes_read *m = calloc(1, sizeof(*m));
	struct review_start *s = calloc(1, sizeof(*s));
	struct review_counts c = { .index = 1, .ready = 1, .files = 3, .add = 9 };
	uint16_t hunks[] = { 0, 3 };
	char path[] = "some/file", other[] = "x";
	struct review_item items[] = { { .path = path, .has_digest = true, .has_old = true, .named = true, .flags = FLAG_LINK_ABSOLUTE | FLAG_LARGE, .nhunks = 2, .hunks = hunks }, { .path = other } };
	struct review_ask a = { .op = REVIEW_APPLY, .index = 2, .flags = REVIEW_DRY_RUN, .limit = 5, .nitems = 2, .item = items };

	(void)state;
	assert_non_null(m);
	assert_non_null(s);
	m->id = 4;
	m->index = 1;
	m->most = 4096;
	snprintf(m->path, sizeof(m->path), "dir/file");
	wire_check(&changes_read_kind, m);
	snprintf(s->name, sizeof(s->name), "blue");
	s->ws.n = 1;
	snprintf(s->ws.w[0].path, sizeof(s->ws.w[0].path), "/home/user/src");
	snprintf(s->hide, sizeof(s->hide), ".env\n");
	snprintf(s->executes, sizeof(s->executes), "[hook]\n.git/hooks/\n");
	wire_check(&review_start_kind, s);
	wire_check(&review_counts_kind, &c);
	memset(items[0].digest, 0xab, sizeof(items[0].digest));
	memset(items[0].old, 0xcd, sizeof(items[0].old));
	wire_check(&review_ask_kind, &a);
	free(m);
	free(s);
}

static void a_tree(void **state)
{
	struct tree_reader t;
	struct tree_item i;
	struct buf b;
	char seen[64] = { 0 };

	(void)state;
	buf_init(&b, 4096);
	tree_object(&b, NULL);
	tree_str(&b, "a", "text");
	tree_list(&b, "l");
	tree_int(&b, NULL, -5);
	tree_bool(&b, NULL, true);
	tree_end(&b);
	tree_null(&b, "n");
	tree_end(&b);
	tree_read_init(&t, buf_head(&b), buf_size(&b));
	while (tree_read(&t, &i) == 0) {
		assert_true(strlen(seen) + 1 < sizeof(seen));
		seen[strlen(seen)] = "oaesitfn"[i.kind];
		if (i.kind == TREE_INT)
			assert_int_equal(i.number, -5);
		if (i.kind == TREE_TEXT)
			assert_string_equal(i.key, "a");
	}
	assert_string_equal(seen, "osaitene");
	assert_int_equal(tree_read(&t, &i), 1);
	for (size_t cut = 0; cut < buf_size(&b); cut++) {
		int r;

		tree_read_init(&t, buf_head(&b), cut);
		while ((r = tree_read(&t, &i)) == 0)
			;
		assert_int_equal(r, -EBADMSG);
	}
	buf_u8(&b, 'n'); /* something behind it */
	int r;
	tree_read_init(&t, buf_head(&b), buf_size(&b));
	while ((r = tree_read(&t, &i)) == 0)
		;
	assert_int_equal(r, -EBADMSG);
	buf_clear(&b);
	for (unsigned k = 0; k <= TREE_DEPTH_MAX; k++)
		tree_list(&b, NULL);
	tree_read_init(&t, buf_head(&b), buf_size(&b));
	while ((r = tree_read(&t, &i)) == 0)
		;
	assert_int_equal(r, -EBADMSG);
	buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths), cmocka_unit_test(entries), cmocka_unit_test(content), cmocka_unit_test(questions), cmocka_unit_test(a_tree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
