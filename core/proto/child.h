/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Supervisor <-> its children, one packed struct a SOCK_SEQPACKET datagram:
 *
 *   u16 type | u16 zero | u32 generation | payload        little endian, at most CHILD_MSG_MAX bytes
 *
 * How a child lives: it is started with descriptor 3 = a connected SEQPACKET socket to the supervisor (its control
 * connection) and descriptor 4 = a listening SEQPACKET Unix socket on which a later supervisor finds it again. Its first
 * message is *_START with every descriptor it will ever need; it then jails itself (core/jail) and sends *_READY
 * with what it got. When the control connection ends the child goes on; it accepts the next connection on descriptor 4 (peer
 * uid checked; a new connection replaces the old) and first sends *_READY and then its full present state, message by
 * message, as if each thing had just happened, closed by *_SYNCED. So adoption and normal running are one code path in the supervisor.
 * VMM messages are numbered from 100, TERM's from 200 (net.h has NET's from 300, fs.h FS's from 400, changes.h REVIEW's from 500), never renumbered. A message with an unknown
 * type, an illegal state or of an old generation is refused: from a child, it is killed; from the supervisor (old generation only), ignored.
 *
 * Children's strings are guest-derived where they say so and already scrubbed by the child; the supervisor scrubs again before JSON.
 */
#ifndef BULKHEAD_PROTO_CHILD_H
#define BULKHEAD_PROTO_CHILD_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/rbuf.h"
#include "core/proto/agent.h"

#define CHILD_FD_CONTROL 3
#define CHILD_FD_LISTEN 4
#define CHILD_MSG_HEAD 8u
#define CHILD_MSG_MAX 65536u
#define CHILD_VERSION 2u

/* ---- dial sockets: SOCK_SEQPACKET between the machine (vmm) and one service (term, later net, fs) -------------------- */
/*
 * u32 enum dial_type | u32 generation | u32 port | u32 token           16 bytes, little endian
 * Service -> vmm: DIAL_OPEN {gen, guest port, token of its own}. vmm -> service: DIAL_OK {same token} + one end of a
 * SOCK_STREAM socketpair (SCM_RIGHTS), and for AGENT_PORT_FS, whose token is the workspace's number, that workspace's lane and the machine's memory (core/proto/fs.h) if the
 * machine has one; or DIAL_REFUSED {same token} (no such listener, limit, guest not there). vmm -> service
 * for a connection the guest made to a port this service owns: DIAL_IN {gen, port, 0} + one end.
 */
enum dial_type { DIAL_OPEN = 1, DIAL_OK = 2, DIAL_REFUSED = 3, DIAL_IN = 4 };
struct dial_msg { uint32_t type, gen, port, token; };
#define DIAL_MSG_SIZE 16u
void dial_pack(uint8_t out[DIAL_MSG_SIZE], const struct dial_msg *m);
int dial_unpack(const uint8_t *p, size_t n, struct dial_msg *m);

/* ---- message head ------------------------------------------------------------------------------------------------------ */
struct child_head { uint16_t type; uint32_t gen; };
/* Starts a datagram in an empty buffer / reads its head and leaves r at the payload. */
int child_head_pack(struct buf *b, uint16_t type, uint32_t gen);
int child_head_unpack(struct rbuf *r, struct child_head *h);

enum child_type {
	/* supervisor -> vmm */
	VMM_START = 100,      /* struct vmm_start + descriptors in the order of enum vmm_fd */
	VMM_PAUSE = 101,      /* nothing; answered by VMM_STATE */
	VMM_RESUME = 102,
	VMM_QUIT = 103,       /* end the machine at once and exit */
	VMM_STATS_ASK = 104,
	VMM_DIAL = 105,       /* u32 enum vmm_fd (VMM_FD_DIAL_TERM, _NET, _FS or _REVIEW) + one descriptor: that service died and a new process serves it
	                       * from now on; the old dial socket is closed, its streams end by themselves */
	VMM_BALLOON = 106,    /* u64 bytes the guest is to give up (all together; 0: it may have all of it again). Without a balloon: nothing happens */
	VMM_BUTTON = 107,     /* nothing: presses the machine's power button, if it has one */
	VMM_SNAPSHOT = 108,   /* u32 token + two descriptors, read-write files: the machine's state and its memory are written to them. Only while PAUSED;
	                       * answered by VMM_SNAPPED with that token. Nothing else is answered meanwhile. */
	/* vmm -> supervisor */
	VMM_READY = 120,      /* struct child_ready */
	VMM_STATE = 121,      /* struct vmm_state, on every change */
	VMM_STATS = 122,      /* struct vmm_stats */
	VMM_SYNCED = 123,     /* end of the state told after READY */
	VMM_SNAPPED = 124,    /* struct vmm_snapped */
	VMM_REFUSED = 125,    /* struct vmm_refused: the machine did not do what was last asked of it */

