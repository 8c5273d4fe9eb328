/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BULKHEAD_CLI_LOST_H
#define BULKHEAD_CLI_LOST_H

#include <stddef.h>

#include "core/client/client.h"

/* What goes with a sandbox's disk: "3 changed files not applied, 1 running container, its disk (20M)". 0, or 1 after saying why it is not known. */
int lost(struct client *c, const char *name, char *dst, size_t cap);

#endif
