/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workspaces: supervisor <-> bulkhead-fs (child.h says how a child lives; types from 400 there), and what host and guest say about them.
 *
 * One bulkhead-fs a machine run. It gets each workspace's directory as a descriptor, dials guest port 4 once for each and speaks there: one
 * frame AGENT_FS_OPEN (u32 index, and where there is a lane its sign), then raw FUSE messages both ways, each with its length in front as the kernel made it. The guest
 * was told of the workspaces in the host's hello and mounts them; AGENT_WORKSPACE tells how that went.
 *
 * Paths from a guest or of a guest's making are raw bytes on the wire between host and guest; toward the supervisor they are scrubbed.
 */
#ifndef BULKHEAD_PROTO_FS_H
#define BULKHEAD_PROTO_FS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/rbuf.h"

#define AGENT_PORT_FS 4u
#define WORKSPACES_MAX 8u
#define WORKSPACE_PATH_MAX 1023u
#define WORKSPACE_HEAD_MAX 255u
#define WORKSPACE_ORIGIN_MAX 511u
#define FS_HIDE_MAX 16384u

/*
 * Names ahead of their being asked for: who asks for a few names of a directory will ask for the others, and who does so in two directories side by side
 * will go on with those beside them. The host then sends messages with unique 0 and "error" FS_AHEAD, which is none of FUSE's: u64 the directory's node,
 * u32 flags, u32 how many, then so many struct fuse_direntplus, aligned to 8 bytes: a whole listing, with its offsets, in its order, without hidden names.
 * Each with a node counts as one lookup, which the guest's end gives on to its kernel when that asks, or gives back (FORGET). "." has no node, but the
 * directory's attributes.
 */
#define FS_AHEAD 7100
#define FS_AHEAD_WHOLE 1u /* there is no other name in the directory */
/*
 * Only "." is here, and it is what the directory is after the change whose answer follows at once: the guest's kernel asks for that next. A directory
 * that was just made comes WHOLE before that answer, with no name: who fills it asks for every name before it makes it.
 */
#define FS_AHEAD_AFTER 2u
#define FS_AHEAD_HEAD 16u /* bytes behind FUSE's own head */

/*
 * Before the answer to a listing that holds a directory's last entry: u64 the directory's node, u64 the offset behind that entry. Who goes on listing
 * there is told by the guest's end that there is nothing more.
 */
#define FS_END 7101

/*
 * "unique" of a request that was answered where it was asked (RELEASE: nobody waits for what comes of it): the host does not answer.
 * The other way, contents of a small file come before the answer to its OPEN as FUSE's own NOTIFY_STORE, to be written before that answer.
 */
#define FS_SILENT UINT64_MAX

/*
 * Where the channel is a multiplexer over one port (QEMU), a workspace has a lane: a virtio port of its own, FS_LANE_PORT and its number, whose other end
 * bulkhead-fs itself has, so that a message is not taken apart on its way, nor handed on by bulkhead-vmm. Before the messages both sides write the sign that
 * the host chose anew for this stream, the guest first; what comes before it was for others. A guest that is told of no lane, or finds no such port, speaks on the stream itself;
 * with a lane nothing more is said on the stream, whose end ends the lane as well.
 */
#define FS_LANE_PORT "org.bulkhead.lane."
#define FS_LANE_SIGN 16u
#define FS_LANE_KEPT (1024u * 1024u) /* bytes that the host's kernel may hold for it, each way */

/*
 * With a lane the guest may lend FS_WINDOW_SIZE bytes of its memory, so that contents need not pass through the port: a message FS_WINDOW behind its sign (FUSE's
 * head, the opcode, and u64 the guest-physical address, a multiple of the size; at its start in memory lies the sign). A host that takes it says so by a message with
 * unique 0 and "error" FS_WINDOW. From then on a request may have the number of a place (1 to FS_PLACES, at that many FS_PLACE_SIZE from the start) in the last two
 * bytes of FUSE's head, which are zero otherwise: a WRITE's contents are there and not in the message, and of a READ that succeeds the answer is u32 how many
 * bytes the host has put there. A place belongs to its request until that is answered.
 *
 * What the host says after that message it puts into a ring at FS_RING_AT of that memory, and the port brings but a byte, of any value, for a guest that does not
 * look into it: `looks` is 0. Each side counts bytes (modulo 2^32) and writes its own half alone: what is put and not taken lies from put % FS_RING_SIZE backwards. Who
 * is to sleep first stores `looks` 0, then looks once more; who has put first stores `put`, then loads `looks`.
 */
