/* SPDX-License-Identifier: Apache-2.0 */
#include "core/review/uppers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fd.h"
#include "core/base/str.h"

#define SLOTS_FIRST 1024u

static uint64_t hash(const char *p, size_t n)
{
	uint64_t h = UINT64_C(14695981039346656037);

	for (size_t i = 0; i < n; i++)
		h = (h ^ (uint8_t)p[i]) * UINT64_C(1099511628211);
	return h ^ h >> 32;
}

int uppers_init(struct uppers *s, void (*drop)(void *arg, struct upper *u), void *arg)
{
	*s = (struct uppers){ .size = SLOTS_FIRST, .drop = drop, .arg = arg };
	s->slot = calloc(s->size, sizeof(struct upper *));
	return s->slot ? 0 : -ENOMEM;
}

static void destroy(struct uppers *s, struct upper *u)
{
	if (s->drop)
		s->drop(s->arg, u);
	free(u->path);
	free(u->redirect);
	free(u->link);
	free(u);
}

void uppers_release(struct uppers *s)
{
	for (size_t i = 0; s->slot && i < s->size; i++)
		while (s->slot[i]) {
			struct upper *u = s->slot[i];
			s->slot[i] = u->next;
			destroy(s, u);
		}
	free(s->slot);
	s->slot = NULL;
	s->count = s->size = 0;
}

static struct upper *find_n(const struct uppers *s, const char *path, size_t n)
{
	struct upper *u = s->slot[hash(path, n) & (s->size - 1)];

	while (u && (strncmp(u->path, path, n) != 0 || u->path[n] != '\0'))
		u = u->next;
	return u;
}

struct upper *uppers_find(const struct uppers *s, const char *path)
{
	return find_n(s, path, strlen(path));
}

static struct upper *parent_of(const struct uppers *s, const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? find_n(s, path, (size_t)(slash - path)) : NULL;
}

static void grow(struct uppers *s)
{
	const size_t size = s->size * 2;
	struct upper **slot = calloc(size, sizeof(struct upper *));

	if (!slot)
		return; /* longer chains */
	for (size_t i = 0; i < s->size; i++)
		while (s->slot[i]) {
			struct upper *u = s->slot[i], **to = &slot[hash(u->path, strlen(u->path)) & (size - 1)];
			s->slot[i] = u->next;
			u->next = *to;
			*to = u;
		}
	free(s->slot);
	s->slot = slot;
	s->size = size;
}

static bool text_is(const char *have, const char *want)
{
	return strcmp(have ? have : "", want) == 0;
}

static int replace(char **at, const char *text)
{
	char *fresh = *text ? str_dup(text) : NULL;

	if (*text && !fresh)
		return -ENOMEM;
	free(*at);
	*at = fresh;
	return 0;
}

static int fill(struct uppers *s, struct upper *u, const struct changes_entry *e)
{
	const bool above = u->type != e->type || u->opaque != e->opaque || !text_is(u->redirect, e->redirect);

	u->stale = false;
	if (!above && u->mode == e->mode && u->nlink == e->nlink && u->size == e->size && u->mtime_ns == e->mtime_ns && u->ctime_ns == e->ctime_ns && text_is(u->link, e->link))
		return 0;
	if (above && (u->type == CHANGES_DIR || e->type == CHANGES_DIR) && (u->opaque || e->opaque || u->redirect || *e->redirect))
		s->structural = true;
	u->type = e->type;
	u->opaque = e->opaque;
	u->mode = e->mode;
	u->nlink = e->nlink;
	u->size = e->size;
	u->mtime_ns = e->mtime_ns;
	u->ctime_ns = e->ctime_ns;
	u->dirty = true;
	return replace(&u->redirect, e->redirect) < 0 || replace(&u->link, e->link) < 0 ? -ENOMEM : 0;
}

int uppers_put(struct uppers *s, const struct changes_entry *e)
{
	struct upper *u = uppers_find(s, e->path), *parent;

	if (u)
		return fill(s, u, e);
	if (s->count >= CHANGES_ENTRIES_MAX) {
		s->truncated = true;
		return -E2BIG;
	}
	if (s->count > s->size)
		grow(s);
	if (!(u = calloc(1, sizeof(*u))) || !(u->path = str_dup(e->path))) {
		free(u);
		return -ENOMEM;
	}
	u->type = CHANGES_TYPES;
	u->dirty = true;
	struct upper **at = &s->slot[hash(u->path, strlen(u->path)) & (s->size - 1)];
	u->next = *at;
	*at = u;
	s->count++;
	if ((parent = parent_of(s, u->path))) {
		parent->children++;
		parent->dirty = true; /* it was empty, or shows one name less of the lower */
	}
	return fill(s, u, e);
}

