/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials on lists of fields, masks over cut bodies, patterns of hosts, pages of denials. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "core/base/str.h"
#include "netpolicy/deny_page.h"
#include "netpolicy/inject.h"
#include "netpolicy/pattern.h"

#define PLACE "bh-placeholder-7f3a"
#define VALUE "sk-live-0123456789abcdef"

static void add(struct inject *in, uint32_t id, const char *host, const char *header, const char *format, const char *place, const char *value, int want)
{
	struct net_secret *m = calloc(1, sizeof(*m));

	m->id = id;
	m->nhosts = 1;
	snprintf(m->service, sizeof(m->service), "service%u", id);
	str_copy(m->hosts[0], sizeof(m->hosts[0]), host);
	str_copy(m->header, sizeof(m->header), header);
	str_copy(m->format, sizeof(m->format), format);
	str_copy(m->placeholder, sizeof(m->placeholder), place);
	str_copy(m->value, sizeof(m->value), value);
	assert_int_equal(inject_set(in, m), want);
	free(m);
}

static int setup(void **state)
{
	return inject_create((struct inject **)state);
}

static int teardown(void **state)
{
	inject_destroy((struct inject **)state);
	return 0;
}

static void put(struct headers *h, const char *name, const char *value)
{
	assert_int_equal(headers_add(h, name, strlen(name), value, strlen(value)), 0);
}

/* One request: fields in, what becomes of them. `want` NULL: an alarm; "-": the field is not there. */
static void requests(void **state)
{
	struct inject *in = *state;
	static const struct { const char *what, *host; bool secure; const char *name, *value, *target, *look, *want, *want_target; } table[] = {
		{ "set", "api.example.org", true, "x", "y", "/", "authorization", "Bearer " VALUE, "/" },
		{ "strips the guest's", "api.example.org", true, "AUTHORIZATION", "Bearer mine", "/", "authorization", "Bearer " VALUE, "/" },
		{ "not elsewhere", "other.example.org", true, "Authorization", "Bearer mine", "/", "authorization", "Bearer mine", "/" },
		{ "not in clear", "api.example.org", false, "x", "y", "/", "authorization", "-", "/" },
		{ "replaces", "api.example.org", true, "x-key", "a" PLACE "b" PLACE, "/", "x-key", "a" VALUE "b" VALUE, "/" },
		{ "in a query", "api.example.org", true, "x", "y", "/p?key=" PLACE "&a=b", "x", "y", "/p?key=" VALUE "&a=b" },
		{ "alarm", "other.example.org", true, "x-key", "a" PLACE "b", "/", "x", NULL, "/" },
		{ "alarm in clear", "api.example.org", false, "x-key", PLACE, "/", "x", NULL, "/" },
		{ "alarm in a path", "other.example.org", true, "x", "y", "/p/" PLACE, "x", NULL, "/" },
		{ "alarm in a name", "other.example.org", true, PLACE, "y", "/", "x", NULL, "/" },
		/* base64 of "u:bh-placeholder-7f3a", in both alphabets' common part; and with blanks, without padding, in another case */
		{ "alarm in Basic", "other.example.org", true, "x-auth", "Basic dTpiaC1wbGFjZWhvbGRlci03ZjNh", "/", "x", NULL, "/" },
		{ "alarm in basic", "other.example.org", true, "x-auth", "bAsIc \t dTpiaC1wbGFjZWhvbGRlci03ZjNh", "/", "x", NULL, "/" },
		{ "in Basic", "api.example.org", true, "x-auth", "Basic dTpiaC1wbGFjZWhvbGRlci03ZjNh", "/", "x-auth", "Basic dTpzay1saXZlLTAxMjM0NTY3ODlhYmNkZWY=", "/" },
		{ "identity", "api.example.org", true, "Accept-Encoding", "gzip, br", "/", "accept-encoding", "identity", "/" },
	};

	add(in, 1, "api.example.org", "Authorization", "Bearer %s", PLACE, VALUE, 0);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct headers h;
		struct inject_report rep;
		char *target = str_dup(table[i].target);

		headers_init(&h);
		put(&h, table[i].name, table[i].value);
		assert_int_equal(inject_request(in, table[i].host, 443, table[i].secure, &h, &target, &rep), 0);
		if (rep.alarm != (table[i].want == NULL))
			fail_msg("%s: alarm %d", table[i].what, rep.alarm);
		if (table[i].want) {
			const struct header *f = headers_get(&h, table[i].look);
			const char *got = f ? f->value : "-";

			if (strcmp(got, table[i].want) != 0 || strcmp(target, table[i].want_target) != 0 || headers_count(&h, table[i].look) > 1)
				fail_msg("%s: %s, %s", table[i].what, got, target);
		} else {
			assert_string_equal(rep.service, "service1");
			assert_string_equal(headers_get(&h, table[i].name)->value, table[i].value);
		}
		headers_release(&h);
		free(target);
	}
}

