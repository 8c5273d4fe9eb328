/* SPDX-License-Identifier: Apache-2.0 */
#include "core/proto/tree.h"

#include <errno.h>
#include <string.h>

static void begin(struct buf *b, const char *key, char tag)
{
	buf_u8(b, (uint8_t)tag);
	if (key)
		buf_str16(b, key);
}

void tree_object(struct buf *b, const char *key)
{
	begin(b, key, 'o');
}

void tree_list(struct buf *b, const char *key)
{
	begin(b, key, 'a');
}

void tree_end(struct buf *b)
{
	buf_u8(b, 'e');
}

void tree_text(struct buf *b, const char *key, const void *p, size_t n)
{
	begin(b, key, 's');
	buf_blob32(b, p, n);
}

void tree_str(struct buf *b, const char *key, const char *s)
{
	if (s)
		tree_text(b, key, s, strlen(s));
	else
		tree_null(b, key);
}

void tree_int(struct buf *b, const char *key, int64_t v)
{
	begin(b, key, 'i');
	buf_u64(b, (uint64_t)v);
}

void tree_bool(struct buf *b, const char *key, bool v)
{
	begin(b, key, v ? 't' : 'f');
}

void tree_null(struct buf *b, const char *key)
{
	begin(b, key, 'n');
}

void tree_read_init(struct tree_reader *t, const void *p, size_t n)
{
	*t = (struct tree_reader){ .depth = 0 };
	rbuf_init(&t->r, p, n);
}

static int value(struct tree_reader *t, uint8_t tag, struct tree_item *out)
{
	const uint8_t *p;
	uint64_t v;

	switch (tag) {
	case 's':
		out->kind = TREE_TEXT;
		if (rbuf_blob32(&t->r, &p, &out->len) == 0)
			out->text = (const char *)p;
		break;
	case 'i':
		out->kind = TREE_INT;
		if (rbuf_u64(&t->r, &v) == 0)
			out->number = (int64_t)v;
		break;
	case 't':
		out->kind = TREE_TRUE;
		break;
	case 'f':
		out->kind = TREE_FALSE;
		break;
	case 'n':
		out->kind = TREE_NULL;
		break;
	case 'o':
	case 'a':
		out->kind = tag == 'o' ? TREE_OBJECT : TREE_LIST;
		if (t->depth == TREE_DEPTH_MAX)
			return -EBADMSG;
		t->object[t->depth++] = tag == 'o';
		break;
	default:
		return -EBADMSG;
	}
	return t->r.bad ? -EBADMSG : 0;
}

int tree_read(struct tree_reader *t, struct tree_item *out)
{
	uint8_t tag;

	*out = (struct tree_item){ .kind = TREE_NULL };
	if (t->done)
		return rbuf_done(&t->r) < 0 ? -EBADMSG : 1;
	if (rbuf_u8(&t->r, &tag) < 0)
		return -EBADMSG;
	if (tag == 'e') {
		if (t->depth == 0)
			return -EBADMSG;
		t->depth--;
		out->kind = TREE_END;
	} else {
		if (t->depth > 0 && t->object[t->depth - 1] && rbuf_str16(&t->r, out->key, sizeof(out->key)) < 0)
			return -EBADMSG;
		if (value(t, tag, out) < 0)
			return -EBADMSG;
	}
	t->done = t->depth == 0;
	return 0;
}
