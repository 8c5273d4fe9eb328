/* SPDX-License-Identifier: Apache-2.0 */
/* Names the host sends ahead: given once, given back when anything changes, and never more than what was sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/proto/fs.h"
#include "guest/ahead.h"

static uint8_t msg[1u << 20];

/* A message of n names f0, f1, ... whose nodes are first, first + 1, ... */
static size_t message(uint64_t dir, uint32_t flags, uint32_t n, uint64_t first)
{
	size_t at = FS_AHEAD_HEAD;

	memset(msg, 0, sizeof(msg));
	memcpy(msg, &dir, 8);
	memcpy(msg + 8, &flags, 4);
	memcpy(msg + 12, &n, 4);
	for (uint32_t i = 0; i < n; i++) {
		char name[16];
		const int len = snprintf(name, sizeof(name), "f%u", i);
		const struct fuse_direntplus d = { .entry_out = { .nodeid = first ? first + i : 0, .attr = { .size = i } },
						  .dirent = { .off = 1000 + i, .namelen = (uint32_t)len } };

		memcpy(msg + at, &d, FUSE_NAME_OFFSET_DIRENTPLUS);
		memcpy(msg + at + FUSE_NAME_OFFSET_DIRENTPLUS, name, (size_t)len);
		at += FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET_DIRENTPLUS + (size_t)len);
	}
	return at;
}

static int ask(struct ahead *a, uint64_t dir, const char *name, uint64_t *node)
{
	struct fuse_entry_out e = { .nodeid = 99999 };
	const int r = ahead_lookup(a, dir, name, strlen(name), &e);

	*node = e.nodeid;
	return r;
}

static size_t back(struct ahead *a, uint64_t *node, size_t max)
{
	size_t n = 0, k;

	while (n < max && (k = ahead_forgets(a, node + n, max - n < 7 ? max - n : 7)) > 0)
		n += k;
	return n;
}

static void a_name_is_given_once(void **state)
{
	struct ahead *a = ahead_create();
	uint64_t node, nodes[64];

	(void)state;
	ahead_put(a, msg, message(1, FS_AHEAD_WHOLE, 20, 100));
	assert_int_equal(ask(a, 1, "f7", &node), 1);
	assert_int_equal(node, 107);
	assert_int_equal(ask(a, 1, "f7", &node), 0); /* the kernel has forgotten it: the host knows */
	assert_int_equal(ask(a, 1, "f3", &node), 1);
	assert_int_equal(node, 103);
	assert_int_equal(ask(a, 2, "f3", &node), 0);
	assert_int_equal(ask(a, 1, "f", &node), 1); /* there is none */
	assert_int_equal(node, 0);
	ahead_put(a, msg, message(5, 0, 3, 500));
	assert_int_equal(ask(a, 5, "none", &node), 0); /* perhaps */
	assert_int_equal(ahead_forgets(a, nodes, 64), 0);
	ahead_changed(a);
	assert_int_equal(back(a, nodes, 64), 18 + 3);
	for (size_t i = 0; i < 21; i++)
		assert_true(nodes[i] != 107 && nodes[i] != 103);
	assert_int_equal(ask(a, 1, "f5", &node), 0);
	ahead_destroy(&a);
}

/* A request's answer has come. body: what is behind FUSE's head. */
static void answered(struct ahead *a, uint32_t opcode, uint64_t node, const void *body, size_t n)
{
	const struct ahead_change c = ahead_change_of(opcode, node, body, n);

	ahead_change_begins(a, &c);
	ahead_change_ends(a, &c);
}

/* With a name behind a struct of that size. */
static void answered_name(struct ahead *a, uint32_t opcode, uint64_t node, size_t head, const char *name)
{
	uint8_t body[64] = { 0 };

	memcpy(body + head, name, strlen(name) + 1);
	answered(a, opcode, node, body, head + strlen(name) + 1);
}

