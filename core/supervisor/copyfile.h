/* SPDX-License-Identifier: Apache-2.0 */
/* A copy of a sparse file: blocks are shared where the file system can, else what is no hole is copied. Blocks; for workers. */
#ifndef BULKHEAD_SUPERVISOR_COPYFILE_H
#define BULKHEAD_SUPERVISOR_COPYFILE_H

#include "core/base/err.h"

/* Into an empty file. 0 or -errno with a sentence. */
int copyfile(int from, int to, struct err *e);
/* As it goes where no blocks can be shared (for tests). */
int copyfile_plain(int from, int to, struct err *e);

#endif
