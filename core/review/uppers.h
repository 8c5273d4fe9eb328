/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest says lies in an upper layer, by path; bounded by CHANGES_ENTRIES_MAX. And where a path of the merged tree has its lower half: through
 * renamed directories, nowhere below an opaque one. Pure; one thread.
 */
#ifndef BULKHEAD_REVIEW_UPPERS_H
#define BULKHEAD_REVIEW_UPPERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/proto/changes.h"

struct upper {
	struct upper *next;  /* of its slot */
	uint8_t type, opaque;
	uint16_t mode;
	uint32_t nlink, children; /* directories: how many entries lie right below it */
	uint64_t size, mtime_ns, ctime_ns;
	char *path;          /* owned */
	char *redirect;      /* owned; NULL none */
	char *link;          /* owned; NULL none */
	bool stale;          /* not told again since a BEGIN */
	bool dirty;          /* its changes are to be made anew */
	void *derived;       /* the owner's; given to `drop` when the entry goes */
};

struct uppers {
	struct upper **slot;
	size_t size, count;
	bool truncated;
	bool structural;     /* something that other entries' lower halves depend on has changed: all are dirty */
	void (*drop)(void *arg, struct upper *u);
	void *arg;
};

int uppers_init(struct uppers *s, void (*drop)(void *arg, struct upper *u), void *arg);
void uppers_release(struct uppers *s);
/* 0 and it is there (dirty if it is new or other than before), or -ENOMEM, -E2BIG (truncated is set). */
int uppers_put(struct uppers *s, const struct changes_entry *e);
struct upper *uppers_find(const struct uppers *s, const char *path);
/* It and, if it was a directory, all below it. */
void uppers_gone(struct uppers *s, const char *path);
void uppers_begin(struct uppers *s);  /* all are stale */
void uppers_synced(struct uppers *s); /* what is stale still is gone */
/* Calls fn for each; fn changes nothing. */
void uppers_each(const struct uppers *s, bool (*fn)(void *arg, struct upper *u), void *arg);

/* Where `path` lies in the lower layer: out and true; false: nowhere. `renamed`: elsewhere than under its own name. The entry of the path itself counts
 * only with `self` (a directory's own redirect). */
bool uppers_lower(const struct uppers *s, const char *path, bool self, char out[CHANGES_PATH_MAX + 1], bool *renamed);
/* A lower path shows under `path` unless something of the layer stands in between or there: false then. */
bool uppers_shows(const struct uppers *s, const char *path);

#endif
