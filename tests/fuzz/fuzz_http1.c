/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netpolicy/http1.c, http1_chunks.c: first byte 0 a request, 1 a response, 2 a response to HEAD; then head and body. What was taken and
 * written anew is taken again and means the same.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>

#include "netpolicy/http1.h"

static void chunks(const uint8_t *p, size_t n)
{
	struct http1_chunks c;
	struct headers trailers;
	const size_t all = n;
	size_t total = 0;
	int r = 0;

	http1_chunks_init(&c);
	headers_init(&trailers);
	while (r == 0) {
		const uint8_t *data;
		size_t used, ndata;

		r = http1_chunks_step(&c, p, n, &used, &data, &ndata, &trailers);
		MUST(r == 0 || r == 1 || r == -EAGAIN || r == -EBADMSG);
		MUST(used <= n && ndata <= used && (r != 0 || used > 0));
		MUST(ndata == 0 || (data >= p && data + ndata <= p + n));
		p += used;
		n -= used;
		total += ndata;
	}
	MUST(total <= all);
	for (size_t i = 0; i < trailers.n; i++)
		MUST(http1_trailer_legal(trailers.v[i].name));
	headers_release(&trailers);
}

static void again(const struct http1_head *m, int kind)
{
	struct http1_head two;
	struct buf b;
	size_t used = 0;
	const char *why;
	int r;

	buf_init(&b, 1u << 20);
	if (kind == 0) {
		MUST(http1_put_request(&b, m->method, m->target, &m->h) == 0);
		r = http1_parse_request(buf_head(&b), buf_size(&b), &two, &used, &why);
	} else {
		MUST(http1_put_response(&b, m->status, m->reason, &m->h) == 0);
		r = http1_parse_response(buf_head(&b), buf_size(&b), kind == 2, &two, &used, &why);
	}
	if (r == 0) {
		MUST(used == buf_size(&b) && two.h.n == m->h.n);
		MUST(m->minor == 0 || (two.framing == m->framing && two.length == m->length && two.keep_alive == m->keep_alive));
		MUST(kind != 0 || (strcmp(two.target, m->target) == 0 && strcmp(two.host.name, m->host.name) == 0));
		http1_release(&two);
	} else {
		/* Only what is refused by length may go wrong the second time: a blank behind each colon is added. */
		MUST(buf_size(&b) >= HTTP1_HEAD_MAX);
	}
	buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct http1_head m;
	size_t used = 0;
	const char *why = NULL;

	if (n == 0)
		return 0;
	const int kind = p[0] % 3;
	const int r = kind == 0 ? http1_parse_request(p + 1, n - 1, &m, &used, &why) : http1_parse_response(p + 1, n - 1, kind == 2, &m, &used, &why);
	MUST(r == 0 || r == -EAGAIN || r == -EPROTO || r == -EBADMSG);
	MUST(why && (r != -EBADMSG || *why));
	if (r < 0) {
		MUST(r != -EAGAIN || n - 1 < HTTP1_HEAD_MAX);
		return 0;
	}
	MUST(used > 0 && used <= n - 1);
	MUST(kind != 0 || (m.target && m.host.name[0]));
	if (strcmp(m.method, "CONNECT") != 0)
		again(&m, kind);
	if (m.framing == HTTP1_CHUNKED)
		chunks(p + 1 + used, n - 1 - used);
	http1_release(&m);
	return 0;
}
