/* SPDX-License-Identifier: Apache-2.0 */
/* apply, discard, undo: what a sandbox changed onto the host, away, and back again. */
#include <stdio.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/str.h"
#include "tui/cli/cli.h"
#include "tui/cli/cmds.h"
#include "tui/cli/out.h"
#include "tui/cli/pickhunks.h"
#include "tui/cli/select.h"

#define ITEMS_BYTES (512u << 10) /* of one request: a line of the protocol holds twice that */
#define WAIT_MS (30 * 60 * 1000) /* many large files, each waited for */

struct doing {
	struct client *c;
	const char *name;
	const char *method, *did; /* "changes.apply", "applied" */
	bool dry, json;
	bool links, setid;        /* such flags are taken */
	json_t *answers;          /* owned, with `json` */
	json_t *notes;            /* owned: by path, what is odd about what was asked for */
	json_t *ids;              /* owned: of the applies, the newest first */
	size_t done, left;
	size_t conflicts, marked, flagged;
};

static void begin(struct doing *d)
{
	d->c = cli_connect();
	d->answers = json_array();
	d->notes = json_object();
	d->ids = json_array();
}

static void end(struct doing *d)
{
	json_decref(d->answers);
	json_decref(d->notes);
	json_decref(d->ids);
	client_close(&d->c);
}

static void print_skipped(struct doing *d, const json_t *s)
{
	const char *kind = cli_str(s, "kind");

	d->conflicts += strcmp(kind, "conflict") == 0;
	d->marked += strcmp(kind, "mark") == 0;
	d->flagged += strcmp(kind, "flag") == 0;
	if (d->json)
		return;
	out_styled(stdout, STYLE_WARN, "left");
	fputs("      ", stdout);
	out_text(stdout, cli_str(s, "path"));
	fputs(": ", stdout);
	out_text(stdout, cli_str(s, "reason"));
	putchar('\n');
}

/* Takes r. */
static void heard(struct doing *d, json_t *r)
{
	const char *note;
	size_t i;
	json_t *v;

	json_array_foreach(json_object_get(r, d->did), i, v)
		if (!d->json) {
			out_styled(stdout, STYLE_GOOD, d->did);
			fputs(strlen(d->did) < 8 ? "   " : " ", stdout);
			out_text(stdout, json_string_value(v));
			if (*(note = cli_str(d->notes, json_string_value(v)))) {
				out_styled(stdout, STYLE_WARN, "  ");
				out_styled(stdout, STYLE_WARN, note);
			}
			putchar('\n');
		}
	json_array_foreach(json_object_get(r, "skipped"), i, v)
		print_skipped(d, v);
	if (json_is_true(json_object_get(r, "cut")))
		out_say("there are more than can be listed");
	d->done += (size_t)json_integer_value(json_object_get(r, "files"));
	d->left += (size_t)json_integer_value(json_object_get(r, "left"));
	if (*cli_str(r, "id"))
		json_array_insert_new(d->ids, 0, json_string(cli_str(r, "id")));
	if (d->json)
		json_array_append(d->answers, r);
	json_decref(r);
}

static int call(struct doing *d, json_t *params)
{
	struct err e = ERR_INIT;
	json_t *r = NULL;

	json_object_set_new(params, "dry_run", json_boolean(d->dry));
	if (client_call(d->c, d->method, params, WAIT_MS, &r, NULL, NULL, &e) < 0)
		return out_fail(&e);
	heard(d, r);
	return 0;
}

static int call_items(struct doing *d, const char *workspace, json_t *items)
{
	return call(d, json_pack("{s:s, s:s, s:O}", "name", d->name, "workspace", workspace, "items", items));
}

/* Where a link leads, as changes.diff tells it, and the digest that says so into the item. */
static int see_link(struct doing *d, const char *workspace, const char *path, json_t *item)
{
	json_t *diff = NULL, *line;
	size_t i;

	if (cli_call(d->c, "changes.diff", json_pack("{s:s, s:s, s:s}", "name", d->name, "workspace", workspace, "path", path), &diff) != 0)
		return 1;
	json_array_foreach(json_object_get(json_array_get(json_object_get(diff, "hunks"), 0), "lines"), i, line)
		if (strcmp(cli_str(line, "k"), "+") == 0)
			json_object_set_new(d->notes, path, json_sprintf("a link to %s", cli_str(line, "t")));
	json_object_set_new(item, "digest", json_string(cli_str(diff, "digest")));
	json_decref(diff);
	return 0;
}

