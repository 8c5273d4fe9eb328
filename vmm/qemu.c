/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine in QEMU's microvm (docs/system/i386/microvm in QEMU): for hosts whose /dev/kvm is absent or only emulates, and for those
 * where it runs guests until our own monitor does.
 *
 * QEMU gets descriptors, not paths (add-fd for the disks, /dev/fd for kernel and initrd), its own seccomp sandbox, no network, no
 * default device, no configuration file; it dies with us (PDEATHSIG) and we tell of its end by its process. ACPI is on because Debian's
 * kernel finds virtio-mmio devices only by it; virtio is modern (QEMU 7.2 needs force-legacy=false).
 */
#include "vmm/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/loop/proc.h"
#include "core/proto/fs.h"
#include "core/proto/mux.h"
#include "vmm/backend.h"
#include "vmm/muxhost.h"
#include "vmm/probe.h"
#include "vmm/qmp.h"

struct machine {
	struct proc *proc;
	struct qmp *qmp;
	const struct machine_ops *ops;
	void *arg;
	int stat_fd, statm_fd; /* of its /proc directory: read after sealing */
	char reason[32];       /* of QEMU's SHUTDOWN event */
	char disk_error[256];  /* why the disk could not be written since the machine ran last; "" it could */
};

/* ---- command line ---------------------------------------------------------------------------------------------------------- */

static void add(struct qemu_args *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct qemu_args *a, const char *fmt, ...)
{
	va_list ap;
	char *s = NULL;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	if (!s || a->n == QEMU_ARGS_MAX) {
		free(s);
		a->failed = 1;
		return;
	}
	a->v[a->n++] = s;
}

static void add_disk(struct qemu_args *a, const char *id, int fd, int set, const char *options)
{
	add(a, "-add-fd");
	add(a, "fd=%d,set=%d", fd, set);
	add(a, "-drive");
	add(a, "if=none,id=%s,file=/dev/fdset/%d,format=raw,%s", id, set, options);
	add(a, "-device");
	add(a, "virtio-blk-device,drive=%s,serial=bulkhead-%s", id, id);
}

int qemu_args(struct qemu_args *a, const struct vmm_start *s, int kvm, unsigned tsc_khz)
{
	const char *const fixed[] = {
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-net", "none",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		"-M", s->lanes > 0 ? "microvm,acpi=on,isa-serial=on,memory-backend=memory" : "microvm,acpi=on,isa-serial=on",
		"-global", "virtio-mmio.force-legacy=false",
	};
	char clock[40] = "";

	memset(a, 0, sizeof(*a));
	if (!kvm && tsc_khz > 0)
		snprintf(clock, sizeof(clock), " tsc_early_khz=%u", tsc_khz);
	add(a, "qemu-system-x86_64");
	add(a, "-name");
	add(a, "bulkhead-%s", s->name);
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		add(a, "%s", fixed[i]);
	add(a, "-accel");
	add(a, "%s", kvm ? "kvm" : "tcg,thread=multi,tb-size=256");
	add(a, "-cpu");
	add(a, "%s", kvm ? "host" : "max,-erms"); /* rep movsb is emulated byte by byte: without it guests copy eight and more at once */
	add(a, "-smp");
	add(a, "%u", s->vcpus);
	add(a, "-m");
	add(a, "%uM", s->memory_mib);
	if (s->lanes > 0) { /* of which bulkhead-fs sees what the guest lends it */
		add(a, "-object");
		add(a, "memory-backend-file,id=memory,size=%uM,mem-path=/dev/fd/%d,share=on", s->memory_mib, QEMU_FD_MEMORY);
	}
	add(a, "-kernel");
	add(a, "/dev/fd/%d", QEMU_FD_KERNEL);
	add(a, "-initrd");
	add(a, "/dev/fd/%d", QEMU_FD_INITRD);
	add(a, "-append");
	add(a, "console=ttyS0 panic=-1 reboot=t quiet loglevel=4 random.trust_cpu=on 8250.nr_uarts=1%s%s%s%s", kvm ? "" : " mitigations=off tsc=reliable no_timer_check maxcpus=1", clock,
	    s->cmdline[0] ? " " : "", s->cmdline);
	add_disk(a, "base", QEMU_FD_BASE, 1, "readonly=on,cache=writeback");
	/* QEMU opens a disk read-only until a device wants to write: its set needs a descriptor of each kind. */
	add(a, "-add-fd");
	add(a, "fd=%d,set=2", QEMU_FD_DISK_RO);
	add_disk(a, "disk", QEMU_FD_DISK, 2, "cache=writeback,discard=unmap,detect-zeroes=unmap,werror=stop,rerror=report");
	add(a, "-device");
	add(a, "virtio-rng-device");
	add(a, "-chardev");
	add(a, "socket,id=console,fd=%d", QEMU_FD_CONSOLE);
	add(a, "-serial");
	add(a, "chardev:console");
	add(a, "-device");
	add(a, "virtio-serial-device,max_ports=%u", 2u + s->lanes);
	add(a, "-chardev");
	add(a, "socket,id=channel,fd=%d", QEMU_FD_CHANNEL);
	add(a, "-device");
	add(a, "virtserialport,chardev=channel,name=%s", MUX_PORT_NAME);
	for (unsigned i = 0; i < s->lanes; i++) {
		add(a, "-chardev");
		add(a, "socket,id=lane%u,fd=%u", i, QEMU_FD_LANE + i);
		add(a, "-device");
		add(a, "virtserialport,chardev=lane%u,name=" FS_LANE_PORT "%u", i, i);
	}
	add(a, "-chardev");
	add(a, "socket,id=monitor,fd=%d", QEMU_FD_QMP);
	add(a, "-mon");
	add(a, "chardev=monitor,mode=control");
	return a->failed ? -ENOMEM : 0;
}

