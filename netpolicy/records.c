/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records on their way to the supervisor, which alone writes the audit log.
 *
 * Each has a number and is kept until the supervisor has said that it is written (NET_RECORDED): what one that was killed had in its hands is
 * told to the next again, so a record may be written twice (its number tells), never not at all. At most WINDOW bytes are under way at once,
 * all together are at most RECORDS_MAX. A guest can make records as fast as it likes, so:
 *
 *   from BRAKE on   no connection is taken from the machine and no decision is made (net->braked); it ends at half of that
 *   from COMMON on  records of refusals are counted and dropped; NET_LOST tells how many when there is room again
 *   from ALLOW on   nothing is let out any more: what cannot be recorded does not happen. The rest is left to what was let out before
 */
#include "netpolicy/net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW (256u * 1024u)
#define BRAKE (2u << 20)
#define COMMON (3u << 20)
#define ALLOW (RECORDS_MAX - 256u * 1024u)
#define LOST_ROOM 128u /* of one NET_LOST */

struct entry {
	struct entry *next;
	uint64_t number;
	size_t n;
	uint8_t data[];
};

struct records {
	struct entry *head, **tail;
	struct entry *unsent;   /* the first that this supervisor was not told */
	size_t bytes, under_way;
	uint64_t number, lost;
	struct log_limit log;
};

static struct records *of(struct net *n)
{
	if (!n->records && (n->records = calloc(1, sizeof(*n->records))))
		n->records->tail = &n->records->head;
	return n->records;
}

static void send_some(struct net *n)
{
	struct records *all = n->records;

	while (all->unsent && childside_connected(n->side) && n->synced && all->under_way < WINDOW) {
		struct entry *x = all->unsent;
		struct buf b;

		buf_init(&b, CHILD_MSG_MAX);
		buf_put(&b, x->data, x->n);
		const int r = childside_send(n->side, &b);
		buf_release(&b);
		if (r < 0)
			return; /* with the next acknowledgement, or to the next supervisor */
		all->under_way += x->n;
		all->unsent = x->next;
	}
}

static bool put(struct net *n, struct records *all, const struct buf *b)
{
	const size_t size = buf_size(b);
	struct entry *x = buf_ok(b) ? malloc(sizeof(*x) + size) : NULL;

	if (!x)
		return false;
	*x = (struct entry){ .number = all->number, .n = size };
	memcpy(x->data, buf_head(b), size);
	*all->tail = x;
	all->tail = &x->next;
	if (!all->unsent)
		all->unsent = x;
	all->bytes += size;
	send_some(n);
	return true;
}

/* What was lost is said before what comes after it. */
static bool tell_lost(struct net *n, struct records *all)
{
	struct buf b;

	if (all->lost == 0)
		return true;
	buf_init(&b, LOST_ROOM);
	child_head_pack(&b, NET_LOST, n->gen);
	buf_u64(&b, ++all->number);
	buf_u64(&b, all->lost);
	if (put(n, all, &b))
		all->lost = 0;
	buf_release(&b);
	return all->lost == 0;
}

static size_t most_for(const struct net_record *r)
{
	if (r->event == NET_E_DECIDED && r->verdict == NET_ALLOW)
		return ALLOW;
	return r->event == NET_E_INJECTED || r->event == NET_E_ALARM || (r->event == NET_E_CLOSED && r->verdict == NET_ALLOW) ? RECORDS_MAX : COMMON;
}

static void brake(struct net *n, bool on)
{
	if (n->braked == on)
		return;
	n->braked = on;
	log_info(on ? "the supervisor does not keep up with records: nothing new is taken or decided" : "records are taken again");
	conns_braked(n);
}

bool record_tell(struct net *n, struct net_record *r)
{
	struct records *all = of(n);
	bool kept = false;
	struct buf b;

	if (!all)
		return false;
	buf_init(&b, CHILD_MSG_MAX);
	child_head_pack(&b, NET_RECORD, n->gen);
	r->number = all->number + (all->lost ? 2 : 1);
	net_record_pack(&b, r);
	if (all->bytes + LOST_ROOM + buf_size(&b) <= most_for(r) && tell_lost(n, all)) {
		all->number = r->number;
		kept = put(n, all, &b);
	}
	buf_release(&b);
	if (!kept) {
		all->lost++;
		log_limited(&all->log, 4, LOG_ERROR, "a record is lost: %zu bytes wait for the supervisor", all->bytes);
	}
	if (all->bytes >= BRAKE)
		brake(n, true);
	return kept;
}

bool records_left(const struct net *n)
{
	return n->records && (n->records->head || n->records->lost);
}

void records_written(struct net *n, uint64_t number)
{
	struct records *all = n->records;

	while (all && all->head && all->head != all->unsent && all->head->number <= number) {
		struct entry *x = all->head;

		all->head = x->next;
		if (!all->head)
			all->tail = &all->head;
		all->bytes -= x->n;
		all->under_way -= x->n;
		free(x);
	}
	if (!all)
		return;
	if (all->bytes < BRAKE)
		tell_lost(n, all);
	send_some(n);
	if (all->bytes < BRAKE / 2)
		brake(n, false);
}

void records_again(struct net *n)
{
	struct records *all = n->records;

	if (!all)
		return;
	all->unsent = all->head;
	all->under_way = 0;
	send_some(n);
}
