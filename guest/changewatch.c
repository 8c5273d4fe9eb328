/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An upper layer, told once and then followed. Names come and go with inotify on the layer's own directories (only those that the sandbox changed
 * exist there); writing into a file that is there already is no event of the layer (overlayfs writes unseen), so it is heard from the mounted
 * overlay by fanotify. What changed is told GATHER_MS later, once however often it changed. Lost events mean: all of it again. A stream's own
 * process: it may wait. Sources: inotify(7), fanotify(7), the kernel's overlayfs.rst.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/rnd.h"
#include "core/base/str.h"
#include "guest/changes.h"
#include "guest/workspace.h"

#define GATHER_MS 120u
#define NAP_MS 50          /* between two looks at what happened: a program that writes thousands of files is not to wake us for each step of each */
#define AGAIN_MS 1000u     /* between two looks at everything */
#define PENDING_SLOTS 16384u
#define PENDING_MAX 8192u
#define MASK (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB | IN_MODIFY | IN_CLOSE_WRITE | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK)

struct watcher {
	int fd, inotify, fanotify;
	const struct workspace *w;
	char layer[64], root[96];
	char **dir;               /* by watch number: its path in the layer, NULL none */
	size_t ndir;
	char *pending[PENDING_SLOTS];
	size_t npending;
	uint64_t due_ms;          /* when what is pending is told; 0 nothing is */
	uint64_t again_ms;        /* no earlier look at everything */
	bool again, truncated, broken, looking;
	uint64_t told;            /* entries, since the last look at everything began */
	struct buf out;
	struct changes_entry e;
};

/* ---- telling ------------------------------------------------------------------------------------------------------------------------- */

static void flush(struct watcher *s)
{
	if (buf_size(&s->out) > 0 && (!buf_ok(&s->out) || fd_write_full(s->fd, buf_head(&s->out), buf_size(&s->out)) < 0))
		s->broken = true;
	buf_clear(&s->out);
}

static void put(struct watcher *s, uint8_t type, const void *p, size_t n)
{
	if (buf_room(&s->out) < n + FRAME_HEAD)
		flush(s);
	frame_put(&s->out, type, 0, p, n);
}

static void tell_gone(struct watcher *s, const char *path)
{
	struct buf b;

	buf_init(&b, CHANGES_PATH_MAX + 16);
	buf_str16(&b, path);
	if (buf_ok(&b))
		put(s, CHANGES_GONE, buf_head(&b), buf_size(&b));
	buf_release(&b);
}

static void tell_synced(struct watcher *s)
{
	const uint8_t more = s->truncated;

	put(s, CHANGES_SYNCED, &more, 1);
	flush(s);
}

/* Of s->e.path; its type in s->e. False when it is not there (which is told). */
static bool tell(struct watcher *s)
{
	struct buf b;
	const int r = changes_look(s->root, &s->e);

	if (r < 0) {
		if (r == -ENAMETOOLONG)
			s->truncated = true;
		else
			tell_gone(s, s->e.path);
		return false;
	}
	if (s->told >= CHANGES_ENTRIES_MAX) {
		/* Told before may be the same few files again and again, or some that are gone: how many there are, the next look tells. */
		if (!s->looking) {
			s->again = true;
			return false;
		}
		s->truncated = true;
		return false;
	}
	s->told++;
	buf_init(&b, CHANGES_FRAME_MAX);
	if (changes_path_legal(s->e.path) && changes_entry_pack(&b, &s->e) == 0)
		put(s, CHANGES_ENTRY, buf_head(&b), buf_size(&b));
	else
		s->truncated = true;
	buf_release(&b);
	return true;
}

/* ---- directories --------------------------------------------------------------------------------------------------------------------- */

static void watch(struct watcher *s, const char *path)
{
	char full[PATH_MAX];

	if (snprintf(full, sizeof(full), "%s%s%s", s->root, *path ? "/" : "", path) >= (int)sizeof(full))
		return;
	const int wd = inotify_add_watch(s->inotify, full, MASK);
	if (wd < 0) {
		/* Without a watch the whole is looked at again and again. */
		if (errno == ENOSPC || errno == ENOMEM)
			s->again = true;
		return;
	}
	if ((size_t)wd >= s->ndir) {
		const size_t n = (size_t)wd + 256;
		char **more = realloc(s->dir, n * sizeof(*more));

		if (!more)
			return;
		memset(more + s->ndir, 0, (n - s->ndir) * sizeof(*more));
		s->dir = more;
		s->ndir = n;
	}
	free(s->dir[wd]);
	s->dir[wd] = str_dup(path);
}

/* What lies below path (n bytes) is no longer watched under that name. */
static void unwatch(struct watcher *s, const char *path)
{
	const size_t n = strlen(path);

	for (size_t i = 0; i < s->ndir; i++)
		if (s->dir[i] && strncmp(s->dir[i], path, n) == 0 && (s->dir[i][n] == '\0' || s->dir[i][n] == '/')) {
			inotify_rm_watch(s->inotify, (int)i);
			free(s->dir[i]);
			s->dir[i] = NULL;
		}
}

