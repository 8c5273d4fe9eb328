/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP of the sandbox on its way to the host (core/proto/netconn.h): every connection that net.h's rules turn to us becomes a channel
 * stream to NETCONN_PORT. More than REDIRECT_MAX at once, and those the host refuses, are reset.
 */
#ifndef BULKHEAD_GUEST_REDIRECT_H
#define BULKHEAD_GUEST_REDIRECT_H

#define REDIRECT_MAX 5000u

/* 0 or -errno when not even IPv4's socket could be made. */
int redirect_start(void);

#endif
