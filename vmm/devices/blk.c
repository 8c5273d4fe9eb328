/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/blk.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/str.h"

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2, S_REFUSED = 255 /* ours: by the host, never told to a driver */ };
enum { F_SEG_MAX = 2, F_RO = 5, F_BLK_SIZE = 6, F_FLUSH = 9, F_MQ = 12, F_DISCARD = 13, F_WRITE_ZEROES = 14 };
#define SECTOR 512u
#define HEAD 16u

struct head { uint32_t type, reserved; uint64_t sector; };
struct range { uint64_t sector; uint32_t n, flags; };
_Static_assert(sizeof(struct head) == HEAD && sizeof(struct range) == 16, "as they lie in memory");

static bool inside(const struct blk *b, uint64_t sector, uint64_t bytes)
{
	return sector <= b->sectors && bytes / SECTOR <= b->sectors - sector;
}

static void count(atomic_uint_fast64_t *c, uint64_t n)
{
	atomic_fetch_add_explicit(c, n, memory_order_relaxed);
}

/* All of the bytes, or the request has failed. */
static uint8_t transfer(struct blk *b, struct blk_queue *q, bool write_, uint64_t sector, uint64_t off, uint64_t bytes)
{
	const uint64_t begin = sector * SECTOR;

	if (bytes % SECTOR || bytes > BLK_REQUEST_MAX || !inside(b, sector, bytes) || (write_ && b->readonly))
		return S_IOERR;
	for (uint64_t done = 0; done < bytes;) {
		const unsigned n = chain_slice(&q->chain, !write_, off + done, bytes - done, q->iov);
		const off_t at = (off_t)(begin + done);
		const ssize_t r = n == 0 ? -1 : write_ ? pwritev(b->fd, q->iov, (int)n, at) : preadv(b->fd, q->iov, (int)n, at);

		if (n > 0 && r < 0 && errno == EINTR)
			continue;
		if (n > 0 && write_ && r < 0 && b->refused) {
			q->error = errno;
			return S_REFUSED;
		}
		if (r <= 0)
			return S_IOERR;
		done += (uint64_t)r;
	}
	count(write_ ? &b->counts.write_bytes : &b->counts.read_bytes, bytes);
	count(write_ ? &b->counts.writes : &b->counts.reads, 1);
	return S_OK;
}

static uint8_t punch(const struct blk *b, const struct virtq_chain *c, uint64_t bytes)
{
	struct range r[BLK_RANGES_MAX];

	if (b->readonly || bytes == 0 || bytes % sizeof(r[0]) || bytes > sizeof(r))
		return S_IOERR;
	const size_t n = chain_read(c, HEAD, r, bytes) / sizeof(r[0]);
	for (size_t i = 0; i < n; i++) {
		if (r[i].flags & ~1u)
			return S_UNSUPP;
		if (!inside(b, r[i].sector, (uint64_t)r[i].n * SECTOR))
			return S_IOERR;
	}
	for (size_t i = 0; i < n; i++)
		if (r[i].n > 0 &&
		    fallocate(b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(r[i].sector * SECTOR), (off_t)r[i].n * SECTOR) < 0)
			return errno == EOPNOTSUPP ? S_UNSUPP : S_IOERR;
	return S_OK;
}

/* One request; *used is how many bytes of its writable part are filled. False: the host refused it, and the driver has not been told anything. */
static bool serve(struct blk *b, struct blk_queue *q, uint32_t *used)
{
	const struct virtq_chain *c = &q->chain;
	const uint64_t in = c->in_len;
	uint64_t filled = 0;
	struct head h;
	uint8_t status;

	*used = 0;
	if (chain_read(c, 0, &h, sizeof(h)) != sizeof(h) || in == 0)
		return true; /* no head, or no place for the status */
	const uint64_t out = c->out_len - HEAD;
	switch (h.type) {
	case T_IN:
		status = transfer(b, q, false, h.sector, 0, in - 1);
		filled = status == S_OK ? in - 1 : 0;
		break;
	case T_OUT:
		status = transfer(b, q, true, h.sector, HEAD, out);
		break;
	case T_FLUSH:
		count(&b->counts.flushes, 1);
		status = b->readonly || fdatasync(b->fd) == 0 ? S_OK : S_IOERR;
		break;
	case T_GET_ID:
		filled = chain_write(c, 0, b->id, in - 1 < BLK_ID_LEN ? in - 1 : BLK_ID_LEN);
		status = S_OK;
		break;
	case T_DISCARD:
	case T_WRITE_ZEROES: /* a hole reads as zeroes, whether the driver allows unmapping or not */
		status = punch(b, c, out);
		break;
	default:
		status = S_UNSUPP;
		break;
	}
	if (status != S_OK)
		count(&b->counts.failed, 1);
	if (status == S_REFUSED)
		return false;
	chain_write(c, in - 1, &status, 1);
	*used = (uint32_t)(filled + 1);
	return true;
}

