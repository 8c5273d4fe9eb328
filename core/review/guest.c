/* SPDX-License-Identifier: Apache-2.0 */
#include "core/review/guest.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/proto/frame.h"

#define REQUEST_MS 50u       /* more waiting for each request that is answered */
#define BYTES_A_MS 256u      /* and for each so many bytes: 256 KB a second */

void guest_init(struct guest *g, void (*lost)(void *arg), void *arg)
{
	*g = (struct guest){ .fd = -1, .patience = { .budget_ms = GUEST_MS }, .lost = lost, .arg = arg };
}

struct patience guest_allow(struct guest *g, uint64_t ms)
{
	const struct patience was = g->patience;

	g->patience = (struct patience){ .budget_ms = ms };
	return was;
}

void guest_resume(struct guest *g, const struct patience *p)
{
	g->patience = *p;
}

bool guest_connected(const struct guest *g)
{
	return g->fd >= 0;
}

static int cut(struct guest *g, struct err *e, int code, const char *why)
{
	fd_close(&g->fd);
	g->cuts++;
	log_warn("the guest is not asked any more until it has a new stream: %s", why);
	g->lost(g->arg);
	return err_set(e, code, "the sandbox does not answer as it should: %s", why);
}

static int wait_for(struct guest *g, short events)
{
	struct patience *t = &g->patience;

	for (;;) {
		const uint64_t most = t->budget_ms + t->bytes / BYTES_A_MS, began = clock_ms();
		struct pollfd p = { .fd = g->fd, .events = events };
		const int r = t->waited_ms >= most ? 0 : poll(&p, 1, (int)(most - t->waited_ms));

		t->waited_ms += clock_ms() - began;
		if (r > 0)
			return 0;
		if (r == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

static int send_all(struct guest *g, const struct buf *b)
{
	const uint8_t *p = buf_head(b);

	for (size_t n = buf_size(b); n > 0;) {
		const ssize_t sent = send(g->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		int r;

		if (sent > 0) {
			p += sent;
			n -= (size_t)sent;
		} else if (errno == EAGAIN) {
			if ((r = wait_for(g, POLLOUT)) < 0)
				return r;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

static int receive(struct guest *g, void *dst, size_t n)
{
	uint8_t *p = dst;

	while (n > 0) {
		const ssize_t got = recv(g->fd, p, n, MSG_DONTWAIT);
		int r;

		if (got > 0) {
			p += got;
			n -= (size_t)got;
			g->patience.bytes += (size_t)got;
		} else if (got == 0) {
			return -EPIPE;
		} else if (errno == EAGAIN) {
			if ((r = wait_for(g, POLLIN)) < 0)
				return r;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

/* One whole frame into mem[CHANGES_FRAME_MAX + FRAME_HEAD]. */
static int receive_frame(struct guest *g, uint8_t *mem, struct frame *f)
{
	size_t used;
	int r = receive(g, mem, FRAME_HEAD);

	if (r < 0)
		return r;
	r = frame_parse(mem, FRAME_HEAD, CHANGES_FRAME_MAX, f, &used);
	if (r != -EAGAIN && r != 0)
		return r;
	const size_t len = (size_t)mem[4] | (size_t)mem[5] << 8 | (size_t)mem[6] << 16 | (size_t)mem[7] << 24;
	if (len > CHANGES_FRAME_MAX)
		return -EBADMSG;
	if ((r = receive(g, mem + FRAME_HEAD, len)) < 0)
		return r;
	return frame_parse(mem, FRAME_HEAD + len, CHANGES_FRAME_MAX, f, &used);
}

static int ask(struct guest *g, uint8_t type, const struct changes_read *m)
{
	struct buf b;

	buf_init(&b, CHANGES_FRAME_MAX);
	const size_t at = frame_begin(&b, type, 0);
	changes_read_pack(&b, m);
	frame_end(&b, at);
	const int r = buf_ok(&b) ? send_all(g, &b) : -ENOBUFS;
	buf_release(&b);
	return r;
}

void guest_connect_take(struct guest *g, int fd)
{
	struct buf b;

	fd_close(&g->fd);
	g->fd = fd;
	buf_init(&b, 64);
	const size_t at = frame_begin(&b, CHANGES_READS, 0);
	buf_u16(&b, CHANGES_VERSION);
	frame_end(&b, at);
	if (fd_nonblock(fd) < 0 || send_all(g, &b) < 0) {
		fd_close(&g->fd);
		g->lost(g->arg);
	}
	buf_release(&b);
}

/* FAILED or DONE: the request is over. *code is the guest's errno, 0 for DONE. -EBADMSG: neither. */
static int closing(const struct frame *f, uint32_t id, int *code)
{
	struct rbuf r;
	uint32_t got = 0, number = 0;

	rbuf_init(&r, f->payload, f->len);
	rbuf_u32(&r, &got);
	if (f->type == CHANGES_FAILED)
		rbuf_u32(&r, &number);
	if ((f->type != CHANGES_FAILED && f->type != CHANGES_DONE) || rbuf_done(&r) < 0 || got != id || (f->type == CHANGES_FAILED && (number == 0 || number > 4095)))
		return -EBADMSG;
	*code = (int)number;
	return 0;
}

/* A piece onto what there is. 1: that was the last. */
static int take_piece(struct content *out, struct buf *b, const struct changes_data *d, bool first)
{
	if (first)
		out->side = (struct side){ .type = d->type, .mode = d->mode, .mtime_ns = d->mtime_ns };
	if (d->type != out->side.type || (d->type == CHANGES_WHITEOUT && !d->last) || d->offset != buf_size(b))
		return -EBADMSG;
	if (buf_put(b, d->p, d->n) < 0)
		return -EFBIG;
	if (!d->last && d->n == 0)
		return -EBADMSG;
	return d->last;
}

static int read_all(struct guest *g, uint32_t id, struct content *out, struct buf *b, uint8_t *mem, int *code)
{
	for (bool first = true;; first = false) {
		struct changes_data d;
		struct frame f;
		struct rbuf r;
		int rc = receive_frame(g, mem, &f);

		if (rc < 0)
			return rc;
		if (f.type != CHANGES_DATA)
			return closing(&f, id, code) < 0 || *code == 0 ? -EBADMSG : 0;
		rbuf_init(&r, f.payload, f.len);
		if (changes_data_unpack(&r, &d) < 0 || d.id != id)
			return -EBADMSG;
		if ((rc = take_piece(out, b, &d, first)) != 0)
			return rc < 0 ? rc : 0;
	}
}

int guest_read(struct guest *g, uint8_t index, const char *path, uint64_t most, struct content *out, struct err *e)
{
	AUTO_FREE struct changes_read *m = calloc(1, sizeof(*m));
	AUTO_FREE uint8_t *mem = malloc(FRAME_HEAD + CHANGES_FRAME_MAX);
	struct buf b;
	int code = 0;

	*out = (struct content){ .n = 0 };
	if (!m || !mem)
		return err_set(e, ENOMEM, "out of memory");
	if (g->fd < 0)
		return err_set(e, ENOTCONN, "the sandbox does not answer");
	*m = (struct changes_read){ .id = ++g->id, .index = index, .most = most + 1 };
	str_copy(m->path, sizeof(m->path), path);
	buf_init(&b, most + CHANGES_PIECE);
	int r = ask(g, CHANGES_READ, m);
	if (r == 0)
		r = read_all(g, m->id, out, &b, mem, &code);
	if (r == 0 && code == 0 && buf_size(&b) > most)
		code = EFBIG;
	if (r == 0 && code == 0) {
		out->n = buf_size(&b);
		out->side.size = out->n;
		if (b.off == 0)
			out->data = steal_ptr(&b.data);
		else if ((out->data = malloc(out->n + 1)))
			memcpy(out->data, buf_head(&b), out->n);
		if (!out->data && out->n > 0)
			code = ENOMEM;
	}
	buf_release(&b);
	if (r < 0)
		return cut(g, e, -r, r == -ETIMEDOUT ? "it took too long" : strerror(-r));
	g->patience.budget_ms += REQUEST_MS;
	g->cuts = 0;
	if (code == EFBIG)
		return err_set(e, EFBIG, "it is larger than %u MiB", (unsigned)(most >> 20));
	return code ? err_errno(e, code, "the sandbox cannot read it") : 0;
}

/* A request that is answered by DONE. */
static int command(struct guest *g, enum changes_frame type, uint8_t index, const char *path, uint64_t most, const char *what, struct err *e)
{
	AUTO_FREE struct changes_read *m = calloc(1, sizeof(*m));
	AUTO_FREE uint8_t *mem = malloc(FRAME_HEAD + CHANGES_FRAME_MAX);
	struct frame f;
	int code = 0, r;

	if (!m || !mem)
		return err_set(e, ENOMEM, "out of memory");
	if (g->fd < 0)
		return err_set(e, ENOTCONN, "the sandbox does not answer");
	*m = (struct changes_read){ .id = ++g->id, .index = index, .most = most };
	str_copy(m->path, sizeof(m->path), path);
	if ((r = ask(g, (uint8_t)type, m)) == 0 && (r = receive_frame(g, mem, &f)) == 0)
		r = closing(&f, m->id, &code);
	if (r < 0)
		return cut(g, e, -r, r == -ETIMEDOUT ? "it took too long" : strerror(-r));
	g->patience.budget_ms += REQUEST_MS;
	g->cuts = 0;
	return code ? err_errno(e, code, "%s", what) : 0;
}

int guest_discard(struct guest *g, uint8_t index, const char *path, struct err *e)
{
	struct err own = ERR_INIT;
	const int r = command(g, CHANGES_DISCARD, index, path, 0, "the sandbox cannot let go of it", &own);

	return r < 0 && r != -ENOENT ? err_set(e, own.code, "%s", own.msg) : 0;
}

int guest_keep(struct guest *g, uint8_t index, const char *path, struct err *e)
{
	return command(g, CHANGES_KEEP, index, path, 0, "the sandbox cannot keep its own copy of it", e);
}

int guest_discard_empty(struct guest *g, uint8_t index, const char *path)
{
	return command(g, CHANGES_DISCARD, index, path, CHANGES_IF_EMPTY, "it is not empty", NULL);
}
