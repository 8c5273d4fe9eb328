/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/control.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/proto/agent.h"
#include "core/proto/version.h"
#include "guest/boot.h"
#include "guest/docker.h"
#include "guest/loop.h"
#include "guest/net.h"
#include "guest/session.h"
#include "guest/shutdown.h"
#include "guest/stats.h"
#include "guest/trust.h"
#include "guest/workspace.h"

#define EVERY_MIN_MS 250u
#define EVERY_MAX_MS 60000u

static struct {
	struct gstream *st; /* NULL: none */
	struct buf frames;
	bool asked, settled, greeted; /* the host said hello; its workspaces are where they belong; it was answered */
	uint32_t gen;
	uint32_t every_ms, what;
	bool docker_due; /* its state has changed and the host was not told yet */
	struct timer tick;
} control;

/* ---- out ----------------------------------------------------------------------------------------------------------------- */

/* What does not fit is dropped (statistics come again): false. */
static bool send(uint8_t type, int (*pack)(struct buf *, const void *), const void *m)
{
	struct buf b;

	if (!control.st || !control.greeted)
		return false;
	buf_init(&b, AGENT_PAYLOAD_MAX);
	if (pack)
		pack(&b, m);
	const bool sent = buf_ok(&b) && gstream_frame(control.st, type, buf_head(&b), buf_size(&b));
	buf_release(&b);
	return sent;
}

static int pack_hello(struct buf *b, const void *m) { return agent_hello_guest_pack(b, m); }
static int pack_stats(struct buf *b, const void *m) { return agent_stats_pack(b, m); }
static int pack_top(struct buf *b, const void *m) { return agent_top_pack(b, m); }
static int pack_containers(struct buf *b, const void *m) { return agent_containers_pack(b, m); }
static int pack_workspace(struct buf *b, const void *m) { return workspace_told_pack(b, m); }
static int pack_docker(struct buf *b, const void *m) { return agent_docker_pack(b, m); }

void control_docker_changed(void)
{
	control.docker_due = !send(AGENT_DOCKER, pack_docker, docker_state());
}

void control_going_down(void)
{
	send(AGENT_GOING_DOWN, NULL, NULL);
}

static void on_containers(const struct agent_containers *c)
{
	send(AGENT_CONTAINERS, pack_containers, c);
}

static void on_tick(void *arg)
{
	static struct agent_stats s;
	static struct agent_top t;

	(void)arg;
	if (control.what & AGENT_WHAT_STATS) {
		stats_collect(&s);
		send(AGENT_STATS, pack_stats, &s);
	}
	if (control.what & AGENT_WHAT_TOP) {
		stats_top(&t);
		send(AGENT_TOP, pack_top, &t);
	}
	if (control.what & AGENT_WHAT_CONTAINERS)
		docker_containers(on_containers);
	if (control.every_ms)
		loop_after(&control.tick, control.every_ms, on_tick, NULL);
}

/* ---- in -------------------------------------------------------------------------------------------------------------------- */

static void set_time(uint64_t wall_ns)
{
	const struct timespec t = { .tv_sec = (time_t)(wall_ns / UINT64_C(1000000000)), .tv_nsec = (long)(wall_ns % UINT64_C(1000000000)) };

	if (clock_settime(CLOCK_REALTIME, &t) < 0)
		log_warn("cannot set the clock: %s", strerror(errno));
}

static void add_entropy(uint8_t *p, size_t n)
{
	/* struct rand_pool_info ends in a flexible array: bits, bytes, then the bytes. */
	uint32_t pool[2 + sizeof(((struct agent_hello_host *)0)->entropy) / sizeof(uint32_t)] = { (uint32_t)n * 8, (uint32_t)n };
	AUTO_FD fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);

	if (n > sizeof(pool) - 2 * sizeof(pool[0]))
		return;
	memcpy(pool + 2, p, n);
	if (fd < 0 || ioctl(fd, RNDADDENTROPY, pool) < 0)
		log_warn("cannot add entropy: %s", strerror(errno));
	explicit_bzero(pool, sizeof(pool));
	explicit_bzero(p, n);
}

static void tell_workspace(const struct workspace_told *t)
{
	send(AGENT_WORKSPACE, pack_workspace, t);
}

