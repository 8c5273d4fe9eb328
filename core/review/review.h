/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to core/review: bulkhead-review in one struct, what a change is, and how its two sides are read.
 *
 * `ours` is the host's file as it is now, `theirs` the sandbox's, `base` what the host's was when the sandbox's change was first seen. One
 * thread; a question is answered before the next is looked at. Reading theirs waits for the guest, at most GUEST_MS a question (guest.h); a guest that lets
 * us wait longer is not asked again until it has a new stream.
 */
#ifndef BULKHEAD_REVIEW_REVIEW_H
#define BULKHEAD_REVIEW_REVIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/proto/changes.h"

#define GUEST_MS 20000
#define CONTENT_MAX (64u << 20) /* of a file that is compared, shown or applied; larger ones are named and left alone */
#define DIGEST 32u              /* SHA-256 */
#define MODE_COMPARED 0775u     /* that all may write is taken from no sandbox */

struct guest;
struct layer;
struct review;

enum change_kind { CHANGE_ADDED, CHANGE_MODIFIED, CHANGE_DELETED, CHANGE_RENAMED, CHANGE_MODE, CHANGE_TYPE, CHANGE_KINDS };
extern const char *const change_kinds[CHANGE_KINDS];

/* A file's state, of either side. mode 0: there is none. */
struct side {
	uint8_t type;     /* enum changes_type */
	uint16_t mode;    /* 07777 */
	uint64_t size, mtime_ns;
};

/* One change; owned by its layer and good until the next turn of the loop. */
struct change {
	char *path;                 /* owned, raw bytes, legal */
	char *from;                 /* owned; RENAMED: where it lay, else NULL */
	uint8_t kind;               /* enum change_kind */
	uint16_t flags;             /* enum change_flag */
	bool conflict;              /* the host changed it since */
	bool binary, counted;       /* counted: binary, add and del are known */
	uint32_t add, del;
	const char *mark;           /* why it would be run on the host (danger.h), NULL */
	struct side theirs, ours;   /* claims of the guest; the host's, as last looked at */
};

/* Content with what it came with. */
struct content {
	struct side side;
	uint8_t *data;              /* owned; a link's text for a SYMLINK; NULL when there is no file or it has no content */
	size_t n;
	uint8_t digest[DIGEST];     /* content_digest() */
};
void content_release(struct content *c);
/* SHA-256 over type, the mode's executable bit and content: what `digest` of the protocol says of a file. */
void content_digest(struct content *c);
/* The same type, content and executable bit (for directories: mode). */
bool content_same(const struct content *a, const struct content *b);

/* ---- layer.c: what the guest told of one workspace ---------------------------------------------------------------------------------- */
/* All its changes by path; *n of them. Borrowed until the loop's next turn. Looks at the host's files anew. */
struct change **layer_changes(struct layer *l, size_t *n);
/* That of a path, NULL none. */
struct change *layer_find(struct layer *l, const char *path);
const char *layer_path(const struct layer *l);      /* the workspace's, as the person knows it */
int layer_root(const struct layer *l);               /* O_PATH descriptor of the workspace */
bool layer_live(const struct layer *l);              /* changes land at once: nothing to apply */
/* The sandbox's file now: 0 (side.mode 0 and type WHITEOUT: deleted there), or -errno with a sentence. Waits. */
int layer_theirs(struct layer *l, const char *path, struct content *out, struct err *e);
/* The host's file, never through a link and never outside of the workspace: 0 (mode 0: there is none), or -errno. */
int layer_ours(struct layer *l, const char *path, struct content *out, struct err *e);
/* What the host had when the change was first seen, if it was kept: 0, -ENOENT there was no file, -ENODATA not kept. */
int layer_base(struct layer *l, const char *path, struct content *out);
/* The guest's layer forgets the path and all below it, so that the host's shows again. Waits. */
int layer_discard(struct layer *l, const char *path, struct err *e);
/*
 * What has to go from the layer so that the change at `path` is gone: the topmost of its own entry and of directories above it that were moved, deleted or made
 * anew of which nothing else would go, or nothing for which `goes` says no. *may false: there is none such, and the one that stands in the way is returned. NULL
 * and *may: the layer has nothing there. Borrowed until the loop's next turn.
 */
typedef bool (*layer_goes_fn)(void *arg, const char *path);
const char *layer_entry(struct layer *l, const char *path, layer_goes_fn goes, void *arg, bool *may);
/* Directories that lie elsewhere than on the host, also those that make no change (there is no file in them). The caller frees them and the list. */
char **layer_moved(struct layer *l, size_t *n);
/* As layer_discard(), of an entry; then the host's file at `path` is not remembered either. */
int layer_discard_entry(struct layer *l, const char *entry, const char *path, struct err *e);
/* The host's file at this path is ours: it was written by apply or undo, and is the base from now on. layer_touch() when all are. */
void layer_applied(struct layer *l, const char *path);
/* The host's file would show at this path if the layer forgot it: no directory above it was made, or moved there, by the sandbox. */
bool layer_shows(struct layer *l, const char *path);
/* After a discard: directories of the sandbox's making above it, with nothing in them any more, go too. Waits. */
void layer_prune(struct layer *l, const char *path);
/* The sandbox keeps a copy of its own of what it has there, since what it leads to on the host is about to go. Waits. */
int layer_keep(struct layer *l, const char *path, struct err *e);
/* Something changed that the guest does not tell: look again, tell the counts. */
void layer_touch(struct layer *l);

/* ---- the process (main.c) ------------------------------------------------------------------------------------------------------------- */
struct layer *review_layer(struct review *r, uint8_t index); /* NULL: that workspace has none */
int review_state(const struct review *r);                     /* directory of this sandbox's own state */

/* ---- answers: each appends one object (tree.h), or fails with a sentence ------------------------------------------------------------------ */
int answer_list(struct review *r, const struct review_ask *m, struct buf *out, struct err *e);
int answer_diff(struct review *r, const struct review_ask *m, struct buf *out, struct err *e);
int answer_patch(struct review *r, const struct review_ask *m, int fd, struct buf *out, struct err *e);
int answer_apply(struct review *r, const struct review_ask *m, struct buf *out, struct err *e);
int answer_discard(struct review *r, const struct review_ask *m, struct buf *out, struct err *e);
int answer_undo(struct review *r, const struct review_ask *m, struct buf *out, struct err *e);
int answer_history(struct review *r, const struct review_ask *m, struct buf *out, struct err *e);

#endif
