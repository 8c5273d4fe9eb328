/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Diff view: golden screens, what is marked, what a question would send and what it must leave out, which words are bright, and that nothing a guest
 * called its files or wrote into them reaches the screen as anything but text.
 */
#include "tests/tui/frames.h"

#include <time.h>

#include "tui/worddiff.h"

#define DIGEST "abababababababababababababababababababababababababababababababab"
#define OTHER  "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"

static json_t *json(const char *text)
{
	char *copy = str_dup(text);
	json_error_t je;

	assert_non_null(copy);
	for (char *p = copy; *p; p++)
		if (*p == '\'')
			*p = '"';
	json_t *j = json_loads(copy, 0, &je);
	if (!j)
		fail_msg("%s: %s", je.text, copy);
	free(copy);
	return j;
}

static const char blue[] = "{'workspaces':[{'path':'/home/me/src/shop','mode':'review','total':11,'add':63,'del':131,'conflicts':1,'marked':3,'entries':["
	"{'path':'.envrc','kind':'modified','type':'file','size':40,'add':1,'del':1,'mark':'direnv'},"
	"{'path':'.husky/pre-commit','kind':'added','type':'file','mode':493,'size':60,'add':3,'del':0,'mark':'git hook'},"
	"{'path':'Makefile','kind':'modified','type':'file','size':900,'add':2,'del':0,'mark':'make'},"
	"{'path':'assets/logo.png','kind':'added','type':'file','size':48000,'binary':true},"
	"{'path':'docs/\\\\033[31mred\\u202e.md','kind':'added','type':'file','size':9,'add':1,'del':0},"
	"{'path':'link','kind':'added','type':'symlink','size':12,'flags':['symlink-escapes']},"
	"{'path':'src/cart/bill.c','kind':'modified','type':'file','size':2300,'add':12,'del':3,'conflict':true},"
	"{'path':'src/cart/old.c','kind':'deleted','type':'file','size':0,'add':0,'del':120},"
	"{'path':'src/cart/total.c','kind':'modified','type':'file','size':2345,'add':44,'del':7},"
	"{'path':'src/net/run.sh','kind':'mode','type':'file','size':100,'old_mode':420,'mode':493},"
	"{'path':'src/net/wire.c','kind':'renamed','from':'src/wire.c','type':'file','size':700,'add':1,'del':1}]}]}";
static const char green[] = "{'workspaces':[{'path':'/home/me/src/shop','mode':'review','total':1,'entries':[{'path':'src/cart/total.c','kind':'modified','type':'file','add':4,'del':1}]}]}";
#define HUNKS "{'id':0,'old_start':12,'old_lines':6,'new_start':12,'new_lines':7,'section':'static int total(const struct cart *c)','lines':[{'k':' ','t':'\\tint sum = 0;'}," \
	"{'k':'-','t':'\\tfor (int i = 0; i < c->n; i++)'},{'k':'-','t':'\\t\\tsum += c->item[i].price;'},{'k':'+','t':'\\tfor (size_t i = 0; i < c->n; i++)'}," \
	"{'k':'+','t':'\\t\\tsum += c->item[i].price * c->item[i].count;'},{'k':'+','t':'\\t\\u6f22\\u5b57 u\\u0308 \\u202e \\\\033[2J','escaped':true},{'k':' ','t':'\\treturn sum;'}]}," \
	"{'id':1,'old_start':88,'old_lines':3,'new_start':89,'new_lines':3,'section':'int main(void)','lines':[{'k':' ','t':'\\tstruct cart c = { 0 };'}," \
	"{'k':'-','t':'\\treturn run(&c);'},{'k':'+','t':'\\treturn run(&c) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;'},{'k':'\\\\','t':' No newline at end of file'}]}"
#define SIDES "'ours':{'hunks':[{'id':0,'old_start':12,'new_start':12,'lines':[{'k':' ','t':'a'},{'k':'-','t':'old'},{'k':'+','t':'the host'},{'k':' ','t':'z'}]}]}," \
	"'theirs':{'hunks':[{'id':0,'old_start':12,'new_start':12,'lines':[{'k':' ','t':'a'},{'k':'-','t':'old'},{'k':'+','t':'the sandbox'},{'k':'+','t':'more'},{'k':' ','t':'z'}]}]},"

