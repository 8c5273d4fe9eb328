/* SPDX-License-Identifier: Apache-2.0 */
/* From a struct sess_open to a running process. */
#ifndef BULKHEAD_GUEST_SPAWN_H
#define BULKHEAD_GUEST_SPAWN_H

#include <sys/types.h>

#include "core/base/err.h"
#include "core/proto/agent.h"

struct spawned {
	pid_t pid;
	int tty;         /* the pty's master, or -1 */
	int cgroup;      /* directory of its cgroup (cgroup.h), or -1 */
	int in, out, err; /* our ends of the pipes, or -1 */
	int report;      /* ends when the program runs, tells when it does not: spawn_result() */
};

#define SPAWNED_NONE ((struct spawned){ .pid = -1, .tty = -1, .cgroup = -1, .in = -1, .out = -1, .err = -1, .report = -1 })

/* In a child, before exec: the limits of descriptors that every process of a sandbox begins with (ours are far higher). */
void spawn_limits(void);
/*
 * 0 and open descriptors (non-blocking, the caller's), or -errno with a sentence. `workspace` is where it starts when m->cwd is "" and it exists.
 * Never waits: its directory may lie on a file system that this very process serves (workspace.h).
 */
int spawn(struct spawned *s, const struct sess_open *m, const char *workspace, struct err *e);
/* s->report is readable: 0 it runs; -EAGAIN not known yet; else -errno with a sentence, and its process ends by itself. */
int spawn_result(const struct spawned *s, struct err *e);

#endif
