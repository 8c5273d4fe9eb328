/* SPDX-License-Identifier: Apache-2.0 */
/* See viewer.h. */
#include "tui/viewer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/utf8.h"

#define OUT_MAX (2u * 1024u * 1024u)
#define READ_MAX (256u * 1024u)
#define PASTE_PART 32768u

struct viewer *viewer_create(const char *sandbox, uint32_t session, bool preview, int rows, int cols)
{
	struct viewer *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	str_copy(v->sandbox, sizeof(v->sandbox), sandbox);
	v->session = session;
	v->preview = preview;
	v->fd = -1;
	v->rows = rows < 1 ? 1 : rows;
	v->cols = cols < 1 ? 1 : cols;
	buf_init(&v->in, FRAME_HEAD + FRAME_PAYLOAD_MAX + READ_MAX);
	buf_init(&v->out, OUT_MAX);
	buf_init(&v->clip, VIEWER_CLIP_MAX);
	return v;
}

void viewer_destroy(struct viewer *v)
{
	if (!v)
		return;
	fd_close(&v->fd);
	buf_release(&v->in);
	buf_release(&v->out);
	buf_release(&v->clip);
	cells_release(&v->shown);
	cells_release(&v->staged);
	cells_release(&v->history);
	for (size_t i = 0; i < VIEWER_LINKS_MAX; i++)
		free(v->links[i]);
	free(v);
}

static void gone(struct viewer *v, const char *why)
{
	fd_close(&v->fd);
	v->state = VIEWER_GONE;
	v->changed = true;
	str_copy(v->why, sizeof(v->why), why);
}

void viewer_attach(struct viewer *v, uint32_t session, int fd)
{
	struct buf early = v->out; /* what was typed meanwhile */

	fd_close(&v->fd);
	buf_clear(&v->in);
	buf_init(&v->out, OUT_MAX);
	v->fd = fd;
	v->session = session;
	v->state = VIEWER_LIVE;
	v->staging = v->ack_due = false;
	fd_nonblock(fd);
	const size_t at = frame_begin(&v->out, VIEW_HELLO, 0);
	buf_u16(&v->out, ROWS_VERSION);
	buf_u16(&v->out, (uint16_t)v->rows);
	buf_u16(&v->out, (uint16_t)v->cols);
	buf_u16(&v->out, v->preview ? 1 : 0);
	frame_end(&v->out, at);
	if (buf_size(&early))
		buf_put(&v->out, buf_head(&early), buf_size(&early));
	buf_release(&early);
	viewer_flush(v);
}

/* Input can be taken: it is there, or on its way. */
static bool takes_input(const struct viewer *v)
{
	return v->fd >= 0 || v->state == VIEWER_ASKED;
}

/* ---- in ----------------------------------------------------------------------------------------------------------------------- */

static int on_rows(struct viewer *v, struct rbuf *r, bool more)
{
	struct rows_head h;
	int rc;

	if (rows_head_unpack(r, &h) < 0)
		return -EBADMSG;
	/* Parts of one frame gather beside what is shown: a half frame is never drawn. */
	if (more && !v->staging) {
		if (v->shown.cell && cells_copy(&v->staged, &v->shown) < 0)
			return -ENOMEM;
		v->staging = true;
	}
	struct cells *to = v->staging ? &v->staged : &v->shown;
	if ((rc = cells_resize(to, h.rows, h.cols)) < 0 || (rc = cells_apply(to, r, h.nrows)) < 0 || (rc = rbuf_done(r)) < 0)
		return rc;
	if (more)
		return 0;
	if (v->staging) {
		const struct cells t = v->shown;

		v->shown = v->staged;
		v->staged = t;
		v->staging = false;
	}
	v->head = h;
	v->changed = v->ack_due = true;
	return 0;
}

static int on_history(struct viewer *v, struct rbuf *r)
{
	uint32_t request;
	uint64_t first, kept, total;
	uint16_t n;

	rbuf_u32(r, &request);
	rbuf_u64(r, &first);
	rbuf_u64(r, &kept);
	rbuf_u64(r, &total);
	if (rbuf_u16(r, &n) < 0 || n > ROWS_MAX || kept > total || first > total)
		return -EBADMSG;
	struct cells got = { 0 };
	if (n) {
		const int rc = cells_resize(&got, n, ROWS_MAX);

		if (rc < 0 || cells_apply(&got, r, n) < 0 || rbuf_done(r) < 0) {
			cells_release(&got);
			return -EBADMSG;
		}
	}
	cells_release(&v->history);
	v->history = got;
	v->history_n = n;
	v->history_first = first;
	v->history_kept = kept;
	v->history_total = total;
	v->history_due = true;
	return 0;
}

