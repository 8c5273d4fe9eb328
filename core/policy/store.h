/* SPDX-License-Identifier: Apache-2.0 */
/* Inside core/policy: the table of rules and its index. */
#ifndef BULKHEAD_POLICY_STORE_H
#define BULKHEAD_POLICY_STORE_H

#include "core/policy/rules.h"

#define STORE_NONE UINT32_MAX

/*
 * Rules lie in the order they were added. Those of a name hang in chains by the hash of it without its wildcard, those of a range by the hash of its
 * first address; for a lookup every suffix of a name (at most 127) and every length of prefix in use is one probe. What matches any
 * host has a chain of its own. A chain may hold rules of other hosts: who walks it checks host_match().
 */
struct rules {
	struct rule *v;
	uint32_t *next; /* of the same chain */
	uint32_t n, cap;
	uint32_t *head; /* nheads, a power of two */
	uint32_t nheads;
	uint32_t any;      /* chain */
	uint8_t bits[17];  /* lengths of prefix in use, a bit each */
	bool unattended, admin_default_set;
	bool admin_bound;  /* the administrator has an ask or allow rule */
	uint8_t def, def_scope, admin_def;
};

uint32_t store_name_head(const struct rules *rs, const char *name);
uint32_t store_net_head(const struct rules *rs, const struct net_addr *a, unsigned bits);

#endif
