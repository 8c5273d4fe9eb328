/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/rnd.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

void rnd_bytes(void *p, size_t n)
{
	uint8_t *at = p;

	while (n > 0) {
		const ssize_t r = getrandom(at, n, 0);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			abort();
		at += r;
		n -= (size_t)r;
	}
}

uint32_t rnd_u32(void)
{
	uint32_t v;

	rnd_bytes(&v, sizeof(v));
	return v;
}
