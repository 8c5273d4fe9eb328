/* SPDX-License-Identifier: Apache-2.0 */
#include "core/supervisor/kid.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "core/base/atomicfile.h"
#include "core/base/fd.h"
#include "core/base/log.h"
#include "core/base/path.h"
#include "core/base/sock.h"
#include "core/base/str.h"
#include "core/base/utf8.h"
#include "core/loop/after.h"
#include "core/loop/proc.h"
#include "core/loop/seq.h"
#include "core/proto/changes.h"
#include "core/proto/child.h"
#include "core/proto/fs.h"
#include "core/proto/net.h"
#include "core/supervisor/net.h"
#include "core/supervisor/refused.h"
#include "core/supervisor/review.h"
#include "core/supervisor/sandbox.h"
#include "core/supervisor/super.h"

#define LOG_CAP (1u << 20)
#define SEND_USUAL (sizeof(struct net_secret) + 64)
#define EXIT_MS 3000 /* from the end of its connection to the end of its process */

static const char *const phases[] = {
	[KID_FRESH] = "fresh", [KID_STARTED] = "started", [KID_READY] = "ready", [KID_SYNCED] = "synced", [KID_ENDED] = "ended",
};
static_assert(ARRAY_SIZE(phases) == KID_PHASES, "every phase has a name");

static const struct kid_table *const tables[] = { [KID_VMM] = &kid_vmm_table, [KID_TERM] = &kid_term_table, [KID_FS] = &kid_fs_table,
					    [KID_REVIEW] = &kid_review_table, [KID_NET] = &kid_net_table };
static_assert(ARRAY_SIZE(tables) == KID_KINDS, "every kind of child has its table");

const char *kid_phase_name(enum kid_phase p)
{
	return (unsigned)p < KID_PHASES ? phases[p] : "?";
}

static struct kid **place(struct sandbox *sb, enum kid_kind kind)
{
	switch (kind) {
	case KID_VMM:
		return &sb->vmm;
	case KID_FS:
		return &sb->fs;
	case KID_REVIEW:
		return &sb->review;
	case KID_NET:
		return &sb->net;
	default:
		return &sb->term;
	}
}

/* ---- files in runtime/sb/NAME ------------------------------------------------------------------------------------------------ */

static char *runtime_file(const struct sandbox *sb, const char *name, const char *end)
{
	return str_fmt("%s/sb/%s/%s%s", sb->su->runtime, sb->spec.name, name, end);
}

static void forget_files(const struct kid *k)
{
	static const char *const ends[] = { ".sock", ".pid" };

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		AUTO_FREE char *path = runtime_file(k->sb, tables[k->kind]->name, ends[i]);
		if (path)
			unlink(path);
	}
}

