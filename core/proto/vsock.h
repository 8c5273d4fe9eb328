/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The channel of a machine with a vsock device: a stream is a connection, no framing of ours. The host connects to the guest's ports; the
 * guest to the host's (CID 2). The guest's first connection goes to VSOCK_PORT_UP and stays open and silent: it says that the
 * agent listens now. When it ends, everything of that guest has ended.
 */
#ifndef BULKHEAD_PROTO_VSOCK_H
#define BULKHEAD_PROTO_VSOCK_H

#define VSOCK_CID_GUEST 3u
#define VSOCK_PORT_UP 1024u
#define VSOCK_PORTS 8u /* the guest listens on 1 .. VSOCK_PORTS; what no part of it takes is closed at once */

#endif
