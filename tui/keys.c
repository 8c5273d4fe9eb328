/* SPDX-License-Identifier: Apache-2.0 */
/* Input decoder: UTF-8, C0, ESC-prefixed (Alt), CSI and SS3 as xterm and its kin send them, SGR mouse. See keys.h. */
#include "tui/keys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/proto/rows.h"

#define SEQ_MAX 64u
#define PARAMS_MAX 4

static const char paste_end[] = "\033[201~";
#define PASTE_END_LEN (sizeof(paste_end) - 1)

uint8_t *keys_tail(struct keyin *k, size_t *room)
{
	if (k->used) {
		memmove(k->buf, k->buf + k->used, k->len - k->used);
		k->len -= k->used;
		k->used = 0;
	}
	*room = KEYIN_MAX - k->len;
	return k->buf + k->len;
}

void keys_grew(struct keyin *k, size_t n)
{
	k->len += n;
}

bool keys_pending(const struct keyin *k)
{
	return k->used < k->len;
}

/* ---- what sequences mean ---------------------------------------------------------------------------------------------------- */

static uint32_t tilde_key(unsigned n)
{
	static const struct { unsigned n; uint32_t code; } map[] = { { 1, VIEW_K_HOME }, { 2, VIEW_K_INS }, { 3, VIEW_K_DEL },
		{ 4, VIEW_K_END }, { 5, VIEW_K_PAGEUP }, { 6, VIEW_K_PAGEDOWN }, { 7, VIEW_K_HOME }, { 8, VIEW_K_END }, { 11, VIEW_K_F1 },
		{ 12, VIEW_K_F1 + 1 }, { 13, VIEW_K_F1 + 2 }, { 14, VIEW_K_F1 + 3 }, { 15, VIEW_K_F1 + 4 }, { 17, VIEW_K_F1 + 5 },
		{ 18, VIEW_K_F1 + 6 }, { 19, VIEW_K_F1 + 7 }, { 20, VIEW_K_F1 + 8 }, { 21, VIEW_K_F1 + 9 }, { 23, VIEW_K_F1 + 10 },
		{ 24, VIEW_K_F1 + 11 }, { 25, VIEW_K_F1 + 12 }, { 26, VIEW_K_F1 + 13 }, { 28, VIEW_K_F1 + 14 }, { 29, VIEW_K_F1 + 15 } };

	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		if (map[i].n == n)
			return map[i].code;
	return 0;
}

static uint32_t letter_key(uint8_t c)
{
	switch (c) {
	case 'A': return VIEW_K_UP;
	case 'B': return VIEW_K_DOWN;
	case 'C': return VIEW_K_RIGHT;
	case 'D': return VIEW_K_LEFT;
	case 'H': return VIEW_K_HOME;
	case 'F': return VIEW_K_END;
	case 'M': return VIEW_K_ENTER;
	case 'P': case 'Q': case 'R': case 'S': return VIEW_K_F1 + (uint32_t)(c - 'P');
	default: return 0;
	}
}

/* A code point as the keys that are controls are called here. */
static uint32_t named(uint32_t cp)
{
	return cp == 13 ? VIEW_K_ENTER : cp == 9 ? VIEW_K_TAB : cp == 127 || cp == 8 ? VIEW_K_BACKSPACE : cp == 27 ? VIEW_K_ESCAPE : cp;
}

static bool sgr_mouse(const unsigned *p, int n, uint8_t final, struct key *out)
{
	if (n < 3 || p[1] < 1 || p[2] < 1 || p[1] > 5000 || p[2] > 5000)
		return false;
	const unsigned b = p[0];

	out->kind = KEY_MOUSE;
	out->col = (int)p[1] - 1;
	out->row = (int)p[2] - 1;
	out->mods = (uint8_t)((b & 4 ? VIEW_SHIFT : 0) | (b & 8 ? VIEW_ALT : 0) | (b & 16 ? VIEW_CTRL : 0));
	if (b & 64) {
		if ((b & 3) > 1)
			return false;
		out->act = b & 1 ? MOUSE_WHEEL_DOWN : MOUSE_WHEEL_UP;
		return true;
	}
	out->button = (uint8_t)((b & 3) == 3 ? 0 : (b & 3) + 1);
	if (b & 32)
		out->act = out->button ? MOUSE_DRAG : MOUSE_MOVE;
	else
		out->act = final == 'm' ? MOUSE_RELEASE : MOUSE_PRESS;
	return true;
}

