/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A stream is DIALED (OPEN sent) -> OPEN (joined to a socket) -> gone; one that the guest opens begins OPEN. Our numbers are odd, rise,
 * and are never used twice in a channel's life, so "a frame for a stream that is no more" is every odd number below `next` that is not in the table: ignored, because it was
 * in flight when we reset. Any other unknown number breaks the channel.
 *
 * From the guest: DATA within its credit always fits the socket's queue, which is as large as the window; credit goes back when the
 * socket has taken bytes. To the guest: bytes wait in the socket (and a small buffer) while the guest gives no credit or the
 * channel is full. Control frames keep a reserve of room in the channel's queue; when even that is used up (a guest that sends and
 * never reads) its input is left unread until it reads.
 */
#include "vmm/muxhost.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fd.h"
#include "core/loop/after.h"
#include "core/loop/stream.h"

#define CHANNEL_IN (256u * 1024u)
#define CHANNEL_OUT (512u * 1024u)
#define RESERVE (32u * 1024u)       /* of the channel's queue, for control frames */
#define SOCKET_IN (64u * 1024u)
#define TURN_MAX (128u * 1024u)     /* bytes one stream may send a turn */
#define FRAME_MS 5000u              /* a frame that has begun is there within twice that; the guest's agent writes them whole */
#define TABLE 8192u                 /* slots, a power of two over MUX_STREAMS_MAX */

enum ms_state { MS_DIALED, MS_OPEN };

struct mstream {
	struct muxhost *m;
	struct mstream *next; /* in its slot */
	uint32_t number;
	enum ms_state state;
	channel_opened fn;
	void *arg;
	struct stream *s;     /* OPEN: the socket */
	uint32_t send_credit; /* bytes the guest will take */
	uint32_t recv_credit; /* bytes the guest may still send */
	bool eof_sent, eof_got;
	bool starved;         /* has bytes, but the channel had no room */
};

struct muxhost {
	struct channel base;
	uv_loop_t *loop;
	struct stream *chan;
	const struct channel_events *ev;
	void *arg;
	uint32_t gen, next, count;
	uint32_t theirs; /* of count: those the guest opened */
	bool up, broken;
	bool held;                    /* its input is left unread until it reads */
	struct after *late;           /* a frame has begun and is not there yet */
	bool overdue;                 /* and was not FRAME_MS ago: this loop may have stood still itself */
	uint64_t in, out;
	struct mstream *slot[TABLE];
};

static void socket_read(void *arg, struct buf *in);
static void socket_eof(void *arg);
static void socket_drain(void *arg);
static void socket_closed(void *arg, int why);
static const struct stream_ops socket_ops = { .on_read = socket_read, .on_eof = socket_eof, .on_drain = socket_drain, .on_closed = socket_closed };

/* ---- table --------------------------------------------------------------------------------------------------------------- */

static struct mstream **find(struct muxhost *m, uint32_t number)
{
	struct mstream **p = &m->slot[(number >> 1) % TABLE];

	while (*p && (*p)->number != number)
		p = &(*p)->next;
	return p;
}

/* A stream with a number that is free; NULL out of memory. */
static struct mstream *stream_new(struct muxhost *m, uint32_t number)
{
	struct mstream *ms = calloc(1, sizeof(*ms));

	if (!ms)
		return NULL;
	ms->m = m;
	ms->number = number;
	ms->recv_credit = MUX_WINDOW;
	*find(m, number) = ms;
	m->count++;
	m->theirs += number % 2 == 0;
	return ms;
}

static void drop(struct mstream *ms)
{
	struct mstream **p = find(ms->m, ms->number);

	*p = ms->next;
	ms->m->count--;
	ms->m->theirs -= ms->number % 2 == 0;
	stream_close(&ms->s);
	free(ms);
}

static void broken(struct muxhost *m, const char *why)
{
	if (m->broken)
		return;
	m->broken = true;
	after_cancel(&m->late);
	stream_reading(m->chan, false);
	m->ev->on_broken(m->arg, why);
}

/* ---- to the guest ---------------------------------------------------------------------------------------------------------- */

static bool room_for_data(const struct muxhost *m)
{
	return buf_room(stream_out(m->chan)) >= RESERVE + MUX_HEAD + MUX_DATA_MAX;
}

