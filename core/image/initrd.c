/* SPDX-License-Identifier: Apache-2.0 */
/* The initramfs: the image's modules and this program's guest agent as /init (the kernel's buffer-format.rst, "newc"). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/atomicfile.h"
#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/image/files.h"

#define PART_MAX (64u << 20)

static void pad4(struct buf *b)
{
	static const uint8_t zeros[4];

	if (buf_size(b) % 4)
		buf_put(b, zeros, 4 - buf_size(b) % 4);
}

static void entry(struct buf *b, unsigned ino, const char *name, unsigned mode, const void *p, size_t n)
{
	/* magic, then 13 numbers of 8 digits: ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check */
	buf_printf(b, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", ino, mode, 0u, 0u, 1u, 0u, (unsigned)n, 0u, 0u, 0u, 0u,
		   (unsigned)strlen(name) + 1, 0u);
	buf_put(b, name, strlen(name) + 1);
	pad4(b);
	buf_put(b, p, n);
	pad4(b);
}

int image_initrd(int dirfd, struct err *e)
{
	struct buf out, agent;
	AUTO_FREE char *path = path_program("bulkhead-guest", e);
	int r = path ? 0 : -e->code;

	buf_init(&out, 2 * PART_MAX);
	buf_init(&agent, PART_MAX);
	if (r == 0)
		r = atomicfile_read(dirfd, "modules.cpio", &out, e);
	if (r == 0)
		r = atomicfile_read(AT_FDCWD, path, &agent, e);
	if (r == 0) {
		/* An archive is padded to blocks of 512; the kernel takes several behind one another. */
		pad4(&out);
		entry(&out, 1, "init", 0100755, buf_head(&agent), buf_size(&agent));
		entry(&out, 2, "TRAILER!!!", 0, NULL, 0);
		r = buf_ok(&out) ? fd_memfd("bulkhead-initrd", buf_head(&out), buf_size(&out)) : -ENOMEM;
		if (r < 0)
			err_errno(e, -r, "cannot put the initramfs together");
	}
	buf_release(&out);
	buf_release(&agent);
	return r;
}
