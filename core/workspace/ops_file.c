/* SPDX-License-Identifier: Apache-2.0 */
/* Files' contents. */
#include "core/workspace/impl.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "core/base/fd.h"
#include "core/workspace/check.h"

#define COPY_MAX (64u << 20) /* bytes a request: the rest is asked for again */
#define MAY_PASS (O_ACCMODE | O_TRUNC | O_SYNC | O_DSYNC)

static void done(fuse_req_t req, int r)
{
	fuse_reply_err(req, r < 0 ? -r : 0);
}

static bool writes(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC;
}

/* An open file of n. Whoever would change what is not ours to change is refused. */
static int open_node(struct share *s, struct node *n, int flags)
{
	struct stat st;

	if (n->type != S_IFREG)
		return n->type == S_IFDIR ? -EISDIR : -ENXIO;
	if (writes(flags) && s->readonly)
		return -EROFS;
	if (writes(flags)) {
		const int r = node_stat(s, n, &st);

		if (r < 0)
			return r;
		if (!node_ours(s, n, &st))
			return -EPERM;
	}
	return node_open(s, n, flags & MAY_PASS);
}

static int opened_take(struct share *s, struct node *n, int fd, struct fuse_file_info *fi)
{
	uint64_t fh = 0;
	const int r = handle_open_take(s, n, fd, false, writes(fi->flags), &fh);

	fi->fh = fh;
	/* What the guest has cached of it is still right: if not, it was told. */
	fi->keep_cache = n->parent && n->parent->wd >= 0;
	return r;
}

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct share *s = fuse_req_userdata(req);
	const bool trunc = fi->flags & O_TRUNC;

	if (s->readonly) {
		done(req, writes(fi->flags) ? -EROFS : -ENOSYS); /* from now on nobody asks: who may open is what the attributes say, and reading names the node */
		return;
	}
	if (trunc)
		watch_before(s);
	struct node *n = node_get(s, ino);
	int r = n ? open_node(s, n, fi->flags) : -ESTALE;
	if (trunc)
		watch_after(s, &(struct own){ .self = { n } });
	const int fd = r;
	if (r >= 0)
		r = opened_take(s, n, r, fi);
	if (r >= 0 && !writes(fi->flags) && !(fi->flags & O_DIRECT) && fi->keep_cache)
		ahead_contents(s, n, fd);
	if (r < 0)
		done(req, r);
	else
		fuse_reply_open(req, fi);
}

