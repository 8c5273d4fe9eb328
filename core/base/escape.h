/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of any kind (names, file text) as UTF-8 text that a terminal and JSON can carry, and back: what is not well-formed UTF-8, controls
 * (C0, DEL, C1), format characters and the backslash become \ooo, three octal digits a byte; all else stays as it is. Reversible: escape_undo()
 * of it gives the very bytes.
 */
#ifndef BULKHEAD_BASE_ESCAPE_H
#define BULKHEAD_BASE_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"

/* Appends; false when it did not fit (b is failed). */
bool escape_bytes(struct buf *b, const void *p, size_t n);
/* The same for a line of a file: tabs stay, and a backslash is escaped only in a line that needs escaping at all. True: it was needed. */
bool escape_line(struct buf *b, const void *p, size_t n);
/* Into dst[cap], always terminated; false when it was cut. */
bool escape_text(char *dst, size_t cap, const void *p, size_t n);
/* Length of the bytes in dst[cap] (terminated); -EINVAL for a lone backslash or an escape that is none, -ENAMETOOLONG. Other text is taken as it is. */
int escape_undo(char *dst, size_t cap, const char *text);

#endif
