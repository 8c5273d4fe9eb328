/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/virtio.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* 4.2.2 */
enum {
	R_MAGIC = 0x00, R_VERSION = 0x04, R_DEVICE = 0x08, R_VENDOR = 0x0c, R_FEATURES = 0x10, R_FEATURES_SEL = 0x14, R_DRIVER_FEATURES = 0x20,
	R_DRIVER_FEATURES_SEL = 0x24, R_QUEUE_SEL = 0x30, R_QUEUE_MAX = 0x34, R_QUEUE_NUM = 0x38, R_QUEUE_READY = 0x44, R_QUEUE_NOTIFY = 0x50,
	R_ISR = 0x60, R_ISR_ACK = 0x64, R_STATUS = 0x70, R_DESC_LOW = 0x80, R_DESC_HIGH = 0x84, R_AVAIL_LOW = 0x90, R_AVAIL_HIGH = 0x94,
	R_USED_LOW = 0xa0, R_USED_HIGH = 0xa4, R_SHM_LEN_LOW = 0xb0, R_SHM_LEN_HIGH = 0xb4, R_SHM_BASE_LOW = 0xb8, R_SHM_BASE_HIGH = 0xbc,
	R_GENERATION = 0xfc, R_CONFIG = 0x100,
};
enum { ISR_QUEUE = 1, ISR_CONFIG = 2 };
#define MAGIC 0x74726976u
#define VENDOR 0x48444c42u /* "BLDH" */
#define COMPLAINTS 8

void virtio_init(struct virtio *v, const struct virtio_ops *ops, void *self, const struct ram *ram, uint64_t features, int irq)
{
	pthread_mutexattr_t recursive;

	memset(v, 0, sizeof(*v));
	pthread_mutexattr_init(&recursive);
	pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE); /* a device's callback may come back to it */
	pthread_mutex_init(&v->lock, &recursive);
	pthread_mutexattr_destroy(&recursive);
	v->ops = ops;
	v->self = self;
	v->nqueues = ops->nqueues;
	v->features = features | VIRTIO_F_VERSION_1_BIT | VIRTIO_F_EVENT_IDX_BIT | VIRTIO_F_INDIRECT_DESC_BIT;
	v->irq = irq;
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
		v->kick[i] = -1;
	atomic_init(&v->isr, 0);
	for (unsigned i = 0; i < ops->nqueues; i++)
		virtq_init(&v->q[i], ram, ops->queue_max);
}

void virtio_release(struct virtio *v)
{
	pthread_mutex_destroy(&v->lock);
}

static void interrupt(struct virtio *v, unsigned cause)
{
	const uint64_t one = 1;

	atomic_fetch_or(&v->isr, cause);
	v->interrupts++;
	if (v->irq >= 0 && write(v->irq, &one, sizeof(one)) < 0)
		return; /* the counter is full: it is due anyway */
}

static void complain(struct virtio *v, const char *why)
{
	const uint32_t dropped = v->complaints.dropped;

	if (v->told == VIRTIO_TOLD_MAX)
		return;
	log_limited(&v->complaints, COMPLAINTS, LOG_WARN, "%s: the guest's driver broke its device: %s", v->ops->name, why);
	if (v->complaints.dropped <= dropped && ++v->told == VIRTIO_TOLD_MAX)
		log_warn("%s: the guest's driver breaks its device again and again: no more of it is told", v->ops->name);
}

void virtio_broken(struct virtio *v, const char *why)
{
	if (v->status & ST_NEEDS_RESET)
		return;
	complain(v, why);
	v->status |= ST_NEEDS_RESET;
	if (v->status & ST_DRIVER_OK)
		interrupt(v, ISR_CONFIG);
}

int virtio_pop(struct virtio *v, unsigned q, struct virtq_chain *c)
{
	const int r = virtio_runs(v) ? virtq_pop(&v->q[q], c) : 0;

	if (r < 0)
		virtio_broken(v, v->q[q].why);
	return r > 0;
}

void virtio_signal(struct virtio *v, unsigned q)
{
	if (virtq_should_interrupt(&v->q[q]))
		interrupt(v, ISR_QUEUE);
}

