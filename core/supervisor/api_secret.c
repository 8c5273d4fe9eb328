/* SPDX-License-Identifier: Apache-2.0 */
/*
 * secret.set, secret.list, secret.remove. A value that arrives is moved into locked memory and wiped where it lay before anything else is
 * looked at; it is in no answer, no event and no log.
 */
#include "core/supervisor/api.h"

#include <errno.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/utf8.h"
#include "core/supervisor/audit.h"
#include "core/supervisor/lifelog.h"
#include "core/supervisor/sandbox.h"
#include "core/supervisor/secretlist.h"
#include "core/supervisor/super.h"

static json_t *secret_json(const struct secret *s)
{
	char at[32];
	AUTO_FREE char *command = NULL;
	const char *detail = s->source == SECRET_ENV ? s->env : s->source == SECRET_STORED ? (s->in_service ? "secret-service" : "file") : NULL;

	if (s->source == SECRET_COMMAND) {
		char line[256] = "";
		size_t n = 0, i;
		json_t *v;
		json_array_foreach(s->argv, i, v)
			n += (size_t)snprintf(line + n, n < sizeof(line) ? sizeof(line) - n : 0, "%s%s", i ? " " : "", json_string_value(v)), n = n < sizeof(line) ? n : sizeof(line) - 1;
		char clean[512];
		scrub(clean, sizeof(clean), line, strlen(line), false);
		detail = command = str_dup(clean);
	}
	clock_rfc3339(at, s->updated_ns);
	return json_pack("{s:s, s:s?, s:s, s:s?, s:s?, s:s, s:s?}", "service", s->service, "sandbox", *s->sandbox ? s->sandbox : NULL, "source",
			 secret_source_name[s->source], "detail", detail, "masked", *s->masked ? s->masked : NULL, "updated", at, "error",
			 *s->why ? s->why : NULL);
}

/* The credentials, or NULL after having answered. */
static struct secrets *usable(struct call *c)
{
	struct secrets *all = c->su->secrets;

	if (all && !*all->broken) {
		secrets_reload(all);
		return all;
	}
	call_error(c, RPC_FAILED, "%s", all ? all->broken : "there are no credentials: the supervisor's log says why");
	return NULL;
}

static void record(struct super *su, const char *what, const struct secret *s)
{
	audit_add_json_take(su, json_pack("{s:s, s:s, s:s, s:s?, s:s}", "event", "secret", "what", what, "service", s->service, "sandbox",
					  *s->sandbox ? s->sandbox : NULL, "source", secret_source_name[s->source]));
}

/* ---- set ------------------------------------------------------------------------------------------------------------------------------ */

static void refuse(struct op *o, enum rpc_code code, const char *why)
{
	struct call *c = o->call;

	o->call = NULL;
	op_destroy(o);
	call_error(c, code, "%s", why);
}

/* The new one has its value and place: into the list, to the disk, to the sandboxes. */
static void commit(struct op *o)
{
	struct secrets *all = o->all;
	struct secret *s = o->secret, *old = NULL;
	struct err e = ERR_INIT;
	uint32_t next = all->next_id;

	if (*s->sandbox && !sandbox_find(all->su, s->sandbox)) {
		keeper_delete(all, s);
		refuse(o, RPC_NOT_FOUND, "the sandbox was removed meanwhile");
		return;
	}
	s->updated_ns = clock_wall_ns();
	o->secret = NULL;
	secret_insert(all, s, &old);
	if (secrets_save(all, &e)) {
		struct secret *none = NULL;
		secret_unlink(s);
		all->next_id = next;
		if (old) {
			secret_insert(all, old, &none);
			all->next_id = next;
		}
		keeper_delete(all, s);
		secret_destroy(s);
		refuse(o, RPC_FAILED, e.msg);
		return;
	}
	if (old)
		keeper_delete(all, old);
	secret_destroy(old);
	record(all->su, "set", s);
	lifelog_add(all->su, LOG_INFO, *s->sandbox ? s->sandbox : NULL, "credential '%s' set (%s)", s->service, secret_source_name[s->source]);
	json_t *r = secret_json(s);
	if (*o->notice)
		json_object_set_new(r, "notice", json_string(o->notice));
	struct call *c = o->call;
	o->call = NULL;
	op_destroy(o);
	secrets_tell(all, s->sandbox);
	/* Held only while a machine needs it; what a client gave from its environment cannot be had again. */
	if (s->source != SECRET_ENV && !secret_used(s))
		secret_drop(s);
	else if (s->source == SECRET_COMMAND)
		secret_plan(s);
	call_result_take(c, r);
}

static void on_kept(struct op *o, const struct err *e)
{
	if (e->code)
		refuse(o, RPC_FAILED, e->msg);
	else
		commit(o);
}

