/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two cursors: `flat` walks the handshake bytes across record borders, the extensions are read from a copy of the hello without the record
 * heads (on the stack, bounded), so that no field has to be put together twice.
 */
#include "netpolicy/sni.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define RECORD_HEAD 5u
#define RECORD_MAX 16384u
#define RECORDS_MAX 64u /* a hello in more pieces is a game */
#define EXT_MAX 64u

enum { EXT_SNI = 0, EXT_ALPN = 16, EXT_VERSIONS = 43, EXT_ECH = 0xfe0d, EXT_ESNI_OLD = 0xffce };

/* Big-endian consuming reader; `bad` sticks. */
struct cur {
	const uint8_t *p;
	size_t n;
	bool bad;
};

static const uint8_t *take(struct cur *c, size_t n)
{
	const uint8_t *p = c->p;

	if (c->bad || c->n < n) {
		c->bad = true;
		return NULL;
	}
	c->p += n;
	c->n -= n;
	return p;
}

static unsigned u8(struct cur *c)
{
	const uint8_t *p = take(c, 1);

	return p ? p[0] : 0;
}

static unsigned u16(struct cur *c)
{
	const uint8_t *p = take(c, 2);

	return p ? (unsigned)p[0] << 8 | p[1] : 0;
}

static struct cur sub(struct cur *c, size_t n)
{
	const uint8_t *p = take(c, n);

	return p ? (struct cur){ .p = p, .n = n } : (struct cur){ .bad = true };
}

static int host_name(struct cur *c, struct sni_hello *out)
{
	struct cur list = sub(c, u16(c));
	const unsigned type = u8(&list);
	struct cur name = sub(&list, u16(&list));

	/* RFC 6066: one name of each type, and host_name is the only type there is. */
	if (list.bad || list.n > 0 || c->n > 0 || type != 0 || name.n == 0 || name.n >= sizeof(out->name))
		return -EBADMSG;
	for (size_t i = 0; i < name.n; i++)
		out->name[i] = (char)tolower(name.p[i]);
	out->name[name.n] = '\0';
	if (memchr(out->name, '\0', name.n) || !net_name_legal(out->name))
		return -EBADMSG;
	return 0;
}

static int protocols(struct cur *c, struct sni_hello *out)
{
	struct cur list = sub(c, u16(c));

	if (list.bad || list.n == 0 || c->n > 0)
		return -EBADMSG;
	while (list.n > 0) {
		struct cur name = sub(&list, u8(&list));

		if (list.bad || name.n == 0)
			return -EBADMSG;
		out->alpn = true;
		if (name.n == 2 && memcmp(name.p, "h2", 2) == 0)
			out->alpn_h2 = true;
		else if (name.n == 8 && memcmp(name.p, "http/1.1", 8) == 0)
			out->alpn_http11 = true;
	}
	return 0;
}

static int versions(struct cur *c, struct sni_hello *out)
{
	struct cur list = sub(c, u8(c));

	if (list.bad || list.n == 0 || list.n % 2 || c->n > 0)
		return -EBADMSG;
	while (list.n > 0) {
		const unsigned v = u16(&list);

		/* 0x?a?a is grease, RFC 8701. */
		if ((v & 0x0f0f) != 0x0a0a && v > out->version && v <= 0x03ff)
			out->version = (uint16_t)v;
	}
	return 0;
}

static int extensions(struct cur *c, struct sni_hello *out)
{
	unsigned seen[EXT_MAX];
	size_t nseen = 0;

	while (c->n > 0) {
		const unsigned type = u16(c);
		struct cur body = sub(c, u16(c));
		int r = 0;

		if (c->bad || nseen == EXT_MAX)
			return -EBADMSG;
		for (size_t i = 0; i < nseen; i++)
			if (seen[i] == type)
				return -EBADMSG;
		seen[nseen++] = type;
		if (type == EXT_SNI)
			r = host_name(&body, out);
		else if (type == EXT_ALPN)
			r = protocols(&body, out);
		else if (type == EXT_VERSIONS)
			r = versions(&body, out);
		else if (type == EXT_ECH || type == EXT_ESNI_OLD)
			out->ech = true;
		if (r < 0)
			return r;
	}
	return 0;
}

static int hello(struct cur *c, struct sni_hello *out)
{
	const unsigned legacy = u16(c);

	take(c, 32); /* random */
	take(c, u8(c));
	const size_t suites = u16(c);
	take(c, suites);
	const size_t compressions = u8(c);
	take(c, compressions);
	if (c->bad || legacy >> 8 != 3 || suites < 2 || suites % 2 || compressions == 0)
		return -EBADMSG;
	out->version = (uint16_t)legacy;
	if (c->n == 0)
		return 0; /* a hello of TLS 1.0's time */
	struct cur list = sub(c, u16(c));
	if (c->bad || c->n > 0)
		return -EBADMSG;
	return extensions(&list, out);
}

int sni_parse(const uint8_t *p, size_t n, struct sni_hello *out)
{
	uint8_t flat[4 + SNI_HELLO_MAX];
	size_t have = 0, need = 4;
	struct cur c = { .p = p, .n = n };

	memset(out, 0, sizeof(*out));
	for (unsigned records = 0; have < need; records++) {
		/* What is there of a record's head must be right already: bytes that are not TLS are told at once. */
		if ((c.n > 0 && c.p[0] != 22) || (c.n > 1 && c.p[1] != 3))
			return records == 0 ? -EPROTO : -EBADMSG;
		if (records == RECORDS_MAX)
			return -EBADMSG;
		if (c.n < RECORD_HEAD)
			return -EAGAIN;
		const size_t len = (size_t)c.p[3] << 8 | c.p[4];
		if (len == 0 || len > RECORD_MAX)
			return -EBADMSG;
		take(&c, RECORD_HEAD);
		const size_t part = c.n < len ? c.n : len;
		for (size_t i = 0; i < part && have < need; i++) {
			flat[have++] = c.p[i];
			if (have == 1 && flat[0] != 1)
				return -EBADMSG;
			if (have == 4) {
				const size_t body = (size_t)flat[1] << 16 | (size_t)flat[2] << 8 | flat[3];
				if (body < 38 || body > SNI_HELLO_MAX)
					return -EBADMSG;
				need = 4 + body;
			}
		}
		if (have < need && part < len)
			return -EAGAIN;
		take(&c, part);
	}
	struct cur body = { .p = flat + 4, .n = need - 4 };
	return hello(&body, out);
}
