/* SPDX-License-Identifier: Apache-2.0 */
/* What is told to people: errors with a sentence, log lines, times. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/err.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/rnd.h"
#include "core/base/utf8.h"

static void sentences(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(err_set(&e, EINVAL, "no '%s'", "x"), -EINVAL);
	assert_string_equal(e.msg, "no 'x'");
	assert_int_equal(err_errno(&e, EACCES, "cannot open '%s'", "disk.img"), -EACCES);
	assert_string_equal(e.msg, "cannot open 'disk.img': permission denied");
	assert_int_equal(err_wrap(&e, "start sandbox '%s'", "web"), -EACCES);
	assert_string_equal(e.msg, "start sandbox 'web': cannot open 'disk.img': permission denied");
	assert_int_equal(e.code, EACCES);
	assert_int_equal(err_errno(&e, EIO, "x"), -EIO);
	assert_string_equal(e.msg, "x: input/output error");
	assert_int_equal(err_errno(&e, 54321, "x"), -54321);
	assert_string_equal(e.msg, "x: error 54321");
	assert_int_equal(err_set(NULL, EPERM, "unheard"), -EPERM);
	assert_int_equal(err_errno(NULL, EPERM, "unheard"), -EPERM);
	assert_true(err_wrap(NULL, "unheard") < 0);
}

static void long_sentences_are_cut_between_characters(void **state)
{
	(void)state;
	for (size_t pad = 500; pad < 520; pad++) {
		struct err e = ERR_INIT;
		char text[600];

		memset(text, 'a', pad);
		memcpy(text + pad, "\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80", 13);
		err_set(&e, EINVAL, "%s", text);
		assert_true(strlen(e.msg) < sizeof(e.msg));
		assert_true(utf8_clean(e.msg));
		if (strlen(text) >= sizeof(e.msg))
			assert_string_equal(e.msg + strlen(e.msg) - 3, "...");
		else
			assert_string_equal(e.msg, text);
		for (int i = 0; i < 5; i++)
			err_wrap(&e, "context %d", i);
		assert_memory_equal(e.msg, "context 4: context 3: ", 22);
		assert_true(utf8_clean(e.msg));
	}
}

static void times(void **state)
{
	char text[32];

	(void)state;
	clock_rfc3339(text, 0);
	assert_string_equal(text, "1970-01-01T00:00:00.000Z");
	clock_rfc3339(text, UINT64_C(1767323045678999999));
	assert_string_equal(text, "2026-01-02T03:04:05.678Z");
	clock_rfc3339(text, UINT64_C(951782400000000000));
	assert_string_equal(text, "2000-02-29T00:00:00.000Z");
	clock_rfc3339(text, UINT64_MAX);
	assert_int_equal(strlen(text), 24);
	const uint64_t a = clock_ns(), m = clock_ms();
	assert_true(clock_ns() >= a && m >= a / 1000000);
	assert_true(clock_wall_ns() > UINT64_C(1600000000000000000));
}

static void random_numbers_differ(void **state)
{
	uint8_t a[32] = { 0 }, b[32] = { 0 };

	(void)state;
	rnd_bytes(a, sizeof(a));
	rnd_bytes(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
	assert_false(rnd_u32() == rnd_u32() && rnd_u32() == rnd_u32());
}

/* What was logged since the last call. */
static const char *logged(int fd)
{
	static char text[8192];
	const ssize_t n = read(fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void log_lines(void **state)
{
	int p[2];

	(void)state;
	assert_int_equal(pipe2(p, O_NONBLOCK | O_CLOEXEC), 0);
	unsetenv("BULKHEAD_LOG");
	log_init("tester");
	log_to(p[1]);
	errno = 77;
	log_warn("title \x1b]0;%s\x07\nnext", "x");
	assert_int_equal(errno, 77);
	const char *line = logged(p[0]);
	assert_non_null(strstr(line, "Z WARN tester["));
	assert_non_null(strstr(line, "]: title ^[]0;x^G^Jnext\n"));
	log_debug("unheard");
	assert_string_equal(logged(p[0]), "");
	log_level(LOG_DEBUG);
	log_debug("heard");
	assert_non_null(strstr(logged(p[0]), "heard\n"));
	/* One line, however long its text. */
	char longer[3000];
	memset(longer, '\x01', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	log_info("%s", longer);
	line = logged(p[0]);
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
	close(p[0]);
	log_to(2);
}

static void a_flood_is_counted_not_written(void **state)
{
	struct log_limit lim = { 0 };
	int p[2], lines = 0;

	(void)state;
	assert_int_equal(pipe2(p, O_NONBLOCK | O_CLOEXEC), 0);
	log_to(p[1]);
	log_level(LOG_INFO);
	for (int i = 0; i < 1000; i++)
		log_limited(&lim, 5, LOG_WARN, "guest says %d", i);
	for (const char *at = logged(p[0]); (at = strchr(at, '\n')); at++)
		lines++;
	assert_in_range(lines, 5, 8); /* a slow machine may refill one or two in between */
	assert_true(lim.dropped > 0);
	/* A second later one line may go, and tells of those that did not. */
	lim.last_ns -= UINT64_C(1000000000);
	log_limited(&lim, 5, LOG_WARN, "one more");
	const char *text = logged(p[0]);
	assert_non_null(strstr(text, "lines like the next one were dropped"));
	assert_non_null(strstr(text, "one more"));
	/* After a long silence the burst is whole again, not larger. */
	lim.last_ns -= UINT64_C(3600) * 1000000000;
	for (int i = 0; i < 100; i++)
		log_limited(&lim, 5, LOG_WARN, "again %d", i);
	lines = 0;
	for (const char *at = logged(p[0]); (at = strchr(at, '\n')); at++)
		lines++;
	assert_in_range(lines, 5, 8);
	close(p[0]);
	log_to(2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sentences),
		cmocka_unit_test(long_sentences_are_cut_between_characters),
		cmocka_unit_test(times),
		cmocka_unit_test(random_numbers_differ),
		cmocka_unit_test(log_lines),
		cmocka_unit_test(a_flood_is_counted_not_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