static void on_keeper(struct op *o)
{
	keeper_store(o, on_kept);
}

static bool env_name(const char *s)
{
	return *s && !(*s >= '0' && *s <= '9') && s[strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789")] == '\0';
}

/* Into locked memory; the string in the request is overwritten. */
static struct held *take_value(struct args *a)
{
	const json_t *v = a->e.code ? NULL : json_object_get(a->p, "value");
	const char *why = NULL;

	if (!v || json_is_null(v))
		return NULL;
	if (!json_is_string(v)) {
		err_set(&a->e, EINVAL, "parameter 'value' must be a string");
		return NULL;
	}
	size_t n = json_string_length(v);
	struct held *h = n <= HELD_MAX ? held_copy(json_string_value(v), n) : NULL;
	explicit_bzero((char *)(uintptr_t)json_string_value(v), n);
	if (n > HELD_MAX)
		err_set(&a->e, EINVAL, "parameter 'value' is longer than %u bytes", HELD_MAX);
	else if (!h)
		err_set(&a->e, ENOMEM, "out of memory");
	else if (held_check(h, &why))
		err_set(&a->e, EINVAL, "parameter 'value' cannot be used: %s", why);
	return h;
}

static bool busy(const struct secrets *all, const char *service, const char *sandbox)
{
	for (const struct op *o = all->ops; o; o = o->next)
		if (o->secret && !strcmp(o->secret->service, service) && !strcmp(o->secret->sandbox, sandbox))
			return true;
	return false;
}

/* Whose it is to be: "" or a sandbox that is there. False after having answered. */
static bool scope(struct call *c, struct args *a, const char **sandbox)
{
	const json_t *name = json_object_get(a->p, "name");

	*sandbox = "";
	if (!name || json_is_null(name))
		return true;
	struct sandbox *sb = arg_sandbox(a, c);
	if (sb)
		*sandbox = sb->spec.name;
	return sb != NULL;
}

static const struct service *service_of(struct call *c, struct secrets *all, const char *name)
{
	const struct service *v = services_find(&all->services, name);
	char clean[96], text[320];

	if (v)
		return v;
	scrub(clean, sizeof(clean), name, strlen(name), false);
	snprintf(text, sizeof(text), "there is no service '%s': describe it in services.yaml (bulkhead(5)), or take one of those 'bulkhead secret services' names", clean);
	call_error_hint(c, RPC_NOT_FOUND, services_near(&all->services, name), text);
	return NULL;
}

static struct op *prepare(struct call *c, struct secrets *all, const char *service, const char *sandbox)
{
	struct op *o = op_create(all);
	struct secret *s = o ? calloc(1, sizeof(*s)) : NULL;

	if (!s) {
		if (o)
			op_destroy(o);
		call_error(c, RPC_FAILED, "out of memory");
		return NULL;
	}
	s->all = all;
	str_copy(s->service, sizeof(s->service), service);
	str_copy(s->sandbox, sizeof(s->sandbox), sandbox);
	o->secret = s;
	o->call = c;
	return o;
}

static void set_env(struct op *o, const char *env, struct held *value)
{
	const char *here = getenv(env), *why = NULL;
	struct secret *s = o->secret;

	s->source = SECRET_ENV;
	str_copy(s->env, sizeof(s->env), env);
	if (!value && here)
		value = held_copy(here, strlen(here));
	if (value && held_check(value, &why)) {
		held_destroy(&value);
		char text[160];
		snprintf(text, sizeof(text), "the value of '%s' cannot be used: %s", env, why);
		refuse(o, RPC_FAILED, text);
		return;
	}
	s->value = value;
	held_mask(value, s->masked, sizeof(s->masked));
	if (!value)
		snprintf(o->notice, sizeof(o->notice), "the supervisor's environment has no '%s' yet: start it from one that has", env);
	commit(o);
}

static void on_set(struct call *c, struct args *a)
{
	struct held *value = take_value(a);
	const char *service = arg_str(a, "service", 63, true), *env = arg_str(a, "env", 63, false), *sandbox;
	const json_t *command = arg_list(a, "command", SECRET_ARGS_MAX);
	uint64_t refresh = arg_num(a, "refresh", SECRET_REFRESH_MIN_S, SECRET_REFRESH_MAX_S, SECRET_REFRESH_S);
	struct secrets *all = NULL;
	struct op *o = NULL;

	if (!a->e.code && env && !env_name(env))
		err_set(&a->e, EINVAL, "parameter 'env' must be the name of a variable");
	if (!a->e.code && command && (json_array_size(command) == 0 || !*json_string_value(json_array_get(command, 0))))
		err_set(&a->e, EINVAL, "parameter 'command' must begin with a program");
	if (!a->e.code && (command ? env || value : !env && !value))
		err_set(&a->e, EINVAL, "one of the parameters 'value', 'env' and 'command' says where the value comes from ('value' may go with 'env')");
	if (args_bad(a, c) || !scope(c, a, &sandbox) || !(all = usable(c)) || !service_of(c, all, service)) {
		held_destroy(&value);
		return;
	}
	unsigned n = 0;
	for (const struct secret *s = all->list; s; s = s->next)
		n++;
	if (busy(all, service, sandbox))
		call_error(c, RPC_BUSY, "credential '%s' is being set already", service);
	else if (n >= SECRETS_MAX && !secret_find(all, service, sandbox))
		call_error(c, RPC_LIMIT, "there are %u credentials already: remove one first", n);
	else
		o = prepare(c, all, service, sandbox);
	if (!o) {
		held_destroy(&value);
		return;
	}
	if (env) {
		set_env(o, env, value);
	} else if (command) {
		o->secret->source = SECRET_COMMAND;
		o->secret->argv = json_deep_copy(command);
		o->secret->refresh_s = (uint32_t)refresh;
		command_try(o, on_kept);
	} else {
		o->secret->source = SECRET_STORED;
		o->secret->value = value;
		held_mask(value, o->secret->masked, sizeof(o->secret->masked));
		keeper_probe(o, on_keeper);
	}
}

/* ---- list and remove ------------------------------------------------------------------------------------------------------------------- */

static json_t *services_json(const struct services *all)
{
	json_t *list = json_array();

	for (size_t i = 0; i < all->n; i++) {
		const struct service *v = all->v[i];
		json_t *env = json_array(), *hosts = json_array();
		for (unsigned k = 0; k < v->nenvs; k++)
			json_array_append_new(env, json_string(v->env[k]));
		for (unsigned k = 0; k < v->nrules; k++)
			for (unsigned h = 0; h < v->rules[k].nhosts; h++)
				json_array_append_new(hosts, json_string(v->rules[k].hosts[h]));
		json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:o}", "name", v->name, "summary", v->summary, "env", env, "hosts", hosts));
	}
	return list;
}

