/* SPDX-License-Identifier: Apache-2.0 */
/* services.yaml: what is read, what is refused and where; placeholders; values in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

#include "core/base/atomicfile.h"
#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "core/secret/held.h"
#include "core/secret/service.h"

static int parse(struct services *s, const char *text, struct err *e)
{
	*e = ERR_INIT;
	return services_parse(s, "services.yaml", text, strlen(text), e);
}

/* ---- services ------------------------------------------------------------------------------------------------------------------------- */

static void built_in_ones(void **unused)
{
	static const char *const names[] = { "anthropic", "openai", "google", "github", "groq", "mistral", "openrouter", "xai", "npm" };
	struct services s = { 0 };
	struct err e = ERR_INIT;
	struct buf b;
	AUTO_FREE char *path = path_data("core/secret/services.yaml", &e);

	(void)unused;
	buf_init(&b, SERVICES_FILE_MAX);
	assert_non_null(path);
	assert_int_equal(atomicfile_read(AT_FDCWD, path, &b, &e), 0);
	if (services_parse(&s, "built in", (const char *)buf_head(&b), buf_size(&b), &e))
		fail_msg("%s", e.msg);
	buf_release(&b);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const struct service *v = services_find(&s, names[i]);
		if (!v)
			fail_msg("there is no '%s'", names[i]);
		assert_true(v->nenvs > 0 && v->nrules > 0 && v->summary[0]);
		for (unsigned k = 0; k < v->nrules; k++)
			assert_true(v->rules[k].nhosts > 0 && v->rules[k].header[0] && v->rules[k].format[0]);
	}
	assert_string_equal(services_find(&s, "github")->rules[1].format, "basic:x-access-token");
	assert_string_equal(services_near(&s, "antropic"), "anthropic");
	assert_null(services_near(&s, "something"));
	/* An own one of the same name replaces, another is added. */
	size_t n = s.n;
	assert_int_equal(parse(&s, "openai:\n  hosts: gateway.example.org\n  header: api-key\nmine: {hosts: [a.example, '*.B.Example:8443'], header: X-Key}\n", &e), 0);
	assert_int_equal(s.n, n + 1);
	assert_string_equal(services_find(&s, "openai")->rules[0].hosts[0], "gateway.example.org");
	assert_string_equal(services_find(&s, "openai")->rules[0].format, "%s");
	assert_int_equal(services_find(&s, "openai")->nenvs, 0);
	assert_string_equal(services_find(&s, "mine")->rules[0].hosts[1], "*.b.example:8443");
	services_release(&s);
	assert_int_equal(s.n, 0);
}

