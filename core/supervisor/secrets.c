/* SPDX-License-Identifier: Apache-2.0 */
/* The list of credentials, on disk and in memory, and what of it a sandbox gets. */
#include "core/supervisor/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "core/base/atomicfile.h"
#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/rnd.h"
#include "core/supervisor/lifelog.h"
#include "core/supervisor/sandbox.h"
#include "core/supervisor/secretlist.h"
#include "core/supervisor/super.h"

#define LIST "secrets.json"
#define KEY "key"
#define LIST_MAX (1u << 20)
#define LIST_VERSION 1
#define NET_ID(s, rule) ((s)->id * SERVICE_RULES + (uint32_t)(rule))
#define ID_MAX (UINT32_MAX / SERVICE_RULES - 1)

const char *const secret_source_name[SECRET_SOURCE_NUM] = { [SECRET_STORED] = "stored", [SECRET_ENV] = "env", [SECRET_COMMAND] = "command" };

/* ---- the list ------------------------------------------------------------------------------------------------------------------------- */

struct secret *secret_find(struct secrets *all, const char *service, const char *sandbox)
{
	for (struct secret *s = all->list; s; s = s->next)
		if (!strcmp(s->service, service) && !strcmp(s->sandbox, sandbox))
			return s;
	return NULL;
}

void secret_destroy(struct secret *s)
{
	if (!s)
		return;
	secret_drop(s);
	json_decref(s->argv);
	free(s);
}

void secret_unlink(struct secret *s)
{
	for (struct secret **p = &s->all->list; *p; p = &(*p)->next)
		if (*p == s) {
			*p = s->next;
			s->next = NULL;
			return;
		}
}

void secret_insert(struct secrets *all, struct secret *s, struct secret **old)
{
	struct secret **p = &all->list;

	*old = secret_find(all, s->service, s->sandbox);
	if (*old)
		secret_unlink(*old);
	s->id = *old ? (*old)->id : all->next_id++;
	while (*p && (*p)->id < s->id)
		p = &(*p)->next;
	s->next = *p;
	*p = s;
}

bool secret_applies(const struct secret *s, const struct sandbox *sb)
{
	if (*s->sandbox)
		return !strcmp(s->sandbox, sb->spec.name);
	return !secret_find(s->all, s->service, sb->spec.name);
}

bool secret_used(const struct secret *s)
{
	for (const struct sandbox *sb = s->all->su->sandboxes; sb; sb = sb->next)
		if (sandbox_state_has_machine(sb->state) && secret_applies(s, sb))
			return true;
	return false;
}

void secrets_tell(struct secrets *all, const char *sandbox)
{
	struct super *su = all->su;
	struct sandbox *sb = *sandbox ? sandbox_find(su, sandbox) : NULL;

	if (su->secrets_changed && (!*sandbox || sb))
		su->secrets_changed(su, sb);
}

/* ---- on disk -------------------------------------------------------------------------------------------------------------------------- */

static json_t *to_json(const struct secret *s)
{
	json_t *o = json_pack("{s:I, s:s, s:s, s:s, s:I, s:s}", "id", (json_int_t)s->id, "service", s->service, "sandbox", s->sandbox, "source",
			      secret_source_name[s->source], "updated", (json_int_t)s->updated_ns, "masked", s->source == SECRET_STORED ? s->masked : "");

	if (s->source == SECRET_STORED) {
		json_object_set_new(o, "store", json_string(s->in_service ? "secret-service" : "file"));
		json_object_set_new(o, "tag", json_string(s->tag));
	} else if (s->source == SECRET_ENV) {
		json_object_set_new(o, "env", json_string(s->env));
	} else {
		json_object_set(o, "command", s->argv);
		json_object_set_new(o, "refresh", json_integer(s->refresh_s));
	}
	return o;
}

/* For whoever starts the next supervisor (core/client/start.c): names of the variables that values come from. */
static void save_names(struct secrets *all)
{
	struct err e = ERR_INIT;
	struct buf b;

	buf_init(&b, SECRETS_MAX * 65);
	for (const struct secret *s = all->list; s; s = s->next)
		if (s->source == SECRET_ENV)
			buf_printf(&b, "%s\n", s->env);
	if (atomicfile_write(all->dirfd, "env", buf_head(&b), buf_size(&b), 0600, &e))
		lifelog_add(all->su, LOG_WARN, NULL, "%s", e.msg);
	buf_release(&b);
}

