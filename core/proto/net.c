/* SPDX-License-Identifier: Apache-2.0 */
/* Field by field, in the order of the structs; enumerations and counts are checked here. */
#include "core/proto/net.h"

#include <errno.h>
#include <string.h>

static int packed(const struct buf *b)
{
	return buf_ok(b) ? 0 : -ENOBUFS;
}

static int whole(struct rbuf *r, bool legal)
{
	return !legal || rbuf_done(r) < 0 ? -EBADMSG : 0;
}

int net_start_pack(struct buf *b, const struct net_start *m)
{
	buf_str16(b, m->name);
	buf_u32(b, m->ask_ms);
	buf_str16(b, m->https_proxy);
	buf_str16(b, m->no_proxy);
	buf_str16(b, m->dns);
	buf_str16(b, m->ca_file);
	return packed(b);
}

int net_start_unpack(struct rbuf *r, struct net_start *m)
{
	rbuf_str16(r, m->name, sizeof(m->name));
	rbuf_u32(r, &m->ask_ms);
	rbuf_str16(r, m->https_proxy, sizeof(m->https_proxy));
	rbuf_str16(r, m->no_proxy, sizeof(m->no_proxy));
	rbuf_str16(r, m->dns, sizeof(m->dns));
	rbuf_str16(r, m->ca_file, sizeof(m->ca_file));
	return whole(r, m->ask_ms >= 1000 && m->ask_ms <= 3600000);
}

static void put_facts(struct buf *b, const struct net_facts *m)
{
	buf_u8(b, m->proto);
	buf_u16(b, m->port);
	buf_u8(b, m->has_addr);
	buf_put(b, m->addr.b, sizeof(m->addr.b));
	buf_str16(b, m->name);
	buf_str16(b, m->method);
	buf_str16(b, m->path);
}

static void get_facts(struct rbuf *r, struct net_facts *m)
{
	uint8_t has_addr;

	rbuf_u8(r, &m->proto);
	rbuf_u16(r, &m->port);
	rbuf_u8(r, &has_addr);
	rbuf_copy(r, m->addr.b, sizeof(m->addr.b));
	rbuf_str16(r, m->name, sizeof(m->name));
	rbuf_str16(r, m->method, sizeof(m->method));
	rbuf_str16(r, m->path, sizeof(m->path));
	if (!r->bad && (m->proto >= NET_P_NUM || has_addr > 1 || (m->name[0] && !net_name_legal(m->name))))
		r->bad = true;
	m->has_addr = !r->bad && has_addr;
}

int net_facts_pack(struct buf *b, const struct net_facts *m)
{
	put_facts(b, m);
	return packed(b);
}

int net_facts_unpack(struct rbuf *r, struct net_facts *m)
{
	get_facts(r, m);
	return rbuf_done(r);
}

static void put_who(struct buf *b, const struct net_who *m)
{
	buf_u32(b, m->pid);
	buf_u32(b, m->uid);
	buf_str16(b, m->comm);
	buf_str16(b, m->cmdline);
	buf_str16(b, m->container);
}

static void get_who(struct rbuf *r, struct net_who *m)
{
	rbuf_u32(r, &m->pid);
	rbuf_u32(r, &m->uid);
	rbuf_str16(r, m->comm, sizeof(m->comm));
	rbuf_str16(r, m->cmdline, sizeof(m->cmdline));
	rbuf_str16(r, m->container, sizeof(m->container));
}

int net_ask_pack(struct buf *b, const struct net_ask *m)
{
	buf_u32(b, m->id);
	buf_u32(b, m->count);
	buf_u64(b, m->since_ms);
	buf_u64(b, m->until_ms);
	put_facts(b, &m->facts);
	put_who(b, &m->who);
	return packed(b);
}

int net_ask_unpack(struct rbuf *r, struct net_ask *m)
{
	rbuf_u32(r, &m->id);
	rbuf_u32(r, &m->count);
	rbuf_u64(r, &m->since_ms);
	rbuf_u64(r, &m->until_ms);
	get_facts(r, &m->facts);
	get_who(r, &m->who);
	return whole(r, m->id > 0);
}

int net_answer_pack(struct buf *b, const struct net_answer *m)
{
	buf_u32(b, m->id);
	buf_u8(b, m->verdict);
	return packed(b);
}

int net_answer_unpack(struct rbuf *r, struct net_answer *m)
{
	rbuf_u32(r, &m->id);
	rbuf_u8(r, &m->verdict);
	return whole(r, m->verdict == NET_ALLOW || m->verdict == NET_DENY);
}