/* s[0..n): between "ESC [" and the final byte. True when it is something; a paste's begin sets the decoder's mode and is nothing. */
static bool csi(struct keyin *k, const uint8_t *s, size_t n, uint8_t final, struct key *out)
{
	unsigned p[PARAMS_MAX] = { 0 };
	int np = 0;
	const bool lt = n && s[0] == '<';

	for (size_t i = lt; i < n && np < PARAMS_MAX; i++) {
		if (s[i] >= '0' && s[i] <= '9')
			p[np] = p[np] < 100000 ? p[np] * 10 + (unsigned)(s[i] - '0') : p[np];
		else if (s[i] == ';' || s[i] == ':')
			np++;
		else
			return false;
	}
	if (np < PARAMS_MAX)
		np++;
	if (lt)
		return (final == 'M' || final == 'm') && sgr_mouse(p, np, final, out);
	if (final == 'I' || final == 'O') {
		out->kind = KEY_FOCUS;
		out->focus_in = final == 'I';
		return n == 0;
	}
	if (final == '~' && p[0] == 200) {
		k->pasting = k->paste_first = true;
		return false;
	}
	out->mods = np > 1 && p[1] > 0 ? (uint8_t)((p[1] - 1) & 7) : 0;
	if (final == 'Z') {
		out->code = VIEW_K_TAB;
		out->mods = VIEW_SHIFT;
		return true;
	}
	if (final == 'u' || (final == '~' && p[0] == 27 && np > 2)) {
		const uint32_t cp = final == 'u' ? p[0] : p[2];

		out->code = cp <= 0x10ffff ? named(cp) : 0;
	} else {
		out->code = final == '~' ? tilde_key(p[0]) : letter_key(final);
	}
	return out->code != 0;
}

/* ---- one event --------------------------------------------------------------------------------------------------------------- */

/* A plain character or control at p. Bytes used, 0 when more are needed. */
static size_t plain(const uint8_t *p, size_t n, struct key *out, bool quiet)
{
	if (p[0] < 0x20 || p[0] == 0x7f) {
		const uint8_t b = p[0];

		if (b == 13 || b == 9 || b == 127 || b == 27) {
			out->code = named(b);
		} else {
			out->code = b == 0 ? ' ' : b <= 26 ? (uint32_t)('a' + b - 1) : (uint32_t)('@' + b);
			out->mods |= VIEW_CTRL;
		}
		return 1;
	}
	bool need = false;
	const size_t used = utf8_decode(p, n, &out->code, &need);
	if (need && !quiet)
		return 0;
	return used;
}

static bool paste_part(struct keyin *k, struct key *out)
{
	const uint8_t *p = k->buf + k->used, *end = memmem(p, k->len - k->used, paste_end, PASTE_END_LEN);
	size_t n = k->len - k->used;

	out->kind = KEY_PASTE;
	out->data = p;
	if (end) {
		out->len = (size_t)(end - p);
		out->last = true;
		k->used += out->len + PASTE_END_LEN;
		k->pasting = false;
	} else {
		for (size_t i = PASTE_END_LEN - 1; i; i--) /* the tail may be the beginning of the end */
			if (n >= i && !memcmp(p + n - i, paste_end, i)) {
				n -= i;
				break;
			}
		if (!n)
			return false;
		out->len = n;
		k->used += n;
	}
	out->first = k->paste_first;
	k->paste_first = false;
	return true;
}

/* p[0] is ESC. Bytes used and *got, 0 when more are needed. */
static size_t escape(struct keyin *k, const uint8_t *p, size_t n, struct key *out, bool quiet, bool *got)
{
	*got = true;
	if (n == 1 || p[1] == 27) {
		if (n == 1 && !quiet)
			return 0;
		out->code = VIEW_K_ESCAPE;
		return 1;
	}
	if (p[1] == '[' || p[1] == 'O') {
		if (n == 2 && !quiet)
			return 0;
		if (n == 2) {
			out->code = p[1];
			out->mods = VIEW_ALT;
			return 2;
		}
	}
	if (p[1] == 'O') {
		out->code = letter_key(p[2]);
		*got = out->code != 0;
		return 3;
	}
	if (p[1] == '[') {
		size_t i = 2;

		if (p[2] == '[') { /* the Linux console's F1..F5 */
			if (n == 3)
				return quiet ? 3 : 0;
			*got = p[3] >= 'A' && p[3] <= 'E';
			out->code = VIEW_K_F1 + (uint32_t)(p[3] - 'A');
			return 4;
		}
		while (i < n && i < SEQ_MAX && p[i] >= 0x20 && p[i] < 0x40)
			i++;
		if (i == n && i < SEQ_MAX && !quiet)
			return 0;
		if (i == n || i == SEQ_MAX || p[i] > 0x7e || p[i] < 0x40) {
			*got = false;
			return i < n && p[i] >= 0x40 ? i + 1 : i;
		}
		*got = csi(k, p + 2, i - 2, p[i], out);
		return i + 1;
	}
	out->mods = VIEW_ALT;
	const size_t used = plain(p + 1, n - 1, out, quiet);
	return used ? used + 1 : 0;
}

