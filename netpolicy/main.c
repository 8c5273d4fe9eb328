/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead-net: the network of one sandbox's machine, a child of the supervisor (core/proto/child.h, core/proto/net.h).
 *
 * Order: jail_early, wait for NET_START, read the host's resolver configuration and certificates, jail_net and jail_seal, NET_READY. After that no
 * path can be opened. It ends with NET_QUIT, or a while after the machine's dial socket has ended and nobody gave another.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/fd.h"
#include "core/base/memlock.h"
#include "core/base/str.h"
#include "core/loop/after.h"
#include "core/loop/seq.h"
#include "core/proto/version.h"
#include "netpolicy/dns.h"
#include "netpolicy/handed.h"
#include "netpolicy/net.h"
#include "netpolicy/pref64.h"
#include "netpolicy/upstream.h"

#define FDS_MAX (3 * CONNS_MAX)
#define QUIT_MS 900u /* less than the supervisor's NET_END_MS */
#define MEMORY_MAX (UINT64_C(4) << 30)

/* ---- to the supervisor ------------------------------------------------------------------------------------------------------------- */

void net_tell(struct net *n, uint16_t type, int (*pack)(struct buf *, const void *), const void *m)
{
	struct buf b;

	buf_init(&b, CHILD_MSG_MAX);
	child_head_pack(&b, type, n->gen);
	if (pack)
		pack(&b, m);
	childside_send(n->side, &b);
	buf_wipe(&b);
}

static int pack_ready(struct buf *b, const void *m) { return child_ready_pack(b, m); }
static int pack_stats(struct buf *b, const void *m) { return net_stats_pack(b, m); }

static void tell_stats(void *arg)
{
	struct net *n = arg;

	if (memcmp(&n->stats, &n->stats_told, sizeof(n->stats)) == 0)
		return;
	n->stats_told = n->stats;
	net_tell(n, NET_STATS, pack_stats, &n->stats);
	after_set(&n->stats_later, n->loop, STATS_MS, tell_stats, n);
}

void net_counted(struct net *n)
{
	if (!n->stats_later && n->started && !n->quitting)
		after_set(&n->stats_later, n->loop, STATS_MS / 4, tell_stats, n);
}

static void tell_all(struct net *n)
{
	struct child_ready r = { .version = CHILD_VERSION, .pid = (uint32_t)getpid() };

	str_copy(r.jail, sizeof(r.jail), n->jail.text);
	net_tell(n, NET_READY, pack_ready, &r);
	questions_tell(n);
	net_tell(n, NET_STATS, pack_stats, &n->stats);
	net_tell(n, NET_SYNCED, NULL, NULL);
	n->synced = true;
	records_again(n);
}

/* ---- the machine ------------------------------------------------------------------------------------------------------------------------ */

uint32_t net_dial(struct net *n, uint32_t port)
{
	struct dial_msg m = { .type = DIAL_OPEN, .gen = n->gen, .port = port };
	uint8_t out[DIAL_MSG_SIZE];

	if (!n->dial)
		return 0;
	if (++n->next_token == 0)
		n->next_token = 1;
	m.token = n->next_token;
	dial_pack(out, &m);
	return seq_send(n->dial, out, sizeof(out), NULL, 0) == 0 ? m.token : 0;
}

static void on_dial(void *arg, const uint8_t *p, size_t size, int *fds, size_t nfds)
{
	struct net *n = arg;
	struct dial_msg m;

	if (dial_unpack(p, size, &m) < 0 || m.gen != n->gen)
		return;
	if (m.type == DIAL_IN && m.port == NETCONN_PORT && nfds == 1)
		conn_accept_take(n, steal_fd(&fds[0]));
	else if (m.type == DIAL_OK && nfds == 1)
		publish_dialed_take(n, m.token, steal_fd(&fds[0]));
	else if (m.type == DIAL_REFUSED)
		publish_dialed_take(n, m.token, -1);
}

static void quit_now(void *arg)
{
	struct net *n = arg;

	childside_drain(n->side, 100);
	handed_release(n);
	uv_stop(n->loop);
}

/* The last records are kept for as long as the supervisor has patience. */
static void quit(struct net *n)
{
	n->quitting = true;
	seq_close(&n->dial);
	conns_end(n);
	publish_end(n);
	after_set(&n->stats_later, n->loop, records_left(n) ? QUIT_MS : 0, quit_now, n);
}

