/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "core/base/environ.h"
#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/loop/after.h"
#include "core/loop/proc.h"

#define SAID_MAX 1024u  /* of stderr's end */

enum { IN, OUT, ERR, PIPES };

struct pipe_end {
	uv_poll_t poll;
	struct run *run;
	int fd; /* -1 done */
	bool polling;
};

struct run {
	uv_loop_t *loop;
	struct proc *proc;
	struct pipe_end end[PIPES];
	unsigned closing;       /* handles whose close callback is due */
	struct held *in, *out;
	size_t written;
	char said[SAID_MAX];
	size_t nsaid;
	char name[64];
	struct after *deadline;
	struct run **slot;      /* the owner's pointer */
	bool too_long, timed_out, exited, done;
	int status;
	run_done_fn fn;
	void *arg;
};

/* ---- its life ------------------------------------------------------------------------------------------------------------------------ */

static void free_when_closed(struct run *r)
{
	if (r->closing || !r->done)
		return;
	held_destroy(&r->in);
	held_destroy(&r->out);
	explicit_bzero(r->said, sizeof(r->said));
	free(r);
}

static void on_closed(uv_handle_t *h)
{
	struct pipe_end *p = h->data;

	p->run->closing--;
	free_when_closed(p->run);
}

static void end_pipe(struct pipe_end *p)
{
	if (p->polling) {
		uv_poll_stop(&p->poll);
		p->polling = false;
		p->run->closing++;
		uv_close((uv_handle_t *)&p->poll, on_closed);
	}
	fd_close(&p->fd);
}

static void release(struct run *r)
{
	after_cancel(&r->deadline);
	proc_release(&r->proc);
	for (unsigned i = 0; i < PIPES; i++)
		end_pipe(&r->end[i]);
	if (r->slot)
		*r->slot = NULL;
	r->slot = NULL;
	r->done = true;
	free_when_closed(r);
}

static void kill_group(struct run *r)
{
	/* Not reaped yet: the number is still its own, and that of its group. */
	if (r->proc && !r->exited)
		kill(-proc_pid(r->proc), SIGKILL);
}

void run_cancel(struct run **rp)
{
	struct run *r = *rp;

	if (!r)
		return;
	kill_group(r);
	if (!r->exited && r->proc) {
		/* Reaped by nobody else: SIGKILL is on its way, this takes no time worth naming. */
		waitpid(proc_pid(r->proc), NULL, 0);
	}
	release(r);
}

/* The last line it said, scrubbed. */
static void last_line(const struct run *r, char *dst, size_t cap)
{
	size_t n = r->nsaid;

	while (n && (r->said[n - 1] == '\n' || r->said[n - 1] == '\r' || r->said[n - 1] == ' '))
		n--;
	const char *nl = n ? memrchr(r->said, '\n', n) : NULL;
	size_t from = nl ? (size_t)(nl - r->said) + 1 : 0;
	scrub(dst, cap, r->said + from, n - from, false);
}

static void finish(struct run *r)
{
	struct err e = ERR_INIT;
	char said[256], how[64];
	int status = !r->timed_out && WIFEXITED(r->status) ? WEXITSTATUS(r->status) : -1;
	run_done_fn fn = r->fn;
	void *arg = r->arg;

	last_line(r, said, sizeof(said));
	proc_status_text(how, sizeof(how), r->status);
	if (r->timed_out)
		err_set(&e, ETIMEDOUT, "'%s' did not end in time%s%s", r->name, *said ? ": " : "", said);
	else if (r->too_long)
		err_set(&e, EFBIG, "'%s' printed more than %u bytes", r->name, HELD_MAX);
	else if (r->status)
		err_set(&e, *said ? EIO : ENODATA, "'%s' %s%s%s", r->name, how, *said ? ": " : "", said);
	struct held *out = r->out;
	r->out = NULL;
	release(r);
	if (e.code)
		held_destroy(&out);
	fn(arg, &out, status, &e);
	held_destroy(&out);
}

/* ---- pipes --------------------------------------------------------------------------------------------------------------------------- */

static void read_out(struct run *r)
{
	for (;;) {
		size_t room;
		char *p = held_tail(r->out, &room), waste[256];
		ssize_t n = read(r->end[OUT].fd, room ? p : waste, room ? room : sizeof(waste));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			end_pipe(&r->end[OUT]);
			return;
		}
		if (room) {
			held_grew(r->out, (size_t)n);
		} else {
			explicit_bzero(waste, sizeof(waste));
			r->too_long = true;
			kill_group(r);
			end_pipe(&r->end[OUT]);
			return;
		}
	}
}

static void read_err(struct run *r)
{
	char chunk[512];

	for (unsigned i = 0; i < 64; i++) {
		ssize_t n = read(r->end[ERR].fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			end_pipe(&r->end[ERR]);
			return;
		}
		size_t drop = r->nsaid + (size_t)n > sizeof(r->said) ? r->nsaid + (size_t)n - sizeof(r->said) : 0;
		memmove(r->said, r->said + drop, r->nsaid - drop);
		r->nsaid -= drop;
		memcpy(r->said + r->nsaid, chunk, (size_t)n);
		r->nsaid += (size_t)n;
	}
}

