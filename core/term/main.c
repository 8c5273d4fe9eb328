/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead-term: the terminals of one sandbox (ARCHITECTURE 7), a child of the supervisor (core/proto/child.h).
 *
 * It lives through stops, starts and resets of its sandbox: screens stay to be looked at. After the first TERM_START it seals
 * itself: bytes on descriptors it has, new files only in the recordings' directory, nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/str.h"
#include "core/proto/version.h"
#include "core/term/term.h"

#define FDS_MAX 1024
#define MEMORY_MAX (UINT64_C(2) << 30)

void term_tell(struct term *t, uint16_t type, int (*pack)(struct buf *, const void *), const void *m)
{
	struct buf b;

	buf_init(&b, CHILD_MSG_MAX);
	child_head_pack(&b, type, t->gen);
	if (pack)
		pack(&b, m);
	childside_send(t->side, &b);
	buf_release(&b);
}

static int pack_ready(struct buf *b, const void *m) { return child_ready_pack(b, m); }

/* Everything there is, as if it had just happened. */
static void tell_all(struct term *t)
{
	struct child_ready r = { .version = CHILD_VERSION, .pid = (uint32_t)getpid() };

	str_copy(r.jail, sizeof(r.jail), t->jail.text);
	term_tell(t, TERM_READY, pack_ready, &r);
	guest_tell(t);
	for (struct session *s = t->sessions; s; s = s->next)
		session_tell_now(s);
	term_tell(t, TERM_SYNCED, NULL, NULL);
}

static int seal(struct term *t, struct err *e)
{
	int r = jail_fs(&t->jail, t->recdir, e);

	if (r == 0)
		r = jail_seal(&t->jail, &jail_profile_term, e);
	t->sealed = r == 0;
	log_info("jail: %s", t->jail.text);
	return r;
}

static void set_pattern(struct term *t)
{
	if (t->has_pattern)
		regfree(&t->pattern);
	t->has_pattern = t->config.waits_pattern[0] && regcomp(&t->pattern, t->config.waits_pattern, REG_EXTENDED | REG_NOSUB) == 0;
}

static void on_start(struct term *t, const struct child_head *h, struct rbuf *r, int *fds, size_t nfds)
{
	struct term_start m;
	struct err e = ERR_INIT;

	if (term_start_unpack(r, &m) < 0 || nfds != TERM_FD_NUM || h->gen <= t->gen) {
		log_error("the supervisor sent a TERM_START that cannot be");
		return;
	}
	t->config = m;
	t->gen = h->gen;
	set_pattern(t);
	log_to(steal_fd(&fds[TERM_FD_LOG]));
	fd_close(&t->recdir);
	t->recdir = steal_fd(&fds[TERM_FD_RECDIR]);
	log_info("'%s', generation %u", m.hostname, h->gen);
	if (!t->sealed && seal(t, &e) < 0) {
		log_error("%s", e.msg);
		exit(1);
	}
	const int rc = guest_begin_take(t, steal_fd(&fds[TERM_FD_DIAL]));
	if (rc < 0)
		log_error("cannot use the dial socket: %s", strerror(-rc));
	tell_all(t);
}

static void on_open(struct term *t, struct rbuf *r, int *fds, size_t nfds)
{
	struct term_open m;

	if (term_open_unpack(r, &m) < 0) {
		log_error("the supervisor sent a TERM_OPEN that cannot be");
		return;
	}
	if ((m.kind == TERM_KIND_EXEC) == (nfds == 1))
		session_open_take(t, &m, nfds == 1 ? steal_fd(&fds[0]) : -1);
	else
		log_error("the supervisor sent a TERM_OPEN with the wrong descriptors");
	term_open_release(&m);
}

static void on_attach(struct term *t, struct rbuf *r, int *fds, size_t nfds)
{
	struct term_attach m;

	if (term_attach_unpack(r, &m) < 0 || nfds != 1) {
		log_error("the supervisor sent a TERM_ATTACH that cannot be");
		return;
	}
	struct session *s = session_find(t, m.session);
	if (s && s->told.kind == TERM_KIND_PTY && s->vt)
		viewer_attach_take(s, steal_fd(&fds[0]), m.readonly);
}