static void list(struct app *a, const char *name, const char *text)
{
	struct difflist *l = diffmodel_list(&a->model->diff, name);
	json_t *j = json(text);
	size_t ws;
	uint64_t from;

	assert_non_null(l);
	assert_false(difflist_page(l, j, true, &ws, &from));
	json_decref(j);
}

/* The text of what the cursor is on, as the supervisor would answer. */
static void text_is(struct app *a, const char *answer)
{
	const char *workspace;
	json_t *j = json(answer);

	draw_frame(a, 40, 120);
	const struct change *c = diff_change(a, &workspace);
	assert_non_null(c);
	difftext_take(&a->model->diff.text, a->selected, workspace, c->path, j);
	a->diff.line = a->diff.line_top = 0;
	json_decref(j);
}

static const char modified[] = "{'kind':'modified','digest':'" DIGEST "','old_size':2000,'new_size':2345,'hunks':[" HUNKS "]}";

static struct app *make(void)
{
	struct app *a = bare();

	for (int i = 0; i < 2; i++)
		feed(a, json_pack("{s:s,s:{s:s,s:s,s:s,s:s,s:i,s:{s:i,s:i,s:i,s:i,s:i}}}", "kind", "sandbox", "sandbox", "name", i ? "green" : "blue", "kit", "shell", "path",
				  "/home/me/src/shop", "state", "running", "cpus", 2, "changes", "files", i ? 1 : 11, "add", i ? 4 : 63, "del", i ? 1 : 131, "conflicts", i ? 0 : 1, "marked", i ? 0 : 3));
	list(a, "blue", blue);
	list(a, "green", green);
	press(a, "4");
	draw_frame(a, 40, 120);
	return a;
}

/* To the row of that path. */
static const struct change *go(struct app *a, const char *path)
{
	const char *workspace;
	const struct change *c;

	press(a, "Home");
	for (size_t i = 0; i <= a->diff.nrows; i++, press(a, "Down"))
		if ((c = diff_change(a, &workspace)) && !strcmp(c->path, path))
			return c;
	fail_msg("%s is not in the list", path);
	return NULL;
}

static void screens(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct app *a = make();
		const int rows = sizes[i][0], cols = sizes[i][1];

		golden(a, "diff", rows, cols);
		go(a, "src/cart/total.c");
		text_is(a, modified);
		press(a, "Enter");
		press(a, "n");
		press(a, "Space");
		golden(a, "diff-text", rows, cols);
		press(a, "|");
		golden(a, "diff-sides", rows, cols);
		press(a, "|");
		golden(a, "diff-one-column", rows, cols);
		press(a, "/");
		press(a, "s");
		press(a, "u");
		golden(a, "diff-search", rows, cols);
		press(a, "Enter");
		press(a, "Esc");
		press(a, "Esc");
		go(a, ".envrc");
		press(a, "Space");
		go(a, "src/cart/old.c");
		press(a, "Space");
		press(a, "a");
		golden(a, "diff-apply", rows, cols);
		press(a, "Esc");
		press(a, "d");
		golden(a, "diff-discard", rows, cols);
		press(a, "n");
		go(a, "src/cart/bill.c");
		a->diff.conflict = true;
		text_is(a, "{'kind':'modified','digest':'" DIGEST "','conflict':true," SIDES "'hunks':[" HUNKS "]}");
		press(a, "Enter");
		golden(a, "diff-conflict", rows, cols);
		press(a, "Esc");
		press(a, "1");
		a->lower = LOWER_DIFF;
		golden(a, "diff-overview", rows, cols);
		done(a);
	}
}

