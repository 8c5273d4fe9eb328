/* SPDX-License-Identifier: Apache-2.0 */
/* What bulkhead-net may say, and when. It reads the guest and the internet: its strings are scrubbed again here. */
#include "core/supervisor/kid.h"

#include <errno.h>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/loop/after.h"
#include "core/proto/child.h"
#include "core/proto/net.h"
#include "core/supervisor/ask.h"
#include "core/supervisor/audit.h"
#include "core/supervisor/events.h"
#include "core/supervisor/net.h"
#include "core/supervisor/sandbox.h"
#include "core/supervisor/signer.h"
#include "core/supervisor/super.h"

#define LEAVES_BURST 200u
#define LEAVES_A_SECOND 50u

static void rescrub_what(struct net_facts *f, struct net_who *w)
{
	RESCRUB(f->method);
	RESCRUB(f->path);
	RESCRUB(w->comm);
	RESCRUB(w->cmdline);
	RESCRUB(w->container);
}

static int on_ask(struct kid *k, struct rbuf *r)
{
	struct net_ask m;

	if (net_ask_unpack(r, &m))
		return -EBADMSG;
	rescrub_what(&m.facts, &m.who);
	ask_told(k->sb, &m);
	return 0;
}

static int on_ask_gone(struct kid *k, struct rbuf *r)
{
	uint32_t id;
	uint8_t end;

	rbuf_u32(r, &id);
	rbuf_u8(r, &end);
	if (rbuf_done(r) || end >= NET_ASK_END_NUM)
		return -EBADMSG;
	ask_gone(k->sb, id, end);
	return 0;
}

static int pack_u64(struct buf *b, const void *m) { return buf_u64(b, *(const uint64_t *)m); }

static void tell_written(void *arg)
{
	struct kid *k = arg;

	kid_send(k, NET_RECORDED, pack_u64, &k->written, NULL, 0);
}

/* Said once for all that came in one go. */
static void is_written(struct kid *k, uint64_t number)
{
	k->written = number;
	if (!k->tell_written)
		after_set(&k->tell_written, k->sb->su->loop, 0, tell_written, k);
}

static int on_record(struct kid *k, struct rbuf *r)
{
	struct net_record m;

	if (net_record_unpack(r, &m))
		return -EBADMSG;
	rescrub_what(&m.facts, &m.who);
	RESCRUB(m.rule);
	RESCRUB(m.scope);
	RESCRUB(m.service);
	audit_add(k->sb->su, k->sb->spec.name, &m);
	if (m.event == NET_E_ALARM)
		net_alarm(k->sb, &m);
	is_written(k, m.number);
	return 0;
}

static int on_lost(struct kid *k, struct rbuf *r)
{
	uint64_t number, count;

	rbuf_u64(r, &number);
	rbuf_u64(r, &count);
	if (rbuf_done(r) || count > INT64_MAX)
		return -EBADMSG;
	audit_lost(k->sb->su, k->sb->spec.name, count);
	is_written(k, number);
	return 0;
}

/* Signing costs some tenths of a millisecond of the thread that everybody waits for: LEAVES_BURST at once, then LEAVES_A_SECOND. */
static bool pays_for_leaf(struct sandbox *sb)
{
	const uint64_t now = clock_ns(), step = UINT64_C(1000000000) / LEAVES_A_SECOND;

	if (!sb->leaf_ns || now - sb->leaf_ns > step * LEAVES_BURST) {
		sb->leaf_ns = now;
		sb->leaf_tokens = LEAVES_BURST;
	}
	while (now - sb->leaf_ns >= step && sb->leaf_tokens < LEAVES_BURST) {
		sb->leaf_ns += step;
		sb->leaf_tokens++;
	}
	if (!sb->leaf_tokens)
		return false;
	sb->leaf_tokens--;
	return true;
}

static int pack_leaf(struct buf *b, const void *m) { return net_leaf_pack(b, m); }

static int on_leaf_ask(struct kid *k, struct rbuf *r)
{
	struct net_leaf_ask m;
	struct net_leaf leaf = { 0 };
	struct err e = ERR_INIT;

	if (net_leaf_ask_unpack(r, &m))
		return -EBADMSG;
	leaf.token = m.token;
	if (!pays_for_leaf(k->sb))
		log_limited(&k->sb->leaf_log, 4, LOG_WARN, "bulkhead-net of '%s' asks for more certificates than can be made: refused", k->sb->spec.name);
	else if (!net_may_open(k->sb, m.name))
		log_limited(&k->sb->leaf_log, 4, LOG_ERROR, "bulkhead-net of '%s' asked for a certificate for '%s', which no rule wants opened: refused", k->sb->spec.name, m.name);
	else if (signer_leaf(k->sb->su, &m, &leaf, &e))
		log_limited(&k->sb->leaf_log, 4, LOG_ERROR, "no certificate for '%s': %s", m.name, e.msg);
	kid_send(k, NET_LEAF, pack_leaf, &leaf, NULL, 0);
	return 0;
}

static int on_stats(struct kid *k, struct rbuf *r)
{
	if (net_stats_unpack(r, &k->sb->net_stats))
		return -EBADMSG;
	events_net(k->sb);
	return 0;
}

#define TELLING (1u << KID_READY | 1u << KID_SYNCED)

static const struct kid_row rows[] = {
	{ NET_READY, 1u << KID_STARTED, false, kid_on_ready },
	{ NET_SYNCED, 1u << KID_READY, false, kid_on_synced },
	{ NET_ASK, TELLING, false, on_ask },
	{ NET_ASK_GONE, TELLING, false, on_ask_gone },
	{ NET_RECORD, TELLING, false, on_record },
	{ NET_LOST, TELLING, false, on_lost },
	{ NET_LEAF_ASK, TELLING, false, on_leaf_ask },
	{ NET_STATS, TELLING, false, on_stats },
};

const struct kid_table kid_net_table = { .name = "net", .program = "bulkhead-net", .rows = rows, .n = ARRAY_SIZE(rows) };
