/* SPDX-License-Identifier: Apache-2.0 */
/* `n`: a new sandbox. Six fields, all with an answer already in them; what is wrong is said beside the fields and nothing is lost. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/path.h"
#include "core/base/fd.h"
#include "tui/app.h"

enum { F_NAME, F_KIT, F_PATH, F_CPUS, F_MEMORY, F_DISK };
static const struct { const char *label, *hint; } fields[FORM_FIELDS] = {
	[F_NAME] = { "name", "empty: one is chosen" },
	[F_KIT] = { "kit", "what it is for; 'shell' is a plain one" },
	[F_PATH] = { "directory", "it belongs to; may be empty" },
	[F_CPUS] = { "cpus", "empty: the default" },
	[F_MEMORY] = { "memory", "2G, 512M; empty: the default" },
	[F_DISK] = { "disk", "10G; empty: the default" },
};

void form_open(struct app *a)
{
	char cwd[LINEEDIT_MAX];

	for (int i = 0; i < FORM_FIELDS; i++)
		lineedit_set(&a->form[i], "");
	lineedit_set(&a->form[F_KIT], "shell");
	if (getcwd(cwd, sizeof(cwd)))
		lineedit_set(&a->form[F_PATH], cwd);
	a->form_field = F_NAME;
	a->form_error[0] = '\0';
	a->overlay = OV_FORM;
	a->dirty = true;
}

void draw_form(struct app *a, struct rect r)
{
	const struct rect in = draw_popup(a, r, FORM_FIELDS + 6, r.cols > 72 ? 68 : r.cols > 4 ? r.cols - 2 : r.cols, "new sandbox");
	const bool gap = in.rows >= FORM_FIELDS + 4;
	/* In a window lower than the form, the fields scroll with the cursor. */
	const int top = in.rows < FORM_FIELDS && a->form_field >= in.rows ? a->form_field - in.rows + 1 : 0;
	struct rect line = in;

	if (line.cols > 2)
		line = (struct rect){ in.row, in.col + 1, in.rows, in.cols - 2 };
	for (int i = top; i < FORM_FIELDS && i - top < in.rows; i++) {
		const int row = i - top + gap;

		if (i == a->form_field)
			continue;
		canvas_textf(&a->canvas, line, row, 0, -1, app_style_on(a, EL_DIM, EL_POPUP), "%-10s", fields[i].label);
		canvas_text(&a->canvas, line, row, 11, line.cols - 11, app_style(a, EL_POPUP), a->form[i].text);
	}
	if (gap) {
		const char *below = a->form_error[0] ? a->form_error : fields[a->form_field].hint;

		canvas_text(&a->canvas, line, FORM_FIELDS + 2, 0, line.cols, app_style_on(a, a->form_error[0] ? EL_ERROR : EL_DIM, EL_POPUP), below);
		canvas_textf(&a->canvas, line, FORM_FIELDS + 3, 0, line.cols, app_style_on(a, EL_DIM, EL_POPUP), "%s makes and starts it   Tab next   Esc gives up",
			     glyph(G_ENTER, a->ascii));
	}
	char label[16];
	snprintf(label, sizeof(label), "%-11s", fields[a->form_field].label);
	draw_input_line(a, line, a->form_field - top + gap, label, &a->form[a->form_field]);
}

static int add_size(struct app *a, json_t *p, const char *key, const char *text)
{
	struct err e = ERR_INIT;
	uint64_t bytes;

	if (!text[0])
		return 0;
	if (str_size(text, &bytes, &e) < 0) {
		str_copy(a->form_error, sizeof(a->form_error), e.msg);
		return -EINVAL;
	}
	json_object_set_new(p, key, json_integer((json_int_t)bytes));
	return 0;
}

static void submit(struct app *a)
{
	struct err e = ERR_INIT;
	const char *name = a->form[F_NAME].text, *path = a->form[F_PATH].text;
	uint64_t cpus;
	json_t *p = json_pack("{s:s}", "kit", a->form[F_KIT].text[0] ? a->form[F_KIT].text : "shell");

	a->form_error[0] = '\0';
	if (name[0] && name_check(name, &e) < 0) {
		a->form_field = F_NAME;
		goto wrong;
	}
	if (name[0])
		json_object_set_new(p, "name", json_string(name));
	if (path[0]) {
		AUTO_FREE char *real = path_real_dir(path, &e);

		if (!real) {
			a->form_field = F_PATH;
			goto wrong;
		}
		json_object_set_new(p, "path", json_string(real));
	}
	if (a->form[F_CPUS].text[0]) {
		if (str_u64(a->form[F_CPUS].text, 1, 256, &cpus) < 0) {
			a->form_field = F_CPUS;
			err_set(&e, EINVAL, "cpus is a number from 1");
			goto wrong;
		}
		json_object_set_new(p, "cpus", json_integer((json_int_t)cpus));
	}
	if (add_size(a, p, "memory", a->form[F_MEMORY].text) < 0) {
		a->form_field = F_MEMORY;
		json_decref(p);
		return;
	}
	if (add_size(a, p, "disk", a->form[F_DISK].text) < 0) {
		a->form_field = F_DISK;
		json_decref(p);
		return;
	}
	request_create(a, p);
	return;
wrong:
	str_copy(a->form_error, sizeof(a->form_error), e.msg);
	json_decref(p);
}

void form_key(struct app *a, const struct key *k)
{
	a->dirty = true;
	if (k->kind == KEY_PRESS) {
		switch (k->code) {
		case VIEW_K_ESCAPE:
			a->overlay = OV_NONE;
			return;
		case VIEW_K_ENTER:
			submit(a);
			return;
		case VIEW_K_TAB:
			a->form_field = (a->form_field + (k->mods & VIEW_SHIFT ? FORM_FIELDS - 1 : 1)) % FORM_FIELDS;
			return;
		case VIEW_K_DOWN:
			a->form_field = (a->form_field + 1) % FORM_FIELDS;
			return;
		case VIEW_K_UP:
			a->form_field = (a->form_field + FORM_FIELDS - 1) % FORM_FIELDS;
			return;
		default:
			if (k->code == 'c' && k->mods == VIEW_CTRL) {
				a->overlay = OV_NONE;
				return;
			}
		}
	}
	lineedit_key(&a->form[a->form_field], k);
}
