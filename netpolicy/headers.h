/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list of header fields: what framing (http1, http2) and injection have in common, and all that either knows of the other.
 *
 * Order and spelling are kept; names compare without case. Bounded in number and bytes. Every value is zeroed before it is freed: it may
 * hold a credential. Values hold no CR, LF or NUL (headers_add refuses them).
 */
#ifndef BULKHEAD_NETPOLICY_HEADERS_H
#define BULKHEAD_NETPOLICY_HEADERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEADERS_MAX 200u
#define HEADERS_BYTES (96u * 1024u)

struct header {
	char *name, *value; /* owned, NUL-terminated */
	size_t nlen, vlen;
	bool secret;        /* a credential stands in it: never to be logged, never to be put into a compression table */
};

struct headers {
	struct header *v;
	size_t n, cap, bytes;
};

void headers_init(struct headers *h);
void headers_release(struct headers *h); /* wipes; then as after init */
/* 0, -E2BIG over a bound, -EINVAL illegal name or value, -ENOMEM. */
int headers_add(struct headers *h, const char *name, size_t nlen, const char *value, size_t vlen);
/* Replaces the value of field i (< n). As headers_add. */
int headers_change(struct headers *h, size_t i, const char *value, size_t vlen);
/* Removes every field of that name, then adds one. */
int headers_set(struct headers *h, const char *name, const char *value);
size_t headers_remove(struct headers *h, const char *name); /* number removed */
void headers_remove_at(struct headers *h, size_t i);
/* The first of that name or NULL. */
const struct header *headers_get(const struct headers *h, const char *name);
size_t headers_count(const struct headers *h, const char *name);
/* True if a comma-separated list in any field of that name has the token (without case, parameters cut). */
bool headers_token(const struct headers *h, const char *name, const char *token);
/*
 * Removes what belongs to one hop (RFC 9110 7.6.1): Connection and every field it names, Keep-Alive, Proxy-*, TE, Upgrade,
 * Transfer-Encoding. A name in Connection may not remove Host, Content-Length or a field of the body.
 */
void headers_strip_hop(struct headers *h);
bool header_is(const struct header *h, const char *name);
/* RFC 9110 5.6.2 token of at least one character. */
bool header_token_legal(const char *p, size_t n);
/* Visible characters, blanks, tabs and bytes over 0x7f. */
bool header_value_legal(const char *p, size_t n);

#endif
