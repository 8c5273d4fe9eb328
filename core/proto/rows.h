/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A terminal as a viewer sees it: bulkhead-term -> dashboard (and back), over a SOCK_STREAM pair, in frames (frame.h).
 *
 * The terminal sends state, never history: a ROWS_FRAME holds the rows that changed since the frame this viewer last
 * acknowledged. At most two frames are unacknowledged; a viewer that does not acknowledge gets nothing more until it does, then
 * one frame with what is newest. A frame larger than ROWS_FRAME_MAX is cut: all but the last part carry ROWS_MORE and
 * the viewer draws only after the last.
 *
 * Keys, pastes and mouse go to the terminal as events; it knows the modes (application cursor keys, bracketed paste, mouse
 * protocol) and encodes them. With several viewers the size is that of the viewer that last typed or resized.
 *
 * Cell text is already free of controls. The viewer treats all of it as foreign all the same: row_unpack() checks everything.
 */
#ifndef BULKHEAD_PROTO_ROWS_H
#define BULKHEAD_PROTO_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/rbuf.h"
#include "core/proto/frame.h"

#define ROWS_VERSION 1u
#define ROWS_FRAME_MAX (192u * 1024u)
#define ROWS_MAX 1000u /* rows and columns of a terminal, at most */
#define ROWS_MORE 1u   /* frame flag */
#define CELL_TEXT_MAX 24u

enum rows_type {
	/* viewer -> terminal */
	VIEW_HELLO = 64,   /* u16 version, u16 rows, u16 cols, u16 flags: 1 = do not resize the terminal for me */
	VIEW_ACK = 65,     /* u64 generation of the frame drawn */
	VIEW_BYTES = 66,   /* input as it is (tests, pipes) */
	VIEW_KEY = 67,     /* u32 code point or enum view_key, u8 enum view_mod */
	VIEW_PASTE = 68,   /* UTF-8, <= 64 KiB a frame; flag 1 = first, 2 = last: bracketed when the program asks for it */
	VIEW_MOUSE = 69,   /* u16 row, u16 col (0-based), u8 button (1..3, 4/5 wheel up/down, 0 none = motion), u8 enum view_mod, u8 1 press 0 release */
	VIEW_FOCUS = 70,   /* u8 1 in, 0 out */
	VIEW_RESIZE = 71,  /* u16 rows, u16 cols */
	VIEW_HISTORY = 72, /* u32 request, u64 first line, u16 count (<= 1000). Lines are numbered from the first that ever scrolled out: 0.. */
	VIEW_SEARCH = 73,  /* u32 request, u64 from line, u16 from column, u8 1 backward, str16 text (<= 256); case-insensitive unless it has a capital; history and screen as one sequence */
	VIEW_CLIP_REPLY = 74, /* u8 1 the person allowed the clipboard write, 0 not (kept for the rule "ask once") */
	/* terminal -> viewer */
	ROWS_HELLO = 96,   /* u16 version, u32 session, str16 label */
	ROWS_FRAME = 97,   /* struct rows_head, then head.nrows rows */
	ROWS_TITLE = 98,   /* str16 <= 256 */
	ROWS_BELL = 99,
	ROWS_NOTIFY = 100, /* str16 <= 256 */
	ROWS_CLIPBOARD = 101, /* OSC 52: blob32 <= 100 KiB of text, decoded, for the person to allow */
	ROWS_HISTORY = 102,   /* u32 request, u64 first line, u64 first kept, u64 total, u16 n, then n rows (index counts from first) */
	ROWS_FOUND = 103,     /* u32 request, u8 found, u64 line, u16 column, u16 columns; line >= total counts on into the screen */
	ROWS_LINK = 104,      /* u16 id, str16 uri <= 2048, before the first frame that uses it (OSC 8) */
	ROWS_EXIT = 105,      /* u32 code, u32 signal; the screen stays viewable */
};

