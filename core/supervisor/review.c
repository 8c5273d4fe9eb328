/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/review.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/loop/after.h"
#include "core/proto/child.h"
#include "core/proto/tree.h"
#include "core/supervisor/client.h"
#include "core/supervisor/events.h"
#include "core/supervisor/kid.h"
#include "core/supervisor/lifelog.h"
#include "core/supervisor/sandbox.h"
#include "core/supervisor/super.h"

#define REVIEW_LOG_CAP (UINT64_C(1) << 20)
#define CALLS_MAX 64u
#define EVENT_MS 500u
#define LOOK_MS 120000u            /* for an answer to what only looks; a guest is given up long before that (core/review/guest.h) */
#define CHANGE_MS (30u * 60000u)   /* to what reads or writes everything */
#define DEATHS_MAX 5u
#define MINUTE_NS UINT64_C(60000000000)
#define EXECUTES "core/review/executes" /* below the data directory */

struct review_call {
	struct review_call *next;
	uint32_t id;
	struct sandbox *sb;
	struct call *call;
	struct buf ask;       /* what is to be asked, until there is somebody to ask */
	struct buf in;
	int fd;
	review_answered_fn answered;
	struct after *late;
};

/* ---- its process -------------------------------------------------------------------------------------------------------------------- */

static int pack_start(struct buf *b, const void *m) { return review_start_pack(b, m); }
static int pack_piece(struct buf *b, const void *m) { return review_piece_pack(b, m); }

static bool wanted(const struct sandbox *sb)
{
	for (size_t i = 0; i < sb->spec.ws.n; i++)
		if (sb->spec.ws.w[i].mode == WORKSPACE_REVIEW || sb->spec.ws.w[i].mode == WORKSPACE_LIVE)
			return true;
	return false;
}

/* `alone`: no machine runs. It is given nobody to dial, but our end of the socket tells it when it is not needed any more. */
static int open_dial(struct sandbox *sb, bool alone, struct err *e)
{
	int pair[2];

	if (!alone)
		return machine_redial(sb, VMM_FD_DIAL_REVIEW, e);
	const int r = fd_pair(SOCK_SEQPACKET, pair);
	if (r)
		return err_errno(e, -r, "cannot make a socket");
	fd_close(&sb->review_alone);
	sb->review_alone = pair[1];
	return pair[0];
}

static int open_fds(struct sandbox *sb, bool alone, int *fds, struct err *e)
{
	for (size_t i = 0; i < sb->spec.ws.n; i++) {
		fds[REVIEW_FD_NUM + i] = path_open_real(sb->spec.ws.w[i].path, e);
		if (fds[REVIEW_FD_NUM + i] < 0)
			return -e->code;
	}
	if (mkdirat(sb->dirfd, "review", 0700) && errno != EEXIST)
		return err_errno(e, errno, "cannot make the directory of what '%s' changed", sb->spec.name);
	fds[REVIEW_FD_STATE] = openat(sb->dirfd, "review", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fds[REVIEW_FD_STATE] < 0)
		return err_errno(e, errno, "cannot open the directory of what '%s' changed", sb->spec.name);
	if ((fds[REVIEW_FD_LOG] = store_open_log(sb->dirfd, "review.log", REVIEW_LOG_CAP, e)) < 0)
		return -e->code;
	fds[REVIEW_FD_DIAL] = open_dial(sb, alone, e);
	return fds[REVIEW_FD_DIAL] < 0 ? -e->code : 0;
}

static int executes(char *dst, size_t cap, struct err *e)
{
	AUTO_FREE char *path = path_data(EXECUTES, e);
	AUTO_FD fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	const ssize_t n = fd >= 0 ? read(fd, dst, cap - 1) : -1;

	if (n < 0 || (size_t)n == cap - 1)
		return err_errno(e, n < 0 ? errno : EFBIG, "cannot read the list of what would be executed '%s'", path ? path : EXECUTES);
	dst[n] = '\0';
	return 0;
}

