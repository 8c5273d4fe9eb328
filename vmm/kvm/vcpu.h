/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vCPUs' threads. Each runs KVM_RUN until the guest touches a device, handles that, and goes on; all stop, wait and go on together.
 * Callbacks of vcpu_ops come on vCPU threads, several at once; on_paused and the rest of the machine's life are for the loop's thread, to
 * which `wake` is to lead.
 */
#ifndef BULKHEAD_VMM_KVM_VCPU_H
#define BULKHEAD_VMM_KVM_VCPU_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/proto/child.h"
#include "vmm/kvm/vm.h"

struct vcpu_ops {
	void (*serial)(void *arg, unsigned reg, bool write, uint8_t *v);
	void (*mmio)(void *arg, uint64_t addr, bool write, uint8_t *data, unsigned len);
	/* Something changed that vcpus_poll() tells. Any thread. */
	void (*wake)(void *arg);
	/* First thing on each thread: seals it. 0 or -errno. */
	int (*seal)(void *arg, struct err *e);
};

struct vcpus;

/* Starts a thread a vCPU, paused. Waits until each has sealed itself. 0 or -errno with a sentence. */
int vcpus_start(struct vcpus **out, struct vm *m, const struct vcpu_ops *ops, void *arg, struct err *e);
void vcpus_pause(struct vcpus *v);
void vcpus_resume(struct vcpus *v);
/* True when every vCPU stands still. */
bool vcpus_stand(struct vcpus *v);
/* Ends the machine from any thread: the first reason stands. The threads stop; the loop finds it by vcpus_ended(). */
void vcpus_end(struct vcpus *v, enum vmm_end end, const char *why);
/* VMM_END_NONE while it runs. why lives as long as v. */
enum vmm_end vcpus_ended(struct vcpus *v, const char **why);
void vcpus_exits(const struct vcpus *v, uint64_t out[VMM_EXIT_NUM]);
/* Stops and joins all threads. NULL is fine. */
void vcpus_destroy(struct vcpus **v);

#endif
