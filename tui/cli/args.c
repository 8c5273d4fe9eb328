/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parser: GNU manners, driven by the command's table.
 *
 *   -i -t, -it           short options, joined; the last of a joined group may take a value: -eK=V, -e K=V
 *   --name=V, --name V   long options, whole names only (an abbreviation would break when a name is added)
 *   --                   ends the options; for a command with a tail, begins the command run inside
 *
 * Options and positionals may be mixed. With TAIL_COMMAND the first word after the last positional that is no option
 * begins the command, so `exec -it blue bash -c 'a -b'` needs no "--".
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/base/utf8.h"
#include "tui/cli/cmd.h"

#define OPTS_MAX 32 /* of one command's table, for did-you-mean */

const struct opt opt_help = { .letter = 'h', .name = "help", .help = "show this help" };

struct parse {
	struct args *a;
	int argc, i;
	char **argv;
	struct err *e;
};

const struct cmd *cmd_find(const struct cmd *const *list, const char *name)
{
	for (; *list; list++)
		if (!strcmp((*list)->name, name))
			return *list;
	return NULL;
}

static const struct opt *find_long(const struct cmd *c, const char *name, size_t len)
{
	if (strlen(opt_help.name) == len && !memcmp(opt_help.name, name, len))
		return &opt_help;
	for (const struct opt *o = c->options; o && o->name; o++)
		if (strlen(o->name) == len && !memcmp(o->name, name, len))
			return o;
	return NULL;
}

static const struct opt *find_short(const struct cmd *c, char letter)
{
	if (letter == opt_help.letter)
		return &opt_help;
	for (const struct opt *o = c->options; o && o->name; o++)
		if (o->letter && o->letter == letter)
			return o;
	return NULL;
}

static int unknown_option(struct parse *p, const char *name, size_t len)
{
	const char *words[OPTS_MAX];
	size_t n = 0;
	char given[64];

	words[n++] = opt_help.name;
	for (const struct opt *o = p->a->cmd->options; o && o->name && n < OPTS_MAX; o++)
		words[n++] = o->name;
	snprintf(given, sizeof(given), "%.*s", (int)(len < 60 ? len : 60), name);

	const char *near = suggest(given, words, n);

	if (near)
		return err_set(p->e, EINVAL, "unknown option '--%s', did you mean '--%s'?", given, near);
	return err_set(p->e, EINVAL, "unknown option '--%s'", given);
}

static void add(struct parse *p, const struct opt *o, const char *value)
{
	if (o == &opt_help)
		p->a->help = true;
	p->a->opts[p->a->nopts++] = (struct args_opt){ o, value };
}

static int parse_long(struct parse *p, const char *word)
{
	const char *eq = strchr(word, '=');
	size_t len = eq ? (size_t)(eq - word) : strlen(word);
	const struct opt *o = find_long(p->a->cmd, word, len);

	if (!o)
		return unknown_option(p, word, len);
	if (!o->arg) {
		if (eq)
			return err_set(p->e, EINVAL, "option '--%s' takes no value", o->name);
		add(p, o, NULL);
		return 0;
	}
	if (!eq && p->i + 1 >= p->argc)
		return err_set(p->e, EINVAL, "option '--%s' needs a value: --%s %s", o->name, o->name, o->arg);
	add(p, o, eq ? eq + 1 : p->argv[++p->i]);
	return 0;
}

static int parse_short(struct parse *p, const char *word)
{
	for (; *word; word++) {
		const struct opt *o = find_short(p->a->cmd, *word);

		if (!o)
			return err_set(p->e, EINVAL, "unknown option '-%c'", *word);
		if (!o->arg) {
			add(p, o, NULL);
			continue;
		}
		if (word[1]) {
			add(p, o, word[1] == '=' ? word + 2 : word + 1);
			return 0;
		}
		if (p->i + 1 >= p->argc)
			return err_set(p->e, EINVAL, "option '-%c' needs a value: -%c %s", *word, *word, o->arg);
		add(p, o, p->argv[++p->i]);
	}
	return 0;
}

