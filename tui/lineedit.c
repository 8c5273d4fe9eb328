/* SPDX-License-Identifier: Apache-2.0 */
/* See lineedit.h. */
#include "tui/lineedit.h"

#include <string.h>

#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/proto/rows.h"

void lineedit_set(struct lineedit *l, const char *text)
{
	str_copy(l->text, sizeof(l->text), text);
	l->len = l->cur = strlen(l->text);
}

static void insert(struct lineedit *l, const char *p, size_t n)
{
	if (l->len + n >= sizeof(l->text))
		return;
	memmove(l->text + l->cur + n, l->text + l->cur, l->len - l->cur + 1);
	memcpy(l->text + l->cur, p, n);
	l->len += n;
	l->cur += n;
}

static size_t before(const struct lineedit *l, size_t at)
{
	while (at > 0 && ((unsigned char)l->text[--at] & 0xc0) == 0x80)
		;
	return at;
}

static size_t after(const struct lineedit *l, size_t at)
{
	if (at < l->len)
		at++;
	while (at < l->len && ((unsigned char)l->text[at] & 0xc0) == 0x80)
		at++;
	return at;
}

static void cut(struct lineedit *l, size_t from, size_t to)
{
	memmove(l->text + from, l->text + to, l->len - to + 1);
	l->len -= to - from;
	l->cur = from;
}

static size_t word_before(const struct lineedit *l)
{
	size_t at = l->cur;

	while (at > 0 && l->text[at - 1] == ' ')
		at--;
	while (at > 0 && l->text[at - 1] != ' ')
		at--;
	return at;
}

static bool control(struct lineedit *l, uint32_t c)
{
	switch (c) {
	case 'a': l->cur = 0; return true;
	case 'e': l->cur = l->len; return true;
	case 'k': cut(l, l->cur, l->len); return true;
	case 'u': cut(l, 0, l->cur); return true;
	case 'w': cut(l, word_before(l), l->cur); return true;
	case 'h': cut(l, before(l, l->cur), l->cur); return true;
	case 'b': l->cur = before(l, l->cur); return true;
	case 'f': l->cur = after(l, l->cur); return true;
	default: return false;
	}
}

bool lineedit_key(struct lineedit *l, const struct key *k)
{
	char text[4];

	if (k->kind == KEY_PASTE) {
		char clean[LINEEDIT_MAX];

		insert(l, clean, scrub(clean, sizeof(clean), k->data, k->len, false));
		return true;
	}
	if (k->kind != KEY_PRESS)
		return false;
	if (k->mods & VIEW_CTRL)
		return control(l, k->code);
	switch (k->code) {
	case VIEW_K_LEFT: l->cur = before(l, l->cur); return true;
	case VIEW_K_RIGHT: l->cur = after(l, l->cur); return true;
	case VIEW_K_HOME: l->cur = 0; return true;
	case VIEW_K_END: l->cur = l->len; return true;
	case VIEW_K_BACKSPACE: cut(l, before(l, l->cur), l->cur); return true;
	case VIEW_K_DEL: cut(l, l->cur, after(l, l->cur)); return true;
	default: break;
	}
	if (k->code >= VIEW_K_BASE || k->mods & VIEW_ALT || utf8_width(k->code) < 0)
		return false;
	insert(l, text, utf8_put(k->code, text));
	return true;
}
