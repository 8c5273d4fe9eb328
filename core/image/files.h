/* SPDX-License-Identifier: Apache-2.0 */
/* Private to core/image: what an image consists of and where it lies. */
#ifndef BULKHEAD_IMAGE_FILES_H
#define BULKHEAD_IMAGE_FILES_H

#include <jansson.h>
#include <stdbool.h>

#include "core/base/err.h"
#include "core/image/image.h"

#define IMAGE_FILES_NUM 3
extern const char *const image_files[IMAGE_FILES_NUM];

/* The images' directory, made when missing: allocated path, NULL with e. */
char *image_dir(struct err *e);
/* A directory's name is an image's: IMAGE_ID_LEN hexadecimal digits. */
bool image_id_legal(const char *name);
/* New reference, NULL with e. */
json_t *image_manifest(int dirfd, struct err *e);
bool image_stamped(int dirfd);
/* Recipe's directory and its id. Allocated path. */
char *image_recipe(char id[IMAGE_ID_LEN + 1], struct err *e);
/* modules.cpio of the image and the agent as /init, as a sealed memory file: fd or -errno. */
int image_initrd(int dirfd, struct err *e);

#endif
