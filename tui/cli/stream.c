/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * One poll loop, two directions that never wait for each other:
 *
 *   in_fd --read<=32K--> SESS_STDIN frames --tx--> sock        only within the credit the guest gave
 *   sock --rx--> one frame at a time --> out_fd / err_fd       the next frame is not looked at before this one is written
 *
 * The person's descriptors may be shared with a shell, so O_NONBLOCK is never set on them (it would stick to the open file
 * and break the shell). A pipe is opened again through /proc, which gives a description of our own; where that fails at most
 * PIPE_BUF bytes are written after poll() said yes, which does not block either. Files do not block; a terminal gets small
 * pieces. What goes to a terminal is scrubbed: a character cut by a frame's end waits in `carry`.
 *
 * Frames come from bulkhead-term, which checked them, and are checked again: the guest is behind it.
 */
#include "tui/cli/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/proto/agent.h"
#include "tui/cli/cmd.h"

#define IN_CHUNK 32768u
#define RX_MAX (FRAME_HEAD + AGENT_PAYLOAD_MAX + 65536u)
#define TX_MAX (256u * 1024u)
#define TX_ENOUGH 65536u   /* stdin is not read while more than this waits */
#define TTY_PIECE 1024u
#define PIPE_PIECE 4096u
#define GIVE_UP_AFTER 3u
#define EPIPE_PATIENCE_MS 2000u

struct sink {
	int fd;               /* -1: bytes are thrown away */
	int own;              /* our own description of the same pipe, or -1 */
	bool tty, socket;
	size_t piece;         /* most bytes a write */
	uint8_t carry[4];     /* tty: beginning of a character */
	size_t ncarry;
	char text[8 * TTY_PIECE]; /* tty: scrubbed, not yet written */
	size_t off, len;
};

struct stream {
	const struct stream_opts *o;
	int sock, in_fd;
	struct buf rx, tx;
	struct sink out, err;
	struct sink *to;      /* where the frame at rx's head goes, NULL: no frame is being written */
	size_t frame_bytes;   /* whole size of that frame */
	size_t done;          /* its bytes taken by the sink, header included */
	uint64_t credit, written; /* of both outputs */
	uint64_t moved_ms;    /* the last byte either way */
	unsigned signals;
	uint64_t epipe_at_ms; /* the reader of stdout is gone since; 0: it is there */
	bool started, exited, lost;
	int code;
	struct err *e;
};

int signals_watch(void)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGQUIT);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd >= 0)
		sigprocmask(SIG_BLOCK, &set, NULL);
	return fd;
}

int signals_next(int sig_fd)
{
	struct signalfd_siginfo si;

	if (sig_fd < 0 || read(sig_fd, &si, sizeof(si)) != (ssize_t)sizeof(si))
		return 0;
	return (int)si.ssi_signo;
}

/* ---- sinks ---- */

static void sink_init(struct sink *s, int fd)
{
	struct stat st;
	char path[64];

	*s = (struct sink){ .fd = fd, .own = -1, .piece = SIZE_MAX };
	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	s->tty = isatty(fd);
	s->socket = S_ISSOCK(st.st_mode);
	if (S_ISFIFO(st.st_mode)) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		s->own = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
		s->piece = s->own >= 0 ? SIZE_MAX : PIPE_PIECE;
	} else if (s->tty) {
		s->piece = TTY_PIECE;
	}
}

