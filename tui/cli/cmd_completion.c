/* SPDX-License-Identifier: Apache-2.0 */
/* Shell completions, made from the same tables as everything else. */
#include <stdio.h>
#include <string.h>

#include "core/base/str.h"
#include "tui/cli/cli.h"
#include "tui/cli/cmds.h"
#include "tui/cli/out.h"

/* What stands for a value, as the shells' scripts below name it; "" nothing can be offered. */
static const char *kind_of(enum complete c)
{
	static const char *const kinds[] = {
		[COMPLETE_NONE] = "", [COMPLETE_FILE] = "file", [COMPLETE_DIR] = "dir", [COMPLETE_SANDBOX] = "sandbox", [COMPLETE_KIT] = "kit",
		[COMPLETE_KIT_OR_DIR] = "kit", [COMPLETE_COPY] = "copy", [COMPLETE_IMAGE] = "image", [COMPLETE_COMMAND] = "", [COMPLETE_WORDS] = "words",
	};

	return kinds[c];
}

static const char *pos_kind(const struct cmd *c)
{
	return c->args && c->args[0].name ? kind_of(c->args[0].complete) : "";
}

static void words(const struct cmd *c, const char *sep)
{
	for (const struct opt *o = c->options; o && o->name; o++)
		printf("--%s%s", o->name, sep);
	printf("--help");
	for (const struct cmd *const *s = c->sub; s && *s; s++)
		printf("%s%s", sep, (*s)->name);
	if (c->args && c->args[0].words)
		printf("%s%s", sep, c->args[0].words);
}

/* "--sandbox|-s" */
static void pattern(const struct opt *o)
{
	printf("--%s", o->name);
	if (o->letter)
		printf("|-%c", o->letter);
}

/* ---- bash -------------------------------------------------------------------------------------------------------------------------- */

/* The word before chooses what is offered, where it is an option that takes a value. */
static void bash_values(const struct cmd *c)
{
	bool any = false;

	for (const struct opt *o = c->options; o && o->name; o++) {
		if (!o->arg)
			continue;
		printf(any ? " " : "; case $prev in ");
		any = true;
		pattern(o);
		printf(") kind=%s", kind_of(o->complete)[0] ? kind_of(o->complete) : "value");
		if (o->complete == COMPLETE_WORDS)
			printf(" words=\"%s\"", o->words);
		printf(" ;;");
	}
	if (any)
		printf(" esac");
}

static void bash_one(const struct cmd *c)
{
	printf("kind=%s words=\"", pos_kind(c)[0] ? pos_kind(c) : "none");
	words(c, " ");
	printf("\"");
	bash_values(c);
}

static void bash(void)
{
	printf("# bash completion for bulkhead\n_bulkhead() {\n\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} cmd=${COMP_WORDS[1]} words= kind=\n"
	       "\tCOMPREPLY=()\n\tif [ \"$COMP_CWORD\" = 1 ]; then\n\t\tCOMPREPLY=($(compgen -W \"");
	for (const struct cmd *const *c = cmds; *c; c++)
		printf("%s ", (*c)->name);
	printf("--help --version\" -- \"$cur\"))\n\t\treturn\n\tfi\n\tcase $cmd in\n");
	for (const struct cmd *const *c = cmds; *c; c++) {
		printf("\t%s) ", (*c)->name);
		bash_one(*c);
		if ((*c)->sub) {
			printf("\n\t\t[ \"$COMP_CWORD\" = 2 ] || case ${COMP_WORDS[2]} in\n");
			for (const struct cmd *const *s = (*c)->sub; *s; s++) {
				printf("\t\t%s) ", (*s)->name);
				bash_one(*s);
				printf(" ;;\n");
			}
			printf("\t\tesac");
		}
		printf(" ;;\n");
	}
	printf("\tesac\n\tcase $kind:$cur in\n\tvalue:*) return ;;\n\t*:-*) COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")); return ;;\n\tesac\n"
	       "\tcase $kind in\n\tsandbox) COMPREPLY=($(compgen -W \"$(bulkhead __names 2>/dev/null)\" -- \"$cur\")) ;;\n"
	       "\timage) COMPREPLY=($(compgen -W \"$(bulkhead __images 2>/dev/null)\" -- \"$cur\")) ;;\n"
	       "\tcopy) COMPREPLY=($(compgen -f -- \"$cur\") $(compgen -W \"$(bulkhead __names 2>/dev/null)\" -S : -- \"$cur\")) ;;\n"
	       "\tkit) COMPREPLY=($(compgen -d -- \"$cur\") $(compgen -W \"shell\" -- \"$cur\")) ;;\n"
	       "\tdir) COMPREPLY=($(compgen -d -- \"$cur\")) ;;\n\tfile) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n"
	       "\t*) COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")) ;;\n\tesac\n}\ncomplete -o filenames -F _bulkhead bulkhead\n");
}

