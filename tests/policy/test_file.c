/* SPDX-License-Identifier: Apache-2.0 */
/* core/policytext: what a policy.yaml says, where it is wrong, and that edits leave the rest as it was. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/str.h"
#include "core/policytext/policyfile.h"

static const char example[] =
	"# mine\n"
	"default: deny\n"
	"preset: balanced\n"
	"\n"
	"allow:\n"
	"  # the mirror\n"
	"  - \"**.mirror.test:80,443\"   # both\n"
	"  - api.example.org GET /v1/**\n"
	"  - host: db.example.org\n"
	"    port: 5432\n"
	"    tcp: true\n"
	"    note: the team's\n"
	"  - host: 2001:db8::1\n"
	"    ports: [443, 8000-8010]\n"
	"    methods: [GET, head]\n"
	"    path: /x/*\n"
	"# what nobody needs\n"
	"deny: [tracker.test, \"*.ads.test\"]\n"
	"ask:\n"
	"\n"
	"# the end\n";

static void texts(const struct policyfile *pf, char *dst, size_t cap)
{
	size_t at = 0;

	dst[0] = '\0';
	for (size_t i = 0; i < pf->n && at < cap; i++) {
		char line[RULE_TEXT_MAX];
		rule_text(&pf->rules[i], true, line, sizeof(line));
		at += (size_t)snprintf(dst + at, cap - at, "%s%s", i ? "; " : "", line);
	}
}

static void what_a_file_says(void **state)
{
	struct policyfile pf;
	struct err e = ERR_INIT;
	char got[1024];

	(void)state;
	if (policyfile_parse(example, sizeof(example) - 1, "policy.yaml", RULE_SANDBOX, &pf, &e))
		fail_msg("%s", e.msg);
	texts(&pf, got, sizeof(got));
	assert_string_equal(got, "allow **.mirror.test:80,443; allow api.example.org GET /v1/**; allow tcp db.example.org:5432; "
				 "allow [2001:db8::1]:443,8000-8010 GET,HEAD /x/*; deny tracker.test; deny *.ads.test");
	assert_true(pf.has_default && pf.def == NET_DENY);
	assert_string_equal(pf.preset, "balanced");
	assert_string_equal(pf.rules[2].note, "the team's");
	assert_int_equal(pf.rules[0].scope, RULE_SANDBOX);
	policyfile_release(&pf);
	static const char *const empty[] = { "", "\n", "# nothing\n", "---\n", "allow:\ndeny: []\n", "{}" };
	for (size_t i = 0; i < ARRAY_SIZE(empty); i++) {
		if (policyfile_parse(empty[i], strlen(empty[i]), "policy.yaml", RULE_GLOBAL, &pf, &e))
			fail_msg("%s", e.msg);
		assert_int_equal(pf.n, 0);
		assert_false(pf.has_default);
		policyfile_release(&pf);
	}
}

static const struct {
	const char *text, *where, *word;
} wrong[] = {
	{ "allow:\n  - *.example.org\n", "2:", "stands in quotes" },
	{ "allow:\n  - **.example.org\n", "2:", "stands in quotes" },
	{ "allow: [*.example.org]\n", "1:", "stands in quotes" },
	{ "allow:\n  - \"a b.test\"\n", "2:5", "neither a method" },
	{ "allow:\n  - a.test\n  - a.test:99999\n", "3:5", "is no port" },
	{ "allow:\n- https://a.test/x\n", "2:3", "without a scheme" },
	{ "allow:\n  - deny a.test\n", "2:5", "stands in the list 'allow'" },
	{ "allow: a.test\n", "1:8", "must be a list" },
	{ "allow:\n  a.test: 443\n", "2:3", "must be a list" },
	{ "alow:\n  - a.test\n", "1:1", "'alow' is not known here" },
	{ "allow: []\nallow: []\n", "2:1", "second time" },
	{ "default: maybe\n", "1:10", "allow, deny or ask" },
	{ "default: [ask]\n", "1:10", "allow, deny or ask" },
	{ "preset: nice\n", "1:9", "open, balanced, locked or none" },
	{ "- a\n- b\n", "1:1", "key: value" },
	{ "just text\n", "1:1", "key: value" },
	{ "allow:\n  - host: a.test\n    prot: 443\n", "3:5", "'prot' is not known" },
	{ "allow:\n  - port: 443\n", "2:5", "needs a 'host'" },
	{ "allow:\n  - host: a.test\n    port: [1, [2]]\n", "3:15", "one word" },
	{ "allow:\n  - host: a.test\n    port: []\n", "3:11", "a list of values" },
	{ "allow:\n  - host: a.test\n    port: {a: b}\n", "3:11", "a list of values" },
	{ "allow:\n  - host: a.test\n    tcp: maybe\n", "3:10", "true or false" },
	{ "allow:\n  - host: a.test\n    tcp: true\n", "2:5", "needs a port" },
	{ "allow:\n  - host: a.test\n    path: v1\n", "3:11", "begins with a slash" },
	{ "allow:\n  - host: a.test\n    port: 1\n    ports: 2\n", "2:5", "either" },
	{ "allow:\n  - host: a b\n", "2:11", "needs a 'host'" },
	{ "allow:\n  -\n", "2:", "one line of text" },
	{ "allow:\n  - [a.test]\n", "2:5", "one line of text" },
	{ "allow:\n\t- a.test\n", "2:1", "" },
	{ "allow: [a.test\n", "2:1", "" },
	{ "a: b: c\n", "1:5", "" },
	{ "allow:\n  - \"a.test\\0\"\n", "2:5", "one line of text" },
	{ "allow: []\n---\ndeny: []\n", "3:1", "second document" },
	{ "allow:\n  - \"\\e[2Ja.test\"\n", "2:5", "control" },
	{ "? [a]\n: b\n", "1:3", "one word" },
	{ "allow: \xff\n", "1:", "" },
	{ "allow: &a [*a]\n", "1:", "" },
};

static void where_a_file_is_wrong(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct policyfile pf;
		struct err e = ERR_INIT;
		char where[64];
		snprintf(where, sizeof(where), "policy.yaml:%s", wrong[i].where);
		if (!policyfile_parse(wrong[i].text, strlen(wrong[i].text), "policy.yaml", RULE_GLOBAL, &pf, &e))
			fail_msg("taken:\n%s", wrong[i].text);
		if (!str_starts(e.msg, where) || !strstr(e.msg, wrong[i].word) || strchr(e.msg, '\n') || strchr(e.msg, '\x1b'))
			fail_msg("not %s '%s': %s\n%s", where, wrong[i].word, e.msg, wrong[i].text);
		assert_null(pf.rules);
	}
	struct policyfile pf;
	assert_int_equal(policyfile_parse(NULL, 0, "x.yaml", RULE_GLOBAL, &pf, NULL), 0);
	assert_int_equal(policyfile_parse("preset: open\n", 13, "x.yaml", RULE_PRESET, &pf, NULL), -EINVAL);
}

static const struct {
	const char *before, *rule, *after; /* after NULL: refused */
} adds[] = {
	{ "", "allow a.test", "allow:\n  - \"a.test\"\n" },
	{ "# mine\n", "deny *.a.test:443", "# mine\ndeny:\n  - \"*.a.test:443\"\n" },
	{ "# mine", "deny a.test", "# mine\ndeny:\n  - \"a.test\"\n" },
	{ "allow:\n  - a.test # one\n\n# two\ndeny:\n  - b.test\n", "allow c.test GET /x", "allow:\n  - a.test # one\n  - \"c.test GET /x\"\n\n# two\ndeny:\n  - b.test\n" },
	{ "allow:\n- a.test", "allow c.test", "allow:\n- a.test\n- \"c.test\"\n" },
	{ "allow:\n    - a.test\n", "allow c.test", "allow:\n    - a.test\n    - \"c.test\"\n" },
	{ "allow:  # nothing yet\ndeny:\n  - a.test\n", "allow c.test", "allow:  # nothing yet\n  - \"c.test\"\ndeny:\n  - a.test\n" },
	{ "allow:\n", "allow c.test", "allow:\n  - \"c.test\"\n" },
	{ "allow: []\n", "allow c.test", "allow: [\"c.test\"]\n" },
	{ "allow: [ a.test ]  # x\n", "allow c.test", "allow: [ a.test, \"c.test\" ]  # x\n" },
	{ "allow: [a.test, b.test,]\n", "allow c.test", "allow: [a.test, b.test, \"c.test\"]\n" },
	{ "allow:\n  - host: a.test\n    port: 443\n    note: \xc3\xa9\n# end\n", "allow c.test", "allow:\n  - host: a.test\n    port: 443\n    note: \xc3\xa9\n  - \"c.test\"\n# end\n" },
	{ "allow:\n  - host: a.test\n    ports:\n      - 443\n      - 80\n# end\n", "allow c.test",
	  "allow:\n  - host: a.test\n    ports:\n      - 443\n      - 80\n  - \"c.test\"\n# end\n" },
	{ "# \xc3\xa9\xc3\xa9\nallow: [\"\xc3\xa9\"]\n", "allow c.test", NULL }, /* not a file of rules */
	{ "allow:\n  - a.test\n", "allow A.test.", NULL },                      /* there already */
	{ "{allow: [a.test]}\n", "deny c.test", NULL },                         /* by hand */
	{ "---\nallow:\n  - a.test\n...\n", "deny c.test", NULL },
	{ "allow:\n  -\n    a.test\n", "allow c.test", NULL },
	{ "allow: &x\n  - a.test\ndeny: *x\n", "allow c.test", NULL }, /* would change both */
	{ "deny: &x\n  - a.test\n", "allow *.c.test", "deny: &x\n  - a.test\nallow:\n  - \"*.c.test\"\n" },
	{ "allow:\r\n  - a.test\r\n", "allow c.test", "allow:\r\n  - a.test\r\n  - \"c.test\"\n" },
};

