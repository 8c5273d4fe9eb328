/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU before its first instruction: CPUID, the MSRs a firmware would have set, local APIC pins, registers of the boot CPU. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "core/base/str.h"
#include "vmm/kvm/x86/x86.h"

#define LAPIC_LVT0 0x350u
#define LAPIC_LVT1 0x360u
#define MODE_NMI 4u
#define MODE_EXTINT 7u
#define LAPIC_REGS (sizeof(((struct kvm_lapic_state *)0)->regs))

static const struct kvm_msr_entry msrs[] = {
	{ .index = 0x1a0, .data = 1 },                /* IA32_MISC_ENABLE: fast strings */
	{ .index = 0x2ff, .data = 1u << 11 | 6 },     /* MTRRdefType: enabled, all memory write-back */
	{ .index = 0x174 }, { .index = 0x175 }, { .index = 0x176 }, /* SYSENTER_CS, ESP, EIP */
	{ .index = 0xc0000081 }, { .index = 0xc0000082 }, { .index = 0xc0000083 }, { .index = 0xc0000084 }, /* STAR, LSTAR, CSTAR, SFMASK */
	{ .index = 0xc0000102 },                      /* KERNEL_GS_BASE */
	{ .index = 0x10 },                            /* TSC */
};

static int set_msrs(int vcpu)
{
	struct {
		uint32_t nmsrs, pad;
		struct kvm_msr_entry e[ARRAY_SIZE(msrs)];
	} m = { .nmsrs = ARRAY_SIZE(msrs) }; /* as struct kvm_msrs lies in memory */

	memcpy(m.e, msrs, sizeof(msrs));
	const int n = ioctl(vcpu, KVM_SET_MSRS, &m);
	if (n >= 0 && n != (int)ARRAY_SIZE(msrs))
		errno = ENOTSUP;
	return n == (int)ARRAY_SIZE(msrs) ? 0 : -1;
}

static void set_lvt(struct kvm_lapic_state *l, unsigned reg, unsigned mode)
{
	uint32_t v;

	memcpy(&v, l->regs + reg, 4);
	v = (v & ~0x700u) | mode << 8;
	memcpy(l->regs + reg, &v, 4);
}

static int set_lapic(int vcpu)
{
	struct kvm_lapic_state l;

	_Static_assert(LAPIC_LVT1 + 4 <= LAPIC_REGS, "within the page");
	if (ioctl(vcpu, KVM_GET_LAPIC, &l) < 0)
		return -1;
	set_lvt(&l, LAPIC_LVT0, MODE_EXTINT);
	set_lvt(&l, LAPIC_LVT1, MODE_NMI);
	return ioctl(vcpu, KVM_SET_LAPIC, &l);
}

int x86_vcpu_setup(struct vm *m, unsigned id, const struct boot *b, struct err *e)
{
	const int fd = m->vcpu[id];
	const struct kvm_fpu fpu = { .fcw = 0x37f, .mxcsr = 0x1f80 };
	struct cpuid *c = m->arch->cpuid[id];
	struct kvm_regs regs;
	struct kvm_sregs sregs;

	const int r = cpuid_supported(c, m->kvm, e);
	if (r < 0)
		return r;
	cpuid_for_vcpu(c, id, m->nvcpus);
	if (ioctl(fd, KVM_SET_CPUID2, c) < 0)
		return err_errno(e, errno, "cannot set the CPU features of vCPU %u", id);
	if (set_msrs(fd) < 0)
		return err_errno(e, errno, "cannot set the model-specific registers of vCPU %u", id);
	if (set_lapic(fd) < 0)
		return err_errno(e, errno, "cannot set the local APIC of vCPU %u", id);
	if (id > 0)
		return 0; /* waits for the boot CPU's start-up interrupt, in the kernel */
	if (ioctl(fd, KVM_GET_SREGS, &sregs) < 0)
		return err_errno(e, errno, "cannot read the registers of vCPU %u", id);
	boot_regs(b, &regs, &sregs);
	if (ioctl(fd, KVM_SET_SREGS, &sregs) < 0 || ioctl(fd, KVM_SET_REGS, &regs) < 0 || ioctl(fd, KVM_SET_FPU, &fpu) < 0)
		return err_errno(e, errno, "cannot set the registers of vCPU %u", id);
	return 0;
}
