/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Diff view's own state: whose changes are shown, as which rows, what is marked, what was looked at to its end. What it shows comes from the state
 * tree (core/client/diffmodel.h). Marks belong to a sandbox and name workspace and path, so that they outlive a list that is told anew.
 *
 * What would run on the host is not written there unseen: diff_seen() tells whether the very bytes (their digest) were on the screen, each line of them
 * from its begin to its end.
 */
#ifndef BULKHEAD_TUI_DIFF_H
#define BULKHEAD_TUI_DIFF_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/client/diffmodel.h"
#include "core/client/model.h"

#define DIFF_MARKS_MAX 20000
#define DIFF_SEEN_MAX 2048
#define DIFF_FOLDS_MAX 512
#define DIFF_PEERS_MAX 7
#define DIFF_DEPTH_MAX 32
#define DIFF_NAMED_MAX 200  /* entries a question names */

/* A row of the list of files. */
enum filerow_kind { FR_WORKSPACE, FR_DIR, FR_FILE };
struct filerow {
	uint8_t kind, ws, depth;
	bool folded;
	uint32_t first, end;    /* of the workspace's entries; FR_FILE: first is the entry */
	uint32_t from, len;     /* the part of entries[first].path that is shown */
};

/* A row of the text. */
enum textrow_kind { TR_HUNK, TR_LINE, TR_HEAD };
struct textrow {
	uint8_t kind, part;     /* part: 0 the difference, 1 + side of a conflict; of TR_HEAD what it says */
	int32_t hunk;           /* -1 none */
	int32_t left, right;    /* lines; -1 none. Unified: right is -1 and left the line */
	int cols, shown;        /* TR_LINE: columns of its text, -1 not known yet; how many from its begin were on the screen while it was open */
	bool read;              /* all of them were */
};
enum text_mode { TM_UNIFIED, TM_SIDES, TM_CONFLICT, TM_CONFLICT_STACKED };

struct diffmark {
	char sandbox[NAME_MAX_LEN + 1];
	char *workspace, *path; /* owned */
	char digest[129];       /* of what was marked; "" whatever it is */
	char old_digest[129];   /* with hunks: of what they are changes of */
	json_t *hunks;          /* owned: an array of ids; NULL the whole file */
};

struct diffseen { char sandbox[NAME_MAX_LEN + 1]; char *workspace, *path; char digest[129]; };

struct diffview {
	/* the list */
	bool flat;
	char filter[64];
	struct filerow *rows;
	size_t nrows, room;
	char rows_sandbox[NAME_MAX_LEN + 1], rows_filter[64];
	uint64_t rows_serial;
	bool rows_flat, rows_valid;
	size_t cursor, top;
	char *at;               /* the cursor's row, as diff_row_name(): found again when rows change */
	char *folds[DIFF_FOLDS_MAX];
	size_t nfolds;

	/* the text */
	bool unified, sides;    /* the person's choice; neither: by width */
	bool conflict;          /* three ways are asked for */
	int context;
	char search[64];
	struct textrow *text;
	size_t ntext, text_room;
	size_t nread, kept;     /* rows that were read; those of before that are the same ones */
	char read_digest[129], read_old[129]; /* whose rows they are */
	uint64_t text_serial;
	enum text_mode text_mode;
	bool text_valid;
	size_t line, line_top;  /* the cursor's row, the first shown */
	int left;               /* columns scrolled */
	int page;               /* rows shown in the last frame */
	int widest, gutter_old, gutter_new; /* columns of the longest line, of the line numbers */

	struct diffmark *marks;
	size_t nmarks, marks_room;
	struct diffseen seen[DIFF_SEEN_MAX]; /* ring */
	size_t nseen;

	/* how the text that is here was asked for */
	bool text_conflict;
	int text_context;
	int files_cols;         /* the person's; 0 by size */
	/* of the last frame: what the mouse hits */
	int files_row, files_n, text_row, text_n;
};

void diffview_release(struct diffview *v);

/* ---- the list ---------------------------------------------------------------------------------------------------------------- */
/* Makes the rows anew when the list, the filter or the folding changed, and finds the cursor's row again. l NULL: no rows. */
void diffview_rows(struct diffview *v, const struct difflist *l, bool force);
const struct filerow *diffview_row(const struct diffview *v);     /* at the cursor; NULL none */
void diffview_move(struct diffview *v, const struct difflist *l, long by);
void diffview_goto(struct diffview *v, const struct difflist *l, size_t row);
bool diffview_next_file(struct diffview *v, const struct difflist *l, int by); /* the next row that is a file */
void diffview_fold(struct diffview *v, const struct difflist *l, int how);  /* -1 fold, 1 unfold, 0 the other */
const struct change *filerow_change(const struct filerow *r, const struct difflist *l); /* NULL of a directory */

/* ---- marks ------------------------------------------------------------------------------------------------------------------- */
struct diffmark *diffmark_find(const struct diffview *v, const char *sandbox, const char *workspace, const char *path);
bool diffmark_set(struct diffview *v, const char *sandbox, const char *workspace, const char *path, const char *digest);
void diffmark_clear(struct diffview *v, struct diffmark *m);
/* Marks a hunk or no longer; a mark without hunks goes. of: how many the file has (all of them is the whole file). */
void diffmark_hunk(struct diffview *v, const struct difftext *t, size_t hunk);
bool diffmark_has_hunk(const struct diffmark *m, const struct diffhunk *h);
/* Hunks have other numbers from now on: their marks go. How many. */
size_t diffmark_drop_hunks(struct diffview *v);
size_t diffmark_count(const struct diffview *v, const char *sandbox);
/* Marks of what is no longer in the list go, and hunks of a text that has changed. Returns how many hunk marks went. */
size_t diffmark_settle(struct diffview *v, const struct difflist *l, const struct difftext *t);

/* All of it was on the screen, and it was open. True: that is news. */
bool diff_saw(struct diffview *v, const struct difftext *t);
/* The digest of what was seen last, NULL nothing. */
const char *diff_seen(const struct diffview *v, const char *sandbox, const char *workspace, const char *path);

/* ---- the text ---------------------------------------------------------------------------------------------------------------- */
void diffview_text(struct diffview *v, const struct difftext *t, enum text_mode mode);
/* Row of the next hunk (by 1) or the one before (by -1) from the cursor; the cursor's when there is none. */
size_t diffview_hunk_row(const struct diffview *v, int by);
/* Row of the next line that holds `search` after (before) the cursor, going around; `here` counts the cursor's. SIZE_MAX none. */
size_t diffview_hit(const struct diffview *v, const struct difftext *t, int by, bool here);
const struct diffpart *textrow_part(const struct textrow *r, const struct difftext *t, int side); /* side 0 left, 1 right */

/* As it is shown: without what a terminal must not see. */
void diff_show_path(char *dst, size_t cap, const char *path, size_t n);
/* In git's own directory: never applied as files (what was committed is fetched). */
bool diff_is_git(const char *path);
/* "644 to 755", "" when it is the same. */
void diff_mode_text(const struct change *c, char *dst, size_t cap);
/* Sandboxes on the same directory that changed this too, "green, red"; how many. */
size_t diff_collisions(const struct model *m, const struct difflist *l, size_t ws, const char *path, char *dst, size_t cap);

#endif
