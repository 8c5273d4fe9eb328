/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notifications to clients (docs/protocol.md). Each is made once and queued to every subscriber; a subscriber that does not read
 * misses events after 1 MiB and gets the whole state again (`resync`) once it has read what it has.
 *
 * What does not fit the line of a state follows it at once, a line for each sandbox and question.
 */
#ifndef BULKHEAD_SUPERVISOR_EVENTS_H
#define BULKHEAD_SUPERVISOR_EVENTS_H

#include <jansson.h>

#include "core/proto/agent.h"
#include "core/proto/child.h"

struct client;
struct sandbox;
struct session;
struct super;

void events_sandbox(struct sandbox *sb);
void events_removed(struct super *su, const char *name);
void events_session(struct sandbox *sb, const struct session *s);
void events_attention(struct sandbox *sb, const struct term_attention *a);
/* A placeholder was on its way to where it does not belong; text says where. */
void events_alarm(struct sandbox *sb, const char *text);
/* The last sample, whole: guest's and machine's. */
void events_stats(struct sandbox *sb);
void events_top(struct sandbox *sb, const struct agent_top *t);
void events_containers(struct sandbox *sb, const struct agent_containers *t);
void events_host(struct super *su);
/* A question; takes it. */
void events_ask_take(struct super *su, json_t *ask);
/* `verdict` may be NULL. */
void events_ask_gone(struct super *su, uint32_t id, const char *end, const char *verdict, const char *by);
/* The counters of its network; at most once a second from bulkhead-net. */
void events_net(struct sandbox *sb);
void events_ports(struct super *su);
/* What its workspaces changed, counted; at most 2 a second. */
void events_changes(struct sandbox *sb);
/* `record` is a lifecycle record {level, name?, text, at}; borrowed. */
void events_log(struct super *su, const json_t *record);
/* A record of the audit log, as docs/protocol.md says a decision is; borrowed. */
void events_audit(struct super *su, const json_t *record);
void events_decision(struct super *su, const json_t *decision);
/* Of a state's line, the most that its sandboxes and its questions take; the ports take less than the rest of CLIENT_LINE_MAX. */
#define EVENTS_SANDBOXES_MAX (384u * 1024u)
#define EVENTS_ASKS_MAX (192u * 1024u)
#define EVENTS_PORTS_MAX (256u * 1024u)

/* What of a state is to follow: from which sandbox and which question on; NULL and 0 nothing. */
struct state_rest { struct sandbox *sandboxes; uint32_t asks; };

/* {"sandboxes", "rest", "asks", "ports", "host", "seq"} */
json_t *events_state(struct super *su, struct state_rest *rest);
/* The rest of a state whose line was just queued. */
void events_rest(struct client *c, const struct state_rest *rest);
/* Those from `from` on that fit EVENTS_SANDBOXES_MAX, at least one; *rest is the first that is left, NULL none. */
json_t *events_sandboxes(struct sandbox *from, struct sandbox **rest);
json_t *events_host_json(struct super *su);
void events_resync(struct client *c);

/* stats.c: what clients watch together is asked of the guests, nothing when nobody watches. */
void stats_rewatch(struct super *su);
void stats_rewatch_one(struct sandbox *sb);

#endif
