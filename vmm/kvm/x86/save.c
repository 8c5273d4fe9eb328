/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine's processors and interrupt chips to bytes and back (Linux Documentation/virt/kvm/api.rst). Saving: the vCPUs stand still; only
 * KVM_GET_ calls, which the sealed process may make. Restoring: the order is KVM's: CPUID first, MSRs after the local APIC (a TSC deadline arms it).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "vmm/kvm/state.h"
#include "vmm/kvm/x86/x86.h"

#define MSRS_MAX 1024u

/* As struct kvm_msr_list and kvm_msrs lie in memory. */
struct msr_list { uint32_t n, index[MSRS_MAX]; };
struct one_msr { uint32_t n, pad; struct kvm_msr_entry e; };
struct saved_msr { uint32_t index, zero; uint64_t value; };

int x86_save_prepare(struct vm *m, struct err *e)
{
	AUTO_FREE struct msr_list *l = malloc(sizeof(*l));

	if (!l || !(m->arch->msrs = malloc(MSRS_MAX * sizeof(m->arch->msrs[0]))))
		return err_set(e, ENOMEM, "out of memory");
	l->n = MSRS_MAX;
	if (ioctl(m->kvm, KVM_GET_MSR_INDEX_LIST, l) < 0)
		return err_errno(e, errno, "cannot ask KVM for its model-specific registers");
	memcpy(m->arch->msrs, l->index, l->n * sizeof(m->arch->msrs[0]));
	m->arch->nmsrs = l->n;
	const int khz = ioctl(m->vcpu[0], KVM_GET_TSC_KHZ, 0);
	m->arch->tsc_khz = khz > 0 ? (uint32_t)khz : 0; /* 0: KVM does not know */
	return 0;
}

static int save_msrs(const struct vm *m, unsigned id, struct buf *b)
{
	struct buf list;

	buf_init(&list, MSRS_MAX * sizeof(struct saved_msr));
	for (unsigned i = 0; i < m->arch->nmsrs; i++) {
		struct one_msr o = { .n = 1, .e.index = m->arch->msrs[i] };

		if (ioctl(m->vcpu[id], KVM_GET_MSRS, &o) != 1)
			continue; /* listed, but this machine has it not */
		const struct saved_msr s = { .index = o.e.index, .value = o.e.data };
		buf_put(&list, &s, sizeof(s));
	}
	state_put(b, STATE_MSRS, id, buf_head(&list), buf_size(&list));
	const int r = buf_ok(&list) ? 0 : -ENOBUFS;
	buf_release(&list);
	return r;
}

/* A vCPU's state but CPUID and MSRs, in the order in which it is set; MSRs come before the last (they may raise what it then clears). */
static const struct part {
	unsigned long get, set;
	enum state_kind kind;
	size_t size;
	const char *what;
} parts[] = {
	{ KVM_GET_MP_STATE, KVM_SET_MP_STATE, STATE_MP, sizeof(struct kvm_mp_state), "whether it runs" },
	{ KVM_GET_REGS, KVM_SET_REGS, STATE_REGS, sizeof(struct kvm_regs), "registers" },
	{ KVM_GET_SREGS, KVM_SET_SREGS, STATE_SREGS, sizeof(struct kvm_sregs), "segments and control registers" },
	{ KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS, STATE_DEBUG, sizeof(struct kvm_debugregs), "debug registers" },
	{ KVM_GET_XSAVE, KVM_SET_XSAVE, STATE_XSAVE, sizeof(struct kvm_xsave), "vector registers" },
	{ KVM_GET_XCRS, KVM_SET_XCRS, STATE_XCRS, sizeof(struct kvm_xcrs), "extended control registers" },
	{ KVM_GET_LAPIC, KVM_SET_LAPIC, STATE_LAPIC, sizeof(struct kvm_lapic_state), "local APIC" },
	{ KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS, STATE_EVENTS, sizeof(struct kvm_vcpu_events), "pending events" },
};

union part_bytes {
	struct kvm_xsave xsave; /* the largest, with what all of them want of alignment */
	struct kvm_sregs sregs;
	struct kvm_lapic_state lapic;
	uint8_t b[4096];
};

static int save_vcpu(struct vm *m, unsigned id, struct buf *b)
{
	state_put(b, STATE_CPUID, id, m->arch->cpuid[id], sizeof(*m->arch->cpuid[id]));
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		union part_bytes v = { .b = { 0 } };

		if (ioctl(m->vcpu[id], parts[i].get, &v) < 0)
			return -errno;
		state_put(b, parts[i].kind, id, &v, parts[i].size);
	}
	return save_msrs(m, id, b);
}

int arch_save(struct vm *m, struct buf *b)
{
	struct kvm_clock_data clock = { 0 };
	int r = 0;

	state_put(b, STATE_TSC, 0, &m->arch->tsc_khz, sizeof(m->arch->tsc_khz));
	for (unsigned i = 0; i < m->nvcpus && r == 0; i++)
		r = save_vcpu(m, i, b);
	for (uint32_t chip = 0; chip < 3 && r == 0; chip++) {
		struct kvm_irqchip c = { .chip_id = chip };

		r = ioctl(m->fd, KVM_GET_IRQCHIP, &c) < 0 ? -errno : 0;
		state_put(b, STATE_IRQCHIP, chip, &c, sizeof(c));
	}
	if (r == 0 && ioctl(m->fd, KVM_GET_CLOCK, &clock) < 0)
		r = -errno;
	state_put(b, STATE_CLOCK, 0, &clock, sizeof(clock));
	return r;
}

