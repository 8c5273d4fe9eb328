/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges: IANA's special-purpose registries (RFC 6890 and its updates), RFC 4291, 6052, 8215, 3056, 4380, 5214, 9780. */
#include "core/policy/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "core/base/str.h"

#define V4_BITS 96u /* of the mapped prefix */

static const struct net_addr mapped = { { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff } };

bool addr_prefix_equal(const struct net_addr *a, const struct net_addr *b, unsigned bits)
{
	const unsigned whole = bits / 8, rest = bits % 8;

	if (bits > 128 || memcmp(a->b, b->b, whole))
		return false;
	return !rest || !((a->b[whole] ^ b->b[whole]) >> (8 - rest));
}

bool addr_is_v4(const struct net_addr *a)
{
	return addr_prefix_equal(a, &mapped, V4_BITS);
}

static struct net_addr fill(const struct net_addr *a, unsigned bits, bool ones)
{
	struct net_addr out = *a;

	for (unsigned i = bits; i < 128; i++) {
		const uint8_t bit = (uint8_t)(0x80u >> (i % 8));
		out.b[i / 8] = (uint8_t)(ones ? out.b[i / 8] | bit : out.b[i / 8] & ~bit);
	}
	return out;
}

struct net_addr addr_first(const struct net_addr *a, unsigned bits)
{
	return fill(a, bits, false);
}

struct net_addr addr_last(const struct net_addr *a, unsigned bits)
{
	return fill(a, bits, true);
}

static struct net_addr from_v4(const uint8_t v4[4])
{
	struct net_addr a = mapped;

	memcpy(a.b + 12, v4, 4);
	return a;
}

int addr_parse(const char *s, struct net_addr *a)
{
	uint8_t v4[4];

	if (inet_pton(AF_INET, s, v4) == 1) {
		*a = from_v4(v4);
		return 0;
	}
	if (inet_pton(AF_INET6, s, a->b) != 1 || addr_is_v4(a))
		return -EINVAL;
	return 0;
}

void addr_text(const struct net_addr *a, char out[static ADDR_TEXT_MAX])
{
	if (addr_is_v4(a))
		inet_ntop(AF_INET, a->b + 12, out, ADDR_TEXT_MAX);
	else
		inet_ntop(AF_INET6, a->b, out, ADDR_TEXT_MAX);
}

static const struct range4 {
	uint8_t net[4], bits;
	const char *why;
} forbidden4[] = {
	{ { 0, 0, 0, 0 }, 8, "unspecified address" },
	{ { 10, 0, 0, 0 }, 8, "private address" },
	{ { 100, 100, 100, 200 }, 32, "metadata address" },
	{ { 100, 64, 0, 0 }, 10, "shared address of a carrier's NAT" },
	{ { 127, 0, 0, 0 }, 8, "loopback address" },
	{ { 168, 63, 129, 16 }, 32, "metadata address" },
	{ { 169, 254, 169, 254 }, 32, "metadata address" },
	{ { 169, 254, 0, 0 }, 16, "link-local address" },
	{ { 172, 16, 0, 0 }, 12, "private address" },
	{ { 192, 0, 0, 0 }, 24, "protocol assignment" },
	{ { 192, 31, 196, 0 }, 24, "special-purpose address" },
	{ { 192, 52, 193, 0 }, 24, "special-purpose address" },
	{ { 192, 88, 99, 0 }, 24, "6to4 relay" },
	{ { 192, 168, 0, 0 }, 16, "private address" },
	{ { 192, 175, 48, 0 }, 24, "special-purpose address" },
	{ { 198, 18, 0, 0 }, 15, "benchmarking address, the guest's own names" },
	{ { 224, 0, 0, 0 }, 4, "multicast address" },
	{ { 255, 255, 255, 255 }, 32, "broadcast address" },
	{ { 240, 0, 0, 0 }, 4, "reserved address" },
};

