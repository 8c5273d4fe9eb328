/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/kvm/ram.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "vmm/kvm/layout.h"

#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB (21u << 26)
#endif
#define PAGE 4096u
#define RUN (1u << 20) /* bytes written by one call */

int ram_create(struct ram *r, uint64_t bytes, enum vmm_pages pages, struct err *e)
{
	const bool pool = pages == VMM_PAGES_POOL;

	*r = (struct ram){ .fd = -1 };
	if (bytes == 0 || bytes % 4096 != 0 || bytes > UINT64_C(1) << 40)
		return err_set(e, EINVAL, "a machine cannot have %llu bytes of memory", (unsigned long long)bytes);
	AUTO_FD fd = fd_memory("guest-memory", bytes, pool ? MFD_HUGETLB | MFD_HUGE_2MB : 0);
	if (fd < 0)
		return err_errno(e, -fd, "cannot make %llu MiB of guest memory", (unsigned long long)(bytes >> 20));
	/* From the pool it is reserved now: a guest that touches a page which is not there would kill us later. */
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | (pool ? 0 : MAP_NORESERVE), fd, 0);
	if (p == MAP_FAILED)
		return pool ? err_set(e, errno, "the host has no %llu MiB in huge pages (vm.nr_hugepages)", (unsigned long long)(bytes >> 20)) :
			      err_errno(e, errno, "cannot map %llu MiB of guest memory", (unsigned long long)(bytes >> 20));
	madvise(p, bytes, MADV_DONTDUMP);
	if (pages == VMM_PAGES_HINT)
		madvise(p, bytes, MADV_HUGEPAGE); /* a hint: refused where shared memory has no huge pages */
	r->base = p;
	r->size = bytes;
	r->low = bytes < RAM_LOW_MAX ? bytes : RAM_LOW_MAX;
	r->fd = steal_fd(&fd);
	r->owned = true;
	return 0;
}

int ram_map_copy(struct ram *r, int fd, uint64_t bytes, struct err *e)
{
	struct stat st;

	*r = (struct ram){ .fd = -1 };
	if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != bytes || bytes % 4096 != 0 || bytes == 0)
		return err_set(e, EBADMSG, "the snapshot's memory is not of the size its machine had");
	AUTO_FD kept = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	void *p = kept < 0 ? MAP_FAILED : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
	if (p == MAP_FAILED)
		return err_errno(e, errno, "cannot map the snapshot's memory");
	madvise(p, bytes, MADV_DONTDUMP);
	r->base = p;
	r->size = bytes;
	r->low = bytes < RAM_LOW_MAX ? bytes : RAM_LOW_MAX;
	r->fd = steal_fd(&kept);
	r->owned = r->copy = true;
	return 0;
}

static bool is_zero(const uint8_t *p, size_t n)
{
	return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

/* Where the file holds something at or after `at`: [*data, *hole). A file that cannot tell holds something everywhere. */
static void next_data(const struct ram *r, uint64_t at, uint64_t *data, uint64_t *hole)
{
	const off_t d = lseek(r->fd, (off_t)at, SEEK_DATA);

	*data = d >= (off_t)at && (uint64_t)d < r->size ? (uint64_t)d / PAGE * PAGE : d < 0 && errno != ENXIO ? at : r->size;
	const off_t h = *data < r->size ? lseek(r->fd, (off_t)*data, SEEK_HOLE) : -1;
	*hole = h > (off_t)*data && (uint64_t)h < r->size ? ((uint64_t)h + PAGE - 1) / PAGE * PAGE : r->size;
}

/*
 * The pages of [at, to) that hold something. `drop`: those that hold nothing lie where the file has a hole, and looking at them made them
 * resident: they go again, and read as before.
 */
static int save_pages(const struct ram *r, int fd, uint64_t at, uint64_t to, bool drop)
{
	while (at < to) {
		const uint64_t limit = to - at < RUN ? to : at + RUN;
		uint64_t end = at;
		int rc = 0;

		if (is_zero(r->base + at, PAGE)) {
			while (end < limit && is_zero(r->base + end, PAGE))
				end += PAGE;
			if (drop)
				madvise(r->base + at, end - at, MADV_DONTNEED);
		} else {
			while (end < limit && !is_zero(r->base + end, PAGE))
				end += PAGE;
			rc = fd_pwrite_full(fd, r->base + at, end - at, (off_t)at);
		}
		if (rc < 0)
			return rc;
		at = end;
	}
	return 0;
}

/*
 * What was never touched, or given back, is a hole of the machine's own file and is not looked at: to read it would allocate it. A copy's
 * mapping is private, so what it wrote may also lie over a hole of the file it was made from.
 */
int ram_save(const struct ram *r, int fd, struct err *e)
{
	uint64_t data, hole;
	int rc = ftruncate(fd, 0) < 0 || ftruncate(fd, (off_t)r->size) < 0 ? -errno : 0;

	for (uint64_t at = 0; at < r->size && rc == 0; at = hole) {
		next_data(r, at, &data, &hole);
		if (r->copy)
			rc = save_pages(r, fd, at, data, true);
		if (rc == 0)
			rc = save_pages(r, fd, data, hole, false);
	}
	if (rc == 0 && r->size >= GENERATION_ADDR + RAM_MARK)
		rc = fd_pwrite_full(fd, r->mark, RAM_MARK, GENERATION_ADDR);
	return rc < 0 ? err_errno(e, -rc, "cannot write the snapshot's memory") : 0;
}

void ram_over(struct ram *r, void *base, uint64_t size)
{
	*r = (struct ram){ .base = base, .size = size, .low = size, .fd = -1 };
}

void ram_destroy(struct ram *r)
{
	if (r->owned)
		munmap(r->base, r->size);
	if (r->fd >= 0)
		close(r->fd);
	*r = (struct ram){ .fd = -1 };
}

void *ram_at(const struct ram *r, uint64_t gpa, uint64_t len)
{
	const uint64_t high = r->size - r->low;

	if (len == 0)
		return NULL;
	if (gpa < r->low && len <= r->low - gpa)
		return r->base + gpa;
	if (gpa >= RAM_HIGH && gpa - RAM_HIGH < high && len <= high - (gpa - RAM_HIGH))
		return r->base + r->low + (gpa - RAM_HIGH);
	return NULL;
}

int ram_read(const struct ram *r, uint64_t gpa, void *dst, size_t n)
{
	const void *p = ram_at(r, gpa, n);

	if (!p)
		return -EFAULT;
	memcpy(dst, p, n);
	return 0;
}

int ram_write(const struct ram *r, uint64_t gpa, const void *src, size_t n)
{
	void *p = ram_at(r, gpa, n);

	if (!p)
		return -EFAULT;
	memcpy(p, src, n);
	return 0;
}
