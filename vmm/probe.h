/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does /dev/kvm really run guests? One that opens and answers KVM_CREATE_VM may still emulate every instruction (ARCHITECTURE 4), so
 * a 64-bit guest with paging runs a loop of PROBE_LOOPS iterations; hardware needs under 2 ms, an emulator a second.
 */
#ifndef BULKHEAD_VMM_PROBE_H
#define BULKHEAD_VMM_PROBE_H

#include <stdint.h>

#define PROBE_LOOPS 1000000u
#define PROBE_LIMIT_MS 50u

enum probe_kvm { PROBE_USABLE, PROBE_EMULATES, PROBE_ABSENT, PROBE_DENIED, PROBE_BROKEN, PROBE_NUM };

struct probe {
	enum probe_kvm kvm;
	uint64_t loop_ns;   /* how long the loop ran (or ran until it was stopped); 0 when it never did */
	char sentence[256];
};

/* Takes at most a few PROBE_LIMIT_MS. Uses SIGALRM: for a process that does nothing else. */
void probe_kvm(struct probe *out);
const char *probe_word(enum probe_kvm k);
/* "7.2.22" into dst, or "" when there is no QEMU, or none that says so within ten seconds. Runs it. */
void probe_qemu(char *dst, unsigned cap);
/*
 * How fast the time-stamp counter of this host runs, in kHz, measured over a few milliseconds; 0 where there is none. TCG's guests see
 * the host's counter. A microvm has nothing but the 8254 to measure it by, and on a busy host the kernel's attempt fails: it then
 * calls the counter unstable, has no other clock, and hangs. So it is told.
 */
unsigned probe_tsc_khz(void);
/* The QEMU program: $BULKHEAD_QEMU or the first in PATH; allocated, NULL when there is none. */
char *probe_qemu_path(void);

#endif
