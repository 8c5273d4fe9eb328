/* SPDX-License-Identifier: Apache-2.0 */
/* Heads: one pass finds the end and refuses illegal bytes, a second one cuts lines into parts. Chunks: http1_chunks.c. */
#include "netpolicy/http1.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/base/str.h"

#define LINE_MAX_BYTES (40u * 1024u)

static bool digits(const char *p, size_t n, uint64_t max, uint64_t *v)
{
	*v = 0;
	if (n == 0 || n > 19)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (p[i] < '0' || p[i] > '9')
			return false;
		*v = *v * 10 + (uint64_t)(p[i] - '0');
	}
	return *v <= max;
}

int authority_parse(const char *p, size_t n, struct authority *out)
{
	const char *colon = NULL;
	uint64_t port = 0;

	memset(out, 0, sizeof(*out));
	if (n == 0)
		return -EBADMSG;
	const char *host = p;
	size_t hlen = n;
	if (p[0] == '[') {
		const char *end = memchr(p, ']', n);
		struct in6_addr a;

		if (!end || end == p + 1 || (size_t)(end - p) > INET6_ADDRSTRLEN)
			return -EBADMSG;
		host = p + 1;
		hlen = (size_t)(end - p) - 1;
		memcpy(out->name, host, hlen);
		if (inet_pton(AF_INET6, out->name, &a) != 1 || !inet_ntop(AF_INET6, &a, out->name, sizeof(out->name)))
			return -EBADMSG;
		out->literal = true;
		if (end + 1 < p + n) {
			if (end[1] != ':')
				return -EBADMSG;
			colon = end + 1;
		}
	} else {
		struct in_addr a;

		colon = memchr(p, ':', n);
		if (colon)
			hlen = (size_t)(colon - p);
		if (hlen > 0 && host[hlen - 1] == '.')
			hlen--;
		if (hlen == 0 || hlen >= sizeof(out->name) || memchr(host, '\0', hlen))
			return -EBADMSG;
		for (size_t i = 0; i < hlen; i++)
			out->name[i] = (char)tolower((unsigned char)host[i]);
		out->name[hlen] = '\0';
		out->literal = inet_pton(AF_INET, out->name, &a) == 1;
		if (!out->literal && !net_name_legal(out->name))
			return -EBADMSG;
	}
	if (colon && (!digits(colon + 1, (size_t)(p + n - colon) - 1, UINT16_MAX, &port) || port == 0))
		return -EBADMSG;
	out->port = (uint16_t)port;
	return 0;
}

bool authority_is(const struct authority *a, const char *name, uint16_t port)
{
	return a->name[0] && strcmp(a->name, name) == 0 && (a->port == 0 || a->port == port);
}

/* ---- finding the end ---------------------------------------------------------------------------------------------------- */

/* 0 and *end behind the empty line; -EAGAIN; -EBADMSG. Every line ends in CRLF, nothing else below a blank but tabs. */
static int find_end(const uint8_t *p, size_t n, size_t *end, const char **why)
{
	const size_t limit = n < HTTP1_HEAD_MAX ? n : HTTP1_HEAD_MAX;
	size_t line = 0;

	for (size_t i = 0; i < limit; i++) {
		const uint8_t c = p[i];

		if (c == '\n') {
			*why = "a line feed without carriage return";
			return -EBADMSG;
		}
		if (c == '\r') {
			if (i + 1 == limit)
				break;
			if (p[i + 1] != '\n') {
				*why = "a carriage return without line feed";
				return -EBADMSG;
			}
			if (i == line) {
				*end = i + 2;
				return 0;
			}
			i++;
			line = i + 1;
			continue;
		}
		if ((c < 0x20 && c != '\t') || c == 0x7f) {
			*why = "a control character";
			return -EBADMSG;
		}
		if (i - line > LINE_MAX_BYTES) {
			*why = "a line too long";
			return -EBADMSG;
		}
	}
	if (n >= HTTP1_HEAD_MAX) {
		*why = "a head too long";
		return -EBADMSG;
	}
	return -EAGAIN;
}

