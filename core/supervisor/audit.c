/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/audit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <uv.h>

#include "core/base/atomicfile.h"
#include "core/base/clock.h"
#include "core/base/fd.h"
#include "core/base/path.h"
#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/loop/after.h"
#include "core/supervisor/chain.h"
#include "core/supervisor/client.h"
#include "core/supervisor/events.h"
#include "core/supervisor/fold.h"
#include "core/supervisor/lifelog.h"
#include "core/supervisor/super.h"

#define FILE_CAP (8u << 20)
#define FILES 16u
#define RETRY_MS 2000u
#define OPEN_MS UINT64_C(5000)
#define ANSWER_BYTES (CLIENT_LINE_MAX - 4096u) /* of records: they lose their prev on the way */
#define FOLD_LOOK_MS 10000u
#define READ_BYTES (64u << 20) /* most of the log a read goes back */

struct audit {
	struct super *su;
	struct chain chain;
	struct after *timer;
	struct chain_sync sync;
	uv_work_t work;
	bool syncing;
	unsigned readers;        /* verifications under way: nothing is deleted meanwhile */
	bool complained;         /* about a disk that takes nothing, until it does again */
	uint64_t second;         /* of events_told */
	unsigned events_told, skipped; /* this second; since one was told */
	struct share *shares;    /* of sandboxes that said something lately */
	struct after *fold_timer;
};

/* How much of the log a sandbox has filled; by name, for one that is removed is answered for too. */
struct share {
	struct share *next;
	struct audit *audit;
	struct fold *fold;
	char sandbox[NAME_MAX_LEN + 1];
	bool told;               /* that it is too much */
};

/* ---- opening and syncing ------------------------------------------------------------------------------------------------------------- */

static void arm(struct audit *a, uint64_t ms);

static void complain(struct audit *a, int r)
{
	if (r && !a->complained)
		lifelog_add(a->su, LOG_ERROR, NULL, "the audit log cannot be written: %s; records are kept and tried again", strerror(-r));
	else if (!r && a->complained)
		lifelog_add(a->su, LOG_INFO, NULL, "the audit log is written again");
	a->complained = r != 0;
}

static void sync_work(uv_work_t *w)
{
	struct audit *a = w->data;

	chain_sync_run(&a->sync);
}

static void sync_done(uv_work_t *w, int status)
{
	struct audit *a = w->data;

	if (status)
		a->sync.result = status;
	chain_sync_end(&a->chain, &a->sync);
	a->syncing = false;
	complain(a, a->sync.result ? a->sync.result : chain_flush(&a->chain));
	if (a->chain.dirty)
		arm(a, a->complained ? RETRY_MS : AUDIT_SYNC_MS);
}

static void on_timer(void *arg)
{
	struct audit *a = arg;
	int r = chain_flush(&a->chain);

	if (a->syncing)
		return; /* sync_done() looks again */
	if (r) {
		complain(a, r);
		arm(a, RETRY_MS);
	}
	if (!chain_sync_begin(&a->chain, &a->sync))
		return;
	a->sync.keep = a->readers > 0;
	a->work.data = a;
	a->syncing = !uv_queue_work(a->su->loop, &a->work, sync_work, sync_done);
	if (!a->syncing) {
		a->sync.result = -ENOMEM;
		chain_sync_end(&a->chain, &a->sync);
	}
}

static void arm(struct audit *a, uint64_t ms)
{
	if (!a->timer && !a->su->ended)
		after_set(&a->timer, a->su->loop, ms, on_timer, a);
}

static int open_dir(struct super *su, struct err *e)
{
	AUTO_FREE char *path = path_join(su->state, "audit");

	if (!path)
		return err_set(e, ENOMEM, "out of memory");
	if (path_mkdirs(path, 0700, e))
		return -e->code;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_errno(e, errno, "cannot open '%s'", path) : fd;
}

/* Beside the log, not in it: who takes that away whole is missed. */
#define MARK "audit.begun"

static bool was_begun(const struct super *su)
{
	AUTO_FREE char *path = path_join(su->state, MARK);

	return path && access(path, F_OK) == 0;
}