	/* supervisor -> term */
	TERM_START = 200,     /* struct term_start + descriptors enum term_fd; again, with a new generation and dial socket, at every machine start */
	TERM_OPEN = 201,      /* struct term_open (+ the client's stream for an exec) */
	TERM_ATTACH = 202,    /* struct term_attach + viewer stream (protocol: rows.h) */
	TERM_CLOSE = 203,     /* u32 session, u32 flags: 0 hang up (SIGHUP), 1 also forget it and its screen */
	TERM_SHUTDOWN = 204,  /* u32 deadline ms: ask the guest to power off */
	TERM_STATS_EVERY = 205, /* u32 interval ms, u32 enum agent_what */
	TERM_TIME = 206,      /* nothing: the machine was resumed, give the guest the time */
	TERM_MACHINE_GONE = 207, /* nothing: the machine of this generation has ended: sessions end, screens stay */
	TERM_QUIT = 208,
	TERM_TRUST = 209,     /* nothing + one descriptor: sealed memfd of at most AGENT_TRUST_MAX bytes (PEM); kept, given to the guest before every
	                       * hello (so: right behind TERM_START) and at once when one is there already */
	/* term -> supervisor */
	TERM_READY = 220,     /* struct child_ready */
	TERM_GUEST = 221,     /* struct term_guest: the agent answered, or why not */
	TERM_DOCKER = 222,    /* struct agent_docker (scrubbed) */
	TERM_STATS = 223,     /* struct agent_stats */
	TERM_TOP = 224,       /* struct agent_top (scrubbed) */
	TERM_CONTAINERS = 225,/* struct agent_containers (scrubbed) */
	TERM_SESSION = 226,   /* struct term_session, on every change (at most 4 a second a session, the last always) */
	TERM_ATTENTION = 227, /* struct term_attention */
	TERM_GOING_DOWN = 228,/* nothing: the guest is shutting down */
	TERM_SYNCED = 229,
	TERM_WORKSPACE = 230, /* struct workspace_told (fs.h, scrubbed): what the guest says of a mount */
};

/* What a sealed child got; printed by `doctor`, warned about when something is missing. */
struct child_ready {
	uint16_t version;   /* CHILD_VERSION */
	uint32_t pid;
	char jail[512];     /* "no_new_privs seccomp(43) landlock(3) rlimits", missing parts as "-landlock(kernel 5.10)" */
};
/*
 * All below: pack 0 or the buffer is failed; unpack 0 or -EBADMSG, and the struct must end the datagram (rbuf_done() is part of it, so
 * no caller can forget it). The AGENT structs that travel here (agent.h) do not: check rbuf_done() after those.
 */
int child_ready_pack(struct buf *b, const struct child_ready *m);
int child_ready_unpack(struct rbuf *r, struct child_ready *m);

