/* SPDX-License-Identifier: Apache-2.0 */
/* Field by field, in the order of the structs; counts, enumerations and paths are checked here. */
#include "core/proto/changes.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"

const char *const changes_types[] = { [CHANGES_FILE] = "file", [CHANGES_DIR] = "dir", [CHANGES_SYMLINK] = "symlink", [CHANGES_FIFO] = "fifo",
				      [CHANGES_SOCKET] = "socket", [CHANGES_DEVICE] = "device", [CHANGES_WHITEOUT] = "whiteout" };
static_assert(ARRAY_SIZE(changes_types) == CHANGES_TYPES, "every type has a name");

const char *const change_flags[] = { "setuid", "device", "symlink-absolute", "symlink-escapes", "hardlink", "name-control", "hidden", "large" };
static_assert(ARRAY_SIZE(change_flags) == CHANGE_FLAGS, "every flag has a name");

static int packed(const struct buf *b)
{
	return buf_ok(b) ? 0 : -ENOBUFS;
}

static int whole(struct rbuf *r, bool legal)
{
	return !legal || rbuf_done(r) < 0 ? -EBADMSG : 0;
}

bool changes_path_legal(const char *path)
{
	size_t depth = 0;

	if (strlen(path) > CHANGES_PATH_MAX)
		return false;
	for (const char *at = path;; at++) {
		const size_t n = strcspn(at, "/");

		if (n == 0 || n > 255 || (n == 1 && at[0] == '.') || (n == 2 && at[0] == '.' && at[1] == '.') || ++depth > CHANGES_DEPTH_MAX)
			return false;
		at += n;
		if (!*at)
			return true;
	}
}

/* ---- host <-> guest --------------------------------------------------------------------------------------------------------------- */

int changes_entry_pack(struct buf *b, const struct changes_entry *m)
{
	buf_u8(b, m->type);
	buf_u8(b, m->opaque);
	buf_u16(b, m->mode);
	buf_u32(b, m->nlink);
	buf_u64(b, m->size);
	buf_u64(b, m->mtime_ns);
	buf_u64(b, m->ctime_ns);
	buf_str16(b, m->path);
	buf_str16(b, m->redirect);
	buf_str16(b, m->link);
	return packed(b);
}

int changes_entry_unpack(struct rbuf *r, struct changes_entry *m)
{
	rbuf_u8(r, &m->type);
	rbuf_u8(r, &m->opaque);
	rbuf_u16(r, &m->mode);
	rbuf_u32(r, &m->nlink);
	rbuf_u64(r, &m->size);
	rbuf_u64(r, &m->mtime_ns);
	rbuf_u64(r, &m->ctime_ns);
	rbuf_str16(r, m->path, sizeof(m->path));
	rbuf_str16(r, m->redirect, sizeof(m->redirect));
	rbuf_str16(r, m->link, sizeof(m->link));
	if (rbuf_done(r) < 0)
		return -EBADMSG;
	return whole(r, m->type < CHANGES_TYPES && m->opaque <= 1 && m->mode <= 07777 && changes_path_legal(m->path) &&
			   (!*m->redirect || (m->type == CHANGES_DIR && changes_path_legal(m->redirect))) && (m->type == CHANGES_SYMLINK) == (*m->link != '\0') &&
			   (!m->opaque || m->type == CHANGES_DIR));
}

int changes_read_pack(struct buf *b, const struct changes_read *m)
{
	buf_u32(b, m->id);
	buf_u8(b, m->index);
	buf_u64(b, m->offset);
	buf_u64(b, m->most);
	buf_str16(b, m->path);
	return packed(b);
}

int changes_read_unpack(struct rbuf *r, struct changes_read *m)
{
	rbuf_u32(r, &m->id);
	rbuf_u8(r, &m->index);
	rbuf_u64(r, &m->offset);
	rbuf_u64(r, &m->most);
	rbuf_str16(r, m->path, sizeof(m->path));
	return whole(r, !r->bad && m->index < WORKSPACES_MAX && changes_path_legal(m->path));
}