static int start_with(struct sandbox *sb, bool alone, int *fds, struct err *e)
{
	AUTO_FREE struct review_start *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return err_set(e, ENOMEM, "out of memory");
	str_copy(m->name, sizeof(m->name), sb->spec.name);
	m->ws = sb->spec.ws;
	if ((r = workspace_hidden(sb, m->hide, e)) || (r = executes(m->executes, sizeof(m->executes), e)) || (r = open_fds(sb, alone, fds, e)))
		return r;
	r = kid_spawn(sb, KID_REVIEW, e);
	if (!r) {
		sb->review->phase = KID_STARTED;
		kid_send(sb->review, REVIEW_START, pack_start, m, fds, REVIEW_FD_NUM + sb->spec.ws.n);
	}
	return r;
}

static int start(struct sandbox *sb, bool alone, struct err *e)
{
	int fds[REVIEW_FD_NUM + WORKSPACES_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = -1;
	const int r = start_with(sb, alone, fds, e);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fd_close(&fds[i]);
	return r;
}

int machine_start_review(struct sandbox *sb, struct err *e)
{
	return wanted(sb) ? start(sb, false, e) : 0;
}

/* ---- without a machine ---------------------------------------------------------------------------------------------------------------- */

/*
 * What was applied before, and taking it back, concern the host alone: for these a bulkhead-review is started, and leaves when nobody waits for it
 * any more. Until it has left, its successor (or a machine's own) waits: two at once would write the same state.
 */
static bool may_ask_alone(const struct sandbox *sb, uint8_t op)
{
	return (op == REVIEW_UNDO || op == REVIEW_HISTORY) && !sb->vmm && (sb->state == SB_STOPPED || sb->state == SB_FAILED) && !sb->damaged && !sb->removing;
}

static void fail_asked(struct sandbox *sb, const char *why);
static void send_ask(struct sandbox *sb, struct review_call *q);

/* One is gone, or none was there: whoever waits to ask is served by another. */
static void begin_alone(struct sandbox *sb)
{
	struct err e = ERR_INIT;

	if (sb->review || !sb->review_calls)
		return;
	if (start(sb, true, &e)) {
		kid_kill(sb->review, NULL);
		review_fail_all(sb, e.msg);
		return;
	}
	for (struct review_call *q = sb->review_calls; q; q = q->next)
		send_ask(sb, q);
}

static void end_alone(struct sandbox *sb)
{
	if (!sb->review_calls)
		fd_close(&sb->review_alone);
}

bool review_is_alone(const struct sandbox *sb)
{
	return sb->review && !sb->vmm;
}

/* The sandbox works without it: a guest that breaks it again and again only hides its own changes, which are then not applied either. */
void review_gone(struct sandbox *sb, const char *how)
{
	const uint64_t now = clock_ns();
	struct deaths *d = &sb->review_deaths;
	struct err e = ERR_INIT;

	fd_close(&sb->review_alone);
	fail_asked(sb, how);
	if (life_review_left(sb)) {
		review_fail_all(sb, "it is being started: ask again");
		return;
	}
	if (sb->review_calls && may_ask_alone(sb, REVIEW_UNDO)) {
		begin_alone(sb);
		return;
	}
	review_fail_all(sb, how);
	if (life_child_gone(sb) || sb->su->ended || !sb->vmm || !sb->vmm->seq || !sb->vmm->proc || sb->vmm->phase == KID_ENDED || !sandbox_state_has_machine(sb->state))
		return;
	lifelog_add(sb->su, LOG_ERROR, sb->spec.name, "%s; what it changed is looked at anew", how);
	review_forget(sb);
	if (now - d->since_ns > MINUTE_NS)
		*d = (struct deaths){ .since_ns = now };
	if (++d->n > DEATHS_MAX)
		lifelog_add(sb->su, LOG_ERROR, sb->spec.name, "%.200s, again and again: what it changed is not shown until it is started again", how);
	else if (machine_start_review(sb, &e))
		lifelog_add(sb->su, LOG_ERROR, sb->spec.name, "%s", e.msg);
}

/* ---- counts ---------------------------------------------------------------------------------------------------------------------------- */

void review_forget(struct sandbox *sb)
{
	memset(sb->changes, 0, sizeof(sb->changes));
}

json_t *review_counts_json(const struct sandbox *sb)
{
	json_int_t files = 0, conflicts = 0, marked = 0, add = 0, del = 0;
	bool ready = sb->review && sb->vmm, truncated = false;

	for (size_t i = 0; i < sb->spec.ws.n; i++) {
		const struct review_counts *c = &sb->changes[i];

		files += c->files;
		conflicts += c->conflicts;
		marked += c->marked;
		add += (json_int_t)(c->add & INT64_MAX) / 2 < INT64_MAX / 32 ? (json_int_t)c->add : 0;
		del += (json_int_t)(c->del & INT64_MAX) / 2 < INT64_MAX / 32 ? (json_int_t)c->del : 0;
		truncated = truncated || c->truncated;
		if (sb->spec.ws.w[i].mode == WORKSPACE_REVIEW || sb->spec.ws.w[i].mode == WORKSPACE_LIVE)
			ready = ready && c->ready;
	}
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:b, s:b}", "files", files, "add", add, "del", del, "conflicts", conflicts, "marked", marked, "ready",
			 (int)ready, "truncated", (int)truncated);
}

