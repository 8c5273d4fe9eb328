/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead-vmm: one machine of one sandbox, from VMM_START to its end.
 *
 *   bulkhead-vmm            a child of the supervisor (core/proto/child.h): descriptors 3 and 4, nothing else inherited
 *   bulkhead-vmm --probe    what this host offers, as JSON: for `doctor` and the choice of a backend
 *
 * Order: jail_early, wait for VMM_START with every descriptor, start the machine, jail_fs and jail_seal, VMM_READY. After that no
 * path can be opened and nothing executed. The machine's end is told as VMM_STATE ENDED and this process exits.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/jail/jail.h"
#include "core/loop/after.h"
#include "core/loop/childside.h"
#include "core/proto/changes.h"
#include "core/proto/netconn.h"
#include "core/proto/version.h"
#include "vmm/backend.h"
#include "vmm/console.h"
#include "vmm/dial.h"
#include "vmm/channel.h"
#include "vmm/probe.h"

#define PANIC_MS 5000 /* a panicked guest restarts at once, or stands still for ever */
#define FDS_MAX 8192 /* two a stream and some */

struct vmm {
	uv_loop_t *loop;
	struct childside *side;
	struct jail jail;
	uint32_t gen;
	bool started;
	const struct backend *backend;
	struct machine *machine;
	struct channel *channel;
	struct dial *term, *net, *fs, *review;
	struct hybrid *hybrid;
	struct console *console;
	struct after *panic;
	int statm_fd;          /* our own, read after sealing */
	struct vmm_state state;
	bool ended;
};

/* ---- what the supervisor is told ---------------------------------------------------------------------------------------------- */

static void tell(struct vmm *v, uint16_t type, int (*pack)(struct buf *, const void *), const void *m)
{
	struct buf b;

	buf_init(&b, CHILD_MSG_MAX);
	child_head_pack(&b, type, v->gen);
	if (pack)
		pack(&b, m);
	childside_send(v->side, &b);
	buf_release(&b);
}

static int pack_ready(struct buf *b, const void *m) { return child_ready_pack(b, m); }
static int pack_state(struct buf *b, const void *m) { return vmm_state_pack(b, m); }
static int pack_snapped(struct buf *b, const void *m) { return vmm_snapped_pack(b, m); }
static int pack_refused(struct buf *b, const void *m) { return vmm_refused_pack(b, m); }
static int pack_stats(struct buf *b, const void *m) { return vmm_stats_pack(b, m); }

static void tell_ready(struct vmm *v)
{
	struct child_ready r = { .version = CHILD_VERSION, .pid = (uint32_t)getpid() };

	str_copy(r.jail, sizeof(r.jail), v->jail.text);
	tell(v, VMM_READY, pack_ready, &r);
}

static void set_run(struct vmm *v, enum vmm_run run)
{
	if (v->state.run == run)
		return;
	v->state.run = (uint8_t)run;
	tell(v, VMM_STATE, pack_state, &v->state);
}

/* The machine is (or is to be) no more. The first reason stands. */
static void end(struct vmm *v, enum vmm_end how, const char *why)
{
	if (v->ended)
		return;
	v->ended = true;
	log_info("the machine has ended: %s", why);
	v->state.end = (uint8_t)how;
	str_copy(v->state.why, sizeof(v->state.why), why);
	set_run(v, VMM_ENDED);
	after_cancel(&v->panic);
	dial_close(&v->term);
	dial_close(&v->net);
	dial_close(&v->fs);
	dial_close(&v->review);
	hybrid_close(&v->hybrid);
	channel_close(&v->channel);
	if (v->machine)
		v->backend->destroy(&v->machine);
	childside_drain(v->side, 2000);
	console_close(&v->console);
	childside_close(&v->side);
	uv_stop(v->loop);
}

/* ---- the machine's events ------------------------------------------------------------------------------------------------------- */

static void on_paused(void *arg, const char *why)
{
	struct vmm *v = arg;

	if (why)
		log_error("the machine paused by itself: %s", why);
	str_copy(v->state.why, sizeof(v->state.why), why ? why : "");
	set_run(v, VMM_PAUSED);
}

static void on_resumed(void *arg)
{
	struct vmm *v = arg;

	v->state.why[0] = '\0';
	set_run(v, channel_is_up(v->channel) ? VMM_RUNNING : VMM_BOOTING);
}

static void on_refused(void *arg, const char *why)
{
	struct vmm_refused m;

	str_copy(m.why, sizeof(m.why), why);
	tell(arg, VMM_REFUSED, pack_refused, &m);
}

