/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.x heads and framing (RFC 9110, RFC 9112), strict where leniency is how requests are smuggled. Pure but for the memory of a head.
 *
 * Refused: bare LF or CR, obs-fold, blanks before a colon, control characters, an empty or over-long line, more than one Content-Length (even
 * equal ones), Content-Length that is not plain digits, Transfer-Encoding beside Content-Length or in HTTP/1.0, any coding but a lone
 * "chunked", no or more than one Host, an absolute URI that is not http(s) or disagrees with Host, a version but 1.0 and 1.1. What is taken is
 * written anew from the parsed parts (http1_put_*), so a reading of ours and a reading of the next server cannot differ.
 */
#ifndef BULKHEAD_NETPOLICY_HTTP1_H
#define BULKHEAD_NETPOLICY_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/proto/netconn.h"
#include "netpolicy/headers.h"

#define HTTP1_HEAD_MAX (64u * 1024u)
#define HTTP1_METHOD_MAX 24u
#define HTTP1_TARGET_MAX (32u * 1024u)
#define HTTP1_CHUNK_LINE_MAX 512u     /* size and extensions of one chunk */
#define HTTP1_TRAILER_MAX (16u * 1024u)

/* "host", "host:port", "[v6]:port". */
struct authority {
	char name[NET_NAME_MAX]; /* lower case, without a last dot; a literal as text, IPv6 without brackets */
	bool literal;
	uint16_t port;           /* 0: none given */
};
/* 0 or -EBADMSG (user information, illegal name, port 0). */
int authority_parse(const char *p, size_t n, struct authority *out);
/* The name is `name` and the port, if given, is `port`. */
bool authority_is(const struct authority *a, const char *name, uint16_t port);

enum http1_framing {
	HTTP1_NONE,    /* no body */
	HTTP1_LENGTH,
	HTTP1_CHUNKED,
	HTTP1_CLOSE,   /* response: until the end of the connection */
	HTTP1_FRAMING_NUM
};

struct http1_head {
	uint8_t minor;                 /* HTTP/1.minor */
	char method[HTTP1_METHOD_MAX]; /* request */
	char *target;                  /* request: origin form ("/path?query", "*"), owned; an absolute URI is cut to it */
	struct authority host;         /* request */
	bool absolute_https;           /* the target was an absolute https URI */
	uint16_t status;               /* response: 100..599 */
	char reason[64];               /* response, cut, visible ASCII */
	struct headers h;              /* all fields as they came */
	enum http1_framing framing;
	uint64_t length;               /* HTTP1_LENGTH */
	bool keep_alive;               /* the sender is willing */
	bool expect_continue;
	bool websocket;                /* Connection: upgrade and Upgrade: websocket */
};

/*
 * Parses one head from p. 0 and *used; -EAGAIN (legal so far; never for n >= HTTP1_HEAD_MAX); -EPROTO: it does not begin as HTTP does;
 * -EBADMSG with *why a phrase ("two lengths"). On success `out` is to be released. On failure it holds nothing.
 */
int http1_parse_request(const uint8_t *p, size_t n, struct http1_head *out, size_t *used, const char **why);
/* `to_head`: the response answers a HEAD request (no body whatever it says). */
int http1_parse_response(const uint8_t *p, size_t n, bool to_head, struct http1_head *out, size_t *used, const char **why);
void http1_release(struct http1_head *m);
/* A first look: 1 may be HTTP/1 (a method and a blank, or the beginning of such), 0 is not. 2: the preface of HTTP/2 in clear. */
int http1_looks(const uint8_t *p, size_t n);

/*
 * The incremental chunked decoder. Trailers are collected into `trailers` (caller's, initialised); fields that belong to framing,
 * routing or authentication are dropped there (RFC 9110 6.5.1).
 */
struct http1_chunks {
	uint8_t state;
	uint64_t left;      /* of this chunk */
	size_t line;        /* bytes of this line or trailer block */
};
void http1_chunks_init(struct http1_chunks *c);
/*
 * Takes from p: *used bytes eaten; *data, *ndata: payload found among them (one contiguous piece, maybe none). Call again while *used > 0.
 * 0 more to come; 1 the body and its trailers are over; -EAGAIN: needs more bytes than n; -EBADMSG.
 */
int http1_chunks_step(struct http1_chunks *c, const uint8_t *p, size_t n, size_t *used, const uint8_t **data, size_t *ndata,
		      struct headers *trailers);
/* True if a field may stand in trailers. */
bool http1_trailer_legal(const char *name);

/* Writers. 0 or -ENOBUFS (b->failed). `h` is written as it is: the caller has put Host, Content-Length and the like there. */
int http1_put_request_line(struct buf *b, const char *method, const char *target);
int http1_put_request(struct buf *b, const char *method, const char *target, const struct headers *h);
int http1_put_response(struct buf *b, uint16_t status, const char *reason, const struct headers *h);
int http1_put_chunk(struct buf *b, const uint8_t *p, size_t n); /* n > 0 */
int http1_put_last_chunk(struct buf *b, const struct headers *trailers); /* NULL: none */
#define HTTP1_CHUNK_EXTRA 20u /* most bytes a chunk takes beside its payload */
const char *http1_reason(uint16_t status);

#endif
