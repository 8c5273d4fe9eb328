/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host changes is told to the guest's kernel, which keeps names and attributes for CACHE_S otherwise.
 *
 * A directory is watched from the first time something in it is looked up. An event becomes "forget this name" or "forget this file's
 * contents". Events of our own doing are no news: before a change of ours what is there is read (that is the host's), after it what names
 * the same things is dropped. When inotify loses events, everything the guest knows is forgotten, as fast as it reads.
 */
#include "core/workspace/impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "core/workspace/check.h"

#define EVENTS (IN_CREATE | IN_DELETE | IN_MODIFY | IN_ATTRIB | IN_MOVED_FROM | IN_MOVED_TO)
#define NAMES (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO)
#define NOTICE_MAX 512u /* bytes of one notification and to spare */
#define WDS(t, wd) (&(t)->slot[(size_t)(wd) & ((t)->size - 1)])

int watch_open(struct share *s)
{
	s->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	return s->inotify < 0 ? -errno : 0;
}

static struct node *by_wd(struct share *s, int wd)
{
	struct node *n = *WDS(&s->by_wd, wd);

	while (n && n->wd != wd)
		n = n->next_wd;
	return n;
}

static void unlink_wd(struct share *s, struct node *n)
{
	struct node **p = WDS(&s->by_wd, n->wd);

	while (*p && *p != n)
		p = &(*p)->next_wd;
	if (*p)
		*p = n->next_wd;
	n->wd = -1;
	s->by_wd.count--;
}

void watch_drop(struct share *s, struct node *n)
{
	if (n->wd < 0)
		return;
	inotify_rm_watch(s->inotify, n->wd);
	unlink_wd(s, n);
}

bool watch_dir(struct share *s, struct node *n)
{
	char text[64];

	if (s->inotify < 0 || n->type != S_IFDIR)
		return false;
	if (n->wd >= 0)
		return true;
	if (s->by_wd.count >= s->max_watches)
		return false;
	const int fd = node_fd(s, n);
	if (fd < 0)
		return false;
	snprintf(text, sizeof(text), "/proc/self/fd/%d", fd);
	const int wd = inotify_add_watch(s->inotify, text, EVENTS | IN_ONLYDIR | IN_EXCL_UNLINK);
	if (wd < 0) {
		log_limited(&s->complaints, 5, LOG_WARN, "cannot watch a directory: %s", strerror(errno));
		return false;
	}
	struct node *other = by_wd(s, wd);
	if (other)
		unlink_wd(s, other);
	n->wd = wd;
	n->next_wd = *WDS(&s->by_wd, wd);
	*WDS(&s->by_wd, wd) = n;
	s->by_wd.count++;
	return true;
}

double cache_time(struct share *s, struct node *dir)
{
	return watch_dir(s, dir) ? CACHE_S : CACHE_SHORT_S;
}

/* ---- telling ------------------------------------------------------------------------------------------------------------------- */

/* The guest's kernel does not have it. Of a directory its relay may know names nevertheless (ahead.c). */
static bool is_unknown(const struct share *s, const struct node *n)
{
	return n->lookups == 0 && n != s->root_node && n->type != S_IFDIR;
}

static void forget_contents(struct share *s, struct node *n)
{
	n->known = false;
	if (is_unknown(s, n))
		return;
	s->st.notices++;
	fuse_lowlevel_notify_inval_inode(s->se, n->id, 0, 0);
}

static void forget_attributes(struct share *s, const struct node *n)
{
	if (is_unknown(s, n))
		return;
	s->st.notices++;
	fuse_lowlevel_notify_inval_inode(s->se, n->id, -1, 0);
}

static void forget_name(struct share *s, const struct node *dir, const char *name)
{
	s->st.notices++;
	fuse_lowlevel_notify_inval_entry(s->se, dir->id, name, strlen(name));
}

static void tell(struct share *s, const struct inotify_event *e)
{
	struct node *dir = by_wd(s, e->wd);
	struct stat st;
	struct key k;

	if (!dir)
		return;
	if (e->mask & IN_IGNORED) {
		unlink_wd(s, dir);
		return;
	}
	if (e->len == 0) { /* of the directory itself */
		forget_attributes(s, dir);
		return;
	}
	if (e->mask & NAMES) {
		forget_name(s, dir, e->name);
		forget_contents(s, dir); /* its listing, its times */
	}
	if ((e->mask & (IN_MODIFY | IN_ATTRIB)) && name_stat(s, dir, e->name, &st, &k) == 0) {
		struct node *n = node_by_key(s, &k);

		if (n && e->mask & IN_MODIFY)
			forget_contents(s, n);
		else if (n)
			forget_attributes(s, n);
	}
}

static bool is_own(const struct share *s, const struct inotify_event *e, const struct own *o)
{
	(void)s;
	for (size_t i = 0; i < 2; i++)
		if (o->dir[i] && o->dir[i]->wd == e->wd && (e->len == 0 || (o->name[i] && strcmp(o->name[i], e->name) == 0)))
			return true;
	for (size_t i = 0; i < 3; i++) {
		const struct node *n = o->self[i];

		if (n && e->len == 0 && n->wd == e->wd)
			return true;
		if (n && n->parent && e->len > 0 && !(e->mask & NAMES) && n->parent->wd == e->wd && strcmp(n->name, e->name) == 0)
			return true;
	}
	return false;
}

/* `own` NULL: all of it is news. False when there was no room to tell and some is left unread. */
static bool read_events(struct share *s, const struct own *own)
{
	_Alignas(struct inotify_event) char buf[8192];

	for (;;) {
		/* An event makes two notifications at most, and takes 16 bytes at least. */
		if (!s->out || buf_room(s->out) < sizeof(buf) / 16 * 2 * 64 + CHECK_REPLY_MAX)
			return false;
		const ssize_t n = read(s->inotify, buf, sizeof(buf));
		if (n <= 0)
			return true;
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *e = (const struct inotify_event *)(const void *)(buf + at);

			at += (ssize_t)(sizeof(*e) + e->len);
			if (e->mask & IN_Q_OVERFLOW) {
				s->sweeping = true;
				s->sweep_at = 0;
			} else if (s->began && (!own || !is_own(s, e, own))) {
				tell(s, e);
			}
		}
	}
}

/* Events were lost: everything is stale, names and contents. */
static void sweep(struct share *s)
{
	for (; s->sweeping && s->sweep_at < s->by_id.size; s->sweep_at++) {
		for (struct node *n = s->by_id.slot[s->sweep_at]; n; n = n->next_id) {
			if (buf_room(s->out) < CHECK_REPLY_MAX + 64 * NOTICE_MAX)
				return;
			forget_contents(s, n);
			if (n->parent)
				forget_name(s, n->parent, n->name);
		}
	}
	s->sweeping = false;
}

int share_watch_fd(const struct share *s)
{
	return s->inotify;
}

void share_changes(struct share *s)
{
	if (!s->se || s->inotify < 0)
		return;
	if (read_events(s, NULL) && s->sweeping)
		sweep(s);
}

void watch_before(struct share *s)
{
	ahead_stop(s);
	if (s->inotify >= 0)
		read_events(s, NULL);
}

void watch_after(struct share *s, const struct own *o)
{
	if (s->inotify >= 0)
		read_events(s, o);
}
