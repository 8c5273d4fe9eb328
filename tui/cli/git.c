/* SPDX-License-Identifier: Apache-2.0 */
/* Its input and outputs are files in memory: nobody waits for anybody. Sources: git(1), git-config(1). */
#include "tui/cli/git.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/str.h"

#define ENV_MORE 16u
#define MEMORY_MAX (UINT64_C(3) << 30)
#define CPU_SECONDS 1800u
#define SAID_MAX 16384

/* What holds for every run, whatever the repository's own configuration says. */
static const char *const settings[] = {
	"core.hooksPath=/dev/null", "core.fsmonitor=false", "gc.auto=0", "maintenance.auto=false", "fetch.fsckObjects=true", "transfer.fsckObjects=true",
	"transfer.bundleURI=false", "fetch.recurseSubmodules=false", "submodule.recurse=false", "fetch.writeCommitGraph=false", "protocol.version=0",
	"advice.detachedHead=false",
};

/* Strings are borrowed but those of `own`. NULL when out of memory. */
static char **make_env(const struct git_run *r, char *own[2])
{
	size_t n = 0, k = 0;

	while (environ[n])
		n++;
	char **v = calloc(n + ENV_MORE, sizeof(*v));
	own[0] = str_fmt("GIT_ALLOW_PROTOCOL=%s", r->transport ? r->transport : "none");
	own[1] = str_fmt("GIT_ALTERNATE_OBJECT_DIRECTORIES=%s", r->objects ? r->objects : "");
	if (!v || !own[0] || !own[1]) {
		free(v);
		return NULL;
	}
	for (size_t i = 0; i < n; i++)
		if (!str_starts(environ[i], "GIT_") && !str_starts(environ[i], "LC_ALL=") && !str_starts(environ[i], "LANGUAGE="))
			v[k++] = environ[i];
	v[k++] = (char *)"LC_ALL=C";
	v[k++] = (char *)"GIT_TERMINAL_PROMPT=0";
	v[k++] = (char *)"GIT_OPTIONAL_LOCKS=0";
	v[k++] = (char *)"GIT_NO_LAZY_FETCH=1";
	v[k++] = own[0];
	if (r->objects)
		v[k++] = own[1];
	if (r->plain) {
		v[k++] = (char *)"GIT_CONFIG_NOSYSTEM=1";
		v[k++] = (char *)"GIT_CONFIG_GLOBAL=/dev/null";
	}
	return v;
}

static char **make_argv(const struct git_run *r)
{
	size_t n = 0, k = 0;

	while (r->argv[n])
		n++;
	char **v = calloc(n + 2 * ARRAY_SIZE(settings) + 4, sizeof(*v));
	if (!v)
		return NULL;
	v[k++] = (char *)"git";
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		v[k++] = (char *)"-c";
		v[k++] = (char *)(uintptr_t)settings[i];
	}
	if (!r->plain) { /* another command that a work tree's configuration may name; ours has none, and needs what it stands for */
		v[k++] = (char *)"-c";
		v[k++] = (char *)"core.alternateRefsCommand=true";
	}
	for (size_t i = 0; i < n; i++)
		v[k++] = (char *)(uintptr_t)r->argv[i];
	return v;
}

static void limit(int what, uint64_t most)
{
	struct rlimit l;

	if (getrlimit((__rlimit_resource_t)what, &l) < 0)
		return;
	if (l.rlim_cur == RLIM_INFINITY || l.rlim_cur > most)
		l.rlim_cur = most;
	setrlimit((__rlimit_resource_t)what, &l);
}