/* One service, two rules: its placeholder is at home with both hosts, and nowhere else. */
static void one_placeholder_of_two_rules(void **state)
{
	static const char *const hosts[] = { "api.example.org", "git.example.org", "other.example.org" };
	struct inject *in = *state;

	add(in, 1, hosts[0], "Authorization", "Bearer %s", PLACE, VALUE, 0);
	add(in, 2, hosts[1], "Authorization", "basic:me", PLACE, VALUE, 0);
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++)
		for (int secure = 0; secure < 2; secure++) {
			struct headers h;
			struct inject_report rep;
			char *target = str_dup("/");

			headers_init(&h);
			put(&h, "X-Token", PLACE);
			assert_int_equal(inject_request(in, hosts[i], 443, secure, &h, &target, &rep), 0);
			assert_int_equal(rep.alarm, i == 2 || !secure);
			assert_string_equal(headers_get(&h, "X-Token")->value, rep.alarm ? PLACE : VALUE);
			headers_release(&h);
			free(target);
		}
}

static void secrets_change(void **state)
{
	struct inject *in = *state;
	struct headers h;
	struct inject_report rep;
	char *target = str_dup("/");

	add(in, 1, "a.example", "X-Key", "%s", "", "first-value", 0);
	add(in, 1, "a.example", "X-Key", "%s", "", "second-value", 0);
	add(in, 2, "a.example", "X-Other", "Token token=%s;", "", "third-value", 0);
	assert_true(inject_wants(in, "a.example", 443));
	assert_false(inject_wants(in, "b.example", 443));
	headers_init(&h);
	assert_int_equal(inject_request(in, "a.example", 443, true, &h, &target, &rep), 0);
	assert_int_equal(rep.ndone, 2);
	assert_string_equal(headers_get(&h, "x-key")->value, "second-value");
	assert_string_equal(headers_get(&h, "x-other")->value, "Token token=third-value;");
	assert_true(headers_get(&h, "x-key")->secret);
	inject_drop(in, 1);
	inject_drop(in, 2);
	inject_drop(in, 99);
	assert_false(inject_wants(in, "a.example", 443));
	headers_release(&h);
	free(target);
}

static void illegal_secrets(void **state)
{
	struct inject *in = *state;

	add(in, 1, "a.example", "X-Key", "%s", "", "value\r\nInjected: yes", -EINVAL);
	add(in, 1, "a.example", "X Key", "%s", "", "value", -EINVAL);
	add(in, 1, "a.example", "X-Key", "no place", "", "value", -EINVAL);
	add(in, 1, "a.example", "X-Key", "%s %s", "", "value", -EINVAL);
	add(in, 1, "a.example", "X-Key", "%n%s", "", "value", -EINVAL);
	add(in, 1, "a.example", "X-Key", "a\n%s", "", "value", -EINVAL);
	add(in, 1, "a.example", "X-Key", "%s", "", "", -EINVAL);
	add(in, 1, "a.example", "X-Key", "%s", "", "good", 0);
	add(in, 1, "a.example", "X-Key", "", "", "value", -EINVAL);
	assert_false(inject_wants(in, "a.example", 443)); /* rather none than the old one */
	for (uint32_t i = 0; i < INJECT_SECRETS_MAX; i++)
		add(in, 100 + i, "a.example", "", "", "", "value", 0);
	add(in, 1, "a.example", "", "", "", "value", -ENOSPC);
}

static void longest_basic(void **state)
{
	struct inject *in = *state;
	char value[8192], user[128] = "basic:";
	struct headers h;
	struct inject_report rep;
	char *target = str_dup("/");

	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	memset(user + 6, 'u', sizeof(user) - 7);
	user[127] = '\0';
	add(in, 1, "a.example", "Authorization", user, PLACE, value, 0);
	headers_init(&h);
	put(&h, "x", PLACE);
	assert_int_equal(inject_request(in, "a.example", 443, true, &h, &target, &rep), 0);
	assert_int_equal(headers_get(&h, "authorization")->vlen, 6 + 4 * ((121 + 1 + 8191 + 2) / 3));
	assert_int_equal(headers_get(&h, "x")->vlen, 8191);
	headers_release(&h);
	free(target);
}

