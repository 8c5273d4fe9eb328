/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's agent: dialing, the control stream, and what it tells. All of it is hostile: unpacked with bounds, states checked, strings
 * scrubbed before they go to the supervisor. An agent that breaks the protocol is told of once (GUEST_REFUSED) and not listened to.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/rnd.h"
#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/term/term.h"

#define REDIAL_MS 10u
#define REDIAL_LATE_MS 200u

/* ---- to the supervisor --------------------------------------------------------------------------------------------------------------- */

static int pack_guest(struct buf *b, const void *m) { return term_guest_pack(b, m); }
static int pack_docker(struct buf *b, const void *m) { return agent_docker_pack(b, m); }
static int pack_workspace(struct buf *b, const void *m) { return workspace_told_pack(b, m); }
static int pack_stats(struct buf *b, const void *m) { return agent_stats_pack(b, m); }
static int pack_top(struct buf *b, const void *m) { return agent_top_pack(b, m); }
static int pack_containers(struct buf *b, const void *m) { return agent_containers_pack(b, m); }

void guest_tell(struct term *t)
{
	term_tell(t, TERM_GUEST, pack_guest, &t->guest);
	if (t->guest.state == GUEST_READY)
		term_tell(t, TERM_DOCKER, pack_docker, &t->docker);
	for (size_t i = 0; t->guest.state == GUEST_READY && i < t->config.ws.n; i++)
		term_tell(t, TERM_WORKSPACE, pack_workspace, &t->workspace[i]);
}

static void set_guest(struct term *t, enum guest_state state, const char *why)
{
	t->guest.state = (uint8_t)state;
	str_copy(t->guest.why, sizeof(t->guest.why), why);
	if (why[0])
		log_info("the guest's agent: %s", why);
	term_tell(t, TERM_GUEST, pack_guest, &t->guest);
}

void guest_silent(struct term *t)
{
	if (t->guest.state == GUEST_READY && !t->going_down)
		set_guest(t, GUEST_SILENT, "it does not answer");
}

void guest_heard(struct term *t)
{
	if (t->guest.state == GUEST_SILENT && t->control && t->greeted)
		set_guest(t, GUEST_READY, "");
}

static void refuse(struct term *t, const char *why)
{
	stream_close(&t->control);
	t->greeted = false;
	set_guest(t, GUEST_REFUSED, why);
}

/*
 * What the guest tells unasked, or faster than it was asked, is not passed on: the supervisor's queue is bounded, and a guest must not be the one to
 * fill it.
 */
static bool let_through(struct term *t, enum agent_what what, unsigned i)
{
	const uint64_t now = clock_ms(), every = t->every_ms / 2 > 100 ? t->every_ms / 2 : 100;

	if (!t->every_ms || !(t->what & (uint32_t)what) || now - t->asked_ms[i] < every)
		return false;
	t->asked_ms[i] = now;
	return true;
}

#define SCRUB_FIELD(field) scrub_field(field, sizeof(field))
static void scrub_field(char *field, size_t cap)
{
	char clean[1024];

	scrub(clean, cap < sizeof(clean) ? cap : sizeof(clean), field, strlen(field), false);
	str_copy(field, cap, clean);
}

/* ---- control stream ------------------------------------------------------------------------------------------------------------------ */

void guest_send(struct term *t, uint8_t type, const struct buf *payload)
{
	if (!t->control || !t->greeted)
		return;
	struct buf *out = stream_out(t->control);
	if (buf_room(out) < FRAME_HEAD + (payload ? buf_size(payload) : 0))
		return;
	frame_put(out, type, 0, payload ? buf_head(payload) : NULL, payload ? buf_size(payload) : 0);
	stream_flush(t->control);
}

static void send_every(struct term *t)
{
	struct buf b;

	buf_init(&b, 64);
	buf_u32(&b, t->every_ms);
	buf_u32(&b, t->what);
	guest_send(t, AGENT_STATS_EVERY, &b);
	buf_release(&b);
}

void guest_stats(struct term *t, uint32_t every_ms, uint32_t what)
{
	t->every_ms = every_ms;
	t->what = what;
	send_every(t);
}

static void say_hello(struct term *t)
{
	struct agent_hello_host h = { .version = AGENT_VERSION, .gen = t->gen, .wall_ns = clock_wall_ns() };
	struct buf b;

	str_copy(h.hostname, sizeof(h.hostname), t->config.hostname);
	str_copy(h.workspace, sizeof(h.workspace), t->config.workspace);
	t->hello_said = true;
	rnd_bytes(h.entropy, sizeof(h.entropy));
	h.ws = t->config.ws;
	buf_init(&b, AGENT_PAYLOAD_MAX);
	agent_hello_host_pack(&b, &h);
	frame_put(stream_out(t->control), AGENT_HELLO_HOST, 0, buf_head(&b), buf_size(&b));
	stream_flush(t->control);
	explicit_bzero(&h, sizeof(h));
	buf_wipe(&b);
}

