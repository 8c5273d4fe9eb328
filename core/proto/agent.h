/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host <-> guest agent, over channel streams cut in frames (frame.h).
 *
 *   guest port 1  AGENT_PORT_CONTROL  one stream: hello, time, statistics, dockerd's health, shutdown
 *   guest port 2  AGENT_PORT_SESSION  one stream a process (pty or pipes)
 *   guest port 4  AGENT_PORT_FS       one stream a workspace (fs.h); the host's end is bulkhead-fs
 *   guest port 5  AGENT_PORT_CHANGES  what lies in the upper layers (changes.h); the host's end is bulkhead-review
 *
 * The host's end of the first two is bulkhead-term; everything unpacked here on the host is hostile and bounded: a
 * string over its field, a count over its maximum, trailing bytes make the unpack fail with -EBADMSG and the
 * stream is closed. Strings are NOT scrubbed by unpack; who shows or forwards them scrubs.
 *
 * The session frames are also what `bulkhead exec` speaks over the descriptor it gets from the supervisor;
 * bulkhead-term checks and relays them.
 */
#ifndef BULKHEAD_PROTO_AGENT_H
#define BULKHEAD_PROTO_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/rbuf.h"
#include "core/proto/frame.h"
#include "core/proto/fs.h"

#define AGENT_PORT_CONTROL 1u
#define AGENT_PORT_SESSION 2u
#define AGENT_VERSION 1u
#define AGENT_PAYLOAD_MAX 65536u

enum agent_type {
	/* control stream */
	AGENT_HELLO_HOST = 1,   /* host first: struct agent_hello_host */
	AGENT_HELLO_GUEST = 2,  /* answer: struct agent_hello_guest */
	AGENT_TIME = 3,         /* host: u64 wall clock ns (after a pause) */
	AGENT_STATS_EVERY = 4,  /* host: u32 interval ms (0 off, else 250..60000), u32 enum agent_what */
	AGENT_STATS = 5,        /* guest: struct agent_stats */
	AGENT_TOP = 6,          /* guest: struct agent_top */
	AGENT_CONTAINERS = 7,   /* guest: struct agent_containers */
	AGENT_DOCKER = 8,       /* guest: struct agent_docker, on every change */
	AGENT_SHUTDOWN = 9,     /* host: u32 deadline ms: SIGTERM all, stop dockerd, sync, power off */
	AGENT_GOING_DOWN = 10,  /* guest: nothing: shutdown has begun (asked for or `poweroff` inside) */
	AGENT_LOG = 11,         /* guest: u8 enum log_level, str16 text (<= 1024) */
	AGENT_WORKSPACE = 12,   /* guest: struct workspace_told (fs.h), on every change */
	AGENT_FS_OPEN = 13,     /* host, first and only frame of a stream to AGENT_PORT_FS: u32 index of the workspace, then nothing or the sign of its lane (core/proto/fs.h) */
	AGENT_TRUST = 14,       /* host, also before its hello: struct agent_trust, a piece of the roots the sandbox is to trust */
	/* session stream */
	SESS_OPEN = 32,         /* host first: struct sess_open */
	SESS_STARTED = 33,      /* guest: u32 pid */
	SESS_FAILED = 34,       /* guest: u32 errno, str16 sentence (<= 512); the stream ends */
	SESS_STDIN = 35,        /* host: bytes, within the credit; for a pty: input */
	SESS_STDIN_EOF = 36,    /* host: end of input (ignored for a pty) */
	SESS_STDIN_CREDIT = 37, /* guest: u32 more bytes of stdin it can hold; the first is SESS_STDIN_WINDOW unsaid */
	SESS_RESIZE = 38,       /* host: u16 rows, u16 cols, each clamped to 1..1000 by the receiver */
	SESS_SIGNAL = 39,       /* host: u32 signal number (1..31), to the foreground process group (pty) or the child's group */
	SESS_STDOUT = 40,       /* guest: bytes; a pty's output too */
	SESS_STDERR = 41,       /* guest: bytes */
	SESS_EXIT = 42,         /* guest: u32 exit code, u32 signal (0 if exited); after all output; the stream ends */
};

/*
 * The certificates (PEM, one behind another) that the guest makes its own store: the host's own roots and the CA of what it opens. In pieces,
 * in order; offset 0 begins anew, the last byte of `total` makes it count. What comes before the host's hello is in place before the guest answers.
 */
#define AGENT_TRUST_MAX (2u << 20)
#define AGENT_TRUST_PIECE 32768u
struct agent_trust {
	uint32_t total, offset;
	uint32_t n;       /* 1..AGENT_TRUST_PIECE, within total */
	const uint8_t *p; /* borrowed */
};

#define SESS_STDIN_WINDOW (256u * 1024u)
/* What SESS_FAILED's errno is as an exit status: 127 there is no such command, 126 it cannot be executed, 125 it was not reached. */
uint32_t sess_failed_status(uint32_t code);

