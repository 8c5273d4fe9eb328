/* SPDX-License-Identifier: Apache-2.0 */
/* apply --patch: one change after the other, hunk by hunk, as `git add -p` asks. */
#ifndef BULKHEAD_CLI_PICKHUNKS_H
#define BULKHEAD_CLI_PICKHUNKS_H

#include <jansson.h>
#include <stdbool.h>

#include "core/client/client.h"
#include "tui/cli/select.h"

/*
 * Shows s's changes and asks; appends to `items` (of changes.apply) what was chosen, with the digest of what was seen. *quit: the person wants to
 * see no more. 0, or 1 after saying why.
 */
int pick_interactively(struct client *c, const char *name, const struct selected *s, json_t *items, bool *quit);

#endif