static void on_listed(struct op *o)
{
	struct secrets *all = o->all;
	json_t *list = json_array(), *errors = json_array();

	for (const struct secret *s = all->list; s; s = s->next) {
		json_t *v = secret_json(s);
		if (!services_find(&all->services, s->service))
			json_object_set_new(v, "error", json_string("no service of this name is described any more"));
		json_array_append_new(list, v);
	}
	if (*all->services_error)
		json_array_append_new(errors, json_string(all->services_error));
	struct call *c = o->call;
	o->call = NULL;
	json_t *r = json_pack("{s:o, s:s, s:o, s:o}", "secrets", list, "store", all->keeper == KEEPER_SERVICE ? "secret-service" : "file", "services",
			      services_json(&all->services), "errors", errors);
	op_destroy(o);
	call_result_take(c, r);
}

static void on_list(struct call *c, struct args *a)
{
	struct secrets *all = usable(c);
	struct op *o = all ? op_create(all) : NULL;

	(void)a;
	if (!all)
		return;
	if (!o) {
		call_error(c, RPC_FAILED, "out of memory");
		return;
	}
	o->call = c;
	keeper_probe(o, on_listed);
}

static void on_remove(struct call *c, struct args *a)
{
	const char *service = arg_str(a, "service", 63, true), *sandbox;
	struct secrets *all;
	struct err e = ERR_INIT;

	if (args_bad(a, c) || !scope(c, a, &sandbox) || !(all = usable(c)))
		return;
	struct secret *s = secret_find(all, service, sandbox), *none = NULL;
	if (!s) {
		char clean[96];
		scrub(clean, sizeof(clean), service, strlen(service), false);
		call_error(c, RPC_NOT_FOUND, "there is no credential '%s'%s%s", clean, *sandbox ? " of sandbox " : "", sandbox);
		return;
	}
	secret_unlink(s);
	if (secrets_save(all, &e)) {
		uint32_t id = s->id, next = all->next_id;
		secret_insert(all, s, &none);
		s->id = id;
		all->next_id = next;
		call_error(c, RPC_FAILED, "%s", e.msg);
		return;
	}
	keeper_delete(all, s);
	record(all->su, "removed", s);
	lifelog_add(all->su, LOG_INFO, *s->sandbox ? s->sandbox : NULL, "credential '%s' removed", s->service);
	char of[sizeof(s->sandbox)];
	str_copy(of, sizeof(of), s->sandbox);
	secret_destroy(s);
	secrets_tell(all, of);
	call_result_take(c, json_object());
}

static const struct method rows[] = {
	{ "secret.set", " service value env command name refresh ", on_set },
	{ "secret.list", "", on_list },
	{ "secret.remove", " service name ", on_remove },
};

const struct method_table api_secret = { rows, ARRAY_SIZE(rows) };
