/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The three stages of the jail (jail.h). What must work fails the start; what an older kernel may lack is written into the
 * report with a minus sign, so that `doctor` and the log can say it.
 *
 * Sources: capabilities(7), landlock(7), prctl(2), namespaces(7), close_range(2).
 */
#include "core/jail/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <linux/capability.h>
#include <linux/landlock.h>

#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/jail/seccomp.h"

void jail_note(struct jail *j, const char *fmt, ...)
{
	size_t n = strlen(j->text);
	va_list ap;

	if (n > 0 && n + 1 < sizeof(j->text))
		j->text[n++] = ' ';
	va_start(ap, fmt);
	vsnprintf(j->text + n, sizeof(j->text) - n, fmt, ap);
	va_end(ap);
}

static int compare_ints(const void *a, const void *b)
{
	const int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

/* Closes every descriptor above 2 that is not to be kept, gap by gap. */
static int close_others(const struct jail_early *o, struct err *e)
{
	int keep[64];
	unsigned from = 3;

	if (o->nkeep > ARRAY_SIZE(keep))
		return err_set(e, EINVAL, "cannot keep %zu descriptors", o->nkeep);
	for (size_t i = 0; i < o->nkeep; i++)
		keep[i] = o->keep[i];
	qsort(keep, o->nkeep, sizeof(keep[0]), compare_ints);
	for (size_t i = 0; i < o->nkeep; i++) {
		if (keep[i] < (int)from)
			continue;
		if ((unsigned)keep[i] > from && syscall(SYS_close_range, from, (unsigned)keep[i] - 1, 0) < 0)
			return err_errno(e, errno, "cannot close inherited descriptors");
		from = (unsigned)keep[i] + 1;
	}
	if (syscall(SYS_close_range, from, ~0u, 0) < 0)
		return err_errno(e, errno, "cannot close inherited descriptors");
	return 0;
}

static void limit(int what, uint64_t value)
{
	struct rlimit r = { .rlim_cur = value, .rlim_max = value };
	struct rlimit now;

	if (getrlimit((__rlimit_resource_t)what, &now) == 0 && now.rlim_max < value)
		r.rlim_cur = r.rlim_max = now.rlim_max;
	setrlimit((__rlimit_resource_t)what, &r);
}

/* All sets empty. The bounding set falls only to who has CAP_SETPCAP; without it there is nothing in it for us to gain (no_new_privs). */
static int drop_capabilities(struct err *e)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { { 0 } };

	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	for (int c = 0; prctl(PR_CAPBSET_READ, c, 0, 0, 0) >= 0; c++)
		prctl(PR_CAPBSET_DROP, c, 0, 0, 0);
	if (syscall(SYS_capset, &h, none) < 0)
		return err_errno(e, errno, "cannot drop capabilities");
	return 0;
}

int jail_early(struct jail *j, const struct jail_early *o, struct err *e)
{
	j->text[0] = '\0';
	int r = close_others(o, e);

	if (r < 0)
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_errno(e, errno, "cannot set no_new_privs");
	jail_note(j, "no_new_privs");
	limit(RLIMIT_CORE, 0);
	if (o->max_fds)
		limit(RLIMIT_NOFILE, o->max_fds);
	if (o->max_memory)
		limit(RLIMIT_DATA, o->max_memory);
	jail_note(j, "rlimits");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_errno(e, errno, "cannot forbid core dumps");
	jail_note(j, "nodump");
	return 0;
}

/*
 * A network without any interface, no shared IPC objects, no host's names. As an ordinary user this needs a user namespace,
 * which some hosts forbid: then the seccomp profile alone keeps us from sockets.
 */
static bool own_namespaces(struct jail *j, bool network)
{
	const int flags = (network ? 0 : CLONE_NEWNET) | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWCGROUP;

	const bool own = unshare(flags) == 0 || unshare(CLONE_NEWUSER | flags) == 0;

	if (getpid() == 1)
		jail_note(j, "pids"); /* who started us has seen to it (core/loop/proc.h) */
	if (own)
		jail_note(j, "namespaces");
	else
		jail_note(j, "-namespaces(%s)", strerror(errno));
	return own;
}

/*
 * In mounts of our own: a root directory in which there is nothing, and the host's tree is not mounted any more (pivot_root(2), "pivot_root(".", ".")").
 * What is open stays open. Where the root is the kernel's first one (an initramfs), which cannot be put away, it is moved over (switch_root(8)).
 */
