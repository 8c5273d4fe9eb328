/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spawning by fork and exec, watching by pidfd.
 *
 * Between fork and exec the child may only call what is async-signal-safe: everything that allocates (environment, argument
 * arrays) is made before. exec's failure comes back over a CLOEXEC pipe, so that proc_spawn() can say it in a sentence.
 */
#include "core/loop/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/environ.h"
#include "core/base/fd.h"
#include "core/base/str.h"

#define MAPS_FAILED (-1) /* no errno */

struct proc {
	uv_poll_t poll;
	int pidfd;
	pid_t pid;
	bool ours; /* our child: we reap it */
	proc_exit_fn on_exit;
	void *arg;
};

static _Noreturn void child_fail(int report, int code)
{
	ssize_t w = write(report, &code, sizeof(code));

	(void)w;
	_exit(127);
}

/* In the child: descriptors to 3.. in two steps, so that a source which is another's target survives. */
static void child_fds(const struct proc_opts *o, int *report)
{
	int high[FD_PASS_MAX];
	int base = 3 + (int)o->nfds + 2;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (size_t i = 0; i < o->nfds; i++)
		if ((high[i] = fcntl(o->fds[i], F_DUPFD_CLOEXEC, base)) < 0)
			child_fail(*report, errno);
	int plain = o->out_fd >= 0 ? o->out_fd : null;
	int in = fcntl(o->stdio ? o->stdio[0] : null, F_DUPFD_CLOEXEC, base);
	int out = fcntl(o->stdio ? o->stdio[1] : plain, F_DUPFD_CLOEXEC, base);
	int err = fcntl(o->stdio ? o->stdio[2] : plain, F_DUPFD_CLOEXEC, base);
	int rep = fcntl(*report, F_DUPFD_CLOEXEC, base);
	if (null < 0 || out < 0 || err < 0 || in < 0 || rep < 0)
		child_fail(*report, errno);
	*report = rep;
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		child_fail(rep, errno);
	for (size_t i = 0; i < o->nfds; i++)
		if (dup2(high[i], 3 + (int)i) < 0)
			child_fail(rep, errno);
	int keep = 3 + (int)o->nfds;
	if (rep != keep) {
		if (dup3(rep, keep, O_CLOEXEC) < 0)
			child_fail(rep, errno);
		*report = keep;
	}
	syscall(SYS_close_range, (unsigned)keep + 1, ~0u, 0);
}

static _Noreturn void child_main(const struct proc_opts *o, char *const *envp, pid_t parent, int report)
{
	sigset_t none;
	struct sigaction dfl = { .sa_handler = SIG_DFL };

	for (int i = 1; i < NSIG; i++)
		sigaction(i, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (o->own_session)
		setsid();
	child_fds(o, &report);
	if (o->die_with_us) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(127);
	}
	execve(o->path, o->argv, envp);
	child_fail(report, errno);
}

static bool put_file(const char *path, const char *text)
{
	const int fd = open(path, O_WRONLY | O_CLOEXEC);
	const bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	close(fd);
	return ok;
}

/* In a user namespace of its own nobody is anybody: it is to be who it was, or it could make no namespaces itself. */
static bool map_ids(uid_t uid, gid_t gid)
{
	char users[64], groups[64];

	snprintf(users, sizeof(users), "%u %u 1\n", uid, uid);
	snprintf(groups, sizeof(groups), "%u %u 1\n", gid, gid);
	return put_file("/proc/self/uid_map", users) && put_file("/proc/self/setgroups", "deny") && put_file("/proc/self/gid_map", groups);
}

/*
 * fork(); with own_pids as the first of a process namespace. Who may not make one alone makes it in a user namespace; a host that lets nobody
 * be anybody in there (some profiles of AppArmor) is told by MAPS_FAILED on `report`.
 */
static pid_t start_child(bool own_pids, int report)
{
	struct clone_args a = { .flags = CLONE_NEWPID, .exit_signal = SIGCHLD };
	const uid_t uid = geteuid();
	const gid_t gid = getegid();

	if (!own_pids)
		return fork();
	pid_t pid = (pid_t)syscall(SYS_clone3, &a, sizeof(a));
	if (pid < 0 && errno == EPERM) {
		a.flags |= CLONE_NEWUSER;
		pid = (pid_t)syscall(SYS_clone3, &a, sizeof(a));
		if (pid == 0 && !map_ids(uid, gid))
			child_fail(report, MAPS_FAILED);
	}
	return pid < 0 ? fork() : pid;
}

static void on_closed(uv_handle_t *h)
{
	free(h->data);
}

