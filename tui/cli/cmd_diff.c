/* SPDX-License-Identifier: Apache-2.0 */
/* diff: what a sandbox changed, as a patch, a summary or names. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/escape.h"
#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/base/utf8.h"
#include "tui/cli/cli.h"
#include "tui/cli/cmds.h"
#include "tui/cli/out.h"
#include "tui/cli/select.h"

#define PATHS_BYTES (384u << 10) /* of one request */
#define PATCH_MS (30 * 60 * 1000)
#define LEFT_SHOWN 10u
#define BAR 40u

struct diffing {
	struct client *c;
	const char *name;
	bool tty;
	size_t left;
};

/* ---- the patch -------------------------------------------------------------------------------------------------------------------------- */

static enum style style_of(const char *line, bool head)
{
	if (head)
		return STYLE_BOLD;
	return *line == '+' ? STYLE_GOOD : *line == '-' ? STYLE_BAD : *line == '@' ? STYLE_WARN : STYLE_NONE;
}

static int print_shown(FILE *f)
{
	char *line = NULL;
	size_t cap = 0;
	bool head = true;
	struct buf b;

	for (ssize_t n; (n = getline(&line, &cap, f)) > 0;) {
		const bool newline = line[n - 1] == '\n';

		if (strncmp(line, "diff --git ", 11) == 0)
			head = true;
		if (strncmp(line, "@@ ", 3) == 0)
			head = false;
		buf_init(&b, 4 * (size_t)n + 1);
		escape_line(&b, line, (size_t)n - newline);
		buf_u8(&b, '\0');
		if (buf_ok(&b))
			out_styled(stdout, style_of(line, head), (const char *)buf_head(&b));
		putchar('\n');
		buf_release(&b);
	}
	free(line);
	return ferror(f) ? -EIO : 0;
}

static int print_raw(FILE *f)
{
	char chunk[65536];

	for (size_t n; (n = fread(chunk, 1, sizeof(chunk), f)) > 0;)
		if (fwrite(chunk, 1, n, stdout) != n)
			return 0; /* out_close() says it */
	return ferror(f) ? -EIO : 0;
}

/* Takes fd. */
static int print_patch(const struct diffing *d, int fd)
{
	struct err e = ERR_INIT;
	FILE *f = lseek(fd, 0, SEEK_SET) == 0 ? fdopen(fd, "r") : NULL;

	if (!f) {
		close(fd);
		err_set(&e, EIO, "the patch cannot be read");
		return out_fail(&e);
	}
	const int r = d->tty ? print_shown(f) : print_raw(f);
	fclose(f);
	if (r == 0)
		return 0;
	err_errno(&e, -r, "the patch cannot be read");
	return out_fail(&e);
}

static int patch_of(struct diffing *d, const char *workspace, json_t *paths)
{
	json_t *params = json_pack("{s:s, s:s}", "name", d->name, "workspace", workspace), *r = NULL, *v;
	struct err e = ERR_INIT;
	int fd = -1;
	size_t i;

	if (paths)
		json_object_set(params, "paths", paths);
	if (client_call(d->c, "changes.patch", params, PATCH_MS, &r, &fd, NULL, &e) < 0)
		return out_fail(&e);
	const int code = fd < 0 ? 1 : print_patch(d, fd);
	json_array_foreach(json_object_get(r, "left"), i, v)
		if (d->left++ < LEFT_SHOWN)
			out_say("not in the patch: '%s': %s", cli_str(v, "path"), cli_str(v, "reason"));
	d->left += (size_t)json_integer_value(json_object_get(r, "left_out")) - json_array_size(json_object_get(r, "left"));
	json_decref(r);
	return code;
}

static int patch_chosen(struct diffing *d, const struct selected *s, bool all)
{
	json_t *paths = json_array();
	size_t bytes = 0;
	int code = 0;

	if (all)
		code = patch_of(d, s->workspace, NULL);
	for (size_t i = 0; !all && i < s->n && !code; i++) {
		const char *path = cli_str(s->c[i].entry, "path");

		json_array_append_new(paths, json_string(path));
		bytes += 2 * strlen(path) + 16;
		if (bytes > PATHS_BYTES || i + 1 == s->n) {
			code = patch_of(d, s->workspace, paths);
			json_array_clear(paths);
			bytes = 0;
		}
	}
	json_decref(paths);
	return code;
}

