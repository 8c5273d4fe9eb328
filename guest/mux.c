/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * One port, one queue each way. What streams write gathers in `out` and leaves at the end of the loop's turn: the driver takes 32 KiB a
 * write() and each costs an exit of the machine, so a turn's small frames go together. A stream may fill the queue as far as its
 * credit goes; those that found it too full are called again, in turn, beginning behind the one served last. RESERVE bytes are
 * never used for DATA, so that credit and resets always find room; when even that is used up (a host that sends and does not
 * read) its input is left unread.
 *
 * A read of the port is at its end while the host is not connected; then (and after a frame that cannot be) every stream is gone and
 * input is searched for a HELLO, so that half a frame of the last connection does not spoil the next.
 */
#include "guest/mux.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "guest/loop.h"
#include "guest/virtport.h"
#include "guest/vsock.h"

#define IN_MAX (256u * 1024u)
#define OUT_MAX (512u * 1024u)
#define RESERVE (32u * 1024u)
#define SLOTS 4096u
#define READ_ONE 65536u
#define READS 32 /* a turn; the driver gives a page at a time */
#define RETRY_MIN_MS 5u
#define RETRY_MAX_MS 200u

struct gstream {
	struct gstream_kind kind;
	struct gstream *next;
	struct gstream *before, *behind; /* in the queue of those that wait for room; NULL: it does not stand there */
	uint32_t number;
	const struct gstream_ops *ops;
	void *arg;
	uint32_t send_credit, recv_credit, window;
	uint32_t owed;        /* held: bytes taken whose credit was not given back yet */
	bool held;
	bool asked;           /* ours, and the host has not agreed yet */
	bool eof_sent, eof_got;
	bool wants_room;
};

static struct {
	int fd;
	struct watch w;
	struct timer retry;
	unsigned retry_ms;
	struct buf in, out;
	gmux_accept accept;
	bool up;           /* the host's HELLO was seen */
	uint32_t last;     /* highest number it opened since */
	uint32_t next;     /* ours: even, rising; begins anew at 2 behind the last one */
	bool wrapped;
	struct gstream *slot[SLOTS];
	uint32_t count;
	struct gstream hungry; /* head of the queue of those that found no room although they have credit */
	size_t hungry_n;
	struct log_limit complaints;
} mux = { .fd = -1 };

/* ---- table ------------------------------------------------------------------------------------------------------------------ */

static struct gstream **find(uint32_t number)
{
	struct gstream **p = &mux.slot[(number >> 1) % SLOTS];

	while (*p && (*p)->number != number)
		p = &(*p)->next;
	return p;
}

static void enqueue(struct gstream *st)
{
	if (st->behind)
		return;
	st->behind = &mux.hungry;
	st->before = mux.hungry.before;
	st->before->behind = mux.hungry.before = st;
	mux.hungry_n++;
}

static void unqueue(struct gstream *st)
{
	if (!st->behind)
		return;
	st->before->behind = st->behind;
	st->behind->before = st->before;
	st->before = st->behind = NULL;
	mux.hungry_n--;
}

static void drop(struct gstream *st)
{
	struct gstream **p = find(st->number);

	unqueue(st);
	*p = st->next;
	mux.count--;
	free(st);
}

static void gone(struct gstream *st)
{
	const struct gstream_ops *ops = st->ops;
	void *arg = st->arg;

	drop(st);
	ops->on_gone(arg);
}

static void reset_all(void)
{
	for (size_t i = 0; i < SLOTS; i++)
		while (mux.slot[i])
			gone(mux.slot[i]);
}

uint32_t gmux_count(void)
{
	if (gvsock_used())
		return gvsock_count();
	return mux.count;
}

/* Everything of this connection is over; the next HELLO begins another. */
static void start_over(void)
{
	mux.up = false;
	reset_all();
	buf_clear(&mux.out);
}

/*
 * What came is not what the host said: somebody took bytes from the port or put some there. Who waits on the host is told by a HELLO that is none of the
 * protocol's, for which it ends the channel: it would wait for ever, as what was asked of us may be among what is lost.
 */
