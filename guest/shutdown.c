/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/shutdown.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "guest/boot.h"
#include "guest/cgroup.h"
#include "guest/control.h"
#include "guest/docker.h"
#include "guest/loop.h"
#include "guest/mux.h"
#include "guest/session.h"
#include "guest/workspace.h"

#define DEADLINE_MAX_MS 120000u
#define LOOK_MS 20
#define HUP_MS 500   /* interactive shells ignore SIGTERM and end at SIGHUP; who minds SIGTERM gets this long first */
#define KILL_MS 1000 /* kept back of the deadline for SIGKILL and the disk */

static struct {
	bool begun;
	enum shutdown_kind kind;
	bool hung_up, told_all;
	uint64_t hup_at_ms, kill_at_ms;
	struct timer look;
} down;

static _Noreturn void finish(void)
{
	log_info("going down");
	gmux_drain(200);
	/* A sync would wait for the host's answers, which nobody brings any more. */
	workspace_abort();
	sync();
	/*
	 * The overlay is our root and its upper file system cannot be unmounted; read-only is as clean. Without MS_BIND the second
	 * remount is of the disk's file system itself, which /var/lib/docker is a part of.
	 */
	const bool clean = mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0 &&
			   mount(NULL, BOOT_DISK_PATH, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0;
	if (!clean)
		log_warn("cannot make the disk read-only (%s); its journal is replayed at the next start", strerror(errno));
	sync();
	reboot(down.kind == SHUTDOWN_REBOOT ? RB_AUTOBOOT : RB_POWER_OFF);
	for (;;)
		pause();
}

/* User processes besides us. Kernel threads have no command line. */
static bool others(void)
{
	DIR *d = opendir("/proc");
	bool found = false;
	uint64_t pid;

	for (struct dirent *de; d && !found && (de = readdir(d));) {
		char path[300], c;

		if (str_u64(de->d_name, 2, UINT32_MAX, &pid) < 0)
			continue;
		snprintf(path, sizeof(path), "/proc/%s/cmdline", de->d_name);
		AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
		found = fd >= 0 && read(fd, &c, 1) == 1;
	}
	if (d)
		closedir(d);
	return found;
}

static void look(void *arg)
{
	const uint64_t now = clock_ms();

	(void)arg;
	if (!down.hung_up && now >= down.hup_at_ms) {
		down.hung_up = true;
		cgroup_signal_all(SIGHUP);
	}
	/* dockerd tells its containers itself, and needs containerd for that: who is left is told after it has gone. */
	if (!docker_running() && !down.told_all) {
		down.told_all = true;
		kill(-1, SIGTERM);
		kill(-1, SIGCONT);
	}
	if (down.told_all && !others())
		finish();
	if (now >= down.kill_at_ms) {
		kill(-1, SIGKILL);
		for (int i = 0; i < 50 && others(); i++) {
			while (waitpid(-1, NULL, WNOHANG) > 0)
				;
			usleep(10000);
		}
		finish();
	}
	loop_after(&down.look, LOOK_MS, look, NULL);
}

void shutdown_begin(enum shutdown_kind kind, uint32_t deadline_ms)
{
	if (down.begun)
		return;
	down.begun = true;
	down.kind = kind;
	if (deadline_ms > DEADLINE_MAX_MS)
		deadline_ms = DEADLINE_MAX_MS;
	down.hup_at_ms = clock_ms() + HUP_MS;
	down.kill_at_ms = clock_ms() + (deadline_ms > 2 * KILL_MS ? deadline_ms - KILL_MS : deadline_ms / 2);
	log_info("shutting down");
	session_refuse();
	control_going_down();
	/* dockerd has containers to tell; who is no concern of its does not wait for that. */
	cgroup_signal_all(SIGTERM);
	cgroup_signal_all(SIGCONT);
	docker_stop();
	look(NULL);
}

void shutdown_look(void)
{
	if (down.begun)
		loop_after(&down.look, 0, look, NULL);
}
