/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a kernel in a machine of the kvm backend, its console on stdout: for the bare-metal guests and the nested test.
 *
 *   kvmboot [-m MiB] [-c vCPUs] [-i initrd] [-b base] [-d disk] [-a cmdline] [-s hybrid socket] [-t seconds] [-u] [-H] [-S prefix] [-R prefix] KERNEL
 *
 * What comes on stdin is typed at the console. SIGQUIT presses the power button. -S: SIGWINCH pauses it, writes PREFIX.state and PREFIX.mem, and ends it with code 5. -R: goes on from these.
 * Its thread of the loop is sealed as bulkhead-vmm's is, once the machine runs (but with -u). Ends with 0 when the guest powered off, 3 when it restarted itself, 4 when the time was over, 1 else. -u: threads are not sealed. -H: memory of the host's pool of huge pages.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "vmm/backend.h"
#include "vmm/dial.h"

struct run {
	uv_loop_t *loop;
	struct machine *m;
	struct channel *chan;
	struct hybrid *hybrid;
	uv_poll_t console, in;
	int fd, code;
	bool squeezed, snapshot_due;
	int save_state, save_memory; /* -1 none */
	uint64_t memory;
};

static void drain(struct run *r)
{
	char text[4096];

	for (ssize_t n; (n = read(r->fd, text, sizeof(text))) > 0;)
		if (write(1, text, (size_t)n) < 0)
			return;
}

static void on_console(uv_poll_t *h, int status, int events)
{
	(void)status;
	(void)events;
	drain(h->data);
}

static void on_stdin(uv_poll_t *h, int status, int events)
{
	const struct run *r = h->data;
	char text[256];
	const ssize_t n = status < 0 ? 0 : read(0, text, sizeof(text));

	(void)events;
	if (n <= 0 || write(r->fd, text, (size_t)n) < 0)
		uv_poll_stop(h);
}

static void on_quit(uv_signal_t *s, int signo)
{
	const struct run *r = s->data;

	(void)signo;
	backend_kvm.button(r->m);
}

static void stop(struct run *r, int code, const char *why)
{
	r->code = code;
	drain(r);
	fprintf(stderr, "kvmboot: %s\n", why);
	uv_stop(r->loop);
}

static int save_file(const char *prefix, const char *what, int flags)
{
	AUTO_FREE char *path = str_fmt("%s.%s", prefix, what);
	const int fd = path ? open(path, flags | O_CLOEXEC, 0600) : -1;

	if (fd < 0) {
		fprintf(stderr, "kvmboot: %s.%s: %s\n", prefix, what, strerror(errno));
		exit(1);
	}
	return fd;
}

static void on_paused(void *arg, const char *why)
{
	(void)why;
	struct run *r = arg;
	struct err e = ERR_INIT;

	fprintf(stderr, "kvmboot: paused\n");
	if (!r->snapshot_due)
		return;
	if (backend_kvm.snapshot(r->m, r->save_state, r->save_memory, &e) < 0)
		stop(r, 1, e.msg);
	else
		stop(r, 5, "the snapshot is written");
}

static void on_winch(uv_signal_t *s, int signo)
{
	struct run *r = s->data;

	(void)signo;
	r->snapshot_due = r->save_state >= 0;
	backend_kvm.pause(r->m);
}
static void on_resumed(void *arg) { (void)arg; fprintf(stderr, "kvmboot: resumed\n"); }
static void on_up(void *arg) { (void)arg; fprintf(stderr, "kvmboot: channel up\n"); }
static void on_broken(void *arg, const char *why) { stop(arg, 1, why); }

static void on_ended(void *arg, enum vmm_end end, const char *why)
{
	stop(arg, end == VMM_END_POWEROFF ? 0 : end == VMM_END_REBOOT ? 3 : 1, why);
}

static void on_time(uv_timer_t *t)
{
	stop(t->data, 4, "the time is over");
}

/* SIGHUP: the guest is to give up an eighth of its memory, and the next time to take it back. */
static void on_hup(uv_signal_t *s, int signo)
{
	struct run *r = s->data;

	(void)signo;
	r->squeezed = !r->squeezed;
	backend_kvm.balloon(r->m, r->squeezed ? r->memory / 8 : 0);
}

/* SIGUSR2 pauses, and resumes the next time. */
static void on_signal(uv_signal_t *s, int signo)
{
	struct run *r = s->data;
	static bool paused;

	(void)signo;
	paused = !paused;
	if (paused)
		backend_kvm.pause(r->m);
	else
		backend_kvm.resume(r->m);
}

/* SIGURG, while it is paused: resumed and paused again, before any of its threads can have gone on. */
static void on_urg(uv_signal_t *s, int signo)
{
	struct run *r = s->data;

	(void)signo;
	backend_kvm.resume(r->m);
	backend_kvm.pause(r->m);
}

static const struct machine_ops ops = { .on_paused = on_paused, .on_resumed = on_resumed, .on_ended = on_ended };
static const struct channel_events events = { .on_up = on_up, .on_broken = on_broken };

static int must_open(const char *path, int flags)
{
	const int fd = path ? open(path, flags | O_CLOEXEC) : -1;

	if (path && fd < 0) {
		fprintf(stderr, "kvmboot: %s: %s\n", path, strerror(errno));
		exit(1);
	}
	return fd;
}

