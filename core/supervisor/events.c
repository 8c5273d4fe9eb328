/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/events.h"

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/supervisor/ask.h"
#include "core/supervisor/client.h"
#include "core/supervisor/port.h"
#include "core/supervisor/review.h"
#include "core/supervisor/sandbox.h"
#include "core/supervisor/super.h"

/* The line of an event; takes params. NULL when out of memory (the event is lost, `seq` shows it). */
static char *line_take(struct super *su, const char *kind, json_t *params)
{
	char at[32];

	clock_rfc3339(at, clock_wall_ns());
	su->seq++;
	if (!params || json_object_set_new(params, "kind", json_string(kind)) ||
	    json_object_set_new(params, "seq", json_integer((json_int_t)su->seq)) ||
	    (!json_object_get(params, "at") && json_object_set_new(params, "at", json_string(at)))) {
		json_decref(params);
		return NULL;
	}
	json_t *o = json_pack("{s:s, s:s, s:o}", "jsonrpc", "2.0", "method", "event", "params", params);
	AUTO_FREE char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	/* A client takes a longer line for the end of the connection. */
	if (text && strlen(text) >= CLIENT_LINE_MAX) {
		log_error("an event of kind '%s' is longer than a line may be and is not told", kind);
		return NULL;
	}
	return steal_ptr(&text);
}

static void tell_take(struct super *su, const char *kind, json_t *params)
{
	AUTO_FREE char *text = line_take(su, kind, params);

	for (struct client *c = text ? su->clients : NULL; c; c = c->next)
		if (c->subscribed)
			client_event(c, text);
}

/* To those that watch this about this sandbox. */
static void tell_watchers_take(struct sandbox *sb, uint32_t what, const char *kind, json_t *params)
{
	AUTO_FREE char *text = line_take(sb->su, kind, params);

	for (struct client *c = text ? sb->su->clients : NULL; c; c = c->next)
		if (client_watches(c, sb->spec.name, what))
			client_event(c, text);
}

void events_sandbox(struct sandbox *sb)
{
	tell_take(sb->su, "sandbox", json_pack("{s:o}", "sandbox", sandbox_json(sb)));
}

void events_removed(struct super *su, const char *name)
{
	tell_take(su, "removed", json_pack("{s:s}", "name", name));
}

void events_session(struct sandbox *sb, const struct session *s)
{
	tell_take(sb->su, "session", json_pack("{s:s, s:o}", "name", sb->spec.name, "session", session_json(s)));
}

void events_attention(struct sandbox *sb, const struct term_attention *a)
{
	static const char *const what[] = { [ATTENTION_BELL] = "bell", [ATTENTION_NOTIFY] = "notify", [ATTENTION_WAITS] = "waits" };
	_Static_assert(ARRAY_SIZE(what) == ATTENTION_NUM, "every kind of attention has a word");

	tell_take(sb->su, "attention", json_pack("{s:s, s:I, s:s, s:s}", "name", sb->spec.name, "session", (json_int_t)a->session, "what",
						 what[a->kind], "text", a->text));
}

void events_alarm(struct sandbox *sb, const char *text)
{
	tell_take(sb->su, "attention", json_pack("{s:s, s:i, s:s, s:s}", "name", sb->spec.name, "session", 0, "what", "alarm", "text", text));
}

void events_stats(struct sandbox *sb)
{
	sb->stats_due = false;
	tell_watchers_take(sb, AGENT_WHAT_STATS, "stats", json_pack("{s:s, s:o}", "name", sb->spec.name, "stats", sandbox_stats_json(sb)));
}

void events_top(struct sandbox *sb, const struct agent_top *t)
{
	json_t *list = json_array();

	for (size_t i = 0; i < t->n; i++) {
		const struct agent_proc *p = &t->proc[i];
		json_array_append_new(list, json_pack("{s:I, s:I, s:f, s:I, s:s, s:s}", "pid", (json_int_t)p->pid, "uid", (json_int_t)p->uid,
						      "cpu", p->cpu_milli / 1000.0, "rss", (json_int_t)p->rss, "comm", p->comm, "container",
						      p->container));
	}
	tell_watchers_take(sb, AGENT_WHAT_TOP, "top", json_pack("{s:s, s:o}", "name", sb->spec.name, "processes", list));
}

