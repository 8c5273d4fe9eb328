/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy.yaml (bulkhead(5)): default, preset, and the lists allow, deny, ask of rules, each one string or a mapping. A file that is wrong
 * anywhere is refused as a whole with one sentence, "NAME:LINE:COLUMN: …"; what it does not know it refuses.
 *
 * Changes are made to the text, so that a person's comments and layout stay; what comes out is read again and must say just what was meant,
 * else nothing is changed and the person is asked to edit by hand. No I/O here but policypreset_load().
 */
#ifndef BULKHEAD_POLICYTEXT_POLICYFILE_H
#define BULKHEAD_POLICYTEXT_POLICYFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/policy/rules.h"

#define POLICYFILE_MAX (1u << 20)       /* bytes */
#define POLICYFILE_RULES_MAX 8192u
#define POLICY_PRESET_MAX 32u

struct policyfile {
	bool has_default;
	uint8_t def;                    /* enum net_verdict */
	char preset[POLICY_PRESET_MAX]; /* "" none */
	struct rule *rules;             /* owned; in the order of the file; rule number i of a person is rules[i - 1] */
	size_t n, cap;
};

/* 0, or -EINVAL/-ENOMEM with a sentence and *pf empty. All rules get `scope`. Release in any case. */
int policyfile_parse(const char *text, size_t n, const char *name, enum rule_scope scope, struct policyfile *pf, struct err *e);
void policyfile_release(struct policyfile *pf);

/* Each puts the new text into `out` (empty before, maximum POLICYFILE_MAX). -EINVAL with a sentence; -EEXIST the rule is there. */
int policyfile_add(const char *text, size_t n, const char *name, const struct rule *r, struct buf *out, struct err *e);
/* index from 0 */
int policyfile_remove(const char *text, size_t n, const char *name, size_t index, struct buf *out, struct err *e);
/* Key "preset" or "default". */
int policyfile_set(const char *text, size_t n, const char *name, const char *key, const char *value, struct buf *out, struct err *e);
/* What a file that is not there yet begins with. */
extern const char policyfile_head[];

/* One of the shipped presets, or "none", which says nothing (a sandbox's puts the global one out of force); rules get `scope`. -ENOENT with a sentence that names those there are. */
int policypreset_load(const char *name, enum rule_scope scope, struct policyfile *pf, struct err *e);
extern const char *const policypreset_names[]; /* NULL-ended */

#endif