/* Bytes written, 0 when it would block, -errno. */
static ssize_t sink_write_raw(struct sink *s, const void *p, size_t n)
{
	ssize_t r;

	if (n > s->piece)
		n = s->piece;
	if (s->socket)
		r = send(s->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	else
		r = write(s->own >= 0 ? s->own : s->fd, p, n);
	if (r >= 0)
		return r;
	return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

/* The part of p[0..n) that ends with a whole character; the rest (at most 3 bytes) is its beginning. */
static size_t whole_characters(const uint8_t *p, size_t n)
{
	size_t from = n > 3 ? n - 3 : 0;
	uint32_t cp;

	for (size_t i = from; i < n; i++) {
		bool need = false;

		if ((p[i] & 0xc0) != 0xc0)
			continue;
		utf8_decode(p + i, n - i, &cp, &need);
		if (need)
			return i;
	}
	return n;
}

/* Takes bytes for a terminal: returns how many of p[0..n). */
static size_t sink_scrub(struct sink *s, const uint8_t *p, size_t n)
{
	uint8_t piece[TTY_PIECE + sizeof(s->carry)];
	size_t take = n < TTY_PIECE ? n : TTY_PIECE, total = s->ncarry + take, whole;

	memcpy(piece, s->carry, s->ncarry);
	memcpy(piece + s->ncarry, p, take);
	whole = whole_characters(piece, total);
	s->ncarry = total - whole;
	memcpy(s->carry, piece + whole, s->ncarry);
	s->off = 0;
	s->len = scrub(s->text, sizeof(s->text), piece, whole, true);
	return take;
}

static ssize_t sink_flush(struct sink *s)
{
	while (s->off < s->len) {
		ssize_t r = sink_write_raw(s, s->text + s->off, s->len - s->off);

		if (r <= 0)
			return r;
		s->off += (size_t)r;
		return r; /* one write a poll: a terminal may take less than it said */
	}
	return 0;
}

/* Bytes of p[0..n) taken, 0 when it would block, -errno when the reader is gone. */
static ssize_t sink_put(struct sink *s, const uint8_t *p, size_t n)
{
	if (s->fd < 0)
		return (ssize_t)n;
	if (!s->tty)
		return sink_write_raw(s, p, n);
	if (s->off < s->len) {
		ssize_t r = sink_flush(s);

		if (r < 0 || s->off < s->len)
			return r < 0 ? r : 0;
	}
	return (ssize_t)sink_scrub(s, p, n);
}

static void sink_release(struct sink *s)
{
	if (s->tty && s->ncarry && s->fd >= 0 && s->off == s->len) {
		s->off = 0;
		s->len = scrub(s->text, sizeof(s->text), s->carry, s->ncarry, true);
	}
	while (s->off < s->len && sink_flush(s) > 0)
		;
	fd_close(&s->own);
}

/* ---- toward the guest ---- */

static void send_signal(struct stream *s, int sig)
{
	size_t at = frame_begin(&s->tx, SESS_SIGNAL, 0);

	buf_u32(&s->tx, (uint32_t)sig);
	frame_end(&s->tx, at);
}

static void on_signal(struct stream *s)
{
	int sig;

	while ((sig = signals_next(s->o->sig_fd)) > 0) {
		send_signal(s, sig);
		if (++s->signals >= GIVE_UP_AFTER) {
			s->lost = true;
			s->code = 128 + sig;
			err_set(s->e, EINTR, "given up after %u signals: the command may still run", GIVE_UP_AFTER);
		}
	}
}

static void on_stdin(struct stream *s)
{
	uint8_t chunk[IN_CHUNK];
	size_t most = s->credit < IN_CHUNK ? (size_t)s->credit : IN_CHUNK;
	ssize_t n = read(s->in_fd, chunk, most);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) { /* an unreadable stdin ends as an empty one does */
		frame_put(&s->tx, SESS_STDIN_EOF, 0, NULL, 0);
		s->in_fd = -1;
		return;
	}
	frame_put(&s->tx, SESS_STDIN, 0, chunk, (size_t)n);
	s->credit -= (uint64_t)n;
	s->moved_ms = clock_ms();
}

static int flush_tx(struct stream *s)
{
	while (buf_size(&s->tx)) {
		ssize_t n = send(s->sock, buf_head(&s->tx), buf_size(&s->tx), MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		buf_consume(&s->tx, (size_t)n);
	}
	return 0;
}

/* ---- from the guest ---- */

/* The reader of our output is gone: the command learns it as it would from a pipe. */
static void on_gone_reader(struct stream *s, struct sink *k)
{
	k->fd = -1;
	k->off = k->len = 0;
	if (k == &s->out && !s->epipe_at_ms) {
		s->epipe_at_ms = clock_ms();
		send_signal(s, SIGPIPE);
	}
}

static int end_failed(struct stream *s, struct rbuf *r)
{
	uint32_t code;
	char why[513], clean[512];

	if (rbuf_u32(r, &code) || rbuf_str16(r, why, sizeof(why)) || rbuf_done(r))
		return -EBADMSG;
	scrub(clean, sizeof(clean), why, strlen(why), false);
	s->code = (int)sess_failed_status(code);
	s->lost = true;
	err_set(s->e, code && code < 4096 ? (int)code : EIO, "%s", clean);
	return 0;
}

static int end_exited(struct stream *s, struct rbuf *r)
{
	uint32_t code, sig;

	if (rbuf_u32(r, &code) || rbuf_u32(r, &sig) || rbuf_done(r))
		return -EBADMSG;
	s->exited = true;
	s->code = sig ? 128 + (int)(sig & 0x7f) : (int)(code & 0xff);
	return 0;
}

static int on_frame(struct stream *s, const struct frame *f)
{
	struct rbuf r;
	uint32_t v;

	rbuf_init(&r, f->payload, f->len);
	if (!s->started && f->type != SESS_STARTED && f->type != SESS_FAILED)
		return -EBADMSG;
	switch (f->type) {
	case SESS_STARTED:
		if (s->started || rbuf_u32(&r, &v) || rbuf_done(&r))
			return -EBADMSG;
		s->started = true;
		if (s->in_fd < 0)
			frame_put(&s->tx, SESS_STDIN_EOF, 0, NULL, 0);
		return 0;
	case SESS_FAILED:
		return end_failed(s, &r);
	case SESS_STDIN_CREDIT:
		if (rbuf_u32(&r, &v) || rbuf_done(&r))
			return -EBADMSG;
		s->credit += v;
		return 0;
	case SESS_STDOUT:
	case SESS_STDERR:
		s->written += f->len;
		if (s->o->most && s->written > s->o->most)
			return err_set(s->e, EFBIG, "the sandbox sent more than it may");
		s->to = f->type == SESS_STDOUT ? &s->out : &s->err;
		return 0;
	case SESS_EXIT:
		return end_exited(s, &r);
	default:
		return -EBADMSG;
	}
}

/* Writes on of the frame at rx's head: 1 done, 0 would block. */
static int write_frame(struct stream *s)
{
	const uint8_t *p = buf_head(&s->rx);

	while (s->done < s->frame_bytes) {
		size_t n = s->frame_bytes - s->done;
		ssize_t r;

		if (s->o->capture && s->to == &s->out)
			r = buf_put(s->o->capture, p + s->done, n) == 0 ? (ssize_t)n : -ENOBUFS;
		else
			r = sink_put(s->to, p + s->done, n);
		if (r == 0)
			return 0;
		if (r == -ENOBUFS)
			return err_set(s->e, ENOBUFS, "the sandbox answered too much");
		if (r == -EPIPE)
			on_gone_reader(s, s->to);
		else if (r < 0)
			return err_errno(s->e, (int)-r, "cannot write the output");
		else
			s->done += (size_t)r;
	}
	buf_consume(&s->rx, s->frame_bytes);
	s->to = NULL;
	return 1;
}

static int handle_frames(struct stream *s)
{
	for (;;) {
		struct frame f;
		int r;

		if (s->to) {
			r = write_frame(s);
			if (r <= 0)
				return r;
			continue;
		}
		if (s->exited || s->lost)
			return 0;
		r = frame_parse(buf_head(&s->rx), buf_size(&s->rx), AGENT_PAYLOAD_MAX, &f, &s->frame_bytes);
		if (r == -EAGAIN)
			return 0;
		if (r == 0)
			r = on_frame(s, &f);
		if (r == -EFBIG)
			return r;
		if (r < 0)
			return err_set(s->e, EBADMSG, "the sandbox broke the session's protocol");
		s->done = FRAME_HEAD;
		if (!s->to)
			buf_consume(&s->rx, s->frame_bytes);
	}
}

static int on_readable(struct stream *s)
{
	size_t room = buf_room(&s->rx);
	uint8_t *p = buf_reserve(&s->rx, room);
	ssize_t n;

	if (!p)
		return err_set(s->e, ENOMEM, "out of memory");
	n = recv(s->sock, p, room, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return err_set(s->e, ECONNRESET, "the sandbox went away while the command ran");
	buf_grew(&s->rx, (size_t)n);
	s->moved_ms = clock_ms();
	return 0;
}

/* ---- the loop ---- */

enum { P_SOCK, P_IN, P_OUT, P_ERR, P_SIG, P_NUM };

static short sink_interest(const struct stream *s, const struct sink *k)
{
	return s->to == k || k->off < k->len ? POLLOUT : 0;
}

static void interests(const struct stream *s, struct pollfd p[P_NUM])
{
	bool take_in = s->started && s->in_fd >= 0 && s->credit && buf_size(&s->tx) < TX_ENOUGH;

	p[P_SOCK] = (struct pollfd){ .fd = s->sock };
	p[P_SOCK].events = (short)((s->to ? 0 : POLLIN) | (buf_size(&s->tx) ? POLLOUT : 0));
	p[P_IN] = (struct pollfd){ .fd = take_in ? s->in_fd : -1, .events = POLLIN };
	/* with no interest poll still tells that the reader is gone */
	p[P_OUT] = (struct pollfd){ .fd = s->out.fd, .events = sink_interest(s, &s->out) };
	p[P_ERR] = (struct pollfd){ .fd = sink_interest(s, &s->err) ? s->err.fd : -1, .events = POLLOUT };
	p[P_SIG] = (struct pollfd){ .fd = s->o->sig_fd, .events = POLLIN };
	if (!p[P_SOCK].events)
		p[P_SOCK].fd = -1;
}

static int turn(struct stream *s)
{
	struct pollfd p[P_NUM];
	int r = 0;

	interests(s, p);
	if (poll(p, P_NUM, s->epipe_at_ms ? 100 : s->o->idle_ms ? 1000 : -1) < 0)
		return errno == EINTR ? 0 : err_errno(s->e, errno, "cannot wait");
	if (s->o->idle_ms && clock_ms() - s->moved_ms > s->o->idle_ms)
		return err_set(s->e, ETIMEDOUT, "the sandbox has said nothing for %u s", s->o->idle_ms / 1000);
	if (p[P_SIG].revents)
		on_signal(s);
	if ((p[P_OUT].revents & POLLERR) && s->out.fd >= 0)
		on_gone_reader(s, &s->out);
	if (s->out.off < s->out.len && (p[P_OUT].revents & POLLOUT) && sink_flush(&s->out) < 0)
		on_gone_reader(s, &s->out);
	if (s->err.off < s->err.len && (p[P_ERR].revents & POLLOUT) && sink_flush(&s->err) < 0)
		on_gone_reader(s, &s->err);
	if (p[P_IN].revents)
		on_stdin(s);
	if (p[P_SOCK].revents & (POLLIN | POLLHUP | POLLERR) && !s->to)
		r = on_readable(s);
	if (r == 0)
		r = handle_frames(s);
	if (r == 0 && flush_tx(s) < 0 && !s->exited && buf_size(&s->rx) == 0)
		r = err_set(s->e, ECONNRESET, "the sandbox went away while the command ran");
	if (s->epipe_at_ms && clock_ms() - s->epipe_at_ms > EPIPE_PATIENCE_MS && !s->exited) {
		s->exited = true;
		s->code = 128 + SIGPIPE;
	}
	return r;
}

static bool over(const struct stream *s)
{
	return s->lost || (s->exited && !s->to && s->out.off == s->out.len && s->err.off == s->err.len);
}

int stream_run(int sock, const struct stream_opts *o, int *code, struct err *e)
{
	struct stream s = { .o = o, .sock = sock, .in_fd = o->in_fd, .credit = SESS_STDIN_WINDOW,
			    .code = EXIT_OURS, .e = e, .moved_ms = clock_ms() };
	void (*old_pipe)(int) = signal(SIGPIPE, SIG_IGN);
	int r = 0;

	buf_init(&s.rx, RX_MAX);
	buf_init(&s.tx, TX_MAX);
	sink_init(&s.out, o->capture ? -1 : o->out_fd);
	sink_init(&s.err, o->err_fd);
	fd_nonblock(sock);
	while (r == 0 && !over(&s))
		r = turn(&s);
	if (r == 0 && s.lost)
		r = e && e->code ? -e->code : -EIO;
	sink_release(&s.out);
	sink_release(&s.err);
	buf_release(&s.rx);
	buf_release(&s.tx);
	signal(SIGPIPE, old_pipe);
	*code = r == 0 || s.lost ? s.code : EXIT_OURS;
	return r;
}
