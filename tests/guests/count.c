/* SPDX-License-Identifier: Apache-2.0 */
/* Counts on its console, for ever: nearly every moment is one in the middle of a byte's way out. */
#include "tests/guests/guest.h"

void test(const uint32_t *info)
{
	(void)info;
	for (uint32_t n = 0;; n++) {
		say_hex(n);
		say("\n");
	}
}
