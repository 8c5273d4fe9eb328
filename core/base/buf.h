/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growable byte buffer that is born with a maximum, and the little-endian packers of our wire
 * formats. Once an append fails (over the maximum, or out of memory) the buffer is `failed` and every
 * later append fails too, so a packer checks once, at the end: buf_ok().
 */
#ifndef BULKHEAD_BASE_BUF_H
#define BULKHEAD_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *data; /* owned */
	size_t off;    /* first unread byte: buf_consume() moves it */
	size_t len;    /* bytes from data[0], so [off, len) is unread */
	size_t cap;
	size_t max;    /* most unread bytes it may hold */
	bool failed;
};

void buf_init(struct buf *b, size_t max);
void buf_release(struct buf *b);      /* frees; the buffer is then as after buf_init(b, b->max) */
void buf_wipe(struct buf *b);         /* as release, the memory zeroed first (secrets) */
void buf_clear(struct buf *b);        /* empties, keeps the storage, clears `failed` */

static inline size_t buf_size(const struct buf *b) { return b->len - b->off; }
static inline const uint8_t *buf_head(const struct buf *b) { return b->data + b->off; }
static inline bool buf_ok(const struct buf *b) { return !b->failed; }
static inline size_t buf_room(const struct buf *b) { return b->max - buf_size(b); }

/* 0 or -ENOBUFS / -ENOMEM (and `failed` set). */
int buf_put(struct buf *b, const void *p, size_t n);
int buf_u8(struct buf *b, uint8_t v);
int buf_u16(struct buf *b, uint16_t v); /* little endian, as are all below */
int buf_u32(struct buf *b, uint32_t v);
int buf_u64(struct buf *b, uint64_t v);
int buf_str16(struct buf *b, const char *s);                   /* u16 length, bytes, no NUL; NULL packs as "" */
int buf_blob16(struct buf *b, const void *p, size_t n);        /* u16 length, bytes */
int buf_blob32(struct buf *b, const void *p, size_t n);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Room for n more bytes at the tail, to be read() into; then buf_grew(). NULL (and failed) if over the maximum. */
uint8_t *buf_reserve(struct buf *b, size_t n);
void buf_grew(struct buf *b, size_t n);
/* Overwrites a u32 packed before at offset `at` from the head (for lengths known later). */
void buf_patch_u32(struct buf *b, size_t at, uint32_t v);
/* Drop n bytes from the head (n <= buf_size). */
void buf_consume(struct buf *b, size_t n);

#endif
