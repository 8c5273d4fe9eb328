/* SPDX-License-Identifier: Apache-2.0 */
/* What commands share: a connection, calls whose failure is said, waiting with a line of progress. main() calls cli_main(). */
#ifndef BULKHEAD_CLI_CLI_H
#define BULKHEAD_CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>

#include "core/base/err.h"
#include "core/client/client.h"
#include "tui/cli/cmd.h"

int cli_main(int argc, char **argv);

/* Starts the supervisor when need be. NULL after saying why. */
struct client *cli_connect(void);
/* 0 and *result (a new reference; may be NULL), or 1 after saying why. Takes params. */
int cli_call(struct client *c, const char *method, json_t *params, json_t **result);
/* The same of a list that comes in pages: all of `key` in one result. */
int cli_list(struct client *c, const char *method, const char *key, json_t **result);
/* Waits for one of the states (a list as in the protocol), told on a terminal; then the sandbox. `docker`: also for its daemon. Another
 * supervisor that takes over meanwhile is asked in its turn: c is then a connection to that one. */
int cli_wait(struct client *c, const char *name, const char *const *states, size_t n, bool docker, json_t **sandbox);
/*
 * Starts it unless it runs (or is about to), and waits until it does. The image is built first when there is none. leased: it is removed when c ends,
 * which no other supervisor would know: then the wait ends with this one.
 */
int cli_start(struct client *c, const char *name, bool leased);
/* {"K": "V"} of the -e options; NULL after saying why. "-e K" takes the value of this process's environment. */
json_t *cli_env(const struct args *a);
/* Builds the guest image with progress on stderr: 0 or 1. */
int cli_build_image(bool force);
/* Runs argv in the sandbox with this process's stdin, stdout and stderr: its exit status, or 125.. after saying why. Takes params. */
int cli_exec(struct client *c, json_t *params);
/* The same on a terminal of its own (`kind` pty), full screen. */
int cli_exec_tty(struct client *c, json_t *params);
/* Subscribes with `fn` for events and goes on until a signal, the supervisor's end or a reader that is gone: the exit code. `first`
 * (may be NULL) gets the answer of events.subscribe before any event. */
int cli_follow(struct client *c, client_event_fn fn, void (*first)(void *arg, const json_t *state), void *arg);
const char *cli_str(const json_t *o, const char *key); /* "" when it is none */

#endif
