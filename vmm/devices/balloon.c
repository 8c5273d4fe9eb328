/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/devices/balloon.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/base/str.h"

#ifndef MADV_COLD
#define MADV_COLD 20
#endif

enum { F_STATS = 1, F_DEFLATE_ON_OOM = 2, F_HINTS = 3, F_REPORTING = 5 };
enum role { Q_INFLATE, Q_DEFLATE, Q_STATS, Q_HINTS, Q_REPORTING, Q_NUM };
enum { CONFIG_TARGET = 0, CONFIG_ACTUAL = 4, CONFIG_HINT = 8, CONFIG_LEN = 16 };
enum { HINT_STOP = 0, HINT_DONE = 1, HINT_FIRST = 2 };
#define PAGE 4096u
#define STAT_SIZE 10u /* u16 tag, u64 value, packed */

static void spend(struct balloon *b, uint64_t n)
{
	b->budget -= (int64_t)(n + BALLOON_CALL);
}

/* [p, p + n) of guest memory back to the host; it reads as zeroes afterwards (shared memory) or as it was (a private copy). */
static uint64_t give_up(struct balloon *b, uint8_t *p, uint64_t n)
{
	const uint64_t skip = (PAGE - (uintptr_t)p % PAGE) % PAGE;

	if (n < skip + PAGE || !b->ram->owned)
		return 0;
	n = (n - skip) / PAGE * PAGE;
	spend(b, n);
	return madvise(p + skip, n, MADV_REMOVE) == 0 || madvise(p + skip, n, MADV_DONTNEED) == 0 ? n : 0;
}

/* [p, p + n) is the first the host takes back: its bytes stay. */
static void mark_cold(struct balloon *b, uint8_t *p, uint64_t n)
{
	const uint64_t skip = (PAGE - (uintptr_t)p % PAGE) % PAGE;

	if (n < skip + PAGE || !b->ram->owned)
		return;
	n = (n - skip) / PAGE * PAGE;
	spend(b, n);
	b->hinted += madvise(p + skip, n, MADV_COLD) == 0 ? n : 0;
}

