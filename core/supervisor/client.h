/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's connection and the requests it made (docs/protocol.md).
 *
 * Bounds: a line of CLIENT_LINE_MAX, CLIENT_CALLS_MAX requests unanswered, CLIENTS_MAX connections; requests are not read
 * while more than CLIENT_OUT_HIGH bytes wait to be sent; events beyond that are dropped and made good by a `resync`; without
 * progress for CLIENT_STALL_MS the connection is cut. A call is answered exactly once, also when its client is gone by then.
 */
#ifndef BULKHEAD_SUPERVISOR_CLIENT_H
#define BULKHEAD_SUPERVISOR_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "core/base/buf.h"
#include "core/base/err.h"

#define CLIENT_LINE_MAX (1024u * 1024u)
#define CLIENT_OUT_HIGH (1024u * 1024u)
#define CLIENT_STALL_MS 30000
#define CLIENT_CALLS_MAX 256u
#define CLIENTS_MAX 128u

/* JSON-RPC's own, and ours. */
enum rpc_code {
	RPC_PARSE = -32700, RPC_REQUEST = -32600, RPC_METHOD = -32601, RPC_PARAMS = -32602,
	RPC_NOT_FOUND = 1001, RPC_EXISTS = 1002, RPC_STATE = 1003, RPC_VERSION = 1004, RPC_LIMIT = 1005, RPC_FAILED = 1006,
	RPC_NO_IMAGE = 1007, RPC_BUSY = 1008,
};

struct after;
struct out;
struct super;

struct client {
	struct client *next;
	struct super *su;
	uv_poll_t poll;
	int fd, interest;
	struct buf in;
	size_t scanned;         /* bytes of `in` known to hold no newline */
	struct out *head, **tail;
	size_t pending;         /* bytes queued */
	bool greeted;           /* said hello in our version */
	char name[64];          /* what it is, from its hello, scrubbed: "dashboard (bulkhead 0.1.0)"; "" */
	bool subscribed, lagging; /* lagging: events were dropped */
	bool more;              /* lines left for the next turn */
	bool eof, closing;
	uint32_t watch_ms, watch_what; /* stats.watch */
	char watch_name[64];    /* "" all */
	struct call *calls;     /* unanswered */
	unsigned ncalls;
	struct after *stall;
};

struct call {
	struct call *next;
	struct super *su;
	struct client *client; /* NULL: gone, the answer is dropped */
	json_t *id;
	bool sync;             /* answered at the end of this turn */
};

/* Takes fd. */
void client_accept_take(struct super *su, int fd);
void client_close(struct client *c);
/* Tries to send what is queued, for its last words. */
void client_drain(struct client *c);
/* Dropped where too much waits already; a `resync` makes it good. */
void client_event(struct client *c, const char *line);
/* Queued in any case: part of a state, which has its bound. */
void client_line(struct client *c, const char *line);
/* Lines that were left over, calls of `sync`, clients to be closed. */
void client_turn(struct super *su);
bool client_watches(const struct client *c, const char *name, uint32_t what);

/* Answers; each frees the call. */
void call_result_take(struct call *c, json_t *result);
/* fd is taken and goes with the answer. */
void call_result_fd_take(struct call *c, json_t *result, int fd);
void call_error(struct call *c, enum rpc_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void call_error_hint(struct call *c, enum rpc_code code, const char *hint, const char *message);
/* By e->code: -EBUSY, -EPERM, -EDQUOT, -ENOENT ... */
void call_error_err(struct call *c, const struct err *e);

/* api.c: runs the request; answers or keeps the call. */
void api_request(struct call *c, const char *method, const json_t *params);

#endif
