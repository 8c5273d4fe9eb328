/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Viewers get state, never history (core/proto/rows.h): a frame holds the rows that changed since the last one sent. At most two frames
 * are on their way; a viewer that does not acknowledge gets nothing, costs nothing, and gets one frame with what is newest when it
 * does. Frames go at most every FRAME_MS, but at once to a viewer that has just typed: its key's echo is not held back.
 *
 * A viewer's bytes are foreign: every frame is unpacked with bounds, what is none ends the viewer.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/term/term.h"

#define UNACKED_MAX 2u
#define PASTE_MAX 65536u
#define HISTORY_ASK_MAX 1000u
#define FRAME_ROOM (2 * ROWS_FRAME_MAX) /* of the queue, for anything but a small frame */
#define ROW_ROOM (64u * 1024u)          /* more than the largest row takes: ROWS_MAX cells of their own style with CELL_TEXT_MAX bytes */

static void viewer_drop(struct viewer *v)
{
	struct session *s = v->s;

	for (struct viewer **p = &s->viewers; *p; p = &(*p)->next)
		if (*p == v) {
			*p = v->next;
			break;
		}
	after_cancel(&v->later);
	stream_close(&v->stream);
	free(v->notify);
	free(v);
	s->t->nviewers--;
	session_dirty(s);
}

/* ---- out ---------------------------------------------------------------------------------------------------------------------------- */

static bool head_changed(const struct viewer *v, const struct rows_head *h)
{
	return h->cursor_row != v->head.cursor_row || h->cursor_col != v->head.cursor_col || h->cursor_visible != v->head.cursor_visible ||
	       h->cursor_shape != v->head.cursor_shape || h->cursor_blink != v->head.cursor_blink || h->modes != v->head.modes ||
	       h->history_first != v->head.history_first || h->history_total != v->head.history_total;
}

/* Links a viewer does not know yet, before the first frame that may use them; false when there is no room for all of them now. */
static bool send_links(struct viewer *v)
{
	struct buf *out = stream_out(v->stream);

	for (; v->links_sent < vt_links(v->s->vt); v->links_sent++) {
		if (buf_room(out) < FRAME_ROOM)
			return false;
		const size_t at = frame_begin(out, ROWS_LINK, 0);

		buf_u16(out, (uint16_t)(v->links_sent + 1));
		buf_str16(out, vt_link(v->s->vt, (uint16_t)(v->links_sent + 1)));
		frame_end(out, at);
	}
	return true;
}

static void send_small(struct viewer *v)
{
	struct session *s = v->s;
	struct buf *out = stream_out(v->stream);
	size_t at;

	if (v->title_due) {
		at = frame_begin(out, ROWS_TITLE, 0);
		buf_str16(out, s->told.title);
		frame_end(out, at);
	}
	if (v->bell_due)
		frame_put(out, ROWS_BELL, 0, NULL, 0);
	if (v->notify) {
		at = frame_begin(out, ROWS_NOTIFY, 0);
		buf_str16(out, v->notify);
		frame_end(out, at);
		free(v->notify);
		v->notify = NULL;
	}
	v->title_due = v->bell_due = false;
}

/* From next_row on the rows newer than this viewer has, at most ROWS_FRAME_MAX. */
static void send_part(struct viewer *v)
{
	static struct cell cells[ROWS_MAX];
	struct grid *g = vt_grid(v->s->vt);
	struct buf *out = stream_out(v->stream);
	const size_t at = frame_begin(out, ROWS_FRAME, 0), begin = buf_size(out);
	uint16_t n = 0;

	rows_head_pack(out, &v->head);
	const size_t count_at = buf_size(out) - 2;
	for (; v->next_row < g->rows && buf_size(out) - begin < ROWS_FRAME_MAX - ROW_ROOM; v->next_row++) {
		uint8_t flags;

		if (!v->all && g->row_gen[v->next_row] <= v->sent_gen)
			continue;
		const size_t used = grid_row(g, v->next_row, cells, &flags);
		row_pack(out, (uint16_t)v->next_row, flags, cells, used);
		n++;
	}
	frame_end(out, at);
	if (buf_ok(out)) {
		uint8_t *p = out->data + out->off;

		p[count_at] = (uint8_t)n;
		p[count_at + 1] = (uint8_t)(n >> 8);
		p[at + 1] = v->next_row < g->rows ? ROWS_MORE : 0;
	}
}

static void begin_frame(struct viewer *v)
{
	vt_head(v->s->vt, &v->head);
	v->head.gen = grid_tick(vt_grid(v->s->vt));
	v->next_row = 0;
	v->partial = true;
}

