/* SPDX-License-Identifier: Apache-2.0 */
/* What is refused before anything starts, each with a sentence. Pure, but for limits_host(). */
#ifndef BULKHEAD_SUPERVISOR_LIMITS_H
#define BULKHEAD_SUPERVISOR_LIMITS_H

#include <stdint.h>

#include "core/base/err.h"
#include "core/supervisor/config.h"

#define LIMITS_MEMORY_MIN (UINT64_C(256) << 20)
#define LIMITS_DISK_MIN (UINT64_C(1) << 30)
#define LIMITS_DISK_MAX (UINT64_C(16) << 40)

struct host_facts {
	uint32_t cpus;
	uint64_t memory_total, memory_available; /* bytes */
	uint64_t memory_promised;                /* to sandboxes that have a machine */
	uint32_t sandboxes, running;
};

/* cpus and memory from /proc; the rest is left as it is. */
void limits_host(struct host_facts *h);
/* May a sandbox of this size exist on this host at all? */
int limits_create(const struct config *c, const struct host_facts *h, uint64_t cpus, uint64_t memory, uint64_t disk, struct err *e);
/* May it start now? `h` does not count it yet. */
int limits_start(const struct config *c, const struct host_facts *h, uint64_t memory, struct err *e);

#endif