static void mark_begun(const struct super *su)
{
	static const char text[] = "The audit log was begun. Without it and with this file the supervisor takes the log for taken away.\n";
	AUTO_FD dirfd = open(su->state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct err e = ERR_INIT;

	if (!was_begun(su) && atomicfile_write(dirfd, MARK, text, sizeof(text) - 1, 0600, &e))
		log_error("%s", e.msg);
}

int audit_open(struct super *su, struct err *e)
{
	struct audit *a = calloc(1, sizeof(*a));
	char found[256];

	su->audit_tried_ns = clock_ns();
	int fd = a ? open_dir(su, e) : err_set(e, ENOMEM, "out of memory");

	if (fd < 0 || chain_open_take(&a->chain, fd, FILE_CAP, FILES, was_begun(su), found, sizeof(found), e)) {
		free(a);
		return err_wrap(e, "cannot open the audit log");
	}
	a->su = su;
	su->audit = a;
	mark_begun(su);
	if (*found)
		lifelog_add(su, LOG_WARN, NULL, "%s; it goes on from here ('bulkhead audit verify' says more)", found);
	arm(a, AUDIT_SYNC_MS);
	return 0;
}

static bool shares_flush(struct audit *a, bool end);

void audit_close(struct super *su)
{
	struct audit *a = su->audit;

	if (!a)
		return;
	while (a->syncing) /* its worker writes into what is freed below */
		uv_run(su->loop, UV_RUN_ONCE);
	shares_flush(a, true); /* these are records, which arm the timer */
	after_cancel(&a->timer);
	after_cancel(&a->fold_timer);
	if (chain_sync_begin(&a->chain, &a->sync)) {
		a->sync.keep = true;
		chain_sync_run(&a->sync);
		chain_sync_end(&a->chain, &a->sync);
	}
	chain_release(&a->chain);
	free(a);
	su->audit = NULL;
}

/* ---- adding -------------------------------------------------------------------------------------------------------------------------- */

static void put(json_t *o, const char *key, const char *s)
{
	char clean[2048];

	scrub(clean, sizeof(clean), s, strlen(s), false);
	json_object_set_new(o, key, json_string(clean));
}

static json_t *addr_json(const struct net_addr *a, bool known)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	char text[INET6_ADDRSTRLEN];

	if (!known)
		return json_null();
	if (!memcmp(a->b, mapped, sizeof(mapped)))
		inet_ntop(AF_INET, a->b + 12, text, sizeof(text));
	else
		inet_ntop(AF_INET6, a->b, text, sizeof(text));
	return json_string(text);
}

static json_t *decision_json(const char *sandbox, const struct net_record *r)
{
	static const char *const events[] = { [NET_E_DECIDED] = "decided", [NET_E_CLOSED] = "closed", [NET_E_INJECTED] = "injected", [NET_E_ALARM] = "alarm" };
	static const char *const verdicts[] = { [NET_ALLOW] = "allow", [NET_DENY] = "deny", [NET_ASKED] = "ask" };
	static const char *const protos[] = { [NET_P_TCP] = "tcp", [NET_P_TLS] = "tls", [NET_P_HTTP] = "http", [NET_P_HTTPS] = "https" };
	_Static_assert(ARRAY_SIZE(events) == NET_E_NUM && ARRAY_SIZE(verdicts) == NET_VERDICT_NUM && ARRAY_SIZE(protos) == NET_P_NUM, "every one has a word");
	static const struct net_addr none;
	const struct net_facts *f = &r->facts;
	json_t *o = json_object();

	put(o, "sandbox", sandbox);
	json_object_set_new(o, "event", json_string(r->event < NET_E_NUM ? events[r->event] : "?"));
	json_object_set_new(o, "verdict", json_string(r->verdict < NET_VERDICT_NUM ? verdicts[r->verdict] : "?"));
	json_object_set_new(o, "n", json_integer((json_int_t)r->number));
	json_object_set_new(o, "conn", json_integer((json_int_t)r->conn));
	json_object_set_new(o, "proto", json_string(f->proto < NET_P_NUM ? protos[f->proto] : "?"));
	put(o, "name", f->name);
	json_object_set_new(o, "address", addr_json(&f->addr, f->has_addr));
	json_object_set_new(o, "to", addr_json(&r->to, memcmp(&r->to, &none, sizeof(none)) != 0));
	json_object_set_new(o, "port", json_integer(f->port));
	put(o, "method", f->method);
	put(o, "path", f->path);
	json_object_set_new(o, "pid", json_integer(r->who.pid));
	put(o, "comm", r->who.comm);
	put(o, "cmdline", r->who.cmdline);
	put(o, "container", r->who.container);
	put(o, "rule", r->rule);
	put(o, "scope", r->scope);
	put(o, "service", r->service);
	json_object_set_new(o, "status", json_integer(r->status));
	json_object_set_new(o, "in", json_integer((json_int_t)r->in));
	json_object_set_new(o, "out", json_integer((json_int_t)r->out));
	json_object_set_new(o, "ms", json_integer((json_int_t)r->ms));
	return o;
}

/* Adds what is in o (borrowed) with its time; the number it got, 0 when it was lost. */
static uint64_t add(struct audit *a, json_t *o)
{
	char at[32];
	json_t *line = json_object();

	clock_rfc3339(at, clock_wall_ns());
	json_object_set_new(line, "at", json_string(at));
	json_object_update(line, o);
	int r = chain_add_take(&a->chain, line);
	if (r)
		complain(a, r);
	arm(a, a->complained ? RETRY_MS : AUDIT_SYNC_MS);
	if (r == -ENOBUFS)
		return 0;
	json_object_set_new(o, "at", json_string(at));
	return a->chain.top.seq;
}

