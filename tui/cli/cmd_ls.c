/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/base/str.h"
#include "tui/cli/cli.h"
#include "tui/cli/cmds.h"
#include "tui/cli/out.h"

static enum style style_of(const char *state)
{
	if (strcmp(state, "running") == 0)
		return STYLE_GOOD;
	if (strcmp(state, "failed") == 0)
		return STYLE_BAD;
	return strcmp(state, "stopped") == 0 ? STYLE_DIM : STYLE_WARN;
}

static void row(struct table *t, const json_t *sb)
{
	char mem[16], disk[16], age[16], path[256];
	const char *state = cli_str(sb, "state");

	str_human(mem, sizeof(mem), (uint64_t)json_integer_value(json_object_get(sb, "memory")));
	str_human(disk, sizeof(disk), (uint64_t)json_integer_value(json_object_get(sb, "disk_used")));
	out_age(age, sizeof(age), cli_str(sb, strcmp(state, "stopped") == 0 ? "created" : "started"), (uint64_t)time(NULL));
	out_path(path, sizeof(path), cli_str(sb, "path"));
	table_add(t, STYLE_BOLD, "%s", cli_str(sb, "name"));
	table_add(t, STYLE_NONE, "%s", cli_str(sb, "kit"));
	table_add(t, style_of(state), "%s%s", state, json_is_true(json_object_get(sb, "waits")) ? " (waits)" : "");
	table_add(t, STYLE_NONE, "%s", cli_str(json_object_get(sb, "docker"), "state"));
	table_add(t, STYLE_NONE, "%lld", (long long)json_integer_value(json_object_get(sb, "cpus")));
	table_add(t, STYLE_NONE, "%s", mem);
	table_add(t, STYLE_NONE, "%s", disk);
	table_add(t, STYLE_NONE, "%s", age);
	table_add(t, STYLE_DIM, "%s", cli_str(sb, "backend"));
	table_add(t, STYLE_NONE, "%s", path[0] ? path : "-");
}

static int do_ls(const struct args *a)
{
	struct client *c = cli_connect();
	json_t *r = NULL;
	struct table t;

	if (!c || cli_list(c, "sandbox.list", "sandboxes", &r) != 0) {
		client_close(&c);
		return 1;
	}
	const json_t *list = json_object_get(r, "sandboxes");
	if (args_has(a, "json")) {
		out_json(r, false);
	} else if (json_array_size(list) == 0) {
		fprintf(stderr, "no sandboxes yet; 'bulkhead run' makes one of this directory\n");
	} else {
		table_init(&t, "NAME KIT STATE DOCKER CPUS> MEMORY> DISK> AGE> BACKEND PATH");
		for (size_t i = 0; i < json_array_size(list); i++)
			row(&t, json_array_get(list, i));
		table_print(&t, stdout);
		for (size_t i = 0; i < json_array_size(list); i++) {
			const json_t *sb = json_array_get(list, i);

			const char *state = cli_str(sb, "state"), *why = cli_str(sb, "reason");

			if (strcmp(state, "failed") == 0 || (strcmp(state, "paused") == 0 && *why)) /* paused by itself */
				fprintf(stderr, "%s %s: %s\n", cli_str(sb, "name"), state, why);
		}
	}
	json_decref(r);
	client_close(&c);
	return 0;
}

static const struct opt options[] = { OPT_JSON, OPT_END };
static const struct example examples[] = {
	{ "bulkhead ls", "all sandboxes and how they are" }, { "bulkhead ls --json | jq '.sandboxes[].name'", "for scripts" }, EXAMPLE_END,
};
const struct cmd cmd_ls = { .name = "ls", .summary = "list the sandboxes", .group = GROUP_LOOK, .options = options, .examples = examples, .exec = do_ls };
