/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that allocates is done before fork; a failure between fork and exec comes back over a pipe, as a sentence. */
#include "guest/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "guest/cgroup.h"
#include "guest/trust.h"
#include "guest/user.h"

#define PATH_ROOT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define PATH_USER "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
#define SIZE_MAX_ 1000u
#define TTY_GID 5 /* group tty, in every Debian */

enum stage { STAGE_SETUP, STAGE_USER, STAGE_DIR, STAGE_EXEC };

struct plan {
	struct user user;
	char **envv;  /* owned array; its own strings too */
	char **argv;  /* owned array; strings borrowed but argv0 */
	char *argv0;  /* owned: "-bash" */
	const char *program, *cwd;
	bool cwd_asked; /* cwd was asked for: not being able to go there is an error */
	int fd0, fd1, fd2; /* the process's ends */
	bool tty;
	int report;
};

/* ---- environment and arguments -------------------------------------------------------------------------------------------- */

static bool env_set(char **v, size_t *n, const char *name, const char *value)
{
	v[*n] = str_fmt("%s=%s", name, value);
	return v[*n] ? (*n)++, true : false;
}

/* Later entries win: one of the same name before is dropped. */
static bool env_add(char **v, size_t *n, const char *entry)
{
	const char *eq = strchr(entry, '=');
	char *copy = eq && eq != entry ? str_dup(entry) : NULL;

	if (!eq || eq == entry)
		return true; /* no assignment: nothing to set */
	if (!copy)
		return false;
	for (size_t i = 0; i < *n; i++)
		if (strncmp(v[i], entry, (size_t)(eq - entry) + 1) == 0) {
			free(v[i]);
			v[i] = copy;
			return true;
		}
	v[(*n)++] = copy;
	return true;
}

static int make_env(struct plan *p, const struct sess_open *m)
{
	size_t n = 0;

	p->envv = calloc((size_t)m->envc + trust_env_n + 12, sizeof(*p->envv));
	bool ok = p->envv && env_set(p->envv, &n, "HOME", p->user.home) && env_set(p->envv, &n, "USER", p->user.name) &&
		  env_set(p->envv, &n, "LOGNAME", p->user.name) && env_set(p->envv, &n, "SHELL", p->user.shell) &&
		  env_set(p->envv, &n, "PATH", p->user.uid == 0 ? PATH_ROOT : PATH_USER) && env_set(p->envv, &n, "LANG", "C.UTF-8");
	if (ok && p->user.uid == 1000)
		ok = env_set(p->envv, &n, "XDG_RUNTIME_DIR", "/run/user/1000");
	if (ok && p->tty)
		ok = env_set(p->envv, &n, "TERM", m->term[0] ? m->term : "xterm-256color") && env_set(p->envv, &n, "COLORTERM", "truecolor");
	for (size_t i = 0; ok && i < trust_env_n; i++)
		ok = env_set(p->envv, &n, trust_env[i].name, trust_env[i].value);
	for (uint16_t i = 0; ok && i < m->envc; i++)
		ok = env_add(p->envv, &n, m->envv[i]);
	return ok ? 0 : -ENOMEM;
}

/* The login shell by itself, the command run by it, or the command. */
static int make_argv(struct plan *p, const struct sess_open *m)
{
	const char *slash = strrchr(p->user.shell, '/');
	size_t n = 0;

	p->argv = calloc((size_t)m->argc + 6, sizeof(*p->argv));
	p->argv0 = str_fmt("-%s", slash ? slash + 1 : p->user.shell);
	if (!p->argv || !p->argv0)
		return -ENOMEM;
	if (m->argc == 0 || (m->flags & SESS_LOGIN)) {
		p->program = p->user.shell;
		p->argv[n++] = p->argv0;
		if (m->argc > 0) {
			p->argv[n++] = (char *)"-c";
			p->argv[n++] = (char *)"exec \"$@\"";
			p->argv[n++] = (char *)"session";
		}
	} else {
		p->program = m->argv[0];
	}
	for (uint16_t i = 0; i < m->argc; i++)
		p->argv[n++] = m->argv[i];
	return 0;
}

/* ---- the child ------------------------------------------------------------------------------------------------------------------ */

static int told(const struct plan *p, enum stage stage, int code, struct err *e)
{
	switch (stage) {
	case STAGE_DIR:
		return err_errno(e, code, "cannot enter directory '%s' in the sandbox", p->cwd);
	case STAGE_EXEC:
		return code == ENOENT ? err_set(e, ENOENT, "'%s' is not in the sandbox", p->program) :
					   err_errno(e, code, "cannot run '%s' in the sandbox", p->program);
	case STAGE_USER:
		return err_errno(e, code, "cannot become user '%s' in the sandbox", p->user.name);
	default:
		return err_errno(e, code, "cannot set up a process in the sandbox");
	}
}

static _Noreturn void fail(const struct plan *p, enum stage stage)
{
	struct err e = ERR_INIT;

	told(p, stage, errno, &e);
	const ssize_t w = write(p->report, &e, sizeof(e)); /* less than PIPE_BUF: whole */
	(void)w;
	_exit(127);
}

void spawn_limits(void)
{
	const struct rlimit l = { .rlim_cur = 1024, .rlim_max = 524288 };

	setrlimit(RLIMIT_NOFILE, &l);
}

