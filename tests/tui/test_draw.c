/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of a constructed state, drawn into memory: compared with the screens in tests/tui/golden (BULKHEAD_UPDATE_GOLDEN=1 writes them),
 * and at every size drawn without a cell out of place.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tui/frames.h"

static json_t *session(int id, const char *state, const char *title)
{
	return json_pack("{s:i,s:s,s:s,s:s,s:s,s:i,s:i}", "id", id, "kind", "pty", "label", "shell", "title", title, "state", state, "rows", 24, "cols", 80);
}

static json_t *sandbox(const char *name, const char *state, int cpu_percent)
{
	json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:i,s:i,s:I,s:I,s:I,s:{s:s},s:[]}", "name", name, "kit", "shell", "path", "/home/me/src/shop", "state", state,
			      "generation", 1, "cpus", 2, "memory", (json_int_t)2 << 30, "disk", (json_int_t)10 << 30, "disk_used", (json_int_t)6 << 20,
			      "docker", "state", "ready", "sessions");

	if (cpu_percent >= 0)
		json_object_set_new(o, "stats", json_pack("{s:f,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:i}", "cpu", cpu_percent / 100.0, "mem_total",
			(json_int_t)2 << 30, "mem_used", (json_int_t)300 << 20, "disk_total", (json_int_t)10 << 30, "disk_used", (json_int_t)50 << 20,
			"channel_in", (json_int_t)12345, "channel_out", (json_int_t)678, "host_cpu", cpu_percent / 50.0, "load1", 0.5, "pids", 42));
	return o;
}

static void fill(struct app *a)
{
	json_t *list = json_array();
	json_t *blue = sandbox("blue", "running", 12), *green = sandbox("green", "running", 0), *grey = sandbox("grey", "failed", -1);

	json_array_append_new(json_object_get(blue, "sessions"), session(1, "busy", "make -j2"));
	json_array_append_new(json_object_get(green, "sessions"), session(1, "waits", "Proceed? [y/N]"));
	json_object_set_new(green, "waits", json_true());
	json_object_set_new(grey, "reason", json_string("the guest's kernel panicked"));
	json_array_append_new(list, blue);
	json_array_append_new(list, green);
	json_array_append_new(list, grey);
	json_array_append_new(list, sandbox("red", "starting", -1));
	json_array_append_new(list, sandbox("test", "stopped", -1));
	json_array_append_new(list, sandbox("violet", "paused", 0));
	json_t *r = json_pack("{s:o,s:{s:i,s:I,s:I,s:i,s:i},s:i}", "sandboxes", list, "host", "cpus", 2, "memory_total", (json_int_t)24 << 30,
			      "memory_available", (json_int_t)20 << 30, "sandboxes", 6, "running", 2, "seq", 1);
	model_subscribed(a->model, r);
	json_decref(r);
	static const struct { const char *level, *name, *text; } log[] = { { "info", "blue", "running" }, { "warn", "green", "dockerd was started again" },
		{ "error", "grey", "the guest's kernel panicked" } };
	for (size_t i = 0; i < ARRAY_SIZE(log); i++) {
		json_t *e = json_pack("{s:i,s:s,s:s,s:s,s:s,s:s}", "seq", (int)i + 2, "at", "2026-01-02T03:04:05.678Z", "kind", "log", "level", log[i].level, "name",
				      log[i].name, "text", log[i].text);

		model_event(a->model, e);
		json_decref(e);
	}
}

static struct app *make(void)
{
	struct app *a = bare();

	setenv("TZ", "UTC", 1);
	fill(a);
	json_t *r = json_pack("{s:[{s:i,s:s,s:s,s:s,s:i,s:s},{s:i,s:s,s:s,s:s,s:s,s:s,s:s,s:i}]}", "records", "seq", 1, "at", "2026-01-02T03:04:01.000Z", "event", "apply",
			      "sandbox", "blue", "files", 3, "workspace", "/home/me/src/shop", "seq", 2, "at", "2026-01-02T03:04:07.000Z", "event", "alarm", "sandbox", "green",
			      "service", "openai", "rule", "a placeholder of openai in a header toward a host not its own", "name", "paste.example", "port", 443);
	auditmodel_read(&a->model->audit, r);
	json_decref(r);
	app_settle(a);
	return a;
}