/*
 * What is left of the frame that was begun, as far as the stream takes it: a large screen of many colours is more than the queue holds. Rows that
 * change before they are sent go out as they are then, and again in the next frame. False when it is not all sent.
 */
static bool go_on(struct viewer *v)
{
	struct grid *g = vt_grid(v->s->vt);

	if (v->head.rows != g->rows || v->head.cols != g->cols)
		begin_frame(v); /* another size: from the start, in the same frame; `all` is set */
	while (v->next_row < g->rows) {
		if (!send_links(v) || buf_room(stream_out(v->stream)) < FRAME_ROOM) {
			stream_want_drain(v->stream);
			return false;
		}
		send_part(v);
	}
	v->partial = v->all = v->typed = false;
	v->sent_gen = v->head.gen;
	v->unacked++;
	v->last_frame_ms = clock_ms();
	return true;
}

static void on_later(void *arg);

/* True when there is something to tell. */
static bool is_due(const struct viewer *v)
{
	const struct grid *g = vt_grid(v->s->vt);
	struct rows_head h;

	if (v->all)
		return true;
	for (unsigned r = 0; r < g->rows; r++)
		if (g->row_gen[r] > v->sent_gen)
			return true;
	vt_head(v->s->vt, &h);
	return head_changed(v, &h);
}

static void send_exit(struct viewer *v)
{
	const struct session *s = v->s;
	struct buf *out = stream_out(v->stream);
	const size_t at = frame_begin(out, ROWS_EXIT, 0);

	buf_u32(out, s->told.code);
	buf_u32(out, s->told.signo);
	frame_end(out, at);
	v->exit_sent = true;
}

static void viewer_flush(struct viewer *v)
{
	struct session *s = v->s;

	if (!v->greeted)
		return;
	if (buf_room(stream_out(v->stream)) < FRAME_ROOM) {
		stream_want_drain(v->stream);
		return;
	}
	if (!v->partial) {
		const uint64_t since = clock_ms() - v->last_frame_ms;

		if (v->unacked >= UNACKED_MAX)
			return;
		if (!v->typed && !v->all && since < FRAME_MS) {
			if (!v->later)
				after_set(&v->later, s->t->loop, FRAME_MS - since, on_later, v);
			return;
		}
		if (is_due(v))
			begin_frame(v);
	}
	if (v->partial && !go_on(v)) {
		stream_flush(v->stream);
		return;
	}
	send_small(v);
	if (s->ended && !v->exit_sent)
		send_exit(v);
	stream_flush(v->stream);
}

static void on_later(void *arg)
{
	viewer_flush(arg);
}

void viewers_changed(struct session *s)
{
	struct viewer *next;

	for (struct viewer *v = s->viewers; v; v = next) {
		next = v->next;
		viewer_flush(v);
	}
}

void viewers_title(struct session *s)
{
	for (struct viewer *v = s->viewers; v; v = v->next)
		v->title_due = true;
}

void viewers_bell(struct session *s)
{
	for (struct viewer *v = s->viewers; v; v = v->next)
		v->bell_due = true;
}

void viewers_notify(struct session *s, const char *text)
{
	for (struct viewer *v = s->viewers; v; v = v->next) {
		free(v->notify);
		v->notify = str_dup(text);
	}
}

void viewers_clipboard(struct session *s, const char *text, size_t n)
{
	for (struct viewer *v = s->viewers; v; v = v->next) {
		struct buf *out = stream_out(v->stream);

		if (v->readonly || !v->greeted || buf_room(out) < FRAME_ROOM)
			continue;
		const size_t at = frame_begin(out, ROWS_CLIPBOARD, 0);
		buf_blob32(out, text, n);
		frame_end(out, at);
		stream_flush(v->stream);
	}
}

void viewers_resized(struct session *s)
{
	for (struct viewer *v = s->viewers; v; v = v->next)
		v->all = true;
	viewers_changed(s);
}

unsigned viewers_count(const struct session *s)
{
	unsigned n = 0;

	for (const struct viewer *v = s->viewers; v; v = v->next)
		n++;
	return n;
}

/* ---- in ------------------------------------------------------------------------------------------------------------------------------- */

