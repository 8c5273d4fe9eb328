/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash-chained log of JSON lines in a directory of its own.
 *
 *   00000000000000000001.jsonl   lines {"seq": n, ..., "prev": hex SHA-256 of the line before, without its newline}; the name is the first
 *                                seq in it. The first record ever has 64 zeros. A new file is begun at `cap` bytes, the oldest goes when
 *                                there are more than `files`.
 *   head                         {"base", "base_prev", "seq", "hash"}: where the chain begins and ends, replaced after the lines are
 *                                synced: so what is cut off at either end is missed.
 *
 * Whoever can write the files and the head can make up another history: the hash `chain_verify` gives is for those who note it elsewhere.
 * A crash loses nothing that was handed to the kernel; a torn last line is cut off and recorded as {"event": "torn"}. Records that the head
 * knows and the files do not are a hole for ever: {"event": "gap"} follows it. Nothing here depends on the supervisor.
 */
#ifndef BULKHEAD_SUPERVISOR_CHAIN_H
#define BULKHEAD_SUPERVISOR_CHAIN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"

#define CHAIN_HEX 65u                   /* a SHA-256 in hex, with its NUL */
#define CHAIN_LINE_MAX (64u * 1024u)    /* a longer record is replaced by one that says so */
#define CHAIN_PENDING_MAX (4u << 20)    /* of lines the disk did not take yet */
#define CHAIN_FILES_MAX 256u

struct chain_mark {
	uint64_t seq;
	char hash[CHAIN_HEX];
};

struct chain_ends {
	uint64_t base;                 /* the first record that must be there */
	char base_prev[CHAIN_HEX];     /* and its prev */
	struct chain_mark last;        /* the last that is in the files */
};

struct chain {
	int dirfd, fd;                 /* owned */
	int old_fd;                    /* the file before, until it is synced; -1 */
	uint64_t cap, size;
	unsigned files;
	struct chain_mark top;         /* of the last record made */
	struct chain_ends ends;
	struct buf pending;            /* made and not yet written */
	uint64_t lost;                 /* records there was no room for */
	bool dirty;                    /* written and not yet synced */
};

/*
 * Takes dirfd in any case. `begun`: a log was begun once, says somebody who keeps that elsewhere: an empty directory is then one that was emptied. `found` (at least 256 bytes) says in a sentence what was wrong with the end that was found, or is "".
 * 0 or -errno with a sentence.
 */
int chain_open_take(struct chain *c, int dirfd, uint64_t cap, unsigned files, bool begun, char *found, size_t found_cap, struct err *e);
/* Closes; what is pending is lost. */
void chain_release(struct chain *c);
/* Adds an object (taken) as the next record. 0; -EAGAIN: kept, not written yet; -ENOBUFS: lost (and counted). */
int chain_add_take(struct chain *c, json_t *o);
/* Tries to write what is pending. 0 when nothing is left, else -errno. */
int chain_flush(struct chain *c);

/* Syncing, in three parts: begin and end on the owner's thread, run on any. One at a time. */
struct chain_sync {
	int dirfd, fd, old_fd;  /* owned duplicates, -1 none */
	struct chain_ends ends;
	bool keep;              /* deletes nothing: somebody reads all of it */
	int result;             /* 0 or -errno */
};
bool chain_sync_begin(struct chain *c, struct chain_sync *s); /* false: nothing to do */
void chain_sync_run(struct chain_sync *s);
void chain_sync_end(struct chain *c, struct chain_sync *s);

/* These two only read, on any thread, from a directory descriptor of their own (borrowed). */
struct chain_verdict {
	uint64_t records;
	bool ok;
	char problem[320];      /* the first thing that is wrong, with its record's number */
};
void chain_verify(int dirfd, const struct chain_ends *ends, struct chain_verdict *v);
/*
 * The last `lines` records for which want() is true, oldest first, of at most `room` bytes together; looks at no more than `max_bytes` of
 * the files' ends. A new array.
 */
json_t *chain_tail(int dirfd, bool (*want)(void *arg, const json_t *o), void *arg, size_t lines, size_t room, uint64_t max_bytes);

#endif