static bool put_root_away(void)
{
	if (syscall(SYS_pivot_root, ".", ".") == 0)
		return umount2(".", MNT_DETACH) == 0;
	return errno == EINVAL && mount(".", "/", NULL, MS_MOVE, NULL) == 0 && chroot(".") == 0;
}

static void empty_root(struct jail *j)
{
	const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mount("none", "/proc", "tmpfs", flags, "size=4k,nr_inodes=2,mode=555") < 0 ||
	    chdir("/proc") < 0 || !put_root_away() || chdir("/") < 0 || mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY | flags, NULL) < 0)
		jail_note(j, "-root(%s)", strerror(errno));
	else
		jail_note(j, "root");
}

#define RIGHTS_FILES (1u << 1 | 1u << 5 | 1u << 8 | 1u << 14) /* WRITE_FILE, REMOVE_FILE, MAKE_REG, TRUNCATE */
/* All but EXECUTE, MAKE_CHAR, MAKE_BLOCK and IOCTL_DEV. */
#define RIGHTS_TREE (((1u << 15) - 1) & ~(1u << 0 | 1u << 6 | 1u << 11))

/*
 * Landlock with every right handled and none granted but `rights` (those the kernel knows) below dirs[]: no other path can be opened,
 * made, listed or executed any more.
 */
static void no_paths(struct jail *j, const int *dirs, size_t n, uint64_t rights, bool network)
{
	const long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	if (abi < 1) {
		jail_note(j, "-landlock(kernel has none)");
		return;
	}
	/* Rights of later kernels are numbers here: the header of the build host may be older than the kernel. */
	uint64_t fs = (UINT64_C(1) << 13) - 1;
	uint64_t attr[3] = { fs, 0, 0 };
	size_t size = 8;

	if (abi >= 2)
		attr[0] |= UINT64_C(1) << 13; /* REFER */
	if (abi >= 3)
		attr[0] |= UINT64_C(1) << 14; /* TRUNCATE */
	if (abi >= 4) {
		attr[1] = network ? 1 : 3; /* BIND_TCP, CONNECT_TCP */
		size = 16;
	}
	if (abi >= 5)
		attr[0] |= UINT64_C(1) << 15; /* IOCTL_DEV */
	if (abi >= 6) {
		/* ABSTRACT_UNIX_SOCKET; not SIGNAL: it would also keep the kernel from telling QEMU of our death (PDEATHSIG). */
		attr[2] = 1;
		size = 24;
	}
	int fd = (int)syscall(SYS_landlock_create_ruleset, attr, size, 0);
	bool ok = fd >= 0;
	for (size_t i = 0; ok && i < n; i++) {
		const struct landlock_path_beneath_attr below = { .allowed_access = rights & attr[0], .parent_fd = dirs[i] };

		ok = syscall(SYS_landlock_add_rule, fd, LANDLOCK_RULE_PATH_BENEATH, &below, 0) == 0;
	}
	if (!ok || syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		jail_note(j, "-landlock(%s)", strerror(errno));
	else
		jail_note(j, "landlock(%ld)", abi);
	if (fd >= 0)
		close(fd);
}

static int lock_up(struct jail *j, const int *dirs, size_t n, uint64_t rights, bool network, bool rootless, struct err *e)
{
	if (own_namespaces(j, network) && rootless)
		empty_root(j);
	no_paths(j, dirs, n, rights, network);
	int r = drop_capabilities(e);

	if (r == 0)
		jail_note(j, "nocaps");
	return r;
}

int jail_fs(struct jail *j, int dir, struct err *e)
{
	return lock_up(j, &dir, dir >= 0 ? 1 : 0, RIGHTS_FILES, false, true, e);
}

int jail_fs_below(struct jail *j, const int *dirs, size_t n, struct err *e)
{
	return lock_up(j, dirs, n, RIGHTS_TREE, false, false, e);
}

int jail_net(struct jail *j, struct err *e)
{
	return lock_up(j, NULL, 0, 0, true, false, e);
}

int jail_seal(struct jail *j, const struct jail_profile *p, struct err *e)
{
	tzset(); /* the C library opens the time zone's file at its first look at a calendar; a log line does that, and may be the first */
	return jail_seccomp(j, p, e);
}
