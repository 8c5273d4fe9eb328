/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network's part of the state tree (model.h): questions that wait, the last decisions, published ports. A decision's later events (it was
 * answered, a credential was put in, it ended) go into the row it has, so that one connection or request is one row. Everything that began in a guest
 * is bounded and scrubbed on the way in. Pointers live until the next model_* call that changes the tree.
 */
#ifndef BULKHEAD_CLIENT_NETMODEL_H
#define BULKHEAD_CLIENT_NETMODEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/str.h"

#define MODEL_DECISIONS_MAX 2000
#define MODEL_ASKS_MAX 512
#define MODEL_PORTS_MAX 256

enum model_verdict { MV_ALLOW, MV_DENY, MV_ASK, MV_NUM };
enum model_proto { MP_TCP, MP_TLS, MP_HTTP, MP_HTTPS, MP_NUM };
enum model_ask_end { MAE_ANSWERED, MAE_TIMEOUT, MAE_WITHDRAWN, MAE_RULED, MAE_NUM };

/* Who in which sandbox wanted to reach what. */
struct model_reach {
	char sandbox[NAME_MAX_LEN + 1];
	enum model_proto proto;
	uint16_t port;
	uint32_t pid;
	char name[256];    /* "" when only the address is known */
	char address[48];
	char method[24], path[512];
	char comm[64], cmdline[256], container[64];
};

struct model_ask {
	uint64_t id;
	uint32_t count;    /* connections that wait */
	uint64_t since_ms, until_ms; /* wall clock, since the epoch */
	struct model_reach what;
};

/* What became of the last question that went. */
struct model_ask_gone {
	uint64_t n;        /* counts up; 0 none yet */
	struct model_ask ask;
	enum model_ask_end end;
	enum model_verdict verdict;
	char by[96];
};

struct model_decision {
	uint64_t row;      /* from 1, without gaps: model_decision_at() */
	uint64_t at_ms, conn;
	struct model_reach what;
	enum model_verdict verdict; /* MV_ASK: is held */
	bool asked, injected, closed, alarm;
	char to[48];       /* the address connected to */
	char rule[160], scope[16], service[64];
	uint32_t status;
	uint64_t in, out, ms; /* bytes from the guest, and to it; since it was opened */
};

struct model_port {
	uint64_t id;
	char sandbox[NAME_MAX_LEN + 1], host_address[48];
	uint16_t host_port, guest_port;
};

/* Of one sandbox. */
struct model_net { uint64_t open, held, conns, denied, in, out; };

struct netmodel {
	struct model_ask **asks;          /* owned, the oldest first */
	size_t nasks;
	struct model_ask_gone gone;
	struct model_decision *decisions; /* ring of MODEL_DECISIONS_MAX, made at the first */
	uint64_t rows;                    /* given out so far */
	uint64_t last_seq;                /* of the decisions told */
	struct model_port ports[MODEL_PORTS_MAX];
	size_t nports;
};

void netmodel_release(struct netmodel *n);
/* "asks" and "ports" of events.subscribe or a resync; what is not in there stays. */
void netmodel_state(struct netmodel *n, const json_t *result);
void netmodel_ask(struct netmodel *n, const json_t *ask);
void netmodel_ask_gone(struct netmodel *n, const json_t *event);
void netmodel_ports(struct netmodel *n, const json_t *ports);
void netmodel_decision(struct netmodel *n, const json_t *decision);
/* The answer of policy.log: replaces the rows. */
void netmodel_log(struct netmodel *n, const json_t *result);
void netmodel_forget(struct netmodel *n, const char *sandbox); /* it was removed: its questions and ports go */

const struct model_ask *netmodel_ask_find(const struct netmodel *n, uint64_t id);
size_t netmodel_asks_of(const struct netmodel *n, const char *sandbox);
/* How many rows are kept; the k-th newest (0 = the newest), NULL beyond; by its number, NULL when it is gone. */
size_t netmodel_count(const struct netmodel *n);
const struct model_decision *netmodel_newest(const struct netmodel *n, size_t k);
const struct model_decision *netmodel_row(const struct netmodel *n, uint64_t row);

const char *model_verdict_word(enum model_verdict v);
const char *model_proto_word(enum model_proto p);
const char *model_ask_end_word(enum model_ask_end e); /* "answered", … */

#endif
