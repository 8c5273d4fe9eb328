/* SPDX-License-Identifier: Apache-2.0 */
#include "core/workspace/check.h"

#include <assert.h>
#include <errno.h>
#include <linux/fuse.h>
#include <stdbool.h>
#include <string.h>

#include "core/base/str.h"

static_assert(sizeof(struct fuse_in_header) == CHECK_HEAD, "the head of a request");

enum tail {
	T_NONE,    /* the struct ends the request */
	T_NAME,    /* a name: no slash, not "." or "..", 1..255 bytes, terminated, to the end */
	T_NAMES,   /* two of them */
	T_SYMLINK, /* a name and a link's text (1..4095 bytes) */
	T_XATTR,   /* an attribute's name */
	T_SETXATTR, T_WRITE, T_FORGETS, T_INIT
};

struct shape {
	bool known;
	uint16_t args; /* bytes of its struct */
	uint8_t tail;
};

#define ARGS(type) sizeof(struct type)
static const struct shape shapes[] = {
	[FUSE_LOOKUP] = { true, 0, T_NAME },
	[FUSE_FORGET] = { true, ARGS(fuse_forget_in), T_NONE },
	[FUSE_GETATTR] = { true, ARGS(fuse_getattr_in), T_NONE },
	[FUSE_SETATTR] = { true, ARGS(fuse_setattr_in), T_NONE },
	[FUSE_READLINK] = { true, 0, T_NONE },
	[FUSE_SYMLINK] = { true, 0, T_SYMLINK },
	[FUSE_MKNOD] = { true, ARGS(fuse_mknod_in), T_NAME },
	[FUSE_MKDIR] = { true, ARGS(fuse_mkdir_in), T_NAME },
	[FUSE_UNLINK] = { true, 0, T_NAME },
	[FUSE_RMDIR] = { true, 0, T_NAME },
	[FUSE_RENAME] = { true, ARGS(fuse_rename_in), T_NAMES },
	[FUSE_RENAME2] = { true, ARGS(fuse_rename2_in), T_NAMES },
	[FUSE_LINK] = { true, ARGS(fuse_link_in), T_NAME },
	[FUSE_OPEN] = { true, ARGS(fuse_open_in), T_NONE },
	[FUSE_READ] = { true, ARGS(fuse_read_in), T_NONE },
	[FUSE_WRITE] = { true, ARGS(fuse_write_in), T_WRITE },
	[FUSE_STATFS] = { true, 0, T_NONE },
	[FUSE_RELEASE] = { true, ARGS(fuse_release_in), T_NONE },
	[FUSE_FSYNC] = { true, ARGS(fuse_fsync_in), T_NONE },
	[FUSE_SETXATTR] = { true, FUSE_COMPAT_SETXATTR_IN_SIZE, T_SETXATTR },
	[FUSE_GETXATTR] = { true, ARGS(fuse_getxattr_in), T_XATTR },
	[FUSE_LISTXATTR] = { true, ARGS(fuse_getxattr_in), T_NONE },
	[FUSE_REMOVEXATTR] = { true, 0, T_XATTR },
	[FUSE_INIT] = { true, 0, T_INIT },
	[FUSE_OPENDIR] = { true, ARGS(fuse_open_in), T_NONE },
	[FUSE_READDIR] = { true, ARGS(fuse_read_in), T_NONE },
	[FUSE_READDIRPLUS] = { true, ARGS(fuse_read_in), T_NONE },
	[FUSE_RELEASEDIR] = { true, ARGS(fuse_release_in), T_NONE },
	[FUSE_FSYNCDIR] = { true, ARGS(fuse_fsync_in), T_NONE },
	[FUSE_CREATE] = { true, ARGS(fuse_create_in), T_NAME },
	[FUSE_BATCH_FORGET] = { true, ARGS(fuse_batch_forget_in), T_FORGETS },
	[FUSE_FALLOCATE] = { true, ARGS(fuse_fallocate_in), T_NONE },
	[FUSE_LSEEK] = { true, ARGS(fuse_lseek_in), T_NONE },
	[FUSE_COPY_FILE_RANGE] = { true, ARGS(fuse_copy_file_range_in), T_NONE },
};

/* What of the kernel's offers we take: the rest is masked out before libfuse can believe in it. */
#define INIT_FLAGS                                                                                                                    \
	(FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES | FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO |       \
	 FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV | FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS)

long check_length(const uint8_t *p, size_t n)
{
	uint32_t len;

	if (n < sizeof(len))
		return 0;
	memcpy(&len, p, sizeof(len));
	return len < CHECK_HEAD || len > CHECK_REQUEST_MAX ? -EBADMSG : (long)len;
}

/* One terminated string of at most `max` bytes at p[0..n): bytes used with its NUL, 0 none. */
static size_t text(const uint8_t *p, size_t n, size_t max)
{
	const size_t len = strnlen((const char *)p, n);

	return len == 0 || len == n || len > max ? 0 : len + 1;
}

