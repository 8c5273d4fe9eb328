/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sandbox's bulkhead-net as seen from here: begun and ended with its machine, replaced when it dies before that, given rules, secrets,
 * published ports and leaf certificates, and heard (core/proto/net.h). ask.h keeps its questions, port.h the published ports.
 */
#ifndef BULKHEAD_SUPERVISOR_NET_H
#define BULKHEAD_SUPERVISOR_NET_H

#include <jansson.h>
#include <stdbool.h>

#include "core/base/err.h"
#include "core/proto/net.h"

struct sandbox;
struct super;

/* Spawns it for the machine that is about to start; takes dial (our end goes to it). */
int net_start_take(struct sandbox *sb, int dial, struct err *e);
/* It must end, with a little time for its last records. */
void net_end(struct sandbox *sb);
/* Its process is gone: replaced if the machine runs on, else the machine's end is complete. */
void net_gone(struct sandbox *sb, const char *how);
/* A machine was adopted and has none. */
int net_replace(struct sandbox *sb, struct err *e);
/* Adopted: rules and the rest as they are now. */
void net_adopted(struct sandbox *sb);
/* Its rules as they are now (policy.h has net_rules_changed() for many). */
void net_rules(struct sandbox *sb);
/* The same for credentials (NULL: everybody's); what super.h's secrets_changed is. */
void net_secrets_changed(struct super *su, struct sandbox *of);

/* TLS to this name may be opened: a rule or a credential wants it, or it is not let through and the client shall read why. */
bool net_may_open(struct sandbox *sb, const char *name);

/* Names for JSON. */
/* An alarm's record has come: it is told, at most one in ALARM_EVERY_NS with how many there were. */
void net_alarm(struct sandbox *sb, const struct net_record *r);
const char *net_proto_name(enum net_proto p);
const char *net_verdict_name(enum net_verdict v);
/* facts and who as the keys of docs/protocol.md, set in o. */
void net_json_facts(json_t *o, const struct net_facts *f, const struct net_who *w);

#endif
