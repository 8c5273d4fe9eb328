/* SPDX-License-Identifier: Apache-2.0 */
/* Private to core/jail: a profile's table to a loaded filter. */
#ifndef BULKHEAD_JAIL_SECCOMP_H
#define BULKHEAD_JAIL_SECCOMP_H

#include "core/base/err.h"
#include "core/jail/jail.h"

/* Appends a word to the report. */
void jail_note(struct jail *j, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int jail_seccomp(struct jail *j, const struct jail_profile *p, struct err *e);

#endif
