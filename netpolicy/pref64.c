/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 7050, section 3: ipv4only.arpa has two IPv4 addresses and no IPv6 one; an IPv6 answer is a prefix with one of these in it. */
#include "netpolicy/pref64.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/str.h"
#include "core/policy/addr.h"
#include "netpolicy/dns.h"
#include "netpolicy/net.h"

#define KNOWN_NAME "ipv4only.arpa"

struct prefix {
	struct net_addr net;
	unsigned bits;
};

struct pref64 {
	struct dns_query *query;
	uint64_t since_ms, again_ms;
	bool answered;
	struct prefix v[PREF64_MAX];
	size_t n;
};

static bool is_known(const struct net_addr *v4)
{
	static const uint8_t known[] = { 192, 0, 0, 170 };

	return memcmp(v4->b + 12, known, 3) == 0 && (v4->b[15] == known[3] || v4->b[15] == known[3] + 1);
}

static void add(struct prefix *v, size_t *n, const struct net_addr *a, unsigned bits)
{
	const struct prefix p = { .net = addr_first(a, bits), .bits = bits };

	for (size_t i = 0; i < *n; i++)
		if (v[i].bits == bits && memcmp(&v[i].net, &p.net, sizeof(p.net)) == 0)
			return;
	if (*n < PREF64_MAX)
		v[(*n)++] = p;
}

static void log_prefixes(const struct pref64 *p)
{
	char text[ADDR_TEXT_MAX];

	for (size_t i = 0; i < p->n; i++) {
		addr_text(&p->v[i].net, text);
		log_info("this network's NAT64 prefix is %s/%u: what it leads to is judged by the IPv4 address inside", text, p->v[i].bits);
	}
	if (p->n == 0)
		log_info("this network has no NAT64 prefix any more");
}

static void on_answer(void *arg, const struct net_addr *a, size_t n, const char *why)
{
	struct net *net = arg;
	struct pref64 *p = net->pref64;
	struct prefix found[PREF64_MAX] = { 0 };
	struct net_addr inner;
	size_t nfound = 0;

	(void)why;
	p->query = NULL;
	p->answered = true;
	p->again_ms = clock_ms() + (n > 0 ? PREF64_AGAIN_MS : PREF64_RETRY_MS);
	if (n == 0) /* no resolver, or one that keeps the name to itself: what was known stays */
		return;
	for (size_t i = 0; i < n; i++)
		for (unsigned k = 0; k < ARRAY_SIZE(addr_nat64_bits); k++)
			if (addr_nat64_inner(&a[i], addr_nat64_bits[k], &inner) && is_known(&inner))
				add(found, &nfound, &a[i], addr_nat64_bits[k]);
	if (nfound == p->n && memcmp(found, p->v, sizeof(found)) == 0)
		return;
	memcpy(p->v, found, sizeof(found));
	p->n = nfound;
	log_prefixes(p);
	if (net->rules)
		conns_ruled(net);
}

static void look(struct net *n)
{
	struct pref64 *p = n->pref64;

	if (dns_resolve(n->dns, KNOWN_NAME, &p->query, on_answer, n) < 0)
		p->again_ms = clock_ms() + PREF64_RETRY_MS;
}

int pref64_open(struct net *n)
{
	if (!(n->pref64 = calloc(1, sizeof(*n->pref64))))
		return -ENOMEM;
	n->pref64->since_ms = clock_ms();
	look(n);
	return 0;
}

void pref64_fresh(struct net *n)
{
	if (n->pref64 && !n->pref64->query && clock_ms() >= n->pref64->again_ms)
		look(n);
}

bool pref64_known(const struct net *n)
{
	return !n->pref64 || n->pref64->answered || clock_ms() - n->pref64->since_ms > PREF64_FIRST_MS;
}

bool pref64_inner(const struct net *n, const struct net_addr *a, size_t i, struct net_addr *inner)
{
	const struct pref64 *p = n->pref64;

	for (size_t k = 0; p && k < p->n; k++)
		if (addr_prefix_equal(a, &p->v[k].net, p->v[k].bits) && addr_nat64_inner(a, p->v[k].bits, inner) && i-- == 0)
			return true;
	return false;
}
