/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/kvm/x86/acpi.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "core/base/str.h"
#include "vmm/kvm/x86/layout.h"

#define TABLE_HEAD 36u

/* The common head; length and checksum come with end_table(). */
static size_t begin_table(struct buf *b, const char *sig, uint8_t revision)
{
	const size_t at = buf_size(b);

	buf_put(b, sig, 4);
	buf_u32(b, 0);
	buf_u8(b, revision);
	buf_u8(b, 0);
	buf_put(b, "BULKHD", 6);
	buf_put(b, "MACHINE ", 8);
	buf_u32(b, 1);
	buf_put(b, "BLKH", 4);
	buf_u32(b, 1);
	return at;
}

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n-- > 0)
		s = (uint8_t)(s + *p++);
	return s;
}

static void end_table(struct buf *b, size_t at)
{
	buf_patch_u32(b, at + 4, (uint32_t)(buf_size(b) - at));
	if (buf_ok(b)) {
		uint8_t *t = b->data + b->off + at;

		t[9] = 0;
		t[9] = (uint8_t)(0 - sum(t, buf_size(b) - at));
	}
}

static void align(struct buf *b, size_t n)
{
	while (buf_ok(b) && buf_size(b) % n != 0)
		buf_u8(b, 0);
}

static void put_zero(struct buf *b, size_t n)
{
	while (n-- > 0)
		buf_u8(b, 0);
}

/* Generic address structure of a port (5.2.3.2). */
static void put_port(struct buf *b, uint64_t port)
{
	buf_u8(b, 1);
	buf_u8(b, 8);
	buf_u8(b, 0);
	buf_u8(b, 1);
	buf_u64(b, port);
}

/* Says of device n of those that can be absent whether it is there: the n-th Name (_STA, 0x0F) of the table (20.2.5.1). */
static int set_present(struct buf *b, size_t at, const bool *there, unsigned n)
{
	static const uint8_t sta[] = { 0x08, '_', 'S', 'T', 'A', 0x0a, 0x0f };

	for (unsigned i = 0; i < n; i++) {
		uint8_t *p = memmem(b->data + b->off + at, buf_size(b) - at, sta, sizeof(sta));

		if (!p)
			return -ENOENT;
		if (!there[i])
			p[sizeof(sta) - 1] = 0;
		at = (size_t)(p - b->data) - b->off + sizeof(sta);
	}
	return 0;
}

int acpi_dsdt(struct buf *b, const struct acpi_config *c)
{
	static const uint8_t compiled[] = {
#include "vmm/kvm/x86/dsdt.inc"
	};
	bool there[MACHINE_VCPUS_MAX + VIRTIO_SLOTS];
	const size_t at = buf_size(b);

	for (unsigned i = 0; i < MACHINE_VCPUS_MAX; i++)
		there[i] = i < c->vcpus;
	for (unsigned i = 0; i < VIRTIO_SLOTS; i++)
		there[MACHINE_VCPUS_MAX + i] = c->slots & 1u << i;
	int r = buf_put(b, compiled, sizeof(compiled));

	if (r == 0)
		r = set_present(b, at, there, ARRAY_SIZE(there));
	end_table(b, at);
	return r;
}

static void put_fadt(struct buf *b, uint64_t dsdt)
{
	const size_t at = begin_table(b, "FACP", 6);

	put_zero(b, 4);             /* 36 FIRMWARE_CTRL */
	buf_u32(b, (uint32_t)dsdt); /* 40 DSDT */
	put_zero(b, 109 - 44);      /* no fixed hardware at all */
	buf_u16(b, 1u << 2 | 1u << 5); /* 109 IAPC_BOOT_ARCH: no VGA, no CMOS clock; no 8042, no legacy devices */
	buf_u8(b, 0);
	buf_u32(b, 1u << 4 | 1u << 5 | 1u << 10 | 1u << 20); /* 112: power button as a device, no sleep button, reset register, hardware-reduced */
	put_port(b, PORT_RESET);    /* 116 */
	buf_u8(b, RESET_VALUE);     /* 128 */
	buf_u16(b, 0);              /* 129 ARM_BOOT_ARCH */
	buf_u8(b, 4);               /* 131 minor version */
	buf_u64(b, 0);              /* 132 X_FIRMWARE_CTRL */
	buf_u64(b, dsdt);           /* 140 X_DSDT */
	put_zero(b, 244 - 148);
	put_port(b, PORT_SLEEP_CONTROL); /* 244 */
	put_port(b, PORT_SLEEP_STATUS);  /* 256 */
	buf_put(b, "BULKHEAD", 8);       /* 268 hypervisor vendor */
	end_table(b, at);
}

static void put_madt(struct buf *b, const struct acpi_config *c)
{
	const size_t at = begin_table(b, "APIC", 5);

	buf_u32(b, LAPIC_ADDR);
	buf_u32(b, 0); /* no 8259s */
	for (unsigned i = 0; i < c->vcpus; i++) {
		buf_u8(b, 0); /* local APIC */
		buf_u8(b, 8);
		buf_u8(b, (uint8_t)i);
		buf_u8(b, (uint8_t)i);
		buf_u32(b, 1);
	}
	buf_u8(b, 1); /* I/O APIC */
	buf_u8(b, 12);
	buf_u8(b, 0);
	buf_u8(b, 0);
	buf_u32(b, IOAPIC_ADDR);
	buf_u32(b, 0);
	end_table(b, at);
}

int acpi_build(struct buf *b, uint64_t base, const struct acpi_config *c)
{
	put_zero(b, 64); /* the RSDP's place */
	const uint64_t dsdt = base + buf_size(b);
	const int r = acpi_dsdt(b, c);
	if (r < 0)
		return r;
	align(b, 16);
	const uint64_t fadt = base + buf_size(b);
	put_fadt(b, dsdt);
	align(b, 16);
	const uint64_t madt = base + buf_size(b);
	put_madt(b, c);
	align(b, 16);
	const uint64_t xsdt = base + buf_size(b);
	const size_t at = begin_table(b, "XSDT", 1);
	buf_u64(b, fadt);
	buf_u64(b, madt);
	end_table(b, at);
	if (!buf_ok(b) || buf_size(b) > ACPI_END - ACPI_BASE)
		return -ENOBUFS;
	uint8_t *rsdp = b->data + b->off;
	memcpy(rsdp, "RSD PTR ", 8);
	memcpy(rsdp + 9, "BULKHD", 6);
	rsdp[15] = 2;
	rsdp[20] = 36;
	for (unsigned i = 0; i < 8; i++)
		rsdp[24 + i] = (uint8_t)(xsdt >> 8 * i);
	rsdp[8] = (uint8_t)(0 - sum(rsdp, 20));
	rsdp[32] = (uint8_t)(0 - sum(rsdp, 36));
	return 0;
}
