/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a file's difference: one under the other, side by side, or what both sides of a conflict did. See diff.h. */
#include <stdlib.h>
#include <string.h>

#include "tui/diff.h"

static bool add(struct diffview *v, enum textrow_kind kind, int part, int32_t hunk, int32_t left, int32_t right)
{
	if (v->ntext == v->text_room) {
		const size_t room = v->text_room ? v->text_room * 2 : 256;
		struct textrow *grown = realloc(v->text, room * sizeof(*grown));

		if (!grown)
			return false;
		v->text = grown;
		v->text_room = room;
	}
	const struct textrow was = v->ntext < v->kept ? v->text[v->ntext] : (struct textrow){ .cols = -1 };
	v->text[v->ntext++] = (struct textrow){ .kind = (uint8_t)kind, .part = (uint8_t)part, .hunk = hunk, .left = left, .right = right,
						.cols = was.cols, .shown = was.shown, .read = was.read };
	v->nread += was.read;
	return true;
}

static void unified(struct diffview *v, const struct diffpart *p, int part)
{
	for (size_t h = 0; h < p->nhunks; h++) {
		add(v, TR_HUNK, part, (int32_t)h, -1, -1);
		for (uint32_t i = 0; i < p->hunks[h].nlines; i++)
			add(v, TR_LINE, part, (int32_t)h, (int32_t)(p->hunks[h].first + i), -1);
	}
}

/* Old lines at the left, new ones at the right; a removed line and the one that replaces it share a row. */
static void beside(struct diffview *v, const struct diffpart *p)
{
	for (size_t h = 0; h < p->nhunks; h++) {
		const uint32_t end = p->hunks[h].first + p->hunks[h].nlines;

		add(v, TR_HUNK, 0, (int32_t)h, -1, -1);
		for (uint32_t i = p->hunks[h].first; i < end;) {
			uint32_t del = i, add_at;

			if (p->lines[i].k == ' ' || p->lines[i].k == '\\') {
				const bool note = p->lines[i].k == '\\';

				add(v, TR_LINE, 0, (int32_t)h, (int32_t)i, note ? -1 : (int32_t)i);
				i++;
				continue;
			}
			while (i < end && p->lines[i].k == '-')
				i++;
			const uint32_t del_end = i;
			while (i < end && p->lines[i].k == '\\') /* said of the old file: before the new lines */
				i++;
			const uint32_t note_end = i;
			for (add_at = i; i < end && p->lines[i].k == '+'; i++)
				;
			while (del < del_end || add_at < i) {
				add(v, TR_LINE, 0, (int32_t)h, del < del_end ? (int32_t)del : -1, add_at < i ? (int32_t)add_at : -1);
				del += del < del_end;
				add_at += add_at < i;
			}
			for (uint32_t k = del_end; k < note_end; k++)
				add(v, TR_LINE, 0, (int32_t)h, (int32_t)k, -1);
		}
	}
}

/* Where a line stands in what both sides began with: twice its number, between two for what was added. */
static uint64_t place(const struct diffpart *p, size_t i, uint64_t *last)
{
	if (p->lines[i].old_no)
		*last = p->lines[i].old_no;
	return p->lines[i].old_no ? 2 * (uint64_t)p->lines[i].old_no : 2 * *last + 1;
}

static void three_ways(struct diffview *v, const struct difftext *t)
{
	const struct diffpart *a = &t->side[0], *b = &t->side[1];
	uint64_t last_a = a->nhunks && a->hunks[0].old_start ? a->hunks[0].old_start - 1 : 0, last_b = b->nhunks && b->hunks[0].old_start ? b->hunks[0].old_start - 1 : 0;
	size_t i = 0, k = 0;

	add(v, TR_HEAD, 0, -1, -1, -1);
	while (i < a->nlines || k < b->nlines) {
		uint64_t was_a = last_a, was_b = last_b;
		const uint64_t x = i < a->nlines ? place(a, i, &was_a) : UINT64_MAX, y = k < b->nlines ? place(b, k, &was_b) : UINT64_MAX;

		if (!add(v, TR_LINE, 1, -1, x <= y ? (int32_t)i : -1, y <= x ? (int32_t)k : -1))
			return;
		if (x <= y) {
			i++;
			last_a = was_a;
		}
		if (y <= x) {
			k++;
			last_b = was_b;
		}
	}
}

void diffview_text(struct diffview *v, const struct difftext *t, enum text_mode mode)
{
	if (v->text_valid && v->text_serial == t->serial && v->text_mode == mode)
		return;
	const bool kept = v->text_valid && v->text_serial == t->serial;
	const int32_t hunk = kept && v->line < v->ntext ? v->text[v->line].hunk : -1;
	/* The same text told again, as happens while the sandbox writes elsewhere: what was read of it was. */
	const bool same = v->text_mode == mode && t->digest[0] && strcmp(v->read_digest, t->digest) == 0 && strcmp(v->read_old, t->old_digest) == 0;
	v->kept = same ? v->ntext : 0;
	str_copy(v->read_digest, sizeof(v->read_digest), t->digest);
	str_copy(v->read_old, sizeof(v->read_old), t->old_digest);
	v->ntext = v->nread = 0;
	v->text_valid = true;
	v->text_serial = t->serial;
	v->text_mode = mode;
	switch (mode) {
	case TM_UNIFIED: unified(v, &t->diff, 0); break;
	case TM_SIDES: beside(v, &t->diff); break;
	case TM_CONFLICT: three_ways(v, t); break;
	case TM_CONFLICT_STACKED:
		for (int s = 0; s < DIFF_SIDES; s++) {
			add(v, TR_HEAD, s + 1, -1, -1, -1);
			unified(v, &t->side[s], s + 1);
		}
		break;
	}
	if (hunk >= 0) /* shown in another way: the same hunk */
		for (size_t i = 0; i < v->ntext; i++)
			if (v->text[i].kind == TR_HUNK && v->text[i].hunk == hunk) {
				v->line = v->line_top = i;
				break;
			}
	if (v->line >= v->ntext)
		v->line = v->ntext ? v->ntext - 1 : 0;
}

const struct diffpart *textrow_part(const struct textrow *r, const struct difftext *t, int side)
{
	if (!r->part)
		return &t->diff;
	/* Of the two columns of a conflict part says 1 and the column tells which. */
	return &t->side[r->part == 1 && side ? 1 : r->part - 1];
}

size_t diffview_hunk_row(const struct diffview *v, int by)
{
	for (long i = (long)v->line + by; i >= 0 && i < (long)v->ntext; i += by)
		if (v->text[i].kind != TR_LINE)
			return (size_t)i;
	return v->line;
}

static bool row_holds(const struct textrow *r, const struct difftext *t, const char *s)
{
	const int32_t at[2] = { r->left, r->right };

	for (int side = 0; side < 2; side++) {
		const struct diffpart *p = textrow_part(r, t, side);

		if (at[side] >= 0 && (size_t)at[side] < p->nlines && strcasestr(diffpart_text(p, &p->lines[at[side]]), s))
			return true;
	}
	return false;
}

size_t diffview_hit(const struct diffview *v, const struct difftext *t, int by, bool here)
{
	const size_t n = v->ntext;

	if (!v->search[0] || !n || !v->text_valid || v->text_serial != t->serial)
		return SIZE_MAX;
	for (size_t i = here ? 0 : 1; i <= n; i++) {
		const size_t at = by > 0 ? (v->line + i) % n : (v->line + n - i % n) % n;

		if (row_holds(&v->text[at], t, v->search))
			return at;
	}
	return SIZE_MAX;
}
