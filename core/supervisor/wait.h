/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of `sandbox.wait`: answered when the sandbox is in one of the states, can no longer get there, or time is up. */
#ifndef BULKHEAD_SUPERVISOR_WAIT_H
#define BULKHEAD_SUPERVISOR_WAIT_H

#include <stdbool.h>
#include <stdint.h>

struct call;
struct sandbox;
struct super;

/*
 * states: bits of enum sandbox_state. docker: also wait until dockerd is ready or has failed. settle: it ends with a sentence also when the
 * sandbox rests in another state, which it leaves only if somebody asks. timeout_ms 0 = none.
 */
void wait_add(struct sandbox *sb, struct call *call, uint32_t states, bool docker, bool settle, uint64_t timeout_ms);
/* Look at all; called at the end of a turn in which something changed. */
void wait_check(struct super *su);
/* All end with a sentence: the supervisor leaves. */
void wait_end(struct super *su);

#endif
