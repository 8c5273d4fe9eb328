/* SPDX-License-Identifier: Apache-2.0 */
/* core/proto/{child,net,netconn}.c: datagrams of a child that was taken over, of a dial socket, and what a guest says of a connection. */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "core/proto/child.h"
#include "core/proto/net.h"

#define TRY(name)                                                                                                  \
	do {                                                                                                       \
		static struct name m;                                                                              \
		if (name##_unpack(&r, &m) == 0) {                                                                  \
			MUST(r.n == 0 && name##_pack(&b, &m) == 0);                                                \
			MUST(buf_size(&b) == n && memcmp(buf_head(&b), p, n) == 0);                                \
		}                                                                                                  \
	} while (0)

static void open_terminal(struct rbuf r, const uint8_t *p, size_t n, struct buf *b)
{
	struct term_open m;

	if (term_open_unpack(&r, &m) < 0) {
		MUST(!m.open.argv && !m.open.envv);
		return;
	}
	MUST(term_open_pack(b, &m) == 0 && buf_size(b) == n && memcmp(buf_head(b), p, n) == 0);
	term_open_release(&m);
}

static void dial(const uint8_t *p, size_t n)
{
	struct dial_msg m;
	uint8_t back[DIAL_MSG_SIZE];

	if (dial_unpack(p, n, &m) < 0)
		return;
	dial_pack(back, &m);
	MUST(n == DIAL_MSG_SIZE && memcmp(back, p, n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct child_head h;
	struct rbuf r;
	struct buf b;

	dial(p, n);
	rbuf_init(&r, p, n);
	if (n > CHILD_MSG_MAX || child_head_unpack(&r, &h) < 0)
		return 0;
	p = r.p;
	n = r.n;
	buf_init(&b, CHILD_MSG_MAX);
	switch (h.type) {
	case VMM_READY:
	case TERM_READY:
	case NET_READY:
		TRY(child_ready);
		break;
	case VMM_START:
		TRY(vmm_start);
		break;
	case VMM_STATE:
		TRY(vmm_state);
		break;
	case VMM_SNAPPED:
		TRY(vmm_snapped);
		break;
	case VMM_REFUSED:
		TRY(vmm_refused);
		break;
	case VMM_STATS:
		TRY(vmm_stats);
		break;
	case TERM_START:
		TRY(term_start);
		break;
	case TERM_OPEN:
		open_terminal(r, p, n, &b);
		break;
	case TERM_ATTACH:
		TRY(term_attach);
		break;
	case TERM_GUEST:
		TRY(term_guest);
		break;
	case TERM_SESSION:
		TRY(term_session);
		break;
	case TERM_ATTENTION:
		TRY(term_attention);
		break;
	case NETC_OPEN:
		TRY(netconn_open);
		break;
	case NET_START:
		TRY(net_start);
		break;
	case NET_ANSWER:
		TRY(net_answer);
		break;
	case NET_SECRET:
		TRY(net_secret);
		break;
	case NET_LEAF:
		TRY(net_leaf);
		break;
	case NET_ASK:
		TRY(net_ask);
		break;
	case NET_RECORD:
		TRY(net_record);
		break;
	case NET_LEAF_ASK:
		TRY(net_leaf_ask);
		break;
	case NET_STATS:
		TRY(net_stats);
		break;
	default:
		break;
	}
	buf_release(&b);
	return 0;
}
