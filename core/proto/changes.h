/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a sandbox changed: supervisor <-> bulkhead-review (child.h says how a child lives; types from 500 there), and bulkhead-review <-> guest.
 *
 * Guest port 5, streams cut in frames. A stream's first frame says what it is: CHANGES_WATCH tells one review workspace's upper layer, first all of
 * it and then what changes; CHANGES_READS answers requests for content and removes what is discarded. The guest may refuse a stream until its
 * workspaces are mounted: dial again.
 *
 * All of the guest's is hostile: a path is checked (changes_path_legal) and never more than a name below the workspace; type, size and times are
 * claims; content comes with the type and mode it had when it was opened, and those count.
 */
#ifndef BULKHEAD_PROTO_CHANGES_H
#define BULKHEAD_PROTO_CHANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/rbuf.h"
#include "core/proto/fs.h"

#define AGENT_PORT_CHANGES 5u
#define CHANGES_VERSION 1u
#define CHANGES_PATH_MAX 4095u
#define CHANGES_DEPTH_MAX 512u
#define CHANGES_ENTRIES_MAX 200000u /* of a workspace; more is `truncated` */
#define CHANGES_PIECE 49152u        /* of content, in one frame */
#define CHANGES_FRAME_MAX 65536u
#define CHANGES_ID 16u
#define CHANGES_IF_EMPTY 1u

/* ---- host <-> guest --------------------------------------------------------------------------------------------------------------- */
enum changes_frame {
	CHANGES_WATCH = 128,   /* host, first: u16 version, u8 index of the workspace */
	CHANGES_READS = 129,   /* host, first: u16 version */
	CHANGES_BEGIN = 130,   /* guest: CHANGES_ID bytes, the layer's own number: another one is another layer. All told before is forgotten */
	CHANGES_ENTRY = 131,   /* guest: struct changes_entry, new or changed */
	CHANGES_GONE = 132,    /* guest: path (str16): it and all below it is no longer in the layer */
	CHANGES_SYNCED = 133,  /* guest: u8 1 there is more than CHANGES_ENTRIES_MAX: all there was when it looked has been told */
	CHANGES_READ = 134,    /* host: struct changes_read; answered by CHANGES_DATA until `last`, or CHANGES_FAILED */
	CHANGES_DATA = 135,    /* guest: struct changes_data */
	CHANGES_FAILED = 136,  /* guest: u32 id, u32 errno */
	CHANGES_DISCARD = 137, /* host: struct changes_read (offset unused): the layer forgets the path and all below it; with `most`
	                        * CHANGES_IF_EMPTY only a directory with nothing in it; answered by DONE or FAILED */
	CHANGES_DONE = 138,    /* guest: u32 id */
	CHANGES_KEEP = 139,    /* host: struct changes_read (offset and most unused): the layer gets its own copy of what shows at the path; DONE or FAILED */
};

enum changes_type { CHANGES_FILE, CHANGES_DIR, CHANGES_SYMLINK, CHANGES_FIFO, CHANGES_SOCKET, CHANGES_DEVICE, CHANGES_WHITEOUT, CHANGES_TYPES };
extern const char *const changes_types[CHANGES_TYPES]; /* "file" "dir" "symlink" "fifo" "socket" "device" "whiteout" */

/* Why a change is not taken silently; names in change_flags[]. */
enum change_flag {
	FLAG_SETID = 1,             /* setuid or setgid */
	FLAG_DEVICE = 2,            /* device, FIFO or socket */
	FLAG_LINK_ABSOLUTE = 4,
	FLAG_LINK_ESCAPES = 8,      /* a relative link that leaves the workspace, or could by way of another link */
	FLAG_HARDLINK = 16,         /* has more names in the sandbox */
	FLAG_NAME = 32,             /* controls, format characters or bytes that are no UTF-8 in its name */
	FLAG_HIDDEN = 64,           /* a name that is hidden from the sandbox */
	FLAG_LARGE = 128,           /* over CONTENT_MAX */
};
#define CHANGE_FLAGS 8
extern const char *const change_flags[CHANGE_FLAGS]; /* "setuid" "device" "symlink-absolute" "symlink-escapes" "hardlink" "name-control" "hidden" "large" */

/* One thing in the upper layer. */
struct changes_entry {
	uint8_t type;       /* enum changes_type */
	uint8_t opaque;     /* a directory that hides what lies under it */
	uint16_t mode;      /* 07777 */
	uint32_t nlink;
	uint64_t size, mtime_ns, ctime_ns;
	char path[CHANGES_PATH_MAX + 1];
	char redirect[CHANGES_PATH_MAX + 1]; /* a renamed directory: where it lay, from the workspace's root; "" none */
	char link[CHANGES_PATH_MAX + 1];     /* a link's text (raw, no NUL inside) */
};
int changes_entry_pack(struct buf *b, const struct changes_entry *m);
int changes_entry_unpack(struct rbuf *r, struct changes_entry *m);
/* 1..CHANGES_PATH_MAX bytes, no slash first, last or doubled, no "." or "..", components of at most 255 bytes, at most CHANGES_DEPTH_MAX. */
bool changes_path_legal(const char *path);

