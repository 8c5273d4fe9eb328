/* SPDX-License-Identifier: Apache-2.0 */
/* Intel SDM volume 2 CPUID; AMD64 manual volume 3 appendix E; Linux Documentation/virt/kvm/x86/cpuid.rst for 0x40000000 on. */
#include "vmm/kvm/x86/cpuid.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

#include "core/base/str.h"

_Static_assert(offsetof(struct cpuid, e) == offsetof(struct kvm_cpuid2, entries), "what KVM fills");

enum { EAX, EBX, ECX, EDX };
#define ALL 0xffffffffu
#define B(n) (1u << (n))

/* One kept leaf: in each register only these bits. index ALL: every index. A leaf that is not here is dropped. */
struct leaf {
	uint32_t function, index;
	uint32_t keep[4];
};

static const struct leaf leaves[] = {
	{ 0x0, ALL, { ALL, ALL, ALL, ALL } },
	{ 0x1, ALL,
	  { ALL, ALL,
	    B(0) | B(1) | B(9) | B(12) | B(13) | B(17) | B(19) | B(20) | B(21) | B(22) | B(23) | B(24) | B(25) | B(26) | B(27) | B(28) | B(29) | B(30) | B(31),
	    /* sse3 pclmul ssse3 fma cx16 pcid sse4_1 sse4_2 x2apic movbe popcnt tsc-deadline aes xsave osxsave avx f16c rdrand hypervisor */
	    B(0) | B(2) | B(3) | B(4) | B(5) | B(6) | B(7) | B(8) | B(9) | B(11) | B(12) | B(13) | B(14) | B(15) | B(16) | B(17) | B(19) | B(23) | B(24) | B(25) |
		    B(26) | B(27) | B(28) } },
	  /* fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clfsh mmx fxsr sse sse2 ss ht */
	{ 0x2, ALL, { ALL, ALL, ALL, ALL } }, /* caches */
	{ 0x4, ALL, { 0x03ffffff, ALL, ALL, ALL } },
	{ 0x6, ALL, { B(2), 0, 0, 0 } }, /* arat */
	{ 0x7, 0,
	  { ALL,
	    B(0) | B(1) | B(3) | B(5) | B(7) | B(8) | B(9) | B(10) | B(16) | B(17) | B(18) | B(19) | B(20) | B(21) | B(23) | B(24) | B(28) | B(29) | B(30) | B(31),
	    /* fsgsbase tsc_adjust bmi1 avx2 smep bmi2 erms invpcid avx512{f,dq} rdseed adx smap avx512ifma clflushopt clwb avx512cd sha avx512{bw,vl} */
	    B(1) | B(2) | B(6) | B(8) | B(9) | B(10) | B(11) | B(12) | B(14) | B(22),
	    /* avx512vbmi umip avx512vbmi2 gfni vaes vpclmul avx512vnni avx512bitalg avx512vpopcnt rdpid */
	    B(4) | B(8) | B(10) | B(14) | B(26) | B(27) | B(28) | B(29) | B(31) } },
	    /* fsrm vp2intersect md_clear serialize spec_ctrl stibp flush_l1d arch_capabilities ssbd */
	{ 0x7, 1, { B(4) | B(5) | B(10) | B(11) | B(12), 0, 0, 0 } }, /* avx_vnni avx512_bf16 fzrm fsrs fsrc */
	{ 0xb, ALL, { ALL, ALL, ALL, ALL } },
	{ 0xd, ALL, { ALL, ALL, ALL, ALL } }, /* narrowed to XCR0_KEPT below */
	{ 0x15, ALL, { ALL, ALL, ALL, 0 } },
	{ 0x16, ALL, { ALL, ALL, ALL, 0 } },
	{ 0x40000000, ALL, { ALL, ALL, ALL, ALL } },
	{ 0x40000001, ALL,
	  { B(0) | B(3) | B(4) | B(5) | B(7) | B(9) | B(11) | B(12) | B(13) | B(24), 0, 0, 0 } },
	  /* clocksource clocksource2 async_pf steal_time pv_unhalt pv_tlb_flush pv_send_ipi poll_control pv_sched_yield clocksource_stable */
	{ 0x80000000, ALL, { ALL, ALL, ALL, ALL } },
	{ 0x80000001, ALL,
	  { ALL, ALL, B(0) | B(4) | B(5) | B(6) | B(7) | B(8), /* lahf_lm cr8_legacy abm sse4a misalignsse 3dnowprefetch */
	    ALL & ~(B(28)) } },
	{ 0x80000002, ALL, { ALL, ALL, ALL, ALL } },
	{ 0x80000003, ALL, { ALL, ALL, ALL, ALL } },
	{ 0x80000004, ALL, { ALL, ALL, ALL, ALL } },
	{ 0x80000005, ALL, { ALL, ALL, ALL, ALL } },
	{ 0x80000006, ALL, { ALL, ALL, ALL, ALL } },
	{ 0x80000007, ALL, { 0, 0, 0, B(8) } }, /* constant tsc */
	{ 0x80000008, ALL, { ALL, B(0) | B(2) | B(9) | B(12) | B(14) | B(15) | B(24) | B(25) | B(26), 0, 0 } }, /* clzero xsaveerptr wbnoinvd ibpb ibrs stibp ssbd.. */
	{ 0x8000001d, ALL, { 0x3fff, ALL, ALL, ALL } },
	{ 0x80000021, ALL, { B(0) | B(2) | B(6), 0, 0, 0 } }, /* no nested data breakpoints, lfence serialises, null selector clears base */
};

