/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/kvm/tty.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fd.h"

static void on_socket(uv_poll_t *h, int status, int events);

static void interest(struct tty *t, int events)
{
	if (events == t->events || !t->poll)
		return;
	t->events = events;
	uv_poll_start(t->poll, events, on_socket);
}

void tty_flush(struct tty *t)
{
	for (;;) {
		if (t->n == 0)
			t->n = serial_take(&t->serial, t->line, sizeof(t->line));
		if (t->n == 0)
			t->n = vconsole_take(&t->virtio, t->line, sizeof(t->line));
		if (t->n == 0)
			break;
		const ssize_t n = write(t->fd, t->line, t->n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		memmove(t->line, t->line + n, t->n - (size_t)n);
		t->n -= (size_t)n;
	}
	interest(t, t->n > 0 ? UV_READABLE | UV_WRITABLE : UV_READABLE);
}

static void on_socket(uv_poll_t *h, int status, int events)
{
	struct tty *t = h->data;
	uint8_t in[64];

	if (status < 0 || (events & UV_READABLE)) {
		const ssize_t n = read(t->fd, in, sizeof(in));

		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
			uv_poll_stop(h); /* nobody types any more */
			t->events = 0;
			return;
		}
		if (n > 0 && vconsole_give(&t->virtio, in, (size_t)n) == 0)
			serial_give(&t->serial, in, (size_t)n);
	}
	tty_flush(t);
}

static void on_closed(uv_handle_t *h)
{
	free(h);
}

int tty_init(struct tty *t, uv_loop_t *loop, const struct ram *ram, int fd, int serial_irq, int virtio_irq, void (*wake)(void *arg), void *arg)
{
	t->fd = fd;
	serial_init(&t->serial, serial_irq, wake, arg);
	vconsole_init(&t->virtio, ram, virtio_irq, wake, arg);
	t->poll = calloc(1, sizeof(*t->poll));
	int r = t->poll ? fd_nonblock(fd) : -ENOMEM;
	if (r == 0)
		r = uv_poll_init(loop, t->poll, fd);
	if (r < 0) {
		free(t->poll);
		t->poll = NULL;
		return r;
	}
	t->poll->data = t;
	interest(t, UV_READABLE);
	return 0;
}

void tty_release(struct tty *t)
{
	if (t->fd < 0)
		return;
	if (t->poll)
		uv_close((uv_handle_t *)t->poll, on_closed);
	t->poll = NULL;
	fd_close(&t->fd);
	serial_release(&t->serial);
	virtio_release(&t->virtio.v);
}
