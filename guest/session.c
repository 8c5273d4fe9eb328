/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/session.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>

#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/proto/agent.h"
#include "guest/cgroup.h"
#include "guest/loop.h"
#include "guest/spawn.h"

#define QUIET_MS 250
#define HANGUP_MS 5000
#define TURN 8 /* frames a wake-up */
#define FRAME_IN_MAX (SESS_STDIN_WINDOW + 8192u)

struct output {
	struct session *s;
	struct watch w;
	int fd; /* -1: at its end */
	uint8_t type;
};

struct session {
	struct session *next;
	struct gstream *st;   /* NULL: the host has gone */
	struct buf frames;    /* of the host, not yet parsed */
	bool opened;          /* SESS_OPEN was seen */
	struct spawned p;
	struct output out[2]; /* the terminal, or stdout and stderr */
	struct watch in_w, report_w;
	struct buf in;        /* for stdin, at most SESS_STDIN_WINDOW */
	uint32_t credit_due;
	bool in_eof;          /* close stdin when `in` is empty */
	bool reaped;
	int status;
	bool host_done;       /* the host sends nothing more, or is gone */
	bool told;            /* SESS_EXIT or SESS_FAILED and the stream's end were sent */
	struct timer quiet;   /* silence of the pipes after the process's end; after a hang-up, its last hour */
	struct timer end;     /* destroys it from the loop: nothing is freed in a callback of its own */
};

static struct session *sessions;
static char workspace[1024];
static bool refusing;

static void on_output(void *arg, uint32_t events);

void session_refuse(void)
{
	refusing = true;
}

void session_workspace(const char *path)
{
	str_copy(workspace, sizeof(workspace), path);
}

/* ---- life ------------------------------------------------------------------------------------------------------------------- */

static void close_output(struct output *o)
{
	loop_del(&o->w);
	o->fd = -1;
}

static void close_fds(struct session *s)
{
	close_output(&s->out[0]);
	close_output(&s->out[1]);
	loop_del(&s->in_w);
	loop_del(&s->report_w);
	fd_close(&s->p.report);
	fd_close(&s->p.tty);
	fd_close(&s->p.in);
	fd_close(&s->p.out);
	fd_close(&s->p.err);
}

static void destroy(struct session *s)
{
	for (struct session **p = &sessions; *p; p = &(*p)->next)
		if (*p == s) {
			*p = s->next;
			break;
		}
	loop_cancel(&s->quiet);
	loop_cancel(&s->end);
	close_fds(s);
	fd_close(&s->p.cgroup);
	cgroup_sweep();
	buf_release(&s->frames);
	buf_release(&s->in);
	if (s->st)
		gstream_close(s->st);
	free(s);
}

static void on_end(void *arg)
{
	destroy(arg);
}

/* Nobody waits for it any more: gone with the loop's next turn. */
static void end_soon(struct session *s)
{
	loop_after(&s->end, 0, on_end, s);
}

/* Sends SESS_EXIT once the process and its output have ended; then the stream's end. */
static void maybe_end(struct session *s)
{
	uint8_t b[8];
	const uint32_t code = WIFEXITED(s->status) ? (uint32_t)WEXITSTATUS(s->status) : 0;
	const uint32_t signo = WIFSIGNALED(s->status) ? (uint32_t)WTERMSIG(s->status) : 0;

	if (!s->reaped || s->told || s->out[0].fd >= 0 || s->out[1].fd >= 0)
		return;
	if (!s->st) {
		end_soon(s);
		return;
	}
	for (int i = 0; i < 4; i++) {
		b[i] = (uint8_t)(code >> (8 * i));
		b[4 + i] = (uint8_t)(signo >> (8 * i));
	}
	if (!gstream_frame(s->st, SESS_EXIT, b, sizeof(b)))
		return; /* on_room comes */
	gstream_eof(s->st);
	s->told = true;
	close_fds(s);
	if (s->host_done)
		end_soon(s);
}

static void on_quiet(void *arg)
{
	struct session *s = arg;

	/* The process is gone and what holds its pipes has been silent. */
	close_output(&s->out[0]);
	close_output(&s->out[1]);
	maybe_end(s);
}

