/* SPDX-License-Identifier: Apache-2.0 */
/* What the person set by hand and finds again: sizes of the panes, splits, the theme. `dashboard.json` in the state directory; no loss if it is not there. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/atomicfile.h"
#include "core/base/fd.h"
#include "core/base/path.h"
#include "tui/app.h"

#define FILE_NAME "dashboard.json"
#define FILE_MAX (1u << 20)
#define DESKS_KEPT 200u

static int open_dir(void)
{
	struct err ignore = ERR_INIT;
	AUTO_FREE char *dir = path_state(&ignore);

	return dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
}

static int bounded(const json_t *o, const char *key, int max)
{
	const json_int_t v = json_integer_value(json_object_get(o, key));

	return v > 0 && v <= max ? (int)v : 0;
}

/* ---- splits: {"session": 3, "own": true} a pane, {"split": "right", "part": 500, "a": ..., "b": ...} two beside each other --------------------- */

static json_t *tree_json(const struct desk *d, const struct split *s)
{
	if (s->a)
		return json_pack("{s:s,s:i,s:o,s:o}", "split", s->below ? "below" : "right", "part", s->part, "a", tree_json(d, s->a), "b", tree_json(d, s->b));
	for (size_t i = 0; i < d->npanes; i++)
		if (d->panes[i].id == s->id)
			return json_pack("{s:I,s:b}", "session", (json_int_t)d->panes[i].session, "own", (int)d->panes[i].own);
	return json_object();
}

/* Of a tree only what still lives: a half whose other half does not gets its place. NULL: nothing does. */
static struct split *tree_split(struct desk *d, const struct model_sandbox *sb, const json_t *o, struct split *up, int depth)
{
	const char *word = json_string_value(json_object_get(o, "split"));

	if (depth > PANES_MAX || d->npanes == PANES_MAX)
		return NULL;
	if (!word) {
		const json_int_t id = json_integer_value(json_object_get(o, "session"));
		const struct model_session *s = id > 0 && id <= UINT32_MAX ? model_session_find(sb, (uint32_t)id) : NULL;

		if (!s || !s->pty || !session_lives(s))
			return NULL;
		for (size_t i = 0; i < d->npanes; i++) /* one pane a session */
			if (d->panes[i].session == s->id)
				return NULL;
		struct split *leaf = split_create(d->last_id + 1);
		if (!leaf)
			return NULL;
		struct pane *p = &d->panes[d->npanes++];
		memset(p, 0, sizeof(*p));
		p->id = ++d->last_id;
		p->session = s->id;
		p->generation = sb->generation;
		p->own = json_is_true(json_object_get(o, "own"));
		leaf->up = up;
		return leaf;
	}
	struct split *s = split_create(0);
	if (!s)
		return NULL;
	const json_int_t part = json_integer_value(json_object_get(o, "part"));
	s->up = up;
	s->below = !strcmp(word, "below");
	s->part = part < 50 ? 50 : part > 950 ? 950 : (int)part;
	s->a = tree_split(d, sb, json_object_get(o, "a"), s, depth + 1);
	s->b = tree_split(d, sb, json_object_get(o, "b"), s, depth + 1);
	if (s->a && s->b)
		return s;
	struct split *stays = s->a ? s->a : s->b;
	if (stays)
		stays->up = up;
	free(s);
	return stays;
}

void prefs_desk(struct app *a, struct desk *d, const struct model_sandbox *sb)
{
	const json_t *o = json_object_get(a->desks_kept, sb->name);

	if (!json_object_get(o, "split"))
		return;
	struct split *old = d->root;
	d->npanes = 0;
	d->root = tree_split(d, sb, o, NULL, 0);
	if (d->root) {
		split_destroy(old);
		d->focus = d->panes[0].id;
	} else { /* none lives any more: one pane, as at first */
		d->root = old;
		d->npanes = 1;
		memset(&d->panes[0], 0, sizeof(d->panes[0]));
		d->panes[0].id = d->focus = d->last_id = old->id;
	}
	json_object_del(a->desks_kept, sb->name);
}

