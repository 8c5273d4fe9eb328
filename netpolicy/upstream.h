/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way to a server: resolve the name, refuse every address that is forbidden and not named literally by a rule, connect to one of
 * those left, and to nothing else. With a proxy of the host's (HTTPS_PROXY) the way is its CONNECT, and it resolves names. What can be known
 * here is looked at before: a name that means something else there than here (host_is_local) needs a rule that names it; a name that is known
 * here too must not have any forbidden address. A proxy may still be told another address than we are: what it lets through is its own affair.
 * Nothing is called back from within upstream_open().
 */
#ifndef BULKHEAD_NETPOLICY_UPSTREAM_H
#define BULKHEAD_NETPOLICY_UPSTREAM_H

#include "netpolicy/net.h"

struct upstream;

enum upstream_end {
	UPSTREAM_OK,
	UPSTREAM_FORBIDDEN, /* every address is: `why` says what it is */
	UPSTREAM_FAILED     /* no such name, refused, no answer: `why` */
};
/*
 * UPSTREAM_OK: fd (the callee's) and the address connected to (all zero through a proxy). UPSTREAM_FORBIDDEN: the address that is (all zero: the name
 * itself is). The upstream is released before the call.
 */
typedef void (*upstream_done)(void *arg, enum upstream_end end, int fd, const struct net_addr *to, const char *why);

/* 0 or -ENOMEM. *out must live until fn was called (it is NULL then) or upstream_close(). */
int upstream_open(struct upstream **out, struct net *n, const struct net_facts *f, upstream_done fn, void *arg);
void upstream_close(struct upstream **u);

/*
 * May a connection of these facts not be one with this address, by the rules as they are now? `why` says what it is ("private address", "denied one
 * (deny 192.0.2.0/24)").
 */
bool upstream_refuses(const struct net *n, const struct net_facts *f, const struct net_addr *to, char why[static 160]);
/* The same of the address that UPSTREAM_OK told, where all zero stands for the host's proxy and not for the address "::". */
bool upstream_refuses_now(const struct net *n, const struct net_facts *f, const struct net_addr *to, char why[static 160]);

/* Notes this host's own addresses: what listens on them is as near as loopback, and as forbidden. Before the process is sealed. */
void upstream_init(struct net *n);

#endif
