/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's parts that are pure: memory's bounds, the memory map, ACPI tables (iasl reads them back), what a guest sees of its CPU. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "vmm/kvm/ram.h"
#include "vmm/kvm/x86/acpi.h"
#include "vmm/kvm/x86/boot.h"
#include "vmm/kvm/x86/cpuid.h"
#include "vmm/kvm/x86/layout.h"

/* ---- memory --------------------------------------------------------------------------------------------------------------------- */

static void memory_is_reached_only_where_it_is(void **unused)
{
	struct err e = ERR_INIT;
	struct ram r;
	uint32_t v = 7;

	(void)unused;
	assert_int_equal(ram_create(&r, UINT64_C(5) << 30, VMM_PAGES_SMALL, &e), 0);
	assert_int_equal(r.low, RAM_LOW_MAX);
	assert_ptr_equal(ram_at(&r, 0, 1), r.base);
	assert_non_null(ram_at(&r, RAM_LOW_MAX - 1, 1));
	assert_null(ram_at(&r, RAM_LOW_MAX - 1, 2)); /* over the end of the low piece, although the high one follows in our memory */
	assert_null(ram_at(&r, RAM_LOW_MAX, 1));
	assert_null(ram_at(&r, RAM_HIGH - 1, 2));
	assert_ptr_equal(ram_at(&r, RAM_HIGH, 4096), r.base + RAM_LOW_MAX);
	assert_non_null(ram_at(&r, RAM_HIGH + (UINT64_C(2) << 30) - 1, 1));
	assert_null(ram_at(&r, RAM_HIGH + (UINT64_C(2) << 30) - 1, 2));
	assert_null(ram_at(&r, 0, 0));
	assert_null(ram_at(&r, UINT64_MAX, 1));
	assert_null(ram_at(&r, 0x1000, UINT64_MAX));
	assert_null(ram_at(&r, UINT64_MAX - 0xfff, 0x2000));
	assert_null(ram_at(&r, RAM_HIGH, UINT64_MAX - RAM_HIGH + 1));
	assert_int_equal(ram_write(&r, RAM_LOW_MAX - 4, &v, 4), 0);
	assert_int_equal(ram_write(&r, RAM_LOW_MAX - 3, &v, 4), -EFAULT);
	v = 0;
	assert_int_equal(ram_read(&r, RAM_LOW_MAX - 4, &v, 4), 0);
	assert_int_equal(v, 7);
	assert_int_equal(ftruncate(r.fd, 4096), -1); /* sealed: nobody takes memory away under a mapping */
	ram_destroy(&r);
	/* From the host's pool: all of it now, or a sentence. */
	if (ram_create(&r, UINT64_C(1) << 30, VMM_PAGES_POOL, &e) == 0)
		ram_destroy(&r);
	else
		assert_non_null(strstr(e.msg, "MiB"));
	assert_int_equal(ram_create(&r, 100, VMM_PAGES_SMALL, &e), -EINVAL);
	assert_int_equal(ram_create(&r, 0, VMM_PAGES_SMALL, &e), -EINVAL);
}

