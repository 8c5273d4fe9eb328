/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `:` — every action by name, every command of the command line, themes; completed from what there is. An action is done here; a command is run
 * as `bulkhead COMMAND …` without a terminal (its arguments go as they are, through no shell) and its output shown. Those that would take the
 * terminal over are answered with the dashboard's own way.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/app.h"

#define ARGS_MAX 32
#define CANDIDATES_MAX 12

/* takes: s sandboxes, t themes, - nothing to complete. own: done by the dashboard itself. */
static const struct { const char *name, *text; char takes; const char *own; } commands[] = {
	{ "answer", "answer a question: answer ID allow|deny", '-', NULL },
	{ "apply", "write what a sandbox changed to the host: apply NAME PATH…", 's', NULL },
	{ "asks", "what waits for your answer", '-', NULL },
	{ "attach", "go to a sandbox's terminal", 's', "attach" },
	{ "audit", "audit verify: is the log of decisions whole?", '-', NULL },
	{ "cp", "copy files in or out", 's', NULL },
	{ "create", "make a sandbox without starting it", '-', NULL },
	{ "diff", "what a sandbox changed", 's', NULL },
	{ "discard", "throw away what a sandbox changed: discard NAME PATH…", 's', NULL },
	{ "doctor", "what works on this machine", '-', NULL },
	{ "events", "show every change as it happens, until Esc", '-', NULL },
	{ "exec", "run a command in a sandbox", 's', NULL },
	{ "fetch", "commits made in a sandbox, as remote-tracking branches", 's', NULL },
	{ "image", "guest images: ls, build, rm", '-', NULL },
	{ "kill", "end a machine at once", 's', "kill" },
	{ "logs", "a sandbox's console", 's', NULL },
	{ "ls", "list the sandboxes", '-', NULL },
	{ "pause", "pause a sandbox", 's', NULL },
	{ "policy", "rules: ls, allow, deny, ask, rm, check, preset, log", '-', NULL },
	{ "ports", "a sandbox's published ports", 's', NULL },
	{ "prune", "remove stopped sandboxes", '-', NULL },
	{ "record", "where the recordings of a sandbox's terminals are", 's', NULL },
	{ "reset", "back to a clean disk", 's', "reset" },
	{ "restore", "let a sandbox go on from its snapshot: restore --yes NAME", 's', NULL },
	{ "resume", "let a sandbox go on", 's', NULL },
	{ "rm", "remove a sandbox", 's', "remove" },
	{ "run", "make and start a sandbox", '-', NULL },
	{ "secret", "credentials: ls, rm, set with --from-env or --from-command", '-', NULL },
	{ "snapshot", "keep what a sandbox is now", 's', NULL },
	{ "start", "start a sandbox", 's', NULL },
	{ "stats", "what sandboxes use", 's', NULL },
	{ "stop", "shut a sandbox down", 's', NULL },
	{ "theme", "change the colours", 't', "theme" },
	{ "undo", "take a sandbox's last apply back", 's', NULL },
	{ "version", "the version", '-', NULL },
};

static int split_words(char *line, char **argv, int max)
{
	int n = 0;
	char *p = line;

	while (*p) {
		while (*p == ' ')
			p++;
		if (!*p)
			break;
		if (n == max - 1)
			return -E2BIG;
		char *out = p, quote = '\0';
		argv[n++] = p;
		for (; *p && (quote || *p != ' '); p++) {
			if (quote ? *p == quote : *p == '\'' || *p == '"')
				quote = quote ? '\0' : *p;
			else
				*out++ = *p;
		}
		if (quote)
			return -EINVAL;
		if (*p)
			p++;
		*out = '\0';
	}
	argv[n] = NULL;
	return n;
}

/* ---- completion ------------------------------------------------------------------------------------------------------------------------ */

static size_t offer(char out[][80], size_t n, size_t max, const char *head, const char *word, const char *typed)
{
	if (n < max && str_starts(word, typed))
		snprintf(out[n++], 80, "%s%s", head, word);
	return n;
}

size_t palette_complete(const struct app *a, const char *text, char out[][80], size_t max)
{
	const char *space = strchr(text, ' ');
	size_t n = 0;

	if (!space) {
		for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
			n = offer(out, n, max, "", commands[i].name, text);
		for (int i = 1; i < ACT_C_LEFT; i++) {
			const char *name = binding_of((enum action)i)->name;
			bool twice = false;

			for (size_t k = 0; k < ARRAY_SIZE(commands); k++)
				twice = twice || !strcmp(commands[k].name, name);
			if (!twice)
				n = offer(out, n, max, "", name, text);
		}
		return n;
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		const size_t len = strlen(commands[i].name);
		char head[32];

		if (len != (size_t)(space - text) || strncmp(text, commands[i].name, len) || strchr(space + 1, ' '))
			continue;
		snprintf(head, sizeof(head), "%s ", commands[i].name);
		if (commands[i].takes == 's')
			for (size_t k = 0; k < a->model->nsandboxes; k++)
				n = offer(out, n, max, head, a->model->sandboxes[k]->name, space + 1);
		if (commands[i].takes == 't') {
			char *names[64];
			const size_t count = theme_list(names, ARRAY_SIZE(names));

			for (size_t k = 0; k < count; k++) {
				n = offer(out, n, max, head, names[k], space + 1);
				free(names[k]);
			}
		}
	}
	return n;
}

static const char *describe(const char *candidate)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(commands[i].name, candidate))
			return commands[i].text;
	const enum action act = action_named(candidate);
	return act ? binding_of(act)->text : "";
}