#define XCR0_KEPT 0xe7u /* x87, SSE, AVX, AVX-512: no MPX, PKRU, AMX */

static const struct leaf *find(uint32_t function, uint32_t index)
{
	for (size_t i = 0; i < ARRAY_SIZE(leaves); i++)
		if (leaves[i].function == function && (leaves[i].index == ALL || leaves[i].index == index))
			return &leaves[i];
	return NULL;
}

static bool keep_xsave(struct kvm_cpuid_entry2 *e)
{
	if (e->index == 0) {
		e->eax &= XCR0_KEPT;
		e->edx = 0;
	} else if (e->index == 1) {
		e->eax &= 0xf; /* xsaveopt xsavec xgetbv1 xsaves */
		e->ecx = e->edx = 0;
	} else if (e->index > 31 || !(XCR0_KEPT & B(e->index))) {
		return false;
	}
	return true;
}

void cpuid_filter(struct cpuid *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->nent && i < CPUID_MAX; i++) {
		struct kvm_cpuid_entry2 e = c->e[i];
		const struct leaf *l = find(e.function, e.index);

		if (!l || (e.function == 0xd && !keep_xsave(&e)))
			continue;
		e.eax &= l->keep[EAX];
		e.ebx &= l->keep[EBX];
		e.ecx &= l->keep[ECX];
		e.edx &= l->keep[EDX];
		c->e[n++] = e;
	}
	c->nent = n;
}

int cpuid_supported(struct cpuid *c, int kvm, struct err *e)
{
	memset(c, 0, sizeof(*c));
	c->nent = CPUID_MAX;
	if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, c) < 0)
		return err_errno(e, errno, "cannot ask KVM for its CPU features");
	/* KVM's own local APIC has it, and older kernels do not say so here. */
	for (unsigned i = 0; i < c->nent; i++)
		if (c->e[i].function == 1 && ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
			c->e[i].ecx |= B(24);
	cpuid_filter(c);
	return 0;
}

static unsigned bits_for(unsigned n)
{
	unsigned b = 0;

	while ((1u << b) < n)
		b++;
	return b;
}

static void topology(struct kvm_cpuid_entry2 *e, unsigned id, unsigned n)
{
	switch (e->function) {
	case 0x1:
		e->ebx = (e->ebx & 0xffff) | (n & 0xff) << 16 | id << 24;
		e->edx = n > 1 ? e->edx | B(28) : e->edx & ~B(28);
		e->ecx = (e->ecx & ~B(27)) | B(31); /* osxsave follows CR4; a hypervisor is there */
		break;
	case 0x4:
		e->eax = (e->eax & 0x3fff) | (n - 1) << 26 | ((e->eax >> 5 & 7) == 3 ? (n - 1) << 14 : 0);
		break;
	case 0xb:
		e->edx = id;
		e->eax = e->index == 1 ? bits_for(n) : 0;
		e->ebx = e->index == 0 ? 1 : e->index == 1 ? n : 0;
		e->ecx = e->index | (e->index == 0 ? 1u << 8 : e->index == 1 ? 2u << 8 : 0);
		break;
	case 0x80000008:
		e->ecx = (n - 1) | bits_for(n) << 12;
		break;
	default:
		break;
	}
}