static void a_change_takes_what_it_is_about(void **state)
{
	const struct fuse_open_in trunc = { .flags = O_WRONLY | O_TRUNC }, plain = { .flags = O_RDWR };
	const struct fuse_copy_file_range_in copy = { .nodeid_out = 106 };
	struct ahead *a = ahead_create();
	uint64_t node, nodes[64];

	(void)state;
	ahead_put(a, msg, message(1, FS_AHEAD_WHOLE, 9, 100));
	answered(a, FUSE_WRITE, 100, NULL, 0);
	answered(a, FUSE_OPEN, 101, &trunc, sizeof(trunc));
	answered(a, FUSE_OPEN, 102, &plain, sizeof(plain));
	answered(a, FUSE_SETATTR, 103, NULL, 0);
	answered(a, FUSE_COPY_FILE_RANGE, 104, &copy, sizeof(copy));
	assert_int_equal(ask(a, 1, "f0", &node), 0); /* what the host said of it is of before */
	assert_int_equal(ask(a, 1, "f1", &node), 0);
	assert_int_equal(ask(a, 1, "f2", &node), 1);
	assert_int_equal(ask(a, 1, "f3", &node), 0);
	assert_int_equal(ask(a, 1, "f4", &node), 1);
	assert_int_equal(ask(a, 1, "f6", &node), 0);
	assert_int_equal(back(a, nodes, 64), 4); /* and its reference is of no use */
	assert_int_equal(ask(a, 1, "f5", &node), 1);
	assert_int_equal(ask(a, 1, "none", &node), 1);
	assert_int_equal(node, 0);

	/* Names that come and go are asked for, the others are as they were. */
	answered_name(a, FUSE_UNLINK, 1, 0, "f7");
	answered_name(a, FUSE_CREATE, 1, sizeof(struct fuse_create_in), "new");
	answered_name(a, FUSE_MKDIR, 1, sizeof(struct fuse_mkdir_in), "dir");
	answered_name(a, FUSE_MKNOD, 1, sizeof(struct fuse_mknod_in), "fifo");
	answered_name(a, FUSE_SYMLINK, 1, 0, "link");
	answered_name(a, FUSE_CREATE, 2, sizeof(struct fuse_create_in), "elsewhere");
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(ask(a, 1, ((const char *[]){ "f7", "new", "dir", "fifo", "link" })[i], &node), 0);
	assert_int_equal(ask(a, 1, "elsewhere", &node), 1);
	assert_int_equal(ask(a, 1, "f8", &node), 1);
	assert_int_equal(back(a, nodes, 64), 1);
	assert_int_equal(nodes[0], 107);

	/* Anything else may be about anything. */
	answered_name(a, FUSE_RMDIR, 9, 0, "x");
	assert_int_equal(ask(a, 1, "none", &node), 0);
	for (size_t i = 0; i < 4; i++) {
		ahead_put(a, msg, message(1, FS_AHEAD_WHOLE, 9, 100));
		assert_int_equal(ask(a, 1, "none", &node), 1);
		answered(a, ((uint32_t[]){ FUSE_RENAME2, 77777, FUSE_CREATE, FUSE_COPY_FILE_RANGE })[i], 9, "", 1);
		assert_int_equal(ask(a, 1, "none", &node), 0);
	}
	assert_int_equal(ahead_change_of(FUSE_LOOKUP, 1, NULL, 0).what, AHEAD_NOTHING);
	assert_int_equal(ahead_change_of(FUSE_OPEN, 1, NULL, 0).what, AHEAD_NODE);
	ahead_destroy(&a);
}

