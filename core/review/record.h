/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an apply did, written before it is done, so that it can be finished with after a crash and undone later.
 *
 * One directory an apply below the sandbox's own undo directory, named by its id: "record", and the old contents of each file it changed, named
 * by the item's number, 0600. The record is appended to, never rewritten: a head; for each item first the intention (synced, old
 * contents included), then what became of it; the end. A torn tail is no part of it. Format: u32 length, u8 type, fields; little endian.
 * Ours alone, but read again as if it were not. Blocking; one thread a record.
 */
#ifndef BULKHEAD_REVIEW_RECORD_H
#define BULKHEAD_REVIEW_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/review/place.h"

#define RECORD_ITEMS_MAX 200000u
#define RECORDS_KEPT 50u
#define RECORD_OLD_MAX (UINT64_C(2) << 30) /* old contents of all applies of a sandbox; the oldest applies go first */

enum record_kind { RECORD_APPLY, RECORD_UNDO, RECORD_KINDS };
struct record_head {
	uint32_t id;          /* from 1, given by record_create() */
	uint8_t kind;
	uint32_t of;          /* UNDO: which one */
	uint64_t at_ms;       /* wall clock */
	char workspace[1024];
};

enum item_state { ITEM_INTENDED, ITEM_DONE, ITEM_DROPPED, ITEM_STATES };
struct record_item {
	char *path;           /* owned, legal (place.h) */
	uint32_t tmp;         /* of record_tmp_name() */
	uint8_t state;
	bool kept;            /* its old contents lie beside the record; always so for what is no file */
	struct look before, after;
	char *text;           /* owned: before's text, of a link; "" else */
};

struct record {
	struct record_head head;
	int dir;              /* of this record */
	int fd;               /* "record", appending; -1 when it was only read */
	struct record_item *item; /* owned */
	size_t n;
	size_t cap;
	bool ended;
	uint32_t undone_by;   /* 0: it was not */
	uint64_t old_bytes;   /* kept so far */
	size_t good;          /* bytes of the file that were read; what follows is a torn tail */
};

/* Below `store` (borrowed). The head is on the disk. 0 or -errno with a sentence. */
int record_create(struct record **out, int store, const struct record_head *h, struct err *e);
/* As far as it was written. -ENOENT, -EBADMSG, -errno. */
int record_read(struct record **out, int store, uint32_t id, struct err *e);
void record_close(struct record **r);
/* One that was read goes on being written, behind what was read. 0 or -errno. */
int record_resume(struct record *r);

/*
 * The intention: it, and the old contents read from `old` (-1: none to keep), are on the disk when this returns 0. What does not fit
 * RECORD_OLD_MAX is not kept, and the item says so. *n: the item's number.
 */
int record_intend(struct record *r, const char *path, const struct look *before, const char *text, int old, const struct look *after, size_t *n,
		  struct err *e);
/* What became of it. 0 or -errno. */
int record_settle(struct record *r, size_t n, enum item_state s);
int record_end(struct record *r);
/* Item n's old contents, opened; -errno. */
int record_old(const struct record *r, size_t n);
/* Said in the record that was undone. 0 or -errno. */
int record_undone(int store, uint32_t id, uint32_t by);

/* ".bulkhead-XXXXXXXX" */
#define RECORD_TMP_MAX 32
void record_tmp_name(char out[RECORD_TMP_MAX], uint32_t tmp);
/* Ids, ascending, at most `max` of the newest; how many, or -errno. */
long record_list(int store, uint32_t *ids, size_t max);
/* The oldest go until the bounds above hold; the newest always stays. */
void record_prune(int store);
/* Takes it away, with its contents. */
void record_forget(int store, uint32_t id);

#endif
