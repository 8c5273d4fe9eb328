/* SPDX-License-Identifier: Apache-2.0 */
/* The host's side of a workspace, read only: never through a link, never outside of its directory or file system (place.h). */
#ifndef BULKHEAD_REVIEW_HOST_H
#define BULKHEAD_REVIEW_HOST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "core/review/review.h"

/* 0, or -ENOENT (also when something on the way is no directory), -errno. */
int host_stat(int root, const char *path, struct stat *st);
struct side host_side(const struct stat *st); /* NULL: nothing there */
/* 0 (side.mode 0 and type WHITEOUT: nothing there), -EFBIG over `most`, -EAGAIN it changes under our hands, -errno. */
int host_read(int root, const char *path, uint64_t most, struct content *out);
/*
 * Calls fn for everything below the directory `path` that `skip` does not name (a skipped directory with all below it), in no order, but of directories
 * for empty ones only; false from fn ends it. -E2BIG when more than `most` names were seen.
 */
struct host_walk {
	bool (*skip)(void *arg, const char *path);
	bool (*fn)(void *arg, const char *path, const struct stat *st);
	bool (*dir)(void *arg, const char *path, int fd); /* may be NULL: a directory, before it is listed; false: it is not listed */
	void *arg;
	uint32_t most;
};
int host_walk(int root, const char *path, const struct host_walk *w);

#endif
