/* SPDX-License-Identifier: Apache-2.0 */
#include "netpolicy/dns.h"

#include <ares.h>
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/loop/after.h"
#include "core/policy/addr.h"

#define HOSTS_MAX 4096u
#define HOSTS_FILE_MAX (1u << 20)
#define KEPT_MAX 256u
#define TRY_MS 2000
#define TRIES 3

struct host {
	char *name;
	struct net_addr addr;
};

struct kept {
	char name[NET_NAME_MAX];
	uint64_t until_ms, used_ms;
	size_t n;
	struct net_addr addr[DNS_ADDRS_MAX];
};

struct sock {
	struct sock *next;
	struct dns *dns;
	ares_socket_t fd;
	uv_poll_t poll;
};

struct dns {
	uv_loop_t *loop;
	ares_channel channel;
	struct after *tick;
	struct sock *socks;
	struct host *hosts; /* owned */
	size_t nhosts;
	struct kept kept[KEPT_MAX];
};

struct dns_query {
	struct dns *dns;
	dns_done fn; /* NULL: cancelled, freed when c-ares is done with it */
	void *arg;
	char name[NET_NAME_MAX];
	bool asked;  /* c-ares has it */
	struct after *later;
	size_t n;
	struct net_addr addr[DNS_ADDRS_MAX];
	char why[128];
};

/* ---- c-ares on the loop ------------------------------------------------------------------------------------------------------------ */

static void set_tick(struct dns *d);

static void on_tick(void *arg)
{
	struct dns *d = arg;

	ares_process_fd(d->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	set_tick(d);
}

static void set_tick(struct dns *d)
{
	struct timeval max = { .tv_sec = 1 }, tv;
	const struct timeval *t = ares_timeout(d->channel, &max, &tv);

	if (!d->socks)
		after_cancel(&d->tick);
	else
		after_set(&d->tick, d->loop, (uint64_t)t->tv_sec * 1000 + (uint64_t)t->tv_usec / 1000 + 1, on_tick, d);
}

static void on_poll(uv_poll_t *p, int status, int events)
{
	struct sock *s = p->data;
	struct dns *d = s->dns;
	const bool in = events & UV_READABLE || status < 0, out = events & UV_WRITABLE || status < 0;

	/* s may be gone after this. */
	ares_process_fd(d->channel, in ? s->fd : ARES_SOCKET_BAD, out ? s->fd : ARES_SOCKET_BAD);
	set_tick(d);
}

static void on_poll_closed(uv_handle_t *h)
{
	free(h->data);
}

static void on_sock_state(void *arg, ares_socket_t fd, int in, int out)
{
	struct dns *d = arg;
	struct sock **p = &d->socks, *s;

	while (*p && (*p)->fd != fd)
		p = &(*p)->next;
	s = *p;
	if (!in && !out) {
		if (s) {
			*p = s->next;
			uv_close((uv_handle_t *)&s->poll, on_poll_closed);
		}
		return;
	}
	if (!s) {
		if (!(s = calloc(1, sizeof(*s))))
			return; /* it times out */
		s->dns = d;
		s->fd = fd;
		s->poll.data = s;
		if (uv_poll_init(d->loop, &s->poll, fd) < 0) {
			free(s);
			return;
		}
		s->next = d->socks;
		d->socks = s;
	}
	uv_poll_start(&s->poll, (in ? UV_READABLE : 0) | (out ? UV_WRITABLE : 0), on_poll);
}

/* ---- the host's own table -------------------------------------------------------------------------------------------------------------- */

static int add_hosts(struct dns *d, char *line)
{
	char *save = NULL, *word;
	struct net_addr addr;

	line[strcspn(line, "#")] = '\0';
	word = strtok_r(line, " \t\r", &save);
	if (!word || addr_parse(word, &addr))
		return 0;
	while ((word = strtok_r(NULL, " \t\r", &save)) && d->nhosts < HOSTS_MAX) {
		for (char *p = word; *p; p++)
			*p = (char)tolower((unsigned char)*p);
		if (!net_name_legal(word))
			continue;
		if (!(d->hosts[d->nhosts].name = str_dup(word)))
			return -ENOMEM;
		d->hosts[d->nhosts++].addr = addr;
	}
	return 0;
}

static int read_hosts(struct dns *d)
{
	AUTO_FD fd = open("/etc/hosts", O_RDONLY | O_CLOEXEC);
	AUTO_FREE char *text = malloc(HOSTS_FILE_MAX + 1);
	char *save = NULL;
	ssize_t n;
	int r = 0;

	if (!text || !(d->hosts = calloc(HOSTS_MAX, sizeof(*d->hosts))))
		return -ENOMEM;
	if (fd < 0 || (n = read(fd, text, HOSTS_FILE_MAX)) <= 0)
		return 0;
	text[n] = '\0';
	for (char *line = strtok_r(text, "\n", &save); line && r == 0; line = strtok_r(NULL, "\n", &save))
		r = add_hosts(d, line);
	return r;
}

/* ---- open ------------------------------------------------------------------------------------------------------------------------------ */

int dns_open(struct dns **out, uv_loop_t *loop, const char *servers, struct err *e)
{
	static char dns_only[] = "b";
	struct dns *d = calloc(1, sizeof(*d));
	/* The guest says whole names: nothing of the host's search list is put behind them. ares_getaddrinfo() looks at the list, not at the flag. */
	struct ares_options o = { .flags = ARES_FLAG_NOSEARCH, .timeout = TRY_MS, .tries = TRIES, .lookups = dns_only, .sock_state_cb = on_sock_state };
	int r;

	if (!d)
		return err_set(e, ENOMEM, "out of memory");
	d->loop = loop;
	o.sock_state_cb_data = d;
	if ((r = ares_library_init(ARES_LIB_INIT_ALL)) == ARES_SUCCESS)
		r = ares_init_options(&d->channel, &o, ARES_OPT_FLAGS | ARES_OPT_DOMAINS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB);
	if (r != ARES_SUCCESS) {
		free(d);
		return err_set(e, EIO, "cannot read this host's resolver configuration: %s", ares_strerror(r));
	}
	if (*servers && (r = ares_set_servers_ports_csv(d->channel, servers)) != ARES_SUCCESS)
		err_set(e, EINVAL, "'%s' is no list of resolvers ('dns' in config.yaml): %s", servers, ares_strerror(r));
	else if (read_hosts(d) < 0)
		r = err_set(e, ENOMEM, "out of memory");
	if (r != ARES_SUCCESS) {
		dns_close(&d);
		return -e->code;
	}
	*out = d;
	return 0;
}

void dns_close(struct dns **dp)
{
	struct dns *d = *dp;

	if (!d)
		return;
	*dp = NULL;
	after_cancel(&d->tick);
	ares_destroy(d->channel); /* calls every query back, and closes the sockets */
	for (size_t i = 0; i < d->nhosts; i++)
		free(d->hosts[i].name);
	free(d->hosts);
	free(d);
}

/* ---- questions ---------------------------------------------------------------------------------------------------------------------------- */

static void finish(void *arg)
{
	struct dns_query *q = arg;
	const dns_done fn = q->fn;

	if (fn) {
		q->fn = NULL;
		fn(q->arg, q->addr, q->n, q->why);
	}
	free(q);
}

static void keep(struct dns *d, const struct dns_query *q, unsigned ttl)
{
	struct kept *k = &d->kept[0];
	const uint64_t now = clock_ms();

	for (size_t i = 0; i < KEPT_MAX; i++) {
		if (strcmp(d->kept[i].name, q->name) == 0) {
			k = &d->kept[i];
			break;
		}
		if (d->kept[i].used_ms < k->used_ms)
			k = &d->kept[i];
	}
	str_copy(k->name, sizeof(k->name), q->name);
	k->until_ms = now + UINT64_C(1000) * (ttl > DNS_KEEP_S ? DNS_KEEP_S : ttl);
	k->used_ms = now;
	k->n = q->n;
	memcpy(k->addr, q->addr, sizeof(k->addr));
}

static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
	struct dns_query *q = arg;
	unsigned ttl = DNS_KEEP_S;

	(void)timeouts;
	for (const struct ares_addrinfo_node *a = status == ARES_SUCCESS ? info->nodes : NULL; a && q->n < DNS_ADDRS_MAX; a = a->ai_next) {
		struct net_addr *to = &q->addr[q->n];
		if (a->ai_family == AF_INET) {
			*to = (struct net_addr){ .b = { [10] = 0xff, [11] = 0xff } };
			memcpy(to->b + 12, &((const struct sockaddr_in *)(const void *)a->ai_addr)->sin_addr, 4);
		} else if (a->ai_family == AF_INET6) {
			memcpy(to->b, &((const struct sockaddr_in6 *)(const void *)a->ai_addr)->sin6_addr, 16);
		} else {
			continue;
		}
		if (a->ai_ttl >= 0 && (unsigned)a->ai_ttl < ttl)
			ttl = (unsigned)a->ai_ttl;
		q->n++;
	}
	if (info)
		ares_freeaddrinfo(info);
	if (q->n > 0 && ttl > 0)
		keep(q->dns, q, ttl);
	if (q->n == 0)
		snprintf(q->why, sizeof(q->why), status == ARES_ENOTFOUND || status == ARES_ENODATA || status == ARES_SUCCESS ?
			 "there is no such name" : "it cannot be resolved: %s", ares_strerror(status));
	finish(q);
}

