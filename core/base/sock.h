/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unix sockets by path, of any length the file system allows (a path over sun_path's 107 bytes goes through
 * /proc/self/fd/<directory>/name). Everything is CLOEXEC and non-blocking.
 */
#ifndef BULKHEAD_BASE_SOCK_H
#define BULKHEAD_BASE_SOCK_H

#include "core/base/err.h"

/* Listens at path (mode 0600); a stale socket there is replaced, anything else there is refused. type SOCK_STREAM or SOCK_SEQPACKET. fd or -errno. */
int sock_listen(const char *path, int type, struct err *e);
/* fd or -errno (-ENOENT, -ECONNREFUSED: nobody listens). */
int sock_connect(const char *path, int type, struct err *e);
/* Next connection of our own uid; others are closed unread. fd, -EAGAIN when there is none, -errno. */
int sock_accept(int listener);

#endif
