/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Colour themes as data. A theme file is UTF-8 text, a line each:
 *
 *   # comment
 *   name  Nord
 *   ELEMENT  FG  BG  [ATTRIBUTES]  [mono=ATTRIBUTES]
 *
 * A colour is `#rrggbb`, optionally with what to use in poorer terminals: `#rrggbb/N` or `#rrggbb/N/NAME` (N of the 256, NAME one of
 * the 16); a NAME alone (`red`, `bright-red`, …); `default` (the terminal's own); `-` (that of `normal`). Fallbacks not given are the nearest.
 * Attributes: bold, dim, italic, underline, reverse, joined by commas, or `-`. `mono=` stands in for them where there is no colour.
 * Elements not named are those of `normal` with the attributes built in.
 */
#ifndef BULKHEAD_TUI_THEME_H
#define BULKHEAD_TUI_THEME_H

#include <stddef.h>

#include "core/base/err.h"
#include "tui/canvas.h"

enum depth { DEPTH_MONO, DEPTH_8, DEPTH_16, DEPTH_256, DEPTH_TRUE };

enum element {
	EL_NORMAL, EL_DIM, EL_ACCENT, EL_HEADER, EL_HEADER_NAME, EL_FOOTER, EL_FOOTER_KEY, EL_BORDER, EL_BORDER_FOCUS, EL_BORDER_TYPING,
	EL_TITLE, EL_SELECTED, EL_SELECTED_IDLE, EL_BUSY, EL_IDLE, EL_WAITS, EL_BOOTS, EL_PAUSED, EL_STOPPED, EL_FAILED, EL_ATTENTION,
	EL_MESSAGE, EL_ERROR, EL_OK, EL_WARN, EL_INPUT, EL_MATCH, EL_COPY, EL_SPARK, EL_GAUGE, EL_TERMINAL, EL_TAB, EL_TAB_ACTIVE,
	EL_POPUP, EL_POPUP_BORDER, EL_LINK,
	EL_DIFF_PLUS, EL_DIFF_MINUS, EL_DIFF_ADD, EL_DIFF_DEL, EL_DIFF_ADD_WORD, EL_DIFF_DEL_WORD, EL_DIFF_HUNK, EL_DIFF_MARK, EL_NUM
};

struct theme_color { bool set, inherit; uint32_t c[DEPTH_TRUE + 1]; };

struct theme {
	char name[64];
	struct { struct theme_color fg, bg; uint16_t attrs, mono; bool given; } el[EL_NUM];
	struct style style[EL_NUM]; /* for the depth of theme_resolve() */
	enum depth depth;
};

const char *element_name(enum element e);
/* Starts from built-in attributes and no colours. 0, or -EINVAL with "line N: …" (the theme is then as far as it got). */
int theme_parse(struct theme *t, const char *text, size_t n, struct err *e);
void theme_resolve(struct theme *t, enum depth d);
/* NAME or a path: looked for in the configuration's themes/ and then in the data directory's. 0 or -errno with a sentence. */
int theme_load(struct theme *t, const char *name, struct err *e);
/* Names of all themes that can be loaded, sorted, at most max; returns how many. Each is allocated. */
size_t theme_list(char **names, size_t max);
/* A colour in the nearest form the terminal can show. */
uint32_t color_at_depth(uint32_t color, enum depth d);

#endif
