/* SPDX-License-Identifier: Apache-2.0 */
/* The dial socket of one service. A request outlives neither the channel nor the service: it holds no pointer to the dial but by its own list. */
#include "vmm/dial.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/loop/seq.h"
#include "core/proto/child.h"
#include "core/proto/fs.h"

struct request {
	struct request *next;
	struct dial *d; /* NULL: the service is gone, the answer is nobody's */
	uint32_t port, token;
};

struct dial {
	struct seq *seq;
	struct channel *m;
	uint32_t gen, port_min, port_max;
	struct request *requests;
};

static int answer(struct dial *d, uint32_t type, uint32_t port, uint32_t token, int fd)
{
	const struct dial_msg msg = { .type = type, .gen = d->gen, .port = port, .token = token };
	const bool has_lane = type == DIAL_OK && port == AGENT_PORT_FS && token < d->m->lanes;
	const int fds[3] = { fd, has_lane ? d->m->lane[token] : -1, has_lane ? d->m->memory : -1 };
	size_t n = 0;
	uint8_t out[DIAL_MSG_SIZE];

	dial_pack(out, &msg);
	while (n < ARRAY_SIZE(fds) && fds[n] >= 0)
		n++;
	return d->seq ? seq_send(d->seq, out, sizeof(out), fds, n) : -EPIPE;
}

static void unlink_request(struct request *r)
{
	for (struct request **p = r->d ? &r->d->requests : NULL; p && *p; p = &(*p)->next)
		if (*p == r) {
			*p = r->next;
			break;
		}
}

static void on_opened(void *arg, int result, uint32_t number)
{
	struct request *r = arg;
	struct dial *d = r->d;
	int pair[2];

	unlink_request(r);
	if (d && result == 0 && fd_pair(SOCK_STREAM, pair) == 0) {
		answer(d, DIAL_OK, r->port, r->token, pair[1]);
		close(pair[1]);
		channel_join_take(d->m, number, pair[0]);
	} else if (d) {
		answer(d, DIAL_REFUSED, r->port, r->token, -1);
	}
	free(r);
}

static void on_msg(void *arg, const uint8_t *p, size_t n, int *fds, size_t nfds)
{
	struct dial *d = arg;
	struct dial_msg msg;

	(void)fds;
	(void)nfds;
	if (dial_unpack(p, n, &msg) < 0 || msg.type != DIAL_OPEN) {
		log_error("a service sent something that is no request to dial: its dial socket is closed");
		seq_close(&d->seq);
		return;
	}
	if (msg.gen != d->gen)
		return;
	struct request *r = calloc(1, sizeof(*r));
	if (r && msg.port >= d->port_min && msg.port <= d->port_max) {
		*r = (struct request){ .next = d->requests, .d = d, .port = msg.port, .token = msg.token };
		d->requests = r;
		if (channel_dial(d->m, msg.port, on_opened, r) == 0)
			return;
		unlink_request(r);
	}
	free(r);
	answer(d, DIAL_REFUSED, msg.port, msg.token, -1);
}

static void on_end(void *arg, int why)
{
	struct dial *d = arg;

	(void)why;
	log_info("the service of a dial socket is gone");
	seq_close(&d->seq);
}

static const struct seq_ops ops = { .on_msg = on_msg, .on_end = on_end };

int dial_open_take(struct dial **out, uv_loop_t *loop, int fd, struct channel *m, uint32_t gen, uint32_t port_min, uint32_t port_max)
{
	struct dial *d = calloc(1, sizeof(*d));

	*out = NULL;
	if (!d) {
		close(fd);
		return -ENOMEM;
	}
	*d = (struct dial){ .m = m, .gen = gen, .port_min = port_min, .port_max = port_max };
	const int r = seq_open_take(&d->seq, loop, fd, &ops, d);
	if (r < 0) {
		free(d);
		return r;
	}
	*out = d;
	return 0;
}

/* The guest's connection goes to the service, whose socket it is told of before the first byte. */
static int on_accept(void *arg, uint32_t port)
{
	struct dial *d = arg;
	int pair[2];

	if (!d->seq)
		return -ECONNREFUSED;
	if (fd_pair(SOCK_STREAM, pair) < 0)
		return -EMFILE;
	/* A service that takes no connections for so long that its queue is full gets no more: the guest hears of it at once. */
	const int r = answer(d, DIAL_IN, port, 0, pair[1]);
	close(pair[1]);
	if (r < 0)
		fd_close(&pair[0]);
	return r < 0 ? -ECONNREFUSED : pair[0];
}

int dial_listen(struct dial *d, uint32_t port_min, uint32_t port_max)
{
	return channel_listen(d->m, port_min, port_max, on_accept, d);
}

void dial_close(struct dial **dp)
{
	struct dial *d = *dp;

	if (!d)
		return;
	*dp = NULL;
	channel_unlisten(d->m, d);
	for (struct request *r = d->requests; r; r = r->next)
		r->d = NULL;
	seq_close(&d->seq);
	free(d);
}