/* ---- zsh --------------------------------------------------------------------------------------------------------------------------- */

/* Inside single quotes; of zsh's _describe, where a colon ends the name. */
static void zsh_quoted(const char *s)
{
	for (; *s; s++) {
		if (*s == '\'')
			printf("'\\''");
		else if (*s == ':' || *s == '\\')
			printf("\\%c", *s);
		else
			putchar(*s);
	}
}

static void zsh_kind(enum complete c, const char *list)
{
	const char *kind = kind_of(c);

	if (strcmp(kind, "sandbox") == 0 || strcmp(kind, "copy") == 0)
		printf("compadd -- ${(f)\"$(bulkhead __names 2>/dev/null)\"}; ");
	if (strcmp(kind, "image") == 0)
		printf("compadd -- ${(f)\"$(bulkhead __images 2>/dev/null)\"}; ");
	if (strcmp(kind, "kit") == 0)
		printf("compadd -- shell; ");
	if (strcmp(kind, "words") == 0)
		printf("compadd -- %s; ", list);
	if (strcmp(kind, "dir") == 0 || strcmp(kind, "kit") == 0)
		printf("_files -/; ");
	if (strcmp(kind, "file") == 0 || strcmp(kind, "copy") == 0)
		printf("_files; ");
}

static void zsh_one(const struct cmd *c)
{
	bool any = false;

	for (const struct opt *o = c->options; o && o->name; o++) {
		if (!o->arg)
			continue;
		printf(any ? "" : "case $words[CURRENT-1] in ");
		any = true;
		pattern(o);
		printf(") ");
		zsh_kind(o->complete, o->words);
		printf("return ;; ");
	}
	if (any)
		printf("esac; ");
	if (c->args && c->args[0].name && c->args[0].complete != COMPLETE_WORDS)
		zsh_kind(c->args[0].complete, NULL);
	printf("compadd -- ");
	words(c, " ");
}

static void zsh(void)
{
	printf("#compdef bulkhead\n_bulkhead() {\n\tlocal -a commands\n\tcommands=(\n");
	for (const struct cmd *const *c = cmds; *c; c++) {
		printf("\t\t'%s:", (*c)->name);
		zsh_quoted((*c)->summary);
		printf("'\n");
	}
	printf("\t)\n\tif (( CURRENT == 2 )); then\n\t\t_describe command commands\n\t\treturn\n\tfi\n\tcase $words[2] in\n");
	for (const struct cmd *const *c = cmds; *c; c++) {
		printf("\t%s)\n", (*c)->name);
		if ((*c)->sub) {
			printf("\t\tif (( CURRENT > 3 )); then case $words[3] in\n");
			for (const struct cmd *const *s = (*c)->sub; *s; s++) {
				printf("\t\t%s) ", (*s)->name);
				zsh_one(*s);
				printf(" ;;\n");
			}
			printf("\t\tesac; return; fi\n");
		}
		printf("\t\t");
		zsh_one(*c);
		printf(" ;;\n");
	}
	/* Sourced it is bound to the command; autoloaded from a directory of $fpath it is called. */
	printf("\tesac\n}\nif [[ $funcstack[1] = _bulkhead ]]; then _bulkhead \"$@\"; else compdef _bulkhead bulkhead; fi\n");
}