static void the_cursor_stays_and_folds(void **state)
{
	struct app *a = make();

	(void)state;
	go(a, "src/cart/total.c");
	const size_t rows = a->diff.nrows;
	press(a, "t"); /* flat: fewer rows, the same file */
	draw_frame(a, 40, 120);
	const char *ws;
	assert_true(a->diff.nrows < rows);
	assert_string_equal(diff_change(a, &ws)->path, "src/cart/total.c");
	press(a, "t");
	list(a, "blue", "{'workspaces':[{'path':'/home/me/src/shop','total':3,'entries':[{'path':'aaa'},{'path':'src/cart/total.c'},{'path':'src/cart/x/y'}]}]}");
	draw_frame(a, 40, 120);
	assert_string_equal(diff_change(a, &ws)->path, "src/cart/total.c");
	press(a, "h"); /* its directory */
	assert_null(diff_change(a, &ws));
	press(a, "h");
	assert_int_equal(a->diff.nrows, 2);
	press(a, "l");
	assert_int_equal(a->diff.nrows, 5);
	list(a, "blue", "{'workspaces':[]}");
	draw_frame(a, 40, 120);
	press(a, "Space");
	press(a, "a");
	assert_int_equal(a->overlay, OV_NONE);
	press(a, "/");
	press(a, "w");
	press(a, "i");
	list(a, "blue", blue);
	draw_frame(a, 40, 120);
	for (size_t i = 0; i < a->diff.nrows; i++)
		if (filerow_change(&a->diff.rows[i], diff_list(a)))
			assert_non_null(strchr(filerow_change(&a->diff.rows[i], diff_list(a))->path, 'w'));
	press(a, "Esc");
	draw_frame(a, 40, 120);
	assert_int_equal(a->diff.nrows, rows);
	done(a);
}

/* The item of a path in the question; NULL when it is left out. */
static const json_t *item(const struct app *a, const char *path)
{
	for (size_t i = 0; i < a->diffask.nparts; i++)
		for (size_t k = 0; k < json_array_size(a->diffask.part[i].items); k++) {
			const json_t *o = json_array_get(a->diffask.part[i].items, k);

			if (!strcmp(json_string_value(json_object_get(o, "path")), path))
				return o;
		}
	return NULL;
}

static bool says(const struct app *a, const char *text)
{
	for (size_t i = 0; i < a->diffask.nlines; i++)
		if (strstr(a->diffask.lines[i], text))
			return true;
	return false;
}

static void what_an_apply_would_do(void **state)
{
	struct app *a = make();

	(void)state;
	press(a, "*");
	assert_int_equal(diffmark_count(&a->diff, "blue"), 11);
	press(a, "a");
	assert_int_equal(a->overlay, OV_CHANGES);
	assert_int_equal(a->diffask.files, 6);
	assert_null(item(a, "src/cart/bill.c")); /* in conflict */
	assert_null(item(a, "link"));            /* leaves the workspace */
	/* What would run on the host and was not opened stays out, however it was marked. */
	assert_true(!item(a, ".envrc") && !item(a, "Makefile") && says(a, ".envrc: direnv, NOT read to its end: left out") && says(a, "3 would run on the host, not read to the end"));
	assert_null(json_object_get(item(a, "src/cart/old.c"), "named"));
	assert_true(diff_is_git(".git/config") && diff_is_git("a/.GIT") && diff_is_git("a/.git/b") && !diff_is_git(".gitignore") && !diff_is_git("a.git/b"));
	press(a, "Enter"); /* no is the default, and the marks stay */
	assert_int_equal(a->overlay, OV_NONE);
	assert_int_equal(diffmark_count(&a->diff, "blue"), 11);
	press(a, "*");
	assert_int_equal(diffmark_count(&a->diff, "blue"), 0);
	/* Nothing marked: what the cursor is on; a directory is all below it. */
	go(a, "src/cart/old.c");
	press(a, "h");
	press(a, "a");
	assert_true(a->diffask.files == 2 && item(a, "src/cart/old.c") && item(a, "src/cart/total.c"));
	press(a, "y");
	assert_int_equal(a->overlay, OV_NONE);
	/* A discard takes what is in conflict too, and nothing has to be read for it. */
	press(a, "d");
	assert_true(a->diffask.discard && a->diffask.files == 3 && item(a, "src/cart/bill.c"));
	press(a, "Esc");
	/* While somebody asks, a and d answer that. */
	feed(a, json_pack("{s:s,s:{s:i,s:s,s:i,s:s,s:s,s:i}}", "kind", "ask", "ask", "id", 5, "sandbox", "green", "count", 1, "proto", "tls", "name", "x.example", "port", 443));
	draw_frame(a, 40, 120);
	press(a, "a");
	assert_int_equal(a->overlay, OV_NONE);
	done(a);
}

