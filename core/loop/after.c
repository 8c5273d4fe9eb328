/* SPDX-License-Identifier: Apache-2.0 */
/* One-shot timers over uv_timer: libuv frees a handle only in its close callback, so each timer is its own allocation. */
#include "core/loop/after.h"

#include <errno.h>
#include <stdlib.h>

struct after {
	uv_timer_t timer;
	struct after **slot;
	void (*fn)(void *arg);
	void *arg;
};

static void on_closed(uv_handle_t *h)
{
	free(h->data);
}

static void on_timer(uv_timer_t *t)
{
	struct after *a = t->data;
	void (*fn)(void *) = a->fn;
	void *arg = a->arg;

	after_cancel(a->slot);
	fn(arg);
}

int after_set(struct after **slot, uv_loop_t *loop, uint64_t ms, void (*fn)(void *arg), void *arg)
{
	after_cancel(slot);
	struct after *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->slot = slot;
	a->fn = fn;
	a->arg = arg;
	uv_timer_init(loop, &a->timer);
	a->timer.data = a;
	uv_update_time(loop);
	uv_timer_start(&a->timer, on_timer, ms, 0);
	*slot = a;
	return 0;
}

void after_cancel(struct after **slot)
{
	struct after *a = *slot;

	if (!a)
		return;
	*slot = NULL;
	uv_timer_stop(&a->timer);
	uv_close((uv_handle_t *)&a->timer, on_closed);
}
