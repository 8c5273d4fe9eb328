/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seccomp filter: the common rows and the profile's, everything else names itself and kills the process. An empty profile is an error, not an
 * empty filter. Rows with an argument are or-ed by libseccomp; a call with an unconditional row must not stand in a second.
 */
#include "core/jail/seccomp.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* Which filter the thread is under. */
static __thread const char *profile_name = "?";

static size_t put_text(char *dst, size_t n, size_t cap, const char *s)
{
	while (*s && n < cap)
		dst[n++] = *s++;
	return n;
}

/*
 * A forbidden call: names it (jail.h) and dies of it. Only async-signal-safe calls. SIGSYS is blocked in here, so that the second one ends the
 * process at once; what blocks or takes over SIGSYS gains nothing, for the call is not made in any case.
 */
static void on_sigsys(int signo, siginfo_t *info, void *context)
{
	char text[128], digits[12];
	unsigned nr = (unsigned)info->si_syscall;
	size_t n = put_text(text, 0, sizeof(text), JAIL_REFUSED), d = 0;

	(void)signo;
	(void)context;
	do {
		digits[d++] = (char)('0' + nr % 10);
		nr /= 10;
	} while (nr > 0);
	while (d > 0)
		text[n++] = digits[--d];
	n = put_text(text, n, sizeof(text) - 1, " to ");
	n = put_text(text, n, sizeof(text) - 1, profile_name);
	text[n++] = '\n';
	const ssize_t w = write(2, text, n);
	(void)w;
	syscall(SYS_reboot, 0, 0, 0, NULL); /* no profile has it; with these arguments nobody could make it */
	_exit(159);
}

static uint32_t default_action(struct jail *j)
{
	const char *mode = getenv("BULKHEAD_JAIL");
	const struct sigaction sa = { .sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO };
	sigset_t sigsys;

	if (mode && strcmp(mode, "log") == 0) {
		jail_note(j, "-seccomp(only logs: BULKHEAD_JAIL=log)");
		return SCMP_ACT_LOG;
	}
	sigemptyset(&sigsys);
	sigaddset(&sigsys, SIGSYS);
	if (sigaction(SIGSYS, &sa, NULL) < 0 || pthread_sigmask(SIG_UNBLOCK, &sigsys, NULL) != 0)
		return SCMP_ACT_KILL_PROCESS; /* under an earlier filter: it is killed without a word */
	return SCMP_ACT_TRAP;
}

static int add_rules(scmp_filter_ctx ctx, const struct jail_profile *p, struct err *e)
{
	for (size_t i = 0; i < p->nrules; i++) {
		const struct jail_rule *r = &p->rules[i];
		const struct scmp_arg_cmp cmp = {
			.arg = r->arg < 0 ? 0 : (unsigned)r->arg, .op = SCMP_CMP_MASKED_EQ, .datum_a = r->mask, .datum_b = r->self ? (uint64_t)getpid() : r->value,
		};
		int rc = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, r->nr, r->arg < 0 ? 0 : 1, &cmp);

		if (rc < 0 && rc != -EEXIST)
			return err_errno(e, -rc, "seccomp profile '%s', row %zu (%s)", p->name, i, r->why);
	}
	for (size_t i = 0; i < p->nrefused; i++) {
		int rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), p->refused[i], 0);

		if (rc < 0)
			return err_errno(e, -rc, "seccomp profile '%s', refused row %zu", p->name, i);
	}
	return 0;
}

int jail_seccomp(struct jail *j, const struct jail_profile *p, struct err *e)
{
	if (p->nrules == 0)
		return err_set(e, EINVAL, "seccomp profile '%s' is empty", p->name);
	scmp_filter_ctx ctx = seccomp_init(default_action(j));
	if (!ctx)
		return err_set(e, ENOMEM, "cannot make a seccomp filter");
	int r = p->alone ? 0 : add_rules(ctx, &jail_profile_common, e);
	if (r == 0)
		r = add_rules(ctx, p, e);
	if (r == 0) {
		int rc = seccomp_load(ctx);

		if (rc < 0)
			r = err_errno(e, -rc, "cannot load the seccomp filter");
	}
	seccomp_release(ctx);
	if (r == 0)
		profile_name = p->name;
	if (r == 0)
		jail_note(j, "seccomp(%zu)", (p->alone ? 0 : jail_profile_common.nrules) + p->nrules);
	return r;
}