int secrets_save(struct secrets *all, struct err *e)
{
	json_t *list = json_array();

	for (const struct secret *s = all->list; s; s = s->next)
		json_array_append_new(list, to_json(s));
	json_t *o = json_pack("{s:i, s:I, s:o}", "version", LIST_VERSION, "next", (json_int_t)all->next_id, "secrets", list);
	AUTO_FREE char *text = o ? json_dumps(o, JSON_INDENT(1)) : NULL;
	json_decref(o);
	if (!text)
		return err_set(e, ENOMEM, "out of memory");
	int r = atomicfile_write(all->dirfd, LIST, text, strlen(text), 0600, e);
	if (!r)
		save_names(all);
	return r;
}

static bool copy(const json_t *o, const char *key, char *dst, size_t cap)
{
	const char *v = json_string_value(json_object_get(o, key));

	return v && strlen(v) == json_string_length(json_object_get(o, key)) && str_copy(dst, cap, v);
}

static bool tag_ok(const char *s)
{
	return strlen(s) == 32 && strspn(s, "0123456789abcdef") == 32;
}

static bool argv_ok(const json_t *v)
{
	size_t i;
	json_t *item;

	if (!json_is_array(v) || json_array_size(v) == 0 || json_array_size(v) > SECRET_ARGS_MAX)
		return false;
	json_array_foreach(v, i, item)
		if (!json_is_string(item) || strlen(json_string_value(item)) != json_string_length(item))
			return false;
	return true;
}

static struct secret *from_json(struct secrets *all, const json_t *o)
{
	struct secret *s = calloc(1, sizeof(*s));
	const char *source = json_string_value(json_object_get(o, "source"));
	json_int_t id = json_integer_value(json_object_get(o, "id"));
	bool ok = s && source && id > 0 && id < ID_MAX && copy(o, "service", s->service, sizeof(s->service)) &&
		  copy(o, "sandbox", s->sandbox, sizeof(s->sandbox)) && copy(o, "masked", s->masked, sizeof(s->masked));

	if (ok) {
		s->all = all;
		s->id = (uint32_t)id;
		s->updated_ns = (uint64_t)json_integer_value(json_object_get(o, "updated"));
		while (s->source < SECRET_SOURCE_NUM && strcmp(secret_source_name[s->source], source))
			s->source++;
	}
	if (ok && s->source == SECRET_STORED) {
		const char *store = json_string_value(json_object_get(o, "store"));
		ok = store && copy(o, "tag", s->tag, sizeof(s->tag)) && tag_ok(s->tag);
		s->in_service = ok && !strcmp(store, "secret-service");
	} else if (ok && s->source == SECRET_ENV) {
		ok = copy(o, "env", s->env, sizeof(s->env)) && *s->env;
	} else if (ok && s->source == SECRET_COMMAND) {
		json_int_t refresh = json_integer_value(json_object_get(o, "refresh"));
		ok = argv_ok(json_object_get(o, "command")) && refresh >= SECRET_REFRESH_MIN_S && refresh <= SECRET_REFRESH_MAX_S;
		s->refresh_s = ok ? (uint32_t)refresh : 0;
		s->argv = ok ? json_incref(json_object_get(o, "command")) : NULL;
	} else {
		ok = false;
	}
	if (!ok) {
		free(s);
		return NULL;
	}
	return s;
}

