/* SPDX-License-Identifier: Apache-2.0 */
/* --help, from the tables. Plain text: it is read in pagers, pasted and diffed. */
#include <stdio.h>
#include <string.h>

#include "core/base/str.h"
#include "tui/cli/cmd.h"

#define WIDTH 80
#define OPTION_COLUMN 30

const char *const group_title[GROUP_NUM] = {
	[GROUP_RUN] = "Work in sandboxes",
	[GROUP_LOOK] = "See what they do",
	[GROUP_CHANGE] = "Start, stop and remove",
	[GROUP_NET] = "What they may reach",
	[GROUP_SYSTEM] = "Bulkhead itself",
	[GROUP_HIDDEN] = NULL,
};

static void append(char *dst, size_t cap, const char *s)
{
	size_t len = strlen(dst);

	str_copy(dst + len, cap - len, s);
}

void help_usage(char *dst, size_t cap, const struct cmd *c, const struct cmd *parent)
{
	char word[80];

	snprintf(dst, cap, "%s%s%s", parent ? parent->name : "", parent ? " " : "", c->name);
	if (c->sub)
		append(dst, cap, " COMMAND");
	if (c->options && c->options->name)
		append(dst, cap, " [OPTIONS]");
	for (const struct pos *s = c->args; s && s->name; s++) {
		const char *dots = s->flags & POS_MANY ? "..." : "";

		snprintf(word, sizeof(word), s->flags & POS_OPTIONAL ? " [%s%s]" : " %s%s", s->name, dots);
		append(dst, cap, word);
	}
	if (c->tail == TAIL_DASHES)
		append(dst, cap, " [-- CMD [ARG...]]");
	else if (c->tail == TAIL_COMMAND)
		append(dst, cap, " -- CMD [ARG...]");
}

void help_option(char *dst, size_t cap, const struct opt *o)
{
	if (o->letter)
		snprintf(dst, cap, "-%c, --%s", o->letter, o->name);
	else
		snprintf(dst, cap, "    --%s", o->name);
	if (o->arg) {
		append(dst, cap, " ");
		append(dst, cap, o->arg);
	}
}

/* Words of `text` from column `at`, further lines indented; '\n' is kept. */
static void wrap(const char *text, size_t at, size_t indent)
{
	while (*text) {
		size_t n = strcspn(text, " \n");

		if (at > indent && at + 1 + n > WIDTH) {
			printf("\n%*s", (int)indent, "");
			at = indent;
		} else if (at > indent) {
			putchar(' ');
			at++;
		}
		printf("%.*s", (int)n, text);
		at += n;
		text += n;
		if (*text == '\n') {
			printf("\n%*s", text[1] && text[1] != '\n' ? (int)indent : 0, "");
			at = indent;
		}
		if (*text)
			text++;
	}
	putchar('\n');
}

static void print_option(const struct opt *o)
{
	char head[80];

	help_option(head, sizeof(head), o);
	int n = printf("  %s", head);

	if (n >= OPTION_COLUMN - 1) {
		putchar('\n');
		n = 0;
	}
	printf("%*s", OPTION_COLUMN - n, "");
	wrap(o->help, OPTION_COLUMN, OPTION_COLUMN);
}

static void print_list(const struct cmd *const *list, enum group g)
{
	for (; *list; list++)
		if ((*list)->group == g || g == GROUP_NUM)
			printf("  %-12s%s\n", (*list)->name, (*list)->summary);
}

void help_print(const struct cmd *c, const struct cmd *parent)
{
	char usage[256];

	help_usage(usage, sizeof(usage), c, parent);
	printf("Usage: bulkhead %s\n\n%s.\n", usage, c->summary);
	if (c->about) {
		putchar('\n');
		wrap(c->about, 0, 0);
	}
	if (c->sub) {
		printf("\nCommands:\n");
		print_list(c->sub, GROUP_NUM);
	}
	printf("\nOptions:\n");
	for (const struct opt *o = c->options; o && o->name; o++)
		print_option(o);
	print_option(&opt_help);
	printf("\nExamples:\n");
	for (const struct example *x = c->examples; x && x->line; x++)
		printf("%s  # %s\n  %s\n", x == c->examples ? "" : "\n", x->what, x->line);
}

void help_print_all(void)
{
	printf("Usage: bulkhead [COMMAND] [OPTIONS] [ARG...]\n\n"
	       "Coding agents, each in a microVM of its own. 'bulkhead' alone opens the dashboard.\n");
	for (enum group g = 0; g < GROUP_NUM; g++) {
		if (!group_title[g])
			continue;
		printf("\n%s:\n", group_title[g]);
		print_list(cmds, g);
	}
	printf("\nOptions:\n");
	print_option(&opt_help);
	print_option(&(struct opt){ .letter = 'V', .name = "version", .help = "print the version" });
	printf("\nExamples:\n"
	       "  # a sandbox for the directory you are in, in the dashboard\n  bulkhead run\n\n"
	       "  # one command in a fresh sandbox that is removed afterwards\n  bulkhead run --rm shell -- uname -r\n\n"
	       "'bulkhead COMMAND --help' tells more about a command; bulkhead(1) tells all.\n");
}
