/* SPDX-License-Identifier: Apache-2.0 */
/* changes.list, changes.diff and changes.patch of docs/protocol.md. An answer stays far below a client's line: JSON may double it. */
#include <errno.h>
#include <string.h>

#include "core/base/escape.h"
#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/proto/tree.h"
#include "core/review/digest.h"
#include "core/review/hunks.h"
#include "core/review/layer.h"
#include "core/review/patch.h"
#include "core/review/review.h"

#define ANSWER_MAX (360u * 1024u)
#define LINE_MOST 4000u            /* bytes shown of one line */
#define PATCH_BUF (CONTENT_MAX * 2u)
#define PATCH_MAX (UINT64_C(1) << 30)
#define LEFT_MOST 200u

static void put_escaped(struct buf *b, const char *key, const void *p, size_t n)
{
	struct buf text;

	buf_init(&text, 4 * n + 1);
	escape_bytes(&text, p, n);
	tree_text(b, key, buf_head(&text), buf_size(&text));
	buf_release(&text);
}

static void put_path(struct buf *b, const char *key, const char *path)
{
	put_escaped(b, key, path, strlen(path));
}

static bool wanted(const struct review_ask *m, const char *path)
{
	for (size_t i = 0; i < m->nitems; i++) {
		const size_t n = strlen(m->item[i].path);

		if (n == 0 || (strncmp(path, m->item[i].path, n) == 0 && (path[n] == '\0' || path[n] == '/')))
			return true;
	}
	return m->nitems == 0;
}

/* ---- list ------------------------------------------------------------------------------------------------------------------------------- */

static void put_change(struct buf *b, const struct change *c)
{
	const struct side *s = c->kind == CHANGE_DELETED ? &c->ours : &c->theirs;

	tree_object(b, NULL);
	put_path(b, "path", c->path);
	if (c->from)
		put_path(b, "from", c->from);
	tree_str(b, "kind", change_kinds[c->kind]);
	tree_str(b, "type", changes_types[s->type]);
	tree_int(b, "size", (int64_t)(s->size & INT64_MAX));
	tree_int(b, "mode", s->mode);
	if (c->ours.type != CHANGES_WHITEOUT && c->ours.mode != c->theirs.mode && c->kind != CHANGE_DELETED)
		tree_int(b, "old_mode", c->ours.mode);
	tree_bool(b, "binary", c->binary);
	if (c->counted) {
		tree_int(b, "add", c->add);
		tree_int(b, "del", c->del);
	} else {
		tree_null(b, "add");
		tree_null(b, "del");
	}
	tree_list(b, "flags");
	for (unsigned i = 0; i < CHANGE_FLAGS; i++)
		if (c->flags & 1u << i)
			tree_str(b, NULL, change_flags[i]);
	tree_end(b);
	if (c->mark)
		tree_str(b, "mark", c->mark);
	tree_bool(b, "conflict", c->conflict);
	tree_end(b);
}

struct page { uint32_t from, left; };

static void put_workspace(struct layer *l, const struct review_ask *m, struct buf *b, struct page *p)
{
	struct review_counts sum = { 0 };
	size_t n, total = 0;
	struct change **c = layer_changes(l, &n);
	bool truncated, ready = layer_ready(l, &truncated);

	for (size_t i = 0; i < n; i++) {
		if (!wanted(m, c[i]->path))
			continue;
		total++;
		sum.conflicts += c[i]->conflict;
		sum.marked += c[i]->mark != NULL;
		sum.add += c[i]->counted ? c[i]->add : 0;
		sum.del += c[i]->counted ? c[i]->del : 0;
	}
	tree_object(b, NULL);
	put_path(b, "path", layer_path(l));
	tree_str(b, "mode", layer_mode(l));
	tree_bool(b, "ready", ready);
	tree_bool(b, "truncated", truncated);
	tree_int(b, "total", (int64_t)total);
	tree_int(b, "add", (int64_t)sum.add);
	tree_int(b, "del", (int64_t)sum.del);
	tree_int(b, "conflicts", sum.conflicts);
	tree_int(b, "marked", sum.marked);
	tree_list(b, "entries");
	for (size_t i = 0; i < n; i++) {
		if (!wanted(m, c[i]->path))
			continue;
		if (p->from > 0) {
			p->from--;
			continue;
		}
		if (p->left == 0 || buf_size(b) > ANSWER_MAX)
			break;
		p->left--;
		put_change(b, c[i]);
	}
	tree_end(b);
	tree_end(b);
}