static void lost_the_thread(const char *how)
{
	const bool was = mux.up;

	log_limited(&mux.complaints, 5, LOG_ERROR, "%s: the channel begins anew", how);
	start_over();
	if (was)
		mux_put_hello(&mux.out, 0);
}

/* ---- out ------------------------------------------------------------------------------------------------------------------ */

/* Poll interest follows from what there is to do. */
static void interest(void)
{
	uint32_t events = 0;

	if (mux.retry.armed)
		return; /* not connected: epoll would report the hang-up for ever */
	if (buf_room(&mux.in) > 0)
		events |= EPOLLIN;
	if (buf_size(&mux.out) > 0)
		events |= EPOLLOUT;
	loop_want(&mux.w, events);
}

/* True when something left. */
static bool flush(void)
{
	bool some = false;

	if (!buf_ok(&mux.out)) {
		/* Cannot be while RESERVE holds; if it is, bytes are missing in the middle and nothing after them has meaning. */
		lost_the_thread("the channel's queue ran over");
	}
	while (buf_size(&mux.out) > 0) {
		const ssize_t n = write(mux.fd, buf_head(&mux.out), buf_size(&mux.out));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		buf_consume(&mux.out, (size_t)n);
		some = true;
	}
	return some;
}

void gmux_drain(unsigned ms)
{
	if (gvsock_used())
		gvsock_drain(ms);
	for (const uint64_t end = clock_ms() + ms; mux.fd >= 0 && buf_size(&mux.out) > 0 && clock_ms() < end;) {
		struct pollfd p = { .fd = mux.fd, .events = POLLOUT };

		flush();
		if (buf_size(&mux.out) > 0)
			poll(&p, 1, 10);
	}
}

void gstream_serve(struct gstream *st, const struct gstream_ops *ops, void *arg)
{
	if (st->kind.vsock) {
		gvsock_serve(st, ops, arg);
		return;
	}
	st->ops = ops;
	st->arg = arg;
}

static void give_room(void)
{
	/* Each once a turn: who finds too little again stands behind the others. */
	for (size_t n = mux.hungry_n; n > 0 && mux.hungry_n > 0; n--) {
		struct gstream *st = mux.hungry.behind;

		if (buf_room(&mux.out) < 2 * RESERVE + MUX_DATA_MAX)
			return;
		unqueue(st);
		st->wants_room = false;
		st->ops->on_room(st->arg);
	}
}

static void each_turn(void)
{
	if (flush())
		give_room();
	flush();
	interest();
}

static bool is_vsock(const struct gstream *st)
{
	return st->kind.vsock;
}

size_t gstream_room(struct gstream *st)
{
	if (is_vsock(st))
		return gvsock_room(st);
	const size_t kept = RESERVE + 16 * MUX_HEAD, room = buf_room(&mux.out);
	size_t n = room > kept ? room - kept : 0;

	if (st->eof_sent)
		return 0;
	if (n > st->send_credit)
		n = st->send_credit;
	if (n < MUX_DATA_MAX)
		st->wants_room = true;
	if (st->wants_room && st->send_credit > 0)
		enqueue(st);
	return n;
}

bool gstream_write(struct gstream *st, const void *p, size_t n)
{
	if (is_vsock(st))
		return gvsock_write(st, p, n);
	const uint8_t *at = p;

	if (n > gstream_room(st))
		return false;
	st->send_credit -= (uint32_t)n;
	while (n > 0) {
		const size_t k = n < MUX_DATA_MAX ? n : MUX_DATA_MAX;

		mux_put_data(&mux.out, st->number, at, k);
		at += k;
		n -= k;
	}
	return true;
}

static void put_frame_head(uint8_t *at, uint8_t type, size_t n)
{
	const uint8_t head[FRAME_HEAD] = { type, 0, 0, 0, (uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16), (uint8_t)(n >> 24) };

	memcpy(at, head, sizeof(head));
}

