/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates in a text, and what is added to a container's configuration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "guest/modules.h"
#include "guest/runc.h"
#include "guest/trust.h"

#define ONE "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"
#define TWO "-----BEGIN CERTIFICATE-----\r\nAAAA\r\n-----END CERTIFICATE-----"

static void certificates_are_found(void **state)
{
	static const char text[] = "# a root\n" ONE "\njunk\n" TWO "\n-----BEGIN CERTIFICATE-----\nhalf of one";
	size_t at = 0, begin, len;

	(void)state;
	assert_true(trust_next(text, sizeof(text) - 1, &at, &begin, &len));
	assert_int_equal(len, sizeof(ONE) - 1);
	assert_memory_equal(text + begin, ONE, len);
	assert_true(trust_next(text, sizeof(text) - 1, &at, &begin, &len));
	assert_memory_equal(text + begin, TWO, len);
	assert_false(trust_next(text, sizeof(text) - 1, &at, &begin, &len));
	at = 0;
	assert_false(trust_next(ONE, sizeof(ONE) - 2, &at, &begin, &len));
	assert_false(trust_next("", 0, &at, &begin, &len));
}

static void command_lines_are_read(void **state)
{
	static const struct { const char *argv[14]; const char *command, *bundle, *process; } rows[] = {
		{ { "runc", "--root", "/r", "--log", "/l", "--log-format", "json", "create", "--bundle", "/b", "--pid-file", "p", NULL }, "create", "/b", NULL },
		{ { "runc", "--systemd-cgroup", "run", "--bundle=/b", "id", NULL }, "run", "/b", NULL },
		{ { "runc", "--root=/r", "exec", "--process", "/p", "--detach", "id", NULL }, "exec", NULL, "/p" },
		{ { "runc", "exec", "-p", "/p", "id", NULL }, "exec", NULL, "/p" },
		{ { "runc", "create", "-b", NULL }, "create", NULL, NULL },
		{ { "runc", "--root", NULL }, NULL, NULL, NULL },
		{ { "runc", NULL }, NULL, NULL, NULL },
		{ { "runc", "state", "id", NULL }, "state", NULL, NULL },
		{ { "runc", "exec", "--", "--process", "x", NULL }, "exec", NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct runc_call c;
		const char *got[3], *want[3] = { rows[i].command, rows[i].bundle, rows[i].process };

		runc_parse((char *const *)(uintptr_t)rows[i].argv, &c);
		got[0] = c.command;
		got[1] = c.bundle;
		got[2] = c.process;
		for (int k = 0; k < 3; k++)
			if ((got[k] == NULL) != (want[k] == NULL) || (got[k] && strcmp(got[k], want[k]) != 0))
				fail_msg("row %zu, field %d: '%s', not '%s'", i, k, got[k] ? got[k] : "-", want[k] ? want[k] : "-");
	}
}

static bool has(const json_t *env, const char *text)
{
	for (size_t i = 0; i < json_array_size(env); i++)
		if (strcmp(json_string_value(json_array_get(env, i)), text) == 0)
			return true;
	return false;
}

static void containers_get_a_mount_and_variables(void **state)
{
	json_t *c = json_loads("{\"process\": {\"env\": [\"PATH=/bin\", \"SSL_CERT_FILE=/own\", \"PIP_CERTX=1\"]}, \"mounts\": [{\"destination\": \"/proc\", \"type\": \"proc\"},"
			       "{\"destination\": \"/dev\", \"type\": \"tmpfs\"}], \"keep\": [1, 9007199254740993]}", 0, NULL);

	(void)state;
	assert_int_equal(runc_add(c, "/b/trust"), 0);
	const json_t *env = json_object_get(json_object_get(c, "process"), "env"), *mounts = json_object_get(c, "mounts");
	assert_true(has(env, "SSL_CERT_FILE=/own")); /* the image's own word stands */
	assert_false(has(env, "SSL_CERT_FILE=" RUNC_MOUNT "/ca-certificates.crt"));
	assert_true(has(env, "PIP_CERT=" RUNC_MOUNT "/ca-certificates.crt"));
	assert_true(has(env, "NODE_EXTRA_CA_CERTS=" RUNC_MOUNT "/extra.pem"));
	assert_int_equal(json_array_size(mounts), 3);
	assert_string_equal(json_string_value(json_object_get(json_array_get(mounts, 2), "source")), "/b/trust");
	assert_int_equal(json_integer_value(json_array_get(json_object_get(c, "keep"), 1)), 9007199254740993);
	assert_int_equal(runc_add(c, "/b/trust"), -EINVAL); /* once */
	json_decref(c);
	static const char *const others[] = { "[]", "{}", "{\"mounts\": []}", "{\"mounts\": {}, \"process\": {}}",
					      "{\"mounts\": [{\"destination\": \"/dev\", \"type\": \"bind\"}], \"process\": {}}",
					      "{\"mounts\": [{\"destination\": \"/dev\", \"type\": \"tmpfs\"}], \"process\": {\"env\": 1}}" };
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		c = json_loads(others[i], 0, NULL);
		assert_int_equal(runc_add(c, "/b"), -EINVAL);
		json_decref(c);
	}
	c = json_loads("{\"args\": [\"sh\"]}", 0, NULL);
	assert_int_equal(runc_add_env(c), 0);
	assert_int_equal(json_array_size(json_object_get(c, "env")), trust_env_n);
	json_decref(c);
}

static void modules_are_found_with_what_they_need(void **state)
{
	static const char dep[] = "kernel/net/netfilter/nf_tables.ko: kernel/net/netfilter/nfnetlink.ko kernel/lib/libcrc32c.ko\n"
				  "kernel/net/netfilter/nft_chain_nat.ko: kernel/net/netfilter/nf_nat.ko kernel/net/netfilter/nf_tables.ko\n"
				  "kernel/drivers/net/dummy.ko:\nkernel/net/nft-odd.ko.xz: kernel/a.ko";
	char files[200];

	(void)state;
	assert_int_equal(modules_files(dep, "nf_tables", files, sizeof(files)), 0);
	assert_string_equal(files, "kernel/lib/libcrc32c.ko kernel/net/netfilter/nfnetlink.ko kernel/net/netfilter/nf_tables.ko");
	assert_int_equal(modules_files(dep, "dummy", files, sizeof(files)), 0);
	assert_string_equal(files, "kernel/drivers/net/dummy.ko");
	assert_int_equal(modules_files(dep, "nft_odd", files, sizeof(files)), 0);
	assert_string_equal(files, "kernel/a.ko kernel/net/nft-odd.ko.xz");
	assert_int_equal(modules_files(dep, "nf", files, sizeof(files)), -ENOENT);
	assert_int_equal(modules_files(dep, "tables", files, sizeof(files)), -ENOENT);
	assert_int_equal(modules_files("", "nf", files, sizeof(files)), -ENOENT);
	for (size_t cap = 0; cap < 92; cap++)
		assert_int_equal(modules_files(dep, "nf_tables", files, cap), -ENOSPC);
	assert_int_equal(modules_files(dep, "nf_tables", files, 92), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(certificates_are_found),
		cmocka_unit_test(modules_are_found_with_what_they_need),
		cmocka_unit_test(command_lines_are_read),
		cmocka_unit_test(containers_get_a_mount_and_variables),
	};

	return cmocka_run_group_tests_name("guest/trust", tests, NULL, NULL);
}
