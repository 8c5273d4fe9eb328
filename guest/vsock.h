/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's end of the channel where the machine has a vsock device (core/proto/vsock.h): a stream is a connection. The interface to
 * the rest is guest/mux.h's; mux.c hands the streams that are ours to the functions here, which mean the same.
 */
#ifndef BULKHEAD_GUEST_VSOCK_H
#define BULKHEAD_GUEST_VSOCK_H

#include "guest/mux.h"

/* First member of both kinds of a struct gstream. */
struct gstream_kind { bool vsock; };

/* Listens on the agent's ports and tells the host; -errno when there is no vsock. */
int gvsock_start(gmux_accept accept);
/* The same without a device: only gvsock_take() brings streams (tests). */
void gvsock_start_bare(gmux_accept accept);
/* A connection the host made to `port`; takes fd. */
void gvsock_take(int fd, uint32_t port);
bool gvsock_used(void);

struct gstream *gvsock_open(uint32_t port, uint32_t window, const struct gstream_ops *ops, void *arg);
uint32_t gvsock_count(void);
void gvsock_drain(unsigned ms);
void gvsock_hold(struct gstream *st);
void gvsock_taken(struct gstream *st, size_t n);
size_t gvsock_room(struct gstream *st);
bool gvsock_write(struct gstream *st, const void *p, size_t n);
/* `head` bytes before the room stay free for a head that commit fills. */
uint8_t *gvsock_reserve(struct gstream *st, size_t head, size_t *n);
void gvsock_commit(struct gstream *st, const void *head, size_t head_n, size_t n);
void gvsock_eof(struct gstream *st);
void gvsock_close(struct gstream *st);
void gvsock_serve(struct gstream *st, const struct gstream_ops *ops, void *arg);

#endif
