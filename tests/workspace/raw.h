/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's kernel that says what it likes: raw FUSE requests to a share in memory, and its raw answers. For tests and fuzz targets. */
#ifndef BULKHEAD_TESTS_WORKSPACE_RAW_H
#define BULKHEAD_TESTS_WORKSPACE_RAW_H

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/workspace/check.h"
#include "core/workspace/share.h"

struct raw {
	struct share *s;
	struct buf out;
	int proc;
	uint64_t unique;
	uint8_t reply[CHECK_REPLY_MAX];
	size_t nreply; /* bytes behind the head */
	uint16_t place;  /* of the next request in the window, 0 none */
	uint8_t *window; /* the guest's view of it, once it is lent; NULL none */
};

/* What the guest takes out of the ring, as long as there is something. 0 or share_flush()'s error. */
static inline int raw_take_ring(struct raw *r)
{
	struct fs_ring *ring = (struct fs_ring *)(void *)(r->window + FS_RING_AT);
	ssize_t left;
	bool wake;

	do {
		if ((left = share_flush(r->s, &wake)) < 0)
			return (int)left;
		for (; ring->taken != ring->put; ring->taken++)
			buf_u8(&r->out, r->window[FS_RING_AT + FS_RING_HEAD + ring->taken % FS_RING_SIZE]);
	} while (left > 0);
	return 0;
}

/* The answer's error as -errno, 0, or 1 when none came. */
static int raw_send(struct raw *r, uint32_t opcode, uint64_t node, const void *body, size_t n)
{
	static uint8_t msg[CHECK_REQUEST_MAX];
	struct fuse_in_header h = { .len = (uint32_t)(sizeof(h) + n), .opcode = opcode, .unique = ++r->unique, .nodeid = node, .pid = 1 };
	struct fuse_out_header o;

	buf_clear(&r->out);
	memcpy(msg, &h, sizeof(h));
	memcpy(msg + FS_PLACE_AT, &r->place, sizeof(r->place));
	r->place = 0;
	if (n > 0)
		memcpy(msg + sizeof(h), body, n);
	if (share_take(r->s, msg, sizeof(h) + n) < 0 || (r->window && share_has_window(r->s) && raw_take_ring(r) < 0))
		return -EPROTO;
	while (buf_size(&r->out) >= sizeof(o)) {
		memcpy(&o, buf_head(&r->out), sizeof(o));
		if (o.unique == r->unique) {
			r->nreply = o.len - sizeof(o);
			memcpy(r->reply, buf_head(&r->out) + sizeof(o), r->nreply);
			return o.error;
		}
		buf_consume(&r->out, o.len); /* an invalidation */
	}
	return 1;
}

static inline int raw_init(struct raw *r)
{
	const struct fuse_init_in in = { .major = 7, .minor = 38, .max_readahead = 131072, .flags = 0xffffffff };

	return raw_send(r, FUSE_INIT, 0, &in, sizeof(in));
}

/* A share of the directory, INIT said. */
static inline int raw_open(struct raw *r, int root, const struct share_opts *like)
{
	struct share_opts o = *like;
	struct err e = ERR_INIT;

	r->proc = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	o.root = root;
	o.proc = r->proc;
	o.max_fds = 64;
	buf_init(&r->out, 8u << 20);
	r->unique = r->place = 0;
	r->window = NULL;
	int rc = share_create(&r->s, &o, &e);
	return rc < 0 ? rc : (rc = share_begin(r->s, &r->out)) < 0 ? rc : raw_init(r);
}

/* The guest says what it lends: body is the address. 1 where the host takes it (that is no answer), else as raw_send(). */
static inline int raw_lend(struct raw *r, const void *body, size_t n)
{
	return raw_send(r, FS_WINDOW, 0, body, n);
}

static inline void raw_close(struct raw *r)
{
	share_destroy(&r->s);
	buf_release(&r->out);
	close(r->proc);
}

/* body, then up to two names with their NULs. */
static inline int raw_names(struct raw *r, uint32_t opcode, uint64_t node, const void *body, size_t n, const char *a, const char *b)
{
	uint8_t buf[16384];
	const size_t la = a ? strlen(a) + 1 : 0, lb = b ? strlen(b) + 1 : 0;

	if (n > 0)
		memcpy(buf, body, n);
	if (la > 0)
		memcpy(buf + n, a, la);
	if (lb > 0)
		memcpy(buf + n + la, b, lb);
	return raw_send(r, opcode, node, buf, n + la + lb);
}

/* The node of a name, 0 none; *error what was answered. */
static inline uint64_t raw_lookup(struct raw *r, uint64_t dir, const char *name, int *error)
{
	struct fuse_entry_out e;

	*error = raw_names(r, FUSE_LOOKUP, dir, NULL, 0, name, NULL);
	if (*error != 0 || r->nreply < sizeof(e))
		return 0;
	memcpy(&e, r->reply, sizeof(e));
	return e.nodeid;
}

/* An open handle, 0 none. */
static inline uint64_t raw_openfile(struct raw *r, uint64_t node, uint32_t opcode, uint32_t flags, int *error)
{
	const struct fuse_open_in in = { .flags = flags };
	struct fuse_open_out o;

	*error = raw_send(r, opcode, node, &in, sizeof(in));
	if (*error != 0 || r->nreply < sizeof(o))
		return 0;
	memcpy(&o, r->reply, sizeof(o));
	return o.fh;
}

static inline int raw_read(struct raw *r, uint64_t node, uint64_t fh, uint64_t off, uint32_t size)
{
	const struct fuse_read_in in = { .fh = fh, .offset = off, .size = size };

	return raw_send(r, FUSE_READ, node, &in, sizeof(in));
}

static inline int raw_write(struct raw *r, uint64_t node, uint64_t fh, uint64_t off, const void *p, uint32_t size)
{
	uint8_t buf[4096 + sizeof(struct fuse_write_in)];
	const struct fuse_write_in in = { .fh = fh, .offset = off, .size = size };

	memcpy(buf, &in, sizeof(in));
	memcpy(buf + sizeof(in), p, size);
	return raw_send(r, FUSE_WRITE, node, buf, sizeof(in) + size);
}

#endif
