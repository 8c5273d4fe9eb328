/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changing the person's files, and nothing else, one name at a time.
 *
 * Each change: what stands there is looked at and must be what the change was made against (else a conflict); the intention and the old
 * contents are put on the disk (record.h); the new object is made complete under a temporary name beside, synced, and then exchanged
 * with what stands there in one rename. What came out is what was looked at, or it is exchanged back: an edit that comes between is
 * never lost. At any point a SIGKILL leaves the old or the new contents under the name, and apply_recover() takes away the rest.
 * Nothing is followed (place.h). What is made belongs to the user we run as; setuid, setgid and sticky bits are never set; no
 * FIFO, socket or device is made; git's own directory is not touched. Blocking; one thread.
 */
#ifndef BULKHEAD_REVIEW_APPLY_H
#define BULKHEAD_REVIEW_APPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/review/place.h"
#include "core/review/record.h"

struct apply_change {
	const char *path;          /* place_legal(), else refused */
	uint8_t to;                /* LOOK_NONE: gone; LOOK_FILE, LOOK_DIR, LOOK_LINK */
	uint16_t mode;             /* of a file or directory; only 0777 of it counts */
	int content;               /* FILE: opened, read from its begin to its end, borrowed; -1: the contents stay, only the mode changes */
	const char *text;          /* LINK: its text */
	const struct look *expect; /* what must stand there now; mode not compared. NULL: whatever does */
	bool exact;                /* the mode is compared too */
	bool anywhere;             /* the person has seen where the link leads: it may point anywhere */
};

enum apply_result {
	APPLY_DONE,
	APPLY_SAME,     /* stood there already: nothing was done */
	APPLY_CONFLICT, /* something else stands there than expected */
	APPLY_REFUSED,  /* never done, or not unless named */
	APPLY_ERROR,    /* the host said no: full, read-only, ...; what stood there stands */
	APPLY_RESULTS
};

struct apply_told {
	struct look before, after; /* as far as they were found out */
	char why[256];             /* unless DONE or SAME: a phrase */
};

struct apply;

/*
 * root: the workspace, O_PATH; store: the undo directory; both borrowed and outliving it. `h` as for record_create(). With `dry` nothing is
 * changed or written and a change only tells what would come of it. The record is begun at the first change. -ENOENT with a sentence: the
 * directory was deleted.
 */
int apply_begin(struct apply **out, int root, int store, const struct record_head *h, bool dry, struct err *e);
enum apply_result apply_change(struct apply *a, const struct apply_change *c, struct apply_told *told);
/* The record's id, 0 when nothing was changed (yet). */
uint32_t apply_id(const struct apply *a);
/* Ends the record and returns its id, 0 when nothing was changed (then there is none). *a = NULL. */
uint32_t apply_end(struct apply **a);
/* What was cut off (our process killed, the machine lost) in this workspace is settled; nothing that is not ours is touched. Once, at the start. */
void apply_recover(int root, int store, const char *workspace);

/*
 * A link's text leads from where the link lies (path) to a name inside, whatever links lie in there too: ".." goes up from the link's own directory,
 * which is none, and never from a name, which may be another link ("a -> .", "b -> a/../..").
 */
bool apply_link_stays(const char *path, const char *text);

#endif
