/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to the person: connections that bulkhead-net holds until somebody says allow or deny.
 *
 *   PENDING -> ANSWERED | TIMED_OUT | WITHDRAWN (the guest closed, the machine ended) | RULED (a change of the rules decided)
 *
 * An id is unique in the supervisor's life and does not begin at 1, so that an id of an earlier supervisor's question does not name
 * another one. What ended is remembered for a while: who answers late is told who was first.
 */
#ifndef BULKHEAD_SUPERVISOR_ASK_H
#define BULKHEAD_SUPERVISOR_ASK_H

#include <jansson.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/proto/net.h"

#define ASKS_MAX 256u /* of one sandbox: net denies what is more */

struct sandbox;
struct super;

enum ask_scope { ASK_ONCE, ASK_SANDBOX, ASK_ALWAYS, ASK_SCOPES };

/* net told of one: new, or its count changed. */
void ask_told(struct sandbox *sb, const struct net_ask *m);
void ask_gone(struct sandbox *sb, uint32_t net_id, enum net_ask_end end);
/* All of a sandbox: its bulkhead-net or machine has ended. */
void ask_withdraw(struct sandbox *sb);
unsigned ask_count(const struct sandbox *sb);
/* Those from number `from` on that fit EVENTS_ASKS_MAX; *next is the first that is left, 0 none. */
json_t *ask_list(struct super *su, uint32_t from, uint32_t *next);
/*
 * 0; -ENOENT never heard of it; -EALREADY with a sentence who was first; -errno when the rule could not be written (then it still waits).
 * `by`: the client's class or name, for those who come later. rule: the rule that was written, as policy.remove takes it; "" none.
 */
#define ASK_RULE_TEXT 1600u
int ask_answer(struct super *su, uint32_t id, enum net_verdict v, enum ask_scope scope, const char *by, char rule[ASK_RULE_TEXT], struct err *e);
void ask_release(struct super *su);

#endif
