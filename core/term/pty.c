/* SPDX-License-Identifier: Apache-2.0 */
/* A terminal's session: the guest's bytes into the emulator and the recording, what viewers type back to the guest. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/str.h"
#include "core/term/term.h"

#define IDLE_MS 1000u  /* without output for so long: idle */
#define TYPED_MS 1000u /* a bell so soon after a key is about that key */

/* ---- attention ------------------------------------------------------------------------------------------------------------------ */

static void attention(struct session *s, enum attention_kind kind, const char *text)
{
	struct term_attention a = { .session = s->told.session, .kind = (uint8_t)kind };
	struct buf b;

	str_copy(a.text, sizeof(a.text), text);
	buf_init(&b, CHILD_MSG_MAX);
	child_head_pack(&b, TERM_ATTENTION, s->t->gen);
	term_attention_pack(&b, &a);
	childside_send(s->t->side, &b);
	buf_release(&b);
}

static bool prompt_visible(struct session *s)
{
	struct rows_head h;
	char text[4 * ROWS_MAX];

	if (!s->t->has_pattern)
		return false;
	vt_head(s->vt, &h);
	grid_row_text(vt_grid(s->vt), h.cursor_row, text, sizeof(text));
	return regexec(&s->t->pattern, text, 0, NULL, 0) == 0;
}

static uint32_t idle_ms(const struct session *s)
{
	return s->t->config.idle_ms > 0 && s->t->has_pattern ? s->t->config.idle_ms : IDLE_MS;
}

static void on_quiet(void *arg)
{
	struct session *s = arg;
	const uint64_t quiet = clock_ms() - s->output_ms, idle = idle_ms(s);

	if (quiet < idle) { /* there was output since the timer was set */
		after_set(&s->quiet, s->t->loop, idle - quiet, on_quiet, s);
		return;
	}
	const bool asks = s->asks || prompt_visible(s);

	if (asks && s->told.state == SESSION_BUSY && !s->asks)
		attention(s, ATTENTION_WAITS, s->told.title[0] ? s->told.title : s->told.label);
	session_set(s, asks ? SESSION_WAITS : SESSION_IDLE);
}

static void active(struct session *s)
{
	s->output_ms = clock_ms();
	s->told.last_output_ms = clock_wall_ns() / 1000000;
	if (!s->ended) {
		session_set(s, s->asks ? SESSION_WAITS : SESSION_BUSY);
		if (!s->quiet)
			after_set(&s->quiet, s->t->loop, idle_ms(s), on_quiet, s);
	}
}

/* ---- the emulator's callbacks ---------------------------------------------------------------------------------------------------- */

static void on_answer(void *arg, const char *p, size_t n, bool typed)
{
	struct session *s = arg;

	/* Answers to a program that does not read are dropped: it asks faster than it listens, and a person's keys come behind them. */
	if (!s->ended && buf_size(&s->input) + n <= (typed ? INPUT_MAX : ANSWERS_MAX))
		buf_put(&s->input, p, n);
}

static void on_title(void *arg, const char *text)
{
	struct session *s = arg;

	if (strcmp(s->told.title, text) == 0)
		return;
	str_copy(s->told.title, sizeof(s->told.title), text);
	viewers_title(s);
	session_dirty(s);
}

static void on_bell(void *arg)
{
	struct session *s = arg;

	viewers_bell(s);
	if (s->typed_ms && clock_ms() - s->typed_ms < TYPED_MS)
		return; /* an answer to what the person has just typed: who types is there */
	if (!s->asks)
		attention(s, ATTENTION_BELL, s->told.title[0] ? s->told.title : s->told.label);
	s->asks = true;
}

static void on_notify(void *arg, const char *text)
{
	struct session *s = arg;
	const uint64_t now = clock_ms();

	/* A program may print thousands: the supervisor hears of some, a viewer of the last. */
	if (s->notify_ms + NOTIFY_BURST * NOTIFY_MS < now)
		s->notify_ms = now - NOTIFY_BURST * NOTIFY_MS;
	if (s->notify_ms + NOTIFY_MS <= now) {
		s->notify_ms += NOTIFY_MS;
		attention(s, ATTENTION_NOTIFY, text);
	}
	s->asks = true;
	viewers_notify(s, text);
}