void qemu_args_release(struct qemu_args *a)
{
	while (a->n > 0)
		free(a->v[--a->n]);
}

/* ---- life ---------------------------------------------------------------------------------------------------------------------- */

static void on_event(void *arg, const char *name, const char *reason)
{
	struct machine *m = arg;

	/*
	 * A write that the host refuses stops the machine (werror=stop) instead of reaching the guest, whose file system it would break. What is
	 * refused is written again when the machine goes on.
	 */
	if (strcmp(name, "BLOCK_IO_ERROR") == 0)
		backend_disk_refused(m->disk_error, sizeof(m->disk_error), reason);
	else if (strcmp(name, "STOP") == 0)
		m->ops->on_paused(m->arg, m->disk_error[0] ? m->disk_error : NULL);
	else if (strcmp(name, "SHUTDOWN") == 0)
		str_copy(m->reason, sizeof(m->reason), reason);
	if (strcmp(name, "RESUME") == 0) {
		m->disk_error[0] = '\0';
		m->ops->on_resumed(m->arg);
	}
}

static void on_error(void *arg, const char *why)
{
	struct machine *m = arg;

	log_warn("QEMU: %s", why);
	if (m->ops->on_refused)
		m->ops->on_refused(m->arg, why);
}

static const struct qmp_ops qmp_ops = { .on_event = on_event, .on_error = on_error };

static void on_exit_(void *arg, int status)
{
	struct machine *m = arg;
	char text[96], why[256];
	enum vmm_end end = VMM_END_CRASH;

	proc_status_text(text, sizeof(text), status);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && strcmp(m->reason, "guest-shutdown") == 0) {
		end = VMM_END_POWEROFF;
		snprintf(why, sizeof(why), "the guest powered off");
	} else if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && strcmp(m->reason, "guest-reset") == 0) {
		end = VMM_END_REBOOT;
		snprintf(why, sizeof(why), "the guest restarted itself");
	} else if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && m->reason[0]) {
		end = VMM_END_QUIT;
		snprintf(why, sizeof(why), "the machine was ended (%s)", m->reason);
	} else {
		snprintf(why, sizeof(why), "QEMU %s (vmm.log may say why)", text);
	}
	m->ops->on_ended(m->arg, end, why);
}

