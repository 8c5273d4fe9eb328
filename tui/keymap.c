/* SPDX-License-Identifier: Apache-2.0 */
/* The table of bindings. See keymap.h. */
#include "tui/keymap.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/str.h"
#include "core/proto/rows.h"
#include "tui/canvas.h"

#define NAV CTX_NAV
#define T (CTX_TERM | CTX_TYPING)
#define CHANGES (CTX_FILES | CTX_DIFF)
#define ROWS (CTX_NET | CTX_PORTS | CHANGES) /* where Enter and Del mean a row */

/* clang-format off */
static const struct binding table[] = {
	[ACT_NONE]        = { "", 0, NULL, NULL, NULL, NULL, 0 },
	[ACT_ASK_ALLOW]   = { "allow-once", NAV | CTX_TYPING, "a", "a", NULL, "allow what is asked for, this once", 70 },
	[ACT_ASK_SANDBOX] = { "allow-sandbox", NAV | CTX_TYPING, "s", "s", NULL, "allow it for this sandbox from now on", 71 },
	[ACT_ASK_ALWAYS]  = { "allow-always", NAV | CTX_TYPING, "A", "A", NULL, "allow it for every sandbox from now on", 72 },
	[ACT_ASK_DENY]    = { "deny-once", NAV | CTX_TYPING, "d", "d", NULL, "deny what is asked for, this once", 73 },
	[ACT_ASK_NEVER]   = { "deny-always", NAV | CTX_TYPING, "D", "D", NULL, "deny it for every sandbox from now on", 74 },
	[ACT_ASK_NEXT]    = { "next-question", NAV | CTX_TYPING, ".", ".", NULL, "look at the next question first", 75 },
	[ACT_DETAIL]      = { "details", CTX_NET, "Enter", NULL, "details", "all that is known about the connection", 1 },
	[ACT_RULE]        = { "rule", CTX_NET, "r", NULL, "rule", "make a rule of the connection (a and d too, while nothing is asked)", 2 },
	[ACT_VERDICTS]    = { "verdicts", CTX_NET, "v", NULL, "verdict", "show all, only the allowed, the denied, the asked", 3 },
	[ACT_ONLY]        = { "only-this", CTX_NET, "o", NULL, "only this", "show only the selected sandbox's, or all", 4 },
	[ACT_UNPUBLISH]   = { "unpublish", CTX_PORTS, "Del x", NULL, "remove", "publish this port no longer", 1 },
	[ACT_OPEN_FILE]   = { "open-file", CTX_FILES, "Enter", NULL, "open", "look at the file; fold a directory, or unfold it", 1 },
	[ACT_MARK]        = { "mark", CHANGES, "Space", NULL, "mark", "mark the file, all below the directory, or the hunk; or no longer", 2 },
	[ACT_APPLY]       = { "apply", CHANGES, "a A W", NULL, "apply", "write what is marked (else what the cursor is on) to the host; asks (a and A answer what is asked for first)", 3 },
	[ACT_DISCARD]     = { "discard", CHANGES, "X x d Del", NULL, "discard", "throw what is marked (else what the cursor is on) away in the sandbox; asks", 4 },
	[ACT_MARK_ALL]    = { "mark-all", CHANGES, "*", NULL, NULL, "mark every file that is shown, or none", 5 },
	[ACT_NEXT_HUNK]   = { "next-hunk", CHANGES, "n", NULL, "hunk", "the next hunk; while something is searched for the next hit", 5 },
	[ACT_PREV_HUNK]   = { "previous-hunk", CHANGES, "N", NULL, NULL, "the hunk or hit before", 6 },
	[ACT_NEXT_FILE]   = { "next-file", CHANGES, "J", NULL, NULL, "the next file", 7 },
	[ACT_PREV_FILE]   = { "previous-file", CHANGES, "K", NULL, NULL, "the file before", 8 },
	[ACT_THREE_WAYS]  = { "three-ways", CHANGES, "c", NULL, NULL, "of a conflict: what the host did and what the sandbox did", 9 },
	[ACT_SIDES]       = { "side-by-side", CHANGES, "|", NULL, "sides", "old and new side by side, or one under the other", 7 },
	[ACT_TREE]        = { "tree", CHANGES, "t", NULL, "tree", "the files as a tree, or flat", 8 },
	[ACT_CONTEXT]     = { "more-context", CHANGES, "e", NULL, NULL, "more lines around what changed", 11 },
	[ACT_SCROLL_DOWN] = { "scroll-down", CHANGES, "C-d", NULL, NULL, "half a page down in the text", 12 },
	[ACT_SCROLL_UP]   = { "scroll-up", CHANGES, "C-u", NULL, NULL, "half a page up in the text", 13 },
	[ACT_NEXT_BOX]    = { "next-sandbox", CHANGES, "]", NULL, NULL, "the next sandbox's changes", 14 },
	[ACT_PREV_BOX]    = { "previous-sandbox", CHANGES, "[", NULL, NULL, "the changes of the sandbox before", 15 },
	[ACT_TERMINAL]    = { "terminal", NAV & ~(unsigned)ROWS, "Enter i", NULL, "terminal", "give the keyboard to the terminal", 1 },
	[ACT_NEW]         = { "new-sandbox", NAV & ~(unsigned)CHANGES, "n", NULL, "new", "make a new sandbox", 3 },
	[ACT_SHELL]       = { "new-shell", (NAV & ~(unsigned)(CTX_PORTS | CHANGES)) | CTX_TYPING, "x", "c", "shell", "open another shell in this sandbox", 4 },
	[ACT_START]       = { "start", NAV, "b", NULL, NULL, "start (boot) the sandbox", 20 },
	[ACT_PAUSE]       = { "pause", NAV, "p", NULL, "pause", "pause the sandbox, or let it go on", 5 },
	[ACT_STOP]        = { "stop", NAV, "S", NULL, NULL, "shut the sandbox down in order; its disk is kept", 21 },
	[ACT_RESET]       = { "reset", NAV, "R", NULL, "reset", "throw the disk away and start from a clean one", 6 },
	[ACT_KILL]        = { "kill", NAV & ~(unsigned)CHANGES, "K", NULL, "kill", "end the machine at once; its disk is kept", 7 },
	[ACT_REMOVE]      = { "remove", NAV & ~(unsigned)ROWS, "Del", NULL, NULL, "remove the sandbox and its disk", 22 },
	[ACT_WAITING]     = { "waiting", NAV | CTX_TYPING, "w", "w", NULL, "go to the next sandbox that waits for you", 18 },
	[ACT_ZOOM]        = { "zoom", (NAV & ~(unsigned)CHANGES) | CTX_TYPING, "z", "z", NULL, "let the terminal fill the screen, or no longer", 13 },
	[ACT_GRID]        = { "grid", NAV, "g", NULL, "grid", "live tiles of all terminals", 12 },
	[ACT_LAYOUT]      = { "layout", NAV, "L", NULL, NULL, "layout: one pane, list and panes, two terminals, by size", 28 },
	[ACT_OVERVIEW]    = { "overview", NAV, "1", NULL, "views", "the overview", 8 },
	[ACT_TERM_VIEW]   = { "terminal-view", NAV, "2", NULL, NULL, "the terminal alone", 23 },
	[ACT_NETWORK]     = { "network", NAV, "3", NULL, NULL, "what the sandboxes reach", 24 },
	[ACT_DIFF]        = { "diff-view", NAV, "4", NULL, NULL, "what the sandboxes changed, to apply or discard", 24 },
	[ACT_RESOURCES]   = { "resources", NAV, "5", NULL, NULL, "what the sandboxes use", 24 },
	[ACT_LOG]         = { "log", NAV, "6", NULL, NULL, "the log", 25 },
	[ACT_NEXT_PANE]   = { "next-pane", NAV | CTX_TYPING, "Tab", "Tab o", "pane", "go to the next pane", 9 },
	[ACT_PREV_PANE]   = { "previous-pane", NAV, "S-Tab", NULL, NULL, "go to the pane before", 26 },
	[ACT_FILTER]      = { "filter", CTX_LIST | CTX_RESOURCES | CTX_LOG | CTX_GRID | CTX_NET | CHANGES, "/", NULL, "filter", "show only what holds a text; in a file's text search it", 10 },
	[ACT_PALETTE]     = { "command", NAV | CTX_TYPING, ":", ":", "command", "run any command", 11 },
	[ACT_HELP]        = { "help", NAV | CTX_TYPING | CTX_HELP, "? F1", "?", "help", "show the keys that work here", 15 },
	[ACT_DETACH]      = { "detach", NAV | CTX_TYPING, "q", "q", "detach", "leave; the sandboxes go on (prefix d too, if nothing asks)", 16 },
	[ACT_PUBLISH]     = { "publish", NAV, "P", NULL, NULL, "make a port of the sandbox reachable here", 27 },
	[ACT_UNDO]        = { "undo", NAV, "u", NULL, NULL, "take back the last rule made here; in Diff the last apply", 27 },
	[ACT_BACK]        = { "back", NAV | CTX_TYPING | CTX_HELP, "Esc", "Esc", "back", "back to navigation", 0 },
	[ACT_REDRAW]      = { "redraw", NAV | CTX_TYPING, "C-l", "C-l", NULL, "draw the whole screen again", 40 },
	[ACT_UP]          = { "up", NAV | CTX_HELP, "Up k", NULL, NULL, "up", 41 },
	[ACT_DOWN]        = { "down", NAV | CTX_HELP, "Down j", NULL, NULL, "down", 42 },
	[ACT_LEFT]        = { "left", NAV, "Left h", NULL, NULL, "left: the pane or tile on that side", 43 },
	[ACT_RIGHT]       = { "right", NAV, "Right l", NULL, NULL, "right: the pane or tile on that side", 44 },
	[ACT_PAGE_UP]     = { "page-up", NAV | CTX_HELP, "PgUp C-b", NULL, NULL, "a page up", 45 },
	[ACT_PAGE_DOWN]   = { "page-down", NAV | CTX_HELP, "PgDn C-f", NULL, NULL, "a page down", 46 },
	[ACT_FIRST]       = { "first", NAV | CTX_HELP, "Home", NULL, NULL, "to the first", 47 },
	[ACT_LAST]        = { "last", NAV | CTX_HELP, "End G", NULL, NULL, "to the last", 48 },
	[ACT_COPY]        = { "copy-mode", T, "v", "[", "copy", "scroll, search, select and copy the terminal's text", 17 },
	[ACT_SPLIT_RIGHT] = { "split-right", T, "|", "|", NULL, "split the pane: another shell to the right", 30 },
	[ACT_SPLIT_BELOW] = { "split-below", T, "-", "-", NULL, "split the pane: another shell below", 31 },
	[ACT_CLOSE]       = { "close-pane", T, "c", "x", NULL, "close this pane; what runs in it is ended if it is a split's shell", 32 },
	[ACT_NEXT_TERM]   = { "next-terminal", T, "]", "n", NULL, "the sandbox's next terminal", 33 },
	[ACT_PREV_TERM]   = { "previous-terminal", T, "[", "p", NULL, "the sandbox's terminal before", 34 },
	[ACT_WIDER]       = { "wider", NAV | CTX_TYPING, ">", "> Right", NULL, "make the left side of the split wider", 35 },
	[ACT_NARROWER]    = { "narrower", NAV | CTX_TYPING, "<", "< Left", NULL, "make the left side of the split narrower", 36 },
	[ACT_TALLER]      = { "taller", NAV | CTX_TYPING, "+", "+ Down", NULL, "make the upper side of the split taller", 37 },
	[ACT_SHORTER]     = { "shorter", NAV | CTX_TYPING, "_", "_ Up", NULL, "make the upper side of the split shorter", 38 },
	[ACT_SEND_PREFIX] = { "send-prefix", CTX_TYPING, NULL, NULL, NULL, "the prefix twice sends it to the terminal", 39 },
	[ACT_C_LEFT]      = { "copy-left", CTX_COPY, "Left h", NULL, NULL, "left", 50 },
	[ACT_C_RIGHT]     = { "copy-right", CTX_COPY, "Right l", NULL, NULL, "right", 51 },
	[ACT_C_UP]        = { "copy-up", CTX_COPY, "Up k", NULL, NULL, "up", 52 },
	[ACT_C_DOWN]      = { "copy-down", CTX_COPY, "Down j", NULL, NULL, "down", 53 },
	[ACT_C_WORD]      = { "copy-word", CTX_COPY, "w", NULL, NULL, "to the next word", 54 },
	[ACT_C_BACK_WORD] = { "copy-back-word", CTX_COPY, "b", NULL, NULL, "to the word before", 55 },
	[ACT_C_BOL]       = { "copy-line-begin", CTX_COPY, "0 Home", NULL, NULL, "to the line's begin", 56 },
	[ACT_C_EOL]       = { "copy-line-end", CTX_COPY, "$ End", NULL, NULL, "to the line's end", 57 },
	[ACT_C_TOP]       = { "copy-top", CTX_COPY, "g", NULL, NULL, "to the first line kept", 58 },
	[ACT_C_BOTTOM]    = { "copy-bottom", CTX_COPY, "G", NULL, NULL, "to the last line", 59 },
	[ACT_C_HALF_UP]   = { "copy-half-up", CTX_COPY, "C-u", NULL, NULL, "half a page up", 60 },
	[ACT_C_HALF_DOWN] = { "copy-half-down", CTX_COPY, "C-d", NULL, NULL, "half a page down", 61 },
	[ACT_C_PAGE_UP]   = { "copy-page-up", CTX_COPY, "PgUp C-b", NULL, NULL, "a page up", 62 },
	[ACT_C_PAGE_DOWN] = { "copy-page-down", CTX_COPY, "PgDn C-f", NULL, NULL, "a page down", 63 },
	[ACT_C_SELECT]    = { "copy-select", CTX_COPY, "v Space", NULL, "select", "begin to select, or give it up", 1 },
	[ACT_C_SELECT_LINES] = { "copy-select-lines", CTX_COPY, "V", NULL, "lines", "select whole lines", 2 },
	[ACT_C_YANK]      = { "copy-yank", CTX_COPY, "y Enter", NULL, "copy", "copy to your clipboard and leave", 3 },
	[ACT_C_SEARCH]    = { "copy-search", CTX_COPY, "/", NULL, "search", "search down", 4 },
	[ACT_C_SEARCH_BACK] = { "copy-search-back", CTX_COPY, "?", NULL, NULL, "search up", 64 },
	[ACT_C_AGAIN]     = { "copy-again", CTX_COPY, "n", NULL, "again", "the next hit", 5 },
	[ACT_C_AGAIN_BACK] = { "copy-again-back", CTX_COPY, "N", NULL, NULL, "the next hit the other way", 65 },
	[ACT_C_HELP]      = { "copy-help", CTX_COPY, "F1", NULL, "help", "show the keys that work here", 7 },
	[ACT_C_QUIT]      = { "copy-quit", CTX_COPY, "q Esc C-c", NULL, "leave", "leave copy mode", 6 },
};
/* clang-format on */
_Static_assert(ARRAY_SIZE(table) == ACT_NUM, "a binding for every action");

