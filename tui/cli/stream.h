/* SPDX-License-Identifier: Apache-2.0 */
/* The exec engine: a session's socket on one side, the person's descriptors on the other. */
#ifndef BULKHEAD_CLI_STREAM_H
#define BULKHEAD_CLI_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"

struct stream_opts {
	int in_fd;            /* -1: the command's stdin ends at once. Never made non-blocking: it is shared */
	int out_fd, err_fd;   /* -1: thrown away */
	struct buf *capture;  /* the command's stdout goes here instead; more than its maximum is an error */
	int sig_fd;           /* from signals_watch(), or -1 */
	uint64_t most;        /* more bytes of output than this are an error (EFBIG); 0: any */
	unsigned idle_ms;     /* so long without a byte either way is an error (ETIMEDOUT); 0: for ever */
};

/*
 * Runs the session on `sock` (non-blocking afterwards, not closed) to its end: 0 and *code, the command's exit status, 128 + N
 * when signal N ended it. Otherwise -errno with a sentence and *code 125 (we or the sandbox failed), 126 (not
 * executable), 127 (not found), 128 + N (given up after three times signal N).
 * Memory is constant; a reader that is slow slows the command down; a reader that is gone (EPIPE) gives the command
 * SIGPIPE, and *code 141 if it does not end by itself.
 */
int stream_run(int sock, const struct stream_opts *o, int *code, struct err *e);

/* Blocks INT, TERM, HUP, QUIT for this process and returns a signalfd of them (-1: out of descriptors, nothing blocked). */
int signals_watch(void);
/* The next one waiting on it, 0 if none. */
int signals_next(int sig_fd);

#endif
