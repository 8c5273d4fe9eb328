/* SPDX-License-Identifier: Apache-2.0 */
#include "tui/cli/pickhunks.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "tui/cli/cli.h"
#include "tui/cli/out.h"

enum answer { ANSWER_YES, ANSWER_NO, ANSWER_QUIT, ANSWER_ALL, ANSWER_NONE };

static const char help_hunk[] = "y - apply this hunk\nn - do not\nq - quit: neither this one nor any of those that remain\na - this one and all that follow in the "
				"file\nd - neither this one nor any that follow in the file\n? - this help\n";
static const char help_whole[] = "y - apply it\nn - do not\nq - quit: neither this one nor any of those that remain\na - as y\nd - as n\n? - this help\n";

static enum answer ask(const char *what, const char *help)
{
	char line[64];

	for (;;) {
		fflush(stdout);
		out_styled(stderr, STYLE_BOLD, what);
		fputs(" [y,n,q,a,d,?] ", stderr);
		fflush(stderr);
		if (!fgets(line, sizeof(line), stdin)) {
			fputc('\n', stderr);
			return ANSWER_QUIT;
		}
		switch (line[1] == '\n' || line[1] == '\0' ? tolower((unsigned char)line[0]) : 0) {
		case 'y': return ANSWER_YES;
		case 'n': return ANSWER_NO;
		case 'q': return ANSWER_QUIT;
		case 'a': return ANSWER_ALL;
		case 'd': return ANSWER_NONE;
		default: fputs(help, stderr);
		}
	}
}

/* False: it is longer than what is shown of a line. */
static bool print_line(const json_t *l)
{
	const char *k = cli_str(l, "k");
	const enum style style = *k == '+' ? STYLE_GOOD : *k == '-' ? STYLE_BAD : STYLE_NONE;

	out_styled(stdout, style, k);
	out_styled(stdout, style, cli_str(l, "t"));
	if (json_is_true(json_object_get(l, "cut")))
		out_styled(stdout, STYLE_WARN, " ... and more of this line");
	putchar('\n');
	return !json_is_true(json_object_get(l, "cut"));
}

static json_int_t number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

/* False: not all of it is shown. */
static bool print_hunk(const json_t *h)
{
	char head[128];
	bool all = true;
	size_t i;
	json_t *l;

	snprintf(head, sizeof(head), "@@ -%lld,%lld +%lld,%lld @@", (long long)number(h, "old_start"), (long long)number(h, "old_lines"),
		 (long long)number(h, "new_start"), (long long)number(h, "new_lines"));
	out_styled(stdout, STYLE_DIM, head);
	putchar('\n');
	json_array_foreach(json_object_get(h, "lines"), i, l)
		all = print_line(l) && all;
	return all;
}

static void print_head(const json_t *entry, const json_t *diff)
{
	char mode[64] = "";
	const char *mark = cli_str(entry, "mark");
	size_t i;
	json_t *v;

	out_styled(stdout, STYLE_BOLD, cli_str(entry, "path"));
	if (number(entry, "old_mode"))
		snprintf(mode, sizeof(mode), ", mode %03llo -> %03llo", (unsigned long long)number(entry, "old_mode"), (unsigned long long)number(entry, "mode"));
	printf(": %s%s%s\n", cli_str(entry, "kind"), json_is_true(json_object_get(diff, "binary")) ? ", binary" : "", mode);
	if (*cli_str(entry, "from")) {
		fputs("from ", stdout);
		out_text(stdout, cli_str(entry, "from"));
		putchar('\n');
	}
	if (*mark) {
		out_styled(stdout, STYLE_WARN, "would be run or obeyed on the host: ");
		out_styled(stdout, STYLE_WARN, mark);
		putchar('\n');
	}
	json_array_foreach(json_object_get(entry, "flags"), i, v) {
		out_styled(stdout, STYLE_WARN, i ? " " : "it is odd: ");
		out_styled(stdout, STYLE_WARN, json_string_value(v));
	}
	if (i > 0)
		putchar('\n');
}