static void nothing_overtakes_a_change(void **state)
{
	const struct ahead_change write_ = ahead_change_of(FUSE_WRITE, 103, NULL, 0), all = ahead_change_of(FUSE_RENAME2, 9, NULL, 0);
	struct ahead *a = ahead_create();
	uint64_t node, nodes[64];

	(void)state;
	ahead_put(a, msg, message(1, FS_AHEAD_WHOLE, 6, 100));
	ahead_change_begins(a, &write_);
	ahead_change_begins(a, &write_);
	ahead_change_ends(a, &write_);
	ahead_put(a, msg, message(1, FS_AHEAD_WHOLE, 6, 100)); /* the other one is still under way */
	assert_int_equal(ask(a, 1, "f3", &node), 0);
	assert_int_equal(ask(a, 1, "f4", &node), 1);
	ahead_change_ends(a, &write_);
	ahead_put(a, msg, message(1, FS_AHEAD_WHOLE, 6, 100));
	assert_int_equal(ask(a, 1, "f3", &node), 1);
	ahead_change_begins(a, &all);
	ahead_put(a, msg, message(1, FS_AHEAD_WHOLE, 6, 100));
	assert_int_equal(ask(a, 1, "f5", &node), 0);
	ahead_lost(a);
	ahead_put(a, msg, message(1, FS_AHEAD_WHOLE, 6, 100));
	assert_int_equal(ask(a, 1, "f5", &node), 1);
	(void)back(a, nodes, 64);
	ahead_destroy(&a);
}

static void another_name_of_a_file_changes_it(void **state)
{
	struct { struct fuse_link_in in; char name[8]; } link = { { .oldnodeid = 103 }, "again" };
	struct ahead *a = ahead_create();
	uint64_t node;

	(void)state;
	const size_t n = message(1, FS_AHEAD_WHOLE, 6, 100);
	struct fuse_direntplus d;
	memcpy(&d, msg + FS_AHEAD_HEAD, FUSE_NAME_OFFSET_DIRENTPLUS);
	d.entry_out.attr.nlink = 2;
	memcpy(msg + FS_AHEAD_HEAD, &d, FUSE_NAME_OFFSET_DIRENTPLUS);
	ahead_put(a, msg, n);
	answered(a, FUSE_LINK, 5, &link, sizeof(link.in) + 6);
	assert_int_equal(ask(a, 1, "f0", &node), 0); /* it has two: who knows which of them that was */
	assert_int_equal(ask(a, 1, "f3", &node), 0);
	assert_int_equal(ask(a, 1, "f4", &node), 1);
	ahead_destroy(&a);
}

/* A message of "." alone, of that size. */
static size_t self(uint64_t dir, uint32_t flags, uint64_t size)
{
	const struct fuse_direntplus d = { .entry_out = { .attr_valid = 300, .attr = { .size = size } }, .dirent = { .namelen = 1 } };
	const size_t n = message(dir, flags, 1, 0);

	memcpy(msg + FS_AHEAD_HEAD, &d, FUSE_NAME_OFFSET_DIRENTPLUS);
	memcpy(msg + FS_AHEAD_HEAD + FUSE_NAME_OFFSET_DIRENTPLUS, ".\0", 2);
	return n;
}

