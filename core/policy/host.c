/* SPDX-License-Identifier: Apache-2.0 */
/* Host patterns: text and matching. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/policy/addr.h"
#include "core/policy/rules.h"

static int parse_net(const char *s, struct host_pattern *h, struct err *e)
{
	const char *slash = strchr(s, '/');
	char text[64];
	uint64_t bits = 0;

	str_copy(text, sizeof(text), s);
	if (slash && (size_t)(slash - s) < sizeof(text))
		text[slash - s] = '\0';
	if (addr_parse(text, &h->net)) {
		char shown[96];
		scrub(shown, sizeof(shown), text, strlen(text), false);
		return err_set(e, EINVAL, "'%s' is no address: write 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32", shown);
	}
	const unsigned width = addr_is_v4(&h->net) ? 32 : 128;
	if (slash && str_u64(slash + 1, 0, width, &bits))
		return err_set(e, EINVAL, "the length of a prefix of '%s' is 0 to %u", text, width);
	h->kind = HOST_NET;
	h->bits = (uint8_t)(slash ? 128 - width + bits : 128);
	const struct net_addr first = addr_first(&h->net, h->bits);
	if (memcmp(&first, &h->net, sizeof(first))) {
		addr_text(&first, text);
		return err_set(e, EINVAL, "an address with bits beyond its prefix: did you mean %s/%u?", text, (unsigned)bits);
	}
	return 0;
}

/* Digits, dots, colons, hexadecimal and a slash: an address, or what inet_aton() would take for one. */
static bool looks_like_address(const char *s)
{
	const char *last = strrchr(s, '.');

	last = last ? last + 1 : s;
	return strchr(s, ':') || strchr(s, '/') || (*last >= '0' && *last <= '9');
}

static int parse_name(const char *s, struct host_pattern *h, struct err *e)
{
	size_t n = strlen(s);

	if (n && s[n - 1] == '.')
		n--;
	if (n == 0 || n >= sizeof(h->name))
		return err_set(e, EINVAL, "%s", n ? "the name of a host is at most 253 characters" : "the name of a host is missing");
	for (size_t i = 0; i < n; i++) {
		if ((unsigned char)s[i] >= 0x80)
			return err_set(e, EINVAL, "write a name with other than ASCII letters in its punycode form, 'xn--…'");
		h->name[i] = s[i] >= 'A' && s[i] <= 'Z' ? (char)(s[i] - 'A' + 'a') : s[i];
	}
	h->name[n] = '\0';
	if (strchr(h->name, '*'))
		return err_set(e, EINVAL, "'*' stands only at the beginning: '*.example.org' is one label more, '**.example.org' any number");
	if (!net_name_legal(h->name)) {
		char shown[96];
		scrub(shown, sizeof(shown), s, strlen(s), false);
		return err_set(e, EINVAL, "'%s' is neither the name of a host nor an address", shown);
	}
	return 0;
}

int host_parse(const char *s, struct host_pattern *h, struct err *e)
{
	char inner[80];
	const size_t n = strlen(s);

	memset(h, 0, sizeof(*h));
	if (strstr(s, "://"))
		return err_set(e, EINVAL, "write the host alone, without a scheme: 'example.org'");
	if (!strcmp(s, "*") || !strcmp(s, "**")) {
		h->kind = HOST_ANY;
		return 0;
	}
	if (n > 2 && s[0] == '[' && s[n - 1] == ']' && n - 2 < sizeof(inner)) {
		memcpy(inner, s + 1, n - 2);
		inner[n - 2] = '\0';
		return parse_net(inner, h, e);
	}
	if (str_starts(s, "**.")) {
		h->kind = HOST_DEEP;
		return parse_name(s + 3, h, e);
	}
	if (str_starts(s, "*.")) {
		h->kind = HOST_ONE;
		return parse_name(s + 2, h, e);
	}
	if (looks_like_address(s)) {
		return n < 64 ? parse_net(s, h, e) : err_set(e, EINVAL, "an address is at most 63 characters");
	}
	h->kind = HOST_EXACT;
	return parse_name(s, h, e);
}

void host_text(const struct host_pattern *h, char *dst, size_t cap)
{
	char text[ADDR_TEXT_MAX];

	switch (h->kind) {
	case HOST_EXACT: str_copy(dst, cap, h->name); break;
	case HOST_ONE: snprintf(dst, cap, "*.%s", h->name); break;
	case HOST_DEEP: snprintf(dst, cap, "**.%s", h->name); break;
	case HOST_NET:
		addr_text(&h->net, text);
		if (h->bits == 128)
			str_copy(dst, cap, text);
		else
			snprintf(dst, cap, "%s/%u", text, h->bits - (addr_is_v4(&h->net) ? 96u : 0u));
		break;
	default: str_copy(dst, cap, "*");
	}
}

bool host_match(const struct host_pattern *h, const char *name)
{
	if (h->kind == HOST_ANY)
		return true;
	if (h->kind == HOST_NET || !*name)
		return false;
	const size_t n = strlen(name), m = strlen(h->name);
	if (n < m || memcmp(name + n - m, h->name, m))
		return false;
	if (n == m)
		return h->kind == HOST_EXACT || h->kind == HOST_DEEP;
	if (h->kind == HOST_EXACT || name[n - m - 1] != '.')
		return false;
	return h->kind == HOST_DEEP || !memchr(name, '.', n - m - 1);
}

bool host_is_local(const char *name, const char **why)
{
	static const char *const below[] = { "localhost", "local", "localdomain", "internal", "arpa" };
	static const char *const metadata[] = { "metadata.google.internal", "metadata.goog", "metadata.tencentyun.com", "metadata.packet.net",
						"metadata.platformequinix.com" };
	const char *last = strrchr(name, '.');

	for (size_t i = 0; i < ARRAY_SIZE(metadata); i++)
		if (!strcmp(name, metadata[i])) {
			*why = "a metadata service's, by its name";
			return true;
		}
	*why = "one of the local network, by its name";
	for (size_t i = 0; i < ARRAY_SIZE(below) && last; i++)
		if (!strcmp(last + 1, below[i]))
			return true;
	return !last;
}
