/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions as the supervisor knows them: numbers it gave out and the last thing the term said of each. The screens are the term's.
 *
 * A number is never used twice in a sandbox's life (a recording is named by it): numbers are taken from blocks whose end is on disk
 * before the first of the block is used.
 */
#include "core/supervisor/sandbox.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/kit/kit.h"
#include "core/proto/child.h"
#include "core/supervisor/events.h"
#include "core/supervisor/kid.h"
#include "core/supervisor/secrets.h"
#include "core/supervisor/super.h"

#define ID_BLOCK 64u

struct session *session_find(struct sandbox *sb, uint32_t id)
{
	for (struct session *s = sb->sessions; s; s = s->next)
		if (s->t.session == id)
			return s;
	return NULL;
}

bool session_live(const struct session *s)
{
	return s->t.state != SESSION_EXITED && s->t.state != SESSION_FAILED;
}

static int new_id(struct sandbox *sb, uint32_t *id, struct err *e)
{
	if (sb->next_session >= sb->spec.session_floor) {
		if (sb->spec.session_floor > UINT32_MAX - 2 * ID_BLOCK - 1024)
			return err_set(e, EDQUOT, "sandbox '%s' has no session numbers left: reset it", sb->spec.name);
		sb->next_session = sb->spec.session_floor;
		sb->spec.session_floor += ID_BLOCK;
		if (sandbox_save(sb, e)) {
			sb->spec.session_floor -= ID_BLOCK;
			return -e->code;
		}
	}
	*id = sb->next_session++;
	return 0;
}

static struct session *add(struct sandbox *sb, const struct term_session *t)
{
	struct session *s = calloc(1, sizeof(*s)), **p = &sb->sessions;

	if (!s)
		return NULL;
	s->t = *t;
	while (*p && (*p)->t.session < t->session)
		p = &(*p)->next;
	s->next = *p;
	*p = s;
	return s;
}

static void tell_close(struct sandbox *sb, uint32_t id);

/* Its recordings go with it; bulkhead-term, which may still have one open, has been told to close it. */
static void remove_recordings(const struct sandbox *sb, uint32_t id)
{
	char name[48];

	for (int old = 0; old <= 1; old++) {
		snprintf(name, sizeof(name), old ? "rec/%u.cast.1" : "rec/%u.cast", id);
		if (unlinkat(sb->dirfd, name, 0) && errno != ENOENT)
			log_warn("cannot remove '%s' of sandbox '%s': %s", name, sb->spec.name, strerror(errno));
	}
}

void session_forget(struct sandbox *sb, uint32_t id)
{
	for (struct session **p = &sb->sessions; *p; p = &(*p)->next)
		if ((*p)->t.session == id) {
			struct session *s = *p;
			*p = s->next;
			if (s->t.kind == TERM_KIND_PTY)
				remove_recordings(sb, id);
			free(s);
			sandbox_touch(sb);
			return;
		}
}

/* Ended ones beyond the limit go, oldest first; an exec's end is told and then it is nobody's business. */
static void prune(struct sandbox *sb)
{
	unsigned ended = 0;

	for (struct session *s = sb->sessions, *next; s; s = next) {
		next = s->next;
		if (session_live(s))
			continue;
		if (s->t.kind == TERM_KIND_EXEC) {
			uint32_t id = s->t.session;
			tell_close(sb, id);
			session_forget(sb, id);
		} else {
			ended++;
		}
	}
	for (struct session *s = sb->sessions, *next; s && ended > SESSIONS_ENDED_MAX; s = next) {
		next = s->next;
		if (session_live(s))
			continue;
		uint32_t id = s->t.session;
		tell_close(sb, id);
		session_forget(sb, id);
		ended--;
	}
}

struct close_msg {
	uint32_t session, flags;
};

static int pack_close(struct buf *b, const void *m)
{
	const struct close_msg *v = m;

	buf_u32(b, v->session);
	return buf_u32(b, v->flags);
}

static void tell_close(struct sandbox *sb, uint32_t id)
{
	const struct close_msg m = { id, 1 };

	kid_send(sb->term, TERM_CLOSE, pack_close, &m, NULL, 0);
}

static int pack_open(struct buf *b, const void *m)
{
	return term_open_pack(b, m);
}

struct session *session_open_take(struct sandbox *sb, struct term_open *m, int stream, struct err *e)
{
	struct term_session t = { .kind = m->kind, .state = SESSION_OPENING, .rows = m->open.rows, .cols = m->open.cols };
	unsigned live = 0;
	AUTO_FD fd = stream;

	if (sb->state != SB_RUNNING || !sb->term) {
		err_set(e, EPERM, "sandbox '%s' is %s: nothing can be run in it", sb->spec.name, sandbox_state_name(sb->state));
		return NULL;
	}
	if (sb->guest.state == GUEST_LOST || sb->guest.state == GUEST_REFUSED) {
		err_set(e, EPERM, "nothing can be run in sandbox '%s': of its guest agent is known: %s ('bulkhead kill %s' ends its machine)", sb->spec.name,
			*sb->guest.why ? sb->guest.why : "it ended", sb->spec.name);
		return NULL;
	}
	for (const struct session *s = sb->sessions; s; s = s->next)
		live += session_live(s);
	if (live >= SESSIONS_LIVE_MAX) {
		err_set(e, EDQUOT, "%u sessions run in '%s' already: close one first", live, sb->spec.name);
		return NULL;
	}
	if (new_id(sb, &m->session, e))
		return NULL;
	t.session = m->session;
	str_copy(t.label, sizeof(t.label), m->label);
	struct session *s = add(sb, &t);
	if (!s) {
		err_set(e, ENOMEM, "out of memory");
		return NULL;
	}
	kid_send(sb->term, TERM_OPEN, pack_open, m, &fd, fd >= 0 ? 1 : 0);
	events_session(sb, s);
	return s;
}

