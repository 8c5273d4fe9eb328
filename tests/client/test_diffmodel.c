/* SPDX-License-Identifier: Apache-2.0 */
/* What sandboxes changed, as the state tree keeps it: pages become one sorted list, hunks get their lines' numbers and pairs, nonsense and floods stay bounded. */
#include "tests/client/events.h"

#include <stdlib.h>

static void page(struct difflist *l, json_t *j, bool first, bool more)
{
	size_t ws = 99;
	uint64_t from = 99;

	assert_int_equal(difflist_page(l, j, first, &ws, &from), more);
	if (more)
		assert_true(ws < l->coming.nws && from == l->coming.ws[ws].nentries);
	json_decref(j);
}

static void pages_become_a_list(void **state)
{
	struct diffmodel d = { 0 };
	struct difflist *l = diffmodel_list(&d, "blue");
	struct model_changes sum;

	(void)state;
	assert_ptr_equal(l, diffmodel_list(&d, "blue"));
	page(l, parse("{'workspaces':[{'path':'/w','mode':'review','generation':3,'total':5,'add':7,'del':2,'conflicts':1,'marked':1,'entries':["
		      "{'path':'a.b','kind':'added','type':'file','size':10,'add':7,'del':0},"
		      "{'path':'a/z','kind':'renamed','from':'old','type':'file','mode':33188,'mark':'git hook','flags':['setuid',3,'device\\u001b']}]},"
		      "{'path':'/v','mode':'live','total':1,'entries':[{'path':'x','kind':'deleted','conflict':true}]}]}"), true, true);
	assert_int_equal(l->now.nws, 0); /* nothing is shown before it is whole */
	page(l, parse("{'workspaces':[{'path':'/w','mode':'review','total':5,'add':7,'del':2,'entries':[{'path':'a','kind':'mode'},{'path':'a/b\\u202e\\\\033','kind':'modified'},"
		      "{'path':'a.b','kind':'added'}]}]}"), false, false);
	assert_true(l->loaded && l->now.nws == 2 && l->now.entries == 6);
	const struct change_workspace *w = &l->now.ws[0];
	static const char *const order[] = { "a", "a/b\xe2\x80\xae\\033", "a/z", "a.b" }; /* told twice is once */
	assert_int_equal(w->nentries, ARRAY_SIZE(order));
	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		assert_string_equal(w->entries[i].path, order[i]);
		assert_ptr_equal(difflist_find(l, 0, order[i]), &w->entries[i]);
	}
	const struct change *c = difflist_find(l, 0, "a/z");
	assert_true(c->kind == CK_RENAMED && c->mode == 33188 && !c->counted);
	assert_string_equal(c->from, "old");
	assert_string_equal(c->mark, "git hook");
	assert_string_equal(c->flags, "setuid device^[");
	assert_true(difflist_find(l, 1, "x")->conflict && !difflist_find(l, 1, "y") && !difflist_find(l, 7, "x"));
	difflist_totals(l, &sum);
	assert_true(sum.files == 6 && sum.add == 7 && sum.del == 2);
	difflist_failed(l, "no\x1bway");
	assert_string_equal(l->error, "no^[way");
	assert_int_equal(l->now.nws, 2); /* what was there stays to be looked at */
	for (int i = 0; i < DIFF_LISTS_MAX + 3; i++) {
		char name[8];

		snprintf(name, sizeof(name), "s%d", i);
		assert_non_null(diffmodel_list(&d, name));
	}
	assert_true(d.nlists == DIFF_LISTS_MAX && !diffmodel_find(&d, "blue"));
	diffmodel_forget(&d, "s9");
	assert_true(d.nlists == DIFF_LISTS_MAX - 1 && !diffmodel_find(&d, "s9"));
	diffmodel_release(&d);
}

