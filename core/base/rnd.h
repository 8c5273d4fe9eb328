/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BULKHEAD_BASE_RND_H
#define BULKHEAD_BASE_RND_H
#include <stddef.h>
#include <stdint.h>
/* getrandom(); never fails short of a broken kernel, then aborts. */
void rnd_bytes(void *p, size_t n);
uint32_t rnd_u32(void);
#endif
