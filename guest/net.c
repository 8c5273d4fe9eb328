/* SPDX-License-Identifier: Apache-2.0 */
/*
 * iproute2's and nftables' own programs are given their text over a pipe: what they accept is what their manuals say, and both sides are
 * read by a person in `ip route` and `nft list ruleset`. docker's own rules live in tables of their own and see neither what ours
 * have turned aside (nat: ours come first) nor anything less than before.
 */
#include "guest/net.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "guest/dnsstub.h"
#include "guest/loop.h"
#include "guest/modules.h"
#include "guest/names.h"
#include "guest/redirect.h"

#define LATE_MS 20000
#define BACKLOG 4096
#define CONNTRACK_MAX "131072"
#define TEXT_(v) #v
#define TEXT(v) TEXT_(v)
#define PORT_TEXT "3129"

static const char links[] =
	"link add bh0 type dummy\n"
	"link set bh0 up\n"
	"addr add " NET_SELF_V4 "/32 dev bh0\n"
	"addr add " NET_SELF_V6 "/128 dev bh0 nodad\n"
	"route add 0.0.0.0/0 dev bh0 src " NET_SELF_V4 "\n"
	"route add ::/0 dev bh0 src " NET_SELF_V6 "\n";

/*
 * By where it would leave, not by where it goes: docker's networks have routes of their own and are never touched. SCTP ends at a port of our own where
 * nothing listens, as TCP's way leads: the kernel's ABORT is the only refusal that SCTP takes for one in both families (of ICMP errors it heeds
 * "protocol unreachable", which nftables can say in IPv4 alone). What else containers send is turned to ourselves too, whose kernel has no such protocol
 * and says so; "reject" would say nothing where it takes the first bytes for a checksum that is wrong.
 */
static const char rules[] =
	"table inet bulkhead {\n"
	"	chain steer {\n"
	"		meta nfproto ipv4 meta l4proto { tcp, udp } th dport 53 dnat ip to " NET_SELF_V4 ":53\n"
	"		meta nfproto ipv6 meta l4proto { tcp, udp } th dport 53 dnat ip6 to [" NET_SELF_V6 "]:53\n"
	"		meta nfproto ipv4 meta l4proto tcp dnat ip to " NET_SELF_V4 ":" PORT_TEXT "\n"
	"		meta nfproto ipv6 meta l4proto tcp dnat ip6 to [" NET_SELF_V6 "]:" PORT_TEXT "\n"
	"		meta nfproto ipv4 meta l4proto sctp dnat ip to " NET_SELF_V4 ":" PORT_TEXT "\n"
	"		meta nfproto ipv6 meta l4proto sctp dnat ip6 to [" NET_SELF_V6 "]:" PORT_TEXT "\n"
	"	}\n"
	"	chain steer_own {\n"
	"		type nat hook output priority -110; policy accept;\n"
	"		oifname \"bh0\" jump steer\n"
	"	}\n"
	"	chain steer_containers {\n"
	"		type nat hook prerouting priority -110; policy accept;\n"
	"		fib daddr oifname \"bh0\" jump steer\n"
	"		fib daddr oifname \"bh0\" meta nfproto ipv4 meta l4proto != { tcp, udp, icmp } dnat ip to " NET_SELF_V4 "\n"
	"		fib daddr oifname \"bh0\" meta nfproto ipv6 meta l4proto != { tcp, udp, ipv6-icmp } dnat ip6 to " NET_SELF_V6 "\n"
	"	}\n"
	"	chain refuse {\n"
	"		meta l4proto tcp reject with tcp reset\n"
	"		reject with icmpx admin-prohibited\n"
	"	}\n"
	"	chain refuse_own {\n"
	"		type filter hook output priority 10; policy accept;\n"
	"		oifname \"bh0\" fib daddr type != local jump refuse\n"
	"	}\n"
	"	chain refuse_containers {\n"
	"		type filter hook forward priority -10; policy accept;\n"
	"		oifname \"bh0\" jump refuse\n"
	"	}\n"
	"}\n";

_Static_assert(NET_REDIRECT_PORT == 3129, "the rules' text has the port too");

struct helper {
	char *argv[4];
	const char *text;
	const struct module *modules;
	size_t nmodules;
	pid_t pid; /* 0: not running */
};

static const struct module for_ip[] = { { "dummy", "numdummies=0" } };
static const struct module for_nft[] = {
	{ "nf_tables", "" }, { "nft_chain_nat", "" }, { "nft_nat", "" }, { "nft_fib_inet", "" }, { "nft_reject_inet", "" }, { "tcp_diag", "" },
};