static void on_ready(uv_poll_t *h, int status, int events)
{
	struct proc *p = h->data;
	int code = -1;

	(void)status;
	(void)events;
	uv_poll_stop(h);
	if (p->ours) {
		pid_t r;

		while ((r = waitpid(p->pid, &code, 0)) < 0 && errno == EINTR)
			;
		if (r < 0)
			code = -1;
		p->ours = false;
	}
	p->on_exit(p->arg, code);
}

static int watch_take(struct proc **out, uv_loop_t *loop, pid_t pid, int pidfd, bool ours, proc_exit_fn on_exit, void *arg)
{
	struct proc *p = calloc(1, sizeof(*p));
	int r = p ? uv_poll_init(loop, &p->poll, pidfd) : -ENOMEM;

	*out = NULL;
	if (r < 0) {
		free(p);
		close(pidfd);
		return r;
	}
	p->poll.data = p;
	p->pidfd = pidfd;
	p->pid = pid;
	p->ours = ours;
	p->on_exit = on_exit;
	p->arg = arg;
	uv_poll_start(&p->poll, UV_READABLE, on_ready);
	*out = p;
	return 0;
}

int proc_spawn(struct proc **out, uv_loop_t *loop, const struct proc_opts *o, proc_exit_fn on_exit, void *arg, struct err *e)
{
	int pipe_fds[2];
	int code = 0;
	pid_t parent = getpid();
	AUTO_FREE char **small = NULL;

	*out = NULL;
	if (o->nfds > FD_PASS_MAX)
		return err_set(e, EINVAL, "cannot start '%s': too many descriptors", o->path);
	if (!o->envp && !(small = environ_small()))
		return err_set(e, ENOMEM, "cannot start '%s': out of memory", o->path);
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_errno(e, errno, "cannot start '%s'", o->path);
	pid_t pid = start_child(o->own_pids, pipe_fds[1]);
	if (pid < 0) {
		int r = err_errno(e, errno, "cannot start '%s'", o->path);

		close(pipe_fds[0]);
		close(pipe_fds[1]);
		return r;
	}
	if (pid == 0)
		child_main(o, o->envp ? o->envp : small, parent, pipe_fds[1]);
	close(pipe_fds[1]);
	int got = fd_read_full(pipe_fds[0], &code, sizeof(code));
	close(pipe_fds[0]);
	if (got == 0) {
		waitpid(pid, NULL, 0);
		if (code == MAPS_FAILED) {
			struct proc_opts plain = *o;

			plain.own_pids = false;
			return proc_spawn(out, loop, &plain, on_exit, arg, e);
		}
		return err_errno(e, code, "cannot start '%s'", o->path);
	}
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	int r = pidfd < 0 ? -errno : watch_take(out, loop, pid, pidfd, true, on_exit, arg);
	if (r < 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return err_errno(e, -r, "cannot watch '%s'", o->path);
	}
	return 0;
}

uint64_t proc_start_time(pid_t pid)
{
	char path[64], text[1024];
	uint64_t v;

	snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	/* The name in parentheses may hold anything: fields are counted from the last ')'. */
	char *p = strrchr(text, ')');
	for (int field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	char *end = p ? strchr(p + 1, ' ') : NULL;
	if (!end)
		return 0;
	*end = '\0';
	return str_u64(p + 1, 0, UINT64_MAX, &v) == 0 ? v : 0;
}

int proc_adopt(struct proc **out, uv_loop_t *loop, pid_t pid, uint64_t start_time, proc_exit_fn on_exit, void *arg)
{
	*out = NULL;
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (pidfd < 0)
		return -errno;
	/* Checked after the pidfd is held: from here on the pid cannot be another's. */
	if (proc_start_time(pid) != start_time || start_time == 0) {
		close(pidfd);
		return -ESRCH;
	}
	return watch_take(out, loop, pid, pidfd, false, on_exit, arg);
}

pid_t proc_pid(const struct proc *p)
{
	return p->pid;
}

int proc_kill(struct proc *p, int signo)
{
	return syscall(SYS_pidfd_send_signal, p->pidfd, signo, NULL, 0) < 0 ? -errno : 0;
}

void proc_release(struct proc **pp)
{
	struct proc *p = *pp;

	if (!p)
		return;
	*pp = NULL;
	uv_poll_stop(&p->poll);
	close(p->pidfd);
	uv_close((uv_handle_t *)&p->poll, on_closed);
}

void proc_status_text(char *dst, size_t cap, int status)
{
	if (status == -1)
		snprintf(dst, cap, "ended");
	else if (WIFSIGNALED(status))
		snprintf(dst, cap, "killed by SIG%s%s", sigabbrev_np(WTERMSIG(status)) ? sigabbrev_np(WTERMSIG(status)) : "?",
			 WCOREDUMP(status) ? " (core dumped)" : "");
	else
		snprintf(dst, cap, "exited with status %d", WEXITSTATUS(status));
}