void events_containers(struct sandbox *sb, const struct agent_containers *t)
{
	json_t *list = json_array();

	for (size_t i = 0; i < t->n; i++)
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s}", "id", t->c[i].id, "name", t->c[i].name, "image",
						      t->c[i].image, "state", t->c[i].state, "status", t->c[i].status));
	tell_watchers_take(sb, AGENT_WHAT_CONTAINERS, "containers", json_pack("{s:s, s:o}", "name", sb->spec.name, "containers", list));
}

json_t *events_host_json(struct super *su)
{
	struct host_facts h;

	super_host(su, &h, NULL);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "cpus", (json_int_t)h.cpus, "memory_total", (json_int_t)h.memory_total,
			 "memory_available", (json_int_t)h.memory_available, "memory_promised", (json_int_t)h.memory_promised, "sandboxes",
			 (json_int_t)h.sandboxes, "running", (json_int_t)h.running);
}

void events_host(struct super *su)
{
	tell_take(su, "host", json_pack("{s:o}", "host", events_host_json(su)));
}

void events_log(struct super *su, const json_t *record)
{
	tell_take(su, "log", json_deep_copy(record));
}

void events_decision(struct super *su, const json_t *decision)
{
	tell_take(su, "decision", json_pack("{s:o}", "decision", json_deep_copy(decision)));
}

void events_audit(struct super *su, const json_t *record)
{
	tell_take(su, "audit", json_pack("{s:o}", "record", json_deep_copy(record)));
}

void events_ask_take(struct super *su, json_t *ask)
{
	tell_take(su, "ask", json_pack("{s:o}", "ask", ask));
}

void events_ask_gone(struct super *su, uint32_t id, const char *end, const char *verdict, const char *by)
{
	tell_take(su, "ask_gone", json_pack("{s:I, s:s, s:s?, s:s}", "id", (json_int_t)id, "end", end, "verdict", verdict, "by", by));
}

void events_net(struct sandbox *sb)
{
	json_t *o = sandbox_net_json(sb);

	if (o)
		json_object_set_new(o, "name", json_string(sb->spec.name));
	tell_take(sb->su, "net", o);
}

void events_changes(struct sandbox *sb)
{
	json_t *o = review_counts_json(sb);

	if (o)
		json_object_set_new(o, "name", json_string(sb->spec.name));
	tell_take(sb->su, "changes", o);
}

void events_ports(struct super *su)
{
	tell_take(su, "ports", json_pack("{s:o}", "ports", port_list(su, NULL)));
}

/* ---- the whole state ------------------------------------------------------------------------------------------------------------- */

json_t *events_sandboxes(struct sandbox *from, struct sandbox **rest)
{
	json_t *list = json_array();
	size_t n = 0;

	for (; from; from = from->next) {
		json_t *o = sandbox_json(from);

		n += json_dumpb(o, NULL, 0, JSON_COMPACT) + 1;
		if (n > EVENTS_SANDBOXES_MAX && json_array_size(list)) {
			json_decref(o);
			break;
		}
		json_array_append_new(list, o);
	}
	*rest = from;
	return list;
}

json_t *events_state(struct super *su, struct state_rest *rest)
{
	json_t *list = events_sandboxes(su->sandboxes, &rest->sandboxes), *names = json_array();

	for (const struct sandbox *sb = rest->sandboxes; sb; sb = sb->next)
		json_array_append_new(names, json_string(sb->spec.name));
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:I}", "sandboxes", list, "rest", names, "asks", ask_list(su, 0, &rest->asks), "ports", port_list(su, NULL),
			 "host", events_host_json(su), "seq", (json_int_t)su->seq);
}

static void follow_take(struct client *c, const char *kind, json_t *params)
{
	AUTO_FREE char *text = line_take(c->su, kind, params);

	if (text)
		client_line(c, text);
}

void events_rest(struct client *c, const struct state_rest *rest)
{
	uint32_t next = rest->asks;

	for (struct sandbox *sb = rest->sandboxes; sb; sb = sb->next)
		follow_take(c, "sandbox", json_pack("{s:o}", "sandbox", sandbox_json(sb)));
	while (next) {
		json_t *list = ask_list(c->su, next, &next), *ask;
		size_t i;

		json_array_foreach(list, i, ask)
			follow_take(c, "ask", json_pack("{s:O}", "ask", ask));
		json_decref(list);
	}
}

void events_resync(struct client *c)
{
	struct state_rest rest;
	AUTO_FREE char *text = line_take(c->su, "resync", events_state(c->su, &rest));

	if (!text)
		return;
	client_line(c, text);
	events_rest(c, &rest);
}