static void a_new_directory_is_known_to_be_empty(void **state)
{
	const size_t head = sizeof(struct fuse_create_in);
	struct ahead *a = ahead_create();
	struct fuse_attr_out out;
	uint64_t node, off = 0;
	uint8_t p[512];
	char name[16];

	(void)state;
	ahead_put(a, msg, self(7, FS_AHEAD_WHOLE, 10));
	answered_name(a, FUSE_MKDIR, 1, sizeof(struct fuse_mkdir_in), "seven");
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		assert_int_equal(ask(a, 7, name, &node), 1);
		assert_int_equal(node, 0);
		ahead_put(a, msg, self(7, FS_AHEAD_AFTER, 100 + i)); /* before the answer it belongs to */
		answered_name(a, FUSE_CREATE, 7, head, name);
		assert_int_equal(ask(a, 7, name, &node), 0);
		assert_int_equal(ahead_attr(a, 7, &out), 1);
		assert_int_equal(out.attr.size, 100 + i);
	}
	assert_int_equal(ahead_list(a, 7, off, p, sizeof(p)), -1); /* the names that came are not here */
	/* What was said is behind two more changes, of which the host has told only once. */
	ahead_put(a, msg, self(7, FS_AHEAD_AFTER, 5));
	answered_name(a, FUSE_CREATE, 7, head, "m0");
	answered_name(a, FUSE_CREATE, 7, head, "m1");
	assert_int_equal(ahead_attr(a, 7, &out), 0);
	ahead_put(a, msg, self(7, FS_AHEAD_AFTER, 6));
	answered_name(a, FUSE_UNLINK, 7, 0, "m1");
	assert_int_equal(ahead_attr(a, 7, &out), 1);
	answered(a, FUSE_SETATTR, 7, NULL, 0);
	assert_int_equal(ahead_attr(a, 7, &out), 0);
	assert_int_equal(ask(a, 7, "m1", &node), 0);
	assert_int_equal(ask(a, 7, "m2", &node), 1);
	for (unsigned i = 0; i < 20000; i++) { /* there are bounds */
		snprintf(name, sizeof(name), "x%u", i);
		answered_name(a, FUSE_CREATE, 7, head, name);
	}
	assert_int_equal(ask(a, 7, "m2", &node), 0);
	/* Of one that it was never told the names of, it knows nothing else. */
	ahead_put(a, msg, self(8, FS_AHEAD_AFTER, 1));
	answered_name(a, FUSE_UNLINK, 8, 0, "y");
	assert_int_equal(ahead_attr(a, 8, &out), 1);
	assert_int_equal(ask(a, 8, "z", &node), 0);
	assert_int_equal(ahead_list(a, 8, off, p, sizeof(p)), -1);
	ahead_destroy(&a);
}

static void replaced_and_lost(void **state)
{
	struct ahead *a = ahead_create();
	uint64_t node, nodes[64];

	(void)state;
	ahead_put(a, msg, message(1, FS_AHEAD_WHOLE, 5, 100));
	assert_int_equal(ask(a, 1, "f0", &node), 1);
	ahead_put(a, msg, message(1, FS_AHEAD_WHOLE, 2, 200)); /* in its place */
	assert_int_equal(back(a, nodes, 64), 4);
	assert_int_equal(ask(a, 1, "f1", &node), 1);
	assert_int_equal(node, 201);
	ahead_lost(a);
	assert_int_equal(ask(a, 1, "f0", &node), 0);
	assert_int_equal(ahead_forgets(a, nodes, 64), 0);
	ahead_destroy(&a);
}

static void what_is_no_message_is_dropped(void **state)
{
	struct ahead *a = ahead_create();
	uint64_t node;

	(void)state;
	const size_t n = message(1, FS_AHEAD_WHOLE, 3, 100);
	for (size_t cut = 0; cut < n; cut++)
		ahead_put(a, msg, cut);
	uint32_t many = UINT32_MAX;
	memcpy(msg + 12, &many, 4);
	ahead_put(a, msg, n);
	message(1, FS_AHEAD_WHOLE, 3, 100);
	memcpy(msg + FS_AHEAD_HEAD + sizeof(struct fuse_entry_out) + 16, &many, 4); /* the first name's length */
	ahead_put(a, msg, n);
	assert_int_equal(ask(a, 1, "f0", &node), 0);
	ahead_put(a, msg, message(1, FS_AHEAD_WHOLE, 3, 0)); /* names without nodes: they are there, and are asked for */
	assert_int_equal(ask(a, 1, "f0", &node), 0);
	assert_int_equal(ask(a, 1, "g", &node), 1);
	ahead_destroy(&a);
}

