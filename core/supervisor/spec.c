/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/spec.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "core/base/buf.h"

static const char *const intents[] = {
	[INTENT_NONE] = "none",
	[INTENT_RESET] = "reset",
	[INTENT_REMOVE] = "remove",
};
static_assert(ARRAY_SIZE(intents) == INTENT_NUM, "every intention has a name");

static const char *const backends[] = { [SPEC_AUTO] = "auto", [SPEC_QEMU] = "qemu", [SPEC_KVM] = "kvm" };
static_assert(ARRAY_SIZE(backends) == SPEC_BACKEND_NUM, "every backend has a name");

const char *spec_backend_name(enum spec_backend b)
{
	return backends[b];
}

int spec_backend_parse(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(backends); i++)
		if (!strcmp(backends[i], word))
			return (int)i;
	return -1;
}

void spec_init(struct spec *s)
{
	*s = (struct spec){ .state = SB_NEW, .session_floor = 1, .hide_default = true };
}

void spec_release(struct spec *s)
{
	free(s->path);
	free(s->hide);
	json_decref(s->env);
	spec_init(s);
}

static json_t *ports_json(const struct spec *s)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < s->nports; i++)
		json_array_append_new(list, json_pack("{s:I, s:s, s:i, s:i}", "id", (json_int_t)s->ports[i].id, "address", s->ports[i].address,
						      "host_port", s->ports[i].host_port, "guest_port", s->ports[i].guest_port));
	return list;
}

char *spec_to_json(const struct spec *s)
{
	json_t *o = json_pack("{s:i, s:s, s:s, s:s?, s:I, s:I, s:I, s:O?, s:b, s:I, s:I, s:I, s:s, s:s, s:I, s:s, s:s, s:b, s:b, s:o}",
			      "version", SPEC_VERSION, "name", s->name, "kit", s->kit, "path", s->path, "cpus", (json_int_t)s->cpus,
			      "memory", (json_int_t)s->memory, "disk", (json_int_t)s->disk, "env", s->env, "remove_on_stop",
			      s->remove_on_stop, "created_ns", (json_int_t)s->created_ns, "started_ns", (json_int_t)s->started_ns,
			      "generation", (json_int_t)s->gen, "state", sandbox_state_name(s->state), "reason", s->reason,
			      "session_floor", (json_int_t)s->session_floor, "boot_id",
			      s->boot_id, "intent", intents[s->intent], "intent_restart", s->intent_restart, "unattended", s->unattended, "ports",
			      ports_json(s));
	if (o) {
		json_object_set_new(o, "backend", json_string(backends[s->backend]));
		json_object_set_new(o, "image", json_string(s->image));
		json_object_set_new(o, "ran", json_string(backends[s->ran]));
		json_object_set_new(o, "workspaces", spec_workspaces_json(&s->ws));
		json_object_set_new(o, "hide", json_string(s->hide ? s->hide : ""));
		json_object_set_new(o, "hide_default", json_boolean(s->hide_default));
	}
	char *text = o ? json_dumps(o, JSON_INDENT(2)) : NULL;

	json_decref(o);
	return text;
}

int spec_env_check(const json_t *env, struct err *e)
{
	const char *key;
	json_t *v;
	size_t bytes = 0;

	if (!json_is_object(env))
		return err_set(e, EINVAL, "the environment must be an object of strings");
	if (json_object_size(env) > SPEC_ENVS_MAX)
		return err_set(e, EINVAL, "%zu environment variables are too many, at most %u are taken", json_object_size(env),
			       SPEC_ENVS_MAX);
	json_object_foreach((json_t *)(uintptr_t)env, key, v) {
		if (!json_is_string(v))
			return err_set(e, EINVAL, "the value of environment variable '%.64s' is not a string", key);
		if (strlen(json_string_value(v)) != json_string_length(v))
			return err_set(e, EINVAL, "the value of environment variable '%.64s' holds a NUL", key);
		if (!*key || strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") != strlen(key) ||
		    (*key >= '0' && *key <= '9'))
			return err_set(e, EINVAL,
				       "'%.64s' is not a name for an environment variable: letters, digits and '_', not beginning "
				       "with a digit",
				       key);
		bytes += strlen(key) + json_string_length(v) + 2;
	}
	if (bytes > SPEC_ENV_BYTES_MAX)
		return err_set(e, EINVAL, "the environment is %zu bytes long, at most %u are taken", bytes, SPEC_ENV_BYTES_MAX);
	return 0;
}

