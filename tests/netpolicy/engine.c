/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real bulkhead-net without a machine: this program is its supervisor, and each connection to a Unix socket is one of a guest's, handed to it as
 * it is (who connects speaks core/proto/netconn.h, as the guest's agent does).
 *
 *   engine --program BULKHEAD-NET --listen PATH [--rule TEXT]... [--dns A:P] [--ca-file F] [--ca-out F] [--proxy URL] [--no-proxy LIST]
 *          [--ask-ms N] [--secret HOST HEADER FORMAT PLACEHOLDER VALUE]... [--dial-gen N] [--dial-port N]
 *          [--tcp NAME:PORT]
 *
 * --tcp: clients that cannot speak netconn.h connect to 127.0.0.1 (the port is printed, "tcp PORT") and are a guest's connections to NAME:PORT,
 * a process each passes their bytes on, as the guest's agent does.
 * --dial-gen and --dial-port: what the machine says of every connection, true unless given.
 *
 * Prints "listening PID" (bulkhead-net's), then a line for each question, its end and each record; ends when its standard input does. Lines there:
 *
 *   answer ID allow|deny      as a person's
 *   rules TEXT; TEXT; ...     in place of those before
 *   leave                     as a supervisor that was killed: what it was told and has not read is lost
 *   back                      the next supervisor
 *   secrets                   all of them once more
 *   mute, unmute              records are read, and not said to be written
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/pem.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/policy/addr.h"
#include "core/policy/rules.h"
#include "core/proto/child.h"
#include "core/proto/frame.h"
#include "core/proto/net.h"
#include "core/proto/netconn.h"
#include "tests/netpolicy/ca.h"

#define GEN 1u

struct engine {
	struct net_start start;
	struct net_secret *secrets;
	struct rules *rules;
	struct test_ca ca;
	const char *program, *path, *ca_out, *tcp;
	int control, dial, listener, tcp_listener; /* control: -1 while there is no supervisor */
	struct sockaddr_un adopt;
	socklen_t adopt_len;
	bool begun, muted;
	uint32_t nsecrets, dial_gen, dial_port;
	pid_t pid;
};

static void die(const char *what)
{
	fprintf(stderr, "engine: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void begin(struct buf *b, uint16_t type)
{
	buf_init(b, CHILD_MSG_MAX);
	child_head_pack(b, type, GEN);
}

static void send_fds(struct engine *e, struct buf *b, const int *fds, size_t nfds)
{
	if (!buf_ok(b) || fd_send(e->control, buf_head(b), buf_size(b), fds, nfds) < 0)
		die("cannot tell bulkhead-net");
	buf_wipe(b);
}

/* ---- arguments ------------------------------------------------------------------------------------------------------------------------- */

static void add_rule(struct engine *e, const char *text)
{
	struct rule r = { .verdict = NET_ALLOW, .scope = RULE_GLOBAL };
	struct err err = ERR_INIT;

	if (rule_parse(text, &r, &err) < 0 || rules_add(e->rules, &r, &err) < 0) {
		fprintf(stderr, "engine: '%s': %s\n", text, err.msg);
		exit(2);
	}
}

static void add_secret(struct engine *e, char **v)
{
	struct net_secret *all = realloc(e->secrets, (e->nsecrets + 1) * sizeof(*all));

	if (!all)
		die("no memory");
	e->secrets = all;
	struct net_secret *m = &all[e->nsecrets++];
	*m = (struct net_secret){ .id = e->nsecrets, .nhosts = 1, .service = "testing" };
	str_copy(m->hosts[0], sizeof(m->hosts[0]), v[0]);
	str_copy(m->header, sizeof(m->header), v[1]);
	str_copy(m->format, sizeof(m->format), v[2]);
	str_copy(m->placeholder, sizeof(m->placeholder), v[3]);
	str_copy(m->value, sizeof(m->value), v[4]);
}

static void arguments(struct engine *e, int argc, char **argv)
{
	struct net_start *s = &e->start;
	const struct { const char *name; char *dst; size_t cap; const char **text; } options[] = {
		{ "--program", NULL, 0, &e->program }, { "--listen", NULL, 0, &e->path }, { "--ca-out", NULL, 0, &e->ca_out }, { "--tcp", NULL, 0, &e->tcp },
		{ "--dns", s->dns, sizeof(s->dns), NULL }, { "--ca-file", s->ca_file, sizeof(s->ca_file), NULL },
		{ "--proxy", s->https_proxy, sizeof(s->https_proxy), NULL }, { "--no-proxy", s->no_proxy, sizeof(s->no_proxy), NULL },
	};

	for (int i = 1; i + 1 < argc; i += 2) {
		const char *name = argv[i], *value = argv[i + 1];

		for (size_t k = 0; k < sizeof(options) / sizeof(*options); k++) {
			if (strcmp(name, options[k].name) != 0)
				continue;
			if (options[k].text)
				*options[k].text = value;
			else
				str_copy(options[k].dst, options[k].cap, value);
		}
		if (strcmp(name, "--rule") == 0)
			add_rule(e, value);
		if (strcmp(name, "--ask-ms") == 0)
			s->ask_ms = (uint32_t)strtoul(value, NULL, 10);
		if (strcmp(name, "--dial-gen") == 0)
			e->dial_gen = (uint32_t)strtoul(value, NULL, 10);
		if (strcmp(name, "--dial-port") == 0)
			e->dial_port = (uint32_t)strtoul(value, NULL, 10);
		if (strcmp(name, "--secret") == 0 && i + 5 < argc) {
			add_secret(e, argv + i + 1);
			i += 4;
		}
	}
}

/* ---- the child -------------------------------------------------------------------------------------------------------------------------- */

static void start(struct engine *e)
{
	static const struct sockaddr_un any = { .sun_family = AF_UNIX };
	int control[2], dial[2], adopt = -1;
	struct buf b;

	if (fd_pair(SOCK_SEQPACKET, control) < 0 || fd_pair(SOCK_SEQPACKET, dial) < 0 || (adopt = socket(AF_UNIX, SOCK_SEQPACKET, 0)) < 0 ||
	    bind(adopt, (const struct sockaddr *)&any, sizeof(any.sun_family)) < 0 || listen(adopt, 1) < 0)
		die("no sockets");
	if ((e->pid = fork()) < 0)
		die("fork");
	if (e->pid == 0) {
		/* Beyond the reach of each other: neither may stand at 3 or 4 when the other is put there. */
		const int c = fcntl(control[1], F_DUPFD_CLOEXEC, 16), a = fcntl(adopt, F_DUPFD_CLOEXEC, 16);

		if (c < 0 || a < 0 || dup2(c, CHILD_FD_CONTROL) < 0 || dup2(a, CHILD_FD_LISTEN) < 0)
			die("no descriptors");
		execl(e->program, "bulkhead-net", (char *)NULL);
		die(e->program);
	}
	e->adopt_len = sizeof(e->adopt);
	if (getsockname(adopt, (struct sockaddr *)&e->adopt, &e->adopt_len) < 0)
		die("getsockname");
	close(control[1]);
	close(adopt);
	e->control = control[0];
	e->dial = dial[0];
	fcntl(e->control, F_SETFL, 0);
	begin(&b, NET_START);
	net_start_pack(&b, &e->start);
	send_fds(e, &b, (const int[]){ dial[1], STDERR_FILENO }, NET_FD_NUM);
	close(dial[1]);
}

static void tell_rules(struct engine *e)
{
	struct buf blob, b;

	buf_init(&blob, RULES_BLOB_MAX);
	if (rules_pack(e->rules, &blob) < 0)
		die("rules");
	const int fd = fd_memfd("rules", buf_head(&blob), buf_size(&blob));
	buf_release(&blob);
	if (fd < 0)
		die("memfd");
	begin(&b, NET_RULES);
	buf_u32(&b, 1);
	send_fds(e, &b, &fd, 1);
	close(fd);
}

/* ---- what it says ------------------------------------------------------------------------------------------------------------------------ */

static void tell_secrets(struct engine *e)
{
	struct buf b;

	for (uint32_t i = 0; i < e->nsecrets; i++) {
		begin(&b, NET_SECRET);
		net_secret_pack(&b, &e->secrets[i]);
		send_fds(e, &b, NULL, 0);
	}
}

static void on_ready(struct engine *e)
{
	if (e->begun) {
		printf("adopted\n");
		return;
	}
	e->begun = true;
	tell_rules(e);
	tell_secrets(e);
	printf("listening %d\n", (int)e->pid);
}

static void on_leaf_ask(struct engine *e, struct rbuf *r)
{
	static struct net_leaf answer;
	struct net_leaf_ask m;
	struct buf b;

	if (net_leaf_ask_unpack(r, &m) < 0)
		return;
	test_ca_answer(&e->ca, &m, false, &answer);
	begin(&b, NET_LEAF);
	net_leaf_pack(&b, &answer);
	send_fds(e, &b, NULL, 0);
}

static void is_written(struct engine *e, uint64_t number)
{
	struct buf b;

	if (e->muted)
		return;
	begin(&b, NET_RECORDED);
	buf_u64(&b, number);
	send_fds(e, &b, NULL, 0);
}

static void on_lost(struct engine *e, struct rbuf *r)
{
	uint64_t number, count;

	rbuf_u64(r, &number);
	rbuf_u64(r, &count);
	if (rbuf_done(r) < 0)
		return;
	printf("lost %llu\n", (unsigned long long)count);
	is_written(e, number);
}

static void on_gone(struct rbuf *r)
{
	static const char *const ends[] = { "answered", "timeout", "withdrawn", "ruled" };
	uint32_t id;
	uint8_t end;

	rbuf_u32(r, &id);
	rbuf_u8(r, &end);
	if (rbuf_done(r) == 0 && end < NET_ASK_END_NUM)
		printf("gone %u %s\n", id, ends[end]);
}

static void on_record(struct engine *e, struct rbuf *r)
{
	static const char *const events[] = { "decided", "closed", "injected", "alarm" };
	static const char *const verdicts[] = { "allow", "deny", "ask" };
	static struct net_record m;

	char to[ADDR_TEXT_MAX];

	if (net_record_unpack(r, &m) < 0)
		return;
	addr_text(&m.to, to);
	printf("%s %s %s:%u %s %s status=%u in=%llu out=%llu to=%s n=%llu [%s]\n", events[m.event], verdicts[m.verdict], m.facts.name, m.facts.port, m.facts.method,
		       m.facts.path, m.status, (unsigned long long)m.in, (unsigned long long)m.out, to, (unsigned long long)m.number, m.rule);
	is_written(e, m.number);
}

/* False: it is gone. */
static bool on_control(struct engine *e)
{
	static uint8_t in[CHILD_MSG_MAX];
	struct child_head h;
	struct net_ask ask;
	size_t nfds = 0;
	struct rbuf r;
	const ssize_t n = fd_recv(e->control, in, sizeof(in), NULL, &nfds);

	if (n <= 0)
		return false;
	rbuf_init(&r, in, (size_t)n);
	if (child_head_unpack(&r, &h) < 0)
		return false;
	if (h.type == NET_READY)
		on_ready(e);
	else if (h.type == NET_LEAF_ASK)
		on_leaf_ask(e, &r);
	else if (h.type == NET_RECORD)
		on_record(e, &r);
	else if (h.type == NET_LOST)
		on_lost(e, &r);
	else if (h.type == NET_ASK_GONE)
		on_gone(&r);
	else if (h.type == NET_ASK && net_ask_unpack(&r, &ask) == 0)
		printf("ask %u %s:%u count=%u\n", ask.id, ask.facts.name, ask.facts.port, ask.count);
	return true;
}

/* ---- what it is told to do ---------------------------------------------------------------------------------------------------------------- */

static void answer(struct engine *e, const char *text)
{
	char *end;
	const struct net_answer m = { .id = (uint32_t)strtoul(text, &end, 10), .verdict = strcmp(end, " allow") == 0 ? NET_ALLOW : NET_DENY };
	struct buf b;

	begin(&b, NET_ANSWER);
	net_answer_pack(&b, &m);
	send_fds(e, &b, NULL, 0);
}

static void change_rules(struct engine *e, const char *line)
{
	char *save = NULL, *text = str_dup(line);

	rules_destroy(e->rules);
	if (!(e->rules = rules_create()))
		die("no memory");
	for (char *p = strtok_r(text, ";", &save); p; p = strtok_r(NULL, ";", &save))
		add_rule(e, p);
	free(text);
	tell_rules(e);
}

static void come_back(struct engine *e)
{
	if ((e->control = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) < 0 || connect(e->control, (struct sockaddr *)&e->adopt, e->adopt_len) < 0)
		die("adopt");
}

static void obey(struct engine *e, char *line)
{
	if (str_starts(line, "answer "))
		answer(e, line + 7);
	else if (str_starts(line, "rules "))
		change_rules(e, line + 6);
	else if (strcmp(line, "secrets") == 0)
		tell_secrets(e);
	else if (strcmp(line, "leave") == 0)
		fd_close(&e->control);
	else if (strcmp(line, "back") == 0)
		come_back(e);
	else if (strcmp(line, "mute") == 0 || strcmp(line, "unmute") == 0)
		e->muted = *line == 'm';
	printf("did %s\n", line);
}

/* False: nobody tells us anything any more. */
static bool on_input(struct engine *e)
{
	static char line[65536];
	static size_t have;
	const ssize_t n = read(STDIN_FILENO, line + have, sizeof(line) - have);
	char *end;

	if (n <= 0)
		return false;
	have += (size_t)n;
	while ((end = memchr(line, '\n', have))) {
		*end = '\0';
		obey(e, line);
		have -= (size_t)(end + 1 - line);
		memmove(line, end + 1, have);
	}
	return true;
}

static void on_guest(struct engine *e)
{
	const struct dial_msg m = { .type = DIAL_IN, .gen = e->dial_gen, .port = e->dial_port };
	const int fd = accept(e->listener, NULL, NULL);
	uint8_t out[DIAL_MSG_SIZE];

	if (fd < 0)
		return;
	dial_pack(out, &m);
	while (fd_send(e->dial, out, sizeof(out), &fd, 1) == -EAGAIN) {
		struct pollfd p = { .fd = e->dial, .events = POLLOUT };

		if (poll(&p, 1, 10000) != 1)
			break;
	}
	close(fd);
}

/* ---- clients over TCP -------------------------------------------------------------------------------------------------------------------- */

static void pass_on(int from, int to)
{
	char b[65536];
	const ssize_t n = read(from, b, sizeof(b));

	if (n <= 0 || fd_write_full(to, b, (size_t)n) < 0)
		_exit(0);
}

static void relay(struct engine *e, int client)
{
	struct netconn_open m = { .version = NETCONN_VERSION, .port = (uint16_t)strtoul(strchr(e->tcp, ':') + 1, NULL, 10), .comm = "engine" };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	uint8_t go[FRAME_HEAD];
	struct buf b;

	const int up = socket(AF_UNIX, SOCK_STREAM, 0);
	str_copy(a.sun_path, sizeof(a.sun_path), e->path);
	snprintf(m.name, sizeof(m.name), "%.*s", (int)strcspn(e->tcp, ":"), e->tcp);
	buf_init(&b, NETCONN_FRAME_MAX + FRAME_HEAD);
	const size_t at = frame_begin(&b, NETC_OPEN, 0);
	if (netconn_open_pack(&b, &m) < 0)
		_exit(1);
	frame_end(&b, at);
	if (up < 0 || connect(up, (struct sockaddr *)&a, sizeof(a)) < 0 || fd_write_full(up, buf_head(&b), buf_size(&b)) < 0)
		_exit(1);
	pass_on(client, up); /* it speaks first: what is decided is decided by that */
	if (fd_read_full(up, go, sizeof(go)) < 0 || go[0] != NETC_GO)
		_exit(1);
	struct pollfd p[] = { { .fd = client, .events = POLLIN }, { .fd = up, .events = POLLIN } };
	while (poll(p, 2, -1) > 0) {
		if (p[0].revents)
			pass_on(client, up);
		if (p[1].revents)
			pass_on(up, client);
	}
	_exit(0);
}

static void on_tcp(struct engine *e)
{
	const int one = 1, fd = accept(e->tcp_listener, NULL, NULL);

	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (fork() == 0)
		relay(e, fd);
	close(fd);
}

static void listen_tcp(struct engine *e)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(a);

	e->tcp_listener = -1;
	if (!e->tcp)
		return;
	if (!strchr(e->tcp, ':') || (e->tcp_listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0 || bind(e->tcp_listener, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(e->tcp_listener, 64) < 0 || getsockname(e->tcp_listener, (struct sockaddr *)&a, &n) < 0)
		die("--tcp");
	signal(SIGCHLD, SIG_IGN);
	printf("tcp %u\n", ntohs(a.sin_port));
}

static void listen_at(struct engine *e)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	str_copy(a.sun_path, sizeof(a.sun_path), e->path);
	if ((e->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0 || bind(e->listener, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(e->listener, 1024) < 0)
		die(e->path);
}

static void make_authority(struct engine *e)
{
	FILE *f;

	test_ca_init(&e->ca);
	if (e->ca_out && (!(f = fopen(e->ca_out, "w")) || PEM_write_X509(f, e->ca.cert) != 1 || fclose(f) != 0))
		die(e->ca_out);
}

int main(int argc, char **argv)
{
	static struct engine engine;
	struct engine *e = &engine;

	setvbuf(stdout, NULL, _IOLBF, 0);
	str_copy(e->start.name, sizeof(e->start.name), "blue");
	e->start.ask_ms = 120000;
	e->dial_gen = GEN;
	e->dial_port = NETCONN_PORT;
	e->rules = rules_create();
	if (!e->rules)
		die("no memory");
	arguments(e, argc, argv);
	if (!e->program || !e->path) {
		fprintf(stderr, "engine: --program and --listen are needed\n");
		return 2;
	}
	make_authority(e);
	listen_at(e);
	start(e);
	listen_tcp(e); /* its children are not reaped: after the one that is waited for */
	struct pollfd p[] = { { .fd = e->control, .events = POLLIN }, { .fd = e->listener, .events = POLLIN }, { .fd = STDIN_FILENO, .events = POLLIN },
			      { .fd = e->tcp_listener, .events = POLLIN } };
	for (;;) {
		p[0].fd = e->control;
		if (poll(p, 4, -1) < 0 && errno != EINTR)
			break;
		if (p[0].revents && !on_control(e))
			break;
		if (p[1].revents)
			on_guest(e);
		if (p[3].revents)
			on_tcp(e);
		if (p[2].revents && !on_input(e))
			break;
	}
	unlink(e->path);
	fd_close(&e->control);
	close(e->dial);
	kill(e->pid, SIGTERM);
	waitpid(e->pid, NULL, 0);
	rules_destroy(e->rules);
	free(e->secrets);
	test_ca_release(&e->ca);
	return 0;
}
