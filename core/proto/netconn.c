/* SPDX-License-Identifier: Apache-2.0 */
#include "core/proto/netconn.h"

#include <errno.h>
#include <string.h>

static bool label_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* A last label that begins with a digit would let 127.1, 0x7f.1 and their kin pass as names. */
bool net_name_legal(const char *name)
{
	size_t n = strnlen(name, NET_NAME_MAX), label = 0, last = 0;

	if (n == 0 || n == NET_NAME_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (name[i] == '.') {
			if (label == 0)
				return false;
			label = 0;
			last = i + 1;
		} else if (!label_char(name[i]) || ++label > 63) {
			return false;
		}
	}
	return label > 0 && !(name[last] >= '0' && name[last] <= '9');
}

int netconn_open_pack(struct buf *b, const struct netconn_open *m)
{
	buf_u16(b, m->version);
	buf_put(b, m->dst.b, sizeof(m->dst.b));
	buf_u16(b, m->port);
	buf_str16(b, m->name);
	buf_u32(b, m->pid);
	buf_u32(b, m->uid);
	buf_str16(b, m->comm);
	buf_str16(b, m->cmdline);
	buf_str16(b, m->container);
	return buf_ok(b) ? 0 : -ENOBUFS;
}

int netconn_open_unpack(struct rbuf *r, struct netconn_open *m)
{
	rbuf_u16(r, &m->version);
	rbuf_copy(r, m->dst.b, sizeof(m->dst.b));
	rbuf_u16(r, &m->port);
	rbuf_str16(r, m->name, sizeof(m->name));
	rbuf_u32(r, &m->pid);
	rbuf_u32(r, &m->uid);
	rbuf_str16(r, m->comm, sizeof(m->comm));
	rbuf_str16(r, m->cmdline, sizeof(m->cmdline));
	rbuf_str16(r, m->container, sizeof(m->container));
	if (!r->bad && (m->version != NETCONN_VERSION || m->port == 0 || (m->name[0] && !net_name_legal(m->name))))
		r->bad = true;
	return rbuf_done(r);
}
