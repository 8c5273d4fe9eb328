/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a CPU kind is to the rest of the machine: its interrupt chips, how its vCPUs begin, which exits are its own, and its part of a snapshot. x86/ is
 * the one there is; nothing outside of it includes from it (tests/lint/floors.py), so that another is a folder beside it and its files in Makefile.am.
 *
 * Order: arch_create() once the VM exists, arch_prepare() once its vCPUs and memory do, then arch_boot() or arch_load(). All before the process seals
 * itself but arch_save() and arch_was_paused(), which come while every vCPU stands still, and arch_exit(), which vCPU threads call.
 */
#ifndef BULKHEAD_VMM_KVM_ARCH_H
#define BULKHEAD_VMM_KVM_ARCH_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/proto/child.h"
#include "vmm/kvm/state.h"

#define ARCH_CMDLINE_MAX 4096u

struct vm;
struct vm_config;
struct arch_vm; /* a CPU kind's own, vm->arch */

/* 0 or -errno with a sentence; in any case arch_release() is to follow. */
int arch_create(struct vm *m, struct err *e);
int arch_prepare(struct vm *m, struct err *e);
void arch_release(struct vm *m);
/* Kernel, tables and the first CPU's registers. */
int arch_boot(struct vm *m, const struct vm_config *c, struct err *e);
/* The kernel's command line: what such a machine wants, then `more`. */
void arch_cmdline(char dst[ARCH_CMDLINE_MAX], const char *more);

/* Processors, interrupt chips and clock to sections of b, and back. 0 or -errno. */
int arch_save(struct vm *m, struct buf *b);
int arch_load(struct vm *m, const struct state *s, struct err *e);
/* Before the vCPUs go on: the guest is told that time passed without it, and does not take it for a lockup. */
void arch_was_paused(const struct vm *m);

/* What an exit may touch. */
struct arch_bus {
	void (*serial)(void *arg, unsigned reg, bool write, uint8_t *v); /* a register of the serial port */
	void (*end)(void *arg, enum vmm_end end, const char *why);       /* the guest ends the machine */
};
/* An exit that only this CPU kind has, handled; false: it is none. */
bool arch_exit(struct kvm_run *run, const struct arch_bus *bus, void *arg);

#endif