static void the_oldest_go_first(void **state)
{
	struct ahead *a = ahead_create();
	uint64_t node, *nodes = calloc(3 * AHEAD_NAMES, sizeof(*nodes));
	const uint32_t each = 1000, dirs = 2 * AHEAD_NAMES / 1000;

	(void)state;
	for (uint64_t d = 1; d <= dirs; d++)
		ahead_put(a, msg, message(d, FS_AHEAD_WHOLE, each, d * 10000));
	const size_t kept = AHEAD_NAMES / each;
	assert_int_equal(back(a, nodes, 3 * AHEAD_NAMES), (dirs - kept) * each);
	assert_int_equal(ask(a, dirs - kept, "f1", &node), 0);
	assert_int_equal(ask(a, dirs - kept + 1, "f1", &node), 1);
	free(nodes);
	ahead_destroy(&a);
}

static void the_end_of_a_listing_is_said_once(void **state)
{
	struct ahead *a = ahead_create();
	const uint64_t end[2] = { 7, 4711 }, other[2] = { 7 + 64, 1 };

	(void)state;
	assert_false(ahead_is_end(a, 7, 4711));
	assert_false(ahead_is_end(a, 0, 0));
	ahead_put_end(a, (const uint8_t *)end, sizeof(end));
	assert_false(ahead_is_end(a, 7, 4710));
	assert_false(ahead_is_end(a, 71, 4711));
	assert_true(ahead_is_end(a, 7, 4711));
	assert_false(ahead_is_end(a, 7, 4711));
	/* Of two that fall together the later one is known. */
	ahead_put_end(a, (const uint8_t *)end, sizeof(end));
	ahead_put_end(a, (const uint8_t *)other, sizeof(other));
	assert_false(ahead_is_end(a, 7, 4711));
	assert_true(ahead_is_end(a, 71, 1));
	ahead_put_end(a, (const uint8_t *)end, sizeof(end));
	ahead_changed(a);
	assert_false(ahead_is_end(a, 7, 4711));
	ahead_put_end(a, (const uint8_t *)end, sizeof(end));
	answered(a, FUSE_SETATTR, 7, NULL, 0);
	assert_false(ahead_is_end(a, 7, 4711));
	ahead_put_end(a, (const uint8_t *)end, sizeof(end) - 1);
	assert_false(ahead_is_end(a, 7, 4711));
	ahead_put_end(a, (const uint8_t *)end, sizeof(end));
	ahead_lost(a);
	assert_false(ahead_is_end(a, 7, 4711));
	ahead_destroy(&a);
}

/* What a listing from this offset holds: names with their node, "-" without; the offset behind the last. */
static void listed(struct ahead *a, uint64_t dir, uint64_t *off, size_t cap, char dst[1000])
{
	static uint8_t p[8192];
	const ssize_t n = ahead_list(a, dir, *off, p, cap);

	snprintf(dst, 1000, "%s", n < 0 ? "?" : "");
	for (ssize_t at = 0; at < n;) {
		struct fuse_direntplus d;

		memcpy(&d, p + at, FUSE_NAME_OFFSET_DIRENTPLUS);
		snprintf(dst + strlen(dst), 1000 - strlen(dst), "%.*s=%u ", (int)d.dirent.namelen, (const char *)p + at + FUSE_NAME_OFFSET_DIRENTPLUS, (unsigned)d.entry_out.nodeid);
		*off = d.dirent.off;
		at += (ssize_t)FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET_DIRENTPLUS + (size_t)d.dirent.namelen);
		assert_true(at <= n);
	}
}