/* ---- output -------------------------------------------------------------------------------------------------------------------- */

static void on_again(void *arg)
{
	struct session *s = arg;

	for (size_t i = 0; i < 2; i++)
		if (s->out[i].fd >= 0) {
			loop_want(&s->out[i].w, EPOLLIN);
			if (s->reaped)
				on_output(&s->out[i], EPOLLIN);
		}
}

/*
 * Reads until `want` bytes are there, there are no more now (-EAGAIN) or ever (0): a terminal gives 4 KiB at a time. EIO of a terminal
 * says that nobody has it open, but the kernel (n_tty_read) looks for bytes first and for that second: what was written in
 * between is still there, so only a second EIO is the end.
 */
static size_t fill(int fd, uint8_t *p, size_t want, ssize_t *last)
{
	bool again = true;
	size_t have = 0;

	while (have < want) {
		*last = read(fd, p + have, want - have);
		if (*last < 0 && errno == EINTR)
			continue;
		if (*last < 0 && errno == EIO && again) {
			again = false;
			continue;
		}
		if (*last <= 0)
			break;
		have += (size_t)*last;
	}
	if (*last < 0)
		*last = errno == EAGAIN ? -EAGAIN : 0;
	return have;
}

static void on_output(void *arg, uint32_t events)
{
	struct output *o = arg;
	struct session *s = o->s;
	ssize_t last = 1;

	(void)events;
	loop_cancel(&s->quiet);
	for (int i = 0; i < TURN; i++) {
		size_t want;
		uint8_t *p = s->st ? gstream_reserve(s->st, &want) : NULL;

		if (!p) {
			loop_want(&o->w, 0);
			return;
		}
		gstream_commit(s->st, o->type, fill(o->fd, p, want, &last));
		if (last <= 0)
			break;
	}
	if (last == 0 || (last < 0 && s->reaped && s->p.tty >= 0)) { /* a terminal is drained and its process gone */
		close_output(o);
		maybe_end(s);
	} else if (s->reaped) {
		/* Others' turn first, or silence. What is left after the process's end may raise no event any more. */
		loop_after(&s->quiet, last < 0 ? QUIET_MS : 0, last < 0 ? on_quiet : on_again, s);
	}
}

/* ---- input ---------------------------------------------------------------------------------------------------------------------- */

static void give_credit(struct session *s)
{
	const uint32_t v = s->credit_due;
	const uint8_t b[4] = { (uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24) };

	if (v > 0 && (v >= SESS_STDIN_WINDOW / 4 || buf_size(&s->in) == 0) && s->st && gstream_frame(s->st, SESS_STDIN_CREDIT, b, sizeof(b)))
		s->credit_due = 0;
}

static void write_input(struct session *s)
{
	const int fd = s->p.tty >= 0 ? s->p.tty : s->p.in;

	while (fd >= 0 && buf_size(&s->in) > 0) {
		const ssize_t n = write(fd, buf_head(&s->in), buf_size(&s->in));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) { /* nobody reads it any more */
			s->credit_due += (uint32_t)buf_size(&s->in);
			buf_clear(&s->in);
			break;
		}
		buf_consume(&s->in, (size_t)n);
		s->credit_due += (uint32_t)n;
	}
	give_credit(s);
	if (fd < 0)
		return;
	if (s->in_eof && buf_size(&s->in) == 0 && s->p.in >= 0) {
		loop_del(&s->in_w);
		fd_close(&s->p.in);
		return;
	}
	if (s->in_w.fd >= 0)
		loop_want(&s->in_w, buf_size(&s->in) > 0 ? EPOLLOUT : 0);
}

static void on_writable(void *arg, uint32_t events)
{
	(void)events;
	write_input(arg);
}

/* ---- frames of the host --------------------------------------------------------------------------------------------------------- */

static void tell_failed(struct session *s, const struct err *e)
{
	struct buf b;

	buf_init(&b, 1024);
	buf_u32(&b, (uint32_t)e->code);
	buf_str16(&b, e->msg);
	gstream_frame(s->st, SESS_FAILED, buf_head(&b), buf_size(&b));
	buf_release(&b);
	gstream_eof(s->st);
	s->told = true;
}