#define FS_WINDOW 7102
#define FS_WINDOW_SIZE (2u * 1024u * 1024u)
#define FS_PLACE_SIZE (512u * 1024u)
#define FS_PLACES 3u
#define FS_PLACE_AT 38u /* in FUSE's head */
#define FS_RING_AT 4096u
#define FS_RING_SIZE (256u * 1024u) /* bytes, FS_RING_HEAD behind its start */
#define FS_RING_HEAD 128u
struct fs_ring {
	_Atomic uint32_t looks, taken; /* the guest's */
	uint8_t apart[56];
	_Atomic uint32_t put;          /* the host's */
};
/* A machine's memory as a file: what lies below FS_MEMORY_LOW, directly followed by what lies from FS_MEMORY_HIGH on; nothing is between (QEMU, hw/i386/microvm.c). */
#define FS_MEMORY_LOW (UINT64_C(3) << 30)
#define FS_MEMORY_HIGH (UINT64_C(4) << 30)

enum workspace_mode {
	WORKSPACE_REVIEW, /* the guest writes into a layer of its own over the host's directory, which it only reads */
	WORKSPACE_RO,     /* it only reads */
	WORKSPACE_LIVE,   /* it writes the host's files */
	WORKSPACE_CLONE,  /* it has a git clone of its own, whose objects it reads of the host's repository */
	WORKSPACE_MODES
};
extern const char *const workspace_modes[WORKSPACE_MODES]; /* "review" "ro" "live" "clone" */
/* The mode of that name, -1 none. */
int workspace_mode_parse(const char *word);

struct workspace {
	uint8_t mode;                      /* enum workspace_mode */
	char path[WORKSPACE_PATH_MAX + 1]; /* absolute, the same on both sides; no ".", "..", "//", not "/" */
	/* WORKSPACE_CLONE, in the host's hello only: the share is the repository's directory, not the work tree. */
	char head[WORKSPACE_HEAD_MAX + 1];     /* where in it the work tree's HEAD lies: "" or "worktrees/<name>" */
	char origin[WORKSPACE_ORIGIN_MAX + 1]; /* the repository's own origin, without a password; "" none */
};
struct workspaces { uint16_t n; struct workspace w[WORKSPACES_MAX]; };
void workspaces_put(struct buf *b, const struct workspaces *m);
/* Also fails on a path that is none. */
void workspaces_get(struct rbuf *r, struct workspaces *m);
bool workspace_path_legal(const char *path);
bool workspace_head_legal(const char *head);

enum workspace_state { WORKSPACE_WAITS, WORKSPACE_MOUNTED, WORKSPACE_LOST /* bulkhead-fs is away: EIO */, WORKSPACE_FAILED, WORKSPACE_STATES };
extern const char *const workspace_states[WORKSPACE_STATES];
/* AGENT_WORKSPACE (guest), TERM_WORKSPACE (scrubbed). */
struct workspace_told { uint8_t index, state; char why[256]; };
int workspace_told_pack(struct buf *b, const struct workspace_told *m);
int workspace_told_unpack(struct rbuf *r, struct workspace_told *m);

enum fs_type {
	/* supervisor -> fs */
	FS_START = 400,  /* struct fs_start + descriptors: enum fs_fd, then each workspace's directory (O_PATH) in order */
	FS_QUIT = 401,
	/* fs -> supervisor */
	FS_READY = 420,  /* struct child_ready */
	FS_SYNCED = 421,
	FS_NOTE = 422,   /* struct fs_note: hidden names and the like, as they are come upon (at most 256 of a kind and workspace); again at adoption */
	FS_STATS = 423,  /* struct fs_stats, at most once a second, when something changed */
};

enum fs_fd { FS_FD_DIAL, FS_FD_LOG, FS_FD_NUM };

struct fs_start {
	char name[64];              /* the sandbox's */
	struct workspaces ws;
	char hide[FS_HIDE_MAX];     /* patterns of hidden names, one a line (core/workspace/hide.h) */
};
int fs_start_pack(struct buf *b, const struct fs_start *m);
int fs_start_unpack(struct rbuf *r, struct fs_start *m);

enum fs_note_kind { FS_NOTE_HIDDEN, FS_NOTE_LINKED /* has names outside: not written */, FS_NOTE_MOUNT /* not shown */, FS_NOTE_KINDS };
struct fs_note { uint8_t index, kind; char path[1024]; /* from the workspace's root */ };
int fs_note_pack(struct buf *b, const struct fs_note *m);
int fs_note_unpack(struct rbuf *r, struct fs_note *m);

struct fs_stats { uint64_t requests, refused, read, written; uint32_t open, nodes; };
int fs_stats_pack(struct buf *b, const struct fs_stats *m);
int fs_stats_unpack(struct rbuf *r, struct fs_stats *m);

#endif
