/* SPDX-License-Identifier: Apache-2.0 */
/* One connection of the guest (conn.c), as handed.c sees it too. */
#ifndef BULKHEAD_NETPOLICY_CONN_H
#define BULKHEAD_NETPOLICY_CONN_H

#include "core/loop/stream.h"
#include "netpolicy/net.h"
#include "netpolicy/relay.h"
#include "netpolicy/upstream.h"

struct handed;

enum conn_state { CONN_OPENED, CONN_PEEK, CONN_PEEK_MORE /* of something that has begun */, CONN_BRAKED /* net_waits() */, CONN_ASKING, CONN_CONNECT, CONN_RELAY, CONN_HANDED, CONN_RESET };

struct conn {
	struct conn *next, *prev;
	struct net *net;
	uint64_t id, begun_ms;
	enum conn_state state;
	struct stream *guest;   /* NULL once it was handed on (relay, handed) */
	struct net_facts facts;
	struct net_who who;
	struct rules_verdict verdict;
	char rule[160];         /* what decided, in words, and whose it is */
	const char *scope;
	bool patient;           /* it said nothing for SILENT_MS and was given more time */
	bool allowed;           /* it was let out: its end is recorded */
	uint32_t ask;           /* that decided */
	struct net_addr to;
	uint64_t in, out;
	struct waiter waiter;
	struct after *timer;
	struct upstream *upstream;
	struct relay *relay;
	struct handed *handed;
};

/* False: not kept. */
bool conn_record(struct conn *c, enum net_event event, enum net_verdict verdict, const char *rule, const char *scope);
/* Ends it at once, with its record; frees. */
void conn_end(struct conn *c);
/* The same, on the loop's next turn. */
void conn_end_soon(struct conn *c);
/* Our own descriptor of the guest's stream, for who takes it over; the stream is then closed. -errno. */
int conn_guest_fd(struct conn *c);

#endif