static uint64_t held(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

/* Pages of ours that are in memory, of every kind. */
static uint64_t resident(void)
{
	unsigned long total, pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu %lu", &total, &pages), 2);
	fclose(f);
	return (uint64_t)pages * 4096;
}

static void saving_memory_makes_none(void **unused)
{
	const uint64_t size = 256u << 20, at[] = { 0, 5 << 20, (64u << 20) - 4096, size - 4096 };
	struct err e = ERR_INIT;
	struct ram r, copy, again;

	(void)unused;
	AUTO_FD first = memfd_create("first", MFD_CLOEXEC);
	AUTO_FD second = memfd_create("second", MFD_CLOEXEC);
	assert_int_equal(ram_create(&r, size, VMM_PAGES_SMALL, &e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(at); i++)
		memset(r.base + at[i], (int)i + 1, 4096);
	const uint64_t before = held(r.fd), mapped = resident();
	assert_int_equal(ram_save(&r, first, &e), 0);
	assert_int_equal(held(r.fd), before);
	assert_true(resident() < mapped + (32u << 20));
	assert_true(held(first) <= before + 4096); /* and the mark */
	/* A copy writes where its file holds something and where it does not, and its own copy has both. */
	assert_int_equal(ram_map_copy(&copy, first, size, &e), 0);
	memset(copy.base + at[1], 0x55, 4096);
	memset(copy.base + (33u << 20), 0x66, 4096);
	memset(copy.base + at[2], 0, 4096);
	const uint64_t alone = resident();
	assert_int_equal(ram_save(&copy, second, &e), 0);
	assert_true(resident() < alone + (32u << 20));
	ram_destroy(&copy);
	assert_int_equal(ram_map_copy(&again, second, size, &e), 0);
	assert_int_equal(again.base[at[0] + 4095], 1);
	assert_int_equal(again.base[at[1]], 0x55);
	assert_int_equal(again.base[33u << 20], 0x66);
	assert_int_equal(again.base[at[2]], 0);
	assert_int_equal(again.base[at[3]], 4);
	assert_int_equal(r.base[at[1]], 2);
	ram_destroy(&again);
	assert_int_equal(ram_map_copy(&again, second, size + 4096, &e), -EBADMSG);
	assert_non_null(strstr(e.msg, "not of the size"));
	ram_destroy(&r);
}

static void the_map_is_ordered_and_whole(void **unused)
{
	const struct { uint64_t bytes; unsigned n; } sizes[] = { { 64u << 20, 3 }, { RAM_LOW_MAX, 3 }, { UINT64_C(8) << 30, 4 } };
	struct e820 map[E820_MAX];

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct ram r = { .size = sizes[i].bytes, .low = sizes[i].bytes < RAM_LOW_MAX ? sizes[i].bytes : RAM_LOW_MAX, .fd = -1 };
		const unsigned n = boot_e820(map, &r);
		uint64_t at = 0, total = 0;

		assert_int_equal(n, sizes[i].n);
		for (unsigned k = 0; k < n; k++) {
			assert_true(map[k].addr == at || map[k].addr == RAM_HIGH);
			at = map[k].addr + map[k].size;
			total += map[k].size;
			if (map[k].type == 1) /* tables and firmware are not given away */
				assert_true(map[k].addr + map[k].size <= ACPI_BASE || map[k].addr >= ACPI_END);
		}
		assert_int_equal(total, sizes[i].bytes);
	}
}

/* ---- kernels -------------------------------------------------------------------------------------------------------------------- */

static int try_kernel(const void *p, size_t n, struct boot *b, struct err *e)
{
	AUTO_FD fd = fd_memfd("kernel", p, n);
	struct ram r;

	assert_true(fd >= 0);
	assert_int_equal(ram_create(&r, 64u << 20, VMM_PAGES_SMALL, e), 0);
	const int rc = boot_load(b, &r, fd, -1, "console=none", e);
	ram_destroy(&r);
	return rc;
}

static void damaged_kernels_are_refused(void **unused)
{
	static uint8_t image[65536];
	struct boot b;
	struct err e = ERR_INIT;

	(void)unused;
	assert_int_equal(try_kernel("short", 5, &b, &e), -ENOEXEC);
	assert_int_equal(try_kernel(image, sizeof(image), &b, &e), -ENOEXEC);
	memcpy(image + 0x202, "HdrS", 4);
	assert_int_equal(try_kernel(image, sizeof(image), &b, &e), -ENOEXEC); /* too old */
	image[0x206] = 0x0f;
	image[0x207] = 2;
	image[0x236] = 1; /* 64-bit entry */
	image[0x1f1] = 4;
	assert_int_equal(try_kernel(image, sizeof(image), &b, &e), -ENOMEM); /* at address 0 */
	image[0x25b] = 1; /* pref_address 16 MiB */
	assert_int_equal(try_kernel(image, sizeof(image), &b, &e), 0);
	assert_int_equal(b.entry, (16u << 20) + 0x200);
	memset(image + 0x260, 0xff, 4); /* init_size */
	assert_int_equal(try_kernel(image, sizeof(image), &b, &e), -ENOMEM);
	memset(image + 0x260, 0, 4);
	memset(image + 0x258, 0xff, 8);
	assert_int_equal(try_kernel(image, sizeof(image), &b, &e), -ENOMEM);
	memset(image + 0x258, 0, 8);
	image[0x25b] = 1;
	image[0x1f1] = 255; /* more setup than file */
	assert_int_equal(try_kernel(image, sizeof(image), &b, &e), -ENOMEM);
	memcpy(image, "\177ELF", 4);
	assert_int_equal(try_kernel(image, sizeof(image), &b, &e), -ENOEXEC);
}

/* ---- ACPI ----------------------------------------------------------------------------------------------------------------------- */

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n-- > 0)
		s = (uint8_t)(s + *p++);
	return s;
}

static uint64_t le(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	memcpy(&v, p, n);
	return v;
}

