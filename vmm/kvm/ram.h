/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory: one sealed memfd, mapped once, in two guest-physical pieces (layout.h). ram_at() is the only way from a guest's
 * address to ours; it checks start and length together. What it points to changes under our eyes: a guest's CPU may write at any
 * time, so whoever judges a value copies it first (ram_read) and looks at the copy.
 * Any thread; the mapping never changes between create and destroy.
 */
#ifndef BULKHEAD_VMM_KVM_RAM_H
#define BULKHEAD_VMM_KVM_RAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/proto/child.h"

#define RAM_MARK 16u

struct ram {
	uint8_t *base;  /* the low piece, directly followed by the high one */
	uint64_t size;  /* of both together; a multiple of 4096 */
	uint64_t low;   /* bytes of the low piece */
	int fd;         /* the memfd, or a duplicate of a snapshot's memory file; -1: the memory is somebody else's (tests) */
	bool owned;
	bool copy;      /* a private mapping of a snapshot's */
	/* Put into the memory file in place of the generation ID (which a copy gets anew anyway): other bytes in every snapshot, and its state file has
	 * them too, so that the two are told from those of another. */
	uint8_t mark[RAM_MARK];
};

/* 0 or -errno with a sentence. What pages it is made of: core/proto/child.h. */
int ram_create(struct ram *r, uint64_t bytes, enum vmm_pages pages, struct err *e);
/* A snapshot's memory file, mapped privately: clones share its pages until they write. fd is borrowed. */
int ram_map_copy(struct ram *r, int fd, uint64_t bytes, struct err *e);
/* Writes all of it that holds anything to fd, which becomes a sparse file of its size. Nothing becomes resident by it. Not for ram_over(). */
int ram_save(const struct ram *r, int fd, struct err *e);
/* Over memory that outlives it: a modelled guest in tests. size <= RAM_LOW_MAX. */
void ram_over(struct ram *r, void *base, uint64_t size);
void ram_destroy(struct ram *r);

/* len bytes at gpa, wholly within one piece; NULL when not. len 0 is NULL. */
void *ram_at(const struct ram *r, uint64_t gpa, uint64_t len);
/* 0 or -EFAULT, nothing copied. */
int ram_read(const struct ram *r, uint64_t gpa, void *dst, size_t n);
int ram_write(const struct ram *r, uint64_t gpa, const void *src, size_t n);

#endif
