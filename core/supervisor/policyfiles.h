/* SPDX-License-Identifier: Apache-2.0 */
/* policy.h for who shows and changes rules: the files behind them. `sb` NULL: the person's global file, or what holds for no sandbox of its own. */
#ifndef BULKHEAD_SUPERVISOR_POLICYFILES_H
#define BULKHEAD_SUPERVISOR_POLICYFILES_H

#include <jansson.h>

#include "core/supervisor/policy.h"
#include "core/supervisor/policysource.h"

const struct rules *policy_rules_of(struct super *su, struct sandbox *sb);
/* Why the files, each of them right, hold no rules together: too many. "" mostly. */
const char *policy_joined_error(struct super *su, struct sandbox *sb);
/* Looks at all files now. */
void policy_reread(struct super *su);
/* NULL: out of memory. */
struct policysource *policy_source(struct super *su, struct sandbox *sb);
const struct policysource *policy_admin(struct super *su);
/* The preset in force for a person's rules; NULL none. */
const char *policy_preset(struct super *su, struct sandbox *sb);
/* Change the file, synced, and tell running bulkhead-nets. 0 or -errno with a sentence. */
int policy_add(struct super *su, struct sandbox *of, const struct rule *r, struct err *e);
int policy_remove(struct super *su, struct sandbox *of, size_t index, struct err *e);
/* api_policy.c: an array of sentences, one for each file that is refused. */
json_t *policy_errors(struct super *su);
int policy_set_preset(struct super *su, struct sandbox *of, const char *preset, struct err *e);

#endif
