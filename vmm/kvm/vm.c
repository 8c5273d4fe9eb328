/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/kvm/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/rnd.h"

static int add_memory(struct vm *m, uint32_t slot, uint64_t gpa, uint64_t offset, uint64_t size)
{
	const struct kvm_userspace_memory_region r = {
		.slot = slot, .guest_phys_addr = gpa, .memory_size = size, .userspace_addr = (uintptr_t)(m->ram.base + offset),
	};

	return size > 0 ? ioctl(m->fd, KVM_SET_USER_MEMORY_REGION, &r) : 0;
}

static int create_vm(struct vm *m, const struct vm_config *c, struct err *e)
{
	m->kvm = fcntl(c->kvm, F_DUPFD_CLOEXEC, 3);
	if (m->kvm < 0)
		return err_errno(e, errno, "cannot keep '/dev/kvm'");
	if (ioctl(m->kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return err_set(e, ENOTSUP, "'/dev/kvm' speaks another version of its interface");
	if ((m->fd = ioctl(m->kvm, KVM_CREATE_VM, 0)) < 0)
		return err_errno(e, errno, "cannot create a machine");
	int r = arch_create(m, e);
	if (r == 0)
		r = c->restore ? ram_map_copy(&m->ram, c->memory_fd, c->memory, e) : ram_create(&m->ram, c->memory, c->pages, e);
	if (r < 0)
		return r;
	if (add_memory(m, 0, 0, 0, m->ram.low) < 0 || add_memory(m, 1, RAM_HIGH, m->ram.low, m->ram.size - m->ram.low) < 0)
		return err_errno(e, errno, "cannot give the machine its memory");
	return 0;
}

static int create_vcpus(struct vm *m, unsigned n, struct err *e)
{
	const int size = ioctl(m->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

	if (size < (int)sizeof(struct kvm_run))
		return err_errno(e, errno, "cannot size a vCPU");
	m->run_size = (size_t)size;
	for (; m->nvcpus < n; m->nvcpus++) {
		const unsigned i = m->nvcpus;

		if ((m->vcpu[i] = ioctl(m->fd, KVM_CREATE_VCPU, (long)i)) < 0)
			return err_errno(e, errno, "cannot create vCPU %u", i);
		void *run = mmap(NULL, m->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu[i], 0);
		if (run == MAP_FAILED) {
			close(m->vcpu[i]);
			return err_errno(e, errno, "cannot map vCPU %u", i);
		}
		m->run[i] = run;
	}
	return 0;
}

int vm_save(struct vm *m, struct buf *b, struct err *e)
{
	struct vm_facts f = { .vcpus = m->nvcpus, .memory = m->ram.size };

	rnd_bytes(m->ram.mark, sizeof(m->ram.mark));
	memcpy(f.mark, m->ram.mark, sizeof(f.mark));
	state_put(b, STATE_MACHINE, 0, &f, sizeof(f));
	const int r = arch_save(m, b);
	return r < 0 ? err_errno(e, -r, "cannot read the machine's state") : 0;
}

static int load(struct vm *m, const struct state *s, struct err *e)
{
	uint8_t mark[RAM_MARK];
	struct vm_facts f;
	const int r = state_get(s, STATE_MACHINE, 0, &f, sizeof(f), e);

	if (r < 0)
		return r;
	if (ram_read(&m->ram, GENERATION_ADDR, mark, sizeof(mark)) < 0 || memcmp(mark, f.mark, sizeof(mark)) != 0)
		return err_set(e, EBADMSG, "the snapshot's memory file belongs to another snapshot");
	return arch_load(m, s, e);
}

int vm_create(struct vm *m, const struct vm_config *c, struct err *e)
{
	int r;

	memset(m, 0, sizeof(*m));
	m->kvm = m->fd = m->ram.fd = -1;
	if (c->vcpus < 1 || c->vcpus > MACHINE_VCPUS_MAX)
		return err_set(e, EINVAL, "a machine has 1 to %u vCPUs", MACHINE_VCPUS_MAX);
	if ((r = create_vm(m, c, e)) < 0 || (r = create_vcpus(m, c->vcpus, e)) < 0 || (r = arch_prepare(m, e)) < 0)
		return r;
	return c->restore ? load(m, c->restore, e) : arch_boot(m, c, e);
}

void vm_destroy(struct vm *m)
{
	for (unsigned i = 0; i < m->nvcpus; i++) {
		munmap(m->run[i], m->run_size);
		close(m->vcpu[i]);
	}
	m->nvcpus = 0;
	arch_release(m);
	fd_close(&m->fd);
	fd_close(&m->kvm);
	ram_destroy(&m->ram);
}

int vm_irqfd(struct vm *m, unsigned gsi)
{
	AUTO_FD fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	const struct kvm_irqfd q = { .fd = (uint32_t)fd, .gsi = gsi };

	return fd < 0 || ioctl(m->fd, KVM_IRQFD, &q) < 0 ? -errno : steal_fd(&fd);
}

int vm_doorbell(struct vm *m, uint64_t addr, uint32_t value)
{
	AUTO_FD fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	const struct kvm_ioeventfd io = { .addr = addr, .len = 4, .datamatch = value, .fd = fd, .flags = KVM_IOEVENTFD_FLAG_DATAMATCH };

	return fd < 0 || ioctl(m->fd, KVM_IOEVENTFD, &io) < 0 ? -errno : steal_fd(&fd);
}
