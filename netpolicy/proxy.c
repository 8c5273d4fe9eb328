/* SPDX-License-Identifier: Apache-2.0 */
#include "netpolicy/proxy.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/base/str.h"
#include "core/policy/addr.h"

static int hex(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, c | (c >= 'A' && c <= 'F' ? 0x20 : 0)) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* User and password as a URL writes them (RFC 3986 2.1), n bytes. */
static bool decode(char *dst, size_t cap, const char *s, size_t n)
{
	size_t to = 0;

	for (size_t i = 0; i < n; i++) {
		char c = s[i];

		if (c == '%') {
			const int high = i + 2 < n ? hex(s[i + 1]) : -1, low = i + 2 < n ? hex(s[i + 2]) : -1;

			if (high < 0 || low < 0 || high + low == 0)
				return false;
			c = (char)(high << 4 | low);
			i += 2;
		}
		if (to + 1 >= cap)
			return false;
		dst[to++] = c;
	}
	dst[to] = '\0';
	return true;
}

bool proxy_url_parse(struct proxy_url *p, const char *text)
{
	const char *end, *at, *host, *host_end;
	uint64_t port = 80;
	char digits[8];

	*p = (struct proxy_url){ 0 };
	if (strncasecmp(text, "http://", 7) == 0)
		text += 7;
	else if (strstr(text, "://"))
		return false;
	end = text + strcspn(text, "/?#");
	at = memrchr(text, '@', (size_t)(end - text));
	if (at && !decode(p->user, sizeof(p->user), text, (size_t)(at - text)))
		return false;
	host = at ? at + 1 : text;
	if (*host == '[') {
		host++;
		host_end = memchr(host, ']', (size_t)(end - host));
	} else {
		host_end = memchr(host, ':', (size_t)(end - host));
		host_end = host_end ? host_end : end;
	}
	if (!host_end || host_end == host || (size_t)(host_end - host) >= sizeof(p->host))
		return false;
	memcpy(p->host, host, (size_t)(host_end - host));
	if (*host_end == ']')
		host_end++;
	if (host_end != end) {
		const size_t n = (size_t)(end - host_end) - 1;

		if (*host_end != ':' || n >= sizeof(digits))
			return false;
		memcpy(digits, host_end + 1, n);
		digits[n] = '\0';
		if (str_u64(digits, 1, UINT16_MAX, &port))
			return false;
	}
	p->port = (uint16_t)port;
	return true;
}

static bool cidr_match(const char *text, const struct net_addr *addr)
{
	char net[64];
	const char *slash = strchr(text, '/');
	struct net_addr a;
	uint64_t bits;

	if (!slash || (size_t)(slash - text) >= sizeof(net))
		return false;
	memcpy(net, text, (size_t)(slash - text));
	net[slash - text] = '\0';
	if (addr_parse(net, &a) || str_u64(slash + 1, 0, addr_is_v4(&a) ? 32 : 128, &bits) || addr_is_v4(&a) != addr_is_v4(addr))
		return false;
	bits += addr_is_v4(&a) ? 96 : 0;
	for (size_t i = 0; i < bits; i++)
		if (((a.b[i / 8] ^ addr->b[i / 8]) >> (7 - i % 8)) & 1)
			return false;
	return true;
}

static bool name_match(const char *pattern, const char *name)
{
	const size_t n = strlen(name);

	if (*pattern == '*')
		pattern++;
	if (*pattern == '.')
		pattern++;
	const size_t m = strlen(pattern);
	return m > 0 && m <= n && strcasecmp(name + n - m, pattern) == 0 && (m == n || name[n - m - 1] == '.');
}

bool no_proxy_match(const char *list, const char *name, const struct net_addr *addr)
{
	char copy[1024], *save = NULL, text[ADDR_TEXT_MAX] = "";

	str_copy(copy, sizeof(copy), list);
	if (addr)
		addr_text(addr, text);
	for (char *word = strtok_r(copy, ", ", &save); word; word = strtok_r(NULL, ", ", &save)) {
		if (strcmp(word, "*") == 0)
			return true;
		if (*name) {
			char *port = strrchr(word, ':');
			if (port && strspn(port + 1, "0123456789") == strlen(port + 1))
				*port = '\0';
			if (name_match(word, name))
				return true;
		} else if (addr && (strcasecmp(word, text) == 0 || cidr_match(word, addr))) {
			return true;
		}
	}
	return false;
}
