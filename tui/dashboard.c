/* SPDX-License-Identifier: Apache-2.0 */
/* Start and end: configuration, theme, supervisor, screen; what went wrong is said on stderr before or after the screen, never on it. */
#include "tui/dashboard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/app.h"
#include "tui/loop.h"

void theme_use(struct app *a, const char *name)
{
	struct err e = ERR_INIT;
	struct theme t;

	if (theme_load(&t, name, &e) < 0) {
		app_message(a, EL_ERROR, "%s", e.msg);
		return;
	}
	a->theme = t;
	theme_resolve(&a->theme, a->depth);
	str_copy(a->chosen_theme, sizeof(a->chosen_theme), name);
	prefs_save(a);
	app_message(a, EL_OK, "theme %s", a->theme.name[0] ? a->theme.name : name);
	if (a->screen)
		a->screen->all = true;
}

/* The configured theme, else the last chosen, else the default; a broken one is told of and the built-in attributes are left. */
static void choose_theme(struct app *a)
{
	struct err e = ERR_INIT;
	const char *name = a->config.theme[0] ? a->config.theme : a->chosen_theme[0] ? a->chosen_theme : "default-dark";

	if (theme_load(&a->theme, name, &e) < 0) {
		struct err ignore = ERR_INIT;

		app_message(a, EL_ERROR, "%s", e.msg);
		if (theme_load(&a->theme, "default-dark", &ignore) < 0)
			theme_parse(&a->theme, "", 0, NULL);
	}
	theme_resolve(&a->theme, a->depth);
}

static int start(struct app *a, struct screen *s, const struct dashboard_opts *o, struct err *e)
{
	struct err wrong = ERR_INIT;
	int r;

	if ((r = app_init(a, e)) < 0)
		return r;
	a->attach_only = o->attach_only;
	a->typing = o->attach_only;
	a->focus = o->attach_only ? FOCUS_MAIN : FOCUS_LIST;
	if (o->sandbox)
		str_copy(a->selected, sizeof(a->selected), o->sandbox);
	config_load(&a->config, &wrong);
	prefs_load(a);
	if ((r = client_connect(&a->client, "dashboard", true, e)) < 0)
		return r;
	client_on_event(a->client, on_event, a);
	if ((r = screen_open(s, a->config.ascii, a->config.mouse, e)) < 0)
		return r;
	a->screen = s;
	a->depth = s->depth;
	a->ascii = s->ascii;
	choose_theme(a);
	if (wrong.code)
		app_message(a, EL_ERROR, "%s", wrong.msg);
	request_subscribe(a);
	return 0;
}

int dashboard_run(const struct dashboard_opts *o)
{
	struct app *a = calloc(1, sizeof(*a));
	struct screen s;
	struct err e = ERR_INIT;
	int code = 1;

	if (!a || (o->attach_only && !o->sandbox)) {
		fprintf(stderr, "bulkhead: %s\n", a ? "no sandbox was named" : "out of memory");
		free(a);
		return 1;
	}
	if (start(a, &s, o, &e) < 0) {
		fprintf(stderr, "bulkhead: %s\n", e.msg);
	} else {
		if (o->session) {
			struct pane *p = app_pane(a);
			struct desk *d = o->sandbox ? desk_of(a, o->sandbox) : NULL;

			if (!p && d)
				p = desk_focus(d);
			if (p)
				p->session = o->session;
		}
		loop_run(a);
		code = a->exit_code;
	}
	if (a->screen)
		screen_close(a->screen);
	if (a->last_words[0])
		fprintf(stderr, "bulkhead: %s\n", a->last_words);
	a->screen = NULL;
	if (a->model)
		app_release(a);
	free(a);
	return code;
}
