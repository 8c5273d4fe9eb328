/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The question goes back byte by byte as it came (case included: RFC 5452's and the 0x20 draft's checks hold), so an answer's own name is
 * always the pointer C00C. Every field of the query is read once, with its bounds.
 */
#include "guest/dns.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "core/base/str.h"
#include "core/proto/netconn.h"
#include "guest/names.h"

#define HEAD 12u
#define NAME_MAX_ 255u /* on the wire */
#define UDP_SIZE 1232u /* told in our OPT */
#define RECORDS_MAX 16u

enum { T_A = 1, T_PTR = 12, T_AAAA = 28, T_OPT = 41, T_SVCB = 64, T_HTTPS = 65, C_IN = 1 };
enum { RC_OK = 0, RC_FORMERR = 1, RC_SERVFAIL = 2, RC_NXDOMAIN = 3, RC_NOTIMP = 4, RC_REFUSED = 5, RC_BADVERS = 16 };

struct query {
	const uint8_t *question; /* with type and class */
	size_t len;
	char name[NAME_MAX_ + 1]; /* lower case, no dot at its end; "" when it holds what no host name does */
	unsigned labels;
	uint16_t type, class;
	bool edns;
	uint8_t edns_version;
};

struct answer {
	uint16_t rcode;
	uint16_t type, len; /* of the one record; len 0: none */
	uint8_t data[NAME_MAX_ + 1];
};

static uint16_t u16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* ---- query ------------------------------------------------------------------------------------------------------------------ */

/* The name at p[0..n): bytes it takes, or -EBADMSG. A question is never compressed. */
static int read_name(const uint8_t *p, size_t n, struct query *q)
{
	size_t at = 0, text = 0;
	bool host = true;

	for (;;) {
		if (at >= n || at >= NAME_MAX_)
			return -EBADMSG;
		const size_t len = p[at++];
		if (len == 0)
			break;
		if (len > 63 || len > n - at || at + len >= NAME_MAX_)
			return -EBADMSG;
		if (q->labels++ > 0)
			q->name[text++] = '.';
		for (size_t i = 0; i < len; i++) {
			const uint8_t c = p[at + i];

			host = host && c > ' ' && c < 0x7f && c != '.';
			q->name[text++] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
		}
		at += len;
	}
	q->name[host ? text : 0] = '\0';
	return (int)at;
}

/* Behind a name that may end in a pointer; bytes it takes, or -EBADMSG. */
static int skip_name(const uint8_t *p, size_t n)
{
	for (size_t at = 0; at < n && at <= NAME_MAX_;) {
		if (p[at] == 0)
			return (int)at + 1;
		if (p[at] >= 0xc0)
			return n - at >= 2 ? (int)at + 2 : -EBADMSG;
		if (p[at] > 63)
			return -EBADMSG;
		at += 1u + p[at];
	}
	return -EBADMSG;
}

static int read_additional(const uint8_t *p, size_t n, unsigned count, struct query *q)
{
	if (count > RECORDS_MAX)
		return -EBADMSG;
	while (count-- > 0) {
		const int name = skip_name(p, n);

		if (name < 0 || n - (size_t)name < 10)
			return -EBADMSG;
		const uint8_t *r = p + name;
		const size_t rest = n - (size_t)name - 10, len = u16(r + 8);
		if (len > rest)
			return -EBADMSG;
		if (u16(r) == T_OPT) {
			if (q->edns || name != 1)
				return -EBADMSG;
			q->edns = true;
			q->edns_version = r[5];
		}
		p = r + 10 + len;
		n = rest - len;
	}
	return 0;
}

/* 0, or the code of a refusal. */
static uint16_t read_query(const uint8_t *p, size_t n, struct query *q)
{
	if ((p[2] >> 3 & 15) != 0)
		return RC_NOTIMP;
	if (u16(p + 4) != 1 || u16(p + 6) != 0 || u16(p + 8) != 0)
		return RC_FORMERR;
	const int len = read_name(p + HEAD, n - HEAD, q);
	if (len < 0 || n - HEAD - (size_t)len < 4)
		return RC_FORMERR;
	q->type = u16(p + HEAD + len);
	q->class = u16(p + HEAD + len + 2);
	const size_t behind = HEAD + (size_t)len + 4;
	if (read_additional(p + behind, n - behind, u16(p + 10), q) < 0)
		return RC_FORMERR;
	q->question = p + HEAD;
	q->len = (size_t)len + 4;
	return q->edns && q->edns_version != 0 ? RC_BADVERS : RC_OK;
}

/* ---- answer ------------------------------------------------------------------------------------------------------------------ */