static int open_proc(pid_t pid, const char *what)
{
	AUTO_FREE char *path = str_fmt("/proc/%ld/%s", (long)pid, what);

	return path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
}

static int start(struct machine *m, uv_loop_t *loop, struct machine_config *c, int channel, int qmp_fd, int memory, const int *lane, struct err *e)
{
	struct qemu_args a;
	AUTO_FREE char *path = probe_qemu_path();

	if (!path)
		return err_set(e, ENOENT, "cannot start the machine: QEMU is missing; on Debian: apt install qemu-system-x86");
	AUTO_FREE char *again = str_fmt("/proc/self/fd/%d", c->disk);
	AUTO_FD disk_ro = again ? open(again, O_RDONLY | O_CLOEXEC) : -1;
	if (disk_ro < 0)
		return err_errno(e, errno, "cannot start the machine: its disk cannot be read");
	int fds[QEMU_FD_LANE - QEMU_FD_KERNEL + CHANNEL_LANES_MAX] = { c->kernel, c->initrd, c->base, c->disk, disk_ro, c->console, channel, qmp_fd, memory };
	memcpy(fds + QEMU_FD_LANE - QEMU_FD_KERNEL, lane, c->start.lanes * sizeof(*lane));
	int r = qemu_args(&a, &c->start, c->start.kvm_usable, probe_tsc_khz());
	if (r == 0) {
		/* Not a session of its own: it dies with us in every case, and a terminal is not ours either. */
		const struct proc_opts o = { .path = path, .argv = a.v, .fds = fds, .nfds = c->start.lanes > 0 ? QEMU_FD_LANE - QEMU_FD_KERNEL + c->start.lanes : QEMU_FD_MEMORY - QEMU_FD_KERNEL, .out_fd = 2, .die_with_us = true };

		r = proc_spawn(&m->proc, loop, &o, on_exit_, m, e);
	} else {
		err_set(e, ENOMEM, "cannot start the machine: out of memory");
	}
	qemu_args_release(&a);
	if (r == 0) {
		m->stat_fd = open_proc(proc_pid(m->proc), "stat");
		m->statm_fd = open_proc(proc_pid(m->proc), "statm");
	}
	return r;
}

static void qemu_destroy(struct machine **mp);

_Static_assert(CHANNEL_LANES_MAX >= WORKSPACES_MAX && QEMU_FD_LANE - QEMU_FD_KERNEL + CHANNEL_LANES_MAX <= FD_PASS_MAX, "vmm_start.lanes fits");

/* A lane for each workspace: QEMU's ends in lane[], ours in the channel, and the machine's memory with them. */
static int make_lanes(struct channel *c, unsigned n, uint32_t memory_mib, int *lane)
{
	const int kept = FS_LANE_KEPT;
	int pair[2];

	if (n == 0)
		return 0;
	AUTO_FD memory = fd_memory("guest-memory", (uint64_t)memory_mib << 20, 0);
	if (memory < 0)
		return memory;
	for (unsigned i = 0; i < n; i++) {
		if (fd_pair(SOCK_STREAM, pair) < 0)
			return -errno;
		lane[i] = pair[1];
		if (i == 0)
			c->memory = steal_fd(&memory);
		c->lane[c->lanes++] = pair[0];
		/* A message is up to half of it: what does not fit stops QEMU's side until there is room again. The host may grant less. */
		setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &kept, sizeof(kept));
		setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &kept, sizeof(kept));
	}
	return 0;
}

static int qemu_create(struct machine **out, struct channel **chan, uv_loop_t *loop, struct machine_config *c, const struct machine_ops *ops, void *arg,
		       struct err *e)
{
	int monitor[2] = { -1, -1 }, channel[2] = { -1, -1 }, lane[CHANNEL_LANES_MAX];
	struct machine *m = calloc(1, sizeof(*m));
	int r = m ? 0 : err_set(e, ENOMEM, "out of memory");