enum view_mod { VIEW_SHIFT = 1, VIEW_ALT = 2, VIEW_CTRL = 4 };
enum view_key { /* beyond Unicode */
	VIEW_K_BASE = 0x200000,
	VIEW_K_ENTER, VIEW_K_TAB, VIEW_K_BACKSPACE, VIEW_K_ESCAPE, VIEW_K_UP, VIEW_K_DOWN, VIEW_K_LEFT, VIEW_K_RIGHT,
	VIEW_K_INS, VIEW_K_DEL, VIEW_K_HOME, VIEW_K_END, VIEW_K_PAGEUP, VIEW_K_PAGEDOWN,
	VIEW_K_F1 = VIEW_K_BASE + 64, /* F1..F24 follow */
};

#define COLOR_DEFAULT 0u                                      /* the theme's */
#define COLOR_INDEX(i) (0x01000000u | (uint32_t)(i))          /* 0..255 */
#define COLOR_RGB(r, g, b) (0x02000000u | (uint32_t)(r) << 16 | (uint32_t)(g) << 8 | (uint32_t)(b))
enum cell_attr { CELL_BOLD = 1, CELL_DIM = 2, CELL_ITALIC = 4, CELL_UNDERLINE = 8, CELL_UNDERLINE2 = 16, CELL_CURLY = 32, CELL_BLINK = 64, CELL_REVERSE = 128, CELL_STRIKE = 256, CELL_CONCEAL = 512 };

enum rows_mode { MODE_ALTSCREEN = 1, MODE_MOUSE_CLICK = 2, MODE_MOUSE_DRAG = 4, MODE_MOUSE_MOVE = 8, MODE_PASTE = 16, MODE_FOCUS = 32, MODE_REVERSE = 64 };
enum cursor_shape { CURSOR_BLOCK, CURSOR_UNDERLINE, CURSOR_BAR };

struct rows_head {
	uint64_t gen;
	uint16_t rows, cols;
	uint16_t cursor_row, cursor_col;
	uint8_t cursor_visible, cursor_shape, cursor_blink, zero;
	uint32_t modes;
	uint64_t history_first, history_total; /* lines [first, total) are kept */
	uint16_t nrows;
};

/* One cell as packed and unpacked. A wide character takes two columns: width 2, and the next cell has width 0 and no text. */
struct cell {
	uint32_t fg, bg;
	uint16_t attrs, link; /* link 0 = none */
	uint8_t width;        /* 0 right half, 1, 2 */
	uint8_t len;          /* bytes of text; 0 = blank */
	char text[CELL_TEXT_MAX];
};

/*
 * Text for a cell of `width` columns (1, 2) from a base and its marks, as they came from a guest: what may not stand in a cell (controls,
 * bidi and other format characters, a base wider than the cell) becomes U+FFFD as a base and is left out as a mark. Returns the bytes
 * written. row_unpack() takes exactly such text, so a terminal that packs nothing else cannot be made to lose its viewers.
 */
size_t cell_text(char out[CELL_TEXT_MAX], const uint32_t *cp, size_t n, unsigned width);

int rows_head_pack(struct buf *b, const struct rows_head *m);
int rows_head_unpack(struct rbuf *r, struct rows_head *m); /* sizes 1..ROWS_MAX, cursor inside, nrows <= rows: checked */
/*
 * A row: u16 index | u8 flags (1 = continues on the next row) | u16 columns used | runs until the columns are used up:
 * u16 cells | u16 attrs | u32 fg | u32 bg | u16 link | then per cell: u8 (width | len << 2), len bytes of UTF-8.
 * Trailing blank default cells are not packed.
 */
#define ROW_WRAPPED 1u
int row_pack(struct buf *b, uint16_t index, uint8_t flags, const struct cell *cells, size_t n);
/* Fills cells[0..cols) (rest blank); -EBADMSG for an index >= rows_limit, more columns than cols, text that cell_text() would not make, widths that do not add up. */
int row_unpack(struct rbuf *r, size_t rows_limit, uint16_t *index, uint8_t *flags, struct cell *cells, size_t cols);

#endif
