/* SPDX-License-Identifier: Apache-2.0 */
/* Sources: linux/fuse.h, open_by_handle_at(2), the kernel's fs/fuse/dev.c and inode.c as documentation of what write() may wait for, and of the handle. */
#include "guest/fuseside.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <linux/openat2.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "guest/fuserelay.h"
#include "guest/loop.h"

#define NOTICES_MAX (1u << 20)
#define QUIET_MS 50     /* without a change: names stand still */
#define NAMES_MS 300    /* ... and if they do not */
#define REMOUNTS 3
#define HANDLE_TYPE 0x81 /* FILEID_INO64_GEN: u32 the node's upper half, its lower one, its generation */
#define GENERATION 1u    /* what the host gives every node but the root */
#define BESIDE_MAX 256u  /* directories listed of one's own accord */
#define NAMES_MAX 1024u  /* ... and of one of them, and where they lie, no more names than about that */
#define WALK_MS 2000u    /* after that it is another walk */
#define IN_FD 3          /* in either process */
#define DEV_FD 4

struct side {
	pid_t pid; /* -1 none */
	int fd;    /* to it; -1 none */
};

struct fuseside {
	int dev; /* -1: aborted */
	const char *share, *overlay;
	struct side notifier, lister;
	struct watch w; /* the notifier's */
	struct buf notices;
};

/* ---- the processes ---------------------------------------------------------------------------------------------------------------- */

static void begin(const char *name, int in, int dev)
{
	sigset_t none;

	prctl(PR_SET_NAME, name);
	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(in, IN_FD);
	dup2(dev, DEV_FD);
	syscall(SYS_close_range, DEV_FD + 1u, ~0u, 0);
}

/*
 * An overlay keeps what it once found below; asked about a name that is another file now it says ESTALE, for ever. A remount lets go of every name
 * nobody uses at the moment: once names stand still, and once more for those that were in use.
 */
static void forget_names(const char *overlay)
{
	mount(NULL, overlay, NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV, NULL);
}

static void notify(const struct fuseside *s)
{
	static uint8_t msg[FUSE_REQUEST_MAX];
	struct fuse_out_header h;
	uint64_t since = 0;
	uint32_t len;
	int due = 0; /* remounts that are owed */

	for (;;) {
		struct pollfd p = { .fd = IN_FD, .events = POLLIN };

		if ((due > 0 && poll(&p, 1, QUIET_MS) == 0) || (due == REMOUNTS && clock_ms() - since > NAMES_MS)) {
			forget_names(s->overlay);
			due--;
			continue;
		}
		if (fd_read_full(IN_FD, msg, sizeof(len)) < 0)
			break;
		memcpy(&len, msg, sizeof(len));
		if (len < sizeof(struct fuse_out_header) || len > sizeof(msg) || fd_read_full(IN_FD, msg + sizeof(len), len - sizeof(len)) < 0)
			break;
		/* ENOENT: the kernel knows nothing of it, and need not. */
		const ssize_t w = write(DEV_FD, msg, len);
		(void)w;
		memcpy(&h, msg, sizeof(h));
		if (s->overlay && (h.error == FUSE_NOTIFY_INVAL_ENTRY || h.error == FUSE_NOTIFY_DELETE)) {
			since = due == REMOUNTS ? since : clock_ms();
			due = REMOUNTS;
		}
	}
}

/* At most so many of its names; how many of these were directories, and the first of them in `dirs`, each with its NUL. */
static size_t list_names(int fd, size_t most, char *dirs, size_t cap)
{
	static _Alignas(8) uint8_t names[32768];
	size_t n = 0, used = 0, found = 0;
	long got;

	while (n < most && (got = syscall(SYS_getdents64, fd, names, sizeof(names))) > 0)
		for (long at = 0; at < got; n++) {
			const struct dirent64 *d = (const struct dirent64 *)(const void *)(names + at);
			const size_t len = strlen(d->d_name) + 1;

			at += d->d_reclen;
			if (d->d_type != DT_DIR || strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0 || used + len > cap)
				continue;
			memcpy(dirs + used, d->d_name, len);
			used += len;
			found++;
		}
	return found;
}

/* Where was listed last, and how many directories of it. */
struct walk { uint64_t ino; unsigned listed; uint64_t since_ms; };

/* Without a question to the host; 0 when it cannot be told. */
static uint64_t inode(int fd)
{
	struct statx x;

	return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &x) < 0 ? 0 : x.stx_ino;
}

/* Two directories side by side: somebody goes through all of them. The others are listed before they are come to. */
static void list_beside(int fd, struct walk *w)
{
	static char dirs[BESIDE_MAX * 64];
	const struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS };
	uint64_t here, above;
	AUTO_FD up = (int)syscall(SYS_openat2, fd, "..", &how, sizeof(how));

	if (up < 0 || (here = inode(fd)) == 0 || (above = inode(up)) == 0 || here == above)
		return;
	if (w->ino != above || clock_ms() - w->since_ms > WALK_MS)
		*w = (struct walk){ .ino = above, .since_ms = clock_ms() };
	if (++w->listed != 2)
		return;
	const char *at = dirs;
	for (size_t n = list_names(up, NAMES_MAX, dirs, sizeof(dirs)), k = 0; k < n && k < BESIDE_MAX; k++, at += strlen(at) + 1) {
		AUTO_FD beside = (int)syscall(SYS_openat2, up, at, &how, sizeof(how));

		if (beside >= 0)
			list_names(beside, NAMES_MAX, NULL, 0);
	}
}

