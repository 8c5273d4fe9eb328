/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses: text, ranges, and which of them no guest may reach. Pure; no allocation.
 *
 * IPv4 is always the mapped form in struct net_addr, so an IPv4-mapped IPv6 address is the IPv4 address it holds and is judged as that.
 */
#ifndef BULKHEAD_POLICY_ADDR_H
#define BULKHEAD_POLICY_ADDR_H

#include <stdbool.h>
#include <stdint.h>

#include "core/proto/netconn.h"

#define ADDR_TEXT_MAX 48u

bool addr_is_v4(const struct net_addr *a);
/* "192.0.2.1" (four decimal numbers, no leading zeros) or RFC 4291 text without zone; ::ffff:… in text is refused. 0 or -EINVAL. */
int addr_parse(const char *s, struct net_addr *a);
/* RFC 5952; IPv4 as dotted quad. */
void addr_text(const struct net_addr *a, char out[static ADDR_TEXT_MAX]);
/* The first `bits` (of 128) are the same. */
bool addr_prefix_equal(const struct net_addr *a, const struct net_addr *b, unsigned bits);
/* All bits from `bits` on zero (or one). */
struct net_addr addr_first(const struct net_addr *a, unsigned bits);
struct net_addr addr_last(const struct net_addr *a, unsigned bits);
/*
 * Refused after resolution: this network, private, CGNAT, loopback, link-local, metadata, IETF protocol assignments, benchmarking (the DNS
 * stub's own range), 6to4 relays, multicast, reserved, broadcast; in IPv6 unspecified, loopback, IPv4-compatible, NAT64, discard, ULA,
 * link-local, site-local, multicast, 6to4, Teredo, and ISATAP holding such an IPv4 address. A network's own NAT64 prefix is not known here
 * (netpolicy/pref64.h). The documentation ranges of RFC 5737 are not in the set. `why` (may be NULL) gets a constant like "private address".
 */
bool addr_forbidden(const struct net_addr *a, const char **why);
/* Lengths that a NAT64 prefix may have (RFC 6052, 2.2). */
extern const unsigned addr_nat64_bits[6];
/* The IPv4 address that lies in *a behind a NAT64 prefix of so many bits; false: none can (bits 64 to 71 are not zero), or no such length. */
bool addr_nat64_inner(const struct net_addr *a, unsigned bits, struct net_addr *v4);
/* A cloud's metadata service: only a rule for exactly this address lifts it. */
bool addr_is_metadata(const struct net_addr *a);

#endif
