/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names ahead of their being asked for (core/proto/fs.h: FS_AHEAD). A program that looks at every file of a tree, as git does, asks for each name by
 * itself; every question is a way through the channel and back. Only of watched directories: the guest's end keeps what it got until it changes.
 */
#include "core/workspace/impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/proto/fs.h"
#include "core/workspace/check.h"

#define ASKED_FIRST 3u   /* names found one by one before the others are sent */
#define ASKED_AGAIN 128u /* ... and again, when they are asked for nevertheless */
#define AGAIN_MS 500u     /* names that come back at once were of no use: not before that */
#define WALK_FROM 2u      /* directories side by side whose names were asked for one by one */
#define WALK_DIRS 256u    /* then so many beside them are sent, */
#define WALK_STEPS 4      /* that many behind an answer */
#define CONTENTS_MAX 65536u /* of a file */
#define AHEAD_MAX 65536u /* bytes of a message: a directory with more names than that is not sent */

/*
 * Who opens a small file reads it: that question is spared. Only while no other handle is open: then the guest's kernel holds none of its pages for a request of
 * its own, which the guest's end, one thread, would have to answer while it waits for them.
 */
void ahead_contents(struct share *s, struct node *n, int fd)
{
	struct fuse_out_header h = { .error = FUSE_NOTIFY_STORE };
	struct fuse_notify_store_out o = { .nodeid = n->id };
	struct stat st;

	if (!s->ahead || n->known || n->handles != 1 || !n->parent || n->parent->wd < 0 || fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > CONTENTS_MAX ||
	    buf_room(s->out) < 2 * CHECK_REPLY_MAX)
		return;
	n->known = true;
	const ssize_t got = pread(fd, s->data, (size_t)st.st_size, 0);
	if (got != st.st_size) /* it changes at this moment */
		return;
	s->st.read += (uint64_t)got;
	o.size = (uint32_t)got;
	h.len = (uint32_t)(sizeof(h) + sizeof(o) + (size_t)got);
	buf_put(s->out, &h, sizeof(h));
	buf_put(s->out, &o, sizeof(o));
	buf_put(s->out, s->data, (size_t)got);
}

void ahead_end(struct share *s, const struct node *dir, uint64_t off)
{
	const struct fuse_out_header h = { .len = sizeof(h) + 16, .error = FS_END };

	if (!s->ahead || buf_room(s->out) < 2 * CHECK_REPLY_MAX)
		return;
	buf_put(s->out, &h, sizeof(h));
	buf_u64(s->out, dir->id);
	buf_u64(s->out, off);
}

/* The directory itself, as its name ".": what it is, but no reference to it. Another such name (".."): nothing. */
static ssize_t put_self(struct share *s, struct node *dir, const char *name, ino_t ino, int64_t off, char *dst, size_t room)
{
	struct fuse_entry_param e = { .attr = { .st_ino = ino, .st_mode = S_IFDIR } };

	if (strcmp(name, ".") == 0 && node_stat(s, dir, &e.attr) == 0) {
		e.attr_timeout = cache_time(s, dir);
		attr_map(s, &e.attr);
	}
	const size_t need = fuse_add_direntry_plus(NULL, dst, room, name, &e, off);
	return need > room ? 0 : (ssize_t)need;
}

/* The names in s->data[0..n). */
static void send_ahead(struct share *s, const struct node *dir, uint32_t flags, uint32_t count, size_t n)
{
	const struct fuse_out_header h = { .len = (uint32_t)(sizeof(h) + FS_AHEAD_HEAD + n), .error = FS_AHEAD };

	buf_put(s->out, &h, sizeof(h));
	buf_u64(s->out, dir->id);
	buf_u32(s->out, flags);
	buf_u32(s->out, count);
	buf_put(s->out, s->data, n);
}

static void send_self(struct share *s, struct node *dir, uint32_t flags)
{
	const ssize_t n = put_self(s, dir, ".", dir->key.ino, 1, (char *)s->data, AHEAD_MAX);

	if (n > 0)
		send_ahead(s, dir, flags, 1, (size_t)n);
}

void ahead_after(struct share *s, struct node *dir)
{
	if (s->ahead && dir->wd >= 0 && buf_room(s->out) >= 2 * CHECK_REPLY_MAX)
		send_self(s, dir, FS_AHEAD_AFTER);
}

/* Watched first, then looked at: whoever puts something there later is heard. */
void ahead_new(struct share *s, struct node *dir)
{
	const struct dir_entry *d;
	struct handle h = { 0 };
	int error = -EIO;

	if (!s->ahead || !watch_dir(s, dir) || buf_room(s->out) < 2 * CHECK_REPLY_MAX)
		return;
	AUTO_FD fd = h.fd = node_open(s, dir, O_RDONLY | O_DIRECTORY);
	while (fd >= 0 && (d = dir_peek(&h, &error)) && dir_is_dot(d->name))
		h.pos += d->len;
	if (fd >= 0 && !d && error == 0)
		send_self(s, dir, FS_AHEAD_WHOLE);
	free(h.buf);
}