static int listen_at(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	str_copy(a.sun_path, sizeof(a.sun_path), path);
	unlink(path);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 64) < 0) {
		fprintf(stderr, "kvmboot: %s: %s\n", path, strerror(errno));
		exit(1);
	}
	return fd;
}

int main(int argc, char **argv)
{
	struct machine_config c = { .start = { .backend = BACKEND_KVM, .vcpus = 1, .memory_mib = 64, .name = "kvmboot" }, .initrd = -1, .base = -1, .disk = -1,
				    .gen = 1, .restore_state = -1, .restore_memory = -1, .channel_events = &events };
	struct run r = { .code = 1, .save_state = -1, .save_memory = -1 };
	struct err e = ERR_INIT;
	const char *hybrid = NULL;
	unsigned long seconds = 60;
	uv_loop_t loop;
	uv_timer_t timer;
	uv_signal_t urg, usr2, hup, winch, quit;
	int pair[2];

	log_init("kvmboot");
	for (int o; (o = getopt(argc, argv, "m:c:i:b:d:a:s:t:uHS:R:")) != -1;) {
		switch (o) {
		case 'm': c.start.memory_mib = (uint32_t)strtoul(optarg, NULL, 10); break;
		case 'c': c.start.vcpus = (uint32_t)strtoul(optarg, NULL, 10); break;
		case 'i': c.initrd = must_open(optarg, O_RDONLY); break;
		case 'b': c.base = must_open(optarg, O_RDONLY); break;
		case 'd': c.disk = must_open(optarg, O_RDWR); break;
		case 'a': str_copy(c.start.cmdline, sizeof(c.start.cmdline), optarg); break;
		case 's': hybrid = optarg; break;
		case 't': seconds = strtoul(optarg, NULL, 10); break;
		case 'S':
			r.save_state = save_file(optarg, "state", O_RDWR | O_CREAT | O_TRUNC);
			r.save_memory = save_file(optarg, "mem", O_RDWR | O_CREAT | O_TRUNC);
			break;
		case 'R':
			c.restore_state = save_file(optarg, "state", O_RDONLY);
			c.restore_memory = save_file(optarg, "mem", O_RDONLY);
			break;
		case 'H': c.start.pages = VMM_PAGES_POOL; break;
		case 'u': c.unsealed = true; break;
		default: return 2;
		}
	}
	if (optind != argc - 1)
		return 2;
	c.kernel = must_open(argv[optind], O_RDONLY);
	c.kvm = must_open("/dev/kvm", O_RDWR);
	if (fd_pair(SOCK_STREAM, pair) < 0 || uv_loop_init(&loop) < 0)
		return 1;
	r.loop = &loop;
	r.fd = pair[0];
	c.console = pair[1];
	uv_poll_init(&loop, &r.console, r.fd);
	r.console.data = &r;
	uv_poll_start(&r.console, UV_READABLE, on_console);
	if (uv_poll_init(&loop, &r.in, 0) == 0) { /* a file cannot be waited for, and is not typed */
		r.in.data = &r;
		uv_poll_start(&r.in, UV_READABLE, on_stdin);
	}
	uv_timer_init(&loop, &timer);
	timer.data = &r;
	uv_timer_start(&timer, on_time, seconds * 1000, 0);
	uv_signal_init(&loop, &usr2);
	usr2.data = &r;
	uv_signal_start(&usr2, on_signal, SIGUSR2);
	uv_signal_init(&loop, &urg);
	urg.data = &r;
	uv_signal_start(&urg, on_urg, SIGURG);
	uv_signal_init(&loop, &quit);
	quit.data = &r;
	uv_signal_start(&quit, on_quit, SIGQUIT);
	uv_signal_init(&loop, &winch);
	winch.data = &r;
	uv_signal_start(&winch, on_winch, SIGWINCH);
	uv_signal_init(&loop, &hup);
	hup.data = &r;
	r.memory = (uint64_t)c.start.memory_mib << 20;
	uv_signal_start(&hup, on_hup, SIGHUP);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (backend_kvm.create(&r.m, &r.chan, &loop, &c, &ops, &r, &e) < 0 ||
	    (hybrid && hybrid_open_take(&r.hybrid, &loop, listen_at(hybrid), r.chan) < 0) || backend_kvm.run(r.m, &e) < 0) {
		fprintf(stderr, "kvmboot: %s\n", e.msg);
		channel_close(&r.chan);
		backend_kvm.destroy(&r.m);
		return 1;
	}
	struct jail j = { .text = "" };
	if (!c.unsealed && jail_seal(&j, backend_kvm.profile, &e) < 0) {
		fprintf(stderr, "kvmboot: %s\n", e.msg);
		return 1;
	}
	fprintf(stderr, "kvmboot: runs\n");
	uv_run(&loop, UV_RUN_DEFAULT);
	hybrid_close(&r.hybrid);
	channel_close(&r.chan);
	backend_kvm.destroy(&r.m);
	uv_run(&loop, UV_RUN_NOWAIT); /* handles are freed by their last callback */
	return r.code;
}
