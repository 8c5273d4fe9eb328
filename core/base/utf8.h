/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UTF-8 and the scrubber. Text that came from a guest (titles, names, log lines, file names) goes
 * through scrub() before anything prints it: C0, DEL, C1, bidi controls, zero-width and other
 * format characters become visible, ill-formed bytes become U+FFFD.
 */
#ifndef BULKHEAD_BASE_UTF8_H
#define BULKHEAD_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decodes one code point of p[0..n). Returns bytes used (>= 1 when n > 0); ill-formed input gives 0xFFFD and the
 * maximal subpart's length (Unicode 15, 3.9). n == 0 returns 0. A sequence cut by n sets *need true if non-NULL. */
size_t utf8_decode(const uint8_t *p, size_t n, uint32_t *cp, bool *need);
/* 1..4 bytes into out[4]; surrogates and > 0x10FFFF are written as U+FFFD. */
size_t utf8_put(uint32_t cp, char out[4]);
/* Columns: 0 combining, 1, 2 wide (East Asian Wide/Fullwidth, emoji presentation), -1 control. Own table: independent of the locale. */
int utf8_width(uint32_t cp);
/* Columns of a string (controls count 0). */
size_t utf8_columns(const char *s);
/* Cuts at most `columns` columns of s into dst, with an ellipsis if cut (ascii ? "." : U+2026). Returns columns written. */
size_t utf8_fit(char *dst, size_t cap, const char *s, size_t columns, bool ascii);
/*
 * Scrubs n foreign bytes into dst (always terminated, never cut inside a character). Controls are shown as ^X, C1 and
 * format characters as <U+XXXX>; newline and tab are kept when `multiline`. Returns bytes written without the NUL.
 */
size_t scrub(char *dst, size_t cap, const void *src, size_t n, bool multiline);
/* Format characters (bidi controls, joiners, tags, soft hyphen), line separators, noncharacters: never shown as they are. */
bool utf8_is_format(uint32_t cp);
/* True if s is well-formed UTF-8. */
bool utf8_valid(const char *s);
/* True if s is well-formed UTF-8 without controls or format characters. */
bool utf8_clean(const char *s);

#endif