static void on_recorded(struct net *n, struct rbuf *r)
{
	uint64_t number;

	rbuf_u64(r, &number);
	if (rbuf_done(r) < 0)
		log_error("the supervisor sent a NET_RECORDED that cannot be");
	else
		records_written(n, number);
	if (n->quitting && !records_left(n))
		after_set(&n->stats_later, n->loop, 0, quit_now, n);
}

static void on_dial_end(void *arg, int why)
{
	struct net *n = arg;

	(void)why;
	seq_close(&n->dial);
	conns_end(n); /* the supervisor ends us, or gives us another (NET_DIAL) */
}

static const struct seq_ops dial_ops = { .on_msg = on_dial, .on_end = on_dial_end };

static int take_dial(struct net *n, int *fd)
{
	seq_close(&n->dial);
	const int r = seq_open_take(&n->dial, n->loop, steal_fd(fd), &dial_ops, n);
	if (r == 0)
		seq_reading(n->dial, !n->braked);
	return r;
}

/* ---- from the supervisor ----------------------------------------------------------------------------------------------------------------- */

static int begin(struct net *n, int *fds, struct err *e)
{
	int r;

	log_to(steal_fd(&fds[NET_FD_LOG]));
	upstream_init(n);
	if (dns_open(&n->dns, n->loop, n->config.dns, e) < 0 || handed_init(n, e) < 0)
		return -e->code;
	if ((r = jail_net(&n->jail, e)) == 0)
		r = jail_seal(&n->jail, &jail_profile_net, e);
	log_info("'%s', generation %u; jail: %s", n->config.name, n->gen, n->jail.text);
	if (r == 0 && (r = pref64_open(n)) < 0)
		err_set(e, ENOMEM, "out of memory");
	if (r == 0 && (r = take_dial(n, &fds[NET_FD_DIAL])) < 0)
		err_errno(e, -r, "cannot use the dial socket");
	return r;
}

static void on_start(struct net *n, const struct child_head *h, struct rbuf *r, int *fds, size_t nfds)
{
	struct err e = ERR_INIT;

	if (n->started || net_start_unpack(r, &n->config) < 0 || nfds != NET_FD_NUM) {
		log_error("the supervisor sent a NET_START that cannot be");
		return;
	}
	n->started = true;
	n->gen = h->gen;
	if (begin(n, fds, &e) < 0) {
		log_error("%s", e.msg);
		exit(1);
	}
	tell_all(n);
}

/* The whole memfd, as it is sealed. */
static int read_rules(int fd, struct buf *out)
{
	buf_init(out, RULES_BLOB_MAX);
	for (;;) {
		uint8_t *p = buf_reserve(out, 4096);
		const ssize_t got = p ? pread(fd, p, 4096, (off_t)buf_size(out)) : -1;
		if (got <= 0)
			return got == 0 ? 0 : -EIO;
		buf_grew(out, (size_t)got);
	}
}

static void on_rules(struct net *n, struct rbuf *r, int *fds, size_t nfds)
{
	struct rules *rules = NULL;
	struct err e = ERR_INIT;
	uint32_t version = 0;
	struct buf b;

	rbuf_u32(r, &version);
	if (rbuf_done(r) < 0 || nfds != 1) {
		log_error("the supervisor sent a NET_RULES that cannot be");
		return;
	}
	const int rc = read_rules(fds[0], &b);
	if (rc == 0)
		rules = rules_unpack(buf_head(&b), buf_size(&b), &e);
	buf_release(&b);
	if (!rules) {
		log_error("rules of version %u are damaged and the old ones stay: %s", version, e.msg);
		return;
	}
	const bool first = !n->rules;
	rules_destroy(n->rules);
	n->rules = rules;
	n->rules_version = version;
	if (first)
		conns_braked(n);
	conns_ruled(n);
}

static void on_number(struct net *n, uint16_t type, struct rbuf *r, int *fds, size_t nfds)
{
	uint16_t port = 0;
	uint32_t id;

	rbuf_u32(r, &id);
	if (type == NET_PUBLISH)
		rbuf_u16(r, &port);
	if (rbuf_done(r) < 0 || (type == NET_PUBLISH) != (nfds == 1)) {
		log_error("the supervisor sent message %u, which cannot be", type);
		return;
	}
	if (type == NET_PUBLISH)
		publish_take(n, id, port, steal_fd(&fds[0]));
	else if (type == NET_UNPUBLISH)
		unpublish(n, id);
	else
		handed_secret_gone(n, id);
}

