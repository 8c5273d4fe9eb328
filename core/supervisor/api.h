/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The methods of docs/protocol.md. A handler reads its parameters with arg_*(): the first that is wrong is remembered and the rest are
 * no-ops, so it checks once (args_bad) before it does anything. What a row does not name is refused before the handler runs.
 */
#ifndef BULKHEAD_SUPERVISOR_API_H
#define BULKHEAD_SUPERVISOR_API_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/supervisor/client.h"

struct sandbox;

struct args {
	const json_t *p; /* object or NULL */
	struct err e;
};

const char *arg_str(struct args *a, const char *key, size_t max, bool required); /* NULL when absent; no NUL inside */
uint64_t arg_num(struct args *a, const char *key, uint64_t min, uint64_t max, uint64_t def);
bool arg_bool(struct args *a, const char *key);
const json_t *arg_list(struct args *a, const char *key, size_t max); /* array of strings without NUL; NULL when absent */
const json_t *arg_env(struct args *a, const char *key);              /* checked by spec_env_check() */
/* Answers the call (and returns true) when something was wrong. */
bool args_bad(struct args *a, struct call *c);
/* The sandbox of parameter `name`; NULL after having answered. */
struct sandbox *arg_sandbox(struct args *a, struct call *c);

struct method {
	const char *name;
	const char *params; /* names it takes, with a space around each: " name force " */
	void (*fn)(struct call *c, struct args *a);
};
struct method_table {
	const struct method *rows;
	size_t n;
};
extern const struct method_table api_audit, api_changes, api_net, api_policy, api_secret, api_sandbox, api_session, api_system;

#endif
