/* SPDX-License-Identifier: Apache-2.0 */
/* The network's part of the state tree: questions come and go in order, a connection is one row, floods stay bounded, nonsense does nothing. */
#include "tests/client/events.h"

#include "core/client/fields.h"

static void decided(struct model *m, int seq, int conn, const char *verdict, const char *more)
{
	event(m, parse("{'kind':'decision','decision':{'seq':%d,'at':'2026-01-02T03:04:05.678Z','event':'decided','sandbox':'blue','conn':%d,'verdict':'%s',"
		       "'proto':'tls','name':'api.example.org','port':443%s}}", seq, conn, verdict, more));
}

static void questions_come_and_go(void **state)
{
	struct model *m = model_create();
	struct netmodel *n = &m->net;

	(void)state;
	event(m, parse("{'kind':'sandbox','sandbox':{'name':'blue','state':'running'}}"));
	event(m, parse("{'kind':'ask','ask':{'id':7,'sandbox':'blue','count':1,'since':'2026-01-02T03:04:06.000Z','until':'2026-01-02T03:06:06Z','proto':'tls',"
		       "'name':'b.example','port':443,'comm':'curl\\u001b'}}"));
	event(m, parse("{'kind':'ask','ask':{'id':5,'sandbox':'green','count':1,'since':'2026-01-02T03:04:05.000Z','name':'a.example','port':80}}"));
	event(m, parse("{'kind':'ask','ask':{'id':7,'sandbox':'blue','count':3,'since':'2026-01-02T03:04:06.000Z','name':'b.example','port':443,'comm':'curl\\u001b'}}"));
	assert_int_equal(n->nasks, 2);
	assert_int_equal(n->asks[0]->id, 5); /* the oldest first, whenever it was told */
	assert_int_equal(n->asks[1]->count, 3);
	assert_null(strchr(n->asks[1]->what.comm, 0x1b));
	assert_int_equal(netmodel_asks_of(n, "blue"), 1);
	event(m, parse("{'kind':'ask_gone','id':5,'end':'answered','verdict':'allow','by':'cli 12'}"));
	assert_int_equal(n->nasks, 1);
	assert_int_equal(n->gone.n, 1);
	assert_int_equal(n->gone.verdict, MV_ALLOW);
	assert_string_equal(n->gone.by, "cli 12");
	assert_string_equal(n->gone.ask.what.name, "a.example");
	event(m, parse("{'kind':'ask_gone','id':5,'end':'answered'}")); /* twice is once */
	assert_int_equal(n->gone.n, 1);
	event(m, parse("{'kind':'removed','name':'blue'}"));
	assert_int_equal(n->nasks, 0);

	/* The state replaces; what it does not tell stays. */
	event(m, parse("{'kind':'resync','sandboxes':[],'asks':[{'id':9,'sandbox':'x','name':'c.example'}],'ports':[{'id':1,'sandbox':'x','host_port':8080,'guest_port':3000}]}"));
	assert_int_equal(n->asks[0]->id, 9);
	assert_int_equal(n->ports[0].guest_port, 3000);
	event(m, parse("{'kind':'resync','sandboxes':[]}"));
	assert_int_equal(n->nasks, 1);
	event(m, parse("{'kind':'ports','ports':[]}"));
	assert_int_equal(n->nports, 0);
	for (int i = 0; i < MODEL_ASKS_MAX + 50; i++)
		event(m, parse("{'kind':'ask','ask':{'id':%d,'sandbox':'blue','name':'x'}}", i + 100));
	assert_int_equal(n->nasks, MODEL_ASKS_MAX);
	model_destroy(m);
}

