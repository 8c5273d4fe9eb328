/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/kvm/x86/boot.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "vmm/kvm/arch.h"
#include "vmm/kvm/x86/layout.h"

#define HEADER_MAGIC 0x53726448u /* "HdrS" */
#define PVH_MAGIC 0x336ec578u
#define PVH_NOTE 18u
#define PHDRS_MAX 16u
#define NOTES_MAX 4096u

struct pvh_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist, cmdline, rsdp, memmap;
	uint32_t memmap_entries, zero;
};
struct pvh_module { uint64_t addr, size, cmdline, zero; };
struct pvh_memmap { uint64_t addr, size; uint32_t type, zero; };
_Static_assert(sizeof(struct pvh_info) == 56 && sizeof(struct pvh_module) == 32 && sizeof(struct pvh_memmap) == 24, "as Xen defines them");

unsigned boot_e820(struct e820 out[E820_MAX], const struct ram *r)
{
	unsigned n = 0;

	out[n++] = (struct e820){ 0, RAM_EBDA, 1 };
	out[n++] = (struct e820){ RAM_EBDA, 0x100000 - RAM_EBDA, 2 };
	out[n++] = (struct e820){ 0x100000, r->low - 0x100000, 1 };
	if (r->size > r->low)
		out[n++] = (struct e820){ RAM_HIGH, r->size - r->low, 1 };
	return n;
}

/* n bytes of the file at `at` to guest memory. */
static int load(const struct ram *r, int fd, uint64_t at, uint64_t gpa, uint64_t n, const char *what, struct err *e)
{
	uint8_t *p = ram_at(r, gpa, n);

	if (n == 0)
		return 0;
	if (!p)
		return err_set(e, ENOMEM, "the %s does not fit into the machine's memory", what);
	while (n > 0) {
		const ssize_t got = pread(fd, p, n, (off_t)at);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return err_set(e, got < 0 ? errno : ENODATA, "cannot read the %s: %s", what, got < 0 ? strerror(errno) : "it is shorter than it says");
		p += got;
		at += (uint64_t)got;
		n -= (uint64_t)got;
	}
	return 0;
}

static int load_bzimage(struct boot *b, const struct ram *r, int fd, uint64_t size, struct boot_params *bp, struct err *e)
{
	const struct setup_header *h = &bp->hdr;
	const uint64_t setup = ((uint64_t)(h->setup_sects ? h->setup_sects : 4) + 1) * 512;

	if (h->version < 0x020c || !(h->xloadflags & XLF_KERNEL_64))
		return err_set(e, ENOEXEC, "the kernel has no 64-bit entry");
	if (setup >= size || h->pref_address < KERNEL_MIN || h->pref_address >= r->low || h->init_size > r->low - h->pref_address)
		return err_set(e, ENOMEM, "the kernel does not fit into the machine's memory");
	const uint64_t body = size - setup;
	b->kind = BOOT_LINUX64;
	b->entry = h->pref_address + 0x200;
	b->kernel_end = h->pref_address + (h->init_size > body ? h->init_size : body);
	return load(r, fd, setup, h->pref_address, body, "kernel", e);
}

/* The 32-bit entry in the notes of one PT_NOTE; 0 when there is none. */
static uint32_t pvh_entry(const uint8_t *p, size_t n)
{
	while (n >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr h;

		memcpy(&h, p, sizeof(h));
		const uint64_t name = ((uint64_t)h.n_namesz + 3) & ~UINT64_C(3), desc = ((uint64_t)h.n_descsz + 3) & ~UINT64_C(3);
		if (name > n - sizeof(h) || desc > n - sizeof(h) - name)
			return 0;
		p += sizeof(h);
		if (h.n_type == PVH_NOTE && h.n_namesz == 4 && memcmp(p, "Xen", 4) == 0 && h.n_descsz >= 4) {
			uint32_t entry;

			memcpy(&entry, p + name, 4);
			return entry;
		}
		p += name + desc;
		n -= sizeof(h) + (size_t)(name + desc);
	}
	return 0;
}

