/* SPDX-License-Identifier: Apache-2.0 */
/* The state tree: what events do to it, and that nonsense does nothing. */
#include "tests/client/events.h"

static void events_build_the_tree(void **state)
{
	struct model *m = model_create();
	json_t *j = parse("{'seq':5,'host':{'cpus':2,'memory_total':1024},'sandboxes':["
			  "{'name':'green','state':'running','cpus':2,'sessions':[{'id':3,'kind':'pty','state':'waits','title':'hi\\u001b[31m'}],'docker':{'state':'ready'}},"
			  "{'name':'blue','state':'stopped','path':'/x'}]}");

	(void)state;
	model_subscribed(m, j);
	json_decref(j);
	assert_int_equal(m->nsandboxes, 2);
	assert_string_equal(m->sandboxes[0]->name, "blue"); /* by name */
	struct model_sandbox *g = model_find(m, "green");
	assert_int_equal(g->state, MS_RUNNING);
	assert_int_equal(g->docker, MD_READY);
	assert_int_equal(g->sessions[0].state, MSS_WAITS);
	assert_null(strchr(g->sessions[0].title, 0x1b));
	assert_int_equal(m->host.cpus, 2);

	for (int i = 0; i < MODEL_HISTORY + 10; i++)
		event(m, parse("{'kind':'stats','name':'green','stats':{'cpu':0.5,'mem_total':100,'mem_used':25,'channel_in':%d}}", i * 10));
	assert_int_equal(g->nhistory, MODEL_HISTORY);
	assert_true(g->cpu_history[MODEL_HISTORY - 1] > 0.49f && g->mem_history[0] > 0.24f);
	assert_true(g->in_history[5] > 9.9f && g->in_history[5] < 10.1f);

	event(m, parse("{'kind':'session','name':'green','session':{'id':4,'kind':'pty','state':'busy'}}"));
	assert_int_equal(g->nsessions, 2);
	event(m, parse("{'kind':'sandbox','sandbox':{'name':'red','state':'failed','reason':'it burned','console_tail':['a','b\\u0007']}}"));
	assert_int_equal(m->nsandboxes, 3);
	assert_string_equal(model_find(m, "red")->reason, "it burned");
	assert_int_equal(model_find(m, "red")->ntail, 2);
	assert_null(strchr(model_find(m, "red")->tail[1], 7));
	event(m, parse("{'kind':'removed','name':'blue'}"));
	assert_null(model_find(m, "blue"));

	/* A new subscription keeps the histories of those that stay. */
	j = parse("{'sandboxes':[{'name':'green','state':'paused'}]}");
	model_subscribed(m, j);
	json_decref(j);
	assert_int_equal(m->nsandboxes, 1);
	assert_int_equal(model_find(m, "green")->nhistory, MODEL_HISTORY);
	/* So does one that did not fit its line and follows. */
	j = parse("{'sandboxes':[{'name':'blue','state':'paused'}],'rest':['green', 5]}");
	model_subscribed(m, j);
	json_decref(j);
	assert_int_equal(m->nsandboxes, 2);
	assert_int_equal(model_find(m, "green")->nhistory, MODEL_HISTORY);
	model_not_subscribed(m, "no");
	assert_string_equal(m->trouble, "no");
	j = parse("{'sandboxes':[]}");
	model_subscribed(m, j);
	json_decref(j);
	assert_int_equal(m->nsandboxes, 0);
	assert_string_equal(m->trouble, "");
	model_destroy(m);
}

static void nonsense_changes_nothing(void **state)
{
	static const char *const bad[] = {
		"{}", "{'kind':5}", "{'kind':'sandbox'}", "{'kind':'sandbox','sandbox':[]}", "{'kind':'sandbox','sandbox':{'name':''}}",
		"{'kind':'session','name':'nobody','session':{}}", "{'kind':'stats','name':'x','stats':7}", "{'kind':'removed','name':'nobody'}",
		"{'kind':'top','name':'x','processes':{}}", "{'kind':'attention'}", "{'kind':'unheard of'}",
	};
	struct model *m = model_create();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		event(m, parse("%s", bad[i]));
	assert_int_equal(m->nsandboxes, 0);
	event(m, parse("{'kind':'sandbox','sandbox':{'name':'x','state':'unheard of','cpus':-4,'memory':'lots','sessions':[1,null,{}],'env':3}}"));
	assert_int_equal(m->nsandboxes, 1);
	assert_int_equal(m->sandboxes[0]->cpus, 0);
	model_destroy(m);
}

static void the_log_is_a_ring(void **state)
{
	struct model *m = model_create();

	(void)state;
	for (int i = 0; i < MODEL_LOG_MAX + 7; i++)
		event(m, parse("{'kind':'log','level':'warn','text':'line %d'}", i));
	assert_int_equal(m->nlog, MODEL_LOG_MAX);
	assert_string_equal(m->log[m->log_first].text, "line 7");
	model_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(events_build_the_tree),
		cmocka_unit_test(nonsense_changes_nothing),
		cmocka_unit_test(the_log_is_a_ring),
	};

	return cmocka_run_group_tests_name("client/model", tests, NULL, NULL);
}
