/* SPDX-License-Identifier: Apache-2.0 */
/* See clone.h. Sources: gitrepository-layout(5), git-fetch(1), mount(2). */
#include "guest/clone.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "guest/spawn.h"
#include "guest/user.h"

#define AGENT "agent"

/*
 * $1 the repository, $2 where in it HEAD lies ("" or "/worktrees/x"), $3 the branch, $4 origin or "" (fs.h: nothing that means something in git's
 * configuration). Runs in the new tree. The names are copied, not fetched: their objects are here already. --git-dir says that whoever owns the
 * share's files is trusted, once and for this script only.
 */
static const char script[] =
	"set -eu\n"
	"src=$1 head=$1$2 branch=$3 origin=$4\n"
	"export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_TERMINAL_PROMPT=0 LC_ALL=C\n"
	"git init -q -b \"$branch\" .\n"
	"printf '%s\\n' \"$src/objects\" >.git/objects/info/alternates\n"
	"if [ -f \"$src/shallow\" ]; then cp \"$src/shallow\" .git/shallow; fi\n"
	"printf '[remote \"host\"]\\n\\turl = %s\\n\\tfetch = +refs/heads/*:refs/remotes/host/*\\n' \"$src\" >>.git/config\n"
	"theirs=refs/heads\n"
	"if [ -n \"$origin\" ]; then\n"
	"	printf '[remote \"origin\"]\\n\\turl = %s\\n\\tfetch = +refs/heads/*:refs/remotes/origin/*\\n' \"$origin\" >>.git/config\n"
	"	theirs=refs/remotes/origin\n"
	"fi\n"
	"git --git-dir=\"$src\" for-each-ref --format='%(objectname) %(refname)' refs/heads refs/tags \"$theirs\" >.git/refs.host\n"
	"sed 's, refs/heads/, refs/remotes/host/,' .git/refs.host | sort -u -k 2 >.git/packed-refs\n"
	"rm .git/refs.host\n"
	"if on=$(git --git-dir=\"$head\" symbolic-ref -q HEAD); then\n"
	"	printf '[branch \"%s\"]\\n\\tremote = host\\n' \"$branch\" >>.git/config\n"
	"	git config \"branch.$branch.merge\" \"$on\"\n"
	"fi\n"
	"if commit=$(git --git-dir=\"$head\" rev-parse -q --verify 'HEAD^{commit}'); then git reset -q --hard \"$commit\"; fi\n";

static void log_path(size_t index, char dst[64])
{
	snprintf(dst, 64, "/run/bulkhead/clone.%zu.log", index);
}

void clone_why(size_t index, char *dst, size_t cap)
{
	char path[64], text[2048];

	dst[0] = '\0';
	log_path(index, path);
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	const ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
	if (n <= 0)
		return;
	text[n] = '\0';
	/* The first complaint is the cause, the last line only that it gave up. */
	for (char *line = text, *nl; *line; line = nl) {
		nl = line + strcspn(line, "\n");
		if (*nl)
			*nl++ = '\0';
		str_copy(dst, cap, line);
		if (str_starts(line, "error: ") || str_starts(line, "fatal: "))
			return;
	}
}

/* ---- git, as the sandbox's user ------------------------------------------------------------------------------------------------------ */

