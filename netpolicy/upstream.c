/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   RESOLVE -> CONNECT (address after address) -> [PROXY: CONNECT request and answer] -> done
 *
 * One poll handle a try: it watches a descriptor of ours, is closed before the descriptor is handed over or closed, and outlives neither.
 */
#include "netpolicy/upstream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/loop/after.h"
#include "core/policy/addr.h"
#include "netpolicy/dns.h"
#include "netpolicy/pref64.h"
#include "netpolicy/proxy.h"

#define PROXY_LOOK_MS 2000u /* for the name to be known here, when a proxy will resolve it */
#define BLIND_MS 60000u    /* no resolver has ever answered: none is waited for again so soon */
#define NEXT_MS 3000u     /* to one address, when there are others to be tried */
#define PROXY_HEAD_MAX 8192u
#define PREF64_LOOK_MS 20u

struct poll { /* owns itself after upstream let it go */
	uv_poll_t h;
	struct upstream *u;
};

struct upstream {
	struct net *net;
	struct net_facts facts;
	struct upstream **slot; /* the owner's */
	upstream_done fn;
	void *arg;
	struct dns_query *query;
	struct after *later;
	struct poll *poll;
	int fd;
	struct net_addr addr[DNS_ADDRS_MAX];
	size_t n, next;
	bool forbidden;        /* some address was: this one, because of that */
	struct net_addr bad;
	char bad_why[160];
	bool by_proxy;
	struct proxy_url proxy;
	char head[PROXY_HEAD_MAX]; /* the proxy's answer so far */
	size_t nhead;
	char why[160];
};

/* ---- the end -------------------------------------------------------------------------------------------------------------------------- */

static void on_poll_closed(uv_handle_t *h)
{
	free(h->data);
}

static void unwatch(struct upstream *u)
{
	if (!u->poll)
		return;
	u->poll->u = NULL;
	uv_close((uv_handle_t *)&u->poll->h, on_poll_closed);
	u->poll = NULL;
}

static void release(struct upstream *u)
{
	dns_cancel(&u->query);
	after_cancel(&u->later);
	unwatch(u);
	fd_close(&u->fd);
	OPENSSL_cleanse(&u->proxy, sizeof(u->proxy));
	free(u);
}

void upstream_close(struct upstream **up)
{
	struct upstream *u = *up;

	*up = NULL;
	if (u)
		release(u);
}

static void finish(struct upstream *u, enum upstream_end end)
{
	const upstream_done fn = u->fn;
	void *arg = u->arg;
	const int fd = end == UPSTREAM_OK ? steal_fd(&u->fd) : -1;
	const struct net_addr to = end == UPSTREAM_FORBIDDEN ? u->bad : end == UPSTREAM_OK && !u->by_proxy ? u->addr[u->next - 1] : (struct net_addr){ 0 };
	char why[sizeof(u->why)];

	str_copy(why, sizeof(why), end == UPSTREAM_FORBIDDEN ? u->bad_why : u->why);
	*u->slot = NULL;
	release(u);
	fn(arg, end, fd, &to, why);
}

/* ---- what may not be reached ---------------------------------------------------------------------------------------------------------- */

void upstream_init(struct net *n)
{
	struct ifaddrs *all, *a;

	if (getifaddrs(&all) < 0)
		return;
	for (a = all; a && n->nown < OWN_MAX; a = a->ifa_next) {
		struct net_addr *to = &n->own[n->nown];
		if (a->ifa_addr && a->ifa_addr->sa_family == AF_INET) {
			*to = (struct net_addr){ .b = { [10] = 0xff, [11] = 0xff } };
			memcpy(to->b + 12, &((const struct sockaddr_in *)(const void *)a->ifa_addr)->sin_addr, 4);
			n->nown++;
		} else if (a->ifa_addr && a->ifa_addr->sa_family == AF_INET6) {
			memcpy(to->b, &((const struct sockaddr_in6 *)(const void *)a->ifa_addr)->sin6_addr, 16);
			n->nown++;
		}
	}
	freeifaddrs(all);
}

static bool forbidden(const struct net *n, const struct net_addr *a, const char **what)
{
	if (addr_forbidden(a, what))
		return true;
	for (size_t i = 0; i < n->nown; i++)
		if (memcmp(&n->own[i], a, sizeof(*a)) == 0) {
			*what = "address of this host";
			return true;
		}
	return false;
}

