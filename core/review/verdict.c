/* SPDX-License-Identifier: Apache-2.0 */
#include "core/review/verdict.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/escape.h"
#include "core/base/str.h"
#include "core/proto/tree.h"

#define PART_MAX (TREE_MAX / 3)
#define AUDIT_PART_MAX (40u << 10) /* of a record of at most 64 KiB */
#define ROOM_EACH 512u             /* of an entry besides its path */

/* ---- the answer --------------------------------------------------------------------------------------------------------------------------- */

const char *verdict_shown(const char *path, char dst[4 * PLACE_PATH_MAX + 1])
{
	escape_text(dst, 4 * PLACE_PATH_MAX + 1, path, strlen(path));
	return dst;
}

static bool room(struct verdict *v, struct buf *part, const char *text)
{
	const bool fits = buf_room(part) > strlen(text) + ROOM_EACH;

	v->cut = v->cut || !fits;
	return fits;
}

void verdict_skip(struct verdict *v, const char *path, const char *kind, const char *fmt, ...)
{
	char text[4 * PLACE_PATH_MAX + 1], why[ROOM_EACH / 2];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	v->left++;
	if (!room(v, &v->skipped, verdict_shown(path, text)))
		return;
	tree_object(&v->skipped, NULL);
	tree_str(&v->skipped, "path", text);
	tree_str(&v->skipped, "kind", kind);
	tree_str(&v->skipped, "reason", why);
	tree_end(&v->skipped);
}

static void audit_one(struct verdict *v, const char *text, const struct apply_told *t)
{
	static const char *const kinds[LOOK_KINDS] = { [LOOK_NONE] = "none", [LOOK_FILE] = "file", [LOOK_DIR] = "dir", [LOOK_LINK] = "symlink", [LOOK_OTHER] = "other" };
	char hex[DIGEST_HEX];

	if (buf_room(&v->audit) < strlen(text) + ROOM_EACH)
		return;
	tree_object(&v->audit, NULL);
	tree_str(&v->audit, "path", text);
	tree_str(&v->audit, "was", kinds[t->before.kind]);
	tree_str(&v->audit, "is", kinds[t->after.kind]);
	digest_hex(hex, t->before.digest);
	tree_str(&v->audit, "before", t->before.kind == LOOK_FILE || t->before.kind == LOOK_LINK ? hex : "");
	digest_hex(hex, t->after.digest);
	tree_str(&v->audit, "after", t->after.kind == LOOK_FILE || t->after.kind == LOOK_LINK ? hex : "");
	tree_end(&v->audit);
}

void verdict_did(struct verdict *v, const char *path, const struct apply_told *t)
{
	char text[4 * PLACE_PATH_MAX + 1];

	v->done++;
	verdict_shown(path, text);
	if (t) {
		digest_put(v->sum, path, strlen(path) + 1);
		digest_put(v->sum, t->before.digest, DIGEST_SIZE);
		digest_put(v->sum, t->after.digest, DIGEST_SIZE);
		audit_one(v, text, t);
	}
	if (room(v, &v->applied, text))
		tree_str(&v->applied, NULL, text);
}

static void list_of(struct buf *out, const char *key, const struct buf *part)
{
	tree_list(out, key);
	buf_put(out, buf_head(part), buf_size(part));
	tree_end(out);
}

void verdict_answer(struct verdict *v, struct buf *out, uint32_t id)
{
	uint8_t sum[DIGEST_SIZE];
	char hex[DIGEST_HEX], text[16] = "";

	if (id)
		snprintf(text, sizeof(text), "%u", id);
	tree_object(out, NULL);
	tree_str(out, "id", text);
	tree_str(out, "workspace", layer_path(v->l));
	tree_int(out, "files", v->done);
	tree_int(out, "left", v->left);
	tree_bool(out, "cut", v->cut);
	tree_bool(out, "dry_run", v->m->flags & REVIEW_DRY_RUN);
	list_of(out, v->applying ? "applied" : "discarded", &v->applied);
	list_of(out, "skipped", &v->skipped);
	if (v->applying) {
		digest_take(v->sum, sum);
		digest_hex(hex, sum);
		tree_str(out, "manifest", hex);
		list_of(out, "audit", &v->audit);
	}
	tree_end(out);
}

