/* SPDX-License-Identifier: Apache-2.0 */
/* What bulkhead-fs may say, and when. Its paths come from the guest or of the host's tree and are scrubbed again here. */
#include "core/supervisor/kid.h"

#include <errno.h>

#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/proto/child.h"
#include "core/proto/fs.h"
#include "core/supervisor/sandbox.h"

static int on_note(struct kid *k, struct rbuf *r)
{
	struct fs_note m, clean;

	if (fs_note_unpack(r, &m) || m.index >= k->sb->spec.ws.n)
		return -EBADMSG;
	clean = m;
	scrub(clean.path, sizeof(clean.path), m.path, strlen(m.path), false);
	workspace_note(k->sb, &clean);
	return 0;
}

static int on_stats(struct kid *k, struct rbuf *r)
{
	return fs_stats_unpack(r, &k->sb->fs_stats);
}

#define TELLING (1u << KID_READY | 1u << KID_SYNCED)

static const struct kid_row rows[] = {
	{ FS_READY, 1u << KID_STARTED, false, kid_on_ready },
	{ FS_NOTE, TELLING, false, on_note },
	{ FS_STATS, TELLING, false, on_stats },
	{ FS_SYNCED, 1u << KID_READY, false, kid_on_synced },
};

const struct kid_table kid_fs_table = { .name = "fs", .program = "bulkhead-fs", .rows = rows, .n = ARRAY_SIZE(rows) };
