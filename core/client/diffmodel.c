/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of changes. What a file's difference looks like is in difftext.c. See diffmodel.h. */
#include "core/client/diffmodel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fd.h"
#include "core/base/utf8.h"
#include "core/client/fields.h"

static const char *const kind_words[] = { "added", "modified", "deleted", "renamed", "mode", "type" };
_Static_assert(ARRAY_SIZE(kind_words) == CK_NUM, "a word for every kind");
static const char *const type_words[] = { "file", "dir", "symlink", "fifo", "socket", "device" };
_Static_assert(ARRAY_SIZE(type_words) == CT_NUM, "a word for every type");

const char *change_kind_word(enum change_kind k)
{
	return (unsigned)k < CK_NUM ? kind_words[k] : "?";
}

enum change_kind change_kind_of(const json_t *o)
{
	return (enum change_kind)field_word(o, "kind", kind_words, CK_NUM, CK_MODIFIED);
}

const char *change_type_word(enum change_type t)
{
	return (unsigned)t < CT_NUM ? type_words[t] : "?";
}

/* ---- life ------------------------------------------------------------------------------------------------------------------- */

static void changeset_clear(struct changeset *s)
{
	for (size_t i = 0; i < s->nws; i++) {
		struct change_workspace *w = &s->ws[i];

		for (size_t k = 0; k < w->nentries; k++) {
			free(w->entries[k].path);
			free(w->entries[k].from);
		}
		free(w->entries);
		free(w->path);
	}
	memset(s, 0, sizeof(*s));
}

static void list_destroy(struct difflist *l)
{
	changeset_clear(&l->now);
	changeset_clear(&l->coming);
	free(l);
}

void diffmodel_release(struct diffmodel *d)
{
	for (size_t i = 0; i < d->nlists; i++)
		list_destroy(d->lists[i]);
	d->nlists = 0;
	difftext_release(&d->text);
}

static void drop(struct diffmodel *d, size_t at)
{
	list_destroy(d->lists[at]);
	d->nlists--;
	memmove(d->lists + at, d->lists + at + 1, (d->nlists - at) * sizeof(d->lists[0]));
}

void diffmodel_forget(struct diffmodel *d, const char *sandbox)
{
	for (size_t i = d->nlists; i-- > 0;)
		if (strcmp(d->lists[i]->sandbox, sandbox) == 0)
			drop(d, i);
	if (strcmp(d->text.sandbox, sandbox) == 0)
		difftext_release(&d->text);
}

struct difflist *diffmodel_find(const struct diffmodel *d, const char *sandbox)
{
	for (size_t i = 0; i < d->nlists; i++)
		if (strcmp(d->lists[i]->sandbox, sandbox) == 0)
			return d->lists[i];
	return NULL;
}

struct difflist *diffmodel_list(struct diffmodel *d, const char *sandbox)
{
	struct difflist *l = diffmodel_find(d, sandbox);

	if (l)
		return l;
	l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	str_copy(l->sandbox, sizeof(l->sandbox), sandbox);
	if (d->nlists == DIFF_LISTS_MAX)
		drop(d, 0);
	d->lists[d->nlists++] = l;
	return l;
}

/* ---- entries ------------------------------------------------------------------------------------------------------------------ */

/* As it was spelt, when it is a path that can be: else NULL. */
static char *path_dup(const json_t *v)
{
	const size_t n = json_string_length(v);

	if (!json_is_string(v) || n == 0 || n > DIFF_PATH_MAX || strlen(json_string_value(v)) != n)
		return NULL;
	return str_dup(json_string_value(v));
}

static void take_flags(struct change *c, const json_t *list)
{
	size_t used = 0;

	for (size_t i = 0; i < json_array_size(list) && i < 16; i++) {
		const json_t *v = json_array_get(list, i);
		char word[32];

		if (!json_is_string(v))
			continue;
		scrub(word, sizeof(word), json_string_value(v), json_string_length(v), false);
		if (word[0] && used + strlen(word) + 2 < sizeof(c->flags))
			used += (size_t)snprintf(c->flags + used, sizeof(c->flags) - used, "%s%s", used ? " " : "", word);
	}
}

static bool take_change(struct change *c, const json_t *o)
{
	memset(c, 0, sizeof(*c));
	c->path = path_dup(json_object_get(o, "path"));
	if (!c->path)
		return false;
	c->kind = change_kind_of(o);
	c->type = (enum change_type)field_word(o, "type", type_words, CT_NUM, CT_FILE);
	if (c->kind == CK_RENAMED)
		c->from = path_dup(json_object_get(o, "from"));
	c->size = field_u64(o, "size");
	c->mode = field_u32(o, "mode") & 07777777;
	c->old_mode = field_u32(o, "old_mode") & 07777777;
	c->binary = json_is_true(json_object_get(o, "binary"));
	c->conflict = json_is_true(json_object_get(o, "conflict"));
	c->counted = json_is_integer(json_object_get(o, "add")) && json_is_integer(json_object_get(o, "del"));
	c->add = field_u64(o, "add");
	c->del = field_u64(o, "del");
	field_text(o, "mark", c->mark, sizeof(c->mark));
	take_flags(c, json_object_get(o, "flags"));
	return true;
}

