/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What sandboxes changed, as a client knows it: the lists of changes.list (page by page) and the one file of changes.diff that is looked at.
 * Everything began in a guest: numbers of entries, lines and bytes are bounded, words are one of ours or nothing, texts are scrubbed of what a
 * terminal must not see. Paths are kept exactly as the supervisor spelt them (they are sent back to it) and are scrubbed when shown. Pointers live
 * until the next call that changes the list or text they point into.
 */
#ifndef BULKHEAD_CLIENT_DIFFMODEL_H
#define BULKHEAD_CLIENT_DIFFMODEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/str.h"

#define DIFF_LISTS_MAX 16        /* sandboxes whose lists are kept */
#define DIFF_WORKSPACES_MAX 16   /* of one sandbox */
#define DIFF_ENTRIES_MAX 50000   /* of one sandbox; the rest is counted */
#define DIFF_PATH_MAX 20000      /* bytes of a path as spelt: PATH_MAX, each byte escaped */
#define DIFF_HUNKS_MAX 10000
#define DIFF_LINES_MAX 100000    /* of one file */
#define DIFF_LINE_MAX 4096       /* bytes kept of a line */
#define DIFF_SIDES 2

enum change_kind { CK_ADDED, CK_MODIFIED, CK_DELETED, CK_RENAMED, CK_MODE, CK_TYPE, CK_NUM };
enum change_type { CT_FILE, CT_DIR, CT_SYMLINK, CT_FIFO, CT_SOCKET, CT_DEVICE, CT_NUM };

/* Counts of one sandbox, from sandbox.list and the event `changes`. */
struct model_changes {
	bool known;
	uint64_t files, add, del, conflicts, marked;
	uint64_t version; /* counts up with every event: a list with another one is old */
};

struct change {
	char *path, *from;     /* owned; from is NULL but for a rename */
	enum change_kind kind;
	enum change_type type;
	uint64_t size;
	uint32_t mode, old_mode; /* 0 when not told */
	bool binary, conflict, counted;
	uint64_t add, del;     /* lines, when counted */
	char mark[48];         /* why it would run on the host: "git hook"; "" it would not */
	char flags[96];        /* "setuid symlink-escapes"; "" none. Never applied unless named */
};

struct change_workspace {
	char *path, mode[12];  /* owned */
	uint64_t generation, total, add, del, conflicts, marked;
	bool truncated, ready; /* ready: the guest has told all of it once */
	struct change *entries; /* owned, by path */
	size_t nentries, room;
};

struct changeset { struct change_workspace ws[DIFF_WORKSPACES_MAX]; size_t nws, entries; };

struct difflist {
	char sandbox[NAME_MAX_LEN + 1];
	struct changeset now, coming; /* what is shown, and what is being told page by page to take its place */
	bool asked, loaded;    /* at all; whole once */
	bool asking, text_asking; /* a request for it, for one of its texts, is under way */
	uint32_t state, generation; /* of the sandbox when it was asked for */
	uint64_t asked_ms;     /* when (clock_ms) */
	char error[256];       /* why there is none, "" there is */
	uint64_t version;      /* of struct model_changes when it was asked for */
	uint64_t serial;       /* counts up whenever the entries change */
};

struct diffline {
	char k;                /* ' ', '+', '-', '\\' */
	bool escaped;          /* holds \ooo for bytes that are no text */
	uint32_t old_no, new_no; /* 0 none */
	uint32_t at;           /* of its text in struct difftext.arena */
	int32_t pair;          /* the line it replaces or is replaced by, -1 none */
};

struct diffhunk {
	json_t *id;            /* owned; sent back as it came */
	uint32_t old_start, old_lines, new_start, new_lines;
	char section[160];
	uint32_t first, nlines; /* of its lines */
};

/* One file's hunks: of a difference, or of one side of a conflict. */
struct diffpart { struct diffhunk *hunks; size_t nhunks; struct diffline *lines; size_t nlines; char *arena; size_t used, room; bool cut; /* not all of it is here */ };

struct difftext {
	char sandbox[NAME_MAX_LEN + 1];
	char *workspace, *path; /* owned; NULL none is loaded */
	enum change_kind kind;
	char digest[129], old_digest[129]; /* of the sandbox's side, of what it is compared with */
	bool binary, truncated, conflict, loaded;
	char error[256];
	uint64_t old_size, new_size, version;
	struct diffpart diff;
	bool has_sides;
	struct diffpart side[DIFF_SIDES]; /* of a conflict: what the host did since, what the sandbox did */
	uint64_t serial;       /* counts up with every text */
};

struct diffmodel {
	struct difflist *lists[DIFF_LISTS_MAX]; /* owned */
	size_t nlists;
	struct difftext text;
};

void diffmodel_release(struct diffmodel *d);
void diffmodel_forget(struct diffmodel *d, const char *sandbox); /* it was removed */
struct difflist *diffmodel_find(const struct diffmodel *d, const char *sandbox);
/* Made when it is not there; the longest kept goes for it. NULL: no memory. */
struct difflist *diffmodel_list(struct diffmodel *d, const char *sandbox);
/*
 * An answer of changes.list; `first`: the one that was asked for all workspaces from 0, the others were asked for one. True when another page is to be
 * asked for: of workspace (l->coming.ws[*ws].path), from *from. Else what came is what is shown.
 */
bool difflist_page(struct difflist *l, const json_t *result, bool first, size_t *ws, uint64_t *from);
void difflist_failed(struct difflist *l, const char *why);
/* NULL when it is not in there. */
const struct change *difflist_find(const struct difflist *l, size_t ws, const char *path);
/* The sum of all workspaces. */
void difflist_totals(const struct difflist *l, struct model_changes *out);
/* An answer of changes.diff, asked with view "conflict" or without. */
void difftext_take(struct difftext *t, const char *sandbox, const char *workspace, const char *path, const json_t *result);
void difftext_failed(struct difftext *t, const char *sandbox, const char *workspace, const char *path, const char *why);
void difftext_release(struct difftext *t);
bool difftext_is(const struct difftext *t, const char *sandbox, const char *workspace, const char *path);
const char *diffpart_text(const struct diffpart *p, const struct diffline *l);

/* `event`: something changed, whatever the counts say. What is no object changes nothing. */
void model_changes_take(struct model_changes *c, const json_t *o, bool event);
const char *change_kind_word(enum change_kind k); /* "added", … */
enum change_kind change_kind_of(const json_t *o);       /* of its "kind" */
const char *change_type_word(enum change_type t);

#endif
