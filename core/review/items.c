/* SPDX-License-Identifier: Apache-2.0 */
#include "core/review/items.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/review/apply.h"
#include "core/review/danger.h"
#include "core/review/host.h"
#include "core/workspace/hide.h"

static void destroy(struct item *i)
{
	free(i->c.path);
	free(i->c.from);
	free(i);
}

void items_drop(struct upper *u)
{
	struct item *i = u->derived;

	u->derived = NULL;
	while (i) {
		struct item *next = i->next;
		destroy(i);
		i = next;
	}
}

bool items_hidden(const struct hide *h, const char *path)
{
	const char *comp[CHANGES_DEPTH_MAX];
	size_t n = 0;
	AUTO_FREE char *own = str_dup(path);
	bool hidden = !own;

	/* What is hidden is hidden with everything below it. */
	for (char *p = own; p && !hidden && n < CHANGES_DEPTH_MAX;) {
		char *slash = strchr(p, '/');

		if (slash)
			*slash = '\0';
		comp[n++] = p;
		hidden = hide_match(h, comp, n);
		p = slash ? slash + 1 : NULL;
	}
	return hidden;
}

bool items_of_git(const struct ground *g, const char *path)
{
	static const char *const quiet[] = { "objects", "logs", "index", "refs", "HEAD", "ORIG_HEAD", "FETCH_HEAD", "COMMIT_EDITMSG", "packed-refs", "gc.pid", "info/refs" };
	const char *git = NULL;

	(void)g;
	for (const char *p = path; p && *p;) {
		const size_t n = strcspn(p, "/");

		if (n == 4 && memcmp(p, ".git", 4) == 0) {
			git = p + 4;
			break;
		}
		p += n;
		p += *p == '/';
	}
	if (!git || !*git) /* itself: what lies in it may be run */
		return false;
	git++;
	for (size_t i = 0; i < ARRAY_SIZE(quiet); i++) {
		const size_t n = strlen(quiet[i]);

		if (strncmp(git, quiet[i], n) == 0 && (git[n] == '\0' || git[n] == '/' || strcmp(git + n, ".lock") == 0))
			return true;
	}
	return false;
}

/* A repository needs no name of its own: beside its HEAD, `config` says what git runs. */
static bool is_bare_config(const struct ground *g, const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	char head[CHANGES_PATH_MAX + 1];
	struct stat st;

	if ((strcasecmp(name, "config") != 0 && strcasecmp(name, "config.worktree") != 0) || (size_t)(name - path) + 5 > sizeof(head))
		return false;
	snprintf(head, sizeof(head), "%.*sHEAD", (int)(name - path), path);
	return uppers_find(g->uppers, head) || host_stat(g->root, head, &st) == 0;
}

const char *items_mark(const struct ground *g, const char *path)
{
	const char *mark = danger_mark(g->danger, path);

	return mark ? mark : is_bare_config(g, path) ? "git setting" : NULL;
}

static struct item *add(struct ground *g, struct upper *u, const char *path, enum change_kind kind)
{
	struct item *i = calloc(1, sizeof(*i));

	if (!i || !(i->c.path = str_dup(path))) {
		free(i);
		g->truncated = true;
		return NULL;
	}
	i->upper = u;
	i->c.kind = (uint8_t)kind;
	i->c.mark = items_mark(g, path);
	if (items_hidden(g->hide, path))
		i->c.flags |= FLAG_HIDDEN;
	if (!utf8_clean(path))
		i->c.flags |= FLAG_NAME;
	i->next = u->derived;
	u->derived = i;
	return i;
}

static struct side side_of(const struct upper *u)
{
	return (struct side){ .type = u->type, .mode = u->mode, .size = u->type == CHANGES_SYMLINK && u->link ? strlen(u->link) : u->size, .mtime_ns = u->mtime_ns };
}

static uint16_t flags_of(const struct upper *u, const char *path)
{
	uint16_t f = 0;

	if (u->type == CHANGES_FILE && (u->mode & 06000))
		f |= FLAG_SETID;
	if (u->type == CHANGES_DEVICE || u->type == CHANGES_FIFO || u->type == CHANGES_SOCKET)
		f |= FLAG_DEVICE;
	if (u->type == CHANGES_SYMLINK && u->link && u->link[0] == '/')
		f |= FLAG_LINK_ABSOLUTE;
	else if (u->type == CHANGES_SYMLINK && u->link && !apply_link_stays(path, u->link))
		f |= FLAG_LINK_ESCAPES;
	if (u->type == CHANGES_FILE && u->nlink > 1)
		f |= FLAG_HARDLINK;
	if (u->type == CHANGES_FILE && u->size > CONTENT_MAX)
		f |= FLAG_LARGE;
	return f;
}

