/* SPDX-License-Identifier: Apache-2.0 */
/* Source: the kernel's cgroup-v2.rst; clone3(2), CLONE_INTO_CGROUP. */
#include "guest/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/str.h"

#define ROOT "/sys/fs/cgroup/sessions"

static int root = -1;
static uint64_t made;

void cgroup_init(void)
{
	if (mkdir(ROOT, 0755) < 0 && errno != EEXIST)
		log_warn("cannot make " ROOT ": %s; sessions have no cgroups", strerror(errno));
	root = open(ROOT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int cgroup_make(void)
{
	char name[32];

	if (root < 0)
		return -1;
	snprintf(name, sizeof(name), "s%llu", (unsigned long long)++made);
	if (mkdirat(root, name, 0755) < 0)
		return -1;
	return openat(root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

pid_t cgroup_fork(int dirfd)
{
	if (dirfd >= 0) {
		struct clone_args a = { .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (unsigned)dirfd };
		const long pid = syscall(SYS_clone3, &a, sizeof(a));

		if (pid >= 0)
			return (pid_t)pid;
	}
	return fork();
}

void cgroup_kill(int dirfd)
{
	AUTO_FD fd = dirfd >= 0 ? openat(dirfd, "cgroup.kill", O_WRONLY | O_CLOEXEC) : -1;

	if (fd >= 0 && write(fd, "1", 1) < 0)
		log_warn("cannot kill a session's processes: %s", strerror(errno));
}

static void signal_procs(int dirfd, int signo)
{
	const int fd = openat(dirfd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;
	int pid;

	if (!f) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while (fscanf(f, "%d", &pid) == 1)
		if (pid > 1)
			kill(pid, signo);
	fclose(f);
}

/* Calls fn for the directory of every session; the name too, for removing it. */
static void each(void (*fn)(const char *name, int arg), int arg)
{
	AUTO_FD copy = root >= 0 ? openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;

	if (!d)
		return;
	copy = -1; /* closed with d */
	for (struct dirent *de; (de = readdir(d));)
		if (de->d_name[0] == 's' && de->d_type == DT_DIR)
			fn(de->d_name, arg);
	closedir(d);
}

static void signal_one(const char *name, int signo)
{
	AUTO_FD fd = openat(root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		signal_procs(fd, signo);
}

void cgroup_signal_all(int signo)
{
	each(signal_one, signo);
}

static void remove_one(const char *name, int unused)
{
	(void)unused;
	unlinkat(root, name, AT_REMOVEDIR); /* EBUSY: something of it lives on */
}

void cgroup_sweep(void)
{
	each(remove_one, 0);
}