#define SESS_ARGS_MAX 512u
#define SESS_ENVS_MAX 256u
#define SESS_TTY 1u   /* a pty, one output stream */
#define SESS_LOGIN 2u /* the user's login shell runs the command (or itself, with no arguments) */

enum agent_what { AGENT_WHAT_STATS = 1, AGENT_WHAT_TOP = 2, AGENT_WHAT_CONTAINERS = 4 };

struct agent_hello_host {
	uint16_t version;
	uint32_t gen;
	uint64_t wall_ns;
	uint8_t entropy[64];   /* credited to the guest's pool (RNDADDENTROPY); zeroed by both ends after use */
	char hostname[64];     /* the sandbox's name */
	char workspace[1024];  /* absolute path, created empty and owned by agent when missing; "" none */
	struct workspaces ws;  /* to be mounted before the guest answers (or 10 s have passed) */
};

struct agent_hello_guest {
	uint16_t version;
	uint32_t gen;          /* echo */
	uint64_t up_ns;        /* kernel's uptime when the agent answered */
	char kernel[128];      /* uname -r */
	char agent[64];        /* its version */
};

struct agent_stats {
	uint64_t up_ns;
	uint64_t cpu_busy_ns, cpu_total_ns; /* since boot, all vCPUs summed */
	uint64_t mem_total, mem_used, mem_cache;  /* bytes */
	uint64_t disk_total, disk_used;
	uint64_t io_read, io_written;       /* bytes, since boot, of the sandbox's disk */
	uint32_t pids, vcpus;
	uint32_t load1_milli;               /* load average over a minute, thousandths */
	uint32_t zero;
};

#define AGENT_TOP_MAX 32u
struct agent_proc {
	uint32_t pid, uid;
	uint32_t cpu_milli; /* thousandths of one CPU over the last interval */
	uint64_t rss;       /* bytes */
	char comm[64];
	char container[16]; /* short id, "" on the guest itself */
};
struct agent_top {
	uint16_t n;
	struct agent_proc proc[AGENT_TOP_MAX];
};

#define AGENT_CONTAINERS_MAX 64u
struct agent_container {
	char id[16], name[128], image[256], state[16], status[64];
};
struct agent_containers {
	uint16_t n;
	struct agent_container c[AGENT_CONTAINERS_MAX];
};

enum agent_docker_state { DOCKER_OFF, DOCKER_STARTING, DOCKER_READY, DOCKER_FAILED, DOCKER_NUM };
struct agent_docker {
	uint8_t state;
	uint32_t restarts;
	uint64_t ready_ns; /* guest uptime when it first answered, 0 not yet */
	char why[256];     /* sentence, "" unless FAILED or restarted */
};

struct sess_open {
	uint8_t flags;
	uint16_t rows, cols;   /* of the pty */
	char user[64];         /* "" = agent */
	char cwd[4096];        /* "" = the workspace if there is one, else the home directory */
	char term[64];         /* TERM, "" = xterm-256color */
	uint16_t argc, envc;
	char **argv, **envv;   /* owned, NULL-terminated; envv "K=V" */
};

/*
 * pack: 0, or the buffer is failed (a count over its maximum too). unpack: 0 or -EBADMSG, every string terminated, every count and
 * enumeration within its bounds. Unpack leaves r behind the struct: whoever holds a whole payload checks rbuf_done() after it.
 */
int agent_hello_host_pack(struct buf *b, const struct agent_hello_host *m);
int agent_hello_host_unpack(struct rbuf *r, struct agent_hello_host *m);
int agent_hello_guest_pack(struct buf *b, const struct agent_hello_guest *m);
int agent_hello_guest_unpack(struct rbuf *r, struct agent_hello_guest *m);
int agent_stats_pack(struct buf *b, const struct agent_stats *m);
int agent_stats_unpack(struct rbuf *r, struct agent_stats *m);
int agent_top_pack(struct buf *b, const struct agent_top *m);
int agent_top_unpack(struct rbuf *r, struct agent_top *m);
int agent_containers_pack(struct buf *b, const struct agent_containers *m);
int agent_containers_unpack(struct rbuf *r, struct agent_containers *m);
int agent_docker_pack(struct buf *b, const struct agent_docker *m);
int agent_docker_unpack(struct rbuf *r, struct agent_docker *m);
int agent_trust_pack(struct buf *b, const struct agent_trust *m);
int agent_trust_unpack(struct rbuf *r, struct agent_trust *m); /* takes all of r */
int sess_open_pack(struct buf *b, const struct sess_open *m);
/* On success the caller owns m's arrays: sess_open_release(). On failure nothing is held. */
int sess_open_unpack(struct rbuf *r, struct sess_open *m);
void sess_open_release(struct sess_open *m);

#endif
