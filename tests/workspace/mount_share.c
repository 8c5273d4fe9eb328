/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounts a share on this machine, for tests: mount_share [-r] [-x PATTERNS] [-f FDS] DIRECTORY MOUNTPOINT. The kernel here plays the guest's.
 * Prints "ready", then notes ("hidden PATH"); ends when it is unmounted, or by SIGTERM. Needs root and /dev/fuse.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/workspace/check.h"
#include "core/workspace/hide.h"
#include "core/workspace/share.h"

static void note(void *arg, enum share_note what, const char *path)
{
	static const char *const words[SHARE_NOTES] = { "hidden", "linked", "mount" };

	(void)arg;
	printf("%s %s\n", words[what], path);
	fflush(stdout);
}

static volatile sig_atomic_t ending;

static void on_end(int signal)
{
	(void)signal;
	ending = 1;
}

/* Notifications wait for locks that a request under way may hold: they need a process of their own, or nobody would answer it. */
static int start_notifier(int dev)
{
	int p[2];
	static char buf[4096];

	if (pipe2(p, O_CLOEXEC) < 0)
		return -1;
	if (fork() == 0) {
		uint32_t len;

		close(p[1]);
		while (fd_read_full(p[0], &len, 4) == 0 && len <= sizeof(buf) && fd_read_full(p[0], buf + 4, len - 4) == 0) {
			memcpy(buf, &len, 4);
			if (write(dev, buf, len) < 0 && errno != ENOENT)
				break;
		}
		_exit(0);
	}
	close(p[0]);
	return p[1];
}

static void send_out(struct buf *out, int dev, int notifier)
{
	while (buf_size(out) > 0) {
		uint32_t len;
		uint64_t unique;

		memcpy(&len, buf_head(out), 4);
		memcpy(&unique, buf_head(out) + 8, 8);
		if (unique == 0)
			fd_write_full(notifier, buf_head(out), len);
		else if (write(dev, buf_head(out), len) < 0 && errno != ENOENT)
			fprintf(stderr, "mount_share: %s\n", strerror(errno));
		buf_consume(out, len);
	}
}

static int serve(struct share *s, int dev)
{
	static uint8_t req[CHECK_REQUEST_MAX]; /* the kernel fills it with FORGETs, if it has so many */
	const int notifier = start_notifier(dev);
	struct buf out;

	buf_init(&out, 4u << 20);
	if (notifier < 0 || share_begin(s, &out) < 0)
		return 1;
	while (!ending) {
		struct pollfd p[] = { { .fd = dev, .events = POLLIN }, { .fd = share_watch_fd(s), .events = POLLIN } };

		poll(p, 2, -1);
		if (p[1].revents)
			share_changes(s);
		if (p[0].revents) {
			const ssize_t n = read(dev, req, sizeof(req));

			if (n < 0 && errno == ENODEV)
				break;
			const ssize_t r = n > 0 ? share_take(s, req, (size_t)n) : n;

			if (r != n) {
				printf("a request of %zd bytes (operation %u) was answered by %zd; %zu bytes wait to be sent\n", n, req[4], r, buf_size(&out));
				return 1;
			}
		}
		send_out(&out, dev, notifier);
	}
	struct share_stats st;
	share_stats(s, &st);
	printf("stats requests=%llu refused=%llu nodes=%u fds=%u watches=%u handles=%u notices=%llu\n", (unsigned long long)st.requests,
	       (unsigned long long)st.refused, st.nodes, st.fds, st.watches, st.handles, (unsigned long long)st.notices);
	share_destroy(&s);
	buf_release(&out);
	return 0;
}

int main(int argc, char **argv)
{
	struct share_opts o = { .root = -1, .watch = true, .max_fds = 10000, .note = note };
	struct hide *hide = NULL;
	struct share *s;
	struct err e = ERR_INIT;
	char data[128];
	int c;

	log_init("mount_share");
	while ((c = getopt(argc, argv, "rnx:f:")) != -1) {
		if (c == 'r')
			o.readonly = true;
		else if (c == 'n')
			o.watch = false;
		else if (c == 'f')
			o.max_fds = strtoul(optarg, NULL, 10);
		else if (c != 'x' || hide_create(&hide, optarg, &e) < 0)
			return 2;
	}
	if (argc - optind != 2)
		return 2;
	umask(0);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTERM, on_end);
	signal(SIGCHLD, SIG_IGN);
	o.hide = hide;
	o.root = open(argv[optind], O_PATH | O_DIRECTORY | O_CLOEXEC);
	o.proc = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	const int dev = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	snprintf(data, sizeof(data), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions", dev);
	if (o.root < 0 || o.proc < 0 || dev < 0 || mount("share", argv[optind + 1], "fuse", MS_NOSUID | MS_NODEV | (o.readonly ? MS_RDONLY : 0), data) < 0) {
		perror("mount_share");
		return 1;
	}
	if (share_create(&s, &o, &e) < 0)
		return 1;
	puts("ready");
	fflush(stdout);
	const int r = serve(s, dev);
	hide_destroy(&hide);
	return r;
}
