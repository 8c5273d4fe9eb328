/* SPDX-License-Identifier: Apache-2.0 */
#include "core/review/livewatch.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/rnd.h"
#include "core/base/str.h"

#define EVENTS (IN_CREATE | IN_DELETE | IN_MODIFY | IN_ATTRIB | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR | IN_EXCL_UNLINK)
#define SLOTS 4096u
#define FIRST 64u
#define BYTES_MAX (64u << 20)
#define READS_MAX 256

/* ---- paths --------------------------------------------------------------------------------------------------------------------- */

static size_t *place(const struct pathset *s, const char *path)
{
	size_t i = (size_t)str_hash(path, s->seed) & (2 * s->cap - 1);

	while (s->slot[i] && strcmp(s->path[s->slot[i] - 1], path) != 0)
		i = (i + 1) & (2 * s->cap - 1);
	return &s->slot[i];
}

static bool grow(struct pathset *s)
{
	const size_t cap = s->cap ? 2 * s->cap : FIRST;
	size_t *slot = calloc(2 * cap, sizeof(*slot));
	char **path = slot ? realloc(s->path, cap * sizeof(*path)) : NULL;

	if (path)
		s->path = path;
	if (!path) {
		free(slot);
		return false;
	}
	free(s->slot);
	s->slot = slot;
	s->cap = cap;
	if (!s->seed)
		rnd_bytes(&s->seed, sizeof(s->seed));
	for (size_t i = 0; i < s->n; i++)
		*place(s, s->path[i]) = i + 1;
	return true;
}

bool pathset_has(const struct pathset *s, const char *path)
{
	return s->n > 0 && *place(s, path) != 0;
}

bool pathset_add(struct pathset *s, const char *path)
{
	if (pathset_has(s, path))
		return true;
	if (s->n == LIVEWATCH_PATHS_MAX || (s->n == s->cap && !grow(s)))
		return false;
	char *copy = str_dup(path);
	if (!copy)
		return false;
	s->path[s->n++] = copy;
	*place(s, path) = s->n;
	return true;
}

void pathset_clear(struct pathset *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->path[i]);
	free(s->path);
	free(s->slot);
	*s = (struct pathset){ 0 };
}

/* ---- watches --------------------------------------------------------------------------------------------------------------------- */

struct dir { struct dir *next; int wd; bool told; char path[]; };

struct livewatch {
	int fd;
	size_t n, most, bytes; /* directories watched, how many may be; of their paths */
	struct dir *slot[SLOTS];
	struct pathset dirty;
	bool whole;
};

struct livewatch *livewatch_create_take(int inotify, size_t most)
{
	struct livewatch *w = calloc(1, sizeof(*w));

	if (!w) {
		close(inotify);
		return NULL;
	}
	w->fd = inotify;
	w->most = most;
	return w;
}

static struct dir **find(struct livewatch *w, int wd)
{
	struct dir **p = &w->slot[(unsigned)wd % SLOTS];

	while (*p && (*p)->wd != wd)
		p = &(*p)->next;
	return p;
}

static void drop(struct livewatch *w, struct dir **p)
{
	struct dir *d = *p;

	*p = d->next;
	w->bytes -= strlen(d->path);
	free(d);
	w->n--;
}

void livewatch_destroy(struct livewatch **wp)
{
	struct livewatch *w = *wp;

	if (!w)
		return;
	*wp = NULL;
	for (size_t i = 0; i < SLOTS; i++)
		while (w->slot[i])
			drop(w, &w->slot[i]);
	pathset_clear(&w->dirty);
	close(w->fd);
	free(w);
}

int livewatch_fd(const struct livewatch *w)
{
	return w->fd;
}

void livewatch_begin(struct livewatch *w)
{
	livewatch_read(w); /* of before: it will be looked at */
	for (size_t i = 0; i < SLOTS; i++)
		for (struct dir *d = w->slot[i]; d; d = d->next)
			d->told = false;
	pathset_clear(&w->dirty);
	w->whole = true;
}

void livewatch_end(struct livewatch *w)
{
	for (size_t i = 0; i < SLOTS; i++)
		for (struct dir **p = &w->slot[i]; *p;) {
			if ((*p)->told) {
				p = &(*p)->next;
				continue;
			}
			inotify_rm_watch(w->fd, (*p)->wd);
			drop(w, p);
		}
}

bool livewatch_dir(struct livewatch *w, const char *path, int fd)
{
	char at[32];

	if (!w->whole)
		return true; /* nothing is gained by the others */
	snprintf(at, sizeof(at), "/proc/self/fd/%d", fd);
	const int wd = inotify_add_watch(w->fd, at, EVENTS);
	const size_t len = strlen(path) + 1;
	struct dir **p = wd < 0 ? NULL : find(w, wd);
	const bool is_new = !p || !*p;
	struct dir *d = !p || (is_new && (w->n == w->most || w->bytes + len > BYTES_MAX)) ? NULL : malloc(sizeof(*d) + len);
	if (!d) {
		w->whole = false;
		return true;
	}
	if (!is_new)
		drop(w, p);
	d->wd = wd;
	d->told = true;
	memcpy(d->path, path, len);
	d->next = w->slot[(unsigned)wd % SLOTS];
	w->slot[(unsigned)wd % SLOTS] = d;
	w->n++;
	w->bytes += len - 1;
	return is_new;
}

void livewatch_lose(struct livewatch *w)
{
	w->whole = false;
}

static void heard(struct livewatch *w, const struct inotify_event *e)
{
	struct dir **p = find(w, e->wd);

	/* What moved with a directory is not told of. */
	if (e->mask & IN_Q_OVERFLOW || (e->mask & IN_ISDIR && e->mask & (IN_MOVED_FROM | IN_MOVED_TO)))
		w->whole = false;
	if (*p && e->mask & IN_IGNORED) {
		drop(w, p);
		return;
	}
	if (!*p || e->len == 0 || !w->whole)
		return;
	AUTO_FREE char *path = str_fmt("%s%s%s", (*p)->path, *(*p)->path ? "/" : "", e->name);
	if (!path || !pathset_add(&w->dirty, path))
		w->whole = false;
}

void livewatch_read(struct livewatch *w)
{
	_Alignas(struct inotify_event) char buf[16384];
	ssize_t n;

	/* Somebody may write faster than we read. */
	for (int i = 0; i < READS_MAX && (n = read(w->fd, buf, sizeof(buf))) > 0; i++)
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *e = (const struct inotify_event *)(const void *)(buf + at);

			heard(w, e);
			at += (ssize_t)(sizeof(*e) + e->len);
		}
}

bool livewatch_whole(const struct livewatch *w)
{
	return w->whole;
}

bool livewatch_due(const struct livewatch *w)
{
	return w->dirty.n > 0;
}

void livewatch_take(struct livewatch *w, struct pathset *out)
{
	*out = w->dirty;
	w->dirty = (struct pathset){ 0 };
}