static void on_machine_ended(void *arg, enum vmm_end how, const char *why)
{
	struct vmm *v = arg;

	console_finish(v->console);
	const char *panic = console_panic(v->console);
	/* With panic=-1 the kernel restarts the machine after its last words. */
	if (panic && (how == VMM_END_REBOOT || how == VMM_END_POWEROFF))
		end(v, VMM_END_PANIC, panic);
	else
		end(v, how, why);
}

static const struct machine_ops machine_ops = { .on_paused = on_paused, .on_resumed = on_resumed, .on_refused = on_refused, .on_ended = on_machine_ended };

static void on_panic_late(void *arg)
{
	struct vmm *v = arg;

	end(v, VMM_END_PANIC, console_panic(v->console));
}

/* The guest may print what it likes: a false panic ends its own machine and nothing else. */
static void on_panic(void *arg)
{
	struct vmm *v = arg;

	if (!v->ended)
		after_set(&v->panic, v->loop, PANIC_MS, on_panic_late, v);
}

static void on_up(void *arg)
{
	struct vmm *v = arg;

	if (v->state.run == VMM_BOOTING)
		set_run(v, VMM_RUNNING);
}

static void on_broken(void *arg, const char *why)
{
	struct vmm *v = arg;

	/* When the machine goes down its channel ends a moment before its process does: that is no fault of the guest. */
	if (strcmp(why, "the machine closed the channel") != 0)
		end(v, VMM_END_CHANNEL, why);
}

static bool stands(void *arg)
{
	const struct vmm *v = arg;

	return v->state.run == VMM_PAUSED;
}

static const struct channel_events channel_events = { .on_up = on_up, .on_broken = on_broken, .stands = stands };

/* ---- what the supervisor asks ------------------------------------------------------------------------------------------------------ */

static int take_term(struct vmm *v, int *fd)
{
	dial_close(&v->term);
	return dial_open_take(&v->term, v->loop, steal_fd(fd), v->channel, v->gen, AGENT_PORT_CONTROL, AGENT_PORT_SESSION);
}

static int take_net(struct vmm *v, int *fd)
{
	dial_close(&v->net);
	const int r = dial_open_take(&v->net, v->loop, steal_fd(fd), v->channel, v->gen, NETCONN_PORT_FORWARD, NETCONN_PORT_FORWARD);
	return r < 0 ? r : dial_listen(v->net, NETCONN_PORT, NETCONN_PORT);
}

static int take_fs(struct vmm *v, int *fd)
{
	dial_close(&v->fs);
	return dial_open_take(&v->fs, v->loop, steal_fd(fd), v->channel, v->gen, AGENT_PORT_FS, AGENT_PORT_FS);
}

static int take_review(struct vmm *v, int *fd)
{
	dial_close(&v->review);
	return dial_open_take(&v->review, v->loop, steal_fd(fd), v->channel, v->gen, AGENT_PORT_CHANGES, AGENT_PORT_CHANGES);
}

/* Makes console and channel and starts the machine from the descriptors of VMM_START. */
static int start(struct vmm *v, const struct vmm_start *s, int *fds, struct err *e)
{
	int con[2] = { -1, -1 };
	int r;

	v->backend = s->backend == BACKEND_KVM ? &backend_kvm : &backend_qemu;
	if (fd_pair(SOCK_STREAM, con) < 0)
		return err_errno(e, errno, "cannot make the machine's console");
	struct machine_config c = {
		.start = *s, .kernel = fds[VMM_FD_KERNEL], .initrd = fds[VMM_FD_INITRD], .base = fds[VMM_FD_BASE], .disk = fds[VMM_FD_DISK], .kvm = fds[VMM_FD_KVM],
		.console = con[1], .gen = v->gen, .channel_events = &channel_events,
		.restore_state = s->restore ? fds[VMM_FD_STATE] : -1, .restore_memory = s->restore ? fds[VMM_FD_MEMORY] : -1,
	};
	if ((r = console_open_take(&v->console, v->loop, con[0], steal_fd(&fds[VMM_FD_CONSOLE]))) < 0) {
		close(con[1]);
		return err_errno(e, -r, "cannot prepare the machine's console");
	}
	if ((r = v->backend->create(&v->machine, &v->channel, v->loop, &c, &machine_ops, v, e)) < 0)
		return r;
	if ((r = take_term(v, &fds[VMM_FD_DIAL_TERM])) < 0 || (r = take_net(v, &fds[VMM_FD_DIAL_NET])) < 0 ||
	    (r = hybrid_open_take(&v->hybrid, v->loop, steal_fd(&fds[VMM_FD_HYBRID]), v->channel)) < 0)
		return err_errno(e, -r, "cannot prepare the machine");
	console_on_panic(v->console, on_panic, v);
	return 0;
}

