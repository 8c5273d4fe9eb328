/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection of the guest whose requests are looked at: TLS opened with a leaf certificate, or HTTP in clear.
 *
 * conn.c has read the name (SNI, Host), found it to be the claimed one and the rules not to deny the host; it hands over the guest's stream with
 * the bytes it peeked still in it. From then on every request is decided by itself, with method and path, before anything goes to the
 * server: the first connection upstream is asked for when the first request was allowed. HTTP/1.1 and HTTP/2 toward the guest (ALPN), either
 * toward the server, in any combination; WebSocket, SSE, trailers, 100-continue; CONNECT refused; another host than the connection's is a
 * 421. Bodies stream with back-pressure: at most OPENED_BUFFER bytes a direction and request are held, and 4 windows of OPENED_BUFFER a wire.
 *
 * All callbacks come from the loop, never from inside opened_start(), and may answer at once. Tokens are never reused within a connection;
 * an answer to a token that is gone is ignored. opened_close() may be called from on_end and from outside, not from the other callbacks.
 * Single-threaded.
 */
#ifndef BULKHEAD_NETPOLICY_OPENED_H
#define BULKHEAD_NETPOLICY_OPENED_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "core/loop/stream.h"
#include "core/proto/net.h"
#include "netpolicy/inject.h"
#include "netpolicy/tls.h"

#define OPENED_BUFFER (64u * 1024u)
#define OPENED_STREAMS_MAX 100u   /* requests at once on one connection (HTTP/2) */
#define OPENED_UPSTREAMS_MAX 16u  /* connections to the server at once, for one of the guest's */

struct opened;

struct opened_ops {
	/* May this request go on? Answer with opened_decided(). facts live for the call. */
	void (*decide)(void *arg, uint64_t token, const struct net_facts *facts);
	/* Nobody waits for that answer any more: an ask is to be withdrawn. */
	void (*undecide)(void *arg, uint64_t token);
	/* A connection to the server at opts.name/addr:opts.port is wanted (resolved, checked, connected by conn.c). Answer with opened_connected(). */
	void (*connect)(void *arg, uint64_t token);
	void (*unconnect)(void *arg, uint64_t token);
	/*
	 * NET_E_DECIDED for refusals made here (421, 400, a server whose address is forbidden) and for each request that decide() allowed, when it
	 * goes to the server, or it is known that it will not get there: what decide() refused or asks about it has recorded itself. NET_E_CLOSED for each
	 * request with bytes, time and status, NET_E_INJECTED, NET_E_ALARM. Filled: all but conn and who, which are the caller's. False: it was not
	 * kept, so what it records must not happen.
	 */
	bool (*record)(void *arg, struct net_record *r);
	/* All is over; opened_close() is to be called. why: 0 in order, else -errno; text a phrase ("TLS failed: unknown ca"). */
	void (*on_end)(void *arg, int why, const char *text);
};

struct opened_opts {
	uv_loop_t *loop;
	struct stream *guest;      /* taken in any case; in_max and out_max at least WIRE_BUFFER; NETC_GO already written */
	bool tls;
	const char *name;          /* of the server, lower case; "" for a raw address (in clear only) */
	struct net_addr addr;      /* where the guest connected to; used when name is "" */
	uint16_t port;
	const char *sandbox;       /* its name, for the page of a denial; must outlive the connection */
	struct tls_env *env;       /* borrowed; NULL only when !tls */
	struct inject *inject;     /* borrowed; NULL: none */
	const struct opened_ops *ops;
	void *arg;
};

/* 0 or -errno (then nothing is called and the guest's stream is closed). */
int opened_start(struct opened **out, const struct opened_opts *o);
/* verdict NET_ALLOW or NET_DENY; rule, scope, ask as in struct net_record, for the page and the closing record. */
void opened_decided(struct opened *o, uint64_t token, uint8_t verdict, const char *rule, const char *scope, uint32_t ask);
/*
 * fd taken, and where it leads; or -errno with a phrase ("connection refused"): the request gets a 502. deny: a 403 and a record that say so ("its
 * address is private address", `to`: which).
 */
void opened_connected(struct opened *o, uint64_t token, int fd, const struct net_addr *to, bool deny, const char *text);
/* The rules have changed: connections to servers for whose address (`to` of opened_connected) fn says no are ended, and what goes over them. */
void opened_recheck(struct opened *o, bool (*fn)(void *arg, const struct net_addr *to));
/* No new request is taken, those at work go on; then on_end. For a change of the rules, or the end of the machine with `now`. */
void opened_drain(struct opened *o, bool now);
/* At once, without callbacks (open tokens are forgotten silently); *o = NULL; NULL is fine. */
void opened_close(struct opened **o);
/* Bytes so far, ciphertext excluded. */
void opened_bytes(const struct opened *o, uint64_t *in, uint64_t *out);

#endif
