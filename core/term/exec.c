/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process without a terminal: frames go between the client's stream and the guest's. Each is looked at on the way (a type that may come
 * from this side, a length within its bound, nothing after SESS_EXIT) and passed on whole; a side that takes no more stops the other.
 */
#include <errno.h>
#include <string.h>

#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/term/term.h"

static bool from_client_legal(const struct frame *f)
{
	switch (f->type) {
	case SESS_STDIN:
		return f->len > 0;
	case SESS_STDIN_EOF:
		return f->len == 0;
	case SESS_RESIZE:
	case SESS_SIGNAL:
		return f->len == 4;
	default:
		return false;
	}
}

static bool from_guest_legal(const struct frame *f)
{
	switch (f->type) {
	case SESS_STDOUT:
	case SESS_STDERR:
		return f->len > 0;
	case SESS_STARTED:
	case SESS_STDIN_CREDIT:
		return f->len == 4;
	case SESS_EXIT:
		return f->len == 8;
	case SESS_FAILED:
		return f->len >= 6 && f->len <= 6 + 512;
	default:
		return false;
	}
}

/* ---- client -> guest ------------------------------------------------------------------------------------------------------------- */

static void client_read(void *arg, struct buf *in)
{
	struct session *s = arg;

	if (s->ended) /* nobody is there for it; the client's end is heard once it is taken */
		buf_consume(in, buf_size(in));
	while (s->guest && s->started && !s->ended) {
		struct frame f;
		size_t used;
		const int r = frame_parse(buf_head(in), buf_size(in), AGENT_PAYLOAD_MAX, &f, &used);

		if (r == -EAGAIN && !stream_cut(s->client))
			return;
		if (r < 0 || !from_client_legal(&f)) {
			log_warn("the client of session %u sent something that is no frame of a session", s->told.session);
			session_close(s, true);
			return;
		}
		struct buf *out = stream_out(s->guest);
		if (buf_room(out) < used) {
			stream_want_drain(s->guest);
			return;
		}
		buf_put(out, buf_head(in), used);
		buf_consume(in, used);
		stream_flush(s->guest);
	}
}

static void client_gone(struct session *s)
{
	stream_close(&s->client);
	if (s->ended)
		session_destroy(s);
	else
		session_close(s, true); /* the guest hangs up */
}

static void client_eof(void *arg)
{
	client_gone(arg);
}

static void client_drain(void *arg)
{
	struct session *s = arg;

	if (s->guest)
		stream_kick(s->guest);
}

static void client_closed(void *arg, int why)
{
	(void)why;
	client_gone(arg);
}

static const struct stream_ops client_ops = { .on_read = client_read, .on_eof = client_eof, .on_drain = client_drain, .on_closed = client_closed };

int exec_init_take(struct session *s, int client)
{
	return stream_open_take(&s->client, s->t->loop, client, GUEST_IN_MAX, GUEST_OUT_MAX, &client_ops, s);
}

void exec_kick(struct session *s)
{
	if (s->client)
		stream_kick(s->client);
}

/* ---- guest -> client -------------------------------------------------------------------------------------------------------------- */

static uint32_t le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Notes what a frame says about the session; false when it may not come now. */
static bool note(struct session *s, const struct frame *f)
{
	if (s->ended || (!s->started && f->type != SESS_STARTED && f->type != SESS_FAILED) || (s->started && f->type == SESS_STARTED))
		return false;
	if (f->type == SESS_STARTED) {
		s->started = true;
		s->told.pid = le32(f->payload);
		session_set(s, SESSION_BUSY);
		exec_kick(s);
	} else if (f->type == SESS_STDOUT || f->type == SESS_STDERR) {
		s->told.bytes_out += f->len;
	}
	return true;
}

static void failed_sentence(const struct frame *f, char *dst, size_t cap)
{
	struct rbuf r;
	char text[513];
	uint32_t code;

	rbuf_init(&r, f->payload, f->len);
	rbuf_u32(&r, &code);
	rbuf_str16(&r, text, sizeof(text));
	scrub(dst, cap, text, strlen(text), false);
}

void exec_from_guest(struct session *s, struct buf *in)
{
	while (s->guest && s->client) {
		struct frame f;
		size_t used;
		const int r = frame_parse(buf_head(in), buf_size(in), AGENT_PAYLOAD_MAX, &f, &used);
		struct buf *out = stream_out(s->client);

		if (r == -EAGAIN && !stream_cut(s->guest))
			return;
		if (r == 0 && buf_room(out) < used) {
			stream_want_drain(s->client);
			return;
		}
		if (r < 0 || !from_guest_legal(&f) || !note(s, &f)) {
			log_limited(&s->t->guest_log, 20, LOG_WARN, "the guest sent something that is no frame of session %u", s->told.session);
			session_fail(s, "the sandbox's agent broke the protocol");
			return;
		}
		buf_put(out, buf_head(in), used);
		stream_flush(s->client);
		if (f.type == SESS_EXIT) {
			const uint32_t code = le32(f.payload), signo = le32(f.payload + 4);

			buf_consume(in, used);
			session_exit(s, code, signo);
			return;
		}
		if (f.type == SESS_FAILED) {
			char text[256];

			failed_sentence(&f, text, sizeof(text));
			buf_consume(in, used);
			s->ended = true; /* the client has the guest's own words */
			session_fail(s, text);
			return;
		}
		buf_consume(in, used);
	}
}

void exec_failed(struct session *s, const char *why)
{
	if (!s->client)
		return;
	struct buf *out = stream_out(s->client);
	const size_t at = frame_begin(out, SESS_FAILED, 0);

	buf_u32(out, EIO);
	buf_str16(out, why);
	frame_end(out, at);
	stream_flush(s->client);
}

void exec_release(struct session *s)
{
	stream_close(&s->client);
}
