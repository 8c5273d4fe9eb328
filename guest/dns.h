/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the sandbox's name server answers (RFC 1035, 6891, 8020, 9460). Nothing is resolved: every legal name of two labels or more has
 * an A record of its own (names.h); what it leads to is found out by the host when somebody connects, under the person's rules.
 *
 *   A                         the name's address
 *   AAAA, HTTPS, SVCB         no data, so that clients go on with A
 *   PTR                       of addresses given so: the name; of loopback: localhost; else NXDOMAIN
 *   localhost                 loopback
 *   one label, an address written as a name, .local .onion .invalid .arpa, what is no host name: NXDOMAIN
 *   any other type or class   REFUSED
 */
#ifndef BULKHEAD_GUEST_DNS_H
#define BULKHEAD_GUEST_DNS_H

#include <stddef.h>
#include <stdint.h>

#define DNS_ANSWER_MAX 768u /* no answer is longer */
#define DNS_TTL_S 30u

/*
 * The answer to a message from a client into out[DNS_ANSWER_MAX]: its length, or 0 for what gets none (no header, or an answer itself).
 * Asks names_addr(); else pure.
 */
size_t dns_answer(const uint8_t *p, size_t n, uint64_t now_ms, uint8_t out[DNS_ANSWER_MAX]);

#endif
