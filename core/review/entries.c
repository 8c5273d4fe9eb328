/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has to go from the layer so that a change is gone: its own entry, or that of a directory which was moved, deleted or made anew above it. Such an entry
 * makes many changes and holds others; it goes when all of them are to go.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "core/review/layerimpl.h"

struct going { const char *entry; size_t n; bool own, (*goes)(void *arg, const char *path), all; void *arg; };

static bool look_at(void *arg, struct upper *u)
{
	struct going *g = arg;
	const bool below = strncmp(u->path, g->entry, g->n) == 0 && u->path[g->n] == '/';

	/* What the entry makes of its own path is what is asked about; what it makes of others goes by itself when that goes. */
	if (!below && (g->own || strcmp(u->path, g->entry) != 0))
		return true;
	for (const struct item *i = u->derived; i && g->all; i = i->next)
		g->all = i->same || g->goes(g->arg, i->c.path);
	return g->all;
}

/* Every change that goes with the entry, besides that of `path`, may go. */
static bool may_go(struct layer *l, const struct upper *u, const char *path, layer_goes_fn goes, void *arg)
{
	struct going g = { .entry = u->path, .n = strlen(u->path), .own = strcmp(u->path, path) == 0, .goes = goes, .all = true, .arg = arg };

	if (!g.own || u->type == CHANGES_DIR)
		uppers_each(&l->uppers, look_at, &g);
	return g.all;
}

/* What lies below is what it is because of this entry. */
static bool rules(const struct layer *l, const struct upper *u)
{
	char lower[CHANGES_PATH_MAX + 1];
	bool renamed = false;

	if (u->type != CHANGES_DIR || u->opaque)
		return true;
	return u->redirect && uppers_lower(&l->uppers, u->path, true, lower, &renamed) && renamed;
}

const char *layer_entry(struct layer *l, const char *path, layer_goes_fn goes, void *arg, bool *may)
{
	char at[CHANGES_PATH_MAX + 1];
	const struct upper *in_the_way = NULL;
	const size_t n = strlen(path);

	*may = true;
	str_copy(at, sizeof(at), path);
	for (size_t end = strcspn(at, "/"); end <= n; end += 1 + strcspn(at + end + 1, "/")) {
		at[end] = '\0';
		const struct upper *u = uppers_find(&l->uppers, at);
		if (u && (end == n || rules(l, u))) {
			if (may_go(l, u, path, goes, arg))
				return u->path;
			in_the_way = u;
		}
		if (end == n)
			break;
		at[end] = '/';
	}
	*may = in_the_way == NULL;
	return in_the_way ? in_the_way->path : NULL;
}

struct moves { struct layer *l; char **path; size_t n, cap; bool failed; };

static bool is_moved(void *arg, struct upper *u)
{
	struct moves *m = arg;

	if (u->type != CHANGES_DIR || u->opaque || !rules(m->l, u))
		return true;
	if (m->n == m->cap) {
		const size_t cap = m->cap ? 2 * m->cap : 64;
		char **more = realloc(m->path, cap * sizeof(*more));

		m->failed = !more;
		if (!more)
			return false;
		m->path = more;
		m->cap = cap;
	}
	if (!(m->path[m->n] = str_dup(u->path)))
		return false;
	m->n++;
	return true;
}

char **layer_moved(struct layer *l, size_t *n)
{
	struct moves m = { .l = l };

	uppers_each(&l->uppers, is_moved, &m);
	*n = m.n;
	return m.path;
}