static void screens(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct app *a = make();
		const int rows = sizes[i][0], cols = sizes[i][1];

		golden(a, "overview", rows, cols);
		press(a, "Down");
		golden(a, "second", rows, cols);
		press(a, "5");
		golden(a, "resources", rows, cols);
		press(a, "6");
		golden(a, "log", rows, cols);
		press(a, "g");
		golden(a, "grid", rows, cols);
		press(a, "1");
		press(a, "?");
		golden(a, "help", rows, cols);
		press(a, "Esc");
		press(a, ":");
		press(a, "s");
		golden(a, "palette", rows, cols);
		press(a, "Esc");
		press(a, "R");
		golden(a, "reset", rows, cols);
		press(a, "Enter"); /* no is the default */
		assert_int_equal(a->overlay, OV_NONE);
		press(a, "/");
		press(a, "b");
		golden(a, "filter", rows, cols);
		done(a);
	}
}

/* One frame in every theme: a theme changes how cells look, and not one letter. */
static void every_theme(void **state)
{
	static const char *const names[] = { "default-dark", "light", "high-contrast", "mono", "solarized-dark", "gruvbox-dark", "nord", "catppuccin-mocha" };
	static char text[65536];
	struct app *a = make();

	(void)state;
	press(a, "Down");
	press(a, "R");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct err e = ERR_INIT;
		char name[64], path[600];

		snprintf(path, sizeof(path), "%s/themes/%s.theme", SOURCEDIR, names[i]);
		FILE *f = fopen(path, "r");
		assert_non_null(f);
		const size_t n = fread(text, 1, sizeof(text), f);
		fclose(f);
		assert_int_equal(theme_parse(&a->theme, text, n, &e), 0);
		theme_resolve(&a->theme, DEPTH_TRUE);
		snprintf(name, sizeof(name), "theme-%s", names[i]);
		draw_frame(a, 24, 80);
		compare(a, name, as_styles);
		golden(a, "theme", 24, 80);
	}
	done(a);
}

/* The question names what cannot be brought back, the worst first. */
static void what_is_lost(void **state)
{
	struct app *a = make();

	(void)state;
	json_t *e = json_pack("{s:i,s:s,s:s,s:i,s:i,s:i}", "seq", 9, "kind", "changes", "name", "blue", "files", 3, "add", 7, "del", 2);
	feed(a, e);
	struct model_sandbox *blue = model_find(a->model, "blue"), *test = model_find(a->model, "test");
	assert_non_null(blue);
	blue->ncontainers = 3;
	str_copy(blue->containers[0].state, sizeof(blue->containers[0].state), "running");
	str_copy(blue->containers[1].state, sizeof(blue->containers[1].state), "exited");
	str_copy(blue->containers[2].state, sizeof(blue->containers[2].state), "running");
	static const struct { const char *key, *box, *says; bool rm; } want[] = {
		{ "R", "blue", "reset blue? lost: 3 changed files not applied, 2 running containers, 1 running session, its disk (6.0M)", false },
		{ "Del", "blue", "remove blue? lost: 3 changed files not applied, 2 running containers, 1 running session, its disk (6.0M)", false },
		{ "K", "blue", "kill blue? lost: 2 running containers, 1 running session", false },
		{ "S", "blue", "stop blue? lost: 2 running containers, 1 running session", false },
		{ "K", "blue", "kill blue? lost: 3 changed files not applied, 2 running containers, 1 running session, its disk (6.0M)", true },
		{ "Del", "test", "remove test? lost: its disk (6.0M)", false },
	};
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		blue->remove_on_stop = want[i].rm;
		app_select(a, want[i].box);
		press(a, want[i].key);
		assert_int_equal(a->overlay, OV_CONFIRM);
		assert_string_equal(a->confirm_text, want[i].says);
		press(a, "Enter");
	}
	test->changes.files = 1; /* of one that is stopped they are not applied either */
	app_select(a, "test");
	press(a, "Del");
	assert_string_equal(a->confirm_text, "remove test? lost: 1 changed file not applied, its disk (6.0M)");
	done(a);
}

