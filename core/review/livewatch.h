/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens below a live workspace's directory, by whoever it is done: every directory of it is watched (inotify(7)), and the paths that
 * something happened to are gathered until they are looked at. Where that is not enough (too many directories, too much at once, a
 * directory that moved) everything has to be looked at. A write through a mapping on the host raises no event. Paths are from the workspace's root.
 */
#ifndef BULKHEAD_REVIEW_LIVEWATCH_H
#define BULKHEAD_REVIEW_LIVEWATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LIVEWATCH_PATHS_MAX 8192u

/* Paths, each once, in the order in which they came. */
struct pathset {
	char **path;
	size_t n, cap;
	size_t *slot; /* an open table of indices + 1; twice as many as cap */
	uint64_t seed; /* of its hashes: names are made by who may want them to be slow */
};
/* False: out of memory, or there are LIVEWATCH_PATHS_MAX. */
bool pathset_add(struct pathset *s, const char *path);
bool pathset_has(const struct pathset *s, const char *path);
void pathset_clear(struct pathset *s);

struct livewatch;

/* inotify: taken, non-blocking; most: directories. NULL (and inotify closed): out of memory. */
struct livewatch *livewatch_create_take(int inotify, size_t most);
void livewatch_destroy(struct livewatch **w);
int livewatch_fd(const struct livewatch *w);
/* Reads what has happened. */
void livewatch_read(struct livewatch *w);
/* Before everything is looked at: nothing is dirty, nothing is watched but what is told of from now on; after it, what was not told of is let go. */
void livewatch_begin(struct livewatch *w);
void livewatch_end(struct livewatch *w);
/* A directory, open at fd, before it is listed. True: it was not watched before. */
bool livewatch_dir(struct livewatch *w, const char *path, int fd);
/* Not everything is known that happened: until everything has been looked at. */
void livewatch_lose(struct livewatch *w);
/* Everything is watched and heard: what is not dirty is as it was. */
bool livewatch_whole(const struct livewatch *w);
/* Something is dirty. */
bool livewatch_due(const struct livewatch *w);
/* What is dirty, and no longer is: the caller's, to be cleared. */
void livewatch_take(struct livewatch *w, struct pathset *out);

#endif
