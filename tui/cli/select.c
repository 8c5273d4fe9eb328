/* SPDX-License-Identifier: Apache-2.0 */
#include "tui/cli/select.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/escape.h"
#include "core/base/str.h"
#include "tui/cli/cli.h"
#include "tui/cli/out.h"

#define PAGE 1000u
#define LIST_MS 120000 /* contents may have to be looked at first */
#define PATHS_MAX 1000u
#define SHOWN_MAX (4u * PATH_MAX)

/* A PATH of the command line, as names below one workspace are written. */
struct wanted { const char *workspace; char text[SHOWN_MAX]; bool found; };

/* All pages of a workspace's list, into one. */
static int fetch_one(struct client *c, const char *name, const char *workspace, unsigned flags, json_t *all)
{
	for (size_t from = 0;;) {
		struct err e = ERR_INIT;
		json_t *r = NULL;

		if (client_call(c, "changes.list", json_pack("{s:s, s:s, s:I, s:I, s:b}", "name", name, "workspace", workspace, "from", (json_int_t)from, "limit",
							      (json_int_t)PAGE, "stat", (int)(from == 0 && (flags & SELECT_COUNTED))), LIST_MS, &r, NULL, NULL, &e) < 0)
			return out_fail(&e);
		json_t *w = json_array_get(json_object_get(r, "workspaces"), 0);
		json_t *entries = json_object_get(w, "entries");
		const size_t n = json_array_size(entries);

		if (from == 0) {
			json_array_append(all, w);
		} else {
			json_t *last = json_array_get(all, json_array_size(all) - 1);

			json_array_extend(json_object_get(last, "entries"), entries);
		}
		from += n;
		const bool more = n > 0 && from < (size_t)json_integer_value(json_object_get(w, "total"));
		json_decref(r);
		if (!more)
			return 0;
	}
}

static int fetch(struct client *c, const char *name, unsigned flags, json_t **lists)
{
	json_t *sb = NULL;
	size_t i;
	json_t *w;
	int code = 0;
	bool clone = false;

	*lists = json_array();
	if (cli_call(c, "sandbox.get", json_pack("{s:s}", "name", name), &sb) != 0)
		return 1;
	json_array_foreach(json_object_get(sb, "workspaces"), i, w) {
		clone |= strcmp(cli_str(w, "mode"), "clone") == 0;
		if (!code && (strcmp(cli_str(w, "mode"), "review") == 0 || ((flags & SELECT_LIVE) && strcmp(cli_str(w, "mode"), "live") == 0)))
			code = fetch_one(c, name, cli_str(w, "path"), flags, *lists);
	}
	if (!code && json_array_size(*lists) == 0) {
		if (clone)
			out_say("'%s' has a git clone: 'bulkhead fetch %s' brings what is committed in it", name, name);
		else
			out_say("'%s' has no workspace in mode review%s", name, flags & SELECT_LIVE ? " or live" : ": nothing waits to be applied");
		code = 1;
	}
	json_decref(sb);
	return code;
}

/* What follows `dir` in path; NULL: it does not lie there. "" is dir itself. */
static const char *below(const char *path, const char *dir)
{
	const size_t n = strlen(dir);

	return strncmp(path, dir, n) != 0 || (path[n] && path[n] != '/') ? NULL : path[n] ? path + n + 1 : path + n;
}

static const char *workspace_of(const json_t *lists, const char *path)
{
	size_t i;
	json_t *w;

	json_array_foreach((json_t *)(uintptr_t)lists, i, w)
		if (below(path, cli_str(w, "path")))
			return cli_str(w, "path");
	return NULL;
}

/* "." and ".." by their letters, in place: the sandbox's names need not exist here. */
static void tidy(char *path)
{
	char *to = path;

	for (const char *at = path; *at;) {
		at += strspn(at, "/");
		const size_t n = strcspn(at, "/");

		if (n == 2 && at[0] == '.' && at[1] == '.') {
			while (to > path && *--to != '/')
				;
		} else if (n > 0 && !(n == 1 && at[0] == '.')) {
			*to++ = '/';
			memmove(to, at, n);
			to += n;
		}
		at += n;
	}
	*to = '\0';
}

static int resolve(struct wanted *w, const json_t *lists, const char *word)
{
	char cwd[PATH_MAX], whole[2 * PATH_MAX];
	const bool here = *word != '/' && getcwd(cwd, sizeof(cwd)) && workspace_of(lists, cwd);
	const char *base = *word == '/' ? "" : here ? cwd : json_array_size(lists) == 1 ? cli_str(json_array_get(lists, 0), "path") : NULL;

	if (!base || strlen(word) >= PATH_MAX) {
		out_say(base ? "'%.100s' is too long" : "'%s' could be in several workspaces: give the whole path", word);
		return 1;
	}
	snprintf(whole, sizeof(whole), "%s/%s", base, word);
	tidy(whole);
	if (!(w->workspace = workspace_of(lists, whole))) {
		out_say("'%s' lies in no workspace whose changes are kept apart", word);
		return 1;
	}
	const char *rest = below(whole, w->workspace);
	if (!escape_text(w->text, sizeof(w->text), rest, strlen(rest))) {
		out_say("'%.100s' is too long", word);
		return 1;
	}
	return 0;
}

static int choose(struct selected *s, json_t *list, struct wanted *w, size_t nw)
{
	json_t *entries = json_object_get(list, "entries"), *e;
	size_t i;

	*s = (struct selected){ .workspace = cli_str(list, "path"), .total = json_array_size(entries) };
	if (!(s->c = calloc(s->total ? s->total : 1, sizeof(*s->c))))
		return 1;
	json_array_foreach(entries, i, e) {
		const char *path = cli_str(e, "path");
		bool taken = nw == 0, named = false;

		for (size_t k = 0; k < nw; k++)
			if (w[k].workspace == s->workspace && (!*w[k].text || below(path, w[k].text))) {
				taken = w[k].found = true;
				named = named || strcmp(path, w[k].text) == 0;
			}
		if (taken)
			s->c[s->n++] = (struct chosen){ .entry = e, .named = named };
	}
	return 0;
}

int select_changes(struct selection *s, struct client *c, const char *name, const char *const *paths, size_t npaths, unsigned flags)
{
	struct wanted *w = npaths <= PATHS_MAX ? calloc(npaths ? npaths : 1, sizeof(*w)) : NULL;
	int code = w ? 0 : 1;

	*s = (struct selection){ 0 };
	if (!w)
		out_say("out of memory, or more than %u paths", PATHS_MAX);
	else
		code = fetch(c, name, flags, &s->lists);
	for (size_t i = 0; !code && i < npaths; i++)
		code = resolve(&w[i], s->lists, paths[i]);
	if (!code && !(s->ws = calloc(json_array_size(s->lists), sizeof(*s->ws))))
		code = 1;
	for (size_t i = 0; !code && i < json_array_size(s->lists); i++)
		code = choose(&s->ws[s->n++], json_array_get(s->lists, i), w, npaths);
	for (size_t i = 0; !code && i < npaths; i++)
		if (!w[i].found) {
			out_say("'%s' is nothing that '%s' changed", paths[i], name);
			code = 1;
		}
	free(w);
	return code;
}

void select_release(struct selection *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->ws[i].c);
	free(s->ws);
	json_decref(s->lists);
	*s = (struct selection){ 0 };
}