static void on_clipboard(void *arg, const char *text, size_t n)
{
	viewers_clipboard(arg, text, n);
}

static const struct vt_ops vt_ops = {
	.on_answer = on_answer, .on_title = on_title, .on_bell = on_bell, .on_notify = on_notify, .on_clipboard = on_clipboard,
};

/* ---- the guest's side ------------------------------------------------------------------------------------------------------------- */

int pty_init(struct session *s, uint16_t rows, uint16_t cols)
{
	s->vt = vt_create(rows ? rows : 24, cols ? cols : 80, s->t->config.scrollback, &vt_ops, s);
	if (!s->vt)
		return -ENOMEM;
	buf_init(&s->input, INPUT_MAX);
	s->told.rows = vt_grid(s->vt)->rows;
	s->told.cols = vt_grid(s->vt)->cols;
	s->size_due = s->told.rows != rows || s->told.cols != cols;
	record_start(&s->record, s->t->recdir, s->told.session, s->t->config.record_cap, s->told.rows, s->told.cols);
	return 0;
}

void pty_output(struct session *s, const uint8_t *p, size_t n)
{
	s->told.bytes_out += n;
	record_output(&s->record, p, n);
	vt_feed(s->vt, p, n);
}

void pty_shown(struct session *s)
{
	active(s);
	pty_flush_input(s);
	viewers_changed(s);
}

static void flush_size(struct session *s)
{
	if (!s->size_due || !s->guest)
		return;
	struct buf *out = stream_out(s->guest);
	if (buf_room(out) < FRAME_HEAD + 4) {
		stream_want_drain(s->guest);
		return;
	}
	const size_t at = frame_begin(out, SESS_RESIZE, 0);
	buf_u16(out, s->told.rows);
	buf_u16(out, s->told.cols);
	frame_end(out, at);
	s->size_due = false;
}

void pty_flush_input(struct session *s)
{
	flush_size(s);
	while (s->guest && s->started && s->credit > 0 && buf_size(&s->input) > 0) {
		struct buf *out = stream_out(s->guest);
		size_t n = buf_size(&s->input) < s->credit ? buf_size(&s->input) : s->credit;

		if (n > 16384)
			n = 16384;
		if (buf_room(out) < n + FRAME_HEAD) {
			stream_want_drain(s->guest);
			break;
		}
		frame_put(out, SESS_STDIN, 0, buf_head(&s->input), n);
		buf_consume(&s->input, n);
		s->credit -= (uint32_t)n;
	}
	if (s->guest)
		stream_flush(s->guest);
	if (buf_size(&s->input) < INPUT_MAX / 4)
		viewers_kick(s);
}

void pty_input(struct session *s, const void *p, size_t n)
{
	s->typed_ms = clock_ms();
	if (s->asks || s->told.state == SESSION_WAITS) {
		s->asks = false;
		session_set(s, SESSION_BUSY);
		s->output_ms = clock_ms();
		after_set(&s->quiet, s->t->loop, IDLE_MS, on_quiet, s);
	}
	if (n > 0)
		on_answer(s, p, n, true);
	pty_flush_input(s);
}

void pty_resize(struct session *s, uint16_t rows, uint16_t cols)
{
	struct grid *g = vt_grid(s->vt);

	if (rows == g->rows && cols == g->cols)
		return;
	vt_resize(s->vt, rows, cols);
	s->told.rows = g->rows;
	s->told.cols = g->cols;
	record_resize(&s->record, g->rows, g->cols);
	s->size_due = true;
	pty_flush_input(s);
	session_dirty(s);
	viewers_resized(s);
}

void pty_rule(struct session *s, const char *text)
{
	char line[400];
	/* In the program's own screen nothing of ours is drawn; leave it, then modes and attributes off, a line of its own. */
	const int n = snprintf(line, sizeof(line), "\x18\x1b[?1049l\x1b[!p\r\n\x1b[7m %.300s \x1b[0m\x1b[K\r\n", text);

	if (n > 0)
		vt_feed(s->vt, (const uint8_t *)line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
	viewers_changed(s);
}

void pty_release(struct session *s)
{
	after_cancel(&s->quiet);
	viewers_release(s);
	record_end(&s->record);
	vt_destroy(s->vt);
	s->vt = NULL;
	buf_release(&s->input);
}