static size_t name(const uint8_t *p, size_t n, int *error)
{
	const size_t used = text(p, n, CHECK_NAME_MAX);
	const char *s = (const char *)p;

	if (used == 0) {
		*error = strnlen(s, n) > CHECK_NAME_MAX ? ENAMETOOLONG : EINVAL;
		return 0;
	}
	if (strchr(s, '/') || strcmp(s, ".") == 0 || strcmp(s, "..") == 0) {
		*error = EINVAL;
		return 0;
	}
	return used;
}

static bool init(uint8_t *p, size_t n, int *error)
{
	struct fuse_init_in in = { 0 };

	/* 7.36 made it longer; older ones are 16 bytes. */
	if (n < 16 || n > sizeof(in)) {
		*error = EPROTO;
		return false;
	}
	memcpy(&in, p, n);
	*error = EPROTO;
	if (in.major != FUSE_KERNEL_VERSION || in.minor < 31)
		return false;
	if (in.minor > 38)
		in.minor = 38;
	in.flags &= INIT_FLAGS;
	in.flags2 = 0;
	memcpy(p, &in, n);
	return true;
}

static bool setxattr(const uint8_t *p, size_t n, int *error, struct check_setxattr *x)
{
	const uint8_t *at = p + FUSE_COMPAT_SETXATTR_IN_SIZE;
	size_t left = n - FUSE_COMPAT_SETXATTR_IN_SIZE;
	const size_t used = text(at, left, CHECK_NAME_MAX);

	memcpy(&x->size, p, sizeof(x->size));
	memcpy(&x->flags, p + 4, sizeof(x->flags));
	*error = EINVAL;
	if (used == 0 || x->size > 65536 || left - used != x->size)
		return false;
	x->name = (const char *)at;
	x->value = at + used;
	return true;
}

static bool body(uint32_t op, uint8_t *p, size_t n, size_t beside, int *error, struct check_setxattr *x)
{
	const struct shape *sh = &shapes[op];
	uint8_t *at = p + sh->args;
	size_t left = n - sh->args, used;
	struct fuse_write_in w;
	struct fuse_batch_forget_in f;
	struct fuse_read_in r;

	*error = EINVAL;
	switch (sh->tail) {
	case T_NAME:
		return (used = name(at, left, error)) > 0 && used == left;
	case T_NAMES:
		if ((used = name(at, left, error)) == 0)
			return false;
		at += used;
		left -= used;
		return (used = name(at, left, error)) > 0 && used == left;
	case T_SYMLINK:
		if ((used = name(at, left, error)) == 0)
			return false;
		at += used;
		left -= used;
		return (used = text(at, left, 4095)) > 0 && used == left;
	case T_XATTR:
		used = text(at, left, CHECK_NAME_MAX);
		break;
	case T_SETXATTR:
		return setxattr(p, n, error, x);
	case T_WRITE:
		memcpy(&w, p, sizeof(w));
		return w.size <= CHECK_DATA_MAX && (beside > 0 ? left == 0 && w.size <= beside : w.size == left);
	case T_FORGETS:
		memcpy(&f, p, sizeof(f));
		return f.count <= CHECK_FORGETS_MAX && left == f.count * sizeof(struct fuse_forget_one);
	case T_INIT:
		return init(p, n, error);
	default:
		if (op == FUSE_READ || op == FUSE_READDIR || op == FUSE_READDIRPLUS) {
			memcpy(&r, p, sizeof(r));
			return left == 0 && r.size <= CHECK_DATA_MAX;
		}
		return left == 0;
	}
	/* The rest of T_XATTR and LISTXATTR: a size that we would have to allocate. */
	uint32_t size = 0;
	if (sh->args)
		memcpy(&size, p, sizeof(size));
	return used > 0 && used == left && size <= 65536;
}

enum check check_request(uint8_t *p, size_t n, int began, size_t beside, int *error, struct check_setxattr *x)
{
	struct fuse_in_header h;

	memcpy(&h, p, sizeof(h));
	if (h.opcode == FUSE_INTERRUPT || h.opcode == FUSE_DESTROY || h.opcode == FUSE_NOTIFY_REPLY)
		return CHECK_DROP;
	*error = ENOSYS;
	if (h.opcode >= ARRAY_SIZE(shapes) || !shapes[h.opcode].known)
		return CHECK_REFUSE;
	const bool silent = h.opcode == FUSE_FORGET || h.opcode == FUSE_BATCH_FORGET;
	*error = EIO;
	if ((h.opcode == FUSE_INIT) == (began != 0) || h.len != n || h.unique == 0)
		return silent ? CHECK_DROP : CHECK_REFUSE;
	*error = EINVAL;
	const size_t left = n - CHECK_HEAD;
	if (left < shapes[h.opcode].args || !body(h.opcode, p + CHECK_HEAD, left, beside, error, x))
		return silent ? CHECK_DROP : CHECK_REFUSE;
	if (h.opcode == FUSE_LISTXATTR) {
		uint32_t size;

		memcpy(&size, p + CHECK_HEAD, sizeof(size));
		if (size > 65536)
			return CHECK_REFUSE;
	}
	return h.opcode == FUSE_SETXATTR ? CHECK_SETXATTR : CHECK_PASS;
}