/* Once the workspaces are where they belong and the network is: no session begins before. */
static void answer_hello(void)
{
	struct agent_hello_guest g = { .version = AGENT_VERSION, .gen = control.gen };
	struct utsname u;
	struct timespec t;

	if (!control.st || !control.asked || !control.settled || control.greeted || !net_is_ready())
		return;
	clock_gettime(CLOCK_BOOTTIME, &t);
	g.up_ns = (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
	uname(&u);
	str_copy(g.kernel, sizeof(g.kernel), u.release);
	str_copy(g.agent, sizeof(g.agent), BULKHEAD_VERSION);
	control.greeted = true;
	send(AGENT_HELLO_GUEST, pack_hello, &g);
	workspace_tell();
	control_docker_changed();
}

static void on_settled(void)
{
	control.settled = true;
	answer_hello();
}

void control_network_ready(void)
{
	answer_hello();
}

static void on_hello(struct rbuf *r)
{
	static struct agent_hello_host h;

	if (agent_hello_host_unpack(r, &h) < 0 || rbuf_done(r) < 0) {
		log_error("the host's hello cannot be read");
		return;
	}
	add_entropy(h.entropy, sizeof(h.entropy));
	set_time(h.wall_ns);
	if (h.hostname[0])
		boot_hostname(h.hostname);
	control.gen = h.gen;
	control.asked = true;
	session_workspace(h.workspace);
	control.settled = false;
	workspace_expect(&h.ws, h.hostname, on_settled, tell_workspace);
	if (!workspace_covers(h.workspace))
		boot_workspace(h.workspace);
}

static void on_frame(const struct frame *f)
{
	struct rbuf r;
	uint64_t wall;
	uint32_t ms;

	rbuf_init(&r, f->payload, f->len);
	switch (f->type) {
	case AGENT_HELLO_HOST:
		on_hello(&r);
		break;
	case AGENT_TRUST: /* also before the hello: it is answered when the roots are in place */
		trust_piece(&r);
		break;
	case AGENT_TIME:
		rbuf_u64(&r, &wall);
		if (rbuf_done(&r) == 0)
			set_time(wall);
		break;
	case AGENT_STATS_EVERY:
		rbuf_u32(&r, &ms);
		rbuf_u32(&r, &control.what);
		if (rbuf_done(&r) < 0)
			break;
		control.every_ms = ms == 0 ? 0 : ms < EVERY_MIN_MS ? EVERY_MIN_MS : ms > EVERY_MAX_MS ? EVERY_MAX_MS : ms;
		loop_cancel(&control.tick);
		if (control.every_ms)
			on_tick(NULL);
		break;
	case AGENT_SHUTDOWN:
		rbuf_u32(&r, &ms);
		if (rbuf_done(&r) == 0)
			shutdown_begin(SHUTDOWN_POWEROFF, ms);
		break;
	default:
		log_warn("the host sent message %u, which is none of ours", f->type);
		break;
	}
}

static void ended(void)
{
	control.st = NULL;
	control.asked = control.greeted = false;
	control.every_ms = 0;
	loop_cancel(&control.tick);
	buf_release(&control.frames);
}

static void on_data(void *arg, const uint8_t *p, size_t n)
{
	(void)arg;
	int r = buf_put(&control.frames, p, n);

	while (r == 0) {
		struct frame f;
		size_t used;

		r = frame_parse(buf_head(&control.frames), buf_size(&control.frames), AGENT_PAYLOAD_MAX, &f, &used);
		if (r == -EAGAIN)
			return;
		if (r < 0)
			break;
		on_frame(&f);
		buf_consume(&control.frames, used);
	}
	log_error("the control stream holds no frames: closed");
	struct gstream *st = control.st;
	ended();
	gstream_close(st);
}

static void on_eof(void *arg)
{
	struct gstream *st = control.st;

	(void)arg;
	ended();
	gstream_close(st);
}

static void on_room(void *arg)
{
	(void)arg;
	if (control.docker_due)
		control_docker_changed();
}

static void on_gone(void *arg)
{
	(void)arg;
	ended();
}

static const struct gstream_ops ops = { .on_data = on_data, .on_eof = on_eof, .on_room = on_room, .on_gone = on_gone };

bool control_accept(struct gstream *st, const struct gstream_ops **out, void **arg)
{
	if (control.st) {
		struct gstream *old = control.st;

		ended();
		gstream_close(old);
	}
	buf_init(&control.frames, 2 * AGENT_PAYLOAD_MAX);
	control.st = st;
	*out = &ops;
	*arg = NULL;
	return true;
}