/* An item of changes.apply: it takes those of its flags that the options say, and no flag that it had not when it was listed. */
static int item_of(struct doing *d, const char *workspace, const struct chosen *c, json_t **item)
{
	const char *path = cli_str(c->entry, "path"), *mark = cli_str(c->entry, "mark");
	json_t *flags = json_array(), *v;
	bool link = false;
	size_t i;

	*item = json_pack("{s:s, s:b}", "path", path, "named", (int)c->named);
	if (*mark)
		json_object_set_new(d->notes, path, json_string(mark));
	json_array_foreach(json_object_get(c->entry, "flags"), i, v) {
		const bool leads = str_starts(json_string_value(v), "symlink-");

		if (leads ? d->links : d->setid && strcmp(json_string_value(v), "setuid") == 0)
			json_array_append(flags, v);
		link = link || (leads && d->links);
		json_object_set(d->notes, path, v);
	}
	if (json_array_size(flags) > 0)
		json_object_set(*item, "flags", flags);
	json_decref(flags);
	return link ? see_link(d, workspace, path, *item) : 0;
}

/* As many requests as they need. */
static int call_chosen(struct doing *d, const struct selected *s)
{
	json_t *items = json_array();
	size_t bytes = 0;
	int code = 0;

	for (size_t i = 0; i < s->n && !code; i++) {
		const char *path = cli_str(s->c[i].entry, "path");

		json_t *item;

		code = item_of(d, s->workspace, &s->c[i], &item);
		json_array_append_new(items, item);
		bytes += 2 * strlen(path) + 256;
		if (!code && bytes > ITEMS_BYTES) {
			code = call_items(d, s->workspace, items);
			json_array_clear(items);
			bytes = 0;
		}
	}
	if (!code && json_array_size(items) > 0)
		code = call_items(d, s->workspace, items);
	json_decref(items);
	return code;
}

static int call_each(struct doing *d, const struct selection *s, bool all)
{
	int code = 0;

	for (size_t i = 0; i < s->n && !code; i++)
		if (all && s->ws[i].total > 0)
			code = call(d, json_pack("{s:s, s:s, s:b}", "name", d->name, "workspace", s->ws[i].workspace, "all", 1));
		else if (!all)
			code = call_chosen(d, &s->ws[i]);
	return code;
}

static int call_picked(struct doing *d, const struct selection *s)
{
	bool quit = false;
	int code = 0;

	for (size_t i = 0; i < s->n && !code && !quit; i++) {
		json_t *items = json_array();

		code = pick_interactively(d->c, d->name, &s->ws[i], items, &quit);
		if (!code && json_array_size(items) > 0)
			code = call_items(d, s->ws[i].workspace, items);
		json_decref(items);
	}
	return code;
}

static size_t chosen(const struct selection *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		n += s->ws[i].n;
	return n;
}

static const char *files(size_t n)
{
	return n == 1 ? "file" : "files";
}

/* ---- apply ------------------------------------------------------------------------------------------------------------------------------- */

static void sum_up(const struct doing *d)
{
	json_t *id;
	size_t i;

	if (d->json)
		return;
	fflush(stdout);
	fprintf(stderr, "%zu %s %sapplied", d->done, files(d->done), d->dry ? "would be " : "");
	if (d->left)
		fprintf(stderr, ", %zu left", d->left);
	json_array_foreach(d->ids, i, id)
		fprintf(stderr, "%s bulkhead undo %s %s", i ? "," : "; back with:", d->name, json_string_value(id));
	fputc('\n', stderr);
	if (d->marked)
		fprintf(stderr, "what would be run on the host is applied when it is named (bulkhead apply %s PATH) or seen (--patch)\n", d->name);
	if (d->flagged)
		fprintf(stderr, "what is odd is applied when it is seen (--patch), or named and of a kind that is asked for (--links, --setuid)\n");
	if (d->conflicts)
		fprintf(stderr, "what the host changed meanwhile is never overwritten; the dashboard's Diff view shows all three sides, 'bulkhead discard %s PATH' takes the host's\n", d->name);
}

static int do_apply(const struct args *a)
{
	const bool all = args_has(a, "all"), patch = args_has(a, "patch");
	struct doing d = { .name = a->pos[0], .method = "changes.apply", .did = "applied", .dry = args_has(a, "dry-run"), .json = args_has(a, "json"),
			   .links = args_has(a, "links"), .setid = args_has(a, "setuid") };
	struct selection s = { 0 };
	int code = 1;

	if ((all || patch) && (d.links || d.setid)) {
		out_say("--links and --setuid are of paths that are named");
		return EXIT_USAGE;
	}
	if (all ? a->npos > 1 || patch : a->npos == 1 && !patch) {
		out_say(all ? "either --all, or --patch, or paths" : "what is to be applied? name paths, choose with --patch, or say --all");
		return EXIT_USAGE;
	}
	begin(&d);
	if (d.c && select_changes(&s, d.c, d.name, a->pos + 1, a->npos - 1, 0) == 0) {
		code = patch ? call_picked(&d, &s) : call_each(&d, &s, all);
		if (d.json)
			out_json(d.answers, false);
		else if (chosen(&s) == 0)
			out_say("'%s' has changed nothing", d.name);
		else
			sum_up(&d);
		code = code || d.left > 0;
	}
	select_release(&s);
	end(&d);
	return code;
}