/* `inside` is *to, or an IPv4 address that lies in it: a rule that names either of them lifts what holds for the other. */
static bool refuses(const struct net *n, const struct net_facts *f, const struct net_addr *to, const struct net_addr *inside, char why[static 160])
{
	const struct rule *no = rules_denied_address(n->rules, inside, f->port);
	const char *what = NULL;
	char rule[128];

	if (no) {
		rule_text(no, true, rule, sizeof(rule));
		snprintf(why, 160, "denied one (%s)", rule);
		return true;
	}
	if (!forbidden(n, inside, &what) || rules_names_address(n->rules, inside, f->port, *f->name != 0) || rules_names_address(n->rules, to, f->port, *f->name != 0))
		return false;
	str_copy(why, 160, what);
	return true;
}

bool upstream_refuses(const struct net *n, const struct net_facts *f, const struct net_addr *to, char why[static 160])
{
	struct net_addr inner;
	char what[160];

	if (refuses(n, f, to, to, why))
		return true;
	for (size_t i = 0; pref64_inner(n, to, i, &inner); i++)
		if (refuses(n, f, to, &inner, what)) {
			snprintf(why, 160, "NAT64 of %.140s", what);
			return true;
		}
	return false;
}

bool upstream_refuses_now(const struct net *n, const struct net_facts *f, const struct net_addr *to, char why[static 160])
{
	static const struct net_addr proxy;

	return memcmp(to, &proxy, sizeof(proxy)) != 0 && upstream_refuses(n, f, to, why);
}

/* ---- connecting ------------------------------------------------------------------------------------------------------------------------- */

static void try_next(struct upstream *u);

static void failed(struct upstream *u, const char *why)
{
	unwatch(u);
	after_cancel(&u->later);
	fd_close(&u->fd);
	str_copy(u->why, sizeof(u->why), why);
	try_next(u);
}

/* This address may not be reached: noted, and the next one is tried. */
static void refused(struct upstream *u, const struct net_addr *a, const char *why)
{
	u->forbidden = true;
	u->bad = *a;
	str_copy(u->bad_why, sizeof(u->bad_why), why);
}

static void on_late(void *arg)
{
	failed(arg, "no answer in time");
}

static int watch(struct upstream *u, int events, uv_poll_cb fn)
{
	if (!u->poll) {
		struct poll *p = calloc(1, sizeof(*p));
		if (!p)
			return -ENOMEM;
		p->h.data = p;
		p->u = u;
		if (uv_poll_init(u->net->loop, &p->h, u->fd) < 0) {
			free(p);
			return -EIO;
		}
		u->poll = p;
	}
	return uv_poll_start(&u->poll->h, events, fn);
}

/* Both ends have one address: it is this host's, whenever it came to it. */
static bool is_own(const struct upstream *u)
{
	union { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; } a = { 0 }, b = { 0 };
	socklen_t na = sizeof(a), nb = sizeof(b);

	if (getsockname(u->fd, &a.any, &na) < 0 || getpeername(u->fd, &b.any, &nb) < 0)
		return true;
	return a.any.sa_family == AF_INET ? a.v4.sin_addr.s_addr == b.v4.sin_addr.s_addr : memcmp(&a.v6.sin6_addr, &b.v6.sin6_addr, 16) == 0;
}

