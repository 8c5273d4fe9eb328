/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The repository of a work tree of the host's, as mode `clone` shares it: found without running git, by what gitrepository-layout(5) says.
 *
 * A work tree may have been written by an agent (mode `live`), so that what it says of itself is believed only where the repository says the same:
 * a `.git` file counts when the repository it names points back. No symbolic link is followed inside.
 *
 * Reads a few small files and may wait for a disk; no state.
 */
#ifndef BULKHEAD_SUPERVISOR_GITDIR_H
#define BULKHEAD_SUPERVISOR_GITDIR_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/err.h"
#include "core/proto/fs.h"

#define GIT_CONFIG_MAX (1u << 20)

/* What a repository's configuration says that matters here. */
struct git_facts {
	char origin[WORKSPACE_ORIGIN_MAX + 1]; /* of another machine, without user and password of HTTP; "" none that can be used */
	char format[32];                       /* extensions.objectFormat, "" not said */
	char refs[32];                         /* extensions.refStorage */
	bool partial;                          /* objects are missing by intent */
};

/* Pure. Anything is taken; what cannot be understood is skipped, as are includes. */
void git_facts_parse(const char *text, size_t n, struct git_facts *out);

/*
 * Opens the repository of the work tree `path` (absolute, real): *fd its common directory (O_PATH, the caller's), w->head and w->origin.
 * -errno with a sentence that says what about it cannot be cloned.
 */
int gitdir_open(const char *path, struct workspace *w, int *fd, struct err *e);

#endif
