/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a command is: one table. The parser, --help, the manual page, the completions and did-you-mean are
 * all made from it, so they cannot disagree. Every cmd_*.c ends in its table; cmds.c alone lists them.
 */
#ifndef BULKHEAD_CLI_CMD_H
#define BULKHEAD_CLI_CMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

/* What the shell offers for a value. */
enum complete {
	COMPLETE_NONE,
	COMPLETE_FILE,
	COMPLETE_DIR,
	COMPLETE_SANDBOX,
	COMPLETE_KIT,
	COMPLETE_KIT_OR_DIR,
	COMPLETE_COPY,    /* a path here, or NAME: */
	COMPLETE_IMAGE,
	COMPLETE_COMMAND,
	COMPLETE_WORDS,   /* the table's own list */
};

/* What a value must be: a wrong one is wrong use (EXIT_USAGE), told before anything is done. */
enum value {
	VALUE_TEXT,       /* UTF-8, unless it is completed as a path; one of `words` with COMPLETE_WORDS */
	VALUE_NUMBER,     /* from min to max */
	VALUE_SIZE,       /* as 2G */
	VALUE_ASSIGNMENT, /* NAME=VALUE, or a NAME of this program's environment */
};

struct opt {
	char letter;             /* 0: has none */
	const char *name;        /* without dashes; NULL ends the list */
	const char *arg;         /* the value's name in the help; NULL: a flag */
	const char *help;        /* lower case, no full stop */
	enum complete complete;
	const char *words;       /* for COMPLETE_WORDS, separated by spaces */
	enum value value;
	uint64_t min, max;       /* of a VALUE_NUMBER */
};

#define POS_OPTIONAL 1u
#define POS_MANY 2u              /* the last one only */
struct pos {
	const char *name;        /* NULL ends the list */
	enum complete complete;
	unsigned flags;
	const char *words;
};

/* A command to be run inside the sandbox. */
enum tail {
	TAIL_NONE,
	TAIL_DASHES,   /* optional, only after "--" */
	TAIL_COMMAND,  /* required: begins with the first word after the positionals, "--" may stand before it */
};

struct example {
	const char *line;        /* NULL ends the list */
	const char *what;
};

enum group { GROUP_RUN, GROUP_LOOK, GROUP_CHANGE, GROUP_NET, GROUP_SYSTEM, GROUP_HIDDEN, GROUP_NUM };

struct args;

struct cmd {
	const char *name;
	const char *summary;             /* one line, no full stop */
	const char *about;               /* paragraphs separated by an empty line; NULL: none */
	enum group group;
	const struct pos *args;          /* NULL: none */
	const struct opt *options;       /* NULL: none; --help is everyone's */
	enum tail tail;
	const struct example *examples;  /* at least one */
	const struct cmd *const *sub;    /* NULL-terminated: a command of commands has no exec */
	int (*exec)(const struct args *a); /* returns the exit code */
};

#define EXIT_USAGE 2
#define EXIT_OURS 125            /* as docker: the command was not reached */
#define EXIT_NOT_EXECUTABLE 126
#define EXIT_NOT_FOUND 127

#define OPT_JSON { .name = "json", .help = "print JSON: the objects of the client protocol" }
#define OPT_YES { .letter = 'y', .name = "yes", .help = "do not ask" }
#define OPT_END { .name = NULL }
#define POS_END { .name = NULL }
#define EXAMPLE_END { .line = NULL }

/* The list, NULL-terminated (cmds.c). */
extern const struct cmd *const cmds[];

/* Exact name among a NULL-terminated list; NULL: none. */
const struct cmd *cmd_find(const struct cmd *const *list, const char *name);

/* ---- a parsed command line (args.c) ---- */

struct args {
	const struct cmd *cmd;
	const struct cmd *parent;        /* of a sub-command, else NULL */
	struct args_opt { const struct opt *opt; const char *value; } *opts; /* owned, in the order given */
	size_t nopts;
	const char **pos;                /* owned array, borrowed strings; NULL-terminated */
	size_t npos;
	char **tail;                     /* borrowed from argv, NULL-terminated; NULL: no command given */
	size_t ntail;
	bool help;                       /* --help was seen: nothing else was checked */
};

/*
 * Parses argv[0..argc) (without the command's own name) against cmd's table. 0, or -EINVAL with a sentence
 * that names what was wrong and, where there is one, the nearest right word. argv must outlive `a`.
 */
int args_parse(struct args *a, const struct cmd *cmd, int argc, char **argv, struct err *e);
void args_release(struct args *a);
/* By long name; asking for an option that the table lacks is a bug and aborts. */
bool args_has(const struct args *a, const char *name);
const char *args_get(const struct args *a, const char *name);            /* the last one given, or NULL */
/* The value of a VALUE_NUMBER or VALUE_SIZE, the last one given; `def` when it was not. */
uint64_t args_number(const struct args *a, const char *name, uint64_t def);
const char *args_nth(const struct args *a, const char *name, size_t n);  /* the n-th one given, or NULL */

/* ---- made from the tables ---- */

/* "run [OPTIONS] [KIT] [PATH] [-- CMD [ARG...]]" into dst. */
void help_usage(char *dst, size_t cap, const struct cmd *c, const struct cmd *parent);
/* "-e, --env K=V" */
void help_option(char *dst, size_t cap, const struct opt *o);
void help_print(const struct cmd *c, const struct cmd *parent);
void help_print_all(void);
extern const char *const group_title[GROUP_NUM];
/* --help, everyone's option. */
extern const struct opt opt_help;

/* The manual page's COMMANDS section, in roff, to stdout. */
void man_print(void);

/* The nearest of n words to `word`, or NULL when none is near enough to be meant. */
const char *suggest(const char *word, const char *const *words, size_t n);

#endif
