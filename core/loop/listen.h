/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listening socket on the loop. Of a Unix socket only peers of our own uid are handed on (SO_PEERCRED), of a TCP socket all; at most 8 a wake-up. When
 * descriptors run out it rests for 200 ms instead of spinning.
 */
#ifndef BULKHEAD_LOOP_LISTEN_H
#define BULKHEAD_LOOP_LISTEN_H

#include <stdbool.h>
#include <uv.h>

struct listener;
/* Takes fd in any case. on_accept owns the connection it gets (non-blocking, CLOEXEC). */
int listener_open_take(struct listener **out, uv_loop_t *loop, int fd, void (*on_accept)(void *arg, int fd), void *arg);
void listener_close(struct listener **l);

#endif