/* The next line of a head known to end in an empty line: [*at, *at + len), *at moves behind its CRLF. */
static const char *next_line(const uint8_t *p, size_t *at, size_t *len)
{
	const char *line = (const char *)p + *at;
	size_t n = 0;

	while (line[n] != '\r')
		n++;
	*len = n;
	*at += n + 2;
	return line;
}

static int bad(const char **why, const char *text)
{
	*why = text;
	return -EBADMSG;
}

static int fields(const uint8_t *p, size_t at, struct headers *h, const char **why)
{
	for (;;) {
		size_t len;
		const char *line = next_line(p, &at, &len);

		if (len == 0)
			return 0;
		if (line[0] == ' ' || line[0] == '\t')
			return bad(why, "a folded line");
		const char *colon = memchr(line, ':', len);
		if (!colon || !header_token_legal(line, (size_t)(colon - line)))
			return bad(why, "an illegal field name");
		const char *v = colon + 1;
		size_t vlen = len - (size_t)(v - line);
		while (vlen > 0 && (*v == ' ' || *v == '\t'))
			v++, vlen--;
		while (vlen > 0 && (v[vlen - 1] == ' ' || v[vlen - 1] == '\t'))
			vlen--;
		const int r = headers_add(h, line, (size_t)(colon - line), v, vlen);
		if (r < 0)
			return bad(why, r == -E2BIG ? "too many fields" : "an illegal field");
	}
}

/* Content-Length and Transfer-Encoding: none, one of them, or it is refused. */
static int framing(struct http1_head *m, const char **why)
{
	const size_t nlen = headers_count(&m->h, "content-length"), nte = headers_count(&m->h, "transfer-encoding");

	if (nlen + nte > 1)
		return bad(why, nlen && nte ? "Content-Length beside Transfer-Encoding" : nlen ? "two lengths" : "two transfer codings");
	if (nte) {
		if (m->minor == 0)
			return bad(why, "Transfer-Encoding in HTTP/1.0");
		if (strcasecmp(headers_get(&m->h, "transfer-encoding")->value, "chunked") != 0)
			return bad(why, "a transfer coding that is not chunked");
		m->framing = HTTP1_CHUNKED;
	} else if (nlen) {
		const struct header *f = headers_get(&m->h, "content-length");

		if (!digits(f->value, f->vlen, INT64_MAX, &m->length))
			return bad(why, "a length that is no number");
		m->framing = HTTP1_LENGTH;
	}
	return 0;
}

static void connection(struct http1_head *m)
{
	m->keep_alive = m->minor >= 1 ? !headers_token(&m->h, "connection", "close") : headers_token(&m->h, "connection", "keep-alive");
	m->websocket = m->minor >= 1 && headers_token(&m->h, "connection", "upgrade") && headers_count(&m->h, "upgrade") == 1 &&
		       strcasecmp(headers_get(&m->h, "upgrade")->value, "websocket") == 0;
}

/* ---- requests ----------------------------------------------------------------------------------------------------------- */

int http1_looks(const uint8_t *p, size_t n)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	const size_t plen = sizeof(preface) - 1;

	if (n >= 4 && memcmp(p, preface, n < plen ? n : plen) == 0)
		return 2;
	for (size_t i = 0; i < n && i < HTTP1_METHOD_MAX; i++) {
		if (p[i] == ' ')
			return i > 0;
		if (!header_token_legal((const char *)p + i, 1))
			return 0;
	}
	return n < HTTP1_METHOD_MAX;
}

/* A target in absolute form is cut to its origin form; its authority must be that of Host (RFC 9112 3.2.2 lets it win: refusing is safer). */
static int absolute(struct http1_head *m, const char **t, size_t *tlen, const char **why)
{
	const size_t scheme = strncasecmp(*t, "http://", 7) == 0 ? 7 : strncasecmp(*t, "https://", 8) == 0 ? 8 : 0;
	struct authority a;

	if (!scheme)
		return bad(why, "a target that is no path");
	const char *host = *t + scheme;
	size_t n = 0;
	while (n < *tlen - scheme && host[n] != '/' && host[n] != '?' && host[n] != '#')
		n++;
	if (authority_parse(host, n, &a) < 0)
		return bad(why, "an illegal authority in the target");
	if (strcmp(a.name, m->host.name) != 0 || a.port != m->host.port)
		return bad(why, "a target that disagrees with Host");
	m->absolute_https = scheme == 8;
	*tlen -= scheme + n;
	*t = host + n;
	return 0;
}

