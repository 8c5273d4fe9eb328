/* SPDX-License-Identifier: Apache-2.0 */
/* One-shot timers that own themselves. A pending one is cancelled by its slot; when it fires the slot is already NULL. */
#ifndef BULKHEAD_LOOP_AFTER_H
#define BULKHEAD_LOOP_AFTER_H

#include <stdint.h>
#include <uv.h>

struct after;
/*
 * *slot becomes the timer (an earlier one there is cancelled). The slot must live until the timer fired or was
 * cancelled. NULL afterwards only when out of memory: then 0 has become -ENOMEM.
 */
int after_set(struct after **slot, uv_loop_t *loop, uint64_t ms, void (*fn)(void *arg), void *arg);
void after_cancel(struct after **slot);

#endif