void virtio_again(struct virtio *v, unsigned q)
{
	const uint64_t one = 1;

	if (v->kick[q] < 0)
		v->again |= 1u << q;
	else if (write(v->kick[q], &one, sizeof(one)) < 0)
		return; /* full: it is rung already */
}

void virtio_turn_end(struct virtio *v, unsigned q, bool more)
{
	virtio_signal(v, q);
	if (virtio_runs(v) && (virtq_rearm(&v->q[q]) || more))
		virtio_again(v, q);
}

void virtio_config_changed(struct virtio *v)
{
	v->generation++;
	if (v->status & ST_DRIVER_OK)
		interrupt(v, ISR_CONFIG);
}

void virtio_kick(struct virtio *v, unsigned q)
{
	pthread_mutex_lock(&v->lock);
	if (virtio_runs(v) && q < v->nqueues && v->q[q].ready)
		v->ops->notify(v->self, q);
	pthread_mutex_unlock(&v->lock);
}

void virtio_counts(struct virtio *v, uint64_t *requests, uint64_t *interrupts)
{
	pthread_mutex_lock(&v->lock);
	*requests = 0;
	for (unsigned i = 0; i < v->nqueues; i++)
		*requests += v->q[i].popped;
	*interrupts = v->interrupts;
	pthread_mutex_unlock(&v->lock);
}

/* ---- registers ------------------------------------------------------------------------------------------------------------------ */

static struct virtq *selected(struct virtio *v)
{
	return v->queue_sel < v->nqueues ? &v->q[v->queue_sel] : NULL;
}

static uint32_t read_reg(struct virtio *v, uint32_t off)
{
	const struct virtq *q = selected(v);

	switch (off) {
	case R_MAGIC:
		return MAGIC;
	case R_VERSION:
		return 2;
	case R_DEVICE:
		return v->ops->id;
	case R_VENDOR:
		return VENDOR;
	case R_FEATURES:
		return v->features_sel < 2 ? (uint32_t)(v->features >> 32 * v->features_sel) : 0;
	case R_QUEUE_MAX:
		return q ? q->max : 0;
	case R_QUEUE_READY:
		return q && q->ready;
	case R_STATUS:
		return v->status;
	case R_SHM_LEN_LOW:
	case R_SHM_LEN_HIGH:
	case R_SHM_BASE_LOW:
	case R_SHM_BASE_HIGH:
		return 0xffffffff; /* no shared memory */
	case R_GENERATION:
		return v->generation;
	default:
		return 0;
	}
}

void virtio_read(struct virtio *v, uint32_t off, uint8_t *data, unsigned len)
{
	memset(data, 0, len);
	if (off == R_ISR && len == 4) {
		const uint32_t isr = atomic_load(&v->isr);

		memcpy(data, &isr, 4);
		return;
	}
	pthread_mutex_lock(&v->lock);
	if (off >= R_CONFIG) {
		off -= R_CONFIG;
		if (off < v->config_len)
			memcpy(data, v->config + off, len < v->config_len - off ? len : v->config_len - off);
	} else if (len == 4 && off % 4 == 0) {
		const uint32_t r = read_reg(v, off);

		memcpy(data, &r, 4);
	}
	pthread_mutex_unlock(&v->lock);
}

static void reset(struct virtio *v)
{
	if (v->ops->reset)
		v->ops->reset(v->self);
	for (unsigned i = 0; i < v->nqueues; i++)
		virtq_reset(&v->q[i]);
	v->status = v->queue_sel = v->features_sel = v->driver_features_sel = 0;
	v->driver_features = 0;
	atomic_store(&v->isr, 0);
}