static const uint8_t *table(const struct buf *b, uint64_t at)
{
	const uint8_t *t = buf_head(b) + (at - ACPI_BASE);

	assert_true(at >= ACPI_BASE && at - ACPI_BASE + 36 <= buf_size(b));
	const uint64_t n = le(t + 4, 4);
	assert_true(n >= 36 && at - ACPI_BASE + n <= buf_size(b));
	assert_int_equal(sum(t, n), 0);
	return t;
}

static void tables_are_chained_and_sum_to_zero(void **unused)
{
	const struct acpi_config c = { .vcpus = 16, .slots = 0xff };
	struct buf b;

	(void)unused;
	buf_init(&b, ACPI_END - ACPI_BASE);
	assert_int_equal(acpi_build(&b, ACPI_BASE, &c), 0);
	const uint8_t *r = buf_head(&b);
	assert_memory_equal(r, "RSD PTR ", 8);
	assert_int_equal(sum(r, 20), 0);
	assert_int_equal(sum(r, 36), 0);
	const uint8_t *xsdt = table(&b, le(r + 24, 8));
	assert_memory_equal(xsdt, "XSDT", 4);
	const uint8_t *fadt = table(&b, le(xsdt + 36, 8)), *madt = table(&b, le(xsdt + 44, 8));
	assert_memory_equal(fadt, "FACP", 4);
	assert_int_equal(le(fadt + 4, 4), 276);
	assert_true(le(fadt + 112, 4) & 1u << 20); /* hardware-reduced */
	assert_int_equal(le(fadt + 120, 8), PORT_RESET);
	assert_int_equal(le(fadt + 248, 8), PORT_SLEEP_CONTROL);
	assert_memory_equal(table(&b, le(fadt + 140, 8)), "DSDT", 4);
	assert_memory_equal(madt, "APIC", 4);
	assert_int_equal(le(madt + 4, 4), 44 + 16 * 8 + 12);
	buf_release(&b);
}

