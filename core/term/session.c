/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions of both kinds: opening (dial, SESS_OPEN), the guest's frames, ending, and what the supervisor is told of it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/term/term.h"

/* ---- telling ---------------------------------------------------------------------------------------------------------------------- */

static int pack(struct buf *b, const void *m)
{
	return term_session_pack(b, m);
}

void session_tell_now(struct session *s)
{
	s->dirty = false;
	s->told.viewers = (uint16_t)viewers_count(s);
	term_tell(s->t, TERM_SESSION, pack, &s->told);
}

static void on_tell(void *arg)
{
	struct session *s = arg;

	if (!s->dirty)
		return;
	session_tell_now(s);
	after_set(&s->tell, s->t->loop, TELL_MS, on_tell, s);
}

void session_dirty(struct session *s)
{
	s->dirty = true;
	if (!s->tell) {
		session_tell_now(s);
		after_set(&s->tell, s->t->loop, TELL_MS, on_tell, s);
	}
}

void session_set(struct session *s, enum session_state state)
{
	if (s->told.state == (uint8_t)state)
		return;
	s->told.state = (uint8_t)state;
	session_dirty(s);
}

/* ---- the guest's stream ------------------------------------------------------------------------------------------------------------- */

static void pty_started(struct session *s, const struct frame *f)
{
	struct rbuf r;

	rbuf_init(&r, f->payload, f->len);
	rbuf_u32(&r, &s->told.pid);
	s->started = true;
	session_set(s, SESSION_BUSY);
	pty_flush_input(s);
}

static void pty_failed(struct session *s, struct rbuf *r)
{
	char raw[513], text[256];
	uint32_t code;

	rbuf_u32(r, &code);
	rbuf_str16(r, raw, sizeof(raw));
	scrub(text, sizeof(text), raw, strlen(raw), false);
	s->told.code = sess_failed_status(code);
	session_fail(s, rbuf_done(r) == 0 ? text : "the sandbox's agent broke the protocol");
}

/* One frame for a terminal other than output; false when it may not come. */
static bool pty_one(struct session *s, const struct frame *f)
{
	struct rbuf r;
	uint32_t a, b;

	rbuf_init(&r, f->payload, f->len);
	switch (f->type) {
	case SESS_STARTED:
		if (s->started || f->len != 4)
			return false;
		pty_started(s, f);
		return true;
	case SESS_FAILED:
		pty_failed(s, &r);
		return true;
	case SESS_STDIN_CREDIT:
		rbuf_u32(&r, &a);
		if (rbuf_done(&r) < 0 || a > UINT32_MAX - s->credit)
			return false;
		s->credit += a;
		pty_flush_input(s);
		return true;
	case SESS_EXIT:
		rbuf_u32(&r, &a);
		rbuf_u32(&r, &b);
		if (rbuf_done(&r) < 0)
			return false;
		session_exit(s, a, b);
		return true;
	default:
		return false;
	}
}

/* A piece of an output frame; true when it was the last. */
static bool pty_piece(struct session *s, const struct frame *f)
{
	const size_t left = f->len - s->fed, n = left < FEED_MAX ? left : FEED_MAX;

	pty_output(s, f->payload + s->fed, n);
	s->fed = n < left ? s->fed + n : 0;
	return n == left;
}

/*
 * Output is fed piece by piece for at most WAKE_MS: a guest can write what is a thousand times more work to draw than to send, and
 * other sessions, viewers and the supervisor are served in between.
 */
static void pty_read(struct session *s, struct buf *in)
{
	const uint64_t start = clock_ms();
	bool output = false;

	while (s->guest) {
		struct frame f;
		size_t used;
		const int r = frame_parse(buf_head(in), buf_size(in), AGENT_PAYLOAD_MAX, &f, &used);

		if (r == -EAGAIN && !stream_cut(s->guest))
			break;
		if (r == 0 && f.type == SESS_STDOUT && s->started) {
			output = true;
			if (pty_piece(s, &f))
				buf_consume(in, used);
			if (clock_ms() - start < WAKE_MS)
				continue;
			stream_kick(s->guest);
			break;
		}
		if (r < 0 || !pty_one(s, &f)) {
			log_limited(&s->t->guest_log, 20, LOG_WARN, "the guest sent something that is no frame of session %u", s->told.session);
			session_fail(s, "the sandbox's agent broke the protocol");
			return;
		}
		if (s->guest)
			buf_consume(in, used);
	}
	if (output && s->guest)
		pty_shown(s);
}

static void guest_read(void *arg, struct buf *in)
{
	struct session *s = arg;

	if (s->told.kind == TERM_KIND_EXEC)
		exec_from_guest(s, in);
	else
		pty_read(s, in);
}

static void guest_ended(void *arg)
{
	struct session *s = arg;

	if (!s->ended)
		session_fail(s, "the sandbox's agent ended the session");
}

static void guest_closed(void *arg, int why)
{
	struct session *s = arg;

	(void)why;
	if (!s->ended)
		session_fail(s, "the connection to the sandbox was lost");
	else
		stream_close(&s->guest);
}

static void guest_drain(void *arg)
{
	struct session *s = arg;

	if (s->told.kind == TERM_KIND_EXEC)
		exec_kick(s);
	else
		pty_flush_input(s);
}

static const struct stream_ops guest_ops = { .on_read = guest_read, .on_eof = guest_ended, .on_drain = guest_drain, .on_closed = guest_closed };

/* ---- life ------------------------------------------------------------------------------------------------------------------------------ */

struct session *session_find(struct term *t, uint32_t id)
{
	struct session *s = t->sessions;