/* Directories without which a guest is none, and what lies in its own way. */
static bool is_system(const char *path)
{
	static const char *const whole[] = { "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run/bulkhead", "/sbin", "/sys",
					     "/usr", "/var/lib/docker" };
	static const char *const itself[] = { "/home", "/root", "/run", "/tmp", "/var", "/var/lib", "/mnt", "/opt", "/srv", "/media" };

	for (size_t i = 0; i < ARRAY_SIZE(whole); i++) {
		const size_t n = strlen(whole[i]);

		if (strncmp(path, whole[i], n) == 0 && (path[n] == '\0' || path[n] == '/') && !str_starts(path, "/usr/local/src/") && !str_starts(path, "/usr/src/"))
			return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(itself); i++)
		if (strcmp(path, itself[i]) == 0)
			return true;
	return false;
}

static bool within(const char *a, const char *b)
{
	const size_t n = strlen(b);

	return strncmp(a, b, n) == 0 && (a[n] == '\0' || a[n] == '/');
}

static int add_workspace(struct workspaces *ws, const char *path, const char *word, struct err *e)
{
	const int mode = workspace_mode_parse(word);

	if (ws->n >= WORKSPACES_MAX)
		return err_set(e, EINVAL, "more than %u workspaces", WORKSPACES_MAX);
	if (mode < 0)
		return err_set(e, EINVAL, "a workspace's mode is review, ro, live or clone, not '%.32s'", word);
	if (!workspace_path_legal(path))
		return err_set(e, EINVAL, "'%.256s' is no absolute path of a workspace", path);
	if (is_system(path))
		return err_set(e, EINVAL, "'%s' cannot be a workspace: the sandbox's own system lies there", path);
	for (size_t i = 0; i < ws->n; i++)
		if (within(path, ws->w[i].path) || within(ws->w[i].path, path))
			return err_set(e, EINVAL, "workspaces '%s' and '%s' lie within one another", ws->w[i].path, path);
	ws->w[ws->n].mode = (uint8_t)mode;
	str_copy(ws->w[ws->n++].path, sizeof(ws->w[0].path), path);
	return 0;
}

int spec_workspaces_check(const json_t *list, struct workspaces *ws, struct err *e)
{
	size_t i;
	json_t *o;

	ws->n = 0;
	if (!json_is_array(list))
		return err_set(e, EINVAL, "the workspaces must be an array");
	json_array_foreach(list, i, o) {
		const char *path = json_string_value(json_object_get(o, "path")), *mode = json_string_value(json_object_get(o, "mode"));

		if (!path || strlen(path) != json_string_length(json_object_get(o, "path")))
			return err_set(e, EINVAL, "a workspace has no path");
		const int r = add_workspace(ws, path, mode ? mode : "review", e);
		if (r)
			return r;
	}
	return 0;
}

json_t *spec_workspaces_json(const struct workspaces *ws)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ws->n; i++)
		json_array_append_new(list, json_pack("{s:s, s:s}", "path", ws->w[i].path, "mode", workspace_modes[ws->w[i].mode]));
	return list;
}

int spec_hide_check(const json_t *list, char **out, struct err *e)
{
	struct buf b;
	size_t i;
	json_t *v;

	*out = NULL;
	if (!json_is_array(list) || json_array_size(list) > 64)
		return err_set(e, EINVAL, "what is to be hidden must be an array of at most 64 patterns");
	buf_init(&b, FS_HIDE_MAX / 2 - 1);
	json_array_foreach(list, i, v) {
		const char *s = json_string_value(v);

		if (!s || !*s || strlen(s) != json_string_length(v) || strlen(s) > 255 || strpbrk(s, "\r\n") || strstr(s, "..") || strstr(s, "//")) {
			buf_release(&b);
			return err_set(e, EINVAL, "'%.64s' is no pattern of names to hide", s ? s : "?");
		}
		buf_printf(&b, "%s\n", s);
	}
	buf_u8(&b, 0);
	if (!buf_ok(&b) || !(*out = str_dup((const char *)buf_head(&b)))) {
		buf_release(&b);
		return err_set(e, EINVAL, "the patterns of names to hide are too long");
	}
	buf_release(&b);
	return 0;
}

