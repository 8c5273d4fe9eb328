/* SPDX-License-Identifier: Apache-2.0 */
/* The audit log's chain: every kind of tampering is found and named, a crash's end is mended and told, old files go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "core/base/atomicfile.h"
#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "core/supervisor/chain.h"
#include "core/supervisor/chainfile.h"

#define FIRST "00000000000000000001.jsonl"

static char dir[64];

static int setup(void **unused)
{
	(void)unused;
	str_copy(dir, sizeof(dir), "/tmp/bulkhead-chain-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **unused)
{
	(void)unused;
	return path_remove_tree(AT_FDCWD, dir, NULL);
}

static int dir_fd(void)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static char found[256];

static bool begun;

static void open_chain(struct chain *c, uint64_t cap, unsigned files)
{
	struct err e = ERR_INIT;

	if (chain_open_take(c, dir_fd(), cap, files, begun, found, sizeof(found), &e))
		fail_msg("%s", e.msg);
}

static void sync_chain(struct chain *c)
{
	struct chain_sync s;

	if (chain_sync_begin(c, &s)) {
		chain_sync_run(&s);
		assert_int_equal(s.result, 0);
		chain_sync_end(c, &s);
	}
}

static void add(struct chain *c, unsigned from, unsigned to)
{
	for (unsigned i = from; i <= to; i++)
		assert_int_equal(chain_add_take(c, json_pack("{s:s, s:i}", "event", "decided", "n", i)), 0);
}

static void close_chain(struct chain *c)
{
	sync_chain(c);
	chain_release(c);
}

static struct chain_verdict verify(const struct chain *c)
{
	struct chain_verdict v;
	AUTO_FD fd = dir_fd();

	chain_verify(fd, &c->ends, &v);
	return v;
}

/* A fresh log of n records, closed. */
static void fresh(unsigned n)
{
	struct chain c;

	path_remove_tree(AT_FDCWD, dir, NULL);
	assert_int_equal(mkdir(dir, 0700), 0);
	open_chain(&c, 1 << 20, 4);
	assert_string_equal(found, "");
	add(&c, 1, n);
	close_chain(&c);
}

/* ---- tampering: the file's lines as an array of strings, changed by a function ------------------------------------------------------- */

#define LINES_MAX 64
struct text {
	char *line[LINES_MAX];
	size_t n;
};

static void read_text(struct text *t)
{
	struct buf b;
	AUTO_FD fd = dir_fd();

	buf_init(&b, 1 << 20);
	assert_int_equal(atomicfile_read(fd, FIRST, &b, NULL), 0);
	t->n = 0;
	const char *p = (const char *)buf_head(&b), *end = p + buf_size(&b);
	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		assert_non_null(nl);
		t->line[t->n++] = strndup(p, (size_t)(nl - p));
		p = nl + 1;
	}
	buf_release(&b);
}

static void write_text(struct text *t)
{
	struct buf b;
	AUTO_FD fd = dir_fd();

	buf_init(&b, 1 << 20);
	for (size_t i = 0; i < t->n; i++) {
		buf_printf(&b, "%s\n", t->line[i]);
		free(t->line[i]);
	}
	assert_int_equal(atomicfile_write(fd, FIRST, buf_head(&b), buf_size(&b), 0600, NULL), 0);
	buf_release(&b);
}

static void drop(struct text *t, size_t i, size_t n)
{
	for (size_t k = i; k < i + n; k++)
		free(t->line[k]);
	memmove(t->line + i, t->line + i + n, (t->n - i - n) * sizeof(*t->line));
	t->n -= n;
}

