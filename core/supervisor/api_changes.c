/* SPDX-License-Identifier: Apache-2.0 */
/* changes.* of docs/protocol.md: a request is checked, packed and put to the sandbox's bulkhead-review (review.h). */
#include "core/supervisor/api.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/escape.h"
#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/supervisor/audit.h"
#include "core/supervisor/review.h"
#include "core/supervisor/sandbox.h"

#define LIST_MOST 1000u
#define CONTEXT_MOST 10000u

/* Parameter `workspace`: its place; REVIEW_EVERY when absent and not required, or when there is one only. */
static uint8_t workspace_of(struct args *a, const struct sandbox *sb, bool required)
{
	const char *path = arg_str(a, "workspace", WORKSPACE_PATH_MAX, false);

	if (a->e.code)
		return REVIEW_EVERY;
	if (!path && required && sb->spec.ws.n != 1)
		err_set(&a->e, EINVAL, "parameter 'workspace' is missing: the sandbox has %u", sb->spec.ws.n);
	if (!path)
		return required ? 0 : REVIEW_EVERY;
	for (size_t i = 0; i < sb->spec.ws.n; i++)
		if (!strcmp(sb->spec.ws.w[i].path, path))
			return (uint8_t)i;
	err_set(&a->e, EINVAL, "the sandbox has no such workspace");
	return REVIEW_EVERY;
}

/* A path as it is spoken of (core/base/escape.h) into an item. */
static void set_path(struct args *a, struct review_item *item, const char *text)
{
	char raw[CHANGES_PATH_MAX + 1];

	if (escape_undo(raw, sizeof(raw), text) < 0 || !changes_path_legal(raw))
		err_set(&a->e, EINVAL, "'%.100s' is no path below a workspace", text);
	else if (!(item->path = str_dup(raw)))
		err_set(&a->e, ENOMEM, "out of memory");
}

static struct review_item *add_items(struct args *a, struct review_ask *m, size_t n)
{
	m->item = calloc(n ? n : 1, sizeof(*m->item));
	m->nitems = m->item ? (uint32_t)n : 0;
	if (!m->item)
		err_set(&a->e, ENOMEM, "out of memory");
	for (size_t i = 0; i < m->nitems; i++)
		if (!(m->item[i].path = str_dup("")))
			err_set(&a->e, ENOMEM, "out of memory");
	return m->item;
}

static void item_path(struct args *a, struct review_item *item, const char *text)
{
	free(item->path);
	item->path = NULL;
	set_path(a, item, text);
}

/* Parameter `paths`: some only. */
static void paths_of(struct args *a, struct review_ask *m)
{
	const json_t *list = arg_list(a, "paths", REVIEW_ITEMS_MAX), *v;
	size_t i;

	if (!list || a->e.code || !add_items(a, m, json_array_size(list)))
		return;
	json_array_foreach(list, i, v)
		if (!a->e.code)
			item_path(a, &m->item[i], json_string_value(v));
}

/* Names of flags: what the person has seen of the very item, and takes. */
static void flags_of(struct args *a, struct review_item *item, const json_t *list)
{
	size_t i;
	json_t *v;

	if (!json_is_array(list) || json_array_size(list) > CHANGE_FLAGS)
		err_set(&a->e, EINVAL, "'flags' of an item must be a list of flags");
	json_array_foreach((json_t *)(uintptr_t)list, i, v) {
		unsigned bit = 0;

		while (bit < CHANGE_FLAGS && strcmp(change_flags[bit], json_is_string(v) ? json_string_value(v) : "") != 0)
			bit++;
		if (bit == CHANGE_FLAGS)
			err_set(&a->e, EINVAL, "'flags' of an item must be a list of flags");
		else
			item->flags |= (uint16_t)(1u << bit);
	}
}

static bool hex(uint8_t out[32], const char *text)
{
	if (strlen(text) != 64 || strspn(text, "0123456789abcdef") != 64)
		return false;
	for (size_t i = 0; i < 32; i++) {
		const char pair[3] = { text[2 * i], text[2 * i + 1], '\0' };
		out[i] = (uint8_t)strtoul(pair, NULL, 16);
	}
	return true;
}

