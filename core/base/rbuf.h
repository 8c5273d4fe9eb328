/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The consuming reader: the only way foreign bytes become values. Every call consumes or fails with
 * -EBADMSG and then every later call fails too (`bad`), so a parser may chain calls and check once.
 * Pointers handed out live as long as the memory the reader was opened on.
 */
#ifndef BULKHEAD_BASE_RBUF_H
#define BULKHEAD_BASE_RBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rbuf {
	const uint8_t *p;
	size_t n;
	bool bad;
};

void rbuf_init(struct rbuf *r, const void *p, size_t n);
int rbuf_u8(struct rbuf *r, uint8_t *v);
int rbuf_u16(struct rbuf *r, uint16_t *v); /* little endian, as are all below */
int rbuf_u32(struct rbuf *r, uint32_t *v);
int rbuf_u64(struct rbuf *r, uint64_t *v);
int rbuf_bytes(struct rbuf *r, size_t n, const uint8_t **p);
int rbuf_copy(struct rbuf *r, void *dst, size_t n);
/* u16 length then bytes. */
int rbuf_blob16(struct rbuf *r, const uint8_t **p, size_t *n);
int rbuf_blob32(struct rbuf *r, const uint8_t **p, size_t *n);
/* u16 length then bytes into dst[cap] as a C string: -EBADMSG if it does not fit or holds a NUL. */
int rbuf_str16(struct rbuf *r, char *dst, size_t cap);
/* 0 if everything was consumed and nothing failed, else -EBADMSG: trailing bytes are an error. */
int rbuf_done(const struct rbuf *r);

#endif
