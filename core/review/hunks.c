/* SPDX-License-Identifier: Apache-2.0 */
#include "core/review/hunks.h"

#include <errno.h>
#include <git2.h>
#include <string.h>

#define BINARY_LOOK 8000u

bool content_binary(const struct content *c)
{
	return c->side.type == CHANGES_FILE && c->n > 0 && (c->n > HUNKS_MAX || memchr(c->data, 0, c->n < BINARY_LOOK ? c->n : BINARY_LOOK));
}

struct walk {
	const struct hunk_ops *ops;
	void *arg;
	unsigned next;
	bool ended;
};

static int on_hunk(const git_diff_delta *d, const git_diff_hunk *h, void *arg)
{
	struct walk *w = arg;
	/* "@@ -1,2 +3,4 @@ the part\n" */
	const char *at = h->header_len > 4 ? memmem(h->header + 2, h->header_len - 2, "@@", 2) : NULL;
	struct hunk out = { .id = w->next++, .old_start = (unsigned)h->old_start, .old_lines = (unsigned)h->old_lines, .new_start = (unsigned)h->new_start,
			    .new_lines = (unsigned)h->new_lines, .section = "" };

	(void)d;
	if (at) {
		out.section = at + 2;
		out.nsection = h->header_len - (size_t)(at + 2 - h->header);
		while (out.nsection > 0 && (*out.section == ' ')) {
			out.section++;
			out.nsection--;
		}
		while (out.nsection > 0 && (out.section[out.nsection - 1] == '\n' || out.section[out.nsection - 1] == '\r'))
			out.nsection--;
	}
	w->ended = w->ops->on_hunk && !w->ops->on_hunk(w->arg, &out);
	return w->ended ? GIT_EUSER : 0;
}

static int on_line(const git_diff_delta *d, const git_diff_hunk *h, const git_diff_line *l, void *arg)
{
	struct walk *w = arg;
	struct hunk_line out = { .text = l->content, .n = l->content_len };

	(void)d;
	(void)h;
	switch (l->origin) {
	case GIT_DIFF_LINE_CONTEXT:
	case GIT_DIFF_LINE_ADDITION:
	case GIT_DIFF_LINE_DELETION:
		out.k = l->origin;
		out.newline = out.n > 0 && out.text[out.n - 1] == '\n';
		out.n -= out.newline;
		break;
	case GIT_DIFF_LINE_CONTEXT_EOFNL:
	case GIT_DIFF_LINE_ADD_EOFNL:
	case GIT_DIFF_LINE_DEL_EOFNL:
		out = (struct hunk_line){ .k = '\\', .text = " No newline at end of file", .n = 26, .newline = true };
		break;
	default:
		return 0;
	}
	w->ended = !w->ops->on_line(w->arg, &out);
	return w->ended ? GIT_EUSER : 0;
}

static const char *text_of(const struct content *c, size_t *n)
{
	const bool has = (c->side.type == CHANGES_FILE || c->side.type == CHANGES_SYMLINK) && c->data;

	*n = has ? c->n : 0;
	return has ? (const char *)c->data : "";
}

int hunks_each(const struct content *old, const struct content *new_, unsigned context, const struct hunk_ops *ops, void *arg)
{
	git_diff_options o;
	struct walk w = { .ops = ops, .arg = arg };
	size_t na, nb;
	const char *a = text_of(old, &na), *b = text_of(new_, &nb);

	if (na > HUNKS_MAX || nb > HUNKS_MAX)
		return -EFBIG;
	git_diff_options_init(&o, GIT_DIFF_OPTIONS_VERSION);
	o.context_lines = context;
	o.flags = GIT_DIFF_FORCE_TEXT;
	o.max_size = HUNKS_MAX;
	const int r = git_diff_buffers(a, na, NULL, b, nb, NULL, &o, NULL, NULL, on_hunk, on_line, &w);
	return w.ended ? 1 : r < 0 ? -EIO : 0;
}

struct counts { uint32_t add, del; };

static bool count_line(void *arg, const struct hunk_line *l)
{
	struct counts *c = arg;

	c->add += l->k == '+';
	c->del += l->k == '-';
	return true;
}

int hunks_count(const struct content *old, const struct content *new_, uint32_t *add, uint32_t *del)
{
	static const struct hunk_ops ops = { .on_line = count_line };
	struct counts c = { 0, 0 };
	const int r = hunks_each(old, new_, 0, &ops, &c);

	*add = c.add;
	*del = c.del;
	return r;
}
