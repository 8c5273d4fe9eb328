/* SPDX-License-Identifier: Apache-2.0 */
/* See ahead.h. Source: linux/fuse.h. */
#include "guest/ahead.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/buf.h"
#include "core/proto/fs.h"

#define SLOTS 1024u
#define ENDS 64u
#define ABSENT_S 300u /* an answer "there is none" is good for that long, or until we hear otherwise */
#define LIST_MIN 8u          /* names */
#define LIST_AGAIN_MS 500u
#define FORGETS_MAX (4u * AHEAD_NAMES * sizeof(uint64_t))
#define CHANGED 4096u
#define NOTED_MAX 16384u     /* names of one directory */
#define DIR_COST 4u          /* what one takes besides, in names */

/*
 * What is still true. Every answer to a request that changed something counts one up (`seq`), before the kernel has it. What the host says is true as of
 * then; what it says before the answer it belongs to is true behind that. Of nodes we remember, by a few of their bits, when they changed
 * last; of a directory held here, by their hashes, which names have come or gone since it was sent: those are asked for.
 */

struct entry { uint32_t at, hash; bool given; }; /* where its fuse_direntplus begins; of its name; its reference is the kernel's now, or was given back */

struct dir {
	struct dir *next;            /* in its slot */
	struct dir *older, *newer;
	uint64_t node;
	bool whole;
	uint64_t listed_ms;          /* 0 not yet */
	uint32_t n, hint;            /* names; where the next one asked for is likely to be */
	uint32_t goes_on;            /* where a listing is likely to go on */
	uint64_t seq;                /* its names are of then */
	bool has_self;
	struct fuse_attr_out self;   /* ".", of self_seq */
	uint64_t self_seq;
	uint32_t *noted, nnoted, noted_cap; /* hashes, in an open table; 0 free */
	uint32_t kept;               /* names whose reference is ours still */
	uint8_t *bytes;              /* the records */
	size_t size;                 /* of them */
	struct entry e[];
};

struct ahead {
	struct dir *slot[SLOTS], *oldest, *newest;
	size_t names;
	struct { uint64_t node, off, seq; } end[ENDS]; /* by node; node 0: none */
	uint64_t seq, changed[CHANGED];
	uint16_t busy[CHANGED], busy_all; /* requests under way that change them: an answer of ours could overtake theirs */
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
	a->names -= d->n + d->nnoted + DIR_COST;
	for (uint32_t i = 0; back && i < d->n; i++) {
		memcpy(&e, d->bytes + d->e[i].at, sizeof(e));
		if (!d->e[i].given)
			give_back(a, e.nodeid);
	}
	free(d->noted);
	free(d->bytes);
	free(d);
}

static uint64_t *changed(struct ahead *a, uint64_t node)
{
	return &a->changed[node % CHANGED];
}

static bool is_busy(const struct ahead *a, uint64_t node)
{
	return a->busy_all > 0 || a->busy[node % CHANGED] > 0;
}

/* FNV-1a; never 0. */
static uint32_t hash_of(const void *p, size_t n)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ ((const uint8_t *)p)[i]) * 16777619u;
	return h ? h : 1;
}

/* Its place in the table, or the free one where it would be. */
static uint32_t *noted_at(const struct dir *d, uint32_t hash)
{
	uint32_t i = hash & (d->noted_cap - 1);

	while (d->noted[i] && d->noted[i] != hash)
		i = (i + 1) & (d->noted_cap - 1);
	return &d->noted[i];
}

static bool is_noted(const struct dir *d, uint32_t hash)
{
	return d->nnoted > 0 && *noted_at(d, hash) == hash;
}

static bool noted_grow(struct dir *d)
{
	uint32_t *old = d->noted;
	const uint32_t was = d->noted_cap, cap = was ? 2 * was : 16;

	if (d->nnoted * 2 < was)
		return true;
	if (d->nnoted >= NOTED_MAX || !(d->noted = calloc(cap, sizeof(*d->noted)))) {
		d->noted = old;
		return false;
	}
	d->noted_cap = cap;
	for (uint32_t i = 0; i < was; i++)
		if (old[i])
			*noted_at(d, old[i]) = old[i];
	free(old);
	return true;
}

/* Our reference to an entry goes back to the host. */
static void let_go(struct ahead *a, struct dir *d, struct entry *e)
{
	struct fuse_entry_out out;

	if (e->given)
		return;
	memcpy(&out, d->bytes + e->at, sizeof(out));
	give_back(a, out.nodeid);
	e->given = true;
	d->kept--;
}

/* This name has come or gone. */
static void note(struct ahead *a, uint64_t node, uint32_t hash)
{
	struct dir *d = *find(a, node);
	bool was = false;

	for (uint32_t k = 0; d && k < d->n && !was; k++) {
		struct entry *e = &d->e[(d->hint + k) % d->n];

		if ((was = e->hash == hash))
			let_go(a, d, e);
	}
	if (!d || (!was && !d->whole) || is_noted(d, hash))
		return;
	if (!noted_grow(d)) {
		drop(a, d, true);
		return;
	}
	*noted_at(d, hash) = hash;
	d->nnoted++;
	a->names++;
	while (a->names > AHEAD_NAMES && a->oldest != d)
		drop(a, a->oldest, true);
}