static void hunks_have_numbers_and_pairs(void **state)
{
	struct difftext t = { 0 };
	json_t *j = parse("{'kind':'modified','digest':'abc','old_size':9,'new_size':10,'conflict':true,'hunks':[{'id':'h1','old_start':4,'old_lines':4,'new_start':4,'new_lines':3,"
			  "'section':'int main(void)','lines':[{'k':' ','t':'a\\tb\\n'},{'k':'-','t':'one','cr':true},{'k':'-','t':'two'},{'k':'-','t':'three'},{'k':'+','t':'ONE\\u001b[2J'},"
			  "{'k':'+','t':'tw\\u202eo'},{'k':'\\\\','t':' No newline at end of file'}]},{'id':7,'old_start':90,'new_start':80,'lines':[{'k':'+','t':'x\\\\000y','escaped':true}]}],"
			  "'ours':{'hunks':[{'lines':[{'k':'+','t':'host'}]}]},'theirs':[{'lines':[{'k':'-','t':'sandbox'}]}]}");

	(void)state;
	difftext_take(&t, "blue", "/w", "a/b", j);
	json_decref(j);
	assert_true(t.loaded && difftext_is(&t, "blue", "/w", "a/b") && !difftext_is(&t, "blue", "/w", "a/c"));
	assert_string_equal(t.digest, "abc");
	const struct diffpart *p = &t.diff;
	assert_true(p->nhunks == 2 && p->nlines == 8 && !p->cut);
	assert_string_equal(json_string_value(p->hunks[0].id), "h1");
	assert_int_equal(json_integer_value(p->hunks[1].id), 7);
	assert_string_equal(diffpart_text(p, &p->lines[0]), "a\tb");
	assert_string_equal(diffpart_text(p, &p->lines[1]), "one^M");
	assert_string_equal(diffpart_text(p, &p->lines[2]), "two");
	assert_true(p->lines[0].old_no == 4 && p->lines[0].new_no == 4 && p->lines[3].old_no == 7 && !p->lines[3].new_no && p->lines[5].new_no == 6);
	assert_true(p->lines[1].pair == 4 && p->lines[4].pair == 1 && p->lines[2].pair == 5 && p->lines[3].pair == -1);
	assert_null(strchr(diffpart_text(p, &p->lines[4]), 0x1b));
	assert_null(strstr(diffpart_text(p, &p->lines[5]), "\xe2\x80\xae"));
	assert_true(p->lines[7].escaped && p->hunks[1].first == 7 && p->hunks[1].nlines == 1 && p->lines[7].new_no == 80);
	assert_true(t.has_sides && t.side[0].nlines == 1 && t.side[1].lines[0].k == '-');
	difftext_failed(&t, "blue", "/w", "gone", "it is no longer there");
	assert_true(!t.loaded && difftext_is(&t, "blue", "/w", "gone"));
	assert_string_equal(t.error, "it is no longer there");
	difftext_release(&t);
	assert_false(difftext_is(&t, "blue", "/w", "gone"));
}

static void counts_come_with_events(void **state)
{
	struct model *m = model_create();

	(void)state;
	event(m, parse("{'kind':'sandbox','sandbox':{'name':'blue','state':'running'}}"));
	const struct model_changes *c = &model_find(m, "blue")->changes;
	assert_false(c->known);
	event(m, parse("{'kind':'sandbox','sandbox':{'name':'blue','state':'running','changes':{'files':2,'add':10,'del':1}}}"));
	assert_true(c->known && c->files == 2 && c->add == 10 && c->del == 1 && c->version == 1);
	event(m, parse("{'kind':'sandbox','sandbox':{'name':'blue','state':'running','changes':{'files':2,'add':10,'del':1}}}"));
	assert_int_equal(c->version, 1); /* nothing new */
	event(m, parse("{'kind':'changes','name':'blue','files':2,'add':10,'del':1,'conflicts':1,'marked':2}"));
	event(m, parse("{'kind':'changes','name':'blue','files':2,'add':10,'del':1,'conflicts':1,'marked':2}"));
	assert_true(c->version == 3 && c->conflicts == 1 && c->marked == 2); /* other bytes, the same counts */
	event(m, parse("{'kind':'resync','sandboxes':[{'name':'blue','state':'running'}]}"));
	assert_int_equal(c->version, 4);
	event(m, parse("{'kind':'changes','name':'nobody','files':2}"));
	assert_non_null(diffmodel_list(&m->diff, "blue"));
	event(m, parse("{'kind':'removed','name':'blue'}"));
	assert_null(diffmodel_find(&m->diff, "blue"));
	model_destroy(m);
}

