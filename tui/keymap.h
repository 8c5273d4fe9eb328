/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything a key can do, in one table: the name for `keys:` in config.yaml and for the palette, where it applies, its keys, the words of the
 * footer and of `?`. The dispatcher, the footer, the help and the palette read this table and nothing else.
 */
#ifndef BULKHEAD_TUI_KEYMAP_H
#define BULKHEAD_TUI_KEYMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "tui/keys.h"

/* Where a binding holds. CTX_PREFIX keys follow the prefix and hold everywhere, while typing into a terminal too. */
enum ctx {
	CTX_LIST = 1, CTX_TERM = 2, CTX_GRID = 4, CTX_RESOURCES = 8, CTX_LOG = 16, CTX_COPY = 32, CTX_HELP = 64, CTX_TYPING = 128,
	CTX_NET = 256, CTX_PORTS = 512, CTX_FILES = 1024, CTX_DIFF = 2048,
	CTX_NAV = CTX_LIST | CTX_TERM | CTX_GRID | CTX_RESOURCES | CTX_LOG | CTX_NET | CTX_PORTS | CTX_FILES | CTX_DIFF,
};

enum action {
	ACT_NONE,
	/* the question on the attention line; first, because its keys go before others */
	ACT_ASK_ALLOW, ACT_ASK_SANDBOX, ACT_ASK_ALWAYS, ACT_ASK_DENY, ACT_ASK_NEVER, ACT_ASK_NEXT,
	/* the Network view */
	ACT_DETAIL, ACT_RULE, ACT_VERDICTS, ACT_ONLY, ACT_UNPUBLISH,
	/* the Diff view */
	ACT_OPEN_FILE, ACT_MARK, ACT_APPLY, ACT_DISCARD, ACT_MARK_ALL, ACT_NEXT_HUNK, ACT_PREV_HUNK, ACT_NEXT_FILE, ACT_PREV_FILE, ACT_THREE_WAYS, ACT_SIDES, ACT_TREE,
	ACT_CONTEXT, ACT_SCROLL_DOWN, ACT_SCROLL_UP, ACT_NEXT_BOX, ACT_PREV_BOX,
	/* anywhere in navigation */
	ACT_TERMINAL, ACT_NEW, ACT_SHELL, ACT_START, ACT_PAUSE, ACT_STOP, ACT_RESET, ACT_KILL, ACT_REMOVE, ACT_WAITING, ACT_ZOOM, ACT_GRID,
	ACT_LAYOUT, ACT_OVERVIEW, ACT_TERM_VIEW, ACT_NETWORK, ACT_DIFF, ACT_RESOURCES, ACT_LOG, ACT_NEXT_PANE, ACT_PREV_PANE, ACT_FILTER, ACT_PALETTE, ACT_HELP, ACT_DETACH, ACT_PUBLISH, ACT_UNDO,
	ACT_BACK, ACT_REDRAW,
	/* moving */
	ACT_UP, ACT_DOWN, ACT_LEFT, ACT_RIGHT, ACT_PAGE_UP, ACT_PAGE_DOWN, ACT_FIRST, ACT_LAST,
	/* terminals */
	ACT_COPY, ACT_SPLIT_RIGHT, ACT_SPLIT_BELOW, ACT_CLOSE, ACT_NEXT_TERM, ACT_PREV_TERM, ACT_WIDER, ACT_NARROWER, ACT_TALLER,
	ACT_SHORTER, ACT_SEND_PREFIX,
	/* copy mode */
	ACT_C_LEFT, ACT_C_RIGHT, ACT_C_UP, ACT_C_DOWN, ACT_C_WORD, ACT_C_BACK_WORD, ACT_C_BOL, ACT_C_EOL, ACT_C_TOP, ACT_C_BOTTOM,
	ACT_C_HALF_UP, ACT_C_HALF_DOWN, ACT_C_PAGE_UP, ACT_C_PAGE_DOWN, ACT_C_SELECT, ACT_C_SELECT_LINES, ACT_C_YANK, ACT_C_SEARCH,
	ACT_C_SEARCH_BACK, ACT_C_AGAIN, ACT_C_AGAIN_BACK, ACT_C_HELP, ACT_C_QUIT,
	ACT_NUM
};

struct binding {
	const char *name;   /* "new-sandbox" */
	unsigned ctx;       /* enum ctx bits */
	const char *keys;   /* names, space separated; NULL none */
	const char *prefix_keys;
	const char *brief;  /* the footer's word; NULL = not in the footer */
	const char *text;   /* a sentence without its end */
	uint8_t order;      /* in the footer: small first */
};

#define KEYMAP_PER_ACTION 6
struct keymap {
	struct key prefix;
	struct { struct key keys[KEYMAP_PER_ACTION], prefix_keys[KEYMAP_PER_ACTION]; uint8_t n, np; } act[ACT_NUM];
};

const struct binding *binding_of(enum action a);
enum action action_named(const char *name); /* ACT_NONE unknown */
void keymap_init(struct keymap *m);         /* the defaults */
/* Replaces the keys of an action; "" leaves it without; keys with "prefix " in front follow the prefix. */
int keymap_bind(struct keymap *m, const char *action, const char *const *keys, size_t n, struct err *e);
enum action keymap_find(const struct keymap *m, unsigned ctx, bool after_prefix, const struct key *k);
/* The first key as shown ("⏎", "C-\ |"); false when the action has none there. */
bool keymap_show(const struct keymap *m, enum action a, bool typing, bool ascii, char *dst, size_t cap);
/* The first key that no other action of the context takes before it, as the answers to a question do; false: there is none. */
bool keymap_show_reaching(const struct keymap *m, enum action a, unsigned ctx, bool ascii, char *dst, size_t cap);
/* All its keys, for the help. */
void keymap_show_all(const struct keymap *m, enum action a, bool ascii, char *dst, size_t cap);

#endif