static void what_is_added(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(adds); i++) {
		struct rule r = { .scope = RULE_GLOBAL };
		struct err e = ERR_INIT;
		struct buf out;

		buf_init(&out, POLICYFILE_MAX);
		assert_int_equal(rule_parse(adds[i].rule, &r, &e), 0);
		const int rc = policyfile_add(adds[i].before, strlen(adds[i].before), "policy.yaml", &r, &out, &e);
		if (!adds[i].after) {
			if (!rc)
				fail_msg("%zu: taken: %.*s", i, (int)buf_size(&out), (const char *)buf_head(&out));
			assert_true(*e.msg);
			assert_int_equal(buf_size(&out), 0);
		} else {
			if (rc)
				fail_msg("%zu: %s", i, e.msg);
			buf_u8(&out, 0);
			assert_string_equal((const char *)buf_head(&out), adds[i].after);
		}
		buf_release(&out);
	}
}

static const struct {
	const char *before;
	size_t index;
	const char *after;
} removals[] = {
	{ "allow:\n  - a.test\n", 0, "allow:\n" },
	{ "allow:\n  - a.test # x\n  # keep\n  - b.test\n", 0, "allow:\n  # keep\n  - b.test\n" },
	{ "deny:\n  - a.test\nallow:\n  - b.test\n  - c.test", 2, "deny:\n  - a.test\nallow:\n  - b.test\n" },
	{ "allow: [a.test, b.test, c.test]\n", 0, "allow: [b.test, c.test]\n" },
	{ "allow: [a.test, b.test, c.test]\n", 1, "allow: [a.test, c.test]\n" },
	{ "allow: [a.test, b.test, c.test]\n", 2, "allow: [a.test, b.test]\n" },
	{ "allow: [ a.test ]\n", 0, "allow: [ ]\n" },
	{ "allow:\n  - host: a.test\n    ports:\n      - 443\n    note: x\n  # keep\n  - b.test\n", 0, "allow:\n  # keep\n  - b.test\n" },
	{ "allow:\n  - host: a.test\n    ports:\n      - 443\n      - 80\n  # keep\n  - b.test\n", 0, "allow:\n  # keep\n  - b.test\n" },
	{ "allow:\n  - {host: a.test,\n     port: 1}\n  - b.test\n", 0, "allow:\n  - b.test\n" },
	{ "allow:\n  - a.test\n", 1, NULL },
	{ "", 0, NULL },
	{ "allow: &x\n  - a.test\ndeny: *x\n", 0, NULL },
};