static _Noreturn void child(const struct git_run *r, char **argv, char **envp, int in, int out, int err)
{
	/* Above everything that is to be put in place, so that no dup2() closes what another needs. */
	const int from = r->from >= 0 ? fcntl(r->from, F_DUPFD_CLOEXEC, 10) : -1, to = r->to >= 0 ? fcntl(r->to, F_DUPFD_CLOEXEC, 10) : -1;
	sigset_t none;

	in = fcntl(in, F_DUPFD_CLOEXEC, 10);
	out = fcntl(out, F_DUPFD_CLOEXEC, 10);
	err = fcntl(err, F_DUPFD_CLOEXEC, 10);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0 || (from >= 0 && dup2(from, 3) < 0) || (to >= 0 && dup2(to, 4) < 0))
		_exit(126);
	if (chdir(r->dir) < 0)
		_exit(126);
	if (r->most) {
		limit(RLIMIT_FSIZE, r->most);
		limit(RLIMIT_DATA, MEMORY_MAX);
		limit(RLIMIT_CPU, CPU_SECONDS);
	}
	environ = envp;
	execvp("git", argv);
	_exit(127);
}

/* What git writes to its errors may be a guest's words: no more than this is kept, the rest of it is not written. */
static int errors_file(void)
{
	AUTO_FD fd = memfd_create("errors", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, SAID_MAX) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) < 0)
		return -1;
	return steal_fd(&fd);
}

int git_start(struct git_started *g, const struct git_run *r, struct err *e)
{
	char *own[2] = { NULL, NULL };
	char **envp = make_env(r, own), **argv = make_argv(r);
	AUTO_FD in = fd_memfd("input", r->in ? r->in : "", r->in ? strlen(r->in) : 0);
	AUTO_FD out = memfd_create("output", MFD_CLOEXEC), err = errors_file();
	int code = 0;

	*g = (struct git_started){ .pid = -1, .out = -1, .err = -1 };
	if (!envp || !argv || in < 0 || out < 0 || err < 0)
		code = ENOMEM;
	else if ((g->pid = fork()) == 0)
		child(r, argv, envp, in, out, err);
	else if (g->pid < 0)
		code = errno;
	free(envp);
	free(argv);
	free(own[0]);
	free(own[1]);
	if (code)
		return err_errno(e, code, "cannot run git");
	g->out = steal_fd(&out);
	g->err = steal_fd(&err);
	return 0;
}

/* Of what git wrote to its errors: the first complaint, which is the cause, else the last line. */
static void said(int fd, struct err *e, int status)
{
	char text[SAID_MAX + 1];
	const off_t size = lseek(fd, 0, SEEK_CUR); /* git's own position: it is one file */
	const ssize_t n = pread(fd, text, size > 0 && size < SAID_MAX ? (size_t)size : size > 0 ? SAID_MAX : 0, 0);
	const char *best = NULL;

	text[n > 0 ? n : 0] = '\0';
	for (char *line = text, *nl; *line; line = nl) {
		nl = line + strcspn(line, "\n");
		if (*nl)
			*nl++ = '\0';
		if (*line)
			best = line;
		if (str_starts(line, "error: ") || str_starts(line, "fatal: "))
			break;
	}
	if (status == 127 && !best)
		err_set(e, ENOENT, "there is no git on this host: install it");
	else if (status > 128)
		err_set(e, EIO, "git was ended by signal %d%s%s", status - 128, best ? ": " : "", best ? best : "");
	else
		err_set(e, EIO, "%s", best ? best : "git failed and did not say why");
}

int git_finish(struct git_started *g, struct buf *out, struct err *e)
{
	AUTO_FD fd = g->out, err = g->err;
	int status = 0, code;

	while (waitpid(g->pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_errno(e, errno, "cannot wait for git");
	code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	if (code != 0) {
		said(err, e, code);
		return code;
	}
	const off_t size = out ? lseek(fd, 0, SEEK_END) : 0;
	uint8_t *p = size > 0 ? buf_reserve(out, (size_t)size) : NULL;
	if (size > 0 && (!p || pread(fd, p, (size_t)size, 0) != size))
		return err_set(e, EFBIG, "git's answer is too large");
	if (p)
		buf_grew(out, (size_t)size);
	return 0;
}

int git_run(const struct git_run *r, struct buf *out, struct err *e)
{
	struct git_started g;
	const int rc = git_start(&g, r, e);

	return rc < 0 ? rc : git_finish(&g, out, e);
}
