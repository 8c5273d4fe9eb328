/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports of the machine's virtio console device (virtio 1.2, 5.3; the kernel's drivers/char/virtio_console.c), found by the name the host gave them: their
 * numbers say nothing. A read gives a page at most, a write takes 32 KiB at most; a read is at its end while the host is not connected.
 */
#ifndef BULKHEAD_GUEST_VIRTPORT_H
#define BULKHEAD_GUEST_VIRTPORT_H

#define VIRTPORT_PAGE 4096u

/* Open for both directions, non-blocking; -ENOENT there is none of that name, else -errno (-EBUSY: it is open). */
int virtport_open(const char *name);

#endif
