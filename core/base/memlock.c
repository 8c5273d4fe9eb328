/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/memlock.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

bool memlock(const void *p, size_t n)
{
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)p & ~(page - 1);
	const size_t size = (size_t)((((uintptr_t)p + n + page - 1) & ~(page - 1)) - from);
	void *at = (void *)from;

	return madvise(at, size, MADV_DONTDUMP) == 0 && mlock(at, size) == 0;
}
