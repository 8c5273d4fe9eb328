/* SPDX-License-Identifier: Apache-2.0 */
/* core/proto/frame.c, agent.c: what a guest's agent says, cut in frames. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>

#include "core/proto/agent.h"

/* What unpacks must pack to the very same bytes. */
#define TRY(name)                                                                                                  \
	do {                                                                                                       \
		static struct name m;                                                                              \
		if (name##_unpack(&r, &m) == 0) {                                                                  \
			MUST(name##_pack(&b, &m) == 0);                                                            \
			MUST(buf_size(&b) == f->len - r.n && memcmp(buf_head(&b), f->payload, buf_size(&b)) == 0); \
		}                                                                                                  \
	} while (0)

static void open_session(struct rbuf *r, const struct frame *f, struct buf *b)
{
	struct sess_open m;

	if (sess_open_unpack(r, &m) < 0) {
		MUST(!m.argv && !m.envv);
		return;
	}
	MUST(!m.argv[m.argc] && !m.envv[m.envc] && m.argc <= SESS_ARGS_MAX && m.envc <= SESS_ENVS_MAX);
	MUST(sess_open_pack(b, &m) == 0);
	MUST(buf_size(b) == f->len - r->n && memcmp(buf_head(b), f->payload, buf_size(b)) == 0);
	sess_open_release(&m);
}

static void take(const struct frame *f)
{
	struct rbuf r;
	struct buf b;

	rbuf_init(&r, f->payload, f->len);
	buf_init(&b, AGENT_PAYLOAD_MAX);
	switch (f->type) {
	case AGENT_HELLO_HOST:
		TRY(agent_hello_host);
		break;
	case AGENT_HELLO_GUEST:
		TRY(agent_hello_guest);
		break;
	case AGENT_STATS:
		TRY(agent_stats);
		break;
	case AGENT_TOP:
		TRY(agent_top);
		break;
	case AGENT_CONTAINERS:
		TRY(agent_containers);
		break;
	case AGENT_DOCKER:
		TRY(agent_docker);
		break;
	case AGENT_TRUST:
		TRY(agent_trust);
		break;
	case SESS_OPEN:
		open_session(&r, f, &b);
		break;
	default:
		break;
	}
	buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	while (n > 0) {
		struct frame f;
		size_t used = 0;
		const int rc = frame_parse(p, n, AGENT_PAYLOAD_MAX, &f, &used);

		MUST(rc == 0 || rc == -EAGAIN || rc == -EBADMSG);
		if (rc < 0)
			break;
		MUST(used == FRAME_HEAD + f.len && used <= n && f.len <= AGENT_PAYLOAD_MAX);
		take(&f);
		p += used;
		n -= used;
	}
	return 0;
}
