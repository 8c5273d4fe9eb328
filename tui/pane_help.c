/* SPDX-License-Identifier: Apache-2.0 */
/* `?`: the bindings that work where the person is, from the table; and the output of a command. */
#include <stdio.h>
#include <string.h>

#include "core/base/utf8.h"
#include "tui/app.h"

void draw_help(struct app *a, struct rect r)
{
	const unsigned ctx = app_context(a);
	int lines = 0, row = 0, wide = 0;
	char keys[128];

	for (int i = 1; i < ACT_NUM; i++) {
		if (!(binding_of((enum action)i)->ctx & ctx))
			continue;
		keymap_show_all(&a->config.keys, (enum action)i, a->ascii, keys, sizeof(keys));
		if (!keys[0])
			continue;
		lines++;
		if ((int)utf8_columns(keys) > wide)
			wide = (int)utf8_columns(keys);
	}
	if (wide > r.cols / 2)
		wide = r.cols / 2;
	const struct rect in = draw_popup(a, r, lines + 3 < r.rows - 2 ? lines + 3 : r.rows - (r.rows > 12 ? 2 : 0),
					  wide + 68 < r.cols - 2 ? wide + 68 : r.cols,
					  ctx & CTX_TYPING ? "keys while typing" : ctx & CTX_COPY ? "keys of copy mode" : "keys");
	const int room = in.rows - 1;
	if (a->help_top > lines - room)
		a->help_top = lines - room;
	if (a->help_top < 0)
		a->help_top = 0;
	int at = 0;
	for (int i = 1; i < ACT_NUM && row < room; i++) {
		const struct binding *b = binding_of((enum action)i);

		if (!(b->ctx & ctx))
			continue;
		keymap_show_all(&a->config.keys, (enum action)i, a->ascii, keys, sizeof(keys));
		if (!keys[0] || at++ < a->help_top)
			continue;
		canvas_text(&a->canvas, in, row, 1, wide, app_style_on(a, EL_FOOTER_KEY, EL_POPUP), keys);
		canvas_text(&a->canvas, in, row++, wide + 3, in.cols - wide - 4, app_style(a, EL_POPUP), b->text);
	}
	if (in.rows > 1)
		canvas_textf(&a->canvas, in, in.rows - 1, 1, in.cols - 2, app_style_on(a, EL_DIM, EL_POPUP), "%s",
			     lines > room ? "Up and Down scroll, any other key closes" : "any key closes");
}

void draw_output(struct app *a, struct rect r)
{
	char title[160];
	const char *p = a->output.text ? a->output.text : "", *end = p + a->output.len;
	int line = 0, lines = 0;

	snprintf(title, sizeof(title), "%s%s", a->output.title, a->output.pid > 0 ? " (runs)" : "");
	const struct rect in = draw_popup(a, r, r.rows > 12 ? r.rows - 4 : r.rows, r.cols > 40 ? r.cols - 6 : r.cols, title);
	for (const char *q = p; q < end; q++)
		lines += *q == '\n';
	lines += a->output.len && end[-1] != '\n';
	const int room = in.rows - 1;
	if (a->output.top > lines - room)
		a->output.top = lines - room;
	if (a->output.top < 0)
		a->output.top = 0;
	while (p < end && line - a->output.top < room) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		const size_t n = nl ? (size_t)(nl - p) : (size_t)(end - p);
		char raw[512], text[1024], *tab;

		if (line >= a->output.top) {
			const size_t cut = n < sizeof(raw) - 1 ? n : sizeof(raw) - 1;

			memcpy(raw, p, cut);
			raw[cut] = '\0';
			while ((tab = strchr(raw, '\t')))
				*tab = ' ';
			scrub(text, sizeof(text), raw, cut, false);
			canvas_text(&a->canvas, in, line - a->output.top, 1, in.cols - 2, app_style(a, EL_POPUP), text);
		}
		line++;
		p = nl ? nl + 1 : end;
	}
	if (in.rows > 1)
		canvas_text(&a->canvas, in, in.rows - 1, 1, in.cols - 2, app_style_on(a, EL_DIM, EL_POPUP),
			    lines > room ? "Up and Down scroll, Esc closes" : "Esc closes");
}
