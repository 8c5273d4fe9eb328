/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON of docs/protocol.md into the state tree. Every field is optional here: what is missing or of the wrong type becomes zero or
 * empty, never a failure, because a dashboard must go on drawing. Every string is scrubbed again: titles and names began in a guest.
 */
#include "core/client/model.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/log.h"
#include "core/client/fields.h"

#define SANDBOXES_MAX 1000
#define SESSIONS_MAX 128

static const char *const state_words[] = { "new", "preparing", "starting", "running", "paused", "resetting", "stopping", "stopped", "failed" };
_Static_assert(ARRAY_SIZE(state_words) == MS_NUM, "a word for every state");
static const char *const session_words[] = { "opening", "busy", "idle", "waits", "exited", "failed" };
_Static_assert(ARRAY_SIZE(session_words) == MSS_NUM, "a word for every state");
static const char *const docker_words[] = { "off", "starting", "ready", "failed" };
_Static_assert(ARRAY_SIZE(docker_words) == MD_NUM, "a word for every state");
static const char *const level_words[] = { "error", "warn", "info", "debug" };

/* ---- life ------------------------------------------------------------------------------------------------------------------- */

struct model *model_create(void)
{
	return calloc(1, sizeof(struct model));
}

static void tail_clear(struct model_sandbox *sb)
{
	while (sb->ntail > 0)
		free(sb->tail[--sb->ntail]);
}

static void sandbox_free(struct model_sandbox *sb)
{
	if (!sb)
		return;
	tail_clear(sb);
	free(sb->sessions);
	free(sb->path);
	free(sb);
}

void model_destroy(struct model *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->nsandboxes; i++)
		sandbox_free(m->sandboxes[i]);
	free(m->sandboxes);
	model_log_clear(m);
	auditmodel_release(&m->audit);
	netmodel_release(&m->net);
	diffmodel_release(&m->diff);
	free(m);
}

struct model_sandbox *model_find(const struct model *m, const char *name)
{
	for (size_t i = 0; i < m->nsandboxes; i++)
		if (strcmp(m->sandboxes[i]->name, name) == 0)
			return m->sandboxes[i];
	return NULL;
}

const struct model_session *model_session_find(const struct model_sandbox *sb, uint32_t id)
{
	for (size_t i = 0; i < sb->nsessions; i++)
		if (sb->sessions[i].id == id)
			return &sb->sessions[i];
	return NULL;
}

/* The sandbox of that name, made when missing, kept in the order of names. NULL: no memory, or too many. */
static struct model_sandbox *find_or_add(struct model *m, const char *name)
{
	struct model_sandbox *sb = model_find(m, name);
	size_t at = 0;

	if (sb)
		return sb;
	if (m->nsandboxes >= SANDBOXES_MAX)
		return NULL;
	struct model_sandbox **grown = realloc(m->sandboxes, (m->nsandboxes + 1) * sizeof(*grown));
	if (!grown)
		return NULL;
	m->sandboxes = grown;
	sb = calloc(1, sizeof(*sb));
	if (!sb)
		return NULL;
	str_copy(sb->name, sizeof(sb->name), name);
	while (at < m->nsandboxes && strcmp(m->sandboxes[at]->name, name) < 0)
		at++;
	memmove(grown + at + 1, grown + at, (m->nsandboxes - at) * sizeof(*grown));
	grown[at] = sb;
	m->nsandboxes++;
	return sb;
}

static void remove_sandbox(struct model *m, const char *name)
{
	for (size_t i = 0; i < m->nsandboxes; i++) {
		if (strcmp(m->sandboxes[i]->name, name) != 0)
			continue;
		netmodel_forget(&m->net, m->sandboxes[i]->name);
		diffmodel_forget(&m->diff, m->sandboxes[i]->name);
		sandbox_free(m->sandboxes[i]);
		m->nsandboxes--;
		memmove(m->sandboxes + i, m->sandboxes + i + 1, (m->nsandboxes - i) * sizeof(*m->sandboxes));
		return;
	}
}

/* ---- objects ------------------------------------------------------------------------------------------------------------------- */

static void take_session(struct model_session *s, const json_t *o)
{
	const char *kind = json_string_value(json_object_get(o, "kind"));

	memset(s, 0, sizeof(*s));
	s->id = field_u32(o, "id");
	s->pty = kind && strcmp(kind, "pty") == 0;
	s->state = (enum model_session_state)field_word(o, "state", session_words, MSS_NUM, MSS_OPENING);
	s->rows = field_u16(o, "rows");
	s->cols = field_u16(o, "cols");
	s->viewers = field_u16(o, "viewers");
	s->pid = field_u32(o, "pid");
	s->code = field_u32(o, "code");
	s->signo = field_u32(o, "signal");
	s->bytes_out = field_u64(o, "bytes_out");
	field_text(o, "label", s->label, sizeof(s->label));
	field_text(o, "title", s->title, sizeof(s->title));
}