/* The log; opened when it could not be before, at most every OPEN_MS. */
static struct audit *ready(struct super *su)
{
	struct err e = ERR_INIT;
	uint64_t now = clock_ns();

	if (!su->audit && !su->ended && now - su->audit_tried_ns > OPEN_MS * 1000000u && !audit_open(su, &e))
		lifelog_add(su, LOG_WARN, NULL, "the audit log is open now; what was decided before is not in it");
	return su->audit;
}

static bool may_tell(struct audit *a)
{
	uint64_t now = clock_ms() / 1000;

	if (now != a->second) {
		a->second = now;
		a->events_told = 0;
	}
	if (a->events_told++ < AUDIT_EVENTS_A_SECOND)
		return true;
	a->skipped++;
	return false;
}

/* ---- no sandbox fills it alone ------------------------------------------------------------------------------------------------------- */

static void add_counted(void *arg, const struct net_record *r, uint64_t count)
{
	struct share *s = arg;
	json_t *o = decision_json(s->sandbox, r);

	json_object_set_new(o, "repeats", json_integer((json_int_t)count));
	const uint64_t seq = add(s->audit, o);
	json_object_set_new(o, "seq", json_integer((json_int_t)seq));
	events_decision(s->audit->su, o);
	json_decref(o);
}

/* Writes what was counted long enough, forgets who is quiet again; at the end all of it. True while something is counted. */
static bool shares_flush(struct audit *a, bool end)
{
	struct share **p = &a->shares;
	const uint64_t now = clock_ms();
	bool counting = false;

	while (*p) {
		struct share *s = *p;
		fold_flush(s->fold, now, end, add_counted, s);
		counting |= fold_counts(s->fold);
		if (!end && !fold_idle(s->fold, now)) {
			p = &s->next;
			continue;
		}
		*p = s->next;
		fold_destroy(s->fold);
		free(s);
	}
	return counting;
}

static void on_fold_timer(void *arg)
{
	struct audit *a = arg;

	if (shares_flush(a, false))
		after_set(&a->fold_timer, a->su->loop, FOLD_LOOK_MS, on_fold_timer, a);
}

static struct share *share_of(struct audit *a, const char *sandbox)
{
	struct share *s = a->shares;

	while (s && strcmp(s->sandbox, sandbox) != 0)
		s = s->next;
	if (s)
		return s;
	shares_flush(a, false);
	if (!(s = calloc(1, sizeof(*s))))
		return NULL;
	if (!(s->fold = fold_create(clock_ms()))) {
		free(s);
		return NULL;
	}
	s->audit = a;
	str_copy(s->sandbox, sizeof(s->sandbox), sandbox);
	s->next = a->shares;
	a->shares = s;
	return s;
}

static bool pays(struct audit *a, const char *sandbox, const struct net_record *r)
{
	struct share *s = share_of(a, sandbox);

	if (!s || fold_take(s->fold, r, clock_ms()))
		return true;
	if (!s->told)
		lifelog_add(a->su, LOG_WARN, sandbox, "it makes more records than the audit log is for: of those alike one is written, the others are counted");
	s->told = true;
	if (!a->fold_timer && !a->su->ended)
		after_set(&a->fold_timer, a->su->loop, FOLD_LOOK_MS, on_fold_timer, a);
	return false;
}

void audit_add(struct super *su, const char *sandbox, const struct net_record *r)
{
	struct audit *a = ready(su);
	json_t *o = decision_json(sandbox, r);
	uint64_t seq = a && pays(a, sandbox, r) ? add(a, o) : 0;

	if (a && may_tell(a)) {
		json_object_set_new(o, "seq", json_integer((json_int_t)seq));
		if (a->skipped)
			json_object_set_new(o, "skipped", json_integer(a->skipped));
		a->skipped = 0;
		events_decision(su, o);
	}
	json_decref(o);
}

void audit_lost(struct super *su, const char *sandbox, uint64_t count)
{
	json_t *o = json_pack("{s:s, s:s, s:I}", "event", "lost", "sandbox", sandbox, "records", (json_int_t)count);

	lifelog_add(su, LOG_WARN, sandbox, "%llu records of refusals came faster than they could be taken, and are only counted", (unsigned long long)count);
	audit_add_json_take(su, o);
}

void audit_add_json_take(struct super *su, json_t *o)
{
	if (o && ready(su)) {
		const uint64_t seq = add(su->audit, o);

		json_object_set_new(o, "seq", json_integer((json_int_t)seq));
		json_object_del(o, "changes");
		events_audit(su, o);
	}
	json_decref(o);
}