static void take_entries(struct changeset *s, struct change_workspace *w, const json_t *list)
{
	const size_t n = json_array_size(list);

	for (size_t i = 0; i < n && s->entries < DIFF_ENTRIES_MAX; i++) {
		if (w->nentries == w->room) {
			const size_t room = w->room ? w->room * 2 : 64;
			struct change *grown = realloc(w->entries, room * sizeof(*grown));

			if (!grown)
				return;
			w->entries = grown;
			w->room = room;
		}
		if (take_change(&w->entries[w->nentries], json_array_get(list, i))) {
			w->nentries++;
			s->entries++;
		}
	}
}

static struct change_workspace *workspace_of(struct changeset *s, const char *path, bool make)
{
	for (size_t i = 0; i < s->nws; i++)
		if (strcmp(s->ws[i].path, path) == 0)
			return &s->ws[i];
	if (!make || s->nws == DIFF_WORKSPACES_MAX)
		return NULL;
	struct change_workspace *w = &s->ws[s->nws];
	w->path = str_dup(path);
	s->nws += w->path != NULL;
	return w->path ? w : NULL;
}

/* A directory's entries stand together, before names that only begin like it. */
static int by_path(const void *a, const void *b)
{
	const unsigned char *p = (const unsigned char *)((const struct change *)a)->path, *q = (const unsigned char *)((const struct change *)b)->path;

	while (*p && *p == *q) {
		p++;
		q++;
	}
	const int x = *p == '/' ? 1 : *p, y = *q == '/' ? 1 : *q;
	return x - y;
}

static void settle(struct changeset *s)
{
	for (size_t i = 0; i < s->nws; i++) {
		struct change_workspace *w = &s->ws[i];
		size_t kept = 0;

		if (w->nentries)
			qsort(w->entries, w->nentries, sizeof(*w->entries), by_path);
		for (size_t k = 0; k < w->nentries; k++) { /* pages of two generations may tell one twice: the later told is as good */
			if (kept && strcmp(w->entries[kept - 1].path, w->entries[k].path) == 0) {
				free(w->entries[k].path);
				free(w->entries[k].from);
				continue;
			}
			w->entries[kept++] = w->entries[k];
		}
		w->nentries = kept;
	}
}

bool difflist_page(struct difflist *l, const json_t *result, bool first, size_t *ws, uint64_t *from)
{
	const json_t *list = json_object_get(result, "workspaces");
	struct changeset *s = &l->coming;

	if (first)
		changeset_clear(s);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *o = json_array_get(list, i);
		AUTO_FREE char *path = path_dup(json_object_get(o, "path"));
		struct change_workspace *w = path ? workspace_of(s, path, first) : NULL;
		const size_t before = w ? w->nentries : 0;

		if (!w)
			continue;
		field_text(o, "mode", w->mode, sizeof(w->mode));
		w->generation = field_u64(o, "generation");
		w->total = field_u64(o, "total");
		w->add = field_u64(o, "add");
		w->del = field_u64(o, "del");
		w->conflicts = field_u64(o, "conflicts");
		w->marked = field_u64(o, "marked");
		w->truncated = json_is_true(json_object_get(o, "truncated"));
		w->ready = !json_is_false(json_object_get(o, "ready"));
		take_entries(s, w, json_object_get(o, "entries"));
		if (!first && w->nentries == before)
			w->total = w->nentries; /* a page without anything is the last */
	}
	for (size_t i = 0; i < s->nws; i++)
		if (s->ws[i].nentries < s->ws[i].total && s->ws[i].nentries && s->entries < DIFF_ENTRIES_MAX) {
			*ws = i;
			*from = s->ws[i].nentries;
			return true;
		}
	settle(s);
	changeset_clear(&l->now);
	l->now = *s;
	memset(s, 0, sizeof(*s));
	l->loaded = true;
	l->error[0] = '\0';
	l->serial++;
	return false;
}

void difflist_failed(struct difflist *l, const char *why)
{
	changeset_clear(&l->coming);
	scrub(l->error, sizeof(l->error), why, strlen(why), false);
	l->serial++;
}

const struct change *difflist_find(const struct difflist *l, size_t ws, const char *path)
{
	struct change key = { .path = (char *)(uintptr_t)path };

	if (ws >= l->now.nws || !l->now.ws[ws].nentries)
		return NULL;
	return bsearch(&key, l->now.ws[ws].entries, l->now.ws[ws].nentries, sizeof(key), by_path);
}

void difflist_totals(const struct difflist *l, struct model_changes *out)
{
	memset(out, 0, sizeof(*out));
	out->known = l->loaded;
	for (size_t i = 0; i < l->now.nws; i++) {
		out->files += l->now.ws[i].total;
		out->add += l->now.ws[i].add;
		out->del += l->now.ws[i].del;
		out->conflicts += l->now.ws[i].conflicts;
		out->marked += l->now.ws[i].marked;
	}
}

void model_changes_take(struct model_changes *c, const json_t *o, bool event)
{
	if (!json_is_object(o))
		return;
	struct model_changes is = { .known = true, .files = field_u64(o, "files"), .add = field_u64(o, "add"), .del = field_u64(o, "del"),
				    .conflicts = field_u64(o, "conflicts"), .marked = field_u64(o, "marked"), .version = c->version };

	if (event || memcmp(&is, c, sizeof(is)) != 0)
		is.version++;
	*c = is;
}
