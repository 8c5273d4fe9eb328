/* SPDX-License-Identifier: Apache-2.0 */
/* See port.h. */
#include "core/client/port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "core/base/str.h"

static bool is_address(const char *s, bool brackets)
{
	unsigned char raw[16];

	return inet_pton(brackets ? AF_INET6 : AF_INET, s, raw) == 1;
}

bool port_is_loopback(const char *address)
{
	return str_starts(address, "127.") || strcmp(address, "::1") == 0;
}

int port_spec_parse(const char *text, struct port_spec *p, struct err *e)
{
	char copy[96], *host = NULL, *guest, *addr = NULL;
	uint64_t h = 0, g;
	bool brackets = false;

	str_copy(p->address, sizeof(p->address), "127.0.0.1");
	if (!str_copy(copy, sizeof(copy), text))
		return err_set(e, EINVAL, "that is too long for a pair of ports");
	guest = strrchr(copy, ':');
	if (guest) {
		*guest++ = '\0';
		host = copy;
		char *colon = strrchr(copy, ':');

		if (colon) {
			*colon = '\0';
			host = colon + 1;
			addr = copy;
			if (addr[0] == '[' && colon > addr + 1 && colon[-1] == ']') {
				brackets = true;
				addr++;
				colon[-1] = '\0';
			}
		}
	} else {
		guest = copy;
	}
	if (str_u64(guest, 1, 65535, &g) < 0 || (host && str_u64(host, 0, 65535, &h) < 0))
		return err_set(e, EINVAL, "'%.60s' is no pair of ports; it is HOST:GUEST as in 8080:3000, both from 1 to 65535", text);
	if (addr && (!is_address(addr, brackets) || !str_copy(p->address, sizeof(p->address), addr)))
		return err_set(e, EINVAL, "'%.60s' is no address of this machine; it is written 0.0.0.0:8080:3000 or [::1]:8080:3000", addr);
	p->host = (uint16_t)h;
	p->guest = (uint16_t)g;
	return 0;
}
