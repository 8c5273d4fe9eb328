/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP between a guest and bulkhead-net, one channel stream a connection.
 *
 *   outward   the guest opens host port NETCONN_PORT (16). Its first frame (frame.h) is NETC_OPEN; the client's bytes follow raw, at once.
 *             The host's direction begins with one frame: NETC_GO (raw bytes follow) or NETC_RESET (nothing follows: the guest resets the
 *             client's connection, SO_LINGER 0). NETC_GO comes when the first byte for the client is there or the upstream is connected,
 *             whichever is first; until then the client's connection stands open and its bytes are taken.
 *   inward    bulkhead-net opens guest port NETCONN_PORT_FORWARD (3): NETC_TO {u16 port}; the guest connects to that port of its own
 *             loopback and answers NETC_GO, or NETC_FAILED {u32 errno, str16 sentence <= 256} and ends; raw bytes both ways after NETC_GO.
 *
 * End of a direction is the stream's EOF, which half-closes the TCP connection. All the guest says is a claim: the host checks bounds here and
 * the name against what the connection itself shows (SNI, Host), and logs pid and command as what the guest says they are.
 */
#ifndef BULKHEAD_PROTO_NETCONN_H
#define BULKHEAD_PROTO_NETCONN_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/rbuf.h"
#include "core/proto/frame.h"

#define NETCONN_PORT 16u
#define NETCONN_PORT_FORWARD 3u
#define NETCONN_VERSION 1u
#define NETCONN_FRAME_MAX 2048u /* payload of any frame here */

/* Frame types, numbered with those of agent.h and rows.h. */
enum netconn_type { NETC_OPEN = 128, NETC_GO = 129, NETC_RESET = 130, NETC_TO = 131, NETC_FAILED = 132 };

#define NET_NAME_MAX 254u /* a host name of RFC 1035's length without its last dot, and the NUL */

struct net_addr { uint8_t b[16]; }; /* IPv6, or IPv4-mapped (::ffff:a.b.c.d), network order */

struct netconn_open {
	uint16_t version;
	struct net_addr dst;      /* where the client connected to: an address of the DNS stub's range, or a raw one */
	uint16_t port;
	char name[NET_NAME_MAX];  /* what the stub answered that address for: lower case, no dot at its end; "" for a raw address */
	uint32_t pid, uid;        /* in the guest; 0 not known (a container's own network) */
	char comm[64];
	char cmdline[256];        /* arguments joined by blanks, cut */
	char container[64];       /* name, "" on the guest itself */
};

/* 0 or the buffer is failed / 0 or -EBADMSG (a name that is no host name, a version, trailing bytes). Strings but `name` are NOT scrubbed. */
int netconn_open_pack(struct buf *b, const struct netconn_open *m);
int netconn_open_unpack(struct rbuf *r, struct netconn_open *m);

/* Letters, digits, '-', '_' and dots, no empty or over-long label, not only digits and dots; lower case. Pure. */
bool net_name_legal(const char *name);

#endif