static int by_number(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Runs of pages are given up together: Linux lists a request's pages from high to low, or in no order. */
static void inflate(struct balloon *b)
{
	const size_t n = chain_read(&b->chain, 0, b->pfn, sizeof(b->pfn)) / sizeof(b->pfn[0]);
	uint8_t *begin = NULL;
	uint64_t len = 0;

	qsort(b->pfn, n, sizeof(b->pfn[0]), by_number);
	for (size_t i = 0; i < n; i++) {
		uint8_t *p = ram_at(b->ram, (uint64_t)b->pfn[i] * PAGE, PAGE);

		if (!p || (i > 0 && b->pfn[i] == b->pfn[i - 1]))
			continue; /* not memory, or named before: nothing to give */
		if (begin && p == begin + len) {
			len += PAGE;
			continue;
		}
		b->given += give_up(b, begin, len);
		begin = p;
		len = PAGE;
	}
	b->given += give_up(b, begin, len);
}

static void report(struct balloon *b, uint8_t *p, uint64_t n)
{
	b->reported += give_up(b, p, n);
}

/*
 * The writable part is a list of ranges. A request may name all of memory many times over, so what a turn does not reach is left for the next:
 * false. The driver may have changed the request by then; it is looked at anew, `done` bytes of it as done.
 */
static bool each_range(struct balloon *b, void (*what)(struct balloon *b, uint8_t *p, uint64_t n))
{
	uint64_t *done = &b->done[b->q], off = *done;

	for (unsigned i = 0; i < b->chain.nin; i++) {
		const struct iovec *s = &b->chain.seg[b->chain.nout + i];

		if (off >= s->iov_len) {
			off -= s->iov_len;
			continue;
		}
		while (off < s->iov_len && b->budget > 0) {
			const uint64_t left = s->iov_len - off, n = left < (uint64_t)b->budget + PAGE ? left : ((uint64_t)b->budget + PAGE) / PAGE * PAGE;

			what(b, (uint8_t *)s->iov_base + off, n);
			off += n;
			*done += n;
		}
		if (off < s->iov_len)
			return false;
		off = 0;
	}
	*done = 0;
	return true;
}

static void take_stats(struct balloon *b)
{
	uint8_t raw[STAT_SIZE];
	uint16_t tag;

	for (size_t off = 0; off < 32 * STAT_SIZE && chain_read(&b->chain, off, raw, sizeof(raw)) == sizeof(raw); off += sizeof(raw)) {
		memcpy(&tag, raw, sizeof(tag));
		if (tag < BALLOON_STAT_NUM)
			memcpy(&b->stat[tag], raw + 2, 8);
	}
}

static void set_hint(struct balloon *b, uint32_t id)
{
	memcpy(b->v.config + CONFIG_HINT, &id, sizeof(id));
	virtio_config_changed(&b->v);
}

/* 5.5.6.6: the round's number opens it, pages follow, HINT_STOP closes it. */
static bool take_hints(struct balloon *b)
{
	uint32_t id;

	if (b->done[b->q] == 0 && chain_read(&b->chain, 0, &id, sizeof(id)) == sizeof(id)) {
		if (id == HINT_STOP && b->hinting)
			set_hint(b, HINT_DONE);
		b->hinting = id >= HINT_FIRST && id == b->hint_id;
	}
	if (b->hinting)
		return each_range(b, mark_cold);
	b->done[b->q] = 0;
	return true;
}

/* Queues that were not negotiated are not there, and those behind them move up. */
static enum role role_of(const struct balloon *b, unsigned q)
{
	static const struct { unsigned feature; enum role role; } optional[] = { { F_STATS, Q_STATS }, { F_HINTS, Q_HINTS }, { F_REPORTING, Q_REPORTING } };
	unsigned at = Q_STATS;

	for (size_t i = 0; i < ARRAY_SIZE(optional); i++)
		if (virtio_has(&b->v, optional[i].feature) && at++ == q)
			return optional[i].role;
	return q == Q_INFLATE || q == Q_DEFLATE ? (enum role)q : Q_NUM;
}

static void take_held_stats(struct balloon *b, unsigned q)
{
	take_stats(b);
	if (b->stats_held)
		virtq_push(&b->v.q[q], b->stats_head, 0);
	b->stats_held = true;
	b->stats_head = b->chain.head; /* kept until somebody asks again */
}

/* The request in b->chain; false: the rest of it is for the next turn. */
static bool serve(struct balloon *b, enum role role)
{
	switch (role) {
	case Q_INFLATE:
		inflate(b);
		return true;
	case Q_HINTS:
		return take_hints(b);
	case Q_REPORTING:
		return each_range(b, report);
	default:
		return true;
	}
}

static void on_notify(void *self, unsigned q)
{
	struct balloon *b = self;
	const enum role role = role_of(b, q);
	bool whole = true;
	unsigned i = 0;

	b->budget = BALLOON_TURN;
	b->q = q;
	for (; i < BALLOON_BURST && b->budget > 0 && whole && virtio_pop(&b->v, q, &b->chain); i++) {
		if (role == Q_STATS) {
			take_held_stats(b, q);
			continue;
		}
		if (b->chain.out_len > BALLOON_PFNS_MAX * 4) {
			virtio_broken(&b->v, "a list of pages is too long");
			return;
		}
		whole = serve(b, role);
		if (whole)
			virtq_push(&b->v.q[q], b->chain.head, 0);
		else
			virtq_unpop(&b->v.q[q]);
	}
	virtio_turn_end(&b->v, q, i == BALLOON_BURST || b->budget <= 0 || !whole);
}

static void on_reset(void *self)
{
	struct balloon *b = self;

	b->stats_held = b->hinting = false;
	memset(b->done, 0, sizeof(b->done));
	memset(b->v.config + CONFIG_ACTUAL, 0, 8); /* and the round of hints */
}

static const struct virtio_ops ops = { .name = "balloon", .id = 5, .nqueues = Q_NUM, .queue_max = 128, .reset = on_reset, .notify = on_notify };

void balloon_init(struct balloon *b, const struct ram *ram, int irq)
{
	memset(b, 0, sizeof(*b));
	b->ram = ram;
	virtio_init(&b->v, &ops, b, ram, 1u << F_STATS | 1u << F_DEFLATE_ON_OOM | 1u << F_HINTS | 1u << F_REPORTING, irq);
	b->v.config_len = CONFIG_LEN; /* the last of it belongs to a feature that is not offered */
	b->v.config_w_at = CONFIG_ACTUAL;
	b->v.config_w_len = 4;
}

void balloon_target(struct balloon *b, uint64_t bytes)
{
	const uint32_t pages = bytes / PAGE < UINT32_MAX ? (uint32_t)(bytes / PAGE) : UINT32_MAX;

	pthread_mutex_lock(&b->v.lock);
	memcpy(b->v.config + CONFIG_TARGET, &pages, sizeof(pages));
	virtio_config_changed(&b->v);
	pthread_mutex_unlock(&b->v.lock);
}

void balloon_hint(struct balloon *b)
{
	pthread_mutex_lock(&b->v.lock);
	if (virtio_runs(&b->v) && virtio_has(&b->v, F_HINTS)) {
		b->hint_id = b->hint_id < HINT_FIRST ? HINT_FIRST : b->hint_id + 1;
		b->hinting = false;
		set_hint(b, b->hint_id);
	}
	pthread_mutex_unlock(&b->v.lock);
}

void balloon_counts(struct balloon *b, struct balloon_counts *c)
{
	uint32_t pages[2];

	pthread_mutex_lock(&b->v.lock);
	memcpy(pages, b->v.config, sizeof(pages));
	*c = (struct balloon_counts){ .target = (uint64_t)pages[0] * PAGE, .actual = (uint64_t)pages[1] * PAGE, .given = b->given, .reported = b->reported,
				      .hinted = b->hinted, .guest_free = b->stat[BALLOON_FREE], .guest_available = b->stat[BALLOON_AVAILABLE] };
	pthread_mutex_unlock(&b->v.lock);
}

void balloon_ask(struct balloon *b)
{
	pthread_mutex_lock(&b->v.lock);
	if (virtio_runs(&b->v) && b->stats_held) {
		b->stats_held = false;
		virtq_push(&b->v.q[Q_STATS], b->stats_head, 0);
		virtio_signal(&b->v, Q_STATS);
	}
	pthread_mutex_unlock(&b->v.lock);
}

void balloon_save(struct balloon *b, struct buf *out)
{
	pthread_mutex_lock(&b->v.lock);
	buf_u8(out, b->stats_held);
	buf_u16(out, b->stats_head);
	buf_u32(out, b->hint_id);
	buf_u8(out, b->hinting);
	pthread_mutex_unlock(&b->v.lock);
}

int balloon_load(struct balloon *b, struct rbuf *r)
{
	uint8_t held = 0, hinting = 0;

	rbuf_u8(r, &held);
	rbuf_u16(r, &b->stats_head);
	rbuf_u32(r, &b->hint_id);
	rbuf_u8(r, &hinting);
	b->hinting = hinting != 0;
	b->stats_held = held != 0;
	return rbuf_done(r);
}
