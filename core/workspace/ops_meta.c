/* SPDX-License-Identifier: Apache-2.0 */
/* Names to inodes, attributes, extended attributes (only user.*: others mean something to the host). */
#include "core/workspace/impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/workspace/check.h"

static void done(fuse_req_t req, int r)
{
	fuse_reply_err(req, r < 0 ? -r : 0);
}

double attr_time(struct share *s, struct node *n, const struct stat *st, struct node *parent)
{
	if (n->type == S_IFDIR)
		return cache_time(s, n);
	/* A change through another name is not seen here. */
	return st->st_nlink > 1 || !parent ? CACHE_SHORT_S : cache_time(s, parent);
}

static int fill(struct share *s, struct node *parent, const char *name, struct fuse_entry_param *e)
{
	struct node *n;

	*e = (struct fuse_entry_param){ .generation = 1, .entry_timeout = cache_time(s, parent) };
	const int r = node_lookup(s, parent, name, &n, &e->attr);
	if (r < 0)
		return r;
	n->lookups++;
	e->ino = n->id;
	e->attr_timeout = attr_time(s, n, &e->attr, parent);
	attr_map(s, &e->attr);
	return 0;
}

void reply_entry(fuse_req_t req, struct share *s, struct node *parent, const char *name)
{
	struct fuse_entry_param e;
	const int r = fill(s, parent, name, &e);

	if (r < 0)
		done(req, r);
	else
		fuse_reply_entry(req, &e);
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct share *s = fuse_req_userdata(req);
	struct node *dir = node_get(s, parent);
	struct fuse_entry_param e;
	int r = dir ? 0 : -ESTALE;

	if (r == 0 && name_hidden(s, dir, name)) {
		struct stat st;
		struct key k;

		if (name_stat(s, dir, name, &st, &k) == 0)
			node_note(s, dir, name, SHARE_HIDDEN);
		done(req, -ENOENT); /* not to be remembered: in a guest's own layer the name may come to be */
		return;
	}
	if (r == 0)
		r = fill(s, dir, name, &e);
	if (r == -EXDEV) {
		node_note(s, dir, name, SHARE_MOUNT);
		r = -EACCES;
	}
	if (r == -ENOENT && dir->wd >= 0) {
		e = (struct fuse_entry_param){ .entry_timeout = CACHE_S }; /* there is no such name, and that may be remembered */
		r = 0;
	}
	if (r < 0) {
		done(req, r);
		return;
	}
	fuse_reply_entry(req, &e);
	if (e.ino)
		ahead_hint(s, dir);
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct share *s = fuse_req_userdata(req);
	struct node *n = node_get(s, ino);
	struct stat st;

	(void)fi;
	const int r = n ? node_stat(s, n, &st) : -ESTALE;
	if (r < 0) {
		done(req, r);
		return;
	}
	const double time = attr_time(s, n, &st, n->parent);
	attr_map(s, &st);
	fuse_reply_attr(req, &st, time);
}

/* ---- changes of attributes ------------------------------------------------------------------------------------------------------- */

static int set_mode(struct share *s, struct node *n, mode_t mode)
{
	char text[16];

	if (n->type == S_IFLNK)
		return -EOPNOTSUPP;
	const int fd = node_fd(s, n);
	if (fd < 0)
		return fd;
	snprintf(text, sizeof(text), "%d", fd);
	return fchmodat(s->proc, text, mode & 01777, 0) < 0 ? -errno : 0;
}

static int set_size(struct share *s, struct node *n, struct fuse_file_info *fi, off_t size)
{
	const struct handle *h = fi ? handle_get(s, fi->fh, false) : NULL;

	if (n->type != S_IFREG)
		return n->type == S_IFDIR ? -EISDIR : -EINVAL;
	if (h && h->writable && h->node == n)
		return ftruncate(h->fd, size) < 0 ? -errno : 0;
	AUTO_FD fd = node_open(s, n, O_WRONLY);
	if (fd < 0)
		return fd;
	return ftruncate(fd, size) < 0 ? -errno : 0;
}

