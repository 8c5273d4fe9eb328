/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead-vmm with the kvm backend: a filter for each kind of thread. The vCPUs' and the disks' stand alone (nothing of the common rows): these
 * two read what a guest wrote first.
 */
#include <linux/kvm.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "core/base/str.h"
#include "core/jail/jail.h"

/* What a thread that only waits, locks and ends needs. */
#define THREAD_ROWS                                                                                                                                  \
	JAIL_ALLOW(write, "eventfds: interrupts, doorbells, the loop's wake-up; log"), JAIL_ALLOW(read, "eventfds"), JAIL_ALLOW(futex, "locks"),     \
		JAIL_ALLOW(clock_gettime, "time without vdso"), JAIL_ALLOW(getpid, "log lines, abort"), JAIL_ALLOW(gettid, "abort"),                 \
		JAIL_ALLOW_SELF(tgkill, 0, "the kick, abort"), JAIL_ALLOW(rt_sigprocmask, "end of a thread, abort"), JAIL_ALLOW(rt_sigreturn, "the kick"),   \
		JAIL_ALLOW(madvise, "end of a thread"), JAIL_ALLOW(munmap, "end of a thread"), JAIL_ALLOW(restart_syscall, "after a stop"),          \
		JAIL_ALLOW(exit, "end of a thread"), JAIL_ALLOW(exit_group, "abort"), JAIL_ALLOW(sched_yield, "sanitizers"),                         \
		JAIL_ALLOW(sigaltstack, "sanitizers"), JAIL_ALLOW_ARG(mmap, 2, PROT_EXEC, 0, "sanitizers: never executable")

static const struct jail_rule vcpu_rules[] = {
	THREAD_ROWS,
	JAIL_ALLOW_ARG(ioctl, 1, 0xffffffff, KVM_RUN, "runs the guest"),
};

static const struct jail_rule blk_rules[] = {
	THREAD_ROWS,
	JAIL_ALLOW(poll, "the doorbell"),
	JAIL_ALLOW(preadv, "its disk"),
	JAIL_ALLOW(pwritev, "its disk"),
	JAIL_ALLOW(fdatasync, "its disk"),
	JAIL_ALLOW_ARG(fallocate, 1, ~UINT64_C(0), 3, "its disk: PUNCH_HOLE | KEEP_SIZE"),
};

/* The loop: nothing of KVM is set any more, no thread made. */
static const struct jail_rule main_rules[] = {
	JAIL_ALLOW(futex, "joins the machine's threads"),
	JAIL_ALLOW_ARG(setsockopt, 2, 0xffffffff, SO_SNDBUF, "what the kernel holds for a connection of the guest"),
	/* A snapshot reads the machine, never sets anything. */
	JAIL_ALLOW_ARG(ioctl, 1, 0xffffffff, KVM_GET_MP_STATE, "snapshot"),
	JAIL_ALLOW_ARG(ioctl, 1, 0xffffffff, KVM_GET_REGS, "snapshot"),
	JAIL_ALLOW_ARG(ioctl, 1, 0xffffffff, KVM_GET_SREGS, "snapshot"),
	JAIL_ALLOW_ARG(ioctl, 1, 0xffffffff, KVM_GET_DEBUGREGS, "snapshot"),
	JAIL_ALLOW_ARG(ioctl, 1, 0xffffffff, KVM_GET_XSAVE, "snapshot"),
	JAIL_ALLOW_ARG(ioctl, 1, 0xffffffff, KVM_GET_XCRS, "snapshot"),
	JAIL_ALLOW_ARG(ioctl, 1, 0xffffffff, KVM_GET_LAPIC, "snapshot"),
	JAIL_ALLOW_ARG(ioctl, 1, 0xffffffff, KVM_GET_VCPU_EVENTS, "snapshot"),
	JAIL_ALLOW_ARG(ioctl, 1, 0xffffffff, KVM_GET_MSRS, "snapshot"),
	JAIL_ALLOW_ARG(ioctl, 1, 0xffffffff, KVM_GET_IRQCHIP, "snapshot"),
	JAIL_ALLOW_ARG(ioctl, 1, 0xffffffff, KVM_GET_CLOCK, "snapshot"),
	JAIL_ALLOW_ARG(ioctl, 1, 0xffffffff, KVM_KVMCLOCK_CTRL, "after a pause: sets a flag that the guest reads"),
};

const struct jail_profile jail_profile_vmm_vcpu = { .name = "vmm-vcpu", .rules = vcpu_rules, .nrules = ARRAY_SIZE(vcpu_rules), .alone = true };
const struct jail_profile jail_profile_vmm_blk = { .name = "vmm-blk", .rules = blk_rules, .nrules = ARRAY_SIZE(blk_rules), .alone = true };
const struct jail_profile jail_profile_vmm_kvm = { .name = "vmm-kvm", .rules = main_rules, .nrules = ARRAY_SIZE(main_rules) };