int answer_list(struct review *r, const struct review_ask *m, struct buf *out, struct err *e)
{
	struct page p = { .from = m->from, .left = m->limit };

	(void)e;
	tree_object(out, NULL);
	tree_list(out, "workspaces");
	for (uint8_t i = 0; i < WORKSPACES_MAX; i++) {
		struct layer *l = m->index == REVIEW_EVERY || m->index == i ? review_layer(r, i) : NULL;

		if (l && (m->flags & REVIEW_STAT))
			layer_count_all(l);
		if (l)
			put_workspace(l, m, out, &p);
	}
	tree_end(out);
	tree_end(out);
	return 0;
}

/* ---- diff ------------------------------------------------------------------------------------------------------------------------------- */

/* What a change is made against: the base when the host went on since, if it was kept. */
static int old_side(struct layer *l, const struct change *c, struct content *out, struct err *e)
{
	const char *path = c->from ? c->from : c->path;

	if (layer_live(l)) {
		const int r = layer_base(l, path, out);

		return r == 0 || r == -ENOENT ? 0 : err_set(e, ENODATA, "what it was before is not kept: it was too large, or changed before it could be");
	}
	if (c->conflict) {
		const int r = layer_base(l, path, out);

		if (r == 0 || r == -ENOENT)
			return 0;
	}
	return layer_ours(l, path, out, e);
}

struct hunks_out { struct buf *b; bool in_hunk, truncated; };

static void end_hunk(struct hunks_out *o)
{
	if (!o->in_hunk)
		return;
	tree_end(o->b);
	tree_end(o->b);
	o->in_hunk = false;
}

static bool on_hunk(void *arg, const struct hunk *h)
{
	struct hunks_out *o = arg;

	end_hunk(o);
	if (buf_size(o->b) > ANSWER_MAX || h->id > UINT16_MAX) {
		o->truncated = true;
		return false;
	}
	tree_object(o->b, NULL);
	tree_int(o->b, "id", h->id);
	tree_int(o->b, "old_start", h->old_start);
	tree_int(o->b, "old_lines", h->old_lines);
	tree_int(o->b, "new_start", h->new_start);
	tree_int(o->b, "new_lines", h->new_lines);
	put_escaped(o->b, "section", h->section, h->nsection);
	tree_list(o->b, "lines");
	o->in_hunk = true;
	return true;
}

static bool on_line(void *arg, const struct hunk_line *l)
{
	struct hunks_out *o = arg;
	const char k[2] = { l->k, '\0' };
	struct buf text;
	size_t n = l->n;
	bool crlf = n > 0 && l->text[n - 1] == '\r';

	if (buf_size(o->b) > ANSWER_MAX) {
		o->truncated = true;
		return false;
	}
	n -= crlf;
	const bool cut = n > LINE_MOST;
	if (cut)
		n = LINE_MOST;
	buf_init(&text, 4 * n + 1);
	const bool escaped = escape_line(&text, l->text, n);
	tree_object(o->b, NULL);
	tree_str(o->b, "k", k);
	tree_text(o->b, "t", buf_head(&text), buf_size(&text));
	if (escaped)
		tree_bool(o->b, "escaped", true);
	if (crlf)
		tree_bool(o->b, "cr", true);
	if (cut)
		tree_bool(o->b, "cut", true);
	tree_end(o->b);
	buf_release(&text);
	return true;
}

/* "hunks": [...] of the two, nothing for what has no lines. True: cut. */
static bool put_hunks(struct buf *b, const struct content *old, const struct content *new_, unsigned context)
{
	static const struct hunk_ops ops = { .on_hunk = on_hunk, .on_line = on_line };
	struct hunks_out o = { .b = b };

	tree_list(b, "hunks");
	if (!content_binary(old) && !content_binary(new_) && hunks_each(old, new_, context, &ops, &o) < 0)
		o.truncated = true;
	end_hunk(&o);
	tree_end(b);
	return o.truncated;
}

static int put_conflict(struct layer *l, const struct change *c, const struct review_ask *m, const struct content *theirs, struct buf *b, struct err *e)
{
	struct content base = { .n = 0 }, ours = { .n = 0 };
	const char *path = c->from ? c->from : c->path;
	const int known = layer_base(l, path, &base);
	int r = layer_ours(l, path, &ours, e);
	bool cut = false;

	if (r == 0) {
		tree_object(b, "base");
		tree_bool(b, "known", known == 0 || known == -ENOENT);
		tree_bool(b, "exists", known == 0);
		tree_int(b, "size", (int64_t)base.n);
		tree_end(b);
		tree_object(b, "ours");
		tree_bool(b, "exists", ours.side.type != CHANGES_WHITEOUT);
		cut = put_hunks(b, &base, &ours, m->context);
		tree_end(b);
		tree_object(b, "theirs");
		tree_bool(b, "exists", theirs->side.type != CHANGES_WHITEOUT);
		cut = put_hunks(b, known == 0 || known == -ENOENT ? &base : &ours, theirs, m->context) || cut;
		tree_end(b);
		tree_bool(b, "truncated", cut);
	}
	content_release(&base);
	content_release(&ours);
	return r;
}

