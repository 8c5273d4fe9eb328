/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sandbox's network without a network: an interface that leads nowhere carries the default routes, and nftables turns what would
 * leave by it to the agent.
 *
 *   TCP, of the guest and of every container, IPv4 and IPv6   redirect.h, one channel stream a connection
 *   port 53 of any address, UDP and TCP                       dnsstub.h
 *   anything else (UDP, ICMP, ...)                            refused at once (administratively prohibited)
 *
 * Loopback, the guest's own addresses and docker's networks among themselves are left alone. Taking the rules away (root in the guest may)
 * makes nothing reachable: there is no way out but the channel.
 */
#ifndef BULKHEAD_GUEST_NET_H
#define BULKHEAD_GUEST_NET_H

#include <stdbool.h>
#include <sys/types.h>

#define NET_SELF_V4 "198.18.0.1" /* NAMES_SELF: the name server */
#define NET_SELF_V6 "fd62:6b68::1"
#define NET_REDIRECT_PORT 3129u

/*
 * Interface, routes, rules, name server, redirection; after loop_init(). What fails is logged, and then nothing leaves. `ready` is called once,
 * from the loop, when the rules stand or will not: a connection of before waits in its client's kernel and is tried again.
 */
void net_start(void (*ready)(void));
/* `ready` was called: before that no session begins. */
bool net_is_ready(void);
/* A process was reaped; true if it was ours. */
bool net_reaped(pid_t pid, int status);

/* A listening or datagram socket on our own address (v4: else v6), which need not be there yet. -errno. */
int net_socket(bool v4, int type, unsigned port);

#endif