static int print_patches(struct diffing *d, const struct selection *s, bool all)
{
	size_t with = 0;
	int code = 0;

	for (size_t i = 0; i < s->n; i++)
		with += s->ws[i].n > 0;
	for (size_t i = 0; i < s->n && !code; i++) {
		if (s->ws[i].n == 0)
			continue;
		if (with > 1) { /* git skips what is no patch */
			fputs("# ", stdout);
			out_text(stdout, s->ws[i].workspace);
			putchar('\n');
		}
		code = patch_chosen(d, &s->ws[i], all);
	}
	if (d->left > LEFT_SHOWN)
		out_say("... and %zu more that are not in the patch", d->left - LEFT_SHOWN);
	return code;
}

/* ---- names and sums ------------------------------------------------------------------------------------------------------------------------ */

static char letter_of(const json_t *e)
{
	const char *kind = cli_str(e, "kind");

	return strcmp(kind, "added") == 0 ? 'A' : strcmp(kind, "deleted") == 0 ? 'D' : strcmp(kind, "renamed") == 0 ? 'R' : strcmp(kind, "type") == 0 ? 'T' : 'M';
}

static void print_path(const json_t *e)
{
	out_text(stdout, cli_str(e, "path"));
	if (strcmp(cli_str(e, "type"), "dir") == 0)
		putchar('/');
}

static void print_name(const char *prefix, const json_t *e)
{
	printf("%c\t", letter_of(e));
	if (*cli_str(e, "from")) {
		fputs(prefix, stdout);
		out_text(stdout, cli_str(e, "from"));
		putchar('\t');
	}
	fputs(prefix, stdout);
	print_path(e);
	putchar('\n');
}

static void print_notes(const json_t *e)
{
	const json_t *flags = json_object_get(e, "flags");
	size_t i;
	json_t *v;

	if (json_is_true(json_object_get(e, "conflict")))
		out_styled(stdout, STYLE_BAD, "  conflict: the host changed it too");
	if (*cli_str(e, "mark")) {
		out_styled(stdout, STYLE_WARN, "  would run on the host: ");
		out_text(stdout, cli_str(e, "mark"));
	}
	json_array_foreach((json_t *)(uintptr_t)flags, i, v) {
		out_styled(stdout, STYLE_WARN, "  ");
		out_text(stdout, json_string_value(v));
	}
}

static void print_bar(const json_t *e, json_int_t most)
{
	const json_t *add = json_object_get(e, "add"), *del = json_object_get(e, "del");
	char text[BAR + 1];
	const json_int_t a = json_integer_value(add), b = json_integer_value(del);

	if (json_is_true(json_object_get(e, "binary"))) {
		fputs("Bin", stdout);
		return;
	}
	if (!json_is_integer(add)) {
		fputs("?", stdout);
		return;
	}
	printf("%lld ", (long long)(a + b));
	const json_int_t scale = most > (json_int_t)BAR ? most : (json_int_t)BAR;
	for (int side = 0; side < 2; side++) {
		const json_int_t v = side ? b : a;
		size_t n = (size_t)(v * (json_int_t)BAR / scale);

		if (v > 0 && n == 0)
			n = 1;
		memset(text, side ? '-' : '+', n);
		text[n] = '\0';
		out_styled(stdout, side ? STYLE_BAD : STYLE_GOOD, text);
	}
}

static void print_stat(const struct selection *s)
{
	json_int_t most = 0, add = 0, del = 0;
	size_t wide = 0, files = 0;

	for (size_t i = 0; i < s->n; i++)
		for (size_t k = 0; k < s->ws[i].n; k++) {
			const json_t *e = s->ws[i].c[k].entry;
			const json_int_t a = json_integer_value(json_object_get(e, "add")), b = json_integer_value(json_object_get(e, "del"));
			const size_t w = utf8_columns(cli_str(e, "path"));

			files++;
			add += a;
			del += b;
			most = a + b > most ? a + b : most;
			wide = w > wide ? w : wide;
		}
	wide = wide > 80 ? 80 : wide;
	for (size_t i = 0; i < s->n; i++)
		for (size_t k = 0; k < s->ws[i].n; k++) {
			const json_t *e = s->ws[i].c[k].entry;
			const size_t w = utf8_columns(cli_str(e, "path"));

			printf(" %c ", letter_of(e));
			print_path(e);
			printf("%*s | ", w < wide ? (int)(wide - w) : 0, "");
			print_bar(e, most);
			print_notes(e);
			putchar('\n');
		}
	printf(" %zu %s changed, %lld %s(+), %lld %s(-)\n", files, files == 1 ? "file" : "files", (long long)add, add == 1 ? "insertion" : "insertions", (long long)del,
	       del == 1 ? "deletion" : "deletions");
}