static int load_elf(struct boot *b, const struct ram *r, int fd, const Elf64_Ehdr *eh, struct err *e)
{
	Elf64_Phdr ph[PHDRS_MAX];
	uint8_t notes[NOTES_MAX];
	int rc = 0;

	if (eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_machine != EM_X86_64 || eh->e_phentsize != sizeof(ph[0]) || eh->e_phnum > PHDRS_MAX ||
	    pread(fd, ph, eh->e_phnum * sizeof(ph[0]), (off_t)eh->e_phoff) != (ssize_t)(eh->e_phnum * sizeof(ph[0])))
		return err_set(e, ENOEXEC, "the kernel is no ELF image that can be started");
	b->kind = BOOT_PVH;
	b->entry = 0;
	b->kernel_end = KERNEL_MIN;
	for (unsigned i = 0; i < eh->e_phnum && rc == 0; i++) {
		const Elf64_Phdr *p = &ph[i];

		if (p->p_type == PT_NOTE && p->p_filesz <= sizeof(notes) && pread(fd, notes, p->p_filesz, (off_t)p->p_offset) == (ssize_t)p->p_filesz) {
			const uint32_t entry = pvh_entry(notes, p->p_filesz);

			b->entry = entry ? entry : b->entry;
		}
		if (p->p_type != PT_LOAD || p->p_memsz == 0)
			continue;
		if (p->p_paddr < KERNEL_MIN || p->p_filesz > p->p_memsz || !ram_at(r, p->p_paddr, p->p_memsz))
			return err_set(e, ENOMEM, "the kernel does not fit into the machine's memory");
		rc = load(r, fd, p->p_offset, p->p_paddr, p->p_filesz, "kernel", e);
		if (p->p_paddr + p->p_memsz > b->kernel_end)
			b->kernel_end = p->p_paddr + p->p_memsz;
	}
	if (rc == 0 && !b->entry)
		return err_set(e, ENOEXEC, "the kernel is an ELF image without a PVH entry");
	return rc;
}

/* To the top of low memory, as far from the kernel as can be. */
static int load_initrd(const struct boot *b, const struct ram *r, int fd, uint64_t limit, uint64_t *at, uint64_t *size, struct err *e)
{
	struct stat st;

	*at = *size = 0;
	if (fd < 0)
		return 0;
	if (fstat(fd, &st) < 0 || st.st_size < 0)
		return err_errno(e, errno, "cannot read the initial ramdisk");
	const uint64_t n = (uint64_t)st.st_size, end = limit < r->low ? limit : r->low;
	if (n > end || (end - n) < b->kernel_end + 4096)
		return err_set(e, ENOMEM, "the initial ramdisk does not fit into the machine's memory");
	*at = (end - n) & ~UINT64_C(4095);
	*size = n;
	return load(r, fd, 0, *at, n, "initial ramdisk", e);
}

static void tell_linux(struct boot_params *bp, const struct ram *r, uint64_t initrd, uint64_t initrd_size, size_t cmdline)
{
	struct e820 map[E820_MAX];
	const unsigned n = boot_e820(map, r);

	bp->hdr.type_of_loader = 0xff;
	bp->hdr.loadflags &= (uint8_t)~CAN_USE_HEAP;
	bp->hdr.vid_mode = 0xffff;
	bp->hdr.cmd_line_ptr = BOOT_CMDLINE;
	bp->hdr.cmdline_size = (uint32_t)cmdline;
	bp->hdr.ramdisk_image = (uint32_t)initrd;
	bp->hdr.ramdisk_size = (uint32_t)initrd_size;
	bp->acpi_rsdp_addr = ACPI_BASE;
	bp->e820_entries = (uint8_t)n;
	for (unsigned i = 0; i < n; i++) {
		bp->e820_table[i].addr = map[i].addr;
		bp->e820_table[i].size = map[i].size;
		bp->e820_table[i].type = map[i].type;
	}
	ram_write(r, BOOT_ZERO_PAGE, bp, sizeof(*bp));
}

static void tell_pvh(const struct ram *r, uint64_t initrd, uint64_t initrd_size)
{
	struct e820 map[E820_MAX];
	struct pvh_info info = {
		.magic = PVH_MAGIC, .version = 1, .cmdline = BOOT_CMDLINE, .rsdp = ACPI_BASE, .memmap = BOOT_PVH_INFO + 0x100,
		.memmap_entries = boot_e820(map, r),
	};
	const struct pvh_module mod = { .addr = initrd, .size = initrd_size };

	if (initrd_size > 0) {
		info.nr_modules = 1;
		info.modlist = BOOT_PVH_INFO + 0x80;
		ram_write(r, info.modlist, &mod, sizeof(mod));
	}
	for (unsigned i = 0; i < info.memmap_entries; i++) {
		const struct pvh_memmap m = { .addr = map[i].addr, .size = map[i].size, .type = map[i].type };

		ram_write(r, info.memmap + i * sizeof(m), &m, sizeof(m));
	}
	ram_write(r, BOOT_PVH_INFO, &info, sizeof(info));
}