/* ---- many from one ---------------------------------------------------------------------------------------------------------------------- */

struct many { struct ground *g; struct upper *u; const char *lower; bool renamed; };

static bool skip(void *arg, const char *path)
{
	const struct many *m = arg;

	return items_hidden(m->g->hide, path) || items_of_git(m->g, path);
}

/* Below a directory that was moved from where nothing lies (any more): what the host has there now came from an apply of the move, or the host made it. */
static bool is_below_dead_move(const struct ground *g, const char *path)
{
	char above[CHANGES_PATH_MAX + 1];
	struct stat st;

	str_copy(above, sizeof(above), path);
	for (char *slash; (slash = strrchr(above, '/'));) {
		*slash = '\0';
		const struct upper *u = uppers_find(g->uppers, above);
		if (u && u->type == CHANGES_DIR && u->redirect && !u->opaque)
			return host_stat(g->root, u->redirect, &st) == -ENOENT;
	}
	return false;
}

/* The lower half puts something in the place of the host's file at this path: itself (moved away and back), or what was moved there. */
static bool is_covered(const struct ground *g, const char *path)
{
	char lower[CHANGES_PATH_MAX + 1];
	bool renamed;
	struct stat st;

	return uppers_lower(g->uppers, path, false, lower, &renamed) && uppers_shows(g->uppers, path) && (!renamed || host_stat(g->root, lower, &st) == 0);
}

static bool on_gone(void *arg, const char *path, const struct stat *st)
{
	struct many *m = arg;
	const struct upper *own = m->u->type == CHANGES_DIR ? uppers_find(m->g->uppers, path) : NULL;

	if (own && own->type != CHANGES_WHITEOUT)
		return true; /* hidden by the directory, and made again in it */
	if (m->u->type == CHANGES_DIR && (is_covered(m->g, path) || is_below_dead_move(m->g, path)))
		return true;
	struct item *i = add(m->g, m->u, path, CHANGE_DELETED);

	if (i) {
		i->brief = true;
		i->c.theirs = host_side(NULL);
		i->c.ours = host_side(st);
	}
	return i != NULL;
}

static bool on_renamed(void *arg, const char *path, const struct stat *st)
{
	struct many *m = arg;
	AUTO_FREE char *to = str_fmt("%s%s", m->u->path, path + strlen(m->lower));

	if (S_ISDIR(st->st_mode) || !to || !changes_path_legal(to) || !uppers_shows(m->g->uppers, to))
		return true;
	struct item *i = add(m->g, m->u, to, CHANGE_RENAMED);

	if (i) {
		i->brief = true;
		i->c.from = str_dup(path);
		i->c.theirs = host_side(st);
	}
	return i && i->c.from;
}

static void make_many(struct ground *g, struct upper *u, const char *below, bool renamed)
{
	struct many m = { .g = g, .u = u, .lower = below, .renamed = renamed };
	const struct host_walk w = { .skip = skip, .fn = renamed ? on_renamed : on_gone, .arg = &m, .most = g->most };

	if (!items_hidden(g->hide, below) && host_walk(g->root, below, &w) < 0)
		g->truncated = true;
}

/* ---- one entry -------------------------------------------------------------------------------------------------------------------------- */

static void make_whiteout(struct ground *g, struct upper *u, const struct stat *st)
{
	if (!st)
		return; /* nothing lies under it (any more) */
	/* A directory goes with the last of what is in it; one that was empty goes by itself. */
	if (S_ISDIR(st->st_mode)) {
		make_many(g, u, u->path, false);
		if (u->derived)
			return;
	}
	struct item *i = add(g, u, u->path, CHANGE_DELETED);

	if (i) {
		i->whole = true;
		i->c.theirs = host_side(NULL);
	}
}