static void idle(struct blk *b)
{
	pthread_cond_broadcast(&b->idle);
	if (b->held > 0 && b->wake)
		b->wake(b->wake_arg);
}

/* Called with the lock, which is given up while a request is in work. */
static void on_notify(void *self, unsigned n)
{
	struct blk *b = self;
	struct blk_queue *q = &b->queue[n];
	uint32_t filled;
	unsigned i = 0;

	for (; i < BLK_BURST && b->held == 0 && virtio_pop(&b->v, n, &q->chain); i++) {
		b->busy++;
		pthread_mutex_unlock(&b->v.lock);
		const bool served = serve(b, q, &filled);
		pthread_mutex_lock(&b->v.lock);
		if (served) {
			virtq_push(&b->v.q[n], q->chain.head, filled);
			virtio_signal(&b->v, n);
		} else {
			virtq_unpop(&b->v.q[n]);
			b->refused(b->wake_arg, q->error);
		}
		if (--b->busy == 0)
			idle(b);
		if (!served)
			return; /* blk_go() rings */
	}
	if (b->held == 0)
		virtio_turn_end(&b->v, n, i == BLK_BURST);
}

/* What is in work writes into the driver's memory: it is waited for. */
static void on_reset(void *self)
{
	struct blk *b = self;

	b->held++;
	while (b->busy > 0)
		pthread_cond_wait(&b->idle, &b->v.lock);
	b->held--;
}

static const struct virtio_ops ops = { .name = "blk", .id = 2, .nqueues = BLK_QUEUES_MAX, .queue_max = 128, .reset = on_reset, .notify = on_notify };

void blk_hold(struct blk *b)
{
	pthread_mutex_lock(&b->v.lock);
	b->held++;
	pthread_mutex_unlock(&b->v.lock);
}

void blk_go(struct blk *b)
{
	pthread_mutex_lock(&b->v.lock);
	if (--b->held == 0)
		for (unsigned i = 0; i < b->v.nqueues; i++)
			virtio_again(&b->v, i);
	pthread_mutex_unlock(&b->v.lock);
}

bool blk_idle(struct blk *b)
{
	pthread_mutex_lock(&b->v.lock);
	const bool idle_ = b->busy == 0;
	pthread_mutex_unlock(&b->v.lock);
	return idle_;
}

static void put(uint8_t *at, uint64_t v, unsigned n)
{
	memcpy(at, &v, n);
}

/* 5.2.4 */
static void put_config(struct blk *b)
{
	uint8_t *c = b->v.config;

	put(c, b->sectors, 8);
	put(c + 12, 126, 4);               /* seg_max: the queue less head and status */
	put(c + 20, SECTOR, 4);            /* blk_size */
	put(c + 34, b->v.nqueues, 2);      /* num_queues */
	put(c + 36, 1u << 22, 4);          /* max_discard_sectors: 2 GiB */
	put(c + 40, BLK_RANGES_MAX, 4);
	put(c + 44, 4096 / SECTOR, 4);     /* discard_sector_alignment */
	put(c + 48, 1u << 22, 4);          /* max_write_zeroes_sectors */
	put(c + 52, BLK_RANGES_MAX, 4);
	c[56] = 1;                         /* write_zeroes_may_unmap */
	b->v.config_len = 60;
}