uint8_t *gstream_reserve(struct gstream *st, size_t *n)
{
	if (is_vsock(st))
		return gvsock_reserve(st, FRAME_HEAD, n);
	const size_t room = gstream_room(st);

	if (room < FRAME_HEAD + 1)
		return NULL;
	*n = room - FRAME_HEAD < GSTREAM_FRAME_MAX ? room - FRAME_HEAD : GSTREAM_FRAME_MAX;
	uint8_t *p = buf_reserve(&mux.out, MUX_HEAD + FRAME_HEAD + *n);
	return p ? p + MUX_HEAD + FRAME_HEAD : NULL;
}

uint8_t *gstream_reserve_raw(struct gstream *st, size_t *n)
{
	if (is_vsock(st))
		return gvsock_reserve(st, 0, n);
	const size_t room = gstream_room(st);

	if (room == 0)
		return NULL;
	*n = room < MUX_DATA_MAX ? room : MUX_DATA_MAX;
	uint8_t *p = buf_reserve(&mux.out, MUX_HEAD + *n);
	return p ? p + MUX_HEAD : NULL;
}

void gstream_commit_raw(struct gstream *st, size_t n)
{
	if (is_vsock(st)) {
		gvsock_commit(st, NULL, 0, n);
		return;
	}
	const uint32_t s = st->number;
	const uint8_t head[MUX_HEAD] = { (uint8_t)s, (uint8_t)(s >> 8), (uint8_t)(s >> 16), (uint8_t)(s >> 24), (uint8_t)n, (uint8_t)(n >> 8), MUX_DATA, 0 };

	if (n == 0)
		return;
	memcpy(mux.out.data + mux.out.len, head, sizeof(head));
	buf_grew(&mux.out, MUX_HEAD + n);
	st->send_credit -= (uint32_t)n;
}

void gstream_commit(struct gstream *st, uint8_t type, size_t n)
{
	uint8_t head[FRAME_HEAD];

	if (is_vsock(st)) {
		put_frame_head(head, type, n);
		gvsock_commit(st, head, sizeof(head), n);
		return;
	}
	if (n == 0)
		return;
	put_frame_head(mux.out.data + mux.out.len + MUX_HEAD, type, n);
	gstream_commit_raw(st, FRAME_HEAD + n);
}

bool gstream_frame(struct gstream *st, uint8_t type, const void *p, size_t n)
{
	uint8_t head[FRAME_HEAD];
	size_t most;

	if (FRAME_HEAD + n > gstream_room(st))
		return false;
	if (n > 0 && n <= GSTREAM_FRAME_MAX) {
		uint8_t *at = gstream_reserve(st, &most);

		if (!at)
			return false;
		memcpy(at, p, n);
		gstream_commit(st, type, n);
		return true;
	}
	put_frame_head(head, type, n);
	return gstream_write(st, head, sizeof(head)) && (n == 0 || gstream_write(st, p, n));
}

void gstream_eof(struct gstream *st)
{
	if (is_vsock(st)) {
		gvsock_eof(st);
		return;
	}
	if (st->eof_sent)
		return;
	st->eof_sent = true;
	mux_put_eof(&mux.out, st->number);
}

void gstream_close(struct gstream *st)
{
	if (is_vsock(st)) {
		gvsock_close(st);
		return;
	}
	if (!st->eof_sent || !st->eof_got)
		mux_put_reset(&mux.out, st->number, MUX_R_GONE);
	drop(st);
}

struct gstream *gmux_open(uint32_t port, uint32_t window, const struct gstream_ops *ops, void *arg)
{
	if (gvsock_used())
		return gvsock_open(port, window, ops, arg);
	/* Control frames have their reserve, but a guest that opens and opens must not be the one to use it up. */
	if (!mux.up || mux.count >= MUX_STREAMS_MAX || buf_room(&mux.out) < RESERVE / 2)
		return NULL;
	struct gstream *st = calloc(1, sizeof(*st));
	if (!st)
		return NULL;
	while (*find(mux.next)) {
		mux.next = mux.next == UINT32_MAX - 1 ? 2 : mux.next + 2;
		mux.wrapped |= mux.next == 2;
	}
	*st = (struct gstream){ .number = mux.next, .ops = ops, .arg = arg, .recv_credit = window, .window = window, .asked = true };
	*find(st->number) = st;
	mux.count++;
	mux.wrapped |= mux.next == UINT32_MAX - 1;
	mux.next = mux.next == UINT32_MAX - 1 ? 2 : mux.next + 2;
	mux_put_open(&mux.out, st->number, port, window);
	return st;
}

