/* SPDX-License-Identifier: Apache-2.0 */
/* Private to layer.c (what is told, asked, and by the clock) and listing.c (from entries to the list of changes). */
#ifndef BULKHEAD_REVIEW_LAYERIMPL_H
#define BULKHEAD_REVIEW_LAYERIMPL_H

#include "core/base/log.h"
#include "core/review/items.h"
#include "core/review/layer.h"

struct after;
struct livewatch;
struct stream;

#define SLICE_MS 100u        /* of looking at contents, then others have their turn */

struct layer {
	struct layer_opts o;
	struct uppers uppers;
	struct ground ground;
	struct base *base;
	struct item *live;       /* a live one's changes, as of the last scan */
	uint64_t scan_ms, scanned_ms, update_ms; /* how long that took and when it was, 0 never; how long the last look at a part took */
	struct livewatch *watch; /* what happens there; NULL: it is not heard */
	uv_poll_t *heard_poll;
	bool soon;               /* the next look is due to what was heard; until then nothing is */
	bool deepened;           /* of what was there in the beginning all is known that will be */
	uint64_t saved_ms, save_pause_ms; /* when the base was written last, and how long it is not written again */
	uint64_t heard_since_ms; /* entries told since then, and in the time before that */
	uint32_t heard, heard_before;
	struct stream *s;
	bool begun, ready, numbered;
	struct item **list;      /* visible ones by path, as of the last gather */
	struct change **shown;   /* the same, for those outside */
	size_t n, cap;
	bool stale;              /* the list is not what the items are */
	bool again;              /* a moved or deleted directory's contents were applied: its items are made anew at the next touch */
	struct review_counts told;
	struct after *settle, *work, *look, *save;
	struct log_limit complaints;
};

/* ---- listing.c ------------------------------------------------------------------------------------------------------------------------ */
/* Entries that are dirty make their changes anew. */
void listing_make(struct layer *l);
/* Every change's file on the host is looked at anew; live: everything. */
void listing_look(struct layer *l);
/* A live one: what was heard of. False: everything is to be looked at. */
bool listing_update(struct layer *l);
/* l->list and l->shown are what the changes are. */
void listing_gather(struct layer *l);
struct item *listing_find(const struct layer *l, const char *path);
/* Its content has not been compared yet, and may be: with `asked` also that of larger files. */
bool listing_wants(const struct item *i, bool asked);
void listing_inspect(struct layer *l, struct item *i);
/* All that wants it, until `until_ms`; true: nothing is left. */
bool listing_inspect_some(struct layer *l, bool asked, uint64_t until_ms);

#endif