int blk_init(struct blk *b, const struct ram *ram, int fd, bool readonly, const char *id, unsigned queues, int irq, struct err *e)
{
	const uint64_t common = UINT64_C(1) << F_SEG_MAX | UINT64_C(1) << F_BLK_SIZE | UINT64_C(1) << F_FLUSH | UINT64_C(1) << F_MQ;
	const off_t size = lseek(fd, 0, SEEK_END); /* of a block device too */

	memset(b, 0, sizeof(*b));
	b->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	b->stop = b->sealed = -1;
	b->readonly = readonly;
	str_copy(b->id, sizeof(b->id), id);
	pthread_cond_init(&b->idle, NULL);
	virtio_init(&b->v, &ops, b, ram, common | (readonly ? UINT64_C(1) << F_RO : UINT64_C(1) << F_DISCARD | UINT64_C(1) << F_WRITE_ZEROES), irq);
	b->v.nqueues = queues < 1 ? 1 : queues < BLK_QUEUES_MAX ? queues : BLK_QUEUES_MAX;
	for (unsigned i = 0; i < b->v.nqueues; i++)
		b->queue[i] = (struct blk_queue){ .b = b, .n = i };
	if (b->fd < 0 || size < (off_t)SECTOR)
		return err_set(e, EINVAL, "disk '%s' is empty or cannot be read", id);
	b->sectors = (uint64_t)size / SECTOR;
	put_config(b);
	if ((b->stop = eventfd(0, EFD_CLOEXEC)) < 0 || (b->sealed = eventfd(0, EFD_CLOEXEC)) < 0)
		return err_errno(e, errno, "cannot prepare disk '%s'", id);
	return 0;
}

int blk_fits(const struct blk *b, struct rbuf saved, struct err *e)
{
	const uint8_t *skipped;
	uint64_t sectors = 0;

	if (rbuf_bytes(&saved, VIRTIO_SAVED_CONFIG, &skipped) < 0 || rbuf_u64(&saved, &sectors) < 0)
		return err_set(e, EBADMSG, "the snapshot's disk '%s' is cut off", b->id);
	if (sectors != b->sectors)
		return err_set(e, EBADMSG, "the snapshot's disk '%s' had %llu KiB, this one has %llu", b->id, (unsigned long long)sectors / 2,
			       (unsigned long long)b->sectors / 2);
	return 0;
}

static void *run_thread(void *arg)
{
	struct blk_queue *q = arg;
	struct blk *b = q->b;
	const int kick = b->v.kick[q->n];
	struct pollfd p[] = { { .fd = kick, .events = POLLIN }, { .fd = b->stop, .events = POLLIN } };
	uint64_t n = 1;
	const int r = b->seal ? b->seal(b->seal_arg, &b->fault) : 0;

	if (write(b->sealed, &n, sizeof(n)) < 0 || r < 0)
		return NULL;
	for (;;) {
		if (poll(p, ARRAY_SIZE(p), -1) < 0) {
			if (errno == EINTR)
				continue;
			log_error("disk '%s': cannot wait for its doorbell: %s", b->id, strerror(errno));
			pthread_mutex_lock(&b->v.lock);
			virtio_broken(&b->v, "its thread has ended");
			pthread_mutex_unlock(&b->v.lock);
			return NULL;
		}
		if (p[1].revents)
			return NULL;
		if (p[0].revents && read(kick, &n, sizeof(n)) > 0)
			virtio_kick(&b->v, q->n);
	}
}

static int start_thread(struct blk *b, struct blk_queue *q, struct err *e)
{
	sigset_t ours, old;
	uint64_t n;

	sigfillset(&ours);
	sigdelset(&ours, SIGSYS); /* a forbidden call is told of (jail.h) */
	pthread_sigmask(SIG_SETMASK, &ours, &old);
	const int r = pthread_create(&q->thread, NULL, run_thread, q);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r != 0)
		return err_errno(e, r, "cannot start a thread of disk '%s'", b->id);
	q->started = true;
	if (read(b->sealed, &n, sizeof(n)) < 0)
		return err_errno(e, errno, "cannot wait for a thread of disk '%s'", b->id);
	if (b->fault.code) {
		*e = b->fault;
		return -e->code;
	}
	return 0;
}

int blk_start(struct blk *b, int (*seal)(void *arg, struct err *e), void *arg, struct err *e)
{
	int r = 0;

	b->seal = seal;
	b->seal_arg = arg;
	for (unsigned i = 0; i < b->v.nqueues && r == 0; i++)
		r = start_thread(b, &b->queue[i], e);
	return r;
}

void blk_release(struct blk *b)
{
	const uint64_t one = 1;

	if (b->stop >= 0)
		blk_hold(b); /* the request in work, not all that wait behind it */
	const bool told = b->stop >= 0 && write(b->stop, &one, sizeof(one)) > 0;

	for (unsigned i = 0; i < b->v.nqueues; i++)
		if (b->queue[i].started && told)
			pthread_join(b->queue[i].thread, NULL);
	fd_close(&b->fd);
	fd_close(&b->stop);
	fd_close(&b->sealed);
	pthread_cond_destroy(&b->idle);
	virtio_release(&b->v);
}