static void send_history(struct viewer *v, uint32_t request, uint64_t first, uint16_t count)
{
	static struct cell cells[ROWS_MAX];
	const struct grid *g = vt_grid(v->s->vt);
	struct buf *out = stream_out(v->stream);
	const uint64_t kept = grid_history_first(g), total = grid_history_total(g);
	const size_t at = frame_begin(out, ROWS_HISTORY, 0), begin = buf_size(out);
	uint16_t n = 0;

	if (first < kept)
		first = kept;
	buf_u32(out, request);
	buf_u64(out, first);
	buf_u64(out, kept);
	buf_u64(out, total);
	const size_t count_at = buf_size(out);
	buf_u16(out, 0);
	for (; n < count && first + n < total && buf_size(out) - begin < ROWS_FRAME_MAX - ROW_ROOM; n++) {
		uint8_t flags;
		const int used = grid_history_line(g, first + n, cells, ROWS_MAX, &flags);

		row_pack(out, n, flags, cells, used > 0 ? (size_t)used : 0);
	}
	frame_end(out, at);
	if (buf_ok(out)) {
		out->data[out->off + count_at] = (uint8_t)n;
		out->data[out->off + count_at + 1] = (uint8_t)(n >> 8);
	}
	stream_flush(v->stream);
}

static void send_found(struct viewer *v, uint32_t request, const struct found *f)
{
	struct buf *out = stream_out(v->stream);
	const size_t at = frame_begin(out, ROWS_FOUND, 0);

	buf_u32(out, request);
	buf_u8(out, f->found);
	buf_u64(out, f->line);
	buf_u16(out, f->col);
	buf_u16(out, f->cols);
	frame_end(out, at);
	stream_flush(v->stream);
}

static int on_hello(struct viewer *v, struct rbuf *r)
{
	struct buf *out = stream_out(v->stream);
	uint16_t version, flags;

	rbuf_u16(r, &version);
	rbuf_u16(r, &v->rows);
	rbuf_u16(r, &v->cols);
	rbuf_u16(r, &flags);
	if (rbuf_done(r) < 0 || v->greeted || version != ROWS_VERSION || v->rows < 1 || v->rows > ROWS_MAX || v->cols < 1 || v->cols > ROWS_MAX)
		return -EBADMSG;
	v->greeted = true;
	v->no_resize = flags & 1;
	const size_t at = frame_begin(out, ROWS_HELLO, 0);
	buf_u16(out, ROWS_VERSION);
	buf_u32(out, v->s->told.session);
	buf_str16(out, v->s->told.label);
	frame_end(out, at);
	v->title_due = v->s->told.title[0] != '\0';
	v->all = true;
	if (!v->no_resize && !v->readonly)
		pty_resize(v->s, v->rows, v->cols);
	viewer_flush(v);
	return 0;
}

static int on_resize(struct viewer *v, struct rbuf *r)
{
	uint16_t rows, cols;

	rbuf_u16(r, &rows);
	rbuf_u16(r, &cols);
	if (rbuf_done(r) < 0 || rows < 1 || rows > ROWS_MAX || cols < 1 || cols > ROWS_MAX)
		return -EBADMSG;
	v->rows = rows;
	v->cols = cols;
	if (!v->no_resize && !v->readonly)
		pty_resize(v->s, rows, cols);
	return 0;
}

static int on_key(struct viewer *v, struct rbuf *r)
{
	uint32_t key;
	uint8_t mods;

	rbuf_u32(r, &key);
	rbuf_u8(r, &mods);
	if (rbuf_done(r) < 0)
		return -EBADMSG;
	vt_key(v->s->vt, key, mods);
	return 0;
}

static int on_mouse(struct viewer *v, struct rbuf *r)
{
	uint16_t row, col;
	uint8_t button, mods, press;

	rbuf_u16(r, &row);
	rbuf_u16(r, &col);
	rbuf_u8(r, &button);
	rbuf_u8(r, &mods);
	rbuf_u8(r, &press);
	if (rbuf_done(r) < 0)
		return -EBADMSG;
	vt_mouse(v->s->vt, row, col, button, mods, press);
	return 0;
}

static int on_search(struct viewer *v, struct rbuf *r)
{
	char text[257];
	uint32_t request;
	uint64_t line;
	uint16_t col;
	uint8_t backward;

	rbuf_u32(r, &request);
	rbuf_u64(r, &line);
	rbuf_u16(r, &col);
	rbuf_u8(r, &backward);
	rbuf_str16(r, text, sizeof(text));
	if (rbuf_done(r) < 0)
		return -EBADMSG;
	const struct found f = search(v->s->vt, line, col, backward, text);
	send_found(v, request, &f);
	return 0;
}

