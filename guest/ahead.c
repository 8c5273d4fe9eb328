/* SPDX-License-Identifier: Apache-2.0 */
/* See ahead.h. Source: linux/fuse.h. */
#include "guest/ahead.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/proto/fs.h"

#define SLOTS 1024u
#define ENDS 64u
#define ABSENT_S 300u /* an answer "there is none" is good for that long, or until we hear otherwise */
#define LIST_MIN 8u          /* names */
#define LIST_AGAIN_MS 500u
#define FORGETS_MAX (4u * AHEAD_NAMES * sizeof(uint64_t))

struct entry { uint32_t at; bool given; }; /* where its fuse_direntplus begins; its reference is the kernel's now */

struct dir {
	struct dir *next;            /* in its slot */
	struct dir *older, *newer;
	uint64_t node;
	bool whole;
	uint64_t listed_ms;          /* 0 not yet */
	uint32_t n, hint;            /* names; where the next one asked for is likely to be */
	uint32_t goes_on;            /* where a listing is likely to go on */
	uint32_t self;               /* ".", n none */
	uint32_t kept;               /* names whose reference is ours still */
	uint8_t *bytes;              /* the records */
	size_t size;                 /* of them */
	struct entry e[];
};

struct ahead {
	struct dir *slot[SLOTS], *oldest, *newest;
	size_t names;
	struct { uint64_t node, off; } end[ENDS]; /* by node; node 0: none */
	bool ends;
	unsigned changing;           /* requests under way that may change something */
	struct buf forgets;          /* u64 nodes */
};

struct ahead *ahead_create(void)
{
	struct ahead *a = calloc(1, sizeof(*a));

	if (a)
		buf_init(&a->forgets, FORGETS_MAX);
	return a;
}

void ahead_destroy(struct ahead **a)
{
	if (!*a)
		return;
	ahead_lost(*a);
	buf_release(&(*a)->forgets);
	free(*a);
	*a = NULL;
}

static struct dir **find(struct ahead *a, uint64_t node)
{
	struct dir **p = &a->slot[node % SLOTS];

	while (*p && (*p)->node != node)
		p = &(*p)->next;
	return p;
}

/* One the queue has no room for stays the host's until the connection ends. */
static void give_back(struct ahead *a, uint64_t node)
{
	if (node && buf_room(&a->forgets) >= sizeof(node))
		buf_put(&a->forgets, &node, sizeof(node));
}

static void drop(struct ahead *a, struct dir *d, bool back)
{
	struct fuse_entry_out e;

	*find(a, d->node) = d->next;
	*(d->older ? &d->older->newer : &a->oldest) = d->newer;
	*(d->newer ? &d->newer->older : &a->newest) = d->older;
	a->names -= d->n;
	for (uint32_t i = 0; back && i < d->n; i++) {
		memcpy(&e, d->bytes + d->e[i].at, sizeof(e));
		if (!d->e[i].given)
			give_back(a, e.nodeid);
	}
	free(d->bytes);
	free(d);
}

static void forget_ends(struct ahead *a)
{
	if (a->ends)
		memset(a->end, 0, sizeof(a->end));
	a->ends = false;
}

void ahead_put_end(struct ahead *a, const uint8_t *p, size_t n)
{
	uint64_t node, off;

	if (n != sizeof(node) + sizeof(off) || a->changing > 0)
		return;
	memcpy(&node, p, sizeof(node));
	memcpy(&off, p + sizeof(node), sizeof(off));
	a->end[node % ENDS].node = node;
	a->end[node % ENDS].off = off;
	a->ends = true;
}

bool ahead_is_end(struct ahead *a, uint64_t dir, uint64_t off)
{
	const bool is = a->ends && dir && a->end[dir % ENDS].node == dir && a->end[dir % ENDS].off == off;

	if (is)
		a->end[dir % ENDS].node = 0;
	return is;
}

