/* SPDX-License-Identifier: Apache-2.0 */
/* What was done with files and credentials becomes lines: each record once, repeated ones counted, floods bounded, nonsense nothing. */
#include "tests/client/events.h"

#include "core/base/log.h"

static void told(struct model *m, int seq, const char *event_, const char *more)
{
	event(m, parse("{'kind':'audit','record':{'seq':%d,'at':'2026-01-02T03:04:%02d.000Z','event':'%s','sandbox':'blue'%s}}", seq, seq % 60, event_, more));
}

static void decision(struct model *m, int seq, const char *event_, const char *sandbox)
{
	event(m, parse("{'kind':'decision','decision':{'seq':%d,'at':'2026-01-02T03:04:%02d.000Z','event':'%s','sandbox':'%s','conn':%d,'verdict':'allow','proto':'https',"
		       "'name':'api.example.org','port':443,'service':'openai','rule':'a placeholder of openai in a header toward a host not its own'}}",
		       seq, seq % 60, event_, sandbox, seq));
}

static const struct model_audit *line(const struct model *m, size_t i)
{
	const struct model_audit *l = auditmodel_at(&m->audit, i);

	assert_non_null(l);
	return l;
}

static void records_are_lines(void **state)
{
	struct model *m = model_create();

	(void)state;
	told(m, 1, "apply", ",'files':3,'workspace':'/src/shop'");
	told(m, 2, "discard", ",'files':1,'workspace':'/src/sh\\u001bop'");
	told(m, 3, "undo", ",'files':3,'workspace':'/src/shop'");
	told(m, 4, "secret", ",'what':'set','service':'openai'");
	decision(m, 5, "alarm", "blue");
	decision(m, 6, "decided", "blue"); /* a row of the Network view, no line here */
	decision(m, 7, "closed", "blue");
	told(m, 4, "secret", ",'what':'set','service':'openai'"); /* told twice is one record */
	told(m, 8, "frobnicate", "");
	assert_int_equal(m->audit.n, 5);
	assert_string_equal(line(m, 0)->text, "applied 3 files to /src/shop");
	assert_string_equal(line(m, 0)->name, "blue");
	assert_int_equal(line(m, 0)->at_ms % 60000, 1000);
	assert_true(strstr(line(m, 1)->text, "discarded 1 file of /src/sh") && !strchr(line(m, 1)->text, 0x1b));
	assert_string_equal(line(m, 2)->text, "took an apply back: 3 files of /src/shop");
	assert_string_equal(line(m, 3)->text, "credential openai: set");
	assert_string_equal(line(m, 4)->text, "alarm: a placeholder of openai in a header toward a host not its own, api.example.org:443: refused");
	assert_int_equal(line(m, 4)->level, LOG_ERROR);
	assert_null(auditmodel_at(&m->audit, 5));
	model_destroy(m);
}

static void repeated_ones_are_counted(void **state)
{
	struct model *m = model_create();
	int seq = 0;

	(void)state;
	for (int i = 0; i < 100; i++) {
		decision(m, ++seq, "injected", "blue");
		decision(m, ++seq, "injected", "green");
	}
	told(m, ++seq, "apply", ",'files':1,'workspace':'/a'");
	told(m, ++seq, "apply", ",'files':1,'workspace':'/a'"); /* two applies are two */
	decision(m, ++seq, "injected", "blue");
	assert_int_equal(m->audit.n, 4);
	assert_string_equal(line(m, 0)->name, "green");
	assert_int_equal(line(m, 0)->count, 100);
	assert_string_equal(line(m, 3)->text, "credential openai put in for api.example.org:443"); /* the newest is the last */
	assert_int_equal(line(m, 3)->count, 101);
	for (int i = 0; i < 3 * MODEL_AUDIT_MAX; i++)
		told(m, ++seq, "discard", ",'files':2,'workspace':'/b'");
	assert_int_equal(m->audit.n, MODEL_AUDIT_MAX);
	assert_string_equal(line(m, MODEL_AUDIT_MAX - 1)->text, "discarded 2 files of /b");
	assert_null(auditmodel_at(&m->audit, MODEL_AUDIT_MAX));

	json_t *r = parse("{'records':[{'seq':9,'at':'2026-01-02T03:04:09Z','event':'apply','sandbox':'blue','files':1},5,{},{'event':7}]}");
	auditmodel_read(&m->audit, r); /* the answer of audit.read is all there is */
	json_decref(r);
	assert_int_equal(m->audit.n, 1);
	assert_string_equal(line(m, 0)->text, "applied 1 file");
	model_destroy(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(records_are_lines), cmocka_unit_test(repeated_ones_are_counted) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
