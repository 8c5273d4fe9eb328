/* SPDX-License-Identifier: Apache-2.0 */
/*
 * changes.apply: which changes are taken, and what came of each.
 *
 * A change is taken when the person named it, or took all, and nothing speaks against it: the host has not changed the file since the change was
 * seen, what they looked at is what the sandbox still has, (unless named) it would not be run on the host, and it is of no odd kind but one they
 * have said they take. What it is, is what was read: what was told of it before are claims. The order of
 * looking matters: first the host's file is read, then it is asked whether that is what it was when the change was first seen, and what was read must still stand there
 * when the new one takes its place (apply.h). What was applied leaves the sandbox's layer, unless it was changed there meanwhile.
 */
#include "core/review/review.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/review/apply.h"
#include "core/review/danger.h"
#include "core/review/decide.h"
#include "core/review/pick.h"
#include "core/review/verdict.h"

/* ---- may it be taken? ---------------------------------------------------------------------------------------------------------------------- */

/* What speaks against a change by its nature. */
static bool stands_against(struct verdict *v, const struct change *c, uint16_t flags, const struct review_item *it)
{
	enum consent { NEVER, NAMED, SAID }; /* what it takes: no word does, its name, or this very flag */
	static const struct { uint16_t flag; enum consent takes; const char *why; } odd[] = {
		{ FLAG_DEVICE, NEVER, "it is a device, FIFO or socket: such are never made on the host" },
		{ FLAG_LARGE, NEVER, "it is too large to be applied: copy it with 'bulkhead cp'" },
		{ FLAG_HIDDEN, NAMED, "its name is hidden from the sandbox: the sandbox never saw what the host has there" },
		{ FLAG_SETID, SAID, "it is setuid or setgid in the sandbox: 'bulkhead apply --setuid' applies it without that" },
		{ FLAG_LINK_ABSOLUTE, SAID, "it is a link with an absolute target: 'bulkhead apply --links' applies it" },
		{ FLAG_LINK_ESCAPES, SAID, "it is a link that leads out of the workspace, or could: 'bulkhead apply --links' applies it" },
		{ FLAG_NAME, NAMED, "its name holds control or format characters" },
	};
	const bool named = it && it->named;

	if (danger_is_git(c->path) || (c->from && danger_is_git(c->from))) {
		verdict_skip(v, c->path, "mark", "git's own directory is never changed file by file: what was committed inside comes by 'bulkhead fetch'");
		return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(odd); i++)
		if ((flags & odd[i].flag) && (odd[i].takes == NEVER || (odd[i].takes == NAMED && !named) || (odd[i].takes == SAID && !(it && it->flags & odd[i].flag)))) {
			verdict_skip(v, c->path, "flag", "%s", odd[i].why);
			return true;
		}
	if (c->mark && !named) {
		verdict_skip(v, c->path, "mark", "%s: it would be run or obeyed on the host", c->mark);
		return true;
	}
	return false;
}

/* What layer_ours() read, as what must still stand there. */
static int expected(const struct content *ours, struct look *out)
{
	static const uint8_t kinds[CHANGES_TYPES] = { [CHANGES_FILE] = LOOK_FILE, [CHANGES_DIR] = LOOK_DIR, [CHANGES_SYMLINK] = LOOK_LINK, [CHANGES_FIFO] = LOOK_OTHER,
						      [CHANGES_SOCKET] = LOOK_OTHER, [CHANGES_DEVICE] = LOOK_OTHER, [CHANGES_WHITEOUT] = LOOK_NONE };
	const bool none = ours->side.mode == 0 && ours->side.size == 0 && !ours->data;

	*out = (struct look){ .kind = none && ours->side.type != CHANGES_FILE ? LOOK_NONE : kinds[ours->side.type], .mode = ours->side.mode, .size = ours->n };
	return out->kind == LOOK_FILE || out->kind == LOOK_LINK ? digest_of(ours->data, ours->n, out->digest) : 0;
}

/* ---- apply ----------------------------------------------------------------------------------------------------------------------------------- */

static int content_fd(const void *p, size_t n)
{
	return fd_memfd("bulkhead-apply", p, n);
}

static void told_of(struct verdict *v, const char *path, enum apply_result r, const struct apply_told *t)
{
	static const char *const kinds[APPLY_RESULTS] = { [APPLY_CONFLICT] = "conflict", [APPLY_REFUSED] = "flag", [APPLY_ERROR] = "error" };

	if (r <= APPLY_SAME)
		verdict_did(v, path, t);
	else
		verdict_skip(v, path, kinds[r], "%s", t->why);
}

/*
 * The sandbox's side still is what was applied: then its layer lets go of it, so that it sees what the host does there next. What it wrote meanwhile
 * stays a change. Below a directory of its own making the layer keeps it (the host's would not show): it is the same, and no change.
 */
