/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials: the only file that sees one. Knows lists of header fields and runs of body bytes, nothing of HTTP's framing, so that it can
 * become a process of its own.
 *
 * Values lie in pages that are locked, left out of core dumps and of forked children, and wiped. They go only to hosts of their own list and
 * only inside TLS. Toward any other host even the placeholder is refused, in fields, target and body: somebody tries to carry a credential
 * out. Bodies toward hosts that get some credential are not searched: an agent that shows its environment to its model provider shows all
 * placeholders, which are worth nothing outside, and would say so again in every later request.
 * What an origin echoes is masked in header fields and bodies, wherever it stands as it is; a request that got a value asks for an identity-coded
 * answer, so that it does.
 */
#ifndef BULKHEAD_NETPOLICY_INJECT_H
#define BULKHEAD_NETPOLICY_INJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/proto/net.h"
#include "netpolicy/headers.h"

#define INJECT_SECRETS_MAX 64u
#define INJECT_VALUE_MIN 4u  /* shorter values are injected but not masked: they would blot out ordinary text */
#define INJECT_CODED_MIN 12u /* the same of a body that says it is coded: nothing shorter is looked for in what may be any bytes */
#define WATCH_MIN 8u         /* shorter placeholders are not looked for in bodies */
#define MASK_HOLD_MAX 12288u /* most bytes a mask holds back: less than the longest form of a value */

struct inject;

int inject_create(struct inject **out); /* 0 or -ENOMEM */
void inject_destroy(struct inject **in); /* masks made from it live on */
/*
 * Adds a secret or replaces the one of its id; *m is borrowed (the caller wipes it). 0; -EINVAL: an illegal header name, a value with control
 * characters, no value, a format without %s; -ENOSPC; -ENOMEM. On failure one of the same id is gone: rather none than an old one.
 */
int inject_set(struct inject *in, const struct net_secret *m);
void inject_drop(struct inject *in, uint32_t id);
/* False when the kernel did not lock some page (RLIMIT_MEMLOCK): to be told at start-up. */
bool inject_locked(const struct inject *in);
/* Some secret goes to this host: its TLS must be opened. */
bool inject_wants(const struct inject *in, const char *host, uint16_t port);

#define INJECT_SERVICES 4u
struct inject_report {
	uint8_t ndone;                          /* services whose value was put in, at most INJECT_SERVICES are named */
	char done[INJECT_SERVICES][64];
	bool alarm;                             /* a placeholder was on its way to a host not its own (or in clear) */
	char service[64], where[64];            /* of the alarm: whose, and in which field ("target" for the path) */
};
/*
 * A request to host:port with fields h and target *target (malloc'ed; replaced when a placeholder stands in its query). `secure`: inside TLS.
 * 0: see *rep; with an alarm nothing was changed and the request must not be sent. -E2BIG or -ENOMEM: must not be sent either.
 */
int inject_request(const struct inject *in, const char *host, uint16_t port, bool secure, struct headers *h, char **target, struct inject_report *rep);
/* The same search alone, for a request that is not decided yet and for trailers (target NULL): true and *rep when it must be refused. */
bool inject_alarm(const struct inject *in, const char *host, uint16_t port, bool secure, const struct headers *h, const char *target,
		  struct inject_report *rep);

/* The i-th secret's, false beyond the last; "" none. They live until the secrets change. */
bool inject_placeholder(const struct inject *in, size_t i, const char **placeholder, const char **service);

/* watch.c. Looks for placeholders in a request's body, over any cut into pieces; *out is NULL (and 0) when there is nothing to look for on the way to this host. */
struct watch;
int watch_create(struct watch **out, const struct inject *in, const char *host, uint16_t port, bool secure);
void watch_destroy(struct watch **w);
/* Whose placeholder ends within these bytes, or NULL. */
const char *watch_feed(struct watch *w, const uint8_t *p, size_t n);

/* Masks every secret of one host; *out is NULL (and 0) when there is none. */
struct mask;
int mask_create(struct mask **out, const struct inject *in, const char *host, uint16_t port);
void mask_destroy(struct mask **m);
void mask_headers(const struct mask *m, struct headers *h);
/* The body says that it is coded. That is a claim (a guest may have asked the origin to make it): only what coded bytes could hold by chance is let be. */
void mask_coded(struct mask *m);
/* Appends to `out` what is sure; room for n + mask_held() must be there. 0, -ENOMEM, -ENOBUFS. */
int mask_feed(struct mask *m, const uint8_t *p, size_t n, struct buf *out);
int mask_end(struct mask *m, struct buf *out);
size_t mask_held(const struct mask *m);

#endif
