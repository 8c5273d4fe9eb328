/* SPDX-License-Identifier: Apache-2.0 */
/* Host and guest agent: the host unpacks what a hostile guest wrote. */
#include "tests/proto/wire.h"

#include <errno.h>

#include "core/proto/agent.h"

WIRE_KIND(agent_hello_host);
WIRE_KIND(agent_hello_guest);
WIRE_KIND(agent_stats);
WIRE_KIND(agent_top);
WIRE_KIND(agent_containers);
WIRE_KIND(agent_docker);
WIRE_KIND_OWNING(sess_open);

static void hello_host(void **state)
{
	struct agent_hello_host m;

	(void)state;
	memset(&m, 0, sizeof(m));
	m.version = 0x1234;
	m.gen = 0x89abcdef;
	m.wall_ns = 0x0123456789abcdef;
	memset(m.entropy, 0x5a, sizeof(m.entropy));
	WIRE_FULL(m.hostname);
	wire_text(m.workspace, sizeof(m.workspace), 200);
	wire_check(&agent_hello_host_kind, &m);
	m.hostname[0] = m.workspace[0] = '\0';
	memset(m.hostname, 0, sizeof(m.hostname));
	memset(m.workspace, 0, sizeof(m.workspace));
	wire_check(&agent_hello_host_kind, &m);
}

static void hello_guest(void **state)
{
	struct agent_hello_guest m;

	(void)state;
	memset(&m, 0, sizeof(m));
	m.version = 0xfedc;
	m.gen = 7;
	m.up_ns = UINT64_MAX;
	WIRE_FULL(m.kernel);
	WIRE_FULL(m.agent);
	wire_check(&agent_hello_guest_kind, &m);
}

static void stats(void **state)
{
	struct agent_stats m;
	uint8_t *p = (uint8_t *)&m;

	(void)state;
	for (size_t i = 0; i < sizeof(m); i++)
		p[i] = (uint8_t)(i * 37 + 1);
	wire_check(&agent_stats_kind, &m);
}

static void top(void **state)
{
	struct agent_top m;

	(void)state;
	memset(&m, 0, sizeof(m));
	wire_check(&agent_top_kind, &m);
	m.n = 3;
	for (uint32_t i = 0; i < m.n; i++) {
		m.proc[i].pid = 1000 + i;
		m.proc[i].uid = 2000 + i;
		m.proc[i].cpu_milli = 3000 + i;
		m.proc[i].rss = UINT64_C(5) << 33;
		wire_text(m.proc[i].comm, sizeof(m.proc[i].comm), 10 + i);
		WIRE_FULL(m.proc[i].container);
	}
	wire_check(&agent_top_kind, &m);
}

static void top_count_over_the_maximum(void **state)
{
	struct agent_top m;
	struct buf b;

	(void)state;
	memset(&m, 0, sizeof(m));
	buf_init(&b, 1 << 20);
	m.n = AGENT_TOP_MAX;
	assert_int_equal(agent_top_pack(&b, &m), 0);
	assert_int_equal(wire_parse(&agent_top_kind, buf_head(&b), buf_size(&b), &m), 0);
	assert_int_equal(m.n, AGENT_TOP_MAX);
	/* One more whole entry behind, and the count says so. */
	static const uint8_t entry[24];
	buf_put(&b, entry, sizeof(entry));
	b.data[b.off] = (uint8_t)(AGENT_TOP_MAX + 1);
	assert_int_equal(wire_parse(&agent_top_kind, buf_head(&b), buf_size(&b), &m), -EBADMSG);
	assert_int_equal(m.n, 0);
	buf_clear(&b);
	m.n = AGENT_TOP_MAX + 1;
	assert_int_equal(agent_top_pack(&b, &m), -EINVAL);
	assert_false(buf_ok(&b));
	buf_release(&b);
}

