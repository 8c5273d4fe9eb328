/* SPDX-License-Identifier: Apache-2.0 */
/* Chunked bodies (RFC 9112 7.1): lines are looked at when they are whole, payload is handed on as it comes. */
#include "netpolicy/http1.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "core/base/str.h"

enum { CH_SIZE, CH_DATA, CH_DATA_END, CH_TRAILER, CH_DONE };

void http1_chunks_init(struct http1_chunks *c)
{
	*c = (struct http1_chunks){ .state = CH_SIZE };
}

/* Length of the line at p without its CRLF; -EAGAIN; -EBADMSG for a bare CR or LF, a control character or a line over max. */
static ssize_t line_at(const uint8_t *p, size_t n, size_t max)
{
	for (size_t i = 0; i < n && i <= max; i++) {
		if (p[i] == '\r') {
			if (i + 1 == n)
				return -EAGAIN;
			return p[i + 1] == '\n' ? (ssize_t)i : -EBADMSG;
		}
		if ((p[i] < 0x20 && p[i] != '\t') || p[i] == 0x7f)
			return -EBADMSG;
	}
	return n > max ? -EBADMSG : -EAGAIN;
}

static int hex(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* "1a2b" or "1a2b;extension": extensions mean nothing to us and are not sent on. */
static int size_line(struct http1_chunks *c, const uint8_t *p, size_t n)
{
	size_t i = 0;

	c->left = 0;
	for (; i < n && hex(p[i]) >= 0; i++) {
		if (i == 15)
			return -EBADMSG;
		c->left = c->left << 4 | (uint64_t)hex(p[i]);
	}
	if (i == 0 || (i < n && p[i] != ';'))
		return -EBADMSG;
	c->state = c->left ? CH_DATA : CH_TRAILER;
	c->line = 0;
	return 0;
}

bool http1_trailer_legal(const char *name)
{
	static const char *const no[] = { "content-length", "transfer-encoding", "host", "connection", "trailer", "te", "upgrade", "expect",
					  "content-encoding", "content-type", "content-range", "authorization", "proxy-authorization", "cookie",
					  "set-cookie", "cache-control", "keep-alive", "proxy-connection", "max-forwards", "range" };

	for (size_t i = 0; i < ARRAY_SIZE(no); i++)
		if (strcasecmp(name, no[i]) == 0)
			return false;
	return true;
}

static int trailer_line(struct http1_chunks *c, const uint8_t *p, size_t n, struct headers *trailers)
{
	const char *line = (const char *)p, *colon = memchr(p, ':', n);
	const size_t nlen = colon ? (size_t)(colon - line) : 0;

	c->line += n + 2;
	if (!colon || c->line > HTTP1_TRAILER_MAX || !header_token_legal(line, nlen))
		return -EBADMSG;
	const char *v = colon + 1;
	size_t vlen = n - nlen - 1;
	while (vlen > 0 && (*v == ' ' || *v == '\t'))
		v++, vlen--;
	while (vlen > 0 && (v[vlen - 1] == ' ' || v[vlen - 1] == '\t'))
		vlen--;
	if (headers_add(trailers, line, nlen, v, vlen) < 0)
		return -EBADMSG;
	if (!http1_trailer_legal(trailers->v[trailers->n - 1].name))
		headers_remove_at(trailers, trailers->n - 1);
	return 0;
}

int http1_chunks_step(struct http1_chunks *c, const uint8_t *p, size_t n, size_t *used, const uint8_t **data, size_t *ndata,
		      struct headers *trailers)
{
	ssize_t len;
	int r = 0;

	*used = *ndata = 0;
	*data = NULL;
	switch (c->state) {
	case CH_DATA:
		if (n == 0)
			return -EAGAIN;
		*data = p;
		*ndata = *used = c->left < n ? (size_t)c->left : n;
		c->left -= *ndata;
		if (c->left == 0)
			c->state = CH_DATA_END;
		return 0;
	case CH_DATA_END:
		if ((n > 0 && p[0] != '\r') || (n > 1 && p[1] != '\n'))
			return -EBADMSG;
		if (n < 2)
			return -EAGAIN;
		*used = 2;
		c->state = CH_SIZE;
		return 0;
	case CH_SIZE:
	case CH_TRAILER:
		len = line_at(p, n, c->state == CH_SIZE ? HTTP1_CHUNK_LINE_MAX : HTTP1_TRAILER_MAX);
		if (len < 0)
			return (int)len;
		*used = (size_t)len + 2;
		if (c->state == CH_SIZE) {
			r = size_line(c, p, (size_t)len);
		} else if (len == 0) {
			c->state = CH_DONE;
			r = 1;
		} else {
			r = trailer_line(c, p, (size_t)len, trailers);
		}
		return r;
	default:
		return 1;
	}
}