static void send_reset(struct mstream *ms, enum mux_reason why)
{
	mux_put_reset(stream_out(ms->m->chan), ms->number, why);
	stream_flush(ms->m->chan);
}

static void maybe_finished(struct mstream *ms)
{
	if (ms->eof_sent && ms->eof_got && (!ms->s || stream_pending(ms->s) == 0))
		drop(ms);
}

/* Bytes from the socket, as far as credit and the channel allow. */
static void socket_read(void *arg, struct buf *in)
{
	struct mstream *ms = arg;
	struct muxhost *m = ms->m;
	size_t turn = TURN_MAX;

	ms->starved = false;
	while (buf_size(in) > 0 && ms->send_credit > 0 && turn > 0 && !m->broken) {
		size_t n = buf_size(in);

		if (!room_for_data(m)) {
			ms->starved = true;
			stream_want_drain(m->chan);
			break;
		}
		n = n < MUX_DATA_MAX ? n : MUX_DATA_MAX;
		n = n < ms->send_credit ? n : ms->send_credit;
		n = n < turn ? n : turn;
		mux_put_data(stream_out(m->chan), ms->number, buf_head(in), n);
		buf_consume(in, n);
		ms->send_credit -= (uint32_t)n;
		turn -= n;
		m->out += n;
	}
	stream_flush(m->chan);
	if (turn == 0 && buf_size(in) > 0)
		stream_kick(ms->s);
}

static void socket_eof(void *arg)
{
	struct mstream *ms = arg;

	if (ms->eof_sent)
		return;
	/* A service that died ends both directions at once: the guest must not take that for the orderly end of what it was reading. */
	if (!ms->eof_got && stream_deaf(ms->s)) {
		send_reset(ms, MUX_R_GONE);
		drop(ms);
		return;
	}
	ms->eof_sent = true;
	mux_put_eof(stream_out(ms->m->chan), ms->number);
	stream_flush(ms->m->chan);
	maybe_finished(ms);
}

static void socket_closed(void *arg, int why)
{
	struct mstream *ms = arg;

	(void)why;
	if (!ms->eof_sent || !ms->eof_got)
		send_reset(ms, MUX_R_GONE);
	drop(ms);
}

/* Credit for what the socket has taken since it was last given. */
static void renew(struct mstream *ms)
{
	const uint32_t held = (uint32_t)stream_pending(ms->s);
	const uint32_t due = MUX_WINDOW - ms->recv_credit - held;

	if (!ms->eof_got && due >= MUX_WINDOW / 4) {
		mux_put_credit(stream_out(ms->m->chan), ms->number, due);
		stream_flush(ms->m->chan);
		ms->recv_credit += due;
	}
	if (held > 0)
		stream_want_drain(ms->s);
}

static void socket_drain(void *arg)
{
	struct mstream *ms = arg;

	renew(ms);
	maybe_finished(ms);
}

/* ---- from the guest --------------------------------------------------------------------------------------------------------- */

/* The guest asks for a port of ours. */
static void on_open(struct muxhost *m, const struct mux_frame *f)
{
	if (f->stream % 2 != 0 || *find(m, f->stream)) {
		broken(m, "the guest opened a stream with a number that is ours or in use");
		return;
	}
	const int fd = m->count < MUX_STREAMS_MAX && m->theirs < MUX_GUEST_STREAMS_MAX ? channel_offer(&m->base, f->a) : -EMFILE;
	struct mstream *ms = fd >= 0 ? stream_new(m, f->stream) : NULL;
	if (!ms) {
		if (fd >= 0)
			close(fd);
		mux_put_reset(stream_out(m->chan), f->stream, fd == -EMFILE ? MUX_R_LIMIT : MUX_R_REFUSED);
		return;
	}
	ms->state = MS_OPEN;
	ms->send_credit = f->b;
	mux_put_opened(stream_out(m->chan), f->stream, MUX_WINDOW);
	if (stream_open_take(&ms->s, m->loop, fd, SOCKET_IN, 2 * MUX_WINDOW, &socket_ops, ms) < 0) {
		send_reset(ms, MUX_R_GONE);
		drop(ms);
	}
}

static void on_opened(struct muxhost *m, struct mstream *ms, const struct mux_frame *f)
{
	if (ms->state != MS_DIALED) {
		broken(m, "the guest opened a stream twice");
		return;
	}
	const uint32_t number = ms->number;
	channel_opened fn = ms->fn;

	ms->state = MS_OPEN;
	ms->send_credit = f->a;
	ms->fn = NULL;
	fn(ms->arg, 0, number);
	struct mstream **p = find(m, number);
	if (*p && !(*p)->s) { /* nobody joined it */
		send_reset(*p, MUX_R_GONE);
		drop(*p);
	}
}