static size_t fill(struct share *s, struct node *dir, int fd, uint8_t *dst, uint32_t *count, uint32_t *flags)
{
	struct handle h = { .fd = fd };
	const struct dir_entry *d;
	size_t used = 0;
	int error = 0;

	*flags = FS_AHEAD_WHOLE;
	while ((d = dir_peek(&h, &error))) {
		char *to = (char *)dst + used;
		const ssize_t n = dir_is_dot(d->name) ? put_self(s, dir, d->name, d->ino, d->off, to, AHEAD_MAX - used) : dir_put(NULL, s, dir, d, true, to, AHEAD_MAX - used);

		h.pos += d->len;
		if (n == 0) {
			error = -E2BIG;
			break;
		}
		if (n < 0) {
			*flags = 0; /* a hidden name: whether it is there is to be asked */
			continue;
		}
		used += (size_t)n;
		(*count)++;
	}
	free(h.buf);
	return error < 0 ? 0 : used;
}

/* What was counted as given is not. */
static void take_back(struct share *s, const uint8_t *p, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct fuse_direntplus d;

		memcpy(&d, p, sizeof(d));
		struct node *n = d.entry_out.nodeid ? node_get(s, d.entry_out.nodeid) : NULL;
		if (n)
			node_forget(s, n, 1);
		p += FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET_DIRENTPLUS + d.dirent.namelen);
	}
}

/* All names of a directory; not again soon. */
static bool send_names(struct share *s, struct node *dir)
{
	uint32_t count = 0, flags = 0;

	dir->sent_ms = clock_ms();
	AUTO_FD fd = node_open(s, dir, O_RDONLY | O_DIRECTORY);
	const size_t n = fd < 0 ? 0 : fill(s, dir, fd, s->data, &count, &flags);
	if (n == 0) {
		take_back(s, s->data, count);
		return false;
	}
	dir->sent = count;
	dir->let_go = 0;
	send_ahead(s, dir, flags, count, n);
	return true;
}

/* ---- a walk ----------------------------------------------------------------------------------------------------------------------- */

void ahead_stop(struct share *s)
{
	struct walk *w = &s->walk;

	if (!w->dir)
		return;
	struct node *dir = w->dir;
	w->dir = NULL;
	fd_close(&w->h.fd);
	free(w->h.buf);
	w->h.buf = NULL;
	node_unref(s, dir);
}

/* Two directories side by side are gone through name by name: those beside them will be, too. */
static void walk_begin(struct share *s, struct node *parent)
{
	const int fd = node_open(s, parent, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return;
	parent->refs++;
	s->walk = (struct walk){ .dir = parent, .h.fd = fd, .left = WALK_DIRS };
}

/* The next directory of it; false at the end. */
static bool walk_step(struct share *s)
{
	struct walk *w = &s->walk;
	const struct dir_entry *d;
	struct node *n;
	struct stat st;
	int error;

	while (w->left > 0 && (d = dir_peek(&w->h, &error))) {
		w->h.pos += d->len;
		if (d->type != DT_DIR || dir_is_dot(d->name) || name_hidden(s, w->dir, d->name) || node_lookup(s, w->dir, d->name, &n, &st) < 0)
			continue;
		w->left--;
		n->refs++; /* it stays while its children come and go, and goes when nobody knows it */
		const bool sent = n->sent == 0 && clock_ms() - n->sent_ms > AGAIN_MS && watch_dir(s, n) && send_names(s, n);
		node_unref(s, n);
		if (sent)
			return true;
	}
	return false;
}

void ahead_walk(struct share *s)
{
	for (int i = 0; i < WALK_STEPS && s->walk.dir && buf_room(s->out) >= 4 * CHECK_REPLY_MAX; i++)
		if (!walk_step(s))
			ahead_stop(s);
}

/* ---- what begins it --------------------------------------------------------------------------------------------------------------- */

/* A guest that has let go of half of the names may get them again, after as many questions as the first time. */
void ahead_let_go(struct node *dir)
{
	dir->beside = 0;
	if (dir->sent == 0 || ++dir->let_go * 2 < dir->sent || clock_ms() - dir->sent_ms < AGAIN_MS)
		return;
	dir->asked = dir->sent = 0;
}

void ahead_hint(struct share *s, struct node *dir)
{
	if (!s->ahead || dir->wd < 0)
		return;
	dir->asked++;
	if (dir->asked % ASKED_AGAIN != ASKED_FIRST || buf_room(s->out) < 4 * CHECK_REPLY_MAX)
		return;
	dir->refs++;
	if (send_names(s, dir) && dir->parent && ++dir->parent->beside >= WALK_FROM && !s->walk.dir) {
		dir->parent->beside = 0;
		walk_begin(s, dir->parent);
	}
	node_unref(s, dir);
}
