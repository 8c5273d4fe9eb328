/* SPDX-License-Identifier: Apache-2.0 */
/* One line of text under edit. UTF-8, no controls; the cursor stands between characters. */
#ifndef BULKHEAD_TUI_LINEEDIT_H
#define BULKHEAD_TUI_LINEEDIT_H

#include <stdbool.h>
#include <stddef.h>

#include "tui/keys.h"

#define LINEEDIT_MAX 512u

struct lineedit { char text[LINEEDIT_MAX]; size_t len, cur; };

void lineedit_set(struct lineedit *l, const char *text);
/* Takes keys that edit (letters, arrows, Home, End, Backspace, Del, C-a C-e C-k C-u C-w) and pastes; false for others. */
bool lineedit_key(struct lineedit *l, const struct key *k);

#endif
