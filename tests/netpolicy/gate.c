/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An opened connection (netpolicy/opened.h) behind a TCP port, for real clients and servers: each connection accepted is the guest's.
 *
 *   gate --upstream PORT --roots FILE --ca-out FILE [--name NAME] [--clear] [--jail] [--secret HOST HEADER FORMAT PLACEHOLDER VALUE]...
 *
 * Prints "listening PORT", then one line for all that is asked and recorded. Decides by the path's beginning: /deny is denied, /ask is allowed
 * after 200 ms, /never is never answered, everything else is allowed. Ends, all memory freed, when its standard input does.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/jail/jail.h"
#include "core/loop/after.h"
#include "netpolicy/opened.h"
#include "netpolicy/wire.h"
#include "tests/netpolicy/ca.h"

/* LeakSanitizer looks at the memory by means no sealed process has. */
#if defined(__SANITIZE_ADDRESS__)
#define MAY_SEAL false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MAY_SEAL false
#endif
#endif
#ifndef MAY_SEAL
#define MAY_SEAL true
#endif

static const struct net_addr nowhere;
struct gate;

struct guest {
	struct gate *g;
	struct opened *o;
	struct guest *next;
	struct after *timer;
	uint64_t asked;
	unsigned number;
};

struct gate {
	uv_loop_t loop;
	uv_poll_t listener, input;
	int fd, upstream;
	bool clear, quiet, sealed;
	const char *name;
	struct tls_env *env;
	struct inject *inject;
	struct test_ca ca;
	struct guest *guests;
	unsigned count;
};

/* ---- the signer --------------------------------------------------------------------------------------------------------- */

static int make_ca(struct gate *g, const char *path)
{
	test_ca_init(&g->ca);
	FILE *f = fopen(path, "w");
	if (!f || PEM_write_X509(f, g->ca.cert) != 1)
		return -1;
	return fclose(f);
}

static void on_leaf_ask(void *arg, const struct net_leaf_ask *m)
{
	struct gate *g = arg;
	struct net_leaf answer;

	test_ca_answer(&g->ca, m, strcmp(m->name, "unsigned.test") == 0, &answer);
	tls_leaf_answer(g->env, &answer);
}

/* ---- what an opened connection asks --------------------------------------------------------------------------------------- */

static void on_answer(void *arg)
{
	struct guest *u = arg;

	opened_decided(u->o, u->asked, NET_ALLOW, "a person said so", "person", 7);
}

static void decide(void *arg, uint64_t token, const struct net_facts *f)
{
	struct guest *u = arg;

	if (!u->g->quiet)
		printf("decide %u %s %s %s:%u\n", u->number, f->method, f->path, f->name, f->port);
	if (str_starts(f->path, "/deny")) {
		opened_decided(u->o, token, NET_DENY, "deny origin.test GET /deny*", "global", 0);
	} else if (str_starts(f->path, "/ask")) {
		u->asked = token;
		after_set(&u->timer, &u->g->loop, 200, on_answer, u);
	} else if (!str_starts(f->path, "/never")) {
		opened_decided(u->o, token, NET_ALLOW, "allow origin.test", "global", 0);
	}
}

static void undecide(void *arg, uint64_t token)
{
	struct guest *u = arg;

	(void)token;
	printf("undecide %u\n", u->number);
}

struct connecting {
	uv_poll_t poll;
	struct gate *g;
	struct guest *u;
	uint64_t token;
	int fd;
};

static void on_gone(uv_handle_t *h)
{
	free(h->data);
}

static void on_connected(uv_poll_t *h, int status, int events)
{
	struct connecting *c = h->data;
	struct guest *u = c->g->guests;
	int why = 0;
	socklen_t len = sizeof(why);

	(void)status;
	(void)events;
	while (u && u != c->u)
		u = u->next;
	getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &why, &len);
	uv_poll_stop(h);
	uv_close((uv_handle_t *)h, on_gone);
	if (u)
		opened_connected(u->o, c->token, why ? -1 : dup(c->fd), &nowhere, false, why ? strerror(why) : "");
	close(c->fd);
}

static void connect_up(void *arg, uint64_t token)
{
	struct guest *u = arg;
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)u->g->upstream), .sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct connecting *c = calloc(1, sizeof(*c));
	const int one = 1;

	if (!u->g->quiet)
		printf("connect %u\n", u->number);
	if (u->g->upstream == 1) {
		free(c);
		opened_connected(u->o, token, -1, &nowhere, true, "private address 10.0.0.1");
		return;
	}
	c->g = u->g;
	c->u = u;
	c->token = token;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS) {
		opened_connected(u->o, token, -1, &nowhere, false, strerror(errno));
		close(c->fd);
		free(c);
		return;
	}
	uv_poll_init(&u->g->loop, &c->poll, c->fd);
	c->poll.data = c;
	uv_poll_start(&c->poll, UV_WRITABLE, on_connected);
}

static void unconnect(void *arg, uint64_t token)
{
	(void)arg;
	(void)token;
}

static bool record(void *arg, struct net_record *r)
{
	static const char *const events[] = { "decided", "closed", "injected", "alarm" };
	const struct guest *u = arg;

	if (!u->g->quiet)
		printf("%s %u verdict=%u status=%u in=%llu out=%llu service=%s %s %s [%s]\n", events[r->event], u->number, r->verdict, r->status,
		       (unsigned long long)r->in, (unsigned long long)r->out, r->service, r->facts.method, r->facts.path, r->rule);
	return true;
}

static void drop(struct guest *u)
{
	struct guest **at = &u->g->guests;

	while (*at != u)
		at = &(*at)->next;
	*at = u->next;
	after_cancel(&u->timer);
	opened_close(&u->o);
	free(u);
}

