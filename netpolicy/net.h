/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead-net: everything of one sandbox that goes out, and what comes in through published ports (ARCHITECTURE 6). One thread, libuv.
 *
 *   main.c      the child's life, what the supervisor says
 *   conn.c      one connection of the guest: OPENED -> PEEK -> DECIDE -> [ASKING] -> RESOLVE/CONNECT -> RELAY -> closed
 *   question.c  connections that wait for a person, joined by what they are about
 *   dns.c       names to addresses (c-ares; the host's hosts file as it was at the start)
 *   pref64.c    what of this network is NAT64
 *   upstream.c  resolve, refuse what is forbidden, connect to exactly what was checked; or through the host's own proxy
 *   relay.c     two streams joined
 *   records.c   what the audit log is told, kept until it is written
 *   publish.c   listening sockets of the host, to ports inside
 */
#ifndef BULKHEAD_NETPOLICY_NET_H
#define BULKHEAD_NETPOLICY_NET_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "core/base/log.h"
#include "core/jail/jail.h"
#include "core/loop/childside.h"
#include "core/policy/rules.h"
#include "core/proto/net.h"

#define CONNS_MAX 6000u
#define PEEK_MAX 16384u       /* bytes looked at before a decision */
#define PEEK_MS 2000u         /* a client that has begun to speak TLS or HTTP must get to its name in this time */
#define SILENT_MS 500u        /* a client that says nothing waits for the server: neither TLS nor HTTP. Where no rule lets such pass, PEEK_MS more */
#define SLOWER_MS 5000u       /* instead of PEEK_MS where a person would be asked about TLS */
#define SLOW_MS 10000u        /* instead of PEEK_MS where a rule lets TLS or HTTP pass: most likely it is only slow */
#define RELAY_BUF (256u * 1024u)
#define CONNECT_MS 10000u     /* to one address */
#define STATS_MS 1000u
#define OWN_MAX 64u
#define RECORDS_MAX (4u << 20) /* bytes of records that are not written yet */

struct after;
struct conn;
struct inject;
struct pref64;
struct tls_env;
struct dns;
struct grant;
struct published;
struct question;
struct records;
struct seq;

struct net {
	uv_loop_t *loop;
	struct childside *side;
	struct jail jail;
	uint32_t gen;
	struct net_start config;
	struct seq *dial;           /* NULL: the machine is gone, or not there yet */
	uint32_t next_token;
	struct rules *rules;        /* NULL: none yet, everything waits for them as if asked */
	uint32_t rules_version;
	struct dns *dns;
	struct pref64 *pref64;
	bool resolves;              /* some name was resolved here */
	uint64_t blind_until_ms;    /* upstream.c: names are not looked up for a proxy's sake */
	struct net_addr own[OWN_MAX]; /* this host's own addresses, as they were at the start */
	size_t nown;
	struct tls_env *env;        /* handed.c */
	struct inject *inject;
	struct conn *conns;
	struct question *questions; /* by id */
	struct grant *grants;       /* question.c */
	uint32_t next_question;
	struct published *published;
	struct net_stats stats, stats_told;
	struct after *stats_later;
	uint64_t next_conn;
	struct log_limit guest_log; /* for what a guest can cause */
	struct records *records;
	bool synced;                /* this supervisor has been told the state: records may follow */
	bool braked;                /* records.c: no connection is taken, nothing is decided */
	bool started, quitting;
};

/* main.c: to the supervisor; pack may be NULL. */
void net_tell(struct net *n, uint16_t type, int (*pack)(struct buf *b, const void *m), const void *m);
/* The counters have changed. */
void net_counted(struct net *n);
/* Asks the machine for a stream to a guest port; its token, 0 when there is no machine. The answer comes to publish.c. */
uint32_t net_dial(struct net *n, uint32_t port);

/*
 * records.c. Numbers and tells it. False: it was not kept (only counted), so what it records must not happen.
 */
bool record_tell(struct net *n, struct net_record *r);
/* The supervisor has written all up to this number. */
void records_written(struct net *n, uint64_t number);
/* There is a new supervisor: what the last one did not say to be written is told again. */
void records_again(struct net *n);
/* Something is not written yet. */
bool records_left(const struct net *n);

/* Nothing is decided now: records are not kept up with, or there are no rules yet. */
static inline bool net_waits(const struct net *n)
{
	return n->braked || !n->rules;
}

/* conn.c */
/* n->braked has changed, or the first rules are there: what waited for that is decided. */
void conns_braked(struct net *n);
/* A connection of the guest; takes fd. */
void conn_accept_take(struct net *n, int fd);
/* The rules have changed: what is held is decided again; what is open stays open unless its host is denied now. */
void conns_ruled(struct net *n);
/* The machine is gone, or we are asked to leave: all end, each with its record. */
void conns_end(struct net *n);
/*
 * question.c. Something waits for a person: a connection, or one request of an opened connection. fn is called once, from the loop: allow or
 * not, how the question ended (RULED: decide anew; ANSWERED, to allow: decide anew too, for a deny wins), and its id. Until then waiter_leave()
 * takes it back. The waiter and its facts are its owner's memory.
 */
struct waiter {
	void (*fn)(void *arg, bool allow, enum net_ask_end end, uint32_t ask);
	void *arg;
	struct question *q; /* NULL: does not wait */
	const struct net_facts *facts;
	struct waiter *next, **prev;
};
/* *v is the verdict that asks. -EDQUOT when too many questions are open. */
int waiter_join(struct net *n, struct waiter *w, const struct net_facts *f, const struct net_who *who, const struct rules_verdict *v);
/* A person has just answered this very question, when nobody waited: true once, with the answer. */
bool question_granted(struct net *n, const struct net_facts *f, const struct rules_verdict *v, bool *allow, uint32_t *ask);
void waiter_leave(struct waiter *w);
void question_answer(struct net *n, const struct net_answer *a);
/* The rules have changed: questions they decide now end. */
void questions_ruled(struct net *n);
/* All of them, to a new supervisor. */
void questions_tell(struct net *n);
/* The machine is gone. */
void questions_end(struct net *n);

/* publish.c */
void publish_take(struct net *n, uint32_t id, uint16_t guest_port, int listener);
void unpublish(struct net *n, uint32_t id);
/* The machine's answer; fd -1: refused. Takes fd. False: no token of a published connection. */
bool publish_dialed_take(struct net *n, uint32_t token, int fd);
void publish_end(struct net *n);

#endif