static void a_listing_gives_what_was_not_given(void **state)
{
	struct ahead *a = ahead_create();
	uint64_t node, off = 0, nodes[64];
	char got[1000];

	(void)state;
	listed(a, 1, &off, 4096, got);
	assert_string_equal(got, "?");
	ahead_put(a, msg, message(1, FS_AHEAD_WHOLE, 6, 100));
	assert_int_equal(ask(a, 1, "f1", &node), 1);
	listed(a, 1, &off, FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET_DIRENTPLUS + 2) * 4 + 1, got);
	assert_string_equal(got, "f0=100 f1=0 f2=102 f3=103 ");
	uint64_t middle = off;
	listed(a, 1, &off, 4096, got);
	assert_string_equal(got, "f4=104 f5=105 ");
	listed(a, 1, &off, 4096, got);
	assert_string_equal(got, "");
	listed(a, 1, &middle, 4096, got); /* who was stopped there */
	assert_string_equal(got, "f4=0 f5=0 ");
	off = 4711;
	listed(a, 1, &off, 4096, got); /* no such place */
	assert_string_equal(got, "?");
	off = 0;
	listed(a, 1, &off, 4096, got); /* all have been given: the host knows what they are now */
	assert_string_equal(got, "?");
	ahead_put(a, msg, message(1, FS_AHEAD_WHOLE, 6, 100));
	listed(a, 1, &off, 100, got); /* no room for one */
	assert_string_equal(got, "?");
	ahead_changed(a);
	assert_int_equal(back(a, nodes, 64), 6);
	ahead_destroy(&a);
}

static void a_directory_tells_of_itself(void **state)
{
	struct ahead *a = ahead_create();
	struct fuse_attr_out out;
	struct fuse_direntplus d = { .entry_out = { .attr_valid = 300, .attr = { .size = 4096, .nlink = 7 } }, .dirent = { .namelen = 1 } };

	(void)state;
	const size_t n = message(3, FS_AHEAD_WHOLE, 1, 0), at = FS_AHEAD_HEAD;
	ahead_put(a, msg, n);
	assert_int_equal(ahead_attr(a, 3, &out), 0);
	memcpy(msg + at, &d, FUSE_NAME_OFFSET_DIRENTPLUS);
	memcpy(msg + at + FUSE_NAME_OFFSET_DIRENTPLUS, ".\0", 2);
	ahead_put(a, msg, n);
	assert_int_equal(ahead_attr(a, 3, &out), 1);
	assert_int_equal(out.attr_valid, 300);
	assert_int_equal(out.attr.nlink, 7);
	ahead_changed(a);
	assert_int_equal(ahead_attr(a, 3, &out), 0);
	ahead_destroy(&a);
}

static void a_directory_is_listed_now_and_then(void **state)
{
	struct ahead *a = ahead_create();

	(void)state;
	assert_false(ahead_is_to_list(a, 1, 1000)); /* none of its names are held */
	ahead_put(a, msg, message(1, FS_AHEAD_WHOLE, 7, 100));
	assert_false(ahead_is_to_list(a, 1, 1000)); /* few */
	ahead_put(a, msg, message(1, FS_AHEAD_WHOLE, 8, 100));
	ahead_put(a, msg, message(2, 0, 50, 200));
	assert_true(ahead_is_to_list(a, 1, 1000));
	assert_false(ahead_is_to_list(a, 1, 1499));
	assert_true(ahead_is_to_list(a, 2, 1499));
	assert_true(ahead_is_to_list(a, 1, 1500)); /* the kernel has let go of its names */
	ahead_changed(a);
	assert_false(ahead_is_to_list(a, 1, 9000));
	ahead_destroy(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_is_given_once), cmocka_unit_test(a_change_takes_what_it_is_about),
		cmocka_unit_test(nothing_overtakes_a_change), cmocka_unit_test(another_name_of_a_file_changes_it), cmocka_unit_test(a_new_directory_is_known_to_be_empty), cmocka_unit_test(replaced_and_lost),
		cmocka_unit_test(what_is_no_message_is_dropped), cmocka_unit_test(the_oldest_go_first),
		cmocka_unit_test(the_end_of_a_listing_is_said_once), cmocka_unit_test(a_directory_is_listed_now_and_then),
		cmocka_unit_test(a_listing_gives_what_was_not_given), cmocka_unit_test(a_directory_tells_of_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
