/* SPDX-License-Identifier: Apache-2.0 */
/* The x86 machine: in-kernel interrupt chips, its firmware's tables, and the few ports it has. */
#include "vmm/kvm/arch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/kvm/x86/acpi.h"
#include "vmm/kvm/x86/x86.h"

int arch_create(struct vm *m, struct err *e)
{
	uint64_t identity = KVM_IDENTITY_MAP;

	if (!(m->arch = calloc(1, sizeof(*m->arch))))
		return err_set(e, ENOMEM, "out of memory");
	if (ioctl(m->fd, KVM_SET_TSS_ADDR, KVM_TSS) < 0 || ioctl(m->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0)
		return err_errno(e, errno, "cannot place the machine's own pages");
	if (ioctl(m->fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return err_errno(e, errno, "cannot create the machine's interrupt chips");
	return 0;
}

int arch_prepare(struct vm *m, struct err *e)
{
	for (unsigned i = 0; i < m->nvcpus; i++)
		if (!(m->arch->cpuid[i] = calloc(1, sizeof(*m->arch->cpuid[i]))))
			return err_set(e, ENOMEM, "out of memory");
	return x86_save_prepare(m, e);
}

void arch_release(struct vm *m)
{
	if (!m->arch)
		return;
	for (unsigned i = 0; i < MACHINE_VCPUS_MAX; i++)
		free(m->arch->cpuid[i]);
	free(m->arch->msrs);
	free(m->arch);
	m->arch = NULL;
}

static int put_acpi(struct vm *m, const struct vm_config *c, struct err *e)
{
	const struct acpi_config ac = { .vcpus = c->vcpus, .slots = c->slots };
	struct buf b;

	buf_init(&b, ACPI_END - ACPI_BASE);
	int r = acpi_build(&b, ACPI_BASE, &ac);
	if (r == 0)
		r = ram_write(&m->ram, ACPI_BASE, buf_head(&b), buf_size(&b));
	buf_release(&b);
	return r < 0 ? err_set(e, -r, "cannot build the machine's ACPI tables") : 0;
}

int arch_boot(struct vm *m, const struct vm_config *c, struct err *e)
{
	struct boot b;
	int r = boot_load(&b, &m->ram, c->kernel, c->initrd, c->cmdline, e);

	if (r == 0)
		r = put_acpi(m, c, e);
	for (unsigned i = 0; i < m->nvcpus && r == 0; i++)
		r = x86_vcpu_setup(m, i, &b, e);
	return r;
}

void arch_cmdline(char dst[ARCH_CMDLINE_MAX], const char *more)
{
	snprintf(dst, ARCH_CMDLINE_MAX, "console=ttyS0 panic=-1 reboot=t quiet loglevel=4 random.trust_cpu=on 8250.nr_uarts=1 pci=off%s%s", more[0] ? " " : "", more);
}

/* ---- vCPU threads: ports ------------------------------------------------------------------------------------------------------------- */

static bool is_serial(uint16_t port)
{
	return port >= PORT_SERIAL && port < PORT_SERIAL + 8;
}

static void port_out(const struct arch_bus *bus, void *arg, uint16_t port, uint8_t v)
{
	if (is_serial(port))
		bus->serial(arg, port - PORT_SERIAL, true, &v);
	else if (port == PORT_SLEEP_CONTROL && (v & SLEEP_ENABLE) && (v >> 2 & 7) == SLEEP_TYPE_S5)
		bus->end(arg, VMM_END_POWEROFF, "the guest powered off");
	else if ((port == PORT_RESET && v == RESET_VALUE) || (port == PORT_I8042 && v == 0xfe))
		bus->end(arg, VMM_END_REBOOT, "the guest restarted itself");
}

static void on_port(const struct arch_bus *bus, void *arg, uint16_t port, bool write_, uint8_t *data, unsigned len)
{
	if (write_) {
		if (len == 1)
			port_out(bus, arg, port, data[0]);
		return;
	}
	memset(data, 0xff, len);
	if (len == 1 && is_serial(port))
		bus->serial(arg, port - PORT_SERIAL, false, data);
	else if (len == 1 && (port == PORT_SLEEP_CONTROL || port == PORT_SLEEP_STATUS))
		data[0] = 0;
}

bool arch_exit(struct kvm_run *run, const struct arch_bus *bus, void *arg)
{
	if (run->exit_reason != KVM_EXIT_IO)
		return false;
	uint8_t *p = (uint8_t *)run + run->io.data_offset;
	for (uint32_t i = 0; i < run->io.count; i++, p += run->io.size)
		on_port(bus, arg, run->io.port, run->io.direction == KVM_EXIT_IO_OUT, p, run->io.size);
	return true;
}