static void on_numbers(struct term *t, uint16_t type, struct rbuf *r)
{
	uint32_t a = 0, b = 0;
	struct buf out;

	rbuf_u32(r, &a);
	if (type != TERM_SHUTDOWN)
		rbuf_u32(r, &b);
	if (rbuf_done(r) < 0) {
		log_error("the supervisor sent message %u, which cannot be", type);
		return;
	}
	if (type == TERM_CLOSE) {
		struct session *s = session_find(t, a);

		if (s)
			session_close(s, b & 1);
	} else if (type == TERM_STATS_EVERY) {
		guest_stats(t, a, b);
	} else {
		buf_init(&out, 16);
		buf_u32(&out, a);
		guest_send(t, AGENT_SHUTDOWN, &out);
		buf_release(&out);
	}
}

static void on_msg(void *arg, const struct child_head *h, struct rbuf *r, int *fds, size_t nfds)
{
	struct term *t = arg;
	struct buf out;

	if (h->type == TERM_START) {
		on_start(t, h, r, fds, nfds);
		return;
	}
	if (h->gen != t->gen && h->type != TERM_QUIT)
		return;
	switch (h->type) {
	case TERM_OPEN:
		on_open(t, r, fds, nfds);
		break;
	case TERM_ATTACH:
		on_attach(t, r, fds, nfds);
		break;
	case TERM_CLOSE:
	case TERM_STATS_EVERY:
	case TERM_SHUTDOWN:
		on_numbers(t, h->type, r);
		break;
	case TERM_TRUST:
		if (nfds != 1 || !trust_take(t, steal_fd(&fds[0])))
			log_error("the supervisor sent a TERM_TRUST that cannot be");
		else
			guest_trust(t);
		break;
	case TERM_TIME:
		buf_init(&out, 16);
		buf_u64(&out, clock_wall_ns());
		guest_send(t, AGENT_TIME, &out);
		buf_release(&out);
		break;
	case TERM_MACHINE_GONE:
		guest_gone(t, "the sandbox's machine has ended");
		break;
	case TERM_QUIT:
		guest_gone(t, "the sandbox was removed");
		childside_drain(t->side, 1000);
		uv_stop(t->loop);
		t->quitting = true;
		break;
	default:
		log_error("the supervisor sent message %u, which is none of ours", h->type);
		break;
	}
}

static void on_adopted(void *arg)
{
	tell_all(arg);
}

static void on_orphaned(void *arg)
{
	struct term *t = arg;

	if (!t->gen)
		exit(0);
}

static const struct childside_ops side_ops = { .on_msg = on_msg, .on_adopted = on_adopted, .on_orphaned = on_orphaned };

int main(int argc, char **argv)
{
	static const int keep[] = { CHILD_FD_CONTROL, CHILD_FD_LISTEN };
	const struct jail_early early = { .keep = keep, .nkeep = ARRAY_SIZE(keep), .max_fds = FDS_MAX, .max_memory = MEMORY_MAX };
	static struct term t = { .recdir = -1, .trust = -1 };
	struct err e;
	uv_loop_t loop;
	int r;

	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		printf("bulkhead-term %s\n", BULKHEAD_VERSION);
		return 0;
	}
	if (argc != 1 || fcntl(CHILD_FD_CONTROL, F_GETFD) < 0 || fcntl(CHILD_FD_LISTEN, F_GETFD) < 0) {
		fprintf(stderr, "bulkhead-term: this program is started by bulkhead-supervisor; by hand only --version\n");
		return 2;
	}
	log_init("bulkhead-term");
	if (jail_early(&t.jail, &early, &e) < 0) {
		log_error("%s", e.msg);
		return 1;
	}
	t.loop = &loop;
	if ((r = uv_loop_init(&loop)) < 0 || (r = childside_open(&t.side, &loop, &side_ops, &t)) < 0) {
		log_error("cannot start: %s", strerror(-r));
		return 1;
	}
	uv_run(&loop, UV_RUN_DEFAULT);
	return 0;
}