static void forget_ends(struct ahead *a)
{
	memset(a->end, 0, sizeof(a->end));
}

void ahead_put_end(struct ahead *a, const uint8_t *p, size_t n)
{
	uint64_t node, off;

	if (n != sizeof(node) + sizeof(off))
		return;
	memcpy(&node, p, sizeof(node));
	memcpy(&off, p + sizeof(node), sizeof(off));
	a->end[node % ENDS].node = node;
	a->end[node % ENDS].off = off;
	a->end[node % ENDS].seq = a->seq;
}

bool ahead_is_end(struct ahead *a, uint64_t dir, uint64_t off)
{
	const bool is = dir && a->end[dir % ENDS].node == dir && a->end[dir % ENDS].off == off && *changed(a, dir) <= a->end[dir % ENDS].seq;

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
	memset(a->changed, 0, sizeof(a->changed));
	memset(a->busy, 0, sizeof(a->busy));
	a->busy_all = 0;
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
		const uint8_t *name = d->bytes + at + FUSE_NAME_OFFSET_DIRENTPLUS;
		/* Without a node: the name is there, what it is has to be asked. */
		d->e[i] = (struct entry){ .at = (uint32_t)at, .hash = hash_of(name, r.dirent.namelen), .given = r.entry_out.nodeid == 0 };
		d->kept += r.entry_out.nodeid != 0;
		if (r.dirent.namelen == 1 && *name == '.' && r.entry_out.attr_valid > 0) {
			d->has_self = true;
			d->self = (struct fuse_attr_out){ .attr_valid = r.entry_out.attr_valid, .attr_valid_nsec = r.entry_out.attr_valid_nsec, .attr = r.entry_out.attr };
		}
		at += size;
	}
	return at == n;
}

/* NULL: it is none, or there is no memory. */
static struct dir *dir_make(uint64_t node, uint32_t flags, uint32_t count, const uint8_t *p, size_t n)
{
	struct dir *d = calloc(1, sizeof(*d) + count * sizeof(struct entry));

	if (!d || !(d->bytes = malloc(n))) {
		free(d);
		return NULL;
	}
	memcpy(d->bytes, p, n);
	d->size = n;
	d->node = node;
	d->whole = flags & FS_AHEAD_WHOLE;
	d->n = count;
	if (parse(d, n))
		return d;
	free(d->bytes);
	free(d);
	return NULL;
}

static void dir_add(struct ahead *a, struct dir *d)
{
	struct dir **slot = &a->slot[d->node % SLOTS];

	while (a->oldest && a->names + d->n + DIR_COST > AHEAD_NAMES)
		drop(a, a->oldest, true);
	d->next = *slot;
	*slot = d;
	d->older = a->newest;
	*(a->newest ? &a->newest->newer : &a->oldest) = d;
	a->newest = d;
	a->names += d->n + DIR_COST;
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
	struct dir *d = dir_make(node, flags, count, p, n), *old = *find(a, node);
	if (!d)
		return;
	d->seq = a->seq;
	d->self_seq = a->seq + !!(flags & FS_AHEAD_AFTER);
	if (old && (flags & FS_AHEAD_AFTER)) { /* of its names it says nothing */
		old->has_self = d->has_self;
		old->self = d->self;
		old->self_seq = d->self_seq;
		free(d->bytes);
		free(d);
		return;
	}
	if (old)
		drop(a, old, true);
	dir_add(a, d);
}

/* What it says of a node is still so. A file with several names may have changed under another. */
static bool is_good(struct ahead *a, const struct dir *d, const struct fuse_entry_out *e)
{
	return *changed(a, e->nodeid) <= d->seq && !is_busy(a, e->nodeid) && (e->attr.nlink <= 1 || S_ISDIR(e->attr.mode) || a->seq <= d->seq);
}

