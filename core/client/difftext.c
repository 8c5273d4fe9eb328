/* SPDX-License-Identifier: Apache-2.0 */
/* One file's difference, from an answer of changes.diff: hunks, lines with their numbers, which removed line an added one replaces. See diffmodel.h. */
#include "core/client/diffmodel.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"
#include "core/client/fields.h"

static void part_release(struct diffpart *p)
{
	for (size_t i = 0; i < p->nhunks; i++)
		json_decref(p->hunks[i].id);
	free(p->hunks);
	free(p->lines);
	free(p->arena);
	memset(p, 0, sizeof(*p));
}

void difftext_release(struct difftext *t)
{
	const uint64_t serial = t->serial;

	free(t->workspace);
	free(t->path);
	part_release(&t->diff);
	for (size_t i = 0; i < DIFF_SIDES; i++)
		part_release(&t->side[i]);
	memset(t, 0, sizeof(*t));
	t->serial = serial + 1;
}

bool difftext_is(const struct difftext *t, const char *sandbox, const char *workspace, const char *path)
{
	return t->path && strcmp(t->sandbox, sandbox) == 0 && strcmp(t->workspace, workspace) == 0 && strcmp(t->path, path) == 0;
}

const char *diffpart_text(const struct diffpart *p, const struct diffline *l)
{
	return p->arena + l->at;
}

/* Room for n more in an array of `size` each. */
static bool grow(void **array, size_t *room, size_t want, size_t size)
{
	if (want <= *room)
		return true;
	const size_t fresh = want + want / 2 + 64;
	void *grown = realloc(*array, fresh * size);

	if (!grown)
		return false;
	*array = grown;
	*room = fresh;
	return true;
}

/* The line's text into the arena, without what a terminal must not see; tabs are kept, they are drawn as blanks. */
static bool take_text(struct diffpart *p, struct diffline *l, const json_t *v, bool cr)
{
	const char *s = json_is_string(v) ? json_string_value(v) : "";
	size_t n = json_is_string(v) ? json_string_length(v) : 0;
	const size_t cut = n > DIFF_LINE_MAX ? DIFF_LINE_MAX : n, most = cut * 10 + 3; /* "<U+10FFFF>" is the longest a byte becomes */
	void *arena = p->arena;

	while (n && (s[n - 1] == '\n' || s[n - 1] == '\r') && n == cut)
		n--;
	if (!grow(&arena, &p->room, p->used + most, 1))
		return false;
	p->arena = arena;
	l->at = (uint32_t)p->used;
	p->cut = p->cut || n > DIFF_LINE_MAX;
	/* A line is one line: scrub() keeps tabs and newlines, and the latter become blanks. */
	const size_t got = scrub(p->arena + p->used, most, s, n < cut ? n : cut, true);
	for (size_t i = 0; i < got; i++)
		if (p->arena[p->used + i] == '\n')
			p->arena[p->used + i] = ' ';
	if (cr) /* the line ends in CR LF: else nothing would show what differs */
		memcpy(p->arena + p->used + got, "^M", 3);
	p->used += got + (cr ? 3 : 1);
	return true;
}

/* In a run of removed lines followed by added ones the first stands for the first, and so on. */
static void pair_lines(struct diffpart *p, size_t from)
{
	size_t i = from;

	while (i < p->nlines) {
		size_t del = i, add, n;

		if (p->lines[i].k != '-') {
			i++;
			continue;
		}
		while (i < p->nlines && p->lines[i].k == '-')
			i++;
		while (i < p->nlines && p->lines[i].k == '\\')
			i++;
		add = i;
		while (i < p->nlines && p->lines[i].k == '+')
			i++;
		for (n = 0; add + n < i && p->lines[del + n].k == '-'; n++) {
			p->lines[del + n].pair = (int32_t)(add + n);
			p->lines[add + n].pair = (int32_t)(del + n);
		}
	}
}

