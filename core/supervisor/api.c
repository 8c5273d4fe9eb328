/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/api.h"

#include <errno.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/supervisor/sandbox.h"
#include "core/supervisor/super.h"

static const struct method_table *const tables[] = { &api_audit, &api_changes, &api_net, &api_policy, &api_secret, &api_sandbox, &api_session, &api_system };

/* ---- parameters ----------------------------------------------------------------------------------------------------------------- */

static const json_t *get(struct args *a, const char *key)
{
	const json_t *v = a->e.code ? NULL : json_object_get(a->p, key);

	return json_is_null(v) ? NULL : v;
}

static bool plain(const json_t *v)
{
	return json_is_string(v) && strlen(json_string_value(v)) == json_string_length(v);
}

const char *arg_str(struct args *a, const char *key, size_t max, bool required)
{
	const json_t *v = get(a, key);

	if (!v) {
		if (required && !a->e.code)
			err_set(&a->e, EINVAL, "parameter '%s' is missing", key);
		return NULL;
	}
	if (!plain(v)) {
		err_set(&a->e, EINVAL, "parameter '%s' must be a string", key);
		return NULL;
	}
	if (json_string_length(v) > max) {
		err_set(&a->e, EINVAL, "parameter '%s' is longer than %zu bytes", key, max);
		return NULL;
	}
	return json_string_value(v);
}

uint64_t arg_num(struct args *a, const char *key, uint64_t min, uint64_t max, uint64_t def)
{
	const json_t *v = get(a, key);

	if (!v)
		return def;
	json_int_t n = json_integer_value(v);
	if (!json_is_integer(v) || n < 0 || (uint64_t)n < min || (uint64_t)n > max) {
		err_set(&a->e, EINVAL, "parameter '%s' must be a whole number between %llu and %llu", key, (unsigned long long)min,
			(unsigned long long)max);
		return def;
	}
	return (uint64_t)n;
}

bool arg_bool(struct args *a, const char *key)
{
	const json_t *v = get(a, key);

	if (v && !json_is_boolean(v))
		err_set(&a->e, EINVAL, "parameter '%s' must be true or false", key);
	return json_is_true(v);
}

const json_t *arg_list(struct args *a, const char *key, size_t max)
{
	const json_t *v = get(a, key), *item;
	size_t i;

	if (!v)
		return NULL;
	if (!json_is_array(v) || json_array_size(v) > max) {
		err_set(&a->e, EINVAL, "parameter '%s' must be a list of at most %zu strings", key, max);
		return NULL;
	}
	json_array_foreach(v, i, item)
		if (!plain(item)) {
			err_set(&a->e, EINVAL, "item %zu of parameter '%s' must be a string", i, key);
			return NULL;
		}
	return v;
}

const json_t *arg_env(struct args *a, const char *key)
{
	const json_t *v = get(a, key);

	if (v && spec_env_check(v, &a->e))
		err_wrap(&a->e, "parameter '%s'", key);
	return v;
}

bool args_bad(struct args *a, struct call *c)
{
	if (!a->e.code)
		return false;
	call_error(c, RPC_PARAMS, "%s", a->e.msg);
	return true;
}

struct sandbox *arg_sandbox(struct args *a, struct call *c)
{
	const char *name = arg_str(a, "name", 4096, true), *near = NULL;
	char clean[128], text[256];
	unsigned least = 3;

	if (args_bad(a, c))
		return NULL;
	struct sandbox *sb = sandbox_find(c->su, name);
	if (sb)
		return sb;
	for (const struct sandbox *s = c->su->sandboxes; s; s = s->next) {
		unsigned d = str_distance(s->spec.name, name);
		if (d < least) {
			least = d;
			near = s->spec.name;
		}
	}
	scrub(clean, sizeof(clean), name, strlen(name), false);
	snprintf(text, sizeof(text), "there is no sandbox '%s'", clean);
	call_error_hint(c, RPC_NOT_FOUND, near, text);
	return NULL;
}

/* ---- dispatch -------------------------------------------------------------------------------------------------------------------- */

static bool takes(const struct method *m, const char *key)
{
	AUTO_FREE char *word = strchr(key, ' ') ? NULL : str_fmt(" %s ", key);

	return word && strstr(m->params, word);
}

static void unknown_method(struct call *c, const char *name)
{
	const char *near = NULL;
	unsigned least = 4;
	char clean[128], text[256];

	for (size_t t = 0; t < ARRAY_SIZE(tables); t++)
		for (size_t i = 0; i < tables[t]->n; i++) {
			unsigned d = str_distance(tables[t]->rows[i].name, name);
			if (d < least) {
				least = d;
				near = tables[t]->rows[i].name;
			}
		}
	scrub(clean, sizeof(clean), name, strlen(name), false);
	snprintf(text, sizeof(text), "there is no method '%s'", clean);
	call_error_hint(c, RPC_METHOD, near, text);
}

void api_request(struct call *c, const char *name, const json_t *params)
{
	struct args a = { .p = params };
	const struct method *m = NULL;
	const char *key;
	json_t *v;

	for (size_t t = 0; t < ARRAY_SIZE(tables) && !m; t++)
		for (size_t i = 0; i < tables[t]->n && !m; i++)
			if (!strcmp(tables[t]->rows[i].name, name))
				m = &tables[t]->rows[i];
	if (!m) {
		unknown_method(c, name);
		return;
	}
	json_object_foreach((json_t *)(uintptr_t)params, key, v)
		if (!takes(m, key)) {
			call_error(c, RPC_PARAMS, "'%s' has no parameter '%.64s'", m->name, key);
			return;
		}
	m->fn(c, &a);
}