const struct binding *binding_of(enum action a)
{
	return &table[a];
}

enum action action_named(const char *name)
{
	for (int a = ACT_NONE + 1; a < ACT_NUM; a++)
		if (!strcmp(table[a].name, name))
			return (enum action)a;
	return ACT_NONE;
}

/* Adds the keys of a space-separated list. */
static int add_keys(struct key *keys, uint8_t *n, const char *list)
{
	char word[KEY_NAME_MAX];

	while (*list) {
		const size_t len = strcspn(list, " ");

		if (len && len < sizeof(word)) {
			memcpy(word, list, len);
			word[len] = '\0';
			if (*n == KEYMAP_PER_ACTION || key_parse(word, &keys[*n]) < 0)
				return -EINVAL;
			(*n)++;
		} else if (len) {
			return -EINVAL;
		}
		list += len;
		list += *list == ' ';
	}
	return 0;
}

void keymap_init(struct keymap *m)
{
	memset(m, 0, sizeof(*m));
	key_parse("C-\\", &m->prefix);
	for (int a = 0; a < ACT_NUM; a++) {
		if (table[a].keys)
			add_keys(m->act[a].keys, &m->act[a].n, table[a].keys);
		if (table[a].prefix_keys)
			add_keys(m->act[a].prefix_keys, &m->act[a].np, table[a].prefix_keys);
	}
}

