/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our own machine: what is on which port and in which slot, which thread serves what.
 *
 *   vCPU threads   KVM_RUN; registers of devices (each under its device's lock)
 *   blk threads    one a queue of a disk
 *   the loop       every other queue, the console, the channel, the machine's life
 *
 * Everything is opened and created in create(); run() starts the threads, each sealed by its own seccomp filter, once the process can
 * open nothing any more.
 */
#include "vmm/kvm/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/rnd.h"
#include "core/base/str.h"

#define DATA_MAX (UINT64_C(1) << 30)
_Static_assert(DATA_MAX >= 3 * (uint64_t)VSOCK_HOLD_MAX, "connections alone do not reach it");

/* ---- vCPU threads -------------------------------------------------------------------------------------------------------------------- */

static void on_wake_needed(void *arg)
{
	struct machine *m = arg;

	uv_async_send(m->wake);
}

static void on_serial(void *arg, unsigned reg, bool write_, uint8_t *v)
{
	struct machine *m = arg;

	if (write_)
		serial_write(&m->tty.serial, reg, *v);
	else
		*v = serial_read(&m->tty.serial, reg);
}

static void on_mmio(void *arg, uint64_t addr, bool write_, uint8_t *data, unsigned len)
{
	struct machine *m = arg;
	const uint64_t at = addr - VIRTIO_BASE;
	const uint64_t slot = at / VIRTIO_STRIDE;
	const uint32_t off = (uint32_t)(at % VIRTIO_STRIDE);

	if (addr < VIRTIO_BASE || slot >= SLOT_NUM || !m->dev[slot]) {
		if (!write_)
			memset(data, 0xff, len);
		return;
	}
	if (write_)
		virtio_write(m->dev[slot], off, data, len);
	else
		virtio_read(m->dev[slot], off, data, len);
}

static int seal_with(const struct jail_profile *p, const struct machine *m, struct err *e)
{
	struct jail j = { .text = "" };

	return m->unsealed ? 0 : jail_seal(&j, p, e);
}

static int seal_vcpu(void *arg, struct err *e)
{
	return seal_with(&jail_profile_vmm_vcpu, arg, e);
}

static int seal_blk(void *arg, struct err *e)
{
	return seal_with(&jail_profile_vmm_blk, arg, e);
}

static const struct vcpu_ops vcpu_ops = { .serial = on_serial, .mmio = on_mmio, .wake = on_wake_needed, .seal = seal_vcpu };

/* ---- the loop ----------------------------------------------------------------------------------------------------------------------------- */

static bool has_disk(const struct machine *m, enum slot slot)
{
	return m->dev[slot] != NULL;
}

bool machine_stands(struct machine *m)
{
	return vcpus_stand(m->cpus) && (!has_disk(m, SLOT_BASE) || blk_idle(&m->base)) && (!has_disk(m, SLOT_DISK) || blk_idle(&m->disk));
}

static int kvm_pause(struct machine *m);

static void on_wake(uv_async_t *h)
{
	struct machine *m = h->data;
	const char *why;
	const enum vmm_end end = m->cpus ? vcpus_ended(m->cpus, &why) : VMM_END_NONE;

	tty_flush(&m->tty); /* after the look: what a guest sent before its end is not lost */
	if (!m->cpus || m->ended)
		return;
	if (end != VMM_END_NONE) {
		m->ended = true;
		m->ops->on_ended(m->arg, end, why);
		return; /* m may be gone */
	}
	const int refused = atomic_load(&m->disk_error);
	if (refused)
		kvm_pause(m);
	if (m->pause_asked && !m->paused && machine_stands(m)) {
		char text[256];

		backend_disk_refused(text, sizeof(text), strerror(refused));
		m->paused = true;
		m->ops->on_paused(m->arg, refused ? text : NULL);
	}
}

static void on_bell(uv_poll_t *h, int status, int events)
{
	struct bell *b = h->data;
	struct machine *m = b->m;
	uint64_t n;

	(void)events;
	if (status < 0 || read(m->bell_fd[b->slot][b->q], &n, sizeof(n)) < 0)
		return;
	if (b->slot == SLOT_VSOCK)
		vsock_kick(m->vsock, b->q);
	else
		virtio_kick(m->dev[b->slot], b->q);
}

/* ---- creation ------------------------------------------------------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *h)
{
	free(h);
}

static int add_bell(struct machine *m, enum slot slot, unsigned q)
{
	struct bell *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->m = m;
	b->slot = slot;
	b->q = q;
	b->poll.data = b;
	const int r = uv_poll_init(m->loop, &b->poll, m->bell_fd[slot][q]);
	if (r < 0) {
		free(b);
		return r;
	}
	m->bell[slot][q] = b;
	return uv_poll_start(&b->poll, UV_READABLE, on_bell);
}

static int add_line(struct machine *m, int *fd, unsigned gsi, struct err *e)
{
	*fd = vm_irqfd(&m->vm, gsi);
	return *fd < 0 ? err_errno(e, -*fd, "cannot make an interrupt line") : 0;
}

/* The device's doorbells, and its place on the bus. */
static int plug(struct machine *m, enum slot slot, struct virtio *v, bool on_loop, struct err *e)
{
	for (unsigned q = 0; q < v->nqueues; q++) {
		const int fd = vm_doorbell(&m->vm, VIRTIO_BASE + (unsigned)slot * VIRTIO_STRIDE + 0x50, q);

		if (fd < 0)
			return err_errno(e, -fd, "cannot make a doorbell");
		m->bell_fd[slot][q] = v->kick[q] = fd;
		const int r = on_loop ? add_bell(m, slot, q) : 0;
		if (r < 0)
			return err_errno(e, -r, "cannot watch a doorbell");
	}
	m->dev[slot] = v;
	return 0;
}

/* On a disk's thread. */
static void on_refused(void *arg, int error)
{
	struct machine *m = arg;

	atomic_store(&m->disk_error, error);
	on_wake_needed(m);
}

static int add_disk(struct machine *m, enum slot slot, struct blk *b, int fd, const char *id, struct err *e)
{
	if (fd < 0)
		return 0;
	int r = blk_init(b, &m->vm.ram, fd, slot == SLOT_BASE, id, m->vm.nvcpus, m->irq[slot], e);

	b->wake = on_wake_needed;
	b->refused = on_refused;
	b->wake_arg = m;
	return r < 0 ? r : plug(m, slot, &b->v, false, e);
}

static int add_devices(struct machine *m, const struct machine_config *c, struct err *e)
{
	int r;

	if ((r = add_disk(m, SLOT_BASE, &m->base, c->base, "bulkhead-base", e)) < 0 || (r = add_disk(m, SLOT_DISK, &m->disk, c->disk, "bulkhead-disk", e)) < 0)
		return r;
	rng_init(&m->rng, &m->vm.ram, m->irq[SLOT_RNG]);
	if ((r = plug(m, SLOT_RNG, &m->rng.v, true, e)) < 0)
		return r;
	balloon_init(&m->balloon, &m->vm.ram, m->irq[SLOT_BALLOON]);
	if ((r = plug(m, SLOT_BALLOON, &m->balloon.v, true, e)) < 0)
		return r;
	if ((r = vsock_create(&m->vsock, m->loop, &m->vm.ram, m->irq[SLOT_VSOCK], c->channel_events, m->arg)) < 0)
		return err_errno(e, -r, "cannot make the channel's device");
	return plug(m, SLOT_VSOCK, vsock_virtio(m->vsock), true, e);
}

/* Every interrupt line, and the devices behind the console's socket. */
static int add_console(struct machine *m, int *fd, struct err *e)
{
	int r = 0;

	for (unsigned i = 0; i < SLOT_NUM && r == 0; i++)
		r = add_line(m, &m->irq[i], VIRTIO_GSI + i, e);
	if (r < 0 || (r = add_line(m, &m->serial_irq, GSI_SERIAL, e)) < 0 || (r = add_line(m, &m->button_irq, GSI_BUTTON, e)) < 0)
		return r;
	if ((r = tty_init(&m->tty, m->loop, &m->vm.ram, steal_fd(fd), m->serial_irq, m->irq[SLOT_CONSOLE], on_wake_needed, m)) < 0)
		return err_errno(e, -r, "cannot make the console");
	return plug(m, SLOT_CONSOLE, &m->tty.virtio.v, true, e);
}

/* Other bytes in every machine, so that no two copies of one go on with the same random numbers. */
static int add_generation(struct machine *m, struct err *e)
{
	uint8_t id[16];
	const int r = add_line(m, &m->generation_irq, GSI_GENERATION, e);

	if (r < 0)
		return r;
	rnd_bytes(id, sizeof(id));
	return ram_write(&m->vm.ram, GENERATION_ADDR, id, sizeof(id));
}

static int add_wake(struct machine *m, struct err *e)
{
	m->wake = calloc(1, sizeof(*m->wake));
	const int r = m->wake ? uv_async_init(m->loop, m->wake, on_wake) : -ENOMEM;

	if (r < 0) {
		free(m->wake);
		m->wake = NULL;
		return err_errno(e, -r, "cannot prepare the machine's loop");
	}
	m->wake->data = m;
	return 0;
}

static struct machine *machine_new(uv_loop_t *loop, const struct machine_config *c, const struct machine_ops *ops, void *arg)
{
	struct machine *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->loop = loop;
	m->ops = ops;
	m->arg = arg;
	m->unsealed = c->unsealed;
	m->tty.fd = m->serial_irq = m->generation_irq = m->button_irq = -1;
	m->copy = c->restore_state >= 0;
	m->vm.kvm = m->vm.fd = m->vm.ram.fd = -1;
	for (unsigned i = 0; i < SLOT_NUM; i++) {
		m->irq[i] = -1;
		for (unsigned q = 0; q < VIRTIO_QUEUES_MAX; q++)
			m->bell_fd[i][q] = -1;
	}
	return m;
}

/* A disk of another size is not the one the guest has open. */
static int disks_fit(const struct machine *m, const struct state *s, struct err *e)
{
	struct rbuf was;
	int r = 0;

	if (has_disk(m, SLOT_BASE) && state_find(s, STATE_VIRTIO, SLOT_BASE, &was) == 0)
		r = blk_fits(&m->base, was, e);
	if (r == 0 && has_disk(m, SLOT_DISK) && state_find(s, STATE_VIRTIO, SLOT_DISK, &was) == 0)
		r = blk_fits(&m->disk, was, e);
	return r;
}

static void kvm_destroy(struct machine **mp);

static int kvm_create(struct machine **out, struct channel **chan, uv_loop_t *loop, struct machine_config *c, const struct machine_ops *ops, void *arg,
		      struct err *e)
{
	char cmdline[ARCH_CMDLINE_MAX];
	AUTO_FREE uint8_t *bytes = NULL;
	struct state saved = { 0 };
	struct vm_facts was;
	struct vm_config vc = {
		.vcpus = c->start.vcpus, .memory = (uint64_t)c->start.memory_mib << 20, .pages = (enum vmm_pages)c->start.pages, .kvm = c->kvm, .kernel = c->kernel, .initrd = c->initrd, .cmdline = cmdline,
		.slots = (c->base >= 0 ? 1u << SLOT_BASE : 0) | (c->disk >= 0 ? 1u << SLOT_DISK : 0) | 1u << SLOT_RNG | 1u << SLOT_VSOCK |
			 1u << SLOT_BALLOON | 1u << SLOT_CONSOLE,
	};
	struct machine *m = machine_new(loop, c, ops, arg);
	int r = m ? 0 : err_set(e, ENOMEM, "out of memory");

	*out = NULL;
	*chan = NULL;
	arch_cmdline(cmdline, c->start.cmdline);
	if (r == 0 && c->restore_state >= 0) {
		vc.restore = &saved;
		vc.memory_fd = c->restore_memory;
		r = copy_open(&bytes, &saved, c->restore_state, e);
		if (r == 0 && (r = state_get(&saved, STATE_MACHINE, 0, &was, sizeof(was), e)) == 0 && (was.vcpus != vc.vcpus || was.memory != vc.memory))
			r = err_set(e, EBADMSG, "the snapshot is of a machine with %u vCPUs and %llu MiB", was.vcpus, (unsigned long long)(was.memory >> 20));
	}
	if (r == 0)
		r = vm_create(&m->vm, &vc, e);
	if (r == 0)
		r = add_wake(m, e);
	if (r == 0)
		r = add_console(m, &c->console, e);
	if (r == 0)
		r = add_generation(m, e);
	if (r == 0)
		r = add_devices(m, c, e);
	if (r == 0 && vc.restore && (r = disks_fit(m, &saved, e)) == 0)
		r = copy_restore(m, &saved, e);
	fd_close(&c->console);
	if (r < 0) {
		kvm_destroy(&m);
		return r;
	}
	*out = m;
	*chan = vsock_channel(m->vsock);
	return 0;
}

/*
 * What the machine holds in all, beside the guest's memory: threads' stacks, and what devices hold for the guest (most of it VSOCK_HOLD_MAX, twice as
 * buffers double). A fault of ours that a guest could make grow ends at this. A copy's memory is private and counts.
 */
static void limit_memory(const struct machine *m)
{
	const rlim_t most = (m->copy ? m->vm.ram.size : 0) + DATA_MAX;
	struct rlimit r;

	if (getrlimit(RLIMIT_DATA, &r) == 0 && r.rlim_max > most)
		setrlimit(RLIMIT_DATA, &(struct rlimit){ .rlim_cur = most, .rlim_max = most });
}

static int kvm_run(struct machine *m, struct err *e)
{
	const uint64_t one = 1;

	limit_memory(m);
	int r = vcpus_start(&m->cpus, &m->vm, &vcpu_ops, m, e);

	if (r == 0 && m->dev[SLOT_BASE])
		r = blk_start(&m->base, seal_blk, m, e);
	if (r == 0 && m->dev[SLOT_DISK])
		r = blk_start(&m->disk, seal_blk, m, e);
	if (r == 0 && m->copy)
		r = fd_write_full(m->generation_irq, &one, sizeof(one));
	if (r == 0)
		vcpus_resume(m->cpus);
	return r;
}

/* ---- life ------------------------------------------------------------------------------------------------------------------------------------- */

static void each_disk(struct machine *m, void (*what)(struct blk *b))
{
	if (has_disk(m, SLOT_BASE))
		what(&m->base);
	if (has_disk(m, SLOT_DISK))
		what(&m->disk);
}

static int kvm_pause(struct machine *m)
{
	if (m->pause_asked)
		return 0;
	m->pause_asked = true;
	each_disk(m, blk_hold);
	vcpus_pause(m->cpus);
	on_wake_needed(m); /* threads that have not yet gone on from the last pause stand, and say nothing */
	return 0;
}

static int kvm_resume(struct machine *m)
{
	atomic_store(&m->disk_error, 0);
	if (m->pause_asked)
		each_disk(m, blk_go);
	if (m->paused)
		arch_was_paused(&m->vm);
	m->pause_asked = m->paused = false;
	vcpus_resume(m->cpus);
	m->ops->on_resumed(m->arg);
	return 0;
}

static void kvm_balloon(struct machine *m, uint64_t bytes)
{
	balloon_target(&m->balloon, bytes);
	if (bytes > 0)
		balloon_hint(&m->balloon); /* memory is wanted: what is free anyway goes first */
}

static void kvm_button(struct machine *m)
{
	const uint64_t one = 1;

	if (write(m->button_irq, &one, sizeof(one)) < 0)
		return; /* full: it is pressed already */
}

static uint32_t kvm_pid(const struct machine *m)
{
	(void)m;
	return 0;
}

/* All of it is this process's own. */
static void kvm_usage(const struct machine *m, uint64_t *cpu_ns, uint64_t *rss)
{
	(void)m;
	*cpu_ns = *rss = 0;
}

static void add_blk(struct vmm_stats *s, const struct blk *b)
{
	s->disk_read += atomic_load_explicit(&b->counts.read_bytes, memory_order_relaxed);
	s->disk_written += atomic_load_explicit(&b->counts.write_bytes, memory_order_relaxed);
	s->disk_flushes += atomic_load_explicit(&b->counts.flushes, memory_order_relaxed);
	s->disk_failed += atomic_load_explicit(&b->counts.failed, memory_order_relaxed);
}

static void kvm_stats(struct machine *m, struct vmm_stats *s)
{
	struct balloon_counts b;

	s->detail = 1;
	vcpus_exits(m->cpus, s->exits);
	for (unsigned i = 0; i < SLOT_NUM; i++)
		if (m->dev[i])
			virtio_counts(m->dev[i], &s->requests[i], &s->interrupts[i]);
	add_blk(s, &m->base);
	add_blk(s, &m->disk);
	balloon_counts(&m->balloon, &b);
	s->memory = m->vm.ram.size;
	s->balloon_target = b.target;
	s->balloon_actual = b.actual;
	s->given = b.given;
	s->reported = b.reported;
	s->hinted = b.hinted;
	s->guest_free = b.guest_free;
	s->guest_available = b.guest_available;
	balloon_ask(&m->balloon); /* for the next time */
}

static void log_stats(struct machine *m)
{
	struct vmm_stats s = { 0 };

	kvm_stats(m, &s);
	log_info("exits of the guest: %llu port, %llu mmio, %llu signal; requests: %llu to disks, %llu to the channel; memory given back: %llu MiB",
		 (unsigned long long)s.exits[VMM_EXIT_PORT], (unsigned long long)s.exits[VMM_EXIT_MMIO], (unsigned long long)s.exits[VMM_EXIT_SIGNAL],
		 (unsigned long long)(s.requests[VMM_DEVICE_BASE] + s.requests[VMM_DEVICE_DISK]), (unsigned long long)s.requests[VMM_DEVICE_VSOCK],
		 (unsigned long long)((s.given + s.reported) >> 20));
}

static void close_handle(void *handle)
{
	if (handle)
		uv_close(handle, on_closed);
}

static void kvm_destroy(struct machine **mp)
{
	struct machine *m = *mp;

	if (!m)
		return;
	*mp = NULL;
	if (m->cpus)
		log_stats(m);
	vcpus_destroy(&m->cpus);
	if (m->base.v.ops)
		blk_release(&m->base);
	if (m->disk.v.ops)
		blk_release(&m->disk);
	vsock_release(&m->vsock);
	for (unsigned i = 0; i < SLOT_NUM; i++) {
		for (unsigned q = 0; q < VIRTIO_QUEUES_MAX; q++) {
			close_handle(m->bell[i][q]);
			fd_close(&m->bell_fd[i][q]);
		}
		fd_close(&m->irq[i]);
	}
	tty_release(&m->tty);
	close_handle(m->wake);
	fd_close(&m->serial_irq);
	fd_close(&m->generation_irq);
	fd_close(&m->button_irq);
	vm_destroy(&m->vm);
	free(m);
}

const struct backend backend_kvm = {
	.name = "kvm",
	.profile = &jail_profile_vmm_kvm,
	.create = kvm_create,
	.run = kvm_run,
	.pause = kvm_pause,
	.resume = kvm_resume,
	.balloon = kvm_balloon,
	.button = kvm_button,
	.snapshot = copy_save,
	.pid = kvm_pid,
	.usage = kvm_usage,
	.stats = kvm_stats,
	.destroy = kvm_destroy,
};
