/* SPDX-License-Identifier: Apache-2.0 */
/* Content out of an upper layer, and letting go of what lies in it. A stream's own process: it may wait. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "guest/changes.h"
#include "guest/workspace.h"

static bool put(int fd, uint8_t type, int (*pack)(struct buf *b, const void *m), const void *m)
{
	struct buf b;

	buf_init(&b, CHANGES_FRAME_MAX + FRAME_HEAD);
	const size_t at = frame_begin(&b, type, 0);
	pack(&b, m);
	frame_end(&b, at);
	const bool good = buf_ok(&b) && fd_write_full(fd, buf_head(&b), buf_size(&b)) == 0;
	buf_release(&b);
	return good;
}

static int pack_data(struct buf *b, const void *m) { return changes_data_pack(b, m); }

struct failure { uint32_t id, code; };
static int pack_failure(struct buf *b, const void *m)
{
	const struct failure *f = m;

	buf_u32(b, f->id);
	return f->code ? buf_u32(b, f->code) : 0;
}

static bool failed(int fd, uint32_t id, int code)
{
	const struct failure f = { .id = id, .code = code ? (uint32_t)code : EIO };

	return put(fd, CHANGES_FAILED, pack_failure, &f);
}

static int open_beneath(int root, const char *path, uint64_t flags)
{
	const struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV };
	const long fd = syscall(SYS_openat2, root, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

static bool send_file(int to, int fd, const struct changes_read *m, struct changes_data *d)
{
	static uint8_t piece[CHANGES_PIECE];
	uint64_t left = m->most;

	d->p = piece;
	for (d->offset = m->offset;;) {
		const size_t want = left < sizeof(piece) ? (size_t)left : sizeof(piece);
		const ssize_t n = want ? pread(fd, piece, want, (off_t)d->offset) : 0;

		if (n < 0)
			return failed(to, m->id, errno);
		left -= (uint64_t)n;
		d->n = (uint32_t)n;
		d->last = n == 0 || left == 0;
		if (!put(to, CHANGES_DATA, pack_data, d) || d->last)
			return d->last;
		d->offset += (uint64_t)n;
	}
}

static bool answer_read(int to, int root, const struct changes_read *m)
{
	AUTO_FD at = open_beneath(root, m->path, O_PATH | O_NOFOLLOW);
	char own[64], text[CHANGES_PATH_MAX + 1];
	struct changes_data d = { .id = m->id, .last = 1 };
	struct stat st;

	if (at < 0 || fstat(at, &st) < 0)
		return failed(to, m->id, at < 0 ? -at : errno);
	d.mode = st.st_mode & 07777;
	d.size = (uint64_t)st.st_size;
	d.mtime_ns = (uint64_t)st.st_mtim.tv_sec * UINT64_C(1000000000) + (uint64_t)st.st_mtim.tv_nsec;
	if (S_ISREG(st.st_mode)) {
		snprintf(own, sizeof(own), "/proc/self/fd/%d", at);
		AUTO_FD fd = open(own, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		d.type = CHANGES_FILE;
		return fd < 0 ? failed(to, m->id, errno) : send_file(to, fd, m, &d);
	}
	if (S_ISLNK(st.st_mode)) {
		const ssize_t n = readlinkat(at, "", text, sizeof(text) - 1);

		if (n < 0)
			return failed(to, m->id, errno);
		d.type = CHANGES_SYMLINK;
		d.n = (uint32_t)n;
		d.p = (const uint8_t *)text;
	} else {
		d.type = S_ISDIR(st.st_mode) ? CHANGES_DIR : S_ISFIFO(st.st_mode) ? CHANGES_FIFO : S_ISSOCK(st.st_mode) ? CHANGES_SOCKET :
			 S_ISCHR(st.st_mode) && st.st_rdev == 0 ? CHANGES_WHITEOUT : CHANGES_DEVICE;
	}
	return put(to, CHANGES_DATA, pack_data, &d);
}

/* The kernel has names of the mounted layers in its cache: they are let go of, so that what is used next is looked up again. */
static void let_go(uint8_t index)
{
	const struct workspace *w = changes_workspace(index);
	char lower[64];

	snprintf(lower, sizeof(lower), "/run/bulkhead/lower/%u", index);
	if (w && mount(NULL, w->path, NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV, NULL) == 0)
		mount(NULL, lower, NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV | MS_RDONLY, NULL);
}