int net_secret_pack(struct buf *b, const struct net_secret *m)
{
	buf_u32(b, m->id);
	buf_str16(b, m->service);
	buf_u16(b, m->nhosts);
	for (size_t i = 0; i < m->nhosts && i < NET_SECRET_HOSTS; i++)
		buf_str16(b, m->hosts[i]);
	buf_str16(b, m->header);
	buf_str16(b, m->format);
	buf_str16(b, m->placeholder);
	buf_str16(b, m->value);
	if (m->nhosts > NET_SECRET_HOSTS)
		b->failed = true;
	return packed(b);
}

int net_secret_unpack(struct rbuf *r, struct net_secret *m)
{
	rbuf_u32(r, &m->id);
	rbuf_str16(r, m->service, sizeof(m->service));
	rbuf_u16(r, &m->nhosts);
	if (!r->bad && m->nhosts > NET_SECRET_HOSTS)
		r->bad = true;
	for (size_t i = 0; !r->bad && i < m->nhosts; i++)
		rbuf_str16(r, m->hosts[i], sizeof(m->hosts[i]));
	rbuf_str16(r, m->header, sizeof(m->header));
	rbuf_str16(r, m->format, sizeof(m->format));
	rbuf_str16(r, m->placeholder, sizeof(m->placeholder));
	rbuf_str16(r, m->value, sizeof(m->value));
	return rbuf_done(r);
}

int net_leaf_ask_pack(struct buf *b, const struct net_leaf_ask *m)
{
	buf_u32(b, m->token);
	buf_str16(b, m->name);
	buf_blob16(b, m->key, m->nkey);
	return packed(b);
}

int net_leaf_ask_unpack(struct rbuf *r, struct net_leaf_ask *m)
{
	const uint8_t *p = NULL;
	size_t n = 0;

	rbuf_u32(r, &m->token);
	rbuf_str16(r, m->name, sizeof(m->name));
	rbuf_blob16(r, &p, &n);
	if (rbuf_done(r) < 0 || n == 0 || n > sizeof(m->key) || !net_name_legal(m->name))
		return -EBADMSG;
	m->nkey = (uint16_t)n;
	memcpy(m->key, p, n);
	return 0;
}

int net_leaf_pack(struct buf *b, const struct net_leaf *m)
{
	buf_u32(b, m->token);
	buf_blob16(b, m->cert, m->ncert);
	return packed(b);
}

int net_leaf_unpack(struct rbuf *r, struct net_leaf *m)
{
	const uint8_t *p = NULL;
	size_t n = 0;

	rbuf_u32(r, &m->token);
	rbuf_blob16(r, &p, &n);
	if (rbuf_done(r) < 0 || n > sizeof(m->cert))
		return -EBADMSG;
	m->ncert = (uint16_t)n;
	if (n > 0)
		memcpy(m->cert, p, n);
	return 0;
}

int net_record_pack(struct buf *b, const struct net_record *m)
{
	buf_u64(b, m->number);
	buf_u8(b, m->event);
	buf_u8(b, m->verdict);
	buf_u64(b, m->conn);
	buf_u32(b, m->ask);
	put_facts(b, &m->facts);
	put_who(b, &m->who);
	buf_put(b, m->to.b, sizeof(m->to.b));
	buf_str16(b, m->rule);
	buf_str16(b, m->scope);
	buf_str16(b, m->service);
	buf_u16(b, m->status);
	buf_u64(b, m->in);
	buf_u64(b, m->out);
	buf_u64(b, m->ms);
	return packed(b);
}

int net_record_unpack(struct rbuf *r, struct net_record *m)
{
	rbuf_u64(r, &m->number);
	rbuf_u8(r, &m->event);
	rbuf_u8(r, &m->verdict);
	rbuf_u64(r, &m->conn);
	rbuf_u32(r, &m->ask);
	get_facts(r, &m->facts);
	get_who(r, &m->who);
	rbuf_copy(r, m->to.b, sizeof(m->to.b));
	rbuf_str16(r, m->rule, sizeof(m->rule));
	rbuf_str16(r, m->scope, sizeof(m->scope));
	rbuf_str16(r, m->service, sizeof(m->service));
	rbuf_u16(r, &m->status);
	rbuf_u64(r, &m->in);
	rbuf_u64(r, &m->out);
	rbuf_u64(r, &m->ms);
	return whole(r, m->event < NET_E_NUM && m->verdict < NET_VERDICT_NUM);
}

int net_stats_pack(struct buf *b, const struct net_stats *m)
{
	buf_u32(b, m->open);
	buf_u32(b, m->held);
	buf_u64(b, m->conns);
	buf_u64(b, m->denied);
	buf_u64(b, m->in);
	buf_u64(b, m->out);
	return packed(b);
}

int net_stats_unpack(struct rbuf *r, struct net_stats *m)
{
	rbuf_u32(r, &m->open);
	rbuf_u32(r, &m->held);
	rbuf_u64(r, &m->conns);
	rbuf_u64(r, &m->denied);
	rbuf_u64(r, &m->in);
	rbuf_u64(r, &m->out);
	return rbuf_done(r);
}