static _Noreturn void child(const struct plan *p)
{
	sigset_t none;
	struct sigaction dfl = { .sa_handler = SIG_DFL };

	for (int i = 1; i < NSIG; i++)
		sigaction(i, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (setsid() < 0 || dup2(p->fd0, 0) < 0 || dup2(p->fd1, 1) < 0 || dup2(p->fd2, 2) < 0)
		fail(p, STAGE_SETUP);
	if (p->tty && ioctl(0, TIOCSCTTY, 0) < 0)
		fail(p, STAGE_SETUP);
	spawn_limits();
	/* The report pipe is CLOEXEC like everything else of ours. */
	if (p->user.uid != 0 || p->user.gid != 0)
		if (setgroups(p->user.ngroups, p->user.groups) < 0 || setgid(p->user.gid) < 0 || setuid(p->user.uid) < 0)
			fail(p, STAGE_USER);
	if ((!p->cwd[0] || chdir(p->cwd) < 0) && (p->cwd_asked || (chdir(p->user.home) < 0 && chdir("/") < 0)))
		fail(p, STAGE_DIR);
	umask(022);
	/* The program is sought in the PATH it will see, which is not ours. */
	environ = p->envv;
	execvp(p->program, p->argv);
	fail(p, STAGE_EXEC);
}

static int start(struct spawned *s, struct plan *p, struct err *e)
{
	int report[2];

	if (pipe2(report, O_CLOEXEC) < 0)
		return err_errno(e, errno, "cannot start a process in the sandbox");
	p->report = report[1];
	s->report = report[0];
	fd_nonblock(s->report);
	s->cgroup = cgroup_make();
	s->pid = cgroup_fork(s->cgroup);
	if (s->pid == 0)
		child(p);
	const int code = errno;
	close(report[1]);
	return s->pid < 0 ? err_errno(e, code, "cannot start a process in the sandbox") : 0;
}

int spawn_result(const struct spawned *s, struct err *e)
{
	struct err told_ = ERR_INIT;
	const ssize_t n = read(s->report, &told_, sizeof(told_));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	if (n != (ssize_t)sizeof(told_) || told_.code <= 0)
		return 0;
	told_.msg[sizeof(told_.msg) - 1] = '\0';
	return err_set(e, told_.code, "%s", told_.msg);
}

/* ---- descriptors -------------------------------------------------------------------------------------------------------------------- */

static unsigned short clamp(uint16_t v, uint16_t fallback)
{
	return v == 0 ? fallback : v > SIZE_MAX_ ? SIZE_MAX_ : v;
}

static int make_tty(struct spawned *s, struct plan *p, const struct sess_open *m)
{
	const struct winsize ws = { .ws_row = clamp(m->rows, 24), .ws_col = clamp(m->cols, 80) };
	int slave;

	if (openpty(&s->tty, &slave, NULL, NULL, &ws) < 0)
		return -errno;
	fd_cloexec(s->tty, 1);
	fd_cloexec(slave, 1);
	p->fd0 = p->fd1 = p->fd2 = slave;
	if (fchown(slave, p->user.uid, TTY_GID) < 0 || fchmod(slave, 0620) < 0)
		return -errno;
	return fd_nonblock(s->tty);
}

static int make_pipes(struct spawned *s, struct plan *p)
{
	int a[2], b[2], c[2];

	if (pipe2(a, O_CLOEXEC) < 0)
		return -errno;
	p->fd0 = a[0];
	s->in = a[1];
	if (pipe2(b, O_CLOEXEC) < 0)
		return -errno;
	p->fd1 = b[1];
	s->out = b[0];
	if (pipe2(c, O_CLOEXEC) < 0)
		return -errno;
	p->fd2 = c[1];
	s->err = c[0];
	/* A megabyte where allowed: fewer turns for bulk. */
	fcntl(s->in, F_SETPIPE_SZ, 1 << 20);
	fcntl(s->out, F_SETPIPE_SZ, 1 << 20);
	fcntl(s->err, F_SETPIPE_SZ, 1 << 18);
	int r = fd_nonblock(s->in);
	if (r == 0)
		r = fd_nonblock(s->out);
	return r < 0 ? r : fd_nonblock(s->err);
}

static void close_theirs(struct plan *p)
{
	const int same = p->fd0 == p->fd1;

	fd_close(&p->fd0);
	if (!same) {
		fd_close(&p->fd1);
		fd_close(&p->fd2);
	}
}

int spawn(struct spawned *s, const struct sess_open *m, const char *workspace, struct err *e)
{
	struct plan p = { .fd0 = -1, .fd1 = -1, .fd2 = -1, .tty = m->flags & SESS_TTY };
	const char *name = m->user[0] ? m->user : "agent";

	*s = SPAWNED_NONE;
	if (user_find(name, &p.user) < 0)
		return err_set(e, ENOENT, "there is no user '%s' in the sandbox", name);
	p.cwd_asked = m->cwd[0];
	p.cwd = m->cwd[0] ? m->cwd : workspace;
	int r = make_env(&p, m);
	if (r == 0)
		r = make_argv(&p, m);
	if (r == 0)
		r = p.tty ? make_tty(s, &p, m) : make_pipes(s, &p);
	if (r < 0)
		err_errno(e, -r, "cannot start a process in the sandbox");
	else
		r = start(s, &p, e);
	close_theirs(&p);
	if (r < 0) {
		fd_close(&s->tty);
		fd_close(&s->in);
		fd_close(&s->out);
		fd_close(&s->err);
		fd_close(&s->report);
		fd_close(&s->cgroup);
		cgroup_sweep();
	}
	for (size_t i = 0; p.envv && p.envv[i]; i++)
		free(p.envv[i]);
	free(p.envv);
	free(p.argv);
	free(p.argv0);
	return r;
}