int changes_data_pack(struct buf *b, const struct changes_data *m)
{
	if (m->n > CHANGES_PIECE)
		b->failed = true;
	buf_u32(b, m->id);
	buf_u8(b, m->type);
	buf_u8(b, m->last);
	buf_u16(b, m->mode);
	buf_u64(b, m->size);
	buf_u64(b, m->mtime_ns);
	buf_u64(b, m->offset);
	buf_blob32(b, m->p, m->n);
	return packed(b);
}

static uint32_t piece(struct rbuf *r, const uint8_t **p, uint32_t most)
{
	size_t n = 0;

	*p = NULL;
	if (rbuf_blob32(r, p, &n) < 0 || n > most) {
		r->bad = true;
		return 0;
	}
	return (uint32_t)n;
}

int changes_data_unpack(struct rbuf *r, struct changes_data *m)
{
	rbuf_u32(r, &m->id);
	rbuf_u8(r, &m->type);
	rbuf_u8(r, &m->last);
	rbuf_u16(r, &m->mode);
	rbuf_u64(r, &m->size);
	rbuf_u64(r, &m->mtime_ns);
	rbuf_u64(r, &m->offset);
	m->n = piece(r, &m->p, CHANGES_PIECE);
	return whole(r, !r->bad && m->type < CHANGES_TYPES && m->last <= 1 && m->mode <= 07777 &&
			   (m->n == 0 || m->type == CHANGES_FILE || (m->type == CHANGES_SYMLINK && m->n <= CHANGES_PATH_MAX && m->offset == 0)));
}

/* ---- supervisor <-> bulkhead-review ---------------------------------------------------------------------------------------------------- */

int review_start_pack(struct buf *b, const struct review_start *m)
{
	buf_str16(b, m->name);
	workspaces_put(b, &m->ws);
	buf_str16(b, m->hide);
	buf_str16(b, m->executes);
	return packed(b);
}

int review_start_unpack(struct rbuf *r, struct review_start *m)
{
	rbuf_str16(r, m->name, sizeof(m->name));
	workspaces_get(r, &m->ws);
	rbuf_str16(r, m->hide, sizeof(m->hide));
	rbuf_str16(r, m->executes, sizeof(m->executes));
	return rbuf_done(r);
}

int review_piece_pack(struct buf *b, const struct review_piece *m)
{
	if (m->n > REVIEW_PIECE)
		b->failed = true;
	buf_u32(b, m->id);
	buf_u8(b, m->last);
	buf_u32(b, m->code);
	buf_blob32(b, m->p, m->n);
	return packed(b);
}

int review_piece_unpack(struct rbuf *r, struct review_piece *m)
{
	rbuf_u32(r, &m->id);
	rbuf_u8(r, &m->last);
	rbuf_u32(r, &m->code);
	m->n = piece(r, &m->p, REVIEW_PIECE);
	return whole(r, !r->bad && m->last <= 1 && m->code < 4096);
}

int review_counts_pack(struct buf *b, const struct review_counts *m)
{
	buf_u8(b, m->index);
	buf_u8(b, m->ready);
	buf_u8(b, m->truncated);
	buf_u32(b, m->files);
	buf_u32(b, m->conflicts);
	buf_u32(b, m->marked);
	buf_u64(b, m->add);
	buf_u64(b, m->del);
	return packed(b);
}

int review_counts_unpack(struct rbuf *r, struct review_counts *m)
{
	rbuf_u8(r, &m->index);
	rbuf_u8(r, &m->ready);
	rbuf_u8(r, &m->truncated);
	rbuf_u32(r, &m->files);
	rbuf_u32(r, &m->conflicts);
	rbuf_u32(r, &m->marked);
	rbuf_u64(r, &m->add);
	rbuf_u64(r, &m->del);
	return whole(r, !r->bad && m->index < WORKSPACES_MAX && m->ready <= 1 && m->truncated <= 1 && m->add <= INT64_MAX && m->del <= INT64_MAX);
}

