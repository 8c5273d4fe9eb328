/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One sandbox in memory. sandbox.c holds the struct and the only function that changes its state; life.c what a person can
 * ask of it; machine.c what starts and ends its processes; session.c its terminals.
 *
 * Events change state and run actions; actions (kill, send) never change state by themselves: a machine is gone when its process
 * is gone (life_machine_gone()), not when it was told to go.
 */
#ifndef BULKHEAD_SUPERVISOR_SANDBOX_H
#define BULKHEAD_SUPERVISOR_SANDBOX_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/base/log.h"
#include "core/proto/agent.h"
#include "core/proto/changes.h"
#include "core/proto/child.h"
#include "core/proto/net.h"
#include "core/supervisor/spec.h"
#include "core/supervisor/state.h"

#define SESSIONS_LIVE_MAX 64u  /* of one sandbox, opening or running */
#define SESSIONS_ENDED_MAX 32u /* kept to be looked at; the oldest is forgotten */
#define CONSOLE_TAIL_LINES 20u
#define CONSOLE_MARK "[bulkhead: machine " /* begins the line we write to the console's log at every start */

struct after;
struct call;
struct client;
struct given;
struct review_call;
struct snap;
struct kid;
struct super;

struct session {
	struct session *next; /* by id, ascending */
	struct term_session t;
	bool told;            /* the term knows it: it was in a TERM_SESSION */
};

/* When children of a kind that were replaced began to die, and how many did in that minute. */
struct deaths { uint64_t since_ns; uint32_t n; };

struct sandbox {
	struct sandbox *next;
	struct super *su;
	struct spec spec;      /* what is (or will be at the next save) on disk */
	int dirfd;
	enum sandbox_state state; /* only sandbox_set_state() writes it */
	bool damaged;          /* sandbox.json cannot be read: only remove is possible, and the file is not overwritten */
	bool removing;         /* being removed: freed when both children are gone */
	struct client *lease;  /* it is removed when this client goes; NULL nobody's */
	bool autoremove;       /* reached STOPPED with remove_on_stop, or its lease is over: removed at the end of this turn */
	bool dirty;            /* a `sandbox` event is due at the end of this turn */
	bool adopting;         /* counted in su->adopting */
	unsigned boots;        /* emulated ones of this start that panicked */
	bool going_down;       /* the guest said so in this generation */
	bool forced;           /* the stop's deadline passed and it was killed */

	struct kid *vmm, *term, *fs, *review, *net; /* NULL when there is no process */
	uint32_t ticket;        /* of the worker that prepares a start; a stale one is thrown away */
	struct call *start_call; /* held while PREPARING; NULL none */
	struct call *remove_call;
	struct after *deadline; /* boot or stop */
	enum sandbox_state wish; /* PAUSED or RUNNING: the machine was asked for it and has not said so yet; SB_NEW nothing */
	struct after *wish_late;
	char refused[320];      /* why the last wish did not come true; until the next, or another state */

	struct vmm_state machine; /* last told; run = VMM_ENDED when there is none */
	struct term_guest guest;
	struct agent_docker docker;
	bool term_sent;         /* TERM_START of this generation was sent */

	struct session *sessions;
	struct agent_stats stats, stats_before;
	struct vmm_stats vmm_stats, vmm_stats_before;
	uint64_t stats_at_ns, stats_before_at_ns; /* monotonic; 0 none */
	uint64_t vmm_at_ns, vmm_before_at_ns;
	uint64_t stats_wall_ns;
	bool stats_due;         /* the guest's sample came, the machine's is asked for */
	uint32_t watch_ms, watch_what; /* last asked of the guest; 0 nothing */
	json_t *console_tail;   /* owned; when FAILED */
	int dial;               /* the term's end of the dial socket until TERM_START carries it; -1 none */
	struct workspace_told workspace[WORKSPACES_MAX]; /* as last told; of this machine */
	json_t *fs_notes[WORKSPACES_MAX][FS_NOTE_KINDS]; /* owned arrays of paths; NULL none */
	struct fs_stats fs_stats;
	struct review_counts changes[WORKSPACES_MAX]; /* as last told; of this machine */
	struct review_call *review_calls; /* review.c: questions to bulkhead-review that wait */
	int review_alone;                 /* our end of the socket of one without a machine, -1 none: closed, it leaves */
	bool prepare_waits;               /* PREPARING begins when that one has left */
	uint64_t review_told_ns;          /* when the last `changes` event went out */
	struct after *review_later;
	struct deaths term_deaths, fs_deaths, review_deaths, net_deaths;
	char gone[400];         /* how the machine ended, while its bulkhead-fs, -review or -net has not; "" */
	char doom[320];         /* why we ended the machine ourselves: it fails with this; "" */
	uint32_t next_session;  /* below spec.session_floor */
	uint64_t leaf_ns;       /* when a leaf certificate was last paid for, and what is left to pay with */
	uint32_t leaf_tokens;
	struct log_limit leaf_log;
	uint64_t attention_ns;  /* of the last one passed on */
	uint64_t alarm_ns;      /* the same of an alarm; how many came since */
	uint32_t alarms;

