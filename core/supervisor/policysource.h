/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One policy.yaml on disk: what of it holds, what is wrong with it, and changes to it. A file that cannot be read or is wrong is refused and
 * what held before goes on; when nothing held before (the supervisor has just started), `refused` says that its owner's word is not known.
 */
#ifndef BULKHEAD_SUPERVISOR_POLICYSOURCE_H
#define BULKHEAD_SUPERVISOR_POLICYSOURCE_H

#include <stdbool.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/policytext/policyfile.h"

#define POLICY_FILE "policy.yaml"

struct policysource {
	enum rule_scope scope;
	char *dir;               /* owned */
	char *path;              /* owned: dir/policy.yaml, as in sentences */
	struct policyfile good;  /* what holds */
	struct policyfile preset; /* that good.preset names */
	bool read, refused;
	struct buf text;         /* as last read, good or not */
	int read_error;          /* errno of the last reading; ENOENT: there is none */
	char error[512];         /* sentence, "" */
};

/* Takes `dir`. -ENOMEM. */
int policysource_init_take(struct policysource *s, enum rule_scope scope, char *dir);
void policysource_release(struct policysource *s);
/* Reads the file if it differs from what was read last. True when what holds, or the error, is another now. */
bool policysource_read(struct policysource *s);
/* Each changes the file (atomic, synced; directory made if missing) and reads it. 0 or -errno with a sentence. */
int policysource_add(struct policysource *s, const struct rule *r, struct err *e);
int policysource_remove(struct policysource *s, size_t index, struct err *e);
int policysource_preset(struct policysource *s, const char *preset, struct err *e);
/* Index of the first rule that says this; SIZE_MAX none. */
size_t policysource_find(const struct policysource *s, const struct rule *r, bool any_verdict);

#endif
