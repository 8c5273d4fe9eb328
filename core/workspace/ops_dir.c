/* SPDX-License-Identifier: Apache-2.0 */
/* Directories: what is in them, and what comes and goes. */
#include "core/workspace/impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "core/base/fd.h"
#include "core/workspace/check.h"

static void done(fuse_req_t req, int r)
{
	fuse_reply_err(req, r < 0 ? -r : 0);
}

/* The directory in which `name` is to come or go: its descriptor, *dir set. */
static int begin(struct share *s, uint64_t id, const char *name, bool comes, struct node **dir)
{
	*dir = node_get(s, id);
	if (!*dir)
		return -ESTALE;
	if ((*dir)->type != S_IFDIR)
		return -ENOTDIR;
	if (s->readonly)
		return -EROFS;
	if (name_hidden(s, *dir, name)) {
		node_note(s, *dir, name, SHARE_HIDDEN);
		return comes ? -EPERM : -ENOENT;
	}
	return node_fd(s, *dir);
}

/* ---- coming ------------------------------------------------------------------------------------------------------------------- */

static void finish(fuse_req_t req, struct share *s, struct node *dir, const char *name, int r)
{
	if (dir)
		watch_after(s, &(struct own){ .dir = { dir }, .name = { name } });
	if (r == 0)
		ahead_after(s, dir);
	if (r < 0)
		done(req, r);
	else
		reply_entry(req, s, dir, name);
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct share *s = fuse_req_userdata(req);
	struct node *dir;

	watch_before(s); /* here and below: it may open others, and so close what begin() gives */
	int fd = begin(s, parent, name, true, &dir);

	(void)rdev;
	/* A device of the host is nothing a guest may make. */
	if (fd >= 0 && !S_ISREG(mode) && !S_ISFIFO(mode) && !S_ISSOCK(mode))
		fd = -EPERM;
	const int r = fd < 0 ? fd : mknodat(fd, name, (mode & S_IFMT) | (mode & 01777), 0) < 0 ? -errno : 0;
	finish(req, s, dir, name, r);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct share *s = fuse_req_userdata(req);
	struct node *dir, *made = NULL;
	struct stat st;

	watch_before(s);
	const int fd = begin(s, parent, name, true, &dir);
	const int r = fd < 0 ? fd : mkdirat(fd, name, mode & 01777) < 0 ? -errno : 0;
	if (r == 0 && node_lookup(s, dir, name, &made, &st) == 0) {
		made->refs++;
		ahead_new(s, made);
	}
	finish(req, s, dir, name, r);
	if (made)
		node_unref(s, made);
}

void op_symlink(fuse_req_t req, const char *text, fuse_ino_t parent, const char *name)
{
	struct share *s = fuse_req_userdata(req);
	struct node *dir;

	watch_before(s);
	const int fd = begin(s, parent, name, true, &dir);
	const int r = fd < 0 ? fd : symlinkat(text, fd, name) < 0 ? -errno : 0;
	finish(req, s, dir, name, r);
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	struct share *s = fuse_req_userdata(req);
	struct node *dir;
	char text[16];

	watch_before(s);
	struct node *n = node_get(s, ino);
	int to = n ? begin(s, newparent, newname, true, &dir) : -ESTALE;

	if (to >= 0 && n->type == S_IFDIR)
		to = -EPERM;
	const int from = to < 0 ? to : node_fd(s, n);
	if (from < 0) {
		done(req, from);
		return;
	}
	snprintf(text, sizeof(text), "%d", from);
	const int r = linkat(s->proc, text, to, newname, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
	watch_after(s, &(struct own){ .dir = { dir }, .name = { newname }, .self = { n } });
	if (r == 0)
		ahead_after(s, dir);
	if (r < 0)
		done(req, r);
	else
		reply_entry(req, s, dir, newname);
}

/* ---- going ---------------------------------------------------------------------------------------------------------------------- */

static void take_away(fuse_req_t req, fuse_ino_t parent, const char *name, int flags)
{
	struct share *s = fuse_req_userdata(req);
	struct node *dir;

	watch_before(s);
	const int fd = begin(s, parent, name, false, &dir);
	if (fd < 0) {
		done(req, fd);
		return;
	}
	const int r = unlinkat(fd, name, flags) < 0 ? -errno : 0;
	watch_after(s, &(struct own){ .dir = { dir }, .name = { name } });
	if (r == 0 && !flags)
		ahead_after(s, dir);
	done(req, r);
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	take_away(req, parent, name, 0);
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	take_away(req, parent, name, AT_REMOVEDIR);
}

/* The node that now stands under this name, if it is known, has moved there. */
static struct node *settle(struct share *s, struct node *dir, const char *name)
{
	struct stat st;
	struct key k;
	struct node *n = name_stat(s, dir, name, &st, &k) == 0 ? node_by_key(s, &k) : NULL;

	if (n)
		node_seen(s, n, dir, name, &st);
	return n;
}

/* Whether a directory may leave its place: one above hidden names would take them out of their pattern. */
static bool may_move(struct share *s, struct node *dir, const char *name)
{
	struct stat st;
	struct key k;
	struct node *n = name_stat(s, dir, name, &st, &k) == 0 ? node_by_key(s, &k) : NULL;

	return !n || !dir_pinned(s, n);
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent, const char *newname, unsigned flags)
{
	struct share *s = fuse_req_userdata(req);
	struct node *from, *to;

	watch_before(s);
	int a = begin(s, parent, name, false, &from);
	const int b = a < 0 ? a : begin(s, newparent, newname, true, &to);

	if (b >= 0 && (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE)))
		a = -EINVAL; /* WHITEOUT makes a device */
	else if (b >= 0 && (!may_move(s, from, name) || ((flags & RENAME_EXCHANGE) && !may_move(s, to, newname))))
		a = -EPERM;
	else if (b >= 0)
		a = node_fd(s, from); /* the second begin() may have closed it */
	if (a < 0 || b < 0) {
		done(req, a < 0 ? a : b);
		return;
	}
	const int r = syscall(SYS_renameat2, a, name, node_fd(s, to), newname, flags) < 0 ? -errno : 0;
	from->refs++; /* what moves may be all that holds them */
	to->refs++;
	struct node *moved = r == 0 ? settle(s, to, newname) : NULL;
	struct node *other = r == 0 && flags & RENAME_EXCHANGE ? settle(s, from, name) : NULL;
	watch_after(s, &(struct own){ .dir = { from, to }, .name = { name, newname }, .self = { moved, other } });
	node_unref(s, from);
	node_unref(s, to);
	done(req, r);
}

