/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The child's end of the control protocol. There is at most one control connection; one accepted on the listening socket replaces it,
 * because the supervisor that made it holds the one lock there is and the old one must be dead or dying.
 */
#include "core/loop/childside.h"

#include <errno.h>
#include <stdlib.h>

#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/loop/listen.h"
#include "core/loop/seq.h"

struct childside {
	uv_loop_t *loop;
	const struct childside_ops *ops;
	void *arg;
	struct seq *seq; /* NULL: no supervisor */
	struct listener *listener;
	struct log_limit log;
	bool private;
};

static void on_msg(void *arg, const uint8_t *p, size_t n, int *fds, size_t nfds)
{
	struct childside *c = arg;
	struct child_head h;
	struct rbuf r;

	rbuf_init(&r, p, n);
	if (child_head_unpack(&r, &h) < 0) {
		log_error("the supervisor sent %zu bytes that are no message: ignored", n);
		return;
	}
	c->ops->on_msg(c->arg, &h, &r, fds, nfds);
}

static void on_end(void *arg, int why)
{
	struct childside *c = arg;

	log_info("the supervisor is gone%s%s; going on without it", why ? ": " : "", why ? strerror(-why) : "");
	seq_close(&c->seq);
	if (c->ops->on_orphaned)
		c->ops->on_orphaned(c->arg);
}

static const struct seq_ops seq_ops = { .on_msg = on_msg, .on_end = on_end };

static void on_accept(void *arg, int fd)
{
	struct childside *c = arg;
	struct seq *fresh;
	int r = seq_open_take(&fresh, c->loop, fd, &seq_ops, c);

	if (r < 0) {
		log_error("cannot take the connection of a new supervisor: %s", strerror(-r));
		return;
	}
	seq_close(&c->seq);
	c->seq = fresh;
	if (c->private)
		seq_private(fresh);
	log_info("adopted by a new supervisor");
	c->ops->on_adopted(c->arg);
}

int childside_open(struct childside **out, uv_loop_t *loop, const struct childside_ops *ops, void *arg)
{
	struct childside *c = calloc(1, sizeof(*c));

	*out = NULL;
	if (!c)
		return -ENOMEM;
	c->loop = loop;
	c->ops = ops;
	c->arg = arg;
	fd_cloexec(CHILD_FD_CONTROL, 1);
	fd_cloexec(CHILD_FD_LISTEN, 1);
	int r = fd_nonblock(CHILD_FD_LISTEN);
	if (r == 0)
		r = seq_open_take(&c->seq, loop, CHILD_FD_CONTROL, &seq_ops, c);
	if (r == 0)
		r = listener_open_take(&c->listener, loop, CHILD_FD_LISTEN, on_accept, c);
	if (r < 0) {
		childside_close(&c);
		return r;
	}
	*out = c;
	return 0;
}

int childside_send(struct childside *c, const struct buf *b)
{
	if (!buf_ok(b)) {
		log_limited(&c->log, 10, LOG_ERROR, "a message for the supervisor did not fit and was dropped");
		return -EMSGSIZE;
	}
	if (!c->seq)
		return -EPIPE;
	int r = seq_send(c->seq, buf_head(b), buf_size(b), NULL, 0);
	if (r < 0 && r != -EPIPE)
		log_limited(&c->log, 10, LOG_ERROR, "cannot tell the supervisor: %s", strerror(-r));
	return r;
}

void childside_private(struct childside *c)
{
	c->private = true;
	if (c->seq)
		seq_private(c->seq);
}

bool childside_connected(const struct childside *c)
{
	return c->seq != NULL;
}

void childside_drain(struct childside *c, int timeout_ms)
{
	if (c->seq)
		seq_drain(c->seq, timeout_ms);
}

void childside_close(struct childside **cp)
{
	struct childside *c = *cp;

	if (!c)
		return;
	*cp = NULL;
	seq_close(&c->seq);
	listener_close(&c->listener);
	free(c);
}
