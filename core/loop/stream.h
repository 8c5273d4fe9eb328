/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One byte stream (socket, pipe) on the loop, bounded both ways, each direction closing by itself.
 *
 * In: bytes gather in a buffer of at most `in_max`; on_read sees all of it and consumes (buf_consume) what it can. While the buffer is
 * full, or reading is switched off, nothing more is read: that is the back-pressure. After consuming outside of on_read call
 * stream_kick(). Out: stream_write() takes all or nothing against `out_max`; on_drain comes when the
 * queue has fallen to half or less after a refusal or stream_want_drain(), also while the rest of it is sent after stream_shutdown(). End of input is on_eof (once, after all data was offered in on_read); the other
 * direction goes on until stream_shutdown() has sent the rest and closed it. on_closed: an error, or both directions done.
 * Poll interest is a pure function of this state. A buffer that is empty when the loop has been with a stream is given back. Callbacks may call anything, stream_close() included.
 */
#ifndef BULKHEAD_LOOP_STREAM_H
#define BULKHEAD_LOOP_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <uv.h>

#include "core/base/buf.h"

#define STREAM_READ_CHUNK 65536u /* most bytes a read() */
#define STREAM_BURST 4           /* most reads a wake-up */

struct stream;

struct stream_ops {
	void (*on_read)(void *arg, struct buf *in);
	void (*on_eof)(void *arg);     /* NULL: treated as stream_shutdown() */
	void (*on_drain)(void *arg);   /* may be NULL */
	void (*on_closed)(void *arg, int why); /* 0 both directions ended in order, else -errno; once; stream_close() is still to be called */
	/*
	 * May be NULL. Of a socket, while nothing is buffered: there is input, or its end. True: the owner reads with stream_readv(), now or later; what it
	 * leaves waits in the socket (stream_waits()), and nothing is polled for, until stream_readv() has emptied that or stream_kick(). An end that
	 * no input stands before is told in any case. False: read into the buffer.
	 */
	bool (*on_readable)(void *arg);
};

/* Takes fd in any case (made non-blocking). Reading is on at once. 0 or -errno. */
int stream_open_take(struct stream **out, uv_loop_t *loop, int fd, size_t in_max, size_t out_max, const struct stream_ops *ops, void *arg);
/* Another owner: its callbacks from now on. What is buffered is offered to it on the next turn. Not for a stream that has told on_closed. */
void stream_set_ops(struct stream *s, const struct stream_ops *ops, void *arg);
/* Appends and tries to send at once. 0; -EAGAIN when it does not fit now (nothing taken: on_drain will tell); -EPIPE after shutdown or end; -errno. */
int stream_write(struct stream *s, const void *p, size_t n);
/*
 * For packers: append to stream_out() (its buf_room() is what fits), then stream_flush(). Asking for room and not getting enough: call
 * stream_want_drain().
 */
struct buf *stream_out(struct stream *s);
void stream_flush(struct stream *s);
void stream_want_drain(struct stream *s);
size_t stream_pending(const struct stream *s); /* bytes queued to be sent */
void stream_reading(struct stream *s, bool on);
/* Offers the buffered input again on this turn (never recursively), and what waits in the socket. */
void stream_kick(struct stream *s);
/* See on_readable: reads into memory of the owner's, `total` bytes in n parts. How many; 0: nothing now, or an end or error that the loop will tell. */
size_t stream_readv(struct stream *s, const struct iovec *part, unsigned n, size_t total);
/* The owner has let input wait in the socket. */
bool stream_waits(const struct stream *s);
struct buf *stream_in(struct stream *s);
bool stream_eof(const struct stream *s); /* the peer ended its direction and everything was consumed or offered */
/*
 * The peer ended its direction and bytes are left in stream_in(). on_eof waits until they are consumed; an owner that waits for the rest of
 * a message asks here: no more will come.
 */
bool stream_cut(const struct stream *s);
/* For a socket: the peer has closed it whole, or reads no more; a peer that only ended its own direction still hears. While our direction is open. */
bool stream_deaf(const struct stream *s);
/* Sends the rest, then ends our direction. */
void stream_shutdown(struct stream *s);
/*
 * A descriptor of its own for the same socket, for who takes it over: what is buffered in stream_in() and queued is the caller's to pass on, and
 * the stream is to be closed. -errno.
 */
int stream_fd_dup(const struct stream *s);
/* At once, without a callback; *s = NULL; NULL is fine. What is queued is lost. */
void stream_close(struct stream **s);

#endif
