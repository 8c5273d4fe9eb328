/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host had when a change was first seen: per path the file's identity and digest, and of small files a copy; kept in the sandbox's own
 * state (file "base-N", directory "kept-N"), written atomically, so that a conflict survives restarts. Belongs to one layer by its number: of another
 * layer nothing is remembered.
 */
#ifndef BULKHEAD_REVIEW_BASE_H
#define BULKHEAD_REVIEW_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "core/base/err.h"
#include "core/review/review.h"

#define BASE_DIGEST_MAX (8u << 20) /* larger files are known by their identity only */
#define BASE_KEEP_MAX (1u << 20)   /* a copy is kept of */
#define BASE_KEPT_MAX (64u << 20)  /* all copies together */

struct base_record {
	struct base_record *next;
	bool exists, digested, seen;
	uint32_t mode;
	uint64_t dev, ino, size;
	int64_t mtime_ns, ctime_ns;
	uint8_t digest[DIGEST];   /* of the content or link's text, when digested */
	char path[];
};

struct base;
/* `state`: borrowed directory; root: the workspace. Reads what is there; what is damaged is forgotten, with a warning. */
int base_open(struct base **out, int state, int root, uint8_t index, struct err *e);
void base_close(struct base **b);
/* The layer's number: another one than remembered forgets all, and false is returned. */
bool base_layer(struct base *b, const uint8_t id[CHANGES_ID]);
/*
 * The record of a path, made from what stands there now if there is none. `brief`: only its identity is taken (one of many). NULL: out of memory,
 * or there are too many.
 */
struct base_record *base_first(struct base *b, const char *path, bool brief);
struct base_record *base_find(const struct base *b, const char *path);
/* What stands there now is the base from now on. */
void base_anew(struct base *b, const char *path);
void base_forget(struct base *b, const char *path);
/* Of those not `seen` since base_unsee() only. */
void base_unsee(struct base *b);
void base_sweep(struct base *b);
/* The host's file is still what it was: by identity, else by content (then the identity is renewed). */
bool base_holds(struct base *b, struct base_record *r);
/* 0, -ENOENT nothing was there, -ENODATA not kept. */
int base_content(const struct base *b, const char *path, struct content *out);
/* Writes what is not on the disk yet. */
int base_save(struct base *b);
bool base_changed(const struct base *b);
size_t base_count(const struct base *b);
/* Calls fn for each; fn may change the record, not the table. */
void base_each(struct base *b, void (*fn)(void *arg, struct base_record *r), void *arg);
/* Of records that have an identity only, digests and copies are made, until the time or the room for copies is over. True: nothing is left to do. */
bool base_deepen(struct base *b, uint64_t until_ms);

#endif
