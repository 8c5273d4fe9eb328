/* SPDX-License-Identifier: Apache-2.0 */
/* Supervisor and children: a child that was taken over writes what it likes. */
#include "tests/proto/wire.h"

#include "core/proto/child.h"

WIRE_KIND(child_ready);
WIRE_KIND(vmm_start);
WIRE_KIND(vmm_state);
WIRE_KIND(vmm_snapped);
WIRE_KIND(vmm_refused);
WIRE_KIND(vmm_stats);
WIRE_KIND(term_start);
WIRE_KIND_OWNING(term_open);
WIRE_KIND(term_attach);
WIRE_KIND(term_guest);
WIRE_KIND(term_session);
WIRE_KIND(term_attention);

static void dial(void **state)
{
	const struct dial_msg m = { DIAL_OK, 0x01020304, 0xa0b0c0d0, 0xffffffff };
	uint8_t p[DIAL_MSG_SIZE + 1] = { 0 };
	struct dial_msg back;

	(void)state;
	dial_pack(p, &m);
	assert_int_equal(p[0], 2);
	assert_int_equal(p[4], 4);
	assert_int_equal(p[8], 0xd0);
	assert_int_equal(dial_unpack(p, DIAL_MSG_SIZE, &back), 0);
	assert_memory_equal(&back, &m, sizeof(m));
	for (size_t n = 0; n <= sizeof(p); n++)
		assert_int_equal(dial_unpack(p, n, &back), n == DIAL_MSG_SIZE ? 0 : -EBADMSG);
	for (unsigned type = 0; type < 256; type++) {
		p[0] = (uint8_t)type;
		assert_int_equal(dial_unpack(p, DIAL_MSG_SIZE, &back), type >= DIAL_OPEN && type <= DIAL_IN ? 0 : -EBADMSG);
	}
	p[0] = DIAL_OPEN;
	p[3] = 1;
	assert_int_equal(dial_unpack(p, DIAL_MSG_SIZE, &back), -EBADMSG);
}

static void head(void **state)
{
	struct child_head h;
	struct buf b;
	struct rbuf r;

	(void)state;
	buf_init(&b, CHILD_MSG_MAX);
	assert_int_equal(child_head_pack(&b, TERM_SESSION, 0xdeadbeef), 0);
	assert_int_equal(buf_size(&b), CHILD_MSG_HEAD);
	buf_u8(&b, 42);
	for (size_t n = 0; n <= CHILD_MSG_HEAD + 1; n++) {
		rbuf_init(&r, buf_head(&b), n);
		assert_int_equal(child_head_unpack(&r, &h), n < CHILD_MSG_HEAD ? -EBADMSG : 0);
	}
	assert_int_equal(h.type, TERM_SESSION);
	assert_int_equal(h.gen, 0xdeadbeef);
	assert_int_equal(r.n, 1); /* the payload is left */
	b.data[b.off + 2] = 1;    /* the field that is zero */
	rbuf_init(&r, buf_head(&b), buf_size(&b));
	assert_int_equal(child_head_unpack(&r, &h), -EBADMSG);
	buf_release(&b);
}

static void ready(void **state)
{
	struct child_ready m;

	(void)state;
	memset(&m, 0, sizeof(m));
	m.version = CHILD_VERSION;
	m.pid = 0x10203040;
	WIRE_FULL(m.jail);
	wire_check(&child_ready_kind, &m);
}

static void start_of_a_machine(void **state)
{
	struct vmm_start m, x;

	(void)state;
	memset(&m, 0, sizeof(m));
	m.backend = BACKEND_QEMU;
	m.vcpus = 16;
	m.memory_mib = 256;
	m.kvm_usable = 1;
	m.pages = VMM_PAGES_POOL;
	m.restore = 1;
	m.lanes = WORKSPACES_MAX;
	WIRE_FULL(m.name);
	wire_text(m.cmdline, sizeof(m.cmdline), 90);
	wire_check(&vmm_start_kind, &m);
#define BAD(field, value) (x = m, x.field = (value), wire_refuses(&vmm_start_kind, &x))
	BAD(backend, BACKEND_AUTO);
	BAD(backend, BACKEND_KVM + 1);
	BAD(vcpus, 0);
	BAD(vcpus, 17);
	BAD(memory_mib, 255);
	BAD(kvm_usable, 2);
	BAD(pages, VMM_PAGES_NUM);
	BAD(restore, 2);
	BAD(lanes, WORKSPACES_MAX + 1);
#undef BAD
}

static void machine_state(void **state)
{
	struct vmm_state m, x;
	struct vmm_stats s;
	struct vmm_snapped c;

	(void)state;
	memset(&m, 0, sizeof(m));
	m.run = VMM_ENDED;
	m.end = VMM_END_START;
	m.machine_pid = 4711;
	WIRE_FULL(m.why);
	wire_check(&vmm_state_kind, &m);
	x = m;
	x.run = VMM_RUN_NUM;
	wire_refuses(&vmm_state_kind, &x);
	x = m;
	x.end = VMM_END_NUM;
	wire_refuses(&vmm_state_kind, &x);

	memset(&c, 0, sizeof(c));
	c.token = 0xf0e1d2c3;
	c.code = 28;
	WIRE_FULL(c.why);
	wire_check(&vmm_snapped_kind, &c);

struct vmm_refused no = { .why = "" };

	WIRE_FULL(no.why);
	wire_check(&vmm_refused_kind, &no);

	memset(&s, 0x6b, sizeof(s));
	s.detail = 1;
	wire_check(&vmm_stats_kind, &s);
	s.detail = 2;
	wire_refuses(&vmm_stats_kind, &s);
}

