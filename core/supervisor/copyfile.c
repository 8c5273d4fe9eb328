/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/copyfile.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fd.h"

#define PIECE (1u << 20)

static int copy_piece(int from, int to, off_t at, size_t n, char *p)
{
	const ssize_t got = pread(from, p, n, at);

	if (got < 0)
		return -errno;
	if ((size_t)got != n)
		return -ENODATA; /* it became shorter */
	return fd_pwrite_full(to, p, n, at);
}

int copyfile_plain(int from, int to, struct err *e)
{
	AUTO_FREE char *p = malloc(PIECE);
	struct stat st;
	int r = 0;

	if (!p || fstat(from, &st) < 0 || ftruncate(to, st.st_size) < 0)
		return err_errno(e, p ? errno : ENOMEM, "cannot copy a file");
	for (off_t at = 0; r == 0 && at < st.st_size;) {
		const off_t data = lseek(from, at, SEEK_DATA);
		off_t end = data < 0 ? data : lseek(from, data, SEEK_HOLE);

		if (data < 0 && errno == ENXIO)
			break; /* only a hole is left */
		if (data < 0 || end < 0)
			return err_errno(e, errno, "cannot copy a file");
		end = end < st.st_size ? end : st.st_size;
		for (at = data; r == 0 && at < end;) {
			const size_t n = end - at < (off_t)PIECE ? (size_t)(end - at) : PIECE;

			r = copy_piece(from, to, at, n, p);
			at += (off_t)n;
		}
	}
	return r < 0 ? err_errno(e, -r, "cannot copy a file") : 0;
}

int copyfile(int from, int to, struct err *e)
{
	if (ioctl(to, FICLONE, from) == 0)
		return 0;
	return copyfile_plain(from, to, e);
}
