/* SPDX-License-Identifier: Apache-2.0 */
#include "core/review/review.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/str.h"
#include "core/review/digest.h"

const char *const change_kinds[] = { [CHANGE_ADDED] = "added", [CHANGE_MODIFIED] = "modified", [CHANGE_DELETED] = "deleted", [CHANGE_RENAMED] = "renamed",
				     [CHANGE_MODE] = "mode", [CHANGE_TYPE] = "type" };
static_assert(ARRAY_SIZE(change_kinds) == CHANGE_KINDS, "every kind has a name");

void content_release(struct content *c)
{
	free(c->data);
	c->data = NULL;
	c->n = 0;
}

void content_digest(struct content *c)
{
	const uint8_t head[2] = { c->side.type, c->side.type == CHANGES_FILE && (c->side.mode & 0100) };
	struct digest *d = digest_create();

	memset(c->digest, 0, sizeof(c->digest));
	if (!d)
		return;
	digest_put(d, head, sizeof(head));
	if (c->n > 0)
		digest_put(d, c->data, c->n);
	digest_take(d, c->digest);
	digest_destroy(&d);
}

bool content_same(const struct content *a, const struct content *b)
{
	if (a->side.type != b->side.type)
		return false;
	if (a->side.type == CHANGES_DIR)
		return ((a->side.mode ^ b->side.mode) & MODE_COMPARED) == 0;
	if (a->side.type == CHANGES_WHITEOUT)
		return true;
	if (a->side.type == CHANGES_FILE && (a->side.mode & 0100) != (b->side.mode & 0100))
		return false;
	return (a->side.type == CHANGES_FILE || a->side.type == CHANGES_SYMLINK) && a->n == b->n && (a->n == 0 || memcmp(a->data, b->data, a->n) == 0);
}