void arch_was_paused(const struct vm *m)
{
	for (unsigned i = 0; i < m->nvcpus; i++)
		if (ioctl(m->vcpu[i], KVM_KVMCLOCK_CTRL, 0) < 0)
			continue; /* this vCPU's guest does not use KVM's clock */
}

/* ---- back ------------------------------------------------------------------------------------------------------------------------- */

static int load_cpuid(struct vm *m, unsigned id, const struct state *s, struct err *e)
{
	AUTO_FREE struct cpuid *host = malloc(sizeof(*host));
	int r = host ? cpuid_supported(host, m->kvm, e) : err_set(e, ENOMEM, "out of memory");

	if (r == 0)
		r = state_get(s, STATE_CPUID, id, m->arch->cpuid[id], sizeof(*m->arch->cpuid[id]), e);
	if (r < 0)
		return r;
	if ((r = cpuid_sound(m->arch->cpuid[id], id, m->nvcpus, e)) < 0 || (r = cpuid_fits(m->arch->cpuid[id], host, e)) < 0)
		return r;
	return ioctl(m->vcpu[id], KVM_SET_CPUID2, m->arch->cpuid[id]) < 0 ? err_errno(e, errno, "cannot set the CPU features of vCPU %u", id) : 0;
}

static bool is_ours(const struct vm *m, uint32_t index)
{
	for (unsigned i = 0; i < m->arch->nmsrs; i++)
		if (m->arch->msrs[i] == index)
			return true;
	return false;
}

static int load_msrs(const struct vm *m, unsigned id, const struct state *s, struct err *e)
{
	struct rbuf r;

	if (state_find(s, STATE_MSRS, id, &r) < 0 || r.n % sizeof(struct saved_msr))
		return err_set(e, EBADMSG, "the snapshot lacks the model-specific registers of vCPU %u", id);
	for (size_t n = r.n / sizeof(struct saved_msr); n > 0; n--) {
		struct saved_msr one;

		rbuf_copy(&r, &one, sizeof(one));
		if (!is_ours(m, one.index))
			return err_set(e, ENOTSUP, "the snapshot has a register (%#x) of vCPU %u that machines on this host have not", one.index, id);
		struct one_msr set = { .n = 1, .e = { .index = one.index, .data = one.value } }, is = { .n = 1, .e.index = one.index };
		if (ioctl(m->vcpu[id], KVM_SET_MSRS, &set) == 1)
			continue;
		/* Some can only be read; that is well as long as they hold the same. */
		if (ioctl(m->vcpu[id], KVM_GET_MSRS, &is) != 1 || is.e.data != one.value)
			return err_set(e, ENOTSUP, "the snapshot does not fit this host: register %#x of vCPU %u cannot be set", one.index, id);
	}
	return 0;
}

/* The guest has measured its time stamp counter. A deviation that its clock corrects anyway (KVM's own tolerance, 250 ppm) is none. */
static int load_tsc(const struct vm *m, unsigned id, uint32_t khz, struct err *e)
{
	const uint32_t apart = khz > m->arch->tsc_khz ? khz - m->arch->tsc_khz : m->arch->tsc_khz - khz;

	if (khz == 0 || m->arch->tsc_khz == 0 || apart <= m->arch->tsc_khz / 4000)
		return 0;
	if (ioctl(m->kvm, KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL) <= 0 || ioctl(m->vcpu[id], KVM_SET_TSC_KHZ, (long)khz) < 0)
		return err_set(e, ENOTSUP, "the snapshot's time stamp counter runs at %u kHz, this host's at %u, and it cannot be set", khz, m->arch->tsc_khz);
	return 0;
}

static int load_vcpu(struct vm *m, unsigned id, const struct state *s, uint32_t tsc_khz, struct err *e)
{
	int r = load_tsc(m, id, tsc_khz, e);

	if (r == 0)
		r = load_cpuid(m, id, s, e);

	for (size_t i = 0; i < ARRAY_SIZE(parts) && r == 0; i++) {
		const struct part *p = &parts[i];
		union part_bytes v;

		if (i == ARRAY_SIZE(parts) - 1 && (r = load_msrs(m, id, s, e)) < 0)
			break;
		if ((r = state_get(s, p->kind, id, &v, p->size, e)) == 0 && ioctl(m->vcpu[id], p->set, &v) < 0)
			r = err_errno(e, errno, "the snapshot does not fit this host: %s of vCPU %u", p->what, id);
	}
	return r;
}

int arch_load(struct vm *m, const struct state *s, struct err *e)
{
	struct kvm_clock_data clock;
	uint32_t tsc_khz = 0;
	int r = state_get(s, STATE_CLOCK, 0, &clock, sizeof(clock), e);

	if (r == 0)
		r = state_get(s, STATE_TSC, 0, &tsc_khz, sizeof(tsc_khz), e);
	for (uint32_t chip = 0; chip < 3 && r == 0; chip++) {
		struct kvm_irqchip c;

		if ((r = state_get(s, STATE_IRQCHIP, chip, &c, sizeof(c), e)) == 0 && (c.chip_id != chip || ioctl(m->fd, KVM_SET_IRQCHIP, &c) < 0))
			r = err_set(e, EBADMSG, "the snapshot's interrupt chip %u cannot be set", chip);
	}
	for (unsigned i = 0; i < m->nvcpus && r == 0; i++)
		r = load_vcpu(m, i, s, tsc_khz, e);
	clock.flags = 0;
	if (r == 0 && ioctl(m->fd, KVM_SET_CLOCK, &clock) < 0)
		r = err_errno(e, errno, "cannot set the machine's clock");
	return r;
}