/* ---- vmm ------------------------------------------------------------------------------------------------------------------- */
enum vmm_backend { BACKEND_AUTO, BACKEND_QEMU, BACKEND_KVM };
enum vmm_fd {
	VMM_FD_KERNEL, VMM_FD_INITRD, VMM_FD_BASE, /* read-only */
	VMM_FD_DISK,                               /* read-write, raw */
	VMM_FD_CONSOLE,                            /* append-only log of the guest's console (the vmm caps it: 8 MiB, then it starts over with a line saying so) */
	VMM_FD_HYBRID,                             /* listening SOCK_STREAM Unix socket: hybrid-vsock form for tools */
	VMM_FD_LOG,                                /* its own log */
	VMM_FD_DIAL_TERM,                          /* dial socket of bulkhead-term: guest ports 1 and 2 host-initiated, no guest-initiated port */
	VMM_FD_DIAL_NET,                           /* dial socket of bulkhead-net: guest port 3 (NETCONN_PORT_FORWARD) host-initiated, host port 16
	                                            * (NETCONN_PORT) guest-initiated, as DIAL_IN */
	VMM_FD_KVM,                                /* '/dev/kvm' for the kvm backend, which opens nothing by its path; else '/dev/null' */
	VMM_FD_NUM,
	VMM_FD_DIAL_FS = VMM_FD_NUM,               /* dial socket of bulkhead-fs: guest port 4 (AGENT_PORT_FS); comes in a VMM_DIAL, never in VMM_START */
	VMM_FD_DIAL_REVIEW,                        /* dial socket of bulkhead-review: guest port 5 (AGENT_PORT_CHANGES); in the same way */
	VMM_FD_STATE = VMM_FD_NUM, VMM_FD_MEMORY,  /* read-only, of a snapshot: at the end of a VMM_START that says `restore`; both files stay as they are */
	VMM_FD_RESTORE_NUM
};
enum vmm_pages {
	VMM_PAGES_SMALL, VMM_PAGES_HINT /* huge where the host likes to */, VMM_PAGES_POOL /* huge, of the host's reserved ones, or no machine */, VMM_PAGES_NUM
};
struct vmm_start {
	uint32_t backend;    /* enum vmm_backend, already chosen: never AUTO */
	uint32_t vcpus;      /* 1..16 */
	uint32_t memory_mib; /* 256.. */
	uint8_t kvm_usable;  /* what `bulkhead-vmm --probe` found on this host: the qemu backend then uses it too */
	uint8_t pages;       /* enum vmm_pages: what a kvm machine's memory is made of */
	uint8_t restore;     /* 1: it goes on from a snapshot, whose two files come too */
	uint8_t lanes;       /* how many workspaces are served: at most WORKSPACES_MAX lanes (core/proto/fs.h) are made, where the channel is not fast by itself */
	char name[64];       /* the sandbox's, for process titles and logs */
	char cmdline[1024];  /* appended to the backend's own kernel command line */
};
int vmm_start_pack(struct buf *b, const struct vmm_start *m);
int vmm_start_unpack(struct rbuf *r, struct vmm_start *m);

enum vmm_run { VMM_BOOTING, VMM_RUNNING /* channel is up */, VMM_PAUSED, VMM_ENDED, VMM_RUN_NUM };
enum vmm_end { VMM_END_NONE, VMM_END_POWEROFF, VMM_END_REBOOT, VMM_END_PANIC, VMM_END_QUIT, VMM_END_CRASH /* the monitor died */, VMM_END_CHANNEL /* guest broke the channel's protocol */, VMM_END_START /* could not be started */, VMM_END_NUM };
struct vmm_state {
	uint8_t run;      /* enum vmm_run */
	uint8_t end;      /* enum vmm_end, when ENDED; the vmm exits after sending it */
	uint32_t machine_pid; /* QEMU's, 0 for the kvm backend */
	char why[512];    /* sentence, when ENDED, or when PAUSED without being asked */
};
int vmm_state_pack(struct buf *b, const struct vmm_state *m);
int vmm_state_unpack(struct rbuf *r, struct vmm_state *m);

struct vmm_snapped {
	uint32_t token;
	uint32_t code;       /* 0: both files hold it; else errno */
	char why[256];       /* then a sentence */
};
int vmm_snapped_pack(struct buf *b, const struct vmm_snapped *m);
int vmm_snapped_unpack(struct rbuf *r, struct vmm_snapped *m);
struct vmm_refused { char why[256]; /* sentence */ };
int vmm_refused_pack(struct buf *b, const struct vmm_refused *m);
int vmm_refused_unpack(struct rbuf *r, struct vmm_refused *m);

enum vmm_exit { VMM_EXIT_PORT, VMM_EXIT_MMIO, VMM_EXIT_SIGNAL, VMM_EXIT_HALT, VMM_EXIT_OTHER, VMM_EXIT_NUM };
enum vmm_device { VMM_DEVICE_BASE, VMM_DEVICE_DISK, VMM_DEVICE_RNG, VMM_DEVICE_VSOCK, VMM_DEVICE_BALLOON, VMM_DEVICE_CONSOLE, VMM_DEVICE_NUM };
struct vmm_stats {
	uint64_t cpu_ns, rss;               /* of vmm and QEMU together, on the host */
	uint64_t channel_in, channel_out;   /* bytes, guest -> host and host -> guest */
	uint32_t streams;
	uint32_t detail;                    /* 1: what follows is there (our own machine, not QEMU); else all of it is zero */
	uint64_t exits[VMM_EXIT_NUM];       /* of the guest, by kind */
	uint64_t requests[VMM_DEVICE_NUM], interrupts[VMM_DEVICE_NUM];
	uint64_t disk_read, disk_written;   /* bytes, of both disks */
	uint64_t disk_flushes, disk_failed; /* requests */
	uint64_t memory;                    /* the guest's, bytes, as are all below */
	uint64_t balloon_target, balloon_actual /* the guest's word */;
	uint64_t given, reported, hinted;   /* back to the host so far: by the balloon, by free page reports; hinted are marked only */
	uint64_t guest_free, guest_available; /* the guest's word, as of the last time it was asked */
};
int vmm_stats_pack(struct buf *b, const struct vmm_stats *m);
int vmm_stats_unpack(struct rbuf *r, struct vmm_stats *m);

