/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/atomicfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/rnd.h"

#define TRIES 16
#define CHUNK 65536u

static int make_temporary(int dirfd, const char *name, unsigned mode, char *tmp, size_t cap)
{
	for (int i = 0; i < TRIES; i++) {
		const int n = snprintf(tmp, cap, ".%s.%08x", name, rnd_u32());

		if (n < 0 || (size_t)n >= cap)
			return -ENAMETOOLONG;
		const int fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
		if (fd >= 0 || errno != EEXIST)
			return fd >= 0 ? fd : -errno;
	}
	return -EEXIST;
}

int atomicfile_write(int dirfd, const char *name, const void *p, size_t n, unsigned mode, struct err *e)
{
	char tmp[256];
	AUTO_FD fd = make_temporary(dirfd, name, mode, tmp, sizeof(tmp));

	if (fd < 0)
		return err_errno(e, -fd, "cannot write '%s'", name);
	int r = fd_write_full(fd, p, n);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && renameat(dirfd, tmp, dirfd, name) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(dirfd, tmp, 0);
		return err_errno(e, -r, "cannot write '%s'", name);
	}
	/* The rename itself is durable once the directory is. */
	AUTO_FD dir = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || fsync(dir) < 0)
		return err_errno(e, errno, "cannot make '%s' durable", name);
	return 0;
}

int atomicfile_read(int dirfd, const char *name, struct buf *b, struct err *e)
{
	struct stat st;
	AUTO_FD fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0)
		return err_errno(e, errno, "cannot open '%s'", name);
	if (fstat(fd, &st) < 0)
		return err_errno(e, errno, "cannot look at '%s'", name);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "cannot read '%s': it is no regular file", name);
	for (;;) {
		const size_t room = buf_room(b);
		uint8_t probe;
		/* A full buffer is right for a file that ends here: one byte more tells. */
		uint8_t *p = room == 0 ? &probe : buf_reserve(b, room < CHUNK ? room : CHUNK);

		if (!p)
			return err_set(e, ENOMEM, "cannot read '%s': out of memory", name);
		const ssize_t r = read(fd, p, room == 0 ? 1 : room < CHUNK ? room : CHUNK);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_errno(e, errno, "cannot read '%s'", name);
		if (r == 0)
			return 0;
		if (room == 0)
			return err_set(e, EFBIG, "cannot read '%s': it is too large", name);
		buf_grew(b, (size_t)r);
	}
}