static int on_found(struct viewer *v, struct rbuf *r)
{
	uint32_t request;
	uint8_t hit;
	uint64_t line;
	uint16_t col, cols;

	rbuf_u32(r, &request);
	rbuf_u8(r, &hit);
	rbuf_u64(r, &line);
	rbuf_u16(r, &col);
	rbuf_u16(r, &cols);
	if (rbuf_done(r) < 0)
		return -EBADMSG;
	if (request == v->search_request) {
		v->found.hit = hit;
		v->found.line = line;
		v->found.col = col < ROWS_MAX ? col : ROWS_MAX - 1;
		v->found.cols = cols < ROWS_MAX ? cols : ROWS_MAX;
		v->found_due = true;
	}
	return 0;
}

static int on_link(struct viewer *v, struct rbuf *r)
{
	char uri[2049], clean[2049];
	uint16_t id;

	rbuf_u16(r, &id);
	rbuf_str16(r, uri, sizeof(uri));
	if (rbuf_done(r) < 0)
		return -EBADMSG;
	if (id < 1 || id > VIEWER_LINKS_MAX)
		return 0;
	scrub(clean, sizeof(clean), uri, strlen(uri), false);
	free(v->links[id - 1]);
	v->links[id - 1] = str_dup(clean);
	return 0;
}

static int on_text(struct rbuf *r, char *dst, size_t cap)
{
	char text[257];

	if (rbuf_str16(r, text, sizeof(text)) < 0)
		return -EBADMSG;
	scrub(dst, cap, text, strlen(text), false);
	return 0;
}

static int on_frame(struct viewer *v, const struct frame *f)
{
	struct rbuf r;
	const uint8_t *p;
	uint16_t version;
	uint32_t session;
	size_t n;

	rbuf_init(&r, f->payload, f->len);
	switch (f->type) {
	case ROWS_HELLO:
		rbuf_u16(&r, &version);
		rbuf_u32(&r, &session);
		if (on_text(&r, v->label, sizeof(v->label)) < 0 || rbuf_done(&r) < 0 || version != ROWS_VERSION)
			return -EBADMSG;
		v->session = session;
		return 0;
	case ROWS_FRAME:
		return on_rows(v, &r, f->flags & ROWS_MORE);
	case ROWS_TITLE:
		v->changed = true;
		return on_text(&r, v->title, sizeof(v->title));
	case ROWS_BELL:
		v->bell = true;
		return 0;
	case ROWS_NOTIFY:
		return on_text(&r, v->notify, sizeof(v->notify));
	case ROWS_CLIPBOARD:
		if (rbuf_blob32(&r, &p, &n) < 0 || rbuf_done(&r) < 0)
			return -EBADMSG;
		buf_clear(&v->clip);
		v->clip_due = buf_put(&v->clip, p, n) == 0;
		return 0;
	case ROWS_HISTORY:
		return on_history(v, &r);
	case ROWS_FOUND:
		return on_found(v, &r);
	case ROWS_LINK:
		return on_link(v, &r);
	case ROWS_EXIT:
		rbuf_u32(&r, &v->code);
		rbuf_u32(&r, &v->signo);
		v->exited = v->changed = true;
		return rbuf_done(&r);
	default:
		return -EBADMSG;
	}
}

static void take_frames(struct viewer *v)
{
	for (;;) {
		struct frame f;
		size_t used;
		int r = frame_parse(buf_head(&v->in), buf_size(&v->in), FRAME_PAYLOAD_MAX, &f, &used);

		if (r == -EAGAIN)
			return;
		if (r == 0)
			r = on_frame(v, &f);
		if (r < 0) {
			gone(v, "the terminal sent something that is no frame");
			return;
		}
		buf_consume(&v->in, used);
	}
}

void viewer_feed(struct viewer *v, const void *p, size_t n)
{
	if (v->state == VIEWER_GONE)
		return;
	if (buf_put(&v->in, p, n) < 0)
		gone(v, "the terminal sent more than it may");
	else
		take_frames(v);
}

