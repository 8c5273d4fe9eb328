/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names below a workspace's root, and what stands there.
 *
 * A path is raw bytes from the root, without a slash first or last. Nothing here follows a link or leaves the root or its file system,
 * whatever another process swaps meanwhile: a directory is opened once, with openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
 * RESOLVE_NO_XDEV), and from then on only the name in it is used. Blocking; one thread.
 */
#ifndef BULKHEAD_REVIEW_PLACE_H
#define BULKHEAD_REVIEW_PLACE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "core/base/buf.h"
#include "core/base/rbuf.h"
#include "core/review/digest.h"

#define PLACE_PATH_MAX 4095u
#define PLACE_DEPTH_MAX 512u
#define PLACE_NAME_MAX 255u

enum look_kind { LOOK_NONE, LOOK_FILE, LOOK_DIR, LOOK_LINK, LOOK_OTHER /* FIFO, socket, device, another file system's root */, LOOK_KINDS };

/* What stands at a name. `mode` are the bits of 07777; `digest` is of a file's content or a link's text, zero else. */
struct look {
	uint8_t kind; /* enum look_kind */
	uint16_t mode;
	uint64_t size;
	uint8_t digest[DIGEST_SIZE];
	struct stat st; /* as it was then; not compared, not packed */
};
/* Kind, size and digest agree (and the permissions, with_mode). */
bool look_equal(const struct look *a, const struct look *b, bool with_mode);
void look_put(struct buf *b, const struct look *l);
void look_get(struct rbuf *r, struct look *l);

struct place {
	int dir; /* owned; readable where the host lets us (then it can be fsynced), else O_PATH; -1 none */
	char name[PLACE_NAME_MAX + 1];
};
#define PLACE_INIT ((struct place){ .dir = -1 })

/* Not empty, no component empty, "." or "..", within the bounds above. */
bool place_legal(const char *path);
/* -EINVAL not legal, -ENOENT its directory is missing, -ENOTDIR, -ELOOP a link on the way, -EXDEV another file system on the way, -errno. */
int place_open(int root, const char *path, struct place *out);
void place_close(struct place *p);
/* *fd, if not NULL, becomes the opened file (its position at 0) or -1. 0, -EAGAIN it was changed while we looked, or -errno. */
int place_look(const struct place *p, struct look *out, int *fd);
/* The text of a link at name in dir, at most PATH_MAX - 1 bytes, terminated. 0 or -errno. */
int place_link_text(int dir, const char *name, char out[PATH_MAX]);
/* The name still stands for the very object that was looked at, unchanged since. */
bool place_still(const struct place *p, const char *name, const struct look *l);
/* An empty directory stands there. */
bool place_is_empty_dir(int root, const char *path);
/* What lies in the directory is on the disk. */
void place_sync(const struct place *p);

#endif