/* ---- all of them ------------------------------------------------------------------------------------------------------------------------------ */

/*
 * A deleted directory's contents go before it, a made one's after it: so deletions from the last to the first, then the rest in order. What takes the
 * place of a directory comes last: what lay in that may have been moved to wherever.
 */
enum turn { TURN_GONE, TURN_REST, TURN_PLACE, TURNS };

static enum turn turn_of(const struct change *c)
{
	if (c->kind == CHANGE_DELETED)
		return TURN_GONE;
	return c->ours.type == CHANGES_DIR && c->theirs.type != CHANGES_DIR ? TURN_PLACE : TURN_REST;
}

static void each_of_all(struct verdict *v, verdict_fn fn, struct err *e)
{
	size_t n;
	struct change **all = layer_changes(v->l, &n);
	char **paths = calloc(n ? n : 1, sizeof(*paths)); /* the changes themselves go as they are applied */
	const struct change *c;

	for (size_t i = 0; paths && i < n; i++)
		paths[i] = str_dup(all[i]->path);
	for (unsigned turn = 0; paths && turn < TURNS; turn++)
		for (size_t k = 0; k < n; k++) {
			const char *path = paths[turn == TURN_GONE ? n - 1 - k : k];

			if (path && (c = layer_find(v->l, path)) && turn_of(c) == turn)
				fn(v, c, NULL);
		}
	for (size_t i = 0; paths && i < n; i++)
		free(paths[i]);
	if (!paths)
		err_set(e, ENOMEM, "out of memory");
	free(paths);
}

static void each_item(struct verdict *v, verdict_fn fn, enum turn turn)
{
	const struct review_ask *m = v->m;

	for (size_t k = 0; k < m->nitems; k++) {
		const struct review_item *it = &m->item[turn == TURN_GONE ? m->nitems - 1 - k : k];
		const struct change *c = layer_find(v->l, it->path);

		if (c && turn_of(c) == turn)
			fn(v, c, it);
	}
}

/* Before anything is done: what is applied is no change any more. */
static void each_unknown(struct verdict *v)
{
	for (size_t k = 0; k < v->m->nitems; k++)
		if (!layer_find(v->l, v->m->item[k].path))
			verdict_skip(v, v->m->item[k].path, "gone", "there is no change of this name in the sandbox");
}

int verdict_begin(struct verdict *v, struct review *r, const struct review_ask *m, struct err *e)
{
	*v = (struct verdict){ .l = review_layer(r, m->index), .m = m };
	buf_init(&v->applied, PART_MAX);
	buf_init(&v->skipped, PART_MAX);
	buf_init(&v->audit, AUDIT_PART_MAX);
	if (!v->l)
		return err_set(e, EINVAL, "this workspace is mounted read-only: nothing in it can have changed");
	if (layer_live(v->l))
		return err_set(e, EINVAL, "'%s' is live: what the sandbox writes there is on the host already", layer_path(v->l));
	return (v->sum = digest_create()) ? 0 : err_set(e, ENOMEM, "out of memory");
}

void verdict_end(struct verdict *v)
{
	buf_release(&v->applied);
	buf_release(&v->skipped);
	buf_release(&v->audit);
	digest_destroy(&v->sum);
	for (size_t i = 0; i < v->ntaken; i++)
		free(v->taken[i]);
	free(v->taken);
}

int verdict_go(struct verdict *v, verdict_fn fn, struct err *e)
{
	if (v->m->flags & REVIEW_ALL) {
		each_of_all(v, fn, e);
	} else {
		each_unknown(v);
		for (unsigned turn = 0; turn < TURNS; turn++)
			each_item(v, fn, (enum turn)turn);
	}
	if (!(v->m->flags & REVIEW_DRY_RUN))
		layer_touch(v->l);
	return -e->code;
}
