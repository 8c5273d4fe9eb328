/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead-review: what one sandbox changed in its workspaces, for one run of its machine (ARCHITECTURE 8), a child of the supervisor
 * (core/proto/child.h).
 *
 * After REVIEW_START it seals itself: files below the workspaces and its own state, nothing else. It dials the guest once for each review
 * workspace and once for content. A stream that ends is dialed again. One thread: a question is answered before the next is looked at.
 */
#include <errno.h>
#include <fcntl.h>
#include <git2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/str.h"
#include "core/jail/jail.h"
#include "core/loop/after.h"
#include "core/loop/childside.h"
#include "core/loop/seq.h"
#include "core/proto/changes.h"
#include "core/proto/child.h"
#include "core/proto/tree.h"
#include "core/proto/version.h"
#include "core/review/danger.h"
#include "core/review/decide.h"
#include "core/review/digest.h"
#include "core/review/guest.h"
#include "core/review/layer.h"
#include "core/review/review.h"
#include "core/workspace/hide.h"

#define FDS_WANTED 1024u
#define MEMORY_MAX (UINT64_C(1) << 30)
#define REDIAL_MS 100u
#define REDIAL_LOST_MS 1000u /* of one that did not answer; twice as long each time that it does so again */
#define REDIAL_MOST_MS 16000u
#define TOKEN_READS WORKSPACES_MAX /* tokens below are those of the workspaces */
#define ASKING_MAX 64u

struct asking { uint32_t id; struct buf in; };

struct redial { struct review *r; struct after *later; uint8_t token; bool dialing; };

struct review {
	uv_loop_t *loop;
	struct childside *side;
	struct jail jail;
	uint32_t gen;
	struct review_start config;
	struct hide *hide;
	struct danger *danger;
	struct seq *dial;
	struct guest guest;
	struct layer *layer[WORKSPACES_MAX]; /* NULL: read-only, nothing to review */
	struct redial redial[WORKSPACES_MAX + 1];
	struct asking asking[ASKING_MAX];    /* id 0: free */
	int state;
	int inotify[WORKSPACES_MAX]; /* of live ones, until their layers take them; -1 */
	size_t watches, lives;
};

struct layer *review_layer(struct review *r, uint8_t index)
{
	return index < WORKSPACES_MAX ? r->layer[index] : NULL;
}

int review_state(const struct review *r)
{
	return r->state;
}

/* ---- to the supervisor -------------------------------------------------------------------------------------------------------- */

static void tell(struct review *r, uint16_t type, int (*pack)(struct buf *, const void *), const void *m)
{
	struct buf b;

	buf_init(&b, CHILD_MSG_MAX);
	child_head_pack(&b, type, r->gen);
	if (pack)
		pack(&b, m);
	childside_send(r->side, &b);
	buf_release(&b);
}

static int pack_ready(struct buf *b, const void *m) { return child_ready_pack(b, m); }
static int pack_counts(struct buf *b, const void *m) { return review_counts_pack(b, m); }
static int pack_piece(struct buf *b, const void *m) { return review_piece_pack(b, m); }

static void tell_all(struct review *r)
{
	struct child_ready ready = { .version = CHILD_VERSION, .pid = (uint32_t)getpid() };

	str_copy(ready.jail, sizeof(ready.jail), r->jail.text);
	tell(r, REVIEW_READY, pack_ready, &ready);
	for (size_t i = 0; i < WORKSPACES_MAX; i++)
		if (r->layer[i]) {
			struct review_counts c;

			layer_counts(r->layer[i], &c);
			tell(r, REVIEW_COUNTS, pack_counts, &c);
		}
	tell(r, REVIEW_SYNCED, NULL, NULL);
}

static void on_counted(void *arg, const struct review_counts *c)
{
	tell(arg, REVIEW_COUNTS, pack_counts, c);
}

/* ---- questions ------------------------------------------------------------------------------------------------------------------ */