void ahead_changed(struct ahead *a)
{
	forget_ends(a);
	while (a->oldest)
		drop(a, a->oldest, true);
}

void ahead_lost(struct ahead *a)
{
	forget_ends(a);
	while (a->oldest)
		drop(a, a->oldest, false);
	a->changing = 0;
	buf_clear(&a->forgets);
}

/* The records of p[0..n) into d->e; false when they are none. */
static bool parse(struct dir *d, size_t n)
{
	size_t at = 0;

	for (uint32_t i = 0; i < d->n; i++) {
		struct fuse_direntplus r;

		if (n - at < FUSE_NAME_OFFSET_DIRENTPLUS)
			return false;
		memcpy(&r, d->bytes + at, sizeof(r));
		const size_t size = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET_DIRENTPLUS + (size_t)r.dirent.namelen);
		if (r.dirent.namelen == 0 || r.dirent.namelen > 255 || n - at < size)
			return false;
		/* Without a node: the name is there, what it is has to be asked. */
		d->e[i] = (struct entry){ .at = (uint32_t)at, .given = r.entry_out.nodeid == 0 };
		d->kept += r.entry_out.nodeid != 0;
		if (r.dirent.namelen == 1 && d->bytes[at + FUSE_NAME_OFFSET_DIRENTPLUS] == '.' && r.entry_out.attr_valid > 0)
			d->self = i;
		at += size;
	}
	return at == n;
}

void ahead_put(struct ahead *a, const uint8_t *p, size_t n)
{
	uint32_t flags, count;
	uint64_t node;

	if (n < FS_AHEAD_HEAD)
		return;
	memcpy(&node, p, 8);
	memcpy(&flags, p + 8, 4);
	memcpy(&count, p + 12, 4);
	p += FS_AHEAD_HEAD;
	n -= FS_AHEAD_HEAD;
	if (count == 0 || count > n / FUSE_NAME_OFFSET_DIRENTPLUS || count > AHEAD_NAMES / 4)
		return;
	struct dir *d = calloc(1, sizeof(*d) + count * sizeof(struct entry)), *old = *find(a, node);
	if (!d || !(d->bytes = malloc(n))) {
		free(d);
		return;
	}
	memcpy(d->bytes, p, n);
	d->size = n;
	d->node = node;
	d->whole = flags & FS_AHEAD_WHOLE;
	d->n = d->self = count;
	if (!parse(d, n)) {
		free(d->bytes);
		free(d);
		return;
	}
	if (old)
		drop(a, old, true);
	while (a->oldest && a->names + count > AHEAD_NAMES)
		drop(a, a->oldest, true);
	struct dir **slot = &a->slot[node % SLOTS];
	d->next = *slot;
	*slot = d;
	d->older = a->newest;
	*(a->newest ? &a->newest->newer : &a->oldest) = d;
	a->newest = d;
	a->names += count;
	if (a->changing > 0)
		drop(a, d, true);
}

int ahead_lookup(struct ahead *a, uint64_t dir, const char *name, size_t len, struct fuse_entry_out *out)
{
	struct dir *d = *find(a, dir);

	if (!d)
		return 0;
	/* Who goes through a directory asks in some order: the next one is mostly the next. */
	for (uint32_t k = 0; k < d->n; k++) {
		struct entry *e = &d->e[(d->hint + k) % d->n];
		const uint8_t *p = d->bytes + e->at;
		struct fuse_dirent de;

		memcpy(&de, p + sizeof(struct fuse_entry_out), sizeof(de));
		if (de.namelen != len || memcmp(p + FUSE_NAME_OFFSET_DIRENTPLUS, name, len) != 0)
			continue;
		d->hint = (d->hint + k + 1) % d->n;
		if (e->given)
			return 0;
		e->given = true;
		d->kept--;
		memcpy(out, p, sizeof(*out));
		return 1;
	}
	if (!d->whole)
		return 0;
	*out = (struct fuse_entry_out){ .entry_valid = ABSENT_S };
	return 1;
}

