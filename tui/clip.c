/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program in a sandbox writes the clipboard (OSC 52): the person is asked, and not more than that. The question stands on the last line and takes
 * no key but its own answers; while typing those come after the prefix, so that a `y` on its way to the terminal means nothing here. Only the terminal
 * that has the focus may ask, what is answered is what was asked (bytes that come later change nothing), and one that was told no, or was not answered,
 * is quiet for a while: a guest that asks in a loop gets one line of the screen, once.
 */
#include <string.h>

#include "core/base/clock.h"
#include "core/base/utf8.h"
#include "tui/app.h"

static bool has_focus(struct app *a, const struct viewer *v)
{
	const struct pane *p = app_pane(a);

	return p && p->v == v && (a->typing || a->attach_only || a->focus == FOCUS_MAIN || a->focus == FOCUS_SECOND) && viewer_shown(a, v);
}

static struct clip_mute *mute_of(struct app *a, const char *sandbox, uint32_t session)
{
	for (size_t i = 0; i < CLIP_MUTES; i++)
		if (a->clip.mute[i].session == session && !strcmp(a->clip.mute[i].sandbox, sandbox))
			return &a->clip.mute[i];
	return NULL;
}

static bool is_muted(struct app *a, const struct viewer *v, uint64_t now)
{
	const struct clip_mute *m = mute_of(a, v->sandbox, v->session);

	return m && m->until_ms > now;
}

/* The one that is over first makes room: with more sessions than places the oldest may ask again early. */
static void mute(struct app *a, uint64_t now)
{
	struct clip_mute *m = mute_of(a, a->clip.sandbox, a->clip.session);

	for (size_t i = 0; i < CLIP_MUTES && !m; i++)
		if (a->clip.mute[i].until_ms <= now)
			m = &a->clip.mute[i];
	if (!m)
		m = &a->clip.mute[0];
	for (size_t i = 0; i < CLIP_MUTES && m->until_ms > now; i++)
		if (a->clip.mute[i].until_ms < m->until_ms)
			m = &a->clip.mute[i];
	str_copy(m->sandbox, sizeof(m->sandbox), a->clip.sandbox);
	m->session = a->clip.session;
	m->until_ms = now + CLIP_MUTE_MS;
}

static struct viewer *asker(const struct app *a)
{
	for (size_t i = 0; i < a->nviewers; i++)
		if (a->viewers[i]->serial == a->clip.serial)
			return a->viewers[i];
	return NULL;
}

static void end(struct app *a, bool yes)
{
	struct viewer *v = asker(a);

	if (v)
		viewer_clip_reply(v, yes);
	a->clip.serial = 0;
	buf_clear(&a->clip.data);
	a->dirty = true;
}

static void ask(struct app *a, struct viewer *v, uint64_t now)
{
	buf_clear(&a->clip.data);
	if (buf_put(&a->clip.data, buf_head(&v->clip), buf_size(&v->clip)) < 0)
		return;
	str_copy(a->clip.sandbox, sizeof(a->clip.sandbox), v->sandbox);
	a->clip.session = v->session;
	a->clip.serial = v->serial;
	a->clip.drawn_ms = 0;
	a->clip.until_ms = now + CLIP_ASK_MS;
	a->dirty = true;
}

static void take(struct app *a, struct viewer *v, uint64_t now)
{
	const bool shown = !v->preview && viewer_shown(a, v);

	if (shown && a->config.clipboard == CLIP_ALWAYS) {
		v->clip_due = false;
		buf_clear(&a->clip_out);
		buf_put(&a->clip_out, buf_head(&v->clip), buf_size(&v->clip));
		viewer_clip_reply(v, true);
		a->dirty = true;
	} else if (a->config.clipboard == CLIP_ASK && has_focus(a, v) && !is_muted(a, v, now) && a->clip.serial != v->serial) {
		if (a->overlay != OV_NONE) /* something else is being answered: afterwards */
			return;
		v->clip_due = false;
		if (!a->clip.serial)
			ask(a, v, now);
	} else {
		v->clip_due = false;
		if (!v->preview)
			viewer_clip_reply(v, false);
	}
}

void clip_settle(struct app *a)
{
	const uint64_t now = clock_ms();

	if (a->clip.serial) {
		const struct viewer *v = asker(a);

		if (v && now >= a->clip.until_ms) {
			mute(a, now);
			end(a, false);
		} else if (!v || (!has_focus(a, v) && a->overlay == OV_NONE)) {
			end(a, false);
		}
	}
	for (size_t i = 0; i < a->nviewers; i++)
		if (a->viewers[i]->clip_due)
			take(a, a->viewers[i], now);
}

static bool armed(const struct app *a, uint64_t now)
{
	return a->clip.drawn_ms && now - a->clip.drawn_ms >= ASK_ARM_MS;
}

int clip_wait_ms(const struct app *a)
{
	const uint64_t now = clock_ms();

	if (!a->clip.serial)
		return -1;
	if (now >= a->clip.until_ms)
		return 0;
	if (a->clip.drawn_ms && !armed(a, now))
		return (int)(ASK_ARM_MS - (now - a->clip.drawn_ms));
	return (int)(a->clip.until_ms - now);
}

bool clip_due(const struct app *a, uint64_t frame_ms)
{
	return a->clip.serial && a->clip.drawn_ms && armed(a, clock_ms()) && frame_ms < a->clip.drawn_ms + ASK_ARM_MS;
}

static bool is_letter(const struct key *k, uint32_t lower)
{
	return k->kind == KEY_PRESS && !(k->mods & ~VIEW_SHIFT) && (k->code == lower || k->code == lower - 'a' + 'A');
}

bool clip_key(struct app *a, const struct key *k, bool after_prefix)
{
	const uint64_t now = clock_ms();
	const bool yes = is_letter(k, 'y'),
		   no = is_letter(k, 'n') || (!after_prefix && k->kind == KEY_PRESS && k->code == VIEW_K_ESCAPE && !k->mods);

	if (!a->clip.serial || a->overlay != OV_NONE || !armed(a, now) || (!yes && !no))
		return false;
	if (yes) {
		buf_clear(&a->clip_out);
		buf_put(&a->clip_out, buf_head(&a->clip.data), buf_size(&a->clip.data));
	} else {
		mute(a, now);
	}
	end(a, yes);
	return true;
}

void draw_clip(struct app *a, struct rect line)
{
	const struct style st = app_style(a, EL_ATTENTION);
	char text[200], answers[64] = "", prefix[KEY_NAME_MAX] = "";

	if (!a->clip.serial || line.rows < 1)
		return;
	if (!a->clip.drawn_ms)
		a->clip.drawn_ms = clock_ms();
	key_spell(&a->config.keys.prefix, prefix);
	const bool typing = a->typing || a->attach_only || a->copy.v;
	if (armed(a, clock_ms()))
		snprintf(answers, sizeof(answers), "%s%sy allow  n no", typing && !a->prefixed ? prefix : "", typing && !a->prefixed ? " then  " : "");
	snprintf(text, sizeof(text), "%s wants to put %zu bytes into your clipboard", a->clip.sandbox, buf_size(&a->clip.data));
	canvas_fill(&a->canvas, line, st);
	const int keys = (int)utf8_columns(answers), room = line.cols - 3 - keys;
	canvas_text(&a->canvas, line, 0, 1, room > 12 ? room : line.cols - 1, st, text);
	if (keys && room > 12)
		canvas_text_right(&a->canvas, line, 0, 1, st, answers);
}
