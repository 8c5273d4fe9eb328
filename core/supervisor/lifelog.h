/* SPDX-License-Identifier: Apache-2.0 */
/* The lifecycle log: what happened to which sandbox, as JSON lines in the state directory and as `log` events. */
#ifndef BULKHEAD_SUPERVISOR_LIFELOG_H
#define BULKHEAD_SUPERVISOR_LIFELOG_H

#include <jansson.h>
#include <stddef.h>

#include "core/base/err.h"
#include "core/base/log.h"

struct super;

int lifelog_init(struct super *su, struct err *e);
void lifelog_release(struct super *su);
/* name may be NULL (the supervisor itself). Scrubbed. A full disk loses lines, nothing else. */
void lifelog_add(struct super *su, enum log_level level, const char *name, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* The last `lines` records (of `name`, or all), oldest first; a damaged line is left out. */
json_t *lifelog_read(struct super *su, const char *name, size_t lines);

#endif