static _Noreturn void run(const struct user *u, const char *dir, int log, char *const argv[])
{
	char home[300], path[] = "PATH=/usr/bin:/bin";
	char *const envp[] = { home, path, NULL };
	AUTO_FD null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	snprintf(home, sizeof(home), "HOME=%s", u->home);
	if (setsid() < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
		_exit(126);
	spawn_limits();
	if (setgroups(u->ngroups, u->groups) < 0 || setgid(u->gid) < 0 || setuid(u->uid) < 0 || chdir(dir) < 0)
		_exit(126);
	umask(022);
	execve("/bin/sh", argv, envp);
	_exit(127);
}

/* Its status, or -ETIME after having ended it with everything it began in its group. */
static int wait_for(pid_t pid, uint64_t limit_s)
{
	const uint64_t end = clock_ms() + limit_s * 1000;
	const struct timespec piece = { .tv_sec = 1 };
	sigset_t child;
	int status;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	for (;;) {
		const pid_t r = waitpid(pid, &status, WNOHANG);

		if (r == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
		if (r < 0 && errno != EINTR)
			return -errno;
		if (clock_ms() > end) {
			kill(-pid, SIGKILL);
			while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
				;
			return -ETIME;
		}
		sigtimedwait(&child, NULL, &piece);
	}
}

static int fill(const struct workspace *w, size_t index, const char *name, const char *share, const char *dir)
{
	char branch[NAME_MAX_LEN + 32], head[WORKSPACE_HEAD_MAX + 2], path[64];
	struct user u;
	sigset_t child;

	log_path(index, path);
	unlink(path);
	AUTO_FD log = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
	if (log < 0)
		return -errno;
	int r = user_find(AGENT, &u);
	if (r < 0)
		return r;
	snprintf(branch, sizeof(branch), "bulkhead/%s", name);
	snprintf(head, sizeof(head), "%s%s", w->head[0] ? "/" : "", w->head);
	char *const argv[] = { (char *)"sh", (char *)"-c", (char *)(uintptr_t)script, (char *)"clone", (char *)(uintptr_t)share, head, branch,
			       (char *)(uintptr_t)w->origin, NULL };
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	const pid_t pid = fork();
	if (pid == 0) {
		sigprocmask(SIG_UNBLOCK, &child, NULL);
		run(&u, dir, log, argv);
	}
	r = pid < 0 ? -errno : wait_for(pid, CLONE_LIMIT_S);
	if (r == -ETIME)
		dprintf(log, "making the clone took longer than %u s\n", CLONE_LIMIT_S);
	return r > 0 ? -EIO : r;
}

/* ---- its place ------------------------------------------------------------------------------------------------------------------------- */

static int bind(const char *from, const char *to)
{
	if (mount(from, to, NULL, MS_BIND, NULL) < 0)
		return -errno;
	return mount(NULL, to, NULL, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV, NULL) < 0 ? -errno : 0;
}

/* The layer is closed to the user: git works where the new tree is bound to. */
static int make(const struct workspace *w, size_t index, const char *name, const char *share, const char *layer)
{
	AUTO_FD dir = open(layer, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	char stage[64], made[96];
	struct user u;

	if (dir < 0)
		return -errno;
	snprintf(stage, sizeof(stage), "/run/bulkhead/clone.%zu", index);
	snprintf(made, sizeof(made), "%s/new", layer);
	int r = path_remove_tree(dir, "new", NULL);
	if (r == 0)
		r = user_find(AGENT, &u);
	if (r < 0)
		return r;
	mkdir(stage, 0755);
	if (mkdirat(dir, "new", 0755) < 0 || chown(made, u.uid, u.gid) < 0)
		return -errno;
	if ((r = bind(made, stage)) < 0)
		return r;
	r = fill(w, index, name, share, stage);
	umount2(stage, MNT_DETACH);
	rmdir(stage);
	/* Whole and on the disk before it has its name: a machine may be killed at any moment. */
	if (r == 0 && (syncfs(dir) < 0 || renameat(dir, "new", dir, "tree") < 0))
		r = -errno;
	return r;
}

int clone_place(const struct workspace *w, size_t index, const char *name, const char *share, const char *layer)
{
	char tree[96];
	struct stat st;
	int r = 0;

	snprintf(tree, sizeof(tree), "%s/tree", layer);
	if (mkdir(layer, 0700) < 0 && errno != EEXIST)
		return -errno;
	if (lstat(tree, &st) < 0)
		r = make(w, index, name, share, layer);
	return r < 0 ? r : bind(tree, w->path);
}
