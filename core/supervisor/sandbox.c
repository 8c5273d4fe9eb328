/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/utf8.h"
#include "core/loop/after.h"
#include "core/supervisor/ask.h"
#include "core/supervisor/client.h"
#include "core/supervisor/events.h"
#include "core/supervisor/kid.h"
#include "core/supervisor/lifelog.h"
#include "core/supervisor/policy.h"
#include "core/supervisor/review.h"
#include "core/supervisor/snapshot.h"
#include "core/supervisor/super.h"

#define CONSOLE_READ_MAX (256u * 1024u)
#define CONSOLE_LINE_SHOWN 500u
#define CONSOLE_ROOM (384u * 1024u) /* of an answer; JSON may double it */
#define CONSOLE_LINE_SHORT 200u /* in lists and events */

struct sandbox *sandbox_create_take(struct super *su, struct spec *spec, int dirfd)
{
	struct sandbox *sb = calloc(1, sizeof(*sb)), **p = &su->sandboxes;

	if (!sb)
		return NULL;
	sb->su = su;
	sb->spec = *spec;
	spec_init(spec);
	sb->dirfd = dirfd;
	sb->state = SB_NEW;
	sb->dial = sb->review_alone = -1;
	sb->machine.run = VMM_ENDED;
	sb->next_session = sb->spec.session_floor;
	while (*p && strcmp((*p)->spec.name, sb->spec.name) < 0)
		p = &(*p)->next;
	sb->next = *p;
	*p = sb;
	su->nsandboxes++;
	snapshot_look(sb);
	return sb;
}

void sandbox_destroy(struct sandbox *sb)
{
	for (struct sandbox **p = &sb->su->sandboxes; *p; p = &(*p)->next)
		if (*p == sb) {
			*p = sb->next;
			sb->su->nsandboxes--;
			break;
		}
	policy_forget(sb);
	snapshot_forget(sb);
	kid_drop(&sb->vmm);
	kid_drop(&sb->term);
	kid_drop(&sb->fs);
	kid_drop(&sb->review);
	review_fail_all(sb, "the sandbox is gone");
	after_cancel(&sb->review_later);
	workspace_forget(sb);
	kid_drop(&sb->net);
	after_cancel(&sb->deadline);
	after_cancel(&sb->wish_late);
	while (sb->sessions) {
		struct session *s = sb->sessions;
		sb->sessions = s->next;
		free(s);
	}
	json_decref(sb->console_tail);
	fd_close(&sb->dial);
	fd_close(&sb->review_alone);
	fd_close(&sb->dirfd);
	spec_release(&sb->spec);
	free(sb);
}

struct sandbox *sandbox_find(struct super *su, const char *name)
{
	for (struct sandbox *sb = su->sandboxes; sb; sb = sb->next)
		if (!strcmp(sb->spec.name, name))
			return sb;
	return NULL;
}

int sandbox_save(struct sandbox *sb, struct err *e)
{
	struct err local = ERR_INIT;

	if (!e)
		e = &local;
	if (sb->damaged)
		return 0;
	str_copy(sb->spec.boot_id, sizeof(sb->spec.boot_id), sb->su->boot_id);
	int r = store_save(sb->dirfd, &sb->spec, e);
	if (r)
		log_error("%s", e->msg);
	return r;
}

void sandbox_touch(struct sandbox *sb)
{
	sb->dirty = true;
	super_defer(sb->su);
}

