/* SPDX-License-Identifier: Apache-2.0 */
/* A sandbox's workspaces: their bulkhead-fs, what it reports, and what clients see of them. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "core/proto/child.h"
#include "core/proto/fs.h"
#include "core/supervisor/gitdir.h"
#include "core/supervisor/kid.h"
#include "core/supervisor/lifelog.h"
#include "core/supervisor/sandbox.h"
#include "core/supervisor/super.h"

#define FS_LOG_CAP (UINT64_C(1) << 20)
#define NOTES_MAX 256u
#define NOTES_BYTES_MAX 16384u /* of a kind and workspace: all of them fit one answer */
#define NOTES_SHORT 8u         /* in lists and events */
#define NOTES_SHORT_BYTES 512u
#define HIDE_DEFAULT "core/workspace/hidden" /* below the data directory */

static int pack_start(struct buf *b, const void *m) { return fs_start_pack(b, m); }

void workspace_forget(struct sandbox *sb)
{
	for (size_t i = 0; i < WORKSPACES_MAX; i++) {
		sb->workspace[i] = (struct workspace_told){ .index = (uint8_t)i, .state = WORKSPACE_WAITS };
		for (size_t k = 0; k < FS_NOTE_KINDS; k++) {
			json_decref(sb->fs_notes[i][k]);
			sb->fs_notes[i][k] = NULL;
		}
	}
	sb->fs_stats = (struct fs_stats){ 0 };
}

void workspace_note(struct sandbox *sb, const struct fs_note *n)
{
	json_t **list = &sb->fs_notes[n->index][n->kind];
	size_t i, bytes = strlen(n->path);
	json_t *one;

	if (!*list)
		*list = json_array();
	json_array_foreach(*list, i, one) {
		if (strcmp(json_string_value(one), n->path) == 0)
			return;
		bytes += json_string_length(one);
	}
	if (json_array_size(*list) >= NOTES_MAX || bytes > NOTES_BYTES_MAX)
		return;
	json_array_append_new(*list, json_string(n->path));
	if (n->kind == FS_NOTE_LINKED)
		lifelog_add(sb->su, LOG_WARN, sb->spec.name, "'%s' has names outside the workspace: it is not written", n->path);
	sandbox_touch(sb);
}

static json_t *notes_json(const json_t *all, bool whole)
{
	json_t *list = json_array(), *one;
	size_t i, bytes = 0;

	json_array_foreach(all, i, one) {
		bytes += json_string_length(one);
		if (!whole && (i >= NOTES_SHORT || bytes > NOTES_SHORT_BYTES))
			break;
		json_array_append(list, one);
	}
	return list;
}

json_t *workspace_json(const struct sandbox *sb, bool whole)
{
	static const char *const kinds[FS_NOTE_KINDS] = { [FS_NOTE_HIDDEN] = "hidden", [FS_NOTE_LINKED] = "linked", [FS_NOTE_MOUNT] = "mounts" };
	json_t *list = json_array();

	for (size_t i = 0; i < sb->spec.ws.n; i++) {
		const struct workspace_told *t = &sb->workspace[i];
		json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "path", sb->spec.ws.w[i].path, "mode", workspace_modes[sb->spec.ws.w[i].mode], "state",
				      sb->vmm ? workspace_states[t->state] : "waits", "why", sb->vmm ? t->why : "");

		for (size_t k = 0; o && k < FS_NOTE_KINDS; k++)
			json_object_set_new(o, kinds[k], notes_json(sb->fs_notes[i][k], whole));
		json_array_append_new(list, o);
	}
	return list;
}

json_t *workspace_stats_json(const struct sandbox *sb)
{
	const struct fs_stats *s = &sb->fs_stats;

	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "requests", (json_int_t)s->requests, "refused", (json_int_t)s->refused, "read", (json_int_t)s->read,
			 "written", (json_int_t)s->written, "open", (json_int_t)s->open, "nodes", (json_int_t)s->nodes);
}

