// SPDX-License-Identifier: Apache-2.0
//
// What the guest's kernel finds in the machine (ACPI 6.4, chapters 5, 6 and 19), for as many processors and virtio devices as there can be.
// acpi.c sets the _STA of those that are not there to 0, in the order in which they stand here: processors, then slots.
// The addresses and lines are those of layout.h, which the build puts before this file; the C preprocessor reads both, iasl the result.

#define PRESENT Name (_STA, 0x0F)

#define PROCESSOR(n) Device (C00##n) { Name (_HID, "ACPI0007") Name (_UID, 0x##n) PRESENT }

// Address and line of a slot are written out, VIRTIO_BASE + n * VIRTIO_STRIDE and VIRTIO_GSI + n: iasl 20200925 gets lengths wrong when it folds
// constants. tests/vmm/test_machine.c compares them.
#define VIRTIO(n, address, line) \
	Device (V00##n) { \
		Name (_HID, "LNRO0005") Name (_UID, n) Name (_CCA, One) PRESENT \
		Name (_CRS, ResourceTemplate () { \
			Memory32Fixed (ReadWrite, address, VIRTIO_STRIDE) \
			Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { line } \
		}) \
	}

DefinitionBlock ("", "DSDT", 2, "BULKHD", "MACHINE ", 1)
{
	Name (_S5, Package () { SLEEP_TYPE_S5, 0, 0, 0 })

	Scope (\_SB)
	{
		PROCESSOR (0) PROCESSOR (1) PROCESSOR (2) PROCESSOR (3) PROCESSOR (4) PROCESSOR (5) PROCESSOR (6) PROCESSOR (7)
		PROCESSOR (8) PROCESSOR (9) PROCESSOR (A) PROCESSOR (B) PROCESSOR (C) PROCESSOR (D) PROCESSOR (E) PROCESSOR (F)

		VIRTIO (0, 0xD0000000, 8) VIRTIO (1, 0xD0001000, 9) VIRTIO (2, 0xD0002000, 10) VIRTIO (3, 0xD0003000, 11)
		VIRTIO (4, 0xD0004000, 12) VIRTIO (5, 0xD0005000, 13) VIRTIO (6, 0xD0006000, 14) VIRTIO (7, 0xD0007000, 15)

		Device (COM1)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 0)
			Name (_CRS, ResourceTemplate () {
				IO (Decode16, PORT_SERIAL, PORT_SERIAL, 1, 8)
				Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { GSI_SERIAL }
			})
		}

		// "Virtual Machine Generation ID" (Microsoft): where its 16 bytes lie.
		Device (VGEN)
		{
			Name (_HID, "BLKH0001")
			Name (_CID, "VM_Gen_Counter")
			Name (_DDN, "VM_Gen_Counter")
			Name (ADDR, Package () { GENERATION_ADDR, 0 })
		}

		Device (PWRB) // 4.8.2.2.1.2
		{
			Name (_HID, EisaId ("PNP0C0C"))
			Name (_UID, 0)
		}

		Device (GED) // 5.6.9: tells of both; its _EVT gets the line that was raised
		{
			Name (_HID, "ACPI0013")
			Name (_UID, 0)
			Name (_CRS, ResourceTemplate () {
				Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { GSI_GENERATION }
				Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { GSI_BUTTON }
			})
			Method (_EVT, 1, Serialized)
			{
				If (Arg0 == GSI_GENERATION) { Notify (VGEN, 0x80) }
				If (Arg0 == GSI_BUTTON) { Notify (PWRB, 0x80) }
			}
		}
	}
}
