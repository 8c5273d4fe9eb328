/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A value with parts (object, list, text, whole number, true, false, nothing) in bytes, for answers whose shape a client's protocol fixes and
 * that a sealed child makes: small enough to be checked in a page, unlike JSON.
 *
 *   'o' value* 'e' | 'a' value* 'e' | 's' u32 length, bytes | 'i' i64 | 't' | 'f' | 'n'
 *   in an object the tag is followed by the key: u16 length, bytes                             little endian
 */
#ifndef BULKHEAD_PROTO_TREE_H
#define BULKHEAD_PROTO_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/rbuf.h"

#define TREE_DEPTH_MAX 8u
#define TREE_KEY_MAX 64u
#define TREE_MAX (768u * 1024u) /* of a whole one */

/* Writers; `key` is NULL in a list and for the outermost value. Failures stay in b. */
void tree_object(struct buf *b, const char *key);
void tree_list(struct buf *b, const char *key);
void tree_end(struct buf *b);
void tree_text(struct buf *b, const char *key, const void *p, size_t n); /* UTF-8 */
void tree_str(struct buf *b, const char *key, const char *s);            /* NULL: nothing */
void tree_int(struct buf *b, const char *key, int64_t v);
void tree_bool(struct buf *b, const char *key, bool v);
void tree_null(struct buf *b, const char *key);

enum tree_kind { TREE_OBJECT, TREE_LIST, TREE_END, TREE_TEXT, TREE_INT, TREE_TRUE, TREE_FALSE, TREE_NULL };
struct tree_item {
	enum tree_kind kind;
	char key[TREE_KEY_MAX + 1]; /* "" in a list */
	const char *text;           /* borrowed, not terminated */
	size_t len;
	int64_t number;
};
struct tree_reader {
	struct rbuf r;
	unsigned depth;
	bool object[TREE_DEPTH_MAX];
	bool done;
};
void tree_read_init(struct tree_reader *t, const void *p, size_t n);
/* 0 and the next item; 1 the value is complete and nothing is behind it; -EBADMSG. */
int tree_read(struct tree_reader *t, struct tree_item *out);

#endif
