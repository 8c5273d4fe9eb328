/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The channel as the rest of bulkhead-vmm sees it: numbered guest ports, many byte streams. muxhost.c (over a virtio-serial port) and
 * devices/vsock.c are the two that exist; nothing above asks which. All on the loop's thread.
 */
#ifndef BULKHEAD_VMM_CHANNEL_H
#define BULKHEAD_VMM_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define CHANNEL_LISTENERS_MAX 4u
#define CHANNEL_LANES_MAX 8u

struct channel;

struct channel_events {
	void (*on_up)(void *arg);                      /* the guest's agent is there */
	void (*on_broken)(void *arg, const char *why); /* once; the channel is of no use any more */
	bool (*stands)(void *arg);                     /* the machine is paused: the guest cannot go on with what it began. NULL: never */
};

/* A stream that was asked for: 0 and its number, or -errno (-ECONNREFUSED: the guest refused; -ECONNRESET: the channel ended). Called once,
 * also from channel_close(). On success the callback gives the socket to be joined to it: channel_join_take(). */
typedef void (*channel_opened)(void *arg, int result, uint32_t number);
/* The guest asks for a host port: a socket that becomes the stream's end (taken), or -errno to refuse. Must not block. */
typedef int (*channel_accept)(void *arg, uint32_t port);

struct channel_ops {
	int (*dial)(struct channel *c, uint32_t port, channel_opened fn, void *arg);
	void (*join_take)(struct channel *c, uint32_t number, int fd);
	bool (*is_up)(const struct channel *c);
	void (*counts)(const struct channel *c, uint64_t *in, uint64_t *out, uint32_t *streams);
	void (*close)(struct channel *c);
};

/* The first member of every channel's own struct. */
struct channel {
	const struct channel_ops *ops;
	struct {
		uint32_t port_min, port_max;
		channel_accept fn; /* NULL: free */
		void *arg;
	} listener[CHANNEL_LISTENERS_MAX];
	int lane[CHANNEL_LANES_MAX]; /* of `lanes`: the host's ends of ports beside the channel (core/proto/fs.h), owned; closed with it */
	unsigned lanes;
	int memory; /* where there are lanes: the machine's memory as a file (FS_WINDOW there), owned; closed with it */
};

/* 0; -EAGAIN the guest is not up; -EMFILE too many. */
static inline int channel_dial(struct channel *c, uint32_t port, channel_opened fn, void *arg) { return c->ops->dial(c, port, fn, arg); }
/* From within channel_opened: joins fd (taken) to the stream; a failure resets it. */
static inline void channel_join_take(struct channel *c, uint32_t number, int fd) { c->ops->join_take(c, number, fd); }
static inline bool channel_is_up(const struct channel *c) { return c && c->ops->is_up(c); }
static inline void channel_counts(const struct channel *c, uint64_t *in, uint64_t *out, uint32_t *streams) { c->ops->counts(c, in, out, streams); }
/* Answers every request and forgets it; *c = NULL; NULL is fine. */
void channel_close(struct channel **c);

/* Connections of the guest to host ports [port_min, port_max] go to fn; every other port is refused. 0 or -ENOSPC. */
int channel_listen(struct channel *c, uint32_t port_min, uint32_t port_max, channel_accept fn, void *arg);
void channel_unlisten(struct channel *c, const void *arg);
/* For a channel's own: who takes `port`? A socket or -ECONNREFUSED. */
int channel_offer(struct channel *c, uint32_t port);

#endif