/* Record numbers are 1-based: line[i] is record i + 1. */
static void alter_middle(struct text *t) { char *p = strstr(t->line[4], "decided"); assert_non_null(p); p[0] = 'D'; }
static void alter_first(struct text *t) { t->line[0][strlen(t->line[0]) - 3] ^= 1; }
static void alter_first_text(struct text *t) { char *p = strstr(t->line[0], "decided"); assert_non_null(p); p[0] = 'D'; }
static void alter_last(struct text *t) { char *p = strstr(t->line[9], "decided"); assert_non_null(p); p[0] = 'D'; }
static void alter_prev(struct text *t) { char *p = strstr(t->line[6], "\"prev\":\""); assert_non_null(p); p[10] = p[10] == '0' ? '1' : '0'; }
static void alter_space(struct text *t) { char *s = str_fmt("%s ", t->line[3]); free(t->line[3]); t->line[3] = s; }
static void not_json(struct text *t) { t->line[2][0] = 'x'; }
static void empty_line(struct text *t) { t->line[7][0] = '\0'; }
static void missing_one(struct text *t) { drop(t, 4, 1); }
static void missing_three(struct text *t) { drop(t, 4, 3); }
static void missing_first(struct text *t) { drop(t, 0, 2); }
static void missing_last(struct text *t) { drop(t, 9, 1); }
static void missing_tail(struct text *t) { drop(t, 6, 4); }
static void missing_all(struct text *t) { drop(t, 0, 10); }
static void swapped(struct text *t) { char *p = t->line[4]; t->line[4] = t->line[5]; t->line[5] = p; }
static void doubled(struct text *t) { memmove(t->line + 5, t->line + 4, (t->n - 4) * sizeof(*t->line)); t->line[5] = str_dup(t->line[4]); t->n++; }
static void put_between(struct text *t)
{
	memmove(t->line + 5, t->line + 4, (t->n - 4) * sizeof(*t->line));
	t->line[4] = str_dup("{\"seq\":5,\"event\":\"decided\",\"prev\":\"0\"}");
	t->n++;
}
static void renumbered(struct text *t)
{
	/* One is taken out and those behind it get other numbers: their hashes give it away. */
	drop(t, 4, 1);
	for (size_t i = 4; i < t->n; i++) {
		char *s = str_fmt("{\"seq\":%zu%s", i + 1, strchr(t->line[i], ','));
		free(t->line[i]);
		t->line[i] = s;
	}
}

static const struct {
	const char *name;
	void (*change)(struct text *t);
	const char *says;
} tampers[] = {
	{ "altered in the middle", alter_middle, "record 5 was altered" },
	{ "first one's prev altered", alter_first, "record 1 was altered" },
	{ "first one altered", alter_first_text, "record 1 was altered" },
	{ "last one altered", alter_last, "record 10 was altered" },
	{ "prev altered", alter_prev, "record 7 was altered" },
	{ "a blank added", alter_space, "record 4 was altered" },
	{ "no JSON", not_json, "record 3 was altered" },
	{ "an empty line", empty_line, "record 8 was altered" },
	{ "one missing", missing_one, "record 5 is missing" },
	{ "three missing", missing_three, "records 5 to 7 are missing" },
	{ "the first missing", missing_first, "records 1 to 2 are missing" },
	{ "the last missing", missing_last, "record 10 is missing at the end" },
	{ "the tail missing", missing_tail, "records 7 to 10 are missing at the end" },
	{ "all missing", missing_all, "records 1 to 10 are missing" },
	{ "swapped", swapped, "record 5 is missing" },
	{ "doubled", doubled, "record 5 stands after record 5" },
	{ "one put between", put_between, "record 5 stands after record 5" },
	{ "one taken out, renumbered", renumbered, "record 4 was altered" },
};

static void what_was_tampered_with_is_named(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(tampers); i++) {
		struct text t;
		struct chain c;
		struct chain_verdict v;

		fresh(10);
		open_chain(&c, 1 << 20, 4);
		v = verify(&c);
		assert_true(v.ok);
		assert_int_equal(v.records, 10);
		read_text(&t);
		assert_int_equal(t.n, 10);
		tampers[i].change(&t);
		write_text(&t);
		v = verify(&c);
		if (v.ok)
			fail_msg("%s: not found", tampers[i].name);
		if (!strstr(v.problem, tampers[i].says) && !(tampers[i].change == renumbered && strstr(v.problem, "altered")))
			fail_msg("%s: '%s' was expected, '%s' said", tampers[i].name, tampers[i].says, v.problem);
		chain_release(&c);
	}
}

