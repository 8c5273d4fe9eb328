/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/fusewindow.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/log.h"

#define PAGE 4096u
#define PAGEMAP_PRESENT (UINT64_C(1) << 63)
#define PAGEMAP_FRAME ((UINT64_C(1) << 55) - 1)

/* One huge page more than the kernel keeps, or one fewer. */
static int want_page(long more)
{
	AUTO_FD fd = open("/proc/sys/vm/nr_hugepages", O_RDWR | O_CLOEXEC);
	char text[32] = "";

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return -ENOTSUP;
	const int n = snprintf(text, sizeof(text), "%ld\n", strtol(text, NULL, 10) + more);
	return pwrite(fd, text, (size_t)n, 0) == n ? 0 : -ENOMEM;
}

static int where(const uint8_t *p, uint64_t *at)
{
	AUTO_FD fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t e = 0;

	if (fd < 0 || pread(fd, &e, sizeof(e), (off_t)((uintptr_t)p / PAGE * sizeof(e))) != sizeof(e))
		return -ENOTSUP;
	*at = (e & PAGEMAP_FRAME) * PAGE;
	return e & PAGEMAP_PRESENT && *at > 0 && *at % FS_WINDOW_SIZE == 0 ? 0 : -ENOTSUP;
}

static int make(struct fusewindow *w)
{
	int r = want_page(1);

	if (r < 0)
		return r;
	uint8_t *p = mmap(NULL, FS_WINDOW_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);
	if (p == MAP_FAILED) {
		r = -errno;
		want_page(-1);
		return r;
	}
	/* No child has it, nor a core dump. */
	r = madvise(p, FS_WINDOW_SIZE, MADV_DONTFORK) < 0 || madvise(p, FS_WINDOW_SIZE, MADV_DONTDUMP) < 0 ? -errno : where(p, &w->at);
	if (r == 0) {
		w->base = p;
		return 0;
	}
	munmap(p, FS_WINDOW_SIZE);
	want_page(-1);
	return r;
}

bool fusewindow_make(struct fusewindow *w, const uint8_t sign[FS_LANE_SIGN])
{
	const int r = w->base || w->failed ? 0 : make(w);

	w->failed = w->failed || r < 0;
	if (r < 0)
		log_info("a workspace's contents go by the port: %s", strerror(-r));
	if (w->base) {
		memset(w->base + FS_RING_AT, 0, sizeof(struct fs_ring));
		memcpy(w->base, sign, FS_LANE_SIGN);
	}
	return w->base != NULL;
}

unsigned fusewindow_find(const struct fusewindow *w)
{
	for (unsigned i = 1; w->lent && i <= FS_PLACES; i++)
		if (!w->busy[i])
			return i;
	return 0;
}

void fusewindow_take(struct fusewindow *w, unsigned place)
{
	w->busy[place] = true;
}

void fusewindow_free(struct fusewindow *w, unsigned place)
{
	w->busy[place] = false;
}

uint8_t *fusewindow_at(const struct fusewindow *w, unsigned place)
{
	return w->base + (size_t)place * FS_PLACE_SIZE;
}

void fusewindow_lost(struct fusewindow *w)
{
	w->lent = false;
	memset(w->busy, 0, sizeof(w->busy));
}
