/* SPDX-License-Identifier: Apache-2.0 */
/* run and create: a sandbox of a directory. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "core/base/utf8.h"
#include "tui/cli/cli.h"
#include "tui/cli/cmds.h"
#include "tui/cli/differs.h"
#include "tui/cli/out.h"
#include "tui/dashboard.h"

#define SIZE_OPTIONS \
	{ .letter = 'n', .name = "name", .arg = "NAME", .help = "name of the sandbox (default: made from the directory)" }, \
	{ .name = "cpus", .arg = "N", .help = "virtual CPUs, 1 to 16", .value = VALUE_NUMBER, .min = 1, .max = 16 }, \
	{ .letter = 'm', .name = "memory", .arg = "SIZE", .help = "memory, as 2G", .value = VALUE_SIZE }, \
	{ .name = "backend", .arg = "WHAT", .help = "machine to run it in: auto (default), kvm (our own) or qemu", \
	  .complete = COMPLETE_WORDS, .words = "auto kvm qemu" }, \
	{ .name = "disk", .arg = "SIZE", .help = "largest size of its disk, as 10G; it takes only what is used", .value = VALUE_SIZE }, \
	{ .name = "unattended", .help = "nobody is there to ask: deny what no rule allows" }, \
	{ .letter = 'e', .name = "env", .arg = "K=V", .help = "set a variable for everything that runs in it (may be repeated)", .value = VALUE_ASSIGNMENT }, \
	{ .name = "mode", .arg = "MODE", .help = "how PATH is seen: review (its own layer over it; the default), live, ro, clone (a git clone), none", .complete = COMPLETE_WORDS, \
	  .words = "review live ro clone none" }, \
	{ .letter = 'w', .name = "workspace", .arg = "PATH[:MODE]", .help = "another directory it sees, as review, ro, live or clone (may be repeated)", \
	  .complete = COMPLETE_DIR }, \
	{ .name = "exclude", .arg = "GLOB", .help = "names the sandbox does not see, as '*.key' or 'deploy/prod' (may be repeated)" }, \
	{ .name = "no-default-excludes", .help = "show it also what looks like secrets (.env*, private keys, ...)" }

/* "PATH[:MODE]": where the mode begins, NULL it has none. A path may hold colons. */
static const char *mode_of(const char *word)
{
	static const char *const modes[] = { "review", "ro", "live", "clone", "none" };
	const char *colon = strrchr(word, ':');

	for (size_t i = 0; colon && i < ARRAY_SIZE(modes); i++)
		if (strcmp(colon + 1, modes[i]) == 0)
			return colon + 1;
	return NULL;
}

/* What the words before the tail say. */
struct asked {
	const char *kit;       /* NULL: the default one */
	const char *path;      /* NULL: here */
	const char *mode;      /* NULL: the default one */
	size_t more;           /* words from here on are further workspaces */
	char text[PATH_MAX];   /* the path without its mode */
};

static bool is_path(const char *word)
{
	struct stat st;

	return strchr(word, '/') || mode_of(word) || stat(word, &st) == 0;
}

/* A kit's name, a path, or both, and further paths. A word with a '/' or a mode, or one that is a directory but no kit, is a path. */
static int split(struct client *c, const struct args *a, struct asked *q)
{
	json_t *r = NULL;
	bool is_kit = false;

	*q = (struct asked){ .kit = NULL };
	if (cli_call(c, "kit.list", NULL, &r) != 0)
		return 1;
	for (size_t k = 0; a->npos > 0 && k < json_array_size(json_object_get(r, "kits")); k++)
		is_kit |= strcmp(cli_str(json_array_get(json_object_get(r, "kits"), k), "name"), a->pos[0]) == 0;
	json_decref(r);
	if (a->npos > 0 && (is_kit || !is_path(a->pos[0])))
		q->kit = a->pos[q->more++];
	if (q->more < a->npos) {
		const char *word = a->pos[q->more++];

		q->mode = mode_of(word);
		snprintf(q->text, sizeof(q->text), "%.*s", (int)(q->mode ? q->mode - word - 1 : (ptrdiff_t)strlen(word)), word);
		q->path = q->text;
	}
	return 0;
}