static int open_runtime(const struct sandbox *sb, bool make, struct err *e)
{
	if (make && mkdirat(sb->su->sb_dirfd, sb->spec.name, 0700) && errno != EEXIST)
		return err_errno(e, errno, "cannot create the runtime directory of '%s'", sb->spec.name);
	int fd = openat(sb->su->sb_dirfd, sb->spec.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd >= 0 ? fd : err_errno(e, errno, "cannot open the runtime directory of '%s'", sb->spec.name);
}

/* So that the next supervisor knows the process without asking it: the child is not believed about its own pid. */
static int write_pid(const struct kid *k, int dirfd, struct err *e)
{
	char name[16], text[64];
	pid_t pid = proc_pid(k->proc);

	snprintf(name, sizeof(name), "%s.pid", tables[k->kind]->name);
	int n = snprintf(text, sizeof(text), "%ld %llu\n", (long)pid, (unsigned long long)proc_start_time(pid));
	return atomicfile_write(dirfd, name, text, (size_t)n, 0600, e);
}

static int read_pid(const struct sandbox *sb, enum kid_kind kind, int dirfd, pid_t *pid, uint64_t *start)
{
	char name[16], text[64] = "";
	struct buf b;
	uint64_t v = 0;
	int r;

	(void)sb;
	snprintf(name, sizeof(name), "%s.pid", tables[kind]->name);
	buf_init(&b, sizeof(text) - 1);
	r = atomicfile_read(dirfd, name, &b, NULL);
	if (!r)
		memcpy(text, buf_head(&b), buf_size(&b));
	buf_release(&b);
	char *space = strchr(text, ' '), *end = strchr(text, '\n');
	if (r || !space || !end)
		return -ENOENT;
	*space = *end = '\0';
	if (str_u64(text, 2, INT32_MAX, &v) || str_u64(space + 1, 1, UINT64_MAX, start))
		return -ENOENT;
	*pid = (pid_t)v;
	return 0;
}

/* ---- the connection ------------------------------------------------------------------------------------------------------------ */

static void violation(struct kid *k, const char *what, unsigned type)
{
	char why[128];

	snprintf(why, sizeof(why), "it sent %s message %u while it was %s", what, type, kid_phase_name(k->phase));
	kid_kill(k, why);
}

static void on_msg(void *arg, const uint8_t *p, size_t n, int *fds, size_t nfds)
{
	struct kid *k = arg;
	const struct kid_table *t = tables[k->kind];
	struct child_head h;
	struct rbuf r;

	(void)fds;
	rbuf_init(&r, p, n);
	if (child_head_unpack(&r, &h) || nfds) {
		violation(k, "something that is no", 0);
		return;
	}
	for (size_t i = 0; i < t->n; i++) {
		if (t->rows[i].type != h.type)
			continue;
		if (!(t->rows[i].phases & (1u << k->phase)) || h.gen > k->gen || (k->kind != KID_TERM && h.gen != k->gen)) {
			violation(k, "the illegal", h.type);
			return;
		}
		if (h.gen != k->gen && !t->rows[i].old_gen)
			return;
		if (h.type == VMM_SYNCED || h.type == TERM_SYNCED || h.type == FS_SYNCED || h.type == REVIEW_SYNCED ||
		    h.type == NET_SYNCED)
			k->told_gen = h.gen;
		if (t->rows[i].fn(k, &r))
			violation(k, "the damaged", h.type);
		return;
	}
	violation(k, "the unknown", h.type);
}

static void on_impatient(void *arg)
{
	kid_kill(arg, "it closed its connection and did not exit");
}

static void on_end(void *arg, int why)
{
	struct kid *k = arg;

	seq_close(&k->seq);
	if (k->proc && (why == -EMSGSIZE || why == -ENOBUFS))
		kid_kill(k, "it sent what is too long, or does not read");
	else if (k->proc)
		after_set(&k->patience, k->sb->su->loop, EXIT_MS, on_impatient, k);
	kid_maybe_gone(k);
}

static const struct seq_ops seq_ops = { .on_msg = on_msg, .on_end = on_end };

void kid_send(struct kid *k, uint16_t type, int (*pack)(struct buf *b, const void *m), const void *m, const int *fds, size_t nfds)
{
	struct buf b;
	int r;

	if (!k || !k->seq)
		return;
	buf_init(&b, CHILD_MSG_MAX);
	/* A message may hold a credential: it is not copied about as the buffer grows, and nothing of it is left. */
	buf_reserve(&b, SEND_USUAL);
	child_head_pack(&b, type, k->gen);
	r = pack ? pack(&b, m) : 0;
	if (r || !buf_ok(&b))
		log_error("a message %u for %s of '%s' does not fit", type, tables[k->kind]->name, k->sb->spec.name);
	else if ((r = seq_send(k->seq, buf_head(&b), buf_size(&b), fds, nfds)) && r != -EPIPE && r != -ECONNRESET) /* it is gone: its last words are read */
		kid_kill(k, "it does not read what it is told");
	buf_wipe(&b);
}

/* ---- the process ---------------------------------------------------------------------------------------------------------------- */

static void on_exit_(void *arg, int status)
{
	struct kid *k = arg;

	k->status = status;
	proc_release(&k->proc);
	after_cancel(&k->patience);
	kid_maybe_gone(k);
}

static void on_machine_exit(void *arg, int status)
{
	struct kid *k = arg;

	(void)status;
	proc_release(&k->machine);
	kid_maybe_gone(k);
}

void kid_watch_machine(struct kid *k, uint32_t pid)
{
	if (k->machine || pid < 2 || pid > INT32_MAX)
		return;
	uint64_t start = proc_start_time((pid_t)pid);
	/* Not there any more: then there is nothing to wait for. */
	if (start && proc_adopt(&k->machine, k->sb->su->loop, (pid_t)pid, start, on_machine_exit, k))
		k->machine = NULL;
}

static void on_gone_later(void *arg)
{
	kid_maybe_gone(arg);
}

void kid_kill(struct kid *k, const char *why)
{
	if (!k)
		return;
	if (why && !*k->why) {
		str_copy(k->why, sizeof(k->why), why);
		log_error("%s of '%s' is ended: %s", tables[k->kind]->name, k->sb->spec.name, why);
	}
	after_cancel(&k->patience);
	if (k->proc)
		proc_kill(k->proc, SIGKILL);
	/* Whoever broke the protocol is not listened to any more; else its last words are heard. */
	if (*k->why)
		seq_close(&k->seq);
	/* Never freed under its caller's hands. */
	if (!k->proc && !k->seq)
		after_set(&k->patience, k->sb->su->loop, 0, on_gone_later, k);
}

void kid_maybe_gone(struct kid *k)
{
	char text[96], log[16], call[128], how[400];
	struct sandbox *sb = k->sb;
	const enum kid_kind kind = k->kind;

	if (k->proc || k->seq || k->machine)
		return;
	proc_status_text(text, sizeof(text), k->status);
	snprintf(log, sizeof(log), "%s.log", tables[k->kind]->name);
	if (*k->why)
		snprintf(how, sizeof(how), "%s was ended: %s", tables[k->kind]->program, k->why);
	else if (k->status != -1 && WIFSIGNALED(k->status) && WTERMSIG(k->status) == SIGSYS && refused_call(sb->dirfd, log, call, sizeof(call)))
		snprintf(how, sizeof(how), "%s %s: %s", tables[k->kind]->program, text, call);
	else
		snprintf(how, sizeof(how), "%s %s", tables[k->kind]->program, text);
	forget_files(k);
	kid_drop(place(sb, k->kind));
	if (kind == KID_VMM)
		life_machine_gone(sb, how);
	else if (kind == KID_FS)
		life_fs_gone(sb, how);
	else if (kind == KID_REVIEW)
		review_gone(sb, how);
	else if (kind == KID_TERM)
		life_term_gone(sb, how);
	else
		net_gone(sb, how);
}

void kid_drop(struct kid **kp)
{
	struct kid *k = *kp;

	if (!k)
		return;
	*kp = NULL;
	after_cancel(&k->patience);
	after_cancel(&k->tell_written);
	seq_close(&k->seq);
	proc_release(&k->proc);
	proc_release(&k->machine);
	free(k);
}

/* ---- beginning -------------------------------------------------------------------------------------------------------------------- */

static struct kid *create(struct sandbox *sb, enum kid_kind kind)
{
	struct kid *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->sb = sb;
	k->kind = kind;
	k->status = -1;
	k->gen = sb->spec.gen;
	return k;
}

int kid_spawn(struct sandbox *sb, enum kid_kind kind, struct err *e)
{
	const struct kid_table *t = tables[kind];
	char logname[16];
	int pair[2] = { -1, -1 };
	AUTO_FREE char *program = path_program(t->program, e);
	AUTO_FREE char *sock = runtime_file(sb, t->name, ".sock");
	AUTO_FD dirfd = -1, listener = -1, log = -1;

	if (!program)
		return -e->code;
	if (!sock)
		return err_set(e, ENOMEM, "out of memory");
	snprintf(logname, sizeof(logname), "%s.log", t->name);
	if ((dirfd = open_runtime(sb, true, e)) < 0 || (listener = sock_listen(sock, SOCK_SEQPACKET, e)) < 0 ||
	    (log = store_open_log(sb->dirfd, logname, LOG_CAP, e)) < 0)
		return -e->code;
	struct kid *k = create(sb, kind);
	if (!k || fd_pair(SOCK_SEQPACKET, pair)) {
		free(k);
		return err_errno(e, k ? errno : ENOMEM, "cannot start '%s'", t->program);
	}
	char *const argv[] = { (char *)(uintptr_t)t->program, NULL };
	const int fds[] = { pair[1], listener };
	const struct proc_opts o = { .path = program, .argv = argv, .fds = fds, .nfds = 2, .out_fd = log, .own_session = true,
				     /* QEMU is told of by its number, which would be another one here. */
				     .own_pids = kind == KID_VMM && machine_backend(sb) == BACKEND_KVM };
	int r = proc_spawn(&k->proc, sb->su->loop, &o, on_exit_, k, e);
	close(pair[1]);
	if (!r)
		r = write_pid(k, dirfd, e);
	if (!r && (r = seq_open_take(&k->seq, sb->su->loop, steal_fd(&pair[0]), &seq_ops, k)))
		err_errno(e, -r, "cannot speak with '%s'", t->program);
	if (r) {
		fd_close(&pair[0]);
		if (k->proc)
			proc_kill(k->proc, SIGKILL);
		kid_drop(&k);
		return r;
	}
	*place(sb, kind) = k;
	return 0;
}

int kid_adopt(struct sandbox *sb, enum kid_kind kind, struct err *e)
{
	const struct kid_table *t = tables[kind];
	AUTO_FREE char *sock = runtime_file(sb, t->name, ".sock");
	AUTO_FD dirfd = open_runtime(sb, false, NULL);
	uint64_t start;
	pid_t pid;

	if (dirfd < 0 || read_pid(sb, kind, dirfd, &pid, &start))
		return -ENOENT;
	struct kid *k = create(sb, kind);
	if (!sock || !k) {
		free(k);
		return err_set(e, ENOMEM, "out of memory");
	}
	k->phase = KID_STARTED;
	if (proc_adopt(&k->proc, sb->su->loop, pid, start, on_exit_, k)) {
		forget_files(k);
		free(k);
		return -ENOENT;
	}
	int fd = sock_connect(sock, SOCK_SEQPACKET, e);
	int r = fd < 0 ? fd : seq_open_take(&k->seq, sb->su->loop, fd, &seq_ops, k);
	if (r) {
		log_error("%s of '%s' (%ld) cannot be reached and is ended: %s", t->name, sb->spec.name, (long)pid, strerror(-r));
		proc_kill(k->proc, SIGKILL);
		forget_files(k);
		kid_drop(&k);
		return -ENOENT;
	}
	*place(sb, kind) = k;
	return 0;
}

/* ---- what every kind says ------------------------------------------------------------------------------------------------------------ */

int kid_on_ready(struct kid *k, struct rbuf *r)
{
	struct child_ready m;

	if (child_ready_unpack(r, &m) || m.version != CHILD_VERSION)
		return -EBADMSG;
	scrub(k->jail, sizeof(k->jail), m.jail, strlen(m.jail), false);
	if (k->phase == KID_STARTED)
		k->phase = KID_READY;
	return 0;
}

int kid_on_synced(struct kid *k, struct rbuf *r)
{
	if (rbuf_done(r))
		return -EBADMSG;
	k->phase = KID_SYNCED;
	life_progress(k->sb);
	return 0;
}

void rescrub(char *s, size_t cap)
{
	char clean[1100];

	scrub(clean, sizeof(clean), s, strnlen(s, cap), false);
	str_copy(s, cap, clean);
}