static bool answer_discard(int to, int root, const struct changes_read *m)
{
	char parent[CHANGES_PATH_MAX + 1];
	const struct failure done = { .id = m->id };
	const char *slash = strrchr(m->path, '/'), *name = slash ? slash + 1 : m->path;
	int r = 0;

	str_copy(parent, sizeof(parent), m->path);
	parent[slash ? slash - m->path : 0] = '\0';
	AUTO_FD dir = open_beneath(root, *parent ? parent : ".", O_RDONLY | O_DIRECTORY);
	if (dir < 0)
		return failed(to, m->id, -dir);
	if (m->most == CHANGES_IF_EMPTY)
		r = unlinkat(dir, name, AT_REMOVEDIR) < 0 ? -errno : 0;
	else if (unlinkat(dir, name, 0) < 0 && errno != ENOENT)
		r = errno == EISDIR || errno == EPERM ? path_remove_tree(dir, name, NULL) : -errno;
	let_go(m->index);
	return r < 0 ? failed(to, m->id, -r) : put(to, CHANGES_DONE, pack_failure, &done);
}

/* Overlayfs copies up what is about to change; an owner who stays who he is changes nothing else. */
static bool answer_keep(int to, const struct changes_read *m)
{
	const struct workspace *w = workspace_at(m->index);
	const struct failure done = { .id = m->id };
	char parent[CHANGES_PATH_MAX + 1];
	const char *slash = strrchr(m->path, '/');

	str_copy(parent, sizeof(parent), m->path);
	parent[slash ? slash - m->path : 0] = '\0';
	AUTO_FD root = w ? open(w->path, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	AUTO_FD dir = root >= 0 ? open_beneath(root, *parent ? parent : ".", O_RDONLY | O_DIRECTORY) : -ENOENT;
	if (dir < 0)
		return failed(to, m->id, -dir);
	if (fchownat(dir, slash ? slash + 1 : m->path, (uid_t)-1, (gid_t)-1, AT_SYMLINK_NOFOLLOW) < 0)
		return failed(to, m->id, errno);
	return put(to, CHANGES_DONE, pack_failure, &done);
}

static bool answer(int to, const struct frame *f)
{
	static struct changes_read m;
	char upper[96];
	struct rbuf r;

	rbuf_init(&r, f->payload, f->len);
	if ((f->type != CHANGES_READ && f->type != CHANGES_DISCARD && f->type != CHANGES_KEEP) || changes_read_unpack(&r, &m) < 0)
		return false;
	changes_upper(m.index, upper);
	AUTO_FD root = *upper ? open(upper, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	if (root < 0)
		return failed(to, m.id, ENOENT);
	return f->type == CHANGES_READ ? answer_read(to, root, &m) : f->type == CHANGES_KEEP ? answer_keep(to, &m) : answer_discard(to, root, &m);
}

void changes_reads(int fd, struct buf *in)
{
	struct frame f;
	size_t used;

	for (;;) {
		const int r = frame_parse(buf_head(in), buf_size(in), CHANGES_FRAME_MAX, &f, &used);

		if (r == 0) {
			if (!answer(fd, &f))
				return;
			buf_consume(in, used);
			continue;
		}
		uint8_t *p = r == -EAGAIN ? buf_reserve(in, 8192) : NULL;
		const ssize_t n = p ? read(fd, p, 8192) : 0;

		if (n <= 0)
			return;
		buf_grew(in, (size_t)n);
	}
}