static void give_v4(struct answer *a, uint32_t addr)
{
	a->type = T_A;
	a->len = 4;
	put16(a->data, addr >> 16);
	put16(a->data + 2, addr & 0xffff);
}

static void give_name(struct answer *a, const char *name)
{
	size_t at = 0;

	a->type = T_PTR;
	while (*name) {
		const size_t n = strcspn(name, ".");

		a->data[at++] = (uint8_t)n;
		memcpy(a->data + at, name, n);
		at += n;
		name += n + (name[n] == '.');
	}
	a->data[at++] = 0;
	a->len = (uint16_t)at;
}

static bool below(const char *name, const char *zone)
{
	const size_t n = strlen(name), z = strlen(zone);

	return n >= z && strcmp(name + n - z, zone) == 0 && (n == z || name[n - z - 1] == '.');
}

static void answer_reverse(const struct query *q, struct answer *a)
{
	unsigned b[4];
	char again[64];

	a->rcode = RC_NXDOMAIN;
	if (q->type != T_PTR || sscanf(q->name, "%3u.%3u.%3u.%3u.", &b[3], &b[2], &b[1], &b[0]) != 4)
		return;
	snprintf(again, sizeof(again), "%u.%u.%u.%u.in-addr.arpa", b[3], b[2], b[1], b[0]);
	if (strcmp(again, q->name) != 0 || b[0] > 255 || b[1] > 255 || b[2] > 255 || b[3] > 255)
		return;
	const char *name = b[0] == 127 ? "localhost" : names_of(b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3]);
	if (!name)
		return;
	a->rcode = RC_OK;
	give_name(a, name);
}

static void answer_loopback(const struct query *q, struct answer *a)
{
	if (q->type == T_A)
		give_v4(a, 0x7f000001);
	if (q->type == T_AAAA) {
		a->type = T_AAAA;
		a->len = 16;
		a->data[15] = 1;
	}
}

static void answer(const struct query *q, uint64_t now_ms, struct answer *a)
{
	static const char *const nowhere[] = { "local", "onion", "invalid" };
	uint32_t addr;

	if (q->class != C_IN || q->labels == 0) {
		a->rcode = RC_REFUSED;
		return;
	}
	if (below(q->name, "localhost")) {
		answer_loopback(q, a);
		return;
	}
	if (below(q->name, "arpa")) {
		answer_reverse(q, a);
		return;
	}
	if (q->labels < 2 || !net_name_legal(q->name))
		a->rcode = RC_NXDOMAIN;
	for (size_t i = 0; i < ARRAY_SIZE(nowhere); i++)
		if (below(q->name, nowhere[i]))
			a->rcode = RC_NXDOMAIN;
	if (a->rcode != RC_OK)
		return;
	if (q->type == T_A) {
		if (names_addr(q->name, now_ms, &addr) == 0)
			give_v4(a, addr);
		else
			a->rcode = RC_SERVFAIL;
	} else if (q->type != T_AAAA && q->type != T_HTTPS && q->type != T_SVCB) {
		a->rcode = RC_REFUSED;
	}
}

size_t dns_answer(const uint8_t *p, size_t n, uint64_t now_ms, uint8_t out[DNS_ANSWER_MAX])
{
	struct query q = { .len = 0 };
	struct answer a = { .rcode = 0 };
	size_t at = HEAD;

	if (n < HEAD || p[2] & 0x80)
		return 0;
	a.rcode = read_query(p, n, &q);
	if (a.rcode == RC_OK)
		answer(&q, now_ms, &a);
	memset(out, 0, HEAD);
	memcpy(out, p, 2);
	out[2] = (uint8_t)(0x80 | (p[2] & 0x79));         /* an answer; operation and "recursion desired" as they came */
	out[3] = (uint8_t)(0x80 | (p[3] & 0x10) | (a.rcode & 15)); /* recursion available; "checking disabled" as it came */
	out[5] = q.len > 0;
	out[7] = a.len > 0;
	out[11] = q.edns;
	memcpy(out + at, q.question ? q.question : p, q.len);
	at += q.len;
	if (a.len > 0) {
		put16(out + at, 0xc000 | HEAD);
		put16(out + at + 2, a.type);
		put16(out + at + 4, C_IN);
		put16(out + at + 6, 0);
		put16(out + at + 8, DNS_TTL_S);
		put16(out + at + 10, a.len);
		memcpy(out + at + 12, a.data, a.len);
		at += 12u + a.len;
	}
	if (q.edns) {
		const uint8_t opt[11] = { 0, 0, T_OPT, UDP_SIZE >> 8, UDP_SIZE & 255, (uint8_t)(a.rcode >> 4) };

		memcpy(out + at, opt, sizeof(opt));
		at += sizeof(opt);
	}
	return at;
}
