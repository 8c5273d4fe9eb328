/* SPDX-License-Identifier: Apache-2.0 */
/* Field by field, in the order of the structs; counts, enumerations and paths are checked here. */
#include "core/proto/fs.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "core/base/str.h"

const char *const workspace_modes[] = { [WORKSPACE_REVIEW] = "review", [WORKSPACE_RO] = "ro", [WORKSPACE_LIVE] = "live",
					[WORKSPACE_CLONE] = "clone" };
static_assert(ARRAY_SIZE(workspace_modes) == WORKSPACE_MODES, "every mode has a name");
const char *const workspace_states[] = { [WORKSPACE_WAITS] = "waits", [WORKSPACE_MOUNTED] = "mounted", [WORKSPACE_LOST] = "lost",
					 [WORKSPACE_FAILED] = "failed" };
static_assert(ARRAY_SIZE(workspace_states) == WORKSPACE_STATES, "every state has a name");

static int packed(const struct buf *b)
{
	return buf_ok(b) ? 0 : -ENOBUFS;
}

static int whole(struct rbuf *r, bool legal)
{
	return !legal || rbuf_done(r) < 0 ? -EBADMSG : 0;
}

int workspace_mode_parse(const char *word)
{
	for (int i = 0; i < WORKSPACE_MODES; i++)
		if (strcmp(word, workspace_modes[i]) == 0)
			return i;
	return -1;
}

bool workspace_path_legal(const char *path)
{
	if (path[0] != '/' || path[1] == '\0' || strlen(path) > WORKSPACE_PATH_MAX)
		return false;
	for (const char *at = path; *at;) {
		const size_t n = strcspn(++at, "/");

		if (n == 0 || (n == 1 && at[0] == '.') || (n == 2 && at[0] == '.' && at[1] == '.'))
			return false;
		at += n;
	}
	return true;
}

bool workspace_head_legal(const char *head)
{
	static const char below[] = "worktrees/";

	if (!*head)
		return true;
	if (!str_starts(head, below) || strlen(head) > WORKSPACE_HEAD_MAX)
		return false;
	head += sizeof(below) - 1;
	return *head && *head != '.' && !strchr(head, '/');
}

/* One line of printable ASCII that no program takes for an option and git's configuration takes as it is. */
static bool origin_legal(const char *url)
{
	if (*url == '-')
		return false;
	for (; *url; url++)
		if (*url <= ' ' || *url > '~' || strchr("\"\\#;", *url))
			return false;
	return true;
}

void workspaces_put(struct buf *b, const struct workspaces *m)
{
	if (m->n > WORKSPACES_MAX)
		b->failed = true;
	buf_u16(b, m->n);
	for (size_t i = 0; i < m->n && i < WORKSPACES_MAX; i++) {
		buf_u8(b, m->w[i].mode);
		buf_str16(b, m->w[i].path);
		if (m->w[i].mode == WORKSPACE_CLONE) {
			buf_str16(b, m->w[i].head);
			buf_str16(b, m->w[i].origin);
		}
	}
}

void workspaces_get(struct rbuf *r, struct workspaces *m)
{
	rbuf_u16(r, &m->n);
	if (r->bad || m->n > WORKSPACES_MAX) {
		r->bad = true;
		m->n = 0;
	}
	for (size_t i = 0; i < m->n && !r->bad; i++) {
		rbuf_u8(r, &m->w[i].mode);
		rbuf_str16(r, m->w[i].path, sizeof(m->w[i].path));
		if (!r->bad && m->w[i].mode == WORKSPACE_CLONE) {
			rbuf_str16(r, m->w[i].head, sizeof(m->w[i].head));
			rbuf_str16(r, m->w[i].origin, sizeof(m->w[i].origin));
			if (!r->bad && (!workspace_head_legal(m->w[i].head) || !origin_legal(m->w[i].origin)))
				r->bad = true;
		}
		if (!r->bad && (m->w[i].mode >= WORKSPACE_MODES || !workspace_path_legal(m->w[i].path)))
			r->bad = true;
	}
}

int workspace_told_pack(struct buf *b, const struct workspace_told *m)
{
	buf_u8(b, m->index);
	buf_u8(b, m->state);
	buf_str16(b, m->why);
	return packed(b);
}

int workspace_told_unpack(struct rbuf *r, struct workspace_told *m)
{
	rbuf_u8(r, &m->index);
	rbuf_u8(r, &m->state);
	rbuf_str16(r, m->why, sizeof(m->why));
	return whole(r, m->index < WORKSPACES_MAX && m->state < WORKSPACE_STATES);
}

int fs_start_pack(struct buf *b, const struct fs_start *m)
{
	buf_str16(b, m->name);
	workspaces_put(b, &m->ws);
	buf_str16(b, m->hide);
	return packed(b);
}

int fs_start_unpack(struct rbuf *r, struct fs_start *m)
{
	rbuf_str16(r, m->name, sizeof(m->name));
	workspaces_get(r, &m->ws);
	rbuf_str16(r, m->hide, sizeof(m->hide));
	return rbuf_done(r);
}

int fs_note_pack(struct buf *b, const struct fs_note *m)
{
	buf_u8(b, m->index);
	buf_u8(b, m->kind);
	buf_str16(b, m->path);
	return packed(b);
}

int fs_note_unpack(struct rbuf *r, struct fs_note *m)
{
	rbuf_u8(r, &m->index);
	rbuf_u8(r, &m->kind);
	rbuf_str16(r, m->path, sizeof(m->path));
	return whole(r, m->index < WORKSPACES_MAX && m->kind < FS_NOTE_KINDS);
}

int fs_stats_pack(struct buf *b, const struct fs_stats *m)
{
	buf_u64(b, m->requests);
	buf_u64(b, m->refused);
	buf_u64(b, m->read);
	buf_u64(b, m->written);
	buf_u32(b, m->open);
	buf_u32(b, m->nodes);
	return packed(b);
}

int fs_stats_unpack(struct rbuf *r, struct fs_stats *m)
{
	rbuf_u64(r, &m->requests);
	rbuf_u64(r, &m->refused);
	rbuf_u64(r, &m->read);
	rbuf_u64(r, &m->written);
	rbuf_u32(r, &m->open);
	rbuf_u32(r, &m->nodes);
	return rbuf_done(r);
}
