/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and ports that only an x86 machine has. */
#ifndef BULKHEAD_VMM_KVM_X86_LAYOUT_H
#define BULKHEAD_VMM_KVM_X86_LAYOUT_H

#include "vmm/kvm/layout.h"

/* Below 1 MiB, while booting. */
#define BOOT_GDT 0x500u
#define BOOT_PVH_INFO 0x6000u
#define BOOT_ZERO_PAGE 0x7000u
#define BOOT_STACK 0x8ff0u
#define BOOT_PML4 0x9000u /* one page, then the PDPT and four PDs: to 0xf000 */
#define BOOT_CMDLINE 0x20000u
#define RAM_EBDA 0x9fc00u  /* end of low usable memory */
#define ACPI_BASE 0xe0000u /* RSDP first: where a guest without boot parameters looks for it */
#define ACPI_END 0xff000u
_Static_assert(ACPI_END <= GENERATION_ADDR, "the generation ID lies behind the tables");
#define KERNEL_MIN 0x100000u

#define IOAPIC_ADDR 0xfec00000u
#define LAPIC_ADDR 0xfee00000u
#define KVM_IDENTITY_MAP 0xfffbc000u
#define KVM_TSS 0xfffbd000u

/* Ports. */
#define PORT_SERIAL 0x3f8u
#define PORT_SLEEP_CONTROL 0x600u
#define PORT_SLEEP_STATUS 0x601u
#define PORT_RESET 0x604u
#define RESET_VALUE 0x42u
#define SLEEP_ENABLE 0x20u
#define SLEEP_TYPE_S5 5u
#define PORT_I8042 0x64u /* only its reset command, 0xfe */

#endif