/* Directories, their modes, and what of them is not seen. */
static bool add_workspace(json_t *list, const char *word)
{
	const char *m = mode_of(word);
	AUTO_FREE char *path = m ? str_fmt("%.*s", (int)(m - word - 1), word) : str_dup(word);
	struct err e = ERR_INIT;
	AUTO_FREE char *real = path ? path_real_dir(path, &e) : NULL;

	if (!real)
		out_fail(&e);
	else if (!utf8_valid(real))
		out_say("cannot use directory '%s': its path is not UTF-8", real);
	return real && json_array_append_new(list, json_pack("{s:s, s:s}", "path", real, "mode", m ? m : "review")) == 0;
}

static bool add_workspaces(const struct args *a, const struct asked *q, json_t *p)
{
	json_t *more = json_array(), *hide = json_array();
	const char *word;
	bool ok = true;

	for (size_t i = 0; ok && (word = args_nth(a, "workspace", i)); i++)
		ok = add_workspace(more, word);
	for (size_t i = q->more; ok && i < a->npos; i++)
		ok = add_workspace(more, a->pos[i]);
	for (size_t i = 0; (word = args_nth(a, "exclude", i)); i++)
		json_array_append_new(hide, json_string(word));
	const char *mode = args_get(a, "mode") ? args_get(a, "mode") : q->mode;
	if (mode)
		json_object_set_new(p, "mode", json_string(mode));
	json_object_set_new(p, "workspaces", more);
	json_object_set_new(p, "exclude", hide);
	json_object_set_new(p, "exclude_default", json_boolean(!args_has(a, "no-default-excludes")));
	return ok;
}

/* Parameters of sandbox.create; NULL after saying why. */
static json_t *create_params(const struct args *a, const struct asked *q)
{
	struct err e = ERR_INIT;
	json_t *p = json_object(), *env = cli_env(a);
	static const char *const numbers[] = { "cpus", "memory", "disk" };
	AUTO_FREE char *real = path_real_dir(q->path ? q->path : ".", &e);

	if (!real)
		out_fail(&e);
	if (!env || !real)
		goto fail;
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		if (args_has(a, numbers[i]))
			json_object_set_new(p, numbers[i], json_integer((json_int_t)args_number(a, numbers[i], 0)));
	if (args_has(a, "unattended"))
		json_object_set_new(p, "unattended", json_true());
	if (q->kit)
		json_object_set_new(p, "kit", json_string(q->kit));
	if (args_get(a, "backend"))
		json_object_set_new(p, "backend", json_string(args_get(a, "backend")));
	if (args_get(a, "name"))
		json_object_set_new(p, "name", json_string(args_get(a, "name")));
	if (json_object_set_new(p, "path", json_string(real)) < 0) {
		out_say("cannot use directory '%s': its path is not UTF-8", real);
		goto fail;
	}
	json_object_set_new(p, "env", env);
	if (!add_workspaces(a, q, p)) {
		json_decref(p);
		return NULL;
	}
	return p;
fail:
	json_decref(env);
	json_decref(p);
	return NULL;
}

/* ---- create ---------------------------------------------------------------------------------------------------------------------------- */

static int do_create(const struct args *a)
{
	struct asked q;
	json_t *sb = NULL;
	struct client *c = cli_connect();
	int r = c ? split(c, a, &q) : 1;
	json_t *p = r == 0 ? create_params(a, &q) : NULL;

	r = p ? cli_call(c, "sandbox.create", p, &sb) : 1;
	if (r == 0 && args_has(a, "json"))
		out_json(sb, false);
	else if (r == 0)
		printf("%s\n", cli_str(sb, "name"));
	json_decref(sb);
	client_close(&c);
	return r;
}

/* ---- run --------------------------------------------------------------------------------------------------------------------------------- */