static void what_is_removed(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(removals); i++) {
		struct err e = ERR_INIT;
		struct buf out;

		buf_init(&out, POLICYFILE_MAX);
		const int rc = policyfile_remove(removals[i].before, strlen(removals[i].before), "policy.yaml", removals[i].index, &out, &e);
		if (!removals[i].after) {
			assert_int_not_equal(rc, 0);
			assert_true(*e.msg);
		} else {
			if (rc)
				fail_msg("%zu: %s", i, e.msg);
			buf_u8(&out, 0);
			assert_string_equal((const char *)buf_head(&out), removals[i].after);
		}
		buf_release(&out);
	}
}

static void what_is_set(void **state)
{
	static const struct {
		const char *before, *key, *value, *after;
	} sets[] = {
		{ "", "preset", "open", "preset: open\n" },
		{ "# x\n", "preset", "open", "# x\npreset: open\n" },
		{ "# x\nallow:\n  - a.test\n", "preset", "open", "# x\npreset: open\nallow:\n  - a.test\n" },
		{ "default: \"ask\" # y\npreset: locked   # x\n", "preset", "open", "default: \"ask\" # y\npreset: open   # x\n" },
		{ "default: \"ask\" # y\npreset: locked   # x\n", "default", "deny", "default: deny # y\npreset: locked   # x\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		struct err e = ERR_INIT;
		struct buf out;

		buf_init(&out, POLICYFILE_MAX);
		if (policyfile_set(sets[i].before, strlen(sets[i].before), "policy.yaml", sets[i].key, sets[i].value, &out, &e))
			fail_msg("%zu: %s", i, e.msg);
		buf_u8(&out, 0);
		assert_string_equal((const char *)buf_head(&out), sets[i].after);
		buf_release(&out);
	}
}

/* The long example: every rule out, one in. */
static void the_example_survives_edits(void **state)
{
	struct buf text, out;
	struct err e = ERR_INIT;
	struct rule r = { .scope = RULE_GLOBAL };

	(void)state;
	buf_init(&text, POLICYFILE_MAX);
	buf_init(&out, POLICYFILE_MAX);
	buf_put(&text, example, sizeof(example) - 1);
	assert_int_equal(rule_parse("ask *.late.test", &r, NULL), 0);
	if (policyfile_add((const char *)buf_head(&text), buf_size(&text), "policy.yaml", &r, &out, &e))
		fail_msg("%s", e.msg);
	for (size_t left = 7; left; left--) {
		buf_clear(&text);
		buf_put(&text, buf_head(&out), buf_size(&out));
		buf_clear(&out);
		if (policyfile_remove((const char *)buf_head(&text), buf_size(&text), "policy.yaml", left / 2, &out, &e))
			fail_msg("%s", e.msg);
	}
	buf_u8(&out, 0);
	assert_string_equal((const char *)buf_head(&out), "# mine\ndefault: deny\npreset: balanced\n\nallow:\n  # the mirror\n# what nobody needs\ndeny: []\nask:\n\n# the end\n");
	buf_release(&text);
	buf_release(&out);
}

static void presets_are_there(void **state)
{
	static const uint8_t defaults[] = { NET_ALLOW, NET_ASKED, NET_DENY };
	struct policyfile pf;
	struct err e = ERR_INIT;

	(void)state;
	setenv("BULKHEAD_DATADIR", SOURCEDIR, 1);
	for (size_t i = 0; policypreset_names[i]; i++) {
		if (policypreset_load(policypreset_names[i], RULE_PRESET, &pf, &e))
			fail_msg("%s", e.msg);
		if (!strcmp(policypreset_names[i], "none")) {
			assert_true(!pf.has_default && pf.n == 0);
			continue;
		}
		assert_true(pf.has_default);
		assert_int_equal(pf.def, defaults[i]);
		assert_int_equal(pf.n > 10, i == 1);
		for (size_t k = 0; k < pf.n; k++) {
			assert_int_equal(pf.rules[k].host.kind, HOST_DEEP);
			assert_int_equal(pf.rules[k].verdict, NET_ALLOW);
			assert_true(pf.rules[k].nports > 0 && !pf.rules[k].tcp);
			assert_int_equal(pf.rules[k].scope, RULE_PRESET);
		}
		policyfile_release(&pf);
	}
	assert_int_equal(policypreset_load("../open", RULE_PRESET, &pf, &e), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_file_says), cmocka_unit_test(where_a_file_is_wrong),      cmocka_unit_test(what_is_added),     cmocka_unit_test(what_is_removed),
		cmocka_unit_test(what_is_set),      cmocka_unit_test(the_example_survives_edits), cmocka_unit_test(presets_are_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
