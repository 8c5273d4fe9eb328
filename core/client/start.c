/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first client starts the supervisor, as tmux's does its server. It is forked twice, so that it is nobody's child here; what it
 * writes to stderr before it listens comes back over a pipe and is the sentence when it fails. Several clients may do this at
 * once: the supervisor's lock lets one of them win, and all connect to that one.
 */
#include "core/client/start.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "core/base/atomicfile.h"
#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/environ.h"
#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/sock.h"
#include "core/base/utf8.h"

#define START_MS 20000 /* adopting many sandboxes comes before listening */
#define CREDENTIALS_MAX 512u
#define GRACE_MS 500   /* after its stderr ended: another one may have won the lock */

static _Noreturn void supervisor_main(const char *path, char *const *envp, int report)
{
	char *const argv[] = { (char *)"bulkhead-supervisor", NULL };
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t none;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	if (fork() != 0)
		_exit(0);
	for (int i = 1; i < NSIG; i++)
		sigaction(i, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (chdir("/") < 0 || null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(report, 2) < 0)
		_exit(127);
	syscall(SYS_close_range, 3u, ~0u, 0);
	execve(path, argv, envp);
	dprintf(2, "cannot start '%s': %s\n", path, strerror(errno));
	_exit(127);
}

/*
 * The supervisor has a small environment on purpose. Variables that credentials come from are named in a file it keeps; one that stands in
 * this environment goes with it, nothing else does.
 */
static void credential_names(struct buf *text, const char *names[CREDENTIALS_MAX + 1])
{
	AUTO_FREE char *state = path_state(NULL);
	AUTO_FREE char *dir = state ? path_join(state, "secrets") : NULL;
	AUTO_FD fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	size_t n = 0;

	if (fd < 0 || atomicfile_read(fd, "env", text, NULL) || buf_put(text, "", 1))
		buf_clear(text);
	char *p = buf_size(text) ? (char *)text->data : NULL;
	for (char *word; p && n < CREDENTIALS_MAX && (word = strsep(&p, "\n"));)
		if (*word)
			names[n++] = word;
	names[n] = NULL;
}

/* Starts it; returns the pipe on which its first words come, or -errno. */
static int launch(struct err *e)
{
	int report[2];
	AUTO_FREE char *path = path_program("bulkhead-supervisor", e);
	const char *names[CREDENTIALS_MAX + 1];
	struct buf text;

	buf_init(&text, CREDENTIALS_MAX * 65);
	credential_names(&text, names);
	AUTO_FREE char **envp = environ_person(names);
	buf_release(&text);
	if (!path)
		return -e->code;
	if (!envp)
		return err_set(e, ENOMEM, "out of memory");
	if (pipe2(report, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_errno(e, errno, "cannot start the supervisor");
	pid_t pid = fork();
	if (pid < 0) {
		int r = err_errno(e, errno, "cannot start the supervisor");

		close(report[0]);
		close(report[1]);
		return r;
	}
	if (pid == 0)
		supervisor_main(path, envp, report[1]);
	close(report[1]);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return report[0];
}

/* The last line it wrote, scrubbed. */
static void last_line(char *dst, size_t cap, const char *text, size_t n)
{
	size_t from;

	while (n > 0 && text[n - 1] == '\n')
		n--;
	for (from = n; from > 0 && text[from - 1] != '\n'; from--)
		;
	scrub(dst, cap, text + from, n - from, false);
}

int start_begin(struct start *s, bool may, struct err *e)
{
	AUTO_FREE char *dir = path_runtime(e);

	*s = (struct start){ .report = -1, .may = may };
	if (!dir)
		return -e->code;
	s->path = path_join(dir, "supervisor.sock");
	return s->path ? 0 : err_set(e, ENOMEM, "out of memory");
}

void start_release(struct start *s)
{
	fd_close(&s->report);
	free(s->path);
	s->path = NULL;
}

/* What the one that was started has said, and whether it is over with it. */
static void listen_to(struct start *s, uint64_t now)
{
	if (s->ended || s->n == sizeof(s->text))
		return;
	const ssize_t got = read(s->report, s->text + s->n, sizeof(s->text) - s->n);

	if (got > 0)
		s->n += (size_t)got;
	else if (got == 0)
		s->ended = now;
}

int start_step(struct start *s, struct err *e)
{
	char line[400];
	const int fd = sock_connect(s->path, SOCK_STREAM, e);
	const uint64_t now = clock_ms();

	if (fd >= 0)
		return fd;
	if (s->report < 0) {
		if (!s->may || (fd != -ENOENT && fd != -ECONNREFUSED))
			return fd;
		s->report = launch(e);
		s->until = now + START_MS;
		return s->report < 0 ? s->report : -EAGAIN;
	}
	if (fd != -ENOENT && fd != -ECONNREFUSED && fd != -EAGAIN)
		return err_errno(e, -fd, "cannot connect to the supervisor at '%s'", s->path);
	listen_to(s, now);
	if (now > s->until || (s->ended && s->n > 0 && now > s->ended + GRACE_MS)) {
		last_line(line, sizeof(line), s->text, s->n);
		return err_set(e, ECONNREFUSED, "the supervisor did not start%s%s", s->n ? ": " : "; look at supervisor.log in bulkhead's state directory",
			       s->n ? line : "");
	}
	return -EAGAIN;
}