/* ---- reading: on a worker, from a descriptor of its own ------------------------------------------------------------------------------ */

struct job {
	uv_work_t work;
	struct audit *audit;
	struct call *call;
	int dirfd;
	size_t lines;
	char sandbox[NAME_MAX_LEN + 1], verdict[16];
	bool doings;
	struct chain_ends ends;
	struct chain_verdict found;
	json_t *list;
};

static struct job *job_create(struct call *c)
{
	struct audit *a = c->su->audit;
	struct job *j = a ? calloc(1, sizeof(*j)) : NULL;

	if (j) {
		j->audit = a;
		j->call = c;
		j->work.data = j;
		j->dirfd = fcntl(a->chain.dirfd, F_DUPFD_CLOEXEC, 3);
	}
	if (!j || j->dirfd < 0) {
		free(j);
		call_error(c, RPC_FAILED, a ? "the audit log cannot be read now" : "there is no audit log: the supervisor's log says why");
		return NULL;
	}
	return j;
}

static void job_start(struct job *j, uv_work_cb work, uv_after_work_cb done)
{
	if (uv_queue_work(j->audit->su->loop, &j->work, work, done))
		done(&j->work, UV_ENOMEM);
}

static bool wanted(void *arg, const json_t *o)
{
	static const char *const decisions[] = { "decided", "closed", "injected", "alarm", NULL };
	static const char *const doings[] = { "apply", "discard", "undo", "secret", "injected", "alarm", NULL };
	const struct job *j = arg;
	const char *event = json_string_value(json_object_get(o, "event")), *sandbox = json_string_value(json_object_get(o, "sandbox"));
	const char *verdict = json_string_value(json_object_get(o, "verdict"));
	bool one = false;

	for (const char *const *p = j->doings ? doings : decisions; event && *p; p++)
		one = one || !strcmp(event, *p);
	return one && (!*j->sandbox || (sandbox && !strcmp(sandbox, j->sandbox))) && (!*j->verdict || (verdict && !strcmp(verdict, j->verdict)));
}

static void read_work(uv_work_t *w)
{
	struct job *j = w->data;
	size_t i;
	json_t *o;

	j->list = chain_tail(j->dirfd, wanted, j, j->lines, ANSWER_BYTES, READ_BYTES);
	json_array_foreach(j->list, i, o) {
		json_object_del(o, "prev");
		if (j->doings)
			json_object_del(o, "changes");
	}
}

static void read_done(uv_work_t *w, int status)
{
	struct job *j = w->data;

	if (status) {
		call_error(j->call, RPC_FAILED, "the audit log cannot be read now");
		json_decref(j->list);
	} else {
		call_result_take(j->call, json_pack("{s:o}", j->doings ? "records" : "decisions", j->list));
	}
	close(j->dirfd);
	free(j);
}

void audit_read_call(struct call *c, const char *sandbox, const char *verdict, size_t lines)
{
	struct job *j = job_create(c);

	if (!j)
		return;
	str_copy(j->sandbox, sizeof(j->sandbox), sandbox ? sandbox : "");
	str_copy(j->verdict, sizeof(j->verdict), verdict ? verdict : "");
	j->lines = lines < AUDIT_READ_MAX ? lines : AUDIT_READ_MAX;
	job_start(j, read_work, read_done);
}

void audit_doings_call(struct call *c, const char *sandbox, size_t lines)
{
	struct job *j = job_create(c);

	if (!j)
		return;
	j->doings = true;
	str_copy(j->sandbox, sizeof(j->sandbox), sandbox ? sandbox : "");
	j->lines = lines < AUDIT_READ_MAX ? lines : AUDIT_READ_MAX;
	job_start(j, read_work, read_done);
}

static void verify_work(uv_work_t *w)
{
	struct job *j = w->data;

	chain_verify(j->dirfd, &j->ends, &j->found);
}

static void verify_done(uv_work_t *w, int status)
{
	struct job *j = w->data;

	j->audit->readers--;
	if (status)
		call_error(j->call, RPC_FAILED, "the audit log cannot be read now");
	else
		call_result_take(j->call, json_pack("{s:I, s:b, s:s?, s:s, s:I, s:I}", "records", (json_int_t)j->found.records, "ok", (int)j->found.ok,
						    "problem", j->found.ok ? NULL : j->found.problem, "head", j->ends.last.hash, "first",
						    (json_int_t)j->ends.base, "last", (json_int_t)j->ends.last.seq));
	close(j->dirfd);
	free(j);
}

void audit_verify_call(struct call *c)
{
	struct job *j = job_create(c);

	if (!j)
		return;
	chain_flush(&j->audit->chain);
	j->ends = j->audit->chain.ends;
	j->audit->readers++;
	job_start(j, verify_work, verify_done);
}
