/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/api.h"

#include <errno.h>

#include "core/base/str.h"
#include "core/supervisor/audit.h"

static void on_log(struct call *c, struct args *a)
{
	const char *name = arg_str(a, "name", NAME_MAX_LEN, false), *verdict = arg_str(a, "verdict", 8, false);
	uint64_t lines = arg_num(a, "lines", 0, AUDIT_READ_MAX, 200);

	if (verdict && strcmp(verdict, "allow") && strcmp(verdict, "deny") && strcmp(verdict, "ask"))
		err_set(&a->e, EINVAL, "parameter 'verdict' must be 'allow', 'deny' or 'ask'");
	/* Also of sandboxes that were removed. */
	if (!args_bad(a, c))
		audit_read_call(c, name, verdict, (size_t)lines);
}

static void on_read(struct call *c, struct args *a)
{
	const char *name = arg_str(a, "name", NAME_MAX_LEN, false);
	uint64_t lines = arg_num(a, "lines", 0, AUDIT_READ_MAX, 200);

	if (!args_bad(a, c))
		audit_doings_call(c, name, (size_t)lines);
}

static void on_verify(struct call *c, struct args *a)
{
	(void)a;
	audit_verify_call(c);
}

static const struct method rows[] = {
	{ "policy.log", " name lines verdict ", on_log },
	{ "audit.read", " name lines ", on_read },
	{ "audit.verify", "", on_verify },
};

const struct method_table api_audit = { rows, ARRAY_SIZE(rows) };
