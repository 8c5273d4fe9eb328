/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/rbuf.h"

#include <errno.h>
#include <string.h>

void rbuf_init(struct rbuf *r, const void *p, size_t n)
{
	*r = (struct rbuf){ .p = p, .n = n };
}

int rbuf_bytes(struct rbuf *r, size_t n, const uint8_t **p)
{
	if (r->bad || n > r->n) {
		r->bad = true;
		*p = NULL;
		return -EBADMSG;
	}
	*p = r->p;
	r->p += n;
	r->n -= n;
	return 0;
}

/* Little endian, `size` bytes; 0 when it fails, so that a caller who checks at the end never sees rubbish. */
static int number(struct rbuf *r, size_t size, uint64_t *v)
{
	const uint8_t *p;

	*v = 0;
	if (rbuf_bytes(r, size, &p) < 0)
		return -EBADMSG;
	for (size_t i = 0; i < size; i++)
		*v |= (uint64_t)p[i] << (8 * i);
	return 0;
}

int rbuf_u8(struct rbuf *r, uint8_t *v)
{
	uint64_t x;
	const int rc = number(r, sizeof(*v), &x);

	*v = (uint8_t)x;
	return rc;
}

int rbuf_u16(struct rbuf *r, uint16_t *v)
{
	uint64_t x;
	const int rc = number(r, sizeof(*v), &x);

	*v = (uint16_t)x;
	return rc;
}

int rbuf_u32(struct rbuf *r, uint32_t *v)
{
	uint64_t x;
	const int rc = number(r, sizeof(*v), &x);

	*v = (uint32_t)x;
	return rc;
}

int rbuf_u64(struct rbuf *r, uint64_t *v)
{
	return number(r, sizeof(*v), v);
}

int rbuf_copy(struct rbuf *r, void *dst, size_t n)
{
	const uint8_t *p;

	if (rbuf_bytes(r, n, &p) < 0) {
		memset(dst, 0, n);
		return -EBADMSG;
	}
	if (n > 0)
		memcpy(dst, p, n);
	return 0;
}

int rbuf_blob16(struct rbuf *r, const uint8_t **p, size_t *n)
{
	uint16_t len;

	*p = NULL;
	*n = 0;
	if (rbuf_u16(r, &len) < 0 || rbuf_bytes(r, len, p) < 0)
		return -EBADMSG;
	*n = len;
	return 0;
}

int rbuf_blob32(struct rbuf *r, const uint8_t **p, size_t *n)
{
	uint32_t len;

	*p = NULL;
	*n = 0;
	if (rbuf_u32(r, &len) < 0 || rbuf_bytes(r, len, p) < 0)
		return -EBADMSG;
	*n = len;
	return 0;
}

int rbuf_str16(struct rbuf *r, char *dst, size_t cap)
{
	const uint8_t *p;
	size_t n;

	dst[0] = '\0';
	if (rbuf_blob16(r, &p, &n) < 0)
		return -EBADMSG;
	if (n >= cap || (n > 0 && memchr(p, 0, n))) {
		r->bad = true;
		return -EBADMSG;
	}
	if (n > 0)
		memcpy(dst, p, n);
	dst[n] = '\0';
	return 0;
}

int rbuf_done(const struct rbuf *r)
{
	return r->bad || r->n > 0 ? -EBADMSG : 0;
}
