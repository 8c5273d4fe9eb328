/* SPDX-License-Identifier: Apache-2.0 */
#include "netpolicy/pattern.h"

#include <string.h>
#include <strings.h>

#include "core/base/str.h"

bool pattern_matches(const char *pattern, const char *host, uint16_t port)
{
	const char *colon = strrchr(pattern, ':');
	size_t plen = strlen(pattern), hlen = strlen(host);
	const char *first = strchr(pattern, ':');

	/* One colon is a port; more are an IPv6 literal without one. */
	if (colon && colon == first) {
		uint64_t want;

		if (str_u64(colon + 1, 1, UINT16_MAX, &want) < 0 || want != port)
			return false;
		plen = (size_t)(colon - pattern);
	}
	const size_t stars = plen > 3 && strncmp(pattern, "**.", 3) == 0 ? 2 : plen > 2 && strncmp(pattern, "*.", 2) == 0 ? 1 : 0;
	if (stars == 0)
		return plen > 0 && plen == hlen && strncasecmp(pattern, host, plen) == 0;
	const char *tail = pattern + stars; /* with its dot */
	const size_t tlen = plen - stars;
	if (tlen < 2 || tail[1] == '*' || hlen <= tlen || strncasecmp(host + hlen - tlen, tail, tlen) != 0)
		return false;
	return stars == 2 || !memchr(host, '.', hlen - tlen);
}
