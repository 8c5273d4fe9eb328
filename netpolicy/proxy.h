/* SPDX-License-Identifier: Apache-2.0 */
/* What the host's environment says of its proxy: HTTPS_PROXY and NO_PROXY. Pure. */
#ifndef BULKHEAD_NETPOLICY_PROXY_H
#define BULKHEAD_NETPOLICY_PROXY_H

#include <stdbool.h>
#include <stdint.h>

#include "core/proto/netconn.h"

/* user: "name:password" with its percent signs undone, "" none; a secret like any other. */
struct proxy_url { char host[NET_NAME_MAX]; uint16_t port; char user[256]; };
/* "[http://][user:password@]host[:80][/]", host a name, an address or [IPv6]. False: not of that form (another scheme, too long). */
bool proxy_url_parse(struct proxy_url *p, const char *text);
/* Does NO_PROXY ("a.example,.b.example,198.51.100.0/24,*") except this host? Names by suffix, addresses (name is "") literally or by CIDR. */
bool no_proxy_match(const char *list, const char *name, const struct net_addr *addr);

#endif