static void what_runs_on_the_host_is_read_first(void **state)
{
	static const char hook[] = "{'kind':'added','digest':'" DIGEST "','new_size':600,'hunks':[{'id':0,'new_start':1,'lines':[%s]}]}";
	struct app *a = make();
	char lines[16000] = "", answer[17000];
	json_t *j;

	(void)state;
	for (int i = 0; i < 100; i++)
		snprintf(lines + strlen(lines), sizeof(lines) - strlen(lines), "%s{'k':'+','t':'line %d%s'}", i ? "," : "", i,
			 i == 50 ? "                                                                                                                    ; evil" : "");
	snprintf(answer, sizeof(answer), hook, lines);
	go(a, ".husky/pre-commit");
	text_is(a, answer);
	for (int i = 0; i < 3; i++) { /* beside the list it was not opened */
		draw_frame(a, 40, 120);
		press(a, "C-d");
	}
	press(a, "Enter");
	draw_frame(a, 40, 120);
	press(a, "End");
	for (int i = 0; i < 20; i++) {
		draw_frame(a, 40, 120);
		press(a, "Right");
	}
	draw_frame(a, 40, 120);
	assert_null(diff_seen(&a->diff, "blue", "/home/me/src/shop", ".husky/pre-commit")); /* what lies between was passed over */
	while (a->diff.line > 0 || a->diff.left > 0) {
		press(a, a->diff.line > 0 ? "PgUp" : "Left");
		draw_frame(a, 40, 120);
	}
	for (int i = 0; i < 5; i++) {
		draw_frame(a, 40, 120);
		press(a, "PgDn");
	}
	draw_frame(a, 40, 120);
	assert_null(diff_seen(&a->diff, "blue", "/home/me/src/shop", ".husky/pre-commit")); /* a line goes on at the right, where it was not looked at */
	/* The same text told again in between, as when the sandbox writes elsewhere. */
	const size_t read = a->diff.nread;
	j = json(answer);
	difftext_take(&a->model->diff.text, "blue", "/home/me/src/shop", ".husky/pre-commit", j);
	json_decref(j);
	draw_frame(a, 40, 120);
	assert_true(read > 90 && a->diff.nread == read);
	press(a, "C-u");
	draw_frame(a, 40, 120);
	press(a, "C-u");
	draw_frame(a, 40, 120);
	for (int i = 0; i < 20; i++) {
		press(a, "Right");
		draw_frame(a, 40, 120);
	}
	assert_string_equal(diff_seen(&a->diff, "blue", "/home/me/src/shop", ".husky/pre-commit"), DIGEST);
	press(a, "a");
	assert_true(says(a, "pre-commit: git hook, read to its end") && json_object_get(item(a, ".husky/pre-commit"), "named"));
	assert_string_equal(json_string_value(json_object_get(item(a, ".husky/pre-commit"), "digest")), DIGEST);
	press(a, "n");
	/* Other bytes were not read: they stay out. */
	memcpy(strstr(answer, DIGEST), OTHER, 64);
	press(a, "Esc");
	text_is(a, answer);
	press(a, "a");
	assert_int_equal(a->overlay, OV_NONE);
	assert_non_null(strstr(a->message, "NOT read"));
	/* What is cut cannot be read to its end here. */
	j = json(answer);
	json_object_set_new(j, "truncated", json_true());
	difftext_take(&a->model->diff.text, "blue", "/home/me/src/shop", ".husky/pre-commit", j);
	json_decref(j);
	press(a, "Enter");
	for (int i = 0; i < 20; i++) {
		press(a, i ? "Right" : "End");
		draw_frame(a, 40, 120);
	}
	assert_string_equal(diff_seen(&a->diff, "blue", "/home/me/src/shop", ".husky/pre-commit"), DIGEST);
	done(a);
}

