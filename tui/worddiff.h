/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which words of a line changed: two lines are cut into words, blanks and signs, and the longest common sequence stays as it was. The work is
 * bounded whatever the lines are: what is beyond the bounds counts as changed. Pure.
 */
#ifndef BULKHEAD_TUI_WORDDIFF_H
#define BULKHEAD_TUI_WORDDIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORDDIFF_TOKENS 400  /* of a line; lines of more are not compared */
#define WORDDIFF_MIDDLE 96   /* tokens between the common begin and end that are compared */
#define WORDDIFF_SPANS 64

struct wordspan { uint32_t from, to; }; /* bytes [from, to) */
struct worddiff { struct wordspan a[WORDDIFF_SPANS], b[WORDDIFF_SPANS]; size_t na, nb; };

/* What differs in each. False: they have too little in common for it to say anything (the spans are then empty). */
bool worddiff(const char *a, const char *b, struct worddiff *out);

#endif
