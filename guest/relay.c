/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/relay.h"

#include <errno.h>
#include <sys/socket.h>

#include "core/base/fd.h"

#define READS 4 /* a wake-up: others have their turn */

void relay_reset_take(int fd)
{
	const struct linger now = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

/* An error or a hang-up is reported whatever is asked for, as long as the descriptor is watched: EPOLLET alone asks for nothing else. */
static void interest(struct relay *r)
{
	const uint32_t in = r->reading && !r->no_room && !r->in_eof ? (uint32_t)EPOLLIN : 0, out = buf_size(&r->out) > 0 ? (uint32_t)EPOLLOUT : 0;

	loop_want(&r->w, in | out ? in | out : (uint32_t)EPOLLET);
}

static void end(struct relay *r, bool in_order)
{
	const int fd = r->w.fd;

	if (r->over)
		return;
	r->over = true;
	loop_del(&r->w);
	if (r->st)
		gstream_close(steal_ptr(&r->st));
	if (in_order)
		close(fd);
	else
		relay_reset_take(fd);
	buf_release(&r->out);
	r->ended(r);
}

void relay_abort(struct relay *r)
{
	end(r, false);
}

/* To the client, as far as it takes them. False: it is gone, and so is the relay. */
static bool send_out(struct relay *r)
{
	size_t sent = 0;
	bool good = true;

	while (good && buf_size(&r->out) > 0) {
		const ssize_t n = send(r->w.fd, buf_head(&r->out), buf_size(&r->out), MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0) {
			buf_consume(&r->out, (size_t)n);
			sent += (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			break;
		} else {
			good = n < 0 && errno == EINTR;
		}
	}
	if (!good) {
		end(r, false);
		return false;
	}
	if (sent > 0 && r->st)
		gstream_taken(r->st, sent);
	if (r->out_eof && buf_size(&r->out) == 0) {
		shutdown(r->w.fd, SHUT_WR);
		if (r->in_eof) {
			end(r, true);
			return false;
		}
	}
	return true;
}

static bool read_client(struct relay *r)
{
	for (int i = 0; i < READS; i++) {
		size_t room;
		uint8_t *p = gstream_reserve_raw(r->st, &room);

		r->no_room = !p;
		if (!p)
			return true;
		const ssize_t n = recv(r->w.fd, p, room, MSG_DONTWAIT);
		gstream_commit_raw(r->st, n > 0 ? (size_t)n : 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return true;
		if (n < 0) {
			end(r, false);
			return false;
		}
		if (n == 0) {
			r->in_eof = true;
			gstream_eof(r->st);
			if (!send_out(r)) /* the end of both */
				return false;
			if (r->client_eof)
				r->client_eof(r);
			return true;
		}
	}
	return true;
}

static void on_socket(void *arg, uint32_t events)
{
	struct relay *r = arg;

	if (events & EPOLLERR || (events & EPOLLHUP && (r->in_eof || !r->reading))) {
		end(r, false);
		return;
	}
	if (events & EPOLLOUT && !send_out(r))
		return;
	if (events & (EPOLLIN | EPOLLHUP) && r->reading && !r->in_eof && !read_client(r))
		return;
	interest(r);
}

int relay_init_take(struct relay *r, int fd, void (*ended)(struct relay *r))
{
	*r = (struct relay){ .ended = ended };
	buf_init(&r->out, RELAY_HOLDS);
	const int rc = loop_add(&r->w, fd, (uint32_t)EPOLLET, on_socket, r);
	if (rc < 0)
		close(fd);
	return rc;
}

void relay_read(struct relay *r)
{
	r->reading = true;
	interest(r);
}

bool relay_data(struct relay *r, const uint8_t *p, size_t n)
{
	/* Over the window is over the credit, which the channel has looked at. */
	if (buf_put(&r->out, p, n) < 0) {
		end(r, false);
		return false;
	}
	if (!send_out(r))
		return false;
	interest(r);
	return true;
}

bool relay_eof(struct relay *r)
{
	r->out_eof = true;
	if (!send_out(r))
		return false;
	interest(r);
	return true;
}

void relay_room(struct relay *r)
{
	r->no_room = false;
	interest(r);
}

void relay_gone(struct relay *r)
{
	r->st = NULL;
	end(r, false);
}
