/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One SOCK_SEQPACKET connection on the loop: datagrams with descriptors, in and out, in order.
 *
 * Sending never blocks: what the socket does not take is queued, at most SEQ_QUEUE_MAX bytes; a peer that does not read for so
 * long is gone (-ENOBUFS from seq_send, then on_end). At most SEQ_BURST datagrams are handled a wake-up, so that one busy peer
 * starves nobody. Callbacks may call anything here, seq_close() on themselves included. Single-threaded (the loop's).
 */
#ifndef BULKHEAD_LOOP_SEQ_H
#define BULKHEAD_LOOP_SEQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "core/base/fd.h"

#define SEQ_MSG_MAX 65536u
#define SEQ_QUEUE_MAX (1024u * 1024u)
#define SEQ_BURST 32

struct seq;

struct seq_ops {
	/* A datagram. fds[] are the callback's to take (set to -1); those left are closed after it returns. */
	void (*on_msg)(void *arg, const uint8_t *p, size_t n, int *fds, size_t nfds);
	/* The connection ended: 0 the peer closed, else -errno (-EMSGSIZE: a datagram over SEQ_MSG_MAX or with too many
	 * descriptors). Called once; nothing else comes afterwards; seq_close() is still to be called. */
	void (*on_end)(void *arg, int why);
};

/* Takes fd in any case. `ops` must outlive it. 0 or -errno. */
int seq_open_take(struct seq **out, uv_loop_t *loop, int fd, const struct seq_ops *ops, void *arg);
/* Borrows p and fds (duplicated when they must wait). 0, -ENOBUFS, -EPIPE (ended), -errno. */
int seq_send(struct seq *s, const void *p, size_t n, const int *fds, size_t nfds);
/* What is received may be a credential: its buffer is locked and in no core dump (as far as the kernel allows). Wiped after each datagram, always. */
bool seq_private(struct seq *s);
/* Off: nothing is read, the end included, until it is on again. */
void seq_reading(struct seq *s, bool on);
/* Bytes still queued. */
size_t seq_pending(const struct seq *s);
/* Tries to send what is queued within the time by blocking: for the last words before exit(). */
void seq_drain(struct seq *s, int timeout_ms);
/* Ends it at once, without on_end; *s = NULL; NULL is fine. */
void seq_close(struct seq **s);

#endif