static void watch_output(struct session *s, size_t i, int fd, uint8_t type)
{
	struct output *o = &s->out[i];

	o->fd = fd;
	o->type = type;
	if (loop_add(&o->w, fd, EPOLLIN, on_output, o) < 0)
		o->fd = -1;
}

/* It runs: its output may come. */
static void started(struct session *s)
{
	const uint32_t pid = (uint32_t)s->p.pid;
	const uint8_t b[4] = { (uint8_t)pid, (uint8_t)(pid >> 8), (uint8_t)(pid >> 16), (uint8_t)(pid >> 24) };
	gstream_frame(s->st, SESS_STARTED, b, sizeof(b));
	if (s->p.tty >= 0) {
		watch_output(s, 0, s->p.tty, SESS_STDOUT);
		/* One descriptor, two interests: writing gets a duplicate, epoll knows each descriptor once. */
		s->p.in = fcntl(s->p.tty, F_DUPFD_CLOEXEC, 3);
	} else {
		watch_output(s, 0, s->p.out, SESS_STDOUT);
		watch_output(s, 1, s->p.err, SESS_STDERR);
	}
	write_input(s);
	if (s->p.in >= 0 && loop_add(&s->in_w, s->p.in, EPOLLOUT, on_writable, s) == 0)
		loop_want(&s->in_w, buf_size(&s->in) > 0 ? EPOLLOUT : 0);
}

static void on_report(void *arg, uint32_t events)
{
	struct session *s = arg;
	struct err e = ERR_INIT;
	const int r = spawn_result(&s->p, &e);

	(void)events;
	if (r == -EAGAIN)
		return;
	loop_del(&s->report_w);
	fd_close(&s->p.report);
	if (r == 0) {
		if (s->st && !s->host_done)
			started(s);
		return;
	}
	s->p.pid = -1; /* ends by itself */
	close_fds(s);
	if (s->st && !s->told)
		tell_failed(s, &e);
	if (!s->st || s->host_done)
		end_soon(s);
}

static void open_session(struct session *s, struct rbuf *r)
{
	struct sess_open m;
	struct err e = ERR_INIT;

	if (sess_open_unpack(r, &m) < 0 || rbuf_done(r) < 0) {
		sess_open_release(&m);
		err_set(&e, EINVAL, "the sandbox's agent was asked for something it does not understand");
		tell_failed(s, &e);
		return;
	}
	const int rc = spawn(&s->p, &m, workspace, &e);
	sess_open_release(&m);
	if (rc < 0) {
		tell_failed(s, &e);
		return;
	}
	if (loop_add(&s->report_w, s->p.report, EPOLLIN, on_report, s) < 0)
		on_report(s, EPOLLIN);
}

static void resize(struct session *s, struct rbuf *r)
{
	uint16_t rows, cols;

	rbuf_u16(r, &rows);
	rbuf_u16(r, &cols);
	if (rbuf_done(r) < 0 || s->p.tty < 0)
		return;
	const struct winsize ws = { .ws_row = rows < 1 ? 1 : rows > 1000 ? 1000 : rows, .ws_col = cols < 1 ? 1 : cols > 1000 ? 1000 : cols };
	ioctl(s->p.tty, TIOCSWINSZ, &ws);
}

static void send_signal(struct session *s, struct rbuf *r)
{
	uint32_t signo;

	rbuf_u32(r, &signo);
	if (rbuf_done(r) < 0 || signo < 1 || signo > 31 || s->reaped || s->p.pid <= 0)
		return;
	pid_t group = s->p.tty >= 0 ? tcgetpgrp(s->p.tty) : s->p.pid;
	if (group <= 0)
		group = s->p.pid;
	if (kill(-group, (int)signo) < 0)
		kill(s->p.pid, (int)signo);
}

