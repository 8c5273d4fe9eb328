/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/console.h"

#include <string.h>

enum { F_EMERG_WRITE = 2 };
enum { Q_RECEIVE, Q_TRANSMIT, Q_NUM };
enum { CONFIG_PORTS = 4, CONFIG_EMERGENCY = 8, CONFIG_LEN = 12 };

/* As much of the first request as there is room for. False: it has to wait for the rest. */
static bool transmit(struct vconsole *c)
{
	const size_t room = VCONSOLE_OUT_MAX - c->out_n;
	/* The driver may have changed the chain since it was last looked at: then it is done that much earlier. */
	const size_t n = chain_read(&c->chain, c->done, c->out + c->out_n, room);

	c->out_n += n;
	c->done += n;
	if (n == room && c->done < c->chain.out_len)
		return false;
	c->done = 0;
	return true;
}

static void serve_transmit(struct vconsole *c)
{
	const bool was_empty = c->out_n == 0;
	unsigned i = 0;

	c->stalled = false;
	for (; i < VCONSOLE_BURST && virtio_pop(&c->v, Q_TRANSMIT, &c->chain); i++) {
		if (!transmit(c)) {
			virtq_unpop(&c->v.q[Q_TRANSMIT]);
			c->stalled = true;
			break;
		}
		virtq_push(&c->v.q[Q_TRANSMIT], c->chain.head, 0);
	}
	if (was_empty && c->out_n > 0)
		c->wake(c->arg);
	if (c->stalled)
		virtio_signal(&c->v, Q_TRANSMIT); /* no other turn: vconsole_take() goes on */
	else
		virtio_turn_end(&c->v, Q_TRANSMIT, i == VCONSOLE_BURST);
}

static void serve_receive(struct vconsole *c)
{
	unsigned i = 0;

	for (; i < VCONSOLE_BURST && c->in_n > 0 && virtio_pop(&c->v, Q_RECEIVE, &c->chain); i++) {
		const size_t n = chain_write(&c->chain, 0, c->in, c->in_n);

		c->in_n -= n;
		memmove(c->in, c->in + n, c->in_n);
		virtq_push(&c->v.q[Q_RECEIVE], c->chain.head, (uint32_t)n);
	}
	if (c->in_n > 0)
		virtio_turn_end(&c->v, Q_RECEIVE, i == VCONSOLE_BURST);
	else
		virtio_signal(&c->v, Q_RECEIVE); /* buffers without input need no doorbell */
}

static void on_notify(void *self, unsigned q)
{
	if (q == Q_TRANSMIT)
		serve_transmit(self);
	else
		serve_receive(self);
}

/* 5.3.4: a driver that cannot use its queues (yet, or any more) writes its last words here. */
static void on_config(void *self)
{
	struct vconsole *c = self;

	if (c->out_n == VCONSOLE_OUT_MAX) {
		c->dropped++;
		return;
	}
	c->out[c->out_n++] = c->v.config[CONFIG_EMERGENCY];
	if (c->out_n == 1)
		c->wake(c->arg);
}

static void on_reset(void *self)
{
	struct vconsole *c = self;

	c->done = 0;
	c->in_n = 0;
	c->stalled = false;
}

static const struct virtio_ops ops = { .name = "console", .id = 3, .nqueues = Q_NUM, .queue_max = 64, .reset = on_reset, .notify = on_notify,
				       .config = on_config };

void vconsole_init(struct vconsole *c, const struct ram *ram, int irq, void (*wake)(void *arg), void *arg)
{
	memset(c, 0, sizeof(*c));
	c->wake = wake;
	c->arg = arg;
	virtio_init(&c->v, &ops, c, ram, 1u << F_EMERG_WRITE, irq);
	c->v.config_len = CONFIG_LEN;
	c->v.config[CONFIG_PORTS] = 1;
	c->v.config_w_at = CONFIG_EMERGENCY;
	c->v.config_w_len = CONFIG_LEN - CONFIG_EMERGENCY;
}

size_t vconsole_take(struct vconsole *c, uint8_t *dst, size_t n)
{
	pthread_mutex_lock(&c->v.lock);
	n = n < c->out_n ? n : c->out_n;
	memcpy(dst, c->out, n);
	c->out_n -= n;
	memmove(c->out, c->out + n, c->out_n);
	if (n > 0 && c->stalled && virtio_runs(&c->v) && c->v.q[Q_TRANSMIT].ready)
		serve_transmit(c);
	pthread_mutex_unlock(&c->v.lock);
	return n;
}

size_t vconsole_give(struct vconsole *c, const uint8_t *p, size_t n)
{
	pthread_mutex_lock(&c->v.lock);
	if (!virtio_runs(&c->v) || !c->v.q[Q_RECEIVE].ready)
		n = 0;
	n = n < VCONSOLE_IN_MAX - c->in_n ? n : VCONSOLE_IN_MAX - c->in_n;
	memcpy(c->in + c->in_n, p, n);
	c->in_n += n;
	if (n > 0)
		serve_receive(c);
	pthread_mutex_unlock(&c->v.lock);
	return n;
}

void vconsole_save(struct vconsole *c, struct buf *out)
{
	pthread_mutex_lock(&c->v.lock);
	buf_u64(out, c->done);
	pthread_mutex_unlock(&c->v.lock);
}

int vconsole_load(struct vconsole *c, struct rbuf *r)
{
	rbuf_u64(r, &c->done);
	return rbuf_done(r);
}