/* Those of this time, and of the last time those that were not looked at since and are still there. */
static json_t *desks_json(const struct app *a)
{
	json_t *all = json_object(), *one;
	const char *name;

	for (size_t i = 0; i < a->ndesks && json_object_size(all) < DESKS_KEPT; i++)
		if (a->desks[i]->npanes > 1)
			json_object_set_new(all, a->desks[i]->sandbox, tree_json(a->desks[i], a->desks[i]->root));
	json_object_foreach(a->desks_kept, name, one)
		if ((model_find(a->model, name) || !a->model->nsandboxes) && json_object_size(all) < DESKS_KEPT)
			json_object_set(all, name, one);
	return all;
}

/* ---- the file ------------------------------------------------------------------------------------------------------------------------------ */

static const char *const layout_words[] = { "", "one", "list", "two" };
_Static_assert(ARRAY_SIZE(layout_words) == LAYOUT_NUM, "a word for every layout");

void prefs_load(struct app *a)
{
	struct err ignore = ERR_INIT;
	struct buf b;
	AUTO_FD dir = open_dir();

	if (dir < 0)
		return;
	buf_init(&b, FILE_MAX);
	if (atomicfile_read(dir, FILE_NAME, &b, &ignore) == 0) {
		json_t *o = json_loadb((const char *)buf_head(&b), buf_size(&b), JSON_REJECT_DUPLICATES, NULL);
		const char *theme = json_string_value(json_object_get(o, "theme")), *layout = json_string_value(json_object_get(o, "layout"));

		a->list_cols = bounded(o, "list_cols", ROWS_MAX);
		a->diff.files_cols = bounded(o, "files_cols", ROWS_MAX);
		a->diff.sides = json_is_true(json_object_get(o, "diff_sides"));
		a->diff.unified = json_is_true(json_object_get(o, "diff_unified")) && !a->diff.sides;
		a->diff.flat = json_is_true(json_object_get(o, "diff_flat"));
		a->lower_rows = bounded(o, "lower_rows", ROWS_MAX);
		for (size_t i = 1; i < LAYOUT_NUM; i++)
			if (layout && !strcmp(layout, layout_words[i]))
				a->layout_set = (enum layout_set)i;
		json_decref(a->desks_kept);
		a->desks_kept = json_is_object(json_object_get(o, "desks")) ? json_incref(json_object_get(o, "desks")) : NULL;
		if (theme && !a->config.theme[0])
			str_copy(a->chosen_theme, sizeof(a->chosen_theme), theme);
		json_decref(o);
	}
	buf_release(&b);
}

void prefs_save(const struct app *a)
{
	struct err ignore = ERR_INIT;
	AUTO_FD dir = a->screen && !a->attach_only ? open_dir() : -1;
	json_t *o = dir >= 0 ? json_object() : NULL;

	if (!o)
		return;
	if (a->list_cols)
		json_object_set_new(o, "list_cols", json_integer(a->list_cols));
	if (a->lower_rows)
		json_object_set_new(o, "lower_rows", json_integer(a->lower_rows));
	if (a->diff.files_cols)
		json_object_set_new(o, "files_cols", json_integer(a->diff.files_cols));
	if (a->diff.sides || a->diff.unified)
		json_object_set_new(o, a->diff.sides ? "diff_sides" : "diff_unified", json_true());
	if (a->diff.flat)
		json_object_set_new(o, "diff_flat", json_true());
	if (a->layout_set)
		json_object_set_new(o, "layout", json_string(layout_words[a->layout_set]));
	json_t *desks = desks_json(a);
	if (json_object_size(desks))
		json_object_set(o, "desks", desks);
	json_decref(desks);
	if (a->chosen_theme[0])
		json_object_set_new(o, "theme", json_string(a->chosen_theme));
	AUTO_FREE char *text = json_dumps(o, JSON_INDENT(2));
	if (text)
		atomicfile_write(dir, FILE_NAME, text, strlen(text), 0600, &ignore);
	json_decref(o);
}