static void tell(void *arg)
{
	struct sandbox *sb = arg;

	sb->review_told_ns = clock_ns();
	events_changes(sb);
}

void review_told_counts(struct sandbox *sb, const struct review_counts *c)
{
	const uint64_t since = (clock_ns() - sb->review_told_ns) / 1000000;

	if (review_is_alone(sb)) /* it hears of no changes */
		return;
	sb->changes[c->index] = *c;
	if (!sb->review_later)
		after_set(&sb->review_later, sb->su->loop, since < EVENT_MS ? EVENT_MS - since : 0, tell, sb);
}

/* ---- questions -------------------------------------------------------------------------------------------------------------------------- */

static void finish(struct sandbox *sb, struct review_call *q)
{
	for (struct review_call **p = &sb->review_calls; *p; p = &(*p)->next)
		if (*p == q) {
			*p = q->next;
			break;
		}
	after_cancel(&q->late);
	buf_release(&q->ask);
	buf_release(&q->in);
	fd_close(&q->fd);
	free(q);
}

static void on_late(void *arg)
{
	struct review_call *q = arg;

	struct sandbox *sb = q->sb;

	call_error(q->call, RPC_FAILED, "what '%s' changed cannot be told: it takes too long", sb->spec.name);
	finish(sb, q);
	end_alone(sb);
}

static uint64_t deadline(uint8_t op)
{
	return op == REVIEW_LIST || op == REVIEW_DIFF || op == REVIEW_HISTORY ? LOOK_MS : CHANGE_MS;
}

void review_fail_all(struct sandbox *sb, const char *why)
{
	while (sb->review_calls) {
		struct review_call *q = sb->review_calls;

		call_error(q->call, RPC_FAILED, "%s", why);
		finish(sb, q);
	}
}

/* Those that were put to a bulkhead-review that is gone; others wait for the next. */
static void fail_asked(struct sandbox *sb, const char *why)
{
	for (struct review_call *q = sb->review_calls, *next; q; q = next) {
		next = q->next;
		if (buf_size(&q->ask) > 0)
			continue;
		call_error(q->call, RPC_FAILED, "%s", why);
		finish(sb, q);
	}
}

static void send_ask(struct sandbox *sb, struct review_call *q)
{
	for (size_t n = buf_size(&q->ask); n > 0; n = buf_size(&q->ask)) {
		struct review_piece p = { .id = q->id, .p = buf_head(&q->ask) };

		p.n = n > REVIEW_PIECE ? REVIEW_PIECE : (uint32_t)n;
		p.last = p.n == n;
		kid_send(sb->review, REVIEW_ASK, pack_piece, &p, p.last && q->fd >= 0 ? &q->fd : NULL, p.last && q->fd >= 0 ? 1 : 0);
		buf_consume(&q->ask, p.n);
	}
}

static bool has_clone(const struct sandbox *sb)
{
	for (size_t i = 0; i < sb->spec.ws.n; i++)
		if (sb->spec.ws.w[i].mode == WORKSPACE_CLONE)
			return true;
	return false;
}

