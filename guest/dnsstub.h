/* SPDX-License-Identifier: Apache-2.0 */
/* The sandbox's name server: dns.h behind UDP and TCP sockets on the agent's own addresses. Bounded: DNSSTUB_CONNS_MAX, DNSSTUB_IDLE_MS. */
#ifndef BULKHEAD_GUEST_DNSSTUB_H
#define BULKHEAD_GUEST_DNSSTUB_H

#define DNSSTUB_CONNS_MAX 64u
#define DNSSTUB_IDLE_MS 10000u
#define DNSSTUB_QUERY_MAX 1024u /* a longer one ends its connection */

/* 0 or -errno when not even IPv4's sockets could be made. */
int dnsstub_start(void);

#endif