static void on_data(struct muxhost *m, struct mstream *ms, const struct mux_frame *f)
{
	if (ms->state != MS_OPEN || ms->eof_got) {
		broken(m, "the guest sent data on a stream that is not open");
		return;
	}
	if (f->len > ms->recv_credit) {
		send_reset(ms, MUX_R_CREDIT);
		drop(ms);
		return;
	}
	ms->recv_credit -= f->len;
	m->in += f->len;
	const int r = stream_write(ms->s, f->data, f->len);
	if (r < 0) { /* the socket's other end reads no more */
		send_reset(ms, MUX_R_GONE);
		drop(ms);
		return;
	}
	renew(ms);
}

static void on_reset(struct mstream *ms)
{
	if (ms->state == MS_DIALED) {
		channel_opened fn = ms->fn;
		void *arg = ms->arg;

		drop(ms);
		fn(arg, -ECONNREFUSED, 0);
		return;
	}
	drop(ms);
}

static void on_credit(struct muxhost *m, struct mstream *ms, uint32_t bytes)
{
	if (ms->state != MS_OPEN || bytes > UINT32_MAX - ms->send_credit) {
		broken(m, "the guest gave impossible credit");
		return;
	}
	ms->send_credit += bytes;
	stream_kick(ms->s);
}

static void on_eof(struct muxhost *m, struct mstream *ms)
{
	if (ms->state != MS_OPEN || ms->eof_got) {
		broken(m, "the guest ended a stream that is not open");
		return;
	}
	ms->eof_got = true;
	stream_shutdown(ms->s);
	stream_want_drain(ms->s);
	maybe_finished(ms);
}

static void on_frame(struct muxhost *m, const struct mux_frame *f)
{
	if (f->type == MUX_HELLO) {
		if (m->up) {
			broken(m, "the guest's agent lost the thread of the channel; something inside took bytes from it");
			return;
		}
		m->up = true;
		m->ev->on_up(m->arg);
		return;
	}
	if (!m->up) {
		broken(m, "the guest spoke before its hello");
		return;
	}
	if (f->type == MUX_OPEN) {
		on_open(m, f);
		return;
	}
	struct mstream *ms = *find(m, f->stream);
	if (!ms) {
		/* An even stream was refused or ended, an odd one below `next` ended: frames may have been on their way. */
		if (f->stream % 2 != 0 && f->stream >= m->next)
			broken(m, "the guest used a stream that was never opened");
		return;
	}
	switch (f->type) {
	case MUX_OPENED:
		on_opened(m, ms, f);
		break;
	case MUX_DATA:
		on_data(m, ms, f);
		break;
	case MUX_RESET:
		on_reset(ms);
		break;
	case MUX_CREDIT:
		on_credit(m, ms, f->a);
		break;
	default:
		on_eof(m, ms);
		break;
	}
}

/*
 * A few bytes of no meaning that somebody puts between two frames would else make the parser wait for what they say comes, and take the agent's
 * own frames for it: nothing would answer any more, and nothing be wrong.
 */
static void on_late(void *arg)
{
	struct muxhost *m = arg;

	const bool stands = m->held || (m->ev->stands && m->ev->stands(m->arg));

	if (m->overdue && !stands) {
		broken(m, "the guest began a frame of the channel and did not end it");
		return;
	}
	m->overdue = !stands;
	after_set(&m->late, m->loop, FRAME_MS, on_late, m);
}

static void await_rest(struct muxhost *m, bool begun, bool progress)
{
	if (progress || !begun)
		after_cancel(&m->late);
	if (begun && !m->late && !m->broken) {
		m->overdue = false;
		after_set(&m->late, m->loop, FRAME_MS, on_late, m);
	}
}