static void put_diff(const struct change *c, const struct content *old, const struct content *theirs, struct buf *b)
{
	char hex[DIGEST_HEX];

	digest_hex(hex, theirs->digest);
	put_path(b, "path", c->path);
	if (c->from)
		put_path(b, "from", c->from);
	tree_str(b, "kind", change_kinds[c->kind]);
	tree_str(b, "type", changes_types[c->kind == CHANGE_DELETED ? old->side.type : theirs->side.type]);
	tree_str(b, "digest", hex);
	digest_hex(hex, old->digest);
	tree_str(b, "old_digest", hex);
	tree_bool(b, "binary", content_binary(old) || content_binary(theirs));
	tree_int(b, "old_size", (int64_t)old->n);
	tree_int(b, "new_size", (int64_t)theirs->n);
	if (old->side.type != CHANGES_WHITEOUT)
		tree_int(b, "old_mode", old->side.mode);
	if (theirs->side.type != CHANGES_WHITEOUT)
		tree_int(b, "mode", theirs->side.mode);
	tree_bool(b, "conflict", c->conflict);
	if (c->mark)
		tree_str(b, "mark", c->mark);
}

int answer_diff(struct review *r, const struct review_ask *m, struct buf *out, struct err *e)
{
	struct layer *l = review_layer(r, m->index);
	struct change *c = l && m->nitems == 1 ? layer_find(l, m->item[0].path) : NULL;
	struct content old = { .n = 0 }, theirs = { .n = 0 };
	int rc;

	if (!c)
		return err_set(e, ENOENT, "the sandbox changed nothing there");
	if ((rc = layer_theirs(l, c->path, &theirs, e)) == 0 && (rc = old_side(l, c, &old, e)) == 0) {
		tree_object(out, NULL);
		put_diff(c, &old, &theirs, out);
		if (m->flags & REVIEW_CONFLICT)
			rc = put_conflict(l, c, m, &theirs, out, e);
		else
			tree_bool(out, "truncated", put_hunks(out, &old, &theirs, m->context));
		tree_end(out);
	}
	content_release(&old);
	content_release(&theirs);
	return rc;
}

/* ---- patch ------------------------------------------------------------------------------------------------------------------------------ */

struct patching { struct layer *l; const struct review_ask *m; int fd; uint64_t written; uint32_t files; };

static int put_patch(struct patching *p, const struct change *c, struct buf *b, struct err *e)
{
	struct content old = { .n = 0 }, theirs = { .n = 0 };
	int r = layer_theirs(p->l, c->path, &theirs, e);

	buf_clear(b);
	if (r == 0)
		r = old_side(p->l, c, &old, e);
	if (r == 0 && (r = patch_put(b, c->from ? c->from : c->path, c->path, &old, &theirs, p->m->context)) < 0)
		err_set(e, EIO, "it cannot be compared");
	else if (r == 0 && (!buf_ok(b) || p->written + buf_size(b) > PATCH_MAX))
		r = err_set(e, EFBIG, "it makes the patch too large");
	if (r == 0 && (r = fd_pwrite_full(p->fd, buf_head(b), buf_size(b), (off_t)p->written)) < 0)
		err_errno(e, -r, "the patch cannot be written");
	if (r == 0)
		p->written += buf_size(b);
	content_release(&old);
	content_release(&theirs);
	return r;
}

int answer_patch(struct review *r, const struct review_ask *m, int fd, struct buf *out, struct err *e)
{
	struct patching p = { .l = review_layer(r, m->index), .m = m, .fd = fd };
	struct buf b;
	size_t n, left = 0;

	if (!p.l || fd < 0)
		return err_set(e, ENOENT, "that workspace has no changes of its own");
	struct change **c = layer_changes(p.l, &n);
	buf_init(&b, PATCH_BUF);
	tree_object(out, NULL);
	tree_list(out, "left");
	for (size_t i = 0; i < n; i++) {
		struct err why = ERR_INIT;
		const char *cannot = patch_cannot(c[i]);

		if (!wanted(m, c[i]->path))
			continue;
		if (!cannot && put_patch(&p, c[i], &b, &why) == 0) {
			p.files++;
			continue;
		}
		if (left++ >= LEFT_MOST)
			continue;
		tree_object(out, NULL);
		put_path(out, "path", c[i]->path);
		tree_str(out, "reason", cannot ? cannot : why.msg);
		tree_end(out);
	}
	tree_end(out);
	tree_int(out, "left_out", (int64_t)left);
	tree_int(out, "files", p.files);
	tree_int(out, "bytes", (int64_t)p.written);
	tree_end(out);
	buf_release(&b);
	return 0;
}