void viewer_read(struct viewer *v)
{
	size_t total = 0;

	while (v->fd >= 0 && total < READ_MAX) {
		uint8_t *p = buf_reserve(&v->in, 65536);

		if (!p) {
			gone(v, "the terminal sent more than it may");
			return;
		}
		const ssize_t n = read(v->fd, p, 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		if (n <= 0) {
			gone(v, "the terminal's process is gone");
			return;
		}
		buf_grew(&v->in, (size_t)n);
		total += (size_t)n;
		take_frames(v);
	}
}

/* ---- out ---------------------------------------------------------------------------------------------------------------------- */

void viewer_flush(struct viewer *v)
{
	if (v->state == VIEWER_ASKED)
		return;
	if (v->out.failed) {
		gone(v, "the terminal takes no input any more");
		return;
	}
	while (v->fd >= 0 && buf_size(&v->out)) {
		const ssize_t n = send(v->fd, buf_head(&v->out), buf_size(&v->out), MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			if (errno != EAGAIN && errno != EWOULDBLOCK)
				gone(v, "the terminal's process is gone");
			return;
		}
		buf_consume(&v->out, (size_t)n);
	}
}

void viewer_drawn(struct viewer *v)
{
	v->changed = false;
	if (!v->ack_due || v->fd < 0)
		return;
	const size_t at = frame_begin(&v->out, VIEW_ACK, 0);
	buf_u64(&v->out, v->head.gen);
	frame_end(&v->out, at);
	v->ack_due = false;
	viewer_flush(v);
}

void viewer_key(struct viewer *v, uint32_t code, uint8_t mods)
{
	if (!takes_input(v))
		return;
	const size_t at = frame_begin(&v->out, VIEW_KEY, 0);
	buf_u32(&v->out, code);
	buf_u8(&v->out, mods);
	frame_end(&v->out, at);
}

void viewer_paste(struct viewer *v, const uint8_t *p, size_t n, bool first, bool last)
{
	if (!takes_input(v))
		return;
	do {
		const size_t part = n > PASTE_PART ? PASTE_PART : n;

		frame_put(&v->out, VIEW_PASTE, (uint8_t)((first ? 1 : 0) | (last && part == n ? 2 : 0)), p, part);
		first = false;
		p += part;
		n -= part;
	} while (n);
}

void viewer_mouse(struct viewer *v, int row, int col, uint8_t button, uint8_t mods, bool press)
{
	if (v->fd < 0 || row < 0 || col < 0)
		return;
	const size_t at = frame_begin(&v->out, VIEW_MOUSE, 0);
	buf_u16(&v->out, (uint16_t)row);
	buf_u16(&v->out, (uint16_t)col);
	buf_u8(&v->out, button);
	buf_u8(&v->out, mods);
	buf_u8(&v->out, press);
	frame_end(&v->out, at);
}

void viewer_focus(struct viewer *v, bool in)
{
	const uint8_t b = in;

	if (v->fd >= 0 && !v->preview)
		frame_put(&v->out, VIEW_FOCUS, 0, &b, 1);
}

void viewer_resize(struct viewer *v, int rows, int cols)
{
	if (rows < 1 || cols < 1 || rows > (int)ROWS_MAX || cols > (int)ROWS_MAX || (rows == v->rows && cols == v->cols))
		return;
	v->rows = rows;
	v->cols = cols;
	if (v->fd < 0 || v->preview)
		return;
	const size_t at = frame_begin(&v->out, VIEW_RESIZE, 0);
	buf_u16(&v->out, (uint16_t)rows);
	buf_u16(&v->out, (uint16_t)cols);
	frame_end(&v->out, at);
}

void viewer_history(struct viewer *v, uint64_t first, unsigned count)
{
	if (v->fd < 0)
		return;
	const size_t at = frame_begin(&v->out, VIEW_HISTORY, 0);
	buf_u32(&v->out, ++v->history_request);
	buf_u64(&v->out, first);
	buf_u16(&v->out, (uint16_t)count);
	frame_end(&v->out, at);
	viewer_flush(v);
}

void viewer_search(struct viewer *v, uint64_t line, int col, bool backward, const char *text)
{
	if (v->fd < 0)
		return;
	const size_t at = frame_begin(&v->out, VIEW_SEARCH, 0);
	buf_u32(&v->out, ++v->search_request);
	buf_u64(&v->out, line);
	buf_u16(&v->out, (uint16_t)(col < 0 ? 0 : col));
	buf_u8(&v->out, backward);
	buf_str16(&v->out, text);
	frame_end(&v->out, at);
	viewer_flush(v);
}

void viewer_clip_reply(struct viewer *v, bool allowed)
{
	const uint8_t b = allowed;

	if (v->fd >= 0)
		frame_put(&v->out, VIEW_CLIP_REPLY, 0, &b, 1);
}

const char *viewer_link(const struct viewer *v, uint16_t id)
{
	return id >= 1 && id <= VIEWER_LINKS_MAX ? v->links[id - 1] : NULL;
}
