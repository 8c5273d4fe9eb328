/* SPDX-License-Identifier: Apache-2.0 */
/* start, stop, pause, resume, kill, reset: each asks for it and waits until it is so. */
#include <stdio.h>
#include <string.h>

#include "core/base/str.h"
#include "tui/cli/cli.h"
#include "tui/cli/cmds.h"
#include "tui/cli/lost.h"
#include "tui/cli/out.h"

/* Does it for every NAME; the first failure is the exit code, the others are done all the same. */
static int each(const struct args *a, int (*fn)(struct client *c, const char *name, const struct args *a))
{
	struct client *c = cli_connect();
	int code = c ? 0 : 1;

	for (size_t i = 0; c && i < a->npos; i++)
		if (fn(c, a->pos[i], a) != 0)
			code = 1;
	client_close(&c);
	return code;
}

static int change(struct client *c, const char *name, const char *method, json_t *more, const char *state)
{
	json_t *p = more ? more : json_object();

	json_object_set_new(p, "name", json_string(name));
	return cli_call(c, method, p, NULL) != 0 ? 1 : cli_wait(c, name, &state, 1, false, NULL);
}

static int one_start(struct client *c, const char *name, const struct args *a)
{
	static const char *const running[] = { "running" };

	if (cli_start(c, name, false) != 0)
		return 1;
	return args_has(a, "docker") ? cli_wait(c, name, running, 1, true, NULL) : 0;
}

static int one_stop(struct client *c, const char *name, const struct args *a)
{
	json_t *p = json_object();

	if (args_has(a, "time"))
		json_object_set_new(p, "deadline_ms", json_integer((json_int_t)args_number(a, "time", 0) * 1000));
	return change(c, name, "sandbox.stop", p, "stopped");
}

static int one_pause(struct client *c, const char *name, const struct args *a) { (void)a; return change(c, name, "sandbox.pause", NULL, "paused"); }
static int one_resume(struct client *c, const char *name, const struct args *a) { (void)a; return change(c, name, "sandbox.resume", NULL, "running"); }
static int one_kill(struct client *c, const char *name, const struct args *a) { (void)a; return change(c, name, "sandbox.kill", NULL, "stopped"); }

static int one_reset(struct client *c, const char *name, const struct args *a)
{
	static const char *const ends[] = { "running", "stopped" };

	char text[256];

	if (!args_has(a, "yes")) {
		if (lost(c, name, text, sizeof(text)) != 0)
			return 1;
		if (!out_can_ask()) {
			out_say("reset of sandbox '%s' loses %s; say --yes to do it without being asked", name, text);
			return 1;
		}
		if (!out_ask("Reset '%s'? Lost: %s.", name, text))
			return 1;
	}
	if (cli_call(c, "sandbox.reset", json_pack("{s:s}", "name", name), NULL) != 0)
		return 1;
	return cli_wait(c, name, ends, 2, false, NULL);
}

static int do_start(const struct args *a) { return each(a, one_start); }
static int do_stop(const struct args *a) { return each(a, one_stop); }
static int do_pause(const struct args *a) { return each(a, one_pause); }
static int do_resume(const struct args *a) { return each(a, one_resume); }
static int do_kill(const struct args *a) { return each(a, one_kill); }
static int do_reset(const struct args *a) { return each(a, one_reset); }

static const struct pos names[] = { { .name = "NAME", .complete = COMPLETE_SANDBOX, .flags = POS_MANY }, POS_END };
static const struct opt start_options[] = { { .name = "docker", .help = "wait until docker is ready too" }, OPT_END };
static const struct opt stop_options[] = { { .letter = 't', .name = "time", .arg = "SECONDS", .help = "force it after so long (default 10)", .value = VALUE_NUMBER, .max = 600 }, OPT_END };
static const struct opt yes[] = { OPT_YES, OPT_END };
#define EXAMPLE(id, line, what) static const struct example id[] = { { line, what }, EXAMPLE_END }
EXAMPLE(start_examples, "bulkhead start blue", "boot it; its disk is as it was");
EXAMPLE(stop_examples, "bulkhead stop blue green", "shut them down in order");
EXAMPLE(pause_examples, "bulkhead pause blue", "its processors stand still, its memory stays");
EXAMPLE(resume_examples, "bulkhead resume blue", "go on where it was paused");
EXAMPLE(kill_examples, "bulkhead kill blue", "at once, as if its power were cut");
EXAMPLE(reset_examples, "bulkhead reset --yes blue", "back to a clean disk; running ones boot again");

const struct cmd cmd_start = { .name = "start", .summary = "start a stopped sandbox", .group = GROUP_CHANGE, .args = names, .options = start_options, .examples = start_examples, .exec = do_start };
const struct cmd cmd_stop = { .name = "stop", .summary = "shut a sandbox down, keeping its disk", .group = GROUP_CHANGE, .args = names, .options = stop_options, .examples = stop_examples, .exec = do_stop };
const struct cmd cmd_pause = { .name = "pause", .summary = "freeze a running sandbox", .group = GROUP_CHANGE, .args = names, .examples = pause_examples, .exec = do_pause };
const struct cmd cmd_resume = { .name = "resume", .summary = "let a paused sandbox go on", .group = GROUP_CHANGE, .args = names, .examples = resume_examples, .exec = do_resume };
const struct cmd cmd_kill = { .name = "kill", .summary = "end a sandbox at once", .group = GROUP_CHANGE, .args = names, .examples = kill_examples, .exec = do_kill };
const struct cmd cmd_reset = { .name = "reset", .summary = "give a sandbox a clean disk", .group = GROUP_CHANGE, .args = names, .options = yes, .examples = reset_examples, .exec = do_reset };