static void write_status(struct virtio *v, uint32_t s)
{
	if (s == 0) {
		reset(v);
		return;
	}
	s &= 0xff & ~(uint32_t)ST_NEEDS_RESET;
	/* Bits are only ever added (2.1.1), and in order. */
	const uint32_t added = s & ~v->status;
	if (added & ST_FEATURES_OK) {
		const bool good = (v->driver_features & ~v->features) == 0 && (v->driver_features & VIRTIO_F_VERSION_1_BIT) && (v->status & ST_DRIVER);

		if (!good)
			s &= ~(uint32_t)(ST_FEATURES_OK | ST_DRIVER_OK);
	}
	v->status |= s & (ST_ACKNOWLEDGE | ST_DRIVER | ST_FEATURES_OK | ST_FAILED);
	if ((s & ST_DRIVER_OK) && !(v->status & ST_DRIVER_OK) && (v->status & ST_FEATURES_OK)) {
		v->status |= ST_DRIVER_OK;
		if (v->status & ST_NEEDS_RESET)
			interrupt(v, ISR_CONFIG);
		else if (v->ops->ready)
			v->ops->ready(v->self);
	}
}

static void write_features(struct virtio *v, uint32_t value)
{
	if (v->driver_features_sel >= 2 || (v->status & ST_FEATURES_OK))
		return;
	const unsigned shift = 32 * v->driver_features_sel;
	v->driver_features = (v->driver_features & ~(UINT64_C(0xffffffff) << shift)) | (uint64_t)value << shift;
}

static void half(uint64_t *v, uint32_t value, bool high)
{
	*v = high ? (*v & 0xffffffff) | (uint64_t)value << 32 : (*v & ~UINT64_C(0xffffffff)) | value;
}

/* The queue's own registers: only between FEATURES_OK and the queue's being ready. */
static void write_queue(struct virtio *v, struct virtq *q, uint32_t off, uint32_t value)
{
	if (off == R_QUEUE_READY && value == 0) {
		q->ready = false;
		return;
	}
	if (q->ready || !(v->status & ST_FEATURES_OK))
		return;
	switch (off) {
	case R_QUEUE_NUM:
		q->size = value <= q->max ? (uint16_t)value : 0;
		break;
	case R_QUEUE_READY:
		if (virtq_enable(q, v->driver_features & VIRTIO_F_EVENT_IDX_BIT, v->driver_features & VIRTIO_F_INDIRECT_DESC_BIT) < 0)
			virtio_broken(v, q->why);
		break;
	case R_DESC_LOW:
	case R_DESC_HIGH:
		half(&q->desc, value, off == R_DESC_HIGH);
		break;
	case R_AVAIL_LOW:
	case R_AVAIL_HIGH:
		half(&q->avail, value, off == R_AVAIL_HIGH);
		break;
	default:
		half(&q->used, value, off == R_USED_HIGH);
		break;
	}
}

static void write_reg(struct virtio *v, uint32_t off, uint32_t value)
{
	struct virtq *q = selected(v);

	switch (off) {
	case R_FEATURES_SEL:
		v->features_sel = value;
		break;
	case R_DRIVER_FEATURES:
		write_features(v, value);
		break;
	case R_DRIVER_FEATURES_SEL:
		v->driver_features_sel = value;
		break;
	case R_QUEUE_SEL:
		v->queue_sel = value;
		break;
	case R_QUEUE_NOTIFY: /* a doorbell that no eventfd took: another number than a queue's */
		break;
	case R_STATUS:
		write_status(v, value);
		break;
	case R_QUEUE_NUM:
	case R_QUEUE_READY:
	case R_DESC_LOW:
	case R_DESC_HIGH:
	case R_AVAIL_LOW:
	case R_AVAIL_HIGH:
	case R_USED_LOW:
	case R_USED_HIGH:
		if (q)
			write_queue(v, q, off, value);
		break;
	default:
		break;
	}
}

static void write_config(struct virtio *v, uint32_t off, const uint8_t *data, unsigned len)
{
	if (off < v->config_w_at || off - v->config_w_at >= v->config_w_len || len > v->config_w_len - (off - v->config_w_at))
		return;
	memcpy(v->config + off, data, len);
	if (v->ops->config)
		v->ops->config(v->self);
}