static void on_later(void *arg)
{
	finish(arg);
}

static bool known(struct dns *d, struct dns_query *q)
{
	const uint64_t now = clock_ms();

	for (size_t i = 0; i < d->nhosts && q->n < DNS_ADDRS_MAX; i++)
		if (strcmp(d->hosts[i].name, q->name) == 0)
			q->addr[q->n++] = d->hosts[i].addr;
	for (size_t i = 0; i < KEPT_MAX && q->n == 0; i++) {
		struct kept *k = &d->kept[i];
		if (k->until_ms <= now || strcmp(k->name, q->name) != 0)
			continue;
		k->used_ms = now;
		q->n = k->n;
		memcpy(q->addr, k->addr, sizeof(q->addr));
	}
	return q->n > 0;
}

static void ask(void *arg)
{
	struct dns_query *q = arg;
	const struct ares_addrinfo_hints hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = ARES_AI_NOSORT };
	struct dns *d = q->dns;

	q->asked = true;
	ares_getaddrinfo(d->channel, q->name, NULL, &hints, on_answer, q); /* q may be gone after this */
	set_tick(d);
}

int dns_resolve(struct dns *d, const char *name, struct dns_query **out, dns_done fn, void *arg)
{
	struct dns_query *q = calloc(1, sizeof(*q));

	if (!q)
		return -ENOMEM;
	*q = (struct dns_query){ .dns = d, .fn = fn, .arg = arg };
	str_copy(q->name, sizeof(q->name), name);
	/* Either way on the next turn: the caller's callback never runs under its own hands. */
	const int r = after_set(&q->later, d->loop, 0, known(d, q) ? on_later : ask, q);
	if (r < 0)
		free(q);
	else
		*out = q;
	return r;
}

void dns_cancel(struct dns_query **qp)
{
	struct dns_query *q = *qp;

	if (!q)
		return;
	*qp = NULL;
	q->fn = NULL;
	if (!q->asked) {
		after_cancel(&q->later);
		free(q);
	}
}
