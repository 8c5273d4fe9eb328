/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose rules hold for a sandbox: the administrator's file, the person's global one, the sandbox's own, a preset (core/policytext reads them),
 * joined into one struct rules. A file that is wrong is refused with a sentence that names line and column, and its old rules stay.
 */
#ifndef BULKHEAD_SUPERVISOR_POLICY_H
#define BULKHEAD_SUPERVISOR_POLICY_H

#include <stdbool.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/policy/rules.h"

struct policy;
struct sandbox;
struct super;

/* su->policy: reads all files and watches them. What is wrong with them is told in the lifecycle log, never an error here. */
int policy_open(struct super *su, struct err *e);
void policy_close(struct super *su);
/* The sandbox is about to be freed. */
void policy_forget(struct sandbox *sb);
/* The rules of this sandbox as they are now; borrowed until the next change. Never NULL. */
const struct rules *policy_rules(struct sandbox *sb);
/* The same for its bulkhead-net: rules_pack(). `out` needs a maximum of RULES_BLOB_MAX. 0 or -errno. */
int policy_blob(struct sandbox *sb, struct buf *out);
/* Some rule looks at method or path for this host: its TLS is opened. */
bool policy_opens(struct sandbox *sb, const char *name);
/*
 * Writes the rule that remembers an answer about `f` (rules_remember()) into the sandbox's file, or the global one when `of` is NULL, synced to
 * disk. `asked` is whose question it was. The caller tells bulkhead-net. 0, or -errno with a sentence and nothing changed.
 */
int policy_remember(struct super *su, struct sandbox *of, struct sandbox *asked, const struct net_facts *f, enum net_verdict v, struct err *e);
/*
 * net.c: tells running bulkhead-nets. Called by policy.c after any other change of the files, with NULL for all sandboxes.
 */
void net_rules_changed(struct super *su, struct sandbox *of);

#endif
