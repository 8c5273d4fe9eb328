/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A child process of a sandbox, spawned or adopted: its process, its control connection, and which message is legal when.
 *
 * What a child sends is foreign: it is unpacked by core/proto, looked up in its kind's table, and anything that is not legal in
 * its phase ends the child (kid_kill). A child is gone when its process has ended, everything it said was heard and (vmm) the
 * machine's own process has ended too: then it is detached, freed, and life_machine_gone(), life_term_gone(), life_fs_gone(), review_gone() or net_gone() is called.
 */
#ifndef BULKHEAD_SUPERVISOR_KID_H
#define BULKHEAD_SUPERVISOR_KID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/base/rbuf.h"

struct after;
struct proc;
struct sandbox;
struct seq;

enum kid_kind { KID_VMM, KID_TERM, KID_FS, KID_REVIEW, KID_NET, KID_KINDS };

enum kid_phase {
	KID_FRESH,   /* runs; has not been given a START */
	KID_STARTED, /* given a START, or adopted: owes a READY */
	KID_READY,   /* is telling its state */
	KID_SYNCED,  /* has told all of it */
	KID_ENDED,   /* has told its end: owes nothing but to exit */
	KID_PHASES
};

struct kid {
	struct sandbox *sb;
	enum kid_kind kind;
	enum kid_phase phase;
	struct proc *proc;    /* NULL once it ended */
	struct proc *machine; /* vmm: QEMU's process, NULL none (any more) */
	struct seq *seq;      /* NULL once it ended */
	uint32_t gen;         /* vmm, net: of its machine; term: of the last TERM_START */
	uint32_t told_gen;    /* head of its last SYNCED */
	int status;           /* waitpid()'s, -1 unknown */
	char jail[512];       /* what it got, scrubbed; "" not told yet */
	char why[256];        /* why we killed it; "" we did not */
	struct after *patience;
	uint64_t written;     /* net: number of the last record that is in the audit log */
	struct after *tell_written;
};

/* One row a message a child of this kind may send. `fn` returns 0 or -EBADMSG (malformed or impossible: a violation). */
struct kid_row {
	uint16_t type;
	uint16_t phases; /* bits of enum kid_phase */
	bool old_gen;    /* also heard when it is of an earlier generation */
	int (*fn)(struct kid *k, struct rbuf *r);
};
struct kid_table {
	const char *name, *program;
	const struct kid_row *rows;
	size_t n;
};
extern const struct kid_table kid_vmm_table, kid_term_table, kid_fs_table, kid_review_table, kid_net_table; /* kid_vmm.c, kid_term.c, ... */

/* Into sb->vmm, sb->term, sb->fs, sb->review or sb->net (which must be NULL). The child has descriptors 3 and 4 and waits for its START. */
int kid_spawn(struct sandbox *sb, enum kid_kind kind, struct err *e);
/* -ENOENT when none of this sandbox is alive; what is alive but does not answer is killed. */
int kid_adopt(struct sandbox *sb, enum kid_kind kind, struct err *e);
/* pack may be NULL (no payload). Borrows fds. A connection that cannot take it ends the child. */
void kid_send(struct kid *k, uint16_t type, int (*pack)(struct buf *b, const void *m), const void *m, const int *fds, size_t nfds);
/* SIGKILL. why may be NULL (we want it gone) or a violation's sentence. */
void kid_kill(struct kid *k, const char *why);
/* Heard everything it will say? Then it is detached and its end is told. */
void kid_maybe_gone(struct kid *k);
/* Watch the machine's process, a child of the vmm's. */
void kid_watch_machine(struct kid *k, uint32_t pid);
/* Forget it without a word (we are leaving; it goes on). */
void kid_drop(struct kid **k);
/* Rows every kind has: READY (its jail, what version it speaks) and SYNCED. */
int kid_on_ready(struct kid *k, struct rbuf *r);
int kid_on_synced(struct kid *k, struct rbuf *r);
/* A text of at most 1099 bytes in place: a child has scrubbed what it passes on, but a child may be broken. */
void rescrub(char *s, size_t cap);
#define RESCRUB(field) rescrub((field), sizeof(field))
/* A fact of its phase for logs: "vmm of 'x'". */
const char *kid_phase_name(enum kid_phase p);

#endif
