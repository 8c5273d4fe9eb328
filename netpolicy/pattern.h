/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns of hosts in a secret's list: "name", "*.name" (one label before it), "**.name" (any number, at least one), each with ":port". Pure. */
#ifndef BULKHEAD_NETPOLICY_PATTERN_H
#define BULKHEAD_NETPOLICY_PATTERN_H

#include <stdbool.h>
#include <stdint.h>

/* `host` is lower case; the pattern is compared without case. A pattern of wildcards alone matches nothing: a credential has an address. */
bool pattern_matches(const char *pattern, const char *host, uint16_t port);

#endif
