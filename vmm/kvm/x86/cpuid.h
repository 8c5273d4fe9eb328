/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest is told of its CPU: of what KVM supports, only the features in cpuid.c's table, and the machine's own topology (one
 * socket, a core a vCPU). A feature that is not listed there does not exist: nested virtualisation, performance counters, memory protection keys,
 * transactional memory and everything that comes after this list was made.
 */
#ifndef BULKHEAD_VMM_KVM_X86_CPUID_H
#define BULKHEAD_VMM_KVM_X86_CPUID_H

#include <linux/kvm.h>
#include <stdint.h>

#include "core/base/err.h"

#define CPUID_MAX 256u
/* As struct kvm_cpuid2 lies in memory, with room. */
struct cpuid {
	uint32_t nent, padding;
	struct kvm_cpuid_entry2 e[CPUID_MAX];
};

/* What /dev/kvm supports, filtered. 0 or -errno. */
int cpuid_supported(struct cpuid *c, int kvm, struct err *e);
/* Masks features and drops leaves in place. Pure. */
void cpuid_filter(struct cpuid *c);
/* The leaves of one vCPU. Pure. */
void cpuid_for_vcpu(struct cpuid *c, unsigned id, unsigned n);
/*
 * A list that was kept in a file. Sound: it is what the two functions above make of it, each leaf once. Fits: same maker, and every feature in it
 * is `host`'s (as of cpuid_supported()) too. Pure; 0 or -errno with a sentence.
 */
int cpuid_sound(const struct cpuid *saved, unsigned id, unsigned n, struct err *e);
int cpuid_fits(const struct cpuid *saved, const struct cpuid *host, struct err *e);

#endif
