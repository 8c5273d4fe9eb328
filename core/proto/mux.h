/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The channel of a machine without vsock: many streams over one virtio-serial port.
 *
 * Header, little endian:  u32 stream | u16 length | u8 type | u8 zero,  then length bytes (<= MUX_DATA_MAX).
 * Both sides begin with HELLO on stream 0 and send nothing else until they have seen the peer's. A second HELLO from
 * the host (new generation: a restored snapshot) resets every stream; one from the guest says that it lost the thread (bytes were taken from its port), and ends the channel. The host opens odd stream numbers, the guest
 * even ones; a number is free again once both sides are done with it (both sent EOF or either sent RESET).
 *
 * Credit: OPEN and OPENED announce how many DATA bytes the sender of the message is ready to take on this stream; CREDIT adds
 * to it. Who sends DATA beyond the credit gets its stream RESET (MUX_R_CREDIT). EOF half-closes; RESET is abrupt and needs
 * no answer. DATA, CREDIT, EOF for a stream already reset by the receiver are ignored (they may be in flight); for a stream never
 * opened they end the channel.
 */
#ifndef BULKHEAD_PROTO_MUX_H
#define BULKHEAD_PROTO_MUX_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"

#define MUX_PORT_NAME "org.bulkhead.channel" /* virtio port name: /sys/class/virtio-ports/<x>/name */
#define MUX_MAGIC 0x584d4b42u                /* "BKMX" */
#define MUX_VERSION 1u
#define MUX_HEAD 8u
#define MUX_DATA_MAX 32768u
#define MUX_WINDOW (256u * 1024u) /* initial credit both sides give */
#define MUX_STREAMS_MAX 6144u     /* open at once, both directions together */
#define MUX_GUEST_STREAMS_MAX 5120u /* of them, opened by the guest: what it does to its network never keeps a terminal from opening */

enum mux_type {
	MUX_HELLO = 1,  /* stream 0: u32 magic, u16 version, u16 zero, u32 generation (guest sends 0, host its own) */
	MUX_OPEN = 2,   /* u32 port, u32 window */
	MUX_OPENED = 3, /* u32 window */
	MUX_RESET = 4,  /* u32 enum mux_reason */
	MUX_DATA = 5,
	MUX_CREDIT = 6, /* u32 bytes */
	MUX_EOF = 7,
};

enum mux_reason { MUX_R_NONE, MUX_R_REFUSED, MUX_R_CREDIT, MUX_R_LIMIT, MUX_R_GONE };

struct mux_frame {
	uint32_t stream;
	uint8_t type;
	uint16_t len;
	const uint8_t *data; /* DATA: the bytes */
	uint32_t a, b;       /* HELLO: version, generation; OPEN: port, window; OPENED: window; RESET: reason; CREDIT: bytes */
};

/*
 * Parses and validates one frame (type known, length as the type wants, magic and version of HELLO right, stream 0 only
 * and always for HELLO): 0, -EAGAIN, -EBADMSG.
 */
int mux_parse(const uint8_t *p, size_t n, struct mux_frame *out, size_t *used);
int mux_put_hello(struct buf *b, uint32_t gen);
int mux_put_open(struct buf *b, uint32_t stream, uint32_t port, uint32_t window);
int mux_put_opened(struct buf *b, uint32_t stream, uint32_t window);
int mux_put_reset(struct buf *b, uint32_t stream, enum mux_reason why);
int mux_put_data(struct buf *b, uint32_t stream, const void *p, size_t n); /* n <= MUX_DATA_MAX */
int mux_put_credit(struct buf *b, uint32_t stream, uint32_t bytes);
int mux_put_eof(struct buf *b, uint32_t stream);

#endif