/* iasl, without what it prints: its exit status. */
static int iasl(char *const argv[])
{
	int status = -1;
	const pid_t pid = fork();

	if (pid == 0) {
		const int null = open("/dev/null", O_WRONLY);

		dup2(null, 1);
		dup2(null, 2);
		execv("/usr/bin/iasl", argv);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* What iasl makes of the table, which it must also be able to compile again; "" when it refuses. */
static const char *run_iasl(const struct buf *b)
{
	static char text[65536];
	char dir[] = "/tmp/bulkhead-acpi-XXXXXX";
	size_t n = 0;

	assert_non_null(mkdtemp(dir));
	AUTO_FREE char *aml = str_fmt("%s/dsdt.aml", dir);
	AUTO_FREE char *dsl = str_fmt("%s/dsdt.dsl", dir);
	FILE *f = fopen(aml, "we");
	assert_non_null(f);
	assert_int_equal(fwrite(buf_head(b), 1, buf_size(b), f), buf_size(b));
	fclose(f);
	char *const read_it[] = { (char *)"iasl", (char *)"-d", aml, NULL }, *const compile_it[] = { (char *)"iasl", (char *)"-we", (char *)"-p", aml, dsl, NULL };
	if (iasl(read_it) == 0 && iasl(compile_it) == 0 && (f = fopen(dsl, "re"))) {
		n = fread(text, 1, sizeof(text) - 1, f);
		fclose(f);
	}
	text[n] = '\0';
	unlink(aml);
	unlink(dsl);
	rmdir(dir);
	return text;
}

/* The FADT, MADT and XSDT of a machine, through the same. */
static void iasl_reads_the_other_tables(void **unused)
{
	const struct acpi_config c = { .vcpus = 3, .slots = 0x15 };
	struct buf b, one;

	(void)unused;
	if (access("/usr/bin/iasl", X_OK) < 0)
		skip();
	buf_init(&b, ACPI_END - ACPI_BASE);
	assert_int_equal(acpi_build(&b, ACPI_BASE, &c), 0);
	const uint8_t *xsdt = table(&b, le(buf_head(&b) + 24, 8)), *tables[] = { xsdt, table(&b, le(xsdt + 36, 8)), table(&b, le(xsdt + 44, 8)) };
	static const char *const says[][3] = {
		{ "Signature : \"XSDT\"", "ACPI Table Address   0", "ACPI Table Address   1" },
		{ "Signature : \"FACP\"", "Hardware Reduced (V5) : 1", "Sleep Control Register" },
		{ "Signature : \"APIC\"", "Local Apic ID : 02", "[I/O APIC]" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		buf_init(&one, 4096);
		buf_put(&one, tables[i], le(tables[i] + 4, 4));
		const char *text = run_iasl(&one);
		for (size_t k = 0; k < 3; k++)
			if (!strstr(text, says[i][k]))
				fail_msg("'%s' is not in %.3000s", says[i][k], text);
		assert_null(strstr(text, "incorrect checksum"));
		buf_release(&one);
	}
	buf_release(&b);
}

static unsigned times(const char *text, const char *what)
{
	unsigned n = 0;

	for (const char *p = text; (p = strstr(p, what)); p++)
		n++;
	return n;
}

/* What _STA of device C000 or V000 and so on says. */
static bool is_present(const char *text, char kind, unsigned n)
{
	char device[32];
	unsigned sta;

	snprintf(device, sizeof(device), "Device (%c%03X)", kind, n);
	const char *p = strstr(text, device);
	assert_non_null(p);
	p = strstr(p, "Name (_STA, ");
	assert_non_null(p);
	assert_int_equal(sscanf(p, "Name (_STA, 0x%x)", &sta), 1);
	assert_true(sta == 0 || sta == 0xf);
	return sta != 0;
}

static void iasl_reads_the_dsdt(void **unused)
{
	const struct acpi_config c = { .vcpus = 3, .slots = 0x15 };
	struct buf b;

	(void)unused;
	if (access("/usr/bin/iasl", X_OK) < 0)
		skip();
	buf_init(&b, ACPI_END - ACPI_BASE);
	assert_int_equal(acpi_dsdt(&b, &c), 0);
	const char *text = run_iasl(&b);
	buf_release(&b);
	assert_int_equal(times(text, "\"LNRO0005\""), VIRTIO_SLOTS);
	assert_int_equal(times(text, "\"ACPI0007\""), MACHINE_VCPUS_MAX);
	for (unsigned i = 0; i < MACHINE_VCPUS_MAX; i++)
		assert_int_equal(is_present(text, 'C', i), i < 3);
	for (unsigned i = 0; i < VIRTIO_SLOTS; i++)
		assert_int_equal(is_present(text, 'V', i), c.slots >> i & 1);
	assert_int_equal(times(text, "EisaId (\"PNP0501\")"), 1);
	assert_int_equal(times(text, "Edge, ActiveHigh, Exclusive"), VIRTIO_SLOTS + 3);
	assert_int_equal(times(text, "\"VM_Gen_Counter\""), 2);
	assert_int_equal(times(text, "Notify (VGEN, 0x80)"), 1);
	assert_int_equal(times(text, "Notify (PWRB, 0x80)"), 1);
	assert_int_equal(times(text, "EisaId (\"PNP0C0C\")"), 1);
	assert_int_equal(times(text, "Method (_EVT, 1, Serialized)"), 1);
	assert_int_equal(times(text, "(Arg0 == 0x05)"), 1);
	assert_int_equal(times(text, "(Arg0 == 0x06)"), 1);
	for (unsigned i = 0; i < VIRTIO_SLOTS; i++) {
		AUTO_FREE char *address = str_fmt("0x%08llX,", VIRTIO_BASE + i * VIRTIO_STRIDE), *line = str_fmt("0x%08X,", VIRTIO_GSI + i);

		assert_int_equal(times(text, address), 1);
		assert_int_equal(times(text, line), 1);
	}
	assert_int_equal(times(text, "Name (_S5"), 1);
}

/* ---- CPUID ---------------------------------------------------------------------------------------------------------------------- */

static struct kvm_cpuid_entry2 *leaf(struct cpuid *c, uint32_t function, uint32_t index)
{
	for (unsigned i = 0; i < c->nent; i++)
		if (c->e[i].function == function && c->e[i].index == index)
			return &c->e[i];
	return NULL;
}

static void only_listed_features_are_told(void **unused)
{
	static const uint32_t functions[] = { 0, 1, 2, 4, 5, 7, 0xa, 0xb, 0xd, 0x12, 0x14, 0x1d, 0x40000000, 0x40000001, 0x80000001, 0x80000008, 0x8000000a, 0x8000001f };
	static struct cpuid c;

	(void)unused;
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++)
		c.e[c.nent++] = (struct kvm_cpuid_entry2){ .function = functions[i], .eax = ~0u, .ebx = ~0u, .ecx = ~0u, .edx = ~0u };
	c.e[c.nent++] = (struct kvm_cpuid_entry2){ .function = 0xd, .index = 9, .eax = 8, .ebx = 0xa80 };  /* protection keys' state */
	c.e[c.nent++] = (struct kvm_cpuid_entry2){ .function = 0xd, .index = 18, .eax = 8192 };            /* AMX's */
	cpuid_filter(&c);
	assert_false(leaf(&c, 1, 0)->ecx & (1u << 3 | 1u << 5 | 1u << 6)); /* monitor, vmx, smx */
	assert_true(leaf(&c, 1, 0)->ecx & 1u << 24);                       /* tsc deadline */
	assert_false(leaf(&c, 7, 0)->ebx & (1u << 2 | 1u << 4 | 1u << 11)); /* sgx, hle, rtm */
	assert_false(leaf(&c, 7, 0)->ecx & (1u << 3 | 1u << 16));           /* pku, la57 */
	assert_false(leaf(&c, 0x80000001, 0)->ecx & 1u << 2);               /* svm */
	assert_int_equal(leaf(&c, 0xd, 0)->eax, 0xe7);
	assert_null(leaf(&c, 0xd, 9));
	assert_null(leaf(&c, 0xd, 18));
	assert_null(leaf(&c, 0xa, 0)); /* performance counters */
	assert_null(leaf(&c, 0x12, 0));
	assert_null(leaf(&c, 0x8000000a, 0));
	assert_null(leaf(&c, 0x8000001f, 0)); /* memory encryption */
	cpuid_for_vcpu(&c, 2, 4);
	assert_int_equal(leaf(&c, 1, 0)->ebx >> 24, 2);
	assert_int_equal(leaf(&c, 1, 0)->ebx >> 16 & 0xff, 4);
	assert_int_equal(leaf(&c, 0xb, 0)->edx, 2);
	assert_int_equal(leaf(&c, 0xb, 1)->ebx, 4);
	assert_int_equal(leaf(&c, 0xb, 1)->eax, 2);
	assert_int_equal(leaf(&c, 0x80000008, 0)->ecx, 3 | 2u << 12);
}

/* A list as a vCPU of our own is given it, from a host that has everything. */
static void given(struct cpuid *c, unsigned id, unsigned n)
{
	static const struct { uint32_t function, index, flags; } all[] = {
		{ 0, 0, 0 }, { 1, 0, 0 }, { 2, 0, 0 }, { 4, 0, 1 }, { 4, 1, 1 }, { 6, 0, 0 }, { 7, 0, 1 }, { 7, 1, 1 }, { 0xb, 0, 1 }, { 0xd, 0, 1 }, { 0xd, 1, 1 },
		{ 0xd, 2, 1 }, { 0x40000000, 0, 0 }, { 0x40000001, 0, 0 }, { 0x80000000, 0, 0 }, { 0x80000001, 0, 0 }, { 0x80000007, 0, 0 }, { 0x80000008, 0, 0 },
		{ 0x80000021, 0, 0 },
	};

	memset(c, 0, sizeof(*c));
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		c->e[c->nent++] = (struct kvm_cpuid_entry2){ .function = all[i].function, .index = all[i].index, .flags = all[i].flags, .eax = ~0u, .ebx = ~0u,
							     .ecx = ~0u, .edx = ~0u };
	cpuid_filter(c);
	cpuid_for_vcpu(c, id, n);
}

static void a_kept_list_is_ours_or_refused(void **unused)
{
	static struct cpuid good, c;
	struct err e = ERR_INIT;
	/* Bits that the table forbids, wherever they are put. */
	static const struct { uint32_t function, index, ecx, ebx; } forbidden[] = {
		{ 1, 0, 1u << 5, 0 }, { 7, 0, 1u << 3, 0 }, { 7, 0, 0, 1u << 4 }, { 0x80000001, 0, 1u << 2, 0 },
	};

	(void)unused;
	given(&good, 3, 4);
	assert_int_equal(cpuid_sound(&good, 3, 4, &e), 0);
	assert_int_equal(cpuid_sound(&good, 2, 4, &e), -EBADMSG); /* another vCPU's */
	assert_int_equal(cpuid_sound(&good, 3, 8, &e), -EBADMSG);
	for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++) {
		c = good;
		leaf(&c, forbidden[i].function, forbidden[i].index)->ecx |= forbidden[i].ecx;
		leaf(&c, forbidden[i].function, forbidden[i].index)->ebx |= forbidden[i].ebx;
		assert_int_equal(cpuid_sound(&c, 3, 4, &e), -EBADMSG);
	}
	static const struct kvm_cpuid_entry2 more[] = {
		{ .function = 1, .index = 5, .ecx = 1u << 5 },             /* KVM looks at no index here */
		{ .function = 7, .index = 0, .ebx = 1 },                   /* the same again */
		{ .function = 7, .index = 1, .flags = 0, .eax = 1u << 4 }, /* for every index */
		{ .function = 0xd, .index = 9, .flags = 1, .eax = 8 },
		{ .function = 0xa, .eax = 2 },
		{ .function = 0x80000002, .flags = 2 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(more); i++) {
		c = good;
		c.e[c.nent++] = more[i];
		assert_int_equal(cpuid_sound(&c, 3, 4, &e), -EBADMSG);
		assert_non_null(strstr(e.msg, "no machine of ours"));
	}
	c = good;
	c.nent = CPUID_MAX + 1;
	assert_int_equal(cpuid_sound(&c, 3, 4, &e), -EBADMSG);
	c.nent = 0;
	assert_int_equal(cpuid_sound(&c, 3, 4, &e), -EBADMSG);
}

static void a_kept_list_fits_where_all_of_it_is(void **unused)
{
	static struct cpuid saved, host;
	static const struct { uint32_t function, index; unsigned reg; uint32_t bit; const char *leaf; } lacks[] = {
		{ 1, 0, 2, 1u << 25, "0x1.0" }, { 1, 0, 3, 1u << 4, "0x1.0" }, { 7, 0, 1, 1u << 5, "0x7.0" }, { 7, 0, 2, 1u << 9, "0x7.0" },
		{ 7, 1, 0, 1u << 4, "0x7.1" }, { 0xd, 0, 0, 1u << 2, "0xd.0" }, { 0xd, 1, 0, 1u << 3, "0xd.1" }, { 0x40000001, 0, 0, 1u << 3, "0x40000001.0" },
		{ 0x80000001, 0, 2, 1u << 5, "0x80000001.0" }, { 0x80000007, 0, 3, 1u << 8, "0x80000007.0" }, { 0x80000008, 0, 1, 1u << 12, "0x80000008.0" },
		{ 0x80000021, 0, 0, 1u << 6, "0x80000021.0" },
	};
	struct err e = ERR_INIT;

	(void)unused;
	given(&saved, 0, 1);
	given(&host, 0, 1);
	leaf(&host, 1, 0)->ecx &= ~(1u << 27); /* what the machine says of itself is no feature */
	assert_int_equal(cpuid_fits(&saved, &host, &e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(lacks); i++) {
		given(&host, 0, 1);
		struct kvm_cpuid_entry2 *l = leaf(&host, lacks[i].function, lacks[i].index);

		*(lacks[i].reg == 0 ? &l->eax : lacks[i].reg == 1 ? &l->ebx : lacks[i].reg == 2 ? &l->ecx : &l->edx) &= ~lacks[i].bit;
		assert_int_equal(cpuid_fits(&saved, &host, &e), -ENOTSUP);
		if (!strstr(e.msg, lacks[i].leaf))
			fail_msg("%s: %s", lacks[i].leaf, e.msg);
	}
	given(&host, 0, 1);
	leaf(&host, 7, 1)->function = 0x999; /* the whole leaf */
	assert_int_equal(cpuid_fits(&saved, &host, &e), -ENOTSUP);
	given(&host, 0, 1);
	leaf(&host, 0, 0)->ebx = 0x68747541;
	assert_int_equal(cpuid_fits(&saved, &host, &e), -ENOTSUP);
	assert_non_null(strstr(e.msg, "another maker"));
	given(&host, 0, 1);
	leaf(&host, 0x80000008, 0)->eax = 40;
	assert_int_equal(cpuid_fits(&saved, &host, &e), -ENOTSUP);
	assert_non_null(strstr(e.msg, "wider addresses"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_reached_only_where_it_is),
		cmocka_unit_test(saving_memory_makes_none),
		cmocka_unit_test(the_map_is_ordered_and_whole),
		cmocka_unit_test(damaged_kernels_are_refused),
		cmocka_unit_test(tables_are_chained_and_sum_to_zero),
		cmocka_unit_test(iasl_reads_the_dsdt),
		cmocka_unit_test(iasl_reads_the_other_tables),
		cmocka_unit_test(only_listed_features_are_told),
		cmocka_unit_test(a_kept_list_is_ours_or_refused),
		cmocka_unit_test(a_kept_list_fits_where_all_of_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
