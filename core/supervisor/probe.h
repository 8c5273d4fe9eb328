/* SPDX-License-Identifier: Apache-2.0 */
/* What this host offers for machines: asked of `bulkhead-vmm --probe`, so that no /dev/kvm code is linked here. */
#ifndef BULKHEAD_SUPERVISOR_PROBE_H
#define BULKHEAD_SUPERVISOR_PROBE_H

#include <stdbool.h>

struct probe {
	bool known;        /* the probe has answered */
	bool kvm_usable;
	char kvm[16];      /* usable, emulates, absent, denied, broken */
	char sentence[256];
	char qemu[32];     /* version, "" none */
};

/* Runs it and waits, seconds at most: for a worker thread. What fails is said in `sentence`, and then `known` is false. */
void probe_run(struct probe *out);

#endif
