/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a command of the person's own and takes what it prints as a secret: no shell, stdin given, stdout into locked memory and bounded,
 * stderr's last line for the sentence, a deadline after which its whole process group is killed. On the loop's thread, never blocking.
 */
#ifndef BULKHEAD_SUPERVISOR_RUN_H
#define BULKHEAD_SUPERVISOR_RUN_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "core/base/err.h"
#include "core/secret/held.h"

struct run;

struct run_opts {
	const char *const *argv; /* argv[0] is looked for in PATH; copied by nobody: only for the call */
	struct held *in_take;   /* stdin, NULL empty */
	uint64_t timeout_ms;
};

/*
 * Called once: `out` is what it printed (NULL on failure): take it by setting *out = NULL, else it is wiped after the call. `status` is its exit status
 * when it exited by itself, -1 else. e->code is 0, or the failure's with a sentence ("'gh' exited with status 1: not logged in"); ENODATA when
 * it exited with another status than 0 and said nothing.
 */
typedef void (*run_done_fn)(void *arg, struct held **out, int status, const struct err *e);

/* 0, or -errno with a sentence (fn is not called then). Takes in_take in any case. */
int run_start(struct run **out, uv_loop_t *loop, const struct run_opts *o, run_done_fn fn, void *arg, struct err *e);
/* Kills it; fn is not called. *r = NULL; NULL is fine. */
void run_cancel(struct run **r);

#endif
