/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One TCP connection joined to one stream of the channel: bytes both ways, each direction ending by itself, and a reset on one side is one
 * on the other. Back-pressure is the stream's credit: bytes for the client are held here, at most a window of them, and their credit goes
 * back as the client takes them; the client is not read while the stream has no room.
 *
 * Embedded in its owner, which serves the stream's callbacks and hands them on: relay_data() and its kin. `ended` is called once, when
 * socket and stream are closed; it frees the owner.
 */
#ifndef BULKHEAD_GUEST_RELAY_H
#define BULKHEAD_GUEST_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "guest/loop.h"
#include "guest/mux.h"

#define RELAY_HOLDS (MUX_WINDOW + 65536u) /* a window, and what a vsock hands over in one read */

struct relay {
	struct watch w;
	struct gstream *st; /* NULL: none (any more) */
	struct buf out;     /* for the client */
	bool reading;       /* the client's bytes may go to the stream */
	bool no_room;       /* the stream had none */
	bool in_eof;        /* the client ended its direction, and so did we toward the host */
	bool out_eof;       /* the host ended its */
	bool over;          /* `ended` was called or is about to be */
	void (*ended)(struct relay *r);
	void (*client_eof)(struct relay *r); /* NULL, or told when in_eof is set; must not end the relay */
};

/* Takes fd (connected, non-blocking). Watches it; nothing is read until relay_read(). 0 or -errno (then fd is closed, `ended` is not called). */
int relay_init_take(struct relay *r, int fd, void (*ended)(struct relay *r));
/* The stream is there (gstream_hold() was called): begin to read the client. */
void relay_read(struct relay *r);
/* The stream's callbacks. False: the relay is over (and perhaps its owner gone). */
bool relay_data(struct relay *r, const uint8_t *p, size_t n);
bool relay_eof(struct relay *r);
void relay_room(struct relay *r);
void relay_gone(struct relay *r);
/* Both sides at once: the client sees a reset. */
void relay_abort(struct relay *r);
/* A socket's end as a reset (RST), not in order. */
void relay_reset_take(int fd);

#endif