/* The sandbox that is there for the directory of `p` (or of the name in it), whole; NULL there is none. */
static int existing(struct client *c, const json_t *p, json_t **sb)
{
	const char *name = cli_str(p, "name");
	json_t *r = NULL;
	int code = 0;

	*sb = NULL;
	if (cli_call(c, "sandbox.find", json_pack("{s:s}", "path", cli_str(p, "path")), &r) != 0)
		return 1;
	const json_t *list = json_object_get(r, "sandboxes"), *one;
	size_t i;

	json_array_foreach(list, i, one) {
		if (*name && strcmp(cli_str(one, "name"), name) != 0)
			continue;
		code = cli_call(c, "sandbox.get", json_pack("{s:s}", "name", cli_str(one, "name")), sb);
		break;
	}
	json_decref(r);
	return code;
}

enum use { USE_IT, MAKE_ANOTHER, USE_NONE };

/* Is the one that is there to be used? Without a terminal it is, and that is said; not where something else was asked for than it is. */
static enum use reuse(const json_t *sb, const json_t *p, const struct args *a)
{
	const char *name = cli_str(sb, "name");
	char text[600], line[16];
	const bool other = differs(text, sizeof(text), p, sb);

	if (!args_get(a, "name") && !args_has(a, "yes") && out_can_ask()) {
		fprintf(stderr, "This directory has a sandbox already: '%s'%s%s%s. [u]se it or make a [n]ew one? [U/n] ", name, other ? " (" : "", text,
			other ? ")" : "");
		return fgets(line, sizeof(line), stdin) && (line[0] == 'n' || line[0] == 'N') ? MAKE_ANOTHER : USE_IT;
	}
	if (other) {
		out_say("sandbox '%s' is not as asked (%s); leave that out to use it as it is, or give another --name", name, text);
		return USE_NONE;
	}
	if (!args_get(a, "name"))
		fprintf(stderr, "bulkhead: using sandbox '%s' of this directory\n", name);
	return USE_IT;
}

/* A supervisor that was replaced meanwhile gave the lease up: the next one is asked. */
static int finish(struct client *c, const char *name, bool remove, int code)
{
	struct err e = ERR_INIT;
	int why = 0;

	for (int tries = 0; remove && tries < 2; tries++) {
		if (!c && client_connect(&c, "cli", true, &e) < 0)
			break;
		if (client_call(c, "sandbox.remove", json_pack("{s:s, s:b}", "name", name, "force", 1), 60000, NULL, NULL, &why, &e) == 0 ||
		    why == CLIENT_NOT_FOUND || why == CLIENT_BUSY) /* it is gone, or goes, by itself */
			remove = false;
		client_close(&c);
	}
	client_close(&c);
	if (remove)
		out_say("sandbox '%s' is not removed: %s", name, e.msg);
	return remove && code == 0 ? EXIT_OURS : code;
}

static int run_command(struct client *c, const char *name, const struct args *a, json_t *env)
{
	json_t *argv = json_array();
	const bool tty = isatty(0) && isatty(1);

	for (size_t i = 0; i < a->ntail; i++)
		json_array_append_new(argv, json_string(a->tail[i]));
	json_t *p = json_pack("{s:s, s:s, s:o, s:O}", "name", name, "kind", tty ? "pty" : "exec", "argv", argv, "env", env);
	return tty ? cli_exec_tty(c, p) : cli_exec(c, p);
}

/* The sandbox to run in: the one that is there or a new one; its name into dst. Takes p. */
static int take_or_make(struct client *c, const struct args *a, json_t *p, char *dst, size_t cap)
{
	json_t *sb = NULL;
	enum use use = MAKE_ANOTHER;

	if (args_has(a, "rm")) {
		json_object_set_new(p, "remove_on_stop", json_true());
		json_object_set_new(p, "lease", json_true());
	} else if (existing(c, p, &sb) != 0) {
		use = USE_NONE;
	} else if (sb) {
		json_t *asked = json_copy(p);

		if (a->ntail) /* the command gets them */
			json_object_del(asked, "env");
		use = reuse(sb, asked, a);
		json_decref(asked);
	}
	if (use == MAKE_ANOTHER) {
		json_decref(sb);
		sb = NULL;
		if (cli_call(c, "sandbox.create", json_incref(p), &sb) != 0)
			use = USE_NONE;
	}
	str_copy(dst, cap, cli_str(sb, "name"));
	json_decref(sb);
	json_decref(p);
	return use == USE_NONE ? 1 : 0;
}

