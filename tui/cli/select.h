/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of a sandbox's changes a command is about: those its PATHs name, or all. A PATH is absolute, or relative to the current directory where that
 * lies in a workspace, else to the workspace when there is one only; it names one change, or a directory and what lies below.
 */
#ifndef BULKHEAD_CLI_SELECT_H
#define BULKHEAD_CLI_SELECT_H

#include <jansson.h>
#include <stdbool.h>

#include "core/client/client.h"

struct chosen {
	const json_t *entry; /* of changes.list, borrowed from the selection */
	bool named;          /* a PATH is its very name */
};

struct selection {
	json_t *lists;       /* owned: one {path, mode, entries} a workspace, whole */
	struct selected {
		const char *workspace; /* borrowed from lists */
		struct chosen *c;      /* owned */
		size_t n, total;
	} *ws;               /* owned: those whose changes a person may take or leave (mode review), or also look at */
	size_t n;
};

/* paths[0..npaths), none: all. 0, or 1 after saying why (a PATH that names no change too). */
enum select_flag { SELECT_LIVE = 1 /* live workspaces too: to look at */, SELECT_COUNTED = 2 /* lines are counted, whatever it costs */ };
int select_changes(struct selection *s, struct client *c, const char *name, const char *const *paths, size_t npaths, unsigned flags);
void select_release(struct selection *s);

#endif
