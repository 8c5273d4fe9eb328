/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making the tar stream that goes into a guest. The person's own files: they may change while we read, so a file
 * is packed with the size it had when it was opened, cut or filled with zeros to it, as tar does.
 */
#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "tui/cli/unpack.h"

#define PACK_DEPTH_MAX 256u
#define PACK_CHUNK 65536u

struct pack {
	struct archive *ar;
	struct unpack_report *rep;
	struct err *e;
};

static int pack_at(struct pack *k, int dirfd, const char *name, const char *as, unsigned depth, int follow);

static int skip(struct pack *k, const char *as, const char *why)
{
	if (k->rep->skipped++ == 0)
		snprintf(k->rep->why, sizeof(k->rep->why), "'%.100s': %s", as, why);
	return 0;
}

/* -EPIPE: the reader ended and has said why itself. */
static int cannot_send(struct pack *k, const char *what)
{
	const int n = archive_errno(k->ar) == EPIPE ? EPIPE : EIO;

	return err_set(k->e, n, "cannot send '%s': %s", what, archive_error_string(k->ar));
}

static int put_header(struct pack *k, struct archive_entry *en)
{
	int r = archive_write_header(k->ar, en);

	if (r < ARCHIVE_WARN)
		return cannot_send(k, archive_entry_pathname(en));
	k->rep->files++;
	return 0;
}

static int put_file(struct pack *k, int fd, const char *as, uint64_t size)
{
	static char chunk[PACK_CHUNK];

	while (size) {
		size_t want = size < sizeof(chunk) ? (size_t)size : sizeof(chunk);
		ssize_t n = read(fd, chunk, want);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			memset(chunk, 0, want);
			n = (ssize_t)want;
		}
		if (archive_write_data(k->ar, chunk, (size_t)n) < 0)
			return cannot_send(k, as);
		size -= (uint64_t)n;
		k->rep->bytes += (uint64_t)n;
	}
	return 0;
}

static int pack_dir(struct pack *k, int fd_taken, const char *as, unsigned depth)
{
	DIR *d = fdopendir(fd_taken);
	struct dirent *de;
	int r = 0;

	if (!d) {
		close(fd_taken);
		return skip(k, as, strerror(errno));
	}
	while (r == 0 && (de = readdir(d))) {
		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;

		AUTO_FREE char *sub = str_fmt("%s/%s", as, de->d_name);

		if (!sub)
			r = err_set(k->e, ENOMEM, "out of memory");
		else
			r = pack_at(k, dirfd(d), de->d_name, sub, depth + 1, 0);
	}
	closedir(d);
	return r;
}

static int pack_open(struct pack *k, struct archive_entry *en, int dirfd, const char *name, const char *as,
		     unsigned depth, int follow)
{
	struct stat st;
	AUTO_FD fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (follow ? 0 : O_NOFOLLOW));
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return skip(k, as, strerror(errno));
	archive_entry_copy_stat(en, &st);
	archive_entry_set_size(en, S_ISREG(st.st_mode) ? st.st_size : 0);
	archive_entry_set_uid(en, 0);
	archive_entry_set_gid(en, 0);
	if ((r = put_header(k, en)) < 0)
		return r;
	return S_ISDIR(st.st_mode) ? pack_dir(k, steal_fd(&fd), as, depth) : put_file(k, fd, as, (uint64_t)st.st_size);
}

static int pack_at(struct pack *k, int dirfd, const char *name, const char *as, unsigned depth, int follow)
{
	char target[PATH_MAX];
	struct stat st;
	int r;

	if (depth > PACK_DEPTH_MAX)
		return skip(k, as, "too deep");
	if (fstatat(dirfd, name, &st, follow ? 0 : AT_SYMLINK_NOFOLLOW) < 0)
		return skip(k, as, strerror(errno));
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) && !S_ISLNK(st.st_mode))
		return skip(k, as, "a device, socket or FIFO");

	struct archive_entry *en = archive_entry_new();

	if (!en)
		return err_set(k->e, ENOMEM, "out of memory");
	archive_entry_copy_pathname(en, as);
	if (S_ISLNK(st.st_mode)) {
		ssize_t n = readlinkat(dirfd, name, target, sizeof(target) - 1);

		if (n < 0) {
			r = skip(k, as, strerror(errno));
		} else {
			target[n] = '\0';
			archive_entry_copy_stat(en, &st);
			archive_entry_set_size(en, 0);
			archive_entry_copy_symlink(en, target);
			r = put_header(k, en);
		}
	} else {
		r = pack_open(k, en, dirfd, name, as, depth, follow);
	}
	archive_entry_free(en);
	return r;
}

int pack_tar(int fd, const char *path, const char *as, int follow, struct unpack_report *rep, struct err *e)
{
	struct pack k = { .ar = archive_write_new(), .rep = rep, .e = e };
	int r;

	*rep = (struct unpack_report){ 0 };
	if (!k.ar)
		return err_set(e, ENOMEM, "out of memory");
	archive_write_set_format_pax_restricted(k.ar);
	archive_write_set_options(k.ar, "hdrcharset=BINARY");
	if (archive_write_open_fd(k.ar, fd) != ARCHIVE_OK)
		r = err_set(e, EIO, "cannot write the archive: %s", archive_error_string(k.ar));
	else
		r = pack_at(&k, AT_FDCWD, path, as, 0, follow);
	if (archive_write_close(k.ar) != ARCHIVE_OK && r == 0)
		r = err_set(e, EIO, "cannot write the archive: %s", archive_error_string(k.ar));
	archive_write_free(k.ar);
	return r;
}
