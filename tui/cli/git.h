/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running the person's git, as the person. No shell, none of our caller's GIT_* variables, no prompt, no hook, no automatic housekeeping, no
 * transport but the one that is named.
 */
#ifndef BULKHEAD_CLI_GIT_H
#define BULKHEAD_CLI_GIT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/base/buf.h"
#include "core/base/err.h"

struct git_run {
	const char *dir;         /* where it runs */
	const char *const *argv; /* without "git"; NULL-terminated */
	const char *transport;   /* the only one it may use, "file" or "fd"; NULL none */
	const char *objects;     /* a further directory of objects to read from, NULL none */
	bool plain;              /* without the person's and the system's configuration */
	const char *in;          /* its input, NULL none */
	int from, to;            /* its descriptors 3 and 4; -1 none */
	uint64_t most;           /* bytes of any file it writes, 0 unlimited; then its memory and time are bounded too */
};

#define GIT_RUN(d, a, ...) ((struct git_run){ .dir = (d), .argv = (a), .from = -1, .to = -1, __VA_ARGS__ })

struct git_started { pid_t pid; int out, err; };

/* 0 and a running git; -errno with a sentence. */
int git_start(struct git_started *g, const struct git_run *r, struct err *e);
/*
 * Waits: its exit status, 128 + N after signal N. `out` (may be NULL) gets its output; more than its maximum is -EFBIG. With another status than
 * 0 `e` holds what git complained of, as it said it: whoever shows it scrubs.
 */
int git_finish(struct git_started *g, struct buf *out, struct err *e);
int git_run(const struct git_run *r, struct buf *out, struct err *e);

#endif