/* ---- fish -------------------------------------------------------------------------------------------------------------------------- */

static void fish_quoted(const char *s)
{
	for (; *s; s++) {
		if (*s == '\'' || *s == '\\')
			putchar('\\');
		putchar(*s);
	}
}

static void fish_kind(enum complete c, const char *list)
{
	const char *kind = kind_of(c);

	if (strcmp(kind, "sandbox") == 0)
		printf(" -f -a '(bulkhead __names 2>/dev/null)'");
	else if (strcmp(kind, "copy") == 0)
		printf(" -a '(bulkhead __names 2>/dev/null)'");
	else if (strcmp(kind, "image") == 0)
		printf(" -f -a '(bulkhead __images 2>/dev/null)'");
	else if (strcmp(kind, "words") == 0)
		printf(" -f -a '%s'", list);
	else if (strcmp(kind, "dir") == 0)
		printf(" -f -a '(__fish_complete_directories)'");
	else if (strcmp(kind, "kit") == 0)
		printf(" -f -a 'shell (__fish_complete_directories)'");
}

/* The options and the first argument of a command, below the condition `when`. */
static void fish_one(const struct cmd *c, const char *when)
{
	for (const struct opt *o = c->options; o && o->name; o++) {
		printf("complete -c bulkhead -n '%s' -l %s", when, o->name);
		if (o->letter)
			printf(" -s %c", o->letter);
		if (o->arg) {
			printf(" -r");
			fish_kind(o->complete, o->words);
		}
		printf(" -d '");
		fish_quoted(o->help);
		printf("'\n");
	}
	if (c->args && pos_kind(c)[0] && strcmp(pos_kind(c), "file") != 0) {
		printf("complete -c bulkhead -n '%s'", when);
		fish_kind(c->args[0].complete, c->args[0].words);
		putchar('\n');
	}
}

static void fish(void)
{
	char when[160];

	printf("# fish completion for bulkhead\n");
	for (const struct cmd *const *c = cmds; *c; c++) {
		printf("complete -c bulkhead -n __fish_use_subcommand -f -a %s -d '", (*c)->name);
		fish_quoted((*c)->summary);
		printf("'\n");
		snprintf(when, sizeof(when), "__fish_seen_subcommand_from %s", (*c)->name);
		fish_one(*c, when);
		for (const struct cmd *const *s = (*c)->sub; s && *s; s++) {
			printf("complete -c bulkhead -n '%s' -f -a %s -d '", when, (*s)->name);
			fish_quoted((*s)->summary);
			printf("'\n");
		}
		for (const struct cmd *const *s = (*c)->sub; s && *s; s++) {
			snprintf(when, sizeof(when), "__fish_seen_subcommand_from %s; and __fish_seen_subcommand_from %s", (*c)->name, (*s)->name);
			fish_one(*s, when);
			snprintf(when, sizeof(when), "__fish_seen_subcommand_from %s", (*c)->name);
		}
	}
}

static int do_completion(const struct args *a)
{
	static const struct { const char *name; void (*fn)(void); } shells[] = { { "bash", bash }, { "zsh", zsh }, { "fish", fish } };

	for (size_t i = 0; i < ARRAY_SIZE(shells); i++)
		if (strcmp(a->pos[0], shells[i].name) == 0) {
			shells[i].fn();
			return 0;
		}
	out_say("there are completions for bash, zsh and fish, not for '%s'", a->pos[0]);
	return EXIT_USAGE;
}

static const struct pos shells[] = { { .name = "SHELL", .complete = COMPLETE_WORDS, .words = "bash zsh fish" }, POS_END };
static const struct example examples[] = { { "source <(bulkhead completion bash)", "for this shell" }, EXAMPLE_END };
const struct cmd cmd_completion = {
	.name = "completion", .summary = "print completions for a shell", .group = GROUP_SYSTEM, .args = shells, .examples = examples, .exec = do_completion,
};