static void mask_all(const struct inject *in, const char *text, size_t step, char *out)
{
	struct mask *m = NULL;
	struct buf b;
	const size_t n = strlen(text);

	assert_int_equal(mask_create(&m, in, "a.example", 443), 0);
	assert_non_null(m);
	buf_init(&b, 4096);
	for (size_t at = 0; at < n; at += step)
		assert_int_equal(mask_feed(m, (const uint8_t *)text + at, n - at < step ? n - at : step, &b), 0);
	assert_true(mask_held(m) < strlen(VALUE) * 2);
	assert_int_equal(mask_end(m, &b), 0);
	memcpy(out, buf_head(&b), buf_size(&b));
	out[buf_size(&b)] = '\0';
	buf_release(&b);
	mask_destroy(&m);
}

static void masks_over_every_cut(void **state)
{
	struct inject *in = *state;
	static const char text[] = "sk-sk-live-" VALUE "sk-live-0123456789abcdeX" VALUE VALUE " end sk-live-0123456789abcde";
	char want[sizeof(text)], got[sizeof(text)];

	add(in, 1, "a.example", "X-Key", "%s", "", VALUE, 0);
	memcpy(want, text, sizeof(text));
	for (char *at; (at = strstr(want, VALUE)) != NULL;)
		memset(at, '*', strlen(VALUE));
	for (size_t step = 1; step < sizeof(text); step++) {
		mask_all(in, text, step, got);
		assert_string_equal(got, want);
	}
}

static void masks_hold_only_what_may_be_a_beginning(void **state)
{
	struct inject *in = *state;
	struct mask *m = NULL;
	struct buf b;

	add(in, 1, "a.example", "X-Key", "%s", "", VALUE, 0);
	assert_int_equal(mask_create(&m, in, "a.example", 443), 0);
	inject_drop(in, 1); /* the mask keeps what it looks for */
	buf_init(&b, 4096);
	assert_int_equal(mask_feed(m, (const uint8_t *)"data: 1\n\n", 9, &b), 0);
	assert_int_equal(buf_size(&b), 9);
	assert_int_equal(mask_held(m), 0);
	assert_int_equal(mask_feed(m, (const uint8_t *)"xsk-l", 5, &b), 0);
	assert_int_equal(mask_held(m), 4);
	assert_int_equal(mask_feed(m, (const uint8_t *)"x", 1, &b), 0);
	assert_int_equal(mask_held(m), 0);
	assert_int_equal(buf_size(&b), 15);
	buf_release(&b);
	mask_destroy(&m);
	assert_int_equal(mask_create(&m, in, "a.example", 443), 0);
	assert_null(m);
}

static void masks_of_basic_and_fields(void **state)
{
	struct inject *in = *state;
	struct mask *m = NULL;
	struct headers h;
	char got[256];

	add(in, 1, "a.example", "Authorization", "basic:x", "", VALUE, 0);
	add(in, 2, "a.example", "", "", "", "abc", 0); /* too short to be masked */
	mask_all(in, "Basic eDpzay1saXZlLTAxMjM0NTY3ODlhYmNkZWY= abc", 5, got);
	assert_string_equal(got, "Basic ***********************************= abc");
	assert_int_equal(mask_create(&m, in, "a.example", 443), 0);
	headers_init(&h);
	put(&h, "X-Echo", "<" VALUE ">");
	mask_headers(m, &h);
	assert_string_equal(h.v[0].value, "<************************>");
	headers_release(&h);
	mask_destroy(&m);
}

