/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's guest-physical addresses and interrupt lines that every CPU kind has; with its own (x86/layout.h) the one place they are written down. */
#ifndef BULKHEAD_VMM_KVM_LAYOUT_H
#define BULKHEAD_VMM_KVM_LAYOUT_H

#define MACHINE_VCPUS_MAX 16u

/* Memory lies at [0, RAM_LOW_MAX) and, what is more, from RAM_HIGH on; between the two are devices. */
#define RAM_LOW_MAX 0xc0000000ull
#define RAM_HIGH 0x100000000ull
#define GENERATION_ADDR 0xff000u /* VM generation ID: 16 bytes, other ones in every copy of a machine */

/* virtio-mmio: one page a device, GSI of the same order. */
#define VIRTIO_BASE 0xd0000000ull
#define VIRTIO_STRIDE 0x1000u
#define VIRTIO_SLOTS 8u
#define VIRTIO_GSI 8u /* slot n has VIRTIO_GSI + n */

#define GSI_SERIAL 4u
#define GSI_GENERATION 5u
#define GSI_BUTTON 6u

#endif