static void many_that_were_not_read_stay_out(void **state)
{
	struct app *a = make();
	json_t *entries = json_array(), *j;
	struct difflist *l = diff_list(a);
	size_t ws;
	uint64_t from;

	(void)state;
	for (int i = 0; i < 1000; i++) {
		char path[32];

		snprintf(path, sizeof(path), "h/%d", i);
		json_array_append_new(entries, json_pack("{s:s,s:s,s:s}", "path", path, "kind", "added", "mark", "git hook"));
	}
	j = json_pack("{s:[{s:s,s:i,s:o}]}", "workspaces", "path", "/home/me/src/shop", "total", 1000, "entries", entries);
	assert_false(difflist_page(l, j, true, &ws, &from));
	json_decref(j);
	draw_frame(a, 40, 120);
	press(a, "*");
	press(a, "a");
	assert_int_equal(a->overlay, OV_NONE);
	assert_non_null(strstr(a->message, "NOT read to its end"));
	done(a);
}

static void hunks_are_marked(void **state)
{
	struct app *a = make();

	(void)state;
	go(a, "src/cart/total.c");
	text_is(a, modified);
	press(a, "Enter");
	draw_frame(a, 40, 120);
	press(a, "n");
	press(a, "Space");
	press(a, "a");
	const json_t *hunks = json_object_get(item(a, "src/cart/total.c"), "hunks");
	assert_true(json_array_size(hunks) == 1 && json_integer_value(json_array_get(hunks, 0)) == 1);
	assert_string_equal(json_string_value(json_object_get(item(a, "src/cart/total.c"), "digest")), DIGEST);
	press(a, "n");
	press(a, "N");
	/* Other lines around them: other numbers. What was marked goes, and nothing is marked by the old ones. */
	press(a, "e");
	assert_int_equal(diffmark_count(&a->diff, "blue"), 0);
	press(a, "Space");
	assert_int_equal(diffmark_count(&a->diff, "blue"), 0);
	press(a, "e");
	press(a, "e");
	press(a, "n");
	press(a, "Space");
	press(a, "Home");
	press(a, "Space"); /* both: the file */
	press(a, "a");
	assert_null(json_object_get(item(a, "src/cart/total.c"), "hunks"));
	press(a, "n");
	press(a, "Home");
	press(a, "Space");
	assert_int_equal(json_array_size(diffmark_find(&a->diff, "blue", "/home/me/src/shop", "src/cart/total.c")->hunks), 1);
	/* It changed under the marks: they go. */
	struct difftext *t = &a->model->diff.text;
	memcpy(t->digest, OTHER, 64);
	assert_int_equal(diffmark_settle(&a->diff, diff_list(a), t), 1);
	assert_int_equal(diffmark_count(&a->diff, "blue"), 0);
	/* Search goes around, both ways. */
	press(a, "Home");
	press(a, "/");
	for (const char *p = "return"; *p; p++) {
		const char key[2] = { *p, '\0' };

		press(a, key);
	}
	press(a, "Enter");
	const size_t first = a->diff.line;
	press(a, "n");
	assert_true(a->diff.line > first);
	press(a, "N");
	assert_int_equal(a->diff.line, first);
	press(a, "N");
	assert_true(a->diff.line > first);
	done(a);
}

