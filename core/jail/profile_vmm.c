/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead-vmm with the qemu backend, after QEMU was started: it moves bytes, and watches and kills that one process. */
#include "core/jail/jail.h"

#include "core/base/str.h"

static const struct jail_rule rules[] = {
	JAIL_ALLOW(pidfd_send_signal, "ends QEMU; the descriptor is QEMU's own"),
	JAIL_ALLOW(wait4, "QEMU's exit status"),
};

const struct jail_profile jail_profile_vmm = { .name = "vmm", .rules = rules, .nrules = ARRAY_SIZE(rules) };