static void let_go(struct verdict *v, const char *path, const struct content *theirs)
{
	struct content now = { 0 };
	struct err e = ERR_INIT;

	if (theirs->side.type != CHANGES_DIR && layer_shows(v->l, path) && layer_theirs(v->l, path, &now, &e) == 0 && memcmp(now.digest, theirs->digest, DIGEST) == 0)
		layer_discard(v->l, path, &e);
	content_release(&now);
}

/* The directories that held what was just deleted go too, when they are empty here and gone in the sandbox. */
static void prune_above(struct verdict *v, const char *path)
{
	char above[PLACE_PATH_MAX + 1];
	struct apply_told t;
	struct content theirs;

	if ((v->m->flags & REVIEW_DRY_RUN) || !str_copy(above, sizeof(above), path))
		return;
	for (char *slash; (slash = strrchr(above, '/'));) {
		const struct apply_change c = { .path = above, .to = LOOK_NONE, .content = -1, .expect = &(struct look){ .kind = LOOK_DIR } };
		struct err e = ERR_INIT;

		*slash = '\0';
		if (!place_is_empty_dir(layer_root(v->l), above) || layer_theirs(v->l, above, &theirs, &e) < 0)
			return;
		const bool gone = theirs.side.type == CHANGES_WHITEOUT;
		content_release(&theirs);
		if (!gone || apply_change(v->a, &c, &t) != APPLY_DONE)
			return;
		verdict_did(v, above, &t);
	}
}

struct sides { struct content ours, theirs; };

static enum apply_result write_it(struct verdict *v, const struct change *c, const struct review_item *it, const struct sides *s, struct apply_told *t)
{
	static const uint8_t kinds[CHANGES_TYPES] = { [CHANGES_FILE] = LOOK_FILE, [CHANGES_DIR] = LOOK_DIR, [CHANGES_SYMLINK] = LOOK_LINK, [CHANGES_FIFO] = LOOK_OTHER,
						      [CHANGES_SOCKET] = LOOK_OTHER, [CHANGES_DEVICE] = LOOK_OTHER, [CHANGES_WHITEOUT] = LOOK_NONE };
	char text[PATH_MAX] = "";
	struct look expect;
	struct buf part;
	struct err e = ERR_INIT;
	int r = expected(&s->ours, &expect);

	buf_init(&part, 2u * CONTENT_MAX);
	if (r == 0 && it && it->nhunks)
		r = pick_hunks(s->ours.data, s->ours.n, s->theirs.data, s->theirs.n, v->m->context, it->hunks, it->nhunks, &part, &e);
	const bool some = it && it->nhunks;
	const uint8_t to = kinds[s->theirs.side.type];
	AUTO_FD fd = r < 0 || to != LOOK_FILE ? -1 : some ? content_fd(buf_head(&part), buf_size(&part)) : content_fd(s->theirs.data, s->theirs.n);
	buf_release(&part);
	*t = (struct apply_told){ 0 };
	if (r < 0 || (to == LOOK_FILE && fd < 0)) {
		snprintf(t->why, sizeof(t->why), "%.200s", e.code ? e.msg : "out of memory");
		return APPLY_ERROR;
	}
	if (to == LOOK_LINK && s->theirs.n < sizeof(text) && !memchr(s->theirs.data, 0, s->theirs.n)) /* else "", which is refused */
		memcpy(text, s->theirs.data, s->theirs.n);
	const uint16_t open = s->ours.side.mode & (uint16_t)~MODE_COMPARED;
	const uint16_t mode = some ? s->ours.side.mode : (s->theirs.side.mode & MODE_COMPARED) | open;
	const struct apply_change change = { .path = c->path, .to = to, .mode = mode, .content = fd, .text = text,
					     .expect = &expect, .anywhere = it && it->flags & (FLAG_LINK_ABSOLUTE | FLAG_LINK_ESCAPES) };
	return apply_change(v->a, &change, t);
}

/* The old name of what was renamed. What was moved with its directory is in the sandbox nothing but a way to that name: it keeps a copy first. */
static void remove_old(struct verdict *v, const char *path, const char *from, const struct content *was)
{
	const bool dry = v->m->flags & REVIEW_DRY_RUN;
	struct err e = ERR_INIT;
	struct content none = { .side = { .type = CHANGES_WHITEOUT } };
	struct look expect;
	struct apply_told t = { 0 };
	enum apply_result r = APPLY_ERROR;

	if (!dry && layer_keep(v->l, path, &e) < 0) {
		verdict_skip(v, from, "error", "its new name stands, its old one stays: %s", e.msg);
		return;
	}
	if (expected(was, &expect) == 0) {
		const struct apply_change change = { .path = from, .to = LOOK_NONE, .content = -1, .expect = &expect };
		r = apply_change(v->a, &change, &t);
	}
	told_of(v, from, r, &t);
	if (r > APPLY_SAME || dry)
		return;
	content_digest(&none);
	layer_applied(v->l, from);
	let_go(v, from, &none);
	prune_above(v, from);
}