/* What was shown, all of it and what is odd about it, counts as named. */
static json_t *item_of(const json_t *entry, const json_t *diff, bool all)
{
	json_t *item = json_pack("{s:s, s:b}", "path", cli_str(entry, "path"), "named", (int)all);

	if (*cli_str(diff, "digest"))
		json_object_set_new(item, "digest", json_string(cli_str(diff, "digest")));
	if (*cli_str(diff, "old_digest"))
		json_object_set_new(item, "old_digest", json_string(cli_str(diff, "old_digest")));
	if (all && json_array_size(json_object_get(entry, "flags")) > 0)
		json_object_set(item, "flags", json_object_get(entry, "flags"));
	if (!all && *cli_str(entry, "mark"))
		out_say("not all of it was shown: what would be run on the host must be named then");
	return item;
}

static void pick_whole(const json_t *entry, const json_t *diff, json_t *items, bool *quit)
{
	char what[64];
	bool all = true;
	size_t i;
	json_t *h;

	json_array_foreach(json_object_get(diff, "hunks"), i, h)
		all = print_hunk(h) && all;
	snprintf(what, sizeof(what), "Apply this file (%.20s)?", cli_str(entry, "kind"));
	const enum answer a = ask(what, help_whole);
	*quit = a == ANSWER_QUIT;
	if (a == ANSWER_YES || a == ANSWER_ALL)
		json_array_append_new(items, item_of(entry, diff, all));
}

static void pick_by_hunk(const json_t *entry, const json_t *diff, json_t *items, bool *quit)
{
	const json_t *hunks = json_object_get(diff, "hunks");
	const size_t n = json_array_size(hunks);
	json_t *ids = json_array();
	enum answer a = ANSWER_NO;
	bool shown = true;
	char what[64];

	for (size_t i = 0; i < n && a != ANSWER_NONE && a != ANSWER_QUIT; i++) {
		const json_t *h = json_array_get(hunks, i);
		bool this = false;

		if (a != ANSWER_ALL) {
			this = print_hunk(h);
			snprintf(what, sizeof(what), "(%zu/%zu) Apply this hunk?", i + 1, n);
			a = ask(what, help_hunk);
		}
		if (a == ANSWER_YES || a == ANSWER_ALL) {
			json_array_append_new(ids, json_integer(number(h, "id")));
			shown = shown && this;
		}
	}
	*quit = a == ANSWER_QUIT;
	if (json_array_size(ids) > 0) {
		json_t *item = item_of(entry, diff, shown);

		/* All of them is the file, its mode included. */
		if (json_array_size(ids) < n)
			json_object_set(item, "hunks", ids);
		json_array_append_new(items, item);
	}
	json_decref(ids);
}

int pick_interactively(struct client *c, const char *name, const struct selected *s, json_t *items, bool *quit)
{
	for (size_t i = 0; i < s->n && !*quit; i++) {
		const json_t *entry = s->c[i].entry;
		json_t *diff = NULL;

		if (json_is_true(json_object_get(entry, "conflict"))) {
			out_styled(stdout, STYLE_BOLD, cli_str(entry, "path"));
			puts(": the host has changed it since the change was first seen: not offered");
			continue;
		}
		if (cli_call(c, "changes.diff", json_pack("{s:s, s:s, s:s}", "name", name, "workspace", s->workspace, "path", cli_str(entry, "path")), &diff) != 0)
			return 1;
		print_head(entry, diff);
		if (json_is_true(json_object_get(diff, "truncated"))) {
			out_say("it is too large to be shown: name it to apply it whole");
		} else if (strcmp(cli_str(entry, "kind"), "modified") == 0 && json_array_size(json_object_get(diff, "hunks")) > 0 && !json_is_true(json_object_get(diff, "binary"))) {
			pick_by_hunk(entry, diff, items, quit);
		} else {
			pick_whole(entry, diff, items, quit);
		}
		json_decref(diff);
	}
	return 0;
}