static void a_connection_is_a_row(void **state)
{
	struct model *m = model_create();
	struct netmodel *n = &m->net;

	(void)state;
	decided(m, 1, 1, "ask", ",'rule':'default'");
	decided(m, 2, 2, "allow", "");
	assert_int_equal(netmodel_newest(n, 1)->verdict, MV_ASK);
	decided(m, 3, 1, "allow", ",'rule':'person','scope':'person'"); /* its answer */
	assert_int_equal(netmodel_count(n), 2);
	const struct model_decision *d = netmodel_newest(n, 1);
	assert_true(d->verdict == MV_ALLOW && d->asked && !d->closed);
	assert_string_equal(d->rule, "person");
	assert_int_equal(d->at_ms, 1767323045678ull);
	event(m, parse("{'kind':'decision','decision':{'seq':4,'event':'injected','sandbox':'blue','conn':1,'name':'api.example.org','port':443,'service':'anthropic'}}"));
	event(m, parse("{'kind':'decision','decision':{'seq':5,'event':'closed','sandbox':'blue','conn':1,'name':'api.example.org','port':443,'in':3000,'out':12000,'ms':412,'status':200}}"));
	assert_int_equal(netmodel_count(n), 2);
	assert_true(d->closed && d->injected && d->in == 3000 && d->out == 12000 && d->ms == 412 && d->status == 200);
	assert_string_equal(d->service, "anthropic");
	/* Two requests of one opened connection are two rows, and each ends its own. */
	decided(m, 6, 3, "allow", ",'method':'GET','path':'/a'");
	decided(m, 7, 3, "deny", ",'method':'POST','path':'/b'");
	assert_int_equal(netmodel_count(n), 4);
	event(m, parse("{'kind':'decision','decision':{'seq':8,'event':'closed','sandbox':'blue','conn':3,'name':'api.example.org','port':443,'method':'GET','path':'/a','in':1}}"));
	assert_true(netmodel_newest(n, 1)->closed && !netmodel_newest(n, 0)->closed);
	/* Other sandboxes count their connections for themselves. */
	event(m, parse("{'kind':'decision','decision':{'seq':9,'event':'closed','sandbox':'green','conn':2,'name':'api.example.org','port':443}}"));
	assert_int_equal(netmodel_count(n), 5);
	assert_false(netmodel_newest(n, 3)->closed);
	event(m, parse("{'kind':'decision','decision':{'seq':10,'event':'alarm','sandbox':'blue','conn':2,'verdict':'deny','name':'evil.example','service':'openai'}}"));
	assert_true(netmodel_newest(n, 0)->alarm);
	decided(m, 10, 9, "allow", ""); /* told before */
	assert_int_equal(netmodel_count(n), 6);
	json_t *log = parse("{'decisions':[{'seq':20,'event':'decided','verdict':'deny','sandbox':'blue','conn':1,'name':'x'}]}");
	netmodel_log(n, log);
	json_decref(log);
	assert_int_equal(netmodel_count(n), 1);
	decided(m, 21, 5, "allow", "");
	assert_int_equal(netmodel_count(n), 2);
	model_destroy(m);
}

static void rows_are_a_ring(void **state)
{
	struct model *m = model_create();
	struct netmodel *n = &m->net;

	(void)state;
	assert_null(netmodel_newest(n, 0));
	assert_null(netmodel_row(n, 1));
	for (int i = 1; i <= MODEL_DECISIONS_MAX + 10; i++)
		decided(m, i, i, "allow", "");
	assert_int_equal(netmodel_count(n), MODEL_DECISIONS_MAX);
	assert_int_equal(netmodel_newest(n, 0)->conn, MODEL_DECISIONS_MAX + 10);
	assert_int_equal(netmodel_newest(n, MODEL_DECISIONS_MAX - 1)->conn, 11);
	assert_null(netmodel_newest(n, MODEL_DECISIONS_MAX));
	assert_null(netmodel_row(n, 10));
	assert_int_equal(netmodel_row(n, 11)->conn, 11);
	assert_null(netmodel_row(n, n->rows + 1));
	model_destroy(m);
}

static void nonsense_changes_nothing(void **state)
{
	static const char *const bad[] = {
		"{'kind':'ask'}", "{'kind':'ask','ask':[]}", "{'kind':'ask','ask':{'id':0}}", "{'kind':'ask','ask':{'id':-3}}", "{'kind':'ask_gone'}",
		"{'kind':'ask_gone','id':1}", "{'kind':'decision'}", "{'kind':'decision','decision':{}}", "{'kind':'decision','decision':{'event':'else'}}",
		"{'kind':'ports'}", "{'kind':'ports','ports':{}}", "{'kind':'ports','ports':[1,{},{'id':-1}]}", "{'kind':'net','name':'nobody'}",
	};
	struct model *m = model_create();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		event(m, parse("%s", bad[i]));
	assert_true(m->net.nasks == 0 && m->net.rows == 0 && m->net.nports == 0 && m->net.gone.n == 0);
	event(m, parse("{'kind':'decision','decision':{'event':'decided','verdict':7,'port':70000,'name':{},'conn':'x','path':'\\u202e\\u0007'}}"));
	assert_int_equal(netmodel_newest(&m->net, 0)->verdict, MV_DENY);
	model_destroy(m);
}

static void times(void **state)
{
	static const struct { const char *text; uint64_t ms; } all[] = {
		{ "1970-01-01T00:00:00Z", 0 }, { "2000-02-29T12:30:45.5Z", 951827445500ull }, { "2026-01-02T03:04:05.678Z", 1767323045678ull },
		{ "2026-13-02T03:04:05Z", 0 }, { "2026-01-02 03:04:05Z", 0 }, { "2026-01-02T03:04:05", 0 }, { "", 0 }, { "x", 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		json_t *o = json_pack("{s:s}", "t", all[i].text);

		assert_int_equal(field_time_ms(o, "t"), all[i].ms);
		json_decref(o);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(questions_come_and_go), cmocka_unit_test(a_connection_is_a_row), cmocka_unit_test(rows_are_a_ring),
		cmocka_unit_test(nonsense_changes_nothing), cmocka_unit_test(times),
	};

	return cmocka_run_group_tests_name("client/netmodel", tests, NULL, NULL);
}
