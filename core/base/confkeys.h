/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of config.yaml (bulkhead(5)), of the supervisor's part and of the dashboard's: who reads one part knows a key of the other from a misspelt one. */
#ifndef BULKHEAD_BASE_CONFKEYS_H
#define BULKHEAD_BASE_CONFKEYS_H

#include <stdbool.h>

#include "core/base/err.h"

/* 0, or -EINVAL: "there is no key 'memroy'; did you mean 'memory'?" */
int confkey_check(const char *name, struct err *e);

#endif
