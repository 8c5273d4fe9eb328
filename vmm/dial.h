/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the rest of the host reaches the guest. Inside: a dial socket (core/proto/child.h), over which a service asks for a guest port and
 * gets one end of a socketpair. Outside, for tools and tests: the hybrid-vsock form, "CONNECT <port>\n" answered by "OK <n>\n" on a
 * Unix socket. Both end in the channel's streams.
 */
#ifndef BULKHEAD_VMM_DIAL_H
#define BULKHEAD_VMM_DIAL_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "vmm/channel.h"

struct dial;
/* A service that may reach guest ports [port_min, port_max]. Takes fd. The owner replaces a dead service by closing and opening again. */
int dial_open_take(struct dial **out, uv_loop_t *loop, int fd, struct channel *m, uint32_t gen, uint32_t port_min, uint32_t port_max);
/* The service also takes what the guest opens to host ports [port_min, port_max] (DIAL_IN). Once. 0 or -errno. */
int dial_listen(struct dial *d, uint32_t port_min, uint32_t port_max);
void dial_close(struct dial **d);

#define HYBRID_LINE_MAX 32u  /* "CONNECT 4294967295\n" and to spare */
#define HYBRID_CONNS_MAX 64u /* connections that have not been joined yet */

struct hybrid;
/* Takes the listening socket. */
int hybrid_open_take(struct hybrid **out, uv_loop_t *loop, int listener, struct channel *m);
void hybrid_close(struct hybrid **h);
/* 0 and the port; -EAGAIN no newline yet; -EBADMSG. *used counts the line with its newline. Pure. */
int hybrid_parse(const char *p, size_t n, uint32_t *port, size_t *used);

#endif