static void containers(void **state)
{
	struct agent_containers *m = calloc(1, sizeof(*m));
	struct buf b;

	(void)state;
	assert_non_null(m);
	wire_check(&agent_containers_kind, m);
	m->n = 2;
	for (size_t i = 0; i < m->n; i++) {
		WIRE_FULL(m->c[i].id);
		wire_text(m->c[i].name, sizeof(m->c[i].name), 20);
		wire_text(m->c[i].image, sizeof(m->c[i].image), 30);
		WIRE_FULL(m->c[i].state);
		WIRE_FULL(m->c[i].status);
	}
	wire_check(&agent_containers_kind, m);
	buf_init(&b, 1 << 20);
	m->n = AGENT_CONTAINERS_MAX + 1;
	assert_int_equal(agent_containers_pack(&b, m), -EINVAL);
	static const uint8_t many[2 + 10 * (AGENT_CONTAINERS_MAX + 1)] = { AGENT_CONTAINERS_MAX + 1 };
	assert_int_equal(wire_parse(&agent_containers_kind, many, sizeof(many), m), -EBADMSG);
	assert_int_equal(m->n, 0);
	buf_release(&b);
	free(m);
}

static void docker(void **state)
{
	struct agent_docker m;
	struct buf b;

	(void)state;
	memset(&m, 0, sizeof(m));
	m.state = DOCKER_FAILED;
	m.restarts = 77;
	m.ready_ns = 123456789012;
	WIRE_FULL(m.why);
	wire_check(&agent_docker_kind, &m);
	buf_init(&b, 4096);
	m.state = DOCKER_NUM;
	assert_int_equal(agent_docker_pack(&b, &m), 0);
	assert_int_equal(wire_parse(&agent_docker_kind, buf_head(&b), buf_size(&b), &m), -EBADMSG);
	buf_release(&b);
}

static void strings_that_do_not_fit_or_hold_a_nul(void **state)
{
	struct agent_docker m;
	struct buf b;
	char longer[sizeof(m.why) + 1];

	(void)state;
	memset(longer, 'x', sizeof(longer));
	for (int i = 0; i < 3; i++) {
		/* 0: one byte too long; 1: a NUL inside; 2: just fits */
		buf_init(&b, 4096);
		buf_u8(&b, DOCKER_READY);
		buf_u32(&b, 0);
		buf_u64(&b, 0);
		if (i == 1)
			buf_blob16(&b, "ab\0cd", 5);
		else
			buf_blob16(&b, longer, i == 0 ? sizeof(m.why) : sizeof(m.why) - 1);
		memset(&m, 0xa5, sizeof(m));
		assert_int_equal(wire_parse(&agent_docker_kind, buf_head(&b), buf_size(&b), &m), i == 2 ? 0 : -EBADMSG);
		assert_int_equal(strlen(m.why), i == 2 ? sizeof(m.why) - 1 : 0);
		buf_release(&b);
	}
}

static char *words[] = { (char[]){ "docker" }, (char[]){ "run" }, (char[]){ "" }, (char[]){ "it's \"quoted\" \xc3\xa9\n" }, NULL };
static char *vars[] = { (char[]){ "A=1" }, (char[]){ "LONG=................................................" }, NULL };

static void session_open(void **state)
{
	struct sess_open m, back;
	struct buf b;

	(void)state;
	memset(&m, 0, sizeof(m));
	wire_check(&sess_open_kind, &m);
	m.flags = SESS_TTY | SESS_LOGIN;
	m.rows = 50;
	m.cols = 200;
	WIRE_FULL(m.user);
	wire_text(m.cwd, sizeof(m.cwd), 100);
	WIRE_FULL(m.term);
	m.argc = 4;
	m.argv = words;
	m.envc = 2;
	m.envv = vars;
	wire_check(&sess_open_kind, &m);

	buf_init(&b, 1 << 16);
	assert_int_equal(sess_open_pack(&b, &m), 0);
	assert_int_equal(wire_parse(&sess_open_kind, buf_head(&b), buf_size(&b), &back), 0);
	assert_int_equal(back.argc, 4);
	assert_int_equal(back.envc, 2);
	for (int i = 0; i < 4; i++)
		assert_string_equal(back.argv[i], words[i]);
	assert_null(back.argv[4]);
	assert_string_equal(back.envv[1], vars[1]);
	assert_null(back.envv[2]);
	assert_string_equal(back.user, m.user);
	assert_string_equal(back.term, m.term);
	assert_string_equal(back.cwd, m.cwd);
	assert_int_equal(back.flags, m.flags);
	assert_int_equal(back.rows, 50);
	assert_int_equal(back.cols, 200);
	sess_open_release(&back);
	assert_null(back.argv);
	sess_open_release(&back); /* twice is fine */
	buf_release(&b);
}