static void unlink_one(struct uppers *s, struct upper *u)
{
	struct upper **at = &s->slot[hash(u->path, strlen(u->path)) & (s->size - 1)], *parent = parent_of(s, u->path);

	while (*at != u)
		at = &(*at)->next;
	*at = u->next;
	s->count--;
	if (parent && parent->children > 0)
		parent->children--;
	if (parent)
		parent->dirty = true;
	if (u->type == CHANGES_DIR && (u->opaque || u->redirect))
		s->structural = true;
	destroy(s, u);
}

/* Those for which `out` says so. */
static void remove_if(struct uppers *s, bool (*out)(const struct upper *u, const char *arg), const char *arg)
{
	for (size_t i = 0; i < s->size; i++)
		for (struct upper *u = s->slot[i], *next; u; u = next) {
			next = u->next;
			if (out(u, arg))
				unlink_one(s, u);
		}
}

static bool is_below(const struct upper *u, const char *path)
{
	const size_t n = strlen(path);

	return strncmp(u->path, path, n) == 0 && u->path[n] == '/';
}

void uppers_gone(struct uppers *s, const char *path)
{
	struct upper *u = uppers_find(s, path);

	if (!u)
		return;
	if (u->type == CHANGES_DIR && u->children > 0) {
		AUTO_FREE char *own = str_dup(path);
		if (own)
			remove_if(s, is_below, own);
	}
	unlink_one(s, u);
}

void uppers_begin(struct uppers *s)
{
	s->truncated = false;
	for (size_t i = 0; i < s->size; i++)
		for (struct upper *u = s->slot[i]; u; u = u->next)
			u->stale = true;
}

static bool is_stale(const struct upper *u, const char *arg)
{
	(void)arg;
	return u->stale;
}

void uppers_synced(struct uppers *s)
{
	remove_if(s, is_stale, "");
}

void uppers_each(const struct uppers *s, bool (*fn)(void *arg, struct upper *u), void *arg)
{
	for (size_t i = 0; i < s->size; i++)
		for (struct upper *u = s->slot[i], *next; u; u = next) {
			next = u->next;
			if (!fn(arg, u))
				return;
		}
}

/* ---- the lower half ------------------------------------------------------------------------------------------------------------------ */

bool uppers_lower(const struct uppers *s, const char *path, bool self, char out[CHANGES_PATH_MAX + 1], bool *renamed)
{
	size_t at = 0, len = strlen(path);
	bool none = false; /* below an opaque directory, until a moved one leads back */

	*renamed = false;
	out[0] = '\0';
	for (size_t end = 0; end < len; end++) {
		const size_t from = end;

		end += strcspn(path + end, "/");
		const bool last = path[end] == '\0';
		const struct upper *u = !last || self ? find_n(s, path, end) : NULL;
		if (u && u->type != CHANGES_DIR && !last)
			return false;
		none = none || (u && u->type == CHANGES_DIR && u->opaque);
		if (u && u->type == CHANGES_DIR && u->redirect && !u->opaque) {
			none = false;
			str_copy(out, CHANGES_PATH_MAX + 1, u->redirect);
			at = strlen(out);
			*renamed = true;
		} else {
			const int n = snprintf(out + at, CHANGES_PATH_MAX + 1 - at, "%s%.*s", at ? "/" : "", (int)(end - from), path + from);

			if (n < 0 || at + (size_t)n > CHANGES_PATH_MAX)
				return false;
			at += (size_t)n;
		}
	}
	/* What was moved away and back keeps its redirect, to where it lies. */
	*renamed = *renamed && strcmp(out, path) != 0;
	return !none;
}

bool uppers_shows(const struct uppers *s, const char *path)
{
	const size_t len = strlen(path);
	bool hidden = false;

	for (size_t end = 0; end < len; end++) {
		end += strcspn(path + end, "/");
		const bool last = path[end] == '\0';
		const struct upper *u = find_n(s, path, end);

		if (u && u->type != CHANGES_DIR)
			return false;
		if (u && u->opaque)
			hidden = true;
		else if (u && u->redirect)
			hidden = false; /* it leads out from under an opaque one */
		if (last)
			return !hidden; /* a merged directory shows, under its own name */
	}
	return !hidden;
}
