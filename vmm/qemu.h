/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the qemu backend and its tests: the command line. */
#ifndef BULKHEAD_VMM_QEMU_H
#define BULKHEAD_VMM_QEMU_H

#include <stddef.h>

#include "core/proto/child.h"

/* Where each descriptor lies in QEMU's process; those of its lanes come last. */
enum qemu_fd { QEMU_FD_KERNEL = 3, QEMU_FD_INITRD, QEMU_FD_BASE, QEMU_FD_DISK, QEMU_FD_DISK_RO, QEMU_FD_CONSOLE, QEMU_FD_CHANNEL, QEMU_FD_QMP, QEMU_FD_MEMORY, QEMU_FD_LANE };

#define QEMU_ARGS_MAX 96
struct qemu_args {
	char *v[QEMU_ARGS_MAX + 1]; /* owned, NULL-terminated */
	size_t n;
	int failed;                 /* out of memory */
};

/* argv for this machine; `kvm` selects the accelerator, tsc_khz is what probe_tsc_khz() says (used without kvm only). Released by qemu_args_release() also after a failure. 0 or -ENOMEM. */
int qemu_args(struct qemu_args *a, const struct vmm_start *s, int kvm, unsigned tsc_khz);
void qemu_args_release(struct qemu_args *a);

#endif
