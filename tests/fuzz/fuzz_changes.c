/* SPDX-License-Identifier: Apache-2.0 */
/* core/proto/changes.c, core/review/uppers.c: a guest's stream of what lies in its upper layer, and what it sends as content; core/proto/tree.c. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>

#include "core/base/escape.h"
#include "core/proto/changes.h"
#include "core/proto/frame.h"
#include "core/proto/tree.h"
#include "core/review/uppers.h"

static void on_entry(struct uppers *s, const struct frame *f)
{
	static struct changes_entry e;
	char lower[CHANGES_PATH_MAX + 1], text[4 * CHANGES_PATH_MAX + 1], back[CHANGES_PATH_MAX + 1];
	struct rbuf r;
	struct buf b;
	bool renamed;

	rbuf_init(&r, f->payload, f->len);
	if (changes_entry_unpack(&r, &e) < 0)
		return;
	buf_init(&b, f->len);
	MUST(changes_entry_pack(&b, &e) == 0 && buf_size(&b) == f->len && memcmp(buf_head(&b), f->payload, f->len) == 0);
	buf_release(&b);
	MUST(changes_path_legal(e.path));
	MUST(escape_text(text, sizeof(text), e.path, strlen(e.path)) && escape_undo(back, sizeof(back), text) == (int)strlen(e.path) && strcmp(back, e.path) == 0);
	MUST(uppers_put(s, &e) == 0);
	MUST(uppers_find(s, e.path) != NULL);
	if (uppers_lower(s, e.path, true, lower, &renamed))
		MUST(changes_path_legal(lower) || strlen(lower) == CHANGES_PATH_MAX);
	uppers_shows(s, e.path);
}

static void on_frame(struct uppers *s, const struct frame *f)
{
	char path[CHANGES_PATH_MAX + 1];
	struct changes_data d;
	struct rbuf r;

	rbuf_init(&r, f->payload, f->len);
	switch (f->type) {
	case CHANGES_BEGIN:
		uppers_begin(s);
		break;
	case CHANGES_ENTRY:
		on_entry(s, f);
		break;
	case CHANGES_GONE:
		rbuf_str16(&r, path, sizeof(path));
		if (rbuf_done(&r) == 0 && changes_path_legal(path))
			uppers_gone(s, path);
		break;
	case CHANGES_SYNCED:
		uppers_synced(s);
		break;
	case CHANGES_DATA:
		if (changes_data_unpack(&r, &d) == 0)
			MUST(d.n <= CHANGES_PIECE && (d.n == 0 || d.p + d.n == f->payload + f->len));
		break;
	default:
		break;
	}
}

static void tree(const uint8_t *p, size_t n)
{
	struct tree_reader t;
	struct tree_item i;
	size_t items = 0;
	int r;

	tree_read_init(&t, p, n);
	while ((r = tree_read(&t, &i)) == 0) {
		MUST(t.depth <= TREE_DEPTH_MAX && ++items <= n);
		MUST(i.kind != TREE_TEXT || (i.len <= n && (i.len == 0 || i.text[i.len - 1] == (char)((const uint8_t *)i.text)[i.len - 1])));
	}
	MUST(r == 1 || r == -EBADMSG);
}

static void ask(const uint8_t *p, size_t n)
{
	struct review_ask m;
	struct rbuf r;

	rbuf_init(&r, p, n);
	if (review_ask_unpack(&r, &m) == 0)
		review_ask_release(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct uppers s;
	struct frame f;
	size_t used;

	tree(p, n);
	ask(p, n);
	MUST(uppers_init(&s, NULL, NULL) == 0);
	while (n > 0 && frame_parse(p, n, CHANGES_FRAME_MAX, &f, &used) == 0) {
		on_frame(&s, &f);
		p += used;
		n -= used;
	}
	uppers_release(&s);
	return 0;
}