static void print_names(const struct selection *s)
{
	for (size_t i = 0; i < s->n; i++) {
		AUTO_FREE char *prefix = s->n > 1 ? str_fmt("%s/", s->ws[i].workspace) : str_dup("");

		for (size_t k = 0; k < s->ws[i].n && prefix; k++)
			print_name(prefix, s->ws[i].c[k].entry);
	}
}

static void print_json(const struct selection *s)
{
	json_t *list = json_array();

	for (size_t i = 0; i < s->n; i++) {
		json_t *w = json_copy(json_array_get(s->lists, i)), *entries = json_array();

		for (size_t k = 0; k < s->ws[i].n; k++)
			json_array_append(entries, (json_t *)(uintptr_t)s->ws[i].c[k].entry);
		json_object_set_new(w, "entries", entries);
		json_array_append_new(list, w);
	}
	json_t *o = json_pack("{s:o}", "workspaces", list);
	out_json(o, false);
	json_decref(o);
}

/* Not all was told yet, or not all is told: a diff that is not whole says so. */
static void warn_of(const struct selection *s)
{
	size_t i;
	json_t *w;

	json_array_foreach(s->lists, i, w) {
		if (!json_is_true(json_object_get(w, "ready")))
			out_say("'%s': the sandbox has not told yet what it changed", cli_str(w, "path"));
		if (json_is_true(json_object_get(w, "truncated")))
			out_say("'%s': there are more changes than can be listed", cli_str(w, "path"));
	}
}

static int do_diff(const struct args *a)
{
	const bool stat = args_has(a, "stat"), names = args_has(a, "name-status"), json = args_has(a, "json");
	struct diffing d = { .c = cli_connect(), .name = a->pos[0], .tty = isatty(STDOUT_FILENO) };
	struct selection s = { 0 };
	int code = 1;

	if (stat + names + json > 1)
		out_say("only one of --stat, --name-status and --json can be given");
	else if (d.c && select_changes(&s, d.c, d.name, a->pos + 1, a->npos - 1, SELECT_LIVE | (stat || json ? SELECT_COUNTED : 0u)) == 0) {
		code = 0;
		warn_of(&s);
		if (json)
			print_json(&s);
		else if (stat)
			print_stat(&s);
		else if (names)
			print_names(&s);
		else
			code = print_patches(&d, &s, a->npos == 1);
		if (!code)
			code = out_close();
	}
	select_release(&s);
	client_close(&d.c);
	return code;
}

static const struct pos diff_args[] = { { .name = "NAME", .complete = COMPLETE_SANDBOX }, { .name = "PATH", .complete = COMPLETE_FILE, .flags = POS_OPTIONAL | POS_MANY }, POS_END };
static const struct opt diff_options[] = {
	{ .name = "stat", .help = "files with how many lines were added and removed, conflicts and marks" },
	{ .name = "name-status", .help = "letter and name: A added, M modified, D deleted, R renamed, T another type" },
	OPT_JSON, OPT_END,
};
static const struct example diff_examples[] = {
	{ "bulkhead diff blue", "everything it changed, as a patch" }, { "bulkhead diff blue --stat src", "a summary of what it changed below src" },
	{ "bulkhead diff blue | git apply --check", "the patch is one that git takes" }, EXAMPLE_END,
};

const struct cmd cmd_diff = {
	.name = "diff", .summary = "show what a sandbox changed", .group = GROUP_CHANGE, .args = diff_args, .options = diff_options, .examples = diff_examples, .exec = do_diff,
	.about = "Against the host's files as they are now; where the host changed a file since the sandbox did (a conflict), against what it was then, if that was kept. "
		 "On a terminal what could change the terminal is shown as \\ooo; elsewhere the bytes are as they are, and git applies them.\n\n"
		 "A patch holds files and links. Empty directories, devices and git's own directory are named on stderr instead; of git's own directory only what would be "
		 "run (hooks, configuration) counts as a change: commits come with 'bulkhead fetch'. In a workspace that is live the changes are on the host already: they "
		 "are shown against what was there when the sandbox was started.",
};