/* ---- term ------------------------------------------------------------------------------------------------------------------ */
enum term_fd { TERM_FD_DIAL, TERM_FD_RECDIR /* directory for recordings */, TERM_FD_LOG, TERM_FD_NUM };
struct term_start {
	uint32_t scrollback;      /* lines a terminal, 0..1000000 */
	uint64_t record_cap;      /* bytes of recordings a session: current file and one rotated; 0 = no recording */
	uint32_t flags;           /* TERM_START_* */
	uint32_t idle_ms;         /* output quiet for so long with a prompt visible = waits */
	char hostname[64];
	char workspace[1024];
	struct workspaces ws;     /* for the guest's hello */
	char waits_pattern[256];  /* POSIX extended regular expression on the cursor's line: the kit's prompt; "" none */
};
int term_start_pack(struct buf *b, const struct term_start *m);
int term_start_unpack(struct rbuf *r, struct term_start *m);

enum term_kind { TERM_KIND_PTY, TERM_KIND_EXEC, TERM_KIND_NUM };
struct term_open {
	uint32_t session;        /* given by the supervisor, unique in the sandbox for ever */
	uint8_t kind;            /* EXEC: a client stream comes along, speaking the SESS_* frames from SESS_STARTED on */
	char label[64];          /* "claude", "bash": shown in lists */
	struct sess_open open;   /* owned by the message; released by term_open_release() */
};
int term_open_pack(struct buf *b, const struct term_open *m);
int term_open_unpack(struct rbuf *r, struct term_open *m);
void term_open_release(struct term_open *m);

struct term_attach { uint32_t session; uint8_t readonly; };
int term_attach_pack(struct buf *b, const struct term_attach *m);
int term_attach_unpack(struct rbuf *r, struct term_attach *m);

enum guest_state { GUEST_ABSENT, GUEST_READY, GUEST_REFUSED /* wrong version or generation, or it broke the protocol */, GUEST_LOST /* control stream ended */,
		   GUEST_SILENT /* it did not answer in time; as soon as it does it is ready again */, GUEST_NUM };
struct term_guest {
	uint8_t state;
	uint64_t up_ns;
	char kernel[128], agent[64]; /* scrubbed */
	char why[256];
};
int term_guest_pack(struct buf *b, const struct term_guest *m);
int term_guest_unpack(struct rbuf *r, struct term_guest *m);

enum session_state { SESSION_OPENING, SESSION_BUSY, SESSION_IDLE, SESSION_WAITS, SESSION_EXITED, SESSION_FAILED, SESSION_NUM };
struct term_session {
	uint32_t session;
	uint8_t kind, state;
	uint16_t rows, cols;
	uint16_t viewers;
	uint32_t pid;            /* in the guest */
	uint32_t code, signo;    /* when EXITED; of one that FAILED the status it stands for */
	uint64_t bytes_out;      /* output so far */
	uint64_t last_output_ms; /* wall clock, 0 never */
	char label[64];
	char title[256];         /* scrubbed; for FAILED the sentence */
};
int term_session_pack(struct buf *b, const struct term_session *m);
int term_session_unpack(struct rbuf *r, struct term_session *m);

enum attention_kind { ATTENTION_BELL, ATTENTION_NOTIFY /* OSC 9, 99, 777 */, ATTENTION_WAITS, ATTENTION_NUM };
struct term_attention { uint32_t session; uint8_t kind; char text[256]; };
int term_attention_pack(struct buf *b, const struct term_attention *m);
int term_attention_unpack(struct rbuf *r, struct term_attention *m);

#endif