void review_ask_take(struct sandbox *sb, const struct review_ask *m, struct call *c, int fd, review_answered_fn answered)
{
	static uint32_t ids;
	size_t n = 0;

	for (const struct review_call *q = sb->review_calls; q; q = q->next)
		n++;
	struct review_call *q = n < CALLS_MAX ? calloc(1, sizeof(*q)) : NULL;
	const bool alone = may_ask_alone(sb, m->op);
	if (!wanted(sb)) {
		call_error(c, RPC_STATE, "sandbox '%s' has no workspace whose changes are kept apart or watched%s", sb->spec.name,
			   has_clone(sb) ? ": 'bulkhead fetch' brings what is committed in its clone" : "");
	} else if (!alone && (!sb->review || !sb->vmm)) {
		call_error(c, RPC_STATE, "sandbox '%s' is %s: what it changed can be looked at while it runs", sb->spec.name, sandbox_state_name(sb->state));
	} else if (!q) {
		call_error(c, RPC_BUSY, "too many questions about the changes of '%s' wait for an answer", sb->spec.name);
	} else {
		*q = (struct review_call){ .next = sb->review_calls, .id = ++ids, .sb = sb, .call = c, .fd = steal_fd(&fd), .answered = answered };
		buf_init(&q->ask, REVIEW_ASK_MAX);
		buf_init(&q->in, TREE_MAX);
		sb->review_calls = q;
		if (review_ask_pack(&q->ask, m) < 0 || !buf_ok(&q->ask)) {
			call_error(c, RPC_LIMIT, "that is more than can be asked at once");
			finish(sb, q);
		} else {
			after_set(&q->late, sb->su->loop, deadline(m->op), on_late, q);
			/* One that was told to leave, or is of a machine that is gone, is waited for. */
			if (alone && !sb->review)
				begin_alone(sb);
			else if (!alone || sb->review_alone >= 0)
				send_ask(sb, q);
		}
		q = NULL;
	}
	free(q);
	fd_close(&fd);
}

static json_t *scalar(const struct tree_item *i)
{
	switch (i->kind) {
	case TREE_OBJECT:
		return json_object();
	case TREE_LIST:
		return json_array();
	case TREE_TEXT:
		return json_stringn(i->text, i->len); /* NULL when it is no UTF-8 */
	case TREE_INT:
		return json_integer((json_int_t)i->number);
	case TREE_TRUE:
		return json_true();
	case TREE_FALSE:
		return json_false();
	default:
		return json_null();
	}
}

static json_t *from_tree(const uint8_t *p, size_t n)
{
	struct tree_reader t;
	struct tree_item i;
	json_t *stack[TREE_DEPTH_MAX], *root = NULL;
	size_t depth = 0;
	int r;

	tree_read_init(&t, p, n);
	while ((r = tree_read(&t, &i)) == 0) {
		if (i.kind == TREE_END) {
			depth--;
			continue;
		}
		json_t *v = scalar(&i);

		if (!v)
			break;
		if (!root)
			root = v;
		else if (json_is_object(stack[depth - 1]) ? json_object_set_new(stack[depth - 1], i.key, v) : json_array_append_new(stack[depth - 1], v))
			break;
		if (i.kind == TREE_OBJECT || i.kind == TREE_LIST)
			stack[depth++] = v;
	}
	if (r != 1 || !json_is_object(root)) {
		json_decref(root);
		return NULL;
	}
	return root;
}

int review_told_answer(struct kid *k, const struct review_piece *p)
{
	struct sandbox *sb = k->sb;
	struct review_call *q = sb->review_calls;
	char text[512];

	while (q && q->id != p->id)
		q = q->next;
	if (!q)
		return 0; /* asked by a supervisor before us */
	if (buf_put(&q->in, p->p, p->n) < 0)
		return -EBADMSG;
	if (!p->last)
		return 0;
	if (p->code) {
		struct err e = ERR_INIT;

		scrub(text, sizeof(text), buf_head(&q->in), buf_size(&q->in), false);
		err_set(&e, (int)p->code, "%s", text);
		call_error_err(q->call, &e);
		finish(sb, q);
		end_alone(sb);
		return 0;
	}
	json_t *o = from_tree(buf_head(&q->in), buf_size(&q->in));

	if (!o)
		return -EBADMSG;
	if (q->answered)
		q->answered(sb, o);
	if (q->fd >= 0)
		call_result_fd_take(q->call, o, steal_fd(&q->fd));
	else
		call_result_take(q->call, o);
	finish(sb, q);
	end_alone(sb);
	return 0;
}
