/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where values come from and where they are kept. The Secret Service is spoken to through secret-tool(1): its D-Bus and GLib stay out of
 * this process. Whether there is one that answers is found out by a search that unlocks nothing, and remembered for a while.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "core/base/atomicfile.h"
#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/rnd.h"
#include "core/loop/after.h"
#include "core/supervisor/client.h"
#include "core/supervisor/lifelog.h"
#include "core/supervisor/run.h"
#include "core/supervisor/secretlist.h"
#include "core/supervisor/super.h"

#define TOOL "secret-tool"
#define PROBE_MS 4000u
#define TOOL_MS 60000u    /* a person may have to unlock the keyring */
#define COMMAND_MS 30000u
#define FOUND_MS 300000u  /* how long an answer of the probe holds */
#define MISSING_MS 15000u
#define RETRY_S 30u
#define RETRY_MAX_S 600u

/* ---- fetching ------------------------------------------------------------------------------------------------------------------------- */

static void file_name(char dst[64], const char *tag)
{
	snprintf(dst, 64, "%s.value", tag);
}

/* Straight into locked memory. */
static struct held *read_value_file(struct secrets *all, const char *tag, struct err *e)
{
	char name[64];
	size_t room;

	file_name(name, tag);
	AUTO_FD fd = openat(all->dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct held *h = fd >= 0 ? held_create(HELD_MAX) : NULL;
	if (!h) {
		err_errno(e, fd < 0 ? errno : ENOMEM, "cannot open '%s/secrets/%s'", all->su->state, name);
		return NULL;
	}
	for (;;) {
		char *p = held_tail(h, &room);
		ssize_t n = room ? read(fd, p, room) : 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			err_errno(e, errno, "cannot read '%s/secrets/%s'", all->su->state, name);
			held_destroy(&h);
			return NULL;
		}
		if (n == 0)
			return h;
		held_grew(h, (size_t)n);
	}
}

static void on_timer(void *arg);

static void plan(struct secret *s, uint64_t seconds)
{
	after_set(&s->timer, s->all->su->loop, seconds * 1000, on_timer, s);
}

static void failed(struct secret *s, const char *why)
{
	uint64_t wait = RETRY_S;

	if (strcmp(s->why, why))
		lifelog_add(s->all->su, LOG_WARN, *s->sandbox ? s->sandbox : NULL, "no %s of '%s': %s", s->value ? "new value" : "value", s->service, why);
	str_copy(s->why, sizeof(s->why), why);
	for (unsigned i = 0; i < s->failures && wait < RETRY_MAX_S; i++)
		wait *= 2;
	s->failures++;
	plan(s, wait < RETRY_MAX_S ? wait : RETRY_MAX_S);
}

/* Takes the value; true when it is another than before. */
static bool got_take(struct secret *s, struct held *h)
{
	const char *why = NULL;

	held_chomp(h);
	if (held_check(h, &why)) {
		char text[96];
		snprintf(text, sizeof(text), "the value cannot be used: %s", why);
		held_destroy(&h);
		failed(s, text);
		return false;
	}
	bool other = !s->value || !held_equal(s->value, h);
	held_destroy(&s->value);
	s->value = h;
	s->failures = 0;
	*s->why = '\0';
	held_mask(h, s->masked, sizeof(s->masked));
	if (s->source == SECRET_COMMAND)
		secret_plan(s);
	else
		after_cancel(&s->timer);
	return other;
}

static void on_fetched(void *arg, struct held **out, int status, const struct err *e)
{
	struct secret *s = arg;
	struct held *h = *out;

	(void)status;
	*out = NULL;
	if (e->code) {
		bool lost = e->code == ENODATA && s->source == SECRET_STORED;
		failed(s, lost ? "the Secret Service does not have it any more: set it again" : e->msg);
		return;
	}
	if (got_take(s, h))
		secrets_tell(s->all, s->sandbox);
}

static void start_command(struct secret *s, struct err *e)
{
	const char *argv[SECRET_ARGS_MAX + 1] = { NULL };

	for (size_t i = 0; i < json_array_size(s->argv) && i < SECRET_ARGS_MAX; i++)
		argv[i] = json_string_value(json_array_get(s->argv, i));
	const struct run_opts o = { .argv = argv, .timeout_ms = COMMAND_MS };
	run_start(&s->run, s->all->su->loop, &o, on_fetched, s, e);
}

static void start_lookup(struct secret *s, struct err *e)
{
	const char *argv[] = { TOOL, "lookup", "application", "bulkhead", "item", s->tag, NULL };
	const struct run_opts o = { .argv = argv, .timeout_ms = TOOL_MS };

	run_start(&s->run, s->all->su->loop, &o, on_fetched, s, e);
}