static void put_item(struct buf *b, const struct review_item *i)
{
	if (i->nhunks > REVIEW_HUNKS_MAX)
		b->failed = true;
	buf_str16(b, i->path);
	buf_u8(b, (uint8_t)(i->has_digest | i->has_old << 1));
	buf_u8(b, i->named);
	buf_u16(b, i->flags);
	buf_put(b, i->digest, sizeof(i->digest));
	buf_put(b, i->old, sizeof(i->old));
	buf_u16(b, i->nhunks);
	for (size_t k = 0; k < i->nhunks; k++)
		buf_u16(b, i->hunks[k]);
}

int review_ask_pack(struct buf *b, const struct review_ask *m)
{
	if (m->nitems > REVIEW_ITEMS_MAX)
		b->failed = true;
	buf_u8(b, m->op);
	buf_u8(b, m->index);
	buf_u8(b, m->flags);
	buf_u32(b, m->from);
	buf_u32(b, m->limit);
	buf_u32(b, m->context);
	buf_str16(b, m->undo);
	buf_u32(b, m->nitems);
	for (size_t i = 0; i < m->nitems && buf_ok(b); i++)
		put_item(b, &m->item[i]);
	return packed(b);
}

static void get_item(struct rbuf *r, struct review_item *i)
{
	char path[CHANGES_PATH_MAX + 1] = "";
	uint8_t has = 0, named = 0;

	rbuf_str16(r, path, sizeof(path));
	rbuf_u8(r, &has);
	rbuf_u8(r, &named);
	rbuf_u16(r, &i->flags);
	rbuf_copy(r, i->digest, sizeof(i->digest));
	rbuf_copy(r, i->old, sizeof(i->old));
	rbuf_u16(r, &i->nhunks);
	if (r->bad || has > 3 || named > 1 || i->flags >= 1u << CHANGE_FLAGS || i->nhunks > REVIEW_HUNKS_MAX || (*path && !changes_path_legal(path)) || r->n < 2u * i->nhunks) {
		r->bad = true;
		i->nhunks = 0;
		return;
	}
	i->has_digest = has & 1;
	i->has_old = has & 2;
	i->named = named;
	i->path = str_dup(path);
	i->hunks = i->nhunks ? calloc(i->nhunks, sizeof(*i->hunks)) : NULL;
	if (!i->path || (i->nhunks && !i->hunks))
		r->bad = true;
	for (size_t k = 0; k < i->nhunks && !r->bad; k++)
		rbuf_u16(r, &i->hunks[k]);
}

int review_ask_unpack(struct rbuf *r, struct review_ask *m)
{
	uint32_t n = 0;

	*m = (struct review_ask){ .op = 0 };
	rbuf_u8(r, &m->op);
	rbuf_u8(r, &m->index);
	rbuf_u8(r, &m->flags);
	rbuf_u32(r, &m->from);
	rbuf_u32(r, &m->limit);
	rbuf_u32(r, &m->context);
	rbuf_str16(r, m->undo, sizeof(m->undo));
	rbuf_u32(r, &n);
	if (r->bad || m->op >= REVIEW_OPS || (m->index >= WORKSPACES_MAX && m->index != REVIEW_EVERY) || n > REVIEW_ITEMS_MAX || n > r->n)
		return -EBADMSG;
	m->item = n ? calloc(n, sizeof(*m->item)) : NULL;
	m->nitems = m->item ? n : 0;
	for (size_t i = 0; i < m->nitems && !r->bad; i++)
		get_item(r, &m->item[i]);
	if (m->nitems != n || rbuf_done(r) < 0) {
		review_ask_release(m);
		return -EBADMSG;
	}
	return 0;
}

void review_ask_release(struct review_ask *m)
{
	for (size_t i = 0; i < m->nitems; i++) {
		free(m->item[i].path);
		free(m->item[i].hunks);
	}
	free(m->item);
	m->item = NULL;
	m->nitems = 0;
}