static int target(struct http1_head *m, const char *t, size_t tlen, const char **why)
{
	int r = 0;

	for (size_t i = 0; i < tlen; i++)
		if ((uint8_t)t[i] <= 0x20 || (uint8_t)t[i] >= 0x7f || t[i] == '#')
			return bad(why, "an illegal character in the target");
	if (tlen == 0 || tlen > HTTP1_TARGET_MAX)
		return bad(why, "a target of illegal length");
	if (strcmp(m->method, "CONNECT") == 0) {
		/* Kept as it is: nobody sends it on. */
	} else if (t[0] != '/' && !(tlen == 1 && t[0] == '*' && strcmp(m->method, "OPTIONS") == 0)) {
		r = absolute(m, &t, &tlen, why);
		if (r < 0)
			return r;
	}
	const bool slash = tlen == 0 || t[0] == '?';
	m->target = malloc(tlen + slash + 1u);
	if (!m->target)
		return bad(why, "no memory");
	m->target[0] = '/';
	memcpy(m->target + slash, t, tlen);
	m->target[tlen + slash] = '\0';
	return 0;
}

static int host(struct http1_head *m, const char **why)
{
	const size_t n = headers_count(&m->h, "host");

	if (n != 1)
		return bad(why, n ? "two Host fields" : "no Host");
	const struct header *f = headers_get(&m->h, "host");
	if (authority_parse(f->value, f->vlen, &m->host) < 0)
		return bad(why, "an illegal Host");
	return 0;
}

static int version(const char *p, size_t n, struct http1_head *m, const char **why)
{
	if (n != 8 || memcmp(p, "HTTP/1.", 7) != 0 || (p[7] != '0' && p[7] != '1'))
		return bad(why, "a version that is not 1.0 or 1.1");
	m->minor = (uint8_t)(p[7] - '0');
	return 0;
}

static int request(const uint8_t *p, struct http1_head *m, const char **why)
{
	size_t at = 0, len;
	const char *line = next_line(p, &at, &len);
	const char *sp = memchr(line, ' ', len);
	const char *sp2 = sp ? memchr(sp + 1, ' ', len - (size_t)(sp + 1 - line)) : NULL;
	const size_t mlen = sp ? (size_t)(sp - line) : 0;

	if (!sp2 || !header_token_legal(line, mlen) || mlen >= sizeof(m->method))
		return bad(why, "an illegal request line");
	memcpy(m->method, line, mlen);
	int r = version(sp2 + 1, len - (size_t)(sp2 + 1 - line), m, why);
	if (r == 0)
		r = fields(p, at, &m->h, why);
	if (r == 0)
		r = host(m, why);
	if (r == 0)
		r = target(m, sp + 1, (size_t)(sp2 - sp) - 1, why);
	if (r == 0)
		r = framing(m, why);
	if (r < 0)
		return r;
	connection(m);
	m->expect_continue = m->minor >= 1 && headers_token(&m->h, "expect", "100-continue");
	return 0;
}

int http1_parse_request(const uint8_t *p, size_t n, struct http1_head *out, size_t *used, const char **why)
{
	size_t end = 0;

	memset(out, 0, sizeof(*out));
	*why = "";
	if (http1_looks(p, n) != 1) {
		*why = "not HTTP/1";
		return -EPROTO;
	}
	int r = find_end(p, n, &end, why);
	if (r == 0)
		r = request(p, out, why);
	if (r < 0) {
		http1_release(out);
		return r;
	}
	*used = end;
	return 0;
}

/* ---- responses ---------------------------------------------------------------------------------------------------------- */

