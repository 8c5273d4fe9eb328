/* SPDX-License-Identifier: Apache-2.0 */
/* changes.undo and changes.history, and what is settled at the start. */
#include "core/review/review.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/clock.h"
#include "core/base/escape.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/proto/tree.h"
#include "core/review/decide.h"
#include "core/review/undo.h"

#define STORE "undo"
#define PART_MAX (TREE_MAX / 3)
#define AUDIT_PART_MAX (40u << 10)
#define ROOM_EACH 512u

int decide_store(struct review *r, struct err *e)
{
	const int state = review_state(r);

	if (mkdirat(state, STORE, 0700) < 0 && errno != EEXIST)
		return err_errno(e, errno, "cannot make the directory of what undo needs");
	const int fd = openat(state, STORE, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_errno(e, errno, "cannot open the directory of what undo needs") : fd;
}

static struct layer *layer_of(struct review *r, const char *workspace)
{
	for (uint8_t i = 0; i < WORKSPACES_MAX; i++) {
		struct layer *l = review_layer(r, i);

		if (l && strcmp(layer_path(l), workspace) == 0)
			return l;
	}
	return NULL;
}

void decide_recover(struct review *r)
{
	struct err e = ERR_INIT;
	const int fd = decide_store(r, &e);

	if (fd < 0) {
		log_error("%s", e.msg);
		return;
	}
	for (uint8_t i = 0; i < WORKSPACES_MAX; i++)
		if (review_layer(r, i))
			apply_recover(layer_root(review_layer(r, i)), fd, layer_path(review_layer(r, i)));
	close(fd);
}

/* ---- undo -------------------------------------------------------------------------------------------------------------------------------- */

struct undoing {
	struct layer *l;
	struct buf done, blocked, audit;
	struct digest *sum;
	uint32_t files, left;
};

static void on_each(void *arg, const char *path, enum apply_result r, const struct apply_told *t)
{
	struct undoing *u = arg;
	char text[4 * PLACE_PATH_MAX + 1], hex[DIGEST_HEX];
	struct buf *part = r > APPLY_SAME ? &u->blocked : &u->done;

	escape_text(text, sizeof(text), path, strlen(path));
	if (r <= APPLY_SAME) {
		u->files++;
		layer_applied(u->l, path);
		digest_put(u->sum, path, strlen(path) + 1);
		digest_put(u->sum, t->before.digest, DIGEST_SIZE);
		digest_put(u->sum, t->after.digest, DIGEST_SIZE);
	} else {
		u->left++;
	}
	if (r <= APPLY_SAME && buf_room(&u->audit) > strlen(text) + ROOM_EACH) {
		tree_object(&u->audit, NULL);
		tree_str(&u->audit, "path", text);
		digest_hex(hex, t->before.digest);
		tree_str(&u->audit, "before", hex);
		digest_hex(hex, t->after.digest);
		tree_str(&u->audit, "after", hex);
		tree_end(&u->audit);
	}
	if (buf_room(part) < strlen(text) + ROOM_EACH)
		return;
	if (r <= APPLY_SAME) {
		tree_str(part, NULL, text);
		return;
	}
	tree_object(part, NULL);
	tree_str(part, "path", text);
	tree_str(part, "kind", r == APPLY_ERROR ? "error" : "changed");
	tree_str(part, "reason", t->why);
	tree_end(part);
}

static void list_of(struct buf *out, const char *key, const struct buf *part)
{
	tree_list(out, key);
	buf_put(out, buf_head(part), buf_size(part));
	tree_end(out);
}

static void answer_with(struct undoing *u, struct buf *out, uint32_t of, uint32_t by, const char *why)
{
	uint8_t sum[DIGEST_SIZE];
	char hex[DIGEST_HEX], text[16];

	tree_object(out, NULL);
	snprintf(text, sizeof(text), "%u", of);
	tree_str(out, "of", text);
	snprintf(text, sizeof(text), "%u", by);
	tree_str(out, "id", by ? text : "");
	tree_str(out, "workspace", layer_path(u->l));
	tree_int(out, "files", u->files);
	tree_int(out, "left", u->left);
	tree_str(out, "why", why);
	list_of(out, "undone", &u->done);
	list_of(out, "skipped", &u->blocked);
	digest_take(u->sum, sum);
	digest_hex(hex, sum);
	tree_str(out, "manifest", hex);
	list_of(out, "audit", &u->audit);
	tree_end(out);
}

/* Which one: the id given, else the newest of any workspace that was not undone. */
static int find(struct review *r, int store, const char *text, uint32_t *id, struct layer **l, struct err *e)
{
	struct record *rec;
	uint64_t n = 0;

	if (*text && str_u64(text, 1, UINT32_MAX, &n) < 0)
		return err_set(e, EINVAL, "'%s' is no apply's number", text);
	for (uint8_t i = 0; !*text && i < WORKSPACES_MAX; i++)
		if (review_layer(r, i)) {
			const uint32_t newest = undo_newest(store, layer_path(review_layer(r, i)));

			n = newest > n ? newest : n;
		}
	if (n == 0)
		return err_set(e, ENOENT, "nothing was applied that could be undone");
	const int rc = record_read(&rec, store, (uint32_t)n, e);
	if (rc < 0)
		return rc;
	*id = (uint32_t)n;
	*l = layer_of(r, rec->head.workspace);
	const int missing = *l ? 0 : err_set(e, ENOENT, "apply %u was in '%s', which the sandbox has no more", *id, rec->head.workspace);
	record_close(&rec);
	return missing;
}

int answer_undo(struct review *r, const struct review_ask *m, struct buf *out, struct err *e)
{
	struct undoing u = { 0 };
	uint32_t id = 0, by = 0;
	struct err why = ERR_INIT;
	AUTO_FD store = decide_store(r, e);
	int rc = store < 0 ? store : find(r, store, m->undo, &id, &u.l, e);

	if (rc < 0)
		return rc;
	if (!(u.sum = digest_create()))
		return err_set(e, ENOMEM, "out of memory");
	buf_init(&u.done, PART_MAX);
	buf_init(&u.blocked, PART_MAX);
	buf_init(&u.audit, AUDIT_PART_MAX);
	rc = undo_apply(layer_root(u.l), store, layer_path(u.l), id, clock_wall_ns() / 1000000, on_each, &u, &by, &why);
	/* What stands in the way is an answer, file by file; all else is an error. */
	if (rc < 0 && rc != -ESTALE && rc != -EIO)
		err_set(e, why.code, "%s", why.msg);
	else {
		answer_with(&u, out, id, by, why.msg);
		layer_touch(u.l);
		rc = 0;
	}
	buf_release(&u.done);
	buf_release(&u.blocked);
	buf_release(&u.audit);
	digest_destroy(&u.sum);
	return rc;
}

/* ---- history ----------------------------------------------------------------------------------------------------------------------------- */

int answer_history(struct review *r, const struct review_ask *m, struct buf *out, struct err *e)
{
	static const char *const kinds[RECORD_KINDS] = { [RECORD_APPLY] = "apply", [RECORD_UNDO] = "undo" };
	struct undo_summary all[RECORDS_KEPT];
	AUTO_FD store = decide_store(r, e);
	char text[16], at[32];

	(void)m;
	if (store < 0)
		return store;
	const size_t n = undo_history(store, all, ARRAY_SIZE(all));
	tree_object(out, NULL);
	tree_list(out, "applies");
	for (size_t i = 0; i < n; i++) {
		tree_object(out, NULL);
		snprintf(text, sizeof(text), "%u", all[i].head.id);
		tree_str(out, "id", text);
		tree_str(out, "kind", kinds[all[i].head.kind]);
		snprintf(text, sizeof(text), "%u", all[i].head.of);
		tree_str(out, "of", all[i].head.of ? text : "");
		clock_rfc3339(at, all[i].head.at_ms * 1000000);
		tree_str(out, "at", at);
		tree_str(out, "workspace", all[i].head.workspace);
		tree_int(out, "files", all[i].files);
		snprintf(text, sizeof(text), "%u", all[i].undone_by);
		tree_str(out, "undone_by", all[i].undone_by ? text : "");
		tree_end(out);
	}
	tree_end(out);
	tree_end(out);
	return 0;
}
