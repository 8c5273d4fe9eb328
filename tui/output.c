/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command of the palette: `bulkhead COMMAND ...` in a process group of its own, without a terminal, its output in a window. Nothing here waits: it is
 * read when there is something to read, ended with a signal that no program can put off, and reaped when SIGCHLD says so (loop.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/utf8.h"
#include "tui/app.h"

/* Its group is its own pid once it has called setsid(); before that it is alone. */
static void end_now(pid_t pid)
{
	kill(pid, SIGKILL);
	kill(-pid, SIGKILL);
}

void output_close(struct app *a)
{
	if (a->output.pid > 0) {
		end_now(a->output.pid);
		for (size_t i = 0; i < OUTPUT_ENDED_MAX; i++)
			if (!a->output.ended[i]) {
				a->output.ended[i] = a->output.pid;
				break;
			}
	}
	a->output.pid = 0;
	fd_close(&a->output.fd);
	free(a->output.text);
	a->output.text = NULL;
	a->output.len = 0;
	if (a->overlay == OV_OUTPUT)
		a->overlay = OV_NONE;
	a->dirty = true;
	output_reap(a);
}

/* It has ended and said all. */
static void done(struct app *a, int status)
{
	const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	const char *nl = memchr(a->output.text, '\n', a->output.len);
	const size_t line = nl ? (size_t)(nl - a->output.text) : a->output.len;
	char first[200] = "";

	scrub(first, sizeof(first), a->output.text, line < 150 ? line : 150, false);
	/* A line or nothing: it needs no window. */
	if (a->output.len == 0 || !nl || nl + 1 == a->output.text + a->output.len) {
		if (code)
			app_message(a, EL_ERROR, "%s: %s (exit %d)", a->output.title, first[0] ? first : "failed", code);
		else
			app_message(a, EL_OK, "%s: %s", a->output.title, first[0] ? first : "done");
		output_close(a);
	}
	a->dirty = true;
}

void output_reap(struct app *a)
{
	int status;

	for (size_t i = 0; i < OUTPUT_ENDED_MAX; i++)
		if (a->output.ended[i] && waitpid(a->output.ended[i], &status, WNOHANG) != 0)
			a->output.ended[i] = 0;
	/* The shown one after its last words: both the end of its output and its own are waited for, in whatever order they come. */
	if (a->output.pid > 0 && a->output.fd < 0 && waitpid(a->output.pid, &status, WNOHANG) == a->output.pid) {
		a->output.pid = 0;
		done(a, status);
	}
}

void output_read(struct app *a)
{
	const size_t room = OUTPUT_MAX - a->output.len;
	char drop[4096];
	const ssize_t n = room ? read(a->output.fd, a->output.text + a->output.len, room) : read(a->output.fd, drop, sizeof(drop));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	a->dirty = true;
	if (n > 0) {
		if (room)
			a->output.len += (size_t)n;
		return;
	}
	fd_close(&a->output.fd);
	output_reap(a);
}

void output_run(struct app *a, char **argv, const char *title)
{
	static char self[] = "/proc/self/exe";
	int fds[2];

	output_close(a);
	a->output.text = malloc(OUTPUT_MAX);
	if (!a->output.text || pipe2(fds, O_CLOEXEC) < 0) {
		app_message(a, EL_ERROR, "no memory or descriptors left for a command");
		return;
	}
	const pid_t pid = fork();
	if (pid < 0) {
		app_message(a, EL_ERROR, "no process could be started");
		close(fds[0]);
		close(fds[1]);
		return;
	}
	if (pid == 0) {
		const int null = open("/dev/null", O_RDONLY);

		setsid();
		dup2(null, STDIN_FILENO);
		dup2(fds[1], STDOUT_FILENO);
		dup2(fds[1], STDERR_FILENO);
		execv(self, argv);
		_exit(127);
	}
	close(fds[1]);
	fd_nonblock(fds[0]);
	a->output.fd = fds[0];
	a->output.pid = pid;
	a->output.top = 0;
	str_copy(a->output.title, sizeof(a->output.title), title);
	a->overlay = OV_OUTPUT;
}
