/* SPDX-License-Identifier: Apache-2.0 */
/* Private to vmm/kvm/x86/. */
#ifndef BULKHEAD_VMM_KVM_X86_X86_H
#define BULKHEAD_VMM_KVM_X86_X86_H

#include "vmm/kvm/vm.h"
#include "vmm/kvm/x86/boot.h"
#include "vmm/kvm/x86/cpuid.h"
#include "vmm/kvm/x86/layout.h"

struct arch_vm {
	struct cpuid *cpuid[MACHINE_VCPUS_MAX]; /* as told to each */
	uint32_t *msrs;                         /* which model-specific registers there are */
	unsigned nmsrs;
	uint32_t tsc_khz;                       /* of the time stamp counter, 0 not known */
};

/* save.c: what saving will need. */
int x86_save_prepare(struct vm *m, struct err *e);
/* regs.c: a vCPU before its first instruction. */
int x86_vcpu_setup(struct vm *m, unsigned id, const struct boot *b, struct err *e);

#endif