static int load(struct secrets *all, struct err *e)
{
	struct buf b;
	size_t i;
	json_t *item;
	int r = 0;

	if (faccessat(all->dirfd, LIST, F_OK, AT_SYMLINK_NOFOLLOW))
		return 0;
	buf_init(&b, LIST_MAX);
	if (atomicfile_read(all->dirfd, LIST, &b, e)) {
		buf_release(&b);
		return -e->code;
	}
	json_t *o = json_loadb((const char *)buf_head(&b), buf_size(&b), JSON_REJECT_DUPLICATES, NULL);
	buf_release(&b);
	json_int_t next = json_integer_value(json_object_get(o, "next"));
	if (json_integer_value(json_object_get(o, "version")) != LIST_VERSION || next < 1 || next > ID_MAX || !json_is_array(json_object_get(o, "secrets")))
		r = err_set(e, EBADMSG, "it is damaged, or of another version");
	all->next_id = r ? 1 : (uint32_t)next;
	if (!r)
		json_array_foreach(json_object_get(o, "secrets"), i, item) {
			struct secret *s = i < SECRETS_MAX ? from_json(all, item) : NULL, *old = NULL;
			if (!s || s->id >= all->next_id || secret_find(all, s->service, s->sandbox)) {
				secret_destroy(s);
				r = err_set(e, EBADMSG, "entry %zu is damaged", i + 1);
				break;
			}
			uint32_t id = s->id, keep = all->next_id;
			secret_insert(all, s, &old);
			s->id = id;
			all->next_id = keep;
		}
	json_decref(o);
	return r;
}

static int load_key(struct secrets *all, struct err *e)
{
	struct buf b;

	buf_init(&b, sizeof(all->key));
	if (!atomicfile_read(all->dirfd, KEY, &b, NULL) && buf_size(&b) == sizeof(all->key)) {
		memcpy(all->key, buf_head(&b), sizeof(all->key));
		buf_wipe(&b);
		return 0;
	}
	buf_wipe(&b);
	rnd_bytes(all->key, sizeof(all->key));
	return atomicfile_write(all->dirfd, KEY, all->key, sizeof(all->key), 0600, e);
}

/* ---- services ------------------------------------------------------------------------------------------------------------------------- */

static int read_services(struct services *s, const char *path, const char *shown, struct err *e)
{
	struct buf b;

	buf_init(&b, SERVICES_FILE_MAX);
	int r = atomicfile_read(AT_FDCWD, path, &b, e);
	if (!r)
		r = services_parse(s, shown, (const char *)buf_head(&b), buf_size(&b), e);
	buf_release(&b);
	return r;
}

static uint64_t mtime_of(const char *path)
{
	struct stat st;

	return path && !stat(path, &st) ? (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec + 1 : 0;
}

void secrets_reload(struct secrets *all)
{
	struct err e = ERR_INIT;
	struct services fresh = { 0 };
	AUTO_FREE char *dir = path_config(NULL);
	AUTO_FREE char *own = dir ? path_join(dir, "services.yaml") : NULL;
	uint64_t at = mtime_of(own);

	if (all->services.n && at == all->services_mtime_ns)
		return;
	all->services_mtime_ns = at;
	*all->services_error = '\0';
	AUTO_FREE char *built_in = path_data("core/secret/services.yaml", &e);
	AUTO_FREE char *real = built_in ? realpath(built_in, NULL) : NULL;
	AUTO_FREE char *own_real = at ? realpath(own, NULL) : NULL;
	if (!real || read_services(&fresh, real, "services.yaml (built in)", &e) || (own_real && read_services(&fresh, own_real, "services.yaml", &e))) {
		str_copy(all->services_error, sizeof(all->services_error), *e.msg ? e.msg : "the built-in services.yaml is missing: is bulkhead installed whole?");
		lifelog_add(all->su, LOG_ERROR, NULL, "services are not as you wrote: %s", all->services_error);
		/* What was good stays; at the start that is what is built in. */
		services_release(&fresh);
		if (!all->services.n && real && !read_services(&fresh, real, "services.yaml (built in)", &e))
			all->services = fresh;
		return;
	}
	bool again = all->services.n > 0;
	services_release(&all->services);
	all->services = fresh;
	if (again)
		secrets_tell(all, "");
}

/* ---- opening and closing -------------------------------------------------------------------------------------------------------------- */

static int open_dir(struct super *su, struct err *e)
{
	AUTO_FREE char *path = path_join(su->state, "secrets");

	if (!path)
		return err_set(e, ENOMEM, "out of memory");
	if (path_mkdirs(path, 0700, e))
		return -e->code;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && fchmod(fd, 0700)) {
		close(fd);
		fd = -1;
	}
	return fd < 0 ? err_errno(e, errno, "cannot open '%s'", path) : fd;
}