static void list(const struct fuseside *s)
{
	union {
		struct file_handle h;
		uint8_t bytes[sizeof(struct file_handle) + 12];
	} at = { .h = { .handle_bytes = 12, .handle_type = HANDLE_TYPE } };
	struct walk walk = { 0 };
	uint64_t node;

	close(DEV_FD);
	while (fd_read_full(IN_FD, &node, sizeof(node)) >= 0) {
		const uint32_t id[3] = { (uint32_t)(node >> 32), (uint32_t)node, node == FUSE_ROOT_ID ? 0 : GENERATION };

		memcpy(at.bytes + sizeof(at.h), id, sizeof(id));
		/* Not kept: somebody may want to unmount it. */
		AUTO_FD mount_fd = open(s->share, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		AUTO_FD fd = mount_fd < 0 ? -1 : open_by_handle_at(mount_fd, &at.h, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			continue;
		list_names(fd, SIZE_MAX, NULL, 0);
		if (node != FUSE_ROOT_ID)
			list_beside(fd, &walk);
	}
}

static bool start(struct fuseside *s, struct side *p, const char *name, void (*run)(const struct fuseside *s))
{
	int pipe_fds[2];

	if (p->fd >= 0)
		return true;
	if (s->dev < 0 || pipe2(pipe_fds, O_CLOEXEC) < 0)
		return false;
	/* High numbers, so that the child's dup2 cannot meet them. */
	const int in = fcntl(pipe_fds[0], F_DUPFD_CLOEXEC, 64), dev = fcntl(s->dev, F_DUPFD_CLOEXEC, 64);
	p->pid = in >= 0 && dev >= 0 ? fork() : -1;
	if (p->pid == 0) {
		begin(name, in, dev);
		run(s);
		_exit(0);
	}
	close(pipe_fds[0]);
	if (in >= 0)
		close(in);
	if (dev >= 0)
		close(dev);
	if (p->pid < 0) {
		log_error("cannot start %s: %s", name, strerror(errno));
		close(pipe_fds[1]);
		return false;
	}
	p->fd = pipe_fds[1];
	fd_nonblock(p->fd);
	return true;
}

/* ---- to them ------------------------------------------------------------------------------------------------------------------------ */

static void send_notices(struct fuseside *s)
{
	while (s->notifier.fd >= 0 && buf_size(&s->notices) > 0) {
		const ssize_t n = write(s->notifier.fd, buf_head(&s->notices), buf_size(&s->notices));

		if (n <= 0)
			break;
		buf_consume(&s->notices, (size_t)n);
	}
	if (s->w.fd >= 0)
		loop_want(&s->w, buf_size(&s->notices) > 0 ? EPOLLOUT : 0);
}

static void on_notices(void *arg, uint32_t events)
{
	(void)events;
	send_notices(arg);
}

void fuseside_notify(struct fuseside *s, const uint8_t *p, size_t n)
{
	if (!start(s, &s->notifier, "bulkhead-notify", notify) || (s->w.fd < 0 && loop_add(&s->w, s->notifier.fd, EPOLLOUT, on_notices, s) < 0))
		return;
	if (buf_room(&s->notices) >= n)
		buf_put(&s->notices, p, n);
	send_notices(s);
}

void fuseside_list(struct fuseside *s, uint64_t node)
{
	/* Whole or not at all (pipe(7)); when it has that much to do, names are asked for one by one. */
	if (start(s, &s->lister, "bulkhead-list", list) && write(s->lister.fd, &node, sizeof(node)) < 0)
		log_debug("a directory is not listed ahead: %s", strerror(errno));
}

/* ---- ends ------------------------------------------------------------------------------------------------------------------------------ */

bool fuseside_reaped(struct fuseside *s, pid_t pid)
{
	if (pid == s->notifier.pid) {
		s->notifier.pid = -1;
		loop_del(&s->w);
		fd_close(&s->notifier.fd);
		buf_clear(&s->notices); /* a message may be half gone; the next one starts another */
		return true;
	}
	if (pid == s->lister.pid) {
		s->lister.pid = -1;
		fd_close(&s->lister.fd);
		return true;
	}
	return false;
}

struct fuseside *fuseside_create(int dev, const char *share, const char *overlay)
{
	struct fuseside *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	*s = (struct fuseside){ .dev = dev, .share = share, .overlay = overlay, .notifier = { -1, -1 }, .lister = { -1, -1 }, .w.fd = -1 };
	buf_init(&s->notices, NOTICES_MAX);
	return s;
}

void fuseside_abort(struct fuseside *s)
{
	s->dev = -1;
	loop_del(&s->w);
	fd_close(&s->notifier.fd);
	fd_close(&s->lister.fd);
	if (s->notifier.pid > 0)
		kill(s->notifier.pid, SIGKILL);
	if (s->lister.pid > 0)
		kill(s->lister.pid, SIGKILL);
}
