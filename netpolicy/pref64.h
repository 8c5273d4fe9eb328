/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The NAT64 prefixes of the network this host is in (RFC 7050: what its resolver makes of ipv4only.arpa): behind an address in one of them lies an
 * IPv4 address, to which a translator that may stand inside would carry the connection. Looked up by this host's resolver when the process begins and,
 * while names are resolved, again every PREF64_AGAIN_MS; the last answer holds meanwhile. The guest has no part in it. The prefixes that are the same everywhere
 * (RFC 6052, 8215) are core/policy/addr.h's.
 */
#ifndef BULKHEAD_NETPOLICY_PREF64_H
#define BULKHEAD_NETPOLICY_PREF64_H

#include <stdbool.h>
#include <stddef.h>

#include "core/proto/netconn.h"

#define PREF64_MAX 8u                /* prefixes; a network has one or two */
#define PREF64_AGAIN_MS 600000u
#define PREF64_RETRY_MS 60000u       /* no answer */
#define PREF64_FIRST_MS 3000u        /* the first answer is awaited by who would connect over IPv6; no longer */

struct net;
struct pref64;

/* Begins to look up; 0 or -ENOMEM. After dns_open(); n->rules may be NULL. */
int pref64_open(struct net *n);
/* Looks up again when it is time to. */
void pref64_fresh(struct net *n);
/* The first answer is there, or none came in its time. */
bool pref64_known(const struct net *n);
/* The i-th IPv4 address (mapped) that lies in *a by one of the prefixes; false: there are no more. */
bool pref64_inner(const struct net *n, const struct net_addr *a, size_t i, struct net_addr *inner);

#endif
