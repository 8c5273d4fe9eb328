/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what lies in the upper layer to changes: each entry makes none (a directory that is the same, content that is equal), one, or many (a
 * directory that is gone, renamed or hides what lay under it). Private to the layer that owns them.
 */
#ifndef BULKHEAD_REVIEW_ITEMS_H
#define BULKHEAD_REVIEW_ITEMS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "core/review/base.h"
#include "core/review/review.h"
#include "core/review/uppers.h"

struct danger;
struct hide;

struct item {
	struct change c;
	struct item *next;       /* of the same entry */
	struct upper *upper;     /* that makes it */
	bool whole;              /* the entry's own path: it can be discarded by itself */
	bool same;               /* equal to the host's: no change */
	bool paired;             /* a deletion that is half of a rename */
	bool brief;              /* one of many */
	bool guessed;            /* `from` is ours: equal content, not the guest's word */
	/* What was compared or counted, and with what. */
	bool inspected;
	uint64_t seen_size, seen_mtime_ns, seen_ctime_ns; /* theirs */
	struct stat seen;        /* ours; st_ino 0: none */
};

struct ground {
	int root;
	const struct uppers *uppers;
	struct base *base;
	const struct hide *hide;
	const struct danger *danger;
	uint32_t most;           /* names looked at in one directory that is gone or renamed */
	bool truncated;          /* set when there were more */
};

/* What the entry makes, in u->derived; what it made before is forgotten. */
void items_make(struct ground *g, struct upper *u);
void items_drop(struct upper *u);
/* Looks at the host's file anew: `ours`, kind, conflict. */
void item_look(struct ground *g, struct item *i);
/* Why it would be run on the host, NULL it would not: the list's (danger.h), and the configuration of a repository wherever it lies. */
const char *items_mark(const struct ground *g, const char *path);
bool items_hidden(const struct hide *h, const char *path);
/*
 * In a repository's own directory and not among what could be executed: changes of commands of git, not of the person's files. The directory itself is
 * none of them, nor one in it that holds others.
 */
bool items_of_git(const struct ground *g, const char *path);

#endif