/* What was done while no supervisor was there is still found after it has gone on writing. */
static void tampering_is_not_forgotten_by_a_restart(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(tampers); i++) {
		struct text t;
		struct chain c;

		fresh(10);
		read_text(&t);
		tampers[i].change(&t);
		write_text(&t);
		open_chain(&c, 1 << 20, 4);
		add(&c, 11, 15);
		close_chain(&c);
		open_chain(&c, 1 << 20, 4);
		struct chain_verdict v = verify(&c);
		if (v.ok)
			fail_msg("%s: forgotten after a restart", tampers[i].name);
		chain_release(&c);
	}
}

static void a_cut_tail_is_told_at_the_start(void **unused)
{
	struct text t;
	struct chain c;

	(void)unused;
	fresh(10);
	read_text(&t);
	missing_tail(&t);
	write_text(&t);
	open_chain(&c, 1 << 20, 4);
	assert_string_equal(found, "records 7 to 10 of the audit log are missing");
	assert_int_equal(c.top.seq, 11); /* {"event": "gap"} */
	add(&c, 1, 3);
	struct chain_verdict v = verify(&c);
	assert_false(v.ok);
	assert_string_equal(v.problem, "records 7 to 10 are missing");
	close_chain(&c);
}

static void a_lost_head_is_told(void **unused)
{
	struct chain c;
	AUTO_FD fd = -1;

	(void)unused;
	fresh(5);
	fd = dir_fd();
	assert_int_equal(unlinkat(fd, "head", 0), 0);
	open_chain(&c, 1 << 20, 4);
	assert_non_null(strstr(found, "head was gone"));
	add(&c, 6, 8);
	struct chain_verdict v = verify(&c);
	assert_false(v.ok);
	assert_non_null(strstr(v.problem, "head was gone when record 6"));
	close_chain(&c);
	assert_int_equal(atomicfile_write(fd, "head", "{}", 2, 0600, NULL), 0);
	open_chain(&c, 1 << 20, 4);
	assert_non_null(strstr(found, "head was damaged"));
	chain_release(&c);
}

/* ---- crashes ------------------------------------------------------------------------------------------------------------------------- */

static void a_crash_without_a_sync_loses_nothing(void **unused)
{
	struct chain c;

	(void)unused;
	fresh(3);
	open_chain(&c, 1 << 20, 4);
	add(&c, 4, 9);
	chain_release(&c); /* the head still says 3 */
	open_chain(&c, 1 << 20, 4);
	assert_string_equal(found, "");
	assert_int_equal(c.top.seq, 9);
	add(&c, 10, 10);
	struct chain_verdict v = verify(&c);
	assert_string_equal(v.problem, "");
	assert_true(v.ok);
	assert_int_equal(v.records, 10);
	chain_release(&c);
}

static void a_torn_line_is_cut_and_told(void **unused)
{
	static const char *const ends[] = { "{\"seq\":4,\"ev", "x", "{\"seq\":4}" };

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		struct chain c;
		fresh(3);
		AUTO_FD fd = dir_fd();
		AUTO_FD log = openat(fd, FIRST, O_WRONLY | O_APPEND | O_CLOEXEC);
		assert_int_equal(fd_write_full(log, ends[i], strlen(ends[i])), 0);
		open_chain(&c, 1 << 20, 4);
		assert_non_null(strstr(found, "torn line"));
		assert_non_null(strstr(found, "after record 3"));
		add(&c, 1, 1);
		struct chain_verdict v = verify(&c);
		assert_string_equal(v.problem, "");
		assert_int_equal(v.records, 5);
		close_chain(&c);
	}
}

