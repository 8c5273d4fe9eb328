/* SPDX-License-Identifier: Apache-2.0 */
/* What both ends of HTTP/2 share. nghttp2 checks the messages (RFC 9113 8.2, lengths, pseudo fields); its memory is wiped, values pass through it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "netpolicy/xchg.h"

/* ---- memory: each block knows its size ---------------------------------------------------------------------------------- */

#define BLOCK_HEAD 16u

static void *get(size_t n, void *arg)
{
	uint8_t *p = n <= SIZE_MAX - BLOCK_HEAD ? malloc(n + BLOCK_HEAD) : NULL;

	(void)arg;
	if (!p)
		return NULL;
	memcpy(p, &n, sizeof(n));
	return p + BLOCK_HEAD;
}

static void put(void *q, void *arg)
{
	uint8_t *p = q;
	size_t n;

	(void)arg;
	if (!p)
		return;
	memcpy(&n, p - BLOCK_HEAD, sizeof(n));
	explicit_bzero(p, n);
	free(p - BLOCK_HEAD);
}

static void *get_zeroed(size_t count, size_t size, void *arg)
{
	size_t n;
	void *p = __builtin_mul_overflow(count, size, &n) ? NULL : get(n, arg);

	if (p)
		memset(p, 0, n);
	return p;
}

static void *resize(void *q, size_t n, void *arg)
{
	size_t old = 0;

	if (q)
		memcpy(&old, (uint8_t *)q - BLOCK_HEAD, sizeof(old));
	void *p = get(n, arg);
	if (!p)
		return NULL;
	if (q)
		memcpy(p, q, old < n ? old : n);
	put(q, arg);
	return p;
}

nghttp2_mem *h2_memory(void)
{
	static nghttp2_mem mem = { .malloc = get, .free = put, .calloc = get_zeroed, .realloc = resize };

	return &mem;
}

/* ---- fields ------------------------------------------------------------------------------------------------------------- */

int h2_fields_init(struct h2_fields *f, const struct headers *h)
{
	f->n = 0;
	f->names = malloc(h->bytes + 1);
	return f->names ? 0 : -ENOMEM;
}

static void add(struct h2_fields *f, const char *name, size_t nlen, const char *value, size_t vlen, bool secret)
{
	f->nv[f->n++] = (nghttp2_nv){
		.name = (uint8_t *)(uintptr_t)name, .namelen = nlen, .value = (uint8_t *)(uintptr_t)value, .valuelen = vlen,
		.flags = (uint8_t)(secret ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE),
	};
}

void h2_fields_pseudo(struct h2_fields *f, const char *name, const char *value)
{
	add(f, name, strlen(name), value, strlen(value), false);
}

int h2_fields_add(struct h2_fields *f, const struct headers *h)
{
	char *name = f->names;

	for (size_t i = 0; i < h->n; i++) {
		const struct header *x = &h->v[i];

		if (header_is(x, "host") || header_is(x, "te"))
			continue;
		for (size_t k = 0; k < x->nlen; k++)
			name[k] = (char)(x->name[k] >= 'A' && x->name[k] <= 'Z' ? x->name[k] + 32 : x->name[k]);
		add(f, name, x->nlen, x->value, x->vlen, x->secret);
		name += x->nlen;
	}
	return 0;
}

void h2_fields_release(struct h2_fields *f)
{
	free(f->names);
	f->names = NULL;
}

/* ---- frames ------------------------------------------------------------------------------------------------------------- */

int h2_send(nghttp2_session *s, struct wire *w)
{
	bool any = false;

	/* A frame is at most 16 KiB and a head; the wire's buffer has that much beyond what it calls room. */
	while (wire_room(w) > 0) {
		const uint8_t *p;
		const ssize_t n = nghttp2_session_mem_send(s, &p);

		if (n < 0 || (n > 0 && buf_put(wire_out(w), p, (size_t)n) < 0))
			return -EPROTO;
		if (n == 0)
			break;
		any = true;
	}
	if (any)
		wire_flush(w);
	if (wire_room(w) == 0)
		wire_want_room(w);
	return 0;
}

static void trailers(nghttp2_session *s, int32_t id, const struct headers *h)
{
	struct h2_fields f;

	if (h2_fields_init(&f, h) < 0)
		return;
	h2_fields_add(&f, h);
	nghttp2_submit_trailer(s, id, f.nv, f.n);
	h2_fields_release(&f);
}

ssize_t h2_take(nghttp2_session *s, int32_t id, struct body *body, uint8_t *p, size_t n, uint32_t *flags)
{
	const size_t have = buf_size(&body->b), take = have < n ? have : n;

	if (have == 0 && !body->end)
		return NGHTTP2_ERR_DEFERRED;
	if (take > 0) {
		memcpy(p, buf_head(&body->b), take);
		buf_consume(&body->b, take);
	}
	if (buf_size(&body->b) == 0 && body->end) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		if (body->trailers.n > 0) {
			*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
			trailers(s, id, &body->trailers);
		}
	}
	return (ssize_t)take;
}