bool keys_next(struct keyin *k, struct key *out, bool quiet)
{
	while (k->used < k->len) {
		const uint8_t *p = k->buf + k->used;
		const size_t n = k->len - k->used;
		bool got = true;
		size_t used;

		memset(out, 0, sizeof(*out));
		if (k->pasting)
			return paste_part(k, out);
		used = p[0] == 27 ? escape(k, p, n, out, quiet, &got) : plain(p, n, out, quiet);
		if (!used)
			return false;
		k->used += used;
		if (got)
			return true;
	}
	return false;
}

/* ---- names ------------------------------------------------------------------------------------------------------------------- */

static const struct { const char *name; uint32_t code; } names[] = { { "Enter", VIEW_K_ENTER }, { "Tab", VIEW_K_TAB },
	{ "Backspace", VIEW_K_BACKSPACE }, { "Esc", VIEW_K_ESCAPE }, { "Up", VIEW_K_UP }, { "Down", VIEW_K_DOWN }, { "Left", VIEW_K_LEFT },
	{ "Right", VIEW_K_RIGHT }, { "Ins", VIEW_K_INS }, { "Del", VIEW_K_DEL }, { "Home", VIEW_K_HOME }, { "End", VIEW_K_END },
	{ "PgUp", VIEW_K_PAGEUP }, { "PgDn", VIEW_K_PAGEDOWN }, { "Space", ' ' } };

void key_spell(const struct key *k, char dst[KEY_NAME_MAX])
{
	char base[16] = "";
	char mods[8];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].code == k->code)
			str_copy(base, sizeof(base), names[i].name);
	if (!base[0] && k->code >= VIEW_K_F1 && k->code < VIEW_K_F1 + 24)
		snprintf(base, sizeof(base), "F%u", (unsigned)(k->code - VIEW_K_F1 + 1));
	if (!base[0])
		base[utf8_put(k->code, base)] = '\0';
	snprintf(mods, sizeof(mods), "%s%s%s", k->mods & VIEW_CTRL ? "C-" : "", k->mods & VIEW_ALT ? "M-" : "", k->mods & VIEW_SHIFT ? "S-" : "");
	snprintf(dst, KEY_NAME_MAX, "%s%s", mods, base);
}

int key_parse(const char *name, struct key *out)
{
	uint64_t f;

	memset(out, 0, sizeof(*out));
	while (name[0] && name[1] == '-' && name[2]) {
		if (name[0] == 'C' || name[0] == 'c')
			out->mods |= VIEW_CTRL;
		else if (name[0] == 'M' || name[0] == 'm' || name[0] == 'A')
			out->mods |= VIEW_ALT;
		else if (name[0] == 'S' || name[0] == 's')
			out->mods |= VIEW_SHIFT;
		else
			return -EINVAL;
		name += 2;
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcasecmp(names[i].name, name)) {
			out->code = names[i].code;
			return 0;
		}
	if ((name[0] == 'F' || name[0] == 'f') && name[1] && str_u64(name + 1, 1, 24, &f) == 0) {
		out->code = VIEW_K_F1 + (uint32_t)f - 1;
		return 0;
	}
	const size_t n = strlen(name);
	bool need = false;
	if (!n || utf8_decode((const uint8_t *)name, n, &out->code, &need) != n || need || out->code == 0xfffd || utf8_width(out->code) < 1)
		return -EINVAL;
	if (out->mods & VIEW_CTRL && out->code >= 'A' && out->code <= 'Z')
		out->code += 'a' - 'A';
	return 0;
}

bool key_same(const struct key *a, const struct key *b)
{
	return a->kind == b->kind && a->code == b->code && a->mods == b->mods;
}