static void on_start(struct vmm *v, const struct child_head *h, struct rbuf *r, int *fds, size_t nfds)
{
	struct vmm_start s;
	struct err e = ERR_INIT;

	if (v->started || vmm_start_unpack(r, &s) < 0 || nfds != (s.restore ? (size_t)VMM_FD_RESTORE_NUM : (size_t)VMM_FD_NUM)) {
		log_error("the supervisor sent a VMM_START that cannot be");
		if (v->started) /* a machine runs: it is not to end for that */
			return;
		exit(1);
	}
	v->started = true;
	v->gen = h->gen;
	log_to(steal_fd(&fds[VMM_FD_LOG]));
	log_info("%s '%s', generation %u: %u vCPUs, %u MiB", s.restore ? "going on with the snapshot of" : "starting", s.name, h->gen, s.vcpus, s.memory_mib);
	int rc = start(v, &s, fds, &e);
	if (rc == 0 && (rc = jail_fs(&v->jail, -1, &e)) == 0 && v->backend->run)
		rc = v->backend->run(v->machine, &e);
	if (rc == 0)
		rc = jail_seal(&v->jail, v->backend->profile, &e);
	log_info("jail: %s", v->jail.text);
	tell_ready(v);
	if (rc < 0) {
		end(v, VMM_END_START, e.msg);
		return;
	}
	v->state.machine_pid = v->backend->pid(v->machine);
	tell(v, VMM_STATE, pack_state, &v->state);
	tell(v, VMM_SYNCED, NULL, NULL);
}