static void take_sessions(struct model_sandbox *sb, const json_t *list)
{
	size_t n = json_array_size(list);

	if (n > SESSIONS_MAX)
		n = SESSIONS_MAX;
	struct model_session *fresh = n ? calloc(n, sizeof(*fresh)) : NULL;
	if (n && !fresh)
		return;
	for (size_t i = 0; i < n; i++)
		take_session(&fresh[i], json_array_get(list, i));
	free(sb->sessions);
	sb->sessions = fresh;
	sb->nsessions = n;
}

static void one_session(struct model_sandbox *sb, const json_t *o)
{
	const uint32_t id = field_u32(o, "id");

	for (size_t i = 0; i < sb->nsessions; i++)
		if (sb->sessions[i].id == id) {
			take_session(&sb->sessions[i], o);
			return;
		}
	if (sb->nsessions >= SESSIONS_MAX)
		return;
	struct model_session *grown = realloc(sb->sessions, (sb->nsessions + 1) * sizeof(*grown));
	if (!grown)
		return;
	sb->sessions = grown;
	take_session(&grown[sb->nsessions++], o);
}

static void push_history(struct model_sandbox *sb, float cpu, float mem, float in, float out)
{
	if (sb->nhistory == MODEL_HISTORY) {
		const size_t n = (MODEL_HISTORY - 1) * sizeof(float);

		memmove(sb->cpu_history, sb->cpu_history + 1, n);
		memmove(sb->mem_history, sb->mem_history + 1, n);
		memmove(sb->in_history, sb->in_history + 1, n);
		memmove(sb->out_history, sb->out_history + 1, n);
		sb->nhistory--;
	}
	sb->cpu_history[sb->nhistory] = cpu;
	sb->mem_history[sb->nhistory] = mem;
	sb->in_history[sb->nhistory] = in;
	sb->out_history[sb->nhistory] = out;
	sb->nhistory++;
}

static void take_stats(struct model_sandbox *sb, const json_t *o, bool sample)
{
	if (!json_is_object(o)) {
		sb->has_stats = false;
		return;
	}
	const struct model_stats was = sb->stats;
	struct model_stats *s = &sb->stats;

	s->cpu = field_number(o, "cpu");
	s->host_cpu = field_number(o, "host_cpu");
	s->load1 = field_number(o, "load1");
	s->mem_total = field_u64(o, "mem_total");
	s->mem_used = field_u64(o, "mem_used");
	s->mem_cache = field_u64(o, "mem_cache");
	s->disk_total = field_u64(o, "disk_total");
	s->disk_used = field_u64(o, "disk_used");
	s->io_read = field_u64(o, "io_read");
	s->io_written = field_u64(o, "io_written");
	s->host_rss = field_u64(o, "host_rss");
	s->given_back = field_u64(o, "given_back");
	s->channel_in = field_u64(o, "channel_in");
	s->channel_out = field_u64(o, "channel_out");
	s->pids = field_u32(o, "pids");
	if (sample)
		push_history(sb, (float)(s->cpu > 1 ? 1 : s->cpu), s->mem_total ? (float)s->mem_used / (float)s->mem_total : 0,
			     sb->has_stats && s->channel_in > was.channel_in ? (float)(s->channel_in - was.channel_in) : 0,
			     sb->has_stats && s->channel_out > was.channel_out ? (float)(s->channel_out - was.channel_out) : 0);
	sb->has_stats = true;
}

static void take_tail(struct model_sandbox *sb, const json_t *list)
{
	size_t n = json_array_size(list);
	size_t from = n > MODEL_TAIL_MAX ? n - MODEL_TAIL_MAX : 0;

	tail_clear(sb);
	for (; from < n; from++) {
		char *line = field_dup(json_array_get(list, from), 512);

		if (line)
			sb->tail[sb->ntail++] = line;
	}
}

static void take_net(struct model_sandbox *sb, const json_t *o)
{
	sb->net.open = field_u64(o, "open");
	sb->net.held = field_u64(o, "held");
	sb->net.conns = field_u64(o, "conns");
	sb->net.denied = field_u64(o, "denied");
	sb->net.in = field_u64(o, "in");
	sb->net.out = field_u64(o, "out");
}