static void an_empty_log(void **unused)
{
	struct chain c;

	(void)unused;
	for (int i = 0; i < 3; i++) {
		open_chain(&c, 1 << 20, 4);
		assert_string_equal(found, "");
		struct chain_verdict v = verify(&c);
		assert_true(v.ok);
		assert_int_equal(v.records, 0);
		if (i == 1)
			sync_chain(&c);
		chain_release(&c);
	}
}

/* ---- files --------------------------------------------------------------------------------------------------------------------------- */

static void old_files_go_and_the_rest_is_whole(void **unused)
{
	struct chain c;
	uint64_t firsts[CHAIN_FILES_MAX];

	(void)unused;
	open_chain(&c, 1000, 3);
	for (unsigned i = 1; i <= 200; i++) {
		add(&c, i, i);
		if (i % 2)
			sync_chain(&c);
	}
	sync_chain(&c);
	assert_true(chain_files(c.dirfd, firsts, CHAIN_FILES_MAX) <= 3);
	assert_true(c.ends.base > 100);
	struct chain_verdict v = verify(&c);
	assert_string_equal(v.problem, "");
	assert_int_equal(v.records, 200 - c.ends.base + 1);
	uint64_t base = c.ends.base;
	close_chain(&c);
	open_chain(&c, 1000, 3);
	assert_string_equal(found, "");
	assert_int_equal(c.ends.base, base);
	assert_true(verify(&c).ok);
	/* The oldest that should be there is not. */
	char name[CHAIN_NAME];
	chain_name(name, base);
	assert_int_equal(unlinkat(c.dirfd, name, 0), 0);
	v = verify(&c);
	assert_false(v.ok);
	assert_non_null(strstr(v.problem, "are missing"));
	close_chain(&c);
}

static void a_middle_file_missing_is_found(void **unused)
{
	struct chain c;
	uint64_t firsts[CHAIN_FILES_MAX];
	char name[CHAIN_NAME], want[64];

	(void)unused;
	open_chain(&c, 1000, 10);
	for (unsigned i = 1; i <= 40; i++) {
		add(&c, i, i);
		sync_chain(&c);
	}
	size_t n = chain_files(c.dirfd, firsts, CHAIN_FILES_MAX);
	assert_true(n >= 4);
	chain_name(name, firsts[1]);
	assert_int_equal(unlinkat(c.dirfd, name, 0), 0);
	snprintf(want, sizeof(want), "records %u to %u are missing", (unsigned)firsts[1], (unsigned)firsts[2] - 1);
	struct chain_verdict v = verify(&c);
	assert_string_equal(v.problem, want);
	close_chain(&c);
}

static void a_record_that_is_too_long(void **unused)
{
	struct chain c;
	char *s = malloc(CHAIN_LINE_MAX + 1);

	(void)unused;
	memset(s, 'a', CHAIN_LINE_MAX);
	s[CHAIN_LINE_MAX] = '\0';
	open_chain(&c, 1 << 20, 4);
	assert_int_equal(chain_add_take(&c, json_pack("{s:s, s:s}", "event", "applied", "text", s)), 0);
	free(s);
	struct text t;
	read_text(&t);
	assert_int_equal(t.n, 1);
	assert_non_null(strstr(t.line[0], "too-long"));
	assert_non_null(strstr(t.line[0], "applied"));
	free(t.line[0]);
	assert_true(verify(&c).ok);
	close_chain(&c);
}

