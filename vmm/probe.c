/* SPDX-License-Identifier: Apache-2.0 */
/* The functional probe (Linux Documentation/virt/kvm/api.rst; AMD64 manual volume 2, 14.6 for entering long mode). */
#include "vmm/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "core/base/clock.h"
#include "core/base/environ.h"
#include "core/base/fd.h"
#include "core/base/str.h"

#define MEM_SIZE 0x10000u
#define CODE_AT 0x8000u
#define CPUID_MAX 256u
#define QEMU_VERSION_MS 10000u /* on a host that has everything else to do */

/* mov ecx, PROBE_LOOPS; dec ecx; jnz -4; hlt */
static const uint8_t code[] = { 0xb9, PROBE_LOOPS & 0xff, PROBE_LOOPS >> 8 & 0xff, PROBE_LOOPS >> 16 & 0xff, PROBE_LOOPS >> 24, 0xff, 0xc9, 0x75, 0xfc, 0xf4 };

static const char *const words[] = { "usable", "emulates", "absent", "denied", "broken" };
_Static_assert(ARRAY_SIZE(words) == PROBE_NUM, "a word for every answer");

const char *probe_word(enum probe_kvm k)
{
	return words[k];
}

static struct kvm_run *volatile running; /* for the alarm: a probe is a process's only work */

static void on_alarm(int signo)
{
	(void)signo;
	if (running)
		running->immediate_exit = 1;
}

static void broken(struct probe *p, const char *what)
{
	p->kvm = PROBE_BROKEN;
	snprintf(p->sentence, sizeof(p->sentence), "/dev/kvm does not work: %s: %s", what, strerror(errno));
}

/* Linux 6.12 refuses long mode to a vCPU that was not told what it can do. */
static int give_cpuid(int kvm, int vcpu)
{
	AUTO_FREE struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + CPUID_MAX * sizeof(c->entries[0]));

	if (!c)
		return -1;
	c->nent = CPUID_MAX;
	return ioctl(kvm, KVM_GET_SUPPORTED_CPUID, c) < 0 ? -1 : ioctl(vcpu, KVM_SET_CPUID2, c);
}

/* Identity-mapped first 2 MiB by one large page; flat 64-bit segments. */
static int enter_long_mode(int vcpu, uint8_t *mem)
{
	struct kvm_sregs s;
	struct kvm_regs r = { .rip = CODE_AT, .rflags = 2, .rsp = 0x7000 };
	const uint64_t pml4 = 0x2000 | 3, pdpt = 0x3000 | 3, pd = 0x83;

	memcpy(mem + 0x1000, &pml4, 8);
	memcpy(mem + 0x2000, &pdpt, 8);
	memcpy(mem + 0x3000, &pd, 8);
	memcpy(mem + CODE_AT, code, sizeof(code));
	if (ioctl(vcpu, KVM_GET_SREGS, &s) < 0)
		return -1;
	s.cr3 = 0x1000;
	s.cr4 = 1u << 5;                 /* PAE */
	s.cr0 = 1u << 31 | 1u << 4 | 1u; /* PG, ET, PE */
	s.efer = 1u << 10 | 1u << 8;     /* LMA, LME */
	struct kvm_segment seg = { .limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1 };
	s.cs = seg;
	seg.type = 3;
	seg.selector = 16;
	seg.l = 0;
	seg.db = 1;
	s.ds = s.es = s.fs = s.gs = s.ss = seg;
	return ioctl(vcpu, KVM_SET_SREGS, &s) < 0 || ioctl(vcpu, KVM_SET_REGS, &r) < 0 ? -1 : 0;
}

static void run_loop(struct probe *p, int vcpu, struct kvm_run *run)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	const struct itimerval limit = { .it_value.tv_usec = 2 * PROBE_LIMIT_MS * 1000 }, off = { 0 };

	running = run;
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &limit, NULL);
	const uint64_t start = clock_ns();
	const int r = ioctl(vcpu, KVM_RUN, 0);
	const int code_ = errno;
	p->loop_ns = clock_ns() - start;
	setitimer(ITIMER_REAL, &off, NULL);
	running = NULL;
	const unsigned ms = (unsigned)(p->loop_ns / 1000000);
	if (r < 0 && code_ != EINTR) {
		errno = code_;
		broken(p, "a small guest cannot run");
	} else if (r < 0 || ms >= PROBE_LIMIT_MS) {
		p->kvm = PROBE_EMULATES;
		snprintf(p->sentence, sizeof(p->sentence), "/dev/kvm emulates, not used: a loop that hardware runs in 2 ms %s %u ms",
			 r < 0 ? "was not done after" : "took", ms);
	} else if (run->exit_reason != KVM_EXIT_HLT) {
		p->kvm = PROBE_BROKEN;
		snprintf(p->sentence, sizeof(p->sentence), "/dev/kvm does not work: a small guest ended with exit reason %u", run->exit_reason);
	} else {
		p->kvm = PROBE_USABLE;
		snprintf(p->sentence, sizeof(p->sentence), "/dev/kvm runs guests (probe loop: %.1f ms)", (double)p->loop_ns / 1e6);
	}
}