int keymap_bind(struct keymap *m, const char *action, const char *const *keys, size_t n, struct err *e)
{
	const enum action a = action_named(action);
	struct keymap fresh = { 0 };

	if (a == ACT_NONE)
		return err_set(e, EINVAL, "there is no action '%.40s'", action);
	for (size_t i = 0; i < n; i++) {
		const bool prefixed = str_starts(keys[i], "prefix ");
		const int r = prefixed ? add_keys(fresh.act[a].prefix_keys, &fresh.act[a].np, keys[i] + 7)
				       : add_keys(fresh.act[a].keys, &fresh.act[a].n, keys[i]);

		if (r < 0)
			return err_set(e, EINVAL, "'%.40s' is no key", keys[i]);
	}
	m->act[a] = fresh.act[a];
	return 0;
}

enum action keymap_find(const struct keymap *m, unsigned ctx, bool after_prefix, const struct key *k)
{
	if (k->kind != KEY_PRESS)
		return ACT_NONE;
	for (int a = ACT_NONE + 1; a < ACT_NUM; a++) {
		const struct key *keys = after_prefix ? m->act[a].prefix_keys : m->act[a].keys;
		const uint8_t n = after_prefix ? m->act[a].np : m->act[a].n;

		if (!after_prefix && !(table[a].ctx & ctx))
			continue;
		for (uint8_t i = 0; i < n; i++)
			if (key_same(&keys[i], k))
				return (enum action)a;
	}
	return ACT_NONE;
}