/* A disk that takes nothing: kept, then written in order; what there was no room for is counted. */
static void a_full_disk(void **unused)
{
	struct chain c;

	(void)unused;
	open_chain(&c, 1 << 30, 4);
	add(&c, 1, 2);
	int good = c.fd;
	c.fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	assert_true(c.fd >= 0);
	assert_int_equal(chain_add_take(&c, json_pack("{s:s}", "event", "kept")), -EAGAIN);
	unsigned lost = 0;
	for (unsigned i = 0; i < 60000; i++)
		lost += chain_add_take(&c, json_pack("{s:s}", "event", "kept")) == -ENOBUFS;
	assert_true(lost > 0);
	assert_int_equal(c.lost, lost);
	close(c.fd);
	c.fd = good;
	assert_int_equal(chain_add_take(&c, json_pack("{s:s}", "event", "after")), -ENOBUFS); /* no room yet for what tells of the loss */
	assert_int_equal(chain_flush(&c), 0);
	add(&c, 3, 3);
	struct chain_verdict v = verify(&c);
	assert_string_equal(v.problem, "");
	assert_int_equal(c.lost, 0);
	assert_int_equal(v.records, 2 + (60001 - lost) + 2); /* {"event": "lost"} and the last */
	close_chain(&c);
}

/* ---- the tail ------------------------------------------------------------------------------------------------------------------------ */

static bool even(void *arg, const json_t *o)
{
	(void)arg;
	return json_integer_value(json_object_get(o, "n")) % 2 == 0;
}

static bool any(void *arg, const json_t *o)
{
	(void)arg;
	return json_is_object(o);
}

static void the_tail_over_files(void **unused)
{
	struct chain c;

	(void)unused;
	open_chain(&c, 4000, 100);
	for (unsigned i = 1; i <= 500; i++) {
		add(&c, i, i);
		sync_chain(&c);
	}
	json_t *l = chain_tail(c.dirfd, even, NULL, 100, SIZE_MAX, UINT64_MAX);
	assert_int_equal(json_array_size(l), 100);
	for (size_t i = 0; i < 100; i++)
		assert_int_equal(json_integer_value(json_object_get(json_array_get(l, i), "n")), 302 + 2 * i);
	json_decref(l);
	l = chain_tail(c.dirfd, any, NULL, 1000, SIZE_MAX, UINT64_MAX);
	assert_int_equal(json_array_size(l), 500);
	json_decref(l);
	l = chain_tail(c.dirfd, any, NULL, 1000, SIZE_MAX, 1);
	assert_in_range(json_array_size(l), 1, 499);
	json_decref(l);
	l = chain_tail(c.dirfd, any, NULL, 1000, 1000, UINT64_MAX);
	assert_in_range(json_array_size(l), 5, 10);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(l, json_array_size(l) - 1), "n")), 500);
	json_decref(l);
	l = chain_tail(c.dirfd, any, NULL, 0, SIZE_MAX, UINT64_MAX);
	assert_int_equal(json_array_size(l), 0);
	json_decref(l);
	close_chain(&c);
}

/* Lines that lie across the blocks the reader takes. */
static void the_tail_of_a_large_file(void **unused)
{
	struct chain c;
	char filler[3001];

	(void)unused;
	memset(filler, 'f', sizeof(filler) - 1);
	filler[sizeof(filler) - 1] = '\0';
	open_chain(&c, 1 << 30, 4);
	for (unsigned i = 1; i <= 600; i++)
		assert_int_equal(chain_add_take(&c, json_pack("{s:i, s:s}", "n", i, "text", filler + i % 2999)), 0);
	json_t *l = chain_tail(c.dirfd, any, NULL, 1000, SIZE_MAX, UINT64_MAX);
	assert_int_equal(json_array_size(l), 600);
	for (size_t i = 0; i < 600; i++)
		assert_int_equal(json_integer_value(json_object_get(json_array_get(l, i), "n")), 1 + i);
	json_decref(l);
	close_chain(&c);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_was_tampered_with_is_named), T(tampering_is_not_forgotten_by_a_restart), T(a_cut_tail_is_told_at_the_start), T(a_lost_head_is_told),
		T(a_crash_without_a_sync_loses_nothing), T(a_torn_line_is_cut_and_told), T(an_empty_log), T(old_files_go_and_the_rest_is_whole),
		T(a_middle_file_missing_is_found), T(a_record_that_is_too_long), T(a_full_disk), T(the_tail_over_files), T(the_tail_of_a_large_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