/* ---- discard ------------------------------------------------------------------------------------------------------------------------------ */

static bool sure(const struct args *a, const struct selection *s)
{
	const size_t n = chosen(s);

	if (args_has(a, "yes") || args_has(a, "dry-run") || n == 0)
		return true;
	if (!out_can_ask()) {
		out_say("discard throws away what '%s' did to %zu %s; say --yes to do it without being asked, or --dry-run to see which", a->pos[0], n, files(n));
		return false;
	}
	for (size_t i = 0, k = 0; i < s->n; i++)
		for (size_t j = 0; j < s->ws[i].n && k < 10; j++, k++) {
			fputs("  ", stderr);
			out_text(stderr, cli_str(s->ws[i].c[j].entry, "path"));
			fputc('\n', stderr);
		}
	if (n > 10)
		fprintf(stderr, "  and %zu more\n", n - 10);
	return out_ask("Throw away what '%s' did to %s? It cannot be had back.", a->pos[0], n == 1 ? "this file" : "these files");
}

static int do_discard(const struct args *a)
{
	const bool all = args_has(a, "all");
	struct doing d = { .name = a->pos[0], .method = "changes.discard", .did = "discarded", .dry = args_has(a, "dry-run"), .json = args_has(a, "json") };
	struct selection s = { 0 };
	int code = 1;

	if (all == (a->npos > 1)) {
		out_say(all ? "either --all or paths" : "what is to be discarded? name paths, or say --all");
		return EXIT_USAGE;
	}
	begin(&d);
	if (d.c && select_changes(&s, d.c, d.name, a->pos + 1, a->npos - 1, 0) == 0 && sure(a, &s)) {
		code = call_each(&d, &s, all);
		if (d.json)
			out_json(d.answers, false);
		else
			fprintf(stderr, "%zu %s %sdiscarded\n", d.done, files(d.done), d.dry ? "would be " : "");
		code = code || d.left > 0;
	}
	select_release(&s);
	end(&d);
	return code;
}

/* ---- undo --------------------------------------------------------------------------------------------------------------------------------- */

static int print_history(struct client *c, const struct args *a)
{
	json_t *r = NULL, *v;
	struct table t;
	size_t i;

	if (cli_call(c, "changes.history", json_pack("{s:s}", "name", a->pos[0]), &r) != 0)
		return 1;
	if (args_has(a, "json")) {
		out_json(r, false);
		json_decref(r);
		return 0;
	}
	table_init(&t, "ID AGE WHAT FILES> WORKSPACE NOW");
	json_array_foreach(json_object_get(r, "applies"), i, v) {
		char age[16], path[1100], now[64];

		const char *by = cli_str(v, "undone_by");

		out_age(age, sizeof(age), cli_str(v, "at"), clock_wall_ns() / 1000000000);
		out_path(path, sizeof(path), cli_str(v, "workspace"));
		snprintf(now, sizeof(now), *by ? "undone by %.20s" : "stands", by);
		table_add(&t, STYLE_NONE, "%s", cli_str(v, "id"));
		table_add(&t, STYLE_NONE, "%s", age);
		table_add(&t, STYLE_NONE, "%s%s%s", cli_str(v, "kind"), *cli_str(v, "of") ? " of " : "", cli_str(v, "of"));
		table_add(&t, STYLE_NONE, "%lld", (long long)json_integer_value(json_object_get(v, "files")));
		table_add(&t, STYLE_NONE, "%s", path);
		table_add(&t, *by ? STYLE_DIM : STYLE_NONE, "%s", now);
	}
	table_print(&t, stdout);
	json_decref(r);
	return 0;
}

