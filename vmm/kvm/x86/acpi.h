/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The firmware's tables (ACPI 6.4, chapter 5): RSDP, XSDT, FADT (hardware-reduced), MADT, and the DSDT that iasl made of dsdt.asl when this was
 * built, with the processors and virtio slots that are not there marked absent. Pure: builds bytes.
 */
#ifndef BULKHEAD_VMM_KVM_X86_ACPI_H
#define BULKHEAD_VMM_KVM_X86_ACPI_H

#include <stdint.h>

#include "core/base/buf.h"

struct acpi_config {
	unsigned vcpus;
	uint32_t slots; /* bit n: virtio slot n has a device */
};

/* All tables as they stand in memory from `base` on, the RSDP first. 0, -ENOBUFS (over ACPI_END - ACPI_BASE), or what acpi_dsdt() says. b is empty before. */
int acpi_build(struct buf *b, uint64_t base, const struct acpi_config *c);
/* The DSDT alone, as iasl -d reads it, added to b. 0, -ENOBUFS, -ENOENT (dsdt.asl has not as many devices as layout.h). */
int acpi_dsdt(struct buf *b, const struct acpi_config *c);

#endif
