/* SPDX-License-Identifier: Apache-2.0 */
/* A sandbox's share of the audit log: what repeats is counted, what matters is not pushed out by it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "core/base/str.h"
#include "core/supervisor/fold.h"

static struct fold *f;
static uint64_t now;

static int setup(void **unused)
{
	(void)unused;
	now = 1000;
	f = fold_create(now);
	return f ? 0 : -1;
}

static int teardown(void **unused)
{
	(void)unused;
	fold_destroy(f);
	return 0;
}

static struct net_record refused(const char *host)
{
	struct net_record r = { .event = NET_E_DECIDED, .verdict = NET_DENY, .conn = 5, .ms = 7, .facts = { .port = 443, .path = "/x" }, .rule = "default", .who.pid = 9 };

	str_copy(r.facts.name, sizeof(r.facts.name), host);
	return r;
}

static void empty_bucket(uint8_t event)
{
	struct net_record r = refused("usual.test");

	r.event = event;
	for (unsigned i = 0; i < FOLD_BURST; i++)
		assert_true(fold_take(f, &r, now));
}

struct told {
	unsigned n;
	uint64_t count;
	struct net_record r[300];
	uint64_t counts[300];
};

static void tell(void *arg, const struct net_record *r, uint64_t count)
{
	struct told *t = arg;

	assert_true(t->n < 300);
	t->counts[t->n] = count;
	t->r[t->n++] = *r;
	t->count += count;
}

static void what_repeats_is_counted(void **unused)
{
	struct net_record r = refused("evil.test");
	struct told t = { 0 };

	(void)unused;
	empty_bucket(NET_E_DECIDED);
	assert_true(fold_take(f, &r, now));
	r.event = NET_E_CLOSED;
	r.verdict = NET_ALLOW;
	r.in = 10;
	assert_true(fold_take(f, &r, now));
	for (unsigned i = 0; i < 1000; i++) {
		struct net_record x = refused("evil.test");
		x.conn = i;
		x.facts.path[1] = (char)('a' + i % 26);
		assert_false(fold_take(f, &x, now));
		assert_false(fold_take(f, &r, now));
	}
	assert_false(fold_flush(f, now + FOLD_WINDOW_MS - 1, false, tell, &t));
	assert_true(fold_flush(f, now + FOLD_WINDOW_MS, false, tell, &t));
	assert_int_equal(t.n, 2);
	assert_int_equal(t.counts[0], 1000);
	assert_int_equal(t.r[0].event, NET_E_CLOSED);
	assert_int_equal(t.r[0].in, 10000);
	assert_int_equal(t.counts[1], 1000);
	assert_string_equal(t.r[1].facts.name, "evil.test");
	assert_string_equal(t.r[1].facts.path, "");
	assert_string_equal(t.r[1].rule, "default");
	assert_int_equal(t.r[1].conn + t.r[1].who.pid, 0);
	assert_false(fold_counts(f));
	/* The next window begins with a whole one, unless the bucket has something again. */
	now += FOLD_WINDOW_MS;
	r = refused("evil.test");
	for (unsigned i = 0; i < FOLD_WINDOW_MS / 1000 * FOLD_A_SECOND + 1; i++)
		assert_true(fold_take(f, &r, now));
	assert_false(fold_take(f, &r, now));
}

/* However many hosts are refused: what is let out, injections and alarms have their own places. */
static void one_kind_hides_no_other(void **unused)
{
	struct net_record r;
	struct told t = { 0 };
	char host[64];
	unsigned whole = 0;

	(void)unused;
	empty_bucket(NET_E_DECIDED);
	for (unsigned i = 0; i < 5000; i++) {
		snprintf(host, sizeof(host), "host%u.test", i);
		r = refused(host);
		whole += fold_take(f, &r, now);
	}
	assert_int_equal(whole, 32);
	r = refused("out.test");
	r.verdict = NET_ALLOW;
	assert_true(fold_take(f, &r, now));
	assert_false(fold_take(f, &r, now));
	r.event = NET_E_ALARM;
	r.verdict = NET_DENY;
	for (unsigned i = 0; i < FOLD_BURST; i++) /* of a bucket that refusals do not empty */
		assert_true(fold_take(f, &r, now));
	assert_true(fold_take(f, &r, now));
	assert_false(fold_take(f, &r, now));
	assert_true(fold_flush(f, now, true, tell, &t));
	assert_int_equal(t.count, 5000 - 32 + 1 + 1);
	assert_string_equal(t.r[0].facts.name, "out.test");
	assert_string_equal(t.r[1].facts.name, "out.test");
	assert_int_equal(t.r[1].event, NET_E_ALARM);
	assert_string_equal(t.r[2].facts.name, "");
	assert_string_equal(t.r[2].rule, "more than are told apart");
	assert_int_equal(t.counts[2], 5000 - 32);
}

static void who_is_quiet_is_forgotten(void **unused)
{
	struct net_record r = refused("evil.test");

	(void)unused;
	assert_true(fold_idle(f, now));
	empty_bucket(NET_E_DECIDED);
	fold_take(f, &r, now);
	fold_take(f, &r, now);
	assert_false(fold_idle(f, now));
	now += UINT64_C(1000) * FOLD_BURST / FOLD_A_SECOND;
	assert_false(fold_idle(f, now)); /* it still has to tell */
	fold_flush(f, now, false, tell, &(struct told){ 0 });
	assert_true(fold_idle(f, now));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_repeats_is_counted, setup, teardown),
		cmocka_unit_test_setup_teardown(one_kind_hides_no_other, setup, teardown),
		cmocka_unit_test_setup_teardown(who_is_quiet_is_forgotten, setup, teardown),
	};

	return cmocka_run_group_tests_name("supervisor/fold", tests, NULL, NULL);
}