void probe_kvm(struct probe *p)
{
	*p = (struct probe){ .kvm = PROBE_ABSENT };
	AUTO_FD kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0) {
		p->kvm = errno == EACCES || errno == EPERM ? PROBE_DENIED : PROBE_ABSENT;
		snprintf(p->sentence, sizeof(p->sentence), p->kvm == PROBE_DENIED ?
			 "/dev/kvm may not be opened: add yourself to group 'kvm' and log in again" : "there is no /dev/kvm: machines are emulated");
		return;
	}
	AUTO_FD vm = ioctl(kvm, KVM_CREATE_VM, 0);
	AUTO_FD vcpu = vm < 0 ? -1 : ioctl(vm, KVM_CREATE_VCPU, 0);
	const int run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (vm < 0 || vcpu < 0 || run_size < (int)sizeof(struct kvm_run)) {
		broken(p, "cannot make a machine");
		return;
	}
	uint8_t *mem = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct kvm_run *run = mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	const struct kvm_userspace_memory_region region = { .memory_size = MEM_SIZE, .userspace_addr = (uintptr_t)mem };
	if (mem == MAP_FAILED || run == MAP_FAILED || ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0 ||
	    give_cpuid(kvm, vcpu) < 0 || enter_long_mode(vcpu, mem) < 0)
		broken(p, "cannot set up a machine");
	else
		run_loop(p, vcpu, run);
	if (mem != MAP_FAILED)
		munmap(mem, MEM_SIZE);
	if (run != MAP_FAILED)
		munmap(run, (size_t)run_size);
}

char *probe_qemu_path(void)
{
	const char *set = getenv("BULKHEAD_QEMU");
	const char *path = getenv("PATH");

	if (set && *set)
		return access(set, X_OK) == 0 ? str_dup(set) : NULL;
	while (path && *path) {
		const size_t n = strcspn(path, ":");
		char *p = n > 0 ? str_fmt("%.*s/qemu-system-x86_64", (int)n, path) : NULL;

		if (p && access(p, X_OK) == 0)
			return p;
		free(p);
		path += n + (path[n] == ':');
	}
	return NULL;
}

void probe_qemu(char *dst, unsigned cap)
{
	AUTO_FREE char *path = probe_qemu_path();
	AUTO_FREE char **envp = environ_small();
	char *const argv[] = { path, (char *)"--version", NULL };
	char text[256];
	size_t n = 0;
	int fds[2];

	dst[0] = '\0';
	if (!path || !envp || pipe2(fds, O_CLOEXEC) < 0)
		return;
	const pid_t pid = fork();
	if (pid == 0) {
		dup2(fds[1], 1);
		execve(path, argv, envp);
		_exit(127);
	}
	close(fds[1]);
	/* One that says nothing, or never ends, is killed: it is no QEMU, and would do so again with a guest. */
	for (const uint64_t until = clock_ms() + QEMU_VERSION_MS; pid > 0 && n < sizeof(text) - 1;) {
		const uint64_t now = clock_ms();
		struct pollfd p = { .fd = fds[0], .events = POLLIN };
		ssize_t r;

		if (now >= until || poll(&p, 1, (int)(until - now)) <= 0 || (r = read(fds[0], text + n, sizeof(text) - 1 - n)) <= 0)
			break;
		n += (size_t)r;
	}
	close(fds[0]);
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	text[n] = '\0';
	const char *at = strstr(text, "version ");
	if (!at)
		return;
	at += strlen("version ");
	const size_t len = strspn(at, "0123456789.");
	snprintf(dst, cap, "%.*s", (int)len, at);
}

#ifdef __x86_64__
/* One moment on both clocks; of several tries the one in which the least passed between the two looks at the counter. */
static void both_clocks(uint64_t *tsc, uint64_t *ns)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < 8; i++) {
		struct timespec t;
		const uint64_t before = __builtin_ia32_rdtsc();

		clock_gettime(CLOCK_MONOTONIC_RAW, &t);
		const uint64_t after = __builtin_ia32_rdtsc();
		if (after - before >= best)
			continue;
		best = after - before;
		*tsc = before + best / 2;
		*ns = (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
	}
}

unsigned probe_tsc_khz(void)
{
	const struct timespec wait = { .tv_nsec = 10 * 1000 * 1000 };
	uint64_t tsc[2] = { 0 }, ns[2] = { 0 };

	both_clocks(&tsc[0], &ns[0]);
	nanosleep(&wait, NULL);
	both_clocks(&tsc[1], &ns[1]);
	if (tsc[1] <= tsc[0] || ns[1] <= ns[0])
		return 0;
	return (unsigned)((tsc[1] - tsc[0]) * UINT64_C(1000000) / (ns[1] - ns[0]));
}
#else
unsigned probe_tsc_khz(void)
{
	return 0;
}
#endif
