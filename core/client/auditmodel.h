/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of the state tree that tells what was done with a person's files and credentials: the records of the audit log but for the decisions, which
 * are rows of netmodel.h. One record is one line; what an agent does again and again (its requests with a credential) is counted in one.
 */
#ifndef BULKHEAD_CLIENT_AUDITMODEL_H
#define BULKHEAD_CLIENT_AUDITMODEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/str.h"

#define MODEL_AUDIT_MAX 500

struct model_audit {
	uint64_t at_ms;                  /* wall clock, since the epoch; of the last one counted here */
	int level;                       /* enum log_level: an alarm is an error */
	char name[NAME_MAX_LEN + 1];     /* of the sandbox; "" none */
	char text[400];
	unsigned count;
	bool repeats;                    /* the same again is counted here */
};

struct auditmodel {
	struct model_audit *lines;       /* owned: ring, made at the first */
	size_t first, n;
	uint64_t last_seq;               /* of the records told */
};

void auditmodel_release(struct auditmodel *m);
/* One record: of the event `audit`, or of `decision` (of those only alarms and injections are lines here). */
void auditmodel_take(struct auditmodel *m, const json_t *record);
/* The answer of audit.read: replaces all. */
void auditmodel_read(struct auditmodel *m, const json_t *result);
/* The oldest is 0; NULL beyond. */
const struct model_audit *auditmodel_at(const struct auditmodel *m, size_t i);

#endif