static void start_of_a_terminal(void **state)
{
	struct term_start m;

	(void)state;
	memset(&m, 0, sizeof(m));
	m.scrollback = 1000000;
	m.record_cap = UINT64_C(1) << 40;
	m.flags = 0x80000001;
	m.idle_ms = 1500;
	WIRE_FULL(m.hostname);
	wire_text(m.workspace, sizeof(m.workspace), 70);
	wire_text(m.waits_pattern, sizeof(m.waits_pattern), 50);
	wire_check(&term_start_kind, &m);
	m.scrollback++;
	wire_refuses(&term_start_kind, &m);
}

static void open_and_attach(void **state)
{
	char *argv[] = { (char[]){ "sh" }, (char[]){ "-c" }, (char[]){ "exit 3" }, NULL };
	struct term_open m, back;
	struct term_attach a;
	struct buf b;

	(void)state;
	memset(&m, 0, sizeof(m));
	m.session = 9;
	m.kind = TERM_KIND_EXEC;
	WIRE_FULL(m.label);
	m.open.flags = SESS_TTY;
	m.open.argc = 3;
	m.open.argv = argv;
	wire_check(&term_open_kind, &m);
	buf_init(&b, CHILD_MSG_MAX);
	assert_int_equal(term_open_pack(&b, &m), 0);
	assert_int_equal(wire_parse(&term_open_kind, buf_head(&b), buf_size(&b), &back), 0);
	assert_int_equal(back.session, 9);
	assert_int_equal(back.kind, TERM_KIND_EXEC);
	assert_string_equal(back.label, m.label);
	assert_string_equal(back.open.argv[2], "exit 3");
	term_open_release(&back);
	buf_release(&b);
	m.kind = TERM_KIND_NUM;
	wire_refuses(&term_open_kind, &m);

	memset(&a, 0, sizeof(a));
	a.session = 0xfffffffe;
	a.readonly = 1;
	wire_check(&term_attach_kind, &a);
	a.readonly = 2;
	wire_refuses(&term_attach_kind, &a);
}

static void guest_session_attention(void **state)
{
	struct term_guest g;
	struct term_session s;
	struct term_attention a;

	(void)state;
	memset(&g, 0, sizeof(g));
	g.state = GUEST_LOST;
	g.up_ns = 99;
	WIRE_FULL(g.kernel);
	WIRE_FULL(g.agent);
	WIRE_FULL(g.why);
	wire_check(&term_guest_kind, &g);
	g.state = GUEST_NUM;
	wire_refuses(&term_guest_kind, &g);

	memset(&s, 0, sizeof(s));
	s.session = 1;
	s.kind = TERM_KIND_EXEC;
	s.state = SESSION_FAILED;
	s.rows = 2;
	s.cols = 3;
	s.viewers = 4;
	s.pid = 5;
	s.code = 6;
	s.signo = 7;
	s.bytes_out = 8;
	s.last_output_ms = 9;
	WIRE_FULL(s.label);
	WIRE_FULL(s.title);
	wire_check(&term_session_kind, &s);
	s.state = SESSION_NUM;
	wire_refuses(&term_session_kind, &s);
	s.state = SESSION_BUSY;
	s.kind = TERM_KIND_NUM;
	wire_refuses(&term_session_kind, &s);

	memset(&a, 0, sizeof(a));
	a.session = 3;
	a.kind = ATTENTION_WAITS;
	WIRE_FULL(a.text);
	wire_check(&term_attention_kind, &a);
	a.kind = ATTENTION_NUM;
	wire_refuses(&term_attention_kind, &a);
}

/* The largest message of each kind fits a datagram. */
static void the_largest_fit(void **state)
{
	struct agent_containers *c = calloc(1, sizeof(*c));
	struct buf b;

	(void)state;
	assert_non_null(c);
	c->n = AGENT_CONTAINERS_MAX;
	for (size_t i = 0; i < c->n; i++) {
		WIRE_FULL(c->c[i].id);
		WIRE_FULL(c->c[i].name);
		WIRE_FULL(c->c[i].image);
		WIRE_FULL(c->c[i].state);
		WIRE_FULL(c->c[i].status);
	}
	buf_init(&b, CHILD_MSG_MAX);
	assert_int_equal(child_head_pack(&b, TERM_CONTAINERS, 1), 0);
	assert_int_equal(agent_containers_pack(&b, c), 0);
	buf_release(&b);
	free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dial),
		cmocka_unit_test(head),
		cmocka_unit_test(ready),
		cmocka_unit_test(start_of_a_machine),
		cmocka_unit_test(machine_state),
		cmocka_unit_test(start_of_a_terminal),
		cmocka_unit_test(open_and_attach),
		cmocka_unit_test(guest_session_attention),
		cmocka_unit_test(the_largest_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