static int set_times(struct share *s, struct node *n, const struct stat *a, int set)
{
	struct timespec t[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_OMIT } };
	const int fd = node_fd(s, n);

	if (fd < 0)
		return fd;
	if (set & FUSE_SET_ATTR_ATIME_NOW)
		t[0].tv_nsec = UTIME_NOW;
	else if (set & FUSE_SET_ATTR_ATIME)
		t[0] = a->st_atim;
	if (set & FUSE_SET_ATTR_MTIME_NOW)
		t[1].tv_nsec = UTIME_NOW;
	else if (set & FUSE_SET_ATTR_MTIME)
		t[1] = a->st_mtim;
	return utimensat(fd, "", t, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int set_all(struct share *s, struct node *n, const struct stat *a, int set, struct fuse_file_info *fi)
{
	struct stat now;
	int r = node_stat(s, n, &now);

	if (r < 0)
		return r;
	if (s->readonly)
		return -EROFS;
	if (!node_ours(s, n, &now))
		return -EPERM;
	attr_map(s, &now);
	/* Owners are the host's; a change to what is already so is none. */
	if ((set & FUSE_SET_ATTR_UID && a->st_uid != now.st_uid) || (set & FUSE_SET_ATTR_GID && a->st_gid != now.st_gid))
		return -EPERM;
	if (set & FUSE_SET_ATTR_MODE && (r = set_mode(s, n, a->st_mode)) < 0)
		return r;
	if (set & FUSE_SET_ATTR_SIZE && (r = set_size(s, n, fi, a->st_size)) < 0)
		return r;
	if (set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW))
		return set_times(s, n, a, set);
	return 0;
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int set, struct fuse_file_info *fi)
{
	struct share *s = fuse_req_userdata(req);

	watch_before(s);
	struct node *n = node_get(s, ino);
	int r = n ? 0 : -ESTALE;
	if (r == 0) {
		r = set_all(s, n, attr, set, fi);
		watch_after(s, &(struct own){ .self = { n } });
	}
	if (r < 0)
		done(req, r);
	else
		op_getattr(req, ino, fi);
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct share *s = fuse_req_userdata(req);
	struct node *n = node_get(s, ino);
	char text[4097];
	const int fd = !n ? -ESTALE : n->type != S_IFLNK ? -EINVAL : node_fd(s, n);

	if (fd < 0) {
		done(req, fd);
		return;
	}
	const ssize_t k = readlinkat(fd, "", text, sizeof(text));
	if (k < 0 || (size_t)k >= sizeof(text)) {
		done(req, k < 0 ? -errno : -ENAMETOOLONG);
		return;
	}
	text[k] = '\0';
	fuse_reply_readlink(req, text);
}

void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct share *s = fuse_req_userdata(req);
	struct statvfs v;

	(void)ino;
	if (fstatvfs(s->root, &v) < 0)
		done(req, -errno);
	else
		fuse_reply_statfs(req, &v);
}

/* ---- extended attributes ----------------------------------------------------------------------------------------------------------- */

static bool is_user(const char *name)
{
	return str_starts(name, "user.") && name[5];
}

/* Links and special files have none a user may set. */
static int open_for_xattr(struct share *s, uint64_t ino, struct node **n)
{
	*n = node_get(s, ino);
	if (!*n)
		return -ESTALE;
	return (*n)->type == S_IFREG || (*n)->type == S_IFDIR ? node_open(s, *n, O_RDONLY) : -EOPNOTSUPP;
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct share *s = fuse_req_userdata(req);
	struct node *n;

	if (!is_user(name)) {
		done(req, -EOPNOTSUPP);
		return;
	}
	AUTO_FD fd = open_for_xattr(s, ino, &n);
	const ssize_t k = fd < 0 ? fd : fgetxattr(fd, name, s->data, size);
	if (k < 0)
		done(req, fd < 0 ? fd : -errno);
	else if (size == 0)
		fuse_reply_xattr(req, (size_t)k);
	else
		fuse_reply_buf(req, (const char *)s->data, (size_t)k);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct share *s = fuse_req_userdata(req);
	char *list = (char *)s->data;
	struct node *n;
	size_t kept = 0;
	AUTO_FD fd = open_for_xattr(s, ino, &n);
	const ssize_t k = fd == -EOPNOTSUPP || fd == -EACCES ? 0 : fd < 0 ? fd : flistxattr(fd, list, 65536);

	if (k < 0) {
		done(req, fd < 0 ? fd : -errno);
		return;
	}
	for (ssize_t at = 0; at < k;) {
		const size_t len = strlen(list + at) + 1;

		if (is_user(list + at)) {
			memmove(list + kept, list + at, len);
			kept += len;
		}
		at += (ssize_t)len;
	}
	if (size == 0)
		fuse_reply_xattr(req, kept);
	else if (kept > size)
		done(req, -ERANGE);
	else
		fuse_reply_buf(req, list, kept);
}

static int change_xattr(struct share *s, uint64_t ino, const char *name, const void *value, size_t size, int flags, bool drop)
{
	struct node *n;
	struct stat st;

	if (!is_user(name))
		return -EOPNOTSUPP;
	if (s->readonly)
		return -EROFS;
	watch_before(s);
	AUTO_FD fd = open_for_xattr(s, ino, &n);
	int r = fd < 0 ? fd : node_stat(s, n, &st);
	if (r < 0)
		return r;
	if (!node_ours(s, n, &st))
		return -EPERM;
	r = drop ? fremovexattr(fd, name) : fsetxattr(fd, name, value, size, flags);
	r = r < 0 ? -errno : 0;
	watch_after(s, &(struct own){ .self = { n } });
	return r;
}

int do_setxattr(struct share *s, uint64_t ino, const char *name, const void *value, size_t size, int flags)
{
	return -change_xattr(s, ino, name, value, size, flags & (XATTR_CREATE | XATTR_REPLACE), false);
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	done(req, change_xattr(fuse_req_userdata(req), ino, name, NULL, 0, 0, true));
}
