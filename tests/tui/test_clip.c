/* SPDX-License-Identifier: Apache-2.0 */
/* OSC 52 from a guest that does not mean well: it gets a line of the screen, never a key, and silence after a no. */
#include "tests/tui/live.h"

static const char *const names[] = { "blue", "red" };

static struct app *make(int *peer, struct viewer **v)
{
	struct app *a = bare();

	run_boxes(a, names, ARRAY_SIZE(names));
	app_select(a, "blue");
	a->focus = FOCUS_MAIN;
	*v = attach(a, "blue", peer);
	draw_frame(a, 40, 120);
	return a;
}

/* A turn of the loop: what terminals brought, then a frame. */
static void turn(struct app *a)
{
	clip_settle(a);
	draw_frame(a, 40, 120);
}

static bool says(struct app *a, const char *text)
{
	struct buf b;

	draw_frame(a, 40, 120);
	buf_init(&b, 1 << 20);
	as_text(a, &b);
	buf_u8(&b, 0);
	const bool there = strstr((const char *)buf_head(&b), text);
	buf_release(&b);
	return there;
}

static void arm(struct app *a)
{
	assert_true(a->clip.drawn_ms > 0);
	a->clip.drawn_ms -= ASK_ARM_MS;
}

static void keys_pass(void **state)
{
	struct viewer *v;
	int peer;
	struct app *a = make(&peer, &v);

	(void)state;
	a->typing = true;
	for (int i = 0; i < 50; i++) {
		clipboard(v, "evil");
		turn(a);
		if (i == 25)
			arm(a);
		press(a, "y");
		press(a, "n");
		press(a, "Esc");
		press(a, "x");
	}
	assert_true(says(a, "blue wants to put 4 bytes into your clipboard"));
	assert_int_equal(buf_size(&a->clip_out), 0);
	assert_int_equal(keys_at(v, peer, 'y'), 50);
	/* And it can be left. */
	press(a, "C-\\");
	press(a, "Esc");
	assert_false(a->typing);
	press(a, "q");
	assert_true(a->quit);
	close(peer);
	done(a);
}

static void answers(void **state)
{
	struct viewer *v;
	int peer;
	struct app *a = make(&peer, &v);

	(void)state;
	a->typing = true;
	clipboard(v, "first");
	turn(a);
	press(a, "C-\\");
	press(a, "y"); /* nobody has read it yet */
	assert_int_equal(buf_size(&a->clip_out), 0);
	assert_true(a->clip.serial);
	arm(a);
	clipboard(v, "something else"); /* what is answered is what was asked */
	turn(a);
	assert_true(says(a, "5 bytes") && says(a, "y allow"));
	press(a, "C-\\");
	press(a, "y");
	assert_int_equal(buf_size(&a->clip_out), 5);
	assert_memory_equal(buf_head(&a->clip_out), "first", 5);
	assert_false(a->clip.serial);
	buf_clear(&a->clip_out);

	/* In navigation the keys stand alone; a no is remembered. */
	a->typing = false;
	v->clip_due = false;
	clipboard(v, "second");
	turn(a);
	arm(a);
	press(a, "j"); /* another key is no answer, and does what it does */
	assert_true(a->clip.serial);
	press(a, "n");
	assert_int_equal(a->overlay, OV_NONE); /* it did not make a sandbox */
	assert_int_equal(buf_size(&a->clip_out), 0);
	assert_false(a->clip.serial);
	for (int i = 0; i < 100; i++) {
		clipboard(v, "again");
		turn(a);
		assert_false(a->clip.serial);
	}
	a->clip.mute[0].until_ms = clock_ms(); /* a minute later */
	clipboard(v, "later");
	turn(a);
	assert_true(a->clip.serial);

	/* Not answered in time: as a no. */
	a->clip.until_ms = clock_ms();
	turn(a);
	assert_false(a->clip.serial);
	clipboard(v, "and again");
	turn(a);
	assert_false(a->clip.serial);
	close(peer);
	done(a);
}

static void only_where_one_is(void **state)
{
	struct viewer *v, *other;
	int peer, away;
	struct app *a = make(&peer, &v);

	(void)state;
	other = attach(a, "red", &away); /* not on the screen */
	clipboard(other, "evil");
	turn(a);
	assert_false(a->clip.serial);
	assert_false(other->clip_due);
	a->config.clipboard = CLIP_ALWAYS; /* who looks elsewhere does not get it slipped in either */
	clipboard(other, "evil");
	turn(a);
	assert_int_equal(buf_size(&a->clip_out), 0);
	clipboard(v, "mine");
	turn(a);
	assert_int_equal(buf_size(&a->clip_out), 4);
	a->config.clipboard = CLIP_ASK;
	a->focus = FOCUS_LIST;
	clipboard(v, "evil");
	turn(a);
	assert_false(a->clip.serial);
	a->focus = FOCUS_MAIN;
	clipboard(v, "mine");
	turn(a);
	assert_true(a->clip.serial);
	a->focus = FOCUS_LIST; /* who went away is not asked any more */
	turn(a);
	assert_false(a->clip.serial);
	assert_false(says(a, "clipboard"));
	/* While something else is answered it waits. */
	a->focus = FOCUS_MAIN;
	press(a, ":");
	clipboard(v, "mine");
	turn(a);
	assert_false(a->clip.serial);
	press(a, "Esc");
	turn(a);
	assert_true(a->clip.serial);
	viewer_drop(a, v);
	turn(a);
	assert_false(a->clip.serial);
	close(peer);
	close(away);
	done(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(keys_pass), cmocka_unit_test(answers), cmocka_unit_test(only_where_one_is) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
