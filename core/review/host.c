/* SPDX-License-Identifier: Apache-2.0 */
#include "core/review/host.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/review/place.h"

static int open_beneath(int dir, const char *path, int flags)
{
	const struct open_how how = { .flags = (unsigned)(flags | O_CLOEXEC),
				      .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV };
	long fd;

	for (int i = 0; i < 16; i++)
		if ((fd = syscall(SYS_openat2, dir, path, &how, sizeof(how))) >= 0 || errno != EAGAIN)
			break;
	return fd < 0 ? -errno : (int)fd;
}

static uint8_t type_of(const struct stat *st)
{
	return S_ISREG(st->st_mode) ? CHANGES_FILE : S_ISDIR(st->st_mode) ? CHANGES_DIR : S_ISLNK(st->st_mode) ? CHANGES_SYMLINK :
	       S_ISFIFO(st->st_mode) ? CHANGES_FIFO : S_ISSOCK(st->st_mode) ? CHANGES_SOCKET : CHANGES_DEVICE;
}

struct side host_side(const struct stat *st)
{
	if (!st)
		return (struct side){ .type = CHANGES_WHITEOUT };
	return (struct side){ .type = type_of(st), .mode = st->st_mode & 07777, .size = S_ISDIR(st->st_mode) ? 0 : (uint64_t)st->st_size,
			      .mtime_ns = (uint64_t)st->st_mtim.tv_sec * UINT64_C(1000000000) + (uint64_t)st->st_mtim.tv_nsec };
}

int host_stat(int root, const char *path, struct stat *st)
{
	struct place p;
	int r = place_open(root, path, &p);

	if (r == 0 && fstatat(p.dir, p.name, st, AT_SYMLINK_NOFOLLOW) < 0)
		r = -errno;
	place_close(&p);
	return r == -ENOTDIR || r == -ELOOP ? -ENOENT : r;
}

static int read_file(int fd, uint64_t most, struct content *out)
{
	struct stat st;
	size_t at = 0;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EAGAIN;
	out->side = host_side(&st);
	if ((uint64_t)st.st_size > most)
		return -EFBIG;
	const size_t cap = (size_t)st.st_size + 1;
	if (!(out->data = malloc(cap)))
		return -ENOMEM;
	while (at < cap) {
		const ssize_t n = pread(fd, out->data + at, cap - at, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		at += (size_t)n;
	}
	out->n = at;
	return at == (size_t)st.st_size ? 0 : -EAGAIN;
}

int host_read(int root, const char *path, uint64_t most, struct content *out)
{
	struct place p;
	struct stat st;
	int r = place_open(root, path, &p);

	*out = (struct content){ .side = { .type = CHANGES_WHITEOUT } };
	if (r == 0 && fstatat(p.dir, p.name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		r = -errno;
	if (r == 0) {
		out->side = host_side(&st);
		if (S_ISREG(st.st_mode)) {
			AUTO_FD fd = open_beneath(p.dir, p.name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
			r = fd < 0 ? fd : read_file(fd, most, out);
		} else if (S_ISLNK(st.st_mode)) {
			char text[PATH_MAX];

			r = place_link_text(p.dir, p.name, text);
			out->n = r == 0 ? strlen(text) : 0;
			if (r == 0 && !(out->data = (uint8_t *)str_dup(text)))
				r = -ENOMEM;
			out->side.size = out->n;
		}
	}
	place_close(&p);
	if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP) {
		content_release(out);
		*out = (struct content){ .side = { .type = CHANGES_WHITEOUT } };
		return 0;
	}
	if (r < 0) {
		free(out->data);
		out->data = NULL;
		out->n = 0;
	}
	return r;
}

struct walk { const struct host_walk *w; uint32_t seen; bool ended; };

/* Gone, no directory any more, behind a mount, or not the person's to read. */
static bool is_none_of_ours(int e)
{
	return e == -ENOENT || e == -ENOTDIR || e == -ELOOP || e == -EXDEV || e == -EACCES;
}

/* One descriptor a level: there may be CHANGES_DEPTH_MAX. *names: how many it has. */
static int walk_dir(struct walk *s, int at, const char *name, const char *path, unsigned depth, uint32_t *names)
{
	const int fd = open_beneath(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *de;
	int r = 0;

	*names = 0;
	if (!d) {
		*names = 1; /* not known */
		if (fd >= 0)
			close(fd);
		return fd >= 0 ? -ENOMEM : is_none_of_ours(fd) ? 0 : fd;
	}
	const bool listed = !s->w->dir || s->w->dir(s->w->arg, path, fd);
	*names = !listed;
	while (listed && r == 0 && !s->ended && (de = readdir(d))) {
		struct stat st;

		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		(*names)++;
		AUTO_FREE char *below = str_fmt("%s%s%s", path, *path ? "/" : "", de->d_name);
		if (!below)
			r = -ENOMEM;
		else if (++s->seen > s->w->most)
			r = -E2BIG;
		if (r < 0 || !changes_path_legal(below) || s->w->skip(s->w->arg, below) || fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (!S_ISDIR(st.st_mode)) {
			s->ended = !s->w->fn(s->w->arg, below, &st);
		} else if (depth < CHANGES_DEPTH_MAX) {
			uint32_t inside;

			r = walk_dir(s, dirfd(d), de->d_name, below, depth + 1, &inside);
			if (r == 0 && inside == 0)
				s->ended = !s->w->fn(s->w->arg, below, &st);
		}
	}
	closedir(d);
	return r;
}

int host_walk(int root, const char *path, const struct host_walk *w)
{
	struct walk s = { .w = w };
	uint32_t names;

	return walk_dir(&s, root, *path ? path : ".", path, 0, &names);
}
