/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's end of the channel (core/proto/mux.h) over the virtio port, or, where there is none, over vsock (guest/vsock.h).
 * The host opens streams to our ports, we to the host's; a new HELLO of the host (a new generation) resets them all. Here the host
 * is trusted with our life but not with our memory: what is no frame ends the channel, which begins anew at the next HELLO.
 */
#ifndef BULKHEAD_GUEST_MUX_H
#define BULKHEAD_GUEST_MUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/proto/frame.h"
#include "core/proto/mux.h"

struct gstream;

/* Most payload of a frame that still makes one DATA of the channel. */
#define GSTREAM_FRAME_MAX (MUX_DATA_MAX - FRAME_HEAD)

struct gstream_ops {
	/* Bytes of the host; all of them are taken. Their credit goes back at once (who holds bytes bounds them by a protocol of its own), unless
	 * gstream_hold() was called. */
	void (*on_data)(void *arg, const uint8_t *p, size_t n);
	void (*on_eof)(void *arg);
	/* There is room again after gstream_room() was too small. */
	void (*on_room)(void *arg);
	/* The stream is gone (reset, or the channel). Not called after gstream_close(). */
	void (*on_gone)(void *arg);
};

/* A stream the host opened to `port`: fills ops and arg and returns true, or false to refuse. */
typedef bool (*gmux_accept)(uint32_t port, struct gstream *st, const struct gstream_ops **ops, void **arg);

/*
 * Opens a stream to a port of the host, which may send `window` bytes beyond what was taken. NULL when the host is not there or there are
 * too many. Nothing can be written before the host has agreed: on_room tells; it refuses by on_gone.
 */
struct gstream *gmux_open(uint32_t port, uint32_t window, const struct gstream_ops *ops, void *arg);
/* From now on credit goes back by gstream_taken() only: the stream's owner holds at most a window of bytes. */
void gstream_hold(struct gstream *st);
void gstream_taken(struct gstream *st, size_t n);

/* Opens the port (found by its name), or vsock, and serves it for ever; -errno when there is neither. */
int gmux_start(gmux_accept accept);
/* Over a descriptor instead (tests). Takes fd. */
int gmux_start_fd(int fd, gmux_accept accept);
/* Another owner serves it from now on. */
void gstream_serve(struct gstream *st, const struct gstream_ops *ops, void *arg);
/* Streams that are open now. */
uint32_t gmux_count(void);
/* Writes what is queued and waits for the port to take it, at most that long: for the last words before the power goes. */
void gmux_drain(unsigned ms);

/* Bytes that gstream_write() would take now. Finding less than one full frame arms on_room. */
size_t gstream_room(struct gstream *st);
/* All or nothing: false when n > gstream_room(). Bytes leave at the end of the loop's turn, gathered. */
bool gstream_write(struct gstream *st, const void *p, size_t n);
/* A frame (core/proto/frame.h) around n bytes, all or nothing. */
bool gstream_frame(struct gstream *st, uint8_t type, const void *p, size_t n);
/*
 * The same without a copy, for bulk: room for the payload of one frame, *n <= GSTREAM_FRAME_MAX bytes of it, to be read() into at
 * once; then gstream_commit() with how many came (0: none, nothing is sent). Nothing else may be written between the two. NULL when
 * there is no room for a byte (on_room is armed).
 */
uint8_t *gstream_reserve(struct gstream *st, size_t *n);
void gstream_commit(struct gstream *st, uint8_t type, size_t n);
/* The same for bytes without a frame, *n <= MUX_DATA_MAX. */
uint8_t *gstream_reserve_raw(struct gstream *st, size_t *n);
void gstream_commit_raw(struct gstream *st, size_t n);
void gstream_eof(struct gstream *st);
/* Ends it: an orderly end when both sides have sent EOF, else a reset. */
void gstream_close(struct gstream *st);

#endif