static int on_hello(struct term *t, struct rbuf *r)
{
	struct agent_hello_guest h;

	if (t->greeted || agent_hello_guest_unpack(r, &h) < 0 || rbuf_done(r) < 0)
		return -EBADMSG;
	if (h.version != AGENT_VERSION || h.gen != t->gen) {
		refuse(t, h.version != AGENT_VERSION ? "it is of another version; build the guest image again" : "it answered for another start of the machine");
		return 0;
	}
	t->greeted = true;
	t->guest.up_ns = h.up_ns;
	str_copy(t->guest.kernel, sizeof(t->guest.kernel), h.kernel);
	str_copy(t->guest.agent, sizeof(t->guest.agent), h.agent);
	SCRUB_FIELD(t->guest.kernel);
	SCRUB_FIELD(t->guest.agent);
	set_guest(t, GUEST_READY, "");
	if (t->every_ms)
		send_every(t);
	return 0;
}

static void tell_docker(void *arg)
{
	struct term *t = arg;

	if (!t->docker_due)
		return;
	t->docker_due = false;
	term_tell(t, TERM_DOCKER, pack_docker, &t->docker);
	after_set(&t->docker_later, t->loop, TELL_MS, tell_docker, t);
}

static int on_docker(struct term *t, struct rbuf *r)
{
	struct agent_docker d;

	if (agent_docker_unpack(r, &d) < 0 || rbuf_done(r) < 0)
		return -EBADMSG;
	SCRUB_FIELD(d.why);
	t->docker = d;
	t->docker_due = true;
	if (!t->docker_later)
		tell_docker(t);
	return 0;
}

static int on_top(struct term *t, struct rbuf *r)
{
	static struct agent_top m;

	if (agent_top_unpack(r, &m) < 0 || rbuf_done(r) < 0)
		return -EBADMSG;
	if (!let_through(t, AGENT_WHAT_TOP, 1))
		return 0;
	for (size_t i = 0; i < m.n; i++) {
		SCRUB_FIELD(m.proc[i].comm);
		SCRUB_FIELD(m.proc[i].container);
	}
	term_tell(t, TERM_TOP, pack_top, &m);
	return 0;
}

static int on_containers(struct term *t, struct rbuf *r)
{
	static struct agent_containers m;

	if (agent_containers_unpack(r, &m) < 0 || rbuf_done(r) < 0)
		return -EBADMSG;
	if (!let_through(t, AGENT_WHAT_CONTAINERS, 2))
		return 0;
	for (size_t i = 0; i < m.n; i++) {
		SCRUB_FIELD(m.c[i].id);
		SCRUB_FIELD(m.c[i].name);
		SCRUB_FIELD(m.c[i].image);
		SCRUB_FIELD(m.c[i].state);
		SCRUB_FIELD(m.c[i].status);
	}
	term_tell(t, TERM_CONTAINERS, pack_containers, &m);
	return 0;
}

static int on_workspace(struct term *t, struct rbuf *r)
{
	struct workspace_told m = { 0 };

	if (workspace_told_unpack(r, &m) < 0 || m.index >= t->config.ws.n)
		return -EBADMSG;
	SCRUB_FIELD(m.why);
	if (memcmp(&m, &t->workspace[m.index], sizeof(m)) == 0)
		return 0;
	t->workspace[m.index] = m;
	term_tell(t, TERM_WORKSPACE, pack_workspace, &m);
	return 0;
}

static int on_log(struct term *t, struct rbuf *r)
{
	char raw[1025], text[1025];
	uint8_t level;

	rbuf_u8(r, &level);
	if (rbuf_str16(r, raw, sizeof(raw)) < 0 || rbuf_done(r) < 0 || level > LOG_DEBUG)
		return -EBADMSG;
	scrub(text, sizeof(text), raw, strlen(raw), false);
	log_limited(&t->guest_log, 20, LOG_INFO, "the guest says: %s", text);
	return 0;
}

static int on_frame(struct term *t, const struct frame *f)
{
	struct agent_stats s;
	struct rbuf r;

	rbuf_init(&r, f->payload, f->len);
	if (f->type == AGENT_HELLO_GUEST)
		return on_hello(t, &r);
	if (!t->greeted)
		return -EBADMSG;
	switch (f->type) {
	case AGENT_STATS:
		if (agent_stats_unpack(&r, &s) < 0 || rbuf_done(&r) < 0)
			return -EBADMSG;
		if (let_through(t, AGENT_WHAT_STATS, 0))
			term_tell(t, TERM_STATS, pack_stats, &s);
		return 0;
	case AGENT_TOP:
		return on_top(t, &r);
	case AGENT_CONTAINERS:
		return on_containers(t, &r);
	case AGENT_DOCKER:
		return on_docker(t, &r);
	case AGENT_GOING_DOWN:
		if (f->len > 0)
			return -EBADMSG;
		if (!t->going_down)
			term_tell(t, TERM_GOING_DOWN, NULL, NULL);
		t->going_down = true;
		return 0;
	case AGENT_WORKSPACE:
		return on_workspace(t, &r);
	case AGENT_LOG:
		return on_log(t, &r);
	default:
		return -EBADMSG;
	}
}