/* Everything below the directory `path` ("" the root); the directory itself has been told. */
static void scan(struct watcher *s, const char *path, unsigned depth)
{
	char full[PATH_MAX];
	const struct dirent *de;

	watch(s, path);
	if (depth > CHANGES_DEPTH_MAX || snprintf(full, sizeof(full), "%s%s%s", s->root, *path ? "/" : "", path) >= (int)sizeof(full)) {
		s->truncated = true;
		return;
	}
	DIR *d = opendir(full);
	char *own = d ? str_dup(path) : NULL; /* s->e.path is used below */

	while (own && !s->broken && (de = readdir(d))) {
		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		if (snprintf(s->e.path, sizeof(s->e.path), "%s%s%s", own, *own ? "/" : "", de->d_name) >= (int)sizeof(s->e.path)) {
			s->truncated = true;
			continue;
		}
		if (tell(s) && s->e.type == CHANGES_DIR) {
			char *below = str_dup(s->e.path);

			if (below)
				scan(s, below, depth + 1);
			free(below);
		}
		if (s->told >= CHANGES_ENTRIES_MAX)
			break;
	}
	free(own);
	if (d)
		closedir(d);
}

/* The layer's own number: a disk that was made anew has another. */
static void layer_id(struct watcher *s, uint8_t id[CHANGES_ID])
{
	char path[96];

	snprintf(path, sizeof(path), "%s/id", s->layer);
	AUTO_FD fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || read(fd, id, CHANGES_ID) != (ssize_t)CHANGES_ID) {
		rnd_bytes(id, CHANGES_ID);
		if (fd < 0 || fd_pwrite_full(fd, id, CHANGES_ID, 0) < 0)
			log_warn("the layer of '%s' cannot be numbered", s->w->path);
	}
}

static void forget_pending(struct watcher *s)
{
	for (size_t i = 0; i < PENDING_SLOTS; i++) {
		free(s->pending[i]);
		s->pending[i] = NULL;
	}
	s->npending = 0;
	s->due_ms = 0;
}

static void look_at_all(struct watcher *s)
{
	uint8_t id[CHANGES_ID];

	forget_pending(s);
	for (size_t i = 0; i < s->ndir; i++)
		if (s->dir[i]) {
			inotify_rm_watch(s->inotify, (int)i);
			free(s->dir[i]);
			s->dir[i] = NULL;
		}
	const uint64_t began = clock_ms();
	s->told = 0;
	s->again = s->truncated = false;
	layer_id(s, id);
	put(s, CHANGES_BEGIN, id, sizeof(id));
	s->looking = true;
	scan(s, "", 0);
	s->looking = false;
	tell_synced(s);
	/* At most a fifth of the time. */
	const uint64_t took = clock_ms() - began;
	s->again_ms = clock_ms() + (4 * took > AGAIN_MS ? 4 * took : AGAIN_MS);
}

/* ---- events -------------------------------------------------------------------------------------------------------------------------- */

static void pend(struct watcher *s, const char *path)
{
	uint32_t h = 2166136261u;

	for (const char *p = path; *p; p++)
		h = (h ^ (uint8_t)*p) * 16777619u;
	size_t at = h % PENDING_SLOTS;
	while (s->pending[at] && strcmp(s->pending[at], path) != 0)
		at = (at + 1) % PENDING_SLOTS;
	if (s->pending[at])
		return;
	s->pending[at] = str_dup(path);
	s->npending += s->pending[at] != NULL;
	if (!s->due_ms)
		s->due_ms = clock_ms() + GATHER_MS;
	if (s->npending >= PENDING_MAX)
		s->due_ms = 1;
}

static void tell_pending(struct watcher *s)
{
	for (size_t i = 0; i < PENDING_SLOTS && s->npending > 0; i++) {
		char *path = s->pending[i];

		if (!path)
			continue;
		s->pending[i] = NULL;
		s->npending--;
		str_copy(s->e.path, sizeof(s->e.path), path);
		tell(s);
		free(path);
	}
	s->due_ms = 0;
	tell_synced(s);
}

static void on_name(struct watcher *s, const struct inotify_event *ev)
{
	char path[CHANGES_PATH_MAX + 1];
	const char *dir = ev->wd >= 0 && (size_t)ev->wd < s->ndir ? s->dir[ev->wd] : NULL;

	if (ev->mask & IN_Q_OVERFLOW) {
		s->again = true;
		s->again_ms = 0;
		return;
	}
	if (!dir)
		return;
	if (ev->mask & IN_IGNORED) {
		free(s->dir[ev->wd]);
		s->dir[ev->wd] = NULL;
		return;
	}
	if (ev->len == 0) { /* the directory itself */
		if (*dir)
			pend(s, dir);
		return;
	}
	if (snprintf(path, sizeof(path), "%s%s%s", dir, *dir ? "/" : "", ev->name) >= (int)sizeof(path)) {
		s->truncated = true;
		return;
	}
	if ((ev->mask & IN_ISDIR) && (ev->mask & (IN_MOVED_FROM | IN_DELETE | IN_MOVED_TO | IN_CREATE))) {
		unwatch(s, path);
		tell_gone(s, path);
		if (ev->mask & (IN_MOVED_TO | IN_CREATE)) {
			str_copy(s->e.path, sizeof(s->e.path), path);
			if (tell(s) && s->e.type == CHANGES_DIR)
				scan(s, path, 0);
			if (!s->due_ms)
				s->due_ms = clock_ms() + GATHER_MS;
		}
	}
	pend(s, path);
}

