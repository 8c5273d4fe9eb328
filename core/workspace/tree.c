/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes and names. Sources: openat2(2), statx(2), libfuse's passthrough example for the shape of the problem. */
#include "core/workspace/impl.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "core/base/fd.h"
#include "core/base/rnd.h"
#include "core/base/str.h"
#include "core/workspace/hide.h"

#define FIRST_SLOTS 1024u
#define KEY_MASK (STATX_BASIC_STATS | STATX_BTIME)

/* ---- tables ------------------------------------------------------------------------------------------------------------------- */

static size_t mix(uint64_t v)
{
	v ^= v >> 33;
	v *= UINT64_C(0xff51afd7ed558ccd);
	v ^= v >> 33;
	return (size_t)v;
}

static size_t key_hash(const struct key *k)
{
	return mix(k->ino * 31 + k->dev * 131 + (uint64_t)k->btime);
}

static bool same_key(const struct key *a, const struct key *b)
{
	return a->ino == b->ino && a->dev == b->dev && a->btime == b->btime;
}

static struct node **id_slot(const struct table *t, uint64_t id) { return &t->slot[mix(id) & (t->size - 1)]; }
static struct node **key_slot(const struct table *t, const struct key *k) { return &t->slot[key_hash(k) & (t->size - 1)]; }

/* Twice the slots when there are more nodes than slots; without memory the chains only get longer. */
static void grow(struct share *s)
{
	const struct table id = s->by_id, key = s->by_key;
	const size_t size = id.size * 2;
	struct node **a = calloc(size, sizeof(*a)), **b = calloc(size, sizeof(*b));

	if (!a || !b) {
		free(a);
		free(b);
		return;
	}
	s->by_id = (struct table){ a, size, id.count };
	s->by_key = (struct table){ b, size, key.count };
	for (size_t i = 0; i < id.size; i++)
		for (struct node *n = id.slot[i], *next; n; n = next) {
			struct node **p = id_slot(&s->by_id, n->id), **q = key_slot(&s->by_key, &n->key);

			next = n->next_id;
			n->next_id = *p;
			*p = n;
			n->next_key = *q;
			*q = n;
		}
	free(id.slot);
	free(key.slot);
}

struct node *node_get(struct share *s, uint64_t id)
{
	struct node *n = *id_slot(&s->by_id, id);

	while (n && n->id != id)
		n = n->next_id;
	return n;
}

struct node *node_by_key(struct share *s, const struct key *k)
{
	struct node *n = *key_slot(&s->by_key, k);

	while (n && !same_key(&n->key, k))
		n = n->next_key;
	return n;
}

/* ---- life ----------------------------------------------------------------------------------------------------------------------- */

static void lru_unlink(struct share *s, struct node *n)
{
	*(n->newer ? &n->newer->older : &s->newest) = n->older;
	*(n->older ? &n->older->newer : &s->oldest) = n->newer;
	n->newer = n->older = NULL;
}

static void lru_push(struct share *s, struct node *n)
{
	n->older = s->newest;
	*(s->newest ? &s->newest->newer : &s->oldest) = n;
	s->newest = n;
}

static void close_fd(struct share *s, struct node *n)
{
	if (n->fd < 0)
		return;
	lru_unlink(s, n);
	fd_close(&n->fd);
	s->fds--;
}

static void keep_fd(struct share *s, struct node *n, int fd)
{
	for (struct node *o = s->oldest, *next; o && s->fds >= s->max_fds; o = next) {
		next = o->newer;
		if (o->handles == 0 && o != s->root_node)
			close_fd(s, o);
	}
	n->fd = fd;
	lru_push(s, n);
	s->fds++;
}

static void drop_links(struct share *s, struct node *n)
{
	while (n->links) {
		struct link *l = n->links;
		struct node *parent = l->parent;

		n->links = l->next;
		free(l);
		node_unref(s, parent);
	}
}

/* Nobody knows it any more: the guest, a child, a handle. Goes up, not deep: a parent may follow. */
static void maybe_free(struct share *s, struct node *n)
{
	while (n && n->lookups == 0 && n->refs == 0 && n != s->root_node) {
		struct node *parent = n->parent;
		struct node **p = id_slot(&s->by_id, n->id), **q = key_slot(&s->by_key, &n->key);

		while (*p != n)
			p = &(*p)->next_id;
		*p = n->next_id;
		while (*q != n)
			q = &(*q)->next_key;
		*q = n->next_key;
		s->by_id.count--;
		n->refs = 1; /* while its links go */
		drop_links(s, n);
		watch_drop(s, n);
		close_fd(s, n);
		free(n->name);
		free(n);
		n = parent;
		if (n) {
			n->refs--;
			ahead_let_go(n);
		}
	}
}

