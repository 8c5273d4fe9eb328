/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-vsock (virtio 1.2, 5.10), stream sockets, as the host's channel (vmm/channel.h). Loop thread; the device's lock is recursive
 * because a channel's callback may call the channel.
 */
#ifndef BULKHEAD_VMM_DEVICES_VSOCK_H
#define BULKHEAD_VMM_DEVICES_VSOCK_H

#include <uv.h>

#include "vmm/channel.h"
#include "vmm/devices/virtio.h"

#define VSOCK_HEAD 44u
#define VSOCK_CONNS_MAX 4096u
#define VSOCK_PACKET_MAX 65536u /* bytes of data we put in one packet */
#define VSOCK_ANSWER_MS 60000u  /* how long the guest may leave a dial without an answer */

/*
 * What a connection may hold on its way to its socket (the guest's credit), by how many there are when it begins: the guest cannot make us hold
 * more than VSOCK_HOLD_MAX together, however it opens and closes them. What comes from a socket waits there until the guest has a buffer for it.
 */
#define VSOCK_WINDOW (256u * 1024u)
#define VSOCK_FEW 64u
#define VSOCK_WINDOW_SOME (64u * 1024u)
#define VSOCK_SOME 256u
#define VSOCK_WINDOW_MANY (16u * 1024u)
#define VSOCK_HOLD_MAX (VSOCK_FEW * VSOCK_WINDOW + (VSOCK_SOME - VSOCK_FEW) * VSOCK_WINDOW_SOME + (VSOCK_CONNS_MAX - VSOCK_SOME) * VSOCK_WINDOW_MANY)
_Static_assert(VSOCK_HOLD_MAX <= 88u << 20, "what a guest can make the host hold");

enum vsock_op { VS_INVALID, VS_REQUEST, VS_RESPONSE, VS_RST, VS_SHUTDOWN, VS_RW, VS_CREDIT_UPDATE, VS_CREDIT_REQUEST, VS_NUM };
enum { VS_SHUT_RCV = 1, VS_SHUT_SEND = 2 };

struct vsock_head {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
};
/* Pure. */
void vsock_head_unpack(const uint8_t p[VSOCK_HEAD], struct vsock_head *h);
void vsock_head_pack(uint8_t p[VSOCK_HEAD], const struct vsock_head *h);

struct vsock;

/* 0 or -errno. The channel is closed by channel_close(), the device released by vsock_release() after that; the machine's CPUs stand still by then. */
int vsock_create(struct vsock **out, uv_loop_t *loop, const struct ram *ram, int irq, const struct channel_events *ev, void *arg);
void vsock_release(struct vsock **v);
struct virtio *vsock_virtio(struct vsock *v);
struct channel *vsock_channel(struct vsock *v);
/* After virtio_load(): no connection outlives a snapshot; the driver is told. */
void vsock_restored(struct vsock *v);
/* A doorbell of queue q; on the loop, without the lock. */
void vsock_kick(struct vsock *v, unsigned q);

#endif
