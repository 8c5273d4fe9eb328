/* SPDX-License-Identifier: Apache-2.0 */
/* exec and attach: commands and terminals of a running sandbox. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/str.h"
#include "tui/cli/cli.h"
#include "tui/cli/cmds.h"
#include "tui/cli/out.h"
#include "tui/dashboard.h"

static int do_exec(const struct args *a)
{
	const bool tty = args_has(a, "tty");
	json_t *env = cli_env(a), *argv = json_array();
	struct client *c = env ? cli_connect() : NULL;

	if (!c)
		return EXIT_OURS;
	for (size_t i = 0; i < a->ntail; i++)
		json_array_append_new(argv, json_string(a->tail[i]));
	json_t *p = json_pack("{s:s, s:s, s:o, s:o}", "name", a->pos[0], "kind", tty ? "pty" : "exec", "argv", argv, "env", env);
	if (args_get(a, "user"))
		json_object_set_new(p, "user", json_string(args_get(a, "user")));
	if (args_get(a, "cwd"))
		json_object_set_new(p, "cwd", json_string(args_get(a, "cwd")));
	if (tty && (!isatty(0) || !isatty(1))) {
		json_decref(p);
		client_close(&c);
		out_say("-t needs a terminal for input and output; leave it out");
		return EXIT_USAGE;
	}
	const int code = tty ? cli_exec_tty(c, p) : cli_exec(c, p);
	client_close(&c);
	return code;
}

static bool has_session(const json_t *sb, uint64_t id)
{
	const json_t *list = json_object_get(sb, "sessions"), *s;
	size_t i;

	json_array_foreach(list, i, s)
		if ((uint64_t)json_integer_value(json_object_get(s, "id")) == id)
			return true;
	return false;
}

/* Is there something to look at? One that is on its way is waited for. */
static int check_attach(struct client *c, const char *name, uint64_t id)
{
	static const char *const up[] = { "running", "paused" };
	json_t *sb = NULL;
	int code = 1;

	if (cli_call(c, "sandbox.get", json_pack("{s:s}", "name", name), &sb) != 0)
		return 1;
	const char *state = cli_str(sb, "state");
	if (strcmp(state, "stopped") == 0 || strcmp(state, "stopping") == 0)
		out_say("sandbox '%s' is %s: 'bulkhead start %s' starts it", name, state, name);
	else if (strcmp(state, "failed") == 0)
		out_say("sandbox '%s' has failed: %s; 'bulkhead start %s' starts it again", name, cli_str(sb, "reason"), name);
	else if (id && !has_session(sb, id))
		out_say("sandbox '%s' has no session %llu; 'bulkhead ls --json' lists them", name, (unsigned long long)id);
	else
		code = cli_wait(c, name, up, 2, false, NULL);
	json_decref(sb);
	return code;
}

static int do_attach(const struct args *a)
{
	uint64_t id = 0;

	if (a->pos[1] && str_u64(a->pos[1], 1, UINT32_MAX, &id) < 0) {
		out_say("'%s' is no session's number; the dashboard and 'bulkhead ls --json' show them", a->pos[1]);
		return EXIT_USAGE;
	}
	if (!isatty(0) || !isatty(1)) {
		out_say("attach needs a terminal; 'bulkhead exec' runs commands without one");
		return EXIT_USAGE;
	}
	struct client *c = cli_connect();
	const int code = c ? check_attach(c, a->pos[0], id) : 1;

	client_close(&c);
	const struct dashboard_opts o = { .sandbox = a->pos[0], .session = (uint32_t)id, .attach_only = true };
	return code ? code : dashboard_run(&o);
}

static const struct pos exec_args[] = { { .name = "NAME", .complete = COMPLETE_SANDBOX }, POS_END };
static const struct opt exec_options[] = {
	{ .letter = 'i', .name = "interactive", .help = "take input (it always does; for those who are used to it)" },
	{ .letter = 't', .name = "tty", .help = "give it a terminal, in full screen; leave with ctrl-\\ d" },
	{ .letter = 'u', .name = "user", .arg = "USER", .help = "run as this user (default: agent)" },
	{ .letter = 'w', .name = "cwd", .arg = "DIR", .help = "start in this directory of the sandbox" },
	{ .letter = 'e', .name = "env", .arg = "K=V", .help = "set a variable (may be repeated)", .value = VALUE_ASSIGNMENT },
	OPT_END,
};
static const struct example exec_examples[] = {
	{ "bulkhead exec blue -- make test", "its output and exit status are the command's" },
	{ "bulkhead exec -it blue -- bash", "another shell" },
	{ "tar c . | bulkhead exec blue -- tar x -C /tmp", "bytes pass as they are" },
	EXAMPLE_END,
};
const struct cmd cmd_exec = {
	.name = "exec",
	.summary = "run a command in a running sandbox",
	.about = "Input, output and errors pass unchanged, except that output to a terminal is stripped of control characters. Interrupts are passed on; three "
		 "in a row give the command up. The exit status is the command's, 125 when bulkhead failed, 126 and 127 when the command could not be run or found.",
	.group = GROUP_RUN, .args = exec_args, .options = exec_options, .tail = TAIL_COMMAND, .examples = exec_examples, .exec = do_exec,
};

static const struct pos attach_args[] = {
	{ .name = "NAME", .complete = COMPLETE_SANDBOX }, { .name = "SESSION", .complete = COMPLETE_NONE, .flags = POS_OPTIONAL }, POS_END,
};
static const struct example attach_examples[] = { { "bulkhead attach blue", "its shell in full screen; ctrl-\\ d leaves it running" }, EXAMPLE_END };
const struct cmd cmd_attach = {
	.name = "attach", .summary = "open one terminal of a sandbox in full screen", .group = GROUP_RUN, .args = attach_args, .examples = attach_examples,
	.exec = do_attach,
};