static void show_key(const struct key *k, bool ascii, char *dst, size_t cap)
{
	char name[KEY_NAME_MAX];

	key_spell(k, name);
	if (k->code == VIEW_K_ENTER && !k->mods)
		str_copy(name, sizeof(name), glyph(G_ENTER, ascii));
	str_copy(dst, cap, name);
}

bool keymap_show(const struct keymap *m, enum action a, bool typing, bool ascii, char *dst, size_t cap)
{
	char key[KEY_NAME_MAX], prefix[KEY_NAME_MAX];

	if (!typing && m->act[a].n) {
		show_key(&m->act[a].keys[0], ascii, dst, cap);
		return true;
	}
	if (!m->act[a].np)
		return false;
	show_key(&m->prefix, ascii, prefix, sizeof(prefix));
	show_key(&m->act[a].prefix_keys[0], ascii, key, sizeof(key));
	snprintf(dst, cap, "%s %s", prefix, key);
	return true;
}

bool keymap_show_reaching(const struct keymap *m, enum action a, unsigned ctx, bool ascii, char *dst, size_t cap)
{
	for (uint8_t i = 0; i < m->act[a].n; i++) {
		if (keymap_find(m, ctx, false, &m->act[a].keys[i]) == a) {
			show_key(&m->act[a].keys[i], ascii, dst, cap);
			return true;
		}
	}
	return false;
}

void keymap_show_all(const struct keymap *m, enum action a, bool ascii, char *dst, size_t cap)
{
	size_t used = 0;
	char key[KEY_NAME_MAX], prefix[KEY_NAME_MAX];

	dst[0] = '\0';
	for (uint8_t i = 0; i < m->act[a].n && used < cap; i++) {
		show_key(&m->act[a].keys[i], ascii, key, sizeof(key));
		used += (size_t)snprintf(dst + used, cap - used, "%s%s", used ? " " : "", key);
	}
	show_key(&m->prefix, ascii, prefix, sizeof(prefix));
	for (uint8_t i = 0; i < m->act[a].np && used < cap; i++) {
		show_key(&m->act[a].prefix_keys[i], ascii, key, sizeof(key));
		used += (size_t)snprintf(dst + used, cap - used, "%s%s %s", used ? ", " : "", prefix, key);
	}
	if (a == ACT_SEND_PREFIX)
		snprintf(dst, cap, "%s %s", prefix, prefix);
}
