/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bulkhead-term may say, and when. It outlives machines: what belongs to a machine is only heard in that machine's
 * generation, what belongs to a screen always. Its strings come from the guest and are scrubbed again here.
 */
#include "core/supervisor/kid.h"

#include <errno.h>

#include "core/base/clock.h"
#include "core/proto/child.h"
#include "core/supervisor/events.h"
#include "core/supervisor/sandbox.h"

#define ATTENTION_EVERY_NS UINT64_C(100000000) /* at most ten a second of a sandbox */

static int on_guest(struct kid *k, struct rbuf *r)
{
	struct term_guest m;

	if (term_guest_unpack(r, &m))
		return -EBADMSG;
	RESCRUB(m.kernel);
	RESCRUB(m.agent);
	RESCRUB(m.why);
	k->sb->guest = m;
	sandbox_touch(k->sb);
	if (k->phase == KID_SYNCED)
		life_progress(k->sb);
	return 0;
}

static int on_docker(struct kid *k, struct rbuf *r)
{
	struct agent_docker m;

	if (agent_docker_unpack(r, &m))
		return -EBADMSG;
	RESCRUB(m.why);
	k->sb->docker = m;
	sandbox_touch(k->sb);
	return 0;
}

static int on_stats(struct kid *k, struct rbuf *r)
{
	struct sandbox *sb = k->sb;
	struct agent_stats m;

	if (agent_stats_unpack(r, &m))
		return -EBADMSG;
	sb->stats_before = sb->stats;
	sb->stats_before_at_ns = sb->stats_at_ns;
	sb->stats = m;
	sb->stats_at_ns = clock_ns();
	sb->stats_wall_ns = clock_wall_ns();
	sb->stats_due = true;
	kid_send(sb->vmm, VMM_STATS_ASK, NULL, NULL, NULL, 0);
	return 0;
}

static int on_top(struct kid *k, struct rbuf *r)
{
	struct agent_top m;

	if (agent_top_unpack(r, &m))
		return -EBADMSG;
	for (size_t i = 0; i < m.n; i++) {
		RESCRUB(m.proc[i].comm);
		RESCRUB(m.proc[i].container);
	}
	events_top(k->sb, &m);
	return 0;
}

static int on_containers(struct kid *k, struct rbuf *r)
{
	struct agent_containers m;

	if (agent_containers_unpack(r, &m))
		return -EBADMSG;
	for (size_t i = 0; i < m.n; i++) {
		RESCRUB(m.c[i].id);
		RESCRUB(m.c[i].name);
		RESCRUB(m.c[i].image);
		RESCRUB(m.c[i].state);
		RESCRUB(m.c[i].status);
	}
	events_containers(k->sb, &m);
	return 0;
}

static int on_workspace(struct kid *k, struct rbuf *r)
{
	struct workspace_told m;

	if (workspace_told_unpack(r, &m) || m.index >= k->sb->spec.ws.n)
		return -EBADMSG;
	RESCRUB(m.why);
	k->sb->workspace[m.index] = m;
	sandbox_touch(k->sb);
	return 0;
}

static int on_session(struct kid *k, struct rbuf *r)
{
	struct term_session m;

	if (term_session_unpack(r, &m) || m.session == 0)
		return -EBADMSG;
	RESCRUB(m.label);
	RESCRUB(m.title);
	/* A number that was never given out. */
	if (m.session >= k->sb->spec.session_floor)
		return -EBADMSG;
	session_told(k->sb, &m);
	return 0;
}

static int on_attention(struct kid *k, struct rbuf *r)
{
	struct sandbox *sb = k->sb;
	struct term_attention m;
	uint64_t now = clock_ns();

	if (term_attention_unpack(r, &m))
		return -EBADMSG;
	RESCRUB(m.text);
	if (now - sb->attention_ns < ATTENTION_EVERY_NS || !session_find(sb, m.session))
		return 0;
	sb->attention_ns = now;
	events_attention(sb, &m);
	return 0;
}

static int on_going_down(struct kid *k, struct rbuf *r)
{
	if (rbuf_done(r))
		return -EBADMSG;
	k->sb->going_down = true;
	return 0;
}

#define TELLING (1u << KID_READY | 1u << KID_SYNCED)

static const struct kid_row rows[] = {
	/* Again after every TERM_START. */
	{ TERM_READY, 1u << KID_STARTED | TELLING, true, kid_on_ready },
	{ TERM_GUEST, TELLING, false, on_guest },
	{ TERM_DOCKER, TELLING, false, on_docker },
	{ TERM_STATS, TELLING, false, on_stats },
	{ TERM_TOP, TELLING, false, on_top },
	{ TERM_CONTAINERS, TELLING, false, on_containers },
	{ TERM_SESSION, TELLING, true, on_session },
	{ TERM_ATTENTION, TELLING, true, on_attention },
	{ TERM_GOING_DOWN, TELLING, false, on_going_down },
	{ TERM_WORKSPACE, TELLING, false, on_workspace },
	{ TERM_SYNCED, TELLING, true, kid_on_synced },
};

const struct kid_table kid_term_table = { .name = "term", .program = "bulkhead-term", .rows = rows, .n = ARRAY_SIZE(rows) };