static void on_frame(struct session *s, const struct frame *f)
{
	struct rbuf r;

	rbuf_init(&r, f->payload, f->len);
	if (!s->opened) {
		s->opened = true;
		if (f->type == SESS_OPEN)
			open_session(s, &r);
		return;
	}
	switch (f->type) {
	case SESS_STDIN:
		if (buf_put(&s->in, f->payload, f->len) < 0) {
			log_warn("a session got more input than it gave credit for: dropped");
			buf_clear(&s->in);
		}
		write_input(s);
		break;
	case SESS_STDIN_EOF:
		if (s->p.tty < 0) {
			s->in_eof = true;
			write_input(s);
		}
		break;
	case SESS_RESIZE:
		resize(s, &r);
		break;
	case SESS_SIGNAL:
		send_signal(s, &r);
		break;
	default:
		break;
	}
}

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	struct session *s = arg;

	if (buf_put(&s->frames, p, n) < 0) {
		log_warn("a session's stream holds a frame that is too long: closed");
		destroy(s);
		return;
	}
	for (;;) {
		struct frame f;
		size_t used;
		const int r = frame_parse(buf_head(&s->frames), buf_size(&s->frames), AGENT_PAYLOAD_MAX, &f, &used);

		if (r == -EAGAIN)
			return;
		if (r < 0) {
			log_warn("a session's stream holds no frames: closed");
			destroy(s);
			return;
		}
		on_frame(s, &f);
		buf_consume(&s->frames, used);
	}
}

/* The process ignores that nobody is there any more. */
static void on_overdue(void *arg)
{
	struct session *s = arg;

	if (s->reaped || s->p.pid <= 0)
		return;
	kill(-s->p.pid, SIGKILL);
	kill(s->p.pid, SIGKILL);
	cgroup_kill(s->p.cgroup);
}

static void hang_up(struct session *s)
{
	const bool running = s->p.pid > 0 && !s->reaped;

	s->host_done = true;
	if (!running || s->quiet.armed) {
		if (!running && (!s->st || s->told || s->p.pid <= 0))
			end_soon(s);
		return;
	}
	if (s->p.tty < 0)
		kill(-s->p.pid, SIGHUP);
	close_fds(s);
	loop_after(&s->quiet, HANGUP_MS, on_overdue, s);
}

static void on_eof(void *arg)
{
	/* The host sends nothing more. After SESS_EXIT (or SESS_FAILED) that was the last; before it, it has hung up. */
	hang_up(arg);
}

static void on_room(void *arg)
{
	struct session *s = arg;

	give_credit(s);
	on_again(s);
	maybe_end(s);
}

static void on_gone(void *arg)
{
	struct session *s = arg;

	s->st = NULL;
	hang_up(s);
}

static const struct gstream_ops ops = { .on_data = on_data, .on_eof = on_eof, .on_room = on_room, .on_gone = on_gone };

bool session_accept(struct gstream *st, const struct gstream_ops **out, void **arg)
{
	struct session *s = refusing ? NULL : calloc(1, sizeof(*s));

	if (!s)
		return false;
	s->st = st;
	s->p = SPAWNED_NONE;
	for (size_t i = 0; i < 2; i++)
		s->out[i] = (struct output){ .s = s, .fd = -1, .w.fd = -1 };
	s->in_w.fd = s->report_w.fd = -1;
	buf_init(&s->frames, FRAME_IN_MAX);
	buf_init(&s->in, SESS_STDIN_WINDOW);
	s->next = sessions;
	sessions = s;
	*out = &ops;
	*arg = s;
	return true;
}

bool session_reaped(pid_t pid, int status)
{
	for (struct session *s = sessions; s; s = s->next) {
		if (s->p.pid != pid || s->reaped)
			continue;
		if (s->p.report >= 0)
			on_report(s, EPOLLIN);
		if (s->p.pid != pid)
			return true; /* it never ran */
		s->reaped = true;
		s->status = status;
		/* What it wrote last is read by the same path as ever; on_output sees `reaped` when there is no more. */
		for (size_t i = 0; i < 2; i++)
			if (s->out[i].fd >= 0)
				on_output(&s->out[i], EPOLLIN);
		maybe_end(s);
		return true;
	}
	return false;
}
