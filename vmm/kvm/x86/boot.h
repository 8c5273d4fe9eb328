/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies in memory and in the first CPU's registers when the guest begins: Linux' 64-bit entry (Documentation/arch/x86/boot.rst, section
 * "64-bit boot protocol") for a bzImage, PVH (Xen's public/arch-x86/hvm/start_info.h) for an ELF image with the note.
 * The image comes from the host, yet every offset in it is checked: it may be damaged.
 */
#ifndef BULKHEAD_VMM_KVM_X86_BOOT_H
#define BULKHEAD_VMM_KVM_X86_BOOT_H

#include <linux/kvm.h>
#include <stdint.h>

#include "core/base/err.h"
#include "vmm/kvm/ram.h"

enum boot_kind { BOOT_LINUX64, BOOT_PVH };

struct boot {
	enum boot_kind kind;
	uint64_t entry;
	uint64_t kernel_end; /* first address the kernel does not need while it unpacks itself */
};

struct e820 { uint64_t addr, size; uint32_t type; /* 1 usable, 2 reserved */ };
#define E820_MAX 8

/* What the firmware tells of memory, in order, without gaps that overlap. Returns how many. Pure. */
unsigned boot_e820(struct e820 out[E820_MAX], const struct ram *r);
/* Loads kernel and (initrd >= 0) initial ramdisk, writes what the guest is told. 0 or -errno with a sentence. */
int boot_load(struct boot *b, const struct ram *r, int kernel, int initrd, const char *cmdline, struct err *e);
/* The first CPU's state: changes what the entry wants, leaves the rest as KVM_GET_SREGS gave it. */
void boot_regs(const struct boot *b, struct kvm_regs *regs, struct kvm_sregs *sregs);

#endif