/* The entry behind this offset: d->n at the end, n + 1 there is no such offset. */
static uint32_t behind(const struct dir *d, uint64_t off)
{
	for (uint32_t k = 0; off && k < d->n; k++) {
		const uint32_t i = (d->goes_on + d->n - 1 + k) % d->n;
		struct fuse_dirent de;

		memcpy(&de, d->bytes + d->e[i].at + sizeof(struct fuse_entry_out), sizeof(de));
		if (de.off == off)
			return i + 1;
	}
	return off ? d->n + 1 : 0;
}

ssize_t ahead_list(struct ahead *a, uint64_t dir, uint64_t off, uint8_t *dst, size_t cap)
{
	struct dir *d = *find(a, dir);
	size_t used = 0;

	if (!d || (off == 0 && d->kept * 2 < d->n))
		return -1;
	uint32_t i = behind(d, off);
	if (i > d->n)
		return -1;
	for (; i < d->n; i++) {
		const size_t at = d->e[i].at, size = (i + 1 < d->n ? d->e[i + 1].at : d->size) - at;

		if (size > cap - used)
			break;
		memcpy(dst + used, d->bytes + at, size);
		if (d->e[i].given)
			memset(dst + used, 0, sizeof(struct fuse_entry_out));
		else
			d->kept--;
		d->e[i].given = true;
		used += size;
	}
	d->goes_on = i;
	return used > 0 || i == d->n ? (ssize_t)used : -1;
}

int ahead_attr(struct ahead *a, uint64_t dir, struct fuse_attr_out *out)
{
	const struct dir *d = *find(a, dir);
	struct fuse_entry_out e;

	if (!d || d->self == d->n)
		return 0;
	memcpy(&e, d->bytes + d->e[d->self].at, sizeof(e));
	*out = (struct fuse_attr_out){ .attr_valid = e.attr_valid, .attr_valid_nsec = e.attr_valid_nsec, .attr = e.attr };
	return 1;
}

bool ahead_is_to_list(struct ahead *a, uint64_t dir, uint64_t now_ms)
{
	struct dir *d = *find(a, dir);

	if (!d || d->n < LIST_MIN || (d->listed_ms && now_ms - d->listed_ms < LIST_AGAIN_MS))
		return false;
	d->listed_ms = now_ms;
	return true;
}

bool ahead_changes(uint32_t opcode, const uint8_t *body, size_t n)
{
	struct fuse_open_in open;

	switch (opcode) {
	case FUSE_LOOKUP: case FUSE_FORGET: case FUSE_GETATTR: case FUSE_READLINK: case FUSE_READ: case FUSE_STATFS: case FUSE_RELEASE: case FUSE_FSYNC:
	case FUSE_GETXATTR: case FUSE_LISTXATTR: case FUSE_FLUSH: case FUSE_INIT: case FUSE_OPENDIR: case FUSE_READDIR: case FUSE_RELEASEDIR:
	case FUSE_FSYNCDIR: case FUSE_ACCESS: case FUSE_INTERRUPT: case FUSE_BATCH_FORGET: case FUSE_READDIRPLUS: case FUSE_LSEEK:
		return false;
	case FUSE_OPEN:
		if (n < sizeof(open))
			return true;
		memcpy(&open, body, sizeof(open));
		return open.flags & O_TRUNC;
	default:
		return true;
	}
}

void ahead_change_begins(struct ahead *a)
{
	a->changing++;
	ahead_changed(a);
}

void ahead_change_ends(struct ahead *a)
{
	a->changing -= a->changing > 0;
}

size_t ahead_forgets(struct ahead *a, uint64_t *node, size_t max)
{
	const size_t have = buf_size(&a->forgets) / sizeof(*node), n = have < max ? have : max;

	if (n == 0)
		return 0;
	memcpy(node, buf_head(&a->forgets), n * sizeof(*node));
	buf_consume(&a->forgets, n * sizeof(*node));
	return n;
}
