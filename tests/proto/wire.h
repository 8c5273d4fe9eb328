/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold for every packed struct, whoever made the bytes. A struct kind is a row of functions; wire_check() tries on it:
 *
 *   a round trip gives every field back · every proper prefix fails · a trailing byte is seen · one flipped bit either fails
 *   or gives a struct that packs to the very bytes it came from (so nothing foreign is lost, read twice or left unterminated) ·
 *   a buffer that is one byte too small fails the packer
 *
 * Bytes to parse lie in a heap block of exactly their size, so that AddressSanitizer sees a read beyond.
 */
#ifndef BULKHEAD_TESTS_PROTO_WIRE_H
#define BULKHEAD_TESTS_PROTO_WIRE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/rbuf.h"

struct wire_kind {
	size_t size;
	int (*pack)(struct buf *b, const void *m);
	int (*unpack)(struct rbuf *r, void *m);
	void (*release)(void *m); /* NULL: holds nothing */
};

#define WIRE_KIND(name)                                                                                        \
	static int name##_pack_any(struct buf *b, const void *m) { return name##_pack(b, m); }                 \
	static int name##_unpack_any(struct rbuf *r, void *m) { return name##_unpack(r, m); }                  \
	static const struct wire_kind name##_kind = { sizeof(struct name), name##_pack_any, name##_unpack_any, NULL }

#define WIRE_KIND_OWNING(name)                                                                                 \
	static int name##_pack_any(struct buf *b, const void *m) { return name##_pack(b, m); }                 \
	static int name##_unpack_any(struct rbuf *r, void *m) { return name##_unpack(r, m); }                  \
	static void name##_release_any(void *m) { name##_release(m); }                                         \
	static const struct wire_kind name##_kind = { sizeof(struct name), name##_pack_any, name##_unpack_any, name##_release_any }

/* Unpacks n bytes as a whole payload into a fresh struct at m. */
static inline int wire_parse(const struct wire_kind *k, const uint8_t *p, size_t n, void *m)
{
	uint8_t *copy = malloc(n ? n : 1);
	struct rbuf r;

	assert_non_null(copy);
	if (n > 0)
		memcpy(copy, p, n);
	rbuf_init(&r, copy, n);
	int rc = k->unpack(&r, m);
	assert_true(rc == 0 || rc == -EBADMSG);
	if (rc == 0 && rbuf_done(&r) < 0) {
		if (k->release)
			k->release(m);
		rc = -EBADMSG;
	}
	free(copy);
	return rc;
}

/* m: zeroed before it was filled (padding too). Flat structs are compared byte by byte, owning ones by what they pack to. */
static inline void wire_check(const struct wire_kind *k, const void *m)
{
	struct buf b, again;
	void *out = calloc(1, k->size);

	assert_non_null(out);
	buf_init(&b, 1 << 20);
	buf_init(&again, 1 << 20);
	assert_int_equal(k->pack(&b, m), 0);
	const size_t n = buf_size(&b);

	assert_int_equal(wire_parse(k, buf_head(&b), n, out), 0);
	if (!k->release)
		assert_memory_equal(out, m, k->size);
	assert_int_equal(k->pack(&again, out), 0);
	assert_int_equal(buf_size(&again), n);
	assert_memory_equal(buf_head(&again), buf_head(&b), n);
	if (k->release)
		k->release(out);

	for (size_t cut = 0; cut < n; cut++) {
		memset(out, 0, k->size);
		assert_int_equal(wire_parse(k, buf_head(&b), cut, out), -EBADMSG);
	}
	uint8_t *longer = malloc(n + 1);
	assert_non_null(longer);
	memcpy(longer, buf_head(&b), n);
	longer[n] = 0;
	memset(out, 0, k->size);
	assert_int_equal(wire_parse(k, longer, n + 1, out), -EBADMSG);

	for (size_t bit = 0; bit < 8 * n; bit++) {
		longer[bit / 8] ^= (uint8_t)(1u << bit % 8);
		memset(out, 0, k->size);
		if (wire_parse(k, longer, n, out) == 0) {
			buf_clear(&again);
			assert_int_equal(k->pack(&again, out), 0);
			assert_int_equal(buf_size(&again), n);
			assert_memory_equal(buf_head(&again), longer, n);
			if (k->release)
				k->release(out);
		}
		longer[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	free(longer);
	buf_release(&again);

	struct buf small;
	buf_init(&small, n - 1);
	assert_int_not_equal(k->pack(&small, m), 0);
	assert_false(buf_ok(&small));
	buf_release(&small);
	buf_release(&b);
	free(out);
}

/* What packs (a packer checks no enumeration) and must not unpack. */
static inline void wire_refuses(const struct wire_kind *k, const void *m)
{
	struct buf b;
	void *out = calloc(1, k->size);

	assert_non_null(out);
	buf_init(&b, 65536);
	assert_int_equal(k->pack(&b, m), 0);
	assert_int_equal(wire_parse(k, buf_head(&b), buf_size(&b), out), -EBADMSG);
	buf_release(&b);
	free(out);
}

/* A string of `n` letters into dst[cap], NUL-terminated. */
static inline void wire_text(char *dst, size_t cap, size_t n)
{
	assert_true(n < cap);
	for (size_t i = 0; i < n; i++)
		dst[i] = (char)('a' + i % 26);
	dst[n] = '\0';
}
#define WIRE_FULL(field) wire_text((field), sizeof(field), sizeof(field) - 1)

#endif
