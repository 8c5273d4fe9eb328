/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-entropy (virtio 1.2, 5.4): getrandom() into the guest's buffers, at most RNG_MAX bytes a request. */
#ifndef BULKHEAD_VMM_DEVICES_RNG_H
#define BULKHEAD_VMM_DEVICES_RNG_H

#include "vmm/devices/virtio.h"

#define RNG_MAX 4096u
#define RNG_BURST 64u /* requests a doorbell; the rest wait for the next turn */

struct rng {
	struct virtio v;
	struct virtq_chain chain;
};

void rng_init(struct rng *r, const struct ram *ram, int irq);

#endif