void draw_palette(struct app *a, struct rect r)
{
	char found[CANDIDATES_MAX][80];
	const size_t n = palette_complete(a, a->line.text, found, CANDIDATES_MAX);
	const struct rect in = draw_popup(a, (struct rect){ r.row, r.col, r.rows > 20 ? r.rows - 4 : r.rows, r.cols }, (int)n + 4,
					  r.cols > 90 ? 80 : r.cols > 8 ? r.cols - 4 : r.cols, "command");

	for (size_t i = 0; i < n && (int)i + 2 < in.rows; i++) {
		const bool sel = a->complete_at == (int)i;
		const struct style st = app_style(a, sel ? EL_SELECTED : EL_POPUP);

		canvas_fill(&a->canvas, (struct rect){ in.row + 2 + (int)i, in.col, 1, in.cols }, st);
		canvas_text(&a->canvas, in, 2 + (int)i, 1, 26, st, found[i]);
		canvas_text(&a->canvas, in, 2 + (int)i, 28, in.cols - 29, sel ? st : app_style_on(a, EL_DIM, EL_POPUP), describe(found[i]));
	}
	draw_input_line(a, in, 0, ":", &a->line);
}

/* ---- running ------------------------------------------------------------------------------------------------------------------------------ */

static bool run_own(struct app *a, const char *name, const char *arg)
{
	struct model_sandbox *sb = arg ? model_find(a->model, arg) : app_current(a);

	if (!strcmp(name, "theme")) {
		if (arg)
			theme_use(a, arg);
		else
			app_message(a, EL_ERROR, "theme needs a name; Tab completes it");
		return true;
	}
	if (!sb) {
		if (arg)
			app_message(a, EL_ERROR, "there is no sandbox '%s'", arg);
		else
			app_message(a, EL_ERROR, "no sandbox is selected");
		return true;
	}
	if (!strcmp(name, "attach")) {
		app_select(a, sb->name);
		a->focus = FOCUS_MAIN;
		action_do(a, ACT_TERMINAL);
	} else {
		confirm_ask(a, !strcmp(name, "kill") ? CONFIRM_KILL : !strcmp(name, "reset") ? CONFIRM_RESET : CONFIRM_REMOVE, sb);
	}
	return true;
}

void command_run(struct app *a, const char *line)
{
	static char program[] = "bulkhead";
	char words[LINEEDIT_MAX], *argv[ARGS_MAX + 1];

	str_copy(words, sizeof(words), line);
	argv[0] = program;
	const int n = split_words(words, argv + 1, ARGS_MAX);
	if (n < 0) {
		app_message(a, EL_ERROR, n == -EINVAL ? "a quote is not closed" : "too many words");
		return;
	}
	if (n == 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, argv[1]))
			continue;
		if (commands[i].own && n <= 2 && run_own(a, commands[i].own, argv[2]))
			return;
		/* One that acts on a sandbox, without a name: the selected one. */
		if (n == 1 && commands[i].takes == 's' && app_current(a) && strcmp(commands[i].name, "stats")) {
			argv[2] = app_current(a)->name;
			argv[3] = NULL;
		}
		output_run(a, argv, line);
		return;
	}
	const enum action act = action_named(argv[1]);
	if (act && n == 1) {
		action_do(a, act);
		return;
	}
	app_message(a, EL_ERROR, "there is no command '%s'; Tab shows what there is", argv[1]);
}

/* ---- keys ------------------------------------------------------------------------------------------------------------------------------------ */

void palette_open(struct app *a, const char *text)
{
	lineedit_set(&a->line, text);
	a->overlay = OV_PALETTE;
	a->complete_at = -1;
	a->history_at = a->history_n;
	a->dirty = true;
}

static void remember(struct app *a, const char *line)
{
	const int max = (int)ARRAY_SIZE(a->history);

	if (a->history_n == max) {
		memmove(a->history[0], a->history[1], sizeof(a->history[0]) * (size_t)(max - 1));
		a->history_n--;
	}
	str_copy(a->history[a->history_n++], sizeof(a->history[0]), line);
}

void palette_key(struct app *a, const struct key *k)
{
	char found[CANDIDATES_MAX][80];
	const size_t n = palette_complete(a, a->line.text, found, CANDIDATES_MAX);

	a->dirty = true;
	if (k->kind == KEY_PRESS && !k->mods && k->code == VIEW_K_ENTER) {
		char line[LINEEDIT_MAX];

		str_copy(line, sizeof(line), a->complete_at >= 0 && (size_t)a->complete_at < n ? found[a->complete_at] : a->line.text);
		a->overlay = OV_NONE;
		remember(a, line);
		command_run(a, line);
	} else if (k->kind == KEY_PRESS && (k->code == VIEW_K_ESCAPE || (k->code == 'c' && k->mods == VIEW_CTRL))) {
		a->overlay = OV_NONE;
	} else if (k->kind == KEY_PRESS && k->code == VIEW_K_TAB && n) {
		const struct key space = { .code = ' ' };

		lineedit_set(&a->line, found[a->complete_at >= 0 && (size_t)a->complete_at < n ? a->complete_at : 0]);
		lineedit_key(&a->line, &space);
		a->complete_at = -1;
	} else if (k->kind == KEY_PRESS && k->code == VIEW_K_DOWN) {
		a->complete_at = a->complete_at + 1 < (int)n ? a->complete_at + 1 : (int)n - 1;
	} else if (k->kind == KEY_PRESS && k->code == VIEW_K_UP) {
		if (a->complete_at >= 0)
			a->complete_at--;
		else if (a->history_at > 0)
			lineedit_set(&a->line, a->history[--a->history_at]);
	} else if (lineedit_key(&a->line, k)) {
		a->complete_at = -1;
	}
}
