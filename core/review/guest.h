/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream of requests to the guest (CHANGES_READS): one at a time, each waited for. What does not answer in time, or answers what was not
 * asked, is cut off: every later request fails at once until there is a new stream.
 *
 * In time: all that is waited for one question together is at most the question's patience, and for each request and each byte that came a little
 * more (guest.c). Who drips bytes is cut off as who says nothing is.
 */
#ifndef BULKHEAD_REVIEW_GUEST_H
#define BULKHEAD_REVIEW_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/review/review.h"

/* Of a question: how long it may wait, and has. */
struct patience { uint64_t budget_ms, waited_ms, bytes; };

struct guest { int fd; uint32_t id; struct patience patience; unsigned cuts; /* in a row, nothing good between */ void (*lost)(void *arg); void *arg; };

void guest_init(struct guest *g, void (*lost)(void *arg), void *arg);
/* Takes a fresh stream in place of the one before. */
void guest_connect_take(struct guest *g, int fd);
/* A question begins that waits so long at most; returned: what is left of the one before, for guest_resume(). */
struct patience guest_allow(struct guest *g, uint64_t ms);
void guest_resume(struct guest *g, const struct patience *p);
bool guest_connected(const struct guest *g);
/*
 * What lies in the upper layer under this path: 0 with type and content (of a FILE at most `most` bytes, -EFBIG when it has more); -ENOENT: nothing.
 * Its size is what came, not what was claimed.
 */
int guest_read(struct guest *g, uint8_t index, const char *path, uint64_t most, struct content *out, struct err *e);
int guest_discard(struct guest *g, uint8_t index, const char *path, struct err *e);
/* Only a directory with nothing in it: -ENOTEMPTY. */
int guest_discard_empty(struct guest *g, uint8_t index, const char *path);
/* Its layer gets a copy of its own of what shows there. */
int guest_keep(struct guest *g, uint8_t index, const char *path, struct err *e);

#endif