void gstream_hold(struct gstream *st)
{
	if (is_vsock(st)) {
		gvsock_hold(st);
		return;
	}
	st->held = true;
}

void gstream_taken(struct gstream *st, size_t n)
{
	if (is_vsock(st)) {
		gvsock_taken(st, n);
		return;
	}
	st->owed += (uint32_t)n;
	if (st->owed < st->window / 4 || st->eof_got)
		return;
	mux_put_credit(&mux.out, st->number, st->owed);
	st->recv_credit += st->owed;
	st->owed = 0;
}

/* ---- in ---------------------------------------------------------------------------------------------------------------------- */

/* False: this may not be. */
static bool on_open(const struct mux_frame *f)
{
	if (f->stream % 2 == 0 || *find(f->stream))
		return false;
	if (f->stream > mux.last)
		mux.last = f->stream;
	struct gstream *st = mux.count < MUX_STREAMS_MAX ? calloc(1, sizeof(*st)) : NULL;
	if (!st) {
		mux_put_reset(&mux.out, f->stream, MUX_R_LIMIT);
		return true;
	}
	*st = (struct gstream){ .number = f->stream, .send_credit = f->b, .recv_credit = MUX_WINDOW, .window = MUX_WINDOW };
	if (!mux.accept(f->a, st, &st->ops, &st->arg)) {
		free(st);
		mux_put_reset(&mux.out, f->stream, MUX_R_REFUSED);
		return true;
	}
	*find(f->stream) = st;
	mux.count++;
	mux_put_opened(&mux.out, f->stream, MUX_WINDOW);
	return true;
}

static void on_data(struct gstream *st, const struct mux_frame *f)
{
	if (f->len > st->recv_credit || st->eof_got) {
		mux_put_reset(&mux.out, st->number, MUX_R_CREDIT);
		gone(st);
		return;
	}
	st->recv_credit -= f->len;
	if (!st->held && st->window - st->recv_credit >= st->window / 4) {
		mux_put_credit(&mux.out, st->number, st->window - st->recv_credit);
		st->recv_credit = st->window;
	}
	st->ops->on_data(st->arg, f->data, f->len); /* may close it */
}

static void on_credit(struct gstream *st, uint32_t n)
{
	st->send_credit = n > UINT32_MAX - st->send_credit ? UINT32_MAX : st->send_credit + n;
	if (st->wants_room && buf_room(&mux.out) >= 2 * RESERVE + MUX_DATA_MAX) {
		unqueue(st);
		st->wants_room = false;
		st->ops->on_room(st->arg);
	} else if (st->wants_room) {
		enqueue(st);
	}
}

/* False: we did not ask, or it was answered before. */
static bool on_opened(struct gstream *st, uint32_t window)
{
	if (!st->asked)
		return false;
	st->asked = false;
	on_credit(st, window);
	return true;
}

/* False: this may not be, and the channel ends. */
static bool on_frame(const struct mux_frame *f)
{
	if (f->type == MUX_HELLO) {
		start_over();
		mux_put_hello(&mux.out, 0);
		mux.up = true;
		mux.last = 0;
		mux.next = 2;
		mux.wrapped = false;
		return true;
	}
	if (f->type == MUX_OPEN)
		return on_open(f);
	struct gstream *st = *find(f->stream);
	if (!st) /* on its way when we reset it, or never opened */
		return f->stream % 2 == 1 ? f->stream <= mux.last : mux.wrapped || f->stream < mux.next;
	if (st->asked && f->type != MUX_OPENED && f->type != MUX_RESET)
		return false;
	switch (f->type) {
	case MUX_DATA:
		on_data(st, f);
		return true;
	case MUX_RESET:
		gone(st);
		return true;
	case MUX_CREDIT:
		on_credit(st, f->a);
		return true;
	case MUX_EOF:
		if (!st->eof_got) {
			st->eof_got = true;
			st->ops->on_eof(st->arg);
		}
		return true;
	default:
		return on_opened(st, f->a);
	}
}

