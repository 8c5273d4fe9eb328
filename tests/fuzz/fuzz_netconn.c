/* SPDX-License-Identifier: Apache-2.0 */
/* core/proto/netconn.c: the head of a connection of the guest's, as bulkhead-net gets it. */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <string.h>

#include "core/proto/netconn.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct netconn_open m;
	struct frame f;
	struct rbuf r;
	struct buf b;
	size_t used = 0;
	const int rc = frame_parse(p, n, NETCONN_FRAME_MAX, &f, &used);

	MUST(rc == 0 || rc == -EAGAIN || rc == -EBADMSG);
	if (rc < 0)
		return 0;
	MUST(used <= n && used == FRAME_HEAD + f.len);
	rbuf_init(&r, f.payload, f.len);
	if (netconn_open_unpack(&r, &m) < 0)
		return 0;
	MUST(m.name[0] == '\0' || net_name_legal(m.name));
	for (const char *c = m.name; *c; c++)
		MUST((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '-' || *c == '_' || *c == '.');
	buf_init(&b, NETCONN_FRAME_MAX);
	MUST(netconn_open_pack(&b, &m) == 0 && buf_size(&b) == f.len && memcmp(buf_head(&b), f.payload, f.len) == 0);
	buf_release(&b);
	return 0;
}
