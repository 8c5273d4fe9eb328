/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Supervisor <-> bulkhead-net (child.h says how a child lives; types from 300 there). One process a sandbox and machine run.
 *
 * Rules come as a sealed memfd with what rules_pack() made (core/policy/rules.h), again on every change, with a rising version. Values of
 * secrets come in NET_SECRET, are kept in locked memory and never leave but toward the hosts of their rule. A connection that is to be
 * asked about is held; NET_ASK tells it, NET_ANSWER ends it. Every decision and every end of a connection is a NET_RECORD, from which the
 * supervisor alone writes the audit log. Strings from the guest are scrubbed by net, and again before they become JSON.
 */
#ifndef BULKHEAD_PROTO_NET_H
#define BULKHEAD_PROTO_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/rbuf.h"
#include "core/proto/netconn.h"

enum net_type {
	/* supervisor -> net */
	NET_START = 300,     /* struct net_start + descriptors enum net_fd */
	NET_DIAL = 301,      /* nothing + one descriptor: a new dial socket of the same machine (this process replaces one that died) */
	NET_RULES = 302,     /* u32 version + one descriptor: sealed memfd */
	NET_SECRET = 303,    /* struct net_secret; replaces the one of the same id */
	NET_SECRET_GONE = 304, /* u32 id */
	NET_ANSWER = 305,    /* struct net_answer */
	NET_LEAF = 306,      /* struct net_leaf */
	NET_PUBLISH = 307,   /* u32 id, u16 guest port + one descriptor: a listening TCP socket */
	NET_UNPUBLISH = 308, /* u32 id */
	NET_QUIT = 309,
	NET_RECORDED = 310,  /* u64 number: records up to it are written, or given up by who writes them */
	/* net -> supervisor */
	NET_READY = 320,     /* struct child_ready */
	NET_SYNCED = 321,
	NET_ASK = 322,       /* struct net_ask, again whenever its count changed (at most 4 a second) */
	NET_ASK_GONE = 323,  /* u32 id, u8 enum net_ask_end */
	NET_RECORD = 324,    /* struct net_record */
	NET_LEAF_ASK = 325,  /* struct net_leaf_ask */
	NET_LOST = 327,      /* u64 number, u64 count: that many records found no room before this one */
	NET_STATS = 326,     /* struct net_stats, at most once a second, when something changed */
};

enum net_fd { NET_FD_DIAL, NET_FD_LOG, NET_FD_NUM };

struct net_start {
	char name[64];            /* the sandbox's */
	uint32_t ask_ms;          /* how long a connection is held; 1000..3600000 */
	char https_proxy[512];    /* "http://[user:pass@]host:port" of the host's environment, "" none; a secret like any other */
	char no_proxy[1024];
	char dns[256];            /* resolvers to use, "198.51.100.53:5353,2001:db8::53"; "" the host's */
	char ca_file[1024];       /* more roots to trust (PEM) beside the system's store; "" none */
};
int net_start_pack(struct buf *b, const struct net_start *m);
int net_start_unpack(struct rbuf *r, struct net_start *m);

/* What a decision is about; also in asks and records. */
enum net_proto { NET_P_TCP, NET_P_TLS, NET_P_HTTP /* in clear */, NET_P_HTTPS /* opened TLS */, NET_P_NUM };
struct net_facts {
	uint8_t proto;            /* enum net_proto */
	uint16_t port;
	bool has_addr;            /* the client connected to a raw address (name is ""), or resolution is done */
	struct net_addr addr;
	char name[NET_NAME_MAX];  /* "" for a raw address */
	char method[24];          /* of HTTP, else "" */
	char path[1024];          /* target without the query's values; cut */
};
int net_facts_pack(struct buf *b, const struct net_facts *m);
int net_facts_unpack(struct rbuf *r, struct net_facts *m);

struct net_who { uint32_t pid, uid; char comm[64], cmdline[256], container[64]; };

enum net_verdict { NET_ALLOW, NET_DENY, NET_ASKED, NET_VERDICT_NUM };