static void make_dir(struct ground *g, struct upper *u, const struct stat *st, bool lower, bool renamed)
{
	struct item *i;

	if (u->redirect && !u->opaque && renamed) {
		make_many(g, u, u->redirect, true);
		if (st && S_ISDIR(st->st_mode)) { /* what lay there before is not there any more */
			make_many(g, u, u->path, false);
		} else if (st && (i = add(g, u, u->path, CHANGE_TYPE))) {
			i->whole = true;
			i->c.theirs = side_of(u);
		}
		return;
	}
	if (st && S_ISDIR(st->st_mode)) {
		if (u->opaque || !lower)
			make_many(g, u, u->path, false);
		if (((st->st_mode ^ u->mode) & MODE_COMPARED) == 0 || !(i = add(g, u, u->path, CHANGE_MODE)))
			return;
	} else if (st) {
		i = add(g, u, u->path, CHANGE_TYPE);
	} else if (u->children > 0 || !(i = add(g, u, u->path, CHANGE_ADDED))) {
		return;
	}
	if (i) {
		i->whole = true;
		i->c.theirs = side_of(u);
	}
}

void items_make(struct ground *g, struct upper *u)
{
	char lower[CHANGES_PATH_MAX + 1];
	bool renamed = false;
	struct stat st;

	items_drop(u);
	u->dirty = false;
	if (items_of_git(g, u->path))
		return;
	const bool has = uppers_lower(g->uppers, u->path, u->type == CHANGES_DIR, lower, &renamed);
	const bool here = host_stat(g->root, u->path, &st) == 0;

	if (u->type == CHANGES_WHITEOUT) {
		if (has && !renamed)
			make_whiteout(g, u, here ? &st : NULL);
	} else if (u->type == CHANGES_DIR) {
		make_dir(g, u, here ? &st : NULL, has, renamed);
	} else {
		const bool moved = has && renamed && !items_hidden(g->hide, lower) && host_stat(g->root, lower, &(struct stat){ 0 }) == 0;

		if (here && S_ISDIR(st.st_mode)) /* what lies in the directory that it takes the place of goes with it */
			make_many(g, u, u->path, false);
		struct item *i = add(g, u, u->path, moved ? CHANGE_RENAMED : CHANGE_MODIFIED);
		if (!i)
			return;
		if (moved)
			i->c.from = str_dup(lower);
		i->whole = true;
		i->c.theirs = side_of(u);
		i->c.flags |= flags_of(u, u->path);
	}
	for (struct item *i = u->derived; i; i = i->next)
		item_look(g, i);
}

static bool has_content(uint8_t type)
{
	return type == CHANGES_FILE || type == CHANGES_SYMLINK;
}

static enum change_kind kind_of(const struct change *c)
{
	if (c->from)
		return CHANGE_RENAMED;
	if (c->theirs.type == CHANGES_WHITEOUT)
		return CHANGE_DELETED;
	if (c->ours.type == CHANGES_WHITEOUT)
		return CHANGE_ADDED;
	if (c->ours.type != c->theirs.type)
		return CHANGE_TYPE;
	return c->theirs.type == CHANGES_DIR ? CHANGE_MODE : CHANGE_MODIFIED;
}

void item_look(struct ground *g, struct item *i)
{
	struct stat st = { 0 };
	const bool here = host_stat(g->root, i->c.path, &st) == 0;
	struct base_record *r = base_first(g->base, i->c.path, i->brief);

	i->c.ours = host_side(here ? &st : NULL);
	if (i->inspected && (i->seen_size != i->upper->size || i->seen_mtime_ns != i->upper->mtime_ns || i->seen_ctime_ns != i->upper->ctime_ns || i->seen.st_ino != st.st_ino ||
			     i->seen.st_size != st.st_size || i->seen.st_mtim.tv_sec != st.st_mtim.tv_sec || i->seen.st_mtim.tv_nsec != st.st_mtim.tv_nsec ||
			     i->seen.st_mode != st.st_mode))
		i->inspected = i->c.counted = false;
	if (!i->inspected) {
		i->seen = st;
		i->seen_size = i->upper->size;
		i->seen_mtime_ns = i->upper->mtime_ns;
		i->seen_ctime_ns = i->upper->ctime_ns;
		i->c.kind = (uint8_t)kind_of(&i->c);
		i->same = i->c.kind == CHANGE_DELETED && !here;
		if (i->c.kind == CHANGE_MODE)
			i->same = ((i->c.ours.mode ^ i->c.theirs.mode) & MODE_COMPARED) == 0;
		if (!has_content(i->c.theirs.type) && i->c.kind != CHANGE_DELETED)
			i->inspected = i->c.counted = true;
	}
	struct base_record *from = i->c.from ? base_first(g->base, i->c.from, true) : NULL;

	/* Of what there is no record nobody knows what the host had: there was no room for it. */
	i->c.conflict = !i->same && (!r || !base_holds(g->base, r) || (i->c.from && (!from || !base_holds(g->base, from))) || ((i->c.flags & FLAG_HIDDEN) && here));
}