static void reply(struct review *r, uint32_t id, uint32_t code, const void *p, size_t n)
{
	size_t at = 0;

	do {
		struct review_piece m = { .id = id, .code = code, .p = (const uint8_t *)p + at };

		m.n = n - at > REVIEW_PIECE ? REVIEW_PIECE : (uint32_t)(n - at);
		at += m.n;
		m.last = at == n;
		tell(r, REVIEW_ANSWER, pack_piece, &m);
	} while (at < n);
}

static int answer(struct review *r, const struct review_ask *m, int fd, struct buf *out, struct err *e)
{
	switch ((enum review_op)m->op) {
	case REVIEW_LIST:
		return answer_list(r, m, out, e);
	case REVIEW_DIFF:
		return answer_diff(r, m, out, e);
	case REVIEW_PATCH:
		return answer_patch(r, m, fd, out, e);
	case REVIEW_APPLY:
		return answer_apply(r, m, out, e);
	case REVIEW_DISCARD:
		return answer_discard(r, m, out, e);
	case REVIEW_UNDO:
		return answer_undo(r, m, out, e);
	case REVIEW_HISTORY:
		return answer_history(r, m, out, e);
	case REVIEW_OPS:
		break;
	}
	return err_set(e, EINVAL, "an unknown question");
}

static void on_whole(struct review *r, uint32_t id, const struct buf *in, int fd)
{
	struct review_ask m;
	struct err e = ERR_INIT;
	struct rbuf rb;
	struct buf out;

	rbuf_init(&rb, buf_head(in), buf_size(in));
	if (review_ask_unpack(&rb, &m) < 0) {
		log_error("the supervisor asked what cannot be");
		return;
	}
	buf_init(&out, TREE_MAX);
	guest_allow(&r->guest, GUEST_MS);
	const int rc = answer(r, &m, fd, &out, &e);
	if (rc == 0 && !buf_ok(&out))
		err_set(&e, EFBIG, "the answer is larger than can be given at once");
	if (e.code || rc < 0)
		reply(r, id, e.code ? (uint32_t)e.code : EIO, e.msg, strlen(e.msg));
	else
		reply(r, id, 0, buf_head(&out), buf_size(&out));
	buf_release(&out);
	review_ask_release(&m);
}

static void on_ask(struct review *r, struct rbuf *rb, int *fds, size_t nfds)
{
	struct review_piece p;
	struct asking *a = NULL;

	if (review_piece_unpack(rb, &p) < 0 || p.id == 0 || nfds > 1) {
		log_error("the supervisor asked what cannot be");
		return;
	}
	for (size_t i = 0; i < ASKING_MAX && !a; i++)
		if (r->asking[i].id == p.id)
			a = &r->asking[i];
	for (size_t i = 0; i < ASKING_MAX && !a; i++)
		if (r->asking[i].id == 0)
			a = &r->asking[i];
	if (!a)
		return;
	if (a->id == 0)
		buf_init(&a->in, REVIEW_ASK_MAX);
	a->id = p.id;
	buf_put(&a->in, p.p, p.n);
	if (!p.last)
		return;
	AUTO_FD fd = nfds == 1 ? steal_fd(&fds[0]) : -1;
	if (buf_ok(&a->in))
		on_whole(r, p.id, &a->in, fd);
	buf_release(&a->in);
	a->id = 0;
}

/* ---- streams ---------------------------------------------------------------------------------------------------------------------- */

static void dial_one(void *arg)
{
	struct redial *d = arg;
	struct review *r = d->r;
	const struct dial_msg m = { .type = DIAL_OPEN, .gen = r->gen, .port = AGENT_PORT_CHANGES, .token = d->token };
	uint8_t out[DIAL_MSG_SIZE];

	dial_pack(out, &m);
	if (!d->dialing && r->dial)
		d->dialing = seq_send(r->dial, out, sizeof(out), NULL, 0) == 0;
}

static void dial_later(struct review *r, uint8_t token, uint64_t ms)
{
	if (r->dial)
		after_set(&r->redial[token].later, r->loop, ms, dial_one, &r->redial[token]);
}