/* True when there is a new value at once. */
static bool fetch(struct secret *s)
{
	struct err e = ERR_INIT;
	struct held *h = NULL;

	if (s->run)
		return false;
	if (s->source == SECRET_COMMAND) {
		start_command(s, &e);
	} else if (s->source == SECRET_STORED && s->in_service) {
		start_lookup(s, &e);
	} else if (s->source == SECRET_STORED) {
		h = read_value_file(s->all, s->tag, &e);
	} else {
		const char *v = getenv(s->env);
		h = v ? held_copy(v, strlen(v)) : NULL;
		if (!h)
			err_set(&e, ENOENT, "the supervisor's environment has no '%s': set it again from a shell that has, or start the supervisor from one", s->env);
	}
	if (e.code)
		failed(s, e.msg);
	return h ? got_take(s, h) : false;
}

bool secret_ready(struct secret *s)
{
	if (!s->value && !s->timer)
		fetch(s);
	return s->value != NULL;
}

static void on_timer(void *arg)
{
	struct secret *s = arg;

	if (!secret_used(s)) {
		if (s->source != SECRET_ENV)
			secret_drop(s);
		return;
	}
	if (fetch(s))
		secrets_tell(s->all, s->sandbox);
}

void secret_plan(struct secret *s)
{
	plan(s, s->refresh_s);
}

void secret_drop(struct secret *s)
{
	run_cancel(&s->run);
	after_cancel(&s->timer);
	held_destroy(&s->value);
	s->failures = 0;
}

/* ---- requests under way --------------------------------------------------------------------------------------------------------------- */

struct op *op_create(struct secrets *all)
{
	struct op *o = calloc(1, sizeof(*o));

	if (o) {
		o->all = all;
		o->next = all->ops;
		all->ops = o;
	}
	return o;
}

void op_destroy(struct op *o)
{
	for (struct op **p = &o->all->ops; *p; p = &(*p)->next)
		if (*p == o) {
			*p = o->next;
			break;
		}
	run_cancel(&o->run);
	if (o->call)
		call_error(o->call, RPC_FAILED, "the supervisor ends");
	secret_destroy(o->secret);
	free(o);
}

/* ---- the keeper ----------------------------------------------------------------------------------------------------------------------- */

static void no_service(struct secrets *all, const char *why)
{
	all->keeper = KEEPER_FILE;
	all->keeper_until_ms = clock_ms() + MISSING_MS;
	str_copy(all->keeper_why, sizeof(all->keeper_why), why);
}

static void on_probed(void *arg, struct held **out, int status, const struct err *e)
{
	struct op *o = arg;
	struct secrets *all = o->all;

	(void)out;
	(void)status;
	/* Nothing was found, and not a word said: it answers. What it cannot reach it complains of. */
	if (!e->code || e->code == ENODATA) {
		all->keeper = KEEPER_SERVICE;
		all->keeper_until_ms = clock_ms() + FOUND_MS;
	} else {
		no_service(all, e->msg);
	}
	o->probed(o);
}

static bool has_bus(void)
{
	const char *bus = getenv("DBUS_SESSION_BUS_ADDRESS"), *run = getenv("XDG_RUNTIME_DIR");
	AUTO_FREE char *path = run && *run == '/' ? path_join(run, "bus") : NULL;
	struct stat st;

	return (bus && *bus) || (path && !stat(path, &st) && S_ISSOCK(st.st_mode));
}

void keeper_probe(struct op *o, void (*probed)(struct op *o))
{
	static const char *const argv[] = { TOOL, "search", "application", "bulkhead-probe", NULL };
	struct secrets *all = o->all;
	struct err e = ERR_INIT;

	o->probed = probed;
	if (all->keeper == KEEPER_UNKNOWN || clock_ms() >= all->keeper_until_ms) {
		if (!has_bus()) {
			no_service(all, "there is no session bus");
		} else {
			const struct run_opts ro = { .argv = argv, .timeout_ms = PROBE_MS };
			if (!run_start(&o->run, all->su->loop, &ro, on_probed, o, &e))
				return;
			no_service(all, e.code == ENOENT ? "secret-tool is not installed (Debian package libsecret-tools)" : e.msg);
		}
	}
	probed(o);
}

static int write_value_file(struct op *o, struct err *e)
{
	char name[64];

	file_name(name, o->secret->tag);
	o->secret->in_service = false;
	snprintf(o->notice, sizeof(o->notice), "no Secret Service keeps it (%s): it lies in '%.120s/secrets', in a file that only you can read", o->all->keeper_why,
		 o->all->su->state);
	return atomicfile_write(o->all->dirfd, name, held_text(o->secret->value), held_size(o->secret->value), 0600, e);
}