static void control_read(void *arg, struct buf *in)
{
	struct term *t = arg;

	while (t->control) {
		struct frame f;
		size_t used;
		const int r = frame_parse(buf_head(in), buf_size(in), AGENT_PAYLOAD_MAX, &f, &used);

		if (r == -EAGAIN && !stream_cut(t->control))
			return;
		if (r < 0 || on_frame(t, &f) < 0) {
			refuse(t, "it broke the protocol");
			return;
		}
		if (t->control)
			buf_consume(in, used);
		guest_heard(t);
	}
}

static void dial_control(void *arg);

static void control_lost(struct term *t)
{
	stream_close(&t->control);
	t->greeted = false;
	if (t->guest.state == GUEST_READY || t->guest.state == GUEST_SILENT)
		set_guest(t, GUEST_LOST, "its connection ended");
	else if (t->dial) /* it ended before it answered: as if it were not up yet */
		after_set(&t->redial, t->loop, REDIAL_LATE_MS, dial_control, t);
}

/* The guest's roots first: it answers the hello when they are in place. */
static void begin(struct term *t)
{
	if (trust_push(t) && !t->hello_said)
		say_hello(t);
}

void guest_trust(struct term *t)
{
	if (t->control)
		begin(t);
}

static void control_drain(void *arg)
{
	begin(arg);
}

static void control_eof(void *arg)
{
	control_lost(arg);
}

static void control_closed(void *arg, int why)
{
	(void)why;
	control_lost(arg);
}

static const struct stream_ops control_ops = { .on_read = control_read, .on_eof = control_eof, .on_drain = control_drain, .on_closed = control_closed };

/* ---- dialing -------------------------------------------------------------------------------------------------------------------------- */

uint32_t guest_dial(struct term *t, uint32_t port)
{
	struct dial_msg m = { .type = DIAL_OPEN, .gen = t->gen, .port = port };
	uint8_t out[DIAL_MSG_SIZE];

	if (!t->dial)
		return 0;
	if (++t->next_token == 0)
		t->next_token = 1;
	m.token = t->next_token;
	dial_pack(out, &m);
	return seq_send(t->dial, out, sizeof(out), NULL, 0) == 0 ? m.token : 0;
}

static void dial_control(void *arg)
{
	struct term *t = arg;

	t->control_token = guest_dial(t, AGENT_PORT_CONTROL);
}

static void on_dialed(struct term *t, uint32_t token, int *fd)
{
	if (*fd >= 0)
		guest_heard(t);
	if (token != t->control_token || token == 0) {
		session_dialed_take(t, token, steal_fd(fd));
		return;
	}
	t->control_token = 0;
	if (*fd < 0) {
		/* Not up yet. */
		after_set(&t->redial, t->loop, REDIAL_MS, dial_control, t);
		return;
	}
	if (stream_open_take(&t->control, t->loop, steal_fd(fd), 2 * AGENT_PAYLOAD_MAX, 2 * AGENT_PAYLOAD_MAX, &control_ops, t) < 0) {
		set_guest(t, GUEST_LOST, "out of memory");
		return;
	}
	t->hello_said = false;
	t->trust_at = 0;
	begin(t);
}

static void dial_msg(void *arg, const uint8_t *p, size_t n, int *fds, size_t nfds)
{
	struct term *t = arg;
	struct dial_msg m;
	int none = -1;

	if (dial_unpack(p, n, &m) < 0 || m.gen != t->gen)
		return;
	if (m.type == DIAL_OK && nfds == 1)
		on_dialed(t, m.token, &fds[0]);
	else if (m.type == DIAL_REFUSED)
		on_dialed(t, m.token, &none);
}

static void dial_end(void *arg, int why)
{
	(void)why;
	guest_gone(arg, "the sandbox's machine has ended");
}

static const struct seq_ops dial_ops = { .on_msg = dial_msg, .on_end = dial_end };

void guest_gone(struct term *t, const char *why)
{
	struct session *next;

	seq_close(&t->dial);
	after_cancel(&t->redial);
	after_cancel(&t->docker_later);
	t->docker_due = t->going_down = false;
	stream_close(&t->control);
	t->greeted = false;
	t->control_token = 0;
	for (size_t i = 0; i < WORKSPACES_MAX; i++)
		t->workspace[i] = (struct workspace_told){ .index = (uint8_t)i, .state = WORKSPACE_WAITS };
	for (struct session *s = t->sessions; s; s = next) {
		next = s->next;
		if (!s->ended)
			session_fail(s, why);
	}
	if (t->guest.state != GUEST_ABSENT) {
		t->guest = (struct term_guest){ .state = GUEST_ABSENT };
		t->docker = (struct agent_docker){ .state = DOCKER_OFF };
	}
}

int guest_begin_take(struct term *t, int dial_fd)
{
	guest_gone(t, "the sandbox was started anew");
	const int r = seq_open_take(&t->dial, t->loop, dial_fd, &dial_ops, t);
	if (r == 0)
		dial_control(t);
	return r;
}