static void errors_name_their_place(void **unused)
{
	static const struct {
		const char *text, *says;
	} bad[] = {
		{ "- a\n", "services.yaml:1:1: the file is a list of 'key: value' lines" },
		{ "a: b\n", "services.yaml:1:4: a service is a list of 'key: value' lines" },
		{ "a: {}\n", "services.yaml:1:1: service 'a' says no hosts" },
		{ "A: {hosts: a.example}\n", "services.yaml:1:1: 'A' is no name of a service" },
		{ "-a: {hosts: a.example}\n", "services.yaml:1:1: '-a' is no name" },
		{ "a:\n  hosts: a.example\n  colour: red\n", "services.yaml:3:3: a service has 'summary'" },
		{ "a:\n  hosts: a.example\n  hosts: b.example\n", "services.yaml:3:3: 'hosts' stands here twice" },
		{ "a: {hosts: a.example}\na: {hosts: b.example}\n", "services.yaml:2:1: 'a' stands here twice" },
		{ "a:\n  hosts: '*'\n", "services.yaml:2:10: '*' is no host" },
		{ "a:\n  hosts: '**'\n", "is no host" },
		{ "a:\n  hosts: '*.org'\n", "services.yaml:2:10: '*.org' is too wide" },
		{ "a:\n  hosts: '**.org'\n", "is too wide" },
		{ "a:\n  hosts: '**.org:443'\n", "is too wide" },
		{ "a:\n  hosts: 'a.*.example'\n", "is no host" },
		{ "a:\n  hosts: 192.0.2.1\n", "is no host" },
		{ "a:\n  hosts: 0x7f000001\n", "is no host" },
		{ "a:\n  hosts: a_b/c\n", "is no host" },
		{ "a:\n  hosts: a.example:0\n", "no port from 1 to 65535" },
		{ "a:\n  hosts: a.example:99999\n", "no port from 1 to 65535" },
		{ "a:\n  hosts: ''\n", "is no host" },
		{ "a:\n  hosts: {a: b}\n", "services.yaml:2:10: 'hosts' is one word or a list of them" },
		{ "a:\n  hosts: [[a]]\n", "one line of text belongs to 'hosts'" },
		{ "a: {hosts: [a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q]}\n", "a rule may have 16 hosts" },
		{ "a: {hosts: a.example, header: 'X Y'}\n", "'X Y' is no name of a header" },
		{ "a: {hosts: a.example, header: ''}\n", "is no name of a header" },
		{ "a: {hosts: a.example, header: Content-Length}\n", "frames a request" },
		{ "a: {hosts: a.example, header: HOST}\n", "frames a request" },
		{ "a: {hosts: a.example, format: 'Bearer %s'}\n", "a 'format' belongs to a 'header'" },
		{ "a: {hosts: a.example, header: X, format: Bearer}\n", "holds %s once" },
		{ "a: {hosts: a.example, header: X, format: '%s%s'}\n", "holds %s once" },
		{ "a: {hosts: a.example, header: X, format: '%n'}\n", "holds %s once" },
		{ "a: {hosts: a.example, header: X, format: '%'}\n", "holds %s once" },
		{ "a: {hosts: a.example, header: X, format: 'basic:'}\n", "after 'basic:'" },
		{ "a: {hosts: a.example, header: X, format: 'basic:a:b'}\n", "after 'basic:'" },
		{ "a: {hosts: a.example, header: X, format: \"a\\r\\nb: %s\"}\n", "one line of text" },
		{ "a: {hosts: a.example, env: A-B}\n", "'A-B' is no name of a variable" },
		{ "a: {hosts: a.example, env: 1A}\n", "is no name of a variable" },
		{ "a: {hosts: a.example, env: [A, B, C, D, E]}\n", "a service may have 4 variables" },
		{ "a: {hosts: a.example, placeholder: 'a b'}\n", "a placeholder begins with" },
		{ "a: {hosts: a.example, placeholder: [a]}\n", "one line of text belongs to 'placeholder'" },
		{ "a: {rules: a.example}\n", "'rules' is a list" },
		{ "a: {rules: [a.example]}\n", "a rule is a list of 'key: value' lines" },
		{ "a: {rules: [{header: X}]}\n", "services.yaml:1:13: a rule needs 'hosts'" },
		{ "a: {rules: [{hosts: a.example, env: A}]}\n", "a rule has 'hosts', 'header' and 'format', no 'env'" },
		{ "a: {header: X}\n", "a rule needs 'hosts'" },
		{ "a: {summary: [x], hosts: a.example}\n", "one line of text belongs to 'summary'" },
		{ "? [a]\n: {hosts: a.example}\n", "a key must be one word" },
		{ "a: &x {hosts: *x}\n", "services.yaml:1:" },
		{ "a: {hosts: a.example\n", "services.yaml:2:1:" },
		{ "a:\n\thosts: a.example\n", "services.yaml:2:1:" },
		{ "a: {hosts: \xff}\n", "services.yaml:1:" },
	};

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct services s = { 0 };
		struct err e;
		assert_int_equal(parse(&s, "kept: {hosts: kept.example}\n", &e), 0);
		if (parse(&s, bad[i].text, &e) != -EINVAL)
			fail_msg("taken: %s", bad[i].text);
		if (!strstr(e.msg, bad[i].says))
			fail_msg("%s: '%s' was expected, '%s' said", bad[i].text, bad[i].says, e.msg);
		assert_true(str_starts(e.msg, "services.yaml:"));
		/* All of a file or nothing. */
		assert_int_equal(s.n, 1);
		services_release(&s);
	}
}

