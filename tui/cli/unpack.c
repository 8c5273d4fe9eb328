/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unpacking what a guest sends.
 *
 * libarchive reads the headers; every file is made by this file, not by archive_write_disk, so that one rule holds for
 * all of it: each entry's parent is opened by openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS) from the target's descriptor and
 * the last component is made with O_EXCL after whatever non-directory stood there was unlinked. An archive can therefore plant a link
 * and then name a file "through" it as often as it likes: the second open fails with ELOOP.
 *
 * Symbolic links are made only if they cannot lead out: relative, ".." only at the beginning and no more of them than
 * the link is deep. (".." after a name is refused because the name may be a link itself: s/d -> ".", x -> "s/d/../..".)
 */
#include "tui/cli/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/base/utf8.h"

#define NAME_BYTES_MAX 4095u
#define DEPTH_MAX 256u
#define SPACE_CHECK_BYTES (8u * 1024u * 1024u)

struct unpack {
	struct archive *ar;
	const struct unpack_opts *o;
	struct unpack_report *rep;
	uint64_t unchecked; /* bytes since the free space was last asked */
	mode_t umask;
	struct err *e;
};

int unpack_name(char *name, struct err *e)
{
	char *to = name;
	const char *s = name;
	unsigned depth = 0;

	if (*s == '/')
		return err_set(e, EBADMSG, "the archive names '%.200s', an absolute path", name);
	if (strlen(s) > NAME_BYTES_MAX)
		return err_set(e, EBADMSG, "the archive holds a name longer than %u bytes", NAME_BYTES_MAX);
	while (*s) {
		size_t n = strcspn(s, "/");

		if (n == 2 && s[0] == '.' && s[1] == '.')
			return err_set(e, EBADMSG, "the archive holds a name with '..'");
		if (n && !(n == 1 && s[0] == '.')) {
			if (++depth > DEPTH_MAX)
				return err_set(e, EBADMSG, "the archive holds a name deeper than %u directories", DEPTH_MAX);
			if (to != name)
				*to++ = '/';
			memmove(to, s, n);
			to += n;
		}
		s += n;
		if (*s)
			s++;
	}
	*to = '\0';
	return 0;
}

int unpack_link_stays(const char *name, const char *target)
{
	unsigned depth = 0;
	bool named = false;

	for (const char *s = name; *s; s++)
		depth += *s == '/';
	if (!*target || *target == '/' || strlen(target) > NAME_BYTES_MAX)
		return 0;
	while (*target) {
		size_t n = strcspn(target, "/");

		if (n == 2 && target[0] == '.' && target[1] == '.') {
			if (named || depth == 0)
				return 0;
			depth--;
		} else if (n && !(n == 1 && target[0] == '.')) {
			named = true;
		}
		target += n;
		if (*target)
			target++;
	}
	return 1;
}

static int open_beneath(int dirfd, const char *path, uint64_t flags, mode_t mode)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC | O_NOFOLLOW,
		.mode = mode,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

static int skip(struct unpack *u, const char *name, const char *why)
{
	if (u->rep->skipped++ == 0) {
		char clean[160];

		scrub(clean, sizeof(clean), name, strlen(name), false);
		snprintf(u->rep->why, sizeof(u->rep->why), "'%s': %s", clean, why);
	}
	return 0;
}

static int fail(struct unpack *u, int code, const char *what, const char *name)
{
	char clean[256];

	scrub(clean, sizeof(clean), name, strlen(name), false);
	return err_errno(u->e, code, "cannot %s '%s'", what, clean);
}

static int check_space(struct unpack *u, uint64_t bytes)
{
	struct statvfs v;

	if (fstatvfs(u->o->dirfd, &v) < 0)
		return 0;

	uint64_t free_bytes = (uint64_t)v.f_bavail * v.f_frsize;

	u->unchecked = 0;
	if (bytes > free_bytes || free_bytes - bytes < u->o->keep_free)
		return err_set(u->e, ENOSPC, "no space: the archive wants to write %llu more bytes and %llu are free",
			       (unsigned long long)bytes, (unsigned long long)free_bytes);
	if (v.f_files && v.f_favail < 16)
		return err_set(u->e, ENOSPC, "no space: the file system has no inodes left");
	return 0;
}