int ahead_lookup(struct ahead *a, uint64_t dir, const char *name, size_t len, struct fuse_entry_out *out)
{
	const uint32_t hash = hash_of(name, len);
	struct dir *d = *find(a, dir);

	if (!d || is_noted(d, hash))
		return 0;
	/* Who goes through a directory asks in some order: the next one is mostly the next. */
	for (uint32_t k = 0; k < d->n; k++) {
		struct entry *e = &d->e[(d->hint + k) % d->n];
		const uint8_t *p = d->bytes + e->at;
		struct fuse_dirent de;

		if (e->hash != hash)
			continue;
		memcpy(&de, p + sizeof(struct fuse_entry_out), sizeof(de));
		if (de.namelen != len || memcmp(p + FUSE_NAME_OFFSET_DIRENTPLUS, name, len) != 0)
			continue;
		d->hint = (d->hint + k + 1) % d->n;
		if (e->given)
			return 0;
		memcpy(out, p, sizeof(*out));
		if (!is_good(a, d, out)) {
			let_go(a, d, e);
			return 0;
		}
		e->given = true;
		d->kept--;
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

	if (!d || d->nnoted > 0 || (d->n == 1 && !d->whole) || (off == 0 && d->kept * 2 < d->n))
		return -1;
	uint32_t i = behind(d, off);
	if (i > d->n)
		return -1;
	for (; i < d->n; i++) {
		const size_t at = d->e[i].at, size = (i + 1 < d->n ? d->e[i + 1].at : d->size) - at;

		if (size > cap - used)
			break;
		struct fuse_entry_out e;
		memcpy(&e, d->bytes + at, sizeof(e));
		if (!d->e[i].given && !is_good(a, d, &e))
			let_go(a, d, &d->e[i]);
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

	if (!d || !d->has_self || *changed(a, dir) > d->self_seq || is_busy(a, dir))
		return 0;
	*out = d->self;
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

/* A name in a request's body, behind its struct. */
static struct ahead_change name_change(uint64_t node, uint64_t other, const uint8_t *body, size_t n, size_t head)
{
	if (n <= head)
		return (struct ahead_change){ .what = AHEAD_ALL };
	return (struct ahead_change){ .what = AHEAD_NAME, .node = node, .other = other, .hash = hash_of(body + head, strnlen((const char *)body + head, n - head)) };
}

struct ahead_change ahead_change_of(uint32_t opcode, uint64_t node, const uint8_t *body, size_t n)
{
	const struct ahead_change none = { .what = AHEAD_NOTHING }, one = { .what = AHEAD_NODE, .node = node };
	struct fuse_open_in open = { .flags = O_TRUNC };
	struct fuse_copy_file_range_in copy;
	struct fuse_link_in link = { 0 };

	switch (opcode) {
	case FUSE_LOOKUP: case FUSE_FORGET: case FUSE_GETATTR: case FUSE_READLINK: case FUSE_READ: case FUSE_STATFS: case FUSE_RELEASE: case FUSE_FSYNC:
	case FUSE_GETXATTR: case FUSE_LISTXATTR: case FUSE_FLUSH: case FUSE_INIT: case FUSE_OPENDIR: case FUSE_READDIR: case FUSE_RELEASEDIR:
	case FUSE_FSYNCDIR: case FUSE_ACCESS: case FUSE_INTERRUPT: case FUSE_BATCH_FORGET: case FUSE_READDIRPLUS: case FUSE_LSEEK:
		return none;
	case FUSE_OPEN:
		if (n >= sizeof(open))
			memcpy(&open, body, sizeof(open));
		return open.flags & O_TRUNC ? one : none;
	case FUSE_SETATTR: case FUSE_WRITE: case FUSE_SETXATTR: case FUSE_REMOVEXATTR: case FUSE_FALLOCATE:
		return one;
	case FUSE_COPY_FILE_RANGE:
		if (n < sizeof(copy))
			break;
		memcpy(&copy, body, sizeof(copy));
		return (struct ahead_change){ .what = AHEAD_NODE, .node = copy.nodeid_out };
	case FUSE_CREATE:
		return name_change(node, 0, body, n, sizeof(struct fuse_create_in));
	case FUSE_MKNOD:
		return name_change(node, 0, body, n, sizeof(struct fuse_mknod_in));
	case FUSE_MKDIR:
		return name_change(node, 0, body, n, sizeof(struct fuse_mkdir_in));
	case FUSE_SYMLINK: case FUSE_UNLINK:
		return name_change(node, 0, body, n, 0);
	case FUSE_LINK:
		if (n >= sizeof(link))
			memcpy(&link, body, sizeof(link));
		return name_change(node, link.oldnodeid, body, n, sizeof(link));
	default: /* RENAME and RMDIR: what was moved or went may be held here itself */
		break;
	}
	return (struct ahead_change){ .what = AHEAD_ALL };
}

void ahead_change_begins(struct ahead *a, const struct ahead_change *c)
{
	a->busy_all = (uint16_t)(a->busy_all + (c->what == AHEAD_ALL));
	if (c->what == AHEAD_NODE || c->what == AHEAD_NAME)
		a->busy[c->node % CHANGED]++;
	if (c->other)
		a->busy[c->other % CHANGED]++;
}

void ahead_change_ends(struct ahead *a, const struct ahead_change *c)
{
	if (c->what == AHEAD_NOTHING)
		return;
	a->busy_all = (uint16_t)(a->busy_all - (c->what == AHEAD_ALL));
	if (c->what == AHEAD_NODE || c->what == AHEAD_NAME)
		a->busy[c->node % CHANGED]--;
	if (c->other)
		a->busy[c->other % CHANGED]--;
	a->seq++;
	if (c->what == AHEAD_ALL) {
		ahead_changed(a);
		return;
	}
	*changed(a, c->node) = a->seq;
	if (c->what == AHEAD_NAME)
		note(a, c->node, c->hash);
	if (c->other)
		*changed(a, c->other) = a->seq;
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
