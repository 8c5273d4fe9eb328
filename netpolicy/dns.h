/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names to addresses, asynchronously, by c-ares over sockets of this process. The configuration (resolv.conf, hosts) is read once, by
 * dns_open(), before the process is sealed. Answers are kept as long as they say, at most DNS_KEEP_S. Nothing of the guest is passed on but
 * the name, which net_name_legal() has passed.
 */
#ifndef BULKHEAD_NETPOLICY_DNS_H
#define BULKHEAD_NETPOLICY_DNS_H

#include <stddef.h>
#include <uv.h>

#include "core/base/err.h"
#include "core/proto/net.h"

#define DNS_ADDRS_MAX 16u
#define DNS_KEEP_S 300u

struct dns;
struct dns_query;

/* n addresses in the order in which they are to be tried; 0 of them and a sentence when there are none. */
typedef void (*dns_done)(void *arg, const struct net_addr *a, size_t n, const char *why);

/* `servers`: "address:port,..." instead of the host's resolvers; "" those. */
int dns_open(struct dns **out, uv_loop_t *loop, const char *servers, struct err *e);
/* fn is called later, never from within. 0 or -ENOMEM. */
int dns_resolve(struct dns *d, const char *name, struct dns_query **out, dns_done fn, void *arg);
/* fn is not called any more; *q = NULL; NULL is fine. */
void dns_cancel(struct dns_query **q);
void dns_close(struct dns **d);

#endif