static void on_secret(struct net *n, struct rbuf *r)
{
	static struct net_secret s; /* 13 KiB; wiped */
	static bool locked;

	if (!locked)
		locked = memlock(&s, sizeof(s));
	if (net_secret_unpack(r, &s) < 0)
		log_error("the supervisor sent a NET_SECRET that cannot be");
	else
		handed_secret(n, &s);
	explicit_bzero(&s, sizeof(s));
}

static void on_answer(struct net *n, struct rbuf *r)
{
	struct net_answer a;

	if (net_answer_unpack(r, &a) < 0)
		log_error("the supervisor sent a NET_ANSWER that cannot be");
	else
		question_answer(n, &a);
}

static void on_leaf(struct net *n, struct rbuf *r)
{
	static struct net_leaf l;

	if (net_leaf_unpack(r, &l) < 0)
		log_error("the supervisor sent a NET_LEAF that cannot be");
	else
		handed_leaf(n, &l);
}

static void on_msg(void *arg, const struct child_head *h, struct rbuf *r, int *fds, size_t nfds)
{
	struct net *n = arg;

	if (h->type == NET_START) {
		on_start(n, h, r, fds, nfds);
		return;
	}
	if (!n->started || h->gen != n->gen || (n->quitting && h->type != NET_RECORDED))
		return;
	switch (h->type) {
	case NET_DIAL:
		if (nfds == 1 && rbuf_done(r) == 0 && take_dial(n, &fds[0]) < 0)
			log_error("cannot take a new dial socket");
		break;
	case NET_RULES:
		on_rules(n, r, fds, nfds);
		break;
	case NET_SECRET:
		on_secret(n, r);
		break;
	case NET_SECRET_GONE:
	case NET_PUBLISH:
	case NET_UNPUBLISH:
		on_number(n, h->type, r, fds, nfds);
		break;
	case NET_ANSWER:
		on_answer(n, r);
		break;
	case NET_LEAF:
		on_leaf(n, r);
		break;
	case NET_RECORDED:
		on_recorded(n, r);
		break;
	case NET_QUIT:
		quit(n);
		break;
	default:
		log_error("the supervisor sent message %u, which is none of ours", h->type);
		break;
	}
}

static void on_adopted(void *arg)
{
	struct net *n = arg;

	if (n->started)
		tell_all(n);
}

static void on_orphaned(void *arg)
{
	struct net *n = arg;

	n->synced = false;
	if (!n->started)
		exit(0);
}

static const struct childside_ops side_ops = { .on_msg = on_msg, .on_adopted = on_adopted, .on_orphaned = on_orphaned };

int main(int argc, char **argv)
{
	static const int keep[] = { CHILD_FD_CONTROL, CHILD_FD_LISTEN };
	const struct jail_early early = { .keep = keep, .nkeep = ARRAY_SIZE(keep), .max_fds = FDS_MAX, .max_memory = MEMORY_MAX };
	static struct net n;
	struct err e = ERR_INIT;
	uv_loop_t loop;
	int r;

	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		printf("bulkhead-net %s\n", BULKHEAD_VERSION);
		return 0;
	}
	if (argc != 1 || fcntl(CHILD_FD_CONTROL, F_GETFD) < 0 || fcntl(CHILD_FD_LISTEN, F_GETFD) < 0) {
		fprintf(stderr, "bulkhead-net: this program is started by bulkhead-supervisor; by hand only --version\n");
		return 2;
	}
	log_init("bulkhead-net");
	if (jail_early(&n.jail, &early, &e) < 0) {
		log_error("%s", e.msg);
		return 1;
	}
	memlock(&n.config, sizeof(n.config)); /* a proxy's password */
	n.loop = &loop;
	if ((r = uv_loop_init(&loop)) < 0 || (r = childside_open(&n.side, &loop, &side_ops, &n)) < 0) {
		log_error("cannot start: %s", strerror(-r));
		return 1;
	}
	childside_private(n.side);
	uv_run(&loop, UV_RUN_DEFAULT);
	return 0;
}