static void too_many(void **unused)
{
	struct services s = { 0 };
	struct err e;
	struct buf b;

	(void)unused;
	buf_init(&b, 1 << 20);
	for (unsigned i = 0; i <= SERVICES_MAX; i++)
		buf_printf(&b, "s%u: {hosts: a.example}\n", i);
	e = ERR_INIT;
	assert_int_equal(services_parse(&s, "f", (const char *)buf_head(&b), buf_size(&b), &e), -EINVAL);
	assert_non_null(strstr(e.msg, "more than 128 services"));
	assert_int_equal(s.n, 0);
	buf_release(&b);
}

static void placeholders(void **unused)
{
	struct service v = { .name = "anthropic", .prefix = "sk-ant-api03-" }, w = { .name = "openai", .prefix = "sk-ant-api03-" };
	const uint8_t key[32] = { 1 }, other[32] = { 2 };
	char a[128], b[128];

	(void)unused;
	assert_int_equal(service_placeholder(&v, key, "blue", 7, a), 0);
	assert_true(str_starts(a, v.prefix));
	assert_int_equal(strlen(a), strlen(v.prefix) + PLACEHOLDER_RANDOM);
	assert_int_equal(strspn(a + strlen(v.prefix), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"), PLACEHOLDER_RANDOM);
	assert_int_equal(service_placeholder(&v, key, "blue", 7, b), 0);
	assert_string_equal(a, b);
	service_placeholder(&v, key, "green", 7, b);
	assert_string_not_equal(a, b);
	service_placeholder(&v, key, "blue", 8, b); /* another sandbox of that name */
	assert_string_not_equal(a, b);
	service_placeholder(&v, other, "blue", 7, b);
	assert_string_not_equal(a, b);
	service_placeholder(&w, key, "blue", 7, b);
	assert_string_not_equal(a, b);
}

/* ---- values in memory ----------------------------------------------------------------------------------------------------------------- */

static void held_values(void **unused)
{
	static const struct {
		const char *value, *mask;
	} masks[] = { { "", "" }, { "short", "…" }, { "eleven-byte", "…" }, { "sk-ant-1234567890", "sk-…90" }, { "ä-234567890123", "…" } };
	const char *why;

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(masks); i++) {
		char m[24];
		struct held *h = held_copy(masks[i].value, strlen(masks[i].value));
		held_mask(h, m, sizeof(m));
		assert_string_equal(m, masks[i].mask);
		assert_string_equal(held_text(h), masks[i].value);
		held_destroy(&h);
		assert_null(h);
	}
	struct held *a = held_copy("abc\r\n", 5), *b = held_copy("abc", 3);
	assert_int_equal(held_check(a, &why), -EINVAL);
	assert_string_equal(why, "it has more than one line");
	held_chomp(a);
	assert_true(held_equal(a, b));
	assert_int_equal(held_check(a, &why), 0);
	held_destroy(&b);
	assert_false(held_equal(a, b));
	held_destroy(&a);
	held_destroy(&a);
	/* A value stops where its room does. */
	size_t room;
	a = held_create(4);
	memcpy(held_tail(a, &room), "wxyz", 4);
	assert_int_equal(room, 4);
	held_grew(a, 99);
	assert_int_equal(held_size(a), 4);
	held_tail(a, &room);
	assert_int_equal(room, 0);
	assert_string_equal(held_text(a), "wxyz");
	held_destroy(&a);
	assert_int_equal(held_check(NULL, &why), -EINVAL);
	assert_string_equal(held_text(NULL), "");
}

/* Not in a forked child: its address is no memory there. */
static void not_inherited(void **unused)
{
	struct held *h = held_copy("a-value-of-mine", 15);
	int p[2];

	(void)unused;
	assert_int_equal(pipe(p), 0);
	pid_t pid = fork();
	if (pid == 0)
		_exit(write(p[1], held_text(h), 15) == 15 ? 1 : errno == EFAULT ? 0 : 2);
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(p[0]);
	close(p[1]);
	held_destroy(&h);
}

int main(void)
{
	setenv("BULKHEAD_DATADIR", SOURCEDIR, 1);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(built_in_ones), cmocka_unit_test(errors_name_their_place), cmocka_unit_test(too_many),
		cmocka_unit_test(placeholders), cmocka_unit_test(held_values), cmocka_unit_test(not_inherited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