static void ascii(void **state)
{
	struct app *a = make();

	(void)state;
	a->ascii = true;
	golden(a, "ascii", 40, 120);
	for (int i = 0; i < a->canvas.rows * a->canvas.cols; i++)
		for (int k = 0; k < a->canvas.cells[i].len; k++)
			assert_true((unsigned char)a->canvas.cells[i].text[k] < 0x7f);
	done(a);
}

/* Every page and overlay at many sizes: no half of a wide character, the cursor inside, the same state drawn twice is the same frame. */
static void every_size(void **state)
{
	static const char *const keys[] = { "1", "Down", "2", "3", "Tab", "3", "5", "6", "g", "1", "?", "Esc", ":", "Tab", "Esc", "n", "Tab", "Esc", "R", "n", "/", "r", "Esc", "z", "z",
		"Tab", "Tab", "Tab", "Enter", "C-\\", "Esc", ">", "+", "w", "C-\\", "Esc", "PgDn", "End", "Home", "h", "l" };
	struct app *a = make();
	struct buf one, two;

	(void)state;
	buf_init(&one, 1 << 20);
	buf_init(&two, 1 << 20);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		press(a, keys[i]);
		all_sizes(a, keys[i]);
		draw_frame(a, 40, 120);
		buf_clear(&one);
		as_text(a, &one);
		draw_frame(a, 40, 120);
		buf_clear(&two);
		as_text(a, &two);
		assert_true(buf_size(&one) == buf_size(&two) && !memcmp(buf_head(&one), buf_head(&two), buf_size(&one)));
	}
	buf_release(&one);
	buf_release(&two);
	done(a);
}

/* Names and titles of the worst kind stay where they belong. */
static void hostile_text(void **state)
{
	struct app *a = make();
	json_t *e = json_pack("{s:i,s:s,s:s,s:{s:i,s:s,s:s,s:s,s:s}}", "seq", 9, "kind", "session", "name", "blue", "session", "id", 1, "kind", "pty", "state",
			      "waits", "label", "\xe2\x80\xae\x1b[2J", "title", "\x1b]52;c;AAAA\x07 \xf0\x9f\x98\x80\xe6\xbc\xa2\xe5\xad\x97 \xc2\x9b" "31m");

	(void)state;
	model_event(a->model, e);
	json_decref(e);
	for (int cols = 1; cols < 130; cols++) {
		draw_frame(a, 40, cols);
		sound(a, "hostile text");
	}
	done(a);
}

/* "No sandboxes" is said only where the supervisor said so. */
static void a_list_that_could_not_be_had(void **state)
{
	struct app *a = make();
	json_t *none = json_pack("{s:[]}", "sandboxes");
	struct buf b;

	(void)state;
	model_subscribed(a->model, none);
	a->client = (struct client *)a; /* there is one; drawing does not look into it */
	model_not_subscribed(a->model, "the list is too long");
	buf_init(&b, 1 << 20);
	draw_frame(a, 40, 120);
	as_text(a, &b);
	buf_put(&b, "", 1);
	assert_non_null(strstr((const char *)buf_head(&b), "the list is too"));
	assert_null(strstr((const char *)buf_head(&b), "no sandboxes yet"));
	model_subscribed(a->model, none);
	buf_clear(&b);
	draw_frame(a, 40, 120);
	as_text(a, &b);
	buf_put(&b, "", 1);
	assert_non_null(strstr((const char *)buf_head(&b), "no sandboxes yet"));
	a->client = NULL;
	buf_release(&b);
	json_decref(none);
	done(a);
}

int main(void)
{
	setenv("TZ", "UTC", 1);
	setenv("HOME", "/home/me", 1);
	const struct CMUnitTest tests[] = { cmocka_unit_test(screens), cmocka_unit_test(ascii), cmocka_unit_test(what_is_lost), cmocka_unit_test(every_theme), cmocka_unit_test(every_size), cmocka_unit_test(hostile_text),
		cmocka_unit_test(a_list_that_could_not_be_had) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
