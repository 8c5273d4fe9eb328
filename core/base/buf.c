/* SPDX-License-Identifier: Apache-2.0 */
/* Storage grows by doubling up to the maximum; consumed bytes at the head are reclaimed when the tail needs room. */
#include "core/base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 256u

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){ .max = max };
}

void buf_release(struct buf *b)
{
	free(b->data);
	buf_init(b, b->max);
}

void buf_wipe(struct buf *b)
{
	if (b->data)
		explicit_bzero(b->data, b->cap);
	buf_release(b);
}

void buf_clear(struct buf *b)
{
	b->off = b->len = 0;
	b->failed = false;
}

static int fail(struct buf *b, int code)
{
	b->failed = true;
	return -code;
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
	const size_t have = buf_size(b);

	if (b->failed || n > b->max - have) {
		fail(b, ENOBUFS);
		return NULL;
	}
	if (b->cap - b->len >= n && b->data)
		return b->data + b->len;
	/* Moving down what is unread is enough if that leaves half of the storage free or none must be bought at all. */
	if (b->off > 0 && b->cap - have >= n && have <= b->cap / 2) {
		memmove(b->data, b->data + b->off, have);
		b->off = 0;
		b->len = have;
		return b->data + b->len;
	}
	size_t cap = b->cap ? b->cap : FIRST_CAP;
	while (cap - have < n)
		cap = cap > SIZE_MAX / 2 ? have + n : cap * 2;
	uint8_t *p = malloc(cap);
	if (!p) {
		fail(b, ENOMEM);
		return NULL;
	}
	if (have > 0)
		memcpy(p, b->data + b->off, have);
	free(b->data);
	b->data = p;
	b->cap = cap;
	b->off = 0;
	b->len = have;
	return p + have;
}

void buf_grew(struct buf *b, size_t n)
{
	b->len += n;
}

int buf_put(struct buf *b, const void *p, size_t n)
{
	if (n == 0)
		return b->failed ? -ENOBUFS : 0;
	uint8_t *at = buf_reserve(b, n);

	if (!at)
		return -ENOBUFS;
	memcpy(at, p, n);
	b->len += n;
	return 0;
}

int buf_u8(struct buf *b, uint8_t v)
{
	return buf_put(b, &v, 1);
}

int buf_u16(struct buf *b, uint16_t v)
{
	const uint8_t p[2] = { (uint8_t)v, (uint8_t)(v >> 8) };

	return buf_put(b, p, sizeof(p));
}

int buf_u32(struct buf *b, uint32_t v)
{
	const uint8_t p[4] = { (uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24) };

	return buf_put(b, p, sizeof(p));
}

int buf_u64(struct buf *b, uint64_t v)
{
	buf_u32(b, (uint32_t)v);
	return buf_u32(b, (uint32_t)(v >> 32));
}

int buf_blob16(struct buf *b, const void *p, size_t n)
{
	if (n > UINT16_MAX)
		return fail(b, ENOBUFS);
	buf_u16(b, (uint16_t)n);
	return buf_put(b, p, n);
}

int buf_blob32(struct buf *b, const void *p, size_t n)
{
	if (n > UINT32_MAX)
		return fail(b, ENOBUFS);
	buf_u32(b, (uint32_t)n);
	return buf_put(b, p, n);
}

int buf_str16(struct buf *b, const char *s)
{
	return buf_blob16(b, s ? s : "", s ? strlen(s) : 0);
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	const int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return fail(b, EINVAL);
	/* One byte more for the NUL, which is not kept; a buffer that is full to the brim gets it through a copy. */
	char small[512];
	char *text = (size_t)n < sizeof(small) ? small : malloc((size_t)n + 1);
	if (!text)
		return fail(b, ENOMEM);
	va_start(ap, fmt);
	vsnprintf(text, (size_t)n + 1, fmt, ap);
	va_end(ap);
	const int r = buf_put(b, text, (size_t)n);
	if (text != small)
		free(text);
	return r;
}

void buf_patch_u32(struct buf *b, size_t at, uint32_t v)
{
	if (b->failed || buf_size(b) < 4 || at > buf_size(b) - 4)
		return;
	uint8_t *p = b->data + b->off + at;

	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

void buf_consume(struct buf *b, size_t n)
{
	b->off += n;
	if (b->off == b->len)
		b->off = b->len = 0;
}
