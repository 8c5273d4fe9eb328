/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries that may be taken back stand in a queue, longest unused first; one with connections stands in none. Addresses are given in
 * rising order, round and round, so that the one given next is the one that was free for longest.
 */
#include "guest/names.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 16384u

struct entry {
	struct entry *next;            /* in its slot */
	struct entry *before, *behind; /* in the queue; NULL while held */
	uint64_t used_ms;
	uint32_t addr, held;
	char name[];
};

static struct {
	struct entry *slot[SLOTS];
	struct entry *of[NAMES_SIZE];
	struct entry *first, *last;
	uint32_t count, cursor;
} t;

static struct entry **find(const char *name)
{
	uint32_t h = 2166136261u;

	for (const char *p = name; *p; p++)
		h = (h ^ (uint8_t)*p) * 16777619u;
	struct entry **e = &t.slot[(h ^ h >> 16) % SLOTS];
	while (*e && strcmp((*e)->name, name) != 0)
		e = &(*e)->next;
	return e;
}

static void append(struct entry *e)
{
	e->before = t.last;
	e->behind = NULL;
	*(t.last ? &t.last->behind : &t.first) = e;
	t.last = e;
}

static void unlink_(struct entry *e)
{
	*(e->before ? &e->before->behind : &t.first) = e->behind;
	*(e->behind ? &e->behind->before : &t.last) = e->before;
}

static void use(struct entry *e, uint64_t now_ms)
{
	e->used_ms = now_ms;
	if (e->held > 0)
		return;
	unlink_(e);
	append(e);
}

/* Forgets the one unused for longest, if that is long enough. */
static bool take_back(uint64_t now_ms)
{
	struct entry *e = t.first;

	if (!e || now_ms - e->used_ms < NAMES_KEEP_MS)
		return false;
	unlink_(e);
	*find(e->name) = e->next;
	t.of[e->addr - NAMES_NET] = NULL;
	t.count--;
	free(e);
	return true;
}

int names_addr(const char *name, uint64_t now_ms, uint32_t *addr)
{
	struct entry *e = *find(name);
	const size_t n = strlen(name);

	if (!e) {
		if (t.count >= NAMES_MAX && !take_back(now_ms))
			return -ENOSPC;
		e = calloc(1, sizeof(*e) + n + 1);
		if (!e)
			return -ENOMEM;
		memcpy(e->name, name, n + 1);
		do
			t.cursor = t.cursor < NAMES_KEPT || t.cursor + 1 >= NAMES_SIZE - NAMES_KEPT ? NAMES_KEPT : t.cursor + 1;
		while (t.of[t.cursor]); /* NAMES_MAX is a part of them only */
		e->addr = NAMES_NET + t.cursor;
		t.of[t.cursor] = e;
		*find(name) = e;
		append(e);
		t.count++;
	}
	use(e, now_ms);
	*addr = e->addr;
	return 0;
}

static struct entry *at(uint32_t addr)
{
	return names_is_ours(addr) ? t.of[addr - NAMES_NET] : NULL;
}

const char *names_of(uint32_t addr)
{
	const struct entry *e = at(addr);

	return e ? e->name : NULL;
}

void names_hold(uint32_t addr)
{
	struct entry *e = at(addr);

	if (e && e->held++ == 0)
		unlink_(e);
}

void names_drop(uint32_t addr, uint64_t now_ms)
{
	struct entry *e = at(addr);

	if (!e || e->held == 0 || --e->held > 0)
		return;
	e->used_ms = now_ms;
	append(e);
}