static int add_placeholder(void *arg, const char *name, const char *value)
{
	return json_object_set_new(arg, name, json_string(value));
}

int session_env(struct sandbox *sb, const json_t *env, struct sess_open *o, struct err *e)
{
	json_t *all = json_object();
	const char *key;
	json_t *v;

	/* What the person gave by name wins over a placeholder. */
	secrets_env(sb, add_placeholder, all);
	if (sb->spec.env)
		json_object_update(all, sb->spec.env);
	if (env)
		json_object_update(all, (json_t *)(uintptr_t)env);
	int r = json_object_size(all) > SESS_ENVS_MAX ? err_set(e, EINVAL, "there are more than %u environment variables", SESS_ENVS_MAX) : 0;
	o->envv = calloc(json_object_size(all) + 1, sizeof(*o->envv));
	if (!r && !o->envv)
		r = err_set(e, ENOMEM, "out of memory");
	if (!r)
		json_object_foreach(all, key, v) {
			if (!(o->envv[o->envc] = str_fmt("%s=%s", key, json_string_value(v)))) {
				r = err_set(e, ENOMEM, "out of memory");
				break;
			}
			o->envc++;
		}
	json_decref(all);
	return r;
}

struct session *session_open_main(struct sandbox *sb, uint16_t rows, uint16_t cols, struct err *e)
{
	const struct kit *kit = kit_find(sb->spec.kit);
	struct term_open m = { .kind = TERM_KIND_PTY, .open = { .flags = SESS_TTY, .rows = rows, .cols = cols } };
	struct session *s = NULL;
	size_t argc = 0;

	if (!kit)
		kit = &kits[0];
	while (kit->argv && kit->argv[argc])
		argc++;
	if (kit->login || !argc)
		m.open.flags |= SESS_LOGIN;
	str_copy(m.label, sizeof(m.label), kit->label);
	m.open.argv = calloc(argc + 1, sizeof(*m.open.argv));
	for (size_t i = 0; m.open.argv && i < argc; i++)
		if ((m.open.argv[i] = str_dup(kit->argv[i])))
			m.open.argc++;
	if (m.open.argc != argc || !m.open.argv)
		err_set(e, ENOMEM, "out of memory");
	else if (!session_env(sb, NULL, &m.open, e))
		s = session_open_take(sb, &m, -1, e);
	term_open_release(&m);
	return s;
}

/* What would a client see of it? */
static bool differs(const struct term_session *a, const struct term_session *b)
{
	return a->state != b->state || a->rows != b->rows || a->cols != b->cols || a->viewers != b->viewers || a->pid != b->pid ||
	       a->code != b->code || a->signo != b->signo || a->bytes_out != b->bytes_out || strcmp(a->title, b->title) || strcmp(a->label, b->label);
}

void session_told(struct sandbox *sb, const struct term_session *t)
{
	struct session *s = session_find(sb, t->session);
	bool waited = sandbox_waits(sb);

	if (!s) {
		/* Known to the term and not to us: told at adoption, or forgotten here a moment ago. */
		if (sb->term && sb->term->phase == KID_SYNCED)
			return;
		if (!(s = add(sb, t)))
			return;
	} else if (!session_live(s) && t->state != SESSION_EXITED && t->state != SESSION_FAILED) {
		return; /* what has ended stays so */
	} else if (s->told && !differs(&s->t, t)) {
		return;
	}
	s->t = *t;
	s->told = true;
	events_session(sb, s);
	if (waited != sandbox_waits(sb))
		sandbox_touch(sb);
	if (!session_live(s))
		prune(sb);
}

void session_fail_all(struct sandbox *sb, const char *why)
{
	for (struct session *s = sb->sessions; s; s = s->next) {
		if (!session_live(s))
			continue;
		s->t.state = SESSION_FAILED;
		str_copy(s->t.title, sizeof(s->t.title), why);
		events_session(sb, s);
	}
	prune(sb);
	sandbox_touch(sb);
}

json_t *session_json(const struct session *s)
{
	static const char *const states[] = { [SESSION_OPENING] = "opening", [SESSION_BUSY] = "busy", [SESSION_IDLE] = "idle",
					      [SESSION_WAITS] = "waits", [SESSION_EXITED] = "exited", [SESSION_FAILED] = "failed" };
	_Static_assert(ARRAY_SIZE(states) == SESSION_NUM, "every session state has a word");
	const struct term_session *t = &s->t;
	char last[32] = "";

	if (t->last_output_ms)
		clock_rfc3339(last, t->last_output_ms * 1000000u);
	return json_pack("{s:I, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:s?}", "id", (json_int_t)t->session, "kind",
			 t->kind == TERM_KIND_EXEC ? "exec" : "pty", "label", t->label, "title", t->title, "state", states[t->state], "rows",
			 (int)t->rows, "cols", (int)t->cols, "viewers", (int)t->viewers, "pid", (json_int_t)t->pid, "code", (json_int_t)t->code,
			 "signal", (json_int_t)t->signo, "bytes_out", (json_int_t)t->bytes_out, "last_output", *last ? last : NULL);
}
