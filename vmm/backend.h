/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a machine is to the rest of bulkhead-vmm. Nothing outside of a backend's own file knows which one runs.
 *
 * create() makes the machine from open descriptors and returns at once; everything later comes by callback on the loop. After
 * create() nothing more is opened or executed: the process seals itself. destroy() kills the machine at once and forgets it.
 */
#ifndef BULKHEAD_VMM_BACKEND_H
#define BULKHEAD_VMM_BACKEND_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <uv.h>

#include "core/base/err.h"
#include "core/jail/jail.h"
#include "core/proto/child.h"
#include "vmm/channel.h"

struct machine; /* a backend's own */

struct machine_ops {
	void (*on_paused)(void *arg, const char *why); /* why: a sentence when it paused by itself and waits for resume(), else NULL */
	void (*on_resumed)(void *arg);
	void (*on_refused)(void *arg, const char *why); /* what was asked of it was not done; NULL: nobody wants to know */
	void (*on_ended)(void *arg, enum vmm_end end, const char *why); /* once; destroy() is still to be called */
};

/* The sentence of a machine whose disk the host does not let it write. */
static inline void backend_disk_refused(char *dst, size_t cap, const char *reason)
{
	snprintf(dst, cap, "its disk cannot be written (%.180s); mend that, then resume it", *reason ? reason : "unknown error");
}

struct machine_config {
	struct vmm_start start;
	int kernel, initrd, base, disk; /* borrowed until create() returns; so is */
	int kvm;                        /* '/dev/kvm' for the kvm backend */
	int console;                    /* taken: the machine's end of the serial line, a stream socket */
	uint32_t gen;
	const struct channel_events *channel_events; /* of the channel that create() makes */
	int restore_state, restore_memory; /* of a snapshot to go on from, borrowed; -1: boot */
	bool unsealed;                  /* threads do not seal themselves (tests by hand) */
};

struct backend {
	const char *name;
	const struct jail_profile *profile; /* of the main thread, once everything runs */
	/* 0 or -errno with a sentence. Takes the console in any case. The channel is the caller's, to be closed before destroy(). */
	int (*create)(struct machine **out, struct channel **chan, uv_loop_t *loop, struct machine_config *c, const struct machine_ops *ops, void *arg,
		      struct err *e);
	/* After jail_fs(), before the main thread is sealed: starts threads, each of which seals itself. May be NULL. */
	int (*run)(struct machine *m, struct err *e);
	int (*pause)(struct machine *m);
	int (*resume)(struct machine *m);
	void (*balloon)(struct machine *m, uint64_t bytes); /* the guest is to give up so much memory; NULL: it cannot */
	void (*button)(struct machine *m); /* presses the power button: a guest that listens powers off in order; NULL: there is none */
	/* While paused: the machine's state and memory into two files. 0 or -errno with a sentence. NULL: it cannot. */
	int (*snapshot)(struct machine *m, int state, int memory, struct err *e);
	uint32_t (*pid)(const struct machine *m);                        /* of a process of its own, 0 none */
	void (*usage)(const struct machine *m, uint64_t *cpu_ns, uint64_t *rss); /* beyond this process's own */
	void (*stats)(struct machine *m, struct vmm_stats *s);           /* fills what stands behind `detail`; NULL: nothing */
	void (*destroy)(struct machine **m);
};

extern const struct backend backend_qemu;
extern const struct backend backend_kvm;

#endif
