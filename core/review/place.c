/* SPDX-License-Identifier: Apache-2.0 */
/* Sources: openat2(2), fstatat(2). */
#include "core/review/place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/str.h"

#define CHUNK 65536u
#define LOOKS_MAX 4 /* a file that changes under each look is not for us */

bool look_equal(const struct look *a, const struct look *b, bool with_mode)
{
	if (a->kind != b->kind || a->kind == LOOK_OTHER)
		return false;
	if (with_mode && a->kind != LOOK_NONE && a->kind != LOOK_LINK && a->mode != b->mode)
		return false;
	return (a->kind != LOOK_FILE && a->kind != LOOK_LINK) || (a->size == b->size && memcmp(a->digest, b->digest, DIGEST_SIZE) == 0);
}

void look_put(struct buf *b, const struct look *l)
{
	buf_u8(b, l->kind);
	buf_u16(b, l->mode);
	buf_u64(b, l->size);
	buf_put(b, l->digest, DIGEST_SIZE);
}

void look_get(struct rbuf *r, struct look *l)
{
	*l = (struct look){ 0 };
	rbuf_u8(r, &l->kind);
	rbuf_u16(r, &l->mode);
	rbuf_u64(r, &l->size);
	rbuf_copy(r, l->digest, DIGEST_SIZE);
	if (!r->bad && (l->kind >= LOOK_KINDS || l->mode > 07777))
		r->bad = true;
}

bool place_legal(const char *path)
{
	size_t depth = 0;

	if (strlen(path) > PLACE_PATH_MAX)
		return false;
	for (const char *at = path;; at++) {
		const size_t n = strcspn(at, "/");

		if (n == 0 || n > PLACE_NAME_MAX || (n == 1 && at[0] == '.') || (n == 2 && at[0] == '.' && at[1] == '.') || ++depth > PLACE_DEPTH_MAX)
			return false;
		at += n;
		if (!*at)
			return true;
	}
}

static int open_below(int dir, const char *path, int flags)
{
	const struct open_how how = { .flags = (unsigned)(flags | O_CLOEXEC),
				      .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV };
	long fd;

	/* EAGAIN: something was moved meanwhile and the kernel could not be sure. */
	for (int i = 0; i < 16; i++)
		if ((fd = syscall(SYS_openat2, dir, path, &how, sizeof(how))) >= 0 || errno != EAGAIN)
			break;
	return fd < 0 ? -errno : (int)fd;
}

int place_open(int root, const char *path, struct place *out)
{
	char parent[PLACE_PATH_MAX + 1];
	const char *slash = strrchr(path, '/');

	*out = PLACE_INIT;
	if (!place_legal(path))
		return -EINVAL;
	snprintf(parent, sizeof(parent), "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
	str_copy(out->name, sizeof(out->name), slash ? slash + 1 : path);
	out->dir = open_below(root, parent, O_RDONLY | O_DIRECTORY);
	if (out->dir == -EACCES)
		out->dir = open_below(root, parent, O_PATH | O_DIRECTORY);
	if (out->dir >= 0)
		return 0;
	const int r = out->dir;
	out->dir = -1;
	return r;
}

void place_close(struct place *p)
{
	fd_close(&p->dir);
}

void place_sync(const struct place *p)
{
	(void)fsync(p->dir); /* EBADF where the directory may not be read: then its file system's own time tells */
}

int place_link_text(int dir, const char *name, char out[PATH_MAX])
{
	const ssize_t n = readlinkat(dir, name, out, PATH_MAX);

	if (n < 0 || n >= PATH_MAX)
		return n < 0 ? -errno : -ENAMETOOLONG;
	out[n] = '\0';
	return 0;
}

static int sum_file(int fd, struct look *out)
{
	uint8_t chunk[CHUNK];
	struct digest *d = digest_create();
	off_t at = 0;
	ssize_t n;

	if (!d)
		return -ENOMEM;
	while ((n = pread(fd, chunk, sizeof(chunk), at)) > 0 || (n < 0 && errno == EINTR)) {
		if (n < 0)
			continue;
		digest_put(d, chunk, (size_t)n);
		at += n;
	}
	const int r = n < 0 ? -errno : 0;
	digest_take(d, out->digest);
	digest_destroy(&d);
	out->size = (uint64_t)at;
	return r;
}

static bool same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_mode == b->st_mode && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

bool place_still(const struct place *p, const char *name, const struct look *l)
{
	struct stat st;

	if (fstatat(p->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT && l->kind == LOOK_NONE;
	return l->kind != LOOK_NONE && (S_ISDIR(st.st_mode) ? st.st_ino == l->st.st_ino && st.st_dev == l->st.st_dev && l->kind == LOOK_DIR : same(&st, &l->st));
}

static int look_file(const struct place *p, struct look *out, int *fd)
{
	AUTO_FD f = open_below(p->dir, p->name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
	struct stat st;

	if (f == -EXDEV) {
		f = -1;
		out->kind = LOOK_OTHER;
		return 0;
	}
	if (f < 0) {
		const int r = f;

		f = -1;
		return r == -ENOENT || r == -ELOOP ? -EAGAIN : r;
	}
	const int r = sum_file(f, out);
	if (r < 0)
		return r;
	/* What was read is what stands there, and nobody wrote meanwhile. */
	if (fstat(f, &st) < 0 || !same(&st, &out->st) || out->size != (uint64_t)st.st_size || !place_still(p, p->name, out))
		return -EAGAIN;
	if (fd)
		*fd = steal_fd(&f);
	return 0;
}

static int look_link(const struct place *p, struct look *out)
{
	char text[PATH_MAX];
	const int r = place_link_text(p->dir, p->name, text);

	if (r < 0)
		return r == -EINVAL || r == -ENOENT ? -EAGAIN : r;
	out->size = strlen(text);
	return digest_of(text, strlen(text), out->digest);
}

bool place_is_empty_dir(int root, const char *path)
{
	struct place p;
	const struct dirent *de = NULL;

	if (place_open(root, path, &p) < 0)
		return false;
	const int fd = open_below(p.dir, p.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	while (d && (de = readdir(d)) && (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0))
		;
	const bool empty = d && !de;
	if (d)
		closedir(d);
	else if (fd >= 0)
		close(fd);
	place_close(&p);
	return empty;
}

static int look_once(const struct place *p, struct look *out, int *fd)
{
	struct stat here;

	*out = (struct look){ 0 };
	if (fstatat(p->dir, p->name, &out->st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	out->mode = out->st.st_mode & 07777;
	if (S_ISREG(out->st.st_mode)) {
		out->kind = LOOK_FILE;
		return look_file(p, out, fd);
	}
	if (S_ISLNK(out->st.st_mode)) {
		out->kind = LOOK_LINK;
		return look_link(p, out);
	}
	if (fstat(p->dir, &here) < 0)
		return -errno;
	out->kind = S_ISDIR(out->st.st_mode) && here.st_dev == out->st.st_dev ? LOOK_DIR : LOOK_OTHER;
	return 0;
}

int place_look(const struct place *p, struct look *out, int *fd)
{
	int r = -EAGAIN;

	if (fd)
		*fd = -1;
	for (int i = 0; i < LOOKS_MAX && r == -EAGAIN; i++)
		r = look_once(p, out, fd);
	return r;
}