	struct snap *snap;      /* snapshot.c: one that is being made; NULL none */
	bool snap_resume;       /* a supervisor before us paused it for one and did not live to let it go on */
	bool restoring;         /* its next machine, or this one that does not run yet, goes on from the snapshot */
	uint64_t snap_ns, snap_bytes; /* the snapshot it has: when it was made (wall clock, 0 none), what it occupies */

	struct given *given;    /* net.c: the credentials it holds */
	struct net_stats net_stats;
};

/* A new one in state NEW, in the list; takes the spec's contents and dirfd. NULL when out of memory (nothing taken). */
struct sandbox *sandbox_create_take(struct super *su, struct spec *spec, int dirfd);
/* Unlinks and frees; children must be gone or given up (kid_drop). */
void sandbox_destroy(struct sandbox *sb);
struct sandbox *sandbox_find(struct super *su, const char *name);
/*
 * The only place where the state changes. An illegal edge is refused, logged, and false is returned. On a legal one the state is
 * persisted, told and waited-for calls are looked at. `reason` (NULL keeps none) becomes spec.reason.
 */
bool sandbox_set_state(struct sandbox *sb, enum sandbox_state to, const char *reason);
/* Persist; a failure is logged and returned. */
int sandbox_save(struct sandbox *sb, struct err *e);
/* Have a `sandbox` event sent at the end of this turn. */
void sandbox_touch(struct sandbox *sb);
/* As lists and events tell it: a few KiB, whatever the guest and the person wrote. */
json_t *sandbox_json(struct sandbox *sb);
/* With its environment and every line and path there is: for the answer about this one. */
json_t *sandbox_json_whole(struct sandbox *sb);
json_t *sandbox_net_json(const struct sandbox *sb); /* what its bulkhead-net counted: docs/protocol.md, `net` */
json_t *sandbox_stats_json(const struct sandbox *sb);
bool sandbox_waits(const struct sandbox *sb);
/* The last lines of the console's log, scrubbed. */
json_t *sandbox_console(const struct sandbox *sb, size_t lines);
/* The same of the last machine only, for FAILED. */
json_t *sandbox_console_tail(const struct sandbox *sb);

/* life.c: each checks, begins, and answers 0, or -errno with a sentence: -EBUSY wrong moment, -EPERM not in this state, -EDQUOT a
 * limit. `call` (start) is held and answered later; on failure it is the caller's still. */
int life_start(struct sandbox *sb, struct call *call, struct err *e);
int life_stop(struct sandbox *sb, uint64_t deadline_ms, struct err *e);
int life_kill(struct sandbox *sb, struct err *e);
int life_wrong_state(const struct sandbox *sb, const char *what, struct err *e);
/* pause.c */
int life_pause(struct sandbox *sb, struct err *e);
int life_resume(struct sandbox *sb, struct err *e);
/* The machine did not do what was asked of it. */
void life_refused(struct sandbox *sb, const char *why);
/* The guest of a running kvm machine is asked to give up so much of its memory, at most three quarters; 0: it may have all of it again. */
int life_balloon(struct sandbox *sb, uint64_t bytes, struct err *e);
int life_reset(struct sandbox *sb, struct err *e);
/* -EBUSY or -EPERM when nothing can be asked of it now. */
int life_usable(const struct sandbox *sb, struct err *e);
/* A start: PREPARING, and the worker, once a bulkhead-review without a machine has left. Who waits for it is in start_call. */
void life_prepare(struct sandbox *sb);
int life_remove(struct sandbox *sb, struct call *call, struct err *e);
/* The vmm's process is gone: what that means in this state. `how` says how it ended when it did not say itself. */
void life_machine_gone(struct sandbox *sb, const char *how);
void life_term_gone(struct sandbox *sb, const char *how);
void life_fs_gone(struct sandbox *sb, const char *how);
/* A bulkhead-review without a machine has left: true when a start waited for that. */
bool life_review_left(struct sandbox *sb);
/* A child that lives as long as a machine is gone: true when that completed something else (the machine's end, a removal, an adoption). */
bool life_child_gone(struct sandbox *sb);
/* Replaces a child that died under a machine that runs; too many in a minute end the machine. `lost`: what is, in words. */
void life_replace(struct sandbox *sb, struct deaths *d, const char *how, const char *lost, int (*replace)(struct sandbox *sb, struct err *e));
/* The machine or the guest told something new: move on if that completes a state. */
void life_progress(struct sandbox *sb);
/* Its machine was adopted; `recorded` is the state on disk. */
void life_adopted(struct sandbox *sb, enum sandbox_state recorded);
/* adopt.c: a child of a sandbox that is being adopted has told everything, or is gone. `why` says how the machine ended. */
void adopt_progress(struct sandbox *sb, const char *why);
/* Finish a reset whose machine is gone. */
void life_finish_reset(struct sandbox *sb);
/* The disk's and the children's part of a removal, when nothing runs any more. */
void life_finish_remove(struct sandbox *sb);
/* Worker done: the image and the disk are open; all descriptors are taken. */
struct prepared;
void life_prepared(struct sandbox *sb, struct prepared *p);

