/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a TLS ClientHello shows before anything is answered (RFC 8446 4.1.2, RFC 6066 3, RFC 7301, draft-ietf-tls-esni). Pure: no memory, no
 * I/O, never reads past n.
 *
 * The hello may be spread over several records; all of it must lie within SNI_HELLO_MAX bytes. A hello that is malformed, names two hosts,
 * repeats an extension or carries a name that is no host name (net_name_legal) is refused.
 */
#ifndef BULKHEAD_NETPOLICY_SNI_H
#define BULKHEAD_NETPOLICY_SNI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/proto/netconn.h"

#define SNI_HELLO_MAX 16384u /* bytes of the handshake message; a post-quantum key share is about 1,300 */
#define SNI_PEEK_MAX (SNI_HELLO_MAX + 64u * 5u)

struct sni_hello {
	char name[NET_NAME_MAX]; /* lower case, without a last dot; "" when the client names no host */
	bool ech;                /* encrypted_client_hello is there (real or greased: nobody outside can tell) */
	bool alpn_h2, alpn_http11;
	bool alpn;               /* some protocol is offered */
	uint16_t version;        /* highest offered: 0x0304, 0x0303, ... */
};

/* 0; -EAGAIN: legal so far, more is needed; -EPROTO: not TLS at all; -EBADMSG: TLS, but not a hello one may answer. */
int sni_parse(const uint8_t *p, size_t n, struct sni_hello *out);

#endif
