/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filters of our own machine's threads. That each allows what its thread does, the bare-metal guests show (they run sealed); here is what each
 * refuses: one forbidden call a child, which SIGSYS must kill, and that the same child without the call ends in order.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/str.h"
#include "core/jail/jail.h"

enum { VCPU = 1, BLK = 2, LOOP = 4, ALL = 7 };
static const struct jail_profile *const profiles[] = { &jail_profile_vmm_vcpu, &jail_profile_vmm_blk, &jail_profile_vmm_kvm };

struct attempt {
	const char *what;
	unsigned dies; /* under these profiles; under the others it may be made */
	long nr;
	long a, b, c, d;
};

static const struct attempt attempts[] = {
	{ "nothing", 0, SYS_getpid, 0, 0, 0, 0 },
	{ "open", ALL, SYS_openat, AT_FDCWD, (long)"/etc/passwd", O_RDONLY, 0 },
	{ "exec", ALL, SYS_execve, (long)"/bin/true", 0, 0, 0 },
	{ "fork", ALL, SYS_fork, 0, 0, 0, 0 },
	{ "clone", ALL, SYS_clone, SIGCHLD, 0, 0, 0 },
	{ "socket", ALL, SYS_socket, 2, 1, 0, 0 },
	{ "connect", ALL, SYS_connect, 0, 0, 0, 0 },
	{ "ptrace", ALL, SYS_ptrace, 0, 0, 0, 0 },
	{ "process_vm_readv", ALL, SYS_process_vm_readv, 1, 0, 0, 0 },
	{ "kill", ALL, SYS_kill, 1, 0, 0, 0 },
	{ "mount", ALL, SYS_mount, 0, 0, 0, 0 },
	{ "unshare", ALL, SYS_unshare, 0, 0, 0, 0 },
	{ "bpf", ALL, SYS_bpf, 0, 0, 0, 0 },
	{ "io_uring_setup", ALL, SYS_io_uring_setup, 1, 0, 0, 0 },
	{ "executable memory", ALL, SYS_mmap, 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS },
	{ "ioctl KVM_RUN", BLK | LOOP, SYS_ioctl, -1, KVM_RUN, 0, 0 },
	{ "ioctl KVM_CREATE_VM", ALL, SYS_ioctl, -1, KVM_CREATE_VM, 0, 0 },
	{ "ioctl KVM_SET_USER_MEMORY_REGION", ALL, SYS_ioctl, -1, KVM_SET_USER_MEMORY_REGION, 0, 0 },
	{ "ioctl KVM_SET_MSRS", ALL, SYS_ioctl, -1, KVM_SET_MSRS, 0, 0 },
	{ "ioctl KVM_KVMCLOCK_CTRL", VCPU | BLK, SYS_ioctl, -1, KVM_KVMCLOCK_CTRL, 0, 0 },
	{ "ioctl TIOCSTI", ALL, SYS_ioctl, 0, 0x5412, 0, 0 },
	{ "a socket's size", VCPU | BLK, SYS_setsockopt, -1, SOL_SOCKET, SO_SNDBUF, 0 },
	{ "a socket's filter", ALL, SYS_setsockopt, -1, SOL_SOCKET, SO_ATTACH_FILTER, 0 },
	{ "preadv", VCPU | LOOP, SYS_preadv, -1, 0, 0, 0 },
	{ "pwritev", VCPU | LOOP, SYS_pwritev, -1, 0, 0, 0 },
	{ "hole", VCPU | LOOP, SYS_fallocate, -1, 3, 0, 0 },
	{ "collapse range", ALL, SYS_fallocate, -1, 8, 0, 0 },
	{ "sendmsg", VCPU | BLK, SYS_sendmsg, -1, 0, 0, 0 },
	{ "accept", VCPU | BLK, SYS_accept4, -1, 0, 0, 0 },
	{ "truncate", VCPU | BLK, SYS_ftruncate, -1, 0, 0, 0 },
	{ "a signal to another process", ALL, SYS_tgkill, 1, 1, 0, 0 },
	{ "another handler for SIGSYS", ALL, SYS_rt_sigaction, SIGSYS, 0, 0, 8 },
	{ "a second filter", ALL, SYS_seccomp, 1, 0, 0, 0 },
	{ "memory becomes executable", ALL, SYS_mprotect, 0, 0, PROT_EXEC, 0 },
};

static int try(const struct jail_profile *p, const struct attempt *a)
{
	const pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		struct jail j = { .text = "" };
		struct err e;

		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
		if (jail_seal(&j, p, &e) < 0)
			_exit(99);
		syscall(a->nr, a->a, a->b, a->c, a->d, -1L, 0L);
		_exit(7);
	}
	waitpid(pid, &status, 0);
	return status;
}

static void each_thread_has_only_its_own_calls(void **unused)
{
	(void)unused;
	for (size_t p = 0; p < ARRAY_SIZE(profiles); p++)
		for (size_t i = 0; i < ARRAY_SIZE(attempts); i++) {
			const int status = try(profiles[p], &attempts[i]);

			if (attempts[i].dies >> p & 1) {
				if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
					fail_msg("%s: %s: status %#x, not killed by SIGSYS", profiles[p]->name, attempts[i].what, (unsigned)status);
			} else if (!WIFEXITED(status) || WEXITSTATUS(status) != 7) {
				fail_msg("%s: %s: status %#x, it should have been let through", profiles[p]->name, attempts[i].what, (unsigned)status);
			}
		}
}

/* The line from which the supervisor tells which call it was, also from a thread that blocks every other signal. */
static void the_call_is_named(void **unused)
{
	char text[256] = "", want[128];
	int fds[2], status = 0;

	(void)unused;
	assert_int_equal(pipe(fds), 0);
	const pid_t pid = fork();
	if (pid == 0) {
		struct jail j = { .text = "" };
		struct err e;
		sigset_t all;

		dup2(fds[1], 2);
		sigfillset(&all);
		sigprocmask(SIG_SETMASK, &all, NULL);
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		if (jail_seal(&j, &jail_profile_vmm_blk, &e) < 0)
			_exit(99);
		syscall(SYS_connect, -1, NULL, 0);
		_exit(7);
	}
	close(fds[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	assert_true(read(fds[0], text, sizeof(text) - 1) > 0);
	close(fds[0]);
	snprintf(want, sizeof(want), JAIL_REFUSED "%d to vmm-blk\n", (int)SYS_connect);
	assert_string_equal(text, want);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(the_call_is_named), cmocka_unit_test(each_thread_has_only_its_own_calls) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