bool sandbox_set_state(struct sandbox *sb, enum sandbox_state to, const char *reason)
{
	enum sandbox_state from = sb->state;
	bool had = sandbox_state_has_machine(from) && from != SB_PREPARING;

	if (!sandbox_edge_legal(from, to)) {
		log_error("sandbox '%s' cannot go from %s to %s: ignored", sb->spec.name, sandbox_state_name(from), sandbox_state_name(to));
		return false;
	}
	enum sandbox_state recorded = sb->spec.state;
	sb->state = sb->spec.state = to;
	if (to != SB_RUNNING && to != SB_PAUSED)
		snapshot_abort(sb, "its machine was ended meanwhile");
	sb->wish = SB_NEW;
	sb->refused[0] = '\0';
	after_cancel(&sb->wish_late);
	/* The reason may be spec.reason itself. */
	char kept[sizeof(sb->spec.reason)];
	str_copy(kept, sizeof(kept), reason ? reason : "");
	bool same = recorded == to && !strcmp(kept, sb->spec.reason) && !strcmp(sb->spec.boot_id, sb->su->boot_id);
	str_copy(sb->spec.reason, sizeof(sb->spec.reason), kept);
	if (!same)
		sandbox_save(sb, NULL);
	if (to != SB_FAILED) {
		json_decref(sb->console_tail);
		sb->console_tail = NULL;
	}
	if (to == SB_STOPPED && had && sb->spec.remove_on_stop)
		sb->autoremove = true;
	if (from != SB_NEW)
		lifelog_add(sb->su, to == SB_FAILED ? LOG_ERROR : to == SB_PAUSED && *kept ? LOG_WARN : LOG_INFO, sb->spec.name, "%s%s%s", sandbox_state_name(to), *kept ? ": " : "", kept);
	sandbox_touch(sb);
	stats_rewatch_one(sb);
	return true;
}

bool sandbox_waits(const struct sandbox *sb)
{
	for (const struct session *s = sb->sessions; s; s = s->next)
		if (s->t.state == SESSION_WAITS)
			return true;
	return false;
}

/* Lines of text, from the last mark of a machine's start on: what an earlier machine said explains nothing. */
static json_t *last_lines(const char *p, size_t n, size_t lines, bool this_machine)
{
	json_t *list = json_array();
	char clean[4 * CONSOLE_LINE_SHOWN];
	size_t bytes = 0;

	while (n > 0 && json_array_size(list) < lines && bytes < CONSOLE_ROOM) {
		size_t end = p[n - 1] == '\n' ? n - 1 : n;
		const char *nl = end ? memrchr(p, '\n', end) : NULL;
		size_t from = nl ? (size_t)(nl - p) + 1 : 0, len = end - from;
		if (this_machine && len >= sizeof(CONSOLE_MARK) - 1 && !memcmp(p + from, CONSOLE_MARK, sizeof(CONSOLE_MARK) - 1))
			break;
		while (len && p[from + len - 1] == '\r')
			len--;
		scrub(clean, sizeof(clean), p + from, len < CONSOLE_LINE_SHOWN ? len : CONSOLE_LINE_SHOWN, false);
		if (len || !this_machine)
			json_array_insert_new(list, 0, json_string(clean));
		bytes += strlen(clean);
		n = from;
	}
	return list;
}

static json_t *console_lines(const struct sandbox *sb, size_t lines, bool this_machine)
{
	AUTO_FD fd = openat(sb->dirfd, "console.log", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	AUTO_FREE char *text = malloc(CONSOLE_READ_MAX);

	if (fd < 0 || !text || fstat(fd, &st))
		return json_array();
	off_t at = st.st_size > (off_t)CONSOLE_READ_MAX ? st.st_size - (off_t)CONSOLE_READ_MAX : 0;
	ssize_t n = pread(fd, text, CONSOLE_READ_MAX, at);
	return last_lines(text, n > 0 ? (size_t)n : 0, lines, this_machine);
}

json_t *sandbox_console(const struct sandbox *sb, size_t lines)
{
	return console_lines(sb, lines, false);
}

json_t *sandbox_console_tail(const struct sandbox *sb)
{
	return console_lines(sb, CONSOLE_TAIL_LINES, true);
}

static json_t *docker_json(const struct sandbox *sb)
{
	static const char *const words[] = { [DOCKER_OFF] = "off", [DOCKER_STARTING] = "starting", [DOCKER_READY] = "ready", [DOCKER_FAILED] = "failed" };
	_Static_assert(ARRAY_SIZE(words) == DOCKER_NUM, "every state of dockerd has a word");

	return json_pack("{s:s, s:I, s:I, s:s}", "state", words[sb->docker.state], "restarts", (json_int_t)sb->docker.restarts, "ready_ms",
			 (json_int_t)(sb->docker.ready_ns / 1000000u), "why", sb->docker.why);
}

static json_t *guest_json(const struct sandbox *sb)
{
	if (sb->guest.state != GUEST_READY && sb->guest.state != GUEST_SILENT)
		return json_null();
	return json_pack("{s:s, s:s, s:I}", "kernel", sb->guest.kernel, "agent", sb->guest.agent, "up_ms", (json_int_t)(sb->guest.up_ns / 1000000u));
}

json_t *sandbox_net_json(const struct sandbox *sb)
{
	const struct net_stats *s = &sb->net_stats;

	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "open", (json_int_t)s->open, "held", (json_int_t)s->held, "conns", (json_int_t)s->conns, "denied",
			 (json_int_t)s->denied, "in", (json_int_t)s->in, "out", (json_int_t)s->out);
}