struct changes_read { uint32_t id; uint8_t index; uint64_t offset; uint64_t most; char path[CHANGES_PATH_MAX + 1]; };
int changes_read_pack(struct buf *b, const struct changes_read *m);
int changes_read_unpack(struct rbuf *r, struct changes_read *m);

struct changes_data {
	uint32_t id;
	uint8_t type, last;  /* FILE: p is content at `offset`; SYMLINK: p is its text, one piece; other types: no content */
	uint16_t mode;
	uint64_t size, mtime_ns, offset;
	uint32_t n;          /* at most CHANGES_PIECE */
	const uint8_t *p;    /* borrowed */
};
int changes_data_pack(struct buf *b, const struct changes_data *m);
int changes_data_unpack(struct rbuf *r, struct changes_data *m);

/* ---- supervisor <-> bulkhead-review ---------------------------------------------------------------------------------------------------- */
enum review_type {
	/* supervisor -> review */
	REVIEW_START = 500, /* struct review_start + descriptors: enum review_fd, then each workspace's directory (O_PATH) in order */
	REVIEW_QUIT = 501,
	REVIEW_ASK = 502,   /* struct review_piece: a struct review_ask in pieces; with the last one the descriptor it needs (PATCH: the file to write) */
	/* review -> supervisor */
	REVIEW_READY = 520, /* struct child_ready */
	REVIEW_SYNCED = 521,
	REVIEW_COUNTS = 522, /* struct review_counts, at most 2 a second a workspace; all of them at adoption */
	REVIEW_ANSWER = 523, /* struct review_piece: a tree (tree.h) in pieces; or, code != 0, the sentence */
};

enum review_fd { REVIEW_FD_DIAL, REVIEW_FD_LOG, REVIEW_FD_STATE /* directory `review` of the sandbox */, REVIEW_FD_NUM };

#define REVIEW_EXECUTES_MAX 32768u
struct review_start {
	char name[64];
	struct workspaces ws;
	char hide[FS_HIDE_MAX]; /* as in fs_start: names that are not the guest's */
	char executes[REVIEW_EXECUTES_MAX]; /* what would be run on the host: core/review/danger.h */
};
int review_start_pack(struct buf *b, const struct review_start *m);
int review_start_unpack(struct rbuf *r, struct review_start *m);

#define REVIEW_PIECE 49152u
#define REVIEW_ASK_MAX (1024u * 1024u)
struct review_piece {
	uint32_t id;
	uint8_t last;
	uint32_t code;    /* errno of an answer that failed */
	uint32_t n;       /* at most REVIEW_PIECE */
	const uint8_t *p; /* borrowed */
};
int review_piece_pack(struct buf *b, const struct review_piece *m);
int review_piece_unpack(struct rbuf *r, struct review_piece *m);

struct review_counts { uint8_t index, ready /* all was told once */, truncated; uint32_t files, conflicts, marked; uint64_t add, del; };
int review_counts_pack(struct buf *b, const struct review_counts *m);
int review_counts_unpack(struct rbuf *r, struct review_counts *m);

enum review_op { REVIEW_LIST, REVIEW_DIFF, REVIEW_PATCH, REVIEW_APPLY, REVIEW_DISCARD, REVIEW_UNDO, REVIEW_HISTORY, REVIEW_OPS };
enum review_flag { REVIEW_ALL = 1, REVIEW_DRY_RUN = 2, REVIEW_CONFLICT = 4 /* DIFF: three ways */, REVIEW_STAT = 8 /* count lines now */ };
#define REVIEW_ITEMS_MAX 20000u
#define REVIEW_HUNKS_MAX 4096u
#define REVIEW_EVERY 0xffu /* index: every workspace */

struct review_item {
	char *path;              /* owned: raw bytes, legal or "" */
	bool has_digest, named;  /* named: the person has said this very one */
	bool has_old;
	uint16_t flags;          /* enum change_flag: which the person has seen of this very one, and takes */
	uint8_t digest[32];      /* what was seen of the sandbox's side */
	uint8_t old[32];         /* and of the host's: what numbers the hunks */
	uint16_t nhunks;         /* 0: all of it */
	uint16_t *hunks;         /* owned */
};
struct review_ask {
	uint8_t op, index, flags;
	uint32_t from, limit, context;
	char undo[64];           /* UNDO: the apply's id, "" the last */
	uint32_t nitems;
	struct review_item *item; /* owned */
};
int review_ask_pack(struct buf *b, const struct review_ask *m);
/* On success the caller owns m's parts: review_ask_release(). On failure nothing is held. */
int review_ask_unpack(struct rbuf *r, struct review_ask *m);
void review_ask_release(struct review_ask *m);

#endif
