/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Direct colour for terminals whose terminfo entry only knows 256. ncurses emits 24-bit colours only for entries with the RGB capability,
 * which on most systems lie in a package of their own; so the entry of $TERM is taken as it is, with its number of colours and
 * its two colour strings replaced: below 256 the palette's, above it R,G,B.
 */
#ifndef BULKHEAD_TUI_DIRECT_H
#define BULKHEAD_TUI_DIRECT_H

#include <stddef.h>
#include <stdint.h>

/* A compiled entry into a compiled entry with direct colour, as ncurses' "hex:" form for $TERMINFO. Allocated; NULL when it is not one. */
char *direct_entry(const uint8_t *entry, size_t n);
/* Finds the entry of `term`; NULL when there is none. */
char *direct_terminfo(const char *term);

#endif
