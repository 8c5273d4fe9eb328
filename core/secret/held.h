/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A secret value in memory: pages of its own that are locked, in no core dump and in no forked child, and zeroed before they go. Where the
 * kernel does not lock (RLIMIT_MEMLOCK) the value is held all the same; held_locked() says so once for all.
 */
#ifndef BULKHEAD_SECRET_HELD_H
#define BULKHEAD_SECRET_HELD_H

#include <stdbool.h>
#include <stddef.h>

#define HELD_MAX 8191u /* bytes of a value, without its NUL: what fits struct net_secret */

struct held;

/* Room for `cap` bytes and a NUL; empty. NULL when out of memory. */
struct held *held_create(size_t cap);
void held_destroy(struct held **h); /* wipes; *h = NULL; NULL is fine */
/* A copy of p[0..n); NULL when out of memory. */
struct held *held_copy(const void *p, size_t n);
const char *held_text(const struct held *h); /* NUL-terminated; "" for NULL */
size_t held_size(const struct held *h);
/* For filling by read(): room at its end, and how much was put there. */
char *held_tail(struct held *h, size_t *room);
void held_grew(struct held *h, size_t n);
/* Drops one line break at the end. */
void held_chomp(struct held *h);
bool held_equal(const struct held *a, const struct held *b);
/* 0; -EINVAL with a reason ("it is empty", ...) for what cannot stand in a header: empty, over HELD_MAX, control characters. */
int held_check(const struct held *h, const char **why);
/* "sk-…3f", or "…" for a short one. */
void held_mask(const struct held *h, char *dst, size_t cap);
bool held_locked(void); /* false once some page could not be locked */

#endif
