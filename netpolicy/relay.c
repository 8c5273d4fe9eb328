/* SPDX-License-Identifier: Apache-2.0 */
#include "netpolicy/relay.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/loop/stream.h"
#include "netpolicy/net.h"

struct side {
	struct relay *relay;
	struct side *other;
	struct stream *s;
	uint64_t in;    /* bytes read from it */
	bool eof, closed;
};

struct relay {
	struct side a, b;
	relay_done fn;
	void *arg;
};

/* As much of x's input as fits into the other's queue; what nobody reads any more is dropped, so that x's end is seen. */
static void move(struct side *x)
{
	struct buf *in = stream_in(x->s);
	const size_t have = buf_size(in), room = buf_room(stream_out(x->other->s)), n = have < room ? have : room;

	x->in += n;
	if (n > 0 && stream_write(x->other->s, buf_head(in), n) == -EPIPE) {
		buf_consume(in, have);
		return;
	}
	buf_consume(in, n);
	if (n < have)
		stream_want_drain(x->other->s);
}

static void on_read(void *arg, struct buf *in)
{
	(void)in;
	move(arg);
}

static void on_drain(void *arg)
{
	struct side *x = arg;

	/* What waits at the other side for room here. */
	if (x->other->s)
		stream_kick(x->other->s);
}

static void on_eof(void *arg)
{
	struct side *x = arg;

	x->eof = true;
	stream_shutdown(x->other->s);
}

static void on_closed(void *arg, int why)
{
	struct side *x = arg;
	struct relay *r = x->relay;

	x->closed = true;
	if (why == 0 && !x->other->closed)
		return;
	r->fn(r->arg, why);
}

static const struct stream_ops ops = { .on_read = on_read, .on_eof = on_eof, .on_drain = on_drain, .on_closed = on_closed };

int relay_open_take(struct relay **out, uv_loop_t *loop, int a, int b, const void *first, size_t nfirst, const void *head, size_t nhead,
		    relay_done fn, void *arg)
{
	struct relay *r = calloc(1, sizeof(*r));
	int rc;

	if (!r) {
		close(a);
		close(b);
		return -ENOMEM;
	}
	r->a = (struct side){ .relay = r, .other = &r->b, .in = nfirst };
	r->b = (struct side){ .relay = r, .other = &r->a };
	r->fn = fn;
	r->arg = arg;
	if ((rc = stream_open_take(&r->b.s, loop, b, RELAY_BUF, RELAY_BUF, &ops, &r->b)) < 0)
		close(a);
	else
		rc = stream_open_take(&r->a.s, loop, a, RELAY_BUF, RELAY_BUF, &ops, &r->a);
	if (rc == 0 && nfirst > 0)
		rc = stream_write(r->b.s, first, nfirst);
	if (rc == 0 && nhead > 0)
		rc = stream_write(r->a.s, head, nhead);
	if (rc < 0) {
		relay_close(&r);
		return rc;
	}
	*out = r;
	return 0;
}

void relay_counts(const struct relay *r, uint64_t *ab, uint64_t *ba)
{
	*ab = r->a.in;
	*ba = r->b.in;
}

void relay_close(struct relay **rp)
{
	struct relay *r = *rp;

	if (!r)
		return;
	*rp = NULL;
	stream_close(&r->a.s);
	stream_close(&r->b.s);
	free(r);
}
