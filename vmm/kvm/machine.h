/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a machine: machine.c's, and copy.c's, which saves and restores it. Loop thread, but where machine.c says otherwise. */
#ifndef BULKHEAD_VMM_KVM_MACHINE_H
#define BULKHEAD_VMM_KVM_MACHINE_H

#include "vmm/backend.h"
#include "vmm/devices/balloon.h"
#include "vmm/devices/blk.h"
#include "vmm/devices/rng.h"
#include "vmm/devices/vsock.h"
#include "vmm/kvm/tty.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/kvm/vm.h"

enum slot { SLOT_BASE, SLOT_DISK, SLOT_RNG, SLOT_VSOCK, SLOT_BALLOON, SLOT_CONSOLE, SLOT_NUM };
_Static_assert(SLOT_NUM <= VIRTIO_SLOTS, "a page and a line for every device");
_Static_assert((int)SLOT_NUM == VMM_DEVICE_NUM && (int)SLOT_VSOCK == VMM_DEVICE_VSOCK && (int)SLOT_CONSOLE == VMM_DEVICE_CONSOLE, "told in this order");

/* A doorbell that the loop serves. */
struct bell {
	uv_poll_t poll;
	struct machine *m;
	enum slot slot;
	unsigned q;
};

struct machine {
	uv_loop_t *loop;
	const struct machine_ops *ops;
	void *arg;
	bool unsealed, copy; /* copy: restored from a snapshot */
	struct vm vm;
	struct vcpus *cpus;
	struct virtio *dev[SLOT_NUM]; /* NULL: nothing there */
	int irq[SLOT_NUM], bell_fd[SLOT_NUM][VIRTIO_QUEUES_MAX];
	struct bell *bell[SLOT_NUM][VIRTIO_QUEUES_MAX];
	struct blk base, disk;
	struct rng rng;
	struct balloon balloon;
	struct vsock *vsock;
	struct tty tty;
	int serial_irq, generation_irq, button_irq;
	uv_async_t *wake;
	bool paused, pause_asked, ended;
	atomic_int disk_error; /* errno of a write that the host refused since the machine ran last, 0 none; set by a disk's thread */
};

/* Nothing of the guest is under way: no vCPU runs, no disk writes into its memory. */
bool machine_stands(struct machine *m);

/* copy.c. The state file of a snapshot, read into *p (malloc) and checked as a whole. 0 or -errno with a sentence. */
int copy_open(uint8_t **p, struct state *st, int fd, struct err *e);
/* Devices as they were; each must have been there. Before any thread serves them. 0 or -errno with a sentence. */
int copy_restore(struct machine *m, const struct state *s, struct err *e);
/* While the machine stands: 0 or -errno with a sentence. */
int copy_save(struct machine *m, int state, int memory, struct err *e);

#endif