	while (s && s->told.session != id)
		s = s->next;
	return s;
}

static void on_no_answer(void *arg)
{
	struct session *s = arg;
	struct term *t = s->t;

	session_fail(s, "the sandbox's agent does not answer");
	guest_silent(t);
}

void session_open_take(struct term *t, struct term_open *m, int client)
{
	struct session *s = t->nsessions < SESSIONS_MAX && !session_find(t, m->session) ? calloc(1, sizeof(*s)) : NULL;

	if (!s) {
		const struct term_session gone = { .session = m->session, .kind = m->kind, .state = SESSION_FAILED, .title = "too many sessions" };

		if (client >= 0)
			close(client);
		term_tell(t, TERM_SESSION, pack, &gone);
		return;
	}
	struct session **p = &t->sessions;
	while (*p && (*p)->told.session < m->session)
		p = &(*p)->next;
	s->next = *p;
	*p = s;
	t->nsessions++;
	s->t = t;
	s->record.fd = -1;
	s->credit = SESS_STDIN_WINDOW;
	s->told.session = m->session;
	s->told.kind = m->kind;
	s->told.state = SESSION_OPENING;
	scrub(s->told.label, sizeof(s->told.label), m->label, strlen(m->label), false);
	buf_init(&s->open, AGENT_PAYLOAD_MAX + FRAME_HEAD);
	const size_t at = frame_begin(&s->open, SESS_OPEN, 0);
	sess_open_pack(&s->open, &m->open);
	frame_end(&s->open, at);
	int r = 0;
	if (m->kind == TERM_KIND_PTY)
		r = pty_init(s, m->open.rows, m->open.cols);
	else
		r = client >= 0 ? exec_init_take(s, client) : -EINVAL;
	session_tell_now(s);
	if (r < 0 || !buf_ok(&s->open)) {
		session_fail(s, r < 0 ? "out of memory" : "the command or its environment is too long");
		return;
	}
	s->token = guest_dial(t, AGENT_PORT_SESSION);
	if (!s->token)
		session_fail(s, "the sandbox has no running machine");
	else
		after_set(&s->late, t->loop, ANSWER_MS, on_no_answer, s);
}

bool session_dialed_take(struct term *t, uint32_t token, int fd)
{
	struct session *s = t->sessions;

	while (s && s->token != token)
		s = s->next;
	if (!s || token == 0) { /* it has ended meanwhile */
		fd_close(&fd);
		return false;
	}
	s->token = 0;
	after_cancel(&s->late);
	if (fd < 0) {
		session_fail(s, "the sandbox's agent does not take sessions now");
		return true;
	}
	if (stream_open_take(&s->guest, t->loop, fd, GUEST_IN_MAX, GUEST_OUT_MAX, &guest_ops, s) < 0) {
		session_fail(s, "out of memory");
		return true;
	}
	stream_write(s->guest, buf_head(&s->open), buf_size(&s->open));
	buf_release(&s->open);
	if (s->told.kind == TERM_KIND_PTY)
		pty_flush_input(s); /* a viewer may have come in the meantime, with another size */
	return true;
}

/* The guest's part is over; what there is to see stays. */
static void finish(struct session *s, enum session_state state)
{
	s->ended = true;
	s->token = 0;
	after_cancel(&s->late);
	stream_close(&s->guest);
	after_cancel(&s->quiet);
	record_end(&s->record);
	s->told.state = (uint8_t)state;
	session_tell_now(s);
	if (s->told.kind == TERM_KIND_PTY && s->vt)
		viewers_changed(s);
	if (s->told.kind == TERM_KIND_EXEC) {
		if (s->client) {
			stream_shutdown(s->client); /* destroyed when the client has read it and gone */
			exec_kick(s); /* what it still sends is taken, so that its end is heard */
		} else {
			session_destroy(s);
		}
	}
}

void session_exit(struct session *s, uint32_t code, uint32_t signo)
{
	s->told.code = code & 0xff;
	s->told.signo = signo & 0x7f;
	finish(s, SESSION_EXITED);
}

void session_fail(struct session *s, const char *why)
{
	str_copy(s->told.title, sizeof(s->told.title), why);
	if (!s->told.code)
		s->told.code = sess_failed_status(0);
	if (s->told.kind == TERM_KIND_PTY && s->vt)
		pty_rule(s, why);
	else if (!s->ended)
		exec_failed(s, why);
	finish(s, SESSION_FAILED);
}

void session_close(struct session *s, bool forget)
{
	/* A process that has ended is kept only until its client has read all it said, and goes with that client. */
	if (s->ended && s->told.kind == TERM_KIND_EXEC)
		return;
	if (!s->ended) {
		s->told.signo = 1; /* SIGHUP: what it is to its program */
		s->told.code = 0;
		s->ended = true;
		stream_close(&s->guest);
		after_cancel(&s->quiet);
		record_end(&s->record);
		s->told.state = SESSION_EXITED;
		session_tell_now(s);
		if (s->told.kind == TERM_KIND_PTY && s->vt)
			viewers_changed(s);
	}
	if (forget || s->told.kind == TERM_KIND_EXEC)
		session_destroy(s);
}

void session_destroy(struct session *s)
{
	struct session **p = &s->t->sessions;

	while (*p != s)
		p = &(*p)->next;
	*p = s->next;
	s->t->nsessions--;
	after_cancel(&s->tell);
	stream_close(&s->guest);
	if (s->told.kind == TERM_KIND_PTY)
		pty_release(s);
	else
		exec_release(s);
	buf_release(&s->open);
	free(s);
}
