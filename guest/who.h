/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose TCP connection is it? Asked of the kernel (sock_diag(7), cgroups) at the moment it is accepted: process, user, and the container
 * it runs in. Cheap: the socket's cgroup says among which few processes to look. A container's own network is found by its address and
 * remembered. What is not found stays 0 and "": nothing depends on it but what a person reads.
 */
#ifndef BULKHEAD_GUEST_WHO_H
#define BULKHEAD_GUEST_WHO_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/proto/netconn.h"

/* Fills pid, uid, comm, cmdline and container of m for the client's socket at `from` that connected to `to` (both of one family). */
void who_fill(const struct sockaddr_storage *from, const struct sockaddr_storage *to, struct netconn_open *m);
/*
 * Has the client closed its socket whole? One that only ended its direction still has an owner. False when that cannot be told. Only for
 * a connection that who_fill() has seen.
 */
bool who_closed(const struct sockaddr_storage *from, const struct sockaddr_storage *to);
/* "0::/docker/<64 hex>", or any path with such a part: the 64 digits into id[65]; "" otherwise. Pure. */
void who_container_id(const char *cgroup, char id[65]);
/* Arguments separated by NULs into one line of blanks, control characters too, cut. Pure. */
void who_cmdline(const char *p, size_t n, char *dst, size_t cap);

#endif