static void connected(struct upstream *u)
{
	const struct net_addr *to = &u->addr[u->next - 1];
	const int on = 1;
	char why[160];

	/* The rules may have changed meanwhile. */
	if (!u->by_proxy && upstream_refuses(u->net, &u->facts, to, why)) {
		refused(u, to, why);
		failed(u, why);
		return;
	}
	if (!u->by_proxy && is_own(u) && !rules_names_address(u->net->rules, to, u->facts.port, *u->facts.name != 0)) {
		refused(u, to, "address of this host");
		failed(u, "address of this host");
		return;
	}
	unwatch(u);
	after_cancel(&u->later);
	setsockopt(u->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	finish(u, UPSTREAM_OK);
}

/* ---- through a proxy ---------------------------------------------------------------------------------------------------------------------- */

static void on_proxy_answer(uv_poll_t *h, int status, int events)
{
	struct upstream *u = ((struct poll *)h->data)->u;
	char text[160];

	(void)events;
	/* Byte by byte at its end: what follows the head is the server's. */
	for (;;) {
		const ssize_t n = status < 0 ? -1 : recv(u->fd, u->head + u->nhead, 1, 0);
		if (n < 0 && (errno == EAGAIN || errno == EINTR) && status >= 0)
			return;
		if (n <= 0 || ++u->nhead == sizeof(u->head) - 1) {
			failed(u, "the proxy ended the connection without an answer");
			return;
		}
		if (u->nhead >= 4 && memcmp(u->head + u->nhead - 4, "\r\n\r\n", 4) == 0)
			break;
	}
	u->head[u->nhead] = '\0';
	if (strncmp(u->head, "HTTP/1.", 7) == 0 && strncmp(u->head + 8, " 200", 4) == 0) {
		connected(u);
		return;
	}
	snprintf(text, sizeof(text), "the proxy refused: %.60s", u->nhead > 9 ? u->head + 9 : "?");
	text[strcspn(text, "\r\n")] = '\0';
	failed(u, text);
}

static int send_connect(struct upstream *u)
{
	char host[NET_NAME_MAX + 2], user[sizeof(u->proxy.user) * 2 + 8] = "", out[1600];
	char addr[ADDR_TEXT_MAX];

	addr_text(&u->facts.addr, addr);
	if (*u->facts.name)
		str_copy(host, sizeof(host), u->facts.name);
	else
		snprintf(host, sizeof(host), addr_is_v4(&u->facts.addr) ? "%s" : "[%s]", addr);
	if (*u->proxy.user)
		EVP_EncodeBlock((unsigned char *)user, (const unsigned char *)u->proxy.user, (int)strlen(u->proxy.user));
	const int n = snprintf(out, sizeof(out), "CONNECT %s:%u HTTP/1.1\r\nHost: %s:%u\r\n%s%s%s\r\n", host, u->facts.port, host, u->facts.port,
			       *user ? "Proxy-Authorization: Basic " : "", user, *user ? "\r\n" : "");
	/* A fresh connection takes this much at once. */
	const int r = send(u->fd, out, (size_t)n, MSG_NOSIGNAL) == n ? 0 : -EIO;
	OPENSSL_cleanse(user, sizeof(user));
	OPENSSL_cleanse(out, sizeof(out));
	return r;
}

static void on_connected(uv_poll_t *h, int status, int events)
{
	struct upstream *u = ((struct poll *)h->data)->u;
	int why = 0;
	socklen_t n = sizeof(why);

	(void)events;
	/* libuv calls every error of a socket EBADF; the socket knows which it was. */
	if (getsockopt(u->fd, SOL_SOCKET, SO_ERROR, &why, &n) < 0 || why || status < 0) {
		failed(u, why ? strerror(why) : "cannot connect");
		return;
	}
	if (!u->by_proxy) {
		connected(u);
		return;
	}
	if (send_connect(u) < 0 || watch(u, UV_READABLE, on_proxy_answer) < 0)
		failed(u, "the proxy cannot be asked");
}

static int begin(struct upstream *u, const struct net_addr *a, uint16_t port)
{
	union { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; } to = { 0 };
	socklen_t n = sizeof(to.v6);

	if (addr_is_v4(a)) {
		to.v4.sin_family = AF_INET;
		to.v4.sin_port = htons(port);
		memcpy(&to.v4.sin_addr, a->b + 12, 4);
		n = sizeof(to.v4);
	} else {
		to.v6.sin6_family = AF_INET6;
		to.v6.sin6_port = htons(port);
		memcpy(&to.v6.sin6_addr, a->b, 16);
	}
	u->nhead = 0;
	u->fd = socket(to.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (u->fd < 0)
		return -errno;
	if (connect(u->fd, &to.any, n) < 0 && errno != EINPROGRESS)
		return -errno;
	return watch(u, UV_WRITABLE, on_connected);
}

static void try_next(struct upstream *u)
{
	while (u->next < u->n) {
		const struct net_addr *a = &u->addr[u->next++];
		char why[160];

		/* The proxy's own address is the host's business. */
		if (!u->by_proxy && upstream_refuses(u->net, &u->facts, a, why)) {
			refused(u, a, why);
			continue;
		}
		const int r = begin(u, a, u->by_proxy ? u->proxy.port : u->facts.port);
		if (r == 0) {
			u->forbidden = false;
			after_set(&u->later, u->net->loop, u->next < u->n ? NEXT_MS : CONNECT_MS, on_late, u);
			return;
		}
		unwatch(u);
		fd_close(&u->fd);
		str_copy(u->why, sizeof(u->why), strerror(-r));
	}
	finish(u, u->forbidden ? UPSTREAM_FORBIDDEN : UPSTREAM_FAILED);
}

static void on_begin(void *arg)
{
	struct upstream *u = arg;
	bool v6 = false;

	for (size_t i = 0; i < u->n && !u->by_proxy; i++)
		v6 = v6 || !addr_is_v4(&u->addr[i]);
	if (v6 && !pref64_known(u->net) && after_set(&u->later, u->net->loop, PREF64_LOOK_MS, on_begin, u) == 0)
		return;
	try_next(u);
}

static void on_resolved(void *arg, const struct net_addr *a, size_t n, const char *why)
{
	struct upstream *u = arg;

	u->query = NULL;
	u->n = n;
	if (n > 0)
		memcpy(u->addr, a, n * sizeof(*a));
	str_copy(u->why, sizeof(u->why), n > 0 ? "no address answered" : why);
	on_begin(u);
}

/* By name unless it is an address; in both cases nothing happens before the next turn. */
static int look_up(struct upstream *u, const char *name)
{
	if (*name && addr_parse(name, &u->addr[0]))
		return dns_resolve(u->net->dns, name, &u->query, on_resolved, u);
	if (!*name)
		u->addr[0] = u->facts.addr;
	u->n = 1;
	return after_set(&u->later, u->net->loop, 0, on_begin, u);
}

/* Nobody goes around a proxy that is meant but cannot be used. */
static int fail_later(struct upstream *u, const char *why)
{
	str_copy(u->why, sizeof(u->why), why);
	return after_set(&u->later, u->net->loop, 0, on_begin, u);
}

/* ---- names that a proxy will resolve ---------------------------------------------------------------------------------------------------- */

static void to_proxy(struct upstream *u)
{
	if (look_up(u, u->proxy.host) < 0)
		finish(u, UPSTREAM_FAILED);
}

static void on_known(void *arg, const struct net_addr *a, size_t n, const char *why)
{
	struct upstream *u = arg;

	u->query = NULL;
	after_cancel(&u->later);
	if (n > 0)
		u->net->resolves = true;
	/* Which of them the proxy will take is not ours to say. */
	for (size_t i = 0; i < n; i++)
		if (upstream_refuses(u->net, &u->facts, &a[i], u->bad_why)) {
			u->bad = a[i];
			finish(u, UPSTREAM_FORBIDDEN);
			return;
		}
	str_copy(u->why, sizeof(u->why), n > 0 ? "the proxy does not answer" : why);
	to_proxy(u);
}

static void on_unknown(void *arg)
{
	struct upstream *u = arg;

	dns_cancel(&u->query);
	if (!u->net->resolves)
		u->net->blind_until_ms = clock_ms() + BLIND_MS;
	to_proxy(u);
}

static int by_proxy(struct upstream *u)
{
	const char *what;

	if (host_is_local(u->facts.name, &what) && !rules_names_host(u->net->rules, u->facts.name, u->facts.port)) {
		refused(u, &(struct net_addr){ 0 }, what);
		return fail_later(u, what);
	}
	if (u->net->blind_until_ms > clock_ms())
		return look_up(u, u->proxy.host);
	const int r = after_set(&u->later, u->net->loop, PROXY_LOOK_MS, on_unknown, u);
	return r < 0 ? r : dns_resolve(u->net->dns, u->facts.name, &u->query, on_known, u);
}

int upstream_open(struct upstream **out, struct net *n, const struct net_facts *f, upstream_done fn, void *arg)
{
	struct upstream *u = calloc(1, sizeof(*u));
	const char *what;
	int r;

	if (!u)
		return -ENOMEM;
	*u = (struct upstream){ .net = n, .facts = *f, .slot = out, .fn = fn, .arg = arg, .fd = -1 };
	str_copy(u->why, sizeof(u->why), "no address");
	pref64_fresh(n);
	u->by_proxy = *n->config.https_proxy && !no_proxy_match(n->config.no_proxy, f->name, *f->name ? NULL : &f->addr);
	/* Through a proxy an address is not checked by connecting, so it is checked here. */
	if (u->by_proxy && !*f->name && forbidden(n, &f->addr, &what))
		u->by_proxy = false;
	if (u->by_proxy && !proxy_url_parse(&u->proxy, n->config.https_proxy))
		r = fail_later(u, "the host's HTTPS_PROXY is not http://[user:password@]host[:port]");
	else if (u->by_proxy && *f->name)
		r = by_proxy(u);
	else
		r = look_up(u, u->by_proxy ? u->proxy.host : f->name);
	if (r < 0)
		release(u);
	else
		*out = u;
	return r;
}
