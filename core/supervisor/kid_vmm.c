/* SPDX-License-Identifier: Apache-2.0 */
/* What bulkhead-vmm may say, and when. */
#include "core/supervisor/kid.h"

#include <errno.h>

#include "core/base/clock.h"
#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/proto/child.h"
#include "core/supervisor/events.h"
#include "core/supervisor/sandbox.h"
#include "core/supervisor/snapshot.h"

static int on_state(struct kid *k, struct rbuf *r)
{
	struct sandbox *sb = k->sb;
	struct vmm_state m;

	if (vmm_state_unpack(r, &m))
		return -EBADMSG;
	scrub(sb->machine.why, sizeof(sb->machine.why), m.why, strlen(m.why), false);
	sb->machine.run = m.run;
	sb->machine.end = m.end;
	sb->machine.machine_pid = m.machine_pid;
	if (m.run == VMM_ENDED)
		k->phase = KID_ENDED;
	else if (m.machine_pid)
		kid_watch_machine(k, m.machine_pid);
	if (k->phase == KID_SYNCED)
		life_progress(sb);
	return 0;
}

static int on_stats(struct kid *k, struct rbuf *r)
{
	struct sandbox *sb = k->sb;
	struct vmm_stats m;

	if (vmm_stats_unpack(r, &m))
		return -EBADMSG;
	sb->vmm_stats_before = sb->vmm_stats;
	sb->vmm_before_at_ns = sb->vmm_at_ns;
	sb->vmm_stats = m;
	sb->vmm_at_ns = clock_ns();
	if (sb->stats_due)
		events_stats(sb);
	return 0;
}

static int on_snapped(struct kid *k, struct rbuf *r)
{
	struct vmm_snapped m;

	if (vmm_snapped_unpack(r, &m))
		return -EBADMSG;
	RESCRUB(m.why);
	snapshot_told(k->sb, &m);
	return 0;
}

static int on_refused(struct kid *k, struct rbuf *r)
{
	struct vmm_refused m;
	char why[sizeof(m.why)];

	if (vmm_refused_unpack(r, &m))
		return -EBADMSG;
	scrub(why, sizeof(why), m.why, strlen(m.why), false);
	life_refused(k->sb, why);
	return 0;
}

static const struct kid_row rows[] = {
	{ VMM_READY, 1u << KID_STARTED, false, kid_on_ready },
	{ VMM_STATE, 1u << KID_READY | 1u << KID_SYNCED, false, on_state },
	{ VMM_STATS, 1u << KID_READY | 1u << KID_SYNCED, false, on_stats },
	{ VMM_REFUSED, 1u << KID_READY | 1u << KID_SYNCED, false, on_refused },
	{ VMM_SYNCED, 1u << KID_READY, false, kid_on_synced },
	{ VMM_SNAPPED, 1u << KID_READY | 1u << KID_SYNCED, false, on_snapped },
};

const struct kid_table kid_vmm_table = { .name = "vmm", .program = "bulkhead-vmm", .rows = rows, .n = ARRAY_SIZE(rows) };
