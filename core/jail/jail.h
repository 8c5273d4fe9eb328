/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a process that reads guest bytes locks itself up, in three stages (ARCHITECTURE 2). Each says what is missing in the
 * report; nothing is left out silently. The order is fixed: early -> fs -> seal. All are for the main thread before others exist.
 *
 *   jail_early  first thing in main(): every descriptor closed but 0..2 and `keep`; no core dump, not dumpable; no_new_privs;
 *               rlimits; ambient and bounding capabilities dropped. Should: nothing of the parent is left but what was given.
 *   jail_fs     once all that is needed is open: Landlock with no rule at all (no path can be opened, made, executed), own
 *               network (empty), IPC and mount namespaces and in these an empty root where the kernel lets us. A process namespace begins with
 *               a process, so who starts us makes it (core/loop/proc.h: our own machine's monitor has one; "pids"); in any case a sealed
 *               process can signal nobody but itself. Mustn't: anything that needs a path afterwards.
 *   jail_seal   the seccomp allowlist: what is not listed is not made and kills the process (SIGSYS); its last line on descriptor 2, its log, is
 *               JAIL_REFUSED and the call's number and profile, from which the supervisor tells which call it was.
 */
#ifndef BULKHEAD_JAIL_JAIL_H
#define BULKHEAD_JAIL_JAIL_H

#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

#define JAIL_REFUSED "bulkhead: seccomp refuses system call " /* NUMBER " to " PROFILE */

struct jail {
	char text[512]; /* for child_ready.jail: "no_new_privs nodump rlimits netns landlock(5) seccomp(43)", missing parts as "-landlock(kernel has none)" */
};

struct jail_early {
	const int *keep;      /* descriptors above 2 to keep open */
	size_t nkeep;
	uint64_t max_fds;     /* RLIMIT_NOFILE */
	uint64_t max_memory;  /* RLIMIT_DATA in bytes; 0 = none */
	bool may_spawn;       /* false: RLIMIT_NPROC is left alone but seccomp must forbid clone; true: the process starts a helper before sealing */
};

/* One allowed call. `arg` < 0: any arguments; else argument `arg` (0..5) masked with `mask` must equal `value`. A call may stand in several rows. */
struct jail_rule {
	int nr;               /* SCMP_SYS(x) */
	const char *why;      /* one phrase */
	int arg;
	uint64_t mask, value;
	bool self;            /* value is the process's own id */
};
#define JAIL_ALLOW(name, reason) { .nr = SCMP_SYS(name), .why = (reason), .arg = -1 }
#define JAIL_ALLOW_ARG(name, a, m, v, reason) { .nr = SCMP_SYS(name), .why = (reason), .arg = (a), .mask = (m), .value = (v) }
#define JAIL_ALLOW_SELF(name, a, reason) { .nr = SCMP_SYS(name), .why = (reason), .arg = (a), .mask = 0xffffffff, .self = true }

struct jail_profile {
	const char *name;
	const struct jail_rule *rules;
	size_t nrules;
	const int *refused;   /* calls that answer EPERM instead of killing (a library asks and lives without) */
	size_t nrefused;
	bool alone;           /* a thread's own: without the common rows */
};

extern const struct jail_profile jail_profile_vmm;  /* profile_vmm.c */
extern const struct jail_profile jail_profile_vmm_kvm;  /* profile_vmm_kvm.c: the loop, */
extern const struct jail_profile jail_profile_vmm_vcpu; /* a vCPU's thread, */
extern const struct jail_profile jail_profile_vmm_blk;  /* a disk's thread */
extern const struct jail_profile jail_profile_term; /* profile_term.c */
extern const struct jail_profile jail_profile_net;  /* profile_net.c */
extern const struct jail_profile jail_profile_fs;   /* profile_fs.c */
extern const struct jail_profile jail_profile_review; /* profile_review.c */
/* What every profile allows besides its own rows: read, write, epoll, futex, exit, clock, sigreturn, allocation without PROT_EXEC. */
extern const struct jail_profile jail_profile_common;

/* All: 0, or -errno with a sentence when something that must work did not (seccomp, no_new_privs, closing descriptors). Parts that
 * a kernel may lack are noted in j->text as missing. */
int jail_early(struct jail *j, const struct jail_early *o, struct err *e);
/* `dir` (-1 none): a directory in which files may still be made, written, renamed and removed. */
int jail_fs(struct jail *j, int dir, struct err *e);
/* In place of jail_fs(): the host's network stays, for connections out (not for listening). */
int jail_net(struct jail *j, struct err *e);
/* The same, with everything but devices and execution allowed below each of dirs[]: for who serves directories. */
int jail_fs_below(struct jail *j, const int *dirs, size_t n, struct err *e);
/* $BULKHEAD_JAIL=log uses SCMP_ACT_LOG: for finding what a profile lacks; noted in the report. */
/* Seals the calling thread and those it makes later; every thread that exists already seals itself. */
int jail_seal(struct jail *j, const struct jail_profile *p, struct err *e);

#endif
