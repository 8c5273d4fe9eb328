/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot, restore: everything a sandbox is at one moment, and back to it. */
#include <stdio.h>
#include <string.h>

#include "core/base/str.h"
#include "tui/cli/cli.h"
#include "tui/cli/cmds.h"
#include "tui/cli/out.h"

static int do_snapshot(const struct args *a)
{
	struct client *c = cli_connect();
	json_t *sb = NULL;
	json_int_t bytes = 0;
	char size[16];

	if (!c)
		return 1;
	/* A machine's memory is written first: however long that takes. */
	const int r = cli_call(c, "sandbox.snapshot", json_pack("{s:s}", "name", a->pos[0]), &sb);
	client_close(&c);
	if (r != 0)
		return 1;
	json_unpack(sb, "{s:{s:I}}", "snapshot", "bytes", &bytes);
	str_human(size, sizeof(size), (uint64_t)bytes);
	printf("%s: %s\n", a->pos[0], size);
	json_decref(sb);
	return 0;
}

/* When its snapshot was made, as the supervisor wrote it; "" when it has none. */
static int made(struct client *c, const char *name, char *when, size_t cap)
{
	const char *created = NULL;
	json_t *sb = NULL;

	*when = '\0';
	if (cli_call(c, "sandbox.get", json_pack("{s:s}", "name", name), &sb) != 0)
		return 1;
	if (json_unpack(sb, "{s:{s:s}}", "snapshot", "created", &created) == 0)
		str_copy(when, cap, created);
	json_decref(sb);
	return 0;
}

static int restore(struct client *c, const char *name, bool yes)
{
	static const char *const running[] = { "running" };
	char when[64];

	if (!yes) {
		if (!out_can_ask()) {
			out_say("restore throws away what sandbox '%s' did since its snapshot; say --yes to do it without being asked", name);
			return 1;
		}
		if (made(c, name, when, sizeof(when)) != 0)
			return 1;
		if (*when && !out_ask("Restore '%s'? What it did since %s is lost.", name, when))
			return 1;
	}
	if (cli_call(c, "sandbox.restore", json_pack("{s:s}", "name", name), NULL) != 0)
		return 1;
	return cli_wait(c, name, running, 1, false, NULL);
}

static int do_restore(const struct args *a)
{
	struct client *c = cli_connect();
	const int r = c ? restore(c, a->pos[0], args_has(a, "yes")) : 1;

	client_close(&c);
	return r;
}

static const struct pos name[] = { { .name = "NAME", .complete = COMPLETE_SANDBOX }, POS_END };
static const struct opt yes[] = { OPT_YES, OPT_END };
static const struct example snapshot_examples[] = { { "bulkhead snapshot blue", "before something that may go wrong" }, EXAMPLE_END };
static const struct example restore_examples[] = { { "bulkhead restore blue", "back to that moment, at once" }, EXAMPLE_END };

const struct cmd cmd_snapshot = { .name = "snapshot", .summary = "keep what a running sandbox is now", .group = GROUP_CHANGE,
	.about = "Memory, processors and disk, in its state directory; it stands still while they are copied and goes on. There is one snapshot a "
		 "sandbox: a new one takes the place of the old, 'reset' and 'rm' remove it. Only for sandboxes of bulkhead's own machine (kvm).",
	.args = name, .examples = snapshot_examples, .exec = do_snapshot };
const struct cmd cmd_restore = { .name = "restore", .summary = "let a sandbox go on from its snapshot", .group = GROUP_CHANGE,
	.about = "Disk and memory are as they were, and what ran then runs on: containers, servers, whatever was in the background. Connections of that "
		 "time have ended: terminals and 'exec' commands are hung up, new ones can be opened at once. What the sandbox did since is "
		 "lost, unapplied changes too; directories of the host stay as they are. A snapshot that this host or version cannot run is refused, and the disk of now stays.",
	.args = name, .options = yes, .examples = restore_examples, .exec = do_restore };
