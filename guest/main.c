/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead-guest: PID 1 of a sandbox and the host's agent in it (ARCHITECTURE 5).
 *
 * The kernel starts it as /init of the initramfs; boot.c builds the sandbox's root around it; then it serves the channel, reaps
 * orphans and keeps dockerd. Called as poweroff, halt, reboot or shutdown inside the sandbox it asks PID 1 for that. One
 * thread, one loop; the processes it starts are all there is.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/proto/agent.h"
#include "core/proto/netconn.h"
#include "core/proto/version.h"
#include "guest/boot.h"
#include "guest/changes.h"
#include "guest/control.h"
#include "guest/docker.h"
#include "guest/forward.h"
#include "guest/loop.h"
#include "guest/mux.h"
#include "guest/net.h"
#include "guest/runc.h"
#include "guest/session.h"
#include "guest/shutdown.h"
#include "guest/trust.h"
#include "guest/workspace.h"

#define SHUTDOWN_MS 10000
#define FILES_MAX 65536

static bool accept_stream(uint32_t port, struct gstream *st, const struct gstream_ops **ops, void **arg)
{
	switch (port) {
	case AGENT_PORT_CONTROL:
		return control_accept(st, ops, arg);
	case AGENT_PORT_SESSION:
		return session_accept(st, ops, arg);
	case NETCONN_PORT_FORWARD:
		return forward_accept(st, ops, arg);
	case AGENT_PORT_CHANGES:
		return changes_accept(st, ops, arg);
	case AGENT_PORT_FS:
		return workspace_accept(st, ops, arg);
	default:
		return false;
	}
}

static void reap(void)
{
	int status;

	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
		if (!session_reaped(pid, status) && !workspace_reaped(pid, status) && !docker_reaped(pid, status))
			net_reaped(pid, status);
	shutdown_look();
}

static void on_signal(void *arg, uint32_t events)
{
	const int *fd = arg;
	struct signalfd_siginfo s;

	(void)events;
	while (read(*fd, &s, sizeof(s)) == (ssize_t)sizeof(s)) {
		if (s.ssi_signo == SIGCHLD)
			reap();
		else
			shutdown_begin(s.ssi_signo == SIGINT ? SHUTDOWN_REBOOT : SHUTDOWN_POWEROFF, SHUTDOWN_MS);
	}
}

static int watch_signals(struct watch *w)
{
	static int fd;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM); /* poweroff */
	sigaddset(&set, SIGINT);  /* reboot, and ctrl-alt-del */
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	return fd < 0 ? -errno : loop_add(w, fd, EPOLLIN, on_signal, &fd);
}

static void open_console(void)
{
	const int fd = open("/dev/console", O_RDWR | O_NOCTTY);

	if (fd < 0)
		return;
	for (int i = 0; i < 3; i++)
		if (fd != i)
			dup2(fd, i);
	if (fd > 2)
		close(fd);
}

/* poweroff and its kin: a signal to PID 1 and nothing else. */
static int be_poweroff(const char *name)
{
	const int reboot_ = strcmp(name, "reboot") == 0;

	if (geteuid() != 0) {
		fprintf(stderr, "%s: only root may do this; try: sudo %s\n", name, name);
		return 1;
	}
	if (kill(1, reboot_ ? SIGINT : SIGTERM) < 0) {
		fprintf(stderr, "%s: cannot tell PID 1: %s\n", name, strerror(errno));
		return 1;
	}
	return 0;
}

static void on_network(void)
{
	docker_start();
	control_network_ready();
}

static _Noreturn void be_init(void)
{
	static struct watch signals;
	const struct rlimit files = { .rlim_cur = FILES_MAX, .rlim_max = 1048576 }; /* one a connection, and some */
	int r;

	log_init("bulkhead-guest");
	umask(022);
	open_console();
	boot_root();
	boot_system();
	open_console();
	reboot(RB_DISABLE_CAD);
	setrlimit(RLIMIT_NOFILE, &files);
	if ((r = loop_init()) < 0 || (r = watch_signals(&signals)) < 0 || (r = gmux_start(accept_stream)) < 0) {
		log_error("cannot serve the channel: %s; powering off", strerror(-r));
		sync();
		reboot(RB_POWER_OFF);
		exit(1);
	}
	log_info("%s serves the channel", BULKHEAD_VERSION);
	trust_init();
	runc_init();
	docker_init(control_docker_changed);
	net_start(on_network);
	loop_run();
}

int main(int argc, char **argv)
{
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
	const char *name = slash ? slash + 1 : argc > 0 ? argv[0] : "";

	if (getpid() == 1)
		be_init();
	if (strcmp(name, "poweroff") == 0 || strcmp(name, "halt") == 0 || strcmp(name, "reboot") == 0 || strcmp(name, "shutdown") == 0)
		return be_poweroff(name);
	if (strcmp(name, "runc") == 0)
		runc_main(argv);
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		printf("bulkhead-guest %s\n", BULKHEAD_VERSION);
		return 0;
	}
	fprintf(stderr, "bulkhead-guest: this program is PID 1 of a sandbox; by hand only --version\n");
	return 2;
}