void cpuid_for_vcpu(struct cpuid *c, unsigned id, unsigned n)
{
	bool cores = false;

	for (unsigned i = 0; i < c->nent; i++) {
		topology(&c->e[i], id, n);
		cores |= c->e[i].function == 0xb && c->e[i].index == 1;
	}
	/* KVM gives the extended topology's first level only where it does not know better. */
	if (!cores && c->nent < CPUID_MAX) {
		c->e[c->nent] = (struct kvm_cpuid_entry2){ .function = 0xb, .index = 1, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX };
		topology(&c->e[c->nent++], id, n);
	}
}

/* KVM takes an entry without the flag for every index. */
static bool overlap(const struct kvm_cpuid_entry2 *a, const struct kvm_cpuid_entry2 *b)
{
	return a->function == b->function && (a->index == b->index || !(a->flags & b->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX));
}

int cpuid_sound(const struct cpuid *saved, unsigned id, unsigned n, struct err *e)
{
	struct cpuid c = *saved;
	bool good = saved->nent > 0 && saved->nent <= CPUID_MAX;

	for (unsigned i = 0; good && i < saved->nent; i++) {
		const struct kvm_cpuid_entry2 *s = &saved->e[i];

		good = (s->flags | KVM_CPUID_FLAG_SIGNIFCANT_INDEX) == KVM_CPUID_FLAG_SIGNIFCANT_INDEX && (s->index == 0 || (s->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX));
		for (unsigned k = 0; good && k < i; k++)
			good = !overlap(s, &saved->e[k]);
	}
	if (good) {
		cpuid_filter(&c);
		cpuid_for_vcpu(&c, id, n);
		good = c.nent == saved->nent;
	}
	for (unsigned i = 0; good && i < c.nent; i++)
		good = memcmp(&c.e[i], &saved->e[i], offsetof(struct kvm_cpuid_entry2, padding)) == 0;
	return good ? 0 : err_set(e, EBADMSG, "the snapshot has CPU features that no machine of ours is given");
}

static const struct kvm_cpuid_entry2 *entry(const struct cpuid *c, uint32_t function, uint32_t index)
{
	for (unsigned i = 0; i < c->nent; i++)
		if (c->e[i].function == function && c->e[i].index == index)
			return &c->e[i];
	return NULL;
}

/* What of a leaf is features: a bit that is set promises something. */
static const struct leaf promises[] = {
	{ 0x1, 0, { 0, 0, ALL & ~(B(27) | B(31)), ALL & ~B(28) } }, /* osxsave, hypervisor and ht are the machine's own */
	{ 0x7, 0, { 0, ALL, ALL, ALL } },
	{ 0x7, 1, { ALL, 0, 0, 0 } },
	{ 0xd, 0, { ALL, 0, 0, 0 } },
	{ 0xd, 1, { ALL, 0, 0, 0 } },
	{ 0x40000001, 0, { ALL, 0, 0, 0 } },
	{ 0x80000001, 0, { 0, 0, ALL, ALL } },
	{ 0x80000007, 0, { 0, 0, 0, ALL } },
	{ 0x80000008, 0, { 0, ALL, 0, 0 } },
	{ 0x80000021, 0, { ALL, 0, 0, 0 } },
};

int cpuid_fits(const struct cpuid *saved, const struct cpuid *host, struct err *e)
{
	static const struct kvm_cpuid_entry2 none;
	const struct kvm_cpuid_entry2 *s = entry(saved, 0, 0), *h = entry(host, 0, 0);

	if (!s || !h || s->ebx != h->ebx || s->ecx != h->ecx || s->edx != h->edx)
		return err_set(e, ENOTSUP, "the snapshot was made on a host whose CPU is of another maker");
	for (size_t i = 0; i < ARRAY_SIZE(promises); i++) {
		const struct leaf *l = &promises[i];

		if (!(s = entry(saved, l->function, l->index)))
			continue;
		if (!(h = entry(host, l->function, l->index)))
			h = &none;
		if ((s->eax & ~h->eax & l->keep[EAX]) || (s->ebx & ~h->ebx & l->keep[EBX]) || (s->ecx & ~h->ecx & l->keep[ECX]) ||
		    (s->edx & ~h->edx & l->keep[EDX]))
			return err_set(e, ENOTSUP, "the snapshot was made on a host whose CPU has features that this one lacks (CPUID %#x.%u)", l->function, l->index);
	}
	s = entry(saved, 0x80000008, 0);
	h = entry(host, 0x80000008, 0);
	if (s && h && (s->eax & 0xff) > (h->eax & 0xff))
		return err_set(e, ENOTSUP, "the snapshot was made on a host whose CPU has wider addresses than this one's");
	return 0;
}