static void store_in_file(struct op *o, void (*then)(struct op *o, const struct err *e))
{
	struct err e = ERR_INIT;

	write_value_file(o, &e);
	then(o, &e);
}

static void on_stored(void *arg, struct held **out, int status, const struct err *e)
{
	struct op *o = arg;

	(void)out;
	(void)status;
	if (e->code) {
		no_service(o->all, e->msg);
		store_in_file(o, o->then);
		return;
	}
	o->secret->in_service = true;
	o->then(o, e);
}

void keeper_store(struct op *o, void (*then)(struct op *o, const struct err *e))
{
	struct secret *s = o->secret;
	struct err e = ERR_INIT;
	uint8_t r[16];

	rnd_bytes(r, sizeof(r));
	for (size_t i = 0; i < sizeof(r); i++)
		snprintf(s->tag + 2 * i, 3, "%02x", r[i]);
	if (o->all->keeper != KEEPER_SERVICE) {
		store_in_file(o, then);
		return;
	}
	AUTO_FREE char *label = str_fmt("--label=Bulkhead: %s%s%s", s->service, *s->sandbox ? " for " : "", s->sandbox);
	const char *argv[] = { TOOL, "store", label, "application", "bulkhead", "item", s->tag, NULL };
	struct held *in = held_copy(held_text(s->value), held_size(s->value));
	if (!label || !in) {
		held_destroy(&in);
		err_set(&e, ENOMEM, "out of memory");
		then(o, &e);
		return;
	}
	o->then = then;
	const struct run_opts ro = { .argv = argv, .in_take = in, .timeout_ms = TOOL_MS };
	if (run_start(&o->run, o->all->su->loop, &ro, on_stored, o, &e)) {
		no_service(o->all, e.msg);
		store_in_file(o, then);
	}
}

static void on_cleared(void *arg, struct held **out, int status, const struct err *e)
{
	struct op *o = arg;

	(void)out;
	(void)status;
	if (e->code)
		lifelog_add(o->all->su, LOG_WARN, NULL, "a removed credential may still be in the Secret Service: %s", e->msg);
	op_destroy(o);
}

void keeper_delete(struct secrets *all, const struct secret *s)
{
	char name[64], tag[sizeof(s->tag)];
	struct err e = ERR_INIT;

	if (s->source != SECRET_STORED)
		return;
	if (!s->in_service) {
		file_name(name, s->tag);
		if (unlinkat(all->dirfd, name, 0) && errno != ENOENT)
			lifelog_add(all->su, LOG_ERROR, NULL, "cannot remove '%s/secrets/%s': %s", all->su->state, name, strerror(errno));
		return;
	}
	str_copy(tag, sizeof(tag), s->tag);
	const char *argv[] = { TOOL, "clear", "application", "bulkhead", "item", tag, NULL };
	const struct run_opts ro = { .argv = argv, .timeout_ms = TOOL_MS };
	struct op *o = op_create(all);
	if (!o || run_start(&o->run, all->su->loop, &ro, on_cleared, o, &e)) {
		lifelog_add(all->su, LOG_WARN, NULL, "a removed credential may still be in the Secret Service: %s", o ? e.msg : "out of memory");
		if (o)
			op_destroy(o);
	}
}

/* ---- a command is tried before it is believed ------------------------------------------------------------------------------------------ */

static void on_tried(void *arg, struct held **out, int status, const struct err *told)
{
	struct op *o = arg;
	struct err e = *told;
	const char *why = NULL;

	(void)status;
	if (!e.code) {
		held_chomp(*out);
		if (held_check(*out, &why))
			err_set(&e, EINVAL, "what the command prints cannot be used: %s", why);
	}
	if (!e.code) {
		o->secret->value = *out;
		*out = NULL;
		held_mask(o->secret->value, o->secret->masked, sizeof(o->secret->masked));
	}
	o->then(o, &e);
}

void command_try(struct op *o, void (*then)(struct op *o, const struct err *e))
{
	const char *argv[SECRET_ARGS_MAX + 1] = { NULL };
	struct err e = ERR_INIT;

	for (size_t i = 0; i < json_array_size(o->secret->argv) && i < SECRET_ARGS_MAX; i++)
		argv[i] = json_string_value(json_array_get(o->secret->argv, i));
	const struct run_opts ro = { .argv = argv, .timeout_ms = COMMAND_MS };
	o->then = then;
	if (run_start(&o->run, o->all->su->loop, &ro, on_tried, o, &e))
		then(o, &e);
}