static void on_reads_lost(void *arg)
{
	struct review *r = arg;
	const unsigned again = r->guest.cuts > 0 ? r->guest.cuts - 1 : 0;

	dial_later(r, TOKEN_READS, again < 4 ? REDIAL_LOST_MS << again : REDIAL_MOST_MS);
}

static void on_watch_lost(void *arg, uint8_t index)
{
	dial_later(arg, index, REDIAL_MS);
}

static void on_dialed(void *arg, const uint8_t *p, size_t n, int *fds, size_t nfds)
{
	struct review *r = arg;
	struct dial_msg m;

	if (dial_unpack(p, n, &m) < 0 || m.gen != r->gen || m.token > TOKEN_READS || !r->redial[m.token].dialing)
		return;
	r->redial[m.token].dialing = false;
	if (m.type != DIAL_OK || nfds != 1) /* the guest is not up yet */
		dial_later(r, (uint8_t)m.token, REDIAL_MS);
	else if (m.token == TOKEN_READS)
		guest_connect_take(&r->guest, steal_fd(&fds[0]));
	else
		layer_connect_take(r->layer[m.token], steal_fd(&fds[0]));
}

static void on_dial_end(void *arg, int why)
{
	struct review *r = arg;

	(void)why;
	seq_close(&r->dial);
	log_info("the machine is gone");
	childside_drain(r->side, 1000);
	uv_stop(r->loop);
}

static const struct seq_ops dial_ops = { .on_msg = on_dialed, .on_end = on_dial_end };

/* ---- start ----------------------------------------------------------------------------------------------------------------------- */

static int make_layers(struct review *r, int *fds, struct err *e)
{
	for (size_t i = 0; i < r->config.ws.n; i++) {
		const struct workspace *w = &r->config.ws.w[i];
		const struct layer_opts o = { .loop = r->loop, .index = (uint8_t)i, .gen = r->gen, .ws = w, .root = fds[REVIEW_FD_NUM + i], .state = r->state, .hide = r->hide,
					      .danger = r->danger, .guest = &r->guest, .inotify = r->inotify[i], .watches = r->lives ? r->watches / r->lives : 0, .counted = on_counted, .redial = on_watch_lost, .arg = r };
		int rc;

		if (w->mode != WORKSPACE_REVIEW && w->mode != WORKSPACE_LIVE)
			continue;
		fds[REVIEW_FD_NUM + i] = -1;
		if ((rc = layer_create(&r->layer[i], &o, e)) < 0)
			return rc;
	}
	return 0;
}

static int prepare(struct review *r, int *fds, struct err *e)
{
	int dirs[WORKSPACES_MAX + 1], rc;

	if ((rc = hide_create(&r->hide, r->config.hide, e)) < 0 || (rc = danger_create(&r->danger, r->config.executes, e)) < 0)
		return rc;
	r->state = steal_fd(&fds[REVIEW_FD_STATE]);
	for (size_t i = 0; i < r->config.ws.n; i++)
		dirs[i] = fds[REVIEW_FD_NUM + i];
	dirs[r->config.ws.n] = r->state;
	struct digest *first = digest_create(); /* loads what it needs */
	digest_destroy(&first);
	if (git_libgit2_init() < 0)
		return err_set(e, EIO, "libgit2 does not start");
	for (size_t i = 0; i < r->config.ws.n; i++) {
		r->inotify[i] = r->config.ws.w[i].mode == WORKSPACE_LIVE ? inotify_init1(IN_NONBLOCK | IN_CLOEXEC) : -1;
		r->lives += r->config.ws.w[i].mode == WORKSPACE_LIVE;
	}
	r->watches = fd_watches_of_user() / 8; /* beside those of bulkhead-fs, and the person's editors */
	if ((rc = jail_fs_below(&r->jail, dirs, r->config.ws.n + 1u, e)) < 0 || (rc = jail_seal(&r->jail, &jail_profile_review, e)) < 0)
		return rc;
	if ((rc = make_layers(r, fds, e)) == 0)
		decide_recover(r);
	return rc;
}

