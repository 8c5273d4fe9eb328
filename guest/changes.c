/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/changes.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "guest/relay.h"
#include "guest/workspace.h"

#define STREAMS_MAX (WORKSPACES_MAX + 8u)
#define FIRST_FD 3

struct carried {
	struct relay r; /* first: its owner is found by it */
};

static unsigned count;

/* ---- in PID 1 ------------------------------------------------------------------------------------------------------------------------ */

static void on_end(struct relay *r)
{
	free(r);
	count--;
}

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	relay_data(arg, p, n);
}

static void on_eof(void *arg)
{
	relay_eof(arg);
}

static void on_room(void *arg)
{
	relay_room(arg);
}

static void on_gone(void *arg)
{
	relay_gone(arg);
}

static const struct gstream_ops stream_ops = { .on_data = on_data, .on_eof = on_eof, .on_room = on_room, .on_gone = on_gone };

static _Noreturn void serve(int fd)
{
	sigset_t none;
	struct buf in;
	struct frame f;
	size_t used = 0;
	int r;

	if (fd != FIRST_FD)
		dup2(fd, FIRST_FD);
	close_range(FIRST_FD + 1, ~0u, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_NAME, "changes");
	umask(0);
	buf_init(&in, CHANGES_FRAME_MAX + FRAME_HEAD);
	while ((r = frame_parse(buf_head(&in), buf_size(&in), CHANGES_FRAME_MAX, &f, &used)) == -EAGAIN) {
		uint8_t *p = buf_reserve(&in, 512);
		const ssize_t n = p ? read(FIRST_FD, p, 512) : 0;

		if (n <= 0)
			_exit(0);
		buf_grew(&in, (size_t)n);
	}
	struct rbuf rb;
	uint16_t version = 0;
	uint8_t index = 0;

	rbuf_init(&rb, r == 0 ? f.payload : NULL, r == 0 ? f.len : 0);
	rbuf_u16(&rb, &version);
	if (r == 0 && f.type == CHANGES_WATCH)
		rbuf_u8(&rb, &index);
	if (r < 0 || rbuf_done(&rb) < 0 || version != CHANGES_VERSION)
		_exit(1);
	buf_consume(&in, used);
	if (f.type == CHANGES_READS)
		changes_reads(FIRST_FD, &in);
	else if (f.type == CHANGES_WATCH && changes_workspace(index))
		changes_watch(FIRST_FD, changes_workspace(index));
	_exit(0);
}

bool changes_accept(struct gstream *st, const struct gstream_ops **ops, void **arg)
{
	struct carried *c = workspace_settled() && count < STREAMS_MAX ? calloc(1, sizeof(*c)) : NULL;
	int pair[2];

	if (!c || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		free(c);
		return false;
	}
	const pid_t pid = fork();
	if (pid == 0)
		serve(pair[1]);
	close(pair[1]);
	if (pid < 0 || fd_nonblock(pair[0]) < 0) {
		close(pair[0]);
		free(c);
		return false;
	}
	if (relay_init_take(&c->r, pair[0], on_end) < 0) {
		free(c);
		return false;
	}
	count++;
	c->r.st = st;
	gstream_hold(st);
	relay_read(&c->r);
	*ops = &stream_ops;
	*arg = c;
	return true;
}

/* ---- in a stream's process --------------------------------------------------------------------------------------------------------------- */

const struct workspace *changes_workspace(uint8_t index)
{
	const struct workspace *w = workspace_at(index);

	return w && w->mode == WORKSPACE_REVIEW ? w : NULL;
}

void changes_upper(uint8_t index, char dst[96])
{
	const struct workspace *w = changes_workspace(index);
	char layer[64];

	dst[0] = '\0';
	if (!w)
		return;
	workspace_layer(w->path, layer);
	snprintf(dst, 96, "%s/upper", layer);
}

static uint8_t type_of(const struct stat *st)
{
	switch (st->st_mode & S_IFMT) {
	case S_IFREG:
		return CHANGES_FILE;
	case S_IFDIR:
		return CHANGES_DIR;
	case S_IFLNK:
		return CHANGES_SYMLINK;
	case S_IFIFO:
		return CHANGES_FIFO;
	case S_IFSOCK:
		return CHANGES_SOCKET;
	case S_IFCHR:
		return st->st_rdev == makedev(0, 0) ? CHANGES_WHITEOUT : CHANGES_DEVICE;
	default:
		return CHANGES_DEVICE;
	}
}

static uint64_t ns(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * UINT64_C(1000000000) + (uint64_t)t->tv_nsec;
}

/*
 * Where in the lower layer the directory `path` (n bytes of it) shows what it has: through the redirects of itself and those above. An absolute
 * one says it from the root, another is a name beside.
 */
static bool lower_of(const char *root, const char *path, size_t n, char out[CHANGES_PATH_MAX + 1], unsigned depth)
{
	char full[PATH_MAX], value[CHANGES_PATH_MAX + 1];

	if (n == 0) {
		out[0] = '\0';
		return true;
	}
	if (depth > CHANGES_DEPTH_MAX || snprintf(full, sizeof(full), "%s/%.*s", root, (int)n, path) >= (int)sizeof(full))
		return false;
	const ssize_t got = lgetxattr(full, "trusted.overlay.redirect", value, sizeof(value) - 1);
	if (got > 0)
		value[got] = '\0';
	if (got > 1 && value[0] == '/')
		return str_copy(out, CHANGES_PATH_MAX + 1, value + 1);
	const char *slash = memrchr(path, '/', n);
	const size_t up = slash ? (size_t)(slash - path) : 0;
	char parent[CHANGES_PATH_MAX + 1];

	if (!lower_of(root, path, up, parent, depth + 1))
		return false;
	const char *name = got > 0 ? value : slash ? slash + 1 : path;
	const int len = got > 0 ? (int)got : (int)(slash ? n - up - 1 : n);
	return snprintf(out, CHANGES_PATH_MAX + 1, "%s%s%.*s", parent, *parent ? "/" : "", len, name) <= (int)CHANGES_PATH_MAX;
}

int changes_look(const char *root, struct changes_entry *m)
{
	char full[PATH_MAX], yes[2];
	struct stat st;

	if (snprintf(full, sizeof(full), "%s/%s", root, m->path) >= (int)sizeof(full))
		return -ENAMETOOLONG;
	if (lstat(full, &st) < 0)
		return -errno;
	m->type = type_of(&st);
	m->mode = st.st_mode & 07777;
	m->nlink = (uint32_t)st.st_nlink;
	m->size = m->type == CHANGES_FILE ? (uint64_t)st.st_size : 0;
	m->mtime_ns = ns(&st.st_mtim);
	m->ctime_ns = ns(&st.st_ctim);
	m->opaque = 0;
	m->redirect[0] = m->link[0] = '\0';
	if (m->type == CHANGES_DIR) {
		m->opaque = lgetxattr(full, "trusted.overlay.opaque", yes, sizeof(yes)) == 1 && yes[0] == 'y';
		/* Root may have written anything there; the host hears no more of a layer that tells what cannot be. */
		if (lgetxattr(full, "trusted.overlay.redirect", NULL, 0) > 0 &&
		    (!lower_of(root, m->path, strlen(m->path), m->redirect, 0) || !changes_path_legal(m->redirect)))
			m->redirect[0] = '\0';
	}
	if (m->type == CHANGES_SYMLINK) {
		const ssize_t n = readlink(full, m->link, sizeof(m->link) - 1);

		if (n <= 0)
			return n < 0 ? -errno : -ENOENT;
		m->link[n] = '\0';
	}
	return 0;
}
