/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that holds a credential for a moment: not written to swap, left out of core dumps. Whoever has it wipes it. */
#ifndef BULKHEAD_BASE_MEMLOCK_H
#define BULKHEAD_BASE_MEMLOCK_H

#include <stdbool.h>
#include <stddef.h>

/* The pages of [p, p + n), whatever else lies on them, for as long as they are mapped. False when the kernel does not lock (RLIMIT_MEMLOCK). */
bool memlock(const void *p, size_t n);

#endif