void node_unref(struct share *s, struct node *n)
{
	if (n->refs > 0)
		n->refs--;
	maybe_free(s, n);
}

void node_forget(struct share *s, struct node *n, uint64_t count)
{
	n->lookups -= count < n->lookups ? count : n->lookups;
	maybe_free(s, n);
}

static struct node *make(struct share *s, const struct key *k, mode_t mode, struct node *parent, const char *name)
{
	struct node *n = calloc(1, sizeof(*n));

	if (!n || (name && !(n->name = str_dup(name)))) {
		free(n);
		return NULL;
	}
	n->id = parent ? s->next_id++ : ROOT_ID;
	n->key = *k;
	n->type = mode & S_IFMT;
	n->fd = n->wd = -1;
	n->parent = parent;
	if (parent)
		parent->refs++;
	if (s->by_id.count >= s->by_id.size)
		grow(s);
	struct node **p = id_slot(&s->by_id, n->id), **q = key_slot(&s->by_key, k);
	n->next_id = *p;
	*p = n;
	n->next_key = *q;
	*q = n;
	s->by_id.count++;
	return n;
}

void node_moved(struct share *s, struct node *n, struct node *parent, const char *name)
{
	struct node *old = n->parent;

	if (n == s->root_node || n == parent || (old == parent && strcmp(n->name, name) == 0))
		return;
	char *copy = str_dup(name);
	if (!copy)
		return; /* stays where it was last seen: opening it again will not find it there */
	free(n->name);
	n->name = copy;
	n->parent = parent;
	parent->refs++;
	node_unref(s, old);
}

/* A file with several names: remember this one too. */
static void remember_link(struct node *n, struct node *parent, const char *name)
{
	size_t count = 0;

	for (const struct link *l = n->links; l; l = l->next, count++)
		if (l->parent == parent && strcmp(l->name, name) == 0)
			return;
	const size_t len = strlen(name) + 1;
	struct link *l = count < LINKS_MAX ? malloc(sizeof(*l) + len) : NULL;
	if (!l)
		return;
	memcpy(l->name, name, len);
	l->parent = parent;
	parent->refs++;
	l->next = n->links;
	n->links = l;
}

void node_seen(struct share *s, struct node *n, struct node *parent, const char *name, const struct stat *st)
{
	if (n == s->root_node)
		return;
	if (st->st_nlink > 1 && n->type == S_IFREG) {
		remember_link(n, n->parent, n->name);
		remember_link(n, parent, name);
	}
	node_moved(s, n, parent, name);
}

/* ---- attributes ------------------------------------------------------------------------------------------------------------------ */

static void from_statx(const struct statx *x, struct stat *st, struct key *k)
{
	*st = (struct stat){
		.st_dev = makedev(x->stx_dev_major, x->stx_dev_minor), .st_ino = x->stx_ino, .st_mode = x->stx_mode, .st_nlink = x->stx_nlink,
		.st_uid = x->stx_uid, .st_gid = x->stx_gid, .st_size = (off_t)x->stx_size, .st_blksize = (blksize_t)x->stx_blksize,
		.st_blocks = (blkcnt_t)x->stx_blocks,
		.st_atim = { x->stx_atime.tv_sec, x->stx_atime.tv_nsec }, .st_mtim = { x->stx_mtime.tv_sec, x->stx_mtime.tv_nsec },
		.st_ctim = { x->stx_ctime.tv_sec, x->stx_ctime.tv_nsec },
	};
	*k = (struct key){ .dev = st->st_dev, .ino = x->stx_ino };
	if (x->stx_mask & STATX_BTIME)
		k->btime = x->stx_btime.tv_sec * INT64_C(1000000000) + x->stx_btime.tv_nsec;
}

void attr_map(const struct share *s, struct stat *st)
{
	if (st->st_dev != s->root_dev)
		st->st_ino ^= mix(st->st_dev); /* subvolumes number their inodes each from the beginning */
	st->st_uid = st->st_uid == s->uid ? SHARE_UID : SHARE_NOBODY;
	st->st_gid = st->st_uid;
	st->st_rdev = 0;
	st->st_mode &= (mode_t)~(S_ISUID | S_ISGID);
}