	*out = NULL;
	*chan = NULL;
	memset(lane, -1, sizeof(lane));
	if (r == 0) {
		m->ops = ops;
		m->arg = arg;
		m->stat_fd = m->statm_fd = -1;
		if (c->restore_state >= 0)
			r = err_set(e, EOPNOTSUPP, "QEMU cannot go on with a snapshot of bulkhead's own machine");
		else if (fd_pair(SOCK_STREAM, monitor) < 0 || fd_pair(SOCK_STREAM, channel) < 0)
			r = err_errno(e, errno, "cannot make QEMU's sockets");
	}
	if (r == 0 && (r = muxhost_open_take(chan, loop, steal_fd(&channel[0]), c->gen, c->channel_events, arg)) < 0)
		err_errno(e, -r, "cannot prepare the channel");
	if (r == 0 && (r = make_lanes(*chan, c->start.lanes, c->start.memory_mib, lane)) < 0)
		err_errno(e, -r, "cannot make QEMU's lanes and memory");
	if (r == 0)
		r = start(m, loop, c, channel[1], monitor[1], c->start.lanes > 0 ? (*chan)->memory : -1, lane, e);
	for (size_t i = 0; i < ARRAY_SIZE(lane); i++)
		fd_close(&lane[i]);
	fd_close(&monitor[1]);
	fd_close(&channel[0]);
	fd_close(&channel[1]);
	fd_close(&c->console);
	if (r == 0 && (r = qmp_open_take(&m->qmp, loop, steal_fd(&monitor[0]), &qmp_ops, m)) < 0)
		err_errno(e, -r, "cannot speak with QEMU's monitor");
	fd_close(&monitor[0]);
	if (r < 0) {
		channel_close(chan);
		qemu_destroy(&m);
		return r;
	}
	*out = m;
	return 0;
}

static int qemu_pause(struct machine *m)
{
	return qmp_command(m->qmp, "stop");
}

static int qemu_resume(struct machine *m)
{
	return qmp_command(m->qmp, "cont");
}

static uint32_t qemu_pid(const struct machine *m)
{
	return (uint32_t)proc_pid(m->proc);
}

/* The n-th number (from 0) of a line of numbers. */
static uint64_t nth_number(const char *p, int n)
{
	for (; p && n > 0; n--) {
		p = strchr(p, ' ');
		p = p ? p + 1 : NULL;
	}
	return p ? strtoull(p, NULL, 10) : 0;
}

static const char *read_proc(int fd, char *text, size_t cap)
{
	const ssize_t n = fd >= 0 ? pread(fd, text, cap - 1, 0) : -1;

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void qemu_usage(const struct machine *m, uint64_t *cpu_ns, uint64_t *rss)
{
	char text[1024];
	const char *after = strrchr(read_proc(m->stat_fd, text, sizeof(text)), ')');

	/* stat fields 14 and 15 (utime, stime, in ticks of 10 ms) counted from the one after the name; statm field 2 in pages. */
	*cpu_ns = after ? (nth_number(after, 12) + nth_number(after, 13)) * 10000000 : 0;
	*rss = nth_number(read_proc(m->statm_fd, text, sizeof(text)), 1) * 4096;
}

static void qemu_destroy(struct machine **mp)
{
	struct machine *m = *mp;

	if (!m)
		return;
	*mp = NULL;
	if (m->proc)
		proc_kill(m->proc, SIGKILL);
	proc_release(&m->proc);
	qmp_close(&m->qmp);
	fd_close(&m->stat_fd);
	fd_close(&m->statm_fd);
	free(m);
}

const struct backend backend_qemu = {
	.name = "qemu",
	.profile = &jail_profile_vmm,
	.create = qemu_create,
	.pause = qemu_pause,
	.resume = qemu_resume,
	.pid = qemu_pid,
	.usage = qemu_usage,
	.destroy = qemu_destroy,
};