/* How many positionals the table takes; *least: of them required. */
static size_t positionals(const struct cmd *c, size_t *least)
{
	size_t n = 0;

	*least = 0;
	for (const struct pos *s = c->args; s && s->name; s++) {
		if (!(s->flags & POS_OPTIONAL))
			(*least)++;
		if (s->flags & POS_MANY)
			return SIZE_MAX;
		n++;
	}
	return n;
}

static void take_tail(struct parse *p, int from)
{
	p->a->tail = &p->argv[from];
	p->a->ntail = (size_t)(p->argc - from);
	p->i = p->argc;
}

static int check_counts(struct parse *p, size_t most, size_t least)
{
	struct args *a = p->a;

	if (a->npos > most)
		return err_set(p->e, EINVAL, "unexpected argument '%s'%s", a->pos[most],
			       a->cmd->tail == TAIL_DASHES ? ": a command to run stands after '--'" : "");
	if (a->npos < least)
		return err_set(p->e, EINVAL, "%s is missing", a->cmd->args[a->npos].name);
	if (a->cmd->tail == TAIL_COMMAND && a->ntail == 0)
		return err_set(p->e, EINVAL, "the command to run is missing");
	if (a->tail && a->ntail == 0)
		return err_set(p->e, EINVAL, "the command after '--' is missing");
	if (a->ntail && !a->tail[0][0])
		return err_set(p->e, EINVAL, "the command to run is empty");
	return 0;
}

static int parse_word(struct parse *p, size_t most, bool *ended)
{
	char *word = p->argv[p->i];
	struct args *a = p->a;

	if (!*ended && !strcmp(word, "--")) {
		if (a->cmd->tail != TAIL_NONE)
			take_tail(p, p->i + 1);
		*ended = true;
		return 0;
	}
	if (!*ended && word[0] == '-' && word[1] == '-')
		return parse_long(p, word + 2);
	if (!*ended && word[0] == '-' && word[1])
		return parse_short(p, word + 1);
	if (a->cmd->tail == TAIL_COMMAND && a->npos == most) {
		take_tail(p, p->i);
		return 0;
	}
	a->pos[a->npos++] = word;
	return 0;
}

/* What becomes a string of the protocol; a path of this machine may hold any byte. */
static bool is_text(enum complete c)
{
	return c != COMPLETE_FILE && c != COMPLETE_DIR && c != COMPLETE_KIT_OR_DIR && c != COMPLETE_COPY;
}

