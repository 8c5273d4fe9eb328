/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's event loop: epoll, timers, nothing else (the static binary carries no libuv). One thread. Watches and timers are
 * embedded in their owners and never allocated here; a watch deleted inside a callback gets no event of the same turn.
 */
#ifndef BULKHEAD_GUEST_LOOP_H
#define BULKHEAD_GUEST_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct watch {
	int fd;          /* borrowed; -1 when not watched */
	uint32_t events; /* EPOLLIN | EPOLLOUT */
	void (*fn)(void *arg, uint32_t events);
	void *arg;
};

struct timer {
	struct timer *next; /* private: armed ones, earliest first */
	uint64_t at_ms;
	bool armed;
	void (*fn)(void *arg);
	void *arg;
};

/*
 * What a waiter has learnt about an event that often follows at once. Where two CPUs are at work on one thing by turns, going to sleep and being woken
 * costs more than the other one's turn: an interrupt between them, and where machines are emulated a thread of the host's as well.
 */
struct eager {
	uint8_t misses; /* in a row */
	uint16_t rest;  /* turns until it is tried again */
};

/*
 * Memory that another writes: no descriptor tells when. look() takes what is there, false nothing; it is asked before the loop sleeps, and all the time while
 * it is eager. sleeps(true) comes before the last look before the loop sleeps, sleeps(false) when it has.
 */
struct peek {
	bool (*look)(void *arg);
	void (*sleeps)(void *arg, bool yes);
	void *arg;
};
#define LOOP_PEEKS 8u

int loop_init(void);
/* Kept by the caller until loop_peek_del(), which look() may call. 0 or -ENOSPC. */
int loop_peek_add(struct peek *p);
void loop_peek_del(const struct peek *p);
int loop_add(struct watch *w, int fd, uint32_t events, void (*fn)(void *, uint32_t), void *arg);
void loop_want(struct watch *w, uint32_t events); /* no system call when nothing changes */
void loop_del(struct watch *w);
void loop_after(struct timer *t, uint64_t ms, void (*fn)(void *), void *arg); /* re-arms */
void loop_cancel(struct timer *t);
/* Called once a turn, after everything that happened in it and before the loop sleeps: what gathers output writes it there. */
void loop_each_turn(void (*fn)(void));
/* This turn looks for 100 us whether something comes before it sleeps, less often the more often nothing did. e stays the caller's, who keeps it. */
void loop_eager(struct eager *e);
/* One turn: due timers, then events, waiting for them at most `most_ms`. Tests drive it; the agent uses loop_run(). */
void loop_turn(int most_ms);
_Noreturn void loop_run(void);

#endif