/* machine.c */
struct prepared {
	int kernel, initrd, base, disk, state, memory; /* -1 none; the last two of a snapshot to go on from */
	char image[IMAGE_ID_MAX];       /* its id */
	int code;                       /* 0, or positive errno with msg */
	char msg[512];
};
void machine_prepare(struct sandbox *sb);                                   /* starts the worker for sb->ticket */
/* What a machine of this sandbox runs in on this host. */
enum vmm_backend machine_backend(const struct sandbox *sb);
int machine_start_take(struct sandbox *sb, struct prepared *p, struct err *e); /* closes all of p's descriptors in any case */
/* The channel is up: TERM_START of this generation, once. */
void machine_start_term(struct sandbox *sb);
/* A fresh term for a machine that runs on, or a fresh dial socket for a term that has none of this generation. */
int machine_replace_term(struct sandbox *sb, struct err *e);
/* workspace.c: a bulkhead-fs for the machine that was just started, or in place of one that died. Nothing without workspaces. */
int machine_start_fs(struct sandbox *sb, struct err *e);
/* What the file system says of those that are to be made: -EINVAL with a sentence. */
int workspace_check(const struct spec *s, struct err *e);
/* The sandbox's, with what the guest has to know of them now. */
void workspace_hello(const struct sandbox *sb, struct workspaces *ws);
void workspace_forget(struct sandbox *sb);
void workspace_note(struct sandbox *sb, const struct fs_note *n);
/* `whole`: every path it came upon, else the first few of each kind. */
json_t *workspace_json(const struct sandbox *sb, bool whole);
/* The patterns of names the guest does not see: the default ones, if they are wanted, and the sandbox's own. */
int workspace_hidden(const struct sandbox *sb, char dst[FS_HIDE_MAX], struct err *e);
json_t *workspace_stats_json(const struct sandbox *sb);
/* A fresh dial socket of a running machine for a service; our end, or -errno. */
int machine_redial(struct sandbox *sb, enum vmm_fd which, struct err *e);
/* Ends the machine; it is gone when life_machine_gone() says so. `doom` (may be NULL): the sentence with which it then fails. */
void machine_end(struct sandbox *sb, const char *doom);
void prepared_release(struct prepared *p);

/* session.c */
struct session *session_find(struct sandbox *sb, uint32_t id);
bool session_live(const struct session *s);
/* Sends TERM_OPEN; takes `stream` (the term's end, -1 for a pty) in any case. */
struct session *session_open_take(struct sandbox *sb, struct term_open *m, int stream, struct err *e);
/* The kit's main terminal. */
struct session *session_open_main(struct sandbox *sb, uint16_t rows, uint16_t cols, struct err *e);
/* "K=V" of the credentials' placeholders, of the sandbox and of `env` (may be NULL), the later winning, as sess_open owns them. */
int session_env(struct sandbox *sb, const json_t *env, struct sess_open *o, struct err *e);
void session_told(struct sandbox *sb, const struct term_session *t);
void session_forget(struct sandbox *sb, uint32_t id);
/* Every live session has failed with this sentence; without a term nothing is left of their screens. */
void session_fail_all(struct sandbox *sb, const char *why);
json_t *session_json(const struct session *s);

#endif
