/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which address stands for which name. Every name that is asked for gets an address of 198.18.0.0/15 (RFC 2544's range, which leads
 * nowhere) for as long as somebody may use it: an address is taken back only from a name that was not asked for and had no connection for
 * NAMES_KEEP_MS, and given to another only when all the others were given since. What connects to an address that stands for nothing has no name.
 * In memory only; host byte order.
 */
#ifndef BULKHEAD_GUEST_NAMES_H
#define BULKHEAD_GUEST_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#define NAMES_NET 0xC6120000u  /* 198.18.0.0 */
#define NAMES_SIZE 0x20000u    /* of a /15 */
#define NAMES_KEPT 256u        /* the first addresses are never given away: the agent's own are among them */
#define NAMES_SELF (NAMES_NET + 1u) /* 198.18.0.1 */
#define NAMES_MAX 16384u       /* remembered at once */
#define NAMES_KEEP_MS 300000u

/* Of a legal name (net_name_legal): its address; -ENOSPC when NAMES_MAX names are in use, -ENOMEM. */
int names_addr(const char *name, uint64_t now_ms, uint32_t *addr);
/* What it stands for, NULL nothing; valid until the next names_addr(). */
const char *names_of(uint32_t addr);
/* A connection to it begins / ends: in between it is not taken back. Addresses that stand for nothing are fine. */
void names_hold(uint32_t addr);
void names_drop(uint32_t addr, uint64_t now_ms);
static inline bool names_is_ours(uint32_t addr) { return addr - NAMES_NET < NAMES_SIZE; }

#endif
