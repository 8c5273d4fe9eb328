/* SPDX-License-Identifier: Apache-2.0 */
/* A sandbox that begins to wait for the person rings and is told of once, whatever it prints after that. */
#include "tests/tui/live.h"

static const char *const names[] = { "blue", "red" };

static void waits(struct app *a, const char *name, bool yes)
{
	feed(a, json_pack("{s:i,s:s,s:{s:s,s:s,s:s,s:i,s:b,s:[{s:i,s:s,s:s,s:s}]}}", "seq", 2, "kind", "sandbox", "sandbox", "name", name, "kit", "shell", "state",
			  "running", "generation", 1, "waits", yes, "sessions", "id", 1, "kind", "pty", "label", "shell", "state", yes ? "waits" : "busy"));
}

static void attention(struct app *a, const char *name, const char *what, const char *text)
{
	feed(a, json_pack("{s:i,s:s,s:s,s:i,s:s,s:s}", "seq", 3, "kind", "attention", "name", name, "session", 1, "what", what, "text", text));
}

/* Rung since the last look. */
static bool rung(struct app *a)
{
	const bool was = a->ring;

	a->ring = false;
	return was;
}

static void once(void **state)
{
	struct app *a = bare();

	(void)state;
	run_boxes(a, names, ARRAY_SIZE(names));
	app_select(a, "blue");
	assert_false(rung(a));
	/* A bell in a sandbox that is not on the screen. */
	attention(a, "red", "bell", "make");
	waits(a, "red", true);
	assert_true(rung(a));
	assert_string_equal(a->notify, "red waits for you");
	a->notify[0] = '\0';
	for (int i = 0; i < 20; i++) {
		attention(a, "red", "bell", "make");
		attention(a, "red", "notify", "again and again");
		waits(a, "red", true);
		assert_false(rung(a));
		assert_string_equal(a->notify, "");
		assert_string_equal(a->message, ""); /* the footer is the person's */
	}
	/* Answered, and once more: this time with words. */
	waits(a, "red", false);
	assert_false(rung(a));
	attention(a, "red", "notify", "the tests are green");
	waits(a, "red", true);
	assert_true(rung(a));
	assert_string_equal(a->notify, "red: the tests are green");
	golden(a, "waits", 24, 80);
	done(a);
}

static void not_from_before(void **state)
{
	struct app *a = bare();
	json_t *r = json_pack("{s:[{s:s,s:s,s:b,s:i}],s:{},s:i}", "sandboxes", "name", "blue", "state", "running", "waits", 1, "generation", 1, "host", "seq", 1);

	(void)state;
	model_subscribed(a->model, r);
	app_settle(a);
	assert_false(rung(a)); /* it waited before the dashboard was there: the line says so */
	waits(a, "blue", false);
	waits(a, "blue", true);
	assert_true(rung(a));
	waits(a, "blue", false);
	model_subscribed(a->model, r); /* it began while the supervisor was away */
	app_settle(a);
	assert_true(rung(a));
	json_decref(r);

	a->attach_only = true; /* in a terminal alone only its own sandbox rings */
	run_boxes(a, names, ARRAY_SIZE(names));
	app_select(a, "blue");
	waits(a, "blue", false);
	rung(a);
	waits(a, "red", true);
	assert_false(rung(a));
	waits(a, "blue", true);
	assert_true(rung(a));
	done(a);
}

/* Who types in the terminal that waits sees it; who has gone to another window does not. */
static void not_to_who_is_there(void **state)
{
	struct app *a = bare();
	struct key focus = { .kind = KEY_FOCUS };

	(void)state;
	run_boxes(a, names, ARRAY_SIZE(names));
	app_select(a, "blue");
	a->focus = FOCUS_MAIN;
	a->typing = true;
	desk_focus(desk_of(a, "blue"))->session = 1;
	waits(a, "blue", true);
	assert_false(rung(a));
	waits(a, "red", true); /* another one is heard while typing */
	assert_true(rung(a));
	waits(a, "blue", false);
	input_key(a, &focus); /* the window has lost the focus */
	waits(a, "blue", true);
	assert_true(rung(a));
	waits(a, "blue", false);
	focus.focus_in = true;
	input_key(a, &focus);
	desk_focus(desk_of(a, "blue"))->session = 7; /* he types in another terminal of it */
	waits(a, "blue", true);
	assert_true(rung(a));
	done(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(once), cmocka_unit_test(not_from_before), cmocka_unit_test(not_to_who_is_there) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