int workspace_check(const struct spec *s, struct err *e)
{
	struct stat seen[WORKSPACES_MAX];

	for (size_t i = 0; i < s->ws.n; i++) {
		AUTO_FD fd = -1;
		struct workspace w;

		seen[i] = (struct stat){ .st_ino = 0 };

		if (s->ws.w[i].mode != WORKSPACE_CLONE)
			continue;
		if (gitdir_open(s->ws.w[i].path, &w, &fd, e))
			return -(e->code = EINVAL);
		if (fstat(fd, &seen[i]) < 0)
			return err_errno(e, errno, "cannot look at the repository of '%s'", s->ws.w[i].path);
		for (size_t k = 0; k < i; k++)
			if (seen[k].st_ino == seen[i].st_ino && seen[k].st_dev == seen[i].st_dev)
				return err_set(e, EINVAL, "'%s' and '%s' are work trees of one repository: their branches would have one name", s->ws.w[k].path,
					       s->ws.w[i].path);
		if (str_ends(s->name, ".lock") || str_ends(s->name, "."))
			return err_set(e, EINVAL, "'%s' cannot be a branch's name, which mode clone needs: give another with --name", s->name);
	}
	return 0;
}

void workspace_hello(const struct sandbox *sb, struct workspaces *ws)
{
	*ws = sb->spec.ws;
	for (size_t i = 0; i < ws->n; i++) {
		AUTO_FD fd = -1;
		struct err e = ERR_INIT;

		if (ws->w[i].mode == WORKSPACE_CLONE && gitdir_open(ws->w[i].path, &ws->w[i], &fd, &e))
			lifelog_add(sb->su, LOG_WARN, sb->spec.name, "%s", e.msg);
	}
}

/* ---- its process -------------------------------------------------------------------------------------------------------------------- */

int workspace_hidden(const struct sandbox *sb, char dst[FS_HIDE_MAX], struct err *e)
{
	AUTO_FREE char *path = sb->spec.hide_default ? path_data(HIDE_DEFAULT, e) : NULL;
	ssize_t n = 0;

	if (sb->spec.hide_default) {
		AUTO_FD fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

		n = fd >= 0 ? read(fd, dst, FS_HIDE_MAX / 2) : -1;
		if (n < 0 || n == FS_HIDE_MAX / 2)
			return err_errno(e, n < 0 ? errno : EFBIG, "cannot read the list of hidden names '%s'", path ? path : HIDE_DEFAULT);
	}
	snprintf(dst + n, FS_HIDE_MAX - (size_t)n, "\n%s", sb->spec.hide ? sb->spec.hide : "");
	return 0;
}

static int open_dirs(const struct sandbox *sb, int *fds, struct err *e)
{
	for (size_t i = 0; i < sb->spec.ws.n; i++) {
		const char *path = sb->spec.ws.w[i].path;

		if (sb->spec.ws.w[i].mode == WORKSPACE_CLONE) {
			struct workspace w;
			const int r = gitdir_open(path, &w, &fds[i], e);

			if (r < 0)
				return r;
			continue;
		}
		/* Another sandbox may have written where this one's directory lies. */
		if ((fds[i] = path_open_real(path, e)) < 0)
			return -e->code;
	}
	return 0;
}

static int start(struct sandbox *sb, int *fds, struct err *e)
{
	AUTO_FREE struct fs_start *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return err_set(e, ENOMEM, "out of memory");
	str_copy(m->name, sizeof(m->name), sb->spec.name);
	m->ws = sb->spec.ws;
	if ((r = workspace_hidden(sb, m->hide, e)) || (r = open_dirs(sb, fds + FS_FD_NUM, e)))
		return r;
	if ((fds[FS_FD_LOG] = store_open_log(sb->dirfd, "fs.log", FS_LOG_CAP, e)) < 0)
		return -e->code;
	if ((fds[FS_FD_DIAL] = machine_redial(sb, VMM_FD_DIAL_FS, e)) < 0)
		return -e->code;
	r = kid_spawn(sb, KID_FS, e);
	if (!r) {
		sb->fs->phase = KID_STARTED;
		kid_send(sb->fs, FS_START, pack_start, m, fds, FS_FD_NUM + sb->spec.ws.n);
	}
	return r;
}

int machine_start_fs(struct sandbox *sb, struct err *e)
{
	int fds[FS_FD_NUM + WORKSPACES_MAX];

	if (sb->spec.ws.n == 0)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = -1;
	const int r = start(sb, fds, e);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fd_close(&fds[i]);
	return r;
}