static void on_start(struct review *r, const struct child_head *h, struct rbuf *rb, int *fds, size_t nfds)
{
	struct err e = ERR_INIT;

	if (r->gen || review_start_unpack(rb, &r->config) < 0 || r->config.ws.n == 0 || nfds != (size_t)REVIEW_FD_NUM + r->config.ws.n) {
		log_error("the supervisor sent a REVIEW_START that cannot be");
		exit(1);
	}
	r->gen = h->gen;
	log_to(steal_fd(&fds[REVIEW_FD_LOG]));
	log_info("'%s', generation %u: %u workspaces", r->config.name, h->gen, r->config.ws.n);
	for (size_t i = 0; i <= TOKEN_READS; i++)
		r->redial[i] = (struct redial){ .r = r, .token = (uint8_t)i };
	guest_init(&r->guest, on_reads_lost, r);
	int rc = prepare(r, fds, &e);
	log_info("jail: %s", r->jail.text);
	if (rc < 0 || seq_open_take(&r->dial, r->loop, steal_fd(&fds[REVIEW_FD_DIAL]), &dial_ops, r) < 0) {
		log_error("%s", rc < 0 ? e.msg : "cannot use the dial socket");
		exit(1);
	}
	tell_all(r);
	bool any = false;
	for (size_t i = 0; i < r->config.ws.n; i++)
		if (r->config.ws.w[i].mode == WORKSPACE_REVIEW) {
			any = true;
			dial_one(&r->redial[i]);
		}
	if (any)
		dial_one(&r->redial[TOKEN_READS]);
}

static void on_msg(void *arg, const struct child_head *h, struct rbuf *rb, int *fds, size_t nfds)
{
	struct review *r = arg;

	if (h->type == REVIEW_START)
		on_start(r, h, rb, fds, nfds);
	else if (h->type == REVIEW_ASK && r->gen && h->gen == r->gen)
		on_ask(r, rb, fds, nfds);
	else if (h->type == REVIEW_QUIT)
		uv_stop(r->loop);
	else
		log_error("the supervisor sent message %u, which is none of ours", h->type);
}

static void on_adopted(void *arg)
{
	struct review *r = arg;

	for (size_t i = 0; i < ASKING_MAX; i++)
		if (r->asking[i].id) {
			buf_release(&r->asking[i].in);
			r->asking[i].id = 0;
		}
	tell_all(r);
}

static void on_orphaned(void *arg)
{
	struct review *r = arg;

	if (!r->gen)
		exit(0);
}

static const struct childside_ops side_ops = { .on_msg = on_msg, .on_adopted = on_adopted, .on_orphaned = on_orphaned };

int main(int argc, char **argv)
{
	static const int keep[] = { CHILD_FD_CONTROL, CHILD_FD_LISTEN };
	const struct jail_early early = { .keep = keep, .nkeep = ARRAY_SIZE(keep), .max_fds = FDS_WANTED, .max_memory = MEMORY_MAX };
	static struct review r = { .state = -1 };
	struct err e = ERR_INIT;
	uv_loop_t loop;

	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		printf("bulkhead-review %s\n", BULKHEAD_VERSION);
		return 0;
	}
	if (argc != 1 || fcntl(CHILD_FD_CONTROL, F_GETFD) < 0 || fcntl(CHILD_FD_LISTEN, F_GETFD) < 0) {
		fprintf(stderr, "bulkhead-review: this program is started by bulkhead-supervisor; by hand only --version\n");
		return 2;
	}
	log_init("bulkhead-review");
	umask(077);
	if (jail_early(&r.jail, &early, &e) < 0) {
		log_error("%s", e.msg);
		return 1;
	}
	r.loop = &loop;
	if (uv_loop_init(&loop) < 0 || childside_open(&r.side, &loop, &side_ops, &r) < 0) {
		log_error("cannot start");
		return 1;
	}
	uv_run(&loop, UV_RUN_DEFAULT);
	for (size_t i = 0; i < WORKSPACES_MAX; i++)
		if (r.layer[i])
			layer_save(r.layer[i]);
	return 0;
}
