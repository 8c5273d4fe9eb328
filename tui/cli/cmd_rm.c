/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "core/base/str.h"
#include "tui/cli/cli.h"
#include "tui/cli/cmds.h"
#include "tui/cli/lost.h"
#include "tui/cli/out.h"

static int do_rm(const struct args *a)
{
	const bool force = args_has(a, "force");
	struct client *c = cli_connect();
	int code = c ? 0 : 1;

	for (size_t i = 0; c && i < a->npos; i++) {
		char text[256];

		if (!force && out_can_ask() && (lost(c, a->pos[i], text, sizeof(text)) != 0 || !out_ask("Remove '%s'? Lost: %s.", a->pos[i], text)))
			code = 1;
		else if (cli_call(c, "sandbox.remove", json_pack("{s:s, s:b}", "name", a->pos[i], "force", force), NULL) != 0)
			code = 1;
	}
	client_close(&c);
	return code;
}

static int do_prune(const struct args *a)
{
	struct client *c = cli_connect();
	json_t *r = NULL;
	char human[16];
	int code = 1;

	if (!c || cli_call(c, "sandbox.prune", json_pack("{s:b}", "dry_run", 1), &r) != 0)
		goto out;
	const json_t *list = json_object_get(r, "removed");
	const size_t n = json_array_size(list);
	str_human(human, sizeof(human), (uint64_t)json_integer_value(json_object_get(r, "bytes")));
	code = 0;
	if (!args_has(a, "dry-run") && n > 0) {
		if (!args_has(a, "yes") && !out_can_ask()) {
			out_say("prune removes %zu sandboxes; say --yes to do it without being asked, or --dry-run to see which", n);
			code = 1;
			goto out;
		}
		if (!args_has(a, "yes") && !out_ask("Remove %zu stopped and failed sandboxes (%s) with everything on their disks?", n, human)) {
			code = 1;
			goto out;
		}
		json_decref(r);
		r = NULL;
		if (cli_call(c, "sandbox.prune", NULL, &r) != 0) {
			code = 1;
			goto out;
		}
		list = json_object_get(r, "removed");
	}
	if (args_has(a, "json")) {
		out_json(r, false);
	} else {
		for (size_t i = 0; i < json_array_size(list); i++)
			printf("%s\n", json_string_value(json_array_get(list, i)));
		fprintf(stderr, "%s%zu sandboxes, %s\n", args_has(a, "dry-run") ? "would remove " : "removed ", json_array_size(list), human);
	}
out:
	json_decref(r);
	client_close(&c);
	return code;
}

static const struct pos names[] = { { .name = "NAME", .complete = COMPLETE_SANDBOX, .flags = POS_MANY }, POS_END };
static const struct opt rm_options[] = { { .letter = 'f', .name = "force", .help = "also when it runs, and without being asked" }, OPT_END };
static const struct opt prune_options[] = { { .name = "dry-run", .help = "only say what would go" }, OPT_YES, OPT_JSON, OPT_END };
static const struct example rm_examples[] = { { "bulkhead rm blue", "a stopped one" }, { "bulkhead rm --force blue", "whatever it is doing" }, EXAMPLE_END };
static const struct example prune_examples[] = { { "bulkhead prune --dry-run", "what would be removed" }, EXAMPLE_END };
const struct cmd cmd_rm = { .name = "rm", .summary = "remove sandboxes with everything in them",
	.about = "A terminal is asked first, with what is lost: changes that were not applied, running containers, the disk. Without one it is not, as docker rm does "
		 "not ask: a stopped sandbox goes at once, one that runs needs --force.",
	 .group = GROUP_CHANGE, .args = names, .options = rm_options, .examples = rm_examples, .exec = do_rm };
const struct cmd cmd_prune = { .name = "prune", .summary = "remove all stopped and failed sandboxes", .group = GROUP_CHANGE, .options = prune_options, .examples = prune_examples, .exec = do_prune };
