/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/fuselane.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "guest/virtport.h"

#define PAGES 16 /* a read: the driver fills each part of it from a page of its own */
#define READS 16 /* a wake-up */

static void gone(struct fuselane *l)
{
	fuselane_close(l);
	l->ops->on_gone(l->arg);
}

/* Bytes that came; 0 none now, -errno the end. */
static ssize_t read_some(struct fuselane *l)
{
	struct iovec part[PAGES];
	size_t want = l->ring ? sizeof(l->wakes) : buf_room(&l->in);

	want = want < PAGES * VIRTPORT_PAGE ? want : PAGES * VIRTPORT_PAGE;
	uint8_t *p = l->ring ? l->wakes : want > 0 ? buf_reserve(&l->in, want) : NULL;
	if (!p)
		return want > 0 ? -ENOMEM : 0;
	int n = 0;
	for (size_t at = 0; at < want; at += VIRTPORT_PAGE)
		part[n++] = (struct iovec){ p + at, want - at < VIRTPORT_PAGE ? want - at : VIRTPORT_PAGE };
	const ssize_t got = readv(l->fd, part, n);
	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (!l->ring)
		buf_grew(&l->in, (size_t)got);
	return got > 0 ? got : -EPIPE;
}

/* What lies in the ring, if anything does. */
static bool look(void *arg)
{
	struct fuselane *l = arg;
	const uint8_t *from = (const uint8_t *)l->ring + FS_RING_HEAD;
	const uint32_t n = atomic_load(&l->ring->put) - l->taken, at = l->taken % FS_RING_SIZE;
	const size_t first = n < FS_RING_SIZE - at ? n : FS_RING_SIZE - at;

	if (n == 0)
		return false;
	if (n > FS_RING_SIZE || buf_put(&l->in, from + at, first) < 0 || buf_put(&l->in, from, n - first) < 0) {
		gone(l);
		return true;
	}
	l->taken += n;
	atomic_store_explicit(&l->ring->taken, l->taken, memory_order_release);
	l->ops->on_input(l->arg, &l->in);
	return true;
}

static void sleeps(void *arg, bool yes)
{
	struct fuselane *l = arg;

	atomic_store(&l->ring->looks, !yes);
}

static bool find_sign(struct fuselane *l)
{
	const size_t n = buf_size(&l->in), k = sizeof(l->sign);
	const uint8_t *at = n >= k ? memmem(buf_head(&l->in), n, l->sign, k) : NULL;

	if (at)
		buf_consume(&l->in, (size_t)(at - buf_head(&l->in)) + k);
	else if (n >= k)
		buf_consume(&l->in, n - k + 1);
	l->synced = at != NULL;
	return l->synced;
}

static void on_port(void *arg, uint32_t events)
{
	struct fuselane *l = arg;
	ssize_t n = 1;

	for (int i = 0; i < READS && n > 0 && events & (EPOLLIN | EPOLLHUP | EPOLLERR); i++) {
		n = read_some(l);
		if (n > 0 && !l->ring && (l->synced || find_sign(l)))
			l->ops->on_input(l->arg, &l->in);
		if (!fuselane_is_open(l))
			return;
		if (l->ring && look(l) && !fuselane_is_open(l))
			return;
		if (n > 0 && (size_t)n % VIRTPORT_PAGE != 0)
			break; /* the last of what the host wrote */
	}
	if (n < 0) {
		gone(l);
		return;
	}
	if (events & EPOLLOUT) {
		loop_want(&l->w, EPOLLIN);
		l->ops->on_room(l->arg);
	}
}

void fuselane_init(struct fuselane *l, size_t in_max, const struct fuselane_ops *ops, void *arg)
{
	*l = (struct fuselane){ .fd = -1, .w.fd = -1, .ops = ops, .arg = arg };
	buf_init(&l->in, in_max);
}

int fuselane_open_take(struct fuselane *l, int fd, const uint8_t sign[FS_LANE_SIGN])
{
	int r = fd_nonblock(fd);

	fuselane_close(l);
	if (r == 0)
		r = loop_add(&l->w, fd, EPOLLIN, on_port, l);
	if (r < 0) {
		close(fd);
		return r;
	}
	l->fd = fd;
	memcpy(l->sign, sign, sizeof(l->sign));
	return 0;
}

int fuselane_open(struct fuselane *l, const char *port, const uint8_t sign[FS_LANE_SIGN])
{
	fuselane_close(l); /* a port is opened once */
	const int fd = virtport_open(port);

	return fd < 0 ? fd : fuselane_open_take(l, fd, sign);
}

/* Bytes that left. */
static size_t write_all(struct fuselane *l, const uint8_t *p, size_t n)
{
	size_t at = 0;

	while (at < n) {
		const ssize_t k = write(l->fd, p + at, n - at);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0) {
			loop_want(&l->w, EPOLLIN | EPOLLOUT); /* no room, or an end that the loop tells */
			break;
		}
		at += (size_t)k;
	}
	return at;
}

size_t fuselane_write(struct fuselane *l, const uint8_t *p, size_t n)
{
	l->signed_ += write_all(l, l->sign + l->signed_, sizeof(l->sign) - l->signed_);
	return l->signed_ == sizeof(l->sign) ? write_all(l, p, n) : 0;
}

int fuselane_ring(struct fuselane *l, uint8_t *window)
{
	struct fs_ring *ring = (struct fs_ring *)(void *)(window + FS_RING_AT);

	l->ring = ring;
	l->taken = 0;
	l->peek = (struct peek){ .look = look, .sleeps = sleeps, .arg = l };
	const int r = loop_peek_add(&l->peek);
	if (r < 0)
		l->ring = NULL;
	return r;
}

void fuselane_close(struct fuselane *l)
{
	loop_peek_del(&l->peek);
	l->ring = NULL;
	loop_del(&l->w);
	fd_close(&l->fd);
	buf_release(&l->in);
	l->signed_ = 0;
	l->synced = false;
}
