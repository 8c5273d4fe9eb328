/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blob of rules: u32 magic, u16 version, u8 default, u8 whose, u8 flags, u8 administrator's default, u32 count, then each rule. Whoever reads
 * it takes only what rule_check() takes.
 */
#include <errno.h>
#include <string.h>

#include "core/base/rbuf.h"
#include "core/policy/store.h"

#define BLOB_MAGIC 0x4c555242u /* "BRUL" */
#define BLOB_VERSION 1u
enum { FLAG_UNATTENDED = 1, FLAG_ADMIN_DEFAULT = 2 };
enum { RULE_FLAG_TCP = 1 };

static void pack_rule(struct buf *b, const struct rule *r)
{
	buf_u8(b, r->verdict);
	buf_u8(b, r->scope);
	buf_u8(b, r->tcp ? RULE_FLAG_TCP : 0);
	buf_u8(b, r->host.kind);
	if (r->host.kind == HOST_NET) {
		buf_u8(b, r->host.bits);
		buf_put(b, r->host.net.b, sizeof(r->host.net.b));
	} else if (r->host.kind != HOST_ANY) {
		buf_str16(b, r->host.name);
	}
	buf_u8(b, r->nports);
	for (size_t i = 0; i < r->nports; i++) {
		buf_u16(b, r->ports[i].from);
		buf_u16(b, r->ports[i].to);
	}
	buf_u8(b, r->nmethods);
	for (size_t i = 0; i < r->nmethods; i++)
		buf_str16(b, r->methods[i]);
	buf_str16(b, r->path);
}

int rules_pack(const struct rules *rs, struct buf *b)
{
	buf_u32(b, BLOB_MAGIC);
	buf_u16(b, BLOB_VERSION);
	buf_u8(b, rs->def);
	buf_u8(b, rs->def_scope);
	buf_u8(b, (uint8_t)((rs->unattended ? FLAG_UNATTENDED : 0) | (rs->admin_default_set ? FLAG_ADMIN_DEFAULT : 0)));
	buf_u8(b, rs->admin_def);
	buf_u32(b, rs->n);
	for (uint32_t i = 0; i < rs->n; i++)
		pack_rule(b, &rs->v[i]);
	return buf_ok(b) && buf_size(b) <= RULES_BLOB_MAX ? 0 : -ENOBUFS;
}

static int unpack_rule(struct rbuf *b, struct rule *r)
{
	uint8_t flags = 0;

	memset(r, 0, sizeof(*r));
	rbuf_u8(b, &r->verdict);
	rbuf_u8(b, &r->scope);
	rbuf_u8(b, &flags);
	rbuf_u8(b, &r->host.kind);
	r->tcp = flags & RULE_FLAG_TCP;
	if (r->host.kind == HOST_NET) {
		rbuf_u8(b, &r->host.bits);
		rbuf_copy(b, r->host.net.b, sizeof(r->host.net.b));
	} else if (r->host.kind != HOST_ANY) {
		rbuf_str16(b, r->host.name, sizeof(r->host.name));
	}
	rbuf_u8(b, &r->nports);
	if (b->bad || (flags & ~RULE_FLAG_TCP) || r->nports > RULE_PORTS)
		return -EBADMSG;
	for (size_t i = 0; i < r->nports; i++) {
		rbuf_u16(b, &r->ports[i].from);
		rbuf_u16(b, &r->ports[i].to);
	}
	rbuf_u8(b, &r->nmethods);
	if (b->bad || r->nmethods > RULE_METHODS)
		return -EBADMSG;
	for (size_t i = 0; i < r->nmethods; i++)
		rbuf_str16(b, r->methods[i], sizeof(r->methods[i]));
	rbuf_str16(b, r->path, sizeof(r->path));
	return b->bad ? -EBADMSG : 0;
}

static struct rules *unpack(struct rbuf *b, struct err *e)
{
	struct rules *rs = rules_create();
	uint32_t magic = 0, count = 0;
	uint16_t version = 0;
	uint8_t flags = 0;
	struct rule r;

	if (!rs) {
		err_set(e, ENOMEM, "out of memory");
		return NULL;
	}
	rbuf_u32(b, &magic);
	rbuf_u16(b, &version);
	rbuf_u8(b, &rs->def);
	rbuf_u8(b, &rs->def_scope);
	rbuf_u8(b, &flags);
	rbuf_u8(b, &rs->admin_def);
	rbuf_u32(b, &count);
	rs->unattended = flags & FLAG_UNATTENDED;
	rs->admin_default_set = flags & FLAG_ADMIN_DEFAULT;
	if (b->bad || magic != BLOB_MAGIC || version != BLOB_VERSION || rs->def >= NET_VERDICT_NUM || rs->def_scope >= RULE_SCOPE_NUM ||
	    rs->admin_def >= NET_VERDICT_NUM || (flags & ~(FLAG_UNATTENDED | FLAG_ADMIN_DEFAULT)) || count > RULES_MAX)
		goto bad;
	for (uint32_t i = 0; i < count; i++)
		if (unpack_rule(b, &r) || rules_add(rs, &r, NULL))
			goto bad;
	if (rbuf_done(b))
		goto bad;
	return rs;
bad:
	rules_destroy(rs);
	err_set(e, EBADMSG, "the rules are damaged");
	return NULL;
}

struct rules *rules_unpack(const void *p, size_t n, struct err *e)
{
	struct rbuf b;

	rbuf_init(&b, p, n <= RULES_BLOB_MAX ? n : 0);
	return unpack(&b, e);
}
