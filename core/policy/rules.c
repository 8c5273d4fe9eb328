/* SPDX-License-Identifier: Apache-2.0 */
#include "core/policy/rules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/policy/addr.h"
#include "core/policy/store.h"

#define HEADS_MIN 64u

struct rules *rules_create(void)
{
	struct rules *rs = calloc(1, sizeof(*rs));

	if (rs) {
		rs->any = STORE_NONE;
		rs->def = NET_ASKED;
		rs->def_scope = RULE_BUILTIN;
	}
	return rs;
}

void rules_destroy(struct rules *rs)
{
	if (!rs)
		return;
	free(rs->v);
	free(rs->next);
	free(rs->head);
	free(rs);
}

/* FNV-1a: rules are the person's own, nobody else chooses what collides. */
static uint32_t hash(const void *p, size_t n, uint32_t h)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i++)
		h = (h ^ b[i]) * 16777619u;
	return h ^ h >> 15;
}

static uint32_t hash_name(const char *name)
{
	return hash(name, strlen(name), 2166136261u);
}

static uint32_t hash_net(const struct net_addr *first, unsigned bits)
{
	return hash(first->b, sizeof(first->b), 2166136261u ^ bits << 8);
}

uint32_t store_name_head(const struct rules *rs, const char *name)
{
	return rs->nheads ? rs->head[hash_name(name) & (rs->nheads - 1)] : STORE_NONE;
}

uint32_t store_net_head(const struct rules *rs, const struct net_addr *a, unsigned bits)
{
	const struct net_addr first = addr_first(a, bits);

	return rs->nheads ? rs->head[hash_net(&first, bits) & (rs->nheads - 1)] : STORE_NONE;
}

static void hang(struct rules *rs, uint32_t i)
{
	const struct host_pattern *h = &rs->v[i].host;
	uint32_t *chain = &rs->any;

	if (h->kind == HOST_NET) {
		chain = &rs->head[hash_net(&h->net, h->bits) & (rs->nheads - 1)];
		rs->bits[h->bits / 8] |= (uint8_t)(1u << (h->bits % 8));
	} else if (h->kind != HOST_ANY) {
		chain = &rs->head[hash_name(h->name) & (rs->nheads - 1)];
	}
	rs->next[i] = *chain;
	*chain = i;
}

static int grow(struct rules *rs)
{
	const uint32_t cap = rs->cap ? rs->cap * 2 : HEADS_MIN;
	uint32_t *head = malloc(cap * sizeof(*head));

	if (!head)
		return -ENOMEM;
	memset(head, 0xff, cap * sizeof(*head)); /* STORE_NONE */
	struct rule *v = realloc(rs->v, cap * sizeof(*v));
	if (v)
		rs->v = v;
	uint32_t *next = realloc(rs->next, cap * sizeof(*next));
	if (next)
		rs->next = next;
	if (!v || !next) {
		free(head);
		return -ENOMEM;
	}
	free(rs->head);
	rs->head = head;
	rs->nheads = rs->cap = cap;
	rs->any = STORE_NONE;
	for (uint32_t i = 0; i < rs->n; i++)
		hang(rs, i);
	return 0;
}

int rules_add(struct rules *rs, const struct rule *r, struct err *e)
{
	struct err local = ERR_INIT;

	if (rule_check(r, e ? e : &local))
		return -EINVAL;
	if (rs->n == RULES_MAX)
		return err_set(e, ENOSPC, "more than %u rules", RULES_MAX);
	if (rs->n == rs->cap && grow(rs))
		return err_set(e, ENOMEM, "out of memory");
	rs->v[rs->n] = *r;
	hang(rs, rs->n++);
	if (r->scope == RULE_ADMIN && r->verdict != NET_DENY)
		rs->admin_bound = true;
	return 0;
}

void rules_default(struct rules *rs, enum net_verdict v, enum rule_scope scope)
{
	rs->def = (uint8_t)v;
	rs->def_scope = (uint8_t)scope;
}

void rules_admin_default(struct rules *rs, enum net_verdict v)
{
	rs->admin_default_set = true;
	rs->admin_def = (uint8_t)v;
}

void rules_unattended(struct rules *rs, bool on)
{
	rs->unattended = on;
}

enum net_verdict rules_default_of(const struct rules *rs, enum rule_scope *scope)
{
	*scope = rs->def_scope;
	return rs->def;
}

size_t rules_count(const struct rules *rs)
{
	return rs->n;
}

const struct rule *rules_at(const struct rules *rs, size_t i)
{
	return i < rs->n ? &rs->v[i] : NULL;
}
