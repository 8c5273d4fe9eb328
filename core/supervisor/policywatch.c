/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/policywatch.h"

#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/loop/after.h"

#define QUIET_MS 60u
#define EVENTS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_ONLYDIR)
#define READS_A_WAKE 8

struct policywatch {
	uv_poll_t poll;
	uv_loop_t *loop;
	int fd;
	char name[64];
	struct after *quiet;
	void (*fn)(void *arg);
	void *arg;
};

static void on_quiet(void *arg)
{
	struct policywatch *w = arg;

	w->fn(w->arg);
}

static bool concerns(const struct policywatch *w, const struct inotify_event *ev)
{
	if (ev->mask & (IN_Q_OVERFLOW | IN_IGNORED | IN_UNMOUNT))
		return true;
	if (ev->mask & IN_ISDIR) /* the directory that was missing */
		return ev->mask & (IN_CREATE | IN_MOVED_TO);
	return ev->len && !strcmp(ev->name, w->name) && !(ev->mask & IN_CREATE);
}

static void on_events(uv_poll_t *h, int status, int events)
{
	struct policywatch *w = h->data;
	_Alignas(struct inotify_event) char bytes[4096];
	bool due = false;

	(void)events;
	if (status < 0) {
		uv_poll_stop(h);
		return;
	}
	for (int i = 0; i < READS_A_WAKE; i++) {
		const ssize_t n = read(w->fd, bytes, sizeof(bytes));
		if (n <= 0)
			break;
		for (ssize_t at = 0; at + (ssize_t)sizeof(struct inotify_event) <= n;) {
			const struct inotify_event *ev = (const void *)(bytes + at);
			due |= concerns(w, ev);
			at += (ssize_t)(sizeof(*ev) + ev->len);
		}
	}
	if (due)
		after_set(&w->quiet, w->loop, QUIET_MS, on_quiet, w);
}

struct policywatch *policywatch_open(uv_loop_t *loop, const char *name, void (*fn)(void *arg), void *arg)
{
	struct policywatch *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (w->fd < 0 || uv_poll_init(loop, &w->poll, w->fd)) {
		fd_close(&w->fd);
		free(w);
		return NULL;
	}
	w->loop = loop;
	w->fn = fn;
	w->arg = arg;
	w->poll.data = w;
	str_copy(w->name, sizeof(w->name), name);
	uv_poll_start(&w->poll, UV_READABLE, on_events);
	return w;
}

static void on_closed(uv_handle_t *h)
{
	struct policywatch *w = h->data;

	fd_close(&w->fd);
	free(w);
}

void policywatch_close(struct policywatch *w)
{
	if (!w)
		return;
	after_cancel(&w->quiet);
	uv_close((uv_handle_t *)&w->poll, on_closed);
}

void policywatch_dir(struct policywatch *w, const char *dir)
{
	if (!w || inotify_add_watch(w->fd, dir, EVENTS) >= 0 || errno != ENOENT)
		return;
	AUTO_FREE char *copy = str_dup(dir);
	if (copy)
		inotify_add_watch(w->fd, dirname(copy), IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
}