static void take_sandbox(struct model *m, const json_t *o)
{
	char name[NAME_MAX_LEN + 1];

	field_text(o, "name", name, sizeof(name));
	struct model_sandbox *sb = name[0] ? find_or_add(m, name) : NULL;
	if (!sb)
		return;
	const json_t *docker = json_object_get(o, "docker");
	const json_t *guest = json_object_get(o, "guest");

	field_text(o, "kit", sb->kit, sizeof(sb->kit));
	free(sb->path);
	sb->path = field_dup(json_object_get(o, "path"), 4096);
	sb->state = (enum model_state)field_word(o, "state", state_words, MS_NUM, MS_NEW);
	sb->generation = field_u32(o, "generation");
	sb->cpus = field_u32(o, "cpus");
	sb->memory = field_u64(o, "memory");
	sb->disk = field_u64(o, "disk");
	sb->disk_used = field_u64(o, "disk_used");
	field_text(o, "reason", sb->reason, sizeof(sb->reason));
	field_text(o, "created", sb->created, sizeof(sb->created));
	field_text(o, "started", sb->started, sizeof(sb->started));
	field_text(o, "backend", sb->backend, sizeof(sb->backend));
	sb->remove_on_stop = json_is_true(json_object_get(o, "remove_on_stop"));
	sb->waits = json_is_true(json_object_get(o, "waits"));
	sb->docker = (enum model_docker)field_word(docker, "state", docker_words, MD_NUM, MD_OFF);
	field_text(docker, "why", sb->docker_why, sizeof(sb->docker_why));
	field_text(guest, "kernel", sb->kernel, sizeof(sb->kernel));
	field_text(guest, "agent", sb->agent, sizeof(sb->agent));
	take_net(sb, json_object_get(o, "net"));
	model_changes_take(&sb->changes, json_object_get(o, "changes"), false);
	take_sessions(sb, json_object_get(o, "sessions"));
	take_stats(sb, json_object_get(o, "stats"), false);
	take_tail(sb, json_object_get(o, "console_tail"));
}

static void take_host(struct model *m, const json_t *o)
{
	m->host.cpus = field_u32(o, "cpus");
	m->host.sandboxes = field_u32(o, "sandboxes");
	m->host.running = field_u32(o, "running");
	m->host.memory_total = field_u64(o, "memory_total");
	m->host.memory_available = field_u64(o, "memory_available");
	m->host.memory_promised = field_u64(o, "memory_promised");
}

static void take_top(struct model_sandbox *sb, const json_t *list)
{
	sb->ntop = 0;
	for (size_t i = 0; i < json_array_size(list) && sb->ntop < MODEL_TOP_MAX; i++) {
		const json_t *o = json_array_get(list, i);
		struct model_proc *p = &sb->top[sb->ntop++];

		p->pid = field_u32(o, "pid");
		p->uid = field_u32(o, "uid");
		p->cpu = field_number(o, "cpu");
		p->rss = field_u64(o, "rss");
		field_text(o, "comm", p->comm, sizeof(p->comm));
		field_text(o, "container", p->container, sizeof(p->container));
	}
}

static void take_containers(struct model_sandbox *sb, const json_t *list)
{
	sb->ncontainers = 0;
	for (size_t i = 0; i < json_array_size(list) && sb->ncontainers < MODEL_CONTAINERS_MAX; i++) {
		const json_t *o = json_array_get(list, i);
		struct model_container *c = &sb->containers[sb->ncontainers++];

		field_text(o, "id", c->id, sizeof(c->id));
		field_text(o, "name", c->name, sizeof(c->name));
		field_text(o, "image", c->image, sizeof(c->image));
		field_text(o, "state", c->state, sizeof(c->state));
		field_text(o, "status", c->status, sizeof(c->status));
	}
}

/* ---- public ---------------------------------------------------------------------------------------------------------------------- */

void model_log_add(struct model *m, const json_t *o)
{
	size_t at = (m->log_first + m->nlog) % MODEL_LOG_MAX;
	struct model_log *l = &m->log[at];

	if (m->nlog == MODEL_LOG_MAX) {
		free(l->text);
		m->log_first = (m->log_first + 1) % MODEL_LOG_MAX;
	} else {
		m->nlog++;
	}
	l->at_ms = field_time_ms(o, "at");
	l->level = field_word(o, "level", level_words, ARRAY_SIZE(level_words), LOG_INFO);
	field_text(o, "name", l->name, sizeof(l->name));
	l->text = field_dup(json_object_get(o, "text"), 1024);
	m->version++;
}