static void take(struct verdict *v, const struct change *c, const struct review_item *it, const struct sides *s, const struct content *old)
{
	struct apply_told t;
	const bool some = it && it->nhunks;
	AUTO_FREE char *path = str_dup(c->path); /* the change itself may go with what is told next */
	AUTO_FREE char *from = c->from && !some ? str_dup(c->from) : NULL;
	const enum apply_result r = path ? write_it(v, c, it, s, &t) : APPLY_ERROR;

	if (!path)
		return;
	told_of(v, path, r, &t);
	if (r > APPLY_SAME)
		return;
	if (from)
		remove_old(v, path, from, old);
	if (v->m->flags & REVIEW_DRY_RUN)
		return;
	layer_applied(v->l, path);
	if (!some)
		let_go(v, path, &s->theirs);
	if (t.after.kind == LOOK_NONE)
		prune_above(v, path);
}

/* What was read is of these odd kinds, whatever was told of it. */
static uint16_t flags_of(const char *path, const struct content *c)
{
	char text[PATH_MAX] = "";

	if (c->side.type == CHANGES_FILE)
		return c->side.mode & 06000 ? FLAG_SETID : 0;
	if (c->side.type != CHANGES_SYMLINK)
		return c->side.type == CHANGES_DIR || c->side.type == CHANGES_WHITEOUT ? 0 : FLAG_DEVICE;
	if (c->n == 0 || c->n >= sizeof(text) || memchr(c->data, 0, c->n))
		return FLAG_LINK_ESCAPES; /* none that can be made */
	memcpy(text, c->data, c->n);
	return *text == '/' ? FLAG_LINK_ABSOLUTE : apply_link_stays(path, text) ? 0 : FLAG_LINK_ESCAPES;
}

/* Both sides are read; only now is it asked whether the host's is what it was when the change was first seen. */
static void judge(struct verdict *v, const char *path, const struct review_item *it, const struct sides *s, const struct content *old)
{
	const struct change *c = layer_find(v->l, path);
	const struct content *was = c && c->from ? old : &s->ours;

	if (!c)
		verdict_skip(v, path, "gone", "it is no change any more");
	else if (it && it->has_digest && memcmp(it->digest, s->theirs.digest, DIGEST) != 0)
		verdict_skip(v, path, "changed", "the sandbox has changed it since it was looked at");
	else if (c->theirs.type != s->theirs.side.type)
		verdict_skip(v, path, "changed", "it was told as a %s and is a %s: look at it again", changes_types[c->theirs.type], changes_types[s->theirs.side.type]);
	else if (it && it->has_old && memcmp(it->old, was->digest, DIGEST) != 0)
		verdict_skip(v, path, "changed", "the host's file is not the one it was compared with: look at it again");
	else if (c->conflict)
		verdict_skip(v, path, "conflict", "the host has changed it since the change was first seen");
	else if (!stands_against(v, c, c->flags | flags_of(path, &s->theirs), it))
		take(v, c, it, s, old);
}

static void apply_found(struct verdict *v, const struct change *c, const struct review_item *it)
{
	AUTO_FREE char *path = str_dup(c->path);
	AUTO_FREE char *from = c->from ? str_dup(c->from) : NULL;
	struct sides s = { 0 };
	struct content old = { 0 };
	struct err e = ERR_INIT;

	if (!path || stands_against(v, c, c->flags, it))
		return;
	if (it && it->nhunks && (c->kind != CHANGE_MODIFIED || c->theirs.type != CHANGES_FILE)) {
		verdict_skip(v, path, "error", "it is %s: it is taken whole or not at all", c->theirs.type == CHANGES_SYMLINK ? "a link" : change_kinds[c->kind]);
		return;
	}
	int r = layer_ours(v->l, path, &s.ours, &e);
	if (r == 0 && from)
		r = layer_ours(v->l, from, &old, &e);
	if (r == 0)
		r = layer_theirs(v->l, path, &s.theirs, &e);
	if (r < 0)
		verdict_skip(v, path, r == -ENOENT ? "gone" : "error", "%s", e.code ? e.msg : strerror(-r));
	else
		judge(v, path, it, &s, &old);
	content_release(&s.ours);
	content_release(&s.theirs);
	content_release(&old);
}
/* ---- the question ----------------------------------------------------------------------------------------------------------------------------- */

int answer_apply(struct review *r, const struct review_ask *m, struct buf *out, struct err *e)
{
	struct verdict v;
	AUTO_FD store = decide_store(r, e);
	int rc;

	if (store < 0)
		return store;
	rc = verdict_begin(&v, r, m, e);
	v.applying = true;
	if (rc == 0) {
		struct record_head h = { .kind = RECORD_APPLY, .at_ms = clock_wall_ns() / 1000000 };

		str_copy(h.workspace, sizeof(h.workspace), layer_path(v.l));
		rc = apply_begin(&v.a, layer_root(v.l), store, &h, m->flags & REVIEW_DRY_RUN, e);
	}
	if (rc == 0) {
		rc = verdict_go(&v, apply_found, e);
		verdict_answer(&v, out, apply_end(&v.a));
	}
	verdict_end(&v);
	return rc;
}