struct net_ask {
	uint32_t id;              /* given by net, unique in its life */
	uint32_t count;           /* connections held; 0: whoever asked has given up, and is expected again */
	uint64_t since_ms;        /* wall clock */
	uint64_t until_ms;        /* when it is denied by itself */
	struct net_facts facts;   /* of the first of them */
	struct net_who who;
};
int net_ask_pack(struct buf *b, const struct net_ask *m);
int net_ask_unpack(struct rbuf *r, struct net_ask *m);
enum net_ask_end { NET_ASK_ANSWERED, NET_ASK_TIMED_OUT, NET_ASK_WITHDRAWN, NET_ASK_RULED /* a change of the rules decided it */, NET_ASK_END_NUM };

struct net_answer { uint32_t id; uint8_t verdict; /* NET_ALLOW, NET_DENY */ };
int net_answer_pack(struct buf *b, const struct net_answer *m);
int net_answer_unpack(struct rbuf *r, struct net_answer *m);

/*
 * A credential and where it may go. The placeholder is what the guest has; on a request to one of `hosts` the header is set to `format`
 * with %s replaced by the value (after any of that name was removed), and the placeholder is replaced wherever it stands in a header.
 */
#define NET_SECRET_HOSTS 16u
struct net_secret {
	uint32_t id;
	char service[64];
	uint16_t nhosts;
	char hosts[NET_SECRET_HOSTS][NET_NAME_MAX]; /* patterns as in rules */
	char header[64];          /* "" none: only the placeholder is replaced */
	char format[128];         /* "Bearer %s"; "basic:user" = Basic of user:%s */
	char placeholder[128];    /* "" none */
	char value[8192];         /* the secret; wipe after use */
};
int net_secret_pack(struct buf *b, const struct net_secret *m);
int net_secret_unpack(struct rbuf *r, struct net_secret *m);

/* A leaf certificate for `name`, made by the supervisor for a public key (SubjectPublicKeyInfo, DER) of net. */
struct net_leaf_ask { uint32_t token; char name[NET_NAME_MAX]; uint16_t nkey; uint8_t key[256]; };
int net_leaf_ask_pack(struct buf *b, const struct net_leaf_ask *m);
int net_leaf_ask_unpack(struct rbuf *r, struct net_leaf_ask *m);
struct net_leaf { uint32_t token; uint16_t ncert; uint8_t cert[2048]; /* DER; 0 bytes: refused */ };
int net_leaf_pack(struct buf *b, const struct net_leaf *m);
int net_leaf_unpack(struct rbuf *r, struct net_leaf *m);

enum net_event {
	NET_E_DECIDED,  /* allowed, denied or asked; with the rule */
	NET_E_CLOSED,   /* an allowed connection (or, opened, a request) ended: bytes and duration */
	NET_E_INJECTED, /* a credential was put into a request: service */
	NET_E_ALARM,    /* a placeholder was on its way to a host that is not its own; refused */
	NET_E_NUM
};
struct net_record {
	uint64_t number;          /* of NET_RECORD and NET_LOST together, rising by one in this process; kept by net until NET_RECORDED */
	uint8_t event, verdict;
	uint64_t conn;            /* number of the connection in this process, from 1 */
	uint32_t ask;             /* id of the ask that decided, 0 none */
	struct net_facts facts;
	struct net_who who;
	struct net_addr to;       /* address connected to; all zero none */
	char rule[160];           /* the rule as written, or the reason: "default", "private address", "Host is not the SNI" */
	char scope[16];           /* whose rule: "admin" "global" "sandbox" "built-in" "person" */
	char service[64];         /* INJECTED, ALARM */
	uint16_t status;          /* HTTP status sent to the guest, 0 */
	uint64_t in, out;         /* bytes from the guest, and to it */
	uint64_t ms;              /* since it was opened */
};
int net_record_pack(struct buf *b, const struct net_record *m);
int net_record_unpack(struct rbuf *r, struct net_record *m);

struct net_stats { uint32_t open, held; uint64_t conns, denied, in, out; };
int net_stats_pack(struct buf *b, const struct net_stats *m);
int net_stats_unpack(struct rbuf *r, struct net_stats *m);

#endif