static void the_mouse(void **state)
{
	struct app *a = make();
	const char *ws;

	(void)state;
	draw_frame(a, 40, 120);
	click(a, MOUSE_PRESS, a->diff.files_row + 3, 12);
	assert_string_equal(diff_change(a, &ws)->path, "Makefile");
	click(a, MOUSE_PRESS, a->diff.files_row + 3, 1);
	assert_non_null(diffmark_find(&a->diff, "blue", "/home/me/src/shop", "Makefile"));
	click(a, MOUSE_PRESS, a->diff.files_row + 1, 12);
	click(a, MOUSE_PRESS, a->diff.files_row + 1, 12); /* again: folded */
	draw_frame(a, 40, 120);
	assert_true(a->diff.rows[1].folded);
	go(a, "src/cart/total.c");
	text_is(a, modified);
	draw_frame(a, 40, 120);
	click(a, MOUSE_PRESS, a->diff.text_row + 3, 80);
	assert_int_equal(a->focus, FOCUS_LOWER);
	assert_int_equal(a->diff.line, 3);
	click(a, MOUSE_PRESS, a->diff.text_row, a->layout.lower.col + 3);
	assert_non_null(diffmark_find(&a->diff, "blue", "/home/me/src/shop", "src/cart/total.c")->hunks);
	draw_frame(a, 14, 120);
	click(a, MOUSE_WHEEL_DOWN, a->diff.text_row, 80);
	draw_frame(a, 14, 120);
	assert_true(a->diff.line_top > 0 && a->diff.line >= a->diff.line_top);
	draw_frame(a, 40, 120);
	const int cols = a->layout.main.cols;
	click(a, MOUSE_PRESS, a->layout.main.row + 3, cols - 1);
	click(a, MOUSE_DRAG, a->layout.main.row + 3, cols + 9);
	click(a, MOUSE_RELEASE, a->layout.main.row + 3, cols + 9);
	draw_frame(a, 40, 120);
	assert_int_equal(a->layout.main.cols, cols + 10);
	done(a);
}

static void words(void **state)
{
	static const struct { const char *a, *b, *in_a, *in_b; bool ok; } all[] = {
		{ "return run(c);", "return run(c, d);", "", ", d", true },
		{ "int i = 0;", "size_t i = 0;", "int", "size_t", true },
		{ "a b c d", "a x y d", "b c", "x y", true },
		{ "same", "same", "", "", true },
		{ "nothing in common", "42 + 7 / 9 == x", "", "", false },
		{ "", "new", "", "", false },
		{ "caf\xc3\xa9 au lait", "cafe\xcc\x81 au lait", "caf\xc3\xa9", "cafe\xcc\x81", true },
	};
	struct worddiff wd;
	char many[4000];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		const char *const in[] = { all[i].in_a, all[i].in_b }, *const s[] = { all[i].a, all[i].b };

		assert_int_equal(worddiff(all[i].a, all[i].b, &wd), all[i].ok);
		const struct wordspan *sp[] = { wd.a, wd.b };
		const size_t n[] = { wd.na, wd.nb };
		for (int k = 0; k < 2; k++) {
			assert_int_equal(n[k], in[k][0] ? 1 : 0);
			if (n[k])
				assert_true(sp[k][0].to - sp[k][0].from == strlen(in[k]) && !memcmp(s[k] + sp[k][0].from, in[k], strlen(in[k])));
		}
	}
	memset(many, '.', sizeof(many) - 1);
	many[sizeof(many) - 1] = '\0';
	assert_false(worddiff(many, many, &wd)); /* bounded, not slow */
}

static const char *const every_key[] = { "Down", "Down", "Enter", "n", "Space", "N", "J", "K", "|", "c", "e", "C-d", "C-u", "Right", "Left", "/", "s", "Enter", "n", "Esc", "Esc", "t", "*", "a",
	"Down", "PgDn", "n", "X", "Esc", "]", "Space", "[", "End", "G", "PgUp", "Tab", "S-Tab", "<", ">", "+", "?", "Esc", "u", "1", "Tab", "Tab", "Tab", "Enter" };

static void every_size(void **state)
{
	struct app *a = make();

	(void)state;
	go(a, "src/cart/total.c");
	text_is(a, "{'kind':'modified','digest':'" DIGEST "','conflict':true," SIDES "'hunks':[" HUNKS "]}");
	press(a, "Home");
	for (size_t i = 0; i < ARRAY_SIZE(every_key); i++) {
		press(a, every_key[i]);
		all_sizes(a, every_key[i]);
	}
	done(a);
}