int name_stat(struct share *s, struct node *parent, const char *name, struct stat *st, struct key *k)
{
	struct statx x;
	const int dir = node_fd(s, parent);

	if (dir < 0)
		return dir;
	if (syscall(SYS_statx, dir, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, KEY_MASK, &x) < 0)
		return -errno;
	if (x.stx_attributes & STATX_ATTR_MOUNT_ROOT)
		return -EXDEV;
	from_statx(&x, st, k);
	return 0;
}

static int fd_stat(int fd, struct stat *st, struct key *k)
{
	struct statx x;

	if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, KEY_MASK, &x) < 0)
		return -errno;
	from_statx(&x, st, k);
	return 0;
}

/* ---- descriptors ---------------------------------------------------------------------------------------------------------------- */

static int open_name(int dir, const char *name)
{
	const struct open_how how = { .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
				      .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV };
	long fd = -1;

	/* EAGAIN: something was moved meanwhile and the kernel could not be sure. */
	for (int i = 0; i < 16; i++)
		if ((fd = syscall(SYS_openat2, dir, name, &how, sizeof(how))) >= 0 || errno != EAGAIN)
			break;
	return fd < 0 ? -errno : (int)fd;
}

static int open_from(struct share *s, struct node *n, struct node *parent, const char *name, unsigned level);

static int node_fd_at(struct share *s, struct node *n, unsigned level)
{
	if (n->fd >= 0) {
		lru_unlink(s, n);
		lru_push(s, n);
		return n->fd;
	}
	if (level >= LEVELS_MAX || !n->parent)
		return -ELOOP;
	int fd = open_from(s, n, n->parent, n->name, level);
	for (const struct link *l = n->links; fd < 0 && l; l = l->next)
		fd = open_from(s, n, l->parent, l->name, level);
	return fd;
}

static int open_from(struct share *s, struct node *n, struct node *parent, const char *name, unsigned level)
{
	const int dir = node_fd_at(s, parent, level + 1);
	struct stat st;
	struct key k;

	if (dir < 0)
		return dir;
	int fd = open_name(dir, name);
	if (fd < 0)
		return fd == -ENOENT || fd == -ENOTDIR || fd == -EXDEV ? -ESTALE : fd;
	const int r = fd_stat(fd, &st, &k);
	if (r < 0 || !same_key(&k, &n->key)) {
		close(fd);
		return r < 0 ? r : -ESTALE;
	}
	keep_fd(s, n, fd);
	return fd;
}

int node_fd(struct share *s, struct node *n)
{
	return node_fd_at(s, n, 0);
}

int node_stat(struct share *s, struct node *n, struct stat *st)
{
	struct key k;

	if (n->fd < 0 && n->parent) {
		const int r = name_stat(s, n->parent, n->name, st, &k);

		if (r == 0 && same_key(&k, &n->key))
			return 0;
	}
	const int fd = node_fd(s, n);
	return fd < 0 ? fd : fd_stat(fd, st, &k);
}

/* ---- names ------------------------------------------------------------------------------------------------------------------------ */

/* The names from the root down to n, then `name`; how many, 0 when there are too many. */
static size_t components(const struct node *n, const char *name, const char **comp, size_t cap)
{
	size_t depth = 0;

	for (const struct node *at = n; at->parent; at = at->parent)
		if (++depth >= cap)
			return 0;
	size_t i = depth;
	for (const struct node *at = n; at->parent; at = at->parent)
		comp[--i] = at->name;
	if (name)
		comp[depth++] = name;
	return depth;
}

bool node_path(const struct node *n, const char *name, char *dst, size_t cap)
{
	const char *comp[LEVELS_MAX];
	const size_t count = components(n, name, comp, LEVELS_MAX);
	size_t at = 0;

	*dst = '\0';
	if (count == 0)
		return !n->parent && !name;
	for (size_t i = 0; i < count; i++) {
		const int k = snprintf(dst + at, cap - at, "%s%s", i ? "/" : "", comp[i]);

		if (k < 0 || (size_t)k >= cap - at)
			return false;
		at += (size_t)k;
	}
	return true;
}

bool name_hidden(struct share *s, struct node *parent, const char *name)
{
	const char *comp[LEVELS_MAX];

	if (!s->hide)
		return false;
	if (!hide_needs_path(s->hide))
		return hide_match(s->hide, &name, 1);
	const size_t n = components(parent, name, comp, LEVELS_MAX);
	return n == 0 || hide_match(s->hide, comp, n);
}