void virtio_write(struct virtio *v, uint32_t off, const uint8_t *data, unsigned len)
{
	uint32_t value;

	if (off == R_ISR_ACK && len == 4) {
		memcpy(&value, data, 4);
		atomic_fetch_and(&v->isr, ~value);
		return;
	}
	pthread_mutex_lock(&v->lock);
	if (off >= R_CONFIG) {
		write_config(v, off - R_CONFIG, data, len);
	} else if (len == 4 && off % 4 == 0) {
		memcpy(&value, data, 4);
		write_reg(v, off, value);
	}
	pthread_mutex_unlock(&v->lock);
}

/* ---- snapshots ------------------------------------------------------------------------------------------------------------------ */

void virtio_save(struct virtio *v, struct buf *b)
{
	pthread_mutex_lock(&v->lock);
	buf_u32(b, v->ops->id);
	buf_u64(b, v->driver_features);
	buf_u32(b, v->features_sel);
	buf_u32(b, v->driver_features_sel);
	buf_u32(b, v->queue_sel);
	buf_u32(b, v->status);
	buf_u32(b, v->generation);
	buf_u32(b, atomic_load(&v->isr));
	buf_put(b, v->config, sizeof(v->config));
	for (unsigned i = 0; i < v->nqueues; i++) {
		const struct virtq *q = &v->q[i];

		buf_u16(b, q->size);
		buf_u8(b, q->ready);
		buf_u64(b, q->desc);
		buf_u64(b, q->avail);
		buf_u64(b, q->used);
		buf_u16(b, q->last_avail);
		buf_u16(b, q->used_idx);
		buf_u16(b, q->signalled);
	}
	pthread_mutex_unlock(&v->lock);
}

static int load_queue(struct virtio *v, struct virtq *q, struct rbuf *r)
{
	uint16_t last_avail = 0, used_idx = 0, signalled = 0;
	uint8_t ready = 0;

	rbuf_u16(r, &q->size);
	rbuf_u8(r, &ready);
	rbuf_u64(r, &q->desc);
	rbuf_u64(r, &q->avail);
	rbuf_u64(r, &q->used);
	rbuf_u16(r, &last_avail);
	rbuf_u16(r, &used_idx);
	rbuf_u16(r, &signalled);
	if (r->bad || ready > 1)
		return -EBADMSG;
	/* Checked as if the driver had said it now. */
	if (ready && virtq_enable(q, v->driver_features & VIRTIO_F_EVENT_IDX_BIT, v->driver_features & VIRTIO_F_INDIRECT_DESC_BIT) < 0)
		return -EBADMSG;
	q->last_avail = last_avail;
	q->used_idx = used_idx;
	q->signalled = signalled;
	return 0;
}

int virtio_load(struct virtio *v, struct rbuf *r)
{
	uint8_t config[VIRTIO_CONFIG_MAX];
	uint32_t id = 0, isr = 0;
	int rc = 0;

	rbuf_u32(r, &id);
	rbuf_u64(r, &v->driver_features);
	rbuf_u32(r, &v->features_sel);
	rbuf_u32(r, &v->driver_features_sel);
	rbuf_u32(r, &v->queue_sel);
	rbuf_u32(r, &v->status);
	rbuf_u32(r, &v->generation);
	rbuf_u32(r, &isr);
	rbuf_copy(r, config, sizeof(config));
	if (r->bad || id != v->ops->id || (v->driver_features & ~v->features))
		return -EBADMSG;
	/* What a device says of itself is this host's, and the same (blk_fits()), but where the driver writes it is the machine's. */
	if (v->config_w_len > 0)
		memcpy(v->config, config, v->config_len);
	for (unsigned i = 0; i < v->nqueues && rc == 0; i++)
		rc = load_queue(v, &v->q[i], r);
	if (rc < 0)
		return rc;
	/* Doorbells and interrupts that were on their way are lost: each queue is looked at, and the driver looks at its own. */
	for (unsigned i = 0; i < v->nqueues; i++)
		if (v->q[i].ready)
			virtio_again(v, i);
	atomic_store(&v->isr, isr);
	if (v->status & ST_DRIVER_OK)
		interrupt(v, ISR_QUEUE);
	return 0;
}