static void hostile_text(void **state)
{
	static const char *const keys[] = { "Enter", "|", "Right", "Right", "c", "Esc", "a", "Esc" };
	struct app *a = make();

	(void)state;
	list(a, "blue", "{'workspaces':[{'path':'/home/me/src/shop','total':1,'entries':[{'path':'\\u009b31m\\u001b]52;c;A\\u0007/\\u202ex\\u0301\\u6f22\\n','kind':'renamed','from':'\\u001b[2J',"
			"'type':'file','mark':'\\u001b[1m','flags':['\\u0085']}]}]}");
	press(a, "G");
	text_is(a, "{'kind':'modified','digest':'" DIGEST "',"
		   "'ours':[{'lines':[{'k':'+','t':'\\u009b2J'}]}],'hunks':[{'id':0,'section':'\\u001b[1m','lines':[{'k':'-','t':'\\u001b]0;x\\u0007\\u202e\\u0301\\u6f22\\u5b57\\t\\r\\n'},"
		   "{'k':'+','t':'\\u0301\\u200d\\u2028\\ufeff \\ud83d\\ude00'}]}]}");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		press(a, keys[i]);
		for (int cols = 10; cols < 210; cols += 7) {
			draw_frame(a, 40, cols);
			sound(a, keys[i]);
			for (int n = 0; n < a->canvas.rows * a->canvas.cols; n++)
				assert_true(a->canvas.cells[n].len < 3 || !strstr(a->canvas.cells[n].text, "\xe2\x80\xae"));
		}
	}
	done(a);
}

/* A list of tens of thousands and a text of as many lines cost a frame little. */
static void floods_are_cheap(void **state)
{
	struct app *a = make();
	json_t *entries = json_array(), *lines = json_array(), *j;
	struct difflist *l = diff_list(a);
	size_t ws;
	uint64_t from;

	(void)state;
	for (int i = 0; i < DIFF_ENTRIES_MAX; i++) {
		char path[48];

		snprintf(path, sizeof(path), "d%d/e%d/f%d", i % 90, i % 7, i);
		json_array_append_new(entries, json_pack("{s:s,s:s}", "path", path, "kind", "added"));
	}
	j = json_pack("{s:[{s:s,s:i,s:o}]}", "workspaces", "path", "/home/me/src/shop", "total", DIFF_ENTRIES_MAX, "entries", entries);
	const clock_t start = clock();
	assert_false(difflist_page(l, j, true, &ws, &from));
	json_decref(j);
	draw_frame(a, 60, 200);
	for (int i = 0; i < 30000; i++)
		json_array_append_new(lines, json_pack("{s:s,s:s}", "k", i % 4 < 2 ? "-" : "+", "t", i % 2 ? "one two three = four(five, six);" : "one 2 three = four(five, 6);"));
	j = json_pack("{s:s,s:[{s:i,s:o}]}", "digest", DIGEST, "hunks", "id", 0, "lines", lines);
	press(a, "End");
	const char *workspace;
	draw_frame(a, 60, 200);
	assert_non_null(diff_change(a, &workspace));
	difftext_take(&a->model->diff.text, "blue", workspace, diff_change(a, &workspace)->path, j);
	json_decref(j);
	for (int i = 0; i < 50; i++) {
		press(a, i % 2 ? "Down" : "C-d");
		draw_frame(a, 60, 200);
	}
	const double s = (double)(clock() - start) / CLOCKS_PER_SEC;
	print_message("a list of %d, a text of 30000 lines, 52 frames: %.3f s\n", DIFF_ENTRIES_MAX, s);
	assert_true(s < 3.0); /* of half a second they may take; sanitizers included */
	done(a);
}

int main(void)
{
	setenv("TZ", "UTC", 1);
	setenv("HOME", "/home/me", 1);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(screens), cmocka_unit_test(the_cursor_stays_and_folds), cmocka_unit_test(what_an_apply_would_do), cmocka_unit_test(what_runs_on_the_host_is_read_first),
		cmocka_unit_test(many_that_were_not_read_stay_out), cmocka_unit_test(hunks_are_marked), cmocka_unit_test(the_mouse), cmocka_unit_test(words),
		cmocka_unit_test(every_size), cmocka_unit_test(hostile_text), cmocka_unit_test(floods_are_cheap),
	};

	return cmocka_run_group_tests_name("tui/diff", tests, NULL, NULL);
}