int secrets_open(struct super *su, struct err *e)
{
	struct secrets *all = su->secrets = calloc(1, sizeof(*all));

	if (!all)
		return err_set(e, ENOMEM, "out of memory");
	all->su = su;
	all->next_id = 1;
	all->dirfd = open_dir(su, e);
	int r = all->dirfd < 0 ? -e->code : load(all, e);
	if (r)
		err_wrap(e, "the credentials in '%s/secrets/" LIST "' cannot be used", su->state);
	else
		r = load_key(all, e);
	if (r)
		str_copy(all->broken, sizeof(all->broken), e->msg);
	secrets_reload(all);
	return r;
}

void secrets_close(struct super *su)
{
	struct secrets *all = su->secrets;

	if (!all)
		return;
	while (all->ops)
		op_destroy(all->ops);
	while (all->list) {
		struct secret *s = all->list;
		all->list = s->next;
		secret_destroy(s);
	}
	services_release(&all->services);
	fd_close(&all->dirfd);
	explicit_bzero(all->key, sizeof(all->key));
	free(all);
	su->secrets = NULL;
}

void secrets_idle(struct super *su)
{
	for (struct secret *s = su->secrets ? su->secrets->list : NULL; s; s = s->next)
		if ((s->value || s->timer) && s->source != SECRET_ENV && !s->run && !secret_used(s))
			secret_drop(s);
}

void secrets_forget(struct super *su, const char *sandbox)
{
	struct secrets *all = su->secrets;
	struct err e = ERR_INIT;
	bool any = false;

	for (struct secret *s = all && !*all->broken ? all->list : NULL, *next; s; s = next) {
		next = s->next;
		if (strcmp(s->sandbox, sandbox) || !*s->sandbox)
			continue;
		secret_unlink(s);
		keeper_delete(all, s);
		secret_destroy(s);
		any = true;
	}
	if (any && secrets_save(all, &e))
		lifelog_add(su, LOG_ERROR, sandbox, "its credentials are still in the list: %s", e.msg);
}

/* ---- what a sandbox gets -------------------------------------------------------------------------------------------------------------- */

static bool fill(struct net_secret *m, const struct secret *s, const struct service *v, const struct service_rule *rule, const struct sandbox *sb)
{
	m->id = NET_ID(s, rule - v->rules);
	m->nhosts = rule->nhosts;
	memcpy(m->hosts, rule->hosts, sizeof(m->hosts));
	str_copy(m->service, sizeof(m->service), s->service);
	str_copy(m->header, sizeof(m->header), rule->header);
	str_copy(m->format, sizeof(m->format), rule->format);
	str_copy(m->value, sizeof(m->value), held_text(s->value));
	return !service_placeholder(v, s->all->key, sb->spec.name, sb->spec.created_ns, m->placeholder);
}

unsigned secrets_for(struct sandbox *sb, void (*fn)(void *arg, const struct net_secret *s), void *arg)
{
	struct secrets *all = sb->su->secrets;
	struct held *page = all && !*all->broken ? held_create(sizeof(struct net_secret)) : NULL;
	unsigned n = 0;
	size_t room;

	if (!page)
		return 0;
	struct net_secret *m = (struct net_secret *)(void *)held_tail(page, &room);
	for (struct secret *s = all->list; s; s = s->next) {
		const struct service *v = secret_applies(s, sb) ? services_find(&all->services, s->service) : NULL;
		bool ready = v && secret_ready(s);
		for (unsigned i = 0; v && i < v->nrules; i++) {
			explicit_bzero(m, sizeof(*m));
			if (!fill(m, s, v, &v->rules[i], sb))
				continue;
			n += ready;
			fn(arg, m);
		}
	}
	held_destroy(&page);
	return n;
}

int secrets_env(struct sandbox *sb, int (*fn)(void *arg, const char *name, const char *value), void *arg)
{
	struct secrets *all = sb->su->secrets;
	char placeholder[128];

	for (struct secret *s = all && !*all->broken ? all->list : NULL; s; s = s->next) {
		const struct service *v = secret_applies(s, sb) ? services_find(&all->services, s->service) : NULL;
		if (!v || service_placeholder(v, all->key, sb->spec.name, sb->spec.created_ns, placeholder))
			continue;
		for (unsigned i = 0; i < v->nenvs; i++) {
			int r = fn(arg, v->env[i], placeholder);
			if (r)
				return r;
		}
	}
	return 0;
}