static void nonsense_changes_nothing(void **state)
{
	static const char *const lists[] = { "{}", "[]", "{'workspaces':7}", "{'workspaces':[null,{},{'path':''},{'path':5}]}", "{'workspaces':[{'path':'/w','total':-4,'entries':{}}]}",
		"{'workspaces':[{'path':'/w','total':9,'entries':[]}]}", "{'workspaces':[{'path':'/w','entries':[1,{},{'path':''},{'kind':'added'}]}]}" };
	static const char *const texts[] = { "{}", "{'hunks':{}}", "{'hunks':[null,7]}", "{'hunks':[{'lines':[null,{},{'k':7,'t':{}},{'k':'','t':'x'}],'old_start':-1}]}",
		"{'hunks':[{'lines':[{'k':'+'},{'k':'-'},{'k':'\\\\'}],'new_start':4294967295}]}" };
	struct diffmodel d = { 0 };
	struct difflist *l = diffmodel_list(&d, "x");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		page(l, parse("%s", lists[i]), true, false);
		assert_int_equal(l->now.entries, 0);
		page(l, parse("%s", lists[i]), false, false);
	}
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		json_t *j = parse("%s", texts[i]);

		difftext_take(&d.text, "x", "/w", "p", j);
		json_decref(j);
		assert_true(d.text.loaded);
	}
	diffmodel_release(&d);
}

static void floods_stay_bounded(void **state)
{
	struct diffmodel d = { 0 };
	struct difflist *l = diffmodel_list(&d, "x");
	json_t *entries = json_array(), *lines = json_array();
	char *wide = malloc(DIFF_LINE_MAX * 3);
	size_t ws;
	uint64_t from;

	(void)state;
	for (int i = 0; i < DIFF_ENTRIES_MAX + 100; i++) {
		char path[32];

		snprintf(path, sizeof(path), "d%d/f%d", i % 17, i);
		json_array_append_new(entries, json_pack("{s:s}", "path", path));
	}
	json_t *j = json_pack("{s:[{s:s,s:i,s:o}]}", "workspaces", "path", "/w", "total", 1000000, "entries", entries);
	assert_false(difflist_page(l, j, true, &ws, &from)); /* no more is asked for */
	assert_int_equal(l->now.ws[0].nentries, DIFF_ENTRIES_MAX);
	json_decref(j);
	memset(wide, 'x', DIFF_LINE_MAX * 3);
	wide[DIFF_LINE_MAX * 3 - 1] = '\0';
	json_t *line = json_pack("{s:s,s:s}", "k", "+", "t", "y");
	json_array_append_new(lines, json_pack("{s:s,s:s}", "k", "+", "t", wide));
	for (int i = 0; i < DIFF_LINES_MAX + 10; i++)
		json_array_append(lines, line);
	json_decref(line);
	j = json_pack("{s:[{s:i,s:o}]}", "hunks", "id", 1, "lines", lines);
	difftext_take(&d.text, "x", "/w", "p", j);
	json_decref(j);
	assert_true(d.text.truncated && d.text.diff.nlines == DIFF_LINES_MAX);
	assert_int_equal(strlen(diffpart_text(&d.text.diff, &d.text.diff.lines[0])), DIFF_LINE_MAX);
	free(wide);
	diffmodel_release(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_become_a_list), cmocka_unit_test(hunks_have_numbers_and_pairs), cmocka_unit_test(counts_come_with_events),
		cmocka_unit_test(nonsense_changes_nothing), cmocka_unit_test(floods_stay_bounded),
	};

	return cmocka_run_group_tests_name("client/diffmodel", tests, NULL, NULL);
}
