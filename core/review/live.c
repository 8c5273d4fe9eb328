/* SPDX-License-Identifier: Apache-2.0 */
#include "core/review/live.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/review/host.h"

#define TRIES_MAX 200000u /* comparisons for what was renamed */

struct scan { struct ground *g; struct item *chain; struct livewatch *watch; size_t tries; };

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

/* The very file under another name was moved: k is not new, and no line of it was added. */
static bool is_moved(struct scan *s, struct item *k, const struct base_record *r)
{
	if (s->tries++ >= TRIES_MAX || k->c.kind != CHANGE_ADDED || k->c.from || k->seen.st_ino != r->ino || k->seen.st_dev != r->dev || !S_ISREG(r->mode))
		return false;
	k->c.kind = CHANGE_RENAMED;
	k->c.from = str_dup(r->path);
	k->inspected = k->c.counted = k->c.binary = false;
	k->c.add = k->c.del = 0;
	return true;
}

/* What a file was before, if it is not there any more. */
static bool add_gone(struct scan *s, const struct base_record *r)
{
	struct item *i = add(s, r->path, CHANGE_DELETED);

	if (!i)
		return false;
	i->c.ours = side_of(r);
	for (struct item *k = s->chain; k && !i->same && s->tries < TRIES_MAX; k = k->next)
		i->same = is_moved(s, k, r);
	return true;
}

static void on_before(void *arg, struct base_record *r)
{
	const struct scan *s = arg;
	struct stat st;

	/* Not come upon: gone, unless there were more names than are looked at. */
	if (!r->seen && r->exists && !(s->g->truncated && host_stat(s->g->root, r->path, &st) == 0))
		add_gone(arg, r);
}

static bool on_dir(void *arg, const char *path, int fd)
{
	const struct scan *s = arg;

	if (s->watch)
		livewatch_dir(s->watch, path, fd);
	return true;
}

struct item *live_scan(struct ground *g, struct livewatch *watch)
{
	struct scan s = { .g = g, .watch = watch };
	const struct host_walk w = { .skip = skip, .fn = on_now, .dir = on_dir, .arg = &s, .most = g->most };

	if (watch)
		livewatch_begin(watch);
	base_unsee(g->base);
	g->truncated = host_walk(g->root, "", &w) < 0;
	if (watch)
		livewatch_end(watch);
	base_each(g->base, on_before, &s);
	return s.chain;
}

/* ---- a part of it ------------------------------------------------------------------------------------------------------------------ */

/* `full`: it is too much for a part. */
struct update { struct scan s; struct pathset *dirty; uint32_t names; bool full; };

static bool on_new(void *arg, const char *path, const struct stat *st)
{
	struct update *u = arg;

	u->full = u->full || (!S_ISDIR(st->st_mode) && !pathset_add(u->dirty, path));
	return !u->full;
}

static bool skip_new(void *arg, const char *path)
{
	struct update *u = arg;

	u->full = u->full || ++u->names > LIVEWATCH_PATHS_MAX;
	return u->full || skip(&u->s, path);
}

/* One that was watched already is not gone through: what happens in it is heard. */
static bool on_new_dir(void *arg, const char *path, int fd)
{
	struct update *u = arg;

	return livewatch_dir(u->s.watch, path, fd);
}

/* What stands below the new directories among them is new too. */
static void add_below(struct update *u)
{
	const struct host_walk w = { .skip = skip_new, .fn = on_new, .dir = on_new_dir, .arg = u, .most = LIVEWATCH_PATHS_MAX };
	struct stat st;
	const size_t told = u->dirty->n;

	for (size_t i = 0; i < told && !u->full; i++)
		if (!skip(&u->s, u->dirty->path[i]) && host_stat(u->s.g->root, u->dirty->path[i], &st) == 0 && S_ISDIR(st.st_mode) && host_walk(u->s.g->root, u->dirty->path[i], &w) < 0)
			u->full = true;
}

/* Items of these paths are made anew; those that also are of another path take that with them. */
static void drop_items(struct update *u)
{
	bool again = true;

	while (again && !u->full) {
		again = false;
		for (struct item **p = &u->s.chain; *p;) {
			struct item *i = *p;
			const bool mine = pathset_has(u->dirty, i->c.path), from = i->c.from && pathset_has(u->dirty, i->c.from);

			if (!mine && !from) {
				p = &i->next;
				continue;
			}
			again = again || (i->c.from && mine != from);
			u->full = u->full || !pathset_add(u->dirty, i->c.path) || (i->c.from && !pathset_add(u->dirty, i->c.from));
			*p = i->next;
			i->next = NULL;
			live_release(&i);
		}
	}
}

/* A file that was missed before is the one that has come up now. */
static void join_moved(struct update *u)
{
	struct scan *s = &u->s;

	for (struct item *d = s->chain; d && s->tries < TRIES_MAX; d = d->next) {
		const struct base_record *r = d->c.kind == CHANGE_DELETED && !d->same ? base_find(s->g->base, d->c.path) : NULL;

		for (struct item *k = s->chain; r && k && !d->same && s->tries < TRIES_MAX; k = k->next)
			d->same = is_moved(s, k, r);
	}
}

bool live_update(struct ground *g, struct item **chain, struct pathset *dirty, struct livewatch *watch)
{
	struct update u = { .s = { .g = g, .chain = *chain, .watch = watch }, .dirty = dirty };
	struct stat st;

	add_below(&u);
	drop_items(&u);
	for (size_t i = 0; i < dirty->n && !u.full; i++) {
		const char *path = dirty->path[i];

		if (skip(&u.s, path))
			continue;
		const struct base_record *r = base_find(g->base, path);
		const int there = host_stat(g->root, path, &st);
		if (there == 0 && !S_ISDIR(st.st_mode))
			u.full = !on_now(&u.s, path, &st);
		else if (r && r->exists && (there == 0 || there == -ENOENT)) /* perhaps a directory stands there now */
			u.full = !add_gone(&u.s, r);
		else
			u.full = there < 0 && there != -ENOENT && there != -EINVAL && there != -EXDEV;
	}
	join_moved(&u);
	*chain = u.s.chain;
	pathset_clear(dirty);
	if (u.full)
		livewatch_lose(watch);
	return livewatch_whole(watch);
}