static void session_open_limits(void **state)
{
	static char *many[SESS_ARGS_MAX + 2];
	struct sess_open m, back;
	struct buf b;

	(void)state;
	for (size_t i = 0; i <= SESS_ARGS_MAX; i++)
		many[i] = words[2];
	memset(&m, 0, sizeof(m));
	m.argv = m.envv = many;
	m.argc = SESS_ARGS_MAX;
	m.envc = SESS_ENVS_MAX;
	buf_init(&b, 1 << 16);
	assert_int_equal(sess_open_pack(&b, &m), 0);
	assert_int_equal(wire_parse(&sess_open_kind, buf_head(&b), buf_size(&b), &back), 0);
	assert_int_equal(back.argc, SESS_ARGS_MAX);
	sess_open_release(&back);

	m.argc = SESS_ARGS_MAX + 1;
	buf_clear(&b);
	assert_int_equal(sess_open_pack(&b, &m), -EINVAL);
	m.argc = 0;
	m.envc = SESS_ENVS_MAX + 1;
	buf_clear(&b);
	assert_int_equal(sess_open_pack(&b, &m), -EINVAL);

	/* A count that the bytes cannot hold must not make the host allocate for it; one over the maximum neither. */
	static const uint16_t counts[] = { SESS_ARGS_MAX, SESS_ARGS_MAX + 1, 65535 };
	for (size_t i = 0; i < 3; i++) {
		buf_clear(&b);
		for (int k = 0; k < 11; k++)
			buf_u8(&b, 0);
		buf_u16(&b, counts[i]);
		for (int k = 0; i > 0 && k < counts[i]; k++)
			if (buf_room(&b) > 2)
				buf_u16(&b, 0);
		assert_int_equal(wire_parse(&sess_open_kind, buf_head(&b), buf_size(&b), &back), -EBADMSG);
		assert_null(back.argv);
	}
	buf_release(&b);
}

static void trust(void **state)
{
	static uint8_t big[AGENT_TRUST_PIECE + 1];
	static const struct { uint32_t total, offset, n; bool good; } rows[] = {
		{ 10, 0, 10, true }, { 10, 9, 1, true }, { AGENT_TRUST_MAX, 0, AGENT_TRUST_PIECE, true }, { 10, 10, 0, false }, { 10, 0, 11, false },
		{ 10, 11, 1, false }, { 10, UINT32_MAX, 1, false }, { AGENT_TRUST_MAX + 1, 0, 1, false }, { AGENT_TRUST_MAX, 0, AGENT_TRUST_PIECE + 1, false },
		{ 0, 0, 1, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const struct agent_trust m = { .total = rows[i].total, .offset = rows[i].offset, .n = rows[i].n, .p = big };
		struct agent_trust back;
		struct buf b;
		struct rbuf r;

		buf_init(&b, AGENT_PAYLOAD_MAX);
		assert_int_equal(agent_trust_pack(&b, &m), 0);
		rbuf_init(&r, buf_head(&b), buf_size(&b));
		assert_int_equal(agent_trust_unpack(&r, &back), rows[i].good ? 0 : -EBADMSG);
		if (rows[i].good)
			assert_true(back.total == m.total && back.offset == m.offset && back.n == m.n && rbuf_done(&r) == 0);
		buf_release(&b);
	}
}

/* As a shell has it, for a terminal and for a stream alike. */
static void status_of_a_command_that_was_not_run(void **state)
{
	(void)state;
	assert_int_equal(sess_failed_status(ENOENT), 127);
	assert_int_equal(sess_failed_status(EACCES), 126);
	assert_int_equal(sess_failed_status(ENOEXEC), 126);
	assert_int_equal(sess_failed_status(EISDIR), 126);
	assert_int_equal(sess_failed_status(0), 125);
	assert_int_equal(sess_failed_status(UINT32_MAX), 125);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(status_of_a_command_that_was_not_run),
		cmocka_unit_test(hello_host),
		cmocka_unit_test(hello_guest),
		cmocka_unit_test(trust),
		cmocka_unit_test(stats),
		cmocka_unit_test(top),
		cmocka_unit_test(top_count_over_the_maximum),
		cmocka_unit_test(containers),
		cmocka_unit_test(docker),
		cmocka_unit_test(strings_that_do_not_fit_or_hold_a_nul),
		cmocka_unit_test(session_open),
		cmocka_unit_test(session_open_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