static int check_word(const struct opt *o, const char *value, struct err *e)
{
	AUTO_FREE char *copy = str_dup(o->words);
	const char *words[16], *near;
	char list[160] = "";
	size_t n = 0, at = 0;

	for (char *save, *w = copy ? strtok_r(copy, " ", &save) : NULL; w && n < ARRAY_SIZE(words); w = strtok_r(NULL, " ", &save)) {
		if (!strcmp(w, value))
			return 0;
		words[n++] = w;
	}
	for (size_t i = 0; i < n && at < sizeof(list); i++)
		at += (size_t)snprintf(list + at, sizeof(list) - at, "%s%s", i == 0 ? "" : i + 1 == n ? " or " : ", ", words[i]);
	near = suggest(value, words, n);
	return err_set(e, EINVAL, "--%s is %s, not '%.60s'%s%s%s", o->name, list, value, near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int check_value(const struct opt *o, const char *value, struct err *e)
{
	uint64_t n;

	if (is_text(o->complete) && !utf8_valid(value))
		return err_set(e, EINVAL, "the value of '--%s' is not UTF-8", o->name);
	if (o->complete == COMPLETE_WORDS)
		return check_word(o, value, e);
	switch (o->value) {
	case VALUE_NUMBER:
		return str_u64(value, o->min, o->max, &n) == 0 ? 0 :
			err_set(e, EINVAL, "--%s: '%.60s' is no number from %llu to %llu", o->name, value, (unsigned long long)o->min, (unsigned long long)o->max);
	case VALUE_SIZE:
		if (str_size(value, &n, e) < 0)
			return err_wrap(e, "--%s", o->name);
		return n <= INT64_MAX ? 0 : err_set(e, EINVAL, "--%s: '%.60s' is too large", o->name, value);
	case VALUE_ASSIGNMENT:
		return value[0] && value[0] != '=' ? 0 : err_set(e, EINVAL, "'%.60s' is no assignment; write -%c NAME=VALUE", value, o->letter);
	default:
		return 0;
	}
}

static int check_values(struct parse *p)
{
	const struct args *a = p->a;
	const struct pos *s = a->cmd->args;

	for (size_t i = 0; i < a->nopts; i++)
		if (a->opts[i].value && check_value(a->opts[i].opt, a->opts[i].value, p->e))
			return -p->e->code;
	for (size_t i = 0; i < a->npos; i++) {
		if (is_text(s->complete) && !utf8_valid(a->pos[i]))
			return err_set(p->e, EINVAL, "%s is not UTF-8", s->name);
		if (!(s->flags & POS_MANY))
			s++;
	}
	for (size_t i = 0; i < a->ntail; i++)
		if (!utf8_valid(a->tail[i]))
			return err_set(p->e, EINVAL, "argument %zu of the command is not UTF-8", i + 1);
	return 0;
}

int args_parse(struct args *a, const struct cmd *cmd, int argc, char **argv, struct err *e)
{
	struct parse p = { .a = a, .argc = argc, .argv = argv, .e = e };
	size_t least, most = positionals(cmd, &least), letters = 1;
	bool ended = false;
	int r;

	for (int i = 0; i < argc; i++)
		letters += strlen(argv[i]) + 1;
	*a = (struct args){ .cmd = cmd };
	a->opts = calloc(letters, sizeof(*a->opts)); /* no more options than letters */
	a->pos = calloc((size_t)argc + 1, sizeof(*a->pos));
	if (!a->opts || !a->pos) {
		args_release(a);
		return err_set(e, ENOMEM, "out of memory");
	}
	for (p.i = 0; p.i < argc; p.i++) {
		r = parse_word(&p, most, &ended);
		if (a->help)
			return 0;
		if (r) {
			args_release(a);
			return r;
		}
	}
	r = check_counts(&p, most, least);
	if (!r)
		r = check_values(&p);
	if (r)
		args_release(a);
	return r;
}

void args_release(struct args *a)
{
	free(a->opts);
	free(a->pos);
	*a = (struct args){ .cmd = a->cmd };
}

const char *args_nth(const struct args *a, const char *name, size_t n)
{
	if (!find_long(a->cmd, name, strlen(name))) {
		fprintf(stderr, "bulkhead: bug: command '%s' has no option '%s'\n", a->cmd->name, name);
		abort();
	}
	for (size_t i = 0; i < a->nopts; i++)
		if (!strcmp(a->opts[i].opt->name, name) && n-- == 0)
			return a->opts[i].value ? a->opts[i].value : "";
	return NULL;
}

uint64_t args_number(const struct args *a, const char *name, uint64_t def)
{
	const char *v = args_get(a, name);
	uint64_t n;

	if (!v)
		return def;
	return find_long(a->cmd, name, strlen(name))->value == VALUE_SIZE ? (str_size(v, &n, NULL) < 0 ? def : n) :
	       str_u64(v, 0, UINT64_MAX, &n) < 0 ? def : n;
}

bool args_has(const struct args *a, const char *name)
{
	return args_nth(a, name, 0) != NULL;
}

const char *args_get(const struct args *a, const char *name)
{
	const char *v, *last = NULL;

	for (size_t n = 0; (v = args_nth(a, name, n)); n++)
		last = v;
	return last;
}
