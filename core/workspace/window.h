/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of the guest's memory that its relay lends for contents (FS_WINDOW in core/proto/fs.h), mapped. The guest writes there at any time: nothing
 * that is judged lies in it, only what is read from a file or written to one. One owner, who embeds it: all zero is none.
 */
#ifndef BULKHEAD_WORKSPACE_WINDOW_H
#define BULKHEAD_WORKSPACE_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/proto/fs.h"

struct window { uint8_t *base; uint32_t put; };

/*
 * Maps what FS_WINDOW's body says of `memory`, the machine's whole memory as a file that does not shrink. 0; -EBADMSG no body of one, or not the memory of
 * the machine that was given `sign`; -errno.
 */
int window_open(struct window *w, int memory, const uint8_t sign[FS_LANE_SIGN], const uint8_t *body, size_t n);
void window_close(struct window *w);
/* Into the ring: how many of the n bytes have room there. -EBADMSG: what the guest says it has taken was never put there. */
ssize_t window_put(struct window *w, const uint8_t *p, size_t n);
/* After that: the guest does not look, and is to be sent a byte. */
bool window_is_asleep(const struct window *w);
/* Place `number`, FS_PLACE_SIZE bytes; NULL: there is none of that number, or no window. */
uint8_t *window_place(const struct window *w, unsigned number);

#endif