/* The first 4 GiB, identity-mapped by 2 MiB pages. */
static void put_page_tables(const struct ram *r)
{
	uint64_t *t = ram_at(r, BOOT_PML4, 6 * 4096);

	t[0] = (BOOT_PML4 + 4096) | 3;
	for (unsigned i = 0; i < 4; i++)
		t[512 + i] = (BOOT_PML4 + 8192 + i * 4096u) | 3;
	for (unsigned i = 0; i < 4 * 512; i++)
		t[1024 + i] = ((uint64_t)i << 21) | 0x83;
}

int boot_load(struct boot *b, const struct ram *r, int kernel, int initrd, const char *cmdline, struct err *e)
{
	/* null, null, 64-bit code, data; and 32-bit code for PVH, at the selectors Linux wants (__BOOT_CS 0x10, __BOOT_DS 0x18) */
	static const uint64_t gdt[] = { 0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0x00cf9b000000ffff };
	union { struct boot_params bp; Elf64_Ehdr eh; } head = { 0 };
	const size_t len = strlen(cmdline) + 1;
	uint64_t at, size;
	struct stat st;
	int rc;

	if (len > ARCH_CMDLINE_MAX)
		return err_set(e, E2BIG, "the kernel's command line is too long");
	if (r->low < 16u << 20)
		return err_set(e, EINVAL, "a machine needs at least 16 MiB of memory");
	if (fstat(kernel, &st) < 0 || pread(kernel, &head, sizeof(head), 0) < (ssize_t)sizeof(Elf64_Ehdr))
		return err_set(e, ENOEXEC, "cannot read the kernel");
	ram_write(r, BOOT_CMDLINE, cmdline, len);
	ram_write(r, BOOT_GDT, gdt, sizeof(gdt));
	put_page_tables(r);
	if (memcmp(head.eh.e_ident, ELFMAG, SELFMAG) == 0) {
		const Elf64_Ehdr eh = head.eh;

		if ((rc = load_elf(b, r, kernel, &eh, e)) == 0 && (rc = load_initrd(b, r, initrd, r->low, &at, &size, e)) == 0)
			tell_pvh(r, at, size);
		return rc;
	}
	if (head.bp.hdr.header != HEADER_MAGIC)
		return err_set(e, ENOEXEC, "the kernel is neither a bzImage nor an ELF image");
	/* Only the setup header is taken over; what else stood in the file's first page is code. */
	struct boot_params bp = { 0 };
	bp.hdr = head.bp.hdr;
	if ((rc = load_bzimage(b, r, kernel, (uint64_t)st.st_size, &bp, e)) == 0 &&
	    (rc = load_initrd(b, r, initrd, (uint64_t)bp.hdr.initrd_addr_max + 1, &at, &size, e)) == 0)
		tell_linux(&bp, r, at, size, len);
	return rc;
}

void boot_regs(const struct boot *b, struct kvm_regs *regs, struct kvm_sregs *s)
{
	struct kvm_segment code = { .limit = 0xffffffff, .selector = 0x10, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1 };
	const struct kvm_segment data = { .limit = 0xffffffff, .selector = 0x18, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1 };

	*regs = (struct kvm_regs){ .rflags = 2, .rip = b->entry, .rsp = BOOT_STACK, .rbp = BOOT_STACK };
	s->gdt.base = BOOT_GDT;
	s->gdt.limit = 5 * 8 - 1;
	s->idt.base = s->idt.limit = 0;
	s->ds = s->es = s->fs = s->gs = s->ss = data;
	if (b->kind == BOOT_LINUX64) {
		regs->rsi = BOOT_ZERO_PAGE;
		s->cr3 = BOOT_PML4;
		s->cr4 = 1u << 5;                 /* PAE */
		s->cr0 = 1u << 31 | 1u << 4 | 1u; /* PG, ET, PE */
		s->efer = 1u << 10 | 1u << 8;     /* LMA, LME */
	} else {
		regs->rbx = BOOT_PVH_INFO;
		s->cr0 = 1u << 4 | 1u;
		s->cr3 = s->cr4 = s->efer = 0;
		code.selector = 0x20;
		code.l = 0;
		code.db = 1;
	}
	s->cs = code;
}
