/* SPDX-License-Identifier: Apache-2.0 */
/* What is marked and what was seen. See diff.h. */
#include "tui/diff.h"

#include <stdlib.h>
#include <string.h>

struct diffmark *diffmark_find(const struct diffview *v, const char *sandbox, const char *workspace, const char *path)
{
	for (size_t i = 0; i < v->nmarks; i++) {
		struct diffmark *m = &v->marks[i];

		if (strcmp(m->path, path) == 0 && strcmp(m->workspace, workspace) == 0 && strcmp(m->sandbox, sandbox) == 0)
			return m;
	}
	return NULL;
}

void diffmark_clear(struct diffview *v, struct diffmark *m)
{
	free(m->workspace);
	free(m->path);
	json_decref(m->hunks);
	*m = v->marks[--v->nmarks];
	memset(&v->marks[v->nmarks], 0, sizeof(*m));
}

bool diffmark_set(struct diffview *v, const char *sandbox, const char *workspace, const char *path, const char *digest)
{
	struct diffmark *m = diffmark_find(v, sandbox, workspace, path);

	if (!m) {
		if (v->nmarks == DIFF_MARKS_MAX)
			return false;
		if (v->nmarks == v->marks_room) {
			const size_t room = v->marks_room ? v->marks_room * 2 : 32;
			struct diffmark *grown = realloc(v->marks, room * sizeof(*grown));

			if (!grown)
				return false;
			v->marks = grown;
			v->marks_room = room;
		}
		m = &v->marks[v->nmarks];
		memset(m, 0, sizeof(*m));
		m->workspace = str_dup(workspace);
		m->path = str_dup(path);
		if (!m->workspace || !m->path) {
			free(m->workspace);
			free(m->path);
			return false;
		}
		v->nmarks++;
		str_copy(m->sandbox, sizeof(m->sandbox), sandbox);
	}
	json_decref(m->hunks);
	m->hunks = NULL;
	str_copy(m->digest, sizeof(m->digest), digest ? digest : "");
	return true;
}

bool diffmark_has_hunk(const struct diffmark *m, const struct diffhunk *h)
{
	if (!m)
		return false;
	if (!m->hunks)
		return true;
	for (size_t i = 0; i < json_array_size(m->hunks); i++)
		if (json_equal(json_array_get(m->hunks, i), h->id))
			return true;
	return false;
}

void diffmark_hunk(struct diffview *v, const struct difftext *t, size_t hunk)
{
	struct diffmark *m = diffmark_find(v, t->sandbox, t->workspace, t->path);
	json_t *ids = json_array();

	if (!ids || hunk >= t->diff.nhunks)
		goto out;
	/* All that are marked but this one, or and this one. */
	for (size_t i = 0; i < t->diff.nhunks; i++) {
		const struct diffhunk *h = &t->diff.hunks[i];

		if (h->id && diffmark_has_hunk(m, h) != (i == hunk))
			json_array_append(ids, h->id);
	}
	if (!json_array_size(ids)) {
		if (m)
			diffmark_clear(v, m);
		goto out;
	}
	if (!diffmark_set(v, t->sandbox, t->workspace, t->path, t->digest))
		goto out;
	m = diffmark_find(v, t->sandbox, t->workspace, t->path);
	str_copy(m->old_digest, sizeof(m->old_digest), t->old_digest);
	if (json_array_size(ids) < t->diff.nhunks || t->truncated) /* all that are here are not all of it */
		m->hunks = json_incref(ids);
out:
	json_decref(ids);
}

size_t diffmark_count(const struct diffview *v, const char *sandbox)
{
	size_t n = 0;

	for (size_t i = 0; i < v->nmarks; i++)
		n += strcmp(v->marks[i].sandbox, sandbox) == 0;
	return n;
}

size_t diffmark_drop_hunks(struct diffview *v)
{
	size_t gone = 0;

	for (size_t i = v->nmarks; i-- > 0;)
		if (v->marks[i].hunks) {
			diffmark_clear(v, &v->marks[i]);
			gone++;
		}
	return gone;
}

size_t diffmark_settle(struct diffview *v, const struct difflist *l, const struct difftext *t)
{
	size_t gone = 0;

	for (size_t i = v->nmarks; i-- > 0;) {
		struct diffmark *m = &v->marks[i];
		bool there = false;

		if (strcmp(m->sandbox, l->sandbox) != 0 || !l->loaded)
			continue;
		for (size_t k = 0; k < l->now.nws && !there; k++)
			there = strcmp(l->now.ws[k].path, m->workspace) == 0 && difflist_find(l, k, m->path);
		const bool changed = m->hunks && t->loaded && difftext_is(t, m->sandbox, m->workspace, m->path) && (strcmp(t->digest, m->digest) != 0 || strcmp(t->old_digest, m->old_digest) != 0);
		gone += changed;
		if (!there || changed)
			diffmark_clear(v, m);
	}
	return gone;
}

/* ---- seen ------------------------------------------------------------------------------------------------------------------------- */

bool diff_saw(struct diffview *v, const struct difftext *t)
{
	const char *known = t->loaded ? diff_seen(v, t->sandbox, t->workspace, t->path) : NULL;

	if (!t->loaded || !t->digest[0] || t->truncated || (known && strcmp(known, t->digest) == 0))
		return false;
	struct diffseen *s = &v->seen[v->nseen++ % DIFF_SEEN_MAX];
	free(s->workspace);
	free(s->path);
	s->workspace = str_dup(t->workspace);
	s->path = str_dup(t->path);
	str_copy(s->sandbox, sizeof(s->sandbox), t->sandbox);
	str_copy(s->digest, sizeof(s->digest), t->digest);
	return true;
}

const char *diff_seen(const struct diffview *v, const char *sandbox, const char *workspace, const char *path)
{
	const size_t n = v->nseen < DIFF_SEEN_MAX ? v->nseen : DIFF_SEEN_MAX;

	for (size_t k = 1; k <= n; k++) { /* the last first */
		const struct diffseen *s = &v->seen[(v->nseen - k) % DIFF_SEEN_MAX];

		if (s->path && s->workspace && strcmp(s->path, path) == 0 && strcmp(s->workspace, workspace) == 0 && strcmp(s->sandbox, sandbox) == 0)
			return s->digest;
	}
	return NULL;
}