void model_log_clear(struct model *m)
{
	for (; m->nlog; m->nlog--) {
		free(m->log[m->log_first].text);
		m->log_first = (m->log_first + 1) % MODEL_LOG_MAX;
	}
	m->version++;
}

void model_subscribed(struct model *m, const json_t *result)
{
	const json_t *list = json_object_get(result, "sandboxes"), *rest = json_object_get(result, "rest");

	/* Those that are no longer told of are gone; the others keep their histories. */
	for (size_t i = m->nsandboxes; i-- > 0;) {
		bool there = false;

		for (size_t k = 0; k < json_array_size(list) && !there; k++) {
			const char *name = json_string_value(json_object_get(json_array_get(list, k), "name"));

			there = name && strcmp(name, m->sandboxes[i]->name) == 0;
		}
		for (size_t k = 0; k < json_array_size(rest) && !there; k++) {
			const char *name = json_string_value(json_array_get(rest, k));

			there = name && strcmp(name, m->sandboxes[i]->name) == 0;
		}
		if (!there)
			remove_sandbox(m, m->sandboxes[i]->name);
	}
	for (size_t k = 0; k < json_array_size(list); k++)
		take_sandbox(m, json_array_get(list, k));
	take_host(m, json_object_get(result, "host"));
	for (size_t i = 0; i < m->nsandboxes; i++)
		m->sandboxes[i]->changes.version++; /* events may have been missed */
	netmodel_state(&m->net, result);
	m->trouble[0] = '\0';
	m->seq = field_u64(result, "seq");
	m->version++;
}

void model_not_subscribed(struct model *m, const char *why)
{
	str_copy(m->trouble, sizeof(m->trouble), why);
	m->version++;
}

static void on_attention(struct model *m, const json_t *ev)
{
	struct model_attention *a = &m->attention;

	a->n++;
	field_text(ev, "name", a->name, sizeof(a->name));
	a->session = field_u32(ev, "session");
	field_text(ev, "what", a->what, sizeof(a->what));
	field_text(ev, "text", a->text, sizeof(a->text));
}

void model_event(struct model *m, const json_t *ev)
{
	const char *kind = json_string_value(json_object_get(ev, "kind"));
	const char *name = json_string_value(json_object_get(ev, "name"));
	struct model_sandbox *sb = name ? model_find(m, name) : NULL;

	if (!kind)
		return;
	if (field_u64(ev, "seq"))
		m->seq = field_u64(ev, "seq");
	m->version++;
	if (strcmp(kind, "sandbox") == 0)
		take_sandbox(m, json_object_get(ev, "sandbox"));
	else if (strcmp(kind, "resync") == 0)
		model_subscribed(m, ev);
	else if (strcmp(kind, "removed") == 0 && name)
		remove_sandbox(m, name);
	else if (strcmp(kind, "decision") == 0)
		netmodel_decision(&m->net, json_object_get(ev, "decision")), auditmodel_take(&m->audit, json_object_get(ev, "decision"));
	else if (strcmp(kind, "audit") == 0)
		auditmodel_take(&m->audit, json_object_get(ev, "record"));
	else if (strcmp(kind, "net") == 0 && sb)
		take_net(sb, ev);
	else if (strcmp(kind, "changes") == 0 && sb)
		model_changes_take(&sb->changes, ev, true);
	else if (strcmp(kind, "ask") == 0)
		netmodel_ask(&m->net, json_object_get(ev, "ask"));
	else if (strcmp(kind, "ask_gone") == 0)
		netmodel_ask_gone(&m->net, ev);
	else if (strcmp(kind, "ports") == 0)
		netmodel_ports(&m->net, json_object_get(ev, "ports"));
	else if (strcmp(kind, "session") == 0 && sb)
		one_session(sb, json_object_get(ev, "session"));
	else if (strcmp(kind, "attention") == 0)
		on_attention(m, ev);
	else if (strcmp(kind, "stats") == 0 && sb)
		take_stats(sb, json_object_get(ev, "stats"), true);
	else if (strcmp(kind, "top") == 0 && sb)
		take_top(sb, json_object_get(ev, "processes"));
	else if (strcmp(kind, "containers") == 0 && sb)
		take_containers(sb, json_object_get(ev, "containers"));
	else if (strcmp(kind, "host") == 0)
		take_host(m, json_object_get(ev, "host"));
	else if (strcmp(kind, "log") == 0)
		model_log_add(m, ev);
}

const char *model_state_word(enum model_state s)
{
	return (unsigned)s < MS_NUM ? state_words[s] : "?";
}

const char *model_session_word(enum model_session_state s)
{
	return (unsigned)s < MSS_NUM ? session_words[s] : "?";
}
