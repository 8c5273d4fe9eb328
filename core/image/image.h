/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest images: $XDG_CACHE_HOME/bulkhead/images/ID/{vmlinuz, base.img, modules.cpio, manifest.json}.
 *
 * ID is a hash of the recipe (guest/image), so a changed recipe is another image. A build goes into a directory of another name, is
 * fsynced and renamed: what has a legal name is whole. Every file is checked against the manifest's size and sha256 before use;
 * that it was is remembered by a stamp of device, inode, size and times, so that only a changed file is hashed again.
 *
 * Nothing here has file-scope state: any thread may call anything.
 */
#ifndef BULKHEAD_IMAGE_IMAGE_H
#define BULKHEAD_IMAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

#define IMAGE_ID_LEN 16 /* hexadecimal digits */

struct image {
	int kernel, initrd, base; /* read-only; -1 when closed */
	char id[IMAGE_ID_LEN + 1];
};

/*
 * The image of this program's recipe, verified; the initrd is its modules and this program's guest agent, put together in memory.
 * -ENOENT with a sentence when none is built, -EBADMSG when it is damaged.
 */
int image_open(struct image *out, struct err *e);
void image_release(struct image *im);

struct image_info {
	char id[IMAGE_ID_LEN + 1];
	char kernel[64], built[32];
	uint64_t bytes;
	bool current;  /* of this program's recipe */
	bool verified; /* its stamp is good: nothing has changed since it was checked */
};
/* Owned array; 0 or -errno. */
int image_list(struct image_info **out, size_t *n, struct err *e);
/* -ENOENT with a sentence when there is none of that id (or of a unique beginning of it). Sandboxes that run keep it open. */
int image_remove(const char *id, struct err *e);
/*
 * Builds the current image unless it is there and whole (then 0 at once); `force` builds in any case. Another build under way is waited for.
 * `progress` gets one line a stage. Blocks for minutes; ^C ends it and leaves nothing that looks whole.
 */
int image_build(bool force, void (*progress)(void *arg, const char *line), void *arg, struct err *e);

/* ---- pieces, for tests ---- */
/* Hash of the files below dir (names, modes' x bit, contents): id of IMAGE_ID_LEN digits. */
int image_recipe_id(const char *dir, char id[IMAGE_ID_LEN + 1], struct err *e);
/* Checks the image in `dirfd`; uses and renews its stamp. */
int image_verify(int dirfd, const char *id, struct err *e);

#endif