/* Drops input up to what may be a HELLO; false when there is none yet. */
static bool seek_hello(void)
{
	static const uint8_t head[12] = { 0, 0, 0, 0, 12, 0, MUX_HELLO, 0, MUX_MAGIC & 255, MUX_MAGIC >> 8 & 255, MUX_MAGIC >> 16 & 255, MUX_MAGIC >> 24 };
	const size_t n = buf_size(&mux.in);
	const uint8_t *at = n > 0 ? memmem(buf_head(&mux.in), n, head, sizeof(head)) : NULL;

	if (at)
		buf_consume(&mux.in, (size_t)(at - buf_head(&mux.in)));
	else if (n >= sizeof(head))
		buf_consume(&mux.in, n - sizeof(head) + 1);
	return at != NULL;
}

static void parse(void)
{
	struct mux_frame f;
	size_t used;

	while (buf_size(&mux.in) > 0 && buf_room(&mux.out) >= RESERVE / 2) {
		if (!mux.up && !seek_hello())
			return;
		const int r = mux_parse(buf_head(&mux.in), buf_size(&mux.in), &f, &used);
		if (r == -EAGAIN)
			return;
		if (r == 0 && on_frame(&f)) {
			buf_consume(&mux.in, used);
			continue;
		}
		lost_the_thread("the host sent what is no frame");
		buf_consume(&mux.in, 1); /* what looked like a HELLO and is none is not found again */
	}
}

static void on_retry(void *arg)
{
	(void)arg;
	interest();
}

static void disconnected(void)
{
	if (mux.up)
		log_info("the host has closed the channel");
	start_over();
	buf_clear(&mux.in);
	loop_want(&mux.w, 0);
	mux.retry_ms = mux.retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : mux.retry_ms * 2;
	loop_after(&mux.retry, mux.retry_ms, on_retry, NULL);
}

static void on_port(void *arg, uint32_t events)
{
	(void)arg;
	if (events & EPOLLOUT)
		flush();
	for (int i = 0; i < READS && (events & (EPOLLIN | EPOLLHUP)) && buf_room(&mux.in) > 0; i++) {
		const size_t room = buf_room(&mux.in), want = room < READ_ONE ? room : READ_ONE;
		uint8_t *p = buf_reserve(&mux.in, want);
		const ssize_t n = p ? read(mux.fd, p, want) : 0;

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n <= 0) {
			parse();
			disconnected();
			return;
		}
		buf_grew(&mux.in, (size_t)n);
		mux.retry_ms = RETRY_MIN_MS;
		if ((size_t)n < VIRTPORT_PAGE)
			break; /* the driver gives a page at a time: this was the last of what the host wrote */
	}
	parse();
	give_room();
}

/* ---- start --------------------------------------------------------------------------------------------------------------------- */

int gmux_start_fd(int fd, gmux_accept accept)
{
	mux.fd = fd;
	mux.accept = accept;
	mux.retry_ms = RETRY_MIN_MS;
	buf_init(&mux.in, IN_MAX);
	buf_init(&mux.out, OUT_MAX);
	mux.hungry.before = mux.hungry.behind = &mux.hungry;
	loop_each_turn(each_turn);
	const int r = fd_nonblock(fd);
	return r < 0 ? r : loop_add(&mux.w, fd, EPOLLIN, on_port, NULL);
}

int gmux_start(gmux_accept accept)
{
	const int fd = virtport_open(MUX_PORT_NAME);

	return fd < 0 ? gvsock_start(accept) : gmux_start_fd(fd, accept);
}
