/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead(1) from the tables. The build runs `bulkhead __man HEAD TAIL`: the hand-written head, the commands, the
 * hand-written tail. roff: a backslash, a leading dot or quote and the hyphen of an option need care.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "tui/cli/cmd.h"

static void roff(const char *s)
{
	bool start = true;

	for (; *s; s++) {
		if (start && (*s == '.' || *s == '\''))
			fputs("\\&", stdout);
		start = *s == '\n';
		if (s[0] == '\n' && s[1] == '\n') {
			fputs("\n.PP\n", stdout);
			s++;
		} else if (*s == '\\') {
			fputs("\\e", stdout);
		} else if (*s == '-') {
			fputs("\\-", stdout);
		} else {
			putchar(*s);
		}
	}
}

static void print_cmd(const struct cmd *c, const struct cmd *parent)
{
	char text[256];

	help_usage(text, sizeof(text), c, parent);
	fputs(".SS \"bulkhead ", stdout);
	roff(text);
	fputs("\"\n", stdout);
	putchar(toupper((unsigned char)c->summary[0]));
	roff(c->summary + 1);
	fputs(".\n", stdout);
	if (c->about) {
		fputs(".PP\n", stdout);
		roff(c->about);
		putchar('\n');
	}
	for (const struct opt *o = c->options; o && o->name; o++) {
		help_option(text, sizeof(text), o);
		fputs(".TP\n\\fB", stdout);
		roff(text + strspn(text, " "));
		fputs("\\fR\n", stdout);
		roff(o->help);
		fputs(".\n", stdout);
	}
	for (const struct example *x = c->examples; x && x->line; x++) {
		fputs(".PP\nExample: ", stdout);
		roff(x->what);
		fputs("\n.PP\n.RS\n.nf\n", stdout);
		roff(x->line);
		fputs("\n.fi\n.RE\n", stdout);
	}
	for (const struct cmd *const *s = c->sub; s && *s; s++)
		print_cmd(*s, c);
}

void man_print(void)
{
	printf(".SH COMMANDS\n");
	for (enum group g = 0; g < GROUP_NUM; g++)
		for (const struct cmd *const *c = cmds; group_title[g] && *c; c++)
			if ((*c)->group == g)
				print_cmd(*c, NULL);
}
