/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two streams joined: what comes in here goes out there, as fast as the slower one takes it, each direction ending by itself. Holds at
 * most RELAY_BUF a direction and side.
 */
#ifndef BULKHEAD_NETPOLICY_RELAY_H
#define BULKHEAD_NETPOLICY_RELAY_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct relay;
/* Both ended in order (why 0) or one broke (-errno); once; relay_close() is still to be called. */
typedef void (*relay_done)(void *arg, int why);

/*
 * Takes both descriptors. `first`: bytes read from a already, that b gets before all others (at most RELAY_BUF); `head`: bytes that a gets
 * before all others.
 */
int relay_open_take(struct relay **out, uv_loop_t *loop, int a, int b, const void *first, size_t nfirst, const void *head, size_t nhead,
		    relay_done fn, void *arg);
/* Bytes from a to b, and back. */
void relay_counts(const struct relay *r, uint64_t *ab, uint64_t *ba);
/* Ends both at once; *r = NULL; NULL is fine. */
void relay_close(struct relay **r);

#endif
