/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cgroup (v2) for each session, so that what it started can be found and ended whatever sessions and groups of its own it made
 * (setsid, double forks). No controllers are used in them. Docker's containers are not below: dockerd keeps those.
 */
#ifndef BULKHEAD_GUEST_CGROUP_H
#define BULKHEAD_GUEST_CGROUP_H

#include <sys/types.h>

/* Where they lie; once, after /sys/fs/cgroup is mounted. */
void cgroup_init(void);
/* A new empty one: its directory's descriptor (the caller's), -1 when there are no cgroups; all below then do nothing. */
int cgroup_make(void);
/* fork() into it; a plain fork() when dirfd is -1 or the kernel refuses. */
pid_t cgroup_fork(int dirfd);
/* SIGKILL for everything in it, forks under way included. */
void cgroup_kill(int dirfd);
/* A signal to every process of every session. */
void cgroup_signal_all(int signo);
/* Removes those that are empty; called when a session has ended. */
void cgroup_sweep(void);

#endif
