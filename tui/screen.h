/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The person's terminal, by wide ncurses: opened, restored on every way out, canvases put on it. ncurses is used for output only (keys.h reads).
 * screen_put() stages what changed; only loop.c calls doupdate().
 */
#ifndef BULKHEAD_TUI_SCREEN_H
#define BULKHEAD_TUI_SCREEN_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/err.h"
#include "tui/canvas.h"
#include "tui/theme.h"

struct screen {
	struct canvas shown; /* what ncurses was told last */
	enum depth depth;
	bool ascii, all;     /* all: draw everything next time */
	uint8_t shape;
	int cur_row, cur_col;
};

/* Refuses with a sentence: no terminal, TERM unset, dumb or unknown. `ascii` forces ASCII glyphs. */
int screen_open(struct screen *s, bool ascii, bool mouse, struct err *e);
void screen_close(struct screen *s);
void screen_size(int *rows, int *cols);
/* Tells ncurses the new size; the next frame is drawn whole. */
void screen_resized(struct screen *s, int rows, int cols);
/* Stages the difference to what is shown. True if there is something for doupdate(). */
bool screen_put(struct screen *s, const struct canvas *c);
/* Written past ncurses, between frames: nothing of a guest's goes in unencoded. */
void screen_bell(void);
void screen_notify(const char *text);                /* OSC 9; text is scrubbed again */
void screen_clipboard(const void *text, size_t n);   /* OSC 52 */

#endif