static const struct range6 {
	uint8_t net[16], bits;
	const char *why;
} forbidden6[] = {
	{ { 0 }, 128, "unspecified address" },
	{ { [15] = 1 }, 128, "loopback address" },
	{ { 0 }, 96, "IPv4-compatible address" },
	{ { 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff }, 96, "IPv4-translated address" },
	{ { 0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0 }, 96, "NAT64 address" },
	{ { 0, 0x64, 0xff, 0x9b, 0, 1 }, 48, "NAT64 address" },
	{ { 0x01 }, 64, "discard-only address" },
	{ { 0x01, [7] = 1 }, 64, "dummy address" },
	/* Of tunnels: whatever IPv4 address is inside, who carries it there is not known. Native hosts have none of these. */
	{ { 0x20, 0x01, 0, 0 }, 32, "Teredo address" },
	{ { 0x20, 0x02 }, 16, "6to4 address" },
	{ { 0x20, 0x01, 0, 0x02, 0, 0 }, 48, "benchmarking address" },
	{ { 0x20, 0x01, 0, 0x10 }, 28, "ORCHID" },
	{ { 0x20, 0x01, 0, 0x20 }, 28, "ORCHID" },
	{ { 0x5f, 0 }, 16, "segment routing address" },
	{ { 0xfd, 0, 0x0e, 0xc2, [14] = 0x02, [15] = 0x54 }, 128, "metadata address" },
	{ { 0xfd, 0x20, 0, 0xce, [14] = 0x02, [15] = 0x54 }, 128, "metadata address" },
	{ { 0xfc }, 7, "unique local address" },
	{ { 0xfe, 0x80 }, 10, "link-local address" },
	{ { 0xfe, 0xc0 }, 10, "site-local address" },
	{ { 0xff }, 8, "multicast address" },
};

static bool forbidden_v4(const uint8_t v4[4], const char **why)
{
	const struct net_addr a = from_v4(v4);

	for (size_t i = 0; i < ARRAY_SIZE(forbidden4); i++) {
		const struct net_addr net = from_v4(forbidden4[i].net);
		if (addr_prefix_equal(&a, &net, V4_BITS + forbidden4[i].bits)) {
			*why = forbidden4[i].why;
			return true;
		}
	}
	return false;
}

/* An IPv4 address inside an IPv6 one, to which a relay would carry the connection. */
static bool forbidden_inside(const struct net_addr *a, const char **why)
{
	/* ISATAP's interface identifier: 0000:5efe or 0200:5efe, then the IPv4 address. */
	if ((a->b[8] & ~2) == 0 && a->b[9] == 0 && a->b[10] == 0x5e && a->b[11] == 0xfe && forbidden_v4(a->b + 12, why)) {
		*why = "ISATAP of a forbidden address";
		return true;
	}
	return false;
}

bool addr_forbidden(const struct net_addr *a, const char **why)
{
	const char *unused;

	if (!why)
		why = &unused;
	if (addr_is_v4(a))
		return forbidden_v4(a->b + 12, why);
	for (size_t i = 0; i < ARRAY_SIZE(forbidden6); i++) {
		struct net_addr net;
		memcpy(net.b, forbidden6[i].net, sizeof(net.b));
		if (addr_prefix_equal(a, &net, forbidden6[i].bits)) {
			*why = forbidden6[i].why;
			return true;
		}
	}
	return forbidden_inside(a, why);
}

const unsigned addr_nat64_bits[6] = { 32, 40, 48, 56, 64, 96 };

bool addr_nat64_inner(const struct net_addr *a, unsigned bits, struct net_addr *v4)
{
	bool legal = false;
	uint8_t in[4];

	for (size_t i = 0; i < ARRAY_SIZE(addr_nat64_bits); i++)
		legal = legal || bits == addr_nat64_bits[i];
	if (!legal || a->b[8] != 0 || addr_is_v4(a))
		return false;
	/* Its four bytes follow the prefix and step over the one that is zero. */
	for (unsigned i = 0, at = bits / 8; i < 4; i++, at++) {
		at += at == 8;
		in[i] = a->b[at];
	}
	*v4 = from_v4(in);
	return true;
}

bool addr_is_metadata(const struct net_addr *a)
{
	const char *why;

	return addr_forbidden(a, &why) && !strcmp(why, "metadata address");
}
