/* SPDX-License-Identifier: Apache-2.0 */
/* Keys, mouse, focus and pastes of a person, as the program asked for them. */
#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/term/vtimpl.h"

/* A character with modifiers as xterm sends it without modifyOtherKeys: Ctrl is a C0 control where there is one, Alt an ESC before it. */
static void key_text(struct vt *v, uint32_t cp, unsigned mods)
{
	static const char controls[] = "2 3[4\\5]6^7_8?"; /* pairs: the key, and whose control it is */
	char out[8];
	size_t n = 0;

	if (cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
		return;
	if (mods & VIEW_CTRL) {
		for (size_t i = 0; i + 1 < sizeof(controls); i += 2)
			if (cp == (uint8_t)controls[i])
				cp = (uint8_t)controls[i + 1];
		if (cp == '/' )
			cp = '_';
		if (cp == ' ')
			cp = 0;
		else if (cp == '?')
			cp = 0x7f;
		else if (cp >= '@' && cp < 0x7f)
			cp &= 0x1f;
	}
	if (mods & VIEW_ALT)
		out[n++] = 0x1b;
	if (cp == 0)
		out[n++] = 0;
	else
		n += utf8_put(cp, out + n);
	vt_output(out, n, v);
}

void vt_key(struct vt *v, uint32_t key, unsigned mods)
{
	static const VTermKey keys[] = {
		VTERM_KEY_NONE, VTERM_KEY_ENTER, VTERM_KEY_TAB, VTERM_KEY_BACKSPACE, VTERM_KEY_ESCAPE, VTERM_KEY_UP, VTERM_KEY_DOWN, VTERM_KEY_LEFT,
		VTERM_KEY_RIGHT, VTERM_KEY_INS, VTERM_KEY_DEL, VTERM_KEY_HOME, VTERM_KEY_END, VTERM_KEY_PAGEUP, VTERM_KEY_PAGEDOWN,
	};

	mods &= VIEW_SHIFT | VIEW_ALT | VIEW_CTRL;
	v->typed = true;
	if (key < VIEW_K_BASE) {
		key_text(v, key, mods);
	} else if (key - VIEW_K_BASE < ARRAY_SIZE(keys)) {
		/* The library would send these with Shift or Ctrl as "CSI code u", which no program understands unasked. */
		if (key == VIEW_K_ENTER || key == VIEW_K_ESCAPE)
			mods &= VIEW_ALT;
		if (key == VIEW_K_TAB)
			mods &= VIEW_ALT | VIEW_SHIFT;
		if (key == VIEW_K_BACKSPACE && mods & VIEW_CTRL)
			key_text(v, 0x08, mods & VIEW_ALT);
		else
			vterm_keyboard_key(v->vt, keys[key - VIEW_K_BASE], (VTermModifier)(key == VIEW_K_BACKSPACE ? mods & VIEW_ALT : mods));
	} else if (key >= VIEW_K_F1 && key < VIEW_K_F1 + 24) {
		const unsigned f = key - VIEW_K_F1;

		/* F13 to F24 are what Shift makes of F1 to F12. */
		vterm_keyboard_key(v->vt, (VTermKey)(VTERM_KEY_FUNCTION_0 + 1 + (int)(f % 12)), (VTermModifier)(f < 12 ? mods : mods | VIEW_SHIFT));
	}
	v->typed = false;
}

void vt_mouse(struct vt *v, unsigned row, unsigned col, unsigned button, unsigned mods, bool press)
{
	const VTermModifier m = (VTermModifier)(mods & 7);

	if (row >= v->grid.rows || col >= v->grid.cols || button > 5)
		return;
	v->typed = true;
	vterm_mouse_move(v->vt, (int)row, (int)col, m);
	if (button > 0)
		vterm_mouse_button(v->vt, (int)button, press, m);
	v->typed = false;
}

void vt_focus(struct vt *v, bool in)
{
	if (v->focus)
		v->ops->on_answer(v->arg, in ? "\x1b[I" : "\x1b[O", 3, true);
}

void vt_paste(struct vt *v, const uint8_t *p, size_t n, bool first, bool last)
{
	if (first && v->paste)
		v->ops->on_answer(v->arg, "\x1b[200~", 6, true);
	/* Without escape characters a paste cannot end itself early, nor be keys. Newlines become what Enter sends. */
	for (size_t i = 0, from = 0; i <= n; i++) {
		if (i < n && p[i] != 0x1b && p[i] != '\n' && (p[i] >= 0x20 || p[i] == '\t' || p[i] == '\r') && p[i] != 0x7f)
			continue;
		if (i > from)
			v->ops->on_answer(v->arg, (const char *)p + from, i - from, true);
		if (i < n && p[i] == '\n' && (i == 0 || p[i - 1] != '\r'))
			v->ops->on_answer(v->arg, "\r", 1, true);
		from = i + 1;
	}
	if (last && v->paste)
		v->ops->on_answer(v->arg, "\x1b[201~", 6, true);
}
