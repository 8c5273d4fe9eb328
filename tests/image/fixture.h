/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A private cache and a recipe of a few shell lines, which the real code builds, checks, opens and removes. Each case has its own
 * directory below the temporary one; the guest agent is a file beside the test program, where path_program() looks first.
 */
#ifndef BULKHEAD_TESTS_IMAGE_FIXTURE_H
#define BULKHEAD_TESTS_IMAGE_FIXTURE_H

#include <stdbool.h>

#include "core/image/image.h"

#define AGENT "the agent of this test\n"
#define KERNEL "a kernel of some bytes\n"
#define BASE "a base image of some bytes\n"
#define MODULES "modules.list and modules\n"

struct place {
	char dir[64];                /* everything of the case */
	char images[128], recipe[128]; /* the cache's images/, the recipe's guest/image */
	char said[4096];             /* progress lines, each ended by a newline */
	int tell;                    /* gets a byte for each progress line, or 0 */
};

/* cmocka's set-up and tear-down; *state is a struct place. Sets XDG_CACHE_HOME and BULKHEAD_DATADIR. */
int place_setup(void **state);
int place_teardown(void **state);

/* `body` becomes the recipe's build script: $1 is the directory to fill, $2 the id. good_recipe() writes a whole image. */
void place_recipe(struct place *p, const char *body);
void good_recipe(struct place *p);
/* What good_recipe() writes, to be put behind other lines. */
extern const char whole_image[];

/* image_build() with the lines collected in said[] (of this call only). */
int place_build(struct place *p, bool force, struct err *e);
/* Path of a file of the current image, or the image's directory for NULL; valid until the next call. */
const char *place_image(struct place *p, const char *file);
/* Files in the cache's directory whose names could be taken for images. */
int place_images(struct place *p);
/* Entries of the cache's directory beside the images and the lock. */
int place_leftovers(struct place *p);

void put_file(const char *path, const char *text);
void get_file(const char *path, char *dst, size_t cap);

#endif