static void on_end(void *arg, int why, const char *text)
{
	struct guest *u = arg;

	if (!u->g->quiet)
		printf("end %u %d %s\n", u->number, why, text);
	drop(u);
}

static const struct opened_ops ops = { .decide = decide, .undecide = undecide, .connect = connect_up, .unconnect = unconnect, .record = record, .on_end = on_end };

/* ---- the port ----------------------------------------------------------------------------------------------------------- */

static void none_read(void *arg, struct buf *in)
{
	(void)arg;
	(void)in;
}

static void none_closed(void *arg, int why)
{
	(void)arg;
	(void)why;
}

static const struct stream_ops none = { .on_read = none_read, .on_closed = none_closed };

static void on_accept(uv_poll_t *h, int status, int events)
{
	struct gate *g = h->data;
	const int fd = accept4(g->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), one = 1;
	struct guest *u = fd >= 0 ? calloc(1, sizeof(*u)) : NULL;
	struct stream *s = NULL;

	(void)status;
	(void)events;
	if (!u)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	u->g = g;
	u->number = ++g->count;
	u->next = g->guests;
	g->guests = u;
	stream_open_take(&s, &g->loop, fd, 2 * WIRE_BUFFER, 2 * WIRE_BUFFER, &none, NULL);
	const struct opened_opts o = { .loop = &g->loop, .guest = s, .tls = !g->clear, .name = g->name, .port = g->clear ? 80 : 443, .sandbox = "blue",
				       .env = g->env, .inject = g->inject, .ops = &ops, .arg = u };
	if (opened_start(&u->o, &o) < 0)
		drop(u);
}

static void on_input(uv_poll_t *h, int status, int events)
{
	struct gate *g = h->data;
	char c[64];

	(void)status;
	(void)events;
	const ssize_t n = read(0, c, sizeof(c));
	if (n > 0 && c[0] == 'q')
		g->quiet = true;
	for (struct guest *u = n > 0 && c[0] == 'd' ? g->guests : NULL; u; u = u->next)
		opened_drain(u->o, false);
	if (n > 0)
		return;
	while (g->guests)
		drop(g->guests);
	uv_close((uv_handle_t *)&g->listener, NULL);
	uv_close((uv_handle_t *)&g->input, NULL);
}

static int listen_any(struct gate *g)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(a);

	g->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (bind(g->fd, (struct sockaddr *)&a, len) < 0 || listen(g->fd, 512) < 0)
		return -1;
	getsockname(g->fd, (struct sockaddr *)&a, &len);
	printf("listening %u%s\n", ntohs(a.sin_port), MAY_SEAL ? "" : " sanitized");
	return 0;
}

static int add_secret(struct gate *g, char **v)
{
	static uint32_t id;
	struct net_secret *m = calloc(1, sizeof(*m));

	m->id = ++id;
	m->nhosts = 1;
	str_copy(m->service, sizeof(m->service), "testing");
	str_copy(m->hosts[0], sizeof(m->hosts[0]), v[0]);
	str_copy(m->header, sizeof(m->header), v[1]);
	str_copy(m->format, sizeof(m->format), v[2]);
	str_copy(m->placeholder, sizeof(m->placeholder), v[3]);
	str_copy(m->value, sizeof(m->value), v[4]);
	const int r = inject_set(g->inject, m);
	explicit_bzero(m, sizeof(*m));
	free(m);
	explicit_bzero(v[4], strlen(v[4]));
	return r;
}

int main(int argc, char **argv)
{
	static struct gate gate;
	struct gate *g = &gate;
	struct err e = ERR_INIT;
	struct jail jail = { .text = "" };
	X509_STORE *roots = NULL;
	const char *ca_out = NULL, *roots_file = NULL;

	setvbuf(stdout, NULL, _IOLBF, 0);
	g->name = "origin.test";
	inject_create(&g->inject);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--clear") == 0)
			g->clear = true;
		else if (strcmp(argv[i], "--jail") == 0)
			g->sealed = MAY_SEAL;
		else if (strcmp(argv[i], "--upstream") == 0 && i + 1 < argc)
			g->upstream = (int)strtol(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--name") == 0 && i + 1 < argc)
			g->name = argv[++i];
		else if (strcmp(argv[i], "--roots") == 0 && i + 1 < argc)
			roots_file = argv[++i];
		else if (strcmp(argv[i], "--ca-out") == 0 && i + 1 < argc)
			ca_out = argv[++i];
		else if (strcmp(argv[i], "--secret") == 0 && i + 5 < argc && add_secret(g, argv + i + 1) == 0)
			i += 5;
		else
			return 2;
	}
	uv_loop_init(&g->loop);
	if (!ca_out || make_ca(g, ca_out) < 0 || tls_roots_load(&roots, roots_file, &e) < 0 || tls_env_create(&g->env, roots, on_leaf_ask, g, &e) < 0 ||
	    listen_any(g) < 0) {
		fprintf(stderr, "gate: %s\n", e.msg);
		return 1;
	}
	uv_poll_init(&g->loop, &g->listener, g->fd);
	uv_poll_init(&g->loop, &g->input, 0);
	g->listener.data = g->input.data = g;
	uv_poll_start(&g->listener, UV_READABLE, on_accept);
	uv_poll_start(&g->input, UV_READABLE, on_input);
	if (g->sealed && (jail_net(&jail, &e) < 0 || jail_seal(&jail, &jail_profile_net, &e) < 0)) {
		fprintf(stderr, "gate: %s\n", e.msg);
		return 1;
	}
	uv_run(&g->loop, UV_RUN_DEFAULT);
	uv_loop_close(&g->loop);
	tls_env_destroy(&g->env);
	inject_destroy(&g->inject);
	X509_STORE_free(roots);
	test_ca_release(&g->ca);
	close(g->fd);
	return 0;
}
