/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of the supervisor (docs/protocol.md), on poll(): no event loop is forced on the caller. Not thread-safe.
 *
 * The command line uses client_call(): one request, its answer, with a deadline. The dashboard uses client_send() with a callback
 * and client_pump() whenever client_fd() is ready; events go to the event callback in both cases. Everything the supervisor
 * sends is bounded: a line over 1 MiB, more than 16 descriptors waiting, or an answer nobody asked for ends the connection.
 */
#ifndef BULKHEAD_CLIENT_CLIENT_H
#define BULKHEAD_CLIENT_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

#define CLIENT_LINE_MAX (1024u * 1024u)

struct client;

/* Errors of docs/protocol.md as they appear in client_error.code. */
enum client_code {
	CLIENT_NOT_FOUND = 1001, CLIENT_EXISTS = 1002, CLIENT_STATE = 1003, CLIENT_VERSION = 1004, CLIENT_LIMIT = 1005,
	CLIENT_FAILED = 1006, CLIENT_NO_IMAGE = 1007, CLIENT_BUSY = 1008,
	CLIENT_LOST = -1,    /* the connection ended before the answer */
	CLIENT_TIMEOUT = -2,
};

struct client_answer {
	json_t *result;      /* borrowed during the callback, owned after client_call(); NULL on error */
	int fd;              /* the descriptor that came with it, -1 none; the receiver owns it */
	int code;            /* 0, or enum client_code / JSON-RPC's */
	const char *message; /* sentence when code != 0 */
	const char *hint;    /* data.did_you_mean or NULL */
};

typedef void (*client_answer_fn)(void *arg, const struct client_answer *a);
/* params of an `event` notification, borrowed. */
typedef void (*client_event_fn)(void *arg, const json_t *event);

/*
 * Connects and says hello; when nobody listens and `start`, starts bulkhead-supervisor (beside this program) and waits for
 * its socket. 0 or -errno with a sentence (a supervisor of another version too: it says what to do).
 */
int client_connect(struct client **out, const char *class_, bool start, struct err *e);
void client_close(struct client **c);
/*
 * A new connection in the place of one that is over (the supervisor was replaced), as client_connect() makes it: what waited has been
 * answered with CLIENT_LOST, the event callback stays, subscriptions are gone. On failure -errno with a sentence, c as it was.
 */
int client_again(struct client *c, const char *class_, struct err *e);

/*
 * client_connect() without blocking: connecting_step() when connecting_fd() (-1 none) can be read or connecting_wait_ms() have passed. 1: *out is
 * the client and may be asked; 0 not yet; -errno with a sentence. connecting_end() in all cases.
 */
struct connecting;
int connecting_begin(struct connecting **out, const char *class_, bool start, struct err *e);
int connecting_step(struct connecting *k, struct client **out, struct err *e);
int connecting_fd(const struct connecting *k);
int connecting_wait_ms(const struct connecting *k);
void connecting_end(struct connecting **k);

/* Blocks until the answer: 0 and *result (new reference; caller owns; may be NULL-able by passing result = NULL), *fd if fd != NULL
 * (else a descriptor that came is closed). On failure -errno with the supervisor's sentence; *code (may be NULL) says which. Takes params
 * (NULL = {}). timeout_ms < 0 = no deadline. */
int client_call(struct client *c, const char *method, json_t *params, int timeout_ms, json_t **result, int *fd, int *code, struct err *e);

/*
 * A list that comes in pages (`next`, asked for as `from`): one result with all of `key`. 0 and *result (the caller owns), or -errno.
 */
int client_list(struct client *c, const char *method, const char *key, int timeout_ms, json_t **result, struct err *e);

/* Non-blocking. Takes params. fn is called exactly once, from client_pump() or client_close() (CLIENT_LOST). 0 or -errno. */
int client_send(struct client *c, const char *method, json_t *params, client_answer_fn fn, void *arg);
void client_on_event(struct client *c, client_event_fn fn, void *arg);
int client_fd(const struct client *c);
short client_poll_events(const struct client *c); /* POLLIN, and POLLOUT while something is queued */
/* Reads and writes what can be without blocking; calls callbacks. 0, or -errno with a sentence when the connection is over. */
int client_pump(struct client *c, struct err *e);
/* Blocks up to timeout_ms (-1 for ever) for something to pump, or until `wake_fd` (>= 0) is readable: 0, 1 when wake_fd is, -errno. */
int client_wait(struct client *c, int wake_fd, int timeout_ms, struct err *e);

#endif
