/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/loop.h"

#include <errno.h>
#include <stdlib.h>

#include "core/base/clock.h"

#define BATCH 64
#define EAGER_NS 100000u
#define EAGER_MISSES_MAX 3u

static int epfd = -1;
static struct timer *timers;
static struct epoll_event batch[BATCH];
static int batch_n;
static void (*each_turn)(void);
static struct eager *eager; /* of this turn */
static struct peek *peeks[LOOP_PEEKS];

int loop_init(void)
{
	epfd = epoll_create1(EPOLL_CLOEXEC);
	return epfd < 0 ? -errno : 0;
}

int loop_add(struct watch *w, int fd, uint32_t events, void (*fn)(void *, uint32_t), void *arg)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	*w = (struct watch){ .fd = fd, .events = events, .fn = fn, .arg = arg };
	if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		w->fd = -1;
		return -errno;
	}
	return 0;
}

void loop_want(struct watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	if (w->fd < 0 || w->events == events)
		return;
	/* A hang-up is reported whether asked for or not; with no interest at all it would be reported for ever. */
	if (events == 0)
		epoll_ctl(epfd, EPOLL_CTL_DEL, w->fd, NULL);
	else
		epoll_ctl(epfd, w->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, w->fd, &ev);
	w->events = events;
}

void loop_del(struct watch *w)
{
	if (w->fd < 0)
		return;
	if (w->events != 0)
		epoll_ctl(epfd, EPOLL_CTL_DEL, w->fd, NULL);
	w->fd = -1;
	for (int i = 0; i < batch_n; i++)
		if (batch[i].data.ptr == w)
			batch[i].data.ptr = NULL;
}

void loop_cancel(struct timer *t)
{
	for (struct timer **p = &timers; t->armed && *p; p = &(*p)->next)
		if (*p == t) {
			*p = t->next;
			break;
		}
	t->armed = false;
}

void loop_after(struct timer *t, uint64_t ms, void (*fn)(void *), void *arg)
{
	struct timer **p = &timers;

	loop_cancel(t);
	*t = (struct timer){ .at_ms = clock_ms() + ms, .armed = true, .fn = fn, .arg = arg };
	while (*p && (*p)->at_ms <= t->at_ms)
		p = &(*p)->next;
	t->next = *p;
	*p = t;
}

static int run_timers(void)
{
	for (;;) {
		struct timer *t = timers;
		const uint64_t now = clock_ms();

		if (!t)
			return -1;
		if (t->at_ms > now)
			return t->at_ms - now > 60000 ? 60000 : (int)(t->at_ms - now);
		timers = t->next;
		t->armed = false;
		t->fn(t->arg);
	}
}

void loop_each_turn(void (*fn)(void))
{
	each_turn = fn;
}

void loop_eager(struct eager *e)
{
	eager = e;
}

int loop_peek_add(struct peek *p)
{
	for (size_t i = 0; i < LOOP_PEEKS; i++)
		if (!peeks[i]) {
			peeks[i] = p;
			p->sleeps(p->arg, false);
			return 0;
		}
	return -ENOSPC;
}

void loop_peek_del(const struct peek *p)
{
	for (size_t i = 0; i < LOOP_PEEKS; i++)
		if (peeks[i] == p)
			peeks[i] = NULL;
}

static bool peek(void)
{
	bool seen = false;

	for (size_t i = 0; i < LOOP_PEEKS; i++)
		seen = (peeks[i] && peeks[i]->look(peeks[i]->arg)) || seen;
	return seen;
}

static void peeks_sleep(bool yes)
{
	for (size_t i = 0; i < LOOP_PEEKS; i++)
		if (peeks[i])
			peeks[i]->sleeps(peeks[i]->arg, yes);
}

/* Waits for events, unless there is something to see. */
static int wait_(int timeout)
{
	peeks_sleep(true);
	const int n = epoll_wait(epfd, batch, BATCH, peek() ? 0 : timeout);
	peeks_sleep(false);
	return n;
}

/* Looks without sleeping: events, 0 none, or -1 there was something to see. Who does so in vain does it half as often from then on. */
static int look_eagerly(struct eager *e)
{
	const uint64_t end = clock_ns() + EAGER_NS;
	int n = 0;

	if (e->rest > 0) {
		e->rest--;
		return 0;
	}
	do
		n = peek() ? -1 : epoll_wait(epfd, batch, BATCH, 0);
	while (n == 0 && clock_ns() < end);
	e->misses = n != 0 ? 0 : e->misses < EAGER_MISSES_MAX ? (uint8_t)(e->misses + 1) : e->misses;
	e->rest = (uint16_t)((1u << e->misses) - 1u);
	return n;
}

void loop_turn(int most_ms)
{
	int timeout = run_timers();

	if (each_turn)
		each_turn();
	if (most_ms >= 0 && (timeout < 0 || timeout > most_ms))
		timeout = most_ms;
	struct eager *const e = eager;
	eager = NULL;
	int n = e && timeout != 0 ? look_eagerly(e) : 0;
	if (n == 0 && (n = wait_(timeout)) < 0 && errno != EINTR)
		abort();
	batch_n = n;
	for (int i = 0; i < batch_n; i++) {
		struct watch *w = batch[i].data.ptr;

		if (w && w->fd >= 0)
			w->fn(w->arg, batch[i].events);
	}
	batch_n = 0;
	if (each_turn)
		each_turn();
}

_Noreturn void loop_run(void)
{
	for (;;)
		loop_turn(-1);
}