bool dir_pinned(struct share *s, struct node *n)
{
	const char *comp[LEVELS_MAX];

	if (!s->hide || n->type != S_IFDIR || !hide_needs_path(s->hide))
		return false;
	const size_t count = components(n, NULL, comp, LEVELS_MAX);
	return count == 0 || hide_above(s->hide, comp, count);
}

void node_note(struct share *s, struct node *n, const char *name, enum share_note what)
{
	char path[4096];

	if (s->note && s->notes[what] < NOTES_MAX && node_path(n, name, path, sizeof(path))) {
		s->notes[what]++;
		s->note(s->arg, what, path);
	}
}

bool node_ours(struct share *s, struct node *n, const struct stat *st)
{
	struct stat at;
	struct key k;
	nlink_t found = 0;
	bool primary = false;

	if (n->type != S_IFREG || st->st_nlink <= 1)
		return true;
	for (struct link **p = &n->links; *p;) {
		struct link *l = *p;

		if (name_stat(s, l->parent, l->name, &at, &k) == 0 && same_key(&k, &n->key)) {
			found++;
			primary = primary || (l->parent == n->parent && strcmp(l->name, n->name) == 0);
			p = &l->next;
			continue;
		}
		struct node *parent = l->parent; /* its name no more */
		*p = l->next;
		free(l);
		n->refs++; /* the parent's end may otherwise be ours */
		node_unref(s, parent);
		n->refs--;
	}
	if (!primary && name_stat(s, n->parent, n->name, &at, &k) == 0 && same_key(&k, &n->key))
		found++;
	if (found >= st->st_nlink)
		return true;
	if (!n->noted)
		node_note(s, n, NULL, SHARE_LINKED);
	n->noted = true;
	return false;
}

int node_lookup(struct share *s, struct node *parent, const char *name, struct node **out, struct stat *st)
{
	struct key k;

	*out = NULL;
	if (parent->type != S_IFDIR)
		return -ENOTDIR;
	const int r = name_stat(s, parent, name, st, &k);
	if (r < 0)
		return r;
	struct node *n = node_by_key(s, &k);
	if (n == s->root_node || n == parent)
		return -ELOOP;
	if (!n && !(n = make(s, &k, st->st_mode, parent, name)))
		return -ENOMEM;
	node_seen(s, n, parent, name, st);
	/* Nobody tells us when a file of a read-only share is opened: as long as it is among the last ones, it outlives its name. */
	if (s->readonly && n->type == S_IFREG)
		node_fd(s, n);
	*out = n;
	return 0;
}

/* ---- a connection's ------------------------------------------------------------------------------------------------------------- */

int tree_begin(struct share *s)
{
	struct stat st;
	struct key k;
	int r = fd_stat(s->root, &st, &k);

	if (r < 0)
		return r;
	s->by_id = (struct table){ calloc(FIRST_SLOTS, sizeof(struct node *)), FIRST_SLOTS, 0 };
	s->by_key = (struct table){ calloc(FIRST_SLOTS, sizeof(struct node *)), FIRST_SLOTS, 0 };
	s->by_wd = (struct table){ calloc(FIRST_SLOTS, sizeof(struct node *)), FIRST_SLOTS, 0 };
	/* Numbers of the last connection mean nothing in this one. */
	s->next_id = ((uint64_t)(rnd_u32() & 0xffffff) << 36) + 2;
	s->root_dev = k.dev;
	if (!s->by_id.slot || !s->by_key.slot || !s->by_wd.slot || !(s->root_node = make(s, &k, st.st_mode, NULL, NULL)))
		return -ENOMEM;
	const int fd = fcntl(s->root, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return -errno;
	keep_fd(s, s->root_node, fd);
	return 0;
}

/* Not by references: a host that moves directories about while we look can leave a ring of them. */
void tree_clear(struct share *s)
{
	for (size_t i = 0; i < s->by_id.size && s->by_id.slot; i++)
		for (struct node *n = s->by_id.slot[i], *next; n; n = next) {
			next = n->next_id;
			watch_drop(s, n);
			if (n->fd >= 0)
				close(n->fd);
			for (struct link *l = n->links, *after; l; l = after) {
				after = l->next;
				free(l);
			}
			free(n->name);
			free(n);
		}
	free(s->by_id.slot);
	free(s->by_key.slot);
	free(s->by_wd.slot);
	s->by_id = s->by_key = s->by_wd = (struct table){ NULL, 0, 0 };
	s->root_node = s->newest = s->oldest = NULL;
	s->fds = 0;
}