/* The console's lines as lists and events tell them: a guest writes them, and there are many sandboxes in a list. */
static json_t *short_tail(const struct sandbox *sb)
{
	json_t *list = json_array(), *line;
	char text[CONSOLE_LINE_SHORT + 1];
	size_t i;

	json_array_foreach(sb->console_tail, i, line) {
		const char *s = json_string_value(line);

		scrub(text, sizeof(text), s, strlen(s), false);
		json_array_append_new(list, json_string(text));
	}
	return list;
}

json_t *sandbox_json(struct sandbox *sb)
{
	const struct spec *s = &sb->spec;
	json_t *sessions = json_array();
	char created[32], started[32];

	for (const struct session *x = sb->sessions; x; x = x->next)
		json_array_append_new(sessions, session_json(x));
	clock_rfc3339(created, s->created_ns);
	clock_rfc3339(started, s->started_ns);
	json_t *o = json_pack("{s:s, s:s, s:s?, s:s, s:I, s:s, s:s, s:s?, s:s, s:I, s:I, s:I, s:I, s:b, s:b, s:o, s:o, s:o, s:b, s:I, s:o}", "name", s->name,
			      "kit", s->kit, "path", s->path, "state", sandbox_state_name(sb->state), "generation", (json_int_t)s->gen, "reason",
			      s->reason, "created", created, "started", s->started_ns ? started : NULL, "backend",
			      machine_backend(sb) == BACKEND_KVM ? "kvm" : "qemu", "cpus",
			      (json_int_t)s->cpus, "memory", (json_int_t)s->memory, "disk", (json_int_t)s->disk, "disk_used",
			      (json_int_t)store_disk_used(sb->dirfd), "remove_on_stop", (int)s->remove_on_stop, "unattended",
			      (int)s->unattended, "docker", docker_json(sb), "guest", guest_json(sb),
			      "sessions", sessions, "waits", (int)sandbox_waits(sb), "asks", (json_int_t)ask_count(sb), "stats", sandbox_stats_json(sb));
	if (o)
		json_object_set_new(o, "workspaces", workspace_json(sb, false));
	if (o && sb->fs)
		json_object_set_new(o, "fs", workspace_stats_json(sb));
	if (o)
		json_object_set_new(o, "snapshot", snapshot_json(sb));
	if (o)
		json_object_set_new(o, "net", sandbox_net_json(sb));
	if (o)
		json_object_set_new(o, "changes", review_counts_json(sb));
	if (o && sb->state == SB_FAILED && sb->console_tail)
		json_object_set_new(o, "console_tail", short_tail(sb));
	return o;
}

json_t *sandbox_json_whole(struct sandbox *sb)
{
	json_t *o = sandbox_json(sb);

	if (!o)
		return NULL;
	json_object_set_new(o, "env", sb->spec.env ? json_incref(sb->spec.env) : json_object());
	json_object_set_new(o, "exclude", spec_hide_json(&sb->spec));
	json_object_set_new(o, "exclude_default", json_boolean(sb->spec.hide_default));
	json_object_set_new(o, "workspaces", workspace_json(sb, true));
	if (sb->state == SB_FAILED && sb->console_tail)
		json_object_set(o, "console_tail", sb->console_tail);
	return o;
}