static void hunks_of(struct args *a, struct review_item *item, const json_t *list)
{
	const size_t n = json_array_size(list);
	size_t i;
	json_t *v;

	if (!json_is_array(list) || n == 0 || n > REVIEW_HUNKS_MAX || !(item->hunks = calloc(n, sizeof(*item->hunks)))) {
		err_set(&a->e, EINVAL, "'hunks' of an item must be a list of 1 to %u numbers", REVIEW_HUNKS_MAX);
		return;
	}
	item->nhunks = (uint16_t)n;
	json_array_foreach((json_t *)(uintptr_t)list, i, v) {
		const json_int_t id = json_integer_value(v);

		if (!json_is_integer(v) || id < 0 || id > UINT16_MAX)
			err_set(&a->e, EINVAL, "'hunks' of an item must be a list of 1 to %u numbers", REVIEW_HUNKS_MAX);
		else
			item->hunks[i] = (uint16_t)id;
	}
}

static void item_of(struct args *a, struct review_item *item, const json_t *v)
{
	const json_t *path = json_object_get(v, "path"), *digest = json_object_get(v, "digest"), *hunks = json_object_get(v, "hunks");
	const json_t *named = json_object_get(v, "named"), *old = json_object_get(v, "old_digest"), *flags = json_object_get(v, "flags");

	if (!json_is_string(path) || strlen(json_string_value(path)) != json_string_length(path) || (digest && !json_is_string(digest)) ||
	    (old && !json_is_string(old)) || (named && !json_is_boolean(named))) {
		err_set(&a->e, EINVAL, "parameter 'items' must be a list of {path, digest?, old_digest?, hunks?, named?, flags?}");
		return;
	}
	item_path(a, item, json_string_value(path));
	item->named = json_is_true(named);
	item->has_digest = digest != NULL;
	if (digest && !hex(item->digest, json_string_value(digest)))
		err_set(&a->e, EINVAL, "'digest' of an item must be 64 hexadecimal digits");
	item->has_old = old != NULL;
	if (old && !hex(item->old, json_string_value(old)))
		err_set(&a->e, EINVAL, "'old_digest' of an item must be 64 hexadecimal digits");
	if (flags && !a->e.code)
		flags_of(a, item, flags);
	if (hunks && !a->e.code)
		hunks_of(a, item, hunks);
}

/* Parameters `items` or `all`. */
static void items_of(struct args *a, struct review_ask *m)
{
	const json_t *list = json_object_get(a->p, "items");
	size_t i;
	json_t *v;

	if (arg_bool(a, "all"))
		m->flags |= REVIEW_ALL;
	if (arg_bool(a, "dry_run"))
		m->flags |= REVIEW_DRY_RUN;
	if (a->e.code)
		return;
	if (!list == !(m->flags & REVIEW_ALL) || (list && (!json_is_array(list) || json_array_size(list) == 0 || json_array_size(list) > REVIEW_ITEMS_MAX))) {
		err_set(&a->e, EINVAL, "either 'all' is true or 'items' is a list of 1 to %u", REVIEW_ITEMS_MAX);
		return;
	}
	if (!list || !add_items(a, m, json_array_size(list)))
		return;
	json_array_foreach((json_t *)(uintptr_t)list, i, v)
		if (!a->e.code)
			item_of(a, &m->item[i], v);
}

static void ask_take(struct call *c, struct args *a, struct sandbox *sb, struct review_ask *m, int fd, review_answered_fn answered)
{
	if (args_bad(a, c))
		fd_close(&fd);
	else
		review_ask_take(sb, m, c, fd, answered);
	review_ask_release(m);
}

static void on_list(struct call *c, struct args *a)
{
	struct sandbox *sb = arg_sandbox(a, c);
	struct review_ask m = { .op = REVIEW_LIST };

	if (!sb)
		return;
	m.index = workspace_of(a, sb, false);
	m.from = (uint32_t)arg_num(a, "from", 0, UINT32_MAX, 0);
	m.limit = (uint32_t)arg_num(a, "limit", 1, LIST_MOST, LIST_MOST);
	if (arg_bool(a, "stat"))
		m.flags |= REVIEW_STAT;
	paths_of(a, &m);
	ask_take(c, a, sb, &m, -1, NULL);
}

static void on_diff(struct call *c, struct args *a)
{
	struct sandbox *sb = arg_sandbox(a, c);
	struct review_ask m = { .op = REVIEW_DIFF };

	if (!sb)
		return;
	const char *path = arg_str(a, "path", 4 * CHANGES_PATH_MAX, true), *view = arg_str(a, "view", 32, false);
	m.index = workspace_of(a, sb, true);
	m.context = (uint32_t)arg_num(a, "context", 0, CONTEXT_MOST, 3);
	if (view && !strcmp(view, "conflict"))
		m.flags |= REVIEW_CONFLICT;
	else if (view && strcmp(view, "diff") && !a->e.code)
		err_set(&a->e, EINVAL, "parameter 'view' must be 'diff' or 'conflict'");
	if (!a->e.code && add_items(a, &m, 1))
		item_path(a, &m.item[0], path);
	ask_take(c, a, sb, &m, -1, NULL);
}

