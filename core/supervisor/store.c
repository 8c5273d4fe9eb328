/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "core/base/atomicfile.h"
#include "core/base/buf.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/path.h"

#define STATE_FILE "sandbox.json"
#define DISK_FILE "disk.img"
#define DISK_NEW "disk.new"
#define GONE_PREFIX ".gone-"
#define MADE_PREFIX ".new-"

/* What was removed half, and what was made half: nobody was told that it is there. */
static void finish_removals(struct store *st)
{
	int fd = openat(st->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *de;

	if (!d) {
		fd_close(&fd);
		return;
	}
	while ((de = readdir(d)))
		if ((str_starts(de->d_name, GONE_PREFIX) || str_starts(de->d_name, MADE_PREFIX)) && path_remove_tree(st->dirfd, de->d_name, NULL))
			log_warn("cannot finish removing '%s'", de->d_name);
	closedir(d);
}

int store_init(struct store *st, const char *state_dir, struct err *e)
{
	st->dirfd = -1;
	if (!(st->path = path_join(state_dir, "sandboxes")))
		return err_set(e, ENOMEM, "out of memory");
	if (path_mkdirs(st->path, 0700, e))
		return -e->code;
	st->dirfd = open(st->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (st->dirfd < 0)
		return err_errno(e, errno, "cannot open '%s'", st->path);
	finish_removals(st);
	return 0;
}

void store_release(struct store *st)
{
	fd_close(&st->dirfd);
	free(st->path);
	st->path = NULL;
}

int store_create(struct store *st, const struct spec *s, struct err *e)
{
	char made[NAME_MAX_LEN + sizeof(MADE_PREFIX)];

	/* Under its name it is whole: a supervisor that is killed meanwhile leaves nothing that looks like a damaged sandbox. */
	snprintf(made, sizeof(made), MADE_PREFIX "%s", s->name);
	path_remove_tree(st->dirfd, made, NULL);
	if (mkdirat(st->dirfd, made, 0700))
		return err_errno(e, errno, "cannot create the directory of sandbox '%s'", s->name);
	AUTO_FD fd = store_open(st, made, e);
	int r = fd < 0 ? -e->code : store_save(fd, s, e);

	if (!r && renameat2(st->dirfd, made, st->dirfd, s->name, RENAME_NOREPLACE))
		r = errno == EEXIST ? err_set(e, EEXIST, "there is already a sandbox '%s'", s->name) :
				      err_errno(e, errno, "cannot create the directory of sandbox '%s'", s->name);
	if (r) {
		path_remove_tree(st->dirfd, made, NULL);
		return r;
	}
	fsync(st->dirfd);
	return steal_fd(&fd);
}

int store_open(struct store *st, const char *name, struct err *e)
{
	AUTO_FD fd = openat(st->dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return err_errno(e, errno, "cannot open the directory of sandbox '%s'", name);
	if (mkdirat(fd, "rec", 0700) && errno != EEXIST)
		return err_errno(e, errno, "cannot create the recordings' directory of sandbox '%s'", name);
	return steal_fd(&fd);
}

int store_save(int dirfd, const struct spec *s, struct err *e)
{
	AUTO_FREE char *text = spec_to_json(s);

	if (!text)
		return err_set(e, ENOMEM, "out of memory");
	if (atomicfile_write(dirfd, STATE_FILE, text, strlen(text), 0600, e))
		return err_wrap(e, "cannot keep the state of sandbox '%s'", s->name);
	return 0;
}

int store_load(int dirfd, const char *name, struct spec *s, struct err *e)
{
	struct buf b;
	int r;

	buf_init(&b, SPEC_FILE_MAX);
	spec_init(s);
	if (atomicfile_read(dirfd, STATE_FILE, &b, e)) {
		e->code = EBADMSG;
		r = err_wrap(e, "its state file cannot be read");
	} else if ((r = spec_from_json(s, name, (const char *)buf_head(&b), buf_size(&b), e))) {
		r = err_wrap(e, "its state file is damaged");
	}
	buf_release(&b);
	return r;
}

static int check_space(int dirfd, uint64_t reserve, struct err *e)
{
	struct statvfs v;

	if (fstatvfs(dirfd, &v))
		return err_errno(e, errno, "cannot ask for free disk space");
	uint64_t avail = (uint64_t)v.f_bavail * v.f_frsize;
	if (avail < reserve) {
		char have[16], want[16];
		str_human(have, sizeof(have), avail);
		str_human(want, sizeof(want), reserve);
		return err_set(e, ENOSPC, "only %s of disk space are free where sandboxes are kept and at least %s must be: remove "
			       "sandboxes ('bulkhead prune') or other files", have, want);
	}
	return 0;
}

int store_room(int dirfd, uint64_t bytes, struct err *e)
{
	return check_space(dirfd, bytes, e);
}

int store_make_disk(int dirfd, uint64_t bytes, uint64_t reserve, struct err *e)
{
	AUTO_FD fd = -1;

	if (check_space(dirfd, reserve, e))
		return -e->code;
	if (unlinkat(dirfd, DISK_NEW, 0) && errno != ENOENT)
		return err_errno(e, errno, "cannot replace '%s'", DISK_NEW);
	fd = openat(dirfd, DISK_NEW, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(e, errno, "cannot create the disk");
	if (ftruncate(fd, (off_t)bytes) || fsync(fd) || renameat(dirfd, DISK_NEW, dirfd, DISK_FILE) || fsync(dirfd)) {
		int code = errno;
		unlinkat(dirfd, DISK_NEW, 0);
		return err_errno(e, code, "cannot create the disk");
	}
	return 0;
}

int store_open_disk(int dirfd, uint64_t bytes, uint64_t reserve, struct err *e)
{
	AUTO_FD fd = openat(dirfd, DISK_FILE, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 && errno == ENOENT) {
		if (store_make_disk(dirfd, bytes, reserve, e))
			return -e->code;
		fd = openat(dirfd, DISK_FILE, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	} else if (fd >= 0 && check_space(dirfd, reserve / 4, e)) {
		return -e->code;
	}
	if (fd < 0)
		return err_errno(e, errno, "cannot open the disk");
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != bytes)
		return err_set(e, EBADMSG, "the disk is damaged: it is not a file of %llu bytes; 'bulkhead reset' makes a new one",
			       (unsigned long long)bytes);
	return steal_fd(&fd);
}

uint64_t store_disk_used(int dirfd)
{
	struct stat st;

	if (dirfd < 0 || fstatat(dirfd, DISK_FILE, &st, AT_SYMLINK_NOFOLLOW))
		return 0;
	return (uint64_t)st.st_blocks * 512;
}

int store_open_log(int dirfd, const char *name, uint64_t cap, struct err *e)
{
	char old[64];
	struct stat st;

	if (!fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) && (uint64_t)st.st_size > cap) {
		snprintf(old, sizeof(old), "%s.1", name);
		renameat(dirfd, name, dirfd, old);
	}
	int fd = openat(dirfd, name, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(e, errno, "cannot open '%s'", name);
	return fd;
}

int store_remove(struct store *st, const char *name, struct err *e)
{
	char gone[NAME_MAX_LEN + sizeof(GONE_PREFIX) + 1];

	snprintf(gone, sizeof(gone), GONE_PREFIX "%s", name);
	path_remove_tree(st->dirfd, gone, NULL);
	if (renameat(st->dirfd, name, st->dirfd, gone)) {
		if (errno == ENOENT)
			return 0;
		return err_errno(e, errno, "cannot remove the directory of sandbox '%s'", name);
	}
	fsync(st->dirfd);
	if (path_remove_tree(st->dirfd, gone, e))
		return err_wrap(e, "cannot delete the files of sandbox '%s'", name);
	return 0;
}

int store_each(struct store *st, int (*fn)(void *arg, const char *name), void *arg, struct err *e)
{
	struct dirent **list;
	int n = scandirat(st->dirfd, ".", &list, NULL, alphasort), r = 0;

	if (n < 0)
		return err_errno(e, errno, "cannot list '%s'", st->path);
	for (int i = 0; i < n; i++) {
		const char *name = list[i]->d_name;
		if (!r && *name != '.' && !name_check(name, NULL))
			r = fn(arg, name);
		else if (!r && *name != '.')
			log_warn("'%s/%s' is not a sandbox's directory: left alone", st->path, name);
		free(list[i]);
	}
	free(list);
	return r;
}
