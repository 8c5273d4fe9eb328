/* SPDX-License-Identifier: Apache-2.0 */
/* Files are replaced, never edited: temporary in the same directory, written, fsynced, renamed, directory fsynced. */
#ifndef BULKHEAD_BASE_ATOMICFILE_H
#define BULKHEAD_BASE_ATOMICFILE_H

#include <stddef.h>

#include "core/base/buf.h"
#include "core/base/err.h"

int atomicfile_write(int dirfd, const char *name, const void *p, size_t n, unsigned mode, struct err *e);
/* Whole file into b (appended; b's maximum holds), O_NOFOLLOW, regular files only. */
int atomicfile_read(int dirfd, const char *name, struct buf *b, struct err *e);

#endif