static int do_run(const struct args *a)
{
	struct asked q;
	char name[NAME_MAX_LEN + 1] = "";

	if (args_has(a, "rm") && !a->ntail && (!isatty(0) || !isatty(1))) {
		out_say("--rm without a command needs a terminal: nothing would run before it is removed");
		return EXIT_USAGE;
	}
	struct client *c = cli_connect();
	json_t *p = c && split(c, a, &q) == 0 ? create_params(a, &q) : NULL, *env = json_incref(json_object_get(p, "env"));
	const bool remove = args_has(a, "rm");
	int code = a->ntail ? EXIT_OURS : 1;

	if (!p || take_or_make(c, a, p, name, sizeof(name)) != 0) {
		client_close(&c);
	} else if (cli_start(c, name, remove) != 0) {
		code = finish(c, name, remove, code);
	} else if (a->ntail) {
		code = finish(c, name, remove, run_command(c, name, a, env));
	} else if (!isatty(0) || !isatty(1)) {
		printf("%s\n", name); /* nobody to show a dashboard to */
		code = finish(c, name, remove, 0);
	} else {
		const struct dashboard_opts o = { .sandbox = name };

		code = finish(c, name, remove, dashboard_run(&o));
	}
	json_decref(env);
	return code;
}

static const struct pos positionals[] = {
	{ .name = "KIT", .complete = COMPLETE_KIT_OR_DIR, .flags = POS_OPTIONAL }, { .name = "PATH[:MODE]", .complete = COMPLETE_DIR, .flags = POS_OPTIONAL | POS_MANY }, POS_END,
};
static const struct opt run_options[] = {
	SIZE_OPTIONS,
	{ .name = "rm", .help = "remove the sandbox with everything in it afterwards, however this command ends" },
	OPT_YES,
	OPT_END,
};
static const struct example run_examples[] = {
	{ "bulkhead run", "a sandbox of this directory, in the dashboard" },
	{ "bulkhead run --rm shell -- uname -r", "one command in a fresh sandbox; its exit status is the command's" },
	{ "bulkhead run --cpus 4 --memory 8G shell ~/src/shop", "a larger one of another directory" },
	{ "bulkhead run --mode clone", "it works in a git clone; 'bulkhead fetch' brings its commits" },
	{ "bulkhead run ~/src/shop:live ~/src/lib:ro", "it writes one directory at once, and reads another" },
	EXAMPLE_END,
};
const struct cmd cmd_run = {
	.name = "run",
	.summary = "start a sandbox of a directory and open it",
	.about = "Makes a sandbox (or takes the one this directory has), starts it, and opens the dashboard on it. With a command after '--' it runs that "
		 "instead, on a terminal in full screen, else with plain input and output, and exits with its status.\n\nWithout PATH it is the current "
		 "directory's. What runs inside sees the directory under the same path; as long as its mode is 'review' what it writes there lands in a layer "
		 "of its own and the host's files stay as they are. Names that look like secrets (.env, private keys) are not shown to it. The guest image is built first when there is none.",
	.group = GROUP_RUN, .args = positionals, .options = run_options, .tail = TAIL_DASHES, .examples = run_examples, .exec = do_run,
};

static const struct opt create_options[] = { SIZE_OPTIONS, OPT_JSON, OPT_END };
static const struct example create_examples[] = { { "bulkhead create --name blue shell .", "make it now, start it later" }, EXAMPLE_END };
const struct cmd cmd_create = {
	.name = "create", .summary = "make a sandbox without starting it", .group = GROUP_RUN, .args = positionals, .options = create_options,
	.examples = create_examples, .exec = do_create,
};