static void on_stats_ask(struct vmm *v)
{
	struct vmm_stats s = { 0 };
	struct rusage u;
	char text[256];

	v->backend->usage(v->machine, &s.cpu_ns, &s.rss);
	if (getrusage(RUSAGE_SELF, &u) == 0)
		s.cpu_ns += (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * UINT64_C(1000000000) +
			    (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000;
	const ssize_t n = v->statm_fd >= 0 ? pread(v->statm_fd, text, sizeof(text) - 1, 0) : -1;
	if (n > 0) {
		text[n] = '\0';
		const char *second = strchr(text, ' ');
		s.rss += second ? strtoull(second + 1, NULL, 10) * 4096 : 0;
	}
	if (v->backend->stats)
		v->backend->stats(v->machine, &s);
	channel_counts(v->channel, &s.channel_in, &s.channel_out, &s.streams);
	tell(v, VMM_STATS, pack_stats, &s);
}

static void on_dial(struct vmm *v, struct rbuf *r, int *fds, size_t nfds)
{
	uint32_t which;

	rbuf_u32(r, &which);
	if (rbuf_done(r) < 0 || (which != VMM_FD_DIAL_TERM && which != VMM_FD_DIAL_NET && which != VMM_FD_DIAL_FS && which != VMM_FD_DIAL_REVIEW) || nfds != 1) {
		log_error("the supervisor sent a VMM_DIAL that cannot be");
		return;
	}
	const int rc = which == VMM_FD_DIAL_NET ? take_net(v, &fds[0]) : which == VMM_FD_DIAL_FS ? take_fs(v, &fds[0]) :
		       which == VMM_FD_DIAL_REVIEW ? take_review(v, &fds[0]) : take_term(v, &fds[0]);
	if (rc < 0)
		log_error("cannot take a new dial socket: %s", strerror(-rc));
}

static void on_balloon(struct vmm *v, struct rbuf *r)
{
	uint64_t bytes;

	rbuf_u64(r, &bytes);
	if (rbuf_done(r) < 0)
		log_error("the supervisor sent a VMM_BALLOON that cannot be");
	else if (v->backend->balloon)
		v->backend->balloon(v->machine, bytes);
}

/* The loop stands still while memory is written: nobody may touch what is being saved. */
static void on_snapshot(struct vmm *v, struct rbuf *r, const int *fds, size_t nfds)
{
	struct vmm_snapped m = { .code = 0 };
	struct err e = ERR_INIT;
	int rc;

	rbuf_u32(r, &m.token);
	if (rbuf_done(r) < 0 || nfds != 2) {
		log_error("the supervisor sent a VMM_SNAPSHOT that cannot be");
		return;
	}
	if (!v->backend->snapshot)
		rc = err_set(&e, EOPNOTSUPP, "a machine of the %s backend cannot be kept in a snapshot", v->backend->name);
	else if (v->state.run != VMM_PAUSED)
		rc = err_set(&e, EBUSY, "a machine must be paused for a snapshot");
	else
		rc = v->backend->snapshot(v->machine, fds[0], fds[1], &e);
	m.code = (uint32_t)-rc;
	str_copy(m.why, sizeof(m.why), rc < 0 ? e.msg : "");
	tell(v, VMM_SNAPPED, pack_snapped, &m);
}

static void on_msg(void *arg, const struct child_head *h, struct rbuf *r, int *fds, size_t nfds)
{
	struct vmm *v = arg;

	if (h->type == VMM_START) {
		on_start(v, h, r, fds, nfds);
		return;
	}
	if (!v->started || v->ended || h->gen != v->gen)
		return;
	switch (h->type) {
	case VMM_PAUSE:
		v->backend->pause(v->machine);
		break;
	case VMM_RESUME:
		v->backend->resume(v->machine);
		break;
	case VMM_QUIT:
		end(v, VMM_END_QUIT, "the machine was ended at once");
		break;
	case VMM_STATS_ASK:
		on_stats_ask(v);
		break;
	case VMM_BUTTON:
		if (v->backend->button)
			v->backend->button(v->machine);
		break;
	case VMM_SNAPSHOT:
		on_snapshot(v, r, fds, nfds);
		break;
	case VMM_BALLOON:
		on_balloon(v, r);
		break;
	case VMM_DIAL:
		on_dial(v, r, fds, nfds);
		break;
	default:
		log_error("the supervisor sent message %u, which is none of ours", h->type);
		break;
	}
}

static void on_adopted(void *arg)
{
	struct vmm *v = arg;

	tell_ready(v);
	tell(v, VMM_STATE, pack_state, &v->state);
	tell(v, VMM_SYNCED, NULL, NULL);
}

static void on_orphaned(void *arg)
{
	struct vmm *v = arg;

	if (!v->started)
		exit(0); /* no machine yet: nothing to keep alive */
}

static const struct childside_ops side_ops = { .on_msg = on_msg, .on_adopted = on_adopted, .on_orphaned = on_orphaned };

/* ---- programs ------------------------------------------------------------------------------------------------------------------------ */

static int probe_main(void)
{
	struct probe p;
	char qemu[32];

	probe_kvm(&p);
	probe_qemu(qemu, sizeof(qemu));
	json_t *j = json_pack("{s:s, s:I, s:s, s:s, s:o, s:s, s:i}", "kvm", probe_word(p.kvm), "loop_ns", (json_int_t)p.loop_ns, "sentence", p.sentence,
			      "backend", p.kvm == PROBE_USABLE ? "kvm" : "qemu", "qemu", qemu[0] ? json_string(qemu) : json_null(), "accel", p.kvm == PROBE_USABLE ? "kvm" : "tcg", "tsc_khz", (int)probe_tsc_khz());
	if (!j || json_dumpf(j, stdout, JSON_COMPACT) < 0 || putchar('\n') == EOF || fflush(stdout) != 0) {
		fprintf(stderr, "bulkhead-vmm: cannot print the probe's result\n");
		json_decref(j);
		return 1;
	}
	json_decref(j);
	return 0;
}

static int child_main(void)
{
	static const int keep[] = { CHILD_FD_CONTROL, CHILD_FD_LISTEN };
	const struct jail_early early = { .keep = keep, .nkeep = ARRAY_SIZE(keep), .max_fds = FDS_MAX, .may_spawn = true };
	static struct vmm v;
	struct err e;
	uv_loop_t loop;
	int r;

	log_init("bulkhead-vmm");
	if (jail_early(&v.jail, &early, &e) < 0) {
		log_error("%s", e.msg);
		return 1;
	}
	v.loop = &loop;
	json_object_seed(0); /* reads /dev/urandom: now, or it would at the first object after sealing */
	v.statm_fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	if ((r = uv_loop_init(&loop)) < 0 || (r = childside_open(&v.side, &loop, &side_ops, &v)) < 0) {
		log_error("cannot start: %s", strerror(-r));
		return 1;
	}
	uv_run(&loop, UV_RUN_DEFAULT);
	return v.state.end == VMM_END_START ? 1 : 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--probe") == 0)
		return probe_main();
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		printf("bulkhead-vmm %s\n", BULKHEAD_VERSION);
		return 0;
	}
	if (argc != 1 || fcntl(CHILD_FD_CONTROL, F_GETFD) < 0 || fcntl(CHILD_FD_LISTEN, F_GETFD) < 0) {
		fprintf(stderr, "bulkhead-vmm: this program is started by bulkhead-supervisor; by hand only --probe and --version\n");
		return 2;
	}
	return child_main();
}