/* ---- listing --------------------------------------------------------------------------------------------------------------------- */

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	/* Never again: the kernel then keeps a listing until we say otherwise, or until the directory's time changes. */
	done(req, -ENOSYS);
}

const struct dir_entry *dir_peek(struct handle *h, int *error)
{
	*error = 0;
	if (!h->buf && !(h->buf = malloc(DIR_BUF))) {
		*error = -ENOMEM;
		return NULL;
	}
	if (h->pos >= h->len) {
		const long n = syscall(SYS_getdents64, h->fd, h->buf, DIR_BUF);

		h->pos = h->len = 0;
		if (n <= 0) {
			*error = n < 0 ? -errno : 0;
			return NULL;
		}
		h->len = (size_t)n;
	}
	return (const struct dir_entry *)(const void *)(h->buf + h->pos);
}

bool dir_is_dot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

ssize_t dir_put(fuse_req_t req, struct share *s, struct node *dir, const struct dir_entry *d, bool plus, char *dst, size_t room)
{
	struct fuse_entry_param e = { .generation = 1, .attr = { .st_ino = d->ino, .st_mode = (mode_t)d->type << 12 } };
	struct node *n = NULL;

	if (!dir_is_dot(d->name) && name_hidden(s, dir, d->name)) {
		node_note(s, dir, d->name, SHARE_HIDDEN);
		return -ENOENT;
	}
	const size_t need = plus ? fuse_add_direntry_plus(req, NULL, 0, d->name, NULL, 0) : fuse_add_direntry(req, NULL, 0, d->name, NULL, 0);
	if (need > room)
		return 0;
	if (!plus)
		return (ssize_t)fuse_add_direntry(req, dst, room, d->name, &e.attr, d->off);
	/* One that has gone meanwhile, or is a mount, is listed without attributes. */
	if (!dir_is_dot(d->name) && node_lookup(s, dir, d->name, &n, &e.attr) == 0) {
		e.entry_timeout = cache_time(s, dir);
		e.attr_timeout = attr_time(s, n, &e.attr, dir);
		e.ino = n->id;
		n->lookups++;
		attr_map(s, &e.attr);
	}
	return (ssize_t)fuse_add_direntry_plus(req, dst, room, d->name, &e, d->off);
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi, bool plus)
{
	struct share *s = fuse_req_userdata(req);
	struct node *n = node_get(s, ino);
	int error = !n ? -ESTALE : n->type != S_IFDIR ? -ENOTDIR : fi->fh ? -EBADF : 0;
	struct handle *h = error < 0 ? NULL : handle_listing(s, n, &error);
	const struct dir_entry *d;
	size_t used = 0;

	if (!h) {
		done(req, error);
		return;
	}
	watch_dir(s, n);
	size = size < CHECK_DATA_MAX ? size : CHECK_DATA_MAX;
	if ((uint64_t)off != h->at || off == 0) {
		if (lseek(h->fd, off, SEEK_SET) < 0) {
			done(req, -errno);
			return;
		}
		h->at = (uint64_t)off;
		h->pos = h->len = 0;
	}
	while ((d = dir_peek(h, &error))) {
		const ssize_t k = dir_put(req, s, n, d, plus, (char *)s->data + used, size - used);

		if (k == 0)
			break;
		used += k > 0 ? (size_t)k : 0;
		h->at = (uint64_t)d->off;
		h->pos += d->len;
	}
	if (!d && used > 0 && error == 0)
		ahead_end(s, n, h->at);
	if (!d && (used == 0 || s->ahead))
		handle_listed(s, n);
	if (error < 0 && used == 0)
		done(req, error);
	else
		fuse_reply_buf(req, (const char *)s->data, used);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	list(req, ino, size, off, fi, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	list(req, ino, size, off, fi, true);
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct share *s = fuse_req_userdata(req);
	struct node *n = node_get(s, ino);
	AUTO_FD fd = !n ? -ESTALE : n->type != S_IFDIR ? -ENOTDIR : node_open(s, n, O_RDONLY | O_DIRECTORY);

	(void)fi;
	done(req, fd < 0 ? fd : (datasync ? fdatasync(fd) : fsync(fd)) < 0 ? -errno : 0);
}
