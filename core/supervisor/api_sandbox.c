/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/api.h"

#include <ctype.h>
#include <errno.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/kit/kit.h"
#include "core/supervisor/events.h"
#include "core/supervisor/lifelog.h"
#include "core/supervisor/sandbox.h"
#include "core/supervisor/snapshot.h"
#include "core/supervisor/super.h"
#include "core/supervisor/wait.h"

#define DAY_MS UINT64_C(86400000)
#define NAME_TRIES 1000

/* Answers by how a life_*() went. */
static void done(struct call *c, struct sandbox *sb, int r, const struct err *e)
{
	if (r)
		call_error_err(c, e);
	else
		call_result_take(c, sandbox_json(sb));
}

/* ---- create ---------------------------------------------------------------------------------------------------------------------- */

/* A name made of a directory's or the kit's: what a name may not hold becomes '-'. */
static void name_base(char dst[NAME_MAX_LEN + 1], const char *from)
{
	size_t n = 0;

	for (const char *p = from; *p && n < NAME_MAX_LEN - 4; p++) {
		char ch = (char)tolower((unsigned char)*p);
		bool good = (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9');
		if (good || (n && dst[n - 1] != '-'))
			dst[n++] = good ? ch : '-';
	}
	while (n && dst[n - 1] == '-')
		n--;
	dst[n] = '\0';
}

static int name_make(struct super *su, struct spec *s, struct err *e)
{
	const char *slash = s->path ? strrchr(s->path, '/') : NULL;
	char base[NAME_MAX_LEN + 1];

	name_base(base, slash && slash[1] ? slash + 1 : s->kit);
	if (!*base)
		str_copy(base, sizeof(base), s->kit);
	for (unsigned i = 1; i <= NAME_TRIES; i++) {
		if (i == 1)
			str_copy(s->name, sizeof(s->name), base);
		else
			snprintf(s->name, sizeof(s->name), "%.*s-%u", NAME_MAX_LEN - 5, base, i);
		if (!name_check(s->name, NULL) && !sandbox_find(su, s->name))
			return 0;
	}
	return err_set(e, EEXIST, "no name can be made of '%s': give one", base);
}

/* The directory itself, unless its mode is none, and more. Each must be there. */
static int fill_workspaces(struct args *a, struct spec *s, struct err *e)
{
	const char *mode = arg_str(a, "mode", 16, false);
	const json_t *more = json_object_get(a->p, "workspaces"), *hide = json_object_get(a->p, "exclude"), *o;
	const json_t *defaults = json_object_get(a->p, "exclude_default");
	json_t *all = json_array();
	size_t i;

	if (s->path && strcmp(mode ? mode : "review", "none"))
		json_array_append_new(all, json_pack("{s:s, s:s}", "path", s->path, "mode", mode ? mode : "review"));
	json_array_foreach(json_is_array(more) ? more : NULL, i, o) {
		const char *path = json_string_value(json_object_get(o, "path")), *word = json_string_value(json_object_get(o, "mode"));
		AUTO_FREE char *real = path_real_dir(path ? path : "", e);

		if (!real) {
			e->code = ENOTDIR;
			json_decref(all);
			return -e->code;
		}
		json_array_append_new(all, json_pack("{s:s, s:s}", "path", real, "mode", word ? word : "review"));
	}
	int r = spec_workspaces_check(all, &s->ws, e);
	json_decref(all);
	if (!r && hide)
		r = spec_hide_check(hide, &s->hide, e);
	s->hide_default = !json_is_false(defaults);
	return r;
}

static int fill(struct super *su, struct args *a, struct spec *s, const char *name, const char *path, struct err *e)
{
	s->created_ns = clock_wall_ns();
	s->state = SB_STOPPED;
	if (path && !(s->path = path_real_dir(path, e))) {
		e->code = ENOTDIR;
		return -e->code;
	}
	if (s->path && strlen(s->path) > SPEC_PATH_MAX)
		return err_set(e, ENAMETOOLONG, "the directory's path is longer than %u bytes", SPEC_PATH_MAX);
	if (fill_workspaces(a, s, e))
		return -e->code;
	const json_t *env = arg_env(a, "env");
	if (env)
		s->env = json_deep_copy(env);
	if (name) {
		if (name_check(name, e)) {
			e->code = EINVAL;
			return err_wrap(e, "parameter 'name'");
		}
		str_copy(s->name, sizeof(s->name), name);
		if (sandbox_find(su, name))
			return err_set(e, EEXIST, "there is already a sandbox '%s'", name);
	} else if (name_make(su, s, e)) {
		return -e->code;
	}
	return workspace_check(s, e);
}

static struct sandbox *create(struct super *su, struct spec *s, struct err *e)
{
	str_copy(s->boot_id, sizeof(s->boot_id), su->boot_id);
	AUTO_FD dirfd = store_create(&su->store, s, e);

	if (dirfd < 0)
		return NULL;
	struct sandbox *sb = sandbox_create_take(su, s, dirfd);
	if (!sb) {
		store_remove(&su->store, s->name, NULL);
		err_set(e, ENOMEM, "out of memory");
		return NULL;
	}
	steal_fd(&dirfd);
	sandbox_set_state(sb, SB_STOPPED, NULL);
	lifelog_add(su, LOG_INFO, sb->spec.name, "created: kit %s%s%s", sb->spec.kit, sb->spec.path ? ", " : "", sb->spec.path ? sb->spec.path : "");
	return sb;
}

static bool known_kit(struct call *c, const char *kit)
{
	char text[160];

	if (kit_find(kit))
		return true;
	snprintf(text, sizeof(text), "there is no kit '%.64s'", kit);
	call_error_hint(c, RPC_PARAMS, kit_suggest(kit), text);
	return false;
}

static void on_create(struct call *c, struct args *a)
{
	struct super *su = c->su;
	const struct config *cf = &su->config;
	const char *name = arg_str(a, "name", 4096, false), *kit = arg_str(a, "kit", 64, false), *path = arg_str(a, "path", 4096, false);
	const char *backend = arg_str(a, "backend", 16, false);
	uint64_t cpus = arg_num(a, "cpus", 0, UINT32_MAX, cf->cpus), memory = arg_num(a, "memory", 0, INT64_MAX, cf->memory);
	uint64_t disk = arg_num(a, "disk", 0, INT64_MAX, cf->disk);
	bool remove = arg_bool(a, "remove_on_stop"), unattended = arg_bool(a, "unattended"), lease = arg_bool(a, "lease");
	struct host_facts h;
	struct spec s;

	arg_env(a, "env");
	if (args_bad(a, c) || !known_kit(c, kit ? kit : kits[0].name))
		return;
	if (backend && spec_backend_parse(backend) < 0) {
		call_error(c, RPC_PARAMS, "there is no backend '%s': it is 'auto', 'kvm' or 'qemu'", backend);
		return;
	}
	super_host(su, &h, NULL);
	if (limits_create(cf, &h, cpus, memory, disk, &a->e)) {
		call_error_err(c, &a->e);
		return;
	}
	spec_init(&s);
	s.cpus = (uint32_t)cpus;
	s.memory = memory >> 20 << 20;
	s.disk = disk >> 20 << 20;
	s.remove_on_stop = remove;
	s.unattended = unattended;
	s.backend = backend ? (enum spec_backend)spec_backend_parse(backend) : SPEC_AUTO;
	str_copy(s.kit, sizeof(s.kit), kit ? kit : kits[0].name);
	struct sandbox *sb = fill(su, a, &s, name, path, &a->e) ? NULL : create(su, &s, &a->e);
	if (sb && lease)
		sb->lease = c->client;
	if (sb)
		call_result_take(c, sandbox_json(sb));
	else
		call_error_err(c, &a->e);
	spec_release(&s);
}

/* ---- look ------------------------------------------------------------------------------------------------------------------------ */

static json_t *page(struct super *su, struct sandbox *from)
{
	struct sandbox *rest;
	json_t *list = events_sandboxes(from, &rest);

	return json_pack("{s:o, s:o, s:s?}", "sandboxes", list, "host", events_host_json(su), "next", rest ? rest->spec.name : NULL);
}

static void on_list(struct call *c, struct args *a)
{
	const char *from = arg_str(a, "from", 4096, false);
	struct sandbox *sb = c->su->sandboxes;

	if (args_bad(a, c))
		return;
	/* By name: also where that one was removed since. */
	while (from && sb && strcmp(sb->spec.name, from) < 0)
		sb = sb->next;
	call_result_take(c, page(c->su, sb));
}

static void on_get(struct call *c, struct args *a)
{
	struct sandbox *sb = arg_sandbox(a, c);

	if (sb)
		call_result_take(c, sandbox_json_whole(sb));
}

static void on_find(struct call *c, struct args *a)
{
	const char *path = arg_str(a, "path", 4096, true);

	if (args_bad(a, c))
		return;
	/* A directory that is gone may still have its sandbox. */
	AUTO_FREE char *real = path_real_dir(path, NULL);
	json_t *list = json_array();
	for (struct sandbox *sb = c->su->sandboxes; sb; sb = sb->next)
		if (sb->spec.path && (!strcmp(sb->spec.path, path) || (real && !strcmp(sb->spec.path, real))))
			json_array_append_new(list, sandbox_json(sb));
	call_result_take(c, json_pack("{s:o}", "sandboxes", list));
}

/* ---- change ---------------------------------------------------------------------------------------------------------------------- */

static void on_start(struct call *c, struct args *a)
{
	struct sandbox *sb = arg_sandbox(a, c);

	if (sb && life_start(sb, c, &a->e))
		call_error_err(c, &a->e);
}

static void on_stop(struct call *c, struct args *a)
{
	uint64_t ms = arg_num(a, "deadline_ms", 0, 600000, c->su->config.stop_ms);
	struct sandbox *sb = arg_sandbox(a, c);

	if (sb)
		done(c, sb, life_stop(sb, ms, &a->e), &a->e);
}

static void on_kill(struct call *c, struct args *a)
{
	struct sandbox *sb = arg_sandbox(a, c);

	if (sb)
		done(c, sb, life_kill(sb, &a->e), &a->e);
}

static void on_pause(struct call *c, struct args *a)
{
	struct sandbox *sb = arg_sandbox(a, c);

	if (sb)
		done(c, sb, life_pause(sb, &a->e), &a->e);
}

static void on_resume(struct call *c, struct args *a)
{
	struct sandbox *sb = arg_sandbox(a, c);

	if (sb)
		done(c, sb, life_resume(sb, &a->e), &a->e);
}

static void on_balloon(struct call *c, struct args *a)
{
	const uint64_t bytes = arg_num(a, "bytes", 0, UINT64_C(1) << 40, 0);
	struct sandbox *sb = arg_sandbox(a, c);

	if (sb)
		done(c, sb, life_balloon(sb, bytes, &a->e), &a->e);
}

static void on_reset(struct call *c, struct args *a)
{
	struct sandbox *sb = arg_sandbox(a, c);

	if (sb)
		done(c, sb, life_reset(sb, &a->e), &a->e);
}

static void on_snapshot(struct call *c, struct args *a)
{
	struct sandbox *sb = arg_sandbox(a, c);

	if (sb && snapshot_make(sb, c, &a->e))
		call_error_err(c, &a->e);
}

static void on_restore(struct call *c, struct args *a)
{
	struct sandbox *sb = arg_sandbox(a, c);

	if (sb)
		done(c, sb, snapshot_restore(sb, &a->e), &a->e);
}

static bool idle(const struct sandbox *sb)
{
	return !sb->vmm && (sb->state == SB_STOPPED || sb->state == SB_FAILED);
}

static void on_remove(struct call *c, struct args *a)
{
	bool force = arg_bool(a, "force");
	struct sandbox *sb = arg_sandbox(a, c);

	if (!sb)
		return;
	if (!idle(sb) && !force)
		call_error(c, RPC_STATE, "sandbox '%s' is %s: stop it first, or remove it by force", sb->spec.name, sandbox_state_name(sb->state));
	else if (life_remove(sb, c, &a->e))
		call_error_err(c, &a->e);
}

static void on_prune(struct call *c, struct args *a)
{
	bool dry = arg_bool(a, "dry_run");
	json_t *names = json_array();
	uint64_t bytes = 0;

	if (args_bad(a, c)) {
		json_decref(names);
		return;
	}
	for (struct sandbox *sb = c->su->sandboxes, *next; sb; sb = next) {
		next = sb->next;
		if (!idle(sb) || sb->removing)
			continue;
		uint64_t used = store_disk_used(sb->dirfd) + sb->snap_bytes;
		if (!dry && life_remove(sb, NULL, &a->e)) {
			lifelog_add(c->su, LOG_ERROR, sb->spec.name, "not removed: %s", a->e.msg);
			continue;
		}
		bytes += used;
		json_array_append_new(names, json_string(sb->spec.name));
	}
	call_result_take(c, json_pack("{s:o, s:I}", "removed", names, "bytes", (json_int_t)bytes));
}

static void on_wait(struct call *c, struct args *a)
{
	const json_t *list = arg_list(a, "states", SB_NUM), *v;
	bool docker = arg_bool(a, "docker"), settle = arg_bool(a, "settle");
	uint64_t ms = arg_num(a, "timeout_ms", 0, 7 * DAY_MS, 0);
	struct sandbox *sb = arg_sandbox(a, c);
	uint32_t states = 0;
	size_t i;

	if (!sb)
		return;
	json_array_foreach(list, i, v) {
		int s = sandbox_state_parse(json_string_value(v));
		if (s < 0) {
			call_error(c, RPC_PARAMS, "parameter 'states': there is no state '%.32s'", json_string_value(v));
			return;
		}
		states |= 1u << s;
	}
	if (!states)
		call_error(c, RPC_PARAMS, "parameter 'states' must name at least one state");
	else
		wait_add(sb, c, states, docker, settle, ms);
}

static const struct method rows[] = {
	{ "sandbox.create", " name kit path cpus memory disk env remove_on_stop lease unattended backend mode workspaces exclude exclude_default ", on_create },
	{ "sandbox.list", " from ", on_list },
	{ "sandbox.get", " name ", on_get },
	{ "sandbox.find", " path ", on_find },
	{ "sandbox.start", " name ", on_start },
	{ "sandbox.stop", " name deadline_ms ", on_stop },
	{ "sandbox.kill", " name ", on_kill },
	{ "sandbox.pause", " name ", on_pause },
	{ "sandbox.resume", " name ", on_resume },
	{ "sandbox.balloon", " name bytes ", on_balloon },
	{ "sandbox.reset", " name ", on_reset },
	{ "sandbox.snapshot", " name ", on_snapshot },
	{ "sandbox.restore", " name ", on_restore },
	{ "sandbox.remove", " name force ", on_remove },
	{ "sandbox.prune", " dry_run ", on_prune },
	{ "sandbox.wait", " name states docker settle timeout_ms ", on_wait },
};

const struct method_table api_sandbox = { rows, ARRAY_SIZE(rows) };