static void patterns(void **state)
{
	(void)state;
	static const struct { const char *pattern, *host; uint16_t port; bool want; } table[] = {
		{ "a.example", "a.example", 443, true },	{ "A.Example", "a.example", 443, true },	{ "a.example", "b.a.example", 443, false },
		{ "a.example", "aa.example", 443, false },	{ "*.example", "a.example", 443, true },	{ "*.example", "b.a.example", 443, false },
		{ "*.example", "example", 443, false },		{ "*.example", ".example", 443, false },	{ "**.example", "b.a.example", 443, true },
		{ "**.example", "a.example", 443, true },	{ "**.example", "example", 443, false },	{ "**.example", "badexample", 443, false },
		{ "*.example", "badexample", 443, false },	{ "a.example:443", "a.example", 443, true },	{ "a.example:443", "a.example", 8443, false },
		{ "**.example:443", "c.example", 443, true },	{ "*", "a.example", 443, false },		{ "**", "a.example", 443, false },
		{ "*.", "a.", 443, false },			{ "", "", 443, false },				{ "*.*", "a.b", 443, false },
		{ "a.example:x", "a.example", 443, false },	{ "::1", "::1", 443, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (pattern_matches(table[i].pattern, table[i].host, table[i].port) != table[i].want)
			fail_msg("%s %s:%u", table[i].pattern, table[i].host, table[i].port);
}

static void pages(void **state)
{
	(void)state;
	struct deny d = { .why = DENY_RULE, .method = "GET", .scheme = "https", .host = "a.example", .path = "/\x1b[31m\"x", .port = 8443,
			  .rule = "deny \"a\"\n\x07", .scope = "global", .sandbox = "blue" };
	struct buf b;

	for (int why = 0; why < DENY_NUM; why++)
		for (int json = 0; json < 2; json++) {
			buf_init(&b, DENY_PAGE_MAX);
			d.why = (enum deny_why)why;
			deny_page(&b, json, &d);
			assert_true(buf_ok(&b) && buf_size(&b) > 40);
			assert_null(memchr(buf_head(&b), 0x1b, buf_size(&b)));
			assert_null(memchr(buf_head(&b), 0x07, buf_size(&b)));
			assert_int_equal(memmem(buf_head(&b), buf_size(&b), "bulkhead policy allow a.example:8443 --sandbox blue", 51) != NULL, why == DENY_RULE);
			assert_true(deny_status((enum deny_why)why) >= 400);
			buf_release(&b);
		}
	static const struct { const char *accept; bool json; } accepts[] = {
		{ "application/json", true }, { "text/html,application/json;q=0.9", false }, { "*/*", false }, { "application/vnd.x+json, */*", true }, { "application/json, text/plain, */*", true }
	};
	for (size_t i = 0; i < ARRAY_SIZE(accepts); i++) {
		struct headers h;

		headers_init(&h);
		put(&h, "Accept", accepts[i].accept);
		assert_int_equal(deny_wants_json(&h), accepts[i].json);
		headers_release(&h);
	}
}

/* Every cut of a body, and what only begins like a placeholder. */
static void bodies(void **state)
{
	static const char body[] = "a=bh-placeholder-7f3bh-placeholder-7f3a!", almost[] = "bh-placeholder-7f3bh-placeholder-7f3 bh-placeholder";
	struct inject *in = *state;
	struct watch *w;

	assert_int_equal(watch_create(&w, in, "other.example.org", 443, true), 0);
	assert_null(w);
	add(in, 1, "api.example.org", "Authorization", "Bearer %s", PLACE, VALUE, 0);
	add(in, 2, "third.example.org", "Authorization", "Bearer %s", PLACE, VALUE, 0);
	add(in, 3, "short.example.org", "", "", "tiny", VALUE, 0);
	assert_int_equal(watch_create(&w, in, "api.example.org", 443, true), 0);
	assert_null(w);
	assert_int_equal(watch_create(&w, in, "api.example.org", 443, false), 0);
	assert_non_null(w);
	watch_destroy(&w);
	for (size_t piece = 1; piece < sizeof(body); piece++) {
		const char *whose = NULL;
		size_t at = 0;

		assert_int_equal(watch_create(&w, in, "other.example.org", 443, true), 0);
		for (; at < sizeof(almost) - 1; at += piece)
			assert_null(watch_feed(w, (const uint8_t *)almost + at, at + piece < sizeof(almost) - 1 ? piece : sizeof(almost) - 1 - at));
		for (at = 0; at < sizeof(body) - 1 && !whose; at += piece)
			whose = watch_feed(w, (const uint8_t *)body + at, at + piece < sizeof(body) - 1 ? piece : sizeof(body) - 1 - at);
		assert_non_null(whose);
		assert_string_equal(whose, "service1");
		assert_true(at >= sizeof(body) - 2); /* with its last byte, not before */
		watch_destroy(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(requests, setup, teardown), cmocka_unit_test_setup_teardown(bodies, setup, teardown),
		cmocka_unit_test_setup_teardown(one_placeholder_of_two_rules, setup, teardown),
		cmocka_unit_test_setup_teardown(secrets_change, setup, teardown),
		cmocka_unit_test_setup_teardown(illegal_secrets, setup, teardown),
		cmocka_unit_test_setup_teardown(longest_basic, setup, teardown),
		cmocka_unit_test_setup_teardown(masks_over_every_cut, setup, teardown),
		cmocka_unit_test_setup_teardown(masks_hold_only_what_may_be_a_beginning, setup, teardown),
		cmocka_unit_test_setup_teardown(masks_of_basic_and_fields, setup, teardown),
		cmocka_unit_test(patterns),
		cmocka_unit_test(pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