json_t *spec_hide_json(const struct spec *s)
{
	json_t *list = json_array();

	for (const char *p = s->hide ? s->hide : ""; *p; p += strcspn(p, "\n"), p += *p == '\n')
		if (*p != '\n')
			json_array_append_new(list, json_stringn(p, strcspn(p, "\n")));
	return list;
}

/* One field; the first failure stays in e and makes the rest no-ops. */
static const json_t *field(const json_t *o, const char *key, int type, struct err *e)
{
	const json_t *v = json_object_get(o, key);

	if (e->code)
		return NULL;
	if (!v || json_typeof(v) != (json_type)type) {
		err_set(e, EBADMSG, "'%s' is missing or of the wrong type", key);
		return NULL;
	}
	return v;
}

static uint64_t number(const json_t *o, const char *key, uint64_t min, uint64_t max, struct err *e)
{
	const json_t *v = field(o, key, JSON_INTEGER, e);
	json_int_t n = json_integer_value(v);

	if (!v)
		return 0;
	if (n < 0 || (uint64_t)n < min || (uint64_t)n > max) {
		err_set(e, EBADMSG, "'%s' is out of range", key);
		return 0;
	}
	return (uint64_t)n;
}

static void text(const json_t *o, const char *key, char *dst, size_t cap, struct err *e)
{
	const json_t *v = field(o, key, JSON_STRING, e);

	if (v && (json_string_length(v) >= cap || strlen(json_string_value(v)) != json_string_length(v)))
		err_set(e, EBADMSG, "'%s' is too long", key);
	else if (v)
		str_copy(dst, cap, json_string_value(v));
}

static bool boolean(const json_t *o, const char *key, struct err *e)
{
	const json_t *v = json_object_get(o, key);

	if (!e->code && !json_is_boolean(v))
		err_set(e, EBADMSG, "'%s' is missing or of the wrong type", key);
	return json_is_true(v);
}

/* Both came with the network: a file without them is of before. */
static void read_net(struct spec *s, const json_t *o, struct err *e)
{
	const json_t *list = json_object_get(o, "ports"), *v;
	size_t i;

	if (json_object_get(o, "unattended"))
		s->unattended = boolean(o, "unattended", e);
	if (list && !e->code && (!json_is_array(list) || json_array_size(list) > SPEC_PORTS_MAX))
		err_set(e, EBADMSG, "'ports' is not a list of at most %u ports", SPEC_PORTS_MAX);
	json_array_foreach(list, i, v) {
		struct spec_port *p = &s->ports[i];
		if (e->code)
			return;
		p->id = (uint32_t)number(v, "id", 1, UINT32_MAX - 1, e);
		text(v, "address", p->address, sizeof(p->address), e);
		p->host_port = (uint16_t)number(v, "host_port", 1, UINT16_MAX, e);
		p->guest_port = (uint16_t)number(v, "guest_port", 1, UINT16_MAX, e);
		s->nports = (uint32_t)i + 1;
	}
}

