/* SPDX-License-Identifier: Apache-2.0 */
/* Supervisor and bulkhead-net, and the connections a guest asks for. */
#include "tests/proto/wire.h"

#include <stdio.h>

#include "core/proto/net.h"

WIRE_KIND(netconn_open);
WIRE_KIND(net_start);
WIRE_KIND(net_facts);
WIRE_KIND(net_ask);
WIRE_KIND(net_answer);
WIRE_KIND(net_secret);
WIRE_KIND(net_leaf_ask);
WIRE_KIND(net_leaf);
WIRE_KIND(net_record);
WIRE_KIND(net_stats);

#define SET(field, text) snprintf(field, sizeof(field), "%s", text)

static void fill_facts(struct net_facts *f)
{
	f->proto = NET_P_HTTPS;
	f->port = 443;
	f->has_addr = true;
	memset(f->addr.b, 0x20, sizeof(f->addr.b));
	SET(f->name, "api.example.org");
	WIRE_FULL(f->method);
	wire_text(f->path, sizeof(f->path), 60);
}

static void fill_who(struct net_who *w)
{
	w->pid = 77;
	w->uid = 1000;
	WIRE_FULL(w->comm);
	wire_text(w->cmdline, sizeof(w->cmdline), 50);
	SET(w->container, "web-1");
}

static void names(void **state)
{
	static const char *const legal[] = { "a", "example.org", "xn--bcher-kva.example", "_srv._tcp.example.org", "a-b.c", "1.2.3.4.example", "127.0.0.1a.x" };
	static const char *const illegal[] = { "", ".", "a.", ".a", "a..b", "A.b", "a b", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1",
					       "example.0x1", "0177.0.0.1", "a/b", "a:80", "[::1]", "a\n", "b\xc3\xbc" };
	char label[80];

	(void)state;
	for (size_t i = 0; i < sizeof(legal) / sizeof(*legal); i++)
		assert_true(net_name_legal(legal[i]));
	for (size_t i = 0; i < sizeof(illegal) / sizeof(*illegal); i++)
		assert_false(net_name_legal(illegal[i]));
	memset(label, 'a', sizeof(label));
	label[64] = '\0';
	assert_false(net_name_legal(label));
	label[63] = '\0';
	assert_true(net_name_legal(label));
}

static void connection(void **state)
{
	struct netconn_open m, x;

	(void)state;
	memset(&m, 0, sizeof(m));
	m.version = NETCONN_VERSION;
	memset(m.dst.b, 0xc6, sizeof(m.dst.b));
	m.port = 65535;
	SET(m.name, "registry.example.org");
	m.pid = 1;
	m.uid = 1000;
	WIRE_FULL(m.comm);
	wire_text(m.cmdline, sizeof(m.cmdline), 40);
	WIRE_FULL(m.container);
	wire_check(&netconn_open_kind, &m);
	x = m;
	x.version = 2;
	wire_refuses(&netconn_open_kind, &x);
	x = m;
	x.port = 0;
	wire_refuses(&netconn_open_kind, &x);
	x = m;
	SET(x.name, "10.0.0.1");
	wire_refuses(&netconn_open_kind, &x);
}

static void start_and_answers(void **state)
{
	struct net_start m;
	struct net_answer a = { 7, NET_DENY };
	struct net_stats s;

	(void)state;
	memset(&m, 0, sizeof(m));
	WIRE_FULL(m.name);
	m.ask_ms = 120000;
	WIRE_FULL(m.https_proxy);
	wire_text(m.no_proxy, sizeof(m.no_proxy), 40);
	WIRE_FULL(m.dns);
	wire_text(m.ca_file, sizeof(m.ca_file), 30);
	wire_check(&net_start_kind, &m);
	m.ask_ms = 999;
	wire_refuses(&net_start_kind, &m);
	m.ask_ms = 3600001;
	wire_refuses(&net_start_kind, &m);

	struct net_answer z;
	memset(&z, 0, sizeof(z));
	z.id = a.id;
	z.verdict = a.verdict;
	wire_check(&net_answer_kind, &z);
	z.verdict = NET_ASKED;
	wire_refuses(&net_answer_kind, &z);
	memset(&s, 0x3c, sizeof(s));
	wire_check(&net_stats_kind, &s);
}

static void asks_and_records(void **state)
{
	struct net_ask m, x;
	struct net_record r;
	struct net_facts f;

	(void)state;
	memset(&f, 0, sizeof(f));
	fill_facts(&f);
	wire_check(&net_facts_kind, &f);
	f.proto = NET_P_NUM;
	wire_refuses(&net_facts_kind, &f);
	memset(&m, 0, sizeof(m));
	m.id = 3;
	m.count = 40;
	m.since_ms = UINT64_C(1) << 40;
	m.until_ms = m.since_ms + 120000;
	fill_facts(&m.facts);
	fill_who(&m.who);
	wire_check(&net_ask_kind, &m);
	x = m;
	x.id = 0;
	wire_refuses(&net_ask_kind, &x);
	x = m;
	x.count = 0; /* whoever asked has left */
	wire_check(&net_ask_kind, &x);
	x = m;
	SET(x.facts.name, "not a name");
	wire_refuses(&net_ask_kind, &x);

	memset(&r, 0, sizeof(r));
	r.event = NET_E_ALARM;
	r.verdict = NET_DENY;
	r.conn = 99;
	r.ask = 3;
	fill_facts(&r.facts);
	fill_who(&r.who);
	memset(r.to.b, 1, sizeof(r.to.b));
	wire_text(r.rule, sizeof(r.rule), 20);
	WIRE_FULL(r.scope);
	WIRE_FULL(r.service);
	r.status = 403;
	r.in = r.out = r.ms = UINT64_MAX;
	wire_check(&net_record_kind, &r);
	r.event = NET_E_NUM;
	wire_refuses(&net_record_kind, &r);
}

static void secrets_and_leaves(void **state)
{
	static struct net_secret m;
	static struct net_leaf_ask a;
	static struct net_leaf l;
	struct buf b;

	(void)state;
	m.id = 4;
	WIRE_FULL(m.service);
	m.nhosts = 2;
	SET(m.hosts[0], "api.example.org");
	SET(m.hosts[1], "**.example.com");
	WIRE_FULL(m.header);
	SET(m.format, "Bearer %s");
	WIRE_FULL(m.placeholder);
	wire_text(m.value, sizeof(m.value), 100);
	wire_check(&net_secret_kind, &m);
	m.nhosts = NET_SECRET_HOSTS + 1;
	buf_init(&b, 65536);
	assert_int_equal(net_secret_pack(&b, &m), -ENOBUFS);
	buf_release(&b);

	a.token = 5;
	SET(a.name, "api.example.org");
	a.nkey = sizeof(a.key);
	memset(a.key, 0x30, sizeof(a.key));
	wire_check(&net_leaf_ask_kind, &a);
	a.nkey = 0;
	wire_refuses(&net_leaf_ask_kind, &a);
	l.token = 5;
	l.ncert = sizeof(l.cert);
	memset(l.cert, 0x31, sizeof(l.cert));
	wire_check(&net_leaf_kind, &l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names), cmocka_unit_test(connection), cmocka_unit_test(start_and_answers),
		cmocka_unit_test(asks_and_records), cmocka_unit_test(secrets_and_leaves),
	};

	return cmocka_run_group_tests_name("proto/net", tests, NULL, NULL);
}
