/* SPDX-License-Identifier: Apache-2.0 */
/* What an agent reads when a request is not let through: what was blocked, by which rule, and what the operator can do. Pure. */
#ifndef BULKHEAD_NETPOLICY_DENY_PAGE_H
#define BULKHEAD_NETPOLICY_DENY_PAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "netpolicy/headers.h"

enum deny_why {
	DENY_RULE,        /* 403: a rule, a person, or time that ran out: `rule` says which */
	DENY_ALARM,       /* 403: a credential's placeholder toward a foreign host; `rule` is the service */
	DENY_MISDIRECTED, /* 421: Host is not what the connection was opened for */
	DENY_BAD,         /* 400: `rule` says what is wrong with the request */
	DENY_METHOD,      /* 405: CONNECT */
	DENY_UPSTREAM,    /* 502: `rule` says what went wrong with the server */
	DENY_NUM
};

struct deny {
	enum deny_why why;
	const char *method, *scheme, *host, *path; /* "" unknown */
	uint16_t port;
	const char *rule, *scope;  /* as in struct net_record */
	const char *sandbox;       /* name, for the command that is told */
};

#define DENY_PAGE_MAX 8192u

uint16_t deny_status(enum deny_why why);
/* True if Accept prefers JSON to text. */
bool deny_wants_json(const struct headers *request);
/* Appends the page; everything foreign in it is scrubbed. */
void deny_page(struct buf *b, bool json, const struct deny *d);

#endif
