/* SPDX-License-Identifier: Apache-2.0 */
/* record: where the recordings of a sandbox's terminals are. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "tui/cli/cli.h"
#include "tui/cli/cmds.h"
#include "tui/cli/out.h"

/* The file it goes on in, after the one that was begun before it: it was changed at half of record_cap. */
static void print_paths(const char *path, const char *before)
{
	AUTO_FREE char *old = str_fmt("%s.1", path);

	if (old && access(old, F_OK) == 0)
		printf("%s%s\n", before, old);
	printf("%s%s\n", before, path);
}

static int one(struct client *c, const char *name, json_int_t id, const char *before, json_t *list)
{
	json_t *r = NULL;
	const int code = cli_call(c, "session.record", json_pack("{s:s,s:I}", "name", name, "session", id), &r);

	if (code == 0 && list)
		json_array_append_new(list, json_pack("{s:I,s:s}", "session", id, "path", cli_str(r, "path")));
	else if (code == 0)
		print_paths(cli_str(r, "path"), before);
	json_decref(r);
	return code;
}

static int all(struct client *c, const char *name, json_t *list)
{
	json_t *r = NULL;
	int code = cli_call(c, "sandbox.get", json_pack("{s:s}", "name", name), &r);
	const json_t *sessions = json_object_get(r, "sessions"), *s;
	size_t i;

	json_array_foreach(sessions, i, s) {
		char before[120];
		const json_int_t id = json_integer_value(json_object_get(s, "id"));

		if (strcmp(cli_str(s, "kind"), "pty"))
			continue;
		snprintf(before, sizeof(before), "%-5lld %-10.20s %-8s ", (long long)id, cli_str(s, "label"), cli_str(s, "state"));
		const int r1 = one(c, name, id, before, list); /* one without a recording is told of; the others are shown */
		code = r1 ? r1 : code;
	}
	json_decref(r);
	return code;
}

static int do_record(const struct args *a)
{
	const char *name = a->pos[0];
	json_t *list = args_has(a, "json") ? json_array() : NULL;
	struct client *c = NULL;
	uint64_t id = 0;
	int code = 1;

	if (a->pos[1] && str_u64(a->pos[1], 1, UINT32_MAX, &id) < 0) {
		out_say("'%s' is no number of a session; without one all are shown", a->pos[1]);
		code = EXIT_USAGE;
	} else if ((c = cli_connect())) {
		code = id ? one(c, name, (json_int_t)id, "", list) : all(c, name, list);
	}
	if (list && code == 0)
		out_json(list, false);
	json_decref(list);
	client_close(&c);
	return code;
}

static const struct pos words[] = { { .name = "NAME", .complete = COMPLETE_SANDBOX }, { .name = "SESSION", .flags = POS_OPTIONAL }, POS_END };
static const struct opt options[] = { OPT_JSON, OPT_END };
static const struct example examples[] = {
	{ "bulkhead record blue", "the recordings of its terminals, in asciinema's format" },
	{ "asciinema play \"$(bulkhead record blue 1 | tail -1)\"", "what happened in its first terminal" }, EXAMPLE_END,
};
const struct cmd cmd_record = { .name = "record", .summary = "show where the recordings of a sandbox's terminals are", .group = GROUP_LOOK, .args = words,
	.options = options, .examples = examples, .exec = do_record };