static int read_object(struct spec *s, const char *name, const json_t *o, struct err *e)
{
	char word[32] = "";
	int state;

	e->code = 0;
	if (number(o, "version", 0, 1u << 30, e) != SPEC_VERSION && !e->code)
		return err_set(e, EBADMSG, "it was written by another version of bulkhead");
	text(o, "name", s->name, sizeof(s->name), e);
	if (!e->code && strcmp(s->name, name))
		return err_set(e, EBADMSG, "it belongs to sandbox '%s'", s->name);
	text(o, "kit", s->kit, sizeof(s->kit), e);
	s->cpus = (uint32_t)number(o, "cpus", 1, SPEC_CPUS_MAX, e);
	s->memory = number(o, "memory", 64u << 20, UINT64_C(1) << 44, e);
	s->disk = number(o, "disk", 64u << 20, UINT64_C(1) << 46, e);
	s->remove_on_stop = boolean(o, "remove_on_stop", e);
	s->created_ns = number(o, "created_ns", 0, INT64_MAX, e);
	s->started_ns = number(o, "started_ns", 0, INT64_MAX, e);
	s->gen = (uint32_t)number(o, "generation", 0, UINT32_MAX - 1, e);
	s->session_floor = (uint32_t)number(o, "session_floor", 1, UINT32_MAX - 1024, e);
	text(o, "reason", s->reason, sizeof(s->reason), e);
	text(o, "boot_id", s->boot_id, sizeof(s->boot_id), e);
	s->intent_restart = boolean(o, "intent_restart", e);
	read_net(s, o, e);
	text(o, "state", word, sizeof(word), e);
	if (e->code)
		return -e->code;
	state = sandbox_state_parse(word);
	if (state < 0)
		return err_set(e, EBADMSG, "there is no state '%s'", word);
	s->state = (enum sandbox_state)state;
	text(o, "intent", word, sizeof(word), e);
	if (e->code)
		return -e->code;
	for (size_t i = 0;; i++) {
		if (i == INTENT_NUM)
			return err_set(e, EBADMSG, "there is no intention '%s'", word);
		if (!strcmp(intents[i], word)) {
			s->intent = (enum spec_intent)i;
			break;
		}
	}

	/* Missing in files of the first versions. */
	if (json_object_get(o, "image"))
		text(o, "image", s->image, sizeof(s->image), e);
	if (json_object_get(o, "backend")) {
		text(o, "backend", word, sizeof(word), e);
		if (e->code)
			return -e->code;
		const int b = spec_backend_parse(word);
		if (b < 0)
			return err_set(e, EBADMSG, "there is no backend '%s'", word);
		s->backend = (enum spec_backend)b;
	}
	if (json_object_get(o, "ran")) {
		text(o, "ran", word, sizeof(word), e);
		const int b = spec_backend_parse(word);
		if (e->code || b < 0)
			return err_set(e, EBADMSG, "there is no backend '%s'", word);
		s->ran = (enum spec_backend)b;
	}
	json_t *path = json_object_get(o, "path");
	if (json_is_string(path)) {
		const char *p = json_string_value(path);
		if (*p != '/' || json_string_length(path) > SPEC_PATH_MAX || strlen(p) != json_string_length(path))
			return err_set(e, EBADMSG, "'path' is not an absolute path");
		if (!(s->path = str_dup(p)))
			return err_set(e, ENOMEM, "out of memory");
	} else if (path && !json_is_null(path)) {
		return err_set(e, EBADMSG, "'path' is of the wrong type");
	}
	/* Absent in what older versions wrote. */
	json_t *ws = json_object_get(o, "workspaces"), *hide = json_object_get(o, "hide");
	if (ws && spec_workspaces_check(ws, &s->ws, e))
		return -(e->code = EBADMSG);
	if (hide && (!json_is_string(hide) || json_string_length(hide) >= FS_HIDE_MAX / 2 || strlen(json_string_value(hide)) != json_string_length(hide)))
		return err_set(e, EBADMSG, "'hide' is of the wrong type or too long");
	if (hide && *json_string_value(hide) && !(s->hide = str_dup(json_string_value(hide))))
		return err_set(e, ENOMEM, "out of memory");
	s->hide_default = !json_is_false(json_object_get(o, "hide_default"));
	json_t *env = json_object_get(o, "env");
	if (env && !json_is_null(env)) {
		if (spec_env_check(env, e))
			return -(e->code = EBADMSG);
		s->env = json_incref(env);
	}
	return 0;
}

int spec_from_json(struct spec *s, const char *name, const char *p, size_t n, struct err *e)
{
	struct err local = ERR_INIT;
	json_error_t je;
	json_t *o = json_loadb(p, n, JSON_REJECT_DUPLICATES, &je);
	int r;

	if (!e)
		e = &local;
	spec_init(s);
	if (!json_is_object(o)) {
		r = o ? err_set(e, EBADMSG, "it is not a JSON object") :
			err_set(e, EBADMSG, "line %d, column %d: %s", je.line, je.column, je.text);
		json_decref(o);
		return r;
	}
	r = read_object(s, name, o, e);
	json_decref(o);
	if (r)
		spec_release(s);
	return r;
}