/* A new file, or with -EEXIST none. */
static int create(int dir, const char *name, int flags, mode_t mode)
{
	const struct open_how how = {
		.flags = (uint64_t)(flags & (O_ACCMODE | O_SYNC | O_DSYNC)) | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		.mode = mode & 01777, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
	};
	const long fd = syscall(SYS_openat2, dir, name, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

static int create_or_open(struct share *s, struct node *dir, const char *name, mode_t mode, struct fuse_file_info *fi, struct node **n, struct stat *st)
{
	int r, fd;

	if (s->readonly)
		return -EROFS;
	if (name_hidden(s, dir, name)) {
		node_note(s, dir, name, SHARE_HIDDEN);
		return -EPERM;
	}
	if ((fd = node_fd(s, dir)) < 0)
		return fd;
	fd = create(fd, name, fi->flags, mode);
	if (fd < 0 && (fd != -EEXIST || fi->flags & O_EXCL))
		return fd;
	/* Its own descriptor too: it may lose its name while it is open. */
	if ((r = node_lookup(s, dir, name, n, st)) < 0 || (r = node_fd(s, *n)) < 0) {
		fd_close(&fd);
		return r;
	}
	return fd >= 0 ? fd : open_node(s, *n, fi->flags);
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct share *s = fuse_req_userdata(req);
	struct fuse_entry_param e = { .generation = 1 };

	watch_before(s);
	struct node *dir = node_get(s, parent), *n = NULL;
	int r = !dir ? -ESTALE : dir->type != S_IFDIR ? -ENOTDIR : create_or_open(s, dir, name, mode, fi, &n, &e.attr);
	if (dir)
		watch_after(s, &(struct own){ .dir = { dir }, .name = { name }, .self = { n } });
	if (r >= 0)
		r = opened_take(s, n, r, fi);
	if (r >= 0 && fi->flags & O_TRUNC)
		r = node_stat(s, n, &e.attr);
	if (r < 0) {
		if (fi->fh)
			handle_close(s, fi->fh, false);
		done(req, r);
		return;
	}
	n->lookups++;
	e.ino = n->id;
	e.entry_timeout = cache_time(s, dir);
	e.attr_timeout = e.attr.st_nlink > 1 ? CACHE_SHORT_S : e.entry_timeout;
	attr_map(s, &e.attr);
	ahead_after(s, dir);
	fuse_reply_create(req, &e, fi);
}

static struct handle *file(struct share *s, fuse_ino_t ino, const struct fuse_file_info *fi)
{
	struct handle *h = handle_get(s, fi->fh, false);

	return h && h->node->id == ino ? h : NULL;
}

/* The open file to read from: of a read-only share the guest names the node alone. */
static struct handle *readable(struct share *s, fuse_ino_t ino, const struct fuse_file_info *fi, int *error)
{
	struct node *n = s->readonly && fi->fh == 0 ? node_get(s, ino) : NULL;
	struct handle *h = n && n->type == S_IFREG ? handle_reader(s, n, error) : file(s, ino, fi);

	if (!h && !n)
		*error = -EBADF;
	return h;
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct share *s = fuse_req_userdata(req);
	int error = -EBADF;
	const struct handle *h = readable(s, ino, fi, &error);
	uint8_t *to = s->place ? s->place : s->data;
	uint32_t got = 0;

	if (!h || off < 0) {
		done(req, h ? -EINVAL : error);
		return;
	}
	size = size < CHECK_DATA_MAX ? size : CHECK_DATA_MAX;
	while (got < size) {
		const ssize_t n = pread(h->fd, to + got, size - got, off + (off_t)got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && got == 0) {
			done(req, -errno);
			return;
		}
		if (n <= 0)
			break;
		got += (uint32_t)n;
	}
	h->node->known = true;
	s->st.read += got;
	if (s->place)
		fuse_reply_buf(req, (const char *)&got, sizeof(got));
	else
		fuse_reply_buf(req, (const char *)to, got);
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct share *s = fuse_req_userdata(req);
	const struct handle *h = file(s, ino, fi);
	/* What a mapping wrote goes where it was mapped, also when its file is open to be appended to. */
	const int append = (fi->flags & O_APPEND) && !fi->writepage ? RWF_APPEND : 0;
	const uint8_t *from = s->place ? s->place : (const uint8_t *)buf;
	size_t put = 0;
	int error = 0;

	if (!h || !h->writable || off < 0) {
		done(req, s->readonly ? -EROFS : h && h->writable ? -EINVAL : -EBADF);
		return;
	}
	watch_before(s);
	while (put < size) {
		const struct iovec v = { .iov_base = (void *)(uintptr_t)(from + put), .iov_len = size - put };
		const ssize_t n = pwritev2(h->fd, &v, 1, off + (off_t)put, append);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			error = n < 0 ? -errno : -EIO;
			break;
		}
		put += (size_t)n;
	}
	watch_after(s, &(struct own){ .self = { h->node } });
	s->st.written += put;
	if (put == 0 && error < 0)
		done(req, error);
	else
		fuse_reply_write(req, put);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct share *s = fuse_req_userdata(req);

	(void)ino;
	handle_close(s, fi->fh, false);
	done(req, 0);
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct share *s = fuse_req_userdata(req);
	const struct handle *h = file(s, ino, fi);

	if (s->readonly) {
		done(req, 0);
		return;
	}
	done(req, !h ? -EBADF : (datasync ? fdatasync(h->fd) : fsync(h->fd)) < 0 ? -errno : 0);
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len, struct fuse_file_info *fi)
{
	struct share *s = fuse_req_userdata(req);
	const struct handle *h = file(s, ino, fi);

	if (!h || !h->writable) {
		done(req, -EBADF);
		return;
	}
	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
		done(req, -EOPNOTSUPP);
		return;
	}
	watch_before(s);
	const int r = fallocate(h->fd, mode, off, len) < 0 ? -errno : 0;
	watch_after(s, &(struct own){ .self = { h->node } });
	done(req, r);
}

void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	struct share *s = fuse_req_userdata(req);
	int error = -EBADF;
	const struct handle *h = readable(s, ino, fi, &error);
	const off_t at = !h || (whence != SEEK_DATA && whence != SEEK_HOLE) ? -1 : lseek(h->fd, off, whence);

	if (at < 0)
		done(req, !h ? error : whence != SEEK_DATA && whence != SEEK_HOLE ? -EINVAL : -errno);
	else
		fuse_reply_lseek(req, at);
}

void op_copy(fuse_req_t req, fuse_ino_t in, off_t off_in, struct fuse_file_info *fi_in, fuse_ino_t out, off_t off_out, struct fuse_file_info *fi_out, size_t len, int flags)
{
	struct share *s = fuse_req_userdata(req);
	const struct handle *a = file(s, in, fi_in), *b = file(s, out, fi_out);

	if (!a || !b || !b->writable || flags) {
		done(req, flags ? -EINVAL : -EBADF);
		return;
	}
	watch_before(s);
	const ssize_t n = copy_file_range(a->fd, &off_in, b->fd, &off_out, len < COPY_MAX ? len : COPY_MAX, 0);
	const int error = n < 0 ? errno : 0;
	watch_after(s, &(struct own){ .self = { b->node } });
	if (n < 0)
		done(req, -error);
	else
		fuse_reply_write(req, (size_t)n);
}
