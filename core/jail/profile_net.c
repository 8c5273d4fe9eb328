/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead-net: TCP and DNS to the outside, connections of published ports; no file, no other kind of socket, no program. */
#include "core/jail/jail.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "core/base/str.h"

static const struct jail_rule rules[] = {
	JAIL_ALLOW_ARG(socket, 0, ~UINT64_C(0), AF_INET, "upstream and resolver"),
	JAIL_ALLOW_ARG(socket, 0, ~UINT64_C(0), AF_INET6, "upstream and resolver"),
	JAIL_ALLOW(connect, "upstream and resolver; only sockets of the two kinds above can be made"),
	JAIL_ALLOW_ARG(setsockopt, 1, ~UINT64_C(0), IPPROTO_TCP, "TCP_NODELAY"),
	JAIL_ALLOW_ARG(setsockopt, 1, ~UINT64_C(0), SOL_SOCKET, "c-ares: buffers"),
	JAIL_ALLOW(getsockname, "c-ares"),
	JAIL_ALLOW(getpeername, "c-ares"),
	JAIL_ALLOW(mlock, "credentials"),
	JAIL_ALLOW(munlock, "credentials"),
};

static const int refused[] = { SCMP_SYS(openat), SCMP_SYS(open), SCMP_SYS(stat), SCMP_SYS(access), SCMP_SYS(uname), SCMP_SYS(bind), SCMP_SYS(sendmmsg) };

const struct jail_profile jail_profile_net = { .name = "net", .rules = rules, .nrules = ARRAY_SIZE(rules), .refused = refused, .nrefused = ARRAY_SIZE(refused) };