/* True: there may be a lot more. */
static bool read_names(struct watcher *s)
{
	_Alignas(struct inotify_event) char mem[32768];
	const ssize_t n = read(s->inotify, mem, sizeof(mem));

	for (ssize_t at = 0; at + (ssize_t)sizeof(struct inotify_event) <= n;) {
		const struct inotify_event *ev = (const struct inotify_event *)(const void *)(mem + at);

		at += (ssize_t)(sizeof(*ev) + ev->len);
		on_name(s, ev);
	}
	return n > (ssize_t)sizeof(mem) / 2;
}

/* Somebody wrote: which file, is in the name of its descriptor. */
static void on_written(struct watcher *s, int fd)
{
	char own[64], path[PATH_MAX];
	const size_t n = strlen(s->w->path);

	snprintf(own, sizeof(own), "/proc/self/fd/%d", fd);
	const ssize_t len = readlink(own, path, sizeof(path) - 1);
	if (len <= 0)
		return;
	path[len] = '\0';
	if (strncmp(path, s->w->path, n) == 0 && path[n] == '/' && changes_path_legal(path + n + 1))
		pend(s, path + n + 1);
	else if (!str_ends(path, " (deleted)"))
		s->again = true; /* through another mount of it: a container's */
}

static bool read_written(struct watcher *s)
{
	_Alignas(struct fanotify_event_metadata) char mem[8192];
	ssize_t n = read(s->fanotify, mem, sizeof(mem));
	const bool more = n > (ssize_t)sizeof(mem) / 2;
	const struct fanotify_event_metadata *ev = (const struct fanotify_event_metadata *)(const void *)mem;

	for (; n > 0 && FAN_EVENT_OK(ev, n); ev = FAN_EVENT_NEXT(ev, n)) {
		if (ev->mask & FAN_Q_OVERFLOW)
			s->again = true;
		if (ev->fd >= 0) {
			on_written(s, ev->fd);
			close(ev->fd);
		}
	}
	return more;
}

static int wait_ms(const struct watcher *s)
{
	const uint64_t now = clock_ms();
	uint64_t at = s->due_ms ? s->due_ms : UINT64_MAX;

	if (s->again && s->again_ms < at)
		at = s->again_ms;
	return at == UINT64_MAX ? -1 : at <= now ? 0 : (int)(at - now);
}

void changes_watch(int fd, const struct workspace *w)
{
	static struct watcher s;

	s.fd = fd;
	s.w = w;
	workspace_layer(w->path, s.layer);
	snprintf(s.root, sizeof(s.root), "%s/upper", s.layer);
	buf_init(&s.out, 2 * CHANGES_FRAME_MAX);
	s.inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	s.fanotify = fanotify_init(FAN_CLASS_NOTIF | FAN_NONBLOCK | FAN_CLOEXEC | FAN_UNLIMITED_QUEUE, O_RDONLY | O_LARGEFILE | O_CLOEXEC | O_NOATIME);
	if (s.inotify < 0) {
		log_error("changes of '%s' cannot be followed: %s", w->path, strerror(errno));
		return;
	}
	if (s.fanotify < 0 || fanotify_mark(s.fanotify, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_MODIFY | FAN_CLOSE_WRITE, AT_FDCWD, w->path) < 0) {
		log_warn("what is written in '%s' is not heard, it is looked for: %s", w->path, strerror(errno));
		fd_close(&s.fanotify);
	}
	look_at_all(&s);
	while (!s.broken) {
		struct pollfd p[] = { { .fd = fd, .events = POLLIN }, { .fd = s.inotify, .events = POLLIN }, { .fd = s.fanotify, .events = POLLIN } };

		if (s.fanotify < 0)
			s.again = true;
		if (poll(p, 3, wait_ms(&s)) < 0 && errno != EINTR)
			return;
		if (p[0].revents) /* the host says nothing more: it is gone */
			return;
		bool more = false;
		if (p[1].revents)
			more = read_names(&s);
		if (p[2].revents)
			more = read_written(&s) || more;
		if ((p[1].revents || p[2].revents) && !more && poll(p, 1, NAP_MS) > 0)
			return;
		if (s.again && clock_ms() >= s.again_ms)
			look_at_all(&s);
		else if (s.due_ms && clock_ms() >= s.due_ms)
			tell_pending(&s);
	}
}
