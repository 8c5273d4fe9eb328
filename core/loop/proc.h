/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Child processes, watched by pidfd. Spawned ones are reaped here; adopted ones (of a supervisor that died) are watched just the same,
 * only their exit status stays unknown.
 */
#ifndef BULKHEAD_LOOP_PROC_H
#define BULKHEAD_LOOP_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "core/base/err.h"

struct proc;

struct proc_opts {
	const char *path;        /* absolute */
	char *const *argv;       /* argv[0] too; secrets never */
	char *const *envp;       /* NULL = environ_small() */
	const int *fds;          /* fds[i] becomes descriptor 3 + i in the child; everything else is closed */
	size_t nfds;             /* <= FD_PASS_MAX */
	int out_fd;              /* stdout and stderr; -1 = /dev/null. stdin is /dev/null */
	const int *stdio;        /* NULL, or three descriptors that become 0, 1 and 2 instead */
	bool die_with_us;        /* PR_SET_PDEATHSIG SIGKILL */
	bool own_session;        /* setsid() */
	bool own_pids;           /* where the host allows it, the first process of a process namespace: it sees no other. Not with die_with_us */
};

/* status as of waitpid(), or -1 when unknown (adopted). Called once; proc_release() is still to be called. */
typedef void (*proc_exit_fn)(void *arg, int status);

/* 0 or -errno with a sentence: also when exec failed (told through a pipe). */
int proc_spawn(struct proc **out, uv_loop_t *loop, const struct proc_opts *o, proc_exit_fn on_exit, void *arg, struct err *e);
/* -ESRCH when there is no such process or it did not start at `start_time` (proc_start_time(); guards against a reused pid). */
int proc_adopt(struct proc **out, uv_loop_t *loop, pid_t pid, uint64_t start_time, proc_exit_fn on_exit, void *arg);
pid_t proc_pid(const struct proc *p);
/* Field 22 of /proc/PID/stat, in ticks; 0 when there is no such process. */
uint64_t proc_start_time(pid_t pid);
int proc_kill(struct proc *p, int signo); /* by pidfd: never hits another process */
/* Stops watching (does not kill); *p = NULL; NULL is fine. */
void proc_release(struct proc **p);
/* "exited with status 3", "killed by SIGKILL" */
void proc_status_text(char *dst, size_t cap, int status);

#endif