static int undo_one(struct client *c, const struct args *a)
{
	json_t *params = json_pack("{s:s}", "name", a->pos[0]), *r = NULL, *v;
	struct err e = ERR_INIT;
	size_t i;

	if (a->npos > 1)
		json_object_set_new(params, "id", json_string(a->pos[1]));
	if (client_call(c, "changes.undo", params, WAIT_MS, &r, NULL, NULL, &e) < 0)
		return out_fail(&e);
	const long long left = (long long)json_integer_value(json_object_get(r, "left")), n = (long long)json_integer_value(json_object_get(r, "files"));
	if (args_has(a, "json")) {
		out_json(r, false);
	} else {
		struct doing d = { .did = "undone" };

		json_array_foreach(json_object_get(r, "undone"), i, v) {
			fputs("undone    ", stdout);
			out_text(stdout, json_string_value(v));
			putchar('\n');
		}
		json_array_foreach(json_object_get(r, "skipped"), i, v)
			print_skipped(&d, v);
		if (*cli_str(r, "why"))
			out_say("%s", cli_str(r, "why"));
		else
			fprintf(stderr, "apply %s undone: %lld %s as before\n", cli_str(r, "of"), n, files((size_t)n));
	}
	json_decref(r);
	return left > 0;
}

static int do_undo(const struct args *a)
{
	struct client *c = cli_connect();
	const int code = !c ? 1 : args_has(a, "list") ? print_history(c, a) : undo_one(c, a);

	client_close(&c);
	return code;
}

/* ---- tables ------------------------------------------------------------------------------------------------------------------------------- */

static const struct pos changes[] = { { .name = "NAME", .complete = COMPLETE_SANDBOX }, { .name = "PATH", .complete = COMPLETE_FILE, .flags = POS_OPTIONAL | POS_MANY }, POS_END };
static const struct pos undo_args[] = { { .name = "NAME", .complete = COMPLETE_SANDBOX }, { .name = "ID", .flags = POS_OPTIONAL }, POS_END };
static const struct opt apply_options[] = {
	{ .letter = 'a', .name = "all", .help = "every change but conflicts and those that must be named" },
	{ .letter = 'p', .name = "patch", .help = "look at each change and choose, hunk by hunk" },
	{ .letter = 'n', .name = "dry-run", .help = "only say what would be applied and what not" },
	{ .name = "links", .help = "also links that lead out of the workspace: says where each leads" },
	{ .name = "setuid", .help = "also setuid and setgid files, without those bits" },
	OPT_JSON, OPT_END,
};
static const struct opt discard_options[] = {
	{ .letter = 'a', .name = "all", .help = "every change" }, { .letter = 'n', .name = "dry-run", .help = "only say what would go" }, OPT_YES, OPT_JSON, OPT_END,
};
static const struct opt undo_options[] = { { .letter = 'l', .name = "list", .help = "what was applied and undone, the newest first" }, OPT_JSON, OPT_END };
static const struct example apply_examples[] = {
	{ "bulkhead apply blue src", "what it changed below src" }, { "bulkhead apply blue --patch", "hunk by hunk" }, { "bulkhead apply blue --all --dry-run", "what --all would do" },
	{ "bulkhead apply blue Makefile", "a file that would be run on the host, by name" }, { "bulkhead apply blue --links node", "a link to elsewhere, after it was looked at" },
	EXAMPLE_END,
};
static const struct example discard_examples[] = { { "bulkhead discard blue src/wrong.c", "one file back to what the host has" }, { "bulkhead discard blue --all", "everything" }, EXAMPLE_END };
static const struct example undo_examples[] = { { "bulkhead undo blue", "take the last apply back" }, { "bulkhead undo blue --list", "which there were" }, { "bulkhead undo blue 3", "a certain one, or an undo" }, EXAMPLE_END };

const struct cmd cmd_apply = {
	.name = "apply", .summary = "put what a sandbox changed onto the host", .group = GROUP_CHANGE, .args = changes, .options = apply_options, .examples = apply_examples, .exec = do_apply,
	.about = "Each file is written whole beside the old one and takes its place at once. What the host has changed since the change was first seen is a conflict and is "
		 "never overwritten. What would be run on the host (git hooks, Makefiles, editors' and agents' settings, CI, package scripts) is applied only "
		 "when it is named or was looked at with --patch; links that lead out of the workspace and setuid files only when they were looked at, or --links or --setuid asks "
		 "for them; devices and git's own directory never.\n\n"
		 "The exit status is 1 when something was left.",
};
const struct cmd cmd_discard = {
	.name = "discard", .summary = "throw away what a sandbox changed", .group = GROUP_CHANGE, .args = changes, .options = discard_options, .examples = discard_examples, .exec = do_discard,
	.about = "The sandbox then sees the host's files again.",
};
const struct cmd cmd_undo = {
	.name = "undo", .summary = "take an apply back", .group = GROUP_CHANGE, .args = undo_args, .options = undo_options, .examples = undo_examples, .exec = do_undo,
	.about = "Every file is as it was before, or, while one of them was changed since, none is touched. An undo can itself be undone, by its ID. The sandbox may be stopped.",
};