static void on_patch(struct call *c, struct args *a)
{
	struct sandbox *sb = arg_sandbox(a, c);
	struct review_ask m = { .op = REVIEW_PATCH };

	if (!sb)
		return;
	m.index = workspace_of(a, sb, true);
	m.context = (uint32_t)arg_num(a, "context", 0, CONTEXT_MOST, 3);
	paths_of(a, &m);
	AUTO_FD fd = a->e.code ? -1 : openat(sb->dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0 && !a->e.code)
		err_errno(&a->e, errno, "cannot make a file for the patch");
	ask_take(c, a, sb, &m, steal_fd(&fd), NULL);
}

/* ---- what is changed goes into the audit log ---------------------------------------------------------------------------------------- */

/* One record, with the hashes of what stood there and stands there now: of each file as far as a record has room, of all in `manifest`. */
static void record(struct sandbox *sb, json_t *answer, const char *event)
{
	static const char *const keys[] = { "id", "of", "workspace", "files", "left", "manifest" };
	json_t *list = json_object_get(answer, "audit");

	if (json_integer_value(json_object_get(answer, "files")) > 0 && !json_is_true(json_object_get(answer, "dry_run"))) {
		json_t *o = json_pack("{s:s, s:s}", "event", event, "sandbox", sb->spec.name);

		for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
			if (json_object_get(answer, keys[i]))
				json_object_set(o, keys[i], json_object_get(answer, keys[i]));
		if (list)
			json_object_set(o, "changes", list);
		if (list && (json_int_t)json_array_size(list) < json_integer_value(json_object_get(answer, "files")))
			json_object_set_new(o, "cut", json_true()); /* the rest is in `manifest` alone */
		audit_add_json_take(sb->su, o);
	}
	json_object_del(answer, "audit");
}

static void on_applied(struct sandbox *sb, json_t *answer) { record(sb, answer, "apply"); }
static void on_discarded(struct sandbox *sb, json_t *answer) { record(sb, answer, "discard"); }
static void on_undone(struct sandbox *sb, json_t *answer) { record(sb, answer, "undo"); }

static void change(struct call *c, struct args *a, enum review_op op, review_answered_fn answered)
{
	struct sandbox *sb = arg_sandbox(a, c);
	struct review_ask m = { .op = (uint8_t)op };

	if (!sb)
		return;
	m.index = workspace_of(a, sb, true);
	m.context = (uint32_t)arg_num(a, "context", 0, CONTEXT_MOST, 3); /* what numbers the hunks */
	items_of(a, &m);
	ask_take(c, a, sb, &m, -1, answered);
}

static void on_apply(struct call *c, struct args *a)
{
	change(c, a, REVIEW_APPLY, on_applied);
}

static void on_discard(struct call *c, struct args *a)
{
	change(c, a, REVIEW_DISCARD, on_discarded);
}

static void on_undo(struct call *c, struct args *a)
{
	struct sandbox *sb = arg_sandbox(a, c);
	struct review_ask m = { .op = REVIEW_UNDO, .index = REVIEW_EVERY };

	if (!sb)
		return;
	const char *id = arg_str(a, "id", sizeof(m.undo) - 1, false);
	str_copy(m.undo, sizeof(m.undo), id ? id : "");
	ask_take(c, a, sb, &m, -1, on_undone);
}

static void on_history(struct call *c, struct args *a)
{
	struct sandbox *sb = arg_sandbox(a, c);
	struct review_ask m = { .op = REVIEW_HISTORY, .index = REVIEW_EVERY };

	if (sb)
		ask_take(c, a, sb, &m, -1, NULL);
}

static const struct method rows[] = {
	{ "changes.list", " name workspace from limit stat paths ", on_list },
	{ "changes.diff", " name workspace path context view ", on_diff },
	{ "changes.patch", " name workspace paths context ", on_patch },
	{ "changes.apply", " name workspace items all dry_run context ", on_apply },
	{ "changes.discard", " name workspace items all dry_run context ", on_discard },
	{ "changes.undo", " name id ", on_undo },
	{ "changes.history", " name ", on_history },
};
const struct method_table api_changes = { rows, ARRAY_SIZE(rows) };
