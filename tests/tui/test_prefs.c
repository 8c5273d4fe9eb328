/* SPDX-License-Identifier: Apache-2.0 */
/* dashboard.json: splits come back as they were as far as their sessions live; whatever stands in the file, a desk is a sound tree of panes. */
#include <sys/stat.h>

#include "tests/tui/live.h"

static char state_dir[256];
static struct screen screen_there; /* that there is one is all that is asked */

static struct app *make(const char *json, const char *const *states, size_t n)
{
	struct app *a = bare();
	char path[400];
	json_t *sessions = json_array();

	snprintf(path, sizeof(path), "%s/bulkhead/dashboard.json", state_dir);
	if (json) {
		FILE *f = fopen(path, "w");

		assert_non_null(f);
		fputs(json, f);
		fclose(f);
	}
	prefs_load(a);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(sessions, json_pack("{s:i,s:s,s:s,s:s}", "id", (int)i + 1, "kind", "pty", "label", "shell", "state", states[i]));
	json_t *r = json_pack("{s:[{s:s,s:s,s:i,s:o}],s:{},s:i}", "sandboxes", "name", "blue", "state", "running", "generation", 1, "sessions", sessions, "host", "seq", 1);
	model_subscribed(a->model, r);
	json_decref(r);
	app_settle(a);
	return a;
}

/* Leaves and panes are the same, each leaf once, every link goes both ways. */
static size_t leaves(const struct desk *d, const struct split *s, const struct split *up)
{
	assert_ptr_equal(s->up, up);
	assert_true(!s->a == !s->b);
	if (s->a) {
		assert_true(s->part >= 50 && s->part <= 950);
		return leaves(d, s->a, s) + leaves(d, s->b, s);
	}
	assert_non_null(desk_pane((struct desk *)d, s->id));
	return 1;
}

static struct desk *sound_desk(struct app *a, size_t panes)
{
	struct desk *d = desk_of(a, "blue");

	assert_non_null(d);
	assert_int_equal(leaves(d, d->root, NULL), d->npanes);
	assert_int_equal(d->npanes, panes);
	assert_non_null(desk_pane(d, d->focus));
	for (size_t i = 0; i < d->npanes; i++)
		for (size_t k = 0; k < i; k++)
			assert_true(d->panes[i].id != d->panes[k].id);
	app_select(a, "blue");
	all_sizes(a, "splits");
	return d;
}

static void back_as_they_were(void **state)
{
	static const char *const live[] = { "idle", "busy", "idle" };
	struct app *a = make("{}", live, 3);
	struct desk *d = sound_desk(a, 1);

	(void)state;
	a->screen = &screen_there;
	assert_int_equal(split_add(d->root, 1, 2, false), 0);
	assert_int_equal(split_add(d->root, 2, 3, true), 0);
	for (unsigned i = 0; i < 3; i++)
		d->panes[i] = (struct pane){ .id = i + 1, .session = i + 1, .own = i == 2 };
	d->npanes = d->last_id = 3;
	d->root->part = 700;
	a->layout_set = LAYOUT_TWO;
	prefs_save(a);
	a->screen = NULL;
	done(a);

	a = make(NULL, live, 3);
	assert_int_equal(a->layout_set, LAYOUT_TWO);
	d = sound_desk(a, 3);
	assert_true(!d->root->below && d->root->part == 700 && d->root->b->below);
	assert_int_equal(d->panes[2].session, 3);
	assert_true(d->panes[2].own && !d->panes[0].own);
	/* One that was not looked at this time is kept for the next. */
	done(a);
	a = make(NULL, live, 3);
	a->screen = &screen_there;
	prefs_save(a);
	a->screen = NULL;
	done(a);
	a = make(NULL, live, 3);
	sound_desk(a, 3);
	done(a);
	/* Those whose session is over leave their place to the other half. */
	static const char *const second_over[] = { "idle", "exited", "idle" };
	a = make(NULL, second_over, 3);
	d = sound_desk(a, 2);
	assert_true(!d->root->below && d->root->part == 700);
	done(a);
	a = make(NULL, second_over, 1);
	sound_desk(a, 1);
	done(a);
}

static void nonsense_is_one_pane(void **state)
{
	static const char *const live[] = { "idle", "busy", "idle" };
	static const struct { const char *json; size_t panes; } cases[] = {
		{ "", 1 }, { "[", 1 }, { "[]", 1 }, { "{\"desks\":7}", 1 }, { "{\"desks\":{\"blue\":[]}}", 1 }, { "{\"desks\":{\"blue\":{\"split\":\"right\"}}}", 1 },
		{ "{\"desks\":{\"blue\":{\"split\":\"right\",\"a\":{\"session\":1},\"b\":{\"session\":1}}}}", 1 }, /* a session has one pane */
		{ "{\"desks\":{\"blue\":{\"split\":\"x\",\"part\":-5,\"a\":{\"session\":1},\"b\":{\"session\":2}}}}", 2 },
		{ "{\"desks\":{\"blue\":{\"split\":\"below\",\"part\":99999999999,\"a\":{\"session\":-1},\"b\":{\"session\":2}}}}", 1 },
		{ "{\"desks\":{\"blue\":{\"session\":2}}}", 1 }, { "{\"layout\":\"sideways\",\"list_cols\":-4,\"lower_rows\":1e9}", 1 },
	};
	char deep[8192];
	size_t n;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct app *a = make(cases[i].json, live, 3);

		sound_desk(a, cases[i].panes);
		done(a);
	}
	/* Nested deeper than there may be panes. */
	n = (size_t)snprintf(deep, sizeof(deep), "{\"desks\":{\"blue\":");
	for (int i = 0; i < 100; i++)
		n += (size_t)snprintf(deep + n, sizeof(deep) - n, "{\"split\":\"right\",\"a\":{\"session\":%d},\"b\":", i + 1);
	n += (size_t)snprintf(deep + n, sizeof(deep) - n, "{}");
	for (int i = 0; i < 102; i++)
		n += (size_t)snprintf(deep + n, sizeof(deep) - n, "}");
	static const char *const many[] = { "idle", "idle", "idle", "idle", "idle", "idle", "idle", "idle", "idle", "idle", "idle", "idle", "idle", "idle", "idle" };
	struct app *a = make(deep, many, ARRAY_SIZE(many));
	sound_desk(a, PANES_MAX);
	done(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(back_as_they_were), cmocka_unit_test(nonsense_is_one_pane) };
	char path[400];

	snprintf(state_dir, sizeof(state_dir), "%s/bh-prefs-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	if (!mkdtemp(state_dir) || setenv("XDG_STATE_HOME", state_dir, 1) < 0)
		return 1;
	snprintf(path, sizeof(path), "%s/bulkhead", state_dir);
	if (mkdir(path, 0700) < 0)
		return 1;
	const int r = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(path, sizeof(path), "%s/bulkhead/dashboard.json", state_dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/bulkhead", state_dir);
	rmdir(path);
	rmdir(state_dir);
	return r;
}
