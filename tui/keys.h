/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of the person's terminal -> keys, mouse, pastes, focus. Our own decoder, not ncurses' keypad: every key with its modifiers,
 * bracketed pastes and focus events must reach the panes as they were pressed. Codes and modifiers are those of rows.h: a code
 * point, or enum view_key; enum view_mod.
 */
#ifndef BULKHEAD_TUI_KEYS_H
#define BULKHEAD_TUI_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEYIN_MAX 16384u
#define KEY_ESC_MS 25 /* an ESC alone is the key when nothing follows for so long */
#define KEY_NAME_MAX 24u

enum key_kind { KEY_PRESS, KEY_MOUSE, KEY_PASTE, KEY_FOCUS };
enum mouse_act { MOUSE_PRESS, MOUSE_RELEASE, MOUSE_DRAG, MOUSE_MOVE, MOUSE_WHEEL_UP, MOUSE_WHEEL_DOWN };

struct key {
	enum key_kind kind;
	uint32_t code;
	uint8_t mods;
	/* KEY_MOUSE */
	enum mouse_act act;
	uint8_t button; /* 1..3, 0 none */
	int row, col;   /* 0-based */
	/* KEY_PASTE: a part of it; into the decoder's memory, until the next call */
	const uint8_t *data;
	size_t len;
	bool first, last;
	bool focus_in; /* KEY_FOCUS */
};

struct keyin {
	uint8_t buf[KEYIN_MAX];
	size_t len, used;
	bool pasting, paste_first;
};

/* Room for more bytes (read() into the tail, then keys_grew()). */
uint8_t *keys_tail(struct keyin *k, size_t *room);
void keys_grew(struct keyin *k, size_t n);
/* The next event, false when there is none yet. `quiet`: nothing came for KEY_ESC_MS, so an unfinished sequence is what it is. */
bool keys_next(struct keyin *k, struct key *out, bool quiet);
bool keys_pending(const struct keyin *k); /* an unfinished sequence waits for KEY_ESC_MS */

/* "C-\", "M-x", "Enter", "S-Tab", "F5", "C-Left", "g", "Space". */
void key_spell(const struct key *k, char dst[KEY_NAME_MAX]);
int key_parse(const char *name, struct key *out); /* 0 or -EINVAL */
bool key_same(const struct key *a, const struct key *b);

#endif
