/* SPDX-License-Identifier: Apache-2.0 */
#include "core/workspace/window.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "core/workspace/check.h"

_Static_assert(CHECK_DATA_MAX <= FS_PLACE_SIZE && (FS_PLACES + 1) * FS_PLACE_SIZE <= FS_WINDOW_SIZE, "what a request asks for fits its place");
_Static_assert(sizeof(struct fs_ring) <= FS_RING_HEAD && FS_RING_AT + FS_RING_HEAD + FS_RING_SIZE <= FS_PLACE_SIZE, "the ring ends before the first place");

int window_open(struct window *w, int memory, const uint8_t sign[FS_LANE_SIGN], const uint8_t *body, size_t n)
{
	uint64_t at;
	struct stat st;

	window_close(w);
	if (n != sizeof(at) || memory < 0 || fstat(memory, &st) < 0)
		return -EBADMSG;
	memcpy(&at, body, sizeof(at));
	if (at >= FS_MEMORY_HIGH)
		at = at - FS_MEMORY_HIGH + FS_MEMORY_LOW;
	else if (at >= FS_MEMORY_LOW)
		return -EBADMSG;
	if (at % FS_WINDOW_SIZE != 0 || st.st_size < (off_t)FS_WINDOW_SIZE || at > (uint64_t)st.st_size - FS_WINDOW_SIZE)
		return -EBADMSG;
	uint8_t *p = mmap(NULL, FS_WINDOW_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, (off_t)at);
	if (p == MAP_FAILED)
		return -errno;
	*w = (struct window){ .base = p };
	if (memcmp(p, sign, FS_LANE_SIGN) == 0)
		return 0;
	window_close(w);
	return -EBADMSG;
}

void window_close(struct window *w)
{
	if (w->base)
		munmap(w->base, FS_WINDOW_SIZE);
	w->base = NULL;
}

static struct fs_ring *ring(const struct window *w)
{
	return (struct fs_ring *)(void *)(w->base + FS_RING_AT);
}

ssize_t window_put(struct window *w, const uint8_t *p, size_t n)
{
	uint8_t *to = w->base + FS_RING_AT + FS_RING_HEAD;
	const uint32_t waits = w->put - atomic_load_explicit(&ring(w)->taken, memory_order_acquire);

	if (waits > FS_RING_SIZE)
		return -EBADMSG;
	n = n < FS_RING_SIZE - waits ? n : FS_RING_SIZE - waits;
	const size_t at = w->put % FS_RING_SIZE, first = n < FS_RING_SIZE - at ? n : FS_RING_SIZE - at;
	if (n > 0) {
		memcpy(to + at, p, first);
		memcpy(to, p + first, n - first);
		w->put += (uint32_t)n;
		atomic_store(&ring(w)->put, w->put);
	}
	return (ssize_t)n;
}

bool window_is_asleep(const struct window *w)
{
	return atomic_load(&ring(w)->looks) == 0;
}

uint8_t *window_place(const struct window *w, unsigned number)
{
	return w->base && number >= 1 && number <= FS_PLACES ? w->base + (size_t)number * FS_PLACE_SIZE : NULL;
}
