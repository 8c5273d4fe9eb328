/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One turn: wait; keys first, and what they caused goes out; then the supervisor, the terminals (each a bounded amount), a command's output; then
 * at most one frame. A frame goes at once when somebody has just typed (the echo must not wait), else 16 ms after the last one; never
 * while the person's terminal has not taken the one before. What is not drawn is not acknowledged, so a flooding guest is slowed by itself.
 *
 * Signals only write a byte into a pipe.
 */
#include "tui/loop.h"

#include <curses.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/fd.h"

#define FRAME_MS 16
#define TYPED_MS 120       /* for so long after a key frames go at once */
#define TYPED_FRAME_MS 3
#define BELL_MS 250        /* a program that rings without end rings so often */
#define CLOCK_MS 10000     /* the header's clock, stale states */

struct loop {
	struct app *a;
	struct keyin in;
	uint64_t frame_ms, key_ms, in_ms;
	int sync_fd;
	bool key_due, input_over, blocked;
};

static int signal_pipe[2] = { -1, -1 };

static void on_signal(int n)
{
	const int saved = errno;
	const char c = (char)n;
	const ssize_t w = write(signal_pipe[1], &c, 1);

	(void)w; /* full: a byte is waiting already */
	errno = saved;
}

static void signals(void (*fn)(int))
{
	static const int all[] = { SIGCHLD, SIGWINCH, SIGTERM, SIGHUP, SIGINT, SIGCONT };
	struct sigaction sa = { .sa_handler = fn, .sa_flags = SA_RESTART };

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		sigaction(all[i], &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* ---- in ------------------------------------------------------------------------------------------------------------------------------------ */

static void keys_in(struct loop *l, bool quiet)
{
	struct key k;

	while (keys_next(&l->in, &k, quiet)) {
		input_key(l->a, &k);
		l->key_ms = clock_ms();
		l->key_due = true;
	}
}

static void read_keys(struct loop *l)
{
	size_t room;
	uint8_t *p = keys_tail(&l->in, &room);

	if (!room) { /* a sequence that never ends: what it is, it is */
		keys_in(l, true);
		return;
	}
	const ssize_t n = read(STDIN_FILENO, p, room);
	if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) {
		l->a->quit = l->input_over = true;
		return;
	}
	if (n > 0) {
		keys_grew(&l->in, (size_t)n);
		l->in_ms = clock_ms();
		keys_in(l, false);
	}
}

static void read_signals(struct loop *l)
{
	char c[64];
	const ssize_t n = read(signal_pipe[0], c, sizeof(c));

	for (ssize_t i = 0; i < n; i++)
		if (c[i] == SIGWINCH || c[i] == SIGCONT) {
			int rows, cols;

			screen_size(&rows, &cols);
			screen_resized(l->a->screen, rows, cols);
			l->a->dirty = true;
		} else if (c[i] == SIGCHLD) {
			output_reap(l->a);
		} else {
			l->a->quit = true;
		}
}

static void pump_client(struct app *a)
{
	struct err e = ERR_INIT;

	if (a->client && client_pump(a->client, &e) < 0)
		on_lost(a, e.msg);
}

/* What terminals brought besides rows. */
static void viewer_happenings(struct app *a, struct viewer *v)
{
	const struct pane *p = v->bell ? app_pane(a) : NULL;

	/* The bell of the terminal one types in is the person's, as in any terminal; of others one hears that they begin to wait. */
	if (p && p->v == v && (a->typing || a->attach_only) && clock_ms() - a->bell_ms >= BELL_MS) {
		a->bell_ms = clock_ms();
		a->ring = a->dirty = true;
	}
	v->bell = false;
	v->notify[0] = '\0'; /* told by the supervisor's attention event */
}

static void attach_only_end(struct app *a)
{
	struct pane *p = app_pane(a);

	if (!p || !p->v)
		return;
	if (p->v->exited) {
		a->exit_code = p->v->signo ? 128 + (int)p->v->signo : (int)(p->v->code & 255);
		a->quit = true;
	} else if (p->v->state == VIEWER_GONE && p->v->why[0]) {
		str_copy(a->last_words, sizeof(a->last_words), p->v->why);
		a->exit_code = 1;
		a->quit = true;
	}
}

static void copy_done(struct app *a)
{
	if (copy_pump(&a->copy))
		a->dirty = true;
	if (!a->copy.yank_ready)
		return;
	const size_t n = buf_size(&a->copy.yank);
	buf_clear(&a->clip_out);
	if (n)
		buf_put(&a->clip_out, buf_head(&a->copy.yank), n);
	if (n)
		app_message(a, EL_OK, "%zu bytes copied%s", n, a->copy.yank_cut ? ", the rest is too much" : "");
	else
		app_message(a, EL_MESSAGE, "nothing to copy");
	copy_leave(&a->copy);
}

/* ---- out ------------------------------------------------------------------------------------------------------------------------------------ */

static void beyond_cells(struct app *a)
{
	if (a->ring)
		screen_bell();
	a->ring = false;
	if (a->notify[0])
		screen_notify(a->notify);
	a->notify[0] = '\0';
	if (buf_size(&a->clip_out)) {
		screen_clipboard(buf_head(&a->clip_out), buf_size(&a->clip_out));
		buf_clear(&a->clip_out);
	}
}

static void frame(struct loop *l)
{
	struct app *a = l->a;

	a->dirty = false;
	draw_frame(a, a->screen->shown.rows, a->screen->shown.cols);
	if (screen_put(a->screen, &a->canvas))
		doupdate();
	beyond_cells(a);
	for (size_t i = 0; i < a->nviewers; i++)
		if (viewer_shown(a, a->viewers[i]))
			viewer_drawn(a->viewers[i]);
	l->frame_ms = clock_ms();
	l->key_due = false;
	if (l->sync_fd >= 0) {
		const ssize_t w = write(l->sync_fd, "f", 1);

		(void)w; /* a reader that does not read loses frames, not the dashboard */
	}
}

/* Milliseconds until a frame is due; -1 when nothing changed. */
static int frame_due(const struct loop *l, uint64_t now)
{
	if (!l->a->dirty)
		return -1;
	const bool typed = l->key_due || now - l->key_ms < TYPED_MS;
	const uint64_t next = l->frame_ms + (typed ? TYPED_FRAME_MS : FRAME_MS);
	return next <= now ? 0 : (int)(next - now);
}

static int shorter(int a, int b)
{
	return a < 0 ? b : b < 0 ? a : a < b ? a : b;
}

static int wait_ms(struct loop *l, uint64_t now)
{
	const struct app *a = l->a;
	int ms = CLOCK_MS;

	ms = shorter(ms, frame_due(l, now));
	if (keys_pending(&l->in) && !l->in.pasting)
		ms = shorter(ms, now - l->in_ms >= KEY_ESC_MS ? 0 : (int)(KEY_ESC_MS - (now - l->in_ms)));
	if (a->connecting)
		ms = shorter(ms, connecting_wait_ms(a->connecting));
	else if (!a->client)
		ms = shorter(ms, a->retry_ms <= now ? 0 : (int)(a->retry_ms - now));
	if (a->message[0] && a->message_until > now)
		ms = shorter(ms, (int)(a->message_until - now) + 1);
	ms = shorter(ms, ask_wait_ms(a));
	ms = shorter(ms, clip_wait_ms(a));
	for (size_t i = 0; i < a->npane_rects; i++) /* a stream that ended is asked for again after a while */
		if (a->pane_viewers[i] && a->pane_viewers[i]->state == VIEWER_GONE && !a->pane_viewers[i]->exited)
			ms = shorter(ms, 800);
	return ms;
}

/* ---- a turn ---------------------------------------------------------------------------------------------------------------------------------- */

enum { P_KEYS, P_SIGNAL, P_CLIENT, P_OUTPUT, P_TTY, P_FIRST_VIEWER };

static nfds_t interests(struct loop *l, struct pollfd *p, struct viewer **who, bool drawing)
{
	struct app *a = l->a;
	nfds_t n = P_FIRST_VIEWER;

	p[P_KEYS] = (struct pollfd){ STDIN_FILENO, POLLIN, 0 };
	p[P_SIGNAL] = (struct pollfd){ signal_pipe[0], POLLIN, 0 };
	p[P_CLIENT] = (struct pollfd){ -1, 0, 0 };
	if (a->client)
		p[P_CLIENT] = (struct pollfd){ client_fd(a->client), client_poll_events(a->client), 0 };
	else if (a->connecting)
		p[P_CLIENT] = (struct pollfd){ connecting_fd(a->connecting), POLLIN, 0 };
	p[P_OUTPUT] = (struct pollfd){ a->output.fd, POLLIN, 0 };
	p[P_TTY] = (struct pollfd){ drawing ? STDOUT_FILENO : -1, POLLOUT, 0 };
	for (size_t i = 0; i < a->nviewers; i++) {
		struct viewer *v = a->viewers[i];

		if (v->fd < 0)
			continue;
		who[n - P_FIRST_VIEWER] = v;
		p[n++] = (struct pollfd){ v->fd, (short)(POLLIN | (viewer_wants_out(v) ? POLLOUT : 0)), 0 };
	}
	return n;
}

static void viewers_turn(struct app *a, const struct pollfd *p, nfds_t n, struct viewer **who)
{
	for (nfds_t i = P_FIRST_VIEWER; i < n; i++) {
		struct viewer *v = who[i - P_FIRST_VIEWER];
		bool there = false;

		for (size_t k = 0; k < a->nviewers; k++) /* a key or an event may have dropped it */
			there = there || a->viewers[k] == v;
		if (!there || !p[i].revents || v->fd != p[i].fd)
			continue;
		if (p[i].revents & POLLOUT)
			viewer_flush(v);
		if (p[i].revents & (POLLIN | POLLHUP | POLLERR))
			viewer_read(v);
		if (v->changed && viewer_shown(a, v))
			a->dirty = true;
		viewer_happenings(a, v);
	}
}

static void flush_viewers(struct app *a)
{
	for (size_t i = 0; i < a->nviewers; i++)
		if (viewer_wants_out(a->viewers[i]))
			viewer_flush(a->viewers[i]);
}

static void turn(struct loop *l)
{
	struct app *a = l->a;
	struct pollfd p[P_FIRST_VIEWER + VIEWERS_MAX];
	struct viewer *who[VIEWERS_MAX];
	const bool blocked = l->blocked;
	const nfds_t n = interests(l, p, who, blocked);
	int ms = wait_ms(l, clock_ms());

	if (blocked && a->dirty)
		ms = 1000; /* the terminal must take what it has first: POLLOUT wakes us */
	if (poll(p, n, ms) < 0 && errno != EINTR)
		return;
	const uint64_t now = clock_ms();
	if (p[P_KEYS].revents)
		read_keys(l);
	else if (keys_pending(&l->in) && now - l->in_ms >= KEY_ESC_MS)
		keys_in(l, true);
	flush_viewers(a);
	if (p[P_SIGNAL].revents)
		read_signals(l);
	if (p[P_CLIENT].revents && a->client)
		pump_client(a);
	else if (!a->client && (a->connecting || a->retry_ms <= now))
		request_connect(a, a->retries >= 4);
	if (p[P_OUTPUT].revents && a->output.fd >= 0)
		output_read(a);
	viewers_turn(a, p, n, who);
	copy_done(a);
	clip_settle(a);
	if (a->attach_only)
		attach_only_end(a);
	if (a->message[0] && clock_ms() >= a->message_until) {
		a->message[0] = '\0';
		a->dirty = true;
	}
	if (now - l->frame_ms >= CLOCK_MS || ask_due(a, l->frame_ms, clock_ms()) || clip_due(a, l->frame_ms))
		a->dirty = true;
	for (size_t i = 0; i < a->npane_rects; i++)
		if (a->pane_viewers[i] && a->pane_viewers[i]->state == VIEWER_GONE && !a->pane_viewers[i]->exited && now - l->frame_ms > 750)
			a->dirty = true;
	if (frame_due(l, clock_ms()) == 0) {
		struct pollfd tty = { STDOUT_FILENO, POLLOUT, 0 };

		l->blocked = poll(&tty, 1, 0) <= 0;
		if (!l->blocked)
			frame(l);
	}
	flush_viewers(a);
	/* A request that was queued by a key goes now, not when something comes. */
	if (a->client && client_poll_events(a->client) & POLLOUT)
		pump_client(a);
}

void loop_run(struct app *a)
{
	struct loop *l = calloc(1, sizeof(*l));
	const char *sync = getenv("BULKHEAD_TEST_SYNC_FD");
	uint64_t fd;

	if (!l || pipe2(signal_pipe, O_CLOEXEC | O_NONBLOCK) < 0) {
		free(l);
		return;
	}
	l->a = a;
	l->sync_fd = sync && str_u64(sync, 3, 1023, &fd) == 0 ? (int)fd : -1;
	signals(on_signal);
	while (!a->quit)
		turn(l);
	signals(SIG_DFL);
	fd_close(&signal_pipe[0]);
	fd_close(&signal_pipe[1]);
	free(l);
}