static struct helper helpers[] = {
	{ .argv = { (char *)"/usr/bin/ip", (char *)"-batch", (char *)"-", NULL }, .text = links, .modules = for_ip, .nmodules = ARRAY_SIZE(for_ip) },
	{ .argv = { (char *)"/usr/sbin/nft", (char *)"-f", (char *)"-", NULL }, .text = rules, .modules = for_nft, .nmodules = ARRAY_SIZE(for_nft) },
};

static void (*ready)(void);
static uint64_t began_ms;
static struct timer late;

static void run(struct helper *h)
{
	static char *const envp[] = { (char *)"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL };
	int pipe_[2];
	sigset_t none;

	if (pipe2(pipe_, O_CLOEXEC) < 0)
		return;
	h->pid = fork();
	if (h->pid == 0) {
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		dup2(pipe_[0], 0);
		modules_load(h->modules, h->nmodules);
		execve(h->argv[0], h->argv, envp);
		_exit(127);
	}
	close(pipe_[0]);
	/* Both texts are far below a pipe's size: this does not block. */
	if (h->pid < 0 || fd_write_full(pipe_[1], h->text, strlen(h->text)) < 0)
		log_error("cannot run '%s': %s; the sandbox has no network", h->argv[0], strerror(errno));
	close(pipe_[1]);
}

static void write_to(const char *path, const char *text)
{
	AUTO_FD fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || fd_write_full(fd, text, strlen(text)) < 0)
		log_warn("cannot write %s: %s", path, strerror(errno));
}

static void finish(void)
{
	void (*fn)(void) = ready;

	if (!fn)
		return;
	ready = NULL;
	loop_cancel(&late);
	write_to("/proc/sys/net/netfilter/nf_conntrack_max", CONNTRACK_MAX);
	log_info("network: ready after %u ms", (unsigned)(clock_ms() - began_ms));
	fn();
}

static void on_late(void *arg)
{
	(void)arg;
	log_error("the network's rules are still not there");
	finish();
}

bool net_is_ready(void)
{
	return !ready;
}

bool net_reaped(pid_t pid, int status)
{
	bool ours = false, busy = false;

	for (size_t i = 0; i < ARRAY_SIZE(helpers); i++) {
		struct helper *h = &helpers[i];

		if (h->pid == pid && pid > 0) {
			ours = true;
			h->pid = 0;
			if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
				log_error("'%s' failed with status %#x; the sandbox has no network", h->argv[0], (unsigned)status);
		}
		busy = busy || h->pid > 0;
	}
	if (ours && !busy)
		finish();
	return ours;
}

int net_socket(bool v4, int type, unsigned port)
{
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(NAMES_SELF) };
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port),
				   .sin6_addr = { { { 0xfd, 0x62, 0x6b, 0x68, [15] = 1 } } } };
	const int on = 1;
	AUTO_FD fd = socket(v4 ? AF_INET : AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (!v4)
		setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, v4 ? SOL_IP : SOL_IPV6, v4 ? IP_FREEBIND : IPV6_FREEBIND, &on, sizeof(on));
	if (bind(fd, v4 ? (struct sockaddr *)&a4 : (struct sockaddr *)&a6, v4 ? sizeof(a4) : sizeof(a6)) < 0 ||
	    (type == SOCK_STREAM && listen(fd, BACKLOG) < 0))
		return -errno;
	return steal_fd(&fd);
}

void net_start(void (*fn)(void))
{
	ready = fn;
	began_ms = clock_ms();
	mkdir("/run/modprobe.d", 0755);
	write_to("/run/modprobe.d/bulkhead.conf", "options dummy numdummies=0\n"); /* none but the one that is asked for */
	loop_after(&late, LATE_MS, on_late, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(helpers); i++)
		run(&helpers[i]);
	unlink("/etc/resolv.conf"); /* it may be a link to somewhere */
	write_to("/etc/resolv.conf", "nameserver " NET_SELF_V4 "\n");
	write_to("/proc/sys/net/core/somaxconn", TEXT(BACKLOG));
	/* Each container may hear six refusals in a burst and one a second, all of them fifty: who is refused more often would wait for a timeout. */
	write_to("/proc/sys/net/ipv4/icmp_ratemask", "0\n");
	write_to("/proc/sys/net/ipv6/icmp/ratelimit", "0\n");
	write_to("/proc/sys/net/ipv4/icmp_msgs_per_sec", "100000\n"); /* IPv6's too */
	write_to("/proc/sys/net/ipv4/icmp_msgs_burst", "10000\n");
	if (dnsstub_start() < 0 || redirect_start() < 0)
		log_error("the sandbox has no network: its sockets could not be made");
}
