/* SPDX-License-Identifier: Apache-2.0 */
#include "core/review/pick.h"

#include <errno.h>
#include <git2.h>
#include <stdbool.h>
#include <string.h>

/* A text, read line by line. */
struct lines { const char *p; size_t n, at; int line; /* that begins at `at`, from 1 */ };

/* Goes to the begin of a line, copying what lies before it to `to` unless NULL. */
static void go_to(struct lines *t, int line, struct buf *to)
{
	const size_t from = t->at;

	while (t->line < line && t->at < t->n) {
		const char *end = memchr(t->p + t->at, '\n', t->n - t->at);

		t->at = end ? (size_t)(end - t->p) + 1 : t->n;
		t->line++;
	}
	if (to && t->at > from)
		buf_put(to, t->p + from, t->at - from);
}

static bool is_wanted(size_t hunk, const uint16_t *ids, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (ids[i] == hunk)
			return true;
	return false;
}

/* A hunk without lines on a side stands behind the line it names. */
static int first_line(int start, int count)
{
	return count > 0 ? start : start + 1;
}

static int splice(git_patch *patch, struct lines *old, struct lines *new, const uint16_t *ids, size_t n, struct buf *out)
{
	const size_t hunks = git_patch_num_hunks(patch);

	for (size_t i = 0; i < hunks; i++) {
		const git_diff_hunk *h;

		if (git_patch_get_hunk(&h, NULL, patch, i) < 0)
			return -EIO;
		if (!is_wanted(i, ids, n))
			continue;
		go_to(old, first_line(h->old_start, h->old_lines), out);
		go_to(old, first_line(h->old_start, h->old_lines) + h->old_lines, NULL);
		go_to(new, first_line(h->new_start, h->new_lines), NULL);
		go_to(new, first_line(h->new_start, h->new_lines) + h->new_lines, out);
	}
	buf_put(out, old->p + old->at, old->n - old->at);
	return buf_ok(out) ? 0 : -ENOMEM;
}

int pick_hunks(const void *old, size_t old_n, const void *new, size_t new_n, uint32_t context, const uint16_t *ids, size_t n, struct buf *out, struct err *e)
{
	git_diff_options opts;
	struct lines o = { .p = old_n ? old : "", .n = old_n, .line = 1 }, w = { .p = new_n ? new : "", .n = new_n, .line = 1 };
	git_patch *patch = NULL;
	int r;

	if (git_diff_options_init(&opts, GIT_DIFF_OPTIONS_VERSION) < 0)
		return err_set(e, EIO, "the differences cannot be found");
	opts.context_lines = context;
	if (git_patch_from_buffers(&patch, o.p, old_n, "a", w.p, new_n, "b", &opts) < 0)
		return err_set(e, ENOMEM, "the differences cannot be found");
	const size_t hunks = git_patch_num_hunks(patch);
	if (git_patch_get_delta(patch)->flags & GIT_DIFF_FLAG_BINARY) {
		git_patch_free(patch);
		return err_set(e, EINVAL, "it is binary: it is taken whole or not at all");
	}
	for (size_t i = 0; i < n; i++)
		if (ids[i] >= hunks) {
			git_patch_free(patch);
			return err_set(e, ESTALE, "it has %zu hunks now: hunk %u is none of them", hunks, ids[i]);
		}
	r = splice(patch, &o, &w, ids, n, out);
	git_patch_free(patch);
	return r < 0 ? err_set(e, -r, "the hunks cannot be put together") : 0;
}
