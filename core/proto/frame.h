/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame in which every byte-stream protocol of ours is cut (agent, session, viewer):
 *
 *   u8 type | u8 flags | u16 zero | u32 length | length bytes of payload          little endian
 *
 * Types are numbered once for all protocols (see the enums in agent.h and rows.h) and never renumbered,
 * so that a stream connected to the wrong end fails on its first frame.
 */
#ifndef BULKHEAD_PROTO_FRAME_H
#define BULKHEAD_PROTO_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/rbuf.h"

#define FRAME_HEAD 8u
#define FRAME_PAYLOAD_MAX (256u * 1024u) /* of the largest frame of any protocol; each type has its own smaller bound */

struct frame {
	uint8_t type, flags;
	uint32_t len;
	const uint8_t *payload; /* into the parsed memory */
};

/* Append a frame. 0, or the buffer is failed. */
int frame_put(struct buf *b, uint8_t type, uint8_t flags, const void *payload, size_t n);
/* For payloads packed in place: at = frame_begin(b, type); pack...; frame_end(b, at). */
size_t frame_begin(struct buf *b, uint8_t type, uint8_t flags);
void frame_end(struct buf *b, size_t at);
/*
 * First whole frame of p[0..n): 0 and *used set; -EAGAIN when more bytes are needed; -EBADMSG when the header is
 * impossible (length over `max`, the zero field not zero).
 */
int frame_parse(const uint8_t *p, size_t n, uint32_t max, struct frame *out, size_t *used);

#endif
