/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The KVM machine itself: memory slots, in-kernel interrupt chips, doorbells and interrupt lines as eventfds, vCPUs with their first
 * state (Linux Documentation/virt/kvm/api.rst). Everything here happens before the process seals itself; afterwards only KVM_RUN is left.
 */
#ifndef BULKHEAD_VMM_KVM_VM_H
#define BULKHEAD_VMM_KVM_VM_H

#include <linux/kvm.h>
#include <stdint.h>

#include "core/base/err.h"
#include "vmm/kvm/arch.h"
#include "vmm/kvm/layout.h"
#include "vmm/kvm/ram.h"
#include "vmm/kvm/state.h"

struct vm {
	int kvm, fd;
	struct ram ram;
	unsigned nvcpus;
	int vcpu[MACHINE_VCPUS_MAX];
	struct kvm_run *run[MACHINE_VCPUS_MAX];
	size_t run_size;
	struct arch_vm *arch; /* its CPU kind's */
};

/* What a snapshot says of its machine. mark: the memory file has it too (ram.h). */
struct vm_facts { uint32_t vcpus, zero; uint64_t memory; uint8_t mark[RAM_MARK]; };

struct vm_config {
	unsigned vcpus;      /* 1..MACHINE_VCPUS_MAX */
	uint64_t memory;     /* bytes */
	enum vmm_pages pages;
	int kvm, kernel, initrd;  /* borrowed; initrd -1: none */
	const char *cmdline;
	uint32_t slots;      /* virtio slots with a device */
	const struct state *restore; /* NULL, or the snapshot to go on from; kernel, initrd and cmdline are not looked at then */
	int memory_fd;               /* of the snapshot: mapped privately */
};

/* 0 or -errno with a sentence. On failure vm_destroy() is still to be called. */
int vm_create(struct vm *m, const struct vm_config *c, struct err *e);
void vm_destroy(struct vm *m);
/* An eventfd that raises gsi when it is written (edge); fd or -errno. */
int vm_irqfd(struct vm *m, unsigned gsi);
/* An eventfd that is written when the guest writes `value`, 32 bits, to addr; fd or -errno. */
int vm_doorbell(struct vm *m, uint64_t addr, uint32_t value);

/* While every vCPU stands still: what it is, then processors, interrupt chips and clock. 0 or -errno with a sentence. */
int vm_save(struct vm *m, struct buf *b, struct err *e);

#endif