static bool take_lines(struct diffpart *p, struct diffhunk *h, size_t *room, const json_t *list)
{
	uint32_t old_no = h->old_start, new_no = h->new_start;
	const size_t n = json_array_size(list);
	void *lines = p->lines;

	h->first = (uint32_t)p->nlines;
	for (size_t i = 0; i < n; i++) {
		const json_t *o = json_array_get(list, i);
		const char *k = json_string_value(json_object_get(o, "k"));

		if (p->nlines == DIFF_LINES_MAX || p->used > UINT32_MAX / 2 || !grow(&lines, room, p->nlines + 1, sizeof(*p->lines)))
			return false;
		p->lines = lines;
		struct diffline *l = &p->lines[p->nlines];
		memset(l, 0, sizeof(*l));
		l->k = k && (*k == '+' || *k == '-' || *k == '\\') ? *k : ' ';
		l->pair = -1;
		l->escaped = json_is_true(json_object_get(o, "escaped"));
		l->old_no = l->k == '-' || l->k == ' ' ? old_no++ : 0;
		l->new_no = l->k == '+' || l->k == ' ' ? new_no++ : 0;
		p->cut = p->cut || json_is_true(json_object_get(o, "cut"));
		if (!take_text(p, l, json_object_get(o, "t"), json_is_true(json_object_get(o, "cr"))))
			return false;
		p->nlines++;
	}
	return true;
}

static void take_part(struct diffpart *p, const json_t *hunks)
{
	size_t n = json_array_size(hunks), room = 0;
	bool full = false;

	memset(p, 0, sizeof(*p));
	if (n > DIFF_HUNKS_MAX) {
		n = DIFF_HUNKS_MAX;
		p->cut = true;
	}
	p->hunks = n ? calloc(n, sizeof(*p->hunks)) : NULL;
	for (size_t i = 0; i < n && p->hunks && !full; i++) {
		const json_t *o = json_array_get(hunks, i);
		struct diffhunk *h = &p->hunks[p->nhunks++];

		h->id = json_incref(json_object_get(o, "id"));
		h->old_start = field_u32(o, "old_start");
		h->old_lines = field_u32(o, "old_lines");
		h->new_start = field_u32(o, "new_start");
		h->new_lines = field_u32(o, "new_lines");
		field_text(o, "section", h->section, sizeof(h->section));
		full = !take_lines(p, h, &room, json_object_get(o, "lines"));
		h->nlines = (uint32_t)p->nlines - h->first;
		pair_lines(p, h->first);
	}
	p->cut = p->cut || full;
}

static const json_t *hunks_of(const json_t *side)
{
	return json_is_array(side) ? side : json_object_get(side, "hunks");
}

static bool begin(struct difftext *t, const char *sandbox, const char *workspace, const char *path)
{
	difftext_release(t);
	str_copy(t->sandbox, sizeof(t->sandbox), sandbox);
	t->workspace = str_dup(workspace);
	t->path = str_dup(path);
	if (t->workspace && t->path)
		return true;
	difftext_release(t);
	return false;
}

void difftext_take(struct difftext *t, const char *sandbox, const char *workspace, const char *path, const json_t *r)
{
	if (!begin(t, sandbox, workspace, path))
		return;
	t->kind = change_kind_of(r);
	field_text(r, "digest", t->digest, sizeof(t->digest));
	field_text(r, "old_digest", t->old_digest, sizeof(t->old_digest));
	t->binary = json_is_true(json_object_get(r, "binary"));
	t->truncated = json_is_true(json_object_get(r, "truncated"));
	t->conflict = json_is_true(json_object_get(r, "conflict"));
	t->old_size = field_u64(r, "old_size");
	t->new_size = field_u64(r, "new_size");
	take_part(&t->diff, json_object_get(r, "hunks"));
	const json_t *ours = json_object_get(r, "ours"), *theirs = json_object_get(r, "theirs");
	t->has_sides = ours || theirs;
	take_part(&t->side[0], hunks_of(ours));
	take_part(&t->side[1], hunks_of(theirs));
	t->truncated = t->truncated || t->diff.cut;
	t->loaded = true;
}

void difftext_failed(struct difftext *t, const char *sandbox, const char *workspace, const char *path, const char *why)
{
	if (begin(t, sandbox, workspace, path))
		scrub(t->error, sizeof(t->error), why, strlen(why), false);
}