static void write_in(struct run *r)
{
	while (r->written < held_size(r->in)) {
		ssize_t n = write(r->end[IN].fd, held_text(r->in) + r->written, held_size(r->in) - r->written);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0)
			break;
		r->written += (size_t)n;
	}
	held_destroy(&r->in);
	end_pipe(&r->end[IN]);
}

static void on_ready(uv_poll_t *h, int status, int events)
{
	struct pipe_end *p = h->data;
	struct run *r = p->run;

	(void)status;
	(void)events;
	if (p == &r->end[IN])
		write_in(r);
	else if (p == &r->end[OUT])
		read_out(r);
	else
		read_err(r);
}

/* What is in the pipes is all there will be: whoever else holds their other end (an agent it started) is not waited for. */
static void on_ended(void *arg, int status)
{
	struct run *r = arg;

	r->exited = true;
	r->status = status;
	if (r->end[OUT].fd >= 0)
		read_out(r);
	if (r->end[ERR].fd >= 0)
		read_err(r);
	finish(r);
}

static void on_deadline(void *arg)
{
	struct run *r = arg;

	r->timed_out = true;
	kill_group(r); /* on_ended() follows */
}

/* ---- starting ------------------------------------------------------------------------------------------------------------------------ */

static char *find(const char *name, struct err *e)
{
	const char *path = getenv("PATH");
	char clean[96];

	if (*name == '/')
		return str_dup(name);
	for (const char *p = path && !strchr(name, '/') ? path : ""; *p;) {
		size_t n = strcspn(p, ":");
		AUTO_FREE char *full = *p == '/' ? str_fmt("%.*s/%s", (int)n, p, name) : NULL;
		struct stat st;
		if (full && !access(full, X_OK) && !stat(full, &st) && S_ISREG(st.st_mode))
			return steal_ptr(&full);
		p += n;
		p += *p == ':';
	}
	scrub(clean, sizeof(clean), name, strnlen(name, 60), false);
	err_set(e, ENOENT, "there is no program '%s' in the supervisor's PATH", clean);
	return NULL;
}

static int open_pipes(struct run *r, int theirs[PIPES])
{
	for (unsigned i = 0; i < PIPES; i++) {
		int fds[2];
		if (pipe2(fds, O_CLOEXEC))
			return -errno;
		r->end[i].fd = fds[i == IN];
		theirs[i] = fds[i != IN];
		int x = fd_nonblock(r->end[i].fd);
		if (!x)
			x = uv_poll_init(r->loop, &r->end[i].poll, r->end[i].fd);
		if (x)
			return x;
		r->end[i].poll.data = &r->end[i];
		r->end[i].polling = true;
	}
	return 0;
}

static void basename_of(char *dst, size_t cap, const char *path)
{
	const char *slash = strrchr(path, '/');

	scrub(dst, cap, slash ? slash + 1 : path, strnlen(slash ? slash + 1 : path, 48), false);
}

int run_start(struct run **out, uv_loop_t *loop, const struct run_opts *o, run_done_fn fn, void *arg, struct err *e)
{
	struct run *r = calloc(1, sizeof(*r));
	int theirs[PIPES] = { -1, -1, -1 }, x = 0;

	*out = NULL;
	AUTO_FREE char *path = find(o->argv[0], e);
	AUTO_FREE char **envp = environ_person(NULL);
	struct held *in = o->in_take;
	if (!r || !path || !envp) {
		free(r);
		held_destroy(&in);
		return path ? err_set(e, ENOMEM, "out of memory") : -e->code;
	}
	*r = (struct run){ .loop = loop, .in = in, .fn = fn, .arg = arg, .slot = out };
	for (unsigned i = 0; i < PIPES; i++)
		r->end[i] = (struct pipe_end){ .run = r, .fd = -1 };
	basename_of(r->name, sizeof(r->name), o->argv[0]);
	r->out = held_create(HELD_MAX + 1);
	if (!r->out)
		x = -ENOMEM;
	if (!x)
		x = open_pipes(r, theirs);
	if (!x)
		x = after_set(&r->deadline, loop, o->timeout_ms, on_deadline, r);
	if (x)
		err_errno(e, -x, "cannot start '%s'", r->name);
	if (!x) {
		struct proc_opts po = { .path = path, .argv = (char *const *)(uintptr_t)o->argv, .envp = envp, .out_fd = -1, .stdio = theirs, .own_session = true, .die_with_us = true };
		x = proc_spawn(&r->proc, loop, &po, on_ended, r, e);
	}
	for (unsigned i = 0; i < PIPES; i++)
		fd_close(&theirs[i]);
	if (x) {
		r->slot = NULL;
		release(r);
		return x;
	}
	*out = r;
	for (unsigned i = 0; i < PIPES; i++)
		uv_poll_start(&r->end[i].poll, i == IN ? UV_WRITABLE : UV_READABLE, on_ready);
	return 0;
}