static int response(const uint8_t *p, bool to_head, struct http1_head *m, const char **why)
{
	size_t at = 0, len;
	const char *line = next_line(p, &at, &len);
	uint64_t status = 0;

	if (len < 12 || line[8] != ' ' || (len > 12 && line[12] != ' ') || !digits(line + 9, 3, 599, &status) || status < 100)
		return bad(why, "an illegal status line");
	m->status = (uint16_t)status;
	for (size_t i = 13, k = 0; i < len && k < sizeof(m->reason) - 1; i++)
		if (line[i] >= 0x20 && line[i] < 0x7f)
			m->reason[k++] = line[i];
	int r = version(line, 8, m, why);
	if (r == 0)
		r = fields(p, at, &m->h, why);
	if (r == 0)
		r = framing(m, why);
	if (r < 0)
		return r;
	connection(m);
	if (to_head || status < 200 || status == 204 || status == 304) {
		m->framing = HTTP1_NONE;
	} else if (m->framing == HTTP1_NONE) {
		m->framing = HTTP1_CLOSE;
		m->keep_alive = false;
	}
	return 0;
}

int http1_parse_response(const uint8_t *p, size_t n, bool to_head, struct http1_head *out, size_t *used, const char **why)
{
	size_t end = 0;

	memset(out, 0, sizeof(*out));
	*why = "";
	if (memcmp(p, "HTTP/1.", n < 7 ? n : 7) != 0) {
		*why = "not HTTP/1";
		return -EPROTO;
	}
	int r = find_end(p, n, &end, why);
	if (r == 0)
		r = response(p, to_head, out, why);
	if (r < 0) {
		http1_release(out);
		return r;
	}
	*used = end;
	return 0;
}

void http1_release(struct http1_head *m)
{
	if (m->target)
		explicit_bzero(m->target, strlen(m->target));
	free(m->target);
	headers_release(&m->h);
	memset(m, 0, sizeof(*m));
}

/* ---- writers ------------------------------------------------------------------------------------------------------------ */

static int put_fields(struct buf *b, const struct headers *h)
{
	for (size_t i = 0; h && i < h->n; i++) {
		buf_put(b, h->v[i].name, h->v[i].nlen);
		buf_put(b, ": ", 2);
		buf_put(b, h->v[i].value, h->v[i].vlen);
		buf_put(b, "\r\n", 2);
	}
	return buf_put(b, "\r\n", 2);
}

int http1_put_request_line(struct buf *b, const char *method, const char *target_text)
{
	buf_put(b, method, strlen(method));
	buf_put(b, " ", 1);
	buf_put(b, target_text, strlen(target_text));
	return buf_put(b, " HTTP/1.1\r\n", 11);
}

int http1_put_request(struct buf *b, const char *method, const char *target_text, const struct headers *h)
{
	http1_put_request_line(b, method, target_text);
	return put_fields(b, h);
}

int http1_put_response(struct buf *b, uint16_t status, const char *reason, const struct headers *h)
{
	buf_printf(b, "HTTP/1.1 %u %s\r\n", status, reason);
	return put_fields(b, h);
}

int http1_put_chunk(struct buf *b, const uint8_t *p, size_t n)
{
	buf_printf(b, "%zx\r\n", n);
	buf_put(b, p, n);
	return buf_put(b, "\r\n", 2);
}

int http1_put_last_chunk(struct buf *b, const struct headers *trailers)
{
	buf_put(b, "0\r\n", 3);
	return put_fields(b, trailers);
}

const char *http1_reason(uint16_t status)
{
	static const struct { uint16_t status; const char *reason; } table[] = {
		{ 100, "Continue" }, { 101, "Switching Protocols" }, { 103, "Early Hints" }, { 200, "OK" }, { 204, "No Content" }, { 206, "Partial Content" },
		{ 301, "Moved Permanently" }, { 302, "Found" }, { 304, "Not Modified" }, { 400, "Bad Request" }, { 401, "Unauthorized" },
		{ 403, "Forbidden" }, { 404, "Not Found" }, { 405, "Method Not Allowed" }, { 408, "Request Timeout" }, { 421, "Misdirected Request" },
		{ 431, "Request Header Fields Too Large" }, { 500, "Internal Server Error" }, { 501, "Not Implemented" }, { 502, "Bad Gateway" },
		{ 503, "Service Unavailable" }, { 504, "Gateway Timeout" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (table[i].status == status)
			return table[i].reason;
	return status < 400 ? "OK" : "Error";
}
