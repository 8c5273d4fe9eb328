/* SPDX-License-Identifier: Apache-2.0 */
/* Kits: what a sandbox runs in its main terminal. A table in this version; nothing here does I/O. */
#ifndef BULKHEAD_KIT_KIT_H
#define BULKHEAD_KIT_KIT_H

#include <stdbool.h>
#include <stddef.h>

struct kit {
	const char *name;
	const char *summary;        /* one line, for lists and help */
	const char *label;          /* of the main session */
	const char *const *argv;    /* NULL = the user's login shell */
	bool login;                 /* run through the login shell */
	const char *waits_pattern;  /* POSIX extended expression on the cursor's line that means "waits for the person"; "" none */
	unsigned idle_ms;           /* quiet for so long before that line is looked at */
};

extern const struct kit kits[];
extern const size_t kits_num;

/* NULL when there is none of that name. */
const struct kit *kit_find(const char *name);
/* The nearest name for "did you mean", NULL when nothing is near. */
const char *kit_suggest(const char *name);

#endif