/* What a person's keys and mouse do; the terminal turns to the size of who does it. */
static int on_input(struct viewer *v, const struct frame *f, struct rbuf *r)
{
	struct session *s = v->s;
	uint8_t in;
	int rc = 0;

	if (v->readonly || s->ended)
		return 0;
	if (!v->no_resize)
		pty_resize(s, v->rows, v->cols);
	v->typed = true;
	switch (f->type) {
	case VIEW_BYTES:
		pty_input(s, f->payload, f->len);
		break;
	case VIEW_KEY:
		rc = on_key(v, r);
		break;
	case VIEW_MOUSE:
		rc = on_mouse(v, r);
		break;
	case VIEW_PASTE:
		if (f->len > PASTE_MAX)
			return -EBADMSG;
		vt_paste(s->vt, f->payload, f->len, f->flags & 1, f->flags & 2);
		break;
	default:
		rbuf_u8(r, &in);
		if (rbuf_done(r) < 0)
			return -EBADMSG;
		vt_focus(s->vt, in);
		v->typed = false;
		pty_flush_input(s);
		return 0;
	}
	pty_input(s, NULL, 0);
	return rc;
}

static int on_frame(struct viewer *v, const struct frame *f)
{
	struct rbuf r;
	uint32_t request;
	uint64_t n;
	uint16_t count;

	rbuf_init(&r, f->payload, f->len);
	if (!v->greeted)
		return f->type == VIEW_HELLO ? on_hello(v, &r) : -EBADMSG;
	switch (f->type) {
	case VIEW_ACK:
		rbuf_u64(&r, &n);
		if (rbuf_done(&r) < 0 || v->unacked == 0)
			return -EBADMSG;
		v->acked_gen = n;
		v->unacked--;
		viewer_flush(v);
		return 0;
	case VIEW_RESIZE:
		return on_resize(v, &r);
	case VIEW_HISTORY:
		rbuf_u32(&r, &request);
		rbuf_u64(&r, &n);
		rbuf_u16(&r, &count);
		if (rbuf_done(&r) < 0 || count > HISTORY_ASK_MAX)
			return -EBADMSG;
		send_history(v, request, n, count);
		return 0;
	case VIEW_SEARCH:
		return on_search(v, &r);
	case VIEW_CLIP_REPLY:
		return f->len == 1 ? 0 : -EBADMSG;
	case VIEW_BYTES:
	case VIEW_KEY:
	case VIEW_PASTE:
	case VIEW_MOUSE:
	case VIEW_FOCUS:
		return on_input(v, f, &r);
	default:
		return -EBADMSG;
	}
}

static void on_read(void *arg, struct buf *in)
{
	struct viewer *v = arg;

	for (;;) {
		struct frame f;
		size_t used;
		/* Typed faster than the guest reads, or answers that it does not take: it waits, nobody else does. */
		if (buf_size(&v->s->input) > INPUT_MAX / 2)
			return;
		if (buf_room(stream_out(v->stream)) < FRAME_ROOM) {
			stream_want_drain(v->stream);
			return;
		}
		const int r = frame_parse(buf_head(in), buf_size(in), PASTE_MAX, &f, &used);
		if (r == -EAGAIN && !stream_cut(v->stream))
			return;
		if (r < 0 || on_frame(v, &f) < 0) {
			log_warn("a viewer of session %u sent something that is no frame: it is dropped", v->s->told.session);
			viewer_drop(v);
			return;
		}
		buf_consume(in, used);
	}
}

static void on_eof(void *arg)
{
	viewer_drop(arg);
}

static void on_drain(void *arg)
{
	struct viewer *v = arg;

	stream_kick(v->stream);
	viewer_flush(v);
}

static void on_closed(void *arg, int why)
{
	(void)why;
	viewer_drop(arg);
}

static const struct stream_ops ops = { .on_read = on_read, .on_eof = on_eof, .on_drain = on_drain, .on_closed = on_closed };

void viewer_attach_take(struct session *s, int fd, bool readonly)
{
	struct viewer *v = viewers_count(s) < VIEWERS_MAX && s->t->nviewers < VIEWERS_ALL_MAX ? calloc(1, sizeof(*v)) : NULL;

	if (!v) {
		close(fd);
		return;
	}
	v->s = s;
	v->readonly = readonly;
	if (stream_open_take(&v->stream, s->t->loop, fd, VIEWER_IN_MAX, VIEWER_OUT_MAX, &ops, v) < 0) {
		free(v);
		return;
	}
	v->next = s->viewers;
	s->viewers = v;
	s->t->nviewers++;
	session_dirty(s);
}

void viewers_kick(struct session *s)
{
	for (struct viewer *v = s->viewers; v; v = v->next)
		if (buf_size(stream_in(v->stream)) > 0)
			stream_kick(v->stream);
}

void viewers_release(struct session *s)
{
	while (s->viewers)
		viewer_drop(s->viewers);
}