/* The directory that holds `name`, made as far as it is missing; *last: the final component. fd or -errno. */
static int open_parent(struct unpack *u, const char *name, const char **last)
{
	char dir[NAME_BYTES_MAX + 1];
	AUTO_FD at = fcntl(u->o->dirfd, F_DUPFD_CLOEXEC, 3);

	if (at < 0)
		return -errno;
	str_copy(dir, sizeof(dir), name);

	char *part = dir, *slash;

	while ((slash = strchr(part, '/'))) {
		*slash = '\0';
		int next = open_beneath(at, part, O_DIRECTORY | O_RDONLY, 0);

		if (next == -ENOENT) {
			if (mkdirat(at, part, 0777) < 0 && errno != EEXIST)
				return -errno;
			next = open_beneath(at, part, O_DIRECTORY | O_RDONLY, 0);
		}
		if (next < 0)
			return next;
		close(at);
		at = next;
		part = slash + 1;
	}
	*last = name + (part - dir);
	return steal_fd(&at);
}

/* Makes room for a new entry: 0, -EISDIR when a directory stands there. */
static int clear_place(int dirfd, const char *last)
{
	struct stat st;

	if (fstatat(dirfd, last, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	return unlinkat(dirfd, last, 0) < 0 ? -errno : 0;
}

static int write_data(struct unpack *u, int fd, const char *name)
{
	for (;;) {
		const void *p;
		size_t n;
		la_int64_t at;
		int r = archive_read_data_block(u->ar, &p, &n, &at);

		if (r == ARCHIVE_EOF)
			return 0;
		if (r < ARCHIVE_WARN)
			return err_set(u->e, EBADMSG, "the archive is damaged in '%.100s': %s", name,
				       archive_error_string(u->ar));
		u->unchecked += n;
		if (u->unchecked >= SPACE_CHECK_BYTES && (r = check_space(u, n)) < 0)
			return r;
		r = fd_pwrite_full(fd, p, n, (off_t)at);
		if (r < 0)
			return fail(u, -r, "write", name);
		u->rep->bytes += n;
	}
}

static int make_file(struct unpack *u, struct archive_entry *en, int parent, const char *last, const char *name)
{
	la_int64_t size = archive_entry_size_is_set(en) ? archive_entry_size(en) : 0;
	mode_t mode = archive_entry_perm(en) & 0777;
	int r;

	if (size < 0)
		return err_set(u->e, EBADMSG, "the archive gives '%.100s' a negative size", name);
	if ((r = check_space(u, (uint64_t)size)) < 0)
		return r;
	if ((r = clear_place(parent, last)) < 0)
		return fail(u, -r, "replace", name);

	AUTO_FD fd = open_beneath(parent, last, O_WRONLY | O_CREAT | O_EXCL, 0600);

	if (fd < 0)
		return fail(u, -fd, "create", name);
	if ((r = write_data(u, fd, name)) < 0)
		return r;
	if (ftruncate(fd, (off_t)size) < 0) /* a hole at the end */
		return fail(u, errno, "write", name);
	if (archive_entry_mtime_is_set(en)) {
		struct timespec t[2] = { { .tv_nsec = UTIME_OMIT },
					 { archive_entry_mtime(en), archive_entry_mtime_nsec(en) } };

		futimens(fd, t);
	}
	if (fchmod(fd, mode & ~u->umask) < 0)
		return fail(u, errno, "set the mode of", name);
	u->rep->files++;
	return 0;
}

static int make_dir(struct unpack *u, struct archive_entry *en, int parent, const char *last, const char *name)
{
	mode_t mode = (archive_entry_perm(en) & 0777) | 0700;

	if (mkdirat(parent, last, mode) == 0)
		return 0;
	if (errno != EEXIST)
		return fail(u, errno, "create the directory", name);

	AUTO_FD there = open_beneath(parent, last, O_DIRECTORY | O_RDONLY, 0);

	return there < 0 ? fail(u, -there, "enter the directory", name) : 0;
}

static int make_symlink(struct unpack *u, struct archive_entry *en, int parent, const char *last, const char *name)
{
	const char *target = archive_entry_symlink(en);
	int r;

	if (!target || !unpack_link_stays(name, target))
		return skip(u, name, "a symbolic link that leads out of the target");
	if ((r = clear_place(parent, last)) < 0)
		return fail(u, -r, "replace", name);
	if (symlinkat(target, parent, last) < 0)
		return fail(u, errno, "create the link", name);
	u->rep->files++;
	return 0;
}

static int rename_entry(struct unpack *u, char *name, size_t cap, const char *given);

static int make_hardlink(struct unpack *u, struct archive_entry *en, int parent, const char *last, const char *name)
{
	char old[NAME_BYTES_MAX + 1];
	struct stat st;
	int r = rename_entry(u, old, sizeof(old), archive_entry_hardlink(en));

	if (r < 0)
		return r;

	AUTO_FD fd = open_beneath(u->o->dirfd, old, O_PATH, 0);

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return skip(u, name, "a hard link to what is no file of the archive");

	const char *old_last;
	AUTO_FD old_parent = open_parent(u, old, &old_last);

	if (old_parent < 0)
		return fail(u, -old_parent, "enter the directory of", old);
	if (!strcmp(old, name))
		return 0;
	if ((r = clear_place(parent, last)) < 0)
		return fail(u, -r, "replace", name);
	if (linkat(old_parent, old_last, parent, last, 0) < 0) /* never follows a link that came in between */
		return fail(u, errno, "link", name);
	u->rep->files++;
	return 0;
}

/* The entry's name as it shall lie below the target: normalised, stripped of opts.strip, opts.as put in front. */
static int rename_entry(struct unpack *u, char *name, size_t cap, const char *given)
{
	const char *strip = u->o->strip ? u->o->strip : "", *as = u->o->as ? u->o->as : "";
	char plain[NAME_BYTES_MAX + 1];
	size_t n = strlen(strip);
	int r;

	if (!given || !str_copy(plain, sizeof(plain), given))
		return err_set(u->e, EBADMSG, "the archive holds an entry without a usable name");
	if ((r = unpack_name(plain, u->e)) < 0)
		return r;
	if (n && (strncmp(plain, strip, n) != 0 || (plain[n] && plain[n] != '/')))
		return err_set(u->e, EBADMSG, "the archive holds '%.100s', which was not asked for", plain);

	const char *rest = plain + n + (n && plain[n] == '/');
	int len = snprintf(name, cap, "%s%s%s", as, *as && *rest ? "/" : "", rest);

	if (len < 0 || (size_t)len >= cap)
		return err_set(u->e, EBADMSG, "the archive holds a name longer than %u bytes", NAME_BYTES_MAX);
	return 0;
}

static int take_entry(struct unpack *u, struct archive_entry *en)
{
	char name[NAME_BYTES_MAX + 1];
	const char *last;
	mode_t type = archive_entry_filetype(en);
	int r = rename_entry(u, name, sizeof(name), archive_entry_pathname(en));

	if (r < 0)
		return r;
	if (u->o->single_file && (type != S_IFREG || archive_entry_hardlink(en) || u->rep->files ||
				  strcmp(name, u->o->as ? u->o->as : "") != 0))
		return err_set(u->e, EBADMSG, "the sandbox sent something else than the one file asked for");
	if (!name[0])
		return type == S_IFDIR ? 0 : err_set(u->e, EBADMSG, "the archive names the target itself");

	AUTO_FD parent = open_parent(u, name, &last);

	if (parent == -ELOOP)
		return err_set(u->e, EBADMSG, "the archive leads through a symbolic link at '%.200s'", name);
	if (parent < 0)
		return fail(u, -parent, "enter the directory of", name);
	if (archive_entry_hardlink(en))
		return make_hardlink(u, en, parent, last, name);
	switch (type) {
	case S_IFREG:
		return make_file(u, en, parent, last, name);
	case S_IFDIR:
		return make_dir(u, en, parent, last, name);
	case S_IFLNK:
		return make_symlink(u, en, parent, last, name);
	default:
		return skip(u, name, "a device, socket or FIFO");
	}
}

static int take_all(struct unpack *u)
{
	struct archive_entry *en;
	int r;

	while ((r = archive_read_next_header(u->ar, &en)) == ARCHIVE_OK || r == ARCHIVE_WARN) {
		r = take_entry(u, en);
		if (r < 0)
			return r;
	}
	if (r != ARCHIVE_EOF)
		return err_set(u->e, EBADMSG, "the archive is damaged: %s", archive_error_string(u->ar));
	if (u->o->single_file && u->rep->files != 1)
		return err_set(u->e, EBADMSG, "the sandbox did not send the file");
	return 0;
}

int unpack_tar(int fd, const struct unpack_opts *o, struct unpack_report *rep, struct err *e)
{
	struct unpack u = { .ar = archive_read_new(), .o = o, .rep = rep, .e = e };
	int r;

	*rep = (struct unpack_report){ 0 };
	if (!u.ar)
		return err_set(e, ENOMEM, "out of memory");
	u.umask = umask(0);
	umask(u.umask);
	archive_read_support_filter_none(u.ar);
	archive_read_support_format_tar(u.ar);
	archive_read_support_format_empty(u.ar);
	if (archive_read_open_fd(u.ar, fd, 65536) != ARCHIVE_OK)
		r = err_set(e, EBADMSG, "the archive is damaged: %s", archive_error_string(u.ar));
	else
		r = take_all(&u);
	archive_read_free(u.ar);
	return r;
}
