/* SPDX-License-Identifier: Apache-2.0 */
#include "core/review/live.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/review/host.h"

#define TRIES_MAX 200000u /* comparisons for what was renamed */

struct scan { struct ground *g; struct item *chain; size_t tries; };

static bool skip(void *arg, const char *path)
{
	const struct scan *s = arg;

	return items_hidden(s->g->hide, path) || items_of_git(s->g, path);
}

static bool remember(void *arg, const char *path, const struct stat *st)
{
	const struct scan *s = arg;

	return S_ISDIR(st->st_mode) || base_first(s->g->base, path, true) != NULL;
}

bool live_begin(struct ground *g, uint32_t gen)
{
	const uint8_t id[CHANGES_ID] = { 'l', 'i', 'v', 'e', (uint8_t)gen, (uint8_t)(gen >> 8), (uint8_t)(gen >> 16), (uint8_t)(gen >> 24) };
	struct scan s = { .g = g };
	const struct host_walk w = { .skip = skip, .fn = remember, .arg = &s, .most = g->most };
	bool all = true;

	/* A process of the same generation has taken it: what it did not have came later. */
	if (!base_layer(g->base, id))
		all = host_walk(g->root, "", &w) == 0;
	base_save(g->base);
	return all;
}

void live_release(struct item **chain)
{
	while (*chain) {
		struct item *i = *chain;

		*chain = i->next;
		free(i->c.path);
		free(i->c.from);
		free(i);
	}
}

static struct item *add(struct scan *s, const char *path, enum change_kind kind)
{
	struct item *i = calloc(1, sizeof(*i));

	if (!i || !(i->c.path = str_dup(path))) {
		free(i);
		return NULL;
	}
	i->c.kind = (uint8_t)kind;
	i->c.mark = items_mark(s->g, path);
	if (!utf8_clean(path))
		i->c.flags |= FLAG_NAME;
	i->c.theirs = i->c.ours = host_side(NULL);
	i->whole = true;
	i->next = s->chain;
	s->chain = i;
	return i;
}

static struct side side_of(const struct base_record *r)
{
	const struct stat st = { .st_mode = r->mode, .st_size = (off_t)r->size, .st_mtim = { .tv_sec = r->mtime_ns / 1000000000, .tv_nsec = r->mtime_ns % 1000000000 } };

	return host_side(&st);
}

static bool on_now(void *arg, const char *path, const struct stat *st)
{
	struct scan *s = arg;
	struct base_record *r = base_find(s->g->base, path);
	struct item *i;

	if (S_ISDIR(st->st_mode))
		return true;
	if (r)
		r->seen = true;
	if (r && r->exists && base_holds(s->g->base, r))
		return true;
	const bool was = r && r->exists;
	if (!(i = add(s, path, !was ? CHANGE_ADDED : (r->mode & S_IFMT) != (st->st_mode & S_IFMT) ? CHANGE_TYPE : CHANGE_MODIFIED)))
		return false;
	i->c.theirs = host_side(st);
	i->seen = *st;
	if (was)
		i->c.ours = side_of(r);
	if (S_ISREG(st->st_mode) && (st->st_mode & 06000))
		i->c.flags |= FLAG_SETID;
	if (!S_ISREG(st->st_mode) && !S_ISLNK(st->st_mode) && !S_ISDIR(st->st_mode))
		i->c.flags |= FLAG_DEVICE;
	if (i->c.theirs.size > CONTENT_MAX)
		i->c.flags |= FLAG_LARGE;
	return true;
}

static void on_before(void *arg, struct base_record *r)
{
	struct scan *s = arg;
	struct item *i;
	struct stat st;

	/* Not come upon: gone, unless there were more names than are looked at. */
	if (r->seen || !r->exists || (s->g->truncated && host_stat(s->g->root, r->path, &st) == 0) || !(i = add(s, r->path, CHANGE_DELETED)))
		return;
	i->c.ours = side_of(r);
	/* The very file under another name was moved. */
	for (struct item *k = s->chain; k && s->tries++ < TRIES_MAX; k = k->next)
		if (k->c.kind == CHANGE_ADDED && !k->c.from && k->seen.st_ino == r->ino && k->seen.st_dev == r->dev && S_ISREG(r->mode)) {
			k->c.kind = CHANGE_RENAMED;
			k->c.from = str_dup(r->path);
			i->same = true;
			break;
		}
}

struct item *live_scan(struct ground *g)
{
	struct scan s = { .g = g };
	const struct host_walk w = { .skip = skip, .fn = on_now, .arg = &s, .most = g->most };

	base_unsee(g->base);
	g->truncated = host_walk(g->root, "", &w) < 0;
	base_each(g->base, on_before, &s);
	return s.chain;
}
