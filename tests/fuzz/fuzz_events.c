/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core/client/model.c, netmodel.c, fields.c and the dashboard's drawing of what they hold: lines of input are events (JSON) or names of keys; after each
 * a frame is drawn, in which no cell may hold anything but printable text.
 */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "tui/app.h"

#define LINES_MAX 64

static void draw(struct app *a, int rows, int cols)
{
	draw_frame(a, rows, cols);
	for (int i = 0; i < a->canvas.rows * a->canvas.cols; i++) {
		const struct cell *c = &a->canvas.cells[i];

		for (int k = 0; k < c->len; k++)
			MUST((unsigned char)c->text[k] >= 0x20 && (unsigned char)c->text[k] != 0x7f);
		MUST(c->len < 3 || memcmp(c->text, "\xe2\x80\xae", 3) != 0);
	}
}

static void one_line(struct app *a, const char *p, size_t n)
{
	char name[KEY_NAME_MAX];
	struct key k;

	if (n && p[0] == '{') {
		json_t *ev = json_loadb(p, n, JSON_REJECT_DUPLICATES, NULL);

		if (json_is_object(ev))
			on_event(a, ev);
		json_decref(ev);
		return;
	}
	if (n >= sizeof(name) || !n)
		return;
	memcpy(name, p, n);
	name[n] = '\0';
	/* Commands would start programs, the palette and n would look at this machine. */
	if (strcmp(name, ":") != 0 && strcmp(name, "n") != 0 && key_parse(name, &k) == 0)
		input_key(a, &k);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const int sizes[][2] = { { 24, 80 }, { 40, 120 }, { 6, 30 } };
	struct app *a = calloc(1, sizeof(*a));
	struct err e = ERR_INIT;
	int lines = 0;

	MUST(a && app_init(a, &e) == 0);
	while (n && lines < LINES_MAX) {
		const uint8_t *end = memchr(p, '\n', n);
		const size_t len = end ? (size_t)(end - p) : n;

		one_line(a, (const char *)p, len);
		if (a->overlay == OV_PALETTE || a->overlay == OV_FORM)
			a->overlay = OV_NONE;
		a->asking.shown_ms = 0;
		a->asking.drawn = a->asking.shown;
		draw(a, sizes[lines % 3][0], sizes[lines % 3][1]);
		lines++;
		p += len + (end != NULL);
		n -= len + (end != NULL);
	}
	app_release(a);
	free(a);
	return 0;
}