static void chan_read(void *arg, struct buf *in)
{
	struct muxhost *m = arg;
	bool progress = false;

	m->held = false;
	while (!m->broken) {
		struct mux_frame f;
		size_t used;

		if (buf_room(stream_out(m->chan)) < RESERVE / 2) {
			m->held = true;
			stream_want_drain(m->chan);
			break;
		}
		const int r = mux_parse(buf_head(in), buf_size(in), &f, &used);
		if (r == -EAGAIN)
			break;
		if (r < 0) {
			broken(m, "the guest sent bytes that are no frame of the channel");
			return;
		}
		on_frame(m, &f);
		buf_consume(in, used);
		progress = true;
	}
	await_rest(m, buf_size(in) > 0, progress);
	if (!m->broken && !m->held)
		stream_flush(m->chan);
}

static void chan_drain(void *arg)
{
	struct muxhost *m = arg;

	stream_kick(m->chan);
	for (size_t i = 0; i < TABLE; i++)
		for (struct mstream *ms = m->slot[i]; ms; ms = ms->next)
			if (ms->starved && ms->s)
				stream_kick(ms->s);
}

static void chan_closed(void *arg, int why)
{
	(void)why;
	broken(arg, "the machine closed the channel");
}

static void chan_eof(void *arg)
{
	broken(arg, "the machine closed the channel");
}

static const struct stream_ops chan_ops = { .on_read = chan_read, .on_eof = chan_eof, .on_drain = chan_drain, .on_closed = chan_closed };

/* ---- public ------------------------------------------------------------------------------------------------------------------ */

static struct muxhost *of(struct channel *c)
{
	return (struct muxhost *)c;
}

static int mux_dial(struct channel *c, uint32_t port, channel_opened fn, void *arg)
{
	struct muxhost *m = of(c);

	if (!m->up || m->broken)
		return -EAGAIN;
	if (m->count >= MUX_STREAMS_MAX || m->next > UINT32_MAX - 2)
		return -EMFILE;
	struct mstream *ms = stream_new(m, m->next);
	if (!ms)
		return -ENOMEM;
	m->next += 2;
	ms->state = MS_DIALED;
	ms->fn = fn;
	ms->arg = arg;
	mux_put_open(stream_out(m->chan), ms->number, port, MUX_WINDOW);
	stream_flush(m->chan);
	return 0;
}

static void mux_join_take(struct channel *c, uint32_t number, int fd)
{
	struct muxhost *m = of(c);
	struct mstream *ms = *find(m, number);

	if (!ms || ms->s) {
		close(fd);
		return;
	}
	/* Twice the window: "half empty", when on_drain comes, is then always reached. */
	stream_open_take(&ms->s, m->loop, fd, SOCKET_IN, 2 * MUX_WINDOW, &socket_ops, ms);
}

static bool mux_is_up(const struct channel *c)
{
	const struct muxhost *m = (const struct muxhost *)c;

	return m->up && !m->broken;
}

static void mux_counts(const struct channel *c, uint64_t *in, uint64_t *out, uint32_t *streams)
{
	const struct muxhost *m = (const struct muxhost *)c;

	*in = m->in;
	*out = m->out;
	*streams = m->count;
}

static void mux_close(struct channel *c)
{
	struct muxhost *m = of(c);

	m->broken = true;
	after_cancel(&m->late);
	for (size_t i = 0; i < TABLE; i++)
		while (m->slot[i]) {
			struct mstream *ms = m->slot[i];
			channel_opened fn = ms->state == MS_DIALED ? ms->fn : NULL;
			void *arg = ms->arg;

			drop(ms);
			if (fn)
				fn(arg, -ECONNRESET, 0);
		}
	stream_close(&m->chan);
	free(m);
}

static const struct channel_ops channel_ops = {
	.dial = mux_dial, .join_take = mux_join_take, .is_up = mux_is_up, .counts = mux_counts, .close = mux_close,
};

int muxhost_open_take(struct channel **out, uv_loop_t *loop, int fd, uint32_t gen, const struct channel_events *ev, void *arg)
{
	struct muxhost *m = calloc(1, sizeof(*m));

	*out = NULL;
	if (!m) {
		close(fd);
		return -ENOMEM;
	}
	m->base.ops = &channel_ops;
	m->loop = loop;
	m->ev = ev;
	m->arg = arg;
	m->gen = gen;
	m->next = 1;
	const int r = stream_open_take(&m->chan, loop, fd, CHANNEL_IN, CHANNEL_OUT, &chan_ops, m);
	if (r < 0) {
		free(m);
		return r;
	}
	mux_put_hello(stream_out(m->chan), gen);
	stream_flush(m->chan);
	*out = &m->base;
	return 0;
}
